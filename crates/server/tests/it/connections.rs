//! Many connections, slow ones, and ones that never say anything.

use super::{
    client::{Client, get, get_session, sign_up},
    database::Database,
    server::{QUICK, Server, wait_for},
};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use std::{
    fs,
    thread::{self, sleep},
    time::{Duration, Instant},
};

/// Room for so many clients in this process, if the machine has it; how many there is room for.
fn raise_limit_of_open_files(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    // A client has its socket twice.
    let room = most.min(2 * wanted + 512);
    if limit.current.is_some_and(|current| current < room) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(room), maximum: limit.maximum }).unwrap();
    }
    (room - 512) / 2
}

/// Bytes of memory that a process has touched.
fn resident(server: &Server) -> u64 {
    let pages = fs::read_to_string(format!("/proc/{}/statm", server.pid.as_raw_nonzero())).unwrap();
    let pages: u64 = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * u64::try_from(rustix::param::page_size()).unwrap()
}

#[test]
fn ten_thousand_idle_connections_are_cheap_and_hold_up_nobody() {
    let count = raise_limit_of_open_files(10_000);
    assert!(count >= 1000, "the machine allows too few open files: ulimit -Hn");
    let database = Database::sqlite();
    // Nobody is cut who is still to be counted.
    let server = Server::start(
        database.folder(),
        &format!("{QUICK}[http]\nheader-timeout = 600\nidle-timeout = 600\n"),
    );
    let mut client = server.connect();
    let cookie = client.exchange(&sign_up("ada@example.com")).cookie();
    let before = resident(&server);
    // Half of them have asked something.
    let clients: Vec<_> = (0..count)
        .map(|number| {
            let mut idle = server.connect();
            if number % 2 == 0 {
                assert_eq!(idle.exchange(&get("/health", "")).status, 200);
            }
            idle
        })
        .collect();
    for _ in 0..100 {
        let reply = server.connect().exchange(&get_session(&cookie));
        assert_eq!((reply.status, &reply.json()["user"]["email"]), (200, &"ada@example.com".into()));
    }
    assert_eq!(client.exchange(&get_session(&cookie)).status, 200);
    let each = resident(&server).saturating_sub(before) / count;
    assert!(each < 32 << 10, "{each} bytes for each connection");
    drop(clients);
    assert!(server.stop().success());
}

#[test]
fn a_client_that_sends_its_head_slowly_is_cut_and_another_one_is_served() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), "[http]\nheader-timeout = 1\n");
    let mut silent = server.connect();
    silent.send(b"GET /health HTTP/1.1\r\nhost: local").unwrap();
    let mut second = server.connect();
    assert_eq!(second.exchange(&get("/health", "")).status, 200);
    second.send(b"GET /health HTTP/1.1\r\n").unwrap();
    thread::scope(|scope| {
        let dribbles = scope.spawn(|| {
            let mut client = server.connect();
            let deadline = Instant::now() + Duration::from_secs(20);
            // A byte now and then buys no time.
            while client.send(b"G").is_ok() {
                assert!(Instant::now() < deadline, "it is still there");
                sleep(Duration::from_millis(100));
            }
        });
        assert_eq!(server.status_of("/health"), 200);
        assert!(silent.is_at_end());
        assert!(second.is_at_end(), "whatever came before");
        dribbles.join().unwrap();
    });
    assert_eq!(server.status_of("/health"), 200);
}

#[test]
fn a_connection_that_asks_nothing_is_closed() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), "[http]\nidle-timeout = 1\nheader-timeout = 60\n");
    let mut fresh = server.connect();
    let mut used = server.connect();
    assert_eq!(used.exchange(&get("/health", "")).status, 200);
    assert!(fresh.is_at_end());
    assert!(used.is_at_end());
    // Whoever keeps asking is not idle.
    let mut busy = server.connect();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2500) {
        assert_eq!(busy.exchange(&get("/health", "")).status, 200);
        sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_connection_that_never_asks_has_no_longer_than_a_head() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), "[http]\nidle-timeout = 600\nheader-timeout = 1\n");
    let mut used = server.connect();
    assert_eq!(used.exchange(&get("/health", "")).status, 200);
    assert!(server.connect().is_at_end());
    assert_eq!(used.exchange(&get("/health", "")).status, 200, "who has asked may come again");
}

#[test]
fn a_connection_that_was_quiet_is_served_as_before() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), "");
    let mut fresh = server.connect();
    let mut used = server.connect();
    let mut begun = server.connect();
    assert_eq!(used.exchange(&get("/api/auth/ok", "")).status, 200);
    // A request, and half of the next one.
    let request = get("/api/auth/ok", "");
    let (half, rest) = request.split_at(20);
    assert_eq!(begun.exchange(&[&request, half].concat()).status, 200);
    // Its buffers are put away after two seconds.
    sleep(Duration::from_millis(3500));
    assert_eq!(begun.exchange(rest).status, 200, "nothing of it was lost");
    for client in [&mut fresh, &mut used, &mut begun] {
        for _ in 0..2 {
            assert_eq!(client.exchange(&request).status, 200);
        }
    }
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let database = Database::sqlite();
    let server = Server::start(
        database.folder(),
        "[http]\nbody-timeout = 1\nheader-timeout = 60\n[cors]\norigins = [\"https://app.example\"]\n",
    );
    let head = "POST /api/auth/sign-up/email HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\norigin: https://app.example\r\n";
    for request in [
        format!("{head}content-length: 100\r\n\r\n{{"),
        format!("{head}transfer-encoding: chunked\r\n\r\n1\r\n{{\r\n"),
    ] {
        let mut client = server.connect();
        let reply = client.exchange(request.as_bytes());
        assert_eq!(
            reply.head(),
            "408
content-type: application/json
connection: close
vary: Origin
access-control-allow-origin: https://app.example
access-control-allow-credentials: true
access-control-expose-headers: set-auth-token, set-auth-jwt, x-retry-after, retry-after
content-length: 78"
        );
        let expected = r#"{"message":"The request body did not arrive in time","code":"REQUEST_TIMEOUT"}"#;
        assert_eq!(String::from_utf8_lossy(&reply.body), expected);
        assert!(client.is_at_end());
    }
    assert_eq!(server.status_of("/ready"), 200);
}

#[test]
fn a_large_head_is_taken_and_a_larger_one_refused() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), "");
    let with = |length: usize| get("/api/auth/ok", &"x".repeat(length));
    assert_eq!(server.connect().exchange(&with(4 << 10)).status, 200);
    assert_eq!(server.connect().exchange(&with(24 << 10)).status, 200);
    let mut client = server.connect();
    // It may close before everything is sent.
    let _ = client.send(&with(512 << 10));
    assert_eq!(client.receive().map(|reply| reply.status).map_err(|error| error.to_string()), Ok(431));
    assert_eq!(server.status_of("/api/auth/ok"), 200);
}

#[test]
fn beyond_the_bound_one_idle_connection_is_closed() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), "[http]\nmax-connections = 3\n");
    let mut clients = [server.connect(), server.connect(), server.connect()];
    for client in &mut clients {
        assert_eq!(client.exchange(&get("/health", "")).status, 200);
    }
    let mut fourth = server.connect();
    fourth.send(&get("/health", "")).unwrap();
    assert_eq!(fourth.receive().unwrap().status, 200);
    wait_for(|| {
        server.log().contains("3 connections are open; for each further one the longest idle is closed")
    });
    assert_eq!(fourth.exchange(&get("/health", "")).status, 200);
    // Which of them has been quiet for longest is not known here to the second.
    let goes_on =
        |client: &mut Client| client.send(&get("/health", "")).and_then(|()| client.receive()).is_ok();
    assert_eq!(clients.iter_mut().map(goes_on).filter(|goes_on| *goes_on).count(), 2);
}

#[test]
fn beyond_the_bound_a_connection_waits_where_none_is_idle() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), "[http]\nmax-connections = 2\nheader-timeout = 600\n");
    let [mut first, mut second] = [server.connect(), server.connect()];
    first.send(b"GET /health HTTP/1.1\r\n").unwrap();
    second.send(b"GET /health HTTP/1.1\r\n").unwrap();
    let mut third = server.connect();
    third.send(&get("/health", "")).unwrap();
    wait_for(|| server.log().contains("2 connections are open"));
    for slow in [&mut first, &mut second] {
        assert_eq!(slow.exchange(b"host: localhost\r\n\r\n").status, 200);
    }
    drop(first);
    assert_eq!(third.receive().unwrap().status, 200);
}

#[test]
fn a_lack_of_files_is_logged_once_and_survived() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), "");
    assert_eq!(server.status_of("/ready"), 200);
    let pid = Pid::from_raw(server.pid.as_raw_nonzero().get());
    // As many as it has open now, when nobody is connected.
    let open = || fs::read_dir(format!("/proc/{}/fd", server.pid.as_raw_nonzero())).unwrap().count();
    let mut idle = open();
    wait_for(|| {
        let before = std::mem::replace(&mut idle, open());
        sleep(Duration::from_millis(50));
        before == open()
    });
    let full =
        Rlimit { current: Some(u64::try_from(idle).unwrap()), maximum: getrlimit(Resource::Nofile).maximum };
    let roomy = prlimit(pid, Resource::Nofile, full).unwrap();
    let mut client = server.connect();
    client.send(&get("/health", "")).unwrap();
    wait_for(|| server.log().contains("connections cannot be accepted"));
    sleep(Duration::from_millis(300));
    prlimit(pid, Resource::Nofile, roomy).unwrap();
    assert_eq!(client.receive().unwrap().status, 200);
    let log = server.log();
    assert_eq!(log.matches("connections cannot be accepted").count(), 1, "{log}");
}
