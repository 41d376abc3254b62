//! Fields that are not the client's to set: roles, whose session it is, who impersonates whom.

use crate::support::{ADA, PASSWORD, ada};
use insta::assert_snapshot;
use narthex::{
    model::{Session as SessionRecord, User},
    prelude::*,
};
use narthex_testkit::TestApp;
use serde_json::json;

/// The columns with which the organization and admin plugins decide what somebody may do.
struct Privileges;

impl Plugin for Privileges {
    const ID: &'static str = "privileges";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        let own = |name: &'static str| Field::text(name).optional().no_input();
        setup.extend(
            SessionRecord::TABLE,
            [own("activeOrganizationId"), own("activeTeamId"), own("impersonatedBy")],
        );
        setup.extend(User::TABLE, [own("role"), Field::bool("banned").optional().no_input()]);
    }
}

#[tokio::test]
async fn update_session_refuses_what_plugins_decide_by() {
    let app = TestApp::with(Privileges).await;
    let browser = ada(&app).await;
    for field in ["activeOrganizationId", "activeTeamId", "impersonatedBy"] {
        let reply = browser.post("/update-session", json!({ field: "somebody" })).await;
        let refusal =
            json!({ "message": format!("{field} is not allowed to be set"), "code": "FIELD_NOT_ALLOWED" });
        assert_eq!((reply.status(), reply.json()), (400, refusal));
    }
    let session = &app.rows("session").await[0];
    assert!(session["activeOrganizationId"].is_null() && session["impersonatedBy"].is_null());
}

#[tokio::test]
async fn nobody_makes_themselves_an_admin() {
    let app = TestApp::with(Privileges).await;
    let body = json!({ "name": "Eve", "email": "eve@example.com", "password": PASSWORD, "role": "admin" });
    assert_snapshot!(app.browser().post("/sign-up/email", body).await, @r#"400 {"message":"role is not allowed to be set","code":"FIELD_NOT_ALLOWED"}"#);
    let browser = ada(&app).await;
    assert_snapshot!(browser.post("/update-user", json!({ "role": "admin" })).await, @r#"400 {"message":"role is not allowed to be set","code":"FIELD_NOT_ALLOWED"}"#);
    let disguised = [
        r#"{"name":"A","__proto__":{"role":"admin"}}"#,
        r#"{"name":"A","constructor":{"role":"admin"},"Role":"admin","role ":"admin","emailVerified":true}"#,
        r#"{"name":"A","role":"admin","role":null}"#,
    ];
    for body in disguised {
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        browser.post("/update-user", body).await.expecting(200).text();
    }
    let user = &app.rows("user").await[0];
    assert!(user["role"].is_null() && user["emailVerified"] == false, "{user}");
    assert_eq!(user["email"], ADA);
}

#[tokio::test]
async fn nobody_lives_longer_than_the_session() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let before = app.rows("session").await.to_string();
    let change = json!({ "expiresAt": "2999-01-01T00:00:00.000Z", "token": "known", "userId": "other", "createdAt": "2999-01-01" });
    browser.post("/update-session", change).await.expecting(400).text();
    assert_eq!(app.rows("session").await.to_string(), before);
}
