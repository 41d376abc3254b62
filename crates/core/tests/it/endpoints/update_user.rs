//! `POST /update-user`

use crate::support::{ADA, ada};
use insta::assert_snapshot;
use narthex::{
    model::User,
    prelude::*,
    store::{Write, Writing},
};
use narthex_testkit::TestApp;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn name_and_image_are_changed_and_the_cookie_is_set_again() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    app.advance(Duration::from_mins(1));
    let change = json!({ "name": "Ada Lovelace", "image": "https://a.b/c.png" });
    assert_snapshot!(browser.post("/update-user", change).await.in_full(), @r#"
    200
    content-type: application/json
    set-cookie: better-auth.session_token=[signed token]; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax

    {"status":true}
    "#);
    assert_snapshot!(app.rows("user").await, @r#"{"id":"[id]","name":"Ada Lovelace","email":"ada@example.com","emailVerified":false,"image":"https://a.b/c.png","createdAt":"[now-1m]","updatedAt":"[now]"}"#);
    browser.post("/update-user", json!({ "image": null })).await.expecting(200).text();
    let user = browser.get("/get-session").await.json()["user"].clone();
    assert_eq!((&user["name"], &user["image"]), (&json!("Ada Lovelace"), &json!(null)));
}

#[tokio::test]
async fn a_session_that_ends_with_the_browser_still_does() {
    let app = TestApp::new().await;
    let _ = ada(&app).await;
    let browser = app.browser();
    let body = json!({ "email": ADA, "password": crate::support::PASSWORD, "rememberMe": false });
    browser.post("/sign-in/email", body).await.expecting(200).text();
    let reply = browser.post("/update-user", json!({ "name": "A" })).await;
    assert_eq!(
        reply.cookies(),
        [
            "better-auth.session_token=[signed token]; Path=/; HttpOnly; SameSite=Lax",
            "better-auth.dont_remember=[signed true]; Path=/; HttpOnly; SameSite=Lax",
        ]
    );
}

#[tokio::test]
async fn what_cannot_be_changed_here_is_refused() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let before = app.rows("user").await.to_string();
    assert_snapshot!(browser.post("/update-user", json!({})).await, @r#"400 {"message":"No fields to update"}"#);
    assert_snapshot!(browser.post("/update-user", json!({ "emailVerified": true, "id": "x" })).await, @r#"400 {"message":"No fields to update"}"#);
    assert_snapshot!(browser.post("/update-user", json!({ "email": "eve@example.com", "name": "E" })).await, @r#"400 {"message":"Email can not be updated","code":"EMAIL_CAN_NOT_BE_UPDATED"}"#);
    assert_snapshot!(browser.post("/update-user", json!({ "name": 5, "image": true })).await, @r#"400 {"message":"[body.name] Invalid input: expected string, received number; [body.image] Invalid input: expected string, received boolean","code":"VALIDATION_ERROR"}"#);
    assert_snapshot!(browser.post("/update-user", json!({ "name": null })).await, @r#"400 {"message":"[body.name] Invalid input: expected string, received null","code":"VALIDATION_ERROR"}"#);
    assert_snapshot!(browser.post("/update-user", json!(["name"])).await, @r#"400 {"message":"[body] Invalid input: expected record, received array","code":"VALIDATION_ERROR"}"#);
    assert_snapshot!(app.browser().post("/update-user", json!({ "name": "Eve" })).await, @r#"401 {"message":"Unauthorized","code":"UNAUTHORIZED"}"#);
    assert_eq!(app.rows("user").await.to_string(), before);
}

#[tokio::test]
async fn a_value_of_another_is_refused() {
    let app = TestApp::with_config(|config| {
        let handle = json!({ "additional-fields": { "handle": { "type": "string", "required": false, "unique": true } } });
        config.user = serde_json::from_value(handle).expect("options of users");
    })
    .await;
    let browser = ada(&app).await;
    let body = json!({ "name": "E", "email": "eve@example.com", "password": "another one", "handle": "eve" });
    app.browser().post("/sign-up/email", body).await.expecting(200).text();
    assert_snapshot!(browser.post("/update-user", json!({ "handle": "eve" })).await, @r#"422 {"message":"Failed to update user","code":"FAILED_TO_UPDATE_USER"}"#);
    let body = json!({ "name": "M", "email": "mal@example.com", "password": "another one", "handle": "eve" });
    assert_snapshot!(app.browser().post("/sign-up/email", body).await, @r#"422 {"message":"Failed to create user","code":"FAILED_TO_CREATE_USER"}"#);
}

/// Writes in capital letters, and refuses one name.
struct Scribe;

impl Plugin for Scribe {
    const ID: &'static str = "scribe";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.before_write(User::TABLE, Self::write);
    }
}

impl Scribe {
    async fn write(&self, _tx: &mut Tx, write: &mut Write) -> Result<()> {
        let Some(narthex::store::Value::Text(name)) = write.record.get("name").cloned() else {
            return Ok(());
        };
        if name == "Eve" {
            return Err(Error::forbidden(Code::new("NO_EVE", "Nobody is called Eve")));
        }
        if write.kind == Writing::Update {
            write.record.set("name", name.to_uppercase());
        }
        Ok(())
    }
}

#[tokio::test]
async fn hooks_see_the_change_and_may_refuse_it() {
    let app = TestApp::with(Scribe).await;
    let browser = ada(&app).await;
    browser.post("/update-user", json!({ "name": "Ada Lovelace" })).await.expecting(200).text();
    assert_eq!(browser.get("/get-session").await.json()["user"]["name"], "ADA LOVELACE");
    assert_snapshot!(browser.post("/update-user", json!({ "name": "Eve" })).await, @r#"403 {"message":"Nobody is called Eve","code":"NO_EVE"}"#);
    assert_eq!(browser.get("/get-session").await.json()["user"]["name"], "ADA LOVELACE");
}
