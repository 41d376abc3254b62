use serde::Deserialize;
use std::num::NonZeroUsize;

/// `[password]`
#[derive(Debug, Clone, Deserialize)]
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
}

impl Default for PasswordOptions {
    fn default() -> Self {
        Self { hash: HashName::Auto, bcrypt_cost: 10, threads: None, queue: 512 }
    }
}

/// A way to hash passwords, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
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
    }
}
