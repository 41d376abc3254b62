//! The shape of a value as data, and as JSON schema 2020-12.
//!
//! A schema is ordered: properties stand as they were declared, so that what is generated from it does not change
//! between builds. Every property knows its Rust name beside its wire name, so that the same description can check a
//! tree that is spelled another way (the kebab-case configuration file).

use std::borrow::Cow;

use serde_json::{Map, Value, json};

/// The shape of a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    /// What kind of value it is.
    pub kind: Kind,
    /// What it is for, in one or more sentences.
    pub description: Option<Cow<'static, str>>,
    /// What is assumed when it is left out.
    pub default: Option<Value>,
}

/// The kinds of values.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Any JSON value.
    Any,
    /// `true` or `false`, or only the given one.
    Boolean {
        /// The only value allowed.
        only: Option<bool>,
    },
    /// A number.
    Number {
        /// No fractions, and within what a double holds exactly.
        integer: bool,
        /// The smallest number allowed.
        minimum: Option<i64>,
        /// The number that must be exceeded.
        more_than: Option<i64>,
        /// The largest number allowed.
        maximum: Option<i64>,
    },
    /// Text.
    Text {
        /// The least number of characters.
        minimum: usize,
        /// The greatest number of characters.
        maximum: Option<usize>,
        /// The name that JSON schema gives to this kind of text.
        format: Option<&'static str>,
        /// A regular expression that the text matches.
        pattern: Option<&'static str>,
    },
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// A list.
    List {
        /// The shape of each element.
        items: Box<Schema>,
        /// The least number of elements.
        minimum: usize,
        /// The greatest number of elements.
        maximum: Option<usize>,
    },
    /// An object with names the client chooses.
    Entries(Box<Schema>),
    /// An object with the given members.
    Object(ObjectSchema),
    /// The inner shape, or null.
    Nullable(Box<Schema>),
    /// One of several shapes.
    AnyOf(Vec<Schema>),
}

/// An object with declared members.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectSchema {
    /// The name of the Rust struct.
    pub name: &'static str,
    /// What it is, wherever it stands.
    pub description: Option<Cow<'static, str>>,
    /// The members in order.
    pub properties: Vec<Property>,
    /// What happens to other members.
    pub others: Others,
    /// Members that are known once the tables are.
    pub columns: Option<Columns>,
}

/// The columns of a table that plugins and the operator add, as members of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    /// The table, as declared.
    pub table: &'static str,
    /// What the object is.
    pub usage: ColumnUse,
}

/// What an object is to the record whose columns it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnUse {
    /// The record in a reply.
    Shown,
    /// What a client gives for a new record.
    Given,
    /// What a client changes in a record.
    Changed,
}

/// What happens to members that were not declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// They are dropped.
    Ignored,
    /// They are a mistake.
    Refused,
    /// They are kept.
    Kept,
    /// They are kept by a second schema that the value must also match.
    KeptBeside,
}

/// A declared member of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// The name on the wire.
    pub name: &'static str,
    /// The name of the Rust field.
    pub field: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// Its shape.
    pub schema: Schema,
}

impl Schema {
    /// A shape without description.
    pub fn new(kind: Kind) -> Self {
        Self { kind, description: None, default: None }
    }

    /// Text of any length.
    pub fn text() -> Self {
        Self::new(Kind::Text { minimum: 0, maximum: None, format: None, pattern: None })
    }

    /// Text in a named format.
    pub fn format(format: &'static str) -> Self {
        Self::new(Kind::Text { minimum: 0, maximum: None, format: Some(format), pattern: None })
    }

    /// Any number.
    pub fn number() -> Self {
        Self::new(Kind::Number { integer: false, minimum: None, more_than: None, maximum: None })
    }

    /// An integer.
    pub fn integer() -> Self {
        Self::new(Kind::Number { integer: true, minimum: None, more_than: None, maximum: None })
    }

    /// `true` or `false`.
    pub fn boolean() -> Self {
        Self::new(Kind::Boolean { only: None })
    }

    /// A list of `items`.
    pub fn list(items: Self) -> Self {
        Self::new(Kind::List { items: Box::new(items), minimum: 0, maximum: None })
    }

    /// `inner` or null.
    pub fn nullable(inner: Self) -> Self {
        Self::new(Kind::Nullable(Box::new(inner)))
    }

    /// With this description, unless it is blank.
    #[must_use]
    pub fn described(mut self, description: &'static str) -> Self {
        if let Some(description) = tidy(description) {
            // What is said first is said of the object, what is said later of the place where it stands.
            if let Kind::Object(object) = &mut self.kind {
                object.description.get_or_insert_with(|| description.clone());
            }
            self.description = Some(description);
        }
        self
    }

    /// With what is assumed when the value is left out.
    #[must_use]
    pub fn or(mut self, default: Value) -> Self {
        self.default = Some(default);
        self
    }

    /// The type in a word or two, for lists that people read: `text`, `list of number`, `email or null`.
    pub fn type_name(&self) -> Cow<'static, str> {
        match &self.kind {
            Kind::Any => "any".into(),
            Kind::Boolean { .. } => "boolean".into(),
            Kind::Number { integer: true, .. } => "integer".into(),
            Kind::Number { .. } => "number".into(),
            Kind::Text { format, .. } => format.unwrap_or("text").into(),
            Kind::Choice(words) => words.join(" | ").into(),
            Kind::List { items, .. } => format!("list of {}", items.type_name()).into(),
            Kind::Entries(values) => format!("map of {}", values.type_name()).into(),
            Kind::Object(object) => object.name.into(),
            Kind::Nullable(inner) => format!("{} or null", inner.type_name()).into(),
            Kind::AnyOf(options) => {
                options.iter().map(Schema::type_name).collect::<Vec<_>>().join(" or ").into()
            }
        }
    }

    /// The members, if this is an object.
    pub fn properties(&self) -> &[Property] {
        match &self.kind {
            Kind::Object(object) => &object.properties,
            _ => &[],
        }
    }

    /// The shape as JSON schema 2020-12, spelled as upstream spells it.
    pub fn to_json(&self) -> Value {
        self.to_json_with(&mut Inline)
    }

    /// The same, with objects written in another way.
    pub(crate) fn to_json_with(&self, objects: &mut dyn WriteObject) -> Value {
        let mut schema = self.kind.to_json(objects);
        if let Some(default) = &self.default {
            schema.insert("default".into(), default.clone());
        }
        let is_said_there = schema.contains_key("$ref")
            && matches!(&self.kind, Kind::Object(object) if object.description == self.description);
        if let Some(description) = self.description.as_ref().filter(|_| !is_said_there) {
            schema.insert("description".into(), Value::String(description.clone().into_owned()));
        }
        Value::Object(schema)
    }
}

impl ObjectSchema {
    /// An object without members yet.
    pub fn new(name: &'static str, others: Others) -> Self {
        Self { name, description: None, properties: Vec::new(), others, columns: None }
    }

    /// Adds a member.
    pub fn property(&mut self, name: &'static str, field: &'static str, required: bool, schema: Schema) {
        self.properties.push(Property { name, field, required, schema });
    }

    /// The object itself; `objects` writes those in it.
    pub(crate) fn to_json(&self, objects: &mut dyn WriteObject) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("type".into(), "object".into());
        let properties = self
            .properties
            .iter()
            .map(|property| (property.name.to_owned(), property.schema.to_json_with(objects)))
            .collect();
        object.insert("properties".into(), Value::Object(properties));
        let required: Vec<_> = self.properties.iter().filter(|property| property.required).collect();
        if !required.is_empty() {
            object.insert("required".into(), required.iter().map(|property| property.name).collect());
        }
        match self.others {
            Others::Ignored => object,
            Others::Refused => with(object, "additionalProperties", Value::Bool(false)),
            Others::Kept => with(object, "additionalProperties", json!({})),
            Others::KeptBeside => {
                let any = entries_json(&Schema::new(Kind::Any), objects);
                let both = vec![Value::Object(object), Value::Object(any)];
                with(Map::new(), "allOf", Value::Array(both))
            }
        }
    }
}

/// How objects are written: where they stand, or somewhere else.
pub(crate) trait WriteObject {
    fn write(&mut self, object: &ObjectSchema) -> Map<String, Value>;
}

struct Inline;

impl WriteObject for Inline {
    fn write(&mut self, object: &ObjectSchema) -> Map<String, Value> {
        object.to_json(self)
    }
}

impl Kind {
    fn to_json(&self, objects: &mut dyn WriteObject) -> Map<String, Value> {
        match self {
            Self::Any => Map::new(),
            Self::Boolean { only: None } => of_type("boolean"),
            Self::Boolean { only: Some(only) } => with(of_type("boolean"), "const", Value::Bool(*only)),
            Self::Number { integer, minimum, more_than, maximum } => {
                const SAFE: i64 = super::javascript::MAX_SAFE_INTEGER;
                let mut schema = of_type(if *integer { "integer" } else { "number" });
                if let Some(more_than) = more_than {
                    schema.insert("exclusiveMinimum".into(), (*more_than).into());
                }
                let assumed = (*integer && more_than.is_none()).then_some(-SAFE);
                if let Some(minimum) = minimum.or(assumed) {
                    schema.insert("minimum".into(), minimum.into());
                }
                if let Some(maximum) = maximum.or(integer.then_some(SAFE)) {
                    schema.insert("maximum".into(), maximum.into());
                }
                schema
            }
            Self::Text { minimum, maximum, format, pattern } => {
                let mut schema = of_type("string");
                insert_bounds(&mut schema, "minLength", *minimum, "maxLength", *maximum);
                if let Some(format) = format {
                    schema.insert("format".into(), (*format).into());
                }
                if let Some(pattern) = pattern {
                    schema.insert("pattern".into(), (*pattern).into());
                }
                schema
            }
            Self::Choice([word]) => with(of_type("string"), "const", (*word).into()),
            Self::Choice(words) => with(of_type("string"), "enum", words.iter().copied().collect()),
            Self::List { items, minimum, maximum } => {
                let mut schema = with(of_type("array"), "items", items.to_json_with(objects));
                insert_bounds(&mut schema, "minItems", *minimum, "maxItems", *maximum);
                schema
            }
            Self::Entries(values) => entries_json(values, objects),
            Self::Object(object) => objects.write(object),
            Self::Nullable(inner) => any_of(vec![inner.to_json_with(objects), json!({ "type": "null" })]),
            Self::AnyOf(options) => {
                any_of(options.iter().map(|option| option.to_json_with(objects)).collect())
            }
        }
    }
}

fn entries_json(values: &Schema, objects: &mut dyn WriteObject) -> Map<String, Value> {
    let schema = with(of_type("object"), "propertyNames", json!({ "type": "string" }));
    with(schema, "additionalProperties", values.to_json_with(objects))
}

/// Alternatives that are nothing but a type are written as a list of types.
fn any_of(options: Vec<Value>) -> Map<String, Value> {
    let types: Option<Vec<Value>> = options
        .iter()
        .map(|option| match option.as_object() {
            Some(object) if object.len() == 1 => object.get("type").cloned(),
            _ => None,
        })
        .collect();
    match types {
        Some(types) => with(Map::new(), "type", Value::Array(types)),
        None => with(Map::new(), "anyOf", Value::Array(options)),
    }
}

fn of_type(name: &str) -> Map<String, Value> {
    with(Map::new(), "type", name.into())
}

fn with(mut schema: Map<String, Value>, name: &str, value: Value) -> Map<String, Value> {
    schema.insert(name.to_owned(), value);
    schema
}

fn insert_bounds(
    schema: &mut Map<String, Value>,
    least: &str,
    minimum: usize,
    greatest: &str,
    maximum: Option<usize>,
) {
    if minimum > 0 {
        schema.insert(least.to_owned(), minimum.into());
    }
    if let Some(maximum) = maximum {
        schema.insert(greatest.to_owned(), maximum.into());
    }
}

/// The text of doc comments without their indentation; none if nothing was written.
fn tidy(documentation: &'static str) -> Option<Cow<'static, str>> {
    let trimmed = documentation.trim();
    if trimmed.is_empty() {
        return None;
    }
    if trimmed.contains('\n') {
        let lines: Vec<_> = trimmed.lines().map(str::trim).collect();
        return Some(Cow::Owned(lines.join("\n")));
    }
    Some(Cow::Borrowed(trimmed))
}
