//! Pages of other origins: what a browser is told, and what it is not.

use super::{
    binary::refused,
    client::{Reply, sign_up},
    database::Database,
    server::{QUICK, Server, command},
};
use std::fs;

const PAGE: &str = "https://app.example";
const OTHERS: [&str; 6] = [
    "https://evil.example",
    "null",
    "https://app.example.evil.example",
    "https://app.example:8443",
    "http://app.example",
    "HTTPS://APP.EXAMPLE",
];

const CONFIGURATION: &str = r#"
[cors]
origins = ["https://app.example", "http://localhost:5173"]
allowed-headers = ["X-Tenant"]
[password]
bcrypt-cost = 4
[rate-limit]
enabled = true
[rate-limit.custom-rules]
"/error" = { window = 600, max = 1 }
"#;

const ALLOWED: &str = "
vary: Origin
access-control-allow-origin: https://app.example
access-control-allow-credentials: true
access-control-expose-headers: set-auth-token, set-auth-jwt, x-retry-after, retry-after";

/// Sends a request of `origin` with these lines in its head.
fn from(server: &Server, origin: &str, request: &str, lines: &str) -> Reply {
    let request = format!("{request} HTTP/1.1\r\nhost: localhost\r\norigin: {origin}\r\n{lines}\r\n");
    server.connect().exchange(request.as_bytes())
}

const ASKS: &str =
    "access-control-request-method: POST\r\naccess-control-request-headers: content-type,x-tenant\r\n";

#[test]
fn a_browser_may_ask_what_a_page_may_send() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), CONFIGURATION);
    // More often than anybody may sign in: asking is not counted.
    for _ in 0..10 {
        let reply = from(&server, PAGE, "OPTIONS /api/auth/sign-in/email", ASKS);
        assert_eq!(
            reply.head(),
            "204
access-control-allow-origin: https://app.example
access-control-allow-credentials: true
access-control-allow-methods: GET, POST, PUT, PATCH, DELETE
access-control-allow-headers: content-type, authorization, x-api-key, x-captcha-response, x-requested-with, cache-control, traceparent, tracestate, baggage, x-tenant
access-control-max-age: 7200
vary: Origin"
        );
        assert_eq!(reply.body, b"");
    }
    for origin in OTHERS {
        let reply = from(&server, origin, "OPTIONS /api/auth/sign-in/email", ASKS);
        assert_eq!(reply.head(), "204\nvary: Origin", "{origin}");
    }
    let reply = from(&server, PAGE, "OPTIONS /api/auth/sign-in/email", "");
    assert_eq!(reply.head(), format!("404{ALLOWED}\ncontent-length: 0"), "no preflight");
    assert_eq!(from(&server, PAGE, "OPTIONS /health", ASKS).status, 405);
}

#[test]
fn an_answer_can_be_read_by_pages_that_are_allowed_and_by_no_other() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), CONFIGURATION);
    let reply = from(&server, PAGE, "GET /api/auth/get-session", "");
    assert_eq!(
        reply.head(),
        format!(
            "200\ncache-control: no-store\ncontent-type: application/json\npragma: no-cache{ALLOWED}\ncontent-length: 4"
        )
    );
    let without = "200\ncache-control: no-store\ncontent-type: application/json\npragma: no-cache\nvary: Origin\ncontent-length: 4";
    for origin in OTHERS {
        assert_eq!(from(&server, origin, "GET /api/auth/get-session", "").head(), without, "{origin}");
    }
    let reply = server.connect().exchange(b"GET /api/auth/get-session HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(reply.head(), without, "a cache must not give it to a page");
    assert_eq!(from(&server, PAGE, "GET /health", "").head(), "200\ncontent-length: 0");
}

#[test]
fn a_page_can_read_why_it_was_refused() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), CONFIGURATION);
    let marked = |reply: &Reply| {
        let said = ALLOWED.lines().filter(|line| !line.is_empty());
        for line in said {
            assert!(reply.head().contains(line), "{}", reply.head());
        }
        reply.status
    };
    let long = format!("content-type: application/json\r\ncontent-length: {}\r\n", 2 << 20);
    assert_eq!(marked(&from(&server, PAGE, "POST /api/auth/sign-up/email", &long)), 413);
    assert_eq!(from(&server, PAGE, "GET /api/auth/error", "").status, 200);
    let limited = from(&server, PAGE, "GET /api/auth/error", "");
    assert_eq!(marked(&limited), 429);
    assert!(limited.header("x-retry-after").is_some(), "{}", limited.head());
    assert_eq!(marked(&from(&server, PAGE, "GET /api/auth/nothing", "")), 404);
    let empty = "content-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    let empty =
        format!("POST /api/auth/sign-in/email HTTP/1.1\r\nhost: localhost\r\norigin: {PAGE}\r\n{empty}");
    assert_eq!(marked(&server.connect().exchange(empty.as_bytes())), 400);
}

#[test]
fn without_origins_no_reply_changes() {
    let database = Database::sqlite();
    for configuration in ["", "trusted-origins = [\"https://app.example\"]\n[cors]\norigins = []\n"] {
        let server = Server::start(database.folder(), configuration);
        assert_eq!(
            from(&server, PAGE, "GET /api/auth/get-session", "").head(),
            "200\ncache-control: no-store\ncontent-type: application/json\npragma: no-cache\ncontent-length: 4"
        );
        assert_eq!(from(&server, PAGE, "OPTIONS /api/auth/ok", ASKS).head(), "404\ncontent-length: 0");
    }
}

#[test]
fn trusted_origins_and_cors_origins_fill_each_other() {
    let asks = |server: &Server| {
        from(server, PAGE, "GET /api/auth/ok", "").header("access-control-allow-origin").map(str::to_owned)
    };
    let signs_out = |server: &Server| {
        let cookie = server.connect().exchange(&sign_up("ada@example.com")).cookie();
        from(server, PAGE, "POST /api/auth/sign-out", &format!("cookie: {cookie}\r\n")).status
    };
    let database = Database::sqlite();
    let trusting = QUICK.replace("http://app.example", "https://*.example\", \"https://app.example");
    let server = Server::start(database.folder(), &trusting);
    assert_eq!(asks(&server).as_deref(), Some(PAGE));
    let other = from(&server, "https://other.example", "GET /api/auth/ok", "");
    assert_eq!(other.header("access-control-allow-origin"), None, "it fits a pattern only");

    let database = Database::sqlite();
    let untrusting = QUICK.replace("trusted-origins", "# trusted-origins");
    fs::write(database.folder().join("narthex.toml"), &untrusting).unwrap();
    let mut command = command(database.folder());
    command.env("CORS_ORIGINS", "https://app.example, http://localhost:5173");
    let server = Server::spawn(command, database.folder());
    assert_eq!((asks(&server).as_deref(), signs_out(&server)), (Some(PAGE), 200));

    let database = Database::sqlite();
    let server = Server::start(database.folder(), &untrusting);
    assert_eq!((asks(&server), signs_out(&server)), (None, 403));
}

#[test]
fn an_origin_that_is_none_is_refused_with_what_is_right() {
    let database = Database::sqlite();
    for (origin, right) in [
        ("*", "cors.origins = \"*\": must be one exact origin"),
        (
            "https://app.example/",
            "must be written as browsers send it, without path and final slash: \"https://app.example\"",
        ),
        ("app.example", "must be a scheme, a host and perhaps a port, such as \"https://app.example\""),
    ] {
        let line = refused(command(database.folder()).env("CORS_ORIGINS", origin), 2);
        assert!(line.contains(right), "{line}");
    }
    fs::write(database.folder().join("narthex.toml"), "[cors]\norigin = []\n").unwrap();
    let line = refused(&mut command(database.folder()), 2);
    assert!(line.contains("cors.origin: is no option; perhaps `origins` is meant"), "{line}");
}
