//! How often clients may ask a running server.

use super::{
    client::{Client, get},
    database::Database,
    server::{Server, command},
};
use std::{fs, net::SocketAddr, thread};

const CONFIGURATION: &str = r#"
[rate-limit]
enabled = true
storage = "database"

[rate-limit.custom-rules."/ok"]
window = 600
max = 7

[rate-limit.custom-rules]
"/get-*" = false
"/get-session" = { window = 600, max = 1 }
"#;

/// The statuses that 50 requests for `path` got, from five connections at once.
fn fifty(address: SocketAddr, path: &str) -> Vec<u16> {
    thread::scope(|scope| {
        let clients: Vec<_> = (0..5)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::connect(address);
                    (0..10).map(|_| client.exchange(&get(path, "")).status).collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

#[test]
fn of_a_hundred_requests_to_two_processes_exactly_so_many_pass() {
    let database = Database::chosen("limits");
    fs::write(database.folder().join("narthex.toml"), CONFIGURATION).unwrap();
    let start = || {
        let mut command = command(database.folder());
        command.args(["--database", &database.url()]);
        Server::spawn(command, database.folder())
    };
    let (one, two) = (start(), start());
    let statuses = thread::scope(|scope| {
        let there = scope.spawn(|| fifty(two.address, "/api/auth/ok"));
        let here = fifty(one.address, "/api/auth/ok");
        [here, there.join().unwrap()].concat()
    });
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(200), count(429)), (7, 93));
    assert_eq!(database.number(r#"select cast("count" as bigint) from "rateLimit""#), 7);

    assert_eq!(fifty(one.address, "/api/auth/get-session"), [200; 50], "the first rule that matches");
    for path in ["/health", "/ready"] {
        assert_eq!(fifty(one.address, path), [200; 50], "{path}");
    }
}

#[test]
fn in_production_limits_are_on_and_in_development_off() {
    for (environment, expected) in [("production", [200, 200, 200, 429]), ("development", [200; 4])] {
        let database = Database::sqlite();
        let file = "[rate-limit.custom-rules]\n\"/ok\" = { window = 600, max = 3 }\n";
        fs::write(database.folder().join("narthex.toml"), file).unwrap();
        let mut command = command(database.folder());
        command.env("NODE_ENV", environment);
        command.env("BETTER_AUTH_SECRET", "a-secret-that-is-long-enough-for-it");
        let server = Server::spawn(command, database.folder());
        assert_eq!([0; 4].map(|_| server.status_of("/api/auth/ok")), expected, "{environment}");
        let failed = if environment == "production" { 302 } else { 200 };
        assert_eq!(server.status_of("/api/auth/error?error=x"), failed, "{environment}");
    }
}

#[test]
fn a_proxy_that_nobody_has_listed_is_named_once() {
    let database = Database::sqlite();
    let server = Server::start(
        database.folder(),
        "[advanced]\ntrusted-proxies = [\"192.0.2.1\"]\n[rate-limit]\nenabled = true\n",
    );
    let request = b"GET /api/auth/ok HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n";
    for _ in 0..3 {
        assert_eq!(server.connect().exchange(request).status, 200);
    }
    let log = server.log_at_end();
    assert_eq!(log.matches("127.0.0.1 names a client it speaks for and is not believed").count(), 1, "{log}");
}

#[test]
fn a_rule_that_is_none_is_named_with_what_would_be_right() {
    for (rule, mistake) in [
        (
            "\"/ok\" = true",
            "rate-limit.custom-rules.\"/ok\": must be { window = seconds, max = requests }, or false",
        ),
        (
            "\"/ok\" = { window = 1 }",
            "rate-limit.custom-rules.\"/ok\": must be { window = seconds, max = requests }, or false",
        ),
        (
            "\"/ok\" = { window = 0, max = 1 }",
            "rate-limit.custom-rules.\"/ok\".window = 0: must be at least 1",
        ),
        (
            "\"ok\" = false",
            "rate-limit.custom-rules.\"ok\": must be a path below the base path, such as \"/sign-in/*\"",
        ),
    ] {
        let database = Database::sqlite();
        let file = format!("[rate-limit.custom-rules]\n{rule}\n");
        fs::write(database.folder().join("narthex.toml"), file).unwrap();
        let output = command(database.folder()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(mistake), "{said}");
    }
}
