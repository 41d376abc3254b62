//! Sessions, verifications and counts in Redis, with a real server for each test.

use crate::support::{ADA, PASSWORD, ada, again, credentials, is_signed_in, token};
use narthex::{Clock as _, GenerateId, IdentifierForm, StoreIdentifier, store::Tx};
use narthex_testkit::{Browser, Builder, Redis, TestApp};
use serde_json::{Value, json};
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

/// An app that shares a server with whoever else has it.
async fn on(redis: &Redis, change: impl FnOnce(Builder) -> Builder) -> TestApp {
    change(TestApp::builder().secondary(redis.storage().await)).build().await
}

fn members(value: &Value) -> Vec<&str> {
    value.as_object().map(|object| object.keys().map(String::as_str).collect()).unwrap_or_default()
}

async fn listed(redis: &Redis, user_id: &str) -> Vec<String> {
    let list = redis.json(&format!("active-sessions-{user_id}")).await;
    let tokens = list.as_array().expect("a list").iter().map(|entry| entry["token"].as_str());
    tokens.map(|token| token.expect("a token").to_owned()).collect()
}

#[tokio::test]
async fn a_session_is_kept_as_upstream_keeps_it_and_in_no_table() {
    let redis = Redis::start().await;
    let app = on(&redis, |builder| builder).await;
    let browser = ada(&app).await;
    let token = token(&browser);
    let tables: Vec<_> = app.store().schema().tables().map(|table| table.name).collect();
    assert_eq!(tables, ["user", "account", "narthexGuess", "audit_log"]);

    let kept = redis.json(&token).await;
    let session = ["id", "ipAddress", "userAgent", "expiresAt", "userId", "token", "createdAt", "updatedAt"];
    assert_eq!(members(&kept["session"]), session);
    assert_eq!(
        members(&kept["user"]),
        ["name", "email", "emailVerified", "image", "createdAt", "updatedAt", "id"]
    );
    let user_id = kept["user"]["id"].as_str().expect("an id");
    assert_eq!(listed(&redis, user_id).await, [token.as_str()]);
    for key in [token.as_str(), &format!("active-sessions-{user_id}")] {
        let left = redis.seconds_left(key).await;
        assert!((604_790..=604_800).contains(&left), "{key} has {left} s left");
    }
    let shown = browser.get("/get-session").await.json();
    assert_eq!(members(&shown["session"]), session, "the order is that of what was kept");
    let sessions = browser.get("/list-sessions").await.json();
    assert_eq!(members(&sessions[0]), session);
}

#[tokio::test]
async fn a_session_check_asks_no_database() {
    let redis = Redis::start().await;
    let app = on(&redis, |builder| builder).await;
    let browser = ada(&app).await;
    let before = app.store().statements();
    assert!(is_signed_in(&browser).await);
    assert_eq!(app.store().statements(), before);
}

#[tokio::test]
async fn ending_a_session_ends_it_here() {
    let redis = Redis::start().await;
    let app = on(&redis, |builder| builder).await;
    let first = ada(&app).await;
    app.advance(Duration::from_secs(1));
    let (second, third, fourth) = (again(&app).await, again(&app).await, again(&app).await);
    let user_id = first.get("/get-session").await.json()["user"]["id"].as_str().expect("an id").to_owned();

    let cookies = fourth.cookies();
    let _ = fourth.post("/sign-out", json!({})).await.expecting(200);
    let reply = app.browser().get("/get-session").header("cookie", &cookies).await;
    assert_eq!(reply.json(), Value::Null);

    let _ = first.post("/revoke-session", json!({ "token": token(&third) })).await.expecting(200);
    assert!(!is_signed_in(&third).await);
    assert_eq!(listed(&redis, &user_id).await, [token(&first), token(&second)]);

    let _ = second.post("/revoke-other-sessions", json!({})).await.expecting(200);
    assert!(!is_signed_in(&first).await && is_signed_in(&second).await);
    assert_eq!(listed(&redis, &user_id).await, [token(&second)]);

    app.advance(Duration::from_secs(1));
    let last = again(&app).await;
    let _ = last.post("/revoke-sessions", json!({})).await.expecting(200);
    assert!(!is_signed_in(&second).await);
    assert_eq!(
        redis.all().await.into_keys().collect::<Vec<_>>(),
        [format!("revoked-sessions-before-{user_id}")]
    );
    assert!(is_signed_in(&again(&app).await).await, "signing in anew is not meant");
}

#[tokio::test]
async fn nobody_ends_what_is_no_session_of_theirs() {
    let redis = Redis::start().await;
    let app = on(&redis, |builder| builder).await;
    let browser = ada(&app).await;
    let eve = app.browser();
    let body = json!({ "name": "Eve", "email": "eve@example.com", "password": PASSWORD });
    let _ = eve.post("/sign-up/email", body).await.expecting(200);
    let user_id = browser.get("/get-session").await.json()["user"]["id"].as_str().expect("an id").to_owned();
    redis.put("verification:reset", r#"{"value":"x"}"#).await;
    let before = redis.all().await;
    for key in [token(&browser), format!("active-sessions-{user_id}"), "verification:reset".to_owned()] {
        let _ = eve.post("/revoke-session", json!({ "token": key })).await.expecting(200);
    }
    assert_eq!(redis.all().await, before);
}

#[tokio::test]
async fn what_is_no_session_is_none_and_breaks_nothing() {
    let redis = Redis::start().await;
    let app = on(&redis, |builder| builder).await;
    let browser = ada(&app).await;
    let (key, cookies) = (token(&browser), browser.cookies());
    let good = redis.json(&key).await;
    let changed = |change: fn(&mut Value)| {
        let mut value = good.clone();
        change(&mut value);
        value.to_string()
    };
    let cases = [
        "null".to_owned(),
        "{}".to_owned(),
        "[]".to_owned(),
        "not JSON".to_owned(),
        String::new(),
        changed(|value| value["user"] = Value::Null),
        changed(|value| value["session"] = json!({})),
        changed(|value| value["session"]["expiresAt"] = json!("never")),
        changed(|value| value["session"]["token"] = json!("of another")),
        changed(|value| value["user"]["id"] = Value::Null),
    ];
    for case in cases {
        redis.put(&key, &case).await;
        let reply = app.browser().get("/get-session").header("cookie", &cookies).await;
        assert_eq!(reply.json(), Value::Null, "{case}");
    }
    redis.put(&key, &good.to_string()).await;
    let reply = app.browser().get("/get-session").header("cookie", &cookies).await;
    assert_eq!(reply.json()["user"]["email"], ADA, "it was what was kept and not the cookie");
    let browser = again(&app).await;
    let user_id = good["user"]["id"].as_str().expect("an id");
    for list in ["null", "{}", "5", "\"text\"", "[null]", "[1, {}]", "nothing"] {
        redis.put(&format!("active-sessions-{user_id}"), list).await;
        assert_eq!(browser.get("/list-sessions").await.json(), json!([]), "{list}");
        let last = again(&app).await;
        assert_eq!(listed(&redis, user_id).await, [token(&last)], "{list}");
    }
}

#[tokio::test]
async fn signing_out_leaves_what_has_no_session_in_it() {
    let redis = Redis::start().await;
    let app = on(&redis, |builder| builder).await;
    let browser = ada(&app).await;
    let (key, cookies) = (token(&browser), browser.cookies());
    let damaged = [
        ("null", true),
        ("[]", true),
        ("not JSON", true),
        (r#"{"session":null,"user":{}}"#, true),
        (r#"{"session":{}}"#, false),
        (r#"{"session":{"token":"of another"},"user":null}"#, false),
    ];
    for (text, stays) in damaged {
        redis.put(&key, text).await;
        let reply = app.browser().post("/sign-out", json!({})).header("cookie", &cookies).await;
        let _ = reply.expecting(200);
        assert_eq!(redis.all().await.contains_key(&key), stays, "{text}");
    }
}

#[tokio::test]
async fn a_fraction_in_a_field_ends_no_session() {
    let redis = Redis::start().await;
    let age = serde_json::from_value(json!({ "age": { "type": "number", "required": false } }));
    let age = age.expect("a field");
    let app = on(&redis, |builder| builder.config(|config| config.user.additional_fields = age)).await;
    let browser = ada(&app).await;
    let mut kept = redis.json(&token(&browser)).await;
    kept["user"]["age"] = json!(1.5);
    redis.put(&token(&browser), &kept.to_string()).await;
    assert_eq!(browser.get("/get-session").await.json()["user"], kept["user"]);
}

#[tokio::test]
async fn a_session_made_before_all_were_ended_is_ended_wherever_it_comes_from() {
    let redis = Redis::start().await;
    let app = on(&redis, |builder| builder).await;
    let browser = ada(&app).await;
    let (token, kept) = (token(&browser), redis.json(&token(&browser)).await);
    app.advance(Duration::from_secs(1));
    let _ = again(&app).await.post("/revoke-sessions", json!({})).await.expecting(200);
    // As a process writes it that began before and was slow.
    redis.put(&token, &kept.to_string()).await;
    assert!(!is_signed_in(&browser).await);
}

#[tokio::test]
async fn a_changed_user_is_changed_in_every_session() {
    let redis = Redis::start().await;
    let app = on(&redis, |builder| builder).await;
    let (first, second) = (ada(&app).await, again(&app).await);
    let _ = first.post("/update-user", json!({ "name": "Countess" })).await.expecting(200);
    for browser in [first, second] {
        assert_eq!(browser.get("/get-session").await.json()["user"]["name"], "Countess");
        let left = redis.seconds_left(&token(&browser)).await;
        assert!((604_790..=604_800).contains(&left), "{left} s");
    }
}

#[tokio::test]
async fn a_renewed_session_lives_on_here() {
    let redis = Redis::start().await;
    let app = on(&redis, |builder| builder).await;
    let browser = ada(&app).await;
    app.advance(DAY * 2);
    let shown = browser.get("/get-session").await.json();
    assert_eq!(redis.json(&token(&browser)).await["session"], shown["session"]);
    let left = redis.seconds_left(&token(&browser)).await;
    assert!((604_790..=604_800).contains(&left), "{left} s");
}

#[tokio::test]
async fn a_session_in_the_database_too_survives_a_server_that_forgets() {
    let redis = Redis::start().await;
    let app =
        on(&redis, |builder| builder.config(|config| config.session.store_session_in_database = true)).await;
    let browser = ada(&app).await;
    assert_eq!(redis.json(&token(&browser)).await["session"]["id"], app.rows("session").await[0]["id"]);
    redis.clear().await;
    assert!(is_signed_in(&browser).await);
    let _ = browser.post("/revoke-sessions", json!({})).await.expecting(200);
    assert!(app.rows("session").await.is_empty());
}

#[tokio::test]
async fn other_sessions_end_that_only_the_database_names() {
    let redis = Redis::start().await;
    let app =
        on(&redis, |builder| builder.config(|config| config.session.store_session_in_database = true)).await;
    let (first, second) = (ada(&app).await, again(&app).await);
    let user_id = first.get("/get-session").await.json()["user"]["id"].as_str().expect("an id").to_owned();
    redis.put(&format!("active-sessions-{user_id}"), "[]").await;
    let _ = first.post("/revoke-other-sessions", json!({})).await.expecting(200);
    assert!(is_signed_in(&first).await && !is_signed_in(&second).await);
}

#[tokio::test]
async fn a_preserved_session_is_a_row_that_has_ended() {
    let redis = Redis::start().await;
    let app = on(&redis, |builder| {
        builder.config(|config| {
            config.session.store_session_in_database = true;
            config.session.preserve_session_in_database = true;
        })
    })
    .await;
    let browser = ada(&app).await;
    let cookies = browser.cookies();
    app.advance(Duration::from_mins(1));
    let _ = browser.post("/sign-out", json!({})).await.expecting(200);
    let rows = app.rows("session").await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["expiresAt"].as_str(), Some(app.clock().now().to_string().as_str()));
    redis.clear().await;
    let reply = app.browser().get("/get-session").header("cookie", &cookies).await;
    assert_eq!(reply.json(), Value::Null, "the row is no session");
}

#[tokio::test]
async fn ids_are_made_here_where_the_database_would_make_them() {
    for kind in [GenerateId::Serial, GenerateId::Uuid] {
        let redis = Redis::start().await;
        let app =
            on(&redis, |builder| builder.config(|config| config.advanced.database.generate_id = Some(kind)))
                .await;
        let browser = ada(&app).await;
        let id = redis.json(&token(&browser)).await["session"]["id"].as_str().expect("an id").to_owned();
        assert_eq!(id.len(), if kind == GenerateId::Uuid { 36 } else { 32 }, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_sign_ins_at_once_every_session_is_listed() {
    let redis = Redis::start().await;
    let app = on(&redis, |builder| builder.config(|config| config.password.max_failures = 0)).await;
    let browser = ada(&app).await;
    let sign_ins = (0..48).map(|_| again(&app));
    let browsers = futures_util::future::join_all(sign_ins).await;
    let user_id = browser.get("/get-session").await.json()["user"]["id"].as_str().expect("an id").to_owned();
    let listed = listed(&redis, &user_id).await;
    assert_eq!(listed.len(), 49);
    assert!(browsers.iter().all(|browser| listed.contains(&token(browser))));
}

#[tokio::test(flavor = "multi_thread")]
async fn renewing_a_session_never_brings_an_ended_one_back() {
    let redis = Redis::start().await;
    let app = on(&redis, |builder| builder.config(|config| config.session.update_age = 0)).await;
    for _ in 0..30 {
        let browser = again_or_up(&app).await;
        app.advance(Duration::from_secs(1));
        let (key, cookies) = (token(&browser), browser.cookies());
        let renewals = (0..8).map(|_| {
            let call = app.browser().get("/get-session").header("cookie", &cookies);
            async move { call.await }
        });
        let ending = browser.post("/revoke-session", json!({ "token": key }));
        let (_, ended) = tokio::join!(futures_util::future::join_all(renewals), ending);
        let _ = ended.expecting(200);
        assert!(!redis.all().await.contains_key(&key), "it came back");
    }
}

async fn again_or_up(app: &TestApp) -> Browser {
    if app.rows("user").await.is_empty() { ada(app).await } else { again(app).await }
}

#[tokio::test]
async fn a_server_that_is_gone_is_a_503_until_it_is_back() {
    let mut redis = Redis::start().await;
    let app = on(&redis, |builder| builder).await;
    let browser = ada(&app).await;
    let cookies = browser.cookies();
    assert!(app.auth().is_ready().await);
    redis.stop();
    assert!(!app.auth().is_ready().await);
    for call in [
        app.browser().get("/get-session").header("cookie", &cookies),
        app.browser().post("/sign-in/email", credentials()),
        app.browser().post("/sign-out", json!({})).header("cookie", &cookies),
    ] {
        let reply = call.await.expecting(503);
        assert_eq!(reply.header("retry-after"), "1");
    }
    redis.restart().await;
    let _ = again(&app).await;
    assert!(app.auth().is_ready().await);
}

#[tokio::test]
async fn requests_are_counted_here() {
    let redis = Redis::start().await;
    let app = on(&redis, |builder| builder.config(|config| config.rate_limit.enabled = Some(true))).await;
    let wrong =
        || app.browser().post("/sign-in/email", json!({ "email": ADA, "password": "wrong password" }));
    for _ in 0..3 {
        let _ = wrong().await.expecting(401);
    }
    let refused = wrong().await.expecting(429);
    assert_eq!(refused.header("x-retry-after"), "10");
    assert_eq!(redis.all().await["127.0.0.1|/sign-in/email"], "4");
    let left = redis.seconds_left("127.0.0.1|/sign-in/email").await;
    assert!((1..=10).contains(&left), "{left} s");
}

#[tokio::test]
async fn a_count_below_nothing_is_not_too_many() {
    let redis = Redis::start().await;
    let app = on(&redis, |builder| builder.config(|config| config.rate_limit.enabled = Some(true))).await;
    redis.put("127.0.0.1|/ok", "-5").await;
    let _ = app.browser().get("/ok").await.expecting(200);
    assert_eq!(redis.all().await["127.0.0.1|/ok"], "-4");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_in_two_apps_who_redeem_a_verification_one_gets_it() {
    let redis = Redis::start().await;
    let hashed = |builder: Builder| {
        builder.config(|config| {
            config.verification.store_identifier = StoreIdentifier::All(IdentifierForm::Hashed);
        })
    };
    let first = on(&redis, hashed).await;
    let second = on(&redis, |builder| hashed(builder).database(first.database()).seed(2)).await;
    let issued = first.inside(|cx| {
        Box::pin(cx.transact(async |tx: &mut Tx| {
            tx.verifications().issue("reset-password:a", "a-user", Duration::from_mins(1)).await.map(drop)
        }))
    });
    issued.await.expect("it is issued");
    let all = redis.all().await;
    let (key, value) = all.first_key_value().expect("a key");
    // SHA-256 of the identifier, as upstream writes it.
    assert_eq!(key, "verification:iIVkOurEqxCCigeYSGXjQkiMzhv44nWWBA9gsQD13GE");
    let value: Value = serde_json::from_str(value).expect("JSON");
    assert_eq!(value["value"], "a-user");
    assert_eq!(value.get("id"), None, "upstream has none here");

    let both = (0..32).flat_map(|_| [redeem(&first), redeem(&second)]);
    let redeemed = futures_util::future::join_all(both).await;
    assert_eq!(redeemed.into_iter().flatten().collect::<Vec<_>>(), ["a-user"]);
    assert!(redis.all().await.is_empty());
}

async fn redeem(app: &TestApp) -> Option<String> {
    let redeemed = app.inside(|cx| {
        Box::pin(cx.redeem("reset-password:a", async |_: &mut Tx, verification| Ok(verification.value)))
    });
    redeemed.await.expect("an answer")
}

/// GHSA-2vg6-77g8-24mp is about the endpoints that delete a user; there is none here yet. Who deletes the row with
/// other means leaves what is remembered elsewhere, as with upstream: it is a session until it ends, and opens nothing
/// that asks the database.
#[tokio::test]
async fn ghsa_2vg6_a_user_deleted_behind_our_back_is_remembered_and_can_do_nothing() {
    let redis = Redis::start().await;
    let app = on(&redis, |builder| builder).await;
    let browser = ada(&app).await;
    for table in ["account", "user"] {
        app.database().execute(&format!(r#"delete from "{table}""#)).await;
    }
    assert_eq!(browser.get("/get-session").await.json()["user"]["email"], ADA, "as upstream answers");
    let verify = browser.post("/verify-password", json!({ "password": PASSWORD })).await;
    assert_eq!(verify.to_string(), r#"400 {"message":"Invalid password","code":"INVALID_PASSWORD"}"#);
    let change = json!({ "currentPassword": PASSWORD, "newPassword": "another horse" });
    let _ = browser.post("/change-password", change).await.expecting(400);
    let _ = app.browser().post("/sign-in/email", credentials()).await.expecting(401);
    assert_eq!(browser.get("/list-accounts").await.to_string(), "200 []");
    for table in ["account", "user"] {
        assert!(app.rows(table).await.is_empty(), "{table}");
    }
}
