//! The declared schema: what core, plugins and the operator say a table is.
//!
//! Upstream: `packages/core/src/db/type.ts`, `get-tables.ts`.

use super::value::Value;
use std::borrow::Cow;

/// What kind of value a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text of any length.
    Text,
    /// A 32-bit whole number.
    Integer,
    /// A 64-bit whole number.
    BigInteger,
    /// True or false.
    Bool,
    /// A point in time.
    Time,
    /// A JSON document.
    Json,
    /// Several texts, kept as JSON.
    TextList,
    /// Several numbers, kept as JSON.
    NumberList,
}

/// What a column has when nobody gives it a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Fallback {
    /// The time at which the row is made.
    Now,
    /// Always the same.
    Value(Value),
}

/// A column of another table that a column points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The table, as declared.
    pub table: Cow<'static, str>,
    /// The column, as declared.
    pub field: Cow<'static, str>,
    /// What becomes of the row when the row it points at goes.
    pub on_delete: OnDelete,
}

/// What becomes of a row when the row it points at goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema, serde::Serialize)]
pub enum OnDelete {
    /// It goes too.
    #[serde(rename = "cascade")]
    Cascade,
    /// It points at nothing.
    #[serde(rename = "set null")]
    SetNull,
    /// It gets the column's default.
    #[serde(rename = "set default")]
    SetDefault,
    /// The row it points at cannot go.
    #[serde(rename = "restrict")]
    Restrict,
    /// As `restrict`, checked at the end of the statement.
    #[serde(rename = "no action")]
    NoAction,
}

impl OnDelete {
    pub(crate) fn sql(self) -> &'static str {
        match self {
            Self::Cascade => "cascade",
            Self::SetNull => "set null",
            Self::SetDefault => "set default",
            Self::Restrict => "restrict",
            Self::NoAction => "no action",
        }
    }
}

/// A column, as declared.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its name on the wire and, unless renamed, in the table.
    pub name: Cow<'static, str>,
    /// What it means, for the documentation.
    pub about: &'static str,
    /// Its name in the table, where that is another.
    pub column: Option<Cow<'static, str>>,
    /// What it holds.
    pub kind: Kind,
    /// `not null`.
    pub required: bool,
    /// No two rows share a value.
    pub unique: bool,
    /// An index of its own.
    pub index: bool,
    /// What it points at.
    pub references: Option<Reference>,
    /// What it has when nobody gives it a value.
    pub default: Option<Fallback>,
    /// The only texts it may hold; any when empty.
    pub values: Vec<String>,
    /// Never part of a reply.
    pub hidden: bool,
    /// Whether clients may set it.
    pub input: bool,
}

impl Field {
    /// A column of this kind.
    pub fn new(name: impl Into<Cow<'static, str>>, kind: Kind) -> Self {
        Self {
            name: name.into(),
            about: "",
            column: None,
            kind,
            required: true,
            unique: false,
            index: false,
            references: None,
            default: None,
            values: Vec::new(),
            hidden: false,
            input: true,
        }
    }

    /// A text column.
    pub fn text(name: impl Into<Cow<'static, str>>) -> Self {
        Self::new(name, Kind::Text)
    }

    /// A 32-bit number column.
    pub fn integer(name: impl Into<Cow<'static, str>>) -> Self {
        Self::new(name, Kind::Integer)
    }

    /// A 64-bit number column.
    pub fn big_integer(name: impl Into<Cow<'static, str>>) -> Self {
        Self::new(name, Kind::BigInteger)
    }

    /// A true-or-false column.
    pub fn bool(name: impl Into<Cow<'static, str>>) -> Self {
        Self::new(name, Kind::Bool)
    }

    /// A time column.
    pub fn time(name: impl Into<Cow<'static, str>>) -> Self {
        Self::new(name, Kind::Time)
    }

    /// A JSON column.
    pub fn json(name: impl Into<Cow<'static, str>>) -> Self {
        Self::new(name, Kind::Json)
    }

    /// What it means, for the documentation.
    #[must_use]
    pub fn about(mut self, about: &'static str) -> Self {
        self.about = about;
        self
    }

    /// May be NULL.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    /// No two rows share a value.
    #[must_use]
    pub fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    /// Gets an index named as upstream names it.
    #[must_use]
    pub fn index(mut self) -> Self {
        self.index = true;
        self
    }

    /// Points at the id of `table`; the row goes when that row goes.
    #[must_use]
    pub fn references(mut self, table: &'static str) -> Self {
        let table = table.into();
        self.references = Some(Reference { table, field: "id".into(), on_delete: OnDelete::Cascade });
        self
    }

    /// Gets this value when it is left out.
    #[must_use]
    pub fn default(mut self, value: impl Into<Value>) -> Self {
        self.default = Some(Fallback::Value(value.into()));
        self
    }

    /// Filled with the current time when left out; on PostgreSQL also by the database, as upstream's DDL says.
    #[must_use]
    pub fn default_now(mut self) -> Self {
        self.default = Some(Fallback::Now);
        self
    }

    /// Loaded, but never part of a reply.
    #[must_use]
    pub fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// Not for clients to set.
    #[must_use]
    pub fn no_input(mut self) -> Self {
        self.input = false;
        self
    }

    /// Its name in the table.
    pub fn column(&self) -> &str {
        self.column.as_deref().unwrap_or(&self.name)
    }

    /// Whether it holds the id of a row.
    pub(crate) fn is_key(&self) -> bool {
        self.references.as_ref().is_some_and(|reference| reference.field == "id")
    }
}

/// A table, as declared; every table has a text `id` as its key besides these fields.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// What a row is, for the documentation.
    pub about: &'static str,
    /// Its name in the database, where that is another.
    pub relation: Option<String>,
    /// The section of the configuration that says so: `plugins.jwt.schema.jwks`. Its own name when absent.
    pub section: Option<&'static str>,
    /// Its columns in upstream's order, without `id`.
    pub fields: Vec<Field>,
    /// Whether its ids are texts of ours, whatever ids the operator has chosen.
    pub has_own_ids: bool,
    /// Whether its records are kept somewhere else, so that the database has no such table.
    pub is_elsewhere: bool,
}

impl Table {
    /// A table without fields yet.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            about: "",
            relation: None,
            section: None,
            fields: Vec::new(),
            has_own_ids: false,
            is_elsewhere: false,
        }
    }

    /// What a row is, for the documentation.
    #[must_use]
    pub fn about(mut self, about: &'static str) -> Self {
        self.about = about;
        self
    }

    /// Adds a column.
    #[must_use]
    pub fn field(mut self, field: Field) -> Self {
        self.fields.push(field);
        self
    }

    /// Its ids are texts of ours that mean something, whatever ids the operator has chosen.
    #[must_use]
    pub fn own_ids(mut self) -> Self {
        self.has_own_ids = true;
        self
    }
}
