//! A transaction: the store's verbs, the models' rules, and what is to happen once it has been committed.
//!
//! There is no way from here to a password hash, to the network or to another connection: a transaction cannot be
//! held across slow work, and cannot wait for the connection it holds itself.

use super::{
    Column, Filter, Model, Patch, Record, Result, Row, Select, Store, StoreError, Value, counted,
    list_statement, model, postgres,
    resolved::ResolvedTable,
    schema::Kind,
    sql::{self, Statement},
    sqlite, sqlite_writer,
};
use crate::{
    env::{Env, Mail},
    happening::Happening,
    housekeeping::Housekeeping,
    model::{Ended, Origin},
    plugin::{Event, QueuedEvent},
    secondary::{Secondary, Told},
};
use std::{sync::Arc, time::Duration};

/// A transaction, handed out by [`Ctx::transact`](crate::Ctx::transact). Dropping it undoes it.
pub struct Tx {
    connection: Connection,
    store: Store,
    effects: Effects,
}

pub(super) enum Connection {
    Sqlite(sqlite_writer::Turn),
    Postgres(Box<postgres::Transaction>),
    /// PostgreSQL commits a single statement by itself.
    Single(postgres::Database),
}

/// A record about to be written.
#[derive(Debug)]
pub struct Write {
    /// Its table.
    pub table: &'static str,
    /// Whether it is new.
    pub kind: Writing,
    /// The columns to write; a hook may change them.
    pub record: Record,
}

/// Whether a record is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// A new row.
    Create,
    /// New values for some columns of existing rows.
    Update,
}

/// What a transaction wants done after its commit, and only then.
#[derive(Default)]
pub(crate) struct Effects {
    pub(crate) mails: Vec<Mail>,
    pub(crate) events: Vec<QueuedEvent>,
    pub(crate) told: Vec<Told>,
    pub(crate) happened: Vec<Happening>,
    /// Heard before the commit, and not after it.
    ended: Vec<Ended>,
}

impl Tx {
    pub(super) fn new(connection: Connection, store: Store) -> Self {
        Self { connection, store, effects: Effects::default() }
    }

    /// Sends a message once this transaction is committed.
    pub fn mail(&mut self, mail: Mail) {
        self.effects.mails.push(mail);
    }

    /// Tells the hooks of this event once this transaction is committed.
    pub fn emit<E: Event>(&mut self, event: E) {
        self.effects.events.push(QueuedEvent::new(event));
    }

    /// Tells what happened, once this transaction is committed.
    pub fn happened(&mut self, happening: Happening) {
        self.effects.happened.push(happening);
    }

    /// Whether a plugin wants to know which sessions end.
    pub(crate) fn hears_of_ends(&self) -> bool {
        self.store.hears_of_ends()
    }

    /// Tells the plugins that want to know before this transaction is committed.
    pub(crate) fn ended(&mut self, ended: impl FnOnce() -> Ended) {
        if self.hears_of_ends() {
            self.effects.ended.push(ended());
        }
    }

    /// Lets plugins write what follows from the end of sessions. At the end of the transaction, so that what they lock
    /// is not held for longer.
    pub(crate) async fn settle(&mut self) -> crate::Result<()> {
        let ended = std::mem::take(&mut self.effects.ended);
        if ended.is_empty() {
            return Ok(());
        }
        let rules = Arc::clone(&self.store.rules);
        for hook in &rules.ended {
            hook(self, &ended).await?;
        }
        Ok(())
    }

    /// Writes down what has happened so far, unless that is switched off: what is done and what is said of it are
    /// committed together.
    pub(crate) async fn audit(&mut self, origin: &Origin) -> Result<()> {
        let rules = Arc::clone(&self.store.rules);
        let Some(log) = &rules.audit else { return Ok(()) };
        let happened = self.effects.happened.iter().filter(|happening| !happening.is_routine);
        let entries: Vec<_> = happened.map(|happening| log.entry(&rules.env, happening, origin)).collect();
        self.insert_all(&entries).await
    }

    /// Tells the secondary storage, where there is one, once this transaction is committed.
    pub(crate) fn tell(&mut self, told: Told) {
        self.effects.told.push(told);
    }

    pub(crate) fn secondary(&self) -> Option<&Secondary> {
        self.store.secondary()
    }

    /// For what is the same inside and outside a transaction, such as the tables' layout. A statement sent to it would
    /// be none of this transaction's.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// A new record that is kept elsewhere, once the `before_write` hooks of its table have seen it.
    pub(crate) async fn compose<M: Model>(&mut self, row: &M) -> crate::Result<Record> {
        let table = self.table::<M>()?;
        let mut write = Write { table: M::TABLE, kind: Writing::Create, record: self.whole(&table, row) };
        self.run_hooks(&mut write).await?;
        Ok(write.record)
    }

    /// New values for a record that is kept elsewhere, once the `before_write` hooks of its table have seen them.
    pub(crate) async fn revise<M: Model>(&mut self, patch: Patch<M>) -> crate::Result<Record> {
        let columns = patch.columns.into_iter().map(|(name, value)| (name.into_owned(), value));
        let mut write = Write { table: M::TABLE, kind: Writing::Update, record: columns.collect() };
        self.run_hooks(&mut write).await?;
        Ok(write.record)
    }

    /// A new row, once the `before_write` hooks of its table have seen it.
    pub async fn create<M: Model>(&mut self, row: &M) -> crate::Result<M> {
        let (table, record) = (self.table::<M>()?, self.compose(row).await?);
        let statement = sql::insert(self.store.dialect(), &table, columns(&record));
        let row = self.one(&table, statement).await?;
        row.ok_or_else(|| StoreError::Other("an insert returned no row".into()).into())
    }

    /// As [`Self::create`], but only while a row of `G` matches, which nobody else changes until this transaction
    /// ends; `None` where there is none. One statement.
    pub async fn create_while<M: Model, G: Model>(
        &mut self,
        row: &M,
        guard: Filter<G>,
    ) -> crate::Result<Option<M>> {
        let (table, record) = (self.table::<M>()?, self.compose(row).await?);
        let other = self.table::<G>()?;
        let statement = sql::insert_while(self.store.dialect(), &table, columns(&record), &other, guard.node);
        Ok(self.one(&table, statement).await?)
    }

    /// New values for the row that matches, once the `before_write` hooks of its table have seen them.
    pub async fn change<M: Model>(&mut self, filter: Filter<M>, patch: Patch<M>) -> crate::Result<Option<M>> {
        let record = self.revise(patch).await?;
        self.amend(filter, &record).await
    }

    /// New values for the row that matches, which the hooks have seen.
    pub(crate) async fn amend<M: Model>(
        &mut self,
        filter: Filter<M>,
        record: &Record,
    ) -> crate::Result<Option<M>> {
        let table = self.table::<M>()?;
        let statement = sql::update_returning(self.store.dialect(), &table, filter.node, record.iter());
        Ok(self.one(&table, statement).await?)
    }

    /// A new row as it is written, with its defaults.
    fn whole<M: Model>(&self, table: &ResolvedTable, row: &M) -> Record {
        let columns = row.columns().into_iter().map(|(name, value)| (name.to_owned(), value));
        let mut record: Record = columns.collect();
        table.complete(&mut record, self.env().clock.now());
        record
    }

    async fn run_hooks(&mut self, write: &mut Write) -> crate::Result<()> {
        let rules = Arc::clone(&self.store.rules);
        let concerned = write.table;
        for (_, hook) in rules.hooks.iter().filter(|(table, _)| *table == concerned) {
            hook(self, write).await?;
        }
        Ok(())
    }

    /// The id of a new record: empty where the database makes it.
    pub fn new_id(&self) -> String {
        self.store.new_id()
    }

    /// Now.
    pub fn now(&self) -> crate::Time {
        self.env().clock.now()
    }

    /// For how long a session that has ended may still be believed, because a cookie remembers it.
    pub fn remembered_for(&self) -> Duration {
        self.store.rules.remembered_for
    }

    pub(crate) fn env(&self) -> &Env {
        &self.store.rules.env
    }

    /// As [`Store::find`].
    pub async fn find<M: Model>(&mut self, filter: Filter<M>) -> Result<Option<M>> {
        let table = self.table::<M>()?;
        let statement = sql::find(self.store.dialect(), &table, filter.node);
        self.one(&table, statement).await
    }

    /// As [`Store::find`], and until this transaction ends nobody else changes the row or locks it.
    pub async fn lock<M: Model>(&mut self, filter: Filter<M>) -> Result<Option<M>> {
        let table = self.table::<M>()?;
        let statement = sql::lock(self.store.dialect(), &table, filter.node);
        self.one(&table, statement).await
    }

    /// As [`Store::list`].
    pub async fn list<M: Model>(&mut self, query: impl Into<Select<M>> + Send) -> Result<Vec<M>> {
        let table = self.table::<M>()?;
        let statement = list_statement(self.store.dialect(), &table, query.into());
        self.all(&table, statement).await
    }

    /// As [`Store::count`].
    pub async fn count<M: Model>(&mut self, filter: Filter<M>) -> Result<u64> {
        let table = self.table::<M>()?;
        let statement = sql::count(self.store.dialect(), &table, filter.node);
        Ok(counted(self.row(statement, std::iter::once(Kind::BigInteger)).await?))
    }

    /// As [`Store::insert`].
    pub async fn insert<M: Model>(&mut self, row: &M) -> Result<M> {
        let table = self.table::<M>()?;
        let record = self.whole(&table, row);
        let statement = sql::insert(self.store.dialect(), &table, columns(&record));
        self.one(&table, statement)
            .await?
            .ok_or_else(|| StoreError::Other("an insert returned no row".into()))
    }

    /// New rows in one statement, which must have room for all their values: some thousands.
    pub async fn insert_all<M: Model>(&mut self, rows: &[M]) -> Result<()> {
        let table = self.table::<M>()?;
        let records: Vec<_> = rows.iter().map(|row| self.whole(&table, row)).collect();
        let rows = records.iter().map(columns);
        let Some(statement) = sql::insert_all(self.store.dialect(), &table, rows) else { return Ok(()) };
        self.execute(statement).await.map(drop)
    }

    /// As [`Store::update`].
    pub async fn update<M: Model>(&mut self, filter: Filter<M>, patch: Patch<M>) -> Result<u64> {
        let table = self.table::<M>()?;
        self.execute(sql::update(
            self.store.dialect(),
            &table,
            filter.node,
            patch.columns.iter().map(|(name, value)| (&**name, value)),
        ))
        .await
    }

    /// As [`Store::delete`].
    pub async fn delete<M: Model>(&mut self, filter: Filter<M>) -> Result<u64> {
        let table = self.table::<M>()?;
        self.execute(sql::delete(self.store.dialect(), &table, filter.node)).await
    }

    /// As [`Store::take`].
    pub async fn take<M: Model>(&mut self, filter: Filter<M>) -> Result<Option<M>> {
        let table = self.table::<M>()?;
        let statement = sql::take(self.store.dialect(), &table, filter.node);
        self.one(&table, statement).await
    }

    /// Deletes every row that matches, and answers with them.
    pub(crate) async fn take_all<M: Model>(&mut self, filter: Filter<M>) -> Result<Vec<M>> {
        let table = self.table::<M>()?;
        let statement = sql::take_all(self.store.dialect(), &table, filter.node);
        self.all(&table, statement).await
    }

    /// New values for every row that matches, which no hook sees; answers with them as they are then.
    pub(crate) async fn amend_all<M: Model>(&mut self, filter: Filter<M>, patch: Patch<M>) -> Result<Vec<M>> {
        let table = self.table::<M>()?;
        let columns = patch.columns.iter().map(|(name, value)| (&**name, value));
        let statement = sql::update_returning(self.store.dialect(), &table, filter.node, columns);
        self.all(&table, statement).await
    }

    /// As [`Store::add`].
    pub async fn add<M: Model>(
        &mut self,
        filter: Filter<M>,
        column: Column<M, i64>,
        by: i64,
    ) -> Result<Option<M>> {
        let table = self.table::<M>()?;
        let statement = sql::add(self.store.dialect(), &table, filter.node, column.name(), by);
        self.one(&table, statement).await
    }

    /// As [`Store::tally`].
    pub async fn tally<M: Model>(
        &mut self,
        row: &M,
        unique: Column<M, String>,
        counter: Column<M, i64>,
        stale: Filter<M>,
        guard: Filter<M>,
    ) -> Result<Option<M>> {
        let table = self.table::<M>()?;
        let (dialect, record) = (self.store.dialect(), self.whole(&table, row));
        let columns = columns(&record).collect();
        let (unique, counter) = (unique.name(), counter.name());
        let statement = sql::tally(dialect, &table, columns, unique, counter, stale.node, guard.node);
        self.one(&table, statement).await
    }

    /// Makes it durable, and answers with what is to happen now.
    pub(crate) async fn commit(self) -> Result<Effects> {
        let outcome = match self.connection {
            Connection::Sqlite(turn) => turn.commit().await,
            Connection::Postgres(transaction) => transaction.commit().await,
            Connection::Single(database) => {
                database.count_commit();
                Ok(())
            }
        };
        self.store.heed(outcome)?;
        self.store.count_transaction();
        Housekeeping::after_write(&self.store);
        Ok(self.effects)
    }

    pub(crate) async fn rollback(self) {
        match self.connection {
            // Its drop is the rollback.
            Connection::Sqlite(_) | Connection::Single(_) => {}
            Connection::Postgres(transaction) => transaction.rollback().await,
        }
    }

    pub(super) fn table<M: Model>(&self) -> Result<Arc<ResolvedTable>> {
        self.store.table::<M>().map(Arc::clone)
    }

    pub(super) async fn one<M: Model>(
        &mut self,
        table: &ResolvedTable,
        statement: Statement,
    ) -> Result<Option<M>> {
        self.row(statement, table.kinds()).await?.map(|row| model::read(table, row)).transpose()
    }

    async fn all<M: Model>(&mut self, table: &ResolvedTable, statement: Statement) -> Result<Vec<M>> {
        self.store.count_statement();
        let rows = match &mut self.connection {
            Connection::Sqlite(turn) => {
                sqlite::read_all(turn.connection()?, &statement, &table.kinds().collect::<Vec<_>>())
            }
            Connection::Postgres(transaction) => transaction.rows(&statement).await,
            Connection::Single(database) => database.scan(&statement).await,
        };
        self.store.heed(rows)?.into_iter().map(|row| model::read(table, row)).collect()
    }

    async fn row(
        &mut self,
        statement: Statement,
        kinds: impl Iterator<Item = Kind> + Send,
    ) -> Result<Option<Row>> {
        self.store.count_statement();
        let row = match &mut self.connection {
            Connection::Sqlite(turn) => sqlite::read_one(turn.connection()?, &statement, kinds),
            Connection::Postgres(transaction) => {
                transaction.rows(&statement).await.map(|rows| rows.into_iter().next())
            }
            Connection::Single(database) => database.write_one(&statement).await,
        };
        self.store.heed(row).map_err(|error| self.store.schema.declared(error))
    }

    pub(super) async fn execute(&mut self, statement: Statement) -> Result<u64> {
        self.store.count_statement();
        let changed = match &mut self.connection {
            Connection::Sqlite(turn) => sqlite::execute(turn.connection()?, &statement),
            Connection::Postgres(transaction) => transaction.execute(&statement).await,
            Connection::Single(database) => database.execute(&statement).await,
        };
        self.store.heed(changed).map_err(|error| self.store.schema.declared(error))
    }
}

fn columns(record: &Record) -> impl Iterator<Item = (&str, Value)> {
    record.iter().map(|(name, value)| (name, value.clone()))
}
