//! Signing in with an email address and a password. The rules are in `credentials.rs`.
//!
//! Upstream: `api/routes/sign-in.ts`.

use crate::{
    credentials::{Credentials, nothing_more},
    http::location,
    model::User,
    prelude::*,
};
use ::http::{StatusCode, header::LOCATION};

pub(crate) struct SignInEmail;

impl Plugin for SignInEmail {
    const ID: &'static str = "sign-in-email";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup
            .post("/sign-in/email", Self::sign_in)
            .summary("Signs in with an email address and a password.")
            .refuses_with(Credentials::REFUSALS)
            .refuses(StatusCode::FORBIDDEN, [Code::INVALID_CALLBACK_URL]);
    }
}

input! {
    /// Who wants to sign in.
    pub(crate) struct SignInBody {
        /// Their address.
        email: Text,
        /// Their password.
        password: Password,
        /// Where the browser goes then.
        callback_url: Option<Text>,
        /// Whether the session outlives the browser's.
        remember_me: bool = true,
    }
}

output! {
    /// Somebody is signed in.
    pub(crate) struct SignInReply {
        /// Whether the client should go to `url`.
        redirect: bool,
        /// The token of the session.
        token: String,
        /// Where to go.
        url: Option<String>,
        /// Who it is.
        user: User,
    }
}

impl SignInEmail {
    /// `POST /sign-in/email`
    async fn sign_in(
        &self,
        cx: &mut Ctx,
        FormBody(body): FormBody<SignInBody>,
        _: FormCsrf,
    ) -> Result<Json<SignInReply>> {
        let credentials = cx.credentials(&body.email, &body.password)?;
        let target = body.callback_url.as_deref().filter(|url| !url.is_empty());
        let location = match target.map(location) {
            Some(None) => return Err(Error::forbidden(Code::INVALID_CALLBACK_URL)),
            location => location.flatten(),
        };
        let signed_in = cx.sign_in_with_password(credentials, body.remember_me, nothing_more).await?;
        let redirect = location.is_some();
        if let Some(location) = location {
            cx.set_header(LOCATION, location);
        }
        Ok(Json(SignInReply {
            redirect,
            token: signed_in.session.token,
            url: body.callback_url,
            user: signed_in.user,
        }))
    }
}
