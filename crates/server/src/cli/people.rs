//! What the commands about users have in common.

use super::{
    Failure,
    database::{self, Access},
    note,
};
use crate::settings::{Flags, Settings};
use narthex::{Auth, Error, chain, model::User, store::StoreError};

/// The engine on the database of the configuration, as a server would have it.
pub(super) async fn open(flags: &Flags, access: Access) -> Result<Auth, Failure> {
    let settings = Settings::load(flags).map_err(Failure::Usage)?;
    database::existing(settings, access).await
}

/// The user with this address or id.
pub(super) async fn find(auth: &Auth, id_or_email: &str) -> Result<User, Failure> {
    let found = auth.find_user(id_or_email).await.map_err(|error| refused(auth, &error))?;
    found.ok_or_else(|| {
        Failure::Failed(format!(
            "there is no user with the id or address {id_or_email:?}; `narthex user list --search` looks for a part of it"
        ))
    })
}

/// Why the engine did not do it, for whoever typed the command.
pub(super) fn refused(auth: &Auth, error: &Error) -> Failure {
    let options = &auth.config().email_and_password;
    Failure::Failed(match error.code() {
        Some("PASSWORD_TOO_SHORT") => format!(
            "the password is shorter than {} characters (email-and-password.min-password-length)",
            options.min_password_length
        ),
        Some("PASSWORD_TOO_LONG") => format!(
            "the password is longer than {} characters (email-and-password.max-password-length)",
            options.max_password_length
        ),
        Some("USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL") => "somebody has this address already".to_owned(),
        Some("INVALID_EMAIL") => "this is no address that Better Auth's clients take".to_owned(),
        _ => match cause(error) {
            Some(cause) => chain(cause),
            None => error.message().to_owned(),
        },
    })
}

/// What the database says, or else what was the matter first.
fn cause(error: &Error) -> Option<&(dyn std::error::Error + 'static)> {
    let causes = || std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes().find(|cause| cause.is::<StoreError>()).or_else(|| causes().next())
}

/// Says what the end of a session means for browsers that remember it.
pub(super) fn warn_of_cookies(auth: &Auth) {
    let cache = &auth.config().session.cookie_cache;
    if cache.enabled {
        note(&format!(
            "browsers may go on with what their cookies remember for {} seconds (session.cookie-cache.max-age)",
            cache.max_age
        ));
    }
}
