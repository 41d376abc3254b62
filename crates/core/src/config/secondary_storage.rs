use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// `[secondary-storage]`
#[derive(Debug, Clone, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SecondaryStorageOptions {
    /// Redis or Valkey: `redis://host:6379/0`, or `unix:///path`. Sessions are kept there then, not in the database,
    /// and requests are counted there; who was signed in before has to sign in again.
    pub url: Option<String>,
    /// What every key begins with.
    pub key_prefix: String,
}

impl SecondaryStorageOptions {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        let Some(url) = &self.url else { return };
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        // The URL may hold a password, so that no message shows it.
        if matches!(scheme, "rediss" | "valkeys") {
            problems.push(format!(
                "secondary-storage.url: {scheme}:// needs TLS, which is not there yet; use redis:// over a private network or a tunnel"
            ));
        } else if !matches!(scheme, "redis" | "valkey" | "unix" | "redis+unix" | "valkey+unix")
            || Url::parse(url).is_err()
        {
            problems.push(
                "secondary-storage.url: must be redis://host:6379/0, redis://:password@host:6379/0 or unix:///path/to/socket"
                    .to_owned(),
            );
        }
    }
}

impl Default for SecondaryStorageOptions {
    fn default() -> Self {
        Self { url: None, key_prefix: "better-auth:".to_owned() }
    }
}
