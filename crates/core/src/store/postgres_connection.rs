//! A connection to PostgreSQL, what is prepared on it, and what its failures mean.

use super::{
    Result, Row, StoreError,
    postgres_connect::{Connected, Connector},
    postgres_value::Literal,
    sql::Statement,
    value::Value,
};
use futures_util::TryStreamExt as _;
use postgres_types::Type;
use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
};
use tokio::{sync::watch, task::AbortHandle};
use tokio_postgres::{Client, RowStream};

/// A connection and what is prepared on it.
pub(super) struct Connection {
    pub(super) client: Client,
    task: AbortHandle,
    has_ended: watch::Receiver<Option<bool>>,
    prepared: RwLock<HashMap<Arc<str>, tokio_postgres::Statement>>,
    /// The number of the server's process that answered last; 0 before.
    backend: AtomicI32,
    /// Whether the server has stopped taking writes.
    is_unfit: AtomicBool,
    /// Whether an answer is outstanding that may never come.
    is_given_up: AtomicBool,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Else it takes its leave of the server by itself.
        if self.is_given_up.load(Ordering::Relaxed) {
            self.task.abort();
        }
    }
}

/// A statement that was refused or lost.
pub(super) struct Failure {
    pub(super) error: StoreError,
    /// Whether it is certain that the server has not begun with it, so that it may be sent again.
    pub(super) never_ran: bool,
    /// Whether no row can have what was looked for.
    pub(super) is_no_value: bool,
}

impl Failure {
    pub(super) fn new(error: tokio_postgres::Error, has_begun: bool) -> Self {
        // A server that stops tells each session so, and one without the statement of that name says so, before it
        // has looked at what was sent. What runs is announced before it can fail.
        let says_no = |code: &str| matches!(code, "57P01" | "57P02" | "57P03");
        let has_said_no = error.code().is_some_and(|code| says_no(code.code())) || is_sign_of_pooler(&error);
        let never_ran = (has_said_no && !has_begun) || is_read_only(&error);
        Self { is_no_value: is_no_value(&error), error: error.into(), never_ran }
    }

    pub(super) fn surely(error: StoreError) -> Self {
        Self { error, never_ran: false, is_no_value: false }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// A name that was given on one session is unknown, or already taken, on another.
pub(super) fn is_sign_of_pooler(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| matches!(code.code(), "26000" | "42P05"))
}

/// `read_only_sql_transaction`: nothing was written.
pub(super) fn is_read_only(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code() == "25006")
}

/// Text that the column's type cannot have, such as an id that is none: no row has it. Where statements have names, the
/// types are known and nothing is asked.
pub(super) fn is_no_value(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| matches!(code.code(), "22P02" | "22003"))
}

/// Asks for the number of the server's process.
pub(super) fn backend_statement() -> Statement {
    Statement { text: "select pg_backend_pid()".into(), values: Vec::new() }
}

pub(super) fn backend(row: Option<&Row>) -> i32 {
    match row.map(Vec::as_slice) {
        Some([Value::Integer(number)]) => i32::try_from(*number).unwrap_or(0),
        _ => 0,
    }
}

impl Connection {
    /// The number of the server's process that answered last.
    pub(super) fn backend(&self) -> i32 {
        self.backend.load(Ordering::Relaxed)
    }

    /// Another one has answered, or the same; which one it was before.
    pub(super) fn answered_by(&self, backend: i32) -> i32 {
        self.backend.swap(backend, Ordering::Relaxed)
    }

    /// Whether something may still be asked here.
    pub(super) fn is_fit(&self) -> bool {
        !self.client.is_closed() && !self.is_unfit.load(Ordering::Relaxed)
    }

    /// The server has stopped taking writes, so that another connection is to be made.
    pub(super) fn is_of_no_use(&self) {
        self.is_unfit.store(true, Ordering::Relaxed);
    }

    /// Nobody waits any more for what is under way.
    pub(super) fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
    }

    pub(super) async fn open(connector: &Connector) -> Result<Self> {
        let Connected { client, task, has_ended } = connector.connect().await?;
        Ok(Self {
            client,
            task,
            has_ended,
            prepared: RwLock::default(),
            backend: AtomicI32::new(0),
            is_unfit: AtomicBool::new(false),
            is_given_up: AtomicBool::new(false),
        })
    }

    /// Sends a statement; what it answers is still to come, but it is certain that it runs.
    async fn ask(&self, statement: &Statement, has_name: bool) -> Result<RowStream, tokio_postgres::Error> {
        if has_name {
            let prepared = self.prepare(&statement.text).await?;
            self.client.query_raw(&prepared, &statement.values).await
        } else {
            // The server finds out the types of the parameters, as it does for names.
            let values = statement.values.iter().map(|value| (Literal(value), Type::UNKNOWN));
            self.client.query_typed_raw(&statement.text, values).await
        }
    }

    pub(super) async fn one(
        &self,
        statement: &Statement,
        has_name: bool,
    ) -> Result<Option<Row>, tokio_postgres::Error> {
        let stream = self.ask(statement, has_name).await?;
        futures_util::pin_mut!(stream);
        let Some(first) = stream.try_next().await? else { return Ok(None) };
        while stream.try_next().await?.is_some() {}
        decode(&first).map(Some)
    }

    /// Whether a statement that got no answer was never sent, because the server had taken its leave before.
    pub(super) async fn never_sent(&self, error: &tokio_postgres::Error) -> bool {
        if !error.is_closed() {
            return false;
        }
        let mut has_ended = self.has_ended.clone();
        has_ended.wait_for(Option::is_some).await.is_ok_and(|end| *end == Some(true))
    }

    /// All rows, and how many were changed; an error comes with whether the server had begun.
    pub(super) async fn all(
        &self,
        statement: &Statement,
        has_name: bool,
    ) -> Result<(Vec<Row>, u64), (tokio_postgres::Error, bool)> {
        let stream = self.ask(statement, has_name).await.map_err(|error| (error, false))?;
        futures_util::pin_mut!(stream);
        let mut rows = Vec::new();
        while let Some(row) = stream.try_next().await.map_err(|error| (error, true))? {
            rows.push(decode(&row).map_err(|error| (error, true))?);
        }
        let changed = stream.rows_affected().unwrap_or(0);
        Ok((rows, changed))
    }

    async fn prepare(&self, text: &Arc<str>) -> Result<tokio_postgres::Statement, tokio_postgres::Error> {
        let known = self.prepared.read().unwrap_or_else(PoisonError::into_inner).get(text).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(text).await?;
        self.prepared
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(Arc::clone(text), statement.clone());
        Ok(statement)
    }
}

fn decode(row: &tokio_postgres::Row) -> Result<Row, tokio_postgres::Error> {
    (0..row.len()).map(|position| row.try_get::<_, Value>(position)).collect()
}
