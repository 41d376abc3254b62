//! A crowd on a server: connections that have asked once and stay, and slow ones, a third of which each sends the head
//! of a request byte by byte, its body, and takes the replies so. Whatever the server closes is opened again.
//!
//! `crowd <port> <idle> <slow>` says `ready` once all are open, and holds them until its standard input ends. Then it
//! prints one line of JSON: how many were open, and how many were opened again.

#![expect(clippy::print_stdout, reason = "its output is for whoever started it")]

use std::{
    error::Error,
    io::Read as _,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    sync::{Notify, Semaphore},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at},
};

type Failure = Box<dyn Error + Send + Sync>;

/// Between two bytes of a slow client.
const PAUSE: Duration = Duration::from_secs(1);
/// Connections that are being opened at once: fewer than wait in a listener's queue.
const OPENING: usize = 128;
const REQUEST: &[u8] = b"GET /api/auth/ok HTTP/1.1\r\nhost: localhost:3001\r\n\r\n";
const REPLY: &[u8] = b"{\"ok\":true}";
const HALF_A_HEAD: &[u8] = b"GET /api/auth/ok HTTP/1.1\r\nhost: localhost:3001\r\nx-slow: ";
const HALF_A_REQUEST: &[u8] = b"POST /api/auth/sign-in/email HTTP/1.1\r\nhost: localhost:3001\r\n\
    content-type: application/json\r\ncontent-length: 10000\r\n\r\n{";

#[derive(Clone, Copy)]
enum Kind {
    Idle,
    SlowHead,
    SlowBody,
    SlowReader,
}

/// What all connections have in common.
struct Crowd {
    port: u16,
    wanted: usize,
    open: AtomicUsize,
    opened: AtomicUsize,
    opening: Semaphore,
    complete: Notify,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let numbers: Vec<usize> = std::env::args().skip(1).map(|word| word.parse()).collect::<Result<_, _>>()?;
    let &[port, idle, slow] = numbers.as_slice() else {
        return Err("usage: crowd <port> <idle> <slow>".into());
    };
    let wanted = idle + slow;
    raise_limit_of_open_files(wanted)?;
    let crowd = Arc::new(Crowd {
        port: port.try_into()?,
        wanted,
        open: AtomicUsize::new(0),
        opened: AtomicUsize::new(0),
        opening: Semaphore::new(OPENING),
        complete: Notify::new(),
    });
    let kinds = [Kind::SlowHead, Kind::SlowBody, Kind::SlowReader].into_iter().cycle().take(slow);
    let mut everybody = JoinSet::new();
    for (number, kind) in std::iter::repeat_n(Kind::Idle, idle).chain(kinds).enumerate() {
        let crowd = Arc::clone(&crowd);
        everybody.spawn(async move {
            loop {
                // A server that refuses one has the next attempt coming.
                if crowd.take_part(kind, number).await.is_err() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        });
    }
    crowd.complete.notified().await;
    println!("ready");
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    let (open, opened) = (crowd.open.load(Relaxed), crowd.opened.load(Relaxed));
    println!("{{\"open\":{open},\"opened_again\":{}}}", opened - wanted);
    Ok(())
}

impl Crowd {
    /// One connection, for as long as the server keeps it.
    async fn take_part(&self, kind: Kind, number: usize) -> Result<(), Failure> {
        let permit = self.opening.acquire().await?;
        let mut stream = kind.begin(self.port).await?;
        drop(permit);
        self.opened.fetch_add(1, Relaxed);
        if self.open.fetch_add(1, Relaxed) + 1 == self.wanted {
            self.complete.notify_one();
        }
        // The server's end of it is what is waited for.
        let _ = kind.go_on(&mut stream, number).await;
        self.open.fetch_sub(1, Relaxed);
        Ok(())
    }
}

impl Kind {
    async fn begin(self, port: u16) -> Result<TcpStream, Failure> {
        let socket = TcpSocket::new_v4()?;
        if matches!(self, Self::SlowReader) {
            // What it does not take shall wait at the server.
            socket.set_recv_buffer_size(2048)?;
        }
        let mut stream = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?;
        stream.set_nodelay(true)?;
        let first = match self {
            Self::Idle | Self::SlowReader => REQUEST,
            Self::SlowHead => HALF_A_HEAD,
            Self::SlowBody => HALF_A_REQUEST,
        };
        stream.write_all(first).await?;
        if matches!(self, Self::Idle) {
            let mut reply = Vec::new();
            while !reply.ends_with(REPLY) {
                if stream.read_buf(&mut reply).await? == 0 {
                    return Err("the server has closed a connection that it should have answered".into());
                }
            }
        }
        Ok(stream)
    }

    /// Ends when the connection has ended.
    async fn go_on(self, stream: &mut TcpStream, number: usize) -> Result<(), Failure> {
        let mut byte = [0];
        if matches!(self, Self::Idle) {
            while stream.read(&mut byte).await? > 0 {}
            return Ok(());
        }
        // Not all in the same moment.
        let offset = Duration::from_millis(u64::try_from(number % 1000)?);
        let mut ticks = interval_at(Instant::now() + offset, PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        if matches!(self, Self::SlowReader) {
            loop {
                ticks.tick().await;
                // It asks for more than it takes.
                stream.write_all(&REQUEST.repeat(4)).await?;
                if stream.read(&mut byte).await? == 0 {
                    return Ok(());
                }
            }
        }
        loop {
            tokio::select! {
                _ = ticks.tick() => stream.write_all(b"a").await?,
                read = stream.read(&mut byte) => if read? == 0 { return Ok(()) },
            }
        }
    }
}

/// One file for each connection, and a few more.
fn raise_limit_of_open_files(connections: usize) -> Result<(), Failure> {
    let needed = u64::try_from(connections)? + 64;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        if limit.maximum.is_some_and(|maximum| maximum < needed) {
            return Err(format!("{needed} open files are needed: raise the hard limit (ulimit -Hn)").into());
        }
        setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum: limit.maximum })?;
    }
    Ok(())
}
