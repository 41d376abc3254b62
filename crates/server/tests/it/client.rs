//! HTTP/1.1 by hand: the tests decide about every byte, and about where a connection is cut.

use serde_json::{Value, json};
use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// Longer than any honest reply takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What bytes go through: a socket, or TLS on one.
pub(crate) trait Wire: Read + Write + Send {}

impl<T: Read + Write + Send> Wire for T {}

/// One connection, kept alive between requests.
pub(crate) struct Client {
    stream: Box<dyn Wire>,
    end: Box<dyn Fn() -> io::Result<()> + Send>,
    received: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap()
    }

    pub(crate) fn try_connect(address: SocketAddr) -> io::Result<Self> {
        Self::on(dial(address)?, |stream| stream)
    }

    /// Over a Unix socket.
    pub(crate) fn connect_unix(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let socket = stream.try_clone()?;
        let end = Box::new(move || socket.shutdown(Shutdown::Both));
        Ok(Self { stream: Box::new(stream), end, received: Vec::new() })
    }

    fn on<W: Wire + 'static>(stream: TcpStream, wrap: impl FnOnce(TcpStream) -> W) -> io::Result<Self> {
        let socket = stream.try_clone()?;
        let end = Box::new(move || socket.shutdown(Shutdown::Both));
        Ok(Self { stream: Box::new(wrap(stream)), end, received: Vec::new() })
    }

    /// The same through whatever `wrap` puts around the socket.
    pub(crate) fn through<W: Wire + 'static>(address: SocketAddr, wrap: impl FnOnce(TcpStream) -> W) -> Self {
        Self::on(dial(address).unwrap(), wrap).unwrap()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// A whole reply, or an error when the connection ends before.
    pub(crate) fn receive(&mut self) -> io::Result<Reply> {
        let head = loop {
            if let Some(end) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                break self.received.drain(..end + 4).collect::<Vec<_>>();
            }
            self.read_more()?;
        };
        let head = String::from_utf8(head).map_err(io::Error::other)?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let mut reply = Reply {
            status: status.ok_or_else(|| io::Error::other(head.clone()))?,
            headers,
            body: Vec::new(),
        };
        let length = reply.header("content-length").and_then(|length| length.parse().ok());
        let length = length.or((reply.status == 204).then_some(0));
        let length = length.ok_or_else(|| io::Error::other("a reply without its length"))?;
        while self.received.len() < length {
            self.read_more()?;
        }
        reply.body = self.received.drain(..length).collect();
        Ok(reply)
    }

    pub(crate) fn exchange(&mut self, request: &[u8]) -> Reply {
        self.send(request).unwrap();
        self.receive().unwrap()
    }

    /// Whether the server has ended the connection.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.stream.read(&mut [0]).is_ok_and(|read| read == 0)
    }

    /// Leaves in the middle of whatever is going on.
    pub(crate) fn cut(self) {
        let _ = (self.end)();
    }

    fn read_more(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.received.extend_from_slice(&bytes[..read]);
                Ok(())
            }
        }
    }
}

fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|(other, value)| (other == name).then_some(value.as_str()))
    }

    /// Status and headers, without the time.
    pub(crate) fn head(&self) -> String {
        let lines = self.headers.iter().filter(|(name, _)| name != "date");
        let lines = lines.map(|(name, value)| format!("\n{name}: {value}"));
        format!("{}{}", self.status, lines.collect::<String>())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The session cookie it sets, as a browser sends it back.
    pub(crate) fn cookie(&self) -> String {
        self.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
    }
}

pub(crate) fn get(path: &str, cookie: &str) -> Vec<u8> {
    let cookie = if cookie.is_empty() { String::new() } else { format!("cookie: {cookie}\r\n") };
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{cookie}\r\n").into_bytes()
}

pub(crate) fn get_session(cookie: &str) -> Vec<u8> {
    get("/api/auth/get-session", cookie)
}

/// `cookie` comes with the origin that a browser would send.
pub(crate) fn post(path: &str, cookie: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let cookie = match cookie {
        "" => String::new(),
        cookie => format!("cookie: {cookie}\r\norigin: {}\r\n", super::server::TRUSTED_ORIGIN),
    };
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{cookie}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

pub(crate) fn sign_up(email: &str) -> Vec<u8> {
    post(
        "/api/auth/sign-up/email",
        "",
        &json!({ "name": "Ada", "email": email, "password": "correct horse" }),
    )
}

pub(crate) fn sign_in(email: &str, password: &str) -> Vec<u8> {
    post("/api/auth/sign-in/email", "", &json!({ "email": email, "password": password }))
}

pub(crate) fn sign_out(cookie: &str) -> Vec<u8> {
    post("/api/auth/sign-out", cookie, &json!({}))
}
