use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[audit]`
#[derive(Debug, Clone, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct AuditOptions {
    /// Write down who did what, from where and with what outcome, in a table that only grows; `narthex audit` shows it.
    pub enabled: bool,
    /// Seconds after which what was written down is deleted; 0 keeps it for ever.
    pub retention: u32,
    /// Failures that each process writes down in a minute; the rest is only counted, in a row of its own.
    pub failures_per_minute: u32,
    /// The table's name in the database.
    pub model_name: Option<String>,
}

impl Default for AuditOptions {
    fn default() -> Self {
        Self { enabled: true, retention: 7_776_000, failures_per_minute: 300, model_name: None }
    }
}
