//! Those who wait for their turn at the database: how many, and for how long.

use metrics::Histogram;
use std::{
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

/// Where people wait.
#[derive(Default)]
pub(super) struct Waits {
    waiting: AtomicUsize,
    /// Nothing where nobody measures.
    durations: OnceLock<Histogram>,
}

/// Somebody who waits, until they have their turn or give up.
pub(super) struct Waiting<'a> {
    waits: &'a Waits,
    since: Option<(&'a Histogram, Instant)>,
}

impl Waits {
    pub(super) fn measure(&self, durations: Histogram) {
        // Whoever measures first does.
        let _ = self.durations.set(durations);
    }

    pub(super) fn begin(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Relaxed);
        Waiting { waits: self, since: self.durations.get().map(|durations| (durations, Instant::now())) }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.waits.waiting.fetch_sub(1, Relaxed);
        if let Some((durations, since)) = self.since {
            durations.record(since.elapsed().as_secs_f64());
        }
    }
}
