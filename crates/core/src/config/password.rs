use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{num::NonZeroUsize, path::PathBuf};

/// `[password]`
#[derive(Debug, Clone, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct PasswordOptions {
    /// How new passwords are hashed. `auto` is bcrypt, but scrypt in a database that holds upstream's hashes.
    pub hash: HashName,
    /// The work factor of bcrypt.
    pub bcrypt_cost: u32,
    /// Threads that hash; as many as cores when absent.
    pub threads: Option<NonZeroUsize>,
    /// Hashes that may wait for a thread; beyond it, 503.
    pub queue: usize,
    /// Wrong passwords for one account after which it takes none, right or wrong, until the quiet period is over or
    /// the password is reset; 0 counts nothing.
    pub max_failures: u32,
    /// Wrong passwords after which each further attempt is answered later; 0 delays nothing.
    pub delay_after: u32,
    /// Seconds without a failure after which an account's failures are forgotten.
    pub quiet_period: u32,
    /// Refuse common passwords for new accounts and new passwords.
    pub blocklist: bool,
    /// A file of more passwords to refuse, one a line.
    pub blocklist_file: Option<PathBuf>,
}

impl Default for PasswordOptions {
    fn default() -> Self {
        Self {
            hash: HashName::Auto,
            bcrypt_cost: 10,
            threads: None,
            queue: 512,
            max_failures: 100,
            delay_after: 10,
            quiet_period: 3600,
            blocklist: false,
            blocklist_file: None,
        }
    }
}

/// A way to hash passwords, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HashName {
    /// bcrypt, unless the database already holds upstream's scrypt hashes.
    Auto,
    /// What most systems read.
    Bcrypt,
    /// Upstream's.
    Scrypt,
    /// The most memory-hard.
    Argon2id,
}

impl PasswordOptions {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        if !(4..=16).contains(&self.bcrypt_cost) {
            problems.push(format!("password.bcrypt-cost = {}: must be 4 to 16", self.bcrypt_cost));
        }
        if self.quiet_period == 0 {
            problems.push(
                "password.quiet-period = 0: must be at least 1 second; password.max-failures = 0 counts nothing"
                    .to_owned(),
            );
        }
    }
}
