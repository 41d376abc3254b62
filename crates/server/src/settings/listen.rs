//! `listen`: where the server answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

/// What a path is preceded by.
const UNIX: &str = "unix:";

/// A place to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listen {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A Unix socket, which only programs on this machine can reach.
    Unix(PathBuf),
}

impl Listen {
    /// Whether nobody reaches it from another machine.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// The base URL when nobody says one: whoever stands before a Unix socket has a port of its own.
    pub(super) fn base_url(&self, scheme: &str) -> String {
        match self {
            Self::Tcp(address) => format!("{scheme}://localhost:{}", address.port()),
            Self::Unix(_) => format!("{scheme}://localhost"),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl FromStr for Listen {
    type Err = &'static str;

    /// `localhost` is the address that every machine has.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix(UNIX) {
            return unix(path);
        }
        let port = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
        let address = match port {
            Some(port) => Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)),
            None => text.parse().ok(),
        };
        address.map(Self::Tcp).ok_or(
            "must be an address and a port, such as \"127.0.0.1:3001\" or \"0.0.0.0:3001\", or a Unix socket, such as \"unix:/run/narthex/narthex.sock\"",
        )
    }
}

#[cfg(unix)]
fn unix(path: &str) -> Result<Listen, &'static str> {
    // As a URL it has two slashes more: `unix:///run/narthex.sock`.
    let path = path.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(path);
    if path.is_empty() || path.ends_with('/') || path.starts_with("//") {
        return Err("must name the socket's file, such as \"unix:/run/narthex/narthex.sock\"");
    }
    if std::os::unix::net::SocketAddr::from_pathname(path).is_err() {
        return Err(
            "must be a shorter path: a Unix socket's has at most 107 bytes, 103 on macOS, and none of them zero",
        );
    }
    Ok(Listen::Unix(path.into()))
}

#[cfg(not(unix))]
fn unix(_: &str) -> Result<Listen, &'static str> {
    Err("must be an address and a port: there are Unix sockets on Unix only")
}

/// Who may connect to a Unix socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
pub(crate) enum SocketMode {
    /// Programs of the server's own user.
    #[default]
    #[serde(rename = "0600")]
    Owner,
    /// Those of its group too.
    #[serde(rename = "0660")]
    Group,
    /// Every program on this machine.
    #[serde(rename = "0666")]
    Everybody,
}

impl SocketMode {
    /// As the file system has it.
    #[cfg(unix)]
    pub(crate) fn bits(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Group => 0o660,
            Self::Everybody => 0o666,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_sockets_are_read_and_written() {
        for (text, written) in [
            ("127.0.0.1:3001", "127.0.0.1:3001"),
            ("localhost:80", "127.0.0.1:80"),
            ("[::1]:0", "[::1]:0"),
            ("unix:/run/narthex.sock", "unix:/run/narthex.sock"),
            ("unix:///run/narthex.sock", "unix:/run/narthex.sock"),
            ("unix:narthex.sock", "unix:narthex.sock"),
        ] {
            assert_eq!(text.parse::<Listen>().map(|listen| listen.to_string()), Ok(written.to_owned()));
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let longest = format!("unix:/{}", "x".repeat(106));
        assert!(longest.parse::<Listen>().is_ok());
        let longer = format!("{longest}x");
        for (text, right) in [
            ("3001", "must be an address and a port"),
            ("localhost:http", "must be an address and a port"),
            ("/run/narthex.sock", "must be an address and a port"),
            ("unix:", "must name the socket's file"),
            ("unix:/run/", "must name the socket's file"),
            ("unix://run/narthex.sock", "must name the socket's file"),
            ("unix:/a\0b", "must be a shorter path"),
            (&longer, "must be a shorter path"),
        ] {
            let said = text.parse::<Listen>().unwrap_err();
            assert!(said.starts_with(right), "{text}: {said}");
        }
    }

    #[test]
    fn nobody_reaches_a_unix_socket_from_elsewhere() {
        for (text, is_local, base_url) in [
            ("127.0.0.1:3001", true, "http://localhost:3001"),
            ("0.0.0.0:3001", false, "http://localhost:3001"),
            ("unix:narthex.sock", true, "http://localhost"),
        ] {
            let listen: Listen = text.parse().unwrap();
            assert_eq!(
                (listen.is_local(), listen.base_url("http")),
                (is_local, base_url.to_owned()),
                "{text}"
            );
        }
    }
}
