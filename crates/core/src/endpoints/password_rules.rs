//! What a new password has to be like, wherever one is set.

use super::password_length;
use crate::{
    context::Ctx,
    error::{Code, Error, Result},
    secret::Secret,
};

/// What [`Ctx::password_rules`] refuses with.
pub(super) const CODES: [Code; 3] =
    [Code::PASSWORD_TOO_SHORT, Code::PASSWORD_TOO_LONG, Code::PASSWORD_COMPROMISED];

impl Ctx {
    /// Refuses a new password that is too short, too long, or on the blocklist.
    pub fn password_rules(&self, password: &Secret) -> Result<()> {
        let options = &self.config().email_and_password;
        password_length::not_too_short(options, password)?;
        password_length::not_too_long(options, password)?;
        if self.engine.blocklist.contains(password.expose()) {
            return Err(Error::bad_request(Code::PASSWORD_COMPROMISED));
        }
        Ok(())
    }
}
