//! The word that the server stops, for everything that waits.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use tokio::sync::Notify;

/// Tells all connections that the server stops.
#[derive(Debug, Default)]
pub(super) struct Stop {
    told: AtomicBool,
    listeners: Notify,
}

impl Stop {
    pub(super) fn tell(&self) {
        self.told.store(true, SeqCst);
        self.listeners.notify_waiters();
    }

    pub(super) fn is_told(&self) -> bool {
        self.told.load(SeqCst)
    }

    /// Ends once it is told, or has been.
    pub(super) async fn told(&self) {
        // First, so that it is heard of even if it is told now.
        let told = self.listeners.notified();
        if !self.is_told() {
            told.await;
        }
    }
}
