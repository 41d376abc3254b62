//! PostgreSQL: a few shared connections that pipeline the reads of one row, and a pool for the rest.
//!
//! Measured on one core: ten pooled connections with one query each in flight make 25,000 queries a second, one
//! connection with 64 in flight 55,000. So reads that reach one row share [`SHARED`] connections. Whatever may wait
//! or take long (writes wait for locks, and everyone behind them on a shared connection would too) borrows a
//! connection of its own. One that was cut off in the middle is closed, never reused. Nothing here depends on
//! session state.

use super::{
    Result, Row, StoreError,
    resolved::{serial, uuid, uuid_text},
    sql::Statement,
    value::Value,
};
use crate::{error::chain, time::Time};
use bytes::BytesMut;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use futures_util::TryStreamExt as _;
use postgres_types::{FromSql, IsNull, ToSql, Type};
use std::{
    collections::HashMap,
    error::Error,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio_postgres::{Client, Config, NoTls};

/// Connections that everyone's single statements share.
const SHARED: usize = 2;
/// Connections for transactions and scans.
const POOLED: usize = 20;
/// How long to wait for a connection or for the server to take one.
const PATIENCE: Duration = Duration::from_secs(5);

/// A PostgreSQL database. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    pool: Pool,
    shared: [Slot; SHARED],
    next: AtomicUsize,
    commits: AtomicU64,
}

/// A place for a shared connection, filled when first needed and again after a loss.
#[derive(Default)]
struct Slot {
    connection: RwLock<Option<Arc<Pipeline>>>,
    connecting: tokio::sync::Mutex<()>,
}

/// A shared connection and what is prepared on it.
struct Pipeline {
    client: Client,
    prepared: RwLock<HashMap<String, tokio_postgres::Statement>>,
}

impl Database {
    pub(crate) async fn open(url: &str) -> Result<Self> {
        let mut config: Config = url
            .parse()
            .map_err(|error| StoreError::Url(format!("the database URL cannot be read: {error}")))?;
        config.connect_timeout(PATIENCE);
        if config.get_application_name().is_none() {
            config.application_name("narthex");
        }
        let manager = Manager::from_config(
            config.clone(),
            NoTls,
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        let pool = Pool::builder(manager)
            .max_size(POOLED)
            .wait_timeout(Some(PATIENCE))
            .create_timeout(Some(PATIENCE))
            .runtime(deadpool_postgres::Runtime::Tokio1)
            .build()
            .map_err(|error| StoreError::Other(error.into()))?;
        let inner = Inner {
            config,
            pool,
            shared: Default::default(),
            next: AtomicUsize::new(0),
            commits: AtomicU64::new(0),
        };
        let database = Self { inner: Arc::new(inner) };
        database.ping().await?;
        Ok(database)
    }

    pub(crate) async fn ping(&self) -> Result<()> {
        let statement = Statement { text: "select 1".into(), values: Vec::new() };
        self.read_one(&statement).await.map(drop)
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

    /// A single statement that wrote has committed itself.
    pub(super) fn count_commit(&self) {
        self.inner.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// One statement that reads few rows, on a shared connection. Asked again on another one when the connection was
    /// lost, since reading twice does no harm.
    pub(crate) async fn read_one(&self, statement: &Statement) -> Result<Option<Row>> {
        for _ in 0..SHARED {
            let pipeline = self.pipeline().await?;
            match pipeline.one(statement).await {
                Err(StoreError::Unavailable(_)) => self.forget(&pipeline),
                outcome => return outcome,
            }
        }
        self.pipeline().await?.one(statement).await
    }

    /// One statement that writes few rows and commits by itself. Never asked again: it may have been done.
    pub(super) async fn write_one(&self, statement: &Statement) -> Result<Option<Row>> {
        Ok(self.scan_once(statement).await?.into_iter().next())
    }

    /// As [`Self::write_one`], answering how many rows there were.
    pub(super) async fn execute(&self, statement: &Statement) -> Result<u64> {
        let mut own = self.borrow().await?;
        let outcome = tokio::time::timeout(PATIENCE, own.execute(statement)).await;
        let outcome = outcome.map_err(|_| StoreError::Deadline)?;
        own.give_back();
        outcome
    }

    /// A statement that may read many rows, on a connection of its own.
    pub(crate) async fn scan(&self, statement: &Statement) -> Result<Vec<Row>> {
        match self.scan_once(statement).await {
            Err(StoreError::Unavailable(_)) => {
                self.forget_idle();
                self.scan_once(statement).await
            }
            outcome => outcome,
        }
    }

    async fn scan_once(&self, statement: &Statement) -> Result<Vec<Row>> {
        let mut own = self.borrow().await?;
        let outcome = tokio::time::timeout(PATIENCE, own.rows(statement)).await;
        let outcome = outcome.map_err(|_| StoreError::Deadline)?;
        own.give_back();
        outcome
    }

    async fn borrow(&self) -> Result<Transaction> {
        let connection = self.checkout().await?;
        Ok(Transaction { connection: Some(connection), failed: false, database: self.clone() })
    }

    pub(crate) async fn begin(&self) -> Result<Transaction> {
        match self.begin_once().await {
            // Nothing has been written yet, so another connection will do.
            Err(StoreError::Unavailable(_)) => {
                self.forget_idle();
                self.begin_once().await
            }
            outcome => outcome,
        }
    }

    async fn begin_once(&self) -> Result<Transaction> {
        let transaction = self.borrow().await?;
        transaction.control("begin").await?;
        Ok(transaction)
    }

    pub(super) async fn checkout(&self) -> Result<Object> {
        use deadpool_postgres::PoolError;
        self.inner.pool.get().await.map_err(|error| match error {
            PoolError::Timeout(deadpool_postgres::TimeoutType::Wait) => StoreError::Busy,
            PoolError::Backend(error) => error.into(),
            error => StoreError::Unavailable(error.into()),
        })
    }

    /// A connection that the server has closed looks alive until its end has been read; where one was lost, those
    /// that idled beside it are not tried.
    fn forget_idle(&self) {
        self.inner.pool.retain(|_, _| false);
    }

    fn forget(&self, lost: &Arc<Pipeline>) {
        for slot in &self.inner.shared {
            let mut connection = slot.connection.write().unwrap_or_else(PoisonError::into_inner);
            if connection.as_ref().is_some_and(|current| Arc::ptr_eq(current, lost)) {
                *connection = None;
            }
        }
    }

    async fn pipeline(&self) -> Result<Arc<Pipeline>> {
        let turn = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let slot = self.inner.shared.get(turn % SHARED).ok_or(StoreError::Busy)?;
        if let Some(pipeline) = slot.current() {
            return Ok(pipeline);
        }
        let _connecting = slot.connecting.lock().await;
        if let Some(pipeline) = slot.current() {
            return Ok(pipeline);
        }
        let pipeline = Arc::new(Pipeline::connect(&self.inner.config).await?);
        *slot.connection.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&pipeline));
        Ok(pipeline)
    }
}

impl Slot {
    fn current(&self) -> Option<Arc<Pipeline>> {
        let connection = self.connection.read().unwrap_or_else(PoisonError::into_inner);
        connection.as_ref().filter(|pipeline| !pipeline.client.is_closed()).map(Arc::clone)
    }
}

impl Pipeline {
    #[expect(clippy::disallowed_methods, reason = "the driver's connection has to be polled by someone")]
    async fn connect(config: &Config) -> Result<Self> {
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(error = chain(&error), "a PostgreSQL connection was lost");
            }
        });
        Ok(Self { client, prepared: RwLock::default() })
    }

    async fn one(&self, statement: &Statement) -> Result<Option<Row>> {
        let prepared = self.prepare(&statement.text).await?;
        let stream = self.client.query_raw(&prepared, &statement.values).await?;
        futures_util::pin_mut!(stream);
        let Some(first) = stream.try_next().await? else { return Ok(None) };
        while stream.try_next().await?.is_some() {}
        decode(&first).map(Some)
    }

    async fn prepare(&self, text: &str) -> Result<tokio_postgres::Statement> {
        let known = self.prepared.read().unwrap_or_else(PoisonError::into_inner).get(text).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(text).await?;
        self.prepared
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(text.to_owned(), statement.clone());
        Ok(statement)
    }
}

/// A connection of its own, in a transaction once that has begun. Dropping it cancels what is under way.
pub(super) struct Transaction {
    connection: Option<Object>,
    /// PostgreSQL answers `commit` after an error with a rollback and no error; we do not.
    failed: bool,
    database: Database,
}

impl Transaction {
    pub(super) async fn rows(&mut self, statement: &Statement) -> Result<Vec<Row>> {
        let outcome = match &self.connection {
            Some(connection) => rows(connection, statement).await,
            None => Err(StoreError::Busy),
        };
        self.failed |= outcome.is_err();
        outcome
    }

    pub(super) async fn execute(&mut self, statement: &Statement) -> Result<u64> {
        let outcome = match &self.connection {
            Some(connection) => execute(connection, statement).await,
            None => Err(StoreError::Busy),
        };
        self.failed |= outcome.is_err();
        outcome
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

    /// Returns the connection to the pool; nothing is under way on it.
    fn give_back(mut self) {
        drop(self.connection.take());
    }

    async fn control(&self, command: &str) -> Result<()> {
        match &self.connection {
            Some(connection) => Ok(connection.batch_execute(command).await?),
            None => Err(StoreError::Busy),
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        // Cut off in the middle. The driver closes the connection, and the server rolls back, only once the
        // statement under way has ended, and that may be waiting for a lock: it is cancelled.
        let cancel = connection.cancel_token();
        drop(Object::take(connection));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = cancel.cancel_query(NoTls).await {
                    tracing::warn!(error = chain(&error), "a PostgreSQL statement could not be cancelled");
                }
            });
        }
    }
}

async fn rows(connection: &Object, statement: &Statement) -> Result<Vec<Row>> {
    let prepared = connection.prepare_cached(&statement.text).await?;
    let stream = connection.query_raw(&prepared, &statement.values).await?;
    futures_util::pin_mut!(stream);
    let mut rows = Vec::new();
    while let Some(row) = stream.try_next().await? {
        rows.push(decode(&row)?);
    }
    Ok(rows)
}

async fn execute(connection: &Object, statement: &Statement) -> Result<u64> {
    let prepared = connection.prepare_cached(&statement.text).await?;
    Ok(connection.execute_raw(&prepared, &statement.values).await?)
}

fn decode(row: &tokio_postgres::Row) -> Result<Row> {
    (0..row.len()).map(|position| row.try_get::<_, Value>(position).map_err(StoreError::from)).collect()
}

/// 2000-01-01T00:00:00Z, where PostgreSQL starts counting, in our milliseconds.
const EPOCH: i64 = 946_684_800_000;

impl<'a> FromSql<'a> for Value {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(match *kind {
            Type::BOOL => Self::Bool(bool::from_sql(kind, raw)?),
            Type::INT2 => Self::Integer(i16::from_sql(kind, raw)?.into()),
            Type::INT4 => Self::Integer(i32::from_sql(kind, raw)?.into()),
            Type::INT8 => Self::Integer(i64::from_sql(kind, raw)?),
            Type::FLOAT4 => Self::Real(f32::from_sql(kind, raw)?.into()),
            Type::FLOAT8 => Self::Real(f64::from_sql(kind, raw)?),
            Type::TIMESTAMPTZ | Type::TIMESTAMP => {
                let micros = i64::from_be_bytes(raw.try_into()?);
                Self::Time(Time::from_millis(micros.div_euclid(1000) + EPOCH))
            }
            Type::UUID => Self::Text(uuid_text(raw.try_into()?)),
            Type::JSON => Self::Json(serde_json::from_slice(raw)?),
            Type::JSONB => Self::Json(serde_json::from_slice(raw.get(1..).unwrap_or_default())?),
            _ => Self::Text(std::str::from_utf8(raw)?.to_owned()),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(kind: &Type) -> bool {
        matches!(
            *kind,
            Type::BOOL
                | Type::INT2
                | Type::INT4
                | Type::INT8
                | Type::FLOAT4
                | Type::FLOAT8
                | Type::TIMESTAMPTZ
                | Type::TIMESTAMP
                | Type::JSON
                | Type::JSONB
                | Type::UUID
                | Type::TEXT
                | Type::VARCHAR
                | Type::BPCHAR
                | Type::NAME
        )
    }
}

impl ToSql for Value {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => return Ok(IsNull::Yes),
            Self::Text(text) => return key_to_sql(text, kind, out),
            Self::Bool(value) => out.extend_from_slice(&[u8::from(*value)]),
            Self::Integer(number) => match *kind {
                Type::INT2 => out.extend_from_slice(&i16::try_from(*number)?.to_be_bytes()),
                Type::INT4 => out.extend_from_slice(&i32::try_from(*number)?.to_be_bytes()),
                Type::FLOAT4 => return number.to_string().parse::<f32>()?.to_sql(kind, out),
                Type::FLOAT8 => return number.to_string().parse::<f64>()?.to_sql(kind, out),
                _ => out.extend_from_slice(&number.to_be_bytes()),
            },
            Self::Real(number) => match *kind {
                Type::FLOAT4 => return number.to_string().parse::<f32>()?.to_sql(kind, out),
                Type::FLOAT8 => return number.to_sql(kind, out),
                // A whole number of JavaScript's; the parser refuses a fraction.
                _ => return Self::Integer(number.to_string().parse()?).to_sql(kind, out),
            },
            Self::Time(time) => {
                let micros = time.millis().saturating_sub(EPOCH).saturating_mul(1000);
                out.extend_from_slice(&micros.to_be_bytes());
            }
            Self::Json(value) => {
                if *kind == Type::JSONB {
                    out.extend_from_slice(&[1]);
                }
                out.extend_from_slice(&serde_json::to_vec(value)?);
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        // The migration check has compared every column's type with its declaration.
        true
    }

    postgres_types::to_sql_checked!();
}

/// Text, or an id in a column of another type, as databases have that were not made by us. An id that the type cannot
/// have is nothing, which no row equals.
fn key_to_sql(text: &str, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
    match *kind {
        Type::UUID => match uuid(text) {
            Some(bytes) => out.extend_from_slice(&bytes),
            None => return Ok(IsNull::Yes),
        },
        Type::INT2 | Type::INT4 | Type::INT8 => {
            return serial(text).map_or(Ok(IsNull::Yes), |number| Value::Integer(number).to_sql(kind, out));
        }
        _ => out.extend_from_slice(text.as_bytes()),
    }
    Ok(IsNull::No)
}
