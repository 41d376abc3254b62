use super::{AdditionalField, Names};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[account]`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct AccountOptions {
    /// Several ways to sign in for one user.
    pub account_linking: AccountLinking,
    /// The table's name in the database.
    pub model_name: Option<String>,
    /// Columns by the name of the field that is kept in them.
    pub fields: Names<String>,
    /// Fields beyond upstream's.
    pub additional_fields: Names<AdditionalField>,
}

/// `[account.account-linking]`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct AccountLinking {
    /// Whether somebody may give up their last way to sign in.
    pub allow_unlinking_all: bool,
}
