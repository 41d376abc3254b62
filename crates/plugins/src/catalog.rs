//! `[plugins.<id>]`: what there is, one line each.

use crate::{bearer::Bearer, jwt::Jwt, token_api::TokenApi};
use narthex::AuthBuilder;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, MapAccess, Visitor},
};
use std::{borrow::Cow, fmt};

/// The plugins that are installed, in the order in which they stand in the configuration: upstream's hooks run in the
/// order of its list.
#[derive(Debug, Clone, Default)]
pub struct Plugins(Vec<Installed>);

macro_rules! catalog {
    ($($id:literal $plugin:ident $what:literal)*) => {
        #[derive(Debug, Clone, Serialize)]
        #[serde(untagged)]
        enum Installed {
            $($plugin(Box<$plugin>),)*
        }

        /// A type of its own, so that a plugin that is not there is told with those that are.
        #[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
        #[serde(field_identifier)]
        enum Id {
            $(#[serde(rename = $id)] $plugin,)*
        }

        impl Installed {
            fn id(&self) -> &'static str {
                match self {
                    $(Self::$plugin(_) => $id,)*
                }
            }

            fn read<'de, A: MapAccess<'de>>(id: Id, map: &mut A) -> Result<Self, A::Error> {
                Ok(match id {
                    $(Id::$plugin => Self::$plugin(Box::new(map.next_value()?)),)*
                })
            }

            fn install(self, builder: AuthBuilder) -> AuthBuilder {
                match self {
                    $(Self::$plugin(plugin) => builder.plugin(*plugin),)*
                }
            }
        }

        /// What there is.
        const IDS: &[&str] = &[$($id),*];

        fn schemas(generator: &mut SchemaGenerator) -> Vec<(&'static str, Schema)> {
            vec![$(($id, described(generator.subschema_for::<$plugin>(), $what)),)*]
        }
    };
}

catalog! {
    "jwt" Jwt "Tokens that other servers verify on their own."
    "bearer" Bearer "Sessions for clients without cookies."
    "token-api" TokenApi "Signing in without cookies, for an access token and a refresh token."
}

fn described(mut schema: Schema, what: &str) -> Schema {
    schema.insert("description".to_owned(), what.into());
    schema
}

impl Plugins {
    /// All that there are, as far as they do without options: for what documents them.
    pub fn all() -> Self {
        let read = |id: &&str| serde_json::from_value::<Self>(serde_json::json!({ *id: {} })).ok();
        Self(IDS.iter().filter_map(read).flat_map(|plugins| plugins.0).collect())
    }

    /// Installs them in their order.
    #[must_use]
    pub fn install(&self, builder: AuthBuilder) -> AuthBuilder {
        self.0.iter().cloned().fold(builder, |builder, plugin| plugin.install(builder))
    }
}

impl<'de> Deserialize<'de> for Plugins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sections;

        impl<'de> Visitor<'de> for Sections {
            type Value = Plugins;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a table for each plugin")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Plugins, A::Error> {
                let mut plugins: Vec<Installed> = Vec::new();
                while let Some(id) = map.next_key::<Id>()? {
                    let plugin = Installed::read(id, &mut map)?;
                    if plugins.iter().any(|other| other.id() == plugin.id()) {
                        return Err(A::Error::duplicate_field(plugin.id()));
                    }
                    plugins.push(plugin);
                }
                Ok(Plugins(plugins))
            }
        }

        deserializer.deserialize_map(Sections)
    }
}

impl Serialize for Plugins {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|plugin| (plugin.id(), plugin)))
    }
}

impl JsonSchema for Plugins {
    fn schema_name() -> Cow<'static, str> {
        "Plugins".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let properties: serde_json::Map<_, _> =
            schemas(generator).into_iter().map(|(id, schema)| (id.to_owned(), schema.into())).collect();
        json_schema!({ "type": "object", "properties": properties, "additionalProperties": false })
    }
}
