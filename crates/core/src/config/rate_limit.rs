use super::Names;
use crate::plugin::Rate;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor},
    ser::SerializeMap as _,
};
use std::{borrow::Cow, collections::BTreeMap, fmt};

/// `[rate-limit]`
#[derive(Debug, Clone, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RateLimitOptions {
    /// Whether requests are counted; in production, when absent.
    pub enabled: Option<bool>,
    /// Seconds after which a client that has paused may begin anew.
    pub window: u32,
    /// Requests that a client may make to one endpoint within the window.
    pub max: u32,
    /// Where requests are counted. `secondary-storage` where there is one when absent, else `database` on PostgreSQL,
    /// where several processes may serve, else `memory`.
    pub storage: Option<RateLimitStorage>,
    /// Other limits for some paths, the first that matches: `{ window, max }`, or `false` for none.
    pub custom_rules: CustomRules,
    /// The table's name in the database.
    pub model_name: Option<String>,
    /// Columns by the name of the field that is kept in them.
    pub fields: Names<String>,
}

/// Where requests are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RateLimitStorage {
    /// In this process.
    Memory,
    /// In the table `rateLimit`.
    Database,
    /// In the secondary storage.
    SecondaryStorage,
}

/// Limits by path, in the order in which they are written. `*` is one segment of a path or a part of it, `**` any
/// number of segments.
#[derive(Debug, Clone, Default)]
pub struct CustomRules(pub Vec<(String, Option<Rate>)>);

impl Default for RateLimitOptions {
    fn default() -> Self {
        Self {
            enabled: None,
            window: 10,
            max: 100,
            storage: None,
            custom_rules: CustomRules::default(),
            model_name: None,
            fields: Names::default(),
        }
    }
}

impl RateLimitOptions {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        let mut check = |key: String, number: u32| {
            if number == 0 {
                problems.push(format!("{key} = 0: must be at least 1"));
            }
        };
        check("rate-limit.window".to_owned(), self.window);
        check("rate-limit.max".to_owned(), self.max);
        for (path, rate) in &self.custom_rules.0 {
            if let Some(rate) = rate {
                check(format!("rate-limit.custom-rules.{path:?}.window"), rate.window);
                check(format!("rate-limit.custom-rules.{path:?}.max"), rate.max);
            }
        }
        for (path, _) in &self.custom_rules.0 {
            if !path.starts_with(['/', '*']) {
                problems.push(format!(
                    "rate-limit.custom-rules.{path:?}: must be a path below the base path, such as \"/sign-in/*\""
                ));
            }
        }
    }
}

#[derive(Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Limit {
    /// Seconds.
    window: u32,
    /// Requests within them.
    max: u32,
}

#[derive(Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
enum Rule {
    /// So many requests within so many seconds.
    Limit(Limit),
    /// `false`: no limit.
    Switch(bool),
}

impl Serialize for CustomRules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rules = serializer.serialize_map(Some(self.0.len()))?;
        for (path, rate) in &self.0 {
            let rule = match *rate {
                Some(Rate { max, window }) => Rule::Limit(Limit { window, max }),
                None => Rule::Switch(false),
            };
            rules.serialize_entry(path, &rule)?;
        }
        rules.end()
    }
}

impl JsonSchema for CustomRules {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "CustomRules".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeMap::<String, Rule>::json_schema(generator)
    }
}

impl<'de> Deserialize<'de> for CustomRules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = CustomRules;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of paths")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let wrong = |path: &str| {
                    let mistake = format!(
                        "rate-limit.custom-rules.{path:?}: must be {{ window = seconds, max = requests }}, or false"
                    );
                    A::Error::custom(mistake)
                };
                let mut rules = Vec::new();
                while let Some(path) = map.next_key::<String>()? {
                    let rate = match map.next_value().map_err(|_| wrong(&path))? {
                        Rule::Limit(Limit { window, max }) => Some(Rate { max, window }),
                        Rule::Switch(false) => None,
                        Rule::Switch(true) => return Err(wrong(&path)),
                    };
                    rules.push((path, rate));
                }
                Ok(CustomRules(rules))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}
