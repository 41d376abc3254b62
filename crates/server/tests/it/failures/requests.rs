//! Bytes that are no request, or none that we want. None of them keeps the next one from being answered.

use super::{
    super::{client::post, database::Database},
    PLAIN, serve,
};
use serde_json::json;

const INVALID_JSON: &str = r#"{"message":"Invalid JSON in request body","code":"BAD_REQUEST"}"#;
const OK: &str = r#"{"ok":true}"#;

/// More than any server reads of a request's head.
const HALF_A_MEGABYTE: usize = 512 << 10;

fn asked_for(path: &[u8], headers: &[u8]) -> Vec<u8> {
    [&b"GET /api/auth/"[..], path, b" HTTP/1.1\r\nhost: localhost\r\n", headers, b"\r\n"].concat()
}

fn sign_up_with(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /api/auth/sign-up/email HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn what_is_no_request_is_refused_and_the_next_one_answered() {
    let database = Database::chosen("requests");
    let server = serve(&database, PLAIN);
    let header = |value: &[u8]| asked_for(b"ok", &[&b"x-text: "[..], value, b"\r\n"].concat());
    let many: Vec<_> = (0..150).map(|number| format!("x-{number}: a\r\n")).collect();
    let deep = "[".repeat(100_000);
    for (what, request, status, body) in [
        ("half an object", sign_up_with(b"{\"email\":"), 400, INVALID_JSON),
        ("two values", sign_up_with(b"{} {}"), 400, INVALID_JSON),
        ("no UTF-8", sign_up_with(b"\xff\xfe{\0}\0"), 400, INVALID_JSON),
        ("a NUL in a text", sign_up_with(b"{\"name\":\"a\0b\"}"), 400, INVALID_JSON),
        ("lists in lists", sign_up_with(deep.as_bytes()), 400, INVALID_JSON),
        ("a NUL in a path", asked_for(b"o\0k", b""), 400, ""),
        ("no UTF-8 in a path", asked_for(b"o\xffk", b""), 400, ""),
        ("a NUL in a path, escaped", asked_for(b"o%00k", b""), 404, ""),
        ("no UTF-8 in a path, escaped", asked_for(b"o%ffk", b""), 404, ""),
        ("letters in a path", asked_for("ök".as_bytes(), b""), 404, ""),
        ("a NUL in a header", header(b"a\0b"), 400, ""),
        ("no UTF-8 in a header", header(b"a\xff\xfe"), 200, OK),
        ("no UTF-8 in a header's name", asked_for(b"ok", b"x\xff: a\r\n"), 400, ""),
        ("a large header", header(&[b'a'; 4 << 10]), 200, OK),
        ("a header that is too large", header(&vec![b'a'; HALF_A_MEGABYTE]), 431, ""),
        ("a line that is too long", asked_for(&vec![b'a'; HALF_A_MEGABYTE], b""), 431, ""),
        ("too many headers", asked_for(b"ok", many.concat().as_bytes()), 431, ""),
        ("a length that is none", asked_for(b"ok", b"content-length: x\r\n"), 400, ""),
        ("two lengths", asked_for(b"ok", b"content-length: 1\r\ncontent-length: 2\r\n"), 400, ""),
        ("TLS", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n".to_vec(), 400, ""),
        ("nothing but line breaks and a word", b"\r\n\r\nGET\r\n\r\n".to_vec(), 400, ""),
    ] {
        let mut client = server.connect();
        // It may be refused before it is sent.
        let _ = client.send(&request);
        let reply = client.receive().unwrap_or_else(|error| panic!("{what}: {error}"));
        let said = (reply.status, String::from_utf8_lossy(&reply.body));
        assert_eq!(said, (status, body.into()), "{what}");
        assert_eq!(server.status_of("/api/auth/ok"), 200, "after {what}");
    }
    assert_eq!(database.number("select count(*) from \"user\""), 0);

    // What is no UTF-8 within a text is replaced, as `fetch` does.
    let body = b"{\"name\":\"A\xffda\",\"email\":\"ada@example.com\",\"password\":\"correct horse\"}";
    let reply = server.connect().exchange(&sign_up_with(body));
    assert_eq!((reply.status, &reply.json()["user"]["name"]), (200, &json!("A\u{fffd}da")));
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn a_connection_goes_on_after_a_refusal_that_was_read_to_its_end() {
    let database = Database::sqlite();
    let server = serve(&database, PLAIN);
    let mut client = server.connect();
    for _ in 0..3 {
        assert_eq!(client.exchange(&sign_up_with(b"{")).status, 400);
        assert_eq!(client.exchange(&asked_for(b"nothing", b"")).status, 404);
        assert_eq!(client.exchange(&post("/api/auth/ok", "", &json!({}))).status, 404);
        assert_eq!(client.exchange(&asked_for(b"ok", b"")).body, OK.as_bytes());
    }
}
