//! New accounts with an email address and a password. The rules are in `credentials.rs`.
//!
//! Upstream: `api/routes/sign-up.ts`.

use crate::{
    credentials::{NewAccount, nothing_more},
    model::{NewFields, User},
    prelude::*,
};

pub(crate) struct SignUpEmail;

impl Plugin for SignUpEmail {
    const ID: &'static str = "sign-up-email";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup
            .post("/sign-up/email", Self::sign_up)
            .operation("signUpWithEmailAndPassword")
            .summary("Makes an account with an email address and a password, and signs in unless options say otherwise.")
            .refuses_with(NewAccount::REFUSALS);
    }
}

input! {
    /// Who wants an account.
    pub(crate) struct SignUpBody {
        /// What to call them.
        name: Text,
        /// Their address.
        email: Email,
        /// The password they chose.
        password: NonEmptyPassword,
        /// Where there is a picture of them.
        image: Option<Text>,
        /// Where the link in the verification message leads.
        callback_url: Option<Text>,
        /// Whether the session outlives the browser's. True when absent.
        remember_me: Option<bool>,
        ..rest: NewFields<User>,
    }
}

output! {
    /// The new account.
    pub(crate) struct SignedUp {
        /// The token of the session, unless they have to sign in first.
        token: Nullable<String>,
        /// The new user.
        user: User,
    }
}

impl SignUpEmail {
    /// `POST /sign-up/email`
    async fn sign_up(
        &self,
        cx: &mut Ctx,
        FormBody(body): FormBody<SignUpBody>,
        _: FormCsrf,
    ) -> Result<Json<SignedUp>> {
        let new = NewAccount {
            name: body.name,
            email: body.email,
            password: body.password,
            image: body.image,
            fields: body.rest,
            remember: body.remember_me != Some(false),
        };
        let (user, session) = cx.sign_up_with_password(new, nothing_more).await?;
        Ok(Json(SignedUp { token: session.map(|session| session.token).into(), user }))
    }
}
