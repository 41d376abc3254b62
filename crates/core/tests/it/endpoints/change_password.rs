//! `/change-password`

use crate::support::{ADA, PASSWORD, ada, credentials};
use insta::assert_snapshot;
use narthex_testkit::TestApp;
use serde_json::{Value, json};
use std::time::Duration;

const NEW: &str = "another horse";

fn change(more: &Value) -> Value {
    let mut body = json!({ "currentPassword": PASSWORD, "newPassword": NEW });
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    body
}

async fn can_sign_in(app: &TestApp, password: &str) -> bool {
    let body = json!({ "email": ADA, "password": password });
    app.browser().post("/sign-in/email", body).await.status() == 200
}

#[tokio::test]
async fn who_knows_the_password_can_change_it() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    app.advance(Duration::from_mins(1));
    assert_snapshot!(browser.post("/change-password", change(&json!({}))).await.in_full(), @r#"
    200
    content-type: application/json

    {"token":null,"user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now-1m]","updatedAt":"[now-1m]","id":"[id]"}}
    "#);
    assert!(can_sign_in(&app, NEW).await && !can_sign_in(&app, PASSWORD).await);
    assert_eq!(browser.get("/get-session").await.json()["user"]["email"], ADA);
    let account = &app.rows("account").await[0];
    assert_ne!(account["updatedAt"], account["createdAt"]);
}

#[tokio::test]
async fn all_sessions_give_way_to_a_new_one() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let other = app.browser();
    let _ = other.post("/sign-in/email", credentials()).await.expecting(200);
    let old = browser.cookies();
    let body = change(&json!({ "revokeOtherSessions": true }));
    let commits = app.store().commits();
    assert_snapshot!(browser.post("/change-password", body).await.in_full(), @r#"
    200
    content-type: application/json
    set-cookie: better-auth.session_token=[signed token]; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax

    {"token":"[token]","user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]","id":"[id]"}}
    "#);
    assert_eq!(app.store().commits() - commits, 2, "the attempt, then all of the change or nothing");
    assert_eq!(app.rows("session").await.len(), 1);
    assert_eq!(browser.get("/get-session").await.json()["user"]["email"], ADA);
    assert_eq!(other.get("/get-session").await.json(), Value::Null);
    assert_eq!(app.browser().get("/get-session").header("cookie", &old).await.json(), Value::Null);
}

#[tokio::test]
async fn a_browser_that_forgets_goes_on_forgetting() {
    let app = TestApp::new().await;
    ada(&app).await;
    let browser = app.browser();
    let mut body = credentials();
    body["rememberMe"] = json!(false);
    let _ = browser.post("/sign-in/email", body).await.expecting(200);
    let body = change(&json!({ "revokeOtherSessions": true }));
    let reply = browser.post("/change-password", body).await;
    assert_eq!(
        reply.cookies(),
        [
            "better-auth.session_token=[signed token]; Path=/; HttpOnly; SameSite=Lax",
            "better-auth.dont_remember=[signed true]; Path=/; HttpOnly; SameSite=Lax",
        ]
    );
}

#[tokio::test]
async fn what_is_refused_changes_nothing() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let stranger = app.browser();
    let before = app.database().rows("account", None).await;
    let long = "x".repeat(129);
    for (more, answer) in [
        (
            json!({ "currentPassword": "wrong password" }),
            r#"400 {"message":"Invalid password","code":"INVALID_PASSWORD"}"#,
        ),
        (json!({ "currentPassword": "" }), r#"400 {"message":"Invalid password","code":"INVALID_PASSWORD"}"#),
        (
            json!({ "newPassword": "1234567" }),
            r#"400 {"message":"Password too short","code":"PASSWORD_TOO_SHORT"}"#,
        ),
        (json!({ "newPassword": long }), r#"400 {"message":"Password too long","code":"PASSWORD_TOO_LONG"}"#),
        (
            json!({ "currentPassword": long }),
            r#"400 {"message":"Password too long","code":"PASSWORD_TOO_LONG"}"#,
        ),
    ] {
        let mut body = change(&more);
        body["revokeOtherSessions"] = json!(true);
        assert_eq!(browser.post("/change-password", body.clone()).await.to_string(), answer);
        let reply = stranger.post("/change-password", body).await;
        assert_eq!(reply.to_string(), r#"401 {"message":"Unauthorized","code":"UNAUTHORIZED"}"#);
    }
    assert_eq!(app.database().rows("account", None).await, before);
    assert_eq!(app.rows("session").await.len(), 1);
}

#[tokio::test]
async fn who_has_no_password_has_none_to_change() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    for change_rows in [
        r#"update "account" set "password" = ''"#,
        r#"update "account" set "password" = null"#,
        r#"update "account" set "providerId" = 'github'"#,
    ] {
        app.database().execute(change_rows).await;
        let hashes = app.auth().hashes();
        let answer =
            r#"400 {"message":"Credential account not found","code":"CREDENTIAL_ACCOUNT_NOT_FOUND"}"#;
        let reply = browser.post("/change-password", change(&json!({}))).await;
        assert_eq!(reply.to_string(), answer, "{change_rows}");
        assert_eq!(app.auth().hashes(), hashes);
    }
}

/// As upstream: the switch is about ways in, and somebody who is signed in is in already.
#[tokio::test]
async fn it_does_not_matter_whether_one_can_sign_in_with_a_password() {
    let before = TestApp::new().await;
    let browser = ada(&before).await;
    let app = TestApp::builder().database(before.database()).seed(2);
    let app = app.config(|config| config.email_and_password.enabled = false).build().await;
    let post = async |path: &str, body: Value| {
        app.browser().post(path, body).header("cookie", &browser.cookies()).await.status()
    };
    assert_eq!(post("/verify-password", json!({ "password": PASSWORD })).await, 200);
    assert_eq!(post("/change-password", change(&json!({}))).await, 200);
    assert_eq!(post("/verify-password", json!({ "password": NEW })).await, 200);
}

/// The old password is right for one of them only.
#[tokio::test(flavor = "multi_thread")]
async fn of_32_who_change_it_at_once_one_does() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let changes: Vec<_> = (0..32)
        .map(|number| {
            let browser = browser.clone();
            let body = change(&json!({ "newPassword": format!("horse number {number}"), "revokeOtherSessions": number % 2 == 0 }));
            tokio::task::spawn(async move {
                let reply = browser.post("/change-password", body).await;
                (number, reply.to_string())
            })
        })
        .collect();
    let mut winners = Vec::new();
    for outcome in futures_util::future::join_all(changes).await {
        let (number, reply) = outcome.expect("an answer");
        match &reply[..3] {
            "200" => winners.push(number),
            // Whoever comes once the session has ended is nobody any more.
            "401" => assert_eq!(reply, r#"401 {"message":"Unauthorized","code":"UNAUTHORIZED"}"#),
            _ => assert_eq!(reply, r#"400 {"message":"Invalid password","code":"INVALID_PASSWORD"}"#),
        }
    }
    let [winner] = winners[..] else { panic!("{winners:?} have won") };
    assert!(can_sign_in(&app, &format!("horse number {winner}")).await);
    assert!(!can_sign_in(&app, PASSWORD).await);
    assert_eq!(app.rows("account").await.len(), 1);
}
