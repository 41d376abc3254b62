//! One connection, from its first byte to its last, and the limits it lives by.
//!
//! A connection has one timer. What it waits for is noted where it happens (see [`Activity`]) and looked at whenever
//! the connection has been polled, so a request that comes in one piece moves no timer.

use super::{
    activity::{Activity, Phase},
    service::{Handler, Visit},
    stream::{Stream, Transport},
};
use crate::{metrics::HANDSHAKES_FAILED, settings::HttpOptions};
use http::Request;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    sync::Notify,
    time::{Instant, sleep_until},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// After so long without a request the buffers of a connection are put away until there is another.
const QUIET: Duration = Duration::from_secs(2);
/// How long a connection that is being closed may take to take what is left.
const CLOSING: Duration = Duration::from_secs(2);
/// Read and write buffers grow no further than this and the largest head.
const BUFFER: usize = 64 << 10;
/// Requests that one HTTP/2 connection may have open: each may hold a body of 1 MiB.
const STREAMS: u32 = 32;
/// What one HTTP/2 request may send ahead of being read, and all requests of its connection.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;

/// How long anything may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    head: Duration,
    idle: Duration,
}

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

    fn is_told(&self) -> bool {
        self.told.load(SeqCst)
    }
}

/// What all connections of a listener have in common.
pub(super) struct Host {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    limits: Limits,
    handler: Arc<Handler>,
    /// Present where TLS ends.
    acceptor: Option<TlsAcceptor>,
    stop: Arc<Stop>,
}

impl Host {
    pub(super) fn new(
        options: &HttpOptions,
        handler: Arc<Handler>,
        acceptor: Option<TlsAcceptor>,
        stop: Arc<Stop>,
    ) -> Self {
        let head = usize::try_from(options.max_header_bytes).unwrap_or(BUFFER);
        let mut http1 = http1::Builder::new();
        // Limits are ours to keep: see `look_after`.
        http1.header_read_timeout(None).max_header_size(head).max_buf_size(head.max(BUFFER));
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .max_header_list_size(options.max_header_bytes)
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let limits = Limits {
            head: Duration::from_secs(options.header_timeout),
            idle: Duration::from_secs(options.idle_timeout),
        };
        Self { http1, http2, limits, handler, acceptor, stop }
    }

    /// Serves a connection to its end.
    pub(super) async fn serve(self: Arc<Self>, connection: TcpStream, peer: SocketAddr) {
        // A reply is one small packet; waiting for more to send would only delay it.
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        // Whatever takes room is boxed: most connections are quiet most of the time, and then are as large as what they
        // wait with.
        let Some(acceptor) = &self.acceptor else {
            return self.http1(Transport::Plain(connection), peer).await;
        };
        let Some(connection) = Box::pin(self.handshake(acceptor, connection, peer)).await else { return };
        let speaks_http2 = connection.get_ref().1.alpn_protocol() == Some(b"h2");
        let transport = Transport::Tls(connection);
        if speaks_http2 {
            Box::pin(self.http2(transport, peer)).await;
        } else {
            self.http1(transport, peer).await;
        }
    }

    async fn handshake(
        &self,
        acceptor: &TlsAcceptor,
        connection: TcpStream,
        peer: SocketAddr,
    ) -> Option<Box<TlsStream<TcpStream>>> {
        let handshake = tokio::time::timeout(self.limits.head, acceptor.accept(connection));
        let told = async {
            let told = self.stop.listeners.notified();
            if !self.stop.is_told() {
                told.await;
            }
        };
        tokio::select! {
            outcome = handshake => {
                match outcome {
                    Ok(Ok(connection)) => return Some(Box::new(connection)),
                    Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
                    Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
                }
                metrics::counter!(HANDSHAKES_FAILED).increment(1);
            }
            // Nothing was asked yet.
            () = told => {}
        }
        None
    }

    async fn http1(&self, transport: Transport, peer: SocketAddr) {
        let activity = Arc::new(Activity::new(true));
        let visit = self.visit(&activity, peer);
        let mut stream = Stream::new(transport, activity);
        let mut quiet_since = Instant::now();
        // With the end of a TLS handshake a request may have come already.
        let mut has_bytes = stream.is_tls();
        while has_bytes || self.is_spoken_to(&stream, quiet_since).await {
            has_bytes = false;
            match Box::pin(self.http1_until_quiet(stream, &visit, quiet_since)).await {
                Some(quiet) => (stream, quiet_since) = quiet,
                None => return,
            }
        }
        // TLS says that it ends.
        let _ = tokio::time::timeout(CLOSING, stream.shutdown()).await;
    }

    /// Serves requests until there is none for a while; then gives back the stream, and since when that is so.
    async fn http1_until_quiet(
        &self,
        stream: Stream,
        visit: &Arc<Visit>,
        quiet_since: Instant,
    ) -> Option<(Stream, Instant)> {
        let for_requests = Arc::clone(visit);
        let answer = service_fn(move |request| respond(&for_requests, request));
        let mut connection = self.http1.serve_connection(TokioIo::new(stream), answer);
        let outcome = self.look_after(Pin::new(&mut connection), visit, quiet_since, Some(QUIET)).await;
        let Outcome::Quiet { since } = outcome else { return None };
        let parts = connection.into_parts();
        let mut stream = parts.io.into_inner();
        stream.put_back(parts.read_buf);
        Some((stream, since))
    }

    /// Waits for bytes; whether some came before it was time to close.
    async fn is_spoken_to(&self, stream: &Stream, quiet_since: Instant) -> bool {
        let mut told = pin!(self.stop.listeners.notified());
        let mut timer = pin!(sleep_until(quiet_since + self.limits.idle));
        poll_fn(|cx| {
            // First, so that it is heard of even if it is told now.
            let is_told = told.as_mut().poll(cx).is_ready() || self.stop.is_told();
            if stream.poll_readable(cx).is_ready() {
                return Poll::Ready(true);
            }
            if is_told || timer.as_mut().poll(cx).is_ready() { Poll::Ready(false) } else { Poll::Pending }
        })
        .await
    }

    async fn http2(&self, transport: Transport, peer: SocketAddr) {
        let activity = Arc::new(Activity::new(false));
        let visit = self.visit(&activity, peer);
        let stream = TokioIo::new(Stream::new(transport, activity));
        let for_requests = Arc::clone(&visit);
        let answer = service_fn(move |request| respond(&for_requests, request));
        let connection = pin!(self.http2.serve_connection(stream, answer));
        self.look_after(connection, &visit, Instant::now(), None).await;
    }

    fn visit(&self, activity: &Arc<Activity>, peer: SocketAddr) -> Arc<Visit> {
        Arc::new(Visit::new(Arc::clone(&self.handler), Arc::clone(activity), peer))
    }

    /// Drives a connection until it ends, waits for too long, has finished after the server was told to stop, or has
    /// been quiet for as long as it was to be looked after.
    async fn look_after<C: Finish>(
        &self,
        mut connection: Pin<&mut C>,
        visit: &Visit,
        mut since: Instant,
        quiet: Option<Duration>,
    ) -> Outcome {
        let (activity, peer) = (visit.activity(), visit.peer());
        let Limits { head, idle } = self.limits;
        let mut told = pin!(self.stop.listeners.notified());
        let mut listens = false;
        let mut seen = activity.state();
        let mut alarm = Instant::now() + quiet.unwrap_or(idle);
        let mut timer = pin!(sleep_until(alarm));
        // Set once no further request is taken: how long what is left may take.
        let mut last: Option<Duration> = None;
        poll_fn(move |cx| {
            loop {
                if let Poll::Ready(outcome) = connection.as_mut().poll(cx) {
                    if let Err(error) = outcome {
                        tracing::debug!(%peer, %error, "a connection has failed");
                    }
                    return Poll::Ready(Outcome::Ended);
                }
                if !listens {
                    // Once: it is this task that is woken, whatever polls it.
                    listens = true;
                    let _ = told.as_mut().poll(cx);
                }
                if last.is_none() && self.stop.is_told() {
                    last = Some(head);
                    since = Instant::now();
                    seen = activity.state();
                    connection.as_mut().finish();
                    continue;
                }
                let state = activity.state();
                if state != seen {
                    (seen, since) = (state, Instant::now());
                }
                let limit = match state.phase() {
                    Phase::Head => Some(since + head),
                    Phase::Idle => {
                        Some(since + last.or(quiet.filter(|_| activity.is_even())).unwrap_or(idle).min(idle))
                    }
                    Phase::Closing => Some(since + CLOSING),
                    // The body has its own limit, the engine has its own too.
                    Phase::Busy => None,
                };
                if let Some(limit) = limit.filter(|limit| *limit < alarm) {
                    alarm = limit;
                    timer.as_mut().reset(alarm);
                }
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                let now = Instant::now();
                if limit.is_some_and(|limit| limit <= now) {
                    if state.phase() != Phase::Idle || last.is_some() {
                        tracing::debug!(%peer, phase = ?state.phase(), "a connection was too slow");
                        return Poll::Ready(Outcome::Ended);
                    }
                    if now < since + idle {
                        return Poll::Ready(Outcome::Quiet { since });
                    }
                    last = Some(CLOSING);
                    since = now;
                    connection.as_mut().finish();
                }
                // The alarm was early, or something else is waited for now.
                alarm = limit.filter(|limit| *limit > now).unwrap_or(now + last.unwrap_or(idle));
                timer.as_mut().reset(alarm);
            }
        })
        .await
    }
}

/// Why nobody looks after a connection any more.
enum Outcome {
    Ended,
    /// Nothing has happened since then, and nothing is left in a buffer but what was read and not used.
    Quiet {
        since: Instant,
    },
}

/// Answers one request. It counts as begun before its future is polled.
fn respond(
    visit: &Arc<Visit>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<axum::response::Response, Infallible>> + use<> {
    let visit = visit.begin();
    async move { Ok(visit.answer(request).await) }
}

/// A connection of either protocol.
trait Finish: Future<Output = hyper::Result<()>> {
    /// Takes no further request, and ends when those it has are answered.
    fn finish(self: Pin<&mut Self>);
}

impl<S> Finish for http1::Connection<TokioIo<Stream>, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = axum::body::Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> Finish for http2::Connection<TokioIo<Stream>, S, TokioExecutor>
where
    S: hyper::service::HttpService<Incoming, ResBody = axum::body::Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    TokioExecutor: hyper::rt::bounds::Http2ServerConnExec<S::Future, axum::body::Body>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}
