//! How many connections the operating system lets us have, and what happens when it lets us have no more.

use crate::settings::HttpOptions;
use std::{
    io,
    time::{Duration, Instant},
};

/// Files that are no connections: the databases, the secondary storage, the log.
#[cfg(unix)]
const OTHER_FILES: u32 = 256;
/// How often at most the same trouble is logged.
const SILENCE: Duration = Duration::from_mins(1);
const SHORTEST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// As many connections as are wanted, or as many as there can be.
pub(super) fn connections(options: &HttpOptions) -> u32 {
    let wanted = options.max_connections;
    let possible = open_files().map_or(wanted, |files| {
        // With very few files a half is for connections.
        wanted.min(files.saturating_sub(OTHER_FILES).max(files / 2)).max(1)
    });
    if possible < wanted {
        tracing::warn!(
            "http.max-connections = {wanted}: the limit of open files allows only {possible}; raise it \
             (LimitNOFILE= in systemd, ulimit -n in a shell)"
        );
    }
    possible
}

/// Raises the limit of open files as far as we may; how far that is, unless there is none.
#[cfg(unix)]
fn open_files() -> Option<u32> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let mut current = limit.current;
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => current = limit.maximum,
            Err(error) => tracing::debug!(%error, "the limit of open files could not be raised"),
        }
    }
    current.map(|files| u32::try_from(files).unwrap_or(u32::MAX))
}

#[cfg(not(unix))]
const OTHER_FILES: u32 = 0;

#[cfg(not(unix))]
fn open_files() -> Option<u32> {
    None
}

/// Says that something is wrong, but not all the time.
#[derive(Debug, Default)]
pub(super) struct Complaint(Option<Instant>);

impl Complaint {
    /// Whether it is time to say it again.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.0.is_none_or(|last| now.duration_since(last) >= SILENCE);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}

/// How long to wait after `failures` attempts to accept that failed in a row; nothing when it was the client's fault.
pub(super) fn wait_after(error: &io::Error, failures: u32) -> Option<Duration> {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
        return None;
    }
    Some(SHORTEST_WAIT.saturating_mul(1 << failures.min(10)).min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_once_a_minute() {
        let mut complaint = Complaint::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let due = [0, 1, 59, 60, 61, 119, 120].map(|seconds| complaint.is_due(after(seconds)));
        assert_eq!(due, [true, false, false, true, false, false, true]);
    }

    #[test]
    fn a_client_that_left_holds_up_nobody_and_a_lack_of_files_does_so_for_longer_and_longer() {
        let gone = io::Error::from(io::ErrorKind::ConnectionAborted);
        assert_eq!(wait_after(&gone, 5), None);
        let full = io::Error::from_raw_os_error(24);
        let waits = [0, 1, 5, 6, 7, 100].map(|failures| wait_after(&full, failures).unwrap().as_millis());
        assert_eq!(waits, [10, 20, 320, 640, 1000, 1000]);
    }
}
