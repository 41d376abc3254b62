//! Connections: accepted, bounded in number, time and size, and finished before the server stops.
//!
//! Why not a framework's loop: `docs/decisions/0031-our-own-accept-loop.md`.

mod activity;
mod connection;
mod cors;
mod limits;
mod service;
mod stream;
mod systemd;
mod tls;

pub(crate) use self::{
    cors::Cors,
    service::{Handler, Purpose},
    systemd::{inherited, ready, stopping, watchdog},
    tls::Certificates,
};

use self::{
    connection::{Host, Stop},
    limits::{Complaint, wait_after},
};
use crate::settings::HttpOptions;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_rustls::TlsAcceptor;

/// Everything that is open.
pub(crate) struct Connections {
    options: HttpOptions,
    most: u32,
    /// A permit for each connection that there may be.
    free: Arc<Semaphore>,
    counts: Arc<Counts>,
    stop: Arc<Stop>,
}

/// What is counted of them.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    open: AtomicU32,
    full: AtomicU64,
}

impl Counts {
    /// Connections that are open.
    pub(crate) fn open(&self) -> u32 {
        self.open.load(Relaxed)
    }

    /// How often the next connection had to wait until one was closed.
    pub(crate) fn full(&self) -> u64 {
        self.full.load(Relaxed)
    }
}

/// A connection that is open.
struct Open {
    counts: Arc<Counts>,
    _permit: OwnedSemaphorePermit,
}

impl Open {
    fn new(counts: &Arc<Counts>, permit: OwnedSemaphorePermit) -> Self {
        counts.open.fetch_add(1, Relaxed);
        Self { counts: Arc::clone(counts), _permit: permit }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Relaxed);
    }
}

impl Connections {
    pub(crate) fn new(options: HttpOptions) -> Self {
        let most = limits::connections(&options);
        // A u32 fits into a usize wherever this runs.
        let free = Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(Semaphore::MAX_PERMITS)));
        Self { options, most, free, counts: Arc::default(), stop: Arc::default() }
    }

    /// Connections that there may be.
    pub(crate) fn most(&self) -> u32 {
        self.most
    }

    pub(crate) fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Accepts connections of `listener` for as long as it is polled. No error ends it: the next connection may be
    /// luckier.
    #[expect(
        clippy::disallowed_methods,
        reason = "a connection is a task, and outlives the listener that accepted it"
    )]
    pub(crate) async fn accept(
        &self,
        listener: TcpListener,
        handler: Handler,
        acceptor: Option<TlsAcceptor>,
    ) {
        let host = Host::new(&self.options, Arc::new(handler), acceptor, Arc::clone(&self.stop));
        let host = Arc::new(host);
        let (mut full, mut trouble) = (Complaint::default(), Complaint::default());
        let mut failures = 0;
        loop {
            let Some(permit) = self.permit(&mut full).await else { return };
            match listener.accept().await {
                Ok((connection, peer)) => {
                    failures = 0;
                    let host = Arc::clone(&host);
                    let open = Open::new(&self.counts, permit);
                    tokio::spawn(async move {
                        host.serve(connection, peer).await;
                        // Its place is given back when nothing of the connection is left.
                        drop(open);
                    });
                }
                Err(error) => {
                    let Some(wait) = wait_after(&error, failures) else { continue };
                    failures = failures.saturating_add(1);
                    if trouble.is_due(Instant::now()) {
                        tracing::error!(%error, "connections cannot be accepted; trying again");
                    }
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn permit(&self, full: &mut Complaint) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(permit);
        }
        self.counts.full.fetch_add(1, Relaxed);
        if full.is_due(Instant::now()) {
            tracing::warn!(
                "{} connections are open; others wait until one is closed (http.max-connections)",
                self.most
            );
        }
        // Never closed, so there will be one.
        Arc::clone(&self.free).acquire_owned().await.ok()
    }

    /// Closes what is idle and lets the rest finish; whether it did so within `grace`.
    pub(crate) async fn finish(&self, grace: Duration) -> bool {
        self.stop.tell();
        tokio::time::timeout(grace, self.free.acquire_many(self.most)).await.is_ok()
    }
}
