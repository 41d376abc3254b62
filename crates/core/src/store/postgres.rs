//! PostgreSQL: a few shared connections that pipeline the reads of one row, and a pool for the rest.
//!
//! Measured on one core: ten pooled connections with one query each in flight make 25,000 queries a second, one
//! connection with 64 in flight 55,000. So reads that reach one row share a connection or two. Whatever may wait
//! or take long (writes wait for locks, and everyone behind them on a shared connection would too) borrows a
//! connection of its own. One that was cut off in the middle is closed, never reused. Nothing here depends on
//! session state, so a pooler that gives every transaction another session may stand in between; statements then have
//! no names. Whatever waits, waits for a bounded time. Nothing is asked while nobody asks us, and connections that nobody
//! uses are closed.

use super::{
    Result, Row, StoreError,
    postgres_connect::Connector,
    postgres_connection::{
        Connection, Failure, backend, backend_statement, is_no_value, is_read_only, is_sign_of_pooler,
    },
    postgres_url::PostgresUrl,
    sql::Statement,
    value::Value,
    waits::Waits,
};
use crate::{config::DatabaseOptions, meters::BackendNow, time::Time};
use deadpool::managed::{
    Manager, Metrics, Object, Pool, PoolError, RecycleError, RecycleResult, TimeoutType,
};
use std::{
    future::Future,
    sync::{
        Arc, PoisonError, RwLock, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::timeout;

/// Connections that everyone's reads of one row share, where there are enough.
const SHARED: usize = 2;
/// Connections in all.
const CONNECTIONS: u32 = 20;
/// How long to wait for a connection to become free, for a statement, and for the end of a transaction.
const PATIENCE: Duration = Duration::from_secs(5);
/// Whoever knows why it took too long speaks first.
const A_MOMENT: Duration = Duration::from_secs(1);
/// How long a connection that nobody uses is kept. Shorter than routers on the way keep it, and short enough for
/// databases that go to sleep when nobody is connected.
const IDLE: Duration = Duration::from_mins(1);

/// A PostgreSQL database. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    connector: Arc<Connector>,
    pool: Pool<Opener>,
    shared: Vec<Slot>,
    next: AtomicUsize,
    commits: AtomicU64,
    waits: Waits,
    /// The schema with the tables, if it is not for the session to decide.
    schema: Option<String>,
    /// Whether a transaction pooler stands in between, so that nothing may be remembered for a session.
    is_pooled: AtomicBool,
    is_pooler_named: bool,
}

/// A place for a shared connection, filled when first needed and again after a loss.
#[derive(Default)]
struct Slot {
    connection: RwLock<Option<Arc<Connection>>>,
    connecting: tokio::sync::Mutex<()>,
    /// Since idle connections were last looked for.
    was_used: AtomicBool,
}

/// Makes the pool's connections.
struct Opener(Arc<Connector>);

impl Manager for Opener {
    type Type = Connection;
    type Error = StoreError;

    async fn create(&self) -> Result<Connection> {
        Connection::open(&self.0).await
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<StoreError> {
        if !connection.is_fit() {
            return Err(RecycleError::message("it is of no use any more"));
        }
        Ok(())
    }
}

impl Database {
    pub(crate) async fn open(url: &str, options: &DatabaseOptions) -> Result<Self> {
        let url = PostgresUrl::parse(url).map_err(|problems| StoreError::Url(problems.join("\n")))?;
        let schema = match (&options.schema, &url.schema) {
            (Some(ours), Some(theirs)) if ours != theirs => {
                return Err(StoreError::Url(format!(
                    "database.schema = {ours:?}: the URL says schema={theirs}; leave one of them out"
                )));
            }
            (ours, theirs) => ours.clone().or_else(|| theirs.clone()),
        };
        let connector = Arc::new(Connector::new(&url)?);
        let most = options.pool_size.or(url.connection_limit).unwrap_or(CONNECTIONS).max(1);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let shared = match most {
            1 => 0,
            2 | 3 => 1,
            _ => SHARED,
        };
        let pool = Pool::builder(Opener(Arc::clone(&connector)))
            .max_size(most - shared)
            .wait_timeout(Some(url.pool_timeout.unwrap_or(PATIENCE)))
            .create_timeout(Some(connector.patience() + A_MOMENT))
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .map_err(|error| StoreError::Other(error.into()))?;
        let pooler = options.pooler.or(url.pooler);
        let inner = Inner {
            connector,
            pool,
            shared: (0..shared).map(|_| Slot::default()).collect(),
            next: AtomicUsize::new(0),
            commits: AtomicU64::new(0),
            waits: Waits::default(),
            schema,
            is_pooled: AtomicBool::new(pooler == Some(true)),
            is_pooler_named: pooler.is_some(),
        };
        let database = Self { inner: Arc::new(inner) };
        database.look_for_pooler().await?;
        let idle = url.idle_lifetime.unwrap_or(IDLE);
        if !idle.is_zero() {
            close_what_idles(Arc::downgrade(&database.inner), idle);
        }
        Ok(database)
    }

    /// The schema with the tables, if it is not for the session to decide.
    pub(super) fn schema(&self) -> Option<&str> {
        self.inner.schema.as_deref()
    }

    /// Whether the database answers.
    pub(crate) async fn ping(&self) -> Result<()> {
        let statement = backend_statement();
        if self.inner.shared.is_empty() {
            return self.scan(&statement).await.map(drop);
        }
        let (row, connection) = self.read(&statement, false).await?;
        let number = backend(row.as_ref());
        let before = connection.answered_by(number);
        if before != 0 && before != number {
            self.expect_pooler("the server's process behind a connection has changed");
        }
        Ok(())
    }

    /// Two connections to a server have two processes there; with a transaction pooler they take turns with one. Asked
    /// one after the other, so that the first is free again.
    async fn look_for_pooler(&self) -> Result<()> {
        // Others who use the same pooler may come between two questions, so it is asked more than once.
        let rounds = if self.inner.is_pooler_named { 1 } else { 3 };
        for _ in 0..rounds * self.inner.shared.len().max(1) {
            self.ping().await?;
        }
        let shared = self.inner.shared.iter().filter_map(Slot::current);
        let mut backends: Vec<_> = shared.map(|connection| connection.backend()).collect();
        if backends.len() == 1 && !self.inner.is_pooler_named {
            backends.push(backend(self.scan(&backend_statement()).await?.first()));
        }
        backends.retain(|number| *number != 0);
        let all = backends.len();
        backends.sort_unstable();
        backends.dedup();
        if backends.len() < all {
            self.expect_pooler("two connections have the same process of the server behind them");
        }
        Ok(())
    }

    /// From now on statements have no names, unless the operator has said that they may.
    fn expect_pooler(&self, sign: &str) {
        if !self.inner.is_pooler_named && !self.inner.is_pooled.swap(true, Ordering::Relaxed) {
            tracing::info!(
                sign,
                "PostgreSQL is behind a transaction pooler, so statements have no names from now on; database.pooler = true says so beforehand"
            );
        }
    }

    /// Whether statements are prepared once for each connection.
    fn has_names(&self) -> bool {
        !self.inner.is_pooled.load(Ordering::Relaxed)
    }

    /// What a failure says about the server beyond the statement that failed.
    fn heed(&self, error: &tokio_postgres::Error, connection: &Connection) {
        if is_sign_of_pooler(error) {
            self.expect_pooler("it has no prepared statement of a name that was given");
        }
        // What took writes has become a standby, and another host takes them now.
        if is_read_only(error) {
            connection.is_of_no_use();
            self.forget_idle();
            for slot in &self.inner.shared {
                slot.empty();
            }
        }
    }

    /// What time it is there.
    pub(crate) async fn time(&self) -> Result<Time> {
        let statement = Statement { text: "select clock_timestamp()".into(), values: Vec::new() };
        match self.read_one(&statement).await?.as_deref() {
            Some([Value::Time(time)]) => Ok(*time),
            _ => Err(StoreError::Other("the database has no clock".into())),
        }
    }

    pub(crate) fn commits(&self) -> u64 {
        self.inner.commits.load(Ordering::Relaxed)
    }

    pub(super) fn waits(&self) -> &Waits {
        &self.inner.waits
    }

    /// Those there are now. What is shared is in use.
    pub(super) fn connections(&self) -> BackendNow {
        let status = self.inner.pool.status();
        let shared = self.inner.shared.iter().filter(|slot| slot.current().is_some()).count();
        BackendNow::Postgres {
            in_use: status.size.saturating_sub(status.available) + shared,
            idle: status.available.min(status.size),
            most: status.max_size + self.inner.shared.len(),
        }
    }

    /// A single statement that wrote has committed itself.
    pub(super) fn count_commit(&self) {
        self.inner.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// One statement that reads few rows, on a shared connection. Asked again on another one when the connection was
    /// lost, since reading twice does no harm.
    pub(crate) async fn read_one(&self, statement: &Statement) -> Result<Option<Row>> {
        if self.inner.shared.is_empty() {
            return Ok(self.scan(statement).await?.into_iter().next());
        }
        let (row, _) = self.read(statement, true).await?;
        Ok(row)
    }

    async fn read(
        &self,
        statement: &Statement,
        may_have_name: bool,
    ) -> Result<(Option<Row>, Arc<Connection>)> {
        let mut attempts = self.inner.shared.len();
        loop {
            let connection = self.shared().await?;
            let has_name = may_have_name && self.has_names();
            let Ok(answer) = timeout(PATIENCE, connection.one(statement, has_name)).await else {
                // Everyone behind it waits for the same.
                self.forget(&connection);
                self.give_up(&connection);
                return Err(StoreError::Deadline);
            };
            let error = match answer {
                Ok(row) => return Ok((row, connection)),
                Err(error) if !has_name && is_no_value(&error) => return Ok((None, connection)),
                Err(error) => error,
            };
            self.heed(&error, &connection);
            let is_about_name = is_sign_of_pooler(&error);
            let error = StoreError::from(error);
            let is_lost = matches!(error, StoreError::Unavailable(_));
            if is_lost {
                self.forget(&connection);
            }
            if attempts == 0 || !(is_lost || is_about_name) {
                return Err(error);
            }
            attempts -= 1;
        }
    }

    /// One statement that writes few rows and commits by itself.
    pub(super) async fn write_one(&self, statement: &Statement) -> Result<Option<Row>> {
        let (rows, _) = self.write(statement).await?;
        Ok(rows.into_iter().next())
    }

    /// As [`Self::write_one`], answering how many rows there were.
    pub(super) async fn execute(&self, statement: &Statement) -> Result<u64> {
        let (_, changed) = self.write(statement).await?;
        Ok(changed)
    }

    /// Sent again only where it is certain that nothing was done.
    async fn write(&self, statement: &Statement) -> Result<(Vec<Row>, u64)> {
        match self.once(statement).await {
            Err(failure) if failure.never_ran => {
                self.forget_idle();
                Ok(self.once(statement).await?)
            }
            outcome => Ok(outcome?),
        }
    }

    /// A statement that may read many rows, on a connection of its own.
    pub(crate) async fn scan(&self, statement: &Statement) -> Result<Vec<Row>> {
        let (rows, _) = match self.once(statement).await {
            Err(failure) if failure.is_no_value => return Ok(Vec::new()),
            Err(failure) if failure.never_ran || matches!(failure.error, StoreError::Unavailable(_)) => {
                self.forget_idle();
                self.once(statement).await?
            }
            outcome => outcome?,
        };
        Ok(rows)
    }

    async fn once(&self, statement: &Statement) -> Result<(Vec<Row>, u64), Failure> {
        let own = self.borrow().await.map_err(Failure::surely)?;
        let connection = own.connection.as_deref().ok_or(StoreError::Busy).map_err(Failure::surely)?;
        let has_name = self.has_names();
        let work = async {
            let outcome = connection.all(statement, has_name).await;
            let never_sent = match &outcome {
                Err((error, _)) => connection.never_sent(error).await,
                Ok(_) => false,
            };
            (outcome, never_sent)
        };
        let (outcome, never_sent) =
            timeout(PATIENCE, work).await.map_err(|_| Failure::surely(StoreError::Deadline))?;
        let outcome = outcome.map_err(|(error, has_begun)| {
            self.heed(&error, connection);
            let mut failure = Failure::new(error, has_begun);
            failure.never_ran |= never_sent;
            failure.is_no_value &= !has_name;
            failure
        });
        own.give_back();
        outcome
    }

    async fn borrow(&self) -> Result<Transaction> {
        let connection = self.checkout().await?;
        Ok(Transaction { connection: Some(connection), failed: false, database: self.clone() })
    }

    pub(crate) async fn begin(&self) -> Result<Transaction> {
        self.begin_as("begin").await
    }

    /// Begins a transaction of another kind.
    pub(super) async fn begin_as(&self, command: &str) -> Result<Transaction> {
        match self.begin_once(command).await {
            // Nothing has been written yet, so another connection will do.
            Err(StoreError::Unavailable(_)) => {
                self.forget_idle();
                self.begin_once(command).await
            }
            outcome => outcome,
        }
    }

    /// A transaction in which everything is as it is when it begins, for as long as it takes. Where row level security
    /// would hide rows, PostgreSQL refuses to read.
    pub(crate) async fn reading(&self) -> Result<Transaction> {
        let transaction = self.begin_as("begin isolation level repeatable read read only").await?;
        let settings = "select set_config('row_security', 'off', true), set_config('statement_timeout', '0', true), \
                        set_config('idle_in_transaction_session_timeout', '0', true)";
        transaction.control(settings).await?;
        Ok(transaction)
    }

    async fn begin_once(&self, command: &str) -> Result<Transaction> {
        let transaction = self.borrow().await?;
        transaction.control(command).await?;
        Ok(transaction)
    }

    async fn checkout(&self) -> Result<Object<Opener>> {
        let _waiting = self.inner.waits.begin();
        self.inner.pool.get().await.map_err(|error| match error {
            PoolError::Timeout(TimeoutType::Wait) => StoreError::Busy,
            PoolError::Backend(error) => error,
            error => StoreError::Unavailable(error.to_string().into()),
        })
    }

    /// A connection that the server has closed looks alive until its end has been read; where one was lost, those
    /// that idled beside it are not tried.
    fn forget_idle(&self) {
        self.inner.pool.retain(|_, _| false);
    }

    /// Nobody waits any more for what is under way there.
    fn give_up(&self, connection: &Connection) {
        connection.give_up();
        self.inner.connector.cancel(&connection.client);
    }

    fn forget(&self, lost: &Arc<Connection>) {
        for slot in &self.inner.shared {
            let mut connection = slot.connection.write().unwrap_or_else(PoisonError::into_inner);
            if connection.as_ref().is_some_and(|current| Arc::ptr_eq(current, lost)) {
                *connection = None;
            }
        }
    }

    async fn shared(&self) -> Result<Arc<Connection>> {
        let turn = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let slot = self.inner.shared.get(turn % self.inner.shared.len().max(1)).ok_or(StoreError::Busy)?;
        slot.was_used.store(true, Ordering::Relaxed);
        if let Some(connection) = slot.current() {
            return Ok(connection);
        }
        // Those who wait for the one that connects wait no longer than it would.
        let patience = self.inner.connector.patience() + A_MOMENT;
        let connection = timeout(patience, Box::pin(self.fill(slot))).await;
        connection.map_err(|_| StoreError::Unavailable("no connection could be made in time".into()))?
    }

    async fn fill(&self, slot: &Slot) -> Result<Arc<Connection>> {
        let _connecting = slot.connecting.lock().await;
        if let Some(connection) = slot.current() {
            return Ok(connection);
        }
        let connection = Arc::new(Connection::open(&self.inner.connector).await?);
        *slot.connection.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&connection));
        Ok(connection)
    }
}

/// Closes connections that nobody has used for `idle`, until nobody needs the database any more.
#[expect(clippy::disallowed_methods, reason = "it ends by itself when the last user of the database does")]
fn close_what_idles(database: Weak<Inner>, idle: Duration) {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(idle).await;
            let Some(database) = database.upgrade() else { return };
            database.pool.retain(|_, metrics| metrics.last_used() < idle);
            for slot in &database.shared {
                if !slot.was_used.swap(false, Ordering::Relaxed) {
                    slot.empty();
                }
            }
        }
    });
}

impl Slot {
    fn current(&self) -> Option<Arc<Connection>> {
        let connection = self.connection.read().unwrap_or_else(PoisonError::into_inner);
        connection.as_ref().filter(|connection| connection.is_fit()).map(Arc::clone)
    }

    fn empty(&self) {
        drop(self.connection.write().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// A connection of its own, in a transaction once that has begun. Dropping it cancels what is under way.
pub(super) struct Transaction {
    connection: Option<Object<Opener>>,
    /// PostgreSQL answers `commit` after an error with a rollback and no error; we do not.
    failed: bool,
    database: Database,
}

impl Transaction {
    pub(super) async fn rows(&mut self, statement: &Statement) -> Result<Vec<Row>> {
        let (rows, _) = self.run(statement).await?;
        Ok(rows)
    }

    pub(super) async fn execute(&mut self, statement: &Statement) -> Result<u64> {
        let (_, changed) = self.run(statement).await?;
        Ok(changed)
    }

    async fn run(&mut self, statement: &Statement) -> Result<(Vec<Row>, u64)> {
        let connection = self.connection.as_deref().ok_or(StoreError::Busy)?;
        let outcome = connection.all(statement, self.database.has_names()).await;
        self.failed |= outcome.is_err();
        outcome.map_err(|(error, _)| {
            self.database.heed(&error, connection);
            error.into()
        })
    }

    /// Several statements without parameters, or one.
    pub(super) async fn control(&self, command: &str) -> Result<()> {
        let connection = self.connection.as_deref().ok_or(StoreError::Busy)?;
        within(connection.client.batch_execute(command)).await
    }

    /// Waits for whom it has to. What comes next may wait as long.
    pub(super) async fn wait(&self, command: &str) -> Result<()> {
        let connection = self.connection.as_deref().ok_or(StoreError::Busy)?;
        Ok(connection.client.batch_execute(command).await?)
    }

    pub(super) async fn commit(self) -> Result<()> {
        if self.failed {
            self.rollback().await;
            return Err(StoreError::Other("the transaction failed before its commit".into()));
        }
        self.control("commit").await?;
        self.database.count_commit();
        self.give_back();
        Ok(())
    }

    pub(super) async fn rollback(self) {
        if self.control("rollback").await.is_ok() {
            self.give_back();
        }
    }

    /// For statements of other shapes than ours; whoever uses it bounds how long they take.
    pub(super) fn client(&self) -> Result<&tokio_postgres::Client> {
        Ok(&self.connection.as_deref().ok_or(StoreError::Busy)?.client)
    }

    /// Returns the connection to the pool; nothing is under way on it.
    pub(super) fn give_back(mut self) {
        drop(self.connection.take());
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        // Cut off in the middle. The server notices that nobody listens any more only once the statement under way has
        // ended, and that may be waiting for a lock: it is cancelled.
        let connection = Object::take(connection);
        self.database.give_up(&connection);
    }
}

/// What the server answers at once, unless something is wrong with it.
async fn within<T>(work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T> {
    match timeout(PATIENCE, work).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(StoreError::Deadline),
    }
}
