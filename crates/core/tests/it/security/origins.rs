//! Another site cannot make a browser act here, nor sign it in to an account of its own.

use crate::support::{ADA, PASSWORD, ada, credentials};
use http::Method;
use insta::assert_snapshot;
use narthex::OriginCheck;
use narthex_testkit::TestApp;
use serde_json::json;

const FORM: &str = "name=Ada&email=ada%40example.com&password=correct+horse";

#[tokio::test]
async fn a_request_with_cookies_must_come_from_a_trusted_origin() {
    let app = TestApp::with_config(|config| {
        config.trusted_origins =
            vec!["https://app.example.com".to_owned(), "https://*.trusted.example".to_owned()];
    })
    .await;
    let browser = ada(&app).await;
    let post = || browser.post("/sign-out", json!({}));
    assert_snapshot!(post().without("origin").await, @r#"403 {"message":"Missing or null Origin","code":"MISSING_OR_NULL_ORIGIN"}"#);
    assert_snapshot!(post().header("origin", "https://evil.example").await, @r#"403 {"message":"Invalid origin","code":"INVALID_ORIGIN"}"#);
    for origin in [
        "null",
        "",
        "http://localhost:3002",
        "http://localhost",
        "https://localhost:3001",
        "http://localhost:3001.evil.example",
        "http://localhost:3001@evil.example",
        "http://evil.example/http://localhost:3001",
        "https://app.example.com.evil.example",
        "https://evilapp.example.com",
        "http://app.example.com",
        "https://app.example.com:444",
        "https://trusted.example",
        "https://eviltrusted.example",
        "https://x.trusted.example.evil.example",
        "file://",
        "javascript:alert(1)",
    ] {
        assert_eq!(post().header("origin", origin).await.status(), 403, "{origin}");
    }
    assert_eq!(app.rows("session").await.len(), 1);
    for origin in ["https://app.example.com", "https://x.trusted.example", "http://localhost:3001"] {
        assert_eq!(post().header("origin", origin).await.status(), 200, "{origin}");
    }
}

#[tokio::test]
async fn the_referer_stands_in_for_an_origin_that_is_not_there() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let post = |referer| browser.post("/sign-out", json!({})).without("origin").header("referer", referer);
    assert_snapshot!(post("https://evil.example/x").await, @r#"403 {"message":"Invalid origin","code":"INVALID_ORIGIN"}"#);
    assert_snapshot!(post("https://evil.example/http://localhost:3001/").await, @r#"403 {"message":"Invalid origin","code":"INVALID_ORIGIN"}"#);
    assert_snapshot!(post("http://localhost:3001/settings?x=y").await, @r#"200 {"success":true}"#);
}

#[tokio::test]
async fn a_null_origin_counts_as_ours_only_when_the_browser_says_same_origin() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let post = || browser.post("/sign-in/email", credentials()).header("origin", "null");
    assert_snapshot!(post().await, @r#"403 {"message":"Missing or null Origin","code":"MISSING_OR_NULL_ORIGIN"}"#);
    assert_eq!(post().header("sec-fetch-site", "cross-site").await.status(), 403);
    assert_eq!(post().header("sec-fetch-site", "same-site").await.status(), 403);
    assert_eq!(post().header("sec-fetch-site", "none").await.status(), 403);
    assert_eq!(post().header("sec-fetch-site", "same-origin").await.status(), 200);
    // Its own origin is the one it was sent to, and that one has to be trusted.
    let elsewhere = post().header("sec-fetch-site", "same-origin").header("host", "evil.example");
    assert_snapshot!(elsewhere.await, @r#"403 {"message":"Invalid origin","code":"INVALID_ORIGIN"}"#);
}

#[tokio::test]
async fn a_form_without_cookies_cannot_sign_a_browser_in() {
    let app = TestApp::new().await;
    ada(&app).await;
    for path in ["/sign-in/email", "/sign-up/email"] {
        let form = || {
            let call = app.browser().request(Method::POST, path).without("origin").form(FORM);
            call.header("sec-fetch-site", "cross-site")
                .header("sec-fetch-mode", "navigate")
                .header("sec-fetch-dest", "document")
        };
        let reply = form().await.to_string();
        assert_eq!(form().header("origin", "http://localhost:3001").await.to_string(), reply, "{path}");
        assert_eq!(
            reply,
            r#"403 {"message":"Cross-site navigation login blocked. This request appears to be a CSRF attack.","code":"CROSS_SITE_NAVIGATION_LOGIN_BLOCKED"}"#
        );
    }
    assert_eq!(app.rows("session").await.len(), 1);
}

#[tokio::test]
async fn login_csrf_what_fetch_metadata_or_an_origin_gives_away_is_checked() {
    let app = TestApp::new().await;
    ada(&app).await;
    let post = || app.browser().post("/sign-in/email", credentials());
    for (site, mode) in
        [("cross-site", "no-cors"), ("cross-site", "cors"), ("same-origin", "cors"), ("", "navigate")]
    {
        let fetch = || post().header("sec-fetch-site", site).header("sec-fetch-mode", mode);
        assert_eq!(fetch().without("origin").await.status(), 403, "{site} {mode} without an origin");
        assert_eq!(
            fetch().header("origin", "https://evil.example").await.status(),
            403,
            "{site} {mode} from elsewhere"
        );
        assert_eq!(fetch().await.status(), 200, "{site} {mode} from us");
    }
    assert_eq!(post().without("origin").header("sec-fetch-dest", "empty").await.status(), 403);
    assert_snapshot!(post().header("origin", "https://evil.example").await, @r#"403 {"message":"Invalid origin","code":"INVALID_ORIGIN"}"#);
    assert_snapshot!(post().without("origin").header("referer", "https://evil.example/").await, @r#"403 {"message":"Invalid origin","code":"INVALID_ORIGIN"}"#);
    assert_eq!(post().without("origin").await.status(), 200, "what says nothing at all is no browser");
}

#[tokio::test]
async fn the_checks_can_be_switched_off_together_or_by_path() {
    let evil = |app: &TestApp, path: &str| {
        let body = json!({ "name": "Ada", "email": ADA, "password": PASSWORD, "callbackURL": "https://evil.example" });
        app.browser().post(path, body).header("cookie", "x=1").header("origin", "https://evil.example")
    };
    let app = TestApp::with_config(|config| {
        config.advanced.disable_origin_check = Some(OriginCheck::Everywhere(true));
    })
    .await;
    assert_eq!(evil(&app, "/sign-up/email").await.status(), 200);

    let app = TestApp::with_config(|config| config.advanced.disable_csrf_check = Some(true)).await;
    assert_snapshot!(evil(&app, "/sign-up/email").await, @r#"403 {"message":"Invalid callbackURL","code":"INVALID_CALLBACK_URL"}"#);

    let only = vec!["/sign-up".to_owned()];
    let app =
        TestApp::with_config(|config| config.advanced.disable_origin_check = Some(OriginCheck::Paths(only)))
            .await;
    assert_eq!(evil(&app, "/sign-up/email").await.status(), 200);
    assert_eq!(evil(&app, "/sign-in/email").await.status(), 403);

    let only = vec!["/sign".to_owned()];
    let app =
        TestApp::with_config(|config| config.advanced.disable_origin_check = Some(OriginCheck::Paths(only)))
            .await;
    assert_eq!(evil(&app, "/sign-up/email").await.status(), 403, "a prefix ends with a segment");
}

#[tokio::test]
async fn ghsa_569q_mpph_wgww_the_host_a_client_names_decides_nothing() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let headers = [
        "host",
        "x-forwarded-host",
        "x-forwarded-proto",
        "forwarded",
        "x-original-url",
        "x-rewrite-url",
        "x-http-method-override",
    ];
    let values = [
        "evil.example",
        "evil.example",
        "https",
        "host=evil.example;proto=https",
        "/sign-out",
        "/sign-out",
        "DELETE",
    ];
    let call = |path: &str| {
        headers.iter().zip(values).fold(browser.get(path), |call, (name, value)| call.header(name, value))
    };
    assert_eq!(call("/get-session").await.in_full(), browser.get("/get-session").await.in_full());
    let sign_in = |path: &str| {
        headers
            .iter()
            .zip(values)
            .fold(browser.post(path, credentials()), |call, (name, value)| call.header(name, value))
    };
    let reply = sign_in("/sign-in/email").await;
    assert_eq!(reply.in_full(), browser.post("/sign-in/email", credentials()).await.in_full());
    // An origin is not trusted because the request was sent there.
    assert_eq!(sign_in("/sign-in/email").header("origin", "https://evil.example").await.status(), 403);
    assert_eq!(sign_in("/sign-in/email").header("origin", "http://evil.example").await.status(), 403);
}
