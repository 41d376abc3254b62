//! Text that must not be printed: passwords, keys, tokens.
//!
//! A [`Secret`] shows `***` wherever it is formatted or serialised, and overwrites its memory when it is
//! dropped. Reading it takes the word `expose`, so that every use can be found.

use crate::crypto::derive_key;
use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroize;

/// A piece of text that is hidden from logs and wiped from memory when dropped.
#[derive(Clone, Default)]
pub struct Secret(String);

impl Secret {
    /// Takes the text over; the caller's allocation becomes the secret's and is wiped with it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A secret of its own for one purpose, as 64 hexadecimal digits: who learns it has not learnt this one.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Self {
        let key = derive_key(self.0.as_bytes(), purpose.as_bytes());
        let digits = key.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        Self(digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect())
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Secret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        String::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn formatting_a_secret_shows_only_stars() {
        let secret = Secret::new("correct horse");
        assert_eq!(format!("{secret:?} {secret}"), "*** ***");
        assert_eq!(format!("{:?}", Some(&secret)), "Some(***)");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
    }

    #[test]
    fn a_secret_is_read_from_configuration_text() {
        let secret: Secret = serde_json::from_str("\"correct horse\"").unwrap();
        assert_eq!(secret.expose(), "correct horse");
        assert!(serde_json::from_str::<Secret>("5").is_err());
    }
}
