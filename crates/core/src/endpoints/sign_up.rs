//! New accounts with an email address and a password.
//!
//! Where a new account does not sign in at once, the answer for an address that is taken looks the same as for a
//! new one and costs a hash too, so nobody learns who has an account.
//!
//! Upstream: `api/routes/sign-up.ts`.

use crate::{
    context::Method,
    http::Replies as _,
    model::{NewUser, User, fields},
    prelude::*,
};

pub(crate) struct SignUpEmail;

impl Plugin for SignUpEmail {
    const ID: &'static str = "sign-up-email";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.post("/sign-up/email", Self::sign_up);
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
        ..rest: Record,
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
    ) -> Result<Reply> {
        let options = cx.config().email_and_password.clone();
        if !options.enabled || options.disable_sign_up {
            return Err(Error::bad_request(Code::EMAIL_PASSWORD_SIGN_UP_DISABLED));
        }
        cx.password_rules(&body.password)?;
        let mut rest = body.rest;
        if cx.has_form() {
            fields::from_form::<User>(cx.store(), &mut rest)?;
        }
        let fields = fields::read::<User>(cx.store(), &mut rest, fields::Action::Create)?;
        let signs_in = options.auto_sign_in && !options.require_email_verification;
        let new =
            NewUser { name: body.name, email: body.email.into(), email_verified: false, image: body.image };
        let mut user = new.into_user(cx.store());

        let is_taken = cx.users().by_email(&user.email).await?.is_some();
        if is_taken && signs_in {
            return Err(Error::unprocessable(Code::USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL));
        }
        let hash = cx.hash(&body.password).await?;
        if is_taken {
            let user = user.imagined(cx.store(), fields).await?;
            return Ok(SignedUp { token: None.into(), user }.reply());
        }
        user.give(cx.store(), fields.clone())?;

        let remember = body.remember_me != Some(false);
        let sign_in = SignIn { user, method: Method::SignUp, remember };
        let interruption = if signs_in { cx.before_sign_in(&sign_in).await? } else { None };
        let starts_session = signs_in && interruption.is_none();
        let (client, lifetime) = (cx.client(), cx.session_lifetime(remember));
        let created = cx
            .transact(async |tx: &mut Tx| {
                let user = tx.users().create(&sign_in.user).await?;
                tx.accounts().create_credential(&user.id, hash).await?;
                let session = if starts_session {
                    Some(tx.sessions().create(&user.id, sign_in.method.reason(), lifetime, client).await?)
                } else {
                    None
                };
                Ok((user, session))
            })
            .await;
        let (user, session) = match created {
            // Somebody else took the address since we looked.
            Err(error)
                if !signs_in && error.code() == Some(Code::USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL.code) =>
            {
                (sign_in.user.imagined(cx.store(), fields).await?, None)
            }
            created => created?,
        };
        if let Some(reply) = interruption {
            return Ok(reply);
        }
        let Some(session) = session else { return Ok(SignedUp { token: None.into(), user }.reply()) };
        let signed_in = SignedIn { session, user };
        cx.set_session(&signed_in, remember);
        Ok(SignedUp { token: Some(signed_in.session.token).into(), user: signed_in.user }.reply())
    }
}

impl SignedUp {
    fn reply(self) -> Reply {
        Json(self).into_reply()
    }
}
