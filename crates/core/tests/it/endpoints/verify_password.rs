//! `/verify-password`

use crate::support::{PASSWORD, ada};
use insta::assert_snapshot;
use narthex_testkit::TestApp;
use serde_json::json;

#[tokio::test]
async fn the_right_password_is_told_from_a_wrong_one() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let verify =
        async |password: &str| browser.post("/verify-password", json!({ "password": password })).await;
    assert_snapshot!(verify(PASSWORD).await.in_full(), @r#"
    200
    content-type: application/json

    {"status":true}
    "#);
    assert_snapshot!(verify("wrong password").await, @r#"400 {"message":"Invalid password","code":"INVALID_PASSWORD"}"#);
    assert_snapshot!(verify("").await, @r#"400 {"message":"Invalid password","code":"INVALID_PASSWORD"}"#);
    assert_snapshot!(verify(&"x".repeat(129)).await, @r#"400 {"message":"Password too long","code":"PASSWORD_TOO_LONG"}"#);
}

#[tokio::test]
async fn without_a_password_none_is_right_and_it_takes_as_long() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    app.database().execute(r#"update "account" set "password" = null"#).await;
    let hashes = app.auth().hashes();
    assert_snapshot!(browser.post("/verify-password", json!({ "password": PASSWORD })).await, @r#"400 {"message":"Invalid password","code":"INVALID_PASSWORD"}"#);
    assert_eq!(app.auth().hashes() - hashes, 1);
}

#[tokio::test]
async fn nobody_asks_without_a_session() {
    let app = TestApp::new().await;
    ada(&app).await;
    let hashes = app.auth().hashes();
    assert_snapshot!(app.browser().post("/verify-password", json!({ "password": PASSWORD })).await, @r#"401 {"message":"Unauthorized","code":"UNAUTHORIZED"}"#);
    assert_snapshot!(app.browser().post("/verify-password", json!({})).await, @r#"400 {"message":"[body.password] Invalid input: expected string, received undefined","code":"VALIDATION_ERROR"}"#);
    assert_eq!(app.auth().hashes(), hashes);
}
