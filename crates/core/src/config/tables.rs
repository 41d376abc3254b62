use crate::{
    input::as_javascript,
    model::fields,
    store::{Fallback, Field, Ids, Kind, Layout, OnDelete, Reference, TableLayout, Value},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, MapAccess, Visitor},
};
use std::{borrow::Cow, collections::BTreeMap, fmt, marker::PhantomData};

/// `[user]`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct UserOptions {
    /// The table's name in the database.
    pub model_name: Option<String>,
    /// Columns by the name of the field that is kept in them.
    pub fields: Names<String>,
    /// Fields beyond upstream's.
    pub additional_fields: Names<AdditionalField>,
}

/// Who makes the ids of new rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GenerateId {
    /// We do: random UUIDs.
    Uuid,
    /// The database counts.
    Serial,
    /// The database, however it does.
    Never,
}

impl<'de> Deserialize<'de> for GenerateId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::Bool(false) => Ok(Self::Never),
            serde_json::Value::String(word) if word == "uuid" => Ok(Self::Uuid),
            serde_json::Value::String(word) if word == "serial" => Ok(Self::Serial),
            _ => Err(D::Error::custom("must be \"uuid\", \"serial\" or false")),
        }
    }
}

impl Serialize for GenerateId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Uuid => serializer.serialize_str("uuid"),
            Self::Serial => serializer.serialize_str("serial"),
            Self::Never => serializer.serialize_bool(false),
        }
    }
}

impl JsonSchema for GenerateId {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "GenerateId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": ["uuid", "serial", false] })
    }
}

/// Entries with names that the operator chose, in the order in which they were written.
#[derive(Debug, Clone, PartialEq)]
pub struct Names<T>(pub Vec<(String, T)>);

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Names<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Names<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Names(entries))
            }
        }

        deserializer.deserialize_map(Entries(PhantomData))
    }
}

impl<T: Serialize> Serialize for Names<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, entry)| (name, entry)))
    }
}

impl<T: JsonSchema> JsonSchema for Names<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("NamesOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeMap::<String, T>::json_schema(generator)
    }
}

/// A field of the operator's own.
#[derive(Debug, Clone, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AdditionalField {
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: FieldType,
    /// The only texts it may hold; any when absent.
    #[serde(default)]
    pub values: Vec<String>,
    /// Whether every record has a value. True when absent.
    #[serde(default = "yes")]
    pub required: bool,
    /// What a record has when nobody gives it a value; `"now"` for a date is the time at which it is made.
    #[serde(alias = "default-value")]
    pub default: Option<serde_json::Value>,
    /// Whether clients may set it. True when absent.
    #[serde(default = "yes")]
    pub input: bool,
    /// Whether replies show it. True when absent.
    #[serde(default = "yes")]
    pub returned: bool,
    /// Whether no two records share a value.
    #[serde(default)]
    pub unique: bool,
    /// Whether it has an index.
    #[serde(default)]
    pub index: bool,
    /// Whether a number has 64 bits, not 32.
    #[serde(default)]
    pub bigint: bool,
    /// Accepted for upstream's sake: makes no difference on SQLite and PostgreSQL.
    #[serde(default)]
    pub sortable: bool,
    /// What it points at.
    pub references: Option<FieldReference>,
    /// Its name in the table; its own when absent.
    #[serde(alias = "field-name")]
    pub column: Option<String>,
}

fn yes() -> bool {
    true
}

/// What an additional field holds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(
    untagged,
    expecting = "must be \"string\", \"number\", \"boolean\", \"date\", \"json\", \"string[]\", \"number[]\" or a list of texts"
)]
pub enum FieldType {
    /// A type by its name.
    Named(TypeName),
    /// One of these texts.
    OneOf(Vec<String>),
}

/// The types of additional fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
pub enum TypeName {
    /// Text.
    #[serde(rename = "string")]
    Text,
    /// A number.
    #[serde(rename = "number")]
    Number,
    /// True or false.
    #[serde(rename = "boolean")]
    Boolean,
    /// A point in time.
    #[serde(rename = "date")]
    Date,
    /// Any JSON.
    #[serde(rename = "json")]
    Json,
    /// A list of texts.
    #[serde(rename = "string[]")]
    StringList,
    /// A list of numbers.
    #[serde(rename = "number[]")]
    NumberList,
}

/// What an additional field points at.
#[derive(Debug, Clone, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FieldReference {
    /// The table, by upstream's name.
    pub model: String,
    /// Its field; `id` when absent.
    #[serde(default = "id")]
    pub field: String,
    /// What becomes of the record when the other goes; `cascade` when absent.
    #[serde(default = "cascade")]
    pub on_delete: OnDelete,
}

fn id() -> String {
    "id".to_owned()
}

fn cascade() -> OnDelete {
    OnDelete::Cascade
}

/// Members of a request that are no fields, or are handled before them.
const TAKEN: [&str; 5] = ["id", "password", "callbackURL", "rememberMe", "__proto__"];

impl AdditionalField {
    fn resolve(&self, table: &str, name: &str, problems: &mut Vec<String>) -> Field {
        let at = format!("{table}.additional-fields.{name}");
        if TAKEN.contains(&name) {
            problems.push(format!("{at}: the name means something else already"));
        }
        let named = match &self.kind {
            FieldType::Named(named) => *named,
            FieldType::OneOf(_) => TypeName::Text,
        };
        let values = match &self.kind {
            FieldType::OneOf(values) => values.clone(),
            FieldType::Named(_) => self.values.clone(),
        };
        if !values.is_empty() && named != TypeName::Text {
            problems
                .push(format!("{at}.values: only a field of type = \"string\" can be one of several texts"));
        }
        if matches!(&self.kind, FieldType::OneOf(values) if values.is_empty()) {
            problems.push(format!("{at}.type = []: needs at least one text"));
        }
        if self.bigint && named != TypeName::Number {
            problems.push(format!("{at}.bigint = true: only a field of type = \"number\" can have it"));
        }
        let kind = match named {
            TypeName::Text => Kind::Text,
            TypeName::Number if self.bigint => Kind::BigInteger,
            TypeName::Number => Kind::Integer,
            TypeName::Boolean => Kind::Bool,
            TypeName::Date => Kind::Time,
            TypeName::Json => Kind::Json,
            TypeName::StringList => Kind::TextList,
            TypeName::NumberList => Kind::NumberList,
        };
        let mut field = Field::new(name.to_owned(), kind);
        field.column = self.column.clone().filter(|column| column != name).map(Into::into);
        field.required = self.required;
        field.unique = self.unique;
        field.index = self.index;
        field.hidden = !self.returned;
        field.input = self.input;
        field.values = values;
        field.references = self.references.as_ref().map(|reference| Reference {
            table: reference.model.clone().into(),
            field: reference.field.clone().into(),
            on_delete: reference.on_delete,
        });
        field.default = self.default.as_ref().and_then(|default| match default {
            serde_json::Value::String(now) if now == "now" && kind == Kind::Time => Some(Fallback::Now),
            default => {
                let mut value = default.clone();
                as_javascript(&mut value);
                match fields::value_of(&field, value) {
                    Ok(value) => {
                        Some(Fallback::Value(value)).filter(|value| *value != Fallback::Value(Value::Null))
                    }
                    Err(problem) => {
                        problems.push(format!("{at}.default = {default}: {problem}"));
                        None
                    }
                }
            }
        });
        field
    }
}

impl super::Config {
    /// What the operator decides about the tables.
    pub(crate) fn layout(&self, problems: &mut Vec<String>) -> Layout {
        let ids = match self.advanced.database.generate_id {
            None => Ids::Letters,
            Some(GenerateId::Uuid) => Ids::Uuid,
            Some(GenerateId::Serial) => Ids::Serial,
            Some(GenerateId::Never) => Ids::Database,
        };
        let mut tables = Vec::new();
        let (user, session, account, verification) =
            (&self.user, &self.session, &self.account, &self.verification);
        let (counts, no_more, no_columns) = (&self.rate_limit, &Names::default(), &Names::default());
        let sections = [
            ("user", "user", &user.model_name, &user.fields, &user.additional_fields),
            ("session", "session", &session.model_name, &session.fields, &session.additional_fields),
            ("account", "account", &account.model_name, &account.fields, &account.additional_fields),
            (
                "verification",
                "verification",
                &verification.model_name,
                &verification.fields,
                &verification.additional_fields,
            ),
            ("rateLimit", "rate-limit", &counts.model_name, &counts.fields, no_more),
            ("audit_log", "audit", &self.audit.model_name, no_columns, no_more),
        ];
        for (name, section, relation, columns, additional) in sections {
            let fields =
                additional.0.iter().map(|(field, options)| options.resolve(name, field, problems)).collect();
            let (relation, columns) = (relation.clone(), columns.0.clone());
            tables.push((name, TableLayout { section, name: relation, columns, fields }));
        }
        Layout { ids, namespace: None, tables }
    }
}
