//! `POST /sign-out`

use crate::support::{ada, credentials};
use http::Method;
use insta::assert_snapshot;
use narthex_testkit::TestApp;
use serde_json::json;

#[tokio::test]
async fn signing_out_ends_the_session_and_forgets_the_cookies() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let cookies = browser.cookies();
    assert_snapshot!(browser.post("/sign-out", json!({})).await.in_full(), @r#"
    200
    content-type: application/json
    set-cookie: better-auth.session_token=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax
    set-cookie: better-auth.session_data=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax
    set-cookie: better-auth.dont_remember=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax

    {"success":true}
    "#);
    assert_eq!(browser.cookies(), "");
    assert_eq!(app.rows("session").await.len(), 0);
    // Whoever has kept the cookie has nothing.
    assert_snapshot!(app.browser().get("/get-session").header("cookie", &cookies).await, @"200 null");
}

#[tokio::test]
async fn other_sessions_of_the_same_person_live_on() {
    let app = TestApp::new().await;
    let (here, there) = (ada(&app).await, app.browser());
    let _ = there.post("/sign-in/email", credentials()).await.expecting(200);
    let _ = here.post("/sign-out", json!({})).await.expecting(200);
    assert_eq!(app.rows("session").await.len(), 1);
    assert_eq!(there.get("/get-session").await.json()["user"]["name"], "Ada");
}

#[tokio::test]
async fn signing_out_without_a_session_or_a_body_succeeds() {
    let app = TestApp::new().await;
    assert_snapshot!(app.browser().request(Method::POST, "/sign-out").await.in_full(), @r#"
    200
    content-type: application/json
    set-cookie: better-auth.session_token=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax
    set-cookie: better-auth.session_data=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax
    set-cookie: better-auth.dont_remember=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax

    {"success":true}
    "#);
}

#[tokio::test]
async fn the_body_is_checked_when_there_is_one() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    assert_snapshot!(browser.post("/sign-out", json!({ "disableRedirect": "yes" })).await, @r#"400 {"message":"[body.disableRedirect] Invalid input: expected boolean, received string","code":"VALIDATION_ERROR"}"#);
    assert_snapshot!(browser.request(Method::POST, "/sign-out").form("state=x").await, @r#"415 {"message":"Content-Type \"application/x-www-form-urlencoded\" is not allowed. Allowed types: application/json","code":"UNSUPPORTED_MEDIA_TYPE"}"#);
    assert_eq!(app.rows("session").await.len(), 1);
}

#[tokio::test]
async fn a_cookie_we_have_not_signed_ends_nobodys_session() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let signed = browser.cookie("better-auth.session_token").expect("signed in");
    let token = signed.split('.').next().expect("a token");
    let forged = format!("better-auth.session_token={token}.{}", "A".repeat(43) + "%3D");
    assert_snapshot!(app.browser().post("/sign-out", json!({})).header("cookie", &forged).await, @r#"200 {"success":true}"#);
    assert_eq!(app.rows("session").await.len(), 1);
}
