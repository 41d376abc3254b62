//! What systemd hands over and wants to hear. Without it, and elsewhere, nothing of this does anything.

#[cfg(unix)]
pub(crate) use unix::{inherited, ready, stopping, watchdog};

#[cfg(unix)]
mod unix {
    use listenfd::ListenFd;
    use sd_notify::NotifyState;
    use std::net::TcpListener;

    /// The sockets that systemd opened for us (`ListenStream=`), in its order.
    pub(crate) fn inherited() -> Result<Vec<TcpListener>, String> {
        let mut handed = ListenFd::from_env();
        (0..handed.len())
            .map(|index| {
                let problem = |error: String| {
                    format!(
                        "LISTEN_FDS: socket {index} must be an address and a port that is listened on (ListenStream=127.0.0.1:3001): {error}"
                    )
                };
                let socket = handed.take_tcp_listener(index).map_err(|error| problem(error.to_string()))?;
                let socket = socket.ok_or_else(|| problem("it is missing".to_owned()))?;
                socket.set_nonblocking(true).map_err(|error| problem(error.to_string()))?;
                Ok(socket)
            })
            .collect()
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
    use std::net::TcpListener;

    pub(crate) fn inherited() -> Result<Vec<TcpListener>, String> {
        Ok(Vec::new())
    }

    pub(crate) fn ready() {}

    pub(crate) fn stopping() {}

    pub(crate) async fn watchdog() {
        std::future::pending().await
    }
}
