//! The bytes of a connection, with or without TLS.

use super::activity::Activity;
use hyper::body::Bytes;
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

/// How much of a body that nobody wants is thrown away before the connection is closed.
const THROWN_AWAY: usize = 16 << 20;

/// What carries the bytes.
pub(super) enum Transport {
    Plain(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    /// Boxed: a connection without TLS should not be as large as one with it.
    Tls(Box<TlsStream<TcpStream>>),
}

/// The same, telling the connection's [`Activity`] when a request begins, and closing so that the last reply arrives:
/// a socket that is closed with bytes unread resets the connection, and what the client has not read yet may be lost.
pub(super) struct Stream {
    transport: Transport,
    activity: Arc<Activity>,
    /// What was read already and comes first.
    ahead: Bytes,
    thrown_away: usize,
}

impl Stream {
    pub(super) fn new(transport: Transport, activity: Arc<Activity>) -> Self {
        Self { transport, activity, ahead: Bytes::new(), thrown_away: 0 }
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self.transport, Transport::Tls(_))
    }

    /// Gives bytes back that were read and not used.
    pub(super) fn put_back(&mut self, bytes: Bytes) {
        self.ahead = bytes;
    }

    /// Waits until there is something to read, be it the end. Needs no buffer meanwhile.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.ahead.is_empty() {
            return Poll::Ready(());
        }
        // What is wrong is found when it is read.
        match &self.transport {
            Transport::Plain(socket) => socket.poll_read_ready(cx).map(drop),
            #[cfg(unix)]
            Transport::Unix(socket) => socket.poll_read_ready(cx).map(drop),
            // Whoever reads TLS reads until nothing is left, so what comes next comes from the socket.
            Transport::Tls(tls) => tls.get_ref().0.poll_read_ready(cx).map(drop),
        }
    }

    fn noting<T>(&self, outcome: Poll<T>) -> Poll<T> {
        self.activity.holds_back(outcome.is_pending());
        outcome
    }
}

macro_rules! on_transport {
    ($stream:expr, $inner:ident => $call:expr) => {
        match &mut $stream.transport {
            Transport::Plain(inner) => {
                let $inner = Pin::new(inner);
                $call
            }
            #[cfg(unix)]
            Transport::Unix(inner) => {
                let $inner = Pin::new(inner);
                $call
            }
            Transport::Tls(inner) => {
                let $inner = Pin::new(&mut **inner);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if !self.ahead.is_empty() {
            let length = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead.split_to(length));
            self.activity.received();
            return Poll::Ready(Ok(()));
        }
        let outcome = on_transport!(self, inner => inner.poll_read(cx, buffer));
        if buffer.filled().len() > before {
            self.activity.received();
        }
        outcome
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = on_transport!(self, inner => inner.poll_write(cx, bytes));
        self.noting(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = on_transport!(self, inner => inner.poll_write_vectored(cx, slices));
        self.noting(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(inner) => inner.is_write_vectored(),
            #[cfg(unix)]
            Transport::Unix(inner) => inner.is_write_vectored(),
            Transport::Tls(inner) => inner.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = on_transport!(self, inner => inner.poll_flush(cx));
        self.noting(outcome)
    }

    /// Ends our side; when a body was left unread, waits for the client's end as well. Whoever looks after the
    /// connection does not wait for long.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.activity.close();
        ready!(on_transport!(self, inner => inner.poll_shutdown(cx)))?;
        if !self.activity.is_unread() {
            return Poll::Ready(Ok(()));
        }
        let mut bytes = [0; 4096];
        while self.thrown_away < THROWN_AWAY {
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = ready!(on_transport!(self, inner => inner.poll_read(cx, &mut buffer)));
            // Its end, or its failure: there is nothing left to wait for.
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            self.thrown_away += buffer.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}
