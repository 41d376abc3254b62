//! One side of a copy that is a SQLite file: a connection on a thread of its own, in one transaction.

use super::{
    super::{
        Result, StoreError,
        migrate::Existing,
        resolved::{ResolvedTable, Schema},
        schema::Kind,
        sqlite::{connect, value},
        value::Value,
    },
    PAGE_BYTES, PAGE_ROWS, Page,
    exact::Exact,
};
use rusqlite::{Connection, OpenFlags, Row, types::ValueRef};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

/// How long another process may hold the file.
const PATIENCE: Duration = Duration::from_secs(5);
/// For the pages that a copy writes again and again: keys are random, so its rows are all over the indexes.
const CACHE_KIBIBYTES: i32 = 64 << 10;

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// A transaction. Dropping it rolls it back.
pub(super) struct Session {
    path: PathBuf,
    jobs: mpsc::Sender<Job>,
    thread: JoinHandle<()>,
    pages: Option<mpsc::Receiver<Result<Page>>>,
}

impl Session {
    /// What is committed now, whatever is written meanwhile; nothing is written to the file.
    pub(super) async fn reading(path: &Path) -> Result<Self> {
        Self::begin(path, OpenFlags::SQLITE_OPEN_READ_ONLY, "begin").await
    }

    pub(super) async fn writing(path: &Path) -> Result<Self> {
        Self::begin(path, OpenFlags::SQLITE_OPEN_READ_WRITE, "begin immediate").await
    }

    async fn begin(path: &Path, access: OpenFlags, begin: &'static str) -> Result<Self> {
        let (path, file) = (path.to_owned(), path.to_owned());
        let opened = tokio::task::spawn_blocking(move || {
            let give_up = Instant::now() + PATIENCE;
            loop {
                match open(&file, access, begin) {
                    // Whoever closes the file as the last one has it for itself for a moment.
                    Err(StoreError::Busy) if Instant::now() < give_up => {
                        thread::sleep(Duration::from_millis(10));
                    }
                    connection => return connection,
                }
            }
        });
        let connection = opened.await.unwrap_or_else(|error| Err(StoreError::Other(error.into())))?;
        let (jobs, mut waiting) = mpsc::channel::<Job>(1);
        let thread = tokio::task::spawn_blocking(move || {
            while let Some(job) = waiting.blocking_recv() {
                job(&connection);
            }
        });
        Ok(Self { path, jobs, thread, pages: None })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        // Whoever stopped waiting does not need to know.
        self.send(Box::new(move |connection| drop(answer.send(work(connection))))).await?;
        answered.await.map_err(|_| ended())?
    }

    async fn send(&self, job: Job) -> Result<()> {
        self.jobs.send(job).await.map_err(|_| ended())
    }

    pub(super) async fn existing(&self, schema: &Arc<Schema>) -> Result<Existing> {
        let schema = Arc::clone(schema);
        self.run(move |connection| Existing::of_sqlite(connection, &schema)).await
    }

    /// Which file it is, whatever it is called.
    pub(super) fn identity(&self) -> Result<String> {
        let failed = |error: std::io::Error| StoreError::Unavailable(error.into());
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            let metadata = std::fs::metadata(&self.path).map_err(failed)?;
            Ok(format!("{} {}", metadata.dev(), metadata.ino()))
        }
        #[cfg(not(unix))]
        Ok(std::fs::canonicalize(&self.path).map_err(failed)?.display().to_string())
    }

    /// The first column of the first row.
    pub(super) async fn scalar(&self, statement: String, kind: Kind) -> Result<Option<Value>> {
        self.run(move |connection| {
            let mut prepared = connection.prepare(&statement)?;
            let mut rows = prepared.query([])?;
            rows.next()?.map(|row| value(row.get_ref(0)?, kind)).transpose()
        })
        .await
    }

    /// Begins to read a table; [`Self::page`] answers with its rows.
    pub(super) async fn start(&mut self, table: &Arc<ResolvedTable>) -> Result<()> {
        let (sender, receiver) = mpsc::channel(1);
        let table = Arc::clone(table);
        self.pages = Some(receiver);
        self.send(Box::new(move |connection| {
            if let Err(error) = read(connection, &table, &sender) {
                // Nobody waits for it if the copy has ended.
                drop(sender.blocking_send(Err(error)));
            }
        }))
        .await
    }

    /// The next rows of the table; none at its end.
    pub(super) async fn page(&mut self) -> Result<Page> {
        let Some(pages) = &mut self.pages else { return Ok(Page::new()) };
        pages.recv().await.unwrap_or_else(|| Ok(Page::new()))
    }

    pub(super) async fn write(&self, table: &ResolvedTable, rows: Vec<Vec<Value>>) -> Result<()> {
        let places: Vec<_> = (1..=table.fields.len() + 1).map(|number| format!("?{number}")).collect();
        let statement =
            format!("insert into {} ({}) values ({})", table.place, table.columns, places.join(", "));
        self.run(move |connection| {
            let mut prepared = connection.prepare_cached(&statement)?;
            for row in rows {
                prepared.execute(rusqlite::params_from_iter(row))?;
            }
            Ok(())
        })
        .await
    }

    pub(super) async fn commit(self) -> Result<()> {
        self.run(|connection| Ok(connection.execute_batch("commit")?)).await?;
        let Self { jobs, thread, .. } = self;
        drop(jobs);
        // Then the file is closed.
        thread.await.map_err(|error| StoreError::Other(error.into()))
    }
}

fn open(path: &Path, access: OpenFlags, begin: &str) -> Result<Connection> {
    let connection = connect(path, access)?;
    connection.busy_timeout(PATIENCE)?;
    if access.contains(OpenFlags::SQLITE_OPEN_READ_WRITE) {
        connection.pragma_update(None, "cache_size", -CACHE_KIBIBYTES)?;
    }
    // Whoever has the file open folds the log into it.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.execute_batch(begin)?;
    // Rows may point at later ones.
    connection.pragma_update(None, "defer_foreign_keys", true)?;
    Ok(connection)
}

fn ended() -> StoreError {
    StoreError::Other("the thread that had the file open has ended".into())
}

fn read(connection: &Connection, table: &ResolvedTable, pages: &mpsc::Sender<Result<Page>>) -> Result<()> {
    let mut prepared = connection.prepare(&format!("select {} from {}", table.columns, table.place))?;
    let mut rows = prepared.query([])?;
    let (mut page, mut bytes) = (Page::new(), 0);
    while let Some(row) = rows.next()? {
        page.push(decode(row, table, &mut bytes)?);
        if page.len() >= PAGE_ROWS || bytes >= PAGE_BYTES {
            bytes = 0;
            if pages.blocking_send(Ok(std::mem::take(&mut page))).is_err() {
                return Ok(());
            }
        }
    }
    if !page.is_empty() {
        // The end of the pages is heard when the sender goes.
        drop(pages.blocking_send(Ok(page)));
    }
    Ok(())
}

fn decode(row: &Row<'_>, table: &ResolvedTable, bytes: &mut usize) -> Result<Vec<Exact>> {
    let decode = |(position, kind)| {
        let stored = row.get_ref(position)?;
        if let ValueRef::Text(text) | ValueRef::Blob(text) = stored {
            *bytes += text.len();
        }
        Ok(Exact::of_sqlite(stored, kind))
    };
    table.kinds().enumerate().map(decode).collect()
}
