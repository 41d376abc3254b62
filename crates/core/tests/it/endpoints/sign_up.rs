//! `POST /sign-up/email`

use crate::support::{ADA, PASSWORD, ada};
use http::Method;
use insta::assert_snapshot;
use narthex_testkit::TestApp;
use serde_json::json;

#[tokio::test]
async fn a_new_account_is_signed_in_and_has_three_rows() {
    let app = TestApp::new().await;
    let browser = app.browser();
    let body = json!({ "name": "Ada", "email": "Ada@Example.com", "password": PASSWORD, "image": "https://a.b/c.png" });
    let reply = browser
        .post("/sign-up/email", body)
        .header("user-agent", "ua/1")
        .header("x-forwarded-for", "203.0.113.9");
    assert_snapshot!(reply.await.in_full(), @r#"
    200
    content-type: application/json
    set-cookie: better-auth.session_token=[signed token]; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax

    {"token":"[token]","user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":"https://a.b/c.png","createdAt":"[now]","updatedAt":"[now]","id":"[id]"}}
    "#);
    assert_snapshot!(app.rows("user").await, @r#"{"id":"[id]","name":"Ada","email":"ada@example.com","emailVerified":false,"image":"https://a.b/c.png","createdAt":"[now]","updatedAt":"[now]"}"#);
    assert_snapshot!(app.rows("account").await, @r#"{"id":"[id]","accountId":"[id]","providerId":"credential","userId":"[id]","accessToken":null,"refreshToken":null,"idToken":null,"accessTokenExpiresAt":null,"refreshTokenExpiresAt":null,"scope":null,"password":"[bcrypt]","createdAt":"[now]","updatedAt":"[now]"}"#);
    assert_snapshot!(app.rows("session").await, @r#"{"id":"[id]","expiresAt":"[now+7d]","token":"[token]","createdAt":"[now]","updatedAt":"[now]","ipAddress":"203.0.113.9","userAgent":"ua/1","userId":"[id]"}"#);
    assert_snapshot!(app.rows("verification").await, @"");
}

#[tokio::test]
async fn a_form_does_as_well_as_json() {
    let app = TestApp::new().await;
    let browser = app.browser();
    let form = browser
        .request(Method::POST, "/sign-up/email")
        .form("name=Ada&email=ada%40example.com&password=correct+horse");
    assert_snapshot!(form.await, @r#"200 {"token":"[token]","user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]","id":"[id]"}}"#);
    assert_snapshot!(browser.post("/sign-in/email", crate::support::credentials()).await, @r#"200 {"redirect":false,"token":"[token]","user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]","id":"[id]"}}"#);
}

#[tokio::test]
async fn a_form_cannot_hold_a_boolean() {
    let app = TestApp::new().await;
    let form = "name=Ada&email=ada%40example.com&password=correct+horse&rememberMe=false";
    assert_snapshot!(app.browser().request(Method::POST, "/sign-up/email").form(form).await, @r#"400 {"message":"[body.rememberMe] Invalid input: expected boolean, received string","code":"VALIDATION_ERROR"}"#);
}

#[tokio::test]
async fn an_address_that_is_taken_is_refused_in_any_case() {
    let app = TestApp::new().await;
    ada(&app).await;
    let sign_up = async |email: &str| {
        let body = json!({ "name": "Eve", "email": email, "password": "another password" });
        app.browser().post("/sign-up/email", body).await.in_full()
    };
    let taken = sign_up(ADA).await;
    assert_snapshot!(taken, @r#"
    422
    content-type: application/json

    {"message":"User already exists. Use another email.","code":"USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL"}
    "#);
    assert_eq!(sign_up("ADA@example.com").await, taken);
    assert_eq!(app.rows("user").await.len(), 1);
}

#[tokio::test]
async fn all_mistakes_in_a_body_are_reported_in_order() {
    let app = TestApp::new().await;
    let browser = app.browser();
    let wrong =
        json!({ "email": "bad", "password": "", "image": 5, "callbackURL": null, "rememberMe": "yes" });
    assert_snapshot!(browser.post("/sign-up/email", wrong).await, @r#"400 {"message":"[body.name] Invalid input: expected string, received undefined; [body.email] Invalid email address; [body.password] Too small: expected string to have >=1 characters; [body.image] Invalid input: expected string, received number; [body.callbackURL] Invalid input: expected string, received null; [body.rememberMe] Invalid input: expected boolean, received string","code":"VALIDATION_ERROR"}"#);
    assert_snapshot!(browser.request(Method::POST, "/sign-up/email").await, @r#"400 {"message":"[body] Invalid input: expected object, received undefined; [body] Invalid input: expected record, received undefined","code":"VALIDATION_ERROR"}"#);
    assert_snapshot!(browser.post("/sign-up/email", json!([])).await, @r#"400 {"message":"[body] Invalid input: expected object, received array; [body] Invalid input: expected record, received array","code":"VALIDATION_ERROR"}"#);
    assert_eq!(app.rows("user").await.len(), 0);
}

#[tokio::test]
async fn what_is_no_json_or_form_is_refused() {
    let app = TestApp::new().await;
    let browser = app.browser();
    let post = || browser.request(Method::POST, "/sign-up/email");
    assert_snapshot!(post().body("application/json", "{bad").await, @r#"400 {"message":"Invalid JSON in request body","code":"BAD_REQUEST"}"#);
    assert_snapshot!(post().body("text/plain", "x").await, @r#"415 {"message":"Content-Type \"text/plain\" is not allowed. Allowed types: application/x-www-form-urlencoded, application/json","code":"UNSUPPORTED_MEDIA_TYPE"}"#);
    assert_snapshot!(post().body("multipart/form-data; boundary=x", "--x--").await, @r#"415 {"message":"Content-Type \"multipart/form-data; boundary=x\" is not allowed. Allowed types: application/x-www-form-urlencoded, application/json","code":"UNSUPPORTED_MEDIA_TYPE"}"#);
}

#[tokio::test]
async fn a_password_is_measured_in_utf_16_units() {
    let app = TestApp::with_config(|config| {
        config.email_and_password.min_password_length = 6;
        config.email_and_password.max_password_length = 8;
    });
    let app = app.await;
    let sign_up = async |number: u8, password: &str| {
        let body = json!({ "name": "A", "email": format!("a{number}@example.com"), "password": password });
        app.browser().post("/sign-up/email", body).await.to_string()
    };
    // Each of these is one character, two UTF-16 units and four bytes.
    assert_snapshot!(sign_up(1, "😀😀x").await, @r#"400 {"message":"Password too short","code":"PASSWORD_TOO_SHORT"}"#);
    assert_snapshot!(sign_up(2, "😀😀😀😀x").await, @r#"400 {"message":"Password too long","code":"PASSWORD_TOO_LONG"}"#);
    assert_snapshot!(sign_up(3, "😀😀😀").await, @r#"200 {"token":"[token]","user":{"name":"A","email":"a3@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]","id":"[id]"}}"#);
    assert_snapshot!(sign_up(4, "😀😀😀😀").await, @r#"200 {"token":"[token]","user":{"name":"A","email":"a4@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]","id":"[id]"}}"#);
    assert_eq!(app.rows("user").await.len(), 2);
}

#[tokio::test]
async fn the_default_lengths_are_8_and_128() {
    let app = TestApp::new().await;
    for (length, status) in [(7, 400), (8, 200), (128, 200), (129, 400)] {
        let email = format!("a{length}@example.com");
        let body = json!({ "name": "A", "email": email, "password": "x".repeat(length) });
        assert_eq!(app.browser().post("/sign-up/email", body).await.status(), status, "{length}");
    }
}

#[tokio::test]
async fn sign_up_can_be_switched_off() {
    let body = || json!({ "name": "Ada", "email": ADA, "password": PASSWORD });
    let app = TestApp::with_config(|config| config.email_and_password.disable_sign_up = true).await;
    assert_snapshot!(app.browser().post("/sign-up/email", body()).await, @r#"400 {"message":"Email and password sign up is not enabled","code":"EMAIL_PASSWORD_SIGN_UP_DISABLED"}"#);
    let app = TestApp::with_config(|config| config.email_and_password.enabled = false).await;
    assert_snapshot!(app.browser().post("/sign-up/email", body()).await, @r#"400 {"message":"Email and password sign up is not enabled","code":"EMAIL_PASSWORD_SIGN_UP_DISABLED"}"#);
}

#[tokio::test]
async fn without_auto_sign_in_a_taken_address_looks_like_a_new_one() {
    let app = TestApp::with_config(|config| config.email_and_password.auto_sign_in = false).await;
    let sign_up = async |name: &str| {
        let body = json!({ "name": name, "email": "Ada@example.com", "password": PASSWORD });
        let before = (app.auth().hashes(), app.store().statements());
        let reply = app.browser().post("/sign-up/email", body).await;
        (reply.in_full(), app.auth().hashes() - before.0, reply.json()["user"]["id"].clone())
    };
    let (new, new_hashes, new_id) = sign_up("Ada").await;
    assert_snapshot!(new, @r#"
    200
    content-type: application/json

    {"token":null,"user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]","id":"[id]"}}
    "#);
    let (taken, taken_hashes, taken_id) = sign_up("Ada").await;
    assert_eq!(taken, new);
    assert_eq!((new_hashes, taken_hashes), (1, 1));
    assert_ne!(new_id, taken_id, "the account that exists is not shown");
    assert_eq!(app.rows("user").await.len(), 1);
    assert_eq!(app.rows("session").await.len(), 0);
}

#[tokio::test]
async fn with_verification_required_a_sign_up_does_not_sign_in() {
    let app =
        TestApp::with_config(|config| config.email_and_password.require_email_verification = true).await;
    let browser = app.browser();
    let body = json!({ "name": "Ada", "email": ADA, "password": PASSWORD });
    assert_snapshot!(browser.post("/sign-up/email", body).await.in_full(), @r#"
    200
    content-type: application/json

    {"token":null,"user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]","id":"[id]"}}
    "#);
    assert_eq!(app.rows("session").await.len(), 0);
}

#[tokio::test]
async fn a_session_that_is_not_remembered_ends_with_the_browser_or_after_a_day() {
    let app = TestApp::new().await;
    let body = json!({ "name": "Ada", "email": ADA, "password": PASSWORD, "rememberMe": false });
    assert_snapshot!(app.browser().post("/sign-up/email", body).await.in_full(), @r#"
    200
    content-type: application/json
    set-cookie: better-auth.session_token=[signed token]; Path=/; HttpOnly; SameSite=Lax
    set-cookie: better-auth.dont_remember=[signed true]; Path=/; HttpOnly; SameSite=Lax

    {"token":"[token]","user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]","id":"[id]"}}
    "#);
    assert_snapshot!(app.rows("session").await, @r#"{"id":"[id]","expiresAt":"[now+1d]","token":"[token]","createdAt":"[now]","updatedAt":"[now]","ipAddress":"127.0.0.1","userAgent":"testkit","userId":"[id]"}"#);
}

#[tokio::test]
async fn members_that_nobody_declares_are_ignored() {
    let app = TestApp::new().await;
    let body = json!({
        "name": "Ada", "email": ADA, "password": PASSWORD,
        "id": "mine", "emailVerified": true, "role": "admin", "createdAt": "2000-01-01T00:00:00.000Z", "__proto__": { "x": 1 },
    });
    assert_snapshot!(app.browser().post("/sign-up/email", body).await, @r#"200 {"token":"[token]","user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]","id":"[id]"}}"#);
    assert_snapshot!(app.rows("user").await, @r#"{"id":"[id]","name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]"}"#);
}
