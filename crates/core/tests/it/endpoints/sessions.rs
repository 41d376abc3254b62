//! `/list-sessions`, `/revoke-session`, `/revoke-sessions`, `/revoke-other-sessions`

use crate::support::{ADA, PASSWORD, ada, again, is_signed_in, token};
use insta::assert_snapshot;
use narthex_testkit::TestApp;
use serde_json::{Value, json};
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

#[tokio::test]
async fn a_list_shows_the_live_sessions_of_one_user() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let eve = json!({ "name": "Eve", "email": "eve@example.com", "password": PASSWORD });
    let _ = app.browser().post("/sign-up/email", eve).await.expecting(200);
    app.advance(Duration::from_hours(1));
    again(&app).await;
    assert_snapshot!(browser.get("/list-sessions").await.in_full(), @r#"
    200
    content-type: application/json

    [{"expiresAt":"[now+6d23h]","token":"[token]","createdAt":"[now-1h]","updatedAt":"[now-1h]","ipAddress":"127.0.0.1","userAgent":"testkit","userId":"[id]","id":"[id]"},{"expiresAt":"[now+7d]","token":"[token]","createdAt":"[now]","updatedAt":"[now]","ipAddress":"127.0.0.1","userAgent":"testkit","userId":"[id]","id":"[id]"}]
    "#);
}

#[tokio::test]
async fn a_session_is_listed_until_the_moment_it_ends() {
    let app = TestApp::with_config(|config| {
        config.session.expires_in = 60;
        config.session.disable_session_refresh = true;
    });
    let app = app.await;
    ada(&app).await;
    app.advance(Duration::from_secs(1));
    let browser = again(&app).await;
    let listed = async || browser.get("/list-sessions").await.json().as_array().map_or(0, Vec::len);
    app.advance(Duration::from_millis(58_999));
    assert_eq!(listed().await, 2);
    app.advance(Duration::from_millis(1));
    assert_eq!(listed().await, 1);
    assert_eq!(app.rows("session").await.len(), 2, "it is left to whoever comes with its token");
}

#[tokio::test]
async fn a_list_needs_a_sign_in_of_the_last_day() {
    let app = TestApp::new().await;
    assert_snapshot!(app.browser().get("/list-sessions").await, @r#"401 {"message":"Unauthorized","code":"UNAUTHORIZED"}"#);
    let browser = ada(&app).await;
    app.advance(DAY);
    let reply = browser.get("/list-sessions").await;
    assert_eq!(reply.cookies().len(), 1, "it was renewed all the same");
    assert_snapshot!(reply, @r#"403 {"message":"Session is not fresh","code":"SESSION_NOT_FRESH"}"#);
}

#[tokio::test]
async fn one_session_can_be_ended() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let other = again(&app).await;
    let body = json!({ "token": token(&other) });
    assert_snapshot!(browser.post("/revoke-session", body.clone()).await.in_full(), @r#"
    200
    content-type: application/json

    {"status":true}
    "#);
    assert!(!is_signed_in(&other).await && is_signed_in(&browser).await);
    assert_snapshot!(browser.post("/revoke-session", body).await, @r#"200 {"status":true}"#);
}

#[tokio::test]
async fn ending_the_own_session_makes_the_browser_forget_it() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let body = json!({ "token": token(&browser) });
    assert_snapshot!(browser.post("/revoke-session", body).await.in_full(), @r#"
    200
    content-type: application/json
    set-cookie: better-auth.session_token=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax
    set-cookie: better-auth.session_data=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax
    set-cookie: better-auth.dont_remember=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax

    {"status":true}
    "#);
    assert_eq!(app.rows("session").await.len(), 0);
}

#[tokio::test]
async fn all_sessions_can_be_ended() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let other = again(&app).await;
    assert_snapshot!(browser.post("/revoke-sessions", json!({})).await.in_full(), @r#"
    200
    content-type: application/json
    set-cookie: better-auth.session_token=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax
    set-cookie: better-auth.session_data=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax
    set-cookie: better-auth.dont_remember=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax

    {"status":true}
    "#);
    assert!(!is_signed_in(&other).await);
    assert_eq!(app.rows("session").await.len(), 0);
}

#[tokio::test]
async fn all_other_sessions_can_be_ended_however_many() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let other = again(&app).await;
    app.database()
        .execute(match app.database().dialect() {
            narthex_testkit::Dialect::Sqlite => {
                r#"insert into "session" ("id", "expiresAt", "token", "createdAt", "updatedAt", "userId")
                   select 'extra-' || value, "expiresAt", 'extra-' || value, "createdAt", "updatedAt", "userId"
                   from (with recursive series(value) as (select 1 union all select value + 1 from series where value < 250)
                         select value from series), (select * from "session" limit 1)"#
            }
            narthex_testkit::Dialect::Postgres => {
                r#"insert into "session" ("id", "expiresAt", "token", "createdAt", "updatedAt", "userId")
                   select 'extra-' || value, "expiresAt", 'extra-' || value, "createdAt", "updatedAt", "userId"
                   from generate_series(1, 250) as value, (select * from "session" limit 1) as template"#
            }
        })
        .await;
    assert_eq!(browser.get("/list-sessions").await.json().as_array().map(Vec::len), Some(252));
    assert_snapshot!(browser.post("/revoke-other-sessions", json!({})).await.in_full(), @r#"
    200
    content-type: application/json

    {"status":true}
    "#);
    assert!(!is_signed_in(&other).await && is_signed_in(&browser).await);
    assert_eq!(app.rows("session").await.len(), 1);
}

#[tokio::test]
async fn nobody_ends_anything_without_a_session() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let stranger = app.browser();
    let unauthorized = r#"401 {"message":"Unauthorized","code":"UNAUTHORIZED"}"#;
    for path in ["/revoke-session", "/revoke-sessions", "/revoke-other-sessions"] {
        let reply = stranger.post(path, json!({ "token": token(&browser), "userId": ADA })).await;
        assert_eq!(reply.to_string(), unauthorized, "{path}");
    }
    assert_snapshot!(stranger.post("/revoke-session", json!({ "token": 1 })).await, @r#"400 {"message":"[body.token] Invalid input: expected string, received number","code":"VALIDATION_ERROR"}"#);
    assert!(is_signed_in(&browser).await);
}

/// Renewals and uses meet the end of the session at any moment: none fails, and none brings it back.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_used_while_it_is_ended_stays_ended() {
    let app = TestApp::with_config(|config| config.session.update_age = 0).await;
    let browser = ada(&app).await;
    let victim = again(&app).await;
    let cookies = victim.cookies();
    let uses: Vec<_> = (0..32)
        .map(|number| {
            let (app_browser, cookies, browser) = (app.browser(), cookies.clone(), browser.clone());
            let token = token(&victim);
            tokio::task::spawn(async move {
                if number == 16 {
                    browser.post("/revoke-session", json!({ "token": token })).await.status()
                } else {
                    app_browser.get("/get-session").header("cookie", &cookies).await.status()
                }
            })
        })
        .collect();
    for reply in futures_util::future::join_all(uses).await {
        let status = reply.expect("an answer");
        // Upstream answers 401 to a renewal that lost to the end of its session.
        assert!(matches!(status, 200 | 401), "{status}");
    }
    let reply = app.browser().get("/get-session").header("cookie", &cookies).await;
    assert_eq!(reply.json(), Value::Null);
    assert_eq!(app.rows("session").await.len(), 1);
}
