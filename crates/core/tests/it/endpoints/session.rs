//! `/get-session`

use crate::support::{ADA, PASSWORD, ada};
use http::{HeaderMap, Method};
use insta::assert_snapshot;
use narthex_testkit::{Dialect, TestApp};
use serde_json::{Value, json};
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const MILLISECOND: Duration = Duration::from_millis(1);

#[tokio::test]
async fn a_session_and_whose_it_is() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let commits = app.store().commits();
    let statements = app.store().statements();
    assert_snapshot!(browser.get("/get-session").await.in_full(), @r#"
    200
    cache-control: no-store
    content-type: application/json
    pragma: no-cache

    {"session":{"expiresAt":"[now+7d]","token":"[token]","createdAt":"[now]","updatedAt":"[now]","ipAddress":"127.0.0.1","userAgent":"testkit","userId":"[id]","id":"[id]"},"user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]","id":"[id]"}}
    "#);
    assert_eq!(app.store().statements() - statements, 1);
    assert_eq!(app.store().commits(), commits);
}

#[tokio::test]
async fn nobody_is_signed_in_without_a_cookie() {
    let app = TestApp::new().await;
    let statements = app.store().statements();
    assert_snapshot!(app.browser().get("/get-session").await.in_full(), @r#"
    200
    cache-control: no-store
    content-type: application/json
    pragma: no-cache

    null
    "#);
    assert_eq!(app.store().statements(), statements);
}

#[tokio::test]
async fn a_session_ends_a_millisecond_after_its_time() {
    let app = TestApp::with_config(|config| config.session.disable_session_refresh = true).await;
    let browser = ada(&app).await;
    app.advance(7 * DAY);
    assert_eq!(browser.get("/get-session").await.json()["user"]["email"], ADA);
    assert_eq!(app.rows("session").await.len(), 1);
    app.advance(MILLISECOND);
    assert_snapshot!(browser.get("/get-session").await.in_full(), @r#"
    200
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    set-cookie: better-auth.session_token=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax
    set-cookie: better-auth.session_data=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax
    set-cookie: better-auth.dont_remember=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax

    null
    "#);
    assert_eq!(app.rows("session").await.len(), 0);
    assert_eq!(browser.cookies(), "");
}

#[tokio::test]
async fn a_session_used_a_day_after_its_renewal_is_renewed() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    app.advance(DAY.saturating_sub(MILLISECOND));
    let reply = browser.get("/get-session").await;
    assert_eq!(reply.cookies(), Vec::<String>::new());
    assert_snapshot!(reply, @r#"200 {"session":{"expiresAt":"[now+6d1ms]","token":"[token]","createdAt":"[now-23h59m59s999ms]","updatedAt":"[now-23h59m59s999ms]","ipAddress":"127.0.0.1","userAgent":"testkit","userId":"[id]","id":"[id]"},"user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now-23h59m59s999ms]","updatedAt":"[now-23h59m59s999ms]","id":"[id]"}}"#);
    app.advance(MILLISECOND);
    assert_snapshot!(browser.get("/get-session").await.in_full(), @r#"
    200
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    set-cookie: better-auth.session_token=[signed token]; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax

    {"session":{"expiresAt":"[now+7d]","token":"[token]","createdAt":"[now-1d]","updatedAt":"[now]","ipAddress":"127.0.0.1","userAgent":"testkit","userId":"[id]","id":"[id]"},"user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now-1d]","updatedAt":"[now-1d]","id":"[id]"}}
    "#);
    assert_snapshot!(app.rows("session").await, @r#"{"id":"[id]","expiresAt":"[now+7d]","token":"[token]","createdAt":"[now-1d]","updatedAt":"[now]","ipAddress":"127.0.0.1","userAgent":"testkit","userId":"[id]"}"#);
    // A visitor who comes every day stays for ever.
    for _ in 0..10 {
        app.advance(6 * DAY);
        assert_eq!(browser.get("/get-session").await.json()["user"]["email"], ADA);
    }
}

#[tokio::test]
async fn how_long_and_how_often_can_be_set() {
    let app = TestApp::with_config(|config| {
        config.session.expires_in = 7_200;
        config.session.update_age = 0;
    });
    let app = app.await;
    let browser = ada(&app).await;
    app.advance(HOUR);
    assert_snapshot!(browser.get("/get-session").await.in_full(), @r#"
    200
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    set-cookie: better-auth.session_token=[signed token]; Max-Age=7200; Path=/; HttpOnly; SameSite=Lax

    {"session":{"expiresAt":"[now+2h]","token":"[token]","createdAt":"[now-1h]","updatedAt":"[now]","ipAddress":"127.0.0.1","userAgent":"testkit","userId":"[id]","id":"[id]"},"user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now-1h]","updatedAt":"[now-1h]","id":"[id]"}}
    "#);
    app.advance(2 * HOUR + MILLISECOND);
    assert_snapshot!(browser.get("/get-session").await, @"200 null");
}

#[tokio::test]
async fn a_session_that_is_not_remembered_is_never_renewed() {
    let app = TestApp::new().await;
    let browser = app.browser();
    let body = json!({ "name": "Ada", "email": ADA, "password": PASSWORD, "rememberMe": false });
    let _ = browser.post("/sign-up/email", body).await.expecting(200);
    app.advance(DAY);
    let reply = browser.get("/get-session").await;
    assert_eq!(reply.cookies(), Vec::<String>::new());
    assert_snapshot!(reply, @r#"200 {"session":{"expiresAt":"[now]","token":"[token]","createdAt":"[now-1d]","updatedAt":"[now-1d]","ipAddress":"127.0.0.1","userAgent":"testkit","userId":"[id]","id":"[id]"},"user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now-1d]","updatedAt":"[now-1d]","id":"[id]"}}"#);
    app.advance(MILLISECOND);
    assert_snapshot!(browser.get("/get-session").await, @"200 null");
}

#[tokio::test]
async fn renewal_can_be_left_out_once_or_for_good() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    app.advance(2 * DAY);
    let reply = browser.get("/get-session?disableRefresh=true").await;
    assert_eq!(reply.cookies(), Vec::<String>::new());
    assert_snapshot!(reply, @r#"200 {"session":{"expiresAt":"[now+5d]","token":"[token]","createdAt":"[now-2d]","updatedAt":"[now-2d]","ipAddress":"127.0.0.1","userAgent":"testkit","userId":"[id]","id":"[id]"},"user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now-2d]","updatedAt":"[now-2d]","id":"[id]"}}"#);
    let reply = browser.get("/get-session").await;
    assert_eq!(reply.cookies().len(), 1);

    let app = TestApp::with_config(|config| config.session.disable_session_refresh = true).await;
    let browser = ada(&app).await;
    app.advance(2 * DAY);
    let reply = browser.get("/get-session").await;
    assert_eq!(reply.cookies(), Vec::<String>::new());
    assert_snapshot!(reply, @r#"200 {"session":{"expiresAt":"[now+5d]","token":"[token]","createdAt":"[now-2d]","updatedAt":"[now-2d]","ipAddress":"127.0.0.1","userAgent":"testkit","userId":"[id]","id":"[id]"},"user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now-2d]","updatedAt":"[now-2d]","id":"[id]"}}"#);
}

#[tokio::test]
async fn post_is_refused_unless_renewal_is_deferred() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    assert_snapshot!(browser.post("/get-session", json!({})).await.in_full(), @r#"
    405
    cache-control: no-store
    content-type: application/json
    pragma: no-cache

    {"message":"POST method requires deferSessionRefresh to be enabled in session config","code":"METHOD_NOT_ALLOWED_DEFER_SESSION_REQUIRED"}
    "#);
}

#[tokio::test]
async fn deferred_get_reads_and_post_renews() {
    let app = TestApp::with_config(|config| config.session.defer_session_refresh = true).await;
    let browser = ada(&app).await;
    assert_snapshot!(browser.get("/get-session").await, @r#"200 {"session":{"expiresAt":"[now+7d]","token":"[token]","createdAt":"[now]","updatedAt":"[now]","ipAddress":"127.0.0.1","userAgent":"testkit","userId":"[id]","id":"[id]"},"user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]","id":"[id]"},"needsRefresh":false}"#);
    app.advance(DAY);
    let commits = app.store().commits();
    assert_snapshot!(browser.get("/get-session").await.in_full(), @r#"
    200
    cache-control: no-store
    content-type: application/json
    pragma: no-cache

    {"session":{"expiresAt":"[now+6d]","token":"[token]","createdAt":"[now-1d]","updatedAt":"[now-1d]","ipAddress":"127.0.0.1","userAgent":"testkit","userId":"[id]","id":"[id]"},"user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now-1d]","updatedAt":"[now-1d]","id":"[id]"},"needsRefresh":true}
    "#);
    assert_eq!(app.store().commits(), commits, "GET has not written");
    assert_snapshot!(browser.request(Method::POST, "/get-session").await.in_full(), @r#"
    200
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    set-cookie: better-auth.session_token=[signed token]; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax

    {"session":{"expiresAt":"[now+7d]","token":"[token]","createdAt":"[now-1d]","updatedAt":"[now]","ipAddress":"127.0.0.1","userAgent":"testkit","userId":"[id]","id":"[id]"},"user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now-1d]","updatedAt":"[now-1d]","id":"[id]"}}
    "#);
    assert_snapshot!(browser.get("/get-session").await, @r#"200 {"session":{"expiresAt":"[now+7d]","token":"[token]","createdAt":"[now-1d]","updatedAt":"[now]","ipAddress":"127.0.0.1","userAgent":"testkit","userId":"[id]","id":"[id]"},"user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now-1d]","updatedAt":"[now-1d]","id":"[id]"},"needsRefresh":false}"#);
}

#[tokio::test]
async fn deferred_get_leaves_an_expired_session_for_post_to_remove() {
    let app = TestApp::with_config(|config| config.session.defer_session_refresh = true).await;
    let browser = ada(&app).await;
    let cookies = browser.cookies();
    app.advance(8 * DAY);
    assert_snapshot!(browser.get("/get-session").await, @"200 null");
    assert_eq!(app.rows("session").await.len(), 1);
    let post = browser.request(Method::POST, "/get-session").header("cookie", &cookies);
    assert_snapshot!(post.await, @"200 null");
    assert_eq!(app.rows("session").await.len(), 0);
}

#[tokio::test]
async fn a_query_is_read_as_javascript_reads_booleans() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    app.advance(2 * DAY);
    for query in [
        "disableRefresh=1",
        "disableRefresh=false",
        "disableRefresh=x&disableCookieCache=true",
        "disableRefresh=a&disableRefresh=b",
    ] {
        let reply = browser.get(&format!("/get-session?{query}")).await;
        assert_eq!((reply.status(), reply.cookies().len()), (200, 0), "{query}");
    }
    assert_eq!(browser.get("/get-session?disableRefresh=").await.cookies().len(), 1);
}

#[tokio::test]
async fn a_session_whose_row_is_gone_is_nobodys() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    app.database().execute(r#"delete from "session""#).await;
    assert_snapshot!(browser.get("/get-session").await.in_full(), @r#"
    200
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    set-cookie: better-auth.session_token=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax
    set-cookie: better-auth.session_data=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax
    set-cookie: better-auth.dont_remember=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax

    null
    "#);
}

#[tokio::test]
async fn a_session_goes_with_its_user() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    app.database()
        .execute(r#"pragma foreign_keys = on; delete from "user""#.trim_start_matches(pragma(&app)))
        .await;
    assert_eq!(app.rows("session").await.len(), 0);
    assert_snapshot!(browser.get("/get-session").await, @"200 null");
}

/// What PostgreSQL does not know and does not need.
fn pragma(app: &TestApp) -> &'static str {
    match app.database().dialect() {
        narthex_testkit::Dialect::Sqlite => "",
        narthex_testkit::Dialect::Postgres => "pragma foreign_keys = on; ",
    }
}

#[tokio::test]
async fn a_cookie_that_was_tampered_with_is_nobodys() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let good = browser.cookie("better-auth.session_token").expect("signed in");
    let (token, signature) = good.split_once('.').expect("signed");
    let other_token = format!("{}{}", if token.starts_with('a') { "b" } else { "a" }, &token[1..]);
    let other_signature =
        format!("{}{}", if signature.starts_with('A') { "B" } else { "A" }, &signature[1..]);
    let get = async |cookie: String| {
        let cookie = format!("better-auth.session_token={cookie}");
        app.browser().get("/get-session").header("cookie", &cookie).await
    };
    assert_eq!(get(good.clone()).await.json()["user"]["email"], ADA);
    for cookie in [
        format!("{other_token}.{signature}"),
        format!("{token}.{other_signature}"),
        format!("{token}.{}", signature.trim_end_matches("%3D")),
        format!("{token}."),
        token.to_owned(),
        format!(".{signature}"),
        format!("{token}.{signature}{signature}"),
        format!("{token}\u{0}.{signature}").replace('\0', "%00"),
        format!("{token}.%zz"),
        "%".to_owned(),
        String::new(),
        "x".repeat(4_000),
    ] {
        let reply = get(cookie.clone()).await;
        assert_eq!((reply.status(), reply.json()), (200, Value::Null), "{cookie}");
    }
    assert_eq!(app.rows("session").await.len(), 1);
}

#[tokio::test]
async fn a_cookie_of_another_secret_is_nobodys() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let other = TestApp::builder().database(app.database()).seed(2);
    let other = other
        .config(|config| config.secret = Some("another-secret-that-is-long-enough-too".into()))
        .build()
        .await;
    let reply = other.browser().get("/get-session").header("cookie", &browser.cookies()).await;
    assert_snapshot!(reply, @"200 null");
}

#[tokio::test]
async fn leftover_pieces_of_a_session_cache_are_forgotten() {
    let app = TestApp::new().await;
    let browser = app.browser();
    browser.set_cookie("better-auth.session_data.0", "x");
    browser.set_cookie("better-auth.session_data.1", "y");
    assert_snapshot!(browser.get("/get-session").await.cookies().join("\n"), @r#"
    better-auth.session_data.0=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax
    better-auth.session_data.1=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax
    "#);
    assert_eq!(browser.cookies(), "");
}

#[tokio::test]
async fn an_application_asks_in_process() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let mut headers = HeaderMap::new();
    assert!(app.auth().session(&headers).await.expect("asked").is_none());
    headers.insert("cookie", browser.cookies().parse().expect("a header"));
    let signed_in = app.auth().session(&headers).await.expect("asked").expect("signed in");
    assert_eq!(signed_in.user.email, ADA);
    assert_eq!(signed_in.session.user_id, signed_in.user.id);
    app.advance(7 * DAY + MILLISECOND);
    assert!(app.auth().session(&headers).await.expect("asked").is_none());
    assert_eq!(app.rows("session").await.len(), 1, "asking writes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_commits_while_an_ended_session_is_being_deleted_is_kept() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let cookies = browser.cookies();
    app.advance(8 * DAY);
    let renewed = r#"update "session" set "expiresAt" = '2026-02-02T03:04:05.678Z'"#;
    let renewal = app.database().hold(renewed).await;
    let call = app.browser().get("/get-session").header("cookie", &cookies);
    let asking = tokio::task::spawn(async move { call.await.to_string() });
    // Long enough to have read that the session has ended, and to wait for the renewal.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!asking.is_finished());
    renewal.release().await;
    assert_eq!(asking.await.expect("an answer"), "200 null");
    let again = app.browser().get("/get-session").header("cookie", &cookies).await;
    assert_eq!(again.json()["user"]["email"], ADA);
}

/// Other programs write finer times than ours, which knows milliseconds.
#[tokio::test]
async fn an_ended_session_is_deleted_whoever_wrote_when_it_ends() {
    let app = TestApp::new().await;
    let finer = match app.database().dialect() {
        Dialect::Sqlite => r#"update "session" set "expiresAt" = '2026-01-03 03:04:05.678901'"#,
        Dialect::Postgres => r#"update "session" set "expiresAt" = '2026-01-03 03:04:05.678901+00'"#,
    };
    let browser = ada(&app).await;
    app.database().execute(finer).await;
    app.advance(8 * DAY);
    assert_eq!(browser.get("/get-session").await.to_string(), "200 null");
    assert!(app.rows("session").await.is_empty());
}
