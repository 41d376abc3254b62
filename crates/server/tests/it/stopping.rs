//! The end of a server: what has been asked is answered, what has not is not waited for.

use super::{
    client::{Client, get, sign_up},
    database::Database,
    server::{QUICK, Server, wait_for},
};
use rustix::process::Signal;
use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

/// Sign-ups that are hashed while the server is told to stop.
const SIGN_UPS: usize = 8;

#[test]
fn an_idle_connection_does_not_hold_up_the_end() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), "");
    let mut fresh = server.connect();
    let mut used = server.connect();
    assert_eq!(used.exchange(&get("/health", "")).status, 200);
    let address = server.address;
    let begun = Instant::now();
    assert!(server.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(10), "it waited for a connection without a request");
    assert!(fresh.is_at_end() && used.is_at_end());
    assert!(Client::try_connect(address).is_err());
}

#[test]
fn sign_ups_in_flight_are_answered_and_nobody_else_is_let_in() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), &QUICK.replace("bcrypt-cost = 4", "bcrypt-cost = 12"));
    let mut clients: Vec<_> = (0..SIGN_UPS).map(|_| server.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&sign_up(&format!("user-{number}@example.com"))).unwrap();
    }
    wait_for(|| server.is_hashing());
    server.signal(Signal::TERM);
    let address = server.address;
    wait_for(|| Client::try_connect(address).is_err());
    for client in &mut clients {
        let reply = client.receive().unwrap();
        assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
        assert!(client.is_at_end());
    }
    assert!(server.wait().success());
    assert_eq!(database.number("select count(*) from session"), i64::try_from(SIGN_UPS).unwrap());
}

#[test]
fn whoever_signs_up_without_pause_is_told_of_every_account_that_was_made() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), QUICK);
    let (answered, address) = (AtomicUsize::new(0), server.address);
    let sign_up_until_it_ends = |name: usize| {
        let mut number = 0;
        while let Ok(mut client) = Client::try_connect(address) {
            loop {
                number += 1;
                if client.send(&sign_up(&format!("user-{name}-{number}@example.com"))).is_err() {
                    break;
                }
                let Ok(reply) = client.receive() else { break };
                assert_eq!(reply.status, 200);
                answered.fetch_add(1, SeqCst);
                if reply.header("connection") == Some("close") {
                    break;
                }
            }
        }
    };
    thread::scope(|scope| {
        for name in 0..4 {
            scope.spawn(move || sign_up_until_it_ends(name));
        }
        wait_for(|| answered.load(SeqCst) > 40);
        assert!(server.stop().success());
    });
    let made = database.number("select count(*) from session");
    assert_eq!(usize::try_from(made).unwrap(), answered.load(SeqCst));
}

#[test]
fn slow_clients_do_not_hold_up_the_end() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), "[http]\nheader-timeout = 600\nbody-timeout = 600\n");
    let mut silent = server.connect();
    let mut head = server.connect();
    head.send(b"GET /health HTTP/1.1\r\n").unwrap();
    let mut next = server.connect();
    assert_eq!(next.exchange(&get("/health", "")).status, 200);
    next.send(b"GET /health HTTP/1.1\r\n").unwrap();
    let mut body = server.connect();
    let request = sign_up("ada@example.com");
    body.send(&request[..request.len() - 1]).unwrap();
    let mut honest = server.connect();
    assert_eq!(honest.exchange(&get("/api/auth/ok", "")).status, 200);
    let begun = Instant::now();
    assert!(server.stop().success(), "nobody was promised anything");
    assert!(begun.elapsed() < Duration::from_secs(15), "it waited for what did not come");
    let reply = body.receive().unwrap();
    assert_eq!(
        reply.head(),
        "503\ncontent-type: application/json\nconnection: close\nretry-after: 1\ncontent-length: 85"
    );
    let expected = r#"{"message":"The server is stopping. Try again shortly.","code":"SERVICE_UNAVAILABLE"}"#;
    assert_eq!(String::from_utf8_lossy(&reply.body), expected);
    for client in [&mut silent, &mut head, &mut next, &mut body, &mut honest] {
        assert!(client.is_at_end());
    }
    assert_eq!(database.number("select count(*) from \"user\""), 0);
}

#[test]
fn a_request_that_was_on_its_way_is_answered() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), "");
    let (mut used, mut begun) = (server.connect(), server.connect());
    for client in [&mut used, &mut begun] {
        assert_eq!(client.exchange(&get("/health", "")).status, 200);
    }
    let request = get("/health", "");
    let (half, rest) = request.split_at(20);
    begun.send(half).unwrap();
    server.signal(Signal::TERM);
    let address = server.address;
    wait_for(|| Client::try_connect(address).is_err());
    let reply = begun.exchange(rest);
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    assert!(begun.is_at_end() && used.is_at_end());
    assert!(server.wait().success());
}
