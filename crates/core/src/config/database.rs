use serde::Deserialize;

/// `[database]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct DatabaseOptions {
    /// What to do about missing tables and columns at start.
    pub migrate: Migrate,
}

/// What to do about missing tables and columns at start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
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
