//! `POST /sign-in/email`

use crate::support::{ADA, PASSWORD, ada, credentials};
use http::Method;
use insta::assert_snapshot;
use narthex_testkit::TestApp;
use serde_json::json;

#[tokio::test]
async fn the_right_password_signs_in() {
    let app = TestApp::new().await;
    ada(&app).await;
    let browser = app.browser();
    assert_snapshot!(browser.post("/sign-in/email", credentials()).await.in_full(), @r#"
    200
    content-type: application/json
    set-cookie: better-auth.session_token=[signed token]; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax

    {"redirect":false,"token":"[token]","user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]","id":"[id]"}}
    "#);
    assert_snapshot!(browser.get("/get-session").await, @r#"200 {"session":{"expiresAt":"[now+7d]","token":"[token]","createdAt":"[now]","updatedAt":"[now]","ipAddress":"127.0.0.1","userAgent":"testkit","userId":"[id]","id":"[id]"},"user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]","id":"[id]"}}"#);
}

#[tokio::test]
async fn the_address_is_compared_without_case() {
    let app = TestApp::new().await;
    ada(&app).await;
    let body = json!({ "email": "ADA@EXAMPLE.COM", "password": PASSWORD });
    assert_eq!(app.browser().post("/sign-in/email", body).await.status(), 200);
}

#[tokio::test]
async fn a_form_signs_in() {
    let app = TestApp::new().await;
    ada(&app).await;
    let form = "email=ada%40example.com&password=correct+horse";
    assert_snapshot!(app.browser().request(Method::POST, "/sign-in/email").form(form).await, @r#"200 {"redirect":false,"token":"[token]","user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]","id":"[id]"}}"#);
}

#[tokio::test]
async fn a_callback_is_answered_as_url_and_location() {
    let app = TestApp::new().await;
    ada(&app).await;
    let browser = app.browser();
    let body = json!({ "email": ADA, "password": PASSWORD, "callbackURL": "/dash" });
    assert_snapshot!(browser.post("/sign-in/email", body).await.in_full(), @r#"
    200
    content-type: application/json
    location: /dash
    set-cookie: better-auth.session_token=[signed token]; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax

    {"redirect":true,"token":"[token]","url":"/dash","user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]","id":"[id]"}}
    "#);
    let body = json!({ "email": ADA, "password": PASSWORD, "callbackURL": "" });
    let reply = browser.post("/sign-in/email", body).await;
    assert_eq!(reply.header("location"), "");
    assert_snapshot!(reply, @r#"200 {"redirect":false,"token":"[token]","url":"","user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]","id":"[id]"}}"#);
}

#[tokio::test]
async fn a_session_that_is_not_remembered_says_so_in_a_second_cookie() {
    let app = TestApp::new().await;
    ada(&app).await;
    let browser = app.browser();
    let body = json!({ "email": ADA, "password": PASSWORD, "rememberMe": false });
    assert_snapshot!(browser.post("/sign-in/email", body).await.in_full(), @r#"
    200
    content-type: application/json
    set-cookie: better-auth.session_token=[signed token]; Path=/; HttpOnly; SameSite=Lax
    set-cookie: better-auth.dont_remember=[signed true]; Path=/; HttpOnly; SameSite=Lax

    {"redirect":false,"token":"[token]","user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]","id":"[id]"}}
    "#);
    // The next sign-in that is remembered takes the second cookie back.
    assert_snapshot!(browser.post("/sign-in/email", credentials()).await.in_full(), @r#"
    200
    content-type: application/json
    set-cookie: better-auth.session_token=[signed token]; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax
    set-cookie: better-auth.dont_remember=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax

    {"redirect":false,"token":"[token]","user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]","id":"[id]"}}
    "#);
    assert_eq!(browser.cookie("better-auth.dont_remember"), None);
}

#[tokio::test]
async fn an_unknown_address_and_a_wrong_password_are_answered_alike() {
    let app = TestApp::new().await;
    ada(&app).await;
    let sign_in = async |email: &str, password: &str| {
        let reply =
            app.browser().post("/sign-in/email", json!({ "email": email, "password": password })).await;
        reply.in_full()
    };
    let wrong = sign_in(ADA, "wrong password").await;
    assert_snapshot!(wrong, @r#"
    401
    content-type: application/json

    {"message":"Invalid email or password","code":"INVALID_EMAIL_OR_PASSWORD"}
    "#);
    assert_eq!(sign_in("nobody@example.com", "wrong password").await, wrong);
    assert_eq!(sign_in("nobody@example.com", PASSWORD).await, wrong);
    assert_eq!(sign_in(ADA, "").await, wrong);
}

#[tokio::test]
async fn what_is_no_address_or_too_long_for_a_password_is_refused() {
    let app = TestApp::new().await;
    let browser = app.browser();
    assert_snapshot!(browser.post("/sign-in/email", json!({ "email": "bad", "password": "x" })).await, @r#"400 {"message":"Invalid email","code":"INVALID_EMAIL"}"#);
    let body = json!({ "email": ADA, "password": "x".repeat(129) });
    assert_snapshot!(browser.post("/sign-in/email", body).await, @r#"400 {"message":"Password too long","code":"PASSWORD_TOO_LONG"}"#);
    assert_snapshot!(browser.post("/sign-in/email", json!({ "email": 5, "rememberMe": 1 })).await, @r#"400 {"message":"[body.email] Invalid input: expected string, received number; [body.password] Invalid input: expected string, received undefined; [body.rememberMe] Invalid input: expected boolean, received number","code":"VALIDATION_ERROR"}"#);
    assert_snapshot!(browser.request(Method::POST, "/sign-in/email").await, @r#"400 {"message":"[body] Invalid input: expected object, received undefined","code":"VALIDATION_ERROR"}"#);
}

#[tokio::test]
async fn sign_in_can_be_switched_off() {
    let app = TestApp::with_config(|config| config.email_and_password.enabled = false).await;
    assert_snapshot!(app.browser().post("/sign-in/email", credentials()).await, @r#"400 {"message":"Email and password is not enabled","code":"EMAIL_PASSWORD_DISABLED"}"#);
}

#[tokio::test]
async fn an_address_that_is_not_verified_is_refused_only_with_the_right_password() {
    let app =
        TestApp::with_config(|config| config.email_and_password.require_email_verification = true).await;
    ada(&app).await;
    let browser = app.browser();
    assert_snapshot!(browser.post("/sign-in/email", credentials()).await.in_full(), @r#"
    403
    content-type: application/json

    {"message":"Email not verified","code":"EMAIL_NOT_VERIFIED"}
    "#);
    let wrong = json!({ "email": ADA, "password": "wrong password" });
    assert_snapshot!(browser.post("/sign-in/email", wrong).await, @r#"401 {"message":"Invalid email or password","code":"INVALID_EMAIL_OR_PASSWORD"}"#);
    assert_eq!(app.rows("session").await.len(), 0);

    app.database().execute(r#"update "user" set "emailVerified" = (1 = 1)"#).await;
    assert_snapshot!(browser.post("/sign-in/email", credentials()).await, @r#"200 {"redirect":false,"token":"[token]","user":{"name":"Ada","email":"ada@example.com","emailVerified":true,"image":null,"createdAt":"[now]","updatedAt":"[now]","id":"[id]"}}"#);
}

#[tokio::test]
async fn every_sign_in_has_a_session_of_its_own() {
    let app = TestApp::new().await;
    let first = ada(&app).await;
    let second = app.browser();
    let _ = second.post("/sign-in/email", credentials()).await.expecting(200);
    assert_ne!(first.cookies(), second.cookies());
    assert_eq!(app.rows("session").await.len(), 2);
    let token = |json: serde_json::Value| json["session"]["token"].clone();
    assert_ne!(token(first.get("/get-session").await.json()), token(second.get("/get-session").await.json()));
}

#[tokio::test]
async fn over_https_the_cookies_are_secure_and_say_so_in_their_names() {
    let app = TestApp::with_config(|config| config.base_url = "https://auth.example.com".to_owned()).await;
    let browser = ada(&app).await;
    assert!(browser.cookie("__Secure-better-auth.session_token").is_some());
    let reply = browser.post("/sign-in/email", credentials()).await;
    assert_snapshot!(reply.cookies().join("\n"), @"__Secure-better-auth.session_token=[signed token]; Max-Age=604800; Path=/; HttpOnly; Secure; SameSite=Lax");
    assert_eq!(browser.get("/get-session").await.json()["user"]["email"], ADA);
}

#[tokio::test]
async fn cookies_can_be_given_another_prefix() {
    let app = TestApp::with_config(|config| config.advanced.cookie_prefix = Some("mine".to_owned())).await;
    let browser = ada(&app).await;
    assert_snapshot!(browser.post("/sign-in/email", credentials()).await.cookies().join("\n"), @"mine.session_token=[signed token]; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax");
}
