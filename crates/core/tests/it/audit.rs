//! The audit log: each thing that happens is one row, committed with what it tells of.

use crate::{
    endpoints::accounts::link,
    support::{ADA, PASSWORD, ada, again, credentials, token},
};
use futures_util::future::join_all;
use narthex::{
    Clock as _, Error, Happening,
    model::{AuditQuery, User},
    store::Tx,
};
use narthex_testkit::{Browser, TestApp};
use serde_json::{Value, json};
use std::time::Duration;

const BROWSER: &str = r#","ip_address":"127.0.0.1","user_agent":"testkit"}"#;

/// Every row, oldest first, without what is null; ids that are known by name.
async fn log(app: &TestApp) -> Vec<String> {
    let ada = app.store().find(User::EMAIL.eq(ADA)).await.expect("an answer").map(|user| user.id);
    let sessions = match app.store().schema().table("session") {
        Some(_) => app.rows("session").await.iter().map(|row| row["id"].clone()).collect(),
        None => Vec::new(),
    };
    let rows = app.rows("audit_log").await;
    let row = |row: &Value| {
        let mut row = row.as_object().expect("a row").clone();
        let id = row.shift_remove("id").and_then(|id| id.as_str().map(str::to_owned)).expect("an id");
        assert!(id.len() == 26 && id.bytes().all(|byte| byte.is_ascii_digit()), "{id}");
        let at = row.shift_remove("created_at").expect("a time");
        assert_eq!(&id[..14], format!("{:014}", millis(&at)), "an id begins with the time");
        row.retain(|_, value| !value.is_null());
        for (name, value) in &mut row {
            let known = match name.as_str() {
                "user_id" | "actor" if value.as_str() == ada.as_deref() => "ada",
                "session_id" if sessions.contains(value) => "[there]",
                "session_id" => "[gone]",
                "account" if value.as_str() == Some(&app.auth().account_hash(ADA)) => "[ada]",
                "account" => "[somebody]",
                _ => continue,
            };
            *value = known.into();
        }
        Value::Object(row).to_string()
    };
    rows.iter().map(row).collect()
}

fn millis(time: &Value) -> i64 {
    narthex::Time::parse(time.as_str().expect("a text")).expect("a time").millis()
}

/// The rows that came since there were `before`.
async fn since(app: &TestApp, before: usize) -> Vec<String> {
    log(app).await.split_off(before)
}

fn line(rest: &str) -> String {
    format!("{{{rest}{BROWSER}")
}

#[tokio::test]
async fn sign_ups_sign_ins_and_sign_outs_are_whole_rows() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    assert_eq!(
        log(&app).await,
        [
            line(r#""event":"user.created","outcome":"success","actor":"ada","user_id":"ada""#),
            line(
                r#""event":"session.created","outcome":"success","reason":"sign-up","actor":"ada","user_id":"ada","session_id":"[there]""#
            ),
        ]
    );
    app.advance(Duration::from_secs(1));
    let call = app.browser().post("/sign-in/email", credentials()).header("x-request-id", "r-1");
    let _ = call.header("user-agent", "").await.expecting(200);
    app.advance(Duration::from_secs(1));
    let _ = browser.post("/sign-out", json!({})).await.expecting(200);
    assert_eq!(
        since(&app, 2).await,
        [
            r#"{"event":"session.created","outcome":"success","reason":"password","actor":"ada","user_id":"ada","session_id":"[there]","ip_address":"127.0.0.1","request_id":"r-1"}"#.to_owned(),
            line(
                r#""event":"session.revoked","outcome":"success","reason":"sign-out","actor":"ada","user_id":"ada","session_id":"[gone]""#
            ),
        ]
    );
}

#[tokio::test]
async fn what_a_user_does_to_their_account_is_whole_rows() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let (one, _two) = (again(&app).await, again(&app).await);
    link(&app, "github-1", "github", "").await;
    let before = log(&app).await.len();
    let change = json!({ "currentPassword": PASSWORD, "newPassword": "another horse" });
    for (path, body) in [
        ("/update-user", json!({ "name": "Ada L." })),
        ("/unlink-account", json!({ "accountId": "github-1" })),
        ("/revoke-session", json!({ "token": token(&one) })),
        ("/revoke-other-sessions", json!({})),
        ("/change-password", change),
        ("/revoke-sessions", json!({})),
    ] {
        app.advance(Duration::from_secs(1));
        let _ = browser.post(path, body).await.expecting(200);
    }
    let done = |event: &str, more: &str, details: &str| {
        let row = format!(
            r#"{{"event":"{event}","outcome":"success"{more},"ip_address":"127.0.0.1","user_agent":"testkit"{details}}}"#
        );
        row
    };
    let ada = r#","actor":"ada","user_id":"ada""#;
    assert_eq!(
        since(&app, before).await,
        [
            // That a name was changed is only counted.
            done("account.unlinked", ada, r#","details":{"provider":"github"}"#),
            done("session.revoked", &format!(r#","reason":"revoke-session"{ada},"session_id":"[gone]""#), ""),
            done(
                "session.revoked",
                &format!(r#","reason":"revoke-other-sessions"{ada}"#),
                r#","details":{"count":1}"#
            ),
            done("password.changed", &format!(r#"{ada},"session_id":"[gone]""#), ""),
            done(
                "session.revoked",
                &format!(r#","reason":"revoke-sessions"{ada}"#),
                r#","details":{"count":1}"#
            ),
        ]
    );
}

#[tokio::test]
async fn what_fails_names_no_actor_and_no_address() {
    let app = TestApp::with_config(|config| {
        config.password.max_failures = 2;
        config.password.delay_after = 0;
    })
    .await;
    let browser = ada(&app).await;
    let before = log(&app).await.len();
    for (path, body, status) in [
        ("/sign-in/email", json!({ "email": "nobody@example.com", "password": "wrong password" }), 401),
        ("/sign-in/email", json!({ "email": ADA, "password": "wrong password" }), 401),
        ("/verify-password", json!({ "password": "wrong password" }), 400),
        ("/verify-password", json!({ "password": "wrong password" }), 429),
        ("/sign-in/email", credentials(), 429),
        ("/sign-in/email", json!({ "email": "hunter2 in the wrong field", "password": "x" }), 400),
    ] {
        app.advance(Duration::from_secs(1));
        let _ = browser.post(path, body).await.expecting(status);
    }
    let failed = |event: &str, reason: &str, whom: &str| {
        line(&format!(r#""event":"{event}","outcome":"failure","reason":"{reason}"{whom}"#))
    };
    let (hers, nobody) = (r#","user_id":"ada","account":"[ada]""#, r#","account":"[somebody]""#);
    assert_eq!(
        since(&app, before).await,
        [
            failed("sign-in.failed", "wrong-credentials", nobody),
            failed("sign-in.failed", "wrong-credentials", hers),
            failed("password-check.failed", "wrong-credentials", hers),
            failed("account.locked", "too-many-guesses", hers),
        ]
    );
}

#[tokio::test]
async fn nothing_that_opens_a_door_is_written_down() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let other = again(&app).await;
    let typed = json!({ "email": "hunter2@example.com", "password": "wrong password" });
    let _ = app.browser().post("/sign-in/email", typed).await.expecting(401);
    let change =
        json!({ "currentPassword": PASSWORD, "newPassword": "another horse", "revokeOtherSessions": true });
    let tokens = [token(&browser), token(&other)];
    let _ = browser.post("/change-password", change).await.expecting(200);
    let hash = app.rows("account").await[0]["password"].as_str().expect("a hash").to_owned();
    let rows: Vec<_> = app.rows("audit_log").await.iter().map(Value::to_string).collect();
    assert!(rows.len() >= 6);
    let secrets =
        [PASSWORD, "another horse", "wrong password", "hunter2", ADA, &hash, &tokens[0], &tokens[1]];
    for secret in secrets.into_iter().chain([token(&browser).as_str()]) {
        assert!(rows.iter().all(|row| !row.contains(secret)), "{secret}");
    }
}

#[tokio::test]
async fn what_is_rolled_back_is_not_written_down_and_what_is_committed_outlives_its_user() {
    let app = TestApp::new().await;
    ada(&app).await;
    let before = log(&app).await;
    let undone = app.inside(|cx| {
        Box::pin(cx.transact(async |tx: &mut Tx| {
            tx.happened(Happening::new("two-factor.enabled").of("u1"));
            Err::<(), _>(Error::internal("undone"))
        }))
    });
    assert!(undone.await.is_err());
    assert_eq!(log(&app).await, before);
    app.database().execute(r#"delete from "user""#).await;
    let rows = app.rows("audit_log").await;
    assert_eq!((rows.len(), app.rows("session").await.len()), (before.len(), 0));
    assert!(rows.iter().all(|row| row["user_id"].is_string()), "it still says who it was");
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_done_and_what_fails_is_answered_all_the_same() {
    let app = TestApp::new().await;
    ada(&app).await;
    app.database().execute("alter table audit_log rename to gone").await;
    let _ = app.browser().post("/sign-in/email", credentials()).await.expecting(500);
    assert_eq!(app.rows("session").await.len(), 1, "there is no session that the log does not have");
    let wrong = json!({ "email": ADA, "password": "wrong password" });
    let _ = app.browser().post("/sign-in/email", wrong).await.expecting(401);
}

#[tokio::test]
async fn a_flood_of_failures_is_so_many_rows_and_a_number() {
    let app = TestApp::with_config(|config| {
        config.audit.failures_per_minute = 3;
        config.password.max_failures = 0;
    })
    .await;
    let wrong = || json!({ "email": ADA, "password": "wrong password" });
    let browsers: Vec<_> = (0..8).map(|_| app.browser()).collect();
    let guess = async |browser: &Browser| browser.post("/sign-in/email", wrong()).await.status();
    assert!(join_all(browsers.iter().map(guess)).await.iter().all(|status| *status == 401));
    assert_eq!(log(&app).await.len(), 3);
    ada(&app).await;
    assert_eq!(log(&app).await.len(), 5, "what is done is always written down");
    app.advance(Duration::from_mins(1));
    let _ = app.browser().post("/sign-in/email", wrong()).await.expecting(401);
    let rows = since(&app, 5).await;
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0], r#"{"event":"audit.omitted","outcome":"success","details":{"count":5}}"#);
}

#[tokio::test]
async fn what_a_browser_calls_itself_is_cut() {
    let app = TestApp::new().await;
    let body = json!({ "name": "Ada", "email": ADA, "password": PASSWORD });
    let call = app.browser().post("/sign-up/email", body).header("user-agent", &"x".repeat(5000));
    let _ = call.header("x-request-id", "a b").await.expecting(200);
    for row in app.rows("audit_log").await.iter() {
        assert_eq!(row["user_agent"], "x".repeat(256));
        assert_eq!(row["request_id"], Value::Null, "that is no name");
    }
}

#[tokio::test]
async fn looking_at_sessions_and_renewing_them_writes_nothing_down() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let before = log(&app).await.len();
    for hours in [1, 25, 24 * 8] {
        app.advance(Duration::from_hours(hours));
        let _ = browser.get("/get-session").await.expecting(200);
    }
    assert_eq!(log(&app).await.len(), before);
}

#[tokio::test]
async fn a_log_is_asked_for_a_user_an_event_and_a_time_and_shows_the_newest_first() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    app.advance(Duration::from_secs(1));
    let half = app.clock().now();
    for email in [ADA, "nobody@example.com"] {
        let wrong = json!({ "email": email, "password": "wrong password" });
        let _ = app.browser().post("/sign-in/email", wrong).await.expecting(401);
    }
    app.advance(Duration::from_secs(1));
    let _ = browser.post("/sign-out", json!({})).await.expecting(200);
    let user = app.rows("user").await[0]["id"].as_str().expect("an id").to_owned();
    let ask = async |query: AuditQuery, limit: u32| {
        let entries = query.newest(app.store(), limit).await.expect("an answer");
        entries.into_iter().map(|entry| entry.event).collect::<Vec<_>>()
    };
    let all = ["session.revoked", "sign-in.failed", "sign-in.failed", "session.created", "user.created"];
    assert_eq!(ask(AuditQuery::default(), 9).await, all);
    assert_eq!(ask(AuditQuery::default(), 2).await, all[..2]);
    let hers = AuditQuery { user_id: Some(user), ..AuditQuery::default() };
    assert_eq!(ask(hers.clone(), 9).await, [all[0], all[1], all[3], all[4]]);
    let since = AuditQuery { since: Some(half), ..hers.clone() };
    assert_eq!(ask(since, 9).await, all[..2]);
    let event = AuditQuery { event: Some("user.created".to_owned()), ..hers };
    assert_eq!(ask(event, 9).await, ["user.created"]);
    let account = Some(app.auth().account_hash("Nobody@example.com"));
    assert_eq!(ask(AuditQuery { account, ..AuditQuery::default() }, 9).await, ["sign-in.failed"]);
    let newest = AuditQuery::default().newest(app.store(), 2).await.expect("an answer");
    let before = newest.last().map(|entry| entry.id.clone());
    assert_eq!(ask(AuditQuery { before, ..AuditQuery::default() }, 9).await, all[2..]);
}

#[tokio::test]
async fn without_a_log_there_is_no_table_and_under_another_name_there_is() {
    let app = TestApp::with_config(|config| config.audit.enabled = false).await;
    ada(&app).await;
    assert!(app.store().schema().table("audit_log").is_none());
    let app = TestApp::with_config(|config| config.audit.model_name = Some("narthex_log".to_owned())).await;
    ada(&app).await;
    assert_eq!(app.database().rows("narthex_log", None).await.len(), 2);
}
