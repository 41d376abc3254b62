//! What a person who starts the server sees, and what one who stops it relies on.

use super::{
    client::{Client, get, get_session, sign_up},
    database::Database,
    server::{QUICK, Server, command},
};
use rustix::process::Signal;
use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

#[test]
fn it_needs_no_file_and_makes_private_ones() {
    let database = Database::sqlite();
    let server = Server::spawn(command(database.folder()), database.folder());
    for file in ["narthex.db", "narthex.db-wal", "narthex.secret"] {
        let mode = fs::metadata(database.folder().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert_eq!(server.banner[0], format!("Narthex {} is ready.", env!("CARGO_PKG_VERSION")));
    assert!(server.banner.contains(&format!("  listening  {}", server.address)), "{:?}", server.banner);
    assert!(server.banner.contains(&"  database   sqlite://narthex.db".to_owned()), "{:?}", server.banner);
    assert_ne!(server.address.port(), 0);
    assert_eq!(server.status_of("/api/auth/ok"), 200);
    assert_eq!(server.status_of("/health"), 200);
    assert_eq!(server.status_of("/ready"), 200);
    assert_eq!(server.status_of("/nothing"), 404);
}

#[test]
fn a_cookie_outlives_a_restart() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), QUICK);
    let cookie = server.connect().exchange(&sign_up("ada@example.com")).cookie();
    let secret = fs::read_to_string(database.folder().join("narthex.secret")).unwrap();
    assert!(server.stop().success());

    let server = Server::start(database.folder(), QUICK);
    assert_eq!(fs::read_to_string(database.folder().join("narthex.secret")).unwrap(), secret);
    let session = server.connect().exchange(&get_session(&cookie)).json();
    assert_eq!(session["user"]["email"], "ada@example.com");
}

#[test]
fn a_database_that_was_closed_is_one_file() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), QUICK);
    assert_eq!(server.connect().exchange(&sign_up("ada@example.com")).status, 200);
    assert!(server.stop().success());
    let copy = database.folder().join("copy.db");
    fs::copy(database.file(), &copy).unwrap();
    let copy = rusqlite::Connection::open(copy).unwrap();
    let email: String = copy.query_row("select email from user", [], |row| row.get(0)).unwrap();
    assert_eq!(email, "ada@example.com");
}

#[test]
fn nobody_has_to_read_its_banner() {
    let database = Database::sqlite();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = command(database.folder());
    let mut child = command
        .args(["--listen", &port.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let deadline = Instant::now() + Duration::from_secs(10);
    let status = loop {
        if let Ok(mut client) = Client::try_connect(port) {
            break client.exchange(&get("/health", "")).status;
        }
        assert!(child.try_wait().unwrap().is_none() && Instant::now() < deadline, "it does not listen");
        sleep(Duration::from_millis(10));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(status, 200);
}

#[test]
fn production_without_a_secret_is_refused() {
    let database = Database::sqlite();
    for (name, value) in [
        ("NODE_ENV", "production"),
        ("NARTHEX_ENV", "production"),
        ("BETTER_AUTH_URL", "https://auth.example.com"),
    ] {
        let line = refused(command(database.folder()).env(name, value), 2);
        assert!(line.contains("BETTER_AUTH_SECRET"), "{line}");
    }
    assert!(!database.folder().join("narthex.secret").exists());
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    let database = Database::sqlite();
    configure(database.folder(), "[sesion]\nexpires-in = 60\n");
    let line = refused(&mut command(database.folder()), 2);
    assert!(line.contains("sesion"), "{line}");
    configure(database.folder(), "[session]\nexpires = 60\n");
    let line = refused(&mut command(database.folder()), 2);
    assert!(line.contains("session.expires:") && line.contains("`expires-in`"), "{line}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let database = Database::sqlite();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let line = refused(command(database.folder()).args(["--listen", &address]), 1);
    assert!(line.contains(&address) && line.contains("in use"), "{line}");
}

#[test]
fn a_database_url_that_is_none_is_refused_with_what_is_right() {
    let database = Database::sqlite();
    for url in ["nonsense", "mysql://root@localhost/auth", "", "sqlite://", "sqlite://:memory:"] {
        let line = refused(command(database.folder()).args(["--database", url]), 2);
        assert!(line.contains("sqlite://"), "{url}: {line}");
    }
    let url = "postgres://ada:hunter2@127.0.0.1:port/auth";
    let line = refused(command(database.folder()).args(["--database", url]), 2);
    assert!(line.contains("port") && !line.contains("hunter2"), "{line}");
}

#[test]
fn a_database_that_cannot_be_reached_is_named_without_its_password() {
    let database = Database::sqlite();
    let line = refused(
        command(database.folder()).args(["--database", "postgres://ada:hunter2@127.0.0.1:1/auth"]),
        1,
    );
    assert!(line.contains("127.0.0.1:1/auth") && !line.contains("hunter2"), "{line}");
    let line =
        refused(command(database.folder()).args(["--database", "sqlite://no/such/folder/narthex.db"]), 1);
    assert!(line.contains("no/such/folder/narthex.db"), "{line}");
}

#[test]
fn a_body_of_ten_megabytes_is_refused_and_the_refusal_arrives() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), QUICK);
    let megabyte = vec![b' '; 1 << 20];
    let head =
        "POST /api/auth/sign-up/email HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";

    let mut client = server.connect();
    client.send(format!("{head}content-length: {}\r\n\r\n", 10 << 20).as_bytes()).unwrap();
    // The server may stop listening to it at any time.
    let _ = (0..10).try_for_each(|_| client.send(&megabyte));
    assert_eq!(client.receive().map(|reply| reply.status).map_err(|error| error.to_string()), Ok(413));

    let mut client = server.connect();
    client.send(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes()).unwrap();
    let _ = (0..10).try_for_each(|_| {
        client.send(b"100000\r\n")?;
        client.send(&megabyte)?;
        client.send(b"\r\n")
    });
    assert_eq!(client.receive().map(|reply| reply.status).map_err(|error| error.to_string()), Ok(413));
    assert_eq!(server.status_of("/ready"), 200);
}

#[test]
fn a_request_in_flight_is_finished_after_sigterm() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), &QUICK.replace("bcrypt-cost = 4", "bcrypt-cost = 12"));
    let mut idle = server.connect();
    assert_eq!(idle.exchange(&get("/health", "")).status, 200);
    let mut busy = server.connect();
    busy.send(&sign_up("ada@example.com")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !server.is_hashing() {
        assert!(Instant::now() < deadline, "the password is not being hashed");
    }
    server.signal(Signal::TERM);
    let begun = Instant::now();
    let reply = busy.receive().unwrap();
    assert_eq!((reply.status, &reply.json()["user"]["email"]), (200, &"ada@example.com".into()));
    assert!(idle.is_at_end());
    assert!(server.wait().success());
    assert!(begun.elapsed() < Duration::from_secs(10), "it waited for something else");
    assert_eq!(database.number("select count(*) from session"), 1);
}

fn configure(folder: &Path, text: &str) {
    fs::write(folder.join("narthex.toml"), text).unwrap();
}

/// Runs a command that is to be refused with `code`; what it says in the end, its only word besides the log.
pub(super) fn refused(command: &mut Command, code: i32) -> String {
    let Output { status, stdout, stderr } = command.env("NARTHEX_LOG", "off").output().unwrap();
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!((status.code(), &*stdout), (Some(code), ""), "{stderr}");
    assert!(stderr.starts_with("narthex: "), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr
}
