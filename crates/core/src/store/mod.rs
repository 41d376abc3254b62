//! The database: typed at the edge, schema-driven inside, one interface for SQLite and PostgreSQL.
//!
//! [`Store`] reads, and writes what one statement can write. Everything that writes twice goes through
//! [`Ctx::transact`](crate::Ctx::transact), which hands out a [`Tx`]; there is no other way to a transaction, and a
//! `Tx` reaches nothing slow, so no transaction is ever held across a password hash or a request to elsewhere.

mod copy;
mod ddl;
mod error;
pub(crate) mod filter;
mod from_json;
mod migrate;
mod model;
mod postgres;
mod postgres_connect;
mod postgres_connection;
mod postgres_url;
mod postgres_value;
mod resolved;
mod schema;
mod snapshot;
mod sql;
mod sqlite;
mod sqlite_writer;
mod tx;
mod value;
mod waits;

pub use self::{
    copy::{Copied, CopiedTable, CopyOptions, Progress, Source, Step},
    error::StoreError,
    filter::{Column, Filter, Order, Patch, Select},
    migrate::Migration,
    model::{Model, Row, describe_model},
    postgres_url::without_password,
    resolved::{Ids, Layout, ResolvedTable, Schema, TableLayout},
    schema::{Fallback, Field, Kind, OnDelete, Reference, Table},
    snapshot::Snapshot,
    tx::{Tx, Write, Writing},
    value::{FromValue, Record, Value},
};

pub(crate) use self::{
    copy::copy,
    from_json::{Shown, from_map, json, to_map},
    postgres_url::schema_problem,
    resolved::{new_uuid, uuid},
};

#[cfg(feature = "fuzzing")]
pub(crate) use self::postgres_url::problems;

use self::sql::{Dialect, Statement};
use crate::{
    SPANS,
    config::{DatabaseOptions, StoreIdentifier},
    env::Env,
    housekeeping::{Due, Housekeeping},
    meters::{BackendNow, StoreMeters, StoreNow, secondary_failures},
    model::audit::AuditLog,
    plugin::{EndedFn, WriteFn},
    secondary::Secondary,
};
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tracing::Instrument as _;

/// What a store operation answers with.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// The database, outside a transaction: reads, and writes of one statement. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    backend: Backend,
    schema: Arc<Schema>,
    rules: Arc<Rules>,
    statements: Arc<Statements>,
}

/// What the records' rules need while they write: time, chance, and the hooks that may change or refuse a record.
pub(crate) struct Rules {
    pub(crate) env: Env,
    /// Keeps what lives for a while outside the database, where that is asked for.
    pub(crate) secondary: Option<Secondary>,
    pub(crate) store_identifier: StoreIdentifier,
    /// For how long a session is believed after its end, where cookies remember sessions.
    pub(crate) remembered_for: Duration,
    /// Nothing where verifications that have ended are to stay.
    pub(crate) verification_cleanup: Option<Due>,
    pub(crate) housekeeping: Housekeeping,
    /// Where what happens is written down, unless that is switched off.
    pub(crate) audit: Option<AuditLog>,
    pub(crate) hooks: Vec<(&'static str, Arc<WriteFn>)>,
    /// Who is told of sessions that end, before the commit.
    pub(crate) ended: Vec<Arc<EndedFn>>,
    /// Nothing where nothing is counted.
    pub(crate) meters: Option<StoreMeters>,
}

#[derive(Clone)]
enum Backend {
    Sqlite(sqlite::Database),
    Postgres(postgres::Database),
}

/// What was asked of the database since it was opened: metrics, and the tests that compare work done.
#[derive(Debug, Default)]
pub struct Statements {
    count: AtomicU64,
    transactions: AtomicU64,
}

/// Whether at most one row can match, so that the answer comes in microseconds and need not leave the thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Point,
    Scan,
}

impl Store {
    /// Opens `sqlite://path` or `postgres://…`; no table is touched before `Auth` is built.
    pub async fn open(url: &str) -> Result<Self> {
        Self::open_with(url, &DatabaseOptions::default()).await
    }

    /// As [`Self::open`], with `[database]`.
    pub async fn open_with(url: &str, options: &DatabaseOptions) -> Result<Self> {
        Self::open_by(sqlite::Database::open, url, options).await
    }

    /// To look and not to write: a SQLite file is left as it is, whoever else has it open, and one that is not there
    /// counts as an empty one. PostgreSQL is opened as ever.
    pub async fn inspect(url: &str, options: &DatabaseOptions) -> Result<Self> {
        Self::open_by(sqlite::Database::inspect, url, options).await
    }

    async fn open_by(
        open_file: fn(&str) -> Result<sqlite::Database>,
        url: &str,
        options: &DatabaseOptions,
    ) -> Result<Self> {
        let backend = match address(url, options)? {
            Address::Sqlite(path) => Backend::Sqlite(open_file(path)?),
            Address::Postgres => Backend::Postgres(postgres::Database::open(url, options).await?),
        };
        let rules = Rules {
            env: Env::system(),
            secondary: None,
            store_identifier: StoreIdentifier::default(),
            remembered_for: Duration::ZERO,
            verification_cleanup: None,
            housekeeping: Housekeeping::default(),
            audit: None,
            hooks: Vec::new(),
            ended: Vec::new(),
            meters: None,
        };
        Ok(Self { backend, schema: Arc::default(), rules: Arc::new(rules), statements: Arc::default() })
    }

    pub(crate) fn bind(mut self, schema: Arc<Schema>, rules: Rules) -> Self {
        if let Some(meters) = &rules.meters {
            match &self.backend {
                Backend::Sqlite(database) => database.waits().measure(meters.waits()),
                Backend::Postgres(database) => database.waits().measure(meters.waits()),
            }
        }
        self.schema = schema;
        self.rules = Arc::new(rules);
        self
    }

    /// Brings up to date what is not counted as it happens. Asks the database nothing.
    pub(crate) fn observe(&self) {
        let Some(meters) = &self.rules.meters else { return };
        if self.secondary().is_some() {
            secondary_failures().absolute(0);
        }
        let (waiting, backend) = match &self.backend {
            Backend::Sqlite(database) => {
                (database.waits().waiting(), BackendNow::Sqlite { wal_bytes: database.wal_bytes() })
            }
            Backend::Postgres(database) => (database.waits().waiting(), database.connections()),
        };
        meters.observe(&StoreNow {
            statements: self.statements(),
            transactions: self.statements.transactions.load(Relaxed),
            commits: self.commits(),
            waiting,
            backend,
        });
    }

    /// Notes what the database has answered.
    fn heed<T>(&self, outcome: Result<T>) -> Result<T> {
        if let Some(meters) = &self.rules.meters {
            meters.heed(&outcome);
        }
        outcome
    }

    /// The resolved schema.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Whether a number column holds numbers that are not whole.
    pub(crate) fn keeps_fractions(&self) -> bool {
        self.dialect() == Dialect::Sqlite
    }

    /// A table of the resolved schema.
    pub(crate) fn resolved<M: Model>(&self) -> Result<&Arc<ResolvedTable>> {
        self.table::<M>()
    }

    pub(crate) fn env(&self) -> &Env {
        &self.rules.env
    }

    pub(crate) fn secondary(&self) -> Option<&Secondary> {
        self.rules.secondary.as_ref()
    }

    /// The ways in which the identifier of a verification may have been kept, that in force first.
    pub(crate) fn kept(&self, identifier: &str) -> Vec<String> {
        self.rules.store_identifier.kept(identifier)
    }

    pub(crate) fn verification_cleanup(&self) -> Option<&Due> {
        self.rules.verification_cleanup.as_ref()
    }

    pub(crate) fn housekeeping(&self) -> &Housekeeping {
        &self.rules.housekeeping
    }

    /// Whether a plugin wants to know which sessions end.
    pub(crate) fn hears_of_ends(&self) -> bool {
        !self.rules.ended.is_empty()
    }

    pub(crate) fn audit(&self) -> Option<&AuditLog> {
        self.rules.audit.as_ref()
    }

    /// Now.
    pub fn now(&self) -> crate::Time {
        self.rules.env.clock.now()
    }

    /// The id of a new record: empty where the database makes it.
    pub fn new_id(&self) -> String {
        let env = &self.rules.env;
        match self.schema.ids {
            Ids::Letters => crate::model::new_id(env),
            Ids::Uuid => new_uuid(env),
            Ids::Serial | Ids::Database => String::new(),
        }
    }

    /// Whether the database answers now.
    pub async fn ping(&self) -> Result<()> {
        self.heed(match &self.backend {
            Backend::Sqlite(database) => database.ping(),
            Backend::Postgres(database) => database.ping().await,
        })
    }

    /// Writes the committed rows of a SQLite database to a new file, while others read and write; the number of its
    /// bytes. Other databases have tools of their own: nothing.
    pub async fn backup(&self, to: &std::path::Path) -> Result<Option<u64>> {
        match &self.backend {
            Backend::Sqlite(database) => database.backup(to.to_owned()).await.map(Some),
            Backend::Postgres(_) => Ok(None),
        }
    }

    /// By how many milliseconds our clock is ahead of the database's; nothing where both are this machine's.
    pub async fn clock_difference(&self) -> Result<Option<i64>> {
        let Backend::Postgres(database) = &self.backend else { return Ok(None) };
        let theirs = database.time().await?;
        Ok(Some(self.now().millis() - theirs.millis()))
    }

    /// Statements sent since the store was opened.
    pub fn statements(&self) -> u64 {
        self.statements.count.load(Relaxed)
    }

    /// Commits made since the store was opened; on SQLite one commit may carry several transactions.
    pub fn commits(&self) -> u64 {
        match &self.backend {
            Backend::Sqlite(database) => database.commits(),
            Backend::Postgres(database) => database.commits(),
        }
    }

    /// Compares the declared schema with the database's and, if `apply`, adds what is missing.
    pub async fn migrate(&self, apply: bool) -> Result<Migration> {
        match &self.backend {
            Backend::Sqlite(database) => migrate::sqlite(database, &self.schema, apply).await,
            Backend::Postgres(database) => migrate::postgres(database, &self.schema, apply).await,
        }
    }

    /// The one row that matches, or the first of several.
    pub async fn find<M: Model>(&self, filter: Filter<M>) -> Result<Option<M>> {
        let table = self.table::<M>()?;
        let reach = reach(table, &filter.node);
        let statement = sql::find(self.dialect(), table, filter.node);
        self.read_one(statement, table.kinds(), reach).await?.map(|row| model::read(table, row)).transpose()
    }

    /// The row with `value` in its column `by`, and the row its column `on` points at, in one statement.
    pub async fn find_with_parent<M: Model, P: Model>(
        &self,
        by: Column<M, String>,
        value: &str,
        on: Column<M, String>,
    ) -> Result<Option<(M, P)>> {
        let (child, parent) = (self.table::<M>()?, self.table::<P>()?);
        let reach = if child.is_unique(by.name()) { Reach::Point } else { Reach::Scan };
        let statement = sql::find_with_parent(self.dialect(), child, parent, on.name(), by.name(), value);
        let Some(mut row) = self.read_one(statement, child.kinds().chain(parent.kinds()), reach).await?
        else {
            return Ok(None);
        };
        let rest = row.split_off(child.fields.len() + 1);
        Ok(Some((model::read(child, row)?, model::read(parent, rest)?)))
    }

    /// Every row the query asks for.
    pub async fn list<M: Model>(&self, query: impl Into<Select<M>> + Send) -> Result<Vec<M>> {
        let table = self.table::<M>()?;
        let statement = list_statement(self.dialect(), table, query.into());
        self.count_statement();
        let span = tracing::info_span!(target: SPANS, "read");
        let rows = match &self.backend {
            Backend::Sqlite(database) => {
                database.scan(statement, table.kinds().collect()).instrument(span).await
            }
            Backend::Postgres(database) => database.scan(&statement).instrument(span).await,
        };
        self.heed(rows)?.into_iter().map(|row| model::read(table, row)).collect()
    }

    /// How many rows match.
    pub async fn count<M: Model>(&self, filter: Filter<M>) -> Result<u64> {
        let table = self.table::<M>()?;
        let statement = sql::count(self.dialect(), table, filter.node);
        let row = self.read_one(statement, std::iter::once(Kind::BigInteger), Reach::Scan).await?;
        Ok(counted(row))
    }

    /// Writes a new row and answers with what the database made of it.
    pub async fn insert<M: Model>(&self, row: &M) -> Result<M> {
        let row = row.clone();
        self.write(async |tx: &mut Tx| tx.insert(&row).await).await
    }

    /// Writes new rows in one statement.
    pub(crate) async fn insert_all<M: Model>(&self, rows: Vec<M>) -> Result<()> {
        self.write(async |tx: &mut Tx| tx.insert_all(&rows).await).await
    }

    /// Changes every row that matches; answers how many.
    pub async fn update<M: Model>(&self, filter: Filter<M>, patch: Patch<M>) -> Result<u64> {
        self.write(async |tx: &mut Tx| tx.update(filter, patch).await).await
    }

    /// Deletes every row that matches; answers how many.
    pub async fn delete<M: Model>(&self, filter: Filter<M>) -> Result<u64> {
        self.write(async |tx: &mut Tx| tx.delete(filter).await).await
    }

    /// Deletes one match and returns it in one statement: of two racing callers one gets `None`.
    pub async fn take<M: Model>(&self, filter: Filter<M>) -> Result<Option<M>> {
        self.write(async |tx: &mut Tx| tx.take(filter).await).await
    }

    /// Adds where `filter` still holds; guard and write are one statement.
    pub async fn add<M: Model>(
        &self,
        filter: Filter<M>,
        column: Column<M, i64>,
        by: i64,
    ) -> Result<Option<M>> {
        self.write(async |tx: &mut Tx| tx.add(filter, column, by).await).await
    }

    /// Adds `row` or, where its value in `unique` is taken, adds its `counter` to the row that is there: one
    /// statement. A row that is `stale` is replaced; one for which `guard` does not hold is left alone, and `None`
    /// comes back.
    pub async fn tally<M: Model>(
        &self,
        row: &M,
        unique: Column<M, String>,
        counter: Column<M, i64>,
        stale: Filter<M>,
        guard: Filter<M>,
    ) -> Result<Option<M>> {
        self.write(async |tx: &mut Tx| tx.tally(row, unique, counter, stale, guard).await).await
    }

    /// Deletes at most `limit` of the rows that match, so that nobody waits long for it; answers how many.
    pub async fn delete_some<M: Model>(&self, filter: Filter<M>, limit: u32) -> Result<u64> {
        self.write(async |tx: &mut Tx| {
            let table = tx.table::<M>()?;
            tx.execute(sql::delete_some(self.dialect(), &table, filter.node, limit)).await
        })
        .await
    }

    /// One statement in a transaction of its own, which on SQLite shares its commit with whoever else writes.
    async fn write<T>(&self, work: impl AsyncFnOnce(&mut Tx) -> Result<T>) -> Result<T> {
        let mut tx = self.autocommit().await?;
        let outcome = work(&mut tx).await;
        match outcome {
            Ok(value) => tx.commit().await.map(|_| value),
            Err(error) => {
                tx.rollback().await;
                Err(error)
            }
        }
    }

    pub(crate) async fn begin(&self) -> Result<Tx> {
        let connection = match &self.backend {
            Backend::Sqlite(database) => tx::Connection::Sqlite(self.heed(database.begin().await)?),
            Backend::Postgres(database) => {
                tx::Connection::Postgres(Box::new(self.heed(database.begin().await)?))
            }
        };
        Ok(Tx::new(connection, self.clone()))
    }

    async fn autocommit(&self) -> Result<Tx> {
        let connection = match &self.backend {
            Backend::Sqlite(database) => tx::Connection::Sqlite(self.heed(database.begin().await)?),
            Backend::Postgres(database) => tx::Connection::Single(database.clone()),
        };
        Ok(Tx::new(connection, self.clone()))
    }

    async fn read_one(
        &self,
        statement: Statement,
        kinds: impl Iterator<Item = Kind> + Clone + Send,
        reach: Reach,
    ) -> Result<Option<Row>> {
        self.count_statement();
        let span = tracing::info_span!(target: SPANS, "read");
        // What waits is boxed, so that the read that does not wait carries no room for it.
        match &self.backend {
            Backend::Postgres(database) if reach == Reach::Point => {
                self.heed(Box::pin(database.read_one(&statement).instrument(span)).await)
            }
            Backend::Postgres(database) => {
                let rows = self.heed(Box::pin(database.scan(&statement).instrument(span)).await);
                rows.map(|rows| rows.into_iter().next())
            }
            Backend::Sqlite(database) => {
                if reach == Reach::Point {
                    match span.in_scope(|| database.read_one(&statement, kinds.clone())) {
                        Err(StoreError::Busy) => {}
                        row => return self.heed(row),
                    }
                }
                let scan = database.scan(statement, kinds.collect()).instrument(span);
                self.heed(Box::pin(scan).await).map(|rows| rows.into_iter().next())
            }
        }
    }

    /// The schema that the tables are in, where the operator has named one.
    pub(crate) fn namespace(&self) -> Option<&str> {
        match &self.backend {
            Backend::Sqlite(_) => None,
            Backend::Postgres(database) => database.schema(),
        }
    }

    /// Whether other processes may have the same database open over a network.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.backend, Backend::Postgres(_))
    }

    fn table<M: Model>(&self) -> Result<&Arc<ResolvedTable>> {
        self.schema.table(M::TABLE).ok_or(StoreError::UnknownTable(M::TABLE))
    }

    fn dialect(&self) -> Dialect {
        match self.backend {
            Backend::Sqlite(_) => Dialect::Sqlite,
            Backend::Postgres(_) => Dialect::Postgres,
        }
    }

    fn count_transaction(&self) {
        self.statements.transactions.fetch_add(1, Relaxed);
    }

    fn count_statement(&self) {
        self.statements.count.fetch_add(1, Relaxed);
    }
}

/// Where a URL leads.
enum Address<'a> {
    /// The path of a file.
    Sqlite(&'a str),
    Postgres,
}

fn address<'a>(url: &'a str, options: &DatabaseOptions) -> Result<Address<'a>> {
    let mut problems = Vec::new();
    options.check(&mut problems);
    if !problems.is_empty() {
        return Err(StoreError::Url(problems.join("\n")));
    }
    let problem = match url.split_once("://") {
        Some(("sqlite", _)) if options.schema.is_some() => "database.schema: SQLite has no schemas",
        Some(("sqlite", path)) => return Ok(Address::Sqlite(path)),
        Some((scheme, _)) if postgres_url::is_postgres(scheme) => return Ok(Address::Postgres),
        Some(("prisma" | "prisma+postgres", _)) => {
            "this is the address of Prisma's own proxy; use the database's, which starts with postgres://"
        }
        _ => "a database URL starts with sqlite:// (and a path) or postgres://",
    };
    Err(StoreError::Url(problem.to_owned()))
}

/// Reads that a rule needs both inside and outside a transaction.
pub trait Reader: Send {
    /// The one row that matches, or the first of several.
    fn find<M: Model>(&mut self, filter: Filter<M>) -> impl Future<Output = Result<Option<M>>> + Send;
    /// Every row the query asks for.
    fn list<M: Model>(&mut self, query: Select<M>) -> impl Future<Output = Result<Vec<M>>> + Send;
}

impl Reader for &Store {
    async fn find<M: Model>(&mut self, filter: Filter<M>) -> Result<Option<M>> {
        Store::find(self, filter).await
    }
    async fn list<M: Model>(&mut self, query: Select<M>) -> Result<Vec<M>> {
        Store::list(self, query).await
    }
}

impl Reader for &mut Tx {
    async fn find<M: Model>(&mut self, filter: Filter<M>) -> Result<Option<M>> {
        Tx::find(self, filter).await
    }
    async fn list<M: Model>(&mut self, query: Select<M>) -> Result<Vec<M>> {
        Tx::list(self, query).await
    }
}

fn list_statement<M: Model>(dialect: Dialect, table: &ResolvedTable, query: Select<M>) -> Statement {
    sql::list(dialect, table, query.filter.node, query.order, query.limit, query.offset)
}

fn counted(row: Option<Row>) -> u64 {
    match row.and_then(|row| row.into_iter().next()) {
        Some(Value::Integer(number)) => u64::try_from(number).unwrap_or(0),
        _ => 0,
    }
}

/// A filter that pins a unique column reaches one row at most.
fn reach(table: &ResolvedTable, node: &filter::Node) -> Reach {
    let pinned = |node: &filter::Node| {
        matches!(node, filter::Node::Compare { column, operator: filter::Operator::Equal, value }
            if *value != Value::Null && table.is_unique(column))
    };
    let is_point = match node {
        filter::Node::All(nodes) => nodes.iter().any(pinned),
        node => pinned(node),
    };
    if is_point { Reach::Point } else { Reach::Scan }
}
