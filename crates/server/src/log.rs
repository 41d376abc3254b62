//! Where the log goes. Whoever writes to it never waits: lines pass through a bounded queue to a thread of its own, and
//! when nobody takes them away fast enough they are counted and dropped, not the requests.

use crate::{
    settings::{LogFormat, LogOptions},
    traces::{self, Traces},
};
use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{FilterExt as _, filter_fn},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Lines that may wait to be written.
const WAITING_LINES: usize = 8_192;

/// The log while it is open. What waits is written when it is dropped.
pub(crate) struct Log {
    _writer: WorkerGuard,
    reopen: Option<Arc<AtomicBool>>,
    lines_dropped: ErrorCounter,
}

impl Log {
    /// Opens the log. Everything that is said before is lost.
    pub(crate) fn open(options: &LogOptions, traces: Option<&Traces>) -> Result<Self, String> {
        let filter = EnvFilter::try_new(&options.level).map_err(|error| error.to_string())?;
        let (target, reopen): (Box<dyn Write + Send>, _) = match &options.file {
            None => (Box::new(io::stderr()), None),
            Some(path) => {
                let file = LogFile::open(path).map_err(|error| {
                    format!("log.file = {:?}: cannot be written: {error}; set it to a file that this user may write", path.display())
                })?;
                let reopen = Arc::clone(&file.reopen);
                (Box::new(file), Some(reopen))
            }
        };
        let (writer, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(WAITING_LINES)
            .lossy(true)
            .thread_name("log")
            .finish(target);
        let lines_dropped = writer.error_counter();
        let is_terminal = options.file.is_none() && io::stderr().is_terminal();
        let lines = fmt::layer().with_writer(writer).with_ansi(is_terminal);
        let lines = match (options.format, is_terminal) {
            (LogFormat::Text, _) | (LogFormat::Auto, true) => lines.with_target(false).boxed(),
            (LogFormat::Json, _) | (LogFormat::Auto, false) => lines.json().boxed(),
        };
        let lines = lines.with_filter(filter.and(filter_fn(|metadata| !traces::is_traced(metadata))));
        tracing_subscriber::registry().with(lines).with(traces.map(Traces::layer)).init();
        Ok(Self { _writer: guard, reopen, lines_dropped })
    }

    /// Counts the lines that were dropped because nobody took them away.
    pub(crate) fn lines_dropped(&self) -> ErrorCounter {
        self.lines_dropped.clone()
    }

    /// After SIGHUP the file is opened anew before the next line: somebody has moved it away. Without a file nothing
    /// happens; a process that did not listen would be ended by it.
    #[cfg(unix)]
    #[expect(clippy::disallowed_methods, reason = "it waits for signals as long as the process lives")]
    pub(crate) fn reopened_on_hangup(self) -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let reopen = self.reopen.clone();
        if let Ok(mut hangups) = signal(SignalKind::hangup()) {
            tokio::spawn(async move {
                while hangups.recv().await.is_some() {
                    if let Some(reopen) = &reopen {
                        reopen.store(true, Ordering::Relaxed);
                        tracing::info!("SIGHUP: the log's file is opened anew");
                    } else {
                        tracing::info!("SIGHUP: there is no log.file that could be opened anew");
                    }
                }
            });
        }
        self
    }
}

/// A file that can be opened anew.
struct LogFile {
    path: PathBuf,
    file: File,
    reopen: Arc<AtomicBool>,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        Ok(Self { path: path.to_owned(), file: append_to(path)?, reopen: Arc::default() })
    }
}

/// Addresses of clients are in it: it is for its owner, and for a group that the owner may add.
fn append_to(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    options.open(path)
}

impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.reopen.swap(false, Ordering::Relaxed) {
            // Where that fails, the old file is better than none.
            if let Ok(file) = append_to(&self.path) {
                self.file = file;
            }
        }
        self.file.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
