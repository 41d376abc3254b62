use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[email-and-password]`
#[derive(Debug, Clone, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct EmailAndPassword {
    /// Whether people can sign in this way. On, unlike upstream: a server without any way in is of no use.
    pub enabled: bool,
    /// Refuse new accounts.
    pub disable_sign_up: bool,
    /// Refuse to sign in before the address is verified. Nothing here verifies one yet.
    pub require_email_verification: bool,
    /// Shortest password, in UTF-16 units as JavaScript counts.
    pub min_password_length: usize,
    /// Longest password, in UTF-16 units.
    pub max_password_length: usize,
    /// Sign in right after signing up.
    pub auto_sign_in: bool,
}

impl Default for EmailAndPassword {
    fn default() -> Self {
        Self {
            enabled: true,
            disable_sign_up: false,
            require_email_verification: false,
            min_password_length: 8,
            max_password_length: 128,
            auto_sign_in: true,
        }
    }
}

impl EmailAndPassword {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        let (shortest, longest) = (self.min_password_length, self.max_password_length);
        if longest == 0 {
            problems.push("email-and-password.max-password-length = 0: must be at least 1".to_owned());
        } else if shortest > longest {
            problems.push(format!(
                "email-and-password.min-password-length = {shortest}: must not exceed max-password-length = {longest}"
            ));
        }
    }
}
