//! Connections: accepted, bounded in number, time and size, and finished before the server stops.
//!
//! Why not a framework's loop: `docs/decisions/0031-our-own-accept-loop.md`.

mod activity;
mod connection;
mod cors;
mod limits;
mod parent;
mod service;
mod socket;
mod stop;
mod stream;
mod systemd;
mod tls;
#[cfg(unix)]
mod unix;

pub(crate) use self::{
    cors::Cors,
    parent::parent_gone,
    service::{Handler, Purpose},
    socket::Socket,
    systemd::{Inherited, inherited, ready, stopping, watchdog},
    tls::Certificates,
};

use self::{
    connection::Host,
    limits::{Complaint, wait_after},
    stop::Stop,
    stream::Transport,
};
use crate::settings::HttpOptions;
use narthex::http::Peer;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

/// Whoever is redirected comes once.
const MOST_REDIRECTED: u32 = 1024;

/// Everything that is open.
pub(crate) struct Connections {
    options: HttpOptions,
    main: Places,
    /// Of the listener that redirects: what is asked there holds up nobody who asks where answers are.
    side: Places,
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

/// The place of a connection that is open.
struct Place {
    counts: Arc<Counts>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn new(counts: &Arc<Counts>, permit: OwnedSemaphorePermit) -> Self {
        counts.open.fetch_add(1, Relaxed);
        Self { counts: Arc::clone(counts), _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Relaxed);
    }
}

/// A permit for each connection that a listener may have open.
struct Places {
    most: u32,
    free: Arc<Semaphore>,
    counts: Arc<Counts>,
}

impl Places {
    fn new(most: u32, counts: &Arc<Counts>) -> Self {
        // A u32 fits into a usize wherever this runs.
        let free = Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(Semaphore::MAX_PERMITS)));
        Self { most, free, counts: Arc::clone(counts) }
    }

    fn take(&self) -> Option<Place> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(Place::new(&self.counts, permit))
    }

    async fn wait(&self) -> Option<Place> {
        // Never closed, so there will be one.
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        Some(Place::new(&self.counts, permit))
    }
}

impl Connections {
    /// With a share for the listener that `redirects`, where there is one.
    pub(crate) fn new(options: HttpOptions, redirects: bool) -> Self {
        let most = limits::connections(&options);
        let side = if redirects { (most / 8).clamp(1, MOST_REDIRECTED) } else { 0 };
        let counts = Arc::default();
        let main = Places::new(most.saturating_sub(side).max(1), &counts);
        Self { options, main, side: Places::new(side, &counts), counts, stop: Arc::default() }
    }

    /// Connections that there may be.
    pub(crate) fn most(&self) -> u32 {
        self.main.most.saturating_add(self.side.most)
    }

    pub(crate) fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Accepts connections of `socket` until the server stops. No error ends it: the next connection may be luckier.
    pub(crate) async fn accept(&self, socket: Socket, handler: Handler, acceptor: Option<TlsAcceptor>) {
        let redirects = matches!(handler.purpose, Purpose::Redirect(_));
        let places = if redirects { &self.side } else { &self.main };
        let host = Host::new(&self.options, Arc::new(handler), acceptor, Arc::clone(&self.stop));
        let host = Arc::new(host);
        tokio::select! {
            () = Self::accept_for(places, &socket, &host) => {},
            () = self.stop.told() => {},
        }
        // Those that the kernel has accepted for us may have asked already.
        let Ok(socket) = socket.close() else { return };
        while let Ok((connection, peer)) = socket.next() {
            let Some(place) = places.take() else { return };
            serve(&host, connection, peer, place);
        }
    }

    async fn accept_for(places: &Places, socket: &Socket, host: &Arc<Host>) {
        let (mut full, mut trouble) = (Complaint::default(), Complaint::default());
        let mut failures = 0;
        loop {
            match socket.accept().await {
                Ok((connection, peer)) => {
                    failures = 0;
                    let Some(place) = Self::place(places, host, &mut full).await else { return };
                    serve(host, connection, peer, place);
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

    /// A place for a connection that is there. When all are taken, who has been quiet for longest gives its own up.
    async fn place(places: &Places, host: &Host, full: &mut Complaint) -> Option<Place> {
        if let Some(place) = places.take() {
            return Some(place);
        }
        places.counts.full.fetch_add(1, Relaxed);
        if full.is_due(Instant::now()) {
            tracing::warn!(
                "{} connections are open; for each further one the longest idle is closed, and where none is idle others \
                 wait (http.max-connections)",
                places.most
            );
        }
        host.make_room();
        places.wait().await
    }

    /// Tells everything that is open that the server stops: nothing is accepted any more, and what has not asked
    /// completely is closed soon.
    pub(crate) fn stop(&self) {
        self.stop.tell();
    }

    /// Waits until everything is closed; whether that was so within `grace`.
    pub(crate) async fn finish(&self, grace: Duration) -> bool {
        let closed = async {
            for Places { most, free, .. } in [&self.main, &self.side] {
                drop(free.acquire_many(*most).await);
            }
        };
        tokio::time::timeout(grace, closed).await.is_ok()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a connection is a task, and outlives the listener that accepted it"
)]
fn serve(host: &Arc<Host>, connection: Transport, peer: Peer, place: Place) {
    let host = Arc::clone(host);
    tokio::spawn(async move {
        host.serve(connection, peer).await;
        // Given back when nothing of the connection is left.
        drop(place);
    });
}
