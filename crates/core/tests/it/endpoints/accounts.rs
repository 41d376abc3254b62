//! `/list-accounts`, `/unlink-account`

use crate::support::{ADA, ada};
use insta::assert_snapshot;
use narthex_testkit::TestApp;
use serde_json::json;
use std::time::Duration;

/// Links an account of another provider to Ada, as a sign-in over there would have.
pub(crate) async fn link(app: &TestApp, id: &str, provider: &str, scope: &str) {
    app.database()
        .execute(&format!(
            r#"insert into "account" ("id", "accountId", "providerId", "userId", "accessToken", "scope", "createdAt", "updatedAt")
               select '{id}', 'over-there', '{provider}', "id", 'access-secret', '{scope}', "createdAt", "updatedAt"
               from "user" where "email" = '{ADA}'"#
        ))
        .await;
}

#[tokio::test]
async fn a_list_shows_scopes_and_no_token() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    link(&app, "github-1", "github", "user:email, repo,,").await;
    assert_snapshot!(browser.get("/list-accounts").await.in_full(), @r#"
    200
    content-type: application/json

    [{"accountId":"[id]","providerId":"credential","userId":"[id]","createdAt":"[now]","updatedAt":"[now]","id":"[id]","scopes":[]},{"accountId":"over-there","providerId":"github","userId":"[id]","createdAt":"[now]","updatedAt":"[now]","id":"github-1","scopes":["user:email","repo"]}]
    "#);
    assert_snapshot!(app.browser().get("/list-accounts").await, @r#"401 {"message":"Unauthorized","code":"UNAUTHORIZED"}"#);
}

#[tokio::test]
async fn what_a_list_shows_is_what_is_said_of_it() {
    let app = TestApp::new().await;
    let manifest = app.auth().manifest();
    let endpoint = manifest.endpoints.iter().find(|endpoint| endpoint.path == "/list-accounts");
    let reply = endpoint.and_then(|endpoint| endpoint.description.reply.clone()).expect("it is described");
    let schema = reply.to_json();
    let properties = schema["items"]["properties"].as_object().expect("an object");
    let names: Vec<_> = properties.keys().map(String::as_str).collect();
    assert_eq!(names, ["accountId", "providerId", "userId", "createdAt", "updatedAt", "id", "scopes"]);
}

#[tokio::test]
async fn an_account_can_be_given_up_but_not_the_last() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    link(&app, "github-1", "github", "").await;
    let unlink = async |id: &str| browser.post("/unlink-account", json!({ "accountId": id })).await;
    assert_snapshot!(unlink("unknown").await, @r#"400 {"message":"Account not found","code":"ACCOUNT_NOT_FOUND"}"#);
    assert_snapshot!(unlink("github-1").await.in_full(), @r#"
    200
    content-type: application/json

    {"status":true}
    "#);
    let own = app.rows("account").await[0]["id"].as_str().expect("an id").to_owned();
    assert_snapshot!(unlink(&own).await, @r#"400 {"message":"You can't unlink your last account","code":"FAILED_TO_UNLINK_LAST_ACCOUNT"}"#);
    assert_eq!(app.rows("account").await.len(), 1);
    assert_eq!(browser.get("/get-session").await.json()["user"]["email"], ADA, "sessions stay");
}

#[tokio::test]
async fn the_last_account_can_be_given_up_where_that_is_allowed() {
    let app = TestApp::with_config(|config| config.account.account_linking.allow_unlinking_all = true).await;
    let browser = ada(&app).await;
    let own = app.rows("account").await[0]["id"].clone();
    assert_snapshot!(browser.post("/unlink-account", json!({ "accountId": own })).await, @r#"200 {"status":true}"#);
    assert_eq!(app.rows("account").await.len(), 0);
}

#[tokio::test]
async fn giving_up_an_account_needs_a_sign_in_of_the_last_day() {
    let app = TestApp::new().await;
    let body = || json!({ "accountId": "github-1" });
    assert_snapshot!(app.browser().post("/unlink-account", body()).await, @r#"401 {"message":"Unauthorized","code":"UNAUTHORIZED"}"#);
    let browser = ada(&app).await;
    link(&app, "github-1", "github", "").await;
    app.advance(Duration::from_hours(24));
    assert_snapshot!(browser.post("/unlink-account", body()).await, @r#"403 {"message":"Session is not fresh","code":"SESSION_NOT_FRESH"}"#);
    assert_eq!(app.rows("account").await.len(), 2);
}

/// Each of them sees that another account is left, unless they wait for each other.
#[tokio::test(flavor = "multi_thread")]
async fn however_many_are_given_up_at_once_one_is_left() {
    for seed in 1..=8 {
        let app = TestApp::builder().seed(seed).build().await;
        let browser = ada(&app).await;
        for number in 0..7 {
            link(&app, &format!("account-{number}"), "github", "").await;
        }
        let accounts = app.rows("account").await;
        assert_eq!(accounts.len(), 8);
        let calls: Vec<_> = accounts
            .iter()
            .map(|account| {
                let (browser, body) = (browser.clone(), json!({ "accountId": account["id"] }));
                tokio::task::spawn(async move { browser.post("/unlink-account", body).await.to_string() })
            })
            .collect();
        let mut answers = Vec::new();
        for call in futures_util::future::join_all(calls).await {
            answers.push(call.expect("an answer"));
        }
        answers.sort();
        let mut expected = vec![r#"200 {"status":true}"#; 7];
        expected.push(
            r#"400 {"message":"You can't unlink your last account","code":"FAILED_TO_UNLINK_LAST_ACCOUNT"}"#,
        );
        assert_eq!(answers, expected);
        assert_eq!(app.rows("account").await.len(), 1);
    }
}
