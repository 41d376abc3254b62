use crate::support::{ADA, signed_up, with};
use serde_json::{Value, json};

const COOKIE: &str = "better-auth.session_token";

/// The signed token of a session and the bare one.
async fn tokens(app: &narthex_testkit::TestApp) -> (String, String) {
    let browser = app.browser();
    let body = json!({ "name": "Ada", "email": ADA, "password": "correct horse battery" });
    let reply = browser.post("/sign-up/email", body).await;
    let signed = reply.header("set-auth-token").to_owned();
    let bare = reply.json()["token"].as_str().expect("a token").to_owned();
    assert_eq!(signed.split_once('.').map(|(token, _)| token), Some(&*bare));
    assert_eq!(reply.header("access-control-expose-headers"), "set-auth-token");
    (signed, bare)
}

#[tokio::test]
async fn a_token_in_a_header_is_a_session() {
    let app = with(json!({ "bearer": {} })).build().await;
    let (signed, bare) = tokens(&app).await;
    let encoded = signed.replace('=', "%3D").replace('+', "%2B").replace('/', "%2F");
    for (credentials, expected) in [
        (format!("Bearer {signed}"), true),
        (format!("bearer {signed}"), true),
        (format!("BEARER   {signed} "), true),
        (format!("Bearer {encoded}"), true),
        (format!("Bearer {bare}"), true),
        (format!("Bearer {bare}.{}", "A".repeat(43)), false),
        (format!("Bearer {bare}."), false),
        (format!("Bearer{signed}"), false),
        (format!("Bearer\t{signed}"), false),
        (format!("Token {signed}"), false),
        (format!("Basic {signed}"), false),
        (signed.clone(), false),
        ("Bearer ".to_owned(), false),
        ("Bearer".to_owned(), false),
        (String::new(), false),
    ] {
        let reply = app.browser().get("/get-session").header("authorization", &credentials).await;
        assert_eq!(reply.status(), 200);
        assert_eq!(reply.json() != Value::Null, expected, "{credentials:?}: {reply}");
    }
    let reply = app.browser().get("/get-session").header_bytes("authorization", b"Bearer \xff").await;
    assert_eq!(reply.json(), Value::Null);
}

#[tokio::test]
async fn a_bare_token_can_be_refused() {
    let app = with(json!({ "bearer": { "require-signature": true } })).build().await;
    let (signed, bare) = tokens(&app).await;
    let reply = app.browser().get("/get-session").header("authorization", &format!("Bearer {bare}")).await;
    assert_eq!(reply.json(), Value::Null);
    let reply = app.browser().get("/get-session").header("authorization", &format!("Bearer {signed}")).await;
    assert_ne!(reply.json(), Value::Null);
}

#[tokio::test]
async fn a_token_counts_more_than_the_cookie_beside_it_and_what_is_none_counts_nothing() {
    let app = with(json!({ "bearer": {} })).build().await;
    let (signed, _) = tokens(&app).await;
    let eve = signed_up(&app, "eve@example.com").await;
    let email = |reply: narthex_testkit::Exchange| reply.json()["user"]["email"].clone();
    let with_token = eve.get("/get-session").header("authorization", &format!("Bearer {signed}")).await;
    assert_eq!(email(with_token), ADA);
    let forged = format!("Bearer {}x", signed.replace('.', "x."));
    let reply = eve.get("/get-session").header("authorization", &forged).await;
    assert_eq!(email(reply), "eve@example.com");
    let other = eve.get("/get-session").header("cookie", &format!("a=1; {COOKIE}=x; b=\"2\"; a=3"));
    let other = other.header("authorization", &format!("Bearer {signed}")).await;
    assert_eq!(email(other), ADA);
}

#[tokio::test]
async fn every_endpoint_takes_a_token_and_signing_out_ends_it() {
    let app = with(json!({ "bearer": {} })).build().await;
    let (signed, _) = tokens(&app).await;
    let credentials = format!("Bearer {signed}");
    let client = app.browser();
    let ask = |path: &'static str| client.get(path).without("origin").header("authorization", &credentials);
    assert_eq!(ask("/list-sessions").await.json().as_array().map(Vec::len), Some(1));
    let body = json!({ "name": "Ada Lovelace" });
    let reply =
        client.post("/update-user", body).without("origin").header("authorization", &credentials).await;
    assert_eq!(reply.status(), 200, "{reply}");
    assert_eq!(reply.header("set-auth-token"), signed, "the cookie is set anew");
    client.forget_cookies();
    let reply =
        client.post("/sign-out", json!({})).without("origin").header("authorization", &credentials).await;
    assert_eq!(reply.to_string(), r#"200 {"success":true}"#);
    assert_eq!(reply.header("set-auth-token"), "", "the cookie is taken back");
    assert_eq!(reply.header("access-control-expose-headers"), "");
    client.forget_cookies();
    assert_eq!(ask("/get-session").await.json(), Value::Null);
}

/// A page of another site can send a cookie along, and with it a header of its own only where CORS lets it; a token does
/// not excuse where the cookie comes from.
#[tokio::test]
async fn a_token_does_not_switch_off_the_check_of_the_origin() {
    let app = with(json!({ "bearer": {} })).build().await;
    let (signed, _) = tokens(&app).await;
    let eve = signed_up(&app, "eve@example.com").await;
    let reply = eve.post("/sign-out", json!({})).header("origin", "https://evil.example");
    let reply = reply.header("authorization", &format!("Bearer {signed}")).await;
    assert_eq!(reply.to_string(), r#"403 {"message":"Invalid origin","code":"INVALID_ORIGIN"}"#);
}

#[tokio::test]
async fn without_the_plugin_a_token_is_nothing() {
    let app = narthex_testkit::TestApp::new().await;
    let browser = app.browser();
    let body = json!({ "name": "Ada", "email": ADA, "password": "correct horse battery" });
    let reply = browser.post("/sign-up/email", body).await;
    assert_eq!(reply.header("set-auth-token"), "");
    let bare = reply.json()["token"].as_str().expect("a token").to_owned();
    let reply = app.browser().get("/get-session").header("authorization", &format!("Bearer {bare}")).await;
    assert_eq!(reply.json(), Value::Null);
}
