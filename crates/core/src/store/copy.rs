//! Copies every row of the declared tables from one database to another, of the same kind or of the other.
//!
//! The source is read in one transaction, so all that is copied was there at one moment, and is not written to. The
//! target is written in one transaction, which is committed once its rows, read again, have the same hashes: a copy that
//! was cut, or that found a value which the target cannot hold, leaves no row. A page of rows is all that is in memory.

mod digest;
mod exact;
mod postgres;
mod session;
mod sqlite;

use self::{
    digest::Sum,
    exact::{Exact, Flaw},
    postgres::ColumnType,
    session::Session,
};
use super::{
    Backend, Result, Store, StoreError,
    migrate::{self, Existing},
    postgres as postgres_store,
    resolved::{Ids, ResolvedTable, Schema},
    schema::{Field, Kind},
    sql::Dialect,
    value::Value,
};
use crate::config::DatabaseOptions;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Rows that are read and written at once.
const PAGE_ROWS: usize = 1_000;
/// Of rows that are large, as many as have about this size.
const PAGE_BYTES: usize = 1 << 20;

type Page = Vec<Vec<Exact>>;

/// A database that is only read: what a copy is made of.
pub struct Source {
    place: Place,
    schema: Arc<Schema>,
}

#[derive(Clone)]
enum Place {
    Sqlite(PathBuf),
    Postgres(postgres_store::Database),
}

/// How a copy is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct CopyOptions {
    /// Whether columns of the declared tables that nobody declares are left out. They stop the copy otherwise.
    pub leave_behind: bool,
}

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The table, as declared.
    pub table: &'a str,
    /// What is done with its rows.
    pub step: Step,
    /// How many rows that was done with.
    pub rows: u64,
    /// How many there are.
    pub all: u64,
}

/// What a copy does with rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Read from the source and written to the target.
    Copy,
    /// Read again from the target, before it is committed.
    Check,
}

/// What has been copied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copied {
    /// Each table, in the order in which they are made.
    pub tables: Vec<CopiedTable>,
    /// Columns that nobody declares, which were left out: `"user"."shoeSize"`.
    pub left_behind: Vec<String>,
    /// Declared tables that the target keeps elsewhere or does not need.
    pub not_needed: Vec<String>,
    /// Tables of the source that nobody declares.
    pub others: Vec<String>,
}

/// A table that has been copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedTable {
    /// Its name, as declared.
    pub name: &'static str,
    /// How many rows it has.
    pub rows: u64,
    /// The sum of its rows' hashes, which is the same in every database with these rows.
    pub hash: String,
    /// Times that had more than the milliseconds which are read of them, and have no more in the target.
    pub shortened: u64,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error("{0}")]
    Refused(String),
    #[error("the {side}")]
    Failed {
        side: &'static str,
        #[source]
        error: StoreError,
    },
}

fn source(error: StoreError) -> CopyError {
    CopyError::Failed { side: "source", error }
}

fn target(error: StoreError) -> CopyError {
    match error {
        StoreError::Unique { table, column } => CopyError::Refused(format!(
            "the target keeps every \"{table}\".\"{column}\" once, and the source has one twice; change or delete one of \
             the rows, then copy again"
        )),
        StoreError::Busy => CopyError::Refused(
            "something else writes to the target; stop what is served from it, then copy again".to_owned(),
        ),
        error => CopyError::Failed { side: "target", error },
    }
}

impl Source {
    /// Opens `sqlite://path`, which has to be there, or `postgres://…`. Nothing is ever written to it.
    pub async fn open(url: &str, options: &DatabaseOptions) -> Result<Self> {
        let place = match super::address(url, options)? {
            super::Address::Sqlite(path) if Path::new(path).is_file() => Place::Sqlite(path.into()),
            super::Address::Sqlite(path) => {
                return Err(StoreError::Unavailable(format!("there is no file {path}").into()));
            }
            super::Address::Postgres => Place::Postgres(postgres_store::Database::open(url, options).await?),
        };
        Ok(Self { place, schema: Arc::default() })
    }

    pub(crate) fn bind(mut self, schema: Schema) -> Self {
        self.schema = Arc::new(schema);
        self
    }

    /// The schema that the tables are in, where the operator has named one.
    pub(crate) fn namespace(&self) -> Option<&str> {
        match &self.place {
            Place::Sqlite(_) => None,
            Place::Postgres(database) => database.schema(),
        }
    }

    /// Whether other processes may have the same database open over a network.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.place, Place::Postgres(_))
    }
}

/// Makes the tables in `to` and copies the rows of those that both have.
pub(crate) async fn copy(
    from: &Source,
    to: &Store,
    options: CopyOptions,
    progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<Copied, CopyError> {
    let mut reading = Session::reading(&from.place).await.map_err(source)?;
    let place = match &to.backend {
        Backend::Sqlite(database) => Place::Sqlite(database.path().to_owned()),
        Backend::Postgres(database) => Place::Postgres(database.clone()),
    };
    let existing = reading.existing(&from.schema).await.map_err(source)?;
    let Plan { pairs, mut copied } = plan(from, to, &existing, options)?;
    let mut looking = Session::reading(&place).await.map_err(target)?;
    let identities = (
        reading.identity(&from.schema).await.map_err(source)?,
        looking.identity(&to.schema).await.map_err(target)?,
    );
    if identities.0 == identities.1 {
        return Err(CopyError::Refused("the target is the source".to_owned()));
    }
    refuse_rows(&looking.existing(&to.schema).await.map_err(target)?, &pairs)?;
    looking.end().await;
    for pair in &pairs {
        find_orphans(&reading, pair, &pairs).await?;
    }
    to.migrate(true).await.map_err(target)?;

    let mut writing = Session::writing(&place).await.map_err(target)?;
    let tables: Vec<_> = pairs.iter().map(|pair| &*pair.to).collect();
    let restore = writing.prepare(&to.schema, &tables).await.map_err(target)?;
    let existing = writing.existing(&to.schema).await.map_err(target)?;
    refuse_rows(&existing, &pairs)?;
    let mut sums = Vec::new();
    for pair in &pairs {
        let types = column_types(&pair.to, &existing, &place).map_err(target)?;
        let all = reading.count(&pair.from, pair.is_there).await.map_err(source)?;
        let mut transfer = Transfer { pair, types, all, sum: Sum::default(), rows: 0, shortened: 0 };
        if pair.is_there {
            transfer.run(&mut reading, &mut writing, progress).await?;
        }
        let last = reading.last_number(pair).await.map_err(source)?;
        sums.push((transfer, last));
    }
    reading.end().await;
    writing.settle(&restore).await.map_err(target)?;
    for (transfer, last) in sums {
        transfer.check(&mut writing, progress).await?;
        writing.count_on(&transfer.pair.to, &transfer.types, last).await.map_err(target)?;
        copied.tables.push(CopiedTable {
            name: transfer.pair.to.name,
            rows: transfer.rows,
            hash: transfer.sum.to_string(),
            shortened: transfer.shortened,
        });
    }
    writing.commit().await.map_err(target)?;
    Ok(copied)
}

/// A table on both sides.
struct Pair {
    from: Arc<ResolvedTable>,
    to: Arc<ResolvedTable>,
    /// Whether the source has it; one that upstream has made lacks ours.
    is_there: bool,
}

struct Plan {
    pairs: Vec<Pair>,
    copied: Copied,
}

/// What there is to copy, if the source's tables are as declared.
fn plan(from: &Source, to: &Store, existing: &Existing, options: CopyOptions) -> Result<Plan, CopyError> {
    let dialect = match from.place {
        Place::Sqlite(_) => Dialect::Sqlite,
        Place::Postgres(_) => Dialect::Postgres,
    };
    migrate::plan(&from.schema, existing, dialect).map_err(source)?;
    let (mut pairs, mut copied) = (Vec::new(), Copied::default());
    let (mut missing, mut undeclared) = (Vec::new(), Vec::new());
    for table in from.schema.tables() {
        let Some(other) = to.schema.table(table.name).filter(|other| !other.is_elsewhere()) else {
            copied.not_needed.push(table.name.to_owned());
            continue;
        };
        let present = existing.columns.get(&table.relation);
        if let Some(present) = present {
            let is_declared = |column: &str| column == "id" || table.kept_in(column).is_some();
            let named = |column: &str| format!("\"{}\".\"{column}\"", table.relation);
            undeclared
                .extend(present.keys().filter(|column| !is_declared(column)).map(|column| named(column)));
            let columns = std::iter::once("id").chain(table.fields.iter().map(Field::column));
            missing.extend(columns.filter(|column| !present.contains_key(*column)).map(named));
        }
        pairs.push(Pair { from: Arc::clone(table), to: Arc::clone(other), is_there: present.is_some() });
    }
    if !missing.is_empty() {
        return Err(CopyError::Refused(format!(
            "the source lacks {}; run `narthex migrate` on it, then copy again",
            missing.join(", ")
        )));
    }
    undeclared.sort_unstable();
    if !undeclared.is_empty() && !options.leave_behind {
        return Err(CopyError::Refused(format!(
            "the source has columns that nothing declares, and they would not be copied: {}; declare them in \
             additional-fields, or leave them out with --leave-behind",
            undeclared.join(", ")
        )));
    }
    if !pairs.iter().any(|pair| pair.is_there) {
        return Err(CopyError::Refused("the source has none of the tables that are to be copied".to_owned()));
    }
    copied.left_behind = undeclared;
    let is_declared = |name: &String| from.schema.tables().any(|table| table.relation == *name);
    let is_internal = |name: &String| dialect == Dialect::Sqlite && name.starts_with("sqlite_");
    copied.others =
        existing.columns.keys().filter(|name| !is_declared(name) && !is_internal(name)).cloned().collect();
    copied.others.sort_unstable();
    Ok(Plan { pairs, copied })
}

fn refuse_rows(existing: &Existing, pairs: &[Pair]) -> Result<(), CopyError> {
    let filled = pairs.iter().map(|pair| &pair.to.relation).filter(|name| existing.filled.contains(*name));
    let filled: Vec<_> = filled.map(|name| format!("\"{name}\"")).collect();
    if filled.is_empty() {
        return Ok(());
    }
    Err(CopyError::Refused(format!(
        "the target has rows already, in {}; a copy adds to nothing: use an empty database",
        filled.join(", ")
    )))
}

/// A row whose parent is missing, which a database may have whose references were not enforced.
async fn find_orphans(reading: &Session, pair: &Pair, pairs: &[Pair]) -> Result<(), CopyError> {
    let table = &pair.from;
    for field in table.fields.iter().filter(|_| pair.is_there) {
        let Some(reference) = &field.references else { continue };
        let Some(parent) = pairs.iter().find(|other| other.from.name == reference.table && other.is_there)
        else {
            continue;
        };
        let (place, column) = (&table.place, field.column());
        let (parent, key) = (&parent.from, parent.from.column(&reference.field));
        let query = format!(
            "select c.\"id\" from {place} c where c.\"{column}\" is not null \
             and not exists (select 1 from {} p where p.\"{key}\" = c.\"{column}\") limit 1",
            parent.place
        );
        if let Some(id) = reading.scalar(query, Kind::Text).await.map_err(source)? {
            return Err(CopyError::Refused(format!(
                "\"{}\".\"{column}\" of {} points at a row of \"{}\" that is not there; correct or delete it in the \
                 source, then copy again",
                table.relation,
                row_name(&id),
                parent.relation
            )));
        }
    }
    Ok(())
}

fn row_name(id: &Value) -> String {
    match id {
        Value::Text(id) => format!("the row with the id {id:?}"),
        Value::Integer(id) => format!("the row with the id {id}"),
        _ => "a row".to_owned(),
    }
}

/// The types of a table's columns in the target; none where columns have no types.
fn column_types(table: &ResolvedTable, existing: &Existing, place: &Place) -> Result<Vec<ColumnType>> {
    if matches!(place, Place::Sqlite(_)) {
        return Ok(Vec::new());
    }
    let present = existing.columns.get(&table.relation);
    let columns = std::iter::once("id").chain(table.fields.iter().map(Field::column));
    let typed = columns.map(|column| {
        let name = present.and_then(|present| present.get(column));
        name.and_then(|name| ColumnType::named(name)).ok_or_else(|| {
            StoreError::Schema(format!("\"{}\".\"{column}\" is of a type that is not known", table.relation))
        })
    });
    typed.collect()
}

/// A table on its way.
struct Transfer<'a> {
    pair: &'a Pair,
    types: Vec<ColumnType>,
    all: u64,
    sum: Sum,
    rows: u64,
    shortened: u64,
}

impl Transfer<'_> {
    async fn run(
        &mut self,
        reading: &mut Session,
        writing: &mut Session,
        progress: &mut (dyn FnMut(Progress<'_>) + Send),
    ) -> Result<(), CopyError> {
        reading.start(&self.pair.from).await.map_err(source)?;
        let mut page = reading.page().await.map_err(source)?;
        let mut scratch = Vec::new();
        loop {
            progress(self.progress(Step::Copy, self.rows));
            if page.is_empty() {
                return Ok(());
            }
            let mut rows = Vec::with_capacity(page.len());
            for row in page {
                let row = self.take(row)?;
                self.sum.add(self.pair.from.name, &row, &mut scratch);
                rows.push(row);
            }
            // The next rows are read while these are written.
            let next = async { reading.page().await.map_err(source) };
            let written = async { writing.write(&self.pair.to, &self.types, rows).await.map_err(target) };
            (page, ()) = tokio::try_join!(next, written)?;
        }
    }

    /// A row as it is to be written.
    fn take(&mut self, row: Vec<Exact>) -> Result<Vec<Value>, CopyError> {
        self.rows += 1;
        let table = &self.pair.from;
        let mut values: Vec<Value> = Vec::with_capacity(row.len());
        for (position, exact) in row.into_iter().enumerate() {
            let field = position.checked_sub(1).and_then(|position| table.fields.get(position));
            self.shortened += u64::from(exact.is_shortened);
            let value = declared(exact, field).and_then(|value| {
                match self.types.get(position) {
                    Some(column) => exact::fits_postgres(&value, &column.kind),
                    None => exact::fits_sqlite(&value, field, self.pair.to.ids == Ids::Serial),
                }
                .map(|()| value)
            });
            let flawed = |flaw| {
                let row = match values.first() {
                    Some(id) => row_name(id),
                    None => format!("row {}", self.rows),
                };
                let column = field.map_or("id", Field::column);
                CopyError::Refused(format!(
                    "\"{}\".\"{column}\" of {row} holds {flaw}; correct it in the source, then copy again",
                    table.relation
                ))
            };
            values.push(value.map_err(flawed)?);
        }
        Ok(values)
    }

    /// Reads again what was written, while it can still be taken back.
    async fn check(
        &self,
        writing: &mut Session,
        progress: &mut (dyn FnMut(Progress<'_>) + Send),
    ) -> Result<(), CopyError> {
        let table = &self.pair.to;
        let (mut sum, mut rows, mut scratch) = (Sum::default(), 0, Vec::new());
        writing.start(table).await.map_err(target)?;
        loop {
            let page = writing.page().await.map_err(target)?;
            progress(self.progress(Step::Check, rows));
            if page.is_empty() {
                break;
            }
            for row in page {
                rows += 1;
                let fields = std::iter::once(None).chain(table.fields.iter().map(Some));
                let values: Result<Vec<_>, Flaw> =
                    row.into_iter().zip(fields).map(|(exact, field)| declared(exact, field)).collect();
                // What cannot be read is not what was written: the sums differ.
                if let Ok(values) = values {
                    sum.add(table.name, &values, &mut scratch);
                }
            }
        }
        if (sum, rows) == (self.sum, self.rows) {
            return Ok(());
        }
        Err(CopyError::Refused(format!(
            "\"{}\" in the target is not what was copied: {rows} rows with the hash {sum}, and the source has {} with {}; \
             nothing was kept. Something there changes what is written: look for triggers and rules",
            table.relation, self.rows, self.sum
        )))
    }

    fn progress(&self, step: Step, rows: u64) -> Progress<'_> {
        Progress { table: self.pair.from.name, step, rows, all: self.all }
    }
}

/// A value as the column's declaration has it; `id` has none.
fn declared(exact: Exact, field: Option<&Field>) -> Result<Value, Flaw> {
    match field {
        Some(field) => exact.declared(field.kind, field.required),
        None => exact.declared(Kind::Text, true),
    }
}
