//! A new password for somebody who knows the old one.
//!
//! Only the password that was checked is replaced: of several who change it at once one does, and the others are
//! answered as if they had come later. Ending the other sessions is part of the change, or neither happens.
//!
//! Upstream: `api/routes/update-user.ts`.

use super::{password_length, password_rules};
use crate::{input::Nullable, model::User, prelude::*};
use ::http::StatusCode;

pub(crate) struct ChangePassword;

impl Plugin for ChangePassword {
    const ID: &'static str = "change-password";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup
            .post("/change-password", Self::change)
            .summary("Replaces the password of whoever is signed in and knows it.")
            .refuses(StatusCode::BAD_REQUEST, password_rules::CODES)
            .refuses(StatusCode::BAD_REQUEST, [Code::CREDENTIAL_ACCOUNT_NOT_FOUND, Code::INVALID_PASSWORD])
            .refuses(StatusCode::TOO_MANY_REQUESTS, [Code::TOO_MANY_ATTEMPTS]);
    }
}

input! {
    /// The old password and the new one.
    pub(crate) struct ChangePasswordBody {
        /// The new password.
        new_password: Password,
        /// The password so far.
        current_password: Password,
        /// Whether to end all sessions and begin a new one.
        revoke_other_sessions: Option<bool>,
    }
}

output! {
    /// The password has changed.
    pub(crate) struct PasswordChanged {
        /// The token of the new session, if the others were ended.
        token: Nullable<String>,
        /// Whose password it is.
        user: User,
    }
}

impl ChangePassword {
    /// `POST /change-password`
    async fn change(
        &self,
        cx: &mut Ctx,
        Body(body): Body<ChangePasswordBody>,
        SensitiveSession(SignedIn { user, session }): SensitiveSession,
    ) -> Result<Json<PasswordChanged>> {
        cx.password_rules(&body.new_password)?;
        password_length::not_too_long(&cx.config().email_and_password, &body.current_password)?;
        let account = cx.accounts().credential(&user.id).await?;
        let with_password =
            account.filter(|account| account.password.as_deref().is_some_and(|stored| !stored.is_empty()));
        let Some(account) = with_password else {
            return Err(Error::bad_request(Code::CREDENTIAL_ACCOUNT_NOT_FOUND));
        };
        let attempt = Attempt {
            told_as: Happening::PASSWORD_CHECK_FAILED,
            account: &user.email,
            user_id: Some(&user.id),
            stored: account.password.as_deref(),
        };
        if !cx.check_password(attempt, &body.current_password).await? {
            return Err(Error::bad_request(Code::INVALID_PASSWORD));
        }
        let hash = cx.hash(&body.new_password).await?;

        let starts_session = body.revoke_other_sessions == Some(true);
        // Upstream: the new session lives as long as one that is remembered, even where the cookie says that it is
        // not (kept).
        let (client, lifetime) = (cx.client(), cx.session_lifetime(true));
        let session = cx
            .transact(async |tx: &mut Tx| {
                if tx.accounts().rehash(&account, hash).await?.is_none() {
                    return Err(Error::bad_request(Code::INVALID_PASSWORD));
                }
                let changed = Happening::new(Happening::PASSWORD_CHANGED);
                tx.happened(changed.of(&user.id).session(&session.id));
                if !starts_session {
                    return Ok(None);
                }
                let why = Happening::PASSWORD_CHANGE;
                tx.sessions().revoke_all(&user.id, why).await?;
                tx.sessions().create(&user.id, why, lifetime, client).await.map(Some)
            })
            .await?;
        let Some(session) = session else { return Ok(Json(PasswordChanged { token: None.into(), user })) };
        let signed_in = SignedIn { session, user };
        cx.set_session(&signed_in, cx.remembers()).await;
        let SignedIn { session, user } = signed_in;
        Ok(Json(PasswordChanged { token: Some(session.token).into(), user }))
    }
}
