//! The bytes of a connection, with or without TLS.

use super::activity::Activity;
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
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
    /// Boxed: a connection without TLS should not be as large as one with it.
    Tls(Box<TlsStream<TcpStream>>),
}

/// The same, telling the connection's [`Activity`] when a request begins, and closing so that the last reply arrives:
/// a socket that is closed with bytes unread resets the connection, and what the client has not read yet may be lost.
pub(super) struct Stream {
    transport: Transport,
    activity: Arc<Activity>,
    thrown_away: usize,
}

impl Stream {
    pub(super) fn new(transport: Transport, activity: Arc<Activity>) -> Self {
        Self { transport, activity, thrown_away: 0 }
    }
}

macro_rules! on_transport {
    ($stream:expr, $inner:ident => $call:expr) => {
        match &mut $stream.transport {
            Transport::Plain(inner) => {
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
        let outcome = on_transport!(self, inner => inner.poll_read(cx, buffer));
        if buffer.filled().len() > before {
            self.activity.received();
        }
        outcome
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        on_transport!(self, inner => inner.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_transport!(self, inner => inner.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(inner) => inner.is_write_vectored(),
            Transport::Tls(inner) => inner.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_transport!(self, inner => inner.poll_flush(cx))
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
