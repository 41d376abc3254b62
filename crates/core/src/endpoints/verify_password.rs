//! Whether somebody who is signed in knows their password: for applications that ask again before what is delicate.
//!
//! Upstream: `api/routes/password.ts`.

use super::password_length;
use crate::prelude::*;
use ::http::StatusCode;

pub(crate) struct VerifyPassword;

impl Plugin for VerifyPassword {
    const ID: &'static str = "verify-password";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup
            .post("/verify-password", Self::verify)
            .summary("Checks the password of whoever is signed in.")
            .refuses(StatusCode::BAD_REQUEST, [Code::PASSWORD_TOO_LONG, Code::INVALID_PASSWORD])
            .refuses(StatusCode::TOO_MANY_REQUESTS, [Code::TOO_MANY_ATTEMPTS]);
    }
}

input! {
    /// A password.
    pub(crate) struct VerifyPasswordBody {
        /// The password to check.
        password: Password,
    }
}

output! {
    /// It is the right one.
    pub(crate) struct Verified {
        /// Always true.
        status: bool,
    }
}

impl VerifyPassword {
    /// `POST /verify-password`
    async fn verify(
        &self,
        cx: &mut Ctx,
        Body(body): Body<VerifyPasswordBody>,
        SensitiveSession(signed_in): SensitiveSession,
    ) -> Result<Json<Verified>> {
        password_length::not_too_long(&cx.config().email_and_password, &body.password)?;
        let account = cx.accounts().credential(&signed_in.user.id).await?;
        let stored = account.and_then(|account| account.password).filter(|stored| !stored.is_empty());
        let attempt = Attempt {
            told_as: Happening::PASSWORD_CHECK_FAILED,
            account: &signed_in.user.email,
            user_id: Some(&signed_in.user.id),
            stored: stored.as_deref(),
        };
        if !cx.check_password(attempt, &body.password).await? {
            return Err(Error::bad_request(Code::INVALID_PASSWORD));
        }
        Ok(Json(Verified { status: true }))
    }
}
