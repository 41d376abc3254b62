use super::cookies::LONGEST_COOKIE;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[session.cookie-cache]`
#[derive(Debug, Clone, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct CookieCacheOptions {
    /// A second cookie remembers session and user, and most requests need no database. What was changed or ended
    /// elsewhere is seen when it runs out.
    pub enabled: bool,
    /// How long it is believed, in seconds.
    pub max_age: u32,
    /// How it is written: signed and readable (`compact`, `jwt`), or encrypted (`jwe`).
    pub strategy: CacheStrategy,
    /// Another version makes all that is in browsers worthless; `1` when absent.
    pub version: Option<String>,
    /// Accepted, and without effect: it is for servers without a database, and this one has one. Upstream switches it
    /// off as well.
    pub refresh_cache: RefreshCache,
}

/// How the cookie cache is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheStrategy {
    /// JSON with an HMAC: the shortest.
    Compact,
    /// A JSON Web Token, HS256.
    Jwt,
    /// An encrypted token, A256CBC-HS512.
    Jwe,
}

/// Whether the cookie cache is renewed without asking the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(untagged, expecting = "must be true, false or { update-age = seconds }")]
pub enum RefreshCache {
    /// In its last fifth, or never.
    Switch(bool),
    /// This many seconds before it runs out.
    Before(RefreshBefore),
}

/// `[session.cookie-cache.refresh-cache]`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RefreshBefore {
    /// How long before its end it is renewed, in seconds.
    pub update_age: Option<u32>,
}

impl Default for CookieCacheOptions {
    fn default() -> Self {
        Self {
            enabled: false,
            max_age: 300,
            strategy: CacheStrategy::Compact,
            version: None,
            refresh_cache: RefreshCache::Switch(false),
        }
    }
}

impl CookieCacheOptions {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        if self.max_age == 0 || self.max_age > LONGEST_COOKIE {
            problems.push(format!(
                "session.cookie-cache.max-age = {}: must be 1 to {LONGEST_COOKIE} seconds",
                self.max_age
            ));
        }
    }
}
