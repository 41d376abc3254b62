//! `POST /update-session`

use crate::support::{ada, credentials};
use insta::assert_snapshot;
use narthex_testkit::TestApp;
use serde_json::json;

async fn app() -> TestApp {
    TestApp::with_config(|config| {
        let fields = json!({
            "theme": { "type": "string", "required": false },
            "visits": { "type": "number", "default": 0 },
            "device": { "type": "string", "required": false, "input": false },
            "note": { "type": "string", "required": false, "returned": false },
        });
        config.session.additional_fields = serde_json::from_value(fields).expect("fields");
    })
    .await
}

#[tokio::test]
async fn fields_are_changed_and_shown() {
    let app = app().await;
    let browser = ada(&app).await;
    let reply = browser
        .post("/update-session", json!({ "theme": "dark", "visits": 2, "note": "hidden", "token": "x" }));
    assert_snapshot!(reply.await.in_full(), @r#"
    200
    content-type: application/json
    set-cookie: better-auth.session_token=[signed token]; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax

    {"session":{"expiresAt":"[now+7d]","token":"[token]","createdAt":"[now]","updatedAt":"[now]","ipAddress":"127.0.0.1","userAgent":"testkit","userId":"[id]","theme":"dark","visits":2,"device":null,"id":"[id]"}}
    "#);
    assert_eq!(app.rows("session").await[0]["note"], "hidden");
    let other = app.browser();
    other.post("/sign-in/email", credentials()).await.expecting(200).text();
    let session = other.get("/get-session").await.json()["session"].clone();
    assert_eq!(
        (&session["theme"], &session["visits"]),
        (&json!(null), &json!(0)),
        "only her own has changed"
    );
}

#[tokio::test]
async fn what_cannot_be_changed_here_is_refused() {
    let app = app().await;
    let browser = ada(&app).await;
    let before = app.rows("session").await.to_string();
    assert_snapshot!(browser.post("/update-session", json!({})).await, @r#"400 {"message":"No fields to update"}"#);
    let own = json!({ "userId": "x", "token": "x", "expiresAt": "2099-01-01T00:00:00.000Z", "ipAddress": "x", "id": "x" });
    assert_snapshot!(browser.post("/update-session", own).await, @r#"400 {"message":"No fields to update"}"#);
    assert_snapshot!(browser.post("/update-session", json!({ "device": "phone" })).await, @r#"400 {"message":"device is not allowed to be set","code":"FIELD_NOT_ALLOWED"}"#);
    assert_snapshot!(browser.post("/update-session", json!({ "theme": 1, "visits": null })).await, @r#"400 {"message":"[body.theme] Invalid input: expected string, received number; [body.visits] Invalid input: expected number, received null","code":"VALIDATION_ERROR"}"#);
    assert_snapshot!(app.browser().post("/update-session", json!({ "theme": "dark" })).await, @r#"401 {"message":"Unauthorized","code":"UNAUTHORIZED"}"#);
    assert_eq!(app.rows("session").await.to_string(), before);
}

/// Somebody else ends the session while it is being changed.
#[tokio::test]
async fn a_session_that_is_gone_is_forgotten() {
    let app = app().await;
    let browser = ada(&app).await;
    let statement = match app.database().dialect() {
        narthex_testkit::Dialect::Sqlite => {
            r#"create trigger "gone" before update on "session" begin delete from "session"; end"#
        }
        narthex_testkit::Dialect::Postgres => {
            r#"create function gone() returns trigger as $$ begin return null; end $$ language plpgsql;
               create trigger gone before update on "session" for each row execute function gone()"#
        }
    };
    app.database().execute(statement).await;
    assert_snapshot!(browser.post("/update-session", json!({ "theme": "dark" })).await.in_full(), @r#"
    401
    content-type: application/json
    set-cookie: better-auth.session_token=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax
    set-cookie: better-auth.session_data=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax
    set-cookie: better-auth.dont_remember=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax

    {"message":"Failed to get session","code":"FAILED_TO_GET_SESSION"}
    "#);
}
