//! Fields of the operator's own, at sign-up.

use crate::support::{ADA, PASSWORD};
use http::Method;
use insta::assert_snapshot;
use narthex::Config;
use narthex_testkit::TestApp;
use serde_json::{Value, json};

fn fields(config: &mut Config) {
    config.user.additional_fields = serde_json::from_value(json!({
        "nickname": { "type": "string" },
        "level": { "type": ["beginner", "advanced"], "default": "beginner" },
        "plan": { "type": "string", "values": ["free", "pro"], "required": false },
        "age": { "type": "number", "required": false },
        "active": { "type": "boolean", "required": false },
        "born": { "type": "date", "required": false },
        "joined": { "type": "date", "default": "now", "input": false },
        "settings": { "type": "json", "required": false },
        "tags": { "type": "string[]", "default": ["new"] },
        "scores": { "type": "number[]", "required": false },
        "role": { "type": "string", "default": "user", "input": false },
        "rank": { "type": "string", "required": false, "input": false },
        "secret": { "type": "string", "required": false, "returned": false },
    }))
    .expect("fields");
}

fn body(more: &Value) -> Value {
    let mut body = json!({ "name": "Ada", "email": ADA, "password": PASSWORD, "nickname": "A" });
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    body
}

#[tokio::test]
async fn what_is_given_is_kept_and_the_rest_has_its_default() {
    let app = TestApp::with_config(fields).await;
    let given = json!({
        "level": "advanced", "age": 36, "active": true, "born": "1815-12-10", "settings": { "a": "x", "b": [1, null] },
        "scores": [1, 2.5], "secret": "hidden", "role": "admin", "unknown": 1,
    });
    assert_snapshot!(app.browser().post("/sign-up/email", body(&given)).await, @r#"200 {"token":"[token]","user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]","nickname":"A","level":"advanced","plan":null,"age":36,"active":true,"born":"[now-76725d3h4m5s678ms]","joined":"[now]","settings":{"a":"x","b":[1,null]},"tags":["new"],"scores":[1,2.5],"role":"user","rank":null,"id":"[id]"}}"#);
    assert_eq!(app.rows("user").await[0]["secret"], "hidden");
    let browser = app.browser();
    let other = json!({ "email": "eve@example.com" });
    browser.post("/sign-up/email", body(&other)).await.expecting(200).text();
    assert_snapshot!(browser.get("/get-session").await, @r#"200 {"session":{"expiresAt":"[now+7d]","token":"[token]","createdAt":"[now]","updatedAt":"[now]","ipAddress":"127.0.0.1","userAgent":"testkit","userId":"[id]","id":"[id]"},"user":{"name":"Ada","email":"eve@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]","nickname":"A","level":"beginner","plan":null,"age":null,"active":null,"born":null,"joined":"[now]","settings":null,"tags":["new"],"scores":null,"role":"user","rank":null,"id":"[id]"}}"#);
}

#[tokio::test]
async fn a_field_that_is_missing_or_not_theirs_is_refused() {
    let app = TestApp::with_config(fields).await;
    let mut missing = body(&json!({}));
    missing.as_object_mut().expect("an object").remove("nickname");
    assert_snapshot!(app.browser().post("/sign-up/email", missing).await, @r#"400 {"message":"nickname is required","code":"MISSING_FIELD"}"#);
    assert_snapshot!(app.browser().post("/sign-up/email", body(&json!({ "rank": "general" }))).await, @r#"400 {"message":"rank is not allowed to be set","code":"FIELD_NOT_ALLOWED"}"#);
    assert!(app.rows("user").await.is_empty());
}

#[tokio::test]
async fn every_value_of_another_type_is_named() {
    let app = TestApp::with_config(fields).await;
    let wrong = json!({
        "nickname": null, "level": "expert", "plan": 1, "age": "36", "active": 1, "born": "10.12.1815", "tags": ["a", 1],
        "scores": "1", "secret": {},
    });
    assert_snapshot!(app.browser().post("/sign-up/email", body(&wrong)).await, @r#"400 {"message":"[body.nickname] Invalid input: expected string, received null; [body.level] Invalid option: expected one of \"beginner\"|\"advanced\"; [body.plan] Invalid option: expected one of \"free\"|\"pro\"; [body.age] Invalid input: expected number, received string; [body.active] Invalid input: expected boolean, received number; [body.born] Invalid input: expected date, received Date; [body.tags] Invalid input: expected string, received number; [body.scores] Invalid input: expected array, received string; [body.secret] Invalid input: expected string, received object","code":"VALIDATION_ERROR"}"#);
    for born in ["", "2020-13-01", "275760-09-13T00:00:00.001Z"] {
        let reply = app.browser().post("/sign-up/email", body(&json!({ "born": born }))).await;
        assert_eq!(reply.status(), 400, "{born:?}");
    }
    assert!(app.rows("user").await.is_empty());
}

#[tokio::test]
async fn a_form_says_numbers_and_truth_in_text() {
    let app = TestApp::with_config(fields).await;
    let form = "name=Ada&email=ada%40example.com&password=correct+horse&nickname=7&age=36&active=true";
    let reply = app.browser().request(Method::POST, "/sign-up/email").form(form).await.json();
    let user = &reply["user"];
    assert_eq!((&user["nickname"], &user["age"], &user["active"]), (&json!("7"), &json!(36), &json!(true)));
    let form = "name=Ada&email=eve%40example.com&password=correct+horse&nickname=7&age=many";
    assert_snapshot!(app.browser().request(Method::POST, "/sign-up/email").form(form).await, @r#"400 {"message":"[body.age] Invalid input: expected number, received string","code":"VALIDATION_ERROR"}"#);
}

/// Whoever signs up learns nothing from the fields of the answer.
#[tokio::test]
async fn an_address_that_is_taken_is_answered_with_the_same_fields() {
    let app = TestApp::with_config(|config| {
        fields(config);
        config.email_and_password.auto_sign_in = false;
    })
    .await;
    for given in [
        json!({}),
        json!({ "born": "1815-12-10", "settings": { "a": 1 }, "secret": "x", "tags": [], "level": null }),
    ] {
        let sign_up = async |email: &str| {
            let mut body = body(&given);
            body["email"] = email.into();
            app.browser().post("/sign-up/email", body).await.expecting(200).to_string()
        };
        let new = sign_up("new@example.com").await;
        assert_eq!(sign_up("new@example.com").await, new);
        app.store().delete(narthex::model::User::EMAIL.eq("new@example.com")).await.expect("she is gone");
    }
}

/// Rows that upstream has written on SQLite, where a column takes anything.
#[tokio::test]
async fn values_that_cannot_be_read_are_nothing() {
    let app = TestApp::with_config(fields).await;
    if app.database().dialect() == narthex_testkit::Dialect::Postgres {
        return;
    }
    let browser = app.browser();
    browser.post("/sign-up/email", body(&json!({}))).await.expecting(200).text();
    let change =
        r#"update "user" set "age" = 1.5, "settings" = 'no json', "scores" = '[1', "born" = 'never'"#;
    app.database().execute(change).await;
    let user = browser.get("/get-session").await.json()["user"].clone();
    assert_eq!(
        json!([user["age"], user["settings"], user["scores"], user["born"]]),
        json!([1.5, null, null, null])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_those_who_want_the_same_value_at_once_one_gets_it() {
    let app = TestApp::with_config(|config| {
        let handle = json!({ "handle": { "type": "string", "unique": true } });
        config.user.additional_fields = serde_json::from_value(handle).expect("a field");
    })
    .await;
    let attempts = (0..16).map(|number| {
        let browser = app.browser();
        let email = format!("racer{number}@example.com");
        tokio::spawn(async move {
            let body = json!({ "name": "R", "email": email, "password": PASSWORD, "handle": "first" });
            browser.post("/sign-up/email", body).await.status()
        })
    });
    let mut statuses = Vec::new();
    for attempt in attempts.collect::<Vec<_>>() {
        statuses.push(attempt.await.expect("an answer"));
    }
    statuses.sort_unstable();
    assert_eq!(statuses.first(), Some(&200));
    assert!(statuses.iter().skip(1).all(|status| *status == 422), "{statuses:?}");
    assert_eq!(app.rows("user").await.len(), 1);
    assert_eq!(app.rows("account").await.len(), 1, "those who lost have left nothing");
}
