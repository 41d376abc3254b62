//! SQLite: one file, one writer, a reader on every thread.
//!
//! A read that reaches one row by a unique key runs inline, on a connection of its thread: it takes microseconds,
//! a hop to another thread takes longer. Every other read runs on a small pool of blocking threads with a deadline,
//! so that a scan never stalls a session check. No busy handler sleeps on an async thread.

use super::{
    Result, Row, StoreError,
    schema::Kind,
    sql::Statement,
    sqlite_writer::{Turn, Writer},
    value::Value,
    waits::Waits,
};
use crate::time::Time;
use rusqlite::{
    Connection, InterruptHandle, OpenFlags,
    config::DbConfig,
    types::{ToSqlOutput, ValueRef},
};
use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

/// How many statements a connection keeps prepared; the server has fewer shapes than this.
const PREPARED: usize = 256;
/// Scans that run at once; the others wait.
const SCANS: usize = 4;
/// How long a scan may take.
const SCAN_DEADLINE: Duration = Duration::from_secs(5);
/// How long another process may hold the file while we open it.
const OPENING: Duration = Duration::from_secs(5);

thread_local! {
    /// This thread's read connections, one for each open database.
    static READERS: RefCell<Vec<(Weak<Shared>, Connection)>> = const { RefCell::new(Vec::new()) };
}

/// An open SQLite file. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Database {
    shared: Arc<Shared>,
    writer: Writer,
}

struct Shared {
    path: PathBuf,
    idle: Mutex<Vec<Scan>>,
    scans: Semaphore,
}

struct Scan {
    connection: Connection,
    interrupt: Arc<InterruptHandle>,
}

impl Database {
    pub(crate) fn open(path: &str) -> Result<Self> {
        let path = file(path)?;
        create_private(&path)?;
        let give_up = Instant::now() + OPENING;
        let writer = loop {
            match open_writer(&path) {
                // A process that starts at the same time has the file for itself while it switches the journal.
                Err(StoreError::Busy) if Instant::now() < give_up => thread::sleep(Duration::from_millis(10)),
                writer => break writer?,
            }
        };
        Ok(Self::new(path, writer))
    }

    /// Opens it without writing anything, ever. A file that is not there is not made and counts as an empty one.
    pub(crate) fn inspect(path: &str) -> Result<Self> {
        let path = file(path)?;
        let connection = if path.exists() {
            connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?
        } else {
            connect(Path::new(":memory:"), OpenFlags::SQLITE_OPEN_READ_WRITE)?
        };
        connection.pragma_update(None, "query_only", true)?;
        let writer = Writer::that_reads(connection)?;
        Ok(Self::new(path, writer))
    }

    fn new(path: PathBuf, writer: Writer) -> Self {
        let shared = Shared { path, idle: Mutex::default(), scans: Semaphore::new(SCANS) };
        Self { shared: Arc::new(shared), writer }
    }

    pub(super) fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Reads inline; [`StoreError::Busy`] when only waiting would help, which the pool can do.
    pub(crate) fn read_one(
        &self,
        statement: &Statement,
        kinds: impl Iterator<Item = Kind>,
    ) -> Result<Option<Row>> {
        self.with_reader(|connection| read_one(connection, statement, kinds))
    }

    pub(crate) fn ping(&self) -> Result<()> {
        let statement = Statement { text: "select 1".into(), values: Vec::new() };
        self.with_reader(|connection| read_one(connection, &statement, std::iter::once(Kind::BigInteger)))
            .map(drop)
    }

    fn with_reader<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        READERS.with_borrow_mut(|readers| {
            let ours =
                |(shared, _): &(Weak<Shared>, _)| std::ptr::eq(shared.as_ptr(), Arc::as_ptr(&self.shared));
            let position = if let Some(position) = readers.iter().position(ours) {
                position
            } else {
                readers.retain(|(shared, _)| shared.strong_count() > 0);
                let connection = connect(&self.shared.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
                readers.push((Arc::downgrade(&self.shared), connection));
                readers.len() - 1
            };
            let (_, connection) = readers.get(position).ok_or(StoreError::Busy)?;
            read(connection)
        })
    }

    pub(crate) async fn scan(&self, statement: Statement, kinds: Vec<Kind>) -> Result<Vec<Row>> {
        // The semaphore is never closed.
        let Ok(_permit) = self.shared.scans.acquire().await else { return Err(StoreError::Busy) };
        let idle = self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let scan = if let Some(scan) = idle { scan } else { Scan::open(&self.shared.path)? };
        let interrupt = Arc::clone(&scan.interrupt);
        let shared = Arc::clone(&self.shared);
        let mut job = tokio::task::spawn_blocking(move || {
            let rows = read_all(&scan.connection, &statement, &kinds);
            shared.idle.lock().unwrap_or_else(PoisonError::into_inner).push(scan);
            rows
        });
        let in_time = tokio::time::timeout(SCAN_DEADLINE, &mut job).await;
        let outcome = if let Ok(outcome) = in_time {
            outcome
        } else {
            interrupt.interrupt();
            job.await
        };
        outcome.unwrap_or_else(|error| Err(StoreError::Other(error.into())))
    }

    pub(crate) async fn begin(&self) -> Result<Turn> {
        self.writer.begin().await
    }

    /// A connection of its own on which everything is as it is at its first read.
    pub(crate) fn reading(&self) -> Result<Reading> {
        let connection = connect(&self.shared.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(SCAN_DEADLINE)?;
        connection.execute_batch("begin")?;
        Ok(Reading(connection))
    }

    /// Runs `work` on the write connection, alone, off the async threads: migrations.
    pub(crate) async fn exclusively<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.writer.exclusively(work).await
    }

    /// Writes what is committed at this moment to a new file, while others read and write, and looks whether it is
    /// whole. The number of its bytes.
    pub(crate) async fn backup(&self, to: PathBuf) -> Result<u64> {
        let source = self.shared.path.clone();
        let copied = tokio::task::spawn_blocking(move || copy(&source, &to)).await;
        copied.unwrap_or_else(|error| Err(StoreError::Other(error.into())))
    }

    pub(crate) fn commits(&self) -> u64 {
        self.writer.commits()
    }

    pub(super) fn waits(&self) -> &Waits {
        self.writer.waits()
    }

    /// The size of the log; nothing where there is none.
    pub(super) fn wal_bytes(&self) -> u64 {
        self.writer.log_bytes().unwrap_or(0)
    }
}

/// A read transaction, which ends with its connection.
pub(super) struct Reading(Connection);

impl Reading {
    /// Reads off the async threads, and hands itself back.
    pub(super) async fn rows(
        self,
        statement: Statement,
        kinds: Vec<Kind>,
    ) -> Result<(Self, Result<Vec<Row>>)> {
        let read = tokio::task::spawn_blocking(move || {
            let rows = read_all(&self.0, &statement, &kinds);
            (self, rows)
        });
        read.await.map_err(|error| StoreError::Other(error.into()))
    }
}

impl Scan {
    fn open(path: &Path) -> Result<Self> {
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(SCAN_DEADLINE)?;
        let interrupt = Arc::new(connection.get_interrupt_handle());
        Ok(Self { connection, interrupt })
    }
}

fn file(path: &str) -> Result<PathBuf> {
    if path.is_empty() || path.starts_with(':') {
        return Err(StoreError::Url("sqlite:// needs the path of a file: sqlite://narthex.db".to_owned()));
    }
    Ok(PathBuf::from(path))
}

fn open_writer(path: &Path) -> Result<Writer> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // An acknowledged commit survives a power cut.
    connection.pragma_update(None, "synchronous", "full")?;
    // Checkpoints are the housekeeping connection's work, never a commit's.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    Writer::new(connection, path)
}

fn copy(source: &Path, to: &Path) -> Result<u64> {
    let failed = |error: std::io::Error| {
        let to = to.display();
        let problem = match error.kind() {
            std::io::ErrorKind::AlreadyExists => format!("{to} is there already; a backup replaces nothing"),
            _ => format!("{to}: {error}"),
        };
        StoreError::Unavailable(problem.into())
    };
    let mut options = std::fs::OpenOptions::new();
    options.create_new(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(to).map_err(failed)?;
    let write = || -> Result<()> {
        let source = connect(source, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        // SQLite takes a name only as text, and one without a folder may mean something else to it: `:memory:`.
        let path = std::path::absolute(to).map_err(failed)?;
        let name =
            path.to_str().ok_or_else(|| StoreError::Url("the file's name must be UTF-8".to_owned()))?;
        source.execute("vacuum into ?1", [name])?;
        file.sync_all().map_err(failed)?;
        let copy = connect(to, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let verdict: String = copy.query_row("pragma integrity_check", [], |row| row.get(0))?;
        if verdict == "ok" {
            Ok(())
        } else {
            Err(StoreError::Schema(format!("the copy is not whole: {verdict}")))
        }
    };
    if let Err(error) = write() {
        // Half a backup is worse than none. That it cannot be deleted either changes nothing about what is said.
        let _ = std::fs::remove_file(to);
        return Err(error);
    }
    Ok(file.metadata().map_err(failed)?.len())
}

/// Sessions and password hashes are in this file: nobody else on the machine reads it.
fn create_private(path: &Path) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .map(drop)
        .map_err(|error| StoreError::Unavailable(format!("cannot open {}: {error}", path.display()).into()))
}

pub(super) fn connect(path: &Path, access: OpenFlags) -> Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE,
    )?;
    connection.set_prepared_statement_cache_capacity(PREPARED);
    connection.busy_timeout(Duration::ZERO)?;
    // Otherwise SQLite plans a statement anew for each value bound to it, which costs ten times the statement.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Enough for the hot pages of a million users; the operating system keeps the rest.
    connection.pragma_update(None, "cache_size", -8_000)?;
    Ok(connection)
}

pub(super) fn read_one(
    connection: &Connection,
    statement: &Statement,
    kinds: impl Iterator<Item = Kind>,
) -> Result<Option<Row>> {
    let mut prepared = connection.prepare_cached(&statement.text)?;
    let mut rows = prepared.query(rusqlite::params_from_iter(&statement.values))?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let row = decode(row, kinds)?;
    // `returning` may have more rows to produce; the statement is complete only when it has been stepped to its end.
    while rows.next()?.is_some() {}
    Ok(Some(row))
}

pub(super) fn read_all(connection: &Connection, statement: &Statement, kinds: &[Kind]) -> Result<Vec<Row>> {
    let mut prepared = connection.prepare_cached(&statement.text)?;
    let mut rows = prepared.query(rusqlite::params_from_iter(&statement.values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(decode(row, kinds.iter().copied())?);
    }
    Ok(found)
}

pub(super) fn execute(connection: &Connection, statement: &Statement) -> Result<u64> {
    let mut prepared = connection.prepare_cached(&statement.text)?;
    let changed = prepared.execute(rusqlite::params_from_iter(&statement.values))?;
    Ok(changed as u64)
}

fn decode(row: &rusqlite::Row<'_>, kinds: impl Iterator<Item = Kind>) -> Result<Row> {
    let mut values = Vec::with_capacity(kinds.size_hint().0);
    for (position, kind) in kinds.enumerate() {
        values.push(value(row.get_ref(position)?, kind)?);
    }
    Ok(values)
}

/// SQLite columns hold anything; what does not fit the declared kind stays what it is, and the record refuses it.
pub(super) fn value(stored: ValueRef<'_>, kind: Kind) -> Result<Value> {
    let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err(StoreError::Other(error.into())),
    };
    Ok(match (stored, kind) {
        (ValueRef::Null, _) => Value::Null,
        (ValueRef::Integer(number), Kind::Bool) => Value::Bool(number != 0),
        // Upstream reads a number in a date column as JavaScript's `new Date(number)` does.
        (ValueRef::Integer(number), Kind::Time) => Value::Time(Time::from_millis(number)),
        // Ids a database numbered itself are text everywhere else.
        (ValueRef::Integer(number), Kind::Text) => Value::Text(number.to_string()),
        (ValueRef::Integer(number), _) => Value::Integer(number),
        (ValueRef::Real(number), _) => Value::Real(number),
        (ValueRef::Text(bytes), Kind::Time) => match Time::from_bytes(bytes) {
            Some(time) => Value::Time(time),
            None => Value::Text(text(bytes)?),
        },
        (ValueRef::Text(bytes), Kind::Json | Kind::TextList | Kind::NumberList) => {
            let text = text(bytes)?;
            serde_json::from_str(&text).map_or(Value::Text(text), Value::Json)
        }
        (ValueRef::Text(bytes) | ValueRef::Blob(bytes), _) => Value::Text(text(bytes)?),
    })
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Integer(number) => ToSqlOutput::Owned((*number).into()),
            Self::Real(number) => ToSqlOutput::Owned((*number).into()),
            Self::Bool(value) => ToSqlOutput::Owned((*value).into()),
            Self::Time(time) => ToSqlOutput::Owned(time.to_string().into()),
            Self::Json(value) => ToSqlOutput::Owned(value.to_string().into()),
        })
    }
}
