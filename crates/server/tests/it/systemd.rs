//! Sockets that a service manager opens, and what it is told.

use super::{
    binary::refused,
    client::{Client, get},
    database::Database,
    server::command,
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::Read as _,
    net::TcpListener,
    os::{
        fd::OwnedFd,
        unix::net::{UnixDatagram, UnixListener},
    },
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

/// The server with `socket` as the first one handed over, which a shell puts where it belongs.
fn handed(folder: &Path, socket: impl Into<OwnedFd>) -> Command {
    handed_as(folder, socket, "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\" 3<&0 0</dev/null")
}

fn handed_as(folder: &Path, socket: impl Into<OwnedFd>, script: &str) -> Command {
    let server = command(folder);
    let mut shell = Command::new("sh");
    shell.args(["-c", script]);
    shell.arg(server.get_program()).args(server.get_args()).current_dir(folder);
    for (name, value) in server.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.stdin(Stdio::from(socket.into()));
    shell
}

#[test]
fn a_socket_that_was_opened_for_it_is_served_and_its_manager_told() {
    let database = Database::sqlite();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let path = database.folder().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let told = || {
        let mut bytes = [0; 256];
        let read = manager.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..read]).trim_end().to_owned()
    };

    // Whoever connects before it has started is served once it has.
    let mut early = Client::connect(address);
    early.send(&get("/ready", "")).unwrap();
    let mut command = handed(database.folder(), listener);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert_eq!(told(), "READY=1");
    assert_eq!([told(), told()], ["WATCHDOG=1", "WATCHDOG=1"]);
    assert_eq!(early.receive().unwrap().status, 200);
    assert_eq!(Client::connect(address).exchange(&get("/api/auth/ok", "")).status, 200);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    let last = std::iter::from_fn(|| Some(told())).find(|told| told != "WATCHDOG=1");
    assert_eq!(last.as_deref(), Some("STOPPING=1"));
}

#[test]
fn a_unix_socket_that_was_opened_for_it_is_served_and_left_to_its_manager() {
    let database = Database::sqlite();
    let path = database.folder().join("narthex.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut early = Client::connect_unix(&path).unwrap();
    early.send(&get("/ready", "")).unwrap();
    let mut command = handed(database.folder(), listener);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    assert_eq!(early.receive().unwrap().status, 200);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(said.contains(&format!("listening  unix:{}\n", path.display())), "{said}");
    assert!(path.exists(), "its manager has it for the next start");
}

#[test]
fn a_socket_for_everybody_makes_no_development_server() {
    let database = Database::sqlite();
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let line = refused(&mut handed(database.folder(), listener), 2);
    assert!(line.contains("BETTER_AUTH_SECRET"), "{line}");
}

#[test]
fn more_sockets_than_are_served_are_refused_before_anything_is_made() {
    let database = Database::sqlite();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let script = "LISTEN_PID=$$ LISTEN_FDS=2 exec \"$0\" \"$@\" 3<&0 4<&0 0</dev/null";
    let line = refused(&mut handed_as(database.folder(), listener, script), 2);
    assert!(line.contains("LISTEN_FDS = 2: must be at most 1 with this configuration"), "{line}");
    assert_eq!(fs::read_dir(database.folder()).unwrap().count(), 0, "neither a database nor a secret");
}

#[test]
fn what_is_no_listening_socket_is_refused() {
    let database = Database::sqlite();
    let socket = UnixDatagram::unbound().unwrap();
    let line = refused(&mut handed(database.folder(), socket), 2);
    assert!(line.contains("LISTEN_FDS: socket 0 must be an address and a port, or a Unix socket"), "{line}");
}
