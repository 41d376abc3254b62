//! Bodies that nobody wants, and more of them than there is room for.

use super::{
    client::{Client, get, sign_up},
    database::Database,
    server::{QUICK, Server, wait_for},
};

const MEGABYTE: usize = 1 << 20;

fn head(request: &str, more: &str) -> Vec<u8> {
    format!("{request} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{more}\r\n")
        .into_bytes()
}

#[test]
fn what_is_refused_anyway_is_refused_before_its_body_has_come() {
    let database = Database::sqlite();
    let configuration = r#"
disabled-paths = ["/sign-in/email"]
[http]
body-timeout = 600
[rate-limit]
enabled = true
custom-rules."/verify-password" = { window = 600, max = 1 }
"#;
    let server = Server::start(database.folder(), configuration);
    assert_eq!(server.connect().exchange(&head("POST /api/auth/verify-password", "")).status, 400);
    for (request, status) in [
        ("POST /api/auth/nothing", 404),
        ("POST /elsewhere", 404),
        ("POST /api/auth/sign-in/email", 404),
        ("POST /api/auth/verify-password", 429),
        ("POST /api/auth/ok", 404),
        ("GET /api/auth/ok", 200),
        ("GET /health", 200),
    ] {
        for more in [
            "content-length: 1000000000\r\n",
            "transfer-encoding: chunked\r\n",
            "content-length: 10\r\nexpect: 100-continue\r\n",
        ] {
            let mut client = server.connect();
            // A body that was asked for would be the first thing heard of.
            assert_eq!(client.exchange(&head(request, more)).status, status, "{request} {more}");
            assert!(client.is_at_end(), "{request} {more}");
        }
    }
    let mut client = server.connect();
    let reply = client.exchange(&head("POST /api/auth/nothing", "content-length: 10\r\n"));
    assert_eq!(reply.head(), "404\nconnection: close\ncontent-length: 0");
}

#[test]
fn a_connection_goes_on_when_the_unwanted_body_came_with_its_head() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), "");
    let mut client = server.connect();
    for (more, body) in [
        ("content-length: 2\r\n", "{}"),
        ("transfer-encoding: chunked\r\n", "2\r\n{}\r\n1\r\n \r\n0\r\n\r\n"),
        ("content-length: 2\r\nexpect: 100-continue\r\n", "{}"),
    ] {
        for request in ["POST /api/auth/nothing", "GET /api/auth/nothing"] {
            let request = [head(request, more), body.into()].concat();
            let reply = client.exchange(&request);
            assert_eq!(reply.status, 404);
            if reply.header("connection") == Some("close") {
                assert!(more.contains("expect"), "{more}");
                client = server.connect();
            }
        }
    }
    assert_eq!(client.exchange(&get("/api/auth/ok", "")).status, 200);
}

#[test]
fn large_bodies_fill_no_memory_and_keep_nobody_from_signing_up() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), &format!("{QUICK}[http]\nbody-timeout = 600\n"));
    let most = vec![b' '; MEGABYTE - 1];
    let begin = |client: &mut Client| {
        let head = head("POST /api/auth/sign-up/email", &format!("content-length: {MEGABYTE}\r\n"));
        // It may be refused before all of it is sent.
        client.send(&head).and_then(|()| client.send(&most))
    };
    let mut clients: Vec<_> = (0..40).map(|_| server.connect()).collect();
    for client in &mut clients {
        let _ = begin(client);
    }
    wait_for(|| server.log().contains("the bodies of all requests take too much room"));
    let reply = server.connect().exchange(&sign_up("ada@example.com"));
    assert_eq!(reply.status, 200, "small ones have room left");

    let mut statuses: Vec<_> = clients
        .iter_mut()
        .map(|client| {
            let _ = client.send(b" ");
            let reply = client.receive().unwrap();
            if reply.status == 503 {
                assert_eq!(reply.header("retry-after"), Some("1"));
            }
            reply.status
        })
        .collect();
    statuses.sort_unstable();
    statuses.dedup();
    assert_eq!(statuses, [400, 503], "spaces are no JSON");
    drop(clients);
    let mut client = server.connect();
    begin(&mut client).unwrap();
    assert_eq!(client.exchange(b" ").status, 400, "there is room again");
}
