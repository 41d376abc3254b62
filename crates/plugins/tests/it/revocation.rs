use crate::support::{ADA, part, signed_up, token, with};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use narthex::{
    crypto::{
        jwk::{Algorithm, VerifyingKey},
        jws::Hs256,
    },
    prelude::*,
    store::Filter,
};
use narthex_plugins::{Jwt, jwt::Revocation};
use narthex_testkit::{Browser, InstantTimer, TestApp};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

const BACKENDS: &str = "what only our backends know of it, 32+";
const SHARED: &str = "a secret that every backend knows, 32+";

/// An app that lists what is revoked, for everybody.
async fn listing() -> TestApp {
    with(json!({ "jwt": { "revocation": true, "revocation-public": true } })).build().await
}

/// As the list has an id.
fn hashed(id: &str) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(id)[..16])
}

/// What the list says, once a published key has verified it.
async fn list(app: &TestApp) -> Value {
    let reply = app.browser().get("/revocations").await;
    assert_eq!(reply.status(), 200, "{reply}");
    assert_eq!(reply.header("content-type"), "application/jwt");
    opened(app, &reply.text()).await
}

async fn opened(app: &TestApp, text: &str) -> Value {
    let header = part(text, 0);
    assert_eq!(header["typ"], "revocations+jwt");
    let keys = app.browser().get("/jwks").await.json();
    let keys = keys["keys"].as_array().expect("keys");
    let key = keys.iter().find(|key| key["kid"] == header["kid"]).expect("the key is published");
    let key = VerifyingKey::from_jwk(&key.to_string(), Algorithm::EdDsa).expect("a key");
    serde_json::from_slice(&key.open(text).expect("it is signed")).expect("JSON")
}

async fn session_id(browser: &Browser) -> String {
    browser.get("/get-session").await.json()["session"]["id"]
        .as_str()
        .expect("somebody is signed in")
        .to_owned()
}

async fn sign_out(browser: &Browser) {
    let reply = browser.post("/sign-out", json!({})).await;
    assert_eq!(reply.status(), 200, "{reply}");
}

fn seconds(app: &TestApp) -> i64 {
    narthex::Clock::now(app.clock()).millis() / 1000
}

fn of_session(id: &str) -> Value {
    json!(["s", hashed(id)])
}

async fn id_of(app: &TestApp, email: &str) -> String {
    app.auth().find_user(email).await.expect("the database answers").expect("they are there").id
}

#[tokio::test]
async fn without_it_tokens_are_upstreams_and_there_is_no_list() {
    let app = with(json!({ "jwt": {} })).build().await;
    let browser = signed_up(&app, ADA).await;
    assert_eq!(part(&token(&browser).await, 1).get("sid"), None);
    assert_eq!(app.browser().get("/revocations").await.status(), 404);
    assert!(app.store().schema().table("narthexRevocation").is_none());
}

#[tokio::test]
async fn a_token_names_its_session_and_the_list_says_when_that_has_ended() {
    let app = listing().await;
    let before = list(&app).await;
    assert_eq!(before["entries"], json!([]));
    let browser = signed_up(&app, ADA).await;
    let (id, claims) = (session_id(&browser).await, part(&token(&browser).await, 1));
    assert_eq!(claims["sid"], *id);
    let header = browser.get("/get-session").await.header("set-auth-jwt").to_owned();
    assert_eq!(part(&header, 1)["sid"], *id, "wherever it is handed out");

    sign_out(&browser).await;
    let after = list(&app).await;
    let now = seconds(&app);
    let expected = json!({
        "iss": "http://localhost:3001", "aud": "urn:narthex:revocations", "iat": now, "exp": now + 300,
        "seq": after["seq"], "entries": [of_session(&id)],
    });
    assert_eq!(after.to_string(), expected.to_string());
    assert!(after["seq"].as_i64() > before["seq"].as_i64(), "{before} {after}");
    // What is not signed in is nothing that could end.
    sign_out(&browser).await;
    assert_eq!(list(&app).await["seq"], after["seq"]);
}

#[tokio::test]
async fn every_way_to_end_a_session_is_on_the_list() {
    let app = listing().await;
    let sign_in = async || {
        let browser = app.browser();
        let body = json!({ "email": ADA, "password": "correct horse battery" });
        assert_eq!(browser.post("/sign-in/email", body).await.status(), 200);
        browser
    };
    let mut listed = Vec::new();
    let mut expect = async |more: Vec<Value>, way: &str| {
        let entries = list(&app).await["entries"].as_array().expect("entries").clone();
        for entry in &more {
            assert!(entries.contains(entry), "{way}: {entry} is not in {entries:?}");
        }
        listed.extend(more);
        assert_eq!(entries.len(), listed.len(), "{way}: nothing else ends");
    };
    let first = signed_up(&app, ADA).await;
    let [one, other] = [sign_in().await, sign_in().await];

    let (id, token) =
        (session_id(&other).await, other.get("/get-session").await.json()["session"]["token"].clone());
    assert_eq!(first.post("/revoke-session", json!({ "token": token })).await.status(), 200);
    expect(vec![of_session(&id)], "revoke-session").await;

    let ids = [session_id(&one).await, session_id(&sign_in().await).await];
    assert_eq!(first.post("/revoke-other-sessions", json!({})).await.status(), 200);
    expect(ids.iter().map(|id| of_session(id)).collect(), "revoke-other-sessions").await;

    let id = session_id(&first).await;
    let change = json!({ "currentPassword": "correct horse battery", "newPassword": "correct horse battery", "revokeOtherSessions": true });
    assert_eq!(first.post("/change-password", change).await.status(), 200);
    expect(vec![of_session(&id)], "change-password").await;
    let fresh = session_id(&first).await;
    assert!(!listed_now(&app, &fresh).await, "the session that it began goes on");

    assert_eq!(first.post("/revoke-sessions", json!({})).await.status(), 200);
    expect(vec![of_session(&fresh)], "revoke-sessions").await;

    let id = session_id(&sign_in().await).await;
    app.auth().revoke_session(&id, None).await.expect("it is revoked");
    expect(vec![of_session(&id)], "the operator").await;

    let id = session_id(&sign_in().await).await;
    let user = app.auth().find_user(ADA).await.expect("the database answers").expect("Ada");
    app.auth().delete_user(&user).await.expect("she is deleted");
    expect(vec![of_session(&id)], "delete").await;

    app.auth().revoke_all_sessions().await.expect("all end");
    expect(vec![json!(["g", seconds(&app) + 2])], "all of everybody").await;
}

async fn listed_now(app: &TestApp, id: &str) -> bool {
    list(app).await["entries"].as_array().is_some_and(|entries| entries.contains(&of_session(id)))
}

#[tokio::test]
async fn what_is_undone_is_not_on_the_list() {
    let app = listing().await;
    let browser = signed_up(&app, ADA).await;
    let before = list(&app).await;
    let user = id_of(&app, ADA).await;
    let undone: Result<()> = app
        .auth()
        .transact(async |tx: &mut Tx| {
            tx.sessions().revoke_all(&user, Happening::OPERATOR).await?;
            Err(narthex::Error::internal("something else went wrong"))
        })
        .await;
    assert!(undone.is_err());
    assert_eq!(list(&app).await["seq"], before["seq"]);
    assert_eq!(browser.get("/token").await.status(), 200);
}

#[tokio::test]
async fn an_entry_is_there_for_as_long_as_a_token_may_be() {
    let app = listing().await;
    let browser = signed_up(&app, ADA).await;
    let id = session_id(&browser).await;
    sign_out(&browser).await;
    let number = list(&app).await["seq"].clone();
    app.advance(Duration::from_secs(15 * 60 + 59));
    assert!(listed_now(&app, &id).await, "the last token may just have been made");
    // And so old at most is a list that is shown again.
    app.advance(Duration::from_secs(31));
    let later = list(&app).await;
    assert_eq!((&later["entries"], &later["seq"]), (&json!([]), &number), "the number stays");

    // And its row goes with the next writes.
    signed_up(&app, "grace@example.com").await;
    app.advance(Duration::from_mins(2));
    signed_up(&app, "joan@example.com").await;
    let rows = async || {
        let rows: Vec<Revocation> = app.store().list(Filter::everything()).await.expect("the table is there");
        rows.iter().map(|row| row.subject.clone()).collect::<Vec<_>>()
    };
    for _ in 0..1_000 {
        if rows().await == [""] {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{:?} are still there", rows().await);
}

#[tokio::test]
async fn a_session_that_a_cookie_remembers_is_on_the_list_for_longer() {
    let app = with(json!({ "jwt": { "revocation": true, "revocation-public": true } }))
        .config(|config| {
            config.session.cookie_cache.enabled = true;
            config.session.cookie_cache.max_age = 600;
        })
        .build()
        .await;
    let browser = signed_up(&app, ADA).await;
    let id = session_id(&browser).await;
    app.auth().revoke_session(&id, None).await.expect("it is revoked");
    app.advance(Duration::from_mins(9));
    let late = part(&token(&browser).await, 1);
    assert_eq!(late["sid"], *id, "the cookie still counts");
    app.advance(Duration::from_secs(15 * 60 - 1));
    assert!(late["exp"].as_i64().expect("an end") > seconds(&app), "the token is still valid");
    assert!(listed_now(&app, &id).await);
}

#[tokio::test]
async fn who_has_the_list_is_not_sent_it_again() {
    let app = listing().await;
    let browser = signed_up(&app, ADA).await;
    let first = app.browser().get("/revocations").await;
    let tag = first.header("etag").to_owned();
    assert_eq!(first.header("cache-control"), "private, no-cache");
    let again = app.browser().get("/revocations").header("if-none-match", &tag).await;
    assert_eq!((again.status(), again.text()), (304, String::new()));
    assert_eq!(again.header("etag"), tag);
    sign_out(&browser).await;
    let changed = app.browser().get("/revocations").header("if-none-match", &tag).await;
    assert_eq!(changed.status(), 200);
    assert_ne!(changed.header("etag"), tag);
}

#[tokio::test]
async fn a_list_is_signed_anew_before_it_ends() {
    let app = listing().await;
    let mut signed = Vec::new();
    for _ in 0..4 {
        signed.push(list(&app).await["iat"].as_i64().expect("when") - seconds(&app));
        app.advance(Duration::from_secs(20));
    }
    assert_eq!(signed, [0, -20, 0, -20]);
}

#[tokio::test]
async fn only_who_has_the_secret_is_given_the_list() {
    let app = with(json!({ "jwt": { "revocation": true, "revocation-secret": BACKENDS } })).build().await;
    let asked = async |credentials: &str| {
        app.browser().get("/revocations").header("authorization", credentials).await
    };
    for credentials in
        ["", "Bearer", "Bearer x", &format!("Basic {BACKENDS}"), &format!("Bearer {BACKENDS}x")]
    {
        let reply = asked(credentials).await;
        assert_eq!(
            reply.to_string(),
            r#"401 {"message":"Unauthorized","code":"UNAUTHORIZED"}"#,
            "{credentials}"
        );
        assert_eq!(reply.header("www-authenticate"), "Bearer");
        assert_eq!(reply.header("etag"), "");
    }
    assert_eq!(asked(&format!("bearer {BACKENDS}")).await.status(), 200);
    assert_eq!(app.browser().get("/revocations").await.status(), 401);
}

#[tokio::test]
async fn a_shared_secret_signs_the_list_and_the_list_is_no_token() {
    let options = json!({ "revocation": true, "revocation-public": true, "secret": SHARED });
    let app = with(json!({ "jwt": options, "token-api": {} })).build().await;
    let text = app.browser().get("/revocations").await.text();
    assert_eq!(part(&text, 0).to_string(), r#"{"alg":"HS256","typ":"revocations+jwt"}"#);
    assert!(Hs256::new(SHARED).open(&text).is_some());

    let keyed = listing().await;
    let signed = keyed.browser().get("/revocations").await.text();
    for (app, text) in [(&app, text), (&keyed, signed)] {
        let jwt: Jwt = serde_json::from_value(json!({ "secret": SHARED })).expect("options");
        let taken = app
            .inside(move |cx| {
                Box::pin(async move { jwt.verify(cx, &text).await.expect("the database answers") })
            })
            .await;
        assert_eq!(taken, None);
    }
}

/// A list is asked for by somebody who knows `after`.
fn waiting(app: &TestApp, after: &Value, wait: &str) -> tokio::task::JoinHandle<narthex_testkit::Exchange> {
    let (browser, path) = (app.browser(), format!("/revocations?wait={wait}&after={after}"));
    tokio::spawn(async move { browser.get(&path).await })
}

#[tokio::test]
async fn who_waits_hears_of_it_at_once() {
    let timer = InstantTimer::default();
    let options = json!({ "jwt": { "revocation": true, "revocation-public": true } });
    let app = with(options.clone()).timer(&timer).build().await;
    let browser = signed_up(&app, ADA).await;
    let (id, number) = (session_id(&browser).await, list(&app).await["seq"].clone());
    timer.stop();
    let [one, other] = [waiting(&app, &number, "25"), waiting(&app, &number, "25")];
    timer.until_waiting(2).await;
    sign_out(&browser).await;
    for waiting in [one, other] {
        let reply = waiting.await.expect("it is answered");
        assert_eq!(opened(&app, &reply.text()).await["entries"], json!([of_session(&id)]));
    }

    // What another process revokes is seen at the next look.
    let elsewhere = with(options).database(app.database()).seed(7).build().await;
    let browser = signed_up(&elsewhere, "grace@example.com").await;
    let (id, number) = (session_id(&browser).await, list(&app).await["seq"].clone());
    let waits = waiting(&app, &number, "25");
    timer.until_waiting(1).await;
    sign_out(&browser).await;
    timer.go_on();
    let reply = waits.await.expect("it is answered");
    let entries = opened(&app, &reply.text()).await["entries"].clone();
    assert!(entries.as_array().is_some_and(|entries| entries.contains(&of_session(&id))), "{entries}");
}

#[tokio::test]
async fn nobody_waits_for_longer_than_they_said_nor_when_there_is_no_need() {
    let timer = InstantTimer::default();
    let app =
        with(json!({ "jwt": { "revocation": true, "revocation-public": true } })).timer(&timer).build().await;
    sign_out(&signed_up(&app, ADA).await).await;
    let number = list(&app).await["seq"].clone();
    let _ = timer.asked();
    for (query, looks) in [
        ("", 0),
        ("?wait=5", 0),
        ("?after=1&wait=5", 0),
        (&format!("?after={number}&wait=0"), 0),
        (&format!("?after={number}&wait=-1"), 0),
        (&format!("?after={number}&wait=3"), 3),
        (&format!("?after={number}&wait=1e300"), 25),
    ] {
        let reply = app.browser().get(&format!("/revocations{query}")).await;
        assert_eq!(reply.status(), 200, "{query}");
        assert_eq!(timer.asked().len(), looks, "{query}");
    }
    let reply = app.browser().get("/revocations?wait=soon&after=x").await;
    assert_eq!(reply.status(), 400, "{reply}");

    timer.stop();
    let waits = waiting(&app, &number, "25");
    timer.until_waiting(1).await;
    app.auth().hurry();
    assert_eq!(waits.await.expect("it is answered").status(), 200, "a server that stops lets nobody wait");
}

#[tokio::test]
async fn only_so_many_wait() {
    let timer = InstantTimer::default();
    let app = with(json!({ "jwt": { "revocation": true, "revocation-public": true } }))
        .timer(&timer)
        .config(|config| config.rate_limit.enabled = Some(false))
        .build()
        .await;
    let number = list(&app).await["seq"].clone();
    timer.stop();
    let waits: Vec<_> = (0..256).map(|_| waiting(&app, &number, "25")).collect();
    timer.until_waiting(256).await;
    let beyond = waiting(&app, &number, "25").await.expect("it is answered at once");
    assert_eq!(beyond.status(), 200);
    app.auth().hurry();
    for waits in waits {
        assert_eq!(waits.await.expect("it is answered").status(), 200);
    }
}

#[tokio::test]
async fn the_number_grows_also_when_the_clock_or_the_database_is_set_back() {
    let app = listing().await;
    let ends = async |email: &str| {
        sign_out(&signed_up(&app, email).await).await;
        list(&app).await["seq"].as_i64().expect("a number")
    };
    let now = narthex::Clock::now(app.clock()).millis();
    assert_eq!(ends("a@example.com").await, now);
    assert_eq!(ends("b@example.com").await, now + 1, "in the same millisecond");
    app.store()
        .update(Revocation::KEY.eq("number"), Revocation::NUMBER.set(5_i64))
        .await
        .expect("an older state");
    app.advance(Duration::from_secs(1));
    assert_eq!(ends("c@example.com").await, now + 1_000);
}

#[tokio::test]
async fn many_at_once_are_counted_one_by_one() {
    let app = listing().await;
    let mut browsers = Vec::new();
    for index in 0..16 {
        browsers.push(signed_up(&app, &format!("{index}@example.com")).await);
    }
    let first = narthex::Clock::now(app.clock()).millis();
    let ending: Vec<_> = browsers
        .into_iter()
        .map(|browser| tokio::spawn(async move { browser.post("/sign-out", json!({})).await.status() }))
        .collect();
    for ending in ending {
        assert_eq!(ending.await.expect("it is answered"), 200);
    }
    let list = list(&app).await;
    assert_eq!(list["entries"].as_array().map(Vec::len), Some(16));
    assert_eq!(list["seq"].as_i64(), Some(first + 15));
}

#[tokio::test]
async fn sessions_that_the_database_does_not_have_are_on_the_list() {
    let redis = narthex_testkit::Redis::start().await;
    let app = with(json!({ "jwt": { "revocation": true, "revocation-public": true } }))
        .secondary(redis.storage().await)
        .build()
        .await;
    let browser = signed_up(&app, ADA).await;
    let other = app.browser();
    let body = json!({ "email": ADA, "password": "correct horse battery" });
    assert_eq!(other.post("/sign-in/email", body).await.status(), 200);
    let id = session_id(&other).await;
    assert_eq!(browser.post("/revoke-other-sessions", json!({})).await.status(), 200);
    assert_eq!(list(&app).await["entries"], json!([of_session(&id)]));
    let user = id_of(&app, ADA).await;
    assert_eq!(browser.post("/revoke-sessions", json!({})).await.status(), 200);
    let entries = list(&app).await["entries"].clone();
    assert!(
        entries.as_array().is_some_and(|entries| entries.contains(&json!([
            "u",
            hashed(&user),
            seconds(&app) + 2
        ]))),
        "{entries}"
    );
}

#[tokio::test]
async fn what_does_not_go_together_is_told_at_start() {
    for (options, problem) in [
        (json!({ "revocation": true }), "plugins.jwt.revocation-secret: is missing"),
        (
            json!({ "revocation": true, "revocation-secret": BACKENDS, "revocation-public": true }),
            "plugins.jwt.revocation-public = true: whoever has no",
        ),
        (json!({ "revocation-secret": BACKENDS }), "plugins.jwt.revocation-secret: has no effect"),
        (json!({ "revocation-public": true }), "plugins.jwt.revocation-public = true: has no effect"),
        (
            json!({ "revocation": true, "revocation-secret": "short" }),
            "plugins.jwt.revocation-secret: needs at least 32 characters",
        ),
        (
            json!({ "revocation": true, "revocation-secret": SHARED, "secret": SHARED }),
            "plugins.jwt.revocation-secret: is what signs tokens",
        ),
        (
            json!({ "revocation": true, "revocation-public": true, "jwt": { "define-payload": { "sid": "user.id" } } }),
            "plugins.jwt.jwt.define-payload.sid: is set by revocation",
        ),
    ] {
        let error = with(json!({ "jwt": options })).try_build().await.err().expect("it is refused");
        assert!(error.problems.len() == 1 && error.problems[0].starts_with(problem), "{:?}", error.problems);
    }
}
