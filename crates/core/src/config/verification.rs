use super::{AdditionalField, Names};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// `[verification]`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct VerificationOptions {
    /// How identifiers are kept, some of which are the secret in a link: `"plain"`, `"hashed"`, or
    /// `{ default, overrides }` with another way for identifiers that begin with some text.
    pub store_identifier: StoreIdentifier,
    /// Keep them in the database too, where there is a secondary storage.
    pub store_in_database: bool,
    /// Leave those in the database that nobody has redeemed in time.
    pub disable_cleanup: bool,
    /// The table's name in the database.
    pub model_name: Option<String>,
    /// Columns by the name of the field that is kept in them.
    pub fields: Names<String>,
    /// Fields beyond upstream's.
    pub additional_fields: Names<AdditionalField>,
}

/// How identifiers are kept.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(untagged, expecting = "must be \"plain\", \"hashed\" or { default = …, overrides = { … } }")]
pub enum StoreIdentifier {
    /// All in the same way.
    All(IdentifierForm),
    /// Some in another way.
    Some(IdentifierForms),
}

/// How an identifier is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentifierForm {
    /// As it is.
    #[default]
    Plain,
    /// Its SHA-256.
    Hashed,
}

/// How identifiers are kept that begin with some text, the first that matches, and all others.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct IdentifierForms {
    /// All others.
    pub default: IdentifierForm,
    /// By how they begin.
    #[serde(default)]
    pub overrides: Names<IdentifierForm>,
}

impl Default for StoreIdentifier {
    fn default() -> Self {
        Self::All(IdentifierForm::Plain)
    }
}

impl StoreIdentifier {
    /// The ways in which an identifier may have been kept, that in force first.
    pub(crate) fn kept(&self, identifier: &str) -> Vec<String> {
        let form = match self {
            Self::All(form) => *form,
            Self::Some(forms) => {
                let Names(overrides) = &forms.overrides;
                let first = overrides.iter().find(|(beginning, _)| identifier.starts_with(beginning));
                first.map_or(forms.default, |(_, form)| *form)
            }
        };
        match form {
            IdentifierForm::Plain => vec![identifier.to_owned()],
            // From before the option was set.
            IdentifierForm::Hashed => {
                vec![URL_SAFE_NO_PAD.encode(Sha256::digest(identifier)), identifier.to_owned()]
            }
        }
    }
}
