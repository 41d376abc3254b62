//! A port that passes on to another, until it is told to swallow everything or to lead elsewhere.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    thread,
};

/// A running one. Its threads end with the test's process.
pub(super) struct Proxy {
    pub(super) port: u16,
    state: Arc<State>,
}

struct State {
    target: AtomicU16,
    /// Whether connections are taken and nothing that is said on them arrives anywhere.
    swallows: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub(super) fn to(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = AtomicU16::new(target);
        let state = Arc::new(State { target, swallows: AtomicBool::new(false), open: Mutex::default() });
        let accepting = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                accepting.open.lock().unwrap().push(client.try_clone().unwrap());
                if accepting.swallows.load(Ordering::SeqCst) {
                    continue;
                }
                let target = accepting.target.load(Ordering::SeqCst);
                // Whoever cannot be reached is answered by the end of the connection.
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else {
                    let _ = client.shutdown(Shutdown::Both);
                    continue;
                };
                accepting.open.lock().unwrap().push(server.try_clone().unwrap());
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let state = Arc::clone(&accepting);
                    thread::spawn(move || state.pass(from, to));
                }
            }
        });
        Self { port, state }
    }

    pub(super) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// From now on connections are taken and nothing is answered, on those that are there either.
    pub(super) fn swallow(&self) {
        self.state.swallows.store(true, Ordering::SeqCst);
    }

    /// Passes on again; what was swallowed is lost, and with it the connections.
    pub(super) fn pass(&self) {
        self.state.swallows.store(false, Ordering::SeqCst);
        self.cut();
    }

    /// Leads elsewhere from now on.
    pub(super) fn lead_to(&self, target: u16) {
        self.state.target.store(target, Ordering::SeqCst);
        self.cut();
    }

    fn cut(&self) {
        for stream in self.state.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl State {
    fn pass(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = [0; 16_384];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            if !self.swallows.load(Ordering::SeqCst) && to.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
        if !self.swallows.load(Ordering::SeqCst) {
            let _ = to.shutdown(Shutdown::Both);
        }
    }
}
