//! The declared schema: what core and plugins say their tables are, merged and resolved once, when `Auth` is built.
//!
//! Everything that knows a table at run time (statements, migrations, `narthex routes`) reads it from here.
//! Upstream: `packages/core/src/db/get-tables.ts`.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

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
}

/// A column, as declared.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its name on the wire and, unless renamed, in the table.
    pub name: Cow<'static, str>,
    /// What it holds.
    pub kind: Kind,
    /// `not null`.
    pub required: bool,
    /// No two rows share a value.
    pub unique: bool,
    /// An index of its own.
    pub index: bool,
    /// Rows go when the row of this table goes.
    pub references: Option<&'static str>,
    /// The database fills in the current time, where upstream's DDL says so.
    pub default_now: bool,
    /// Never part of a reply.
    pub hidden: bool,
    /// Whether clients may set it.
    pub input: bool,
}

impl Field {
    fn new(name: impl Into<Cow<'static, str>>, kind: Kind) -> Self {
        Self {
            name: name.into(),
            kind,
            required: true,
            unique: false,
            index: false,
            references: None,
            default_now: false,
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
        self.references = Some(table);
        self
    }

    /// Filled with the current time by the database when left out (PostgreSQL only, as upstream's DDL).
    #[must_use]
    pub fn default_now(mut self) -> Self {
        self.default_now = true;
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
}

/// A table, as declared; every table has a text `id` as its key besides these fields.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns in upstream's order, without `id`.
    pub fields: Vec<Field>,
}

impl Table {
    /// A table without fields yet.
    pub fn new(name: &'static str) -> Self {
        Self { name, fields: Vec::new() }
    }

    /// Adds a column.
    #[must_use]
    pub fn field(mut self, field: Field) -> Self {
        self.fields.push(field);
        self
    }
}

/// One table of the resolved schema, with the texts every statement on it begins with.
#[derive(Debug)]
pub struct ResolvedTable {
    /// Its name.
    pub name: &'static str,
    /// All columns but `id`: core's, then plugins' and the operator's in registration order.
    pub fields: Vec<Field>,
    /// `"id", "name", …`: what every statement selects or returns.
    pub(crate) columns: String,
    /// The same with the table's name before each, for joins.
    pub(crate) qualified: String,
}

impl ResolvedTable {
    fn new(table: Table) -> Self {
        let names = || std::iter::once("id").chain(table.fields.iter().map(|field| &*field.name));
        let columns = names().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let qualified =
            names().map(|name| format!("\"{}\".\"{name}\"", table.name)).collect::<Vec<_>>().join(", ");
        Self { name: table.name, fields: table.fields, columns, qualified }
    }

    /// The declared column of this name; `id` is not among them.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Kinds of `id` and the columns, in the order statements return them.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = Kind> + Clone + Send {
        std::iter::once(Kind::Text).chain(self.fields.iter().map(|field| field.kind))
    }

    /// Whether at most one row can have a given value in this column.
    pub(crate) fn is_unique(&self, column: &str) -> bool {
        column == "id" || self.field(column).is_some_and(|field| field.unique)
    }
}

/// All tables, in the order they are created.
#[derive(Debug, Default)]
pub struct Schema {
    tables: Vec<Arc<ResolvedTable>>,
    by_name: HashMap<&'static str, usize>,
}

impl Schema {
    /// Merges what was declared: a table declared once, then extended. Problems are listed, not returned one by one.
    pub fn resolve(
        tables: impl IntoIterator<Item = Table>,
        extensions: impl IntoIterator<Item = (&'static str, Field)>,
    ) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut merged: Vec<Table> = Vec::new();
        for table in tables {
            if merged.iter().any(|other| other.name == table.name) {
                problems.push(format!("table \"{}\" is declared twice", table.name));
            } else {
                merged.push(table);
            }
        }
        for (name, field) in extensions {
            match merged.iter_mut().find(|table| table.name == name) {
                None => problems.push(format!(
                    "column \"{}\" extends table \"{name}\", which no one declares",
                    field.name
                )),
                Some(table) if table.fields.iter().any(|other| other.name == field.name) => {
                    problems.push(format!("column \"{}\" of table \"{name}\" is declared twice", field.name));
                }
                Some(table) => table.fields.push(field),
            }
        }
        for table in &merged {
            for field in &table.fields {
                if let Some(target) =
                    field.references.filter(|target| merged.iter().all(|other| other.name != *target))
                {
                    problems.push(format!(
                        "\"{}\".\"{}\" references unknown table \"{target}\"",
                        table.name, field.name
                    ));
                }
                if field.name.contains('"') || field.name == "id" || field.name.is_empty() {
                    problems.push(format!("\"{}\" cannot be a column name", field.name));
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let tables: Vec<_> = merged.into_iter().map(|table| Arc::new(ResolvedTable::new(table))).collect();
        let by_name = tables.iter().enumerate().map(|(position, table)| (table.name, position)).collect();
        Ok(Self { tables, by_name })
    }

    /// All tables, in the order they are created.
    pub fn tables(&self) -> &[Arc<ResolvedTable>] {
        &self.tables
    }

    /// One table.
    pub fn table(&self, name: &str) -> Option<&Arc<ResolvedTable>> {
        self.tables.get(*self.by_name.get(name)?)
    }
}
