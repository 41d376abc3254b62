//! The endpoints every installation has: one file for each first segment of a path, as upstream's `api/routes`.

mod change_password;
mod error;
mod list_accounts;
mod ok;
mod password_rules;
pub(crate) mod session;
mod sessions;
mod sign_in;
mod sign_out;
mod sign_up;
mod unlink_account;
mod update_session;
mod update_user;
mod verify_password;

use crate::auth::AuthBuilder;

/// In upstream's order; they come in through the same door as everyone else's.
pub(crate) fn install(builder: AuthBuilder) -> AuthBuilder {
    builder
        .plugin(session::GetSession)
        .plugin(sign_out::SignOut)
        .plugin(sign_up::SignUpEmail)
        .plugin(sign_in::SignInEmail)
        .plugin(verify_password::VerifyPassword)
        .plugin(change_password::ChangePassword)
        .plugin(sessions::UserSessions)
        .plugin(list_accounts::ListAccounts)
        .plugin(unlink_account::UnlinkAccount)
        .plugin(update_user::UpdateUser)
        .plugin(update_session::UpdateSession)
        .plugin(ok::OkEndpoint)
        .plugin(error::ErrorPage)
}

/// Whether a password is too short or too long, in UTF-16 units as JavaScript counts them.
pub(crate) mod password_length {
    use crate::{
        config::EmailAndPassword,
        error::{Code, Error, Result},
        secret::Secret,
    };

    pub(crate) fn not_too_long(options: &EmailAndPassword, password: &Secret) -> Result<()> {
        if password.expose().encode_utf16().count() > options.max_password_length {
            return Err(Error::bad_request(Code::PASSWORD_TOO_LONG));
        }
        Ok(())
    }

    pub(crate) fn not_too_short(options: &EmailAndPassword, password: &Secret) -> Result<()> {
        if password.expose().encode_utf16().count() < options.min_password_length {
            return Err(Error::bad_request(Code::PASSWORD_TOO_SHORT));
        }
        Ok(())
    }
}
