//! A browser is sent only where the operator trusts: CVE-2024-56734, CVE-2025-27143, CVE-2025-53535.

use crate::support::{ADA, PASSWORD, ada};
use narthex_testkit::TestApp;
use serde_json::{Value, json};

/// Each of these has led, or could lead, a browser away from an application.
const HOSTILE: &[&str] = &[
    "https://evil.example",
    "http://evil.example/http://localhost:3001",
    "//evil.example",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "/\\/evil.example",
    "/%5cevil.example",
    "/%5Cevil.example",
    "/%2f%2fevil.example",
    "/%2Fevil.example",
    "/\tevil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r/evil.example",
    "/\0/evil.example",
    "\t//evil.example",
    " //evil.example",
    "/..//evil.example",
    "/.//evil.example",
    "/a/..//evil.example",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "file:///etc/passwd",
    "http://localhost:3001@evil.example",
    "http://localhost:3001.evil.example",
    "http://evil.example#http://localhost:3001",
    "http://evil.example?http://localhost:3001",
    "http://localhost:3002/",
    "https://localhost:3001/",
    "http:evil.example",
    "http:/evil.example",
    "http:///evil.example",
    "https:evil.example",
    "evil.example",
    "evil.example/path",
    "localhost:3001",
    "http://localhost.:3001/",
    "http://ⓛocalhost.evil.example",
    "http://[::1]:3001/",
    "http://127.0.0.1:3001/",
    "?x",
    "#x",
    "x",
    " ",
];

const HARMLESS: &[&str] = &[
    "/",
    "/dash",
    "/dash?a=b&c=%20",
    "/dash#fragment",
    "/a b",
    "http://localhost:3001",
    "http://localhost:3001/dash?x#y",
];

/// Members that name where to go, and what is answered where that is not ours.
pub(super) const TARGETS: &[(&str, &str)] = &[
    ("callbackURL", r#"{"message":"Invalid callbackURL","code":"INVALID_CALLBACK_URL"}"#),
    ("redirectTo", r#"{"message":"Invalid redirectURL","code":"INVALID_REDIRECT_URL"}"#),
    ("errorCallbackURL", r#"{"message":"Invalid errorCallbackURL","code":"INVALID_ERROR_CALLBACK_URL"}"#),
    (
        "newUserCallbackURL",
        r#"{"message":"Invalid newUserCallbackURL","code":"INVALID_NEW_USER_CALLBACK_URL"}"#,
    ),
];

fn body(target: &str, value: impl Into<Value>) -> Value {
    let mut body = json!({ "name": "Ada", "email": ADA, "password": PASSWORD });
    body[target] = value.into();
    body
}

#[tokio::test]
async fn cve_2025_53535_no_endpoint_takes_a_hostile_target_in_its_body() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    for path in ["/sign-in/email", "/sign-up/email", "/sign-out"] {
        for (target, refusal) in TARGETS {
            for hostile in HOSTILE {
                let reply = browser.post(path, body(target, *hostile)).await;
                assert_eq!(
                    (reply.status(), reply.text().as_str()),
                    (403, *refusal),
                    "{path} {target} {hostile:?}"
                );
                assert_eq!(reply.header("location"), "");
            }
        }
    }
    assert_eq!(app.rows("session").await.len(), 1);
}

#[tokio::test]
async fn cve_2025_27143_no_endpoint_takes_a_hostile_callback_in_its_query() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    for hostile in HOSTILE {
        let encoded = hostile.bytes().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat();
        let reply = browser.post(&format!("/sign-out?callbackURL={encoded}"), json!({})).await;
        assert_eq!((reply.status(), reply.text().as_str()), (403, TARGETS[0].1), "{hostile:?}");
    }
    for query in
        ["callbackURL=//evil.example", "callbackURL=https://evil.example", "callback%55RL=//evil.example"]
    {
        assert_eq!(browser.post(&format!("/sign-out?{query}"), json!({})).await.status(), 403, "{query}");
    }
    let twice = browser.post("/sign-out?callbackURL=/ok&callbackURL=//evil.example", json!({})).await;
    assert_eq!(twice.to_string(), r#"400 {"message":"Invalid callbackURL: expected a string"}"#);
    // A harmless one in the body hides none in the query, for that one is not looked at.
    assert_eq!(app.rows("session").await.len(), 1);
}

#[tokio::test]
async fn cve_2024_56734_a_form_is_checked_like_json() {
    let app = TestApp::new().await;
    ada(&app).await;
    let form = "email=ada%40example.com&password=correct+horse&callbackURL=%2F%2Fevil.example";
    let reply = app.browser().request(http::Method::POST, "/sign-in/email").form(form).await;
    assert_eq!(reply.to_string(), format!("403 {}", TARGETS[0].1));
}

#[tokio::test]
async fn a_target_that_is_no_text_is_refused_and_a_falsy_one_is_not_looked_at() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    for (target, label) in [
        ("callbackURL", "callbackURL"),
        ("redirectTo", "redirectURL"),
        ("errorCallbackURL", "errorCallbackURL"),
        ("newUserCallbackURL", "newUserCallbackURL"),
    ] {
        for value in [json!(["//evil.example"]), json!({ "toString": "x" }), json!(1), json!(true)] {
            let reply = browser.post("/sign-in/email", body(target, value)).await;
            assert_eq!(
                reply.to_string(),
                format!(r#"400 {{"message":"Invalid {label}: expected a string"}}"#)
            );
        }
        for value in [Value::Null, json!(0), json!(false), json!("")] {
            let status = browser.post("/sign-in/email", body(target, value)).await.status();
            assert_ne!(status, 403, "{target}");
        }
    }
}

#[tokio::test]
async fn harmless_targets_are_followed() {
    let app =
        TestApp::with_config(|config| config.trusted_origins = vec!["https://*.app.example".to_owned()])
            .await;
    let browser = ada(&app).await;
    for target in HARMLESS.iter().copied().chain(["https://x.app.example/y"]) {
        let reply = browser.post("/sign-in/email", body("callbackURL", target)).await;
        assert_eq!((reply.status(), reply.header("location")), (200, target));
    }
}

#[tokio::test]
async fn a_target_that_no_header_can_carry_is_no_server_error() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    for target in ["/é", "/\u{7f}", "/\u{80}", "/😀", "/\u{2028}"] {
        let status = browser.post("/sign-in/email", body("callbackURL", target)).await.status();
        assert!(status < 500, "{target:?}: {status}");
    }
}
