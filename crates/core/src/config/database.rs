use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[database]`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct DatabaseOptions {
    /// Where it is: `sqlite://path`, or `postgres://user:password@host/database`. Whoever builds the engine opens it.
    pub url: Option<String>,
    /// What to do about missing tables and columns at start.
    pub migrate: Migrate,
}

/// What to do about missing tables and columns at start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Migrate {
    /// Add them.
    #[default]
    Auto,
    /// Refuse to start.
    Check,
    /// Do not look.
    Off,
}
