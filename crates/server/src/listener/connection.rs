//! One connection, from its first byte to its last, and the limits it lives by.
//!
//! A connection has one timer. What it waits for is noted where it happens (see [`Activity`]) and looked at whenever
//! the connection has been polled, so a request that comes in one piece moves no timer.

use super::{
    activity::{Activity, Phase},
    service::{Handler, Visit},
    stop::Stop,
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
use narthex::http::Peer;
use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    sync::{Notify, futures::Notified},
    time::{Instant, sleep_until},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// After so long without a request the buffers of a connection are put away until there is another.
const QUIET: Duration = Duration::from_secs(2);
/// How long a connection that is being closed may take to take what is left, and a request that has not come
/// completely when the server stops.
pub(super) const CLOSING: Duration = Duration::from_secs(2);
/// How long the last reply may take to be taken when the server stops.
const LAST: Duration = Duration::from_secs(5);
/// How long a connection without a request stays open when the server stops: the next one may be on its way.
const LINGER: Duration = Duration::from_millis(500);
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

/// What all connections of a listener have in common.
pub(super) struct Host {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    limits: Limits,
    handler: Arc<Handler>,
    /// Present where TLS ends.
    acceptor: Option<TlsAcceptor>,
    stop: Arc<Stop>,
    /// Somebody waits for a place. Who has been quiet for longest hears of it first.
    room: Notify,
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
        Self { http1, http2, limits, handler, acceptor, stop, room: Notify::new() }
    }

    /// Closes the connection that has been quiet for longest; the next one that is quiet, if there is none.
    pub(super) fn make_room(&self) {
        self.room.notify_one();
    }

    /// Serves a connection to its end.
    pub(super) async fn serve(self: Arc<Self>, connection: Transport, peer: Peer) {
        // A reply is one small packet; waiting for more to send would only delay it.
        if let Transport::Plain(connection) = &connection
            && let Err(error) = connection.set_nodelay(true)
        {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        // Whatever takes room is boxed: most connections are quiet most of the time, and then are as large as what they
        // wait with.
        let (connection, acceptor) = match (connection, &self.acceptor) {
            (Transport::Plain(connection), Some(acceptor)) => (connection, acceptor),
            (connection, _) => return self.http1(connection, peer).await,
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
        peer: Peer,
    ) -> Option<Box<TlsStream<TcpStream>>> {
        let handshake = tokio::time::timeout(self.limits.head, acceptor.accept(connection));
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
            () = self.stop.told() => {}
        }
        None
    }

    async fn http1(&self, transport: Transport, peer: Peer) {
        let activity = Arc::new(Activity::new(true));
        let visit = self.visit(&activity, peer);
        let mut stream = Stream::new(transport, activity);
        let mut quiet_since = Instant::now();
        // With the end of a TLS handshake a request may have come already.
        let mut has_bytes = stream.is_tls();
        while has_bytes || self.is_spoken_to(&stream, quiet_since + self.patience(&visit)).await {
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
        let outcome = self.look_after(Pin::new(&mut connection), visit, quiet_since).await;
        let Outcome::Quiet { since } = outcome else { return None };
        let parts = connection.into_parts();
        let mut stream = parts.io.into_inner();
        stream.put_back(parts.read_buf);
        Some((stream, since))
    }

    /// Waits for bytes; whether some came before it was time to close.
    async fn is_spoken_to(&self, stream: &Stream, until: Instant) -> bool {
        let mut told = pin!(self.stop.told());
        let mut room = pin!(self.room.notified());
        let mut timer = pin!(sleep_until(until));
        let mut stops = false;
        poll_fn(|cx| {
            if !stops && told.as_mut().poll(cx).is_ready() {
                stops = true;
                timer.as_mut().reset(until.min(Instant::now() + LINGER));
            }
            if stream.poll_readable(cx).is_ready() {
                return Poll::Ready(true);
            }
            let ends = room.as_mut().poll(cx).is_ready() || timer.as_mut().poll(cx).is_ready();
            if ends { Poll::Ready(false) } else { Poll::Pending }
        })
        .await
    }

    /// How long a connection may have no request: who has asked something may come again.
    fn patience(&self, visit: &Visit) -> Duration {
        let Limits { head, idle } = self.limits;
        if visit.activity().has_asked() { idle } else { head.min(idle) }
    }

    async fn http2(&self, transport: Transport, peer: Peer) {
        let activity = Arc::new(Activity::new(false));
        let visit = self.visit(&activity, peer);
        let stream = TokioIo::new(Stream::new(transport, activity));
        let for_requests = Arc::clone(&visit);
        let answer = service_fn(move |request| respond(&for_requests, request));
        let connection = pin!(self.http2.serve_connection(stream, answer));
        self.look_after(connection, &visit, Instant::now()).await;
    }

    fn visit(&self, activity: &Arc<Activity>, peer: Peer) -> Arc<Visit> {
        Arc::new(Visit::new(Arc::clone(&self.handler), Arc::clone(activity), Arc::clone(&self.stop), peer))
    }

    /// Drives a connection until it ends, waits for too long, has finished after the server was told to stop, or has
    /// been quiet for so long that its buffers are to be put away.
    async fn look_after<C: Finish>(
        &self,
        mut connection: Pin<&mut C>,
        visit: &Visit,
        mut since: Instant,
    ) -> Outcome {
        let (activity, peer) = (visit.activity(), visit.peer());
        let Limits { head, .. } = self.limits;
        let mut told = pin!(self.stop.told());
        let mut listens = false;
        let mut stops: Option<Instant> = None;
        let mut seen = activity.state();
        let mut alarm = Instant::now() + QUIET;
        let mut timer = pin!(sleep_until(alarm));
        // Set while a connection that keeps its buffers is quiet: it goes when somebody else needs its place.
        let mut room: Option<Pin<Box<Notified<'_>>>> = None;
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
                if stops.is_none() && self.stop.is_told() {
                    stops = Some(Instant::now());
                }
                let state = activity.state();
                if state != seen {
                    (seen, since, room) = (state, Instant::now(), None);
                }
                let phase = state.phase();
                // In HTTP/1.1 a reply says that it is the last one.
                if stops.is_some() && last.is_none() && C::SAYS_GOODBYE {
                    (last, since) = (Some(LAST), Instant::now());
                    connection.as_mut().finish();
                    continue;
                }
                let is_crowded = room.as_mut().is_some_and(|room| room.as_mut().poll(cx).is_ready());
                if is_crowded && last.is_none() {
                    (last, since, room) = (Some(CLOSING), Instant::now(), None);
                    connection.as_mut().finish();
                    continue;
                }
                let patience = self.patience(visit);
                let begun = stops.map_or(since, |stops| since.max(stops));
                let limit = match phase {
                    Phase::Head if stops.is_some() => Some((since + head).min(begun + CLOSING)),
                    Phase::Head => Some(since + head),
                    Phase::Idle => Some(match last {
                        Some(last) => since + last,
                        None if stops.is_some() && activity.is_even() => begun + LINGER,
                        None if stops.is_some() => begun + LAST,
                        None if room.is_none() && activity.is_even() => since + QUIET.min(patience),
                        None => since + patience,
                    }),
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
                    if phase != Phase::Idle || last.is_some() {
                        tracing::debug!(%peer, ?phase, "a connection was too slow");
                        return Poll::Ready(Outcome::Ended);
                    }
                    if stops.is_none() && now < since + patience {
                        if C::GIVES_BACK {
                            return Poll::Ready(Outcome::Quiet { since });
                        }
                        room = Some(Box::pin(self.room.notified()));
                    } else {
                        (last, since) = (Some(CLOSING), now);
                        connection.as_mut().finish();
                    }
                }
                // The alarm was early, or something else is waited for now.
                alarm = limit.filter(|limit| *limit > now).unwrap_or(now + last.unwrap_or(patience));
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
    /// Whether its buffers can be put away while it is quiet.
    const GIVES_BACK: bool;
    /// Whether it can tell the client which request was the last, so that none is lost that is on its way.
    const SAYS_GOODBYE: bool;

    /// Takes no further request, and ends when those it has are answered.
    fn finish(self: Pin<&mut Self>);
}

impl<S> Finish for http1::Connection<TokioIo<Stream>, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = axum::body::Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    const GIVES_BACK: bool = true;
    const SAYS_GOODBYE: bool = false;

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
    const GIVES_BACK: bool = false;
    const SAYS_GOODBYE: bool = true;

    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}
