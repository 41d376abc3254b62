//! Whatever a client sends, the answer is its mistake and not ours.

use crate::support::{ADA, PASSWORD, ada, credentials, over_tcp};
use http::Method;
use insta::assert_snapshot;
use narthex_testkit::TestApp;
use serde_json::json;

const PATHS: [&str; 3] = ["/sign-up/email", "/sign-in/email", "/sign-out"];

#[tokio::test]
async fn malformed_json_is_the_clients_mistake() {
    let app = TestApp::new().await;
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(100_000), close.repeat(100_000));
    let bodies: Vec<Vec<u8>> = vec![
        b"{".to_vec(),
        b"".to_vec(),
        b"\0".to_vec(),
        b"nul".to_vec(),
        b"{\"email\":\"a@b.co\",}".to_vec(),
        b"{'email':'a@b.co'}".to_vec(),
        b"{\"email\":\"\xff\xfe\"}".to_vec(),
        b"{\"email\":\"\xc3\"}".to_vec(),
        b"{\"email\":\"\xed\xa0\x80\"}".to_vec(),
        br#"{"email":"\ud800"}"#.to_vec(),
        br#"{"email":"\ud800\u0041"}"#.to_vec(),
        br#"{"email":"\udc00\ud800"}"#.to_vec(),
        br#"{"email":1e999}"#.to_vec(),
        br#"{"email":-0}"#.to_vec(),
        b"{\"email\":\"a\x01b\"}".to_vec(),
        b"[]".to_vec(),
        b"null".to_vec(),
        b"\"text\"".to_vec(),
        b"1".to_vec(),
        deep("[", "]").into_bytes(),
        deep("{\"a\":", "}").into_bytes(),
        format!("{{\"email\":{}}}", deep("[", "]")).into_bytes(),
        format!("{{{}}}", vec!["\"email\":\"a\""; 10_000].join(",")).into_bytes(),
        format!("{{\"{}\":1}}", "k".repeat(500_000)).into_bytes(),
    ];
    for path in PATHS {
        for body in &bodies {
            let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
            let reply =
                app.browser().request(Method::POST, path).body("application/json", body.clone()).await;
            // Signing out needs nothing of its body but that it is one.
            assert!(
                (400..500).contains(&reply.status()) || path == "/sign-out" && reply.status() == 200,
                "{path} {shown:?}: {reply}"
            );
        }
    }
}

#[tokio::test]
async fn half_a_surrogate_pair_is_refused() {
    let app = TestApp::new().await;
    let body = r#"{"name":"\ud83d","email":"ada@example.com","password":"correct horse"}"#;
    let reply = app.browser().request(Method::POST, "/sign-up/email").body("application/json", body).await;
    assert_snapshot!(reply, @r#"400 {"message":"Invalid JSON in request body","code":"BAD_REQUEST"}"#);
}

#[tokio::test]
async fn a_form_of_any_bytes_is_no_server_error() {
    let app = TestApp::new().await;
    for form in [
        &b"email=%ff&password=%00&name=%zz"[..],
        b"\xff\xfe=\0&&&===",
        b"name=%ED%A0%80&email=a@b.co&password=12345678",
        b"email[]=a&email[x]=b",
        b"__proto__=x&constructor=y&email=ada@example.com",
    ] {
        for path in ["/sign-up/email", "/sign-in/email"] {
            let call = app
                .browser()
                .request(Method::POST, path)
                .body("application/x-www-form-urlencoded", form.to_vec());
            let status = call.await.status();
            assert!(status < 500, "{path} {form:?}: {status}");
        }
    }
}

#[tokio::test]
async fn a_nul_in_a_text_that_is_stored_is_the_clients_mistake_where_it_cannot_be() {
    let app = TestApp::new().await;
    let name = json!({ "name": "A\0da", "email": ADA, "password": PASSWORD });
    let reply = app.browser().post("/sign-up/email", name).await;
    let image = json!({ "name": "Bob", "email": "bob@example.com", "password": PASSWORD, "image": "\0" });
    let second = app.browser().post("/sign-up/email", image).await;
    match app.database().dialect() {
        // As upstream.
        narthex_testkit::Dialect::Sqlite => assert_eq!((reply.status(), second.status()), (200, 200)),
        narthex_testkit::Dialect::Postgres => {
            assert_snapshot!(reply, @r#"422 {"message":"Failed to create user","code":"FAILED_TO_CREATE_USER"}"#);
            assert_eq!(second.to_string(), reply.to_string());
            assert_eq!(app.rows("user").await.len(), 0);
        }
    }
}

#[tokio::test]
async fn a_nul_in_an_address_is_refused_and_one_in_a_password_counts() {
    let app = TestApp::new().await;
    let address = json!({ "name": "A", "email": "a\0@example.com", "password": PASSWORD });
    assert_snapshot!(app.browser().post("/sign-up/email", address.clone()).await, @r#"400 {"message":"[body.email] Invalid email address","code":"VALIDATION_ERROR"}"#);
    assert_snapshot!(app.browser().post("/sign-in/email", address).await, @r#"400 {"message":"Invalid email","code":"INVALID_EMAIL"}"#);
    let ada = json!({ "name": "A", "email": ADA, "password": "correct\0horse" });
    assert_eq!(app.browser().post("/sign-up/email", ada).await.status(), 200);
    for (password, status) in
        [("correct\0horse", 200), ("correct\0", 401), ("correct", 401), ("correct\0horsf", 401)]
    {
        let body = json!({ "email": ADA, "password": password });
        assert_eq!(app.browser().post("/sign-in/email", body).await.status(), status, "{password:?}");
    }
}

#[tokio::test]
async fn large_and_odd_headers_are_no_server_error() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let long = "x".repeat(4_096);
    for name in [
        "user-agent",
        "cookie",
        "origin",
        "referer",
        "host",
        "x-forwarded-for",
        "sec-fetch-site",
        "accept",
        "content-type",
        "authorization",
    ] {
        for value in [long.as_bytes(), b"\xff\xfe\xc3", b"", b";;;===,,,", b"%00%ff%zz"] {
            let status =
                browser.post("/sign-in/email", credentials()).header_bytes(name, value).await.status();
            assert!(status < 500, "POST with {name}: {status}");
            let status = browser.get("/get-session").header_bytes(name, value).await.status();
            assert!(status < 500, "GET with {name}: {status}");
        }
    }
    let cookies =
        (0..200).map(|number| format!("better-auth.session_data.{number}=x")).collect::<Vec<_>>().join("; ");
    assert_eq!(browser.get("/get-session").header("cookie", &cookies).await.status(), 200);
}

#[tokio::test]
async fn a_user_agent_is_kept_with_a_character_for_each_byte() {
    let app = TestApp::new().await;
    let body = json!({ "name": "Ada", "email": ADA, "password": PASSWORD });
    let call = app.browser().post("/sign-up/email", body).header_bytes("user-agent", b"caf\xe9");
    assert_eq!(call.await.status(), 200);
    assert_eq!(app.rows("session").await[0]["userAgent"], "caf\u{e9}");
}

#[tokio::test]
async fn odd_queries_are_no_server_error() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let long = format!("disableRefresh={}", "x".repeat(10_000));
    for query in [
        "%",
        "%00",
        "disableRefresh=%ff",
        "disableRefresh",
        "=",
        "&&&",
        "a[b]=c",
        "__proto__=1",
        "disableRefresh=1&disableRefresh=2",
        long.as_str(),
    ] {
        let status = browser.get(&format!("/get-session?{query}")).await.status();
        assert!(status < 500, "{query}: {status}");
    }
}

fn head(path: &str, length: &str) -> String {
    format!(
        "POST /api/auth{path} HTTP/1.1\r\nhost: localhost:3001\r\nconnection: close\r\ncontent-type: application/json\r\n{length}\r\n\r\n"
    )
}

#[tokio::test]
async fn a_body_of_ten_megabytes_is_refused_whether_or_not_it_says_so() {
    let app = TestApp::new().await;
    let body = vec![b'x'; 10 << 20];
    let declared =
        over_tcp(&app, head("/sign-in/email", &format!("content-length: {}", body.len())), body.clone())
            .await;
    assert!(declared.starts_with("HTTP/1.1 413 "), "{declared}");
    assert!(
        declared.ends_with(r#"{"message":"The request body is too large","code":"PAYLOAD_TOO_LARGE"}"#),
        "{declared}"
    );
    let mut chunked = format!("{:x}\r\n", body.len()).into_bytes();
    chunked.extend(body);
    chunked.extend(b"\r\n0\r\n\r\n");
    let chunked = over_tcp(&app, head("/sign-in/email", "transfer-encoding: chunked"), chunked).await;
    assert!(chunked.starts_with("HTTP/1.1 413 "), "{chunked}");
}

#[tokio::test]
async fn the_router_answers_as_the_engine_does_and_tells_it_who_calls() {
    let app = TestApp::new().await;
    let body = json!({ "name": "Ada", "email": ADA, "password": PASSWORD }).to_string();
    let reply =
        over_tcp(&app, head("/sign-up/email", &format!("content-length: {}", body.len())), body.into_bytes())
            .await;
    assert!(
        reply.starts_with(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nset-cookie: better-auth.session_token="
        ),
        "{reply}"
    );
    assert_eq!(app.rows("session").await[0]["ipAddress"], "127.0.0.1");
    let reply = over_tcp(&app, head("/nope", "content-length: 0"), Vec::new()).await;
    assert!(reply.starts_with("HTTP/1.1 404 Not Found\r\n") && reply.ends_with("\r\n\r\n"), "{reply}");
}

/// Letters that become others where text is brought into a normal form: what is compared must be what was checked.
#[tokio::test]
async fn ghsa_7rqj_no_letter_stands_in_for_another_in_an_address() {
    let app = TestApp::new().await;
    ada(&app).await;
    let hashes = app.auth().hashes();
    for email in [
        "ada\u{ff20}example.com",
        "ada\u{fe6b}example.com",
        "ada@example\u{ff0e}com",
        "ada@example\u{3002}com",
        "\u{ff41}da@example.com",
        "ada@ex\u{430}mple.com",
        "ada\u{ff20}evil.example@example.com",
        "ada@example.com\u{ff20}evil.example",
        "ada@example.com\u{fe6b}evil.example",
        "ada@example.com\u{200b}",
        "\u{200b}ada@example.com",
        "a\u{301}da@example.com",
        "\u{212a}ada@example.com",
        "ada@\u{1d4ee}xample.com",
    ] {
        let sign_up = json!({ "name": "Ada", "email": email, "password": PASSWORD });
        let sign_in = json!({ "email": email, "password": PASSWORD });
        assert_eq!(
            app.browser().post("/sign-up/email", sign_up).await.to_string(),
            r#"400 {"message":"[body.email] Invalid email address","code":"VALIDATION_ERROR"}"#,
            "{email:?}"
        );
        assert_eq!(
            app.browser().post("/sign-in/email", sign_in).await.to_string(),
            r#"400 {"message":"Invalid email","code":"INVALID_EMAIL"}"#,
            "{email:?}"
        );
    }
    assert_eq!((app.auth().hashes(), app.rows("user").await.len()), (hashes, 1));
    assert!(app.rows("narthexGuess").await.is_empty(), "no guess was counted, under whatever key");
}
