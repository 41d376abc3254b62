//! Writing to SQLite: one connection, a first-come-first-served lock, and one commit for many transactions.
//!
//! The first transaction of a batch runs `BEGIN IMMEDIATE`; each transaction is a savepoint in it, rolled back
//! alone; a committer, which queues up behind everyone who was waiting when the batch began, runs the `COMMIT` that
//! makes them all durable. Nobody is answered before it, and when it fails it fails for all of them. The commit,
//! with its fsync, runs off the async threads. A batch is at most [`BATCH`] transactions.
//!
//! A commit that cannot be synced has failed, and the next one may succeed: it writes all its pages anew behind the
//! last commit that is on the disk, so that nothing it depends on was in a sync that failed. Folding the log into the
//! database is not like that. Pages may be written in one go and synced in another, and after a failed sync the
//! kernel takes them for written: the next sync would succeed without them, and the log, which still has them, would
//! be overwritten. So after such a failure the log is kept, all of it, until the next start, which reads it from its
//! beginning.
//!
//! The committer being one more waiter in the same queue is what makes cancellation safe: there is no moment in
//! which a finished transaction depends on another caller staying alive.

use super::{Result, StoreError, sqlite::connect, waits::Waits};
use crate::error::chain;
use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex as StdMutex, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Mutex, OwnedMutexGuard, oneshot},
    time::Instant,
};

/// Transactions that share one commit.
const BATCH: usize = 64;
/// How long anyone waits to write, in order, before being told the database is busy.
const PATIENCE: Duration = Duration::from_secs(5);
/// The log is folded back into the database beyond this size.
const CHECKPOINT_BYTES: u64 = 4 << 20;

/// The write side of a SQLite database. Cheap to clone.
#[derive(Clone)]
pub(super) struct Writer {
    queue: Arc<Mutex<Batch>>,
    shared: Arc<Shared>,
}

struct Shared {
    commits: AtomicU64,
    waits: Waits,
    log: PathBuf,
    housekeeping: StdMutex<Connection>,
    /// The log must stay as it is: part of it may be nowhere else, whatever the disk says from now on.
    keeps_log: AtomicBool,
}

/// The write connection and the transactions that wait for its next commit.
struct Batch {
    connection: Connection,
    open: bool,
    waiting: Vec<oneshot::Sender<Outcome>>,
    committer_queued: bool,
}

/// What a commit tells everyone who waited for it. The driver's error cannot be cloned, its text can.
type Outcome = std::result::Result<(), Arc<str>>;

/// Exclusive use of the write connection for one transaction. Dropping it rolls the transaction back.
pub(crate) struct Turn {
    batch: Option<OwnedMutexGuard<Batch>>,
    writer: Writer,
}

impl Writer {
    pub(super) fn new(connection: Connection, path: &Path) -> Result<Self> {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let housekeeping = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        Ok(Self::with(connection, log.into(), housekeeping, false))
    }

    /// For whoever only looks: the log, which may be a running server's, stays as it is.
    pub(super) fn that_reads(connection: Connection) -> Result<Self> {
        keep_log(&connection);
        Ok(Self::with(connection, PathBuf::new(), Connection::open_in_memory()?, true))
    }

    fn with(connection: Connection, log: PathBuf, housekeeping: Connection, keeps_log: bool) -> Self {
        let batch = Batch { connection, open: false, waiting: Vec::new(), committer_queued: false };
        Self {
            queue: Arc::new(Mutex::new(batch)),
            shared: Arc::new(Shared {
                commits: AtomicU64::new(0),
                waits: Waits::default(),
                log,
                housekeeping: StdMutex::new(housekeeping),
                keeps_log: AtomicBool::new(keeps_log),
            }),
        }
    }

    pub(super) fn commits(&self) -> u64 {
        self.shared.commits.load(Ordering::Relaxed)
    }

    pub(super) fn waits(&self) -> &Waits {
        &self.shared.waits
    }

    pub(super) fn log_bytes(&self) -> std::io::Result<u64> {
        self.shared.log_bytes()
    }

    /// Waits for our turn and opens a savepoint.
    pub(super) async fn begin(&self) -> Result<Turn> {
        let waiting = self.shared.waits.begin();
        let give_up = Instant::now() + PATIENCE;
        let mut batch = tokio::time::timeout_at(give_up, Arc::clone(&self.queue).lock_owned())
            .await
            .map_err(|_| StoreError::Busy)?;
        if !batch.open {
            batch.open(give_up).await?;
        }
        drop(waiting);
        if let Err(error) = batch.run("savepoint work") {
            batch.abandon_if_empty();
            return Err(error);
        }
        Ok(Turn { batch: Some(batch), writer: self.clone() })
    }

    /// Runs `work` on the connection outside any batch.
    pub(super) async fn exclusively<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut batch = Arc::clone(&self.queue).lock_owned().await;
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || {
            batch.commit_now(&shared.commits);
            work(&mut batch.connection)
        })
        .await
        .unwrap_or_else(|error| Err(StoreError::Other(error.into())))
    }

    /// Commits the batch once everyone who waits now has had their turn.
    #[expect(clippy::disallowed_methods, reason = "the commit outlives the caller who happens to start it")]
    fn queue_committer(&self) {
        let writer = self.clone();
        tokio::spawn(async move {
            let mut batch = Arc::clone(&writer.queue).lock_owned().await;
            batch.committer_queued = false;
            writer.commit(batch).await;
        });
    }

    async fn commit(&self, mut batch: OwnedMutexGuard<Batch>) {
        if !batch.open {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let job = tokio::task::spawn_blocking(move || {
            batch.commit_now(&shared.commits);
            drop(batch);
            shared.checkpoint_if_large()
        });
        // A panic in there closes the waiters' channels, which they read as a failed commit.
        if let Ok(Checkpoint::Failed) = job.await {
            keep_log(&self.queue.lock().await.connection);
        }
    }
}

/// What became of folding the log into the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checkpoint {
    /// Done, or not now.
    Fine,
    /// The disk has failed, for the first time.
    Failed,
}

/// The last connection that is closed would fold the log into the database, and delete it.
fn keep_log(connection: &Connection) {
    if let Err(error) = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
        tracing::error!(%error, "the SQLite log may be deleted at the end");
    }
}

impl Shared {
    /// Passive: never waits for a reader, never stops a writer, and is skipped while another one runs.
    fn checkpoint_if_large(&self) -> Checkpoint {
        if self.keeps_log.load(Ordering::Relaxed)
            || self.log_bytes().is_ok_and(|bytes| bytes < CHECKPOINT_BYTES)
        {
            return Checkpoint::Fine;
        }
        let connection = match self.housekeeping.try_lock() {
            Ok(connection) => connection,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Checkpoint::Fine,
        };
        self.fold(&connection, "pragma wal_checkpoint(passive)")
    }

    fn log_bytes(&self) -> std::io::Result<u64> {
        std::fs::metadata(&self.log).map(|log| log.len())
    }

    fn fold(&self, connection: &Connection, statement: &str) -> Checkpoint {
        let Err(error) = connection.query_row(statement, [], |_| Ok(())) else { return Checkpoint::Fine };
        if error.sqlite_error_code() != Some(ErrorCode::SystemIoFailure) {
            tracing::warn!(%error, "the SQLite log could not be folded into the database");
            return Checkpoint::Fine;
        }
        if self.keeps_log.swap(true, Ordering::Relaxed) {
            return Checkpoint::Fine;
        }
        keep_log(connection);
        tracing::error!(
            %error,
            log = %self.log.display(),
            "the disk has failed while the SQLite log was folded into the database; the log is kept, and grows, until \
             the next start: check the disk, then restart"
        );
        Checkpoint::Failed
    }
}

/// A database that nobody has open is one file, which can be copied: the log is folded into it at the end.
impl Drop for Shared {
    fn drop(&mut self) {
        if self.keeps_log.load(Ordering::Relaxed) {
            return;
        }
        let connection = self.housekeeping.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.fold(&connection, "pragma wal_checkpoint(truncate)");
    }
}

impl Batch {
    /// `BEGIN IMMEDIATE`, again and again while another process writes: asleep, but without giving up our place.
    async fn open(&mut self, give_up: Instant) -> Result<()> {
        let mut pause = Duration::from_millis(1);
        loop {
            match self.run("begin immediate") {
                Ok(()) => {
                    self.open = true;
                    return Ok(());
                }
                Err(StoreError::Busy) if Instant::now() + pause < give_up => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(20));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn run(&self, statement: &str) -> Result<()> {
        self.connection.prepare_cached(statement)?.execute([])?;
        Ok(())
    }

    /// Some failures (a full disk) make SQLite roll the whole batch back, not the savepoint alone.
    fn is_lost(&self) -> bool {
        self.open && self.connection.is_autocommit()
    }

    fn roll_back_work(&mut self) {
        let rolled_back = self.run("rollback to work").and_then(|()| self.run("release work"));
        if self.is_lost() || rolled_back.is_err() {
            self.fail("the batch was rolled back");
        } else {
            self.abandon_if_empty();
        }
    }

    /// Lets go of the file when there is nothing to commit.
    fn abandon_if_empty(&mut self) {
        if self.open && self.waiting.is_empty() {
            self.fail("nothing was written");
        }
    }

    fn fail(&mut self, reason: &str) {
        let _ = self.run("rollback");
        self.open = false;
        self.answer(&Err(reason.into()));
    }

    /// A commit is counted before anyone hears of it.
    fn commit_now(&mut self, commits: &AtomicU64) {
        if !self.open {
            return;
        }
        match self.run("commit") {
            Ok(()) => {
                self.open = false;
                commits.fetch_add(1, Ordering::Relaxed);
                self.answer(&Ok(()));
            }
            Err(error) => {
                let error = chain(&error);
                tracing::error!(error, "SQLite could not commit");
                self.fail(&format!("the commit failed: {error}"));
            }
        }
    }

    fn answer(&mut self, outcome: &Outcome) {
        for waiting in self.waiting.drain(..) {
            // Whoever stopped waiting does not need to know.
            let _ = waiting.send(outcome.clone());
        }
    }
}

impl Turn {
    pub(super) fn connection(&self) -> Result<&Connection> {
        self.batch.as_ref().map(|batch| &batch.connection).ok_or(StoreError::Busy)
    }

    /// Returns once what was written is on disk.
    pub(super) async fn commit(mut self) -> Result<()> {
        let Some(mut batch) = self.batch.take() else { return Err(StoreError::Busy) };
        if let Err(error) = batch.run("release work") {
            batch.roll_back_work();
            return Err(error);
        }
        let (answer, answered) = oneshot::channel();
        batch.waiting.push(answer);
        if batch.waiting.len() >= BATCH {
            // The commit goes on if the caller leaves: others wait for it.
            let writer = self.writer.clone();
            commit_detached(writer, batch);
        } else {
            if !std::mem::replace(&mut batch.committer_queued, true) {
                self.writer.queue_committer();
            }
            drop(batch);
        }
        match answered.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => Err(StoreError::Unavailable(reason.to_string().into())),
            Err(_) => Err(StoreError::Unavailable("the commit was interrupted".into())),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the commit outlives the caller who happens to start it")]
fn commit_detached(writer: Writer, batch: OwnedMutexGuard<Batch>) {
    tokio::spawn(async move { writer.commit(batch).await });
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(mut batch) = self.batch.take() {
            batch.roll_back_work();
        }
    }
}
