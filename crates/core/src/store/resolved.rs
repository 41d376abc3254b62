//! The resolved schema: what was declared, merged, with the operator's names and kind of ids, once, when `Auth` is
//! built. Everything that knows a table at run time (statements, migrations, `narthex routes`) reads it from here.
//!
//! Code says declared names everywhere; only statements and migrations see those of the database.
//! Upstream: `packages/core/src/db/get-tables.ts`, `adapter/get-field-name.ts`, `adapter/get-id-field.ts`.

use super::{
    error::StoreError,
    schema::{Fallback, Field, Kind, Table},
    sql::Join,
    value::{Record, Value},
};
use crate::{env::Env, time::Time};
use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

/// Who makes the ids of new rows, and of which type they are. Everywhere but in the tables they are text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ids {
    /// We do: 32 letters and digits.
    #[default]
    Letters,
    /// We do: a random UUID.
    Uuid,
    /// The database does: it counts.
    Serial,
    /// The database does, in a way we do not know.
    Database,
}

/// What the operator decides about the tables.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// The ids of all tables.
    pub ids: Ids,
    /// The schema that the tables are in, on PostgreSQL; what the connection says when absent.
    pub namespace: Option<String>,
    /// By declared name.
    pub tables: Vec<(&'static str, TableLayout)>,
}

/// What the operator decides about one table.
#[derive(Debug, Clone, Default)]
pub struct TableLayout {
    /// The section of the configuration that says all this.
    pub section: &'static str,
    /// Its name in the database.
    pub name: Option<String>,
    /// Columns by declared name.
    pub columns: Vec<(String, String)>,
    /// Columns of the operator's own.
    pub fields: Vec<Field>,
}

/// One table of the resolved schema, with the texts every statement on it begins with.
#[derive(Debug)]
pub struct ResolvedTable {
    /// Its name, as declared.
    pub name: &'static str,
    /// Its name in the database.
    pub relation: String,
    /// The same in quotes, behind its schema where that is named: where statements look for it.
    pub(crate) place: String,
    /// All columns but `id`: core's, then plugins' in registration order, then the operator's.
    pub fields: Vec<Field>,
    /// `"id", "name", …`: what every statement selects or returns.
    pub(crate) columns: String,
    /// The same with the table's name before each, for joins.
    pub(crate) qualified: String,
    pub(crate) ids: Ids,
    /// How many of the fields its declaration has.
    own: usize,
    /// How many of the fields are not the operator's.
    installed: usize,
    is_renamed: bool,
    fills: bool,
    is_elsewhere: bool,
    /// See [`super::sql::find_with_parent`].
    pub(super) join: OnceLock<Join>,
}

impl ResolvedTable {
    fn new(merged: Merged, ids: Ids, namespace: Option<&str>) -> Self {
        let Merged { table, relation, own, installed } = merged;
        let ids = if table.has_own_ids { Ids::Letters } else { ids };
        let names = || std::iter::once("id").chain(table.fields.iter().map(Field::column));
        let columns = names().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let qualified =
            names().map(|name| format!("\"{relation}\".\"{name}\"")).collect::<Vec<_>>().join(", ");
        let place = match namespace {
            Some(namespace) => format!("\"{namespace}\".\"{relation}\""),
            None => format!("\"{relation}\""),
        };
        let is_renamed = table.fields.iter().any(|field| field.column.is_some());
        let fills = table.fields.iter().skip(own).any(|field| field.default.is_some());
        Self {
            name: table.name,
            relation,
            place,
            fields: table.fields,
            columns,
            qualified,
            ids,
            own,
            installed,
            is_renamed,
            fills,
            is_elsewhere: table.is_elsewhere,
            join: OnceLock::new(),
        }
    }

    /// Whether its records are kept somewhere else, so that the database has no such table.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.is_elsewhere
    }

    /// The declared column of this name; `id` is not among them.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The field that is kept in this column; `id` is not among them.
    pub fn kept_in(&self, column: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.column() == column)
    }

    /// Columns beyond the table's own declaration in the order in which upstream reads them from a request: the
    /// operator's, then plugins'.
    pub fn additional(&self) -> impl Iterator<Item = &Field> {
        let plugins = self.fields.iter().take(self.installed).skip(self.own);
        self.fields.iter().skip(self.installed).chain(plugins)
    }

    /// Columns beyond the table's own declaration, in the order in which rows have them.
    pub fn extra(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().skip(self.own)
    }

    /// Kinds of `id` and the columns, in the order statements return them.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = Kind> + Clone + Send {
        std::iter::once(Kind::Text).chain(self.fields.iter().map(|field| field.kind))
    }

    /// Whether at most one row can have a given value in this column.
    pub(crate) fn is_unique(&self, column: &str) -> bool {
        column == "id" || self.field(column).is_some_and(|field| field.unique)
    }

    /// The name in the database of a declared column.
    pub(crate) fn column<'a>(&'a self, name: &'a str) -> &'a str {
        if self.is_renamed { self.field(name).map_or(name, Field::column) } else { name }
    }

    /// Whether ids that this column holds have a type of their own in the database.
    pub(crate) fn has_typed_key(&self, column: &str) -> bool {
        matches!(self.ids, Ids::Serial | Ids::Uuid)
            && (column == "id" || self.field(column).is_some_and(Field::is_key))
    }

    /// Makes a new row whole: what the database is to fill in is left out, what has a default gets it.
    pub(crate) fn complete(&self, record: &mut Record, now: Time) {
        if matches!(record.get("id"), Some(Value::Text(id)) if id.is_empty()) {
            record.remove("id");
        }
        if !self.fills {
            return;
        }
        for field in self.extra() {
            let is_missing = match record.get(&field.name) {
                None => true,
                Some(value) => field.required && *value == Value::Null,
            };
            if let (true, Some(default)) = (is_missing, &field.default) {
                record.set(field.name.clone().into_owned(), default.value(now));
            }
        }
    }
}

impl Fallback {
    /// What it is for a row made now.
    pub(crate) fn value(&self, now: Time) -> Value {
        match self {
            Self::Now => Value::Time(now),
            Self::Value(value) => value.clone(),
        }
    }
}

/// A number as a database writes it, which is the only way in which it is an id.
pub(crate) fn serial(id: &str) -> Option<i64> {
    let number: i64 = id.parse().ok()?;
    (!id.starts_with(['+', '0']) && !id.starts_with("-0") || id == "0").then_some(number)
}

/// The bytes of a UUID as a database writes it, which is the only way in which it is an id.
pub(crate) fn uuid(id: &str) -> Option<[u8; 16]> {
    let text = id.as_bytes();
    let mut bytes = [0; 16];
    let mut digits = 0;
    for (position, character) in text.iter().enumerate() {
        if matches!(position, 8 | 13 | 18 | 23) {
            if *character != b'-' {
                return None;
            }
            continue;
        }
        let digit = match character {
            b'0'..=b'9' => character - b'0',
            b'a'..=b'f' => character - b'a' + 10,
            _ => return None,
        };
        let byte = bytes.get_mut(digits / 2)?;
        *byte = *byte << 4 | digit;
        digits += 1;
    }
    (text.len() == 36).then_some(bytes)
}

/// A random UUID (RFC 9562, version 4).
pub(crate) fn new_uuid(env: &Env) -> String {
    let mut bytes = [0; 16];
    env.entropy.fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    uuid_text(bytes)
}

/// The text of a UUID.
pub(crate) fn uuid_text(bytes: [u8; 16]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(36);
    for (position, byte) in bytes.iter().enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// All tables, in the order they are created.
#[derive(Debug, Default)]
pub struct Schema {
    tables: Vec<Arc<ResolvedTable>>,
    pub(crate) ids: Ids,
    pub(super) namespace: Option<String>,
}

/// A table on its way to be resolved.
struct Merged {
    table: Table,
    relation: String,
    own: usize,
    installed: usize,
}

impl Schema {
    /// Merges what was declared: a table declared once, then extended, then changed by the operator. Problems are
    /// listed, not returned one by one.
    pub fn resolve(
        tables: impl IntoIterator<Item = Table>,
        extensions: impl IntoIterator<Item = (&'static str, Field)>,
        layout: Layout,
    ) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut merged: Vec<Merged> = Vec::new();
        for table in tables {
            if merged.iter().any(|other| other.table.name == table.name) {
                problems.push(format!("table \"{}\" is declared twice", table.name));
            } else {
                let relation = table.relation.clone().unwrap_or_else(|| table.name.to_owned());
                let own = table.fields.len();
                merged.push(Merged { table, relation, own, installed: own });
            }
        }
        for (name, field) in extensions {
            match merged.iter_mut().find(|merged| merged.table.name == name) {
                None => problems.push(format!(
                    "column \"{}\" extends table \"{name}\", which no one declares",
                    field.name
                )),
                Some(merged) if merged.table.fields.iter().any(|other| other.name == field.name) => {
                    problems.push(format!("column \"{}\" of table \"{name}\" is declared twice", field.name));
                }
                Some(merged) => {
                    merged.table.fields.push(field);
                    merged.installed += 1;
                }
            }
        }
        for (name, decisions) in layout.tables {
            if let Some(merged) = merged.iter_mut().find(|merged| merged.table.name == name) {
                merged.lay_out(decisions, &mut problems);
            }
        }
        check_references(&merged, &mut problems);
        check_names(&merged, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let (ids, namespace) = (layout.ids, layout.namespace);
        let resolve = |merged| Arc::new(ResolvedTable::new(merged, ids, namespace.as_deref()));
        let tables: Vec<_> = merged.into_iter().map(resolve).collect();
        Ok(Self { tables, ids, namespace })
    }

    /// All tables that the database has, in the order they are created.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<ResolvedTable>> {
        self.tables.iter().filter(|table| !table.is_elsewhere)
    }

    /// One table, by its declared name.
    pub fn table(&self, name: &str) -> Option<&Arc<ResolvedTable>> {
        // There are a dozen or two, which takes less time than a hash of the name.
        self.tables.iter().find(|table| table.name == name)
    }

    /// An error of the database's in declared names.
    pub(crate) fn declared(&self, error: StoreError) -> StoreError {
        let StoreError::Unique { table, column } = error else { return error };
        match self.tables.iter().find(|other| other.relation == table) {
            Some(ours) => {
                let column = match ours.kept_in(&column) {
                    Some(field) => field.name.clone().into_owned(),
                    None => column,
                };
                StoreError::Unique { table: ours.name.to_owned(), column }
            }
            None => StoreError::Unique { table, column },
        }
    }
}

impl Merged {
    fn lay_out(&mut self, decisions: TableLayout, problems: &mut Vec<String>) {
        let (name, section) = (self.table.name, decisions.section);
        self.table.section = Some(section);
        for field in decisions.fields {
            if self.table.fields.iter().any(|other| other.name == field.name) {
                problems.push(format!(
                    "{section}.additional-fields.{0}: \"{name}\" has a field \"{0}\" already",
                    field.name
                ));
            } else {
                self.table.fields.push(field);
            }
        }
        for (field, column) in decisions.columns {
            match self.table.fields.iter_mut().take(self.own).find(|other| other.name == field) {
                Some(found) => found.column = Some(column.into()).filter(|column| *column != found.name),
                None => problems.push(format!(
                    "{section}.fields.{field} = {column:?}: \"{name}\" has no field \"{field}\"; its own are {}",
                    self.table
                        .fields
                        .iter()
                        .take(self.own)
                        .map(|field| &*field.name)
                        .collect::<Vec<_>>()
                        .join(", ")
                )),
            }
        }
        if let Some(relation) = decisions.name {
            self.relation = relation;
        }
    }
}

fn check_references(merged: &[Merged], problems: &mut Vec<String>) {
    for Merged { table, .. } in merged {
        for field in &table.fields {
            let Some(reference) = &field.references else { continue };
            let target = merged.iter().find(|other| other.table.name == reference.table);
            match target {
                None => problems.push(format!(
                    "\"{}\".\"{}\" references unknown table \"{}\"",
                    table.name, field.name, reference.table
                )),
                Some(target)
                    if reference.field != "id"
                        && target.table.fields.iter().all(|other| other.name != reference.field) =>
                {
                    problems.push(format!(
                        "\"{}\".\"{}\" references unknown column \"{}\" of \"{}\"",
                        table.name, field.name, reference.field, reference.table
                    ));
                }
                Some(_) => {}
            }
        }
    }
}

/// Names are quoted in every statement, so reserved words are as good as others; SQLite does not tell capital letters
/// from small ones.
fn check_names(merged: &[Merged], problems: &mut Vec<String>) {
    let mut relations = HashMap::new();
    for Merged { table, relation, .. } in merged {
        let section = table.section.unwrap_or(table.name);
        if let Some(problem) = no_name(relation) {
            problems.push(format!("{section}.model-name = {relation:?}: {problem}"));
        }
        if relation.to_lowercase().starts_with("sqlite_") {
            problems.push(format!("{section}.model-name = {relation:?}: SQLite keeps such names for itself"));
        }
        if let Some(other) = relations.insert(relation.to_lowercase(), table.name) {
            problems.push(format!("\"{other}\" and \"{}\" are both kept in \"{relation}\"", table.name));
        }
        let mut columns = HashMap::from([("id".to_owned(), "id")]);
        for field in &table.fields {
            let column = field.column();
            if let Some(problem) = no_name(column) {
                problems
                    .push(format!("\"{}\".\"{}\" is kept in {column:?}: {problem}", table.name, field.name));
            }
            if let Some(other) = columns.insert(column.to_lowercase(), &field.name) {
                problems.push(format!(
                    "\"{}\".\"{other}\" and \"{}\".\"{}\" are both kept in \"{column}\"",
                    table.name, table.name, field.name
                ));
            }
        }
    }
}

/// What is wrong with a name; `None` for a good one.
fn no_name(name: &str) -> Option<&'static str> {
    if name.is_empty() || name.len() > 63 {
        Some("a name has 1 to 63 bytes")
    } else if !name
        .chars()
        .all(|character| character.is_alphanumeric() || matches!(character, '_' | '-' | '$'))
    {
        Some("a name has letters, digits, _, - and $")
    } else {
        None
    }
}
