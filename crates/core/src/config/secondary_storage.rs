use serde::Deserialize;

/// `[secondary-storage]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SecondaryStorageOptions {
    /// Redis or Valkey: `redis://host:6379/0`, or `unix:///path`. Sessions are kept there then, not in the database,
    /// and requests are counted there.
    pub url: Option<String>,
    /// What every key begins with.
    pub key_prefix: String,
}

impl Default for SecondaryStorageOptions {
    fn default() -> Self {
        Self { url: None, key_prefix: "better-auth:".to_owned() }
    }
}
