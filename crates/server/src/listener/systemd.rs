//! What systemd hands over and wants to hear. Without it, and elsewhere, nothing of this does anything.

use crate::settings::Listen;
use std::{io, net::TcpListener};

/// A socket that was opened for us.
#[derive(Debug)]
pub(crate) enum Inherited {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixListener),
}

impl Inherited {
    /// Where it is.
    pub(crate) fn address(&self) -> io::Result<Listen> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Listen::Tcp),
            #[cfg(unix)]
            Self::Unix(listener) => {
                let address = listener.local_addr()?;
                let path = address.as_pathname();
                let path = path
                    .ok_or_else(|| io::Error::other("its socket must be a file, or an address and a port"))?;
                Ok(Listen::Unix(path.to_owned()))
            }
        }
    }
}

#[cfg(unix)]
pub(crate) use unix::{inherited, ready, stopping, watchdog};

#[cfg(unix)]
mod unix {
    use super::Inherited;
    use listenfd::ListenFd;
    use sd_notify::NotifyState;
    use std::io;

    /// The sockets that systemd opened for us (`ListenStream=`), in its order.
    pub(crate) fn inherited() -> Result<Vec<Inherited>, String> {
        let mut handed = ListenFd::from_env();
        let problem = |index: usize, error: String| {
            format!(
                "LISTEN_FDS: socket {index} must be an address and a port, or a Unix socket, that is listened on (ListenStream=127.0.0.1:3001): {error}"
            )
        };
        (0..handed.len())
            .map(|index| take(&mut handed, index).map_err(|error| problem(index, error.to_string())))
            .collect()
    }

    fn take(handed: &mut ListenFd, index: usize) -> io::Result<Inherited> {
        let missing = || io::Error::other("it is missing");
        // One that is of the other kind is left where it is.
        if let Ok(socket) = handed.take_unix_listener(index) {
            let socket = socket.ok_or_else(missing)?;
            socket.set_nonblocking(true)?;
            return Ok(Inherited::Unix(socket));
        }
        let socket = handed.take_tcp_listener(index)?.ok_or_else(missing)?;
        socket.set_nonblocking(true)?;
        Ok(Inherited::Tcp(socket))
    }

    /// Requests are answered from now on.
    pub(crate) fn ready() {
        tell(&NotifyState::Ready);
    }

    /// No longer.
    pub(crate) fn stopping() {
        tell(&NotifyState::Stopping);
    }

    /// Says that tasks still run, as often as `WatchdogSec=` asks for; never ends.
    pub(crate) async fn watchdog() {
        let Some(patience) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
        loop {
            tell(&NotifyState::Watchdog);
            tokio::time::sleep(patience / 2).await;
        }
    }

    fn tell(state: &NotifyState<'_>) {
        if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
            tracing::warn!(%error, "systemd could not be told {state:?}");
        }
    }
}

#[cfg(not(unix))]
pub(crate) use elsewhere::{inherited, ready, stopping, watchdog};

#[cfg(not(unix))]
mod elsewhere {
    use super::Inherited;

    pub(crate) fn inherited() -> Result<Vec<Inherited>, String> {
        Ok(Vec::new())
    }

    pub(crate) fn ready() {}

    pub(crate) fn stopping() {}

    pub(crate) async fn watchdog() {
        std::future::pending().await
    }
}
