//! Signing in with an email address and a password.
//!
//! An unknown address, an account without a password and a wrong password answer alike and cost alike: the same
//! statements, one hash, one failure counted. Whoever loses to a change of the password is answered as if they had come
//! after it, and has no session.
//!
//! Upstream: `api/routes/sign-in.ts`.

use super::password_length;
use crate::{
    context::Method,
    http::location,
    input::is_email,
    model::{Account, User},
    prelude::*,
};
use ::http::header::LOCATION;

pub(crate) struct SignInEmail;

impl Plugin for SignInEmail {
    const ID: &'static str = "sign-in-email";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.post("/sign-in/email", Self::sign_in);
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
        /// Whether the session outlives the browser's. True when absent.
        remember_me: Option<bool>,
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
        let options = cx.config().email_and_password.clone();
        if !options.enabled {
            return Err(Error::bad_request(Code::EMAIL_PASSWORD_DISABLED));
        }
        if !is_email(&body.email) {
            return Err(Error::bad_request(Code::INVALID_EMAIL));
        }
        password_length::not_too_long(&options, &body.password)?;
        let target = body.callback_url.as_deref().filter(|url| !url.is_empty());
        let location = match target.map(location) {
            Some(None) => return Err(Error::forbidden(Code::INVALID_CALLBACK_URL)),
            location => location.flatten(),
        };

        let user = cx.users().by_email(&body.email).await?;
        let account = cx.accounts().credential(user.as_ref().map_or("", |user| &user.id)).await?;
        let stored =
            account.as_ref().and_then(|account| account.password.clone()).filter(|stored| !stored.is_empty());
        let attempt = Attempt {
            told_as: Happening::SIGN_IN_FAILED,
            account: &body.email,
            user_id: user.as_ref().map(|user| &*user.id),
            stored: stored.as_deref(),
        };
        let is_right = cx.check_password(attempt, &body.password).await?;
        let (true, Some(user), Some(account), Some(stored)) = (is_right, user, account, stored) else {
            return Err(wrong());
        };
        if options.require_email_verification && !user.email_verified {
            tell_failure(cx, Happening::EMAIL_NOT_VERIFIED, &body.email, &user.id).await;
            return Err(Error::forbidden(Code::EMAIL_NOT_VERIFIED));
        }
        let user_id = user.id.clone();
        let account = if cx.is_outdated(&stored) {
            rehashed(cx, account, &body.password).await?
        } else {
            Some(account)
        };
        let remember = body.remember_me != Some(false);
        let sign_in = SignIn { user, method: Method::Password, remember };
        let signed_in = match account {
            Some(account) => cx.sign_in_by_password(sign_in, &account).await?,
            None => None,
        };
        let Some(signed_in) = signed_in else {
            tell_failure(cx, Happening::WRONG_CREDENTIALS, &body.email, &user_id).await;
            return Err(wrong());
        };
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

/// A wrong password is told where it is compared; this is what else keeps somebody out.
async fn tell_failure(cx: &Ctx, reason: &'static str, email: &str, user_id: &str) {
    let failed = Happening::failed(Happening::SIGN_IN_FAILED, reason);
    cx.happened(failed.of(user_id).account(cx.account_hash(email))).await;
}

fn wrong() -> Error {
    Error::unauthorized(Code::INVALID_EMAIL_OR_PASSWORD)
}

/// The account with a hash of the scheme in force; `None` when its password has changed since it was compared.
async fn rehashed(cx: &mut Ctx, account: Account, password: &Secret) -> Result<Option<Account>> {
    let hash = cx.hash(password).await?;
    let rehashed = cx.transact(async |tx: &mut Tx| tx.accounts().rehash(&account, hash).await).await?;
    if rehashed.is_some() {
        return Ok(rehashed);
    }
    // Somebody who signed in with the same password at the same moment has done it, if it still is that password.
    let current = cx.accounts().credential(&account.user_id).await?;
    let stored = current.as_ref().and_then(|account| account.password.as_deref());
    Ok(if cx.verify(stored, password).await? { current } else { None })
}
