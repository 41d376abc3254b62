//! What is listened on: an address and a port, or a Unix socket.

#[cfg(unix)]
use super::unix::{self, SocketFile};
use super::{stream::Transport, systemd::Inherited};
use crate::settings::{Listen, SocketMode};
use narthex::http::Peer;
use std::{io, net::SocketAddr};
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

/// A socket that listens.
pub(crate) enum Socket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix {
        listener: UnixListener,
        /// Where it is, when it is ours to remove.
        file: Option<SocketFile>,
    },
}

impl Socket {
    /// Listens there, where nobody else does.
    pub(crate) async fn bind(listen: &Listen, mode: SocketMode) -> Result<Self, String> {
        let failed = |problem: &dyn std::fmt::Display| format!("cannot listen on {listen}: {problem}");
        match listen {
            Listen::Tcp(address) => Self::tcp(*address).await.map_err(|error| failed(&error)),
            #[cfg(unix)]
            Listen::Unix(path) => {
                let bound = unix::bind(path, mode).await;
                let (listener, file) = bound.map_err(|problem| failed(&problem))?;
                Ok(Self::Unix { listener, file: Some(file) })
            }
            #[cfg(not(unix))]
            Listen::Unix(_) => {
                let _ = mode;
                Err(failed(&"there are Unix sockets on Unix only"))
            }
        }
    }

    /// Listens on an address and port.
    pub(crate) async fn tcp(address: SocketAddr) -> io::Result<Self> {
        TcpListener::bind(address).await.map(Self::Tcp)
    }

    /// A socket that was opened for us.
    pub(crate) fn from_inherited(inherited: Inherited) -> io::Result<Self> {
        match inherited {
            Inherited::Tcp(listener) => TcpListener::from_std(listener).map(Self::Tcp),
            #[cfg(unix)]
            Inherited::Unix(listener) => {
                UnixListener::from_std(listener).map(|listener| Self::Unix { listener, file: None })
            }
        }
    }

    /// The port that was asked for as 0 has become a free one. Of a Unix socket nothing changes.
    pub(crate) fn port_address(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Some),
            #[cfg(unix)]
            Self::Unix { .. } => Ok(None),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Transport, Peer)> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(of_tcp),
            #[cfg(unix)]
            Self::Unix { listener, .. } => {
                listener.accept().await.map(|(connection, _)| (Transport::Unix(connection), Peer::Local))
            }
        }
    }

    /// Lets nobody in any more, but for those whom the kernel has let in already.
    pub(super) fn close(self) -> io::Result<Closed> {
        match self {
            Self::Tcp(listener) => listener.into_std().map(Closed::Tcp),
            #[cfg(unix)]
            Self::Unix { listener, file } => {
                drop(file);
                listener.into_std().map(Closed::Unix)
            }
        }
    }
}

/// A socket that is about to be closed.
pub(super) enum Closed {
    Tcp(std::net::TcpListener),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixListener),
}

impl Closed {
    /// One of those who are left; an error when there is none.
    pub(super) fn next(&self) -> io::Result<(Transport, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (connection, peer) = listener.accept()?;
                connection.set_nonblocking(true)?;
                TcpStream::from_std(connection).map(|connection| of_tcp((connection, peer)))
            }
            #[cfg(unix)]
            Self::Unix(listener) => {
                let (connection, _) = listener.accept()?;
                connection.set_nonblocking(true)?;
                UnixStream::from_std(connection).map(|connection| (Transport::Unix(connection), Peer::Local))
            }
        }
    }
}

fn of_tcp((connection, peer): (TcpStream, SocketAddr)) -> (Transport, Peer) {
    (Transport::Plain(connection), Peer::Address(peer))
}
