//! A password can be guessed at a hundred times, then not for an hour, whoever guesses and in how many places.

use crate::support::{ADA, PASSWORD, ada, credentials};
use insta::assert_snapshot;
use narthex::{Attempt, Config, Ctx, Happening, Plugin, Result, Secret, Setup, SignIn, http::Reply};
use narthex_testkit::{Browser, Builder, InstantTimer, TestApp};
use serde_json::{Value, json};
use std::{collections::HashMap, time::Duration};

const LOCKED: &str = r#"429 {"message":"Too many attempts","code":"TOO_MANY_ATTEMPTS"}"#;
const WRONG: &str = r#"401 {"message":"Invalid email or password","code":"INVALID_EMAIL_OR_PASSWORD"}"#;

fn app() -> (Builder, InstantTimer) {
    let timer = InstantTimer::default();
    (TestApp::builder().timer(&timer), timer)
}

/// Without delays: for tests of the limit alone.
fn limit(max: u32) -> impl FnOnce(&mut Config) {
    move |config| {
        config.password.max_failures = max;
        config.password.delay_after = 0;
    }
}

fn wrong(email: &str) -> Value {
    json!({ "email": email, "password": "wrong password" })
}

async fn guess(app: &TestApp, email: &str) -> String {
    app.browser().post("/sign-in/email", wrong(email)).await.to_string()
}

async fn guess_often(app: &TestApp, email: &str, times: usize) {
    for number in 1..=times {
        assert_eq!(guess(app, email).await, WRONG, "guess {number}");
    }
}

async fn failures(app: &TestApp) -> Vec<i64> {
    app.rows("narthexGuess").await.iter().map(|row| row["failures"].as_i64().expect("a number")).collect()
}

/// How many of so many concurrent guesses were answered with which status.
async fn storm(apps: &[&TestApp], guesses: usize) -> HashMap<u16, usize> {
    let mut set = tokio::task::JoinSet::new();
    for number in 0..guesses {
        let browser = apps[number % apps.len()].browser();
        set.spawn(async move { browser.post("/sign-in/email", wrong(ADA)).await.status() });
    }
    let mut statuses = HashMap::new();
    for status in set.join_all().await {
        *statuses.entry(status).or_default() += 1;
    }
    statuses
}

#[tokio::test]
async fn from_the_tenth_failure_each_answer_takes_twice_as_long() {
    let (builder, timer) = app();
    let app = builder.build().await;
    guess_often(&app, ADA, 10).await;
    assert_eq!(timer.asked(), []);
    guess_often(&app, ADA, 7).await;
    let asked: Vec<_> = timer.asked().iter().map(Duration::as_millis).collect();
    assert_eq!(asked, [250, 500, 1000, 2000, 4000, 4000, 4000]);
}

#[tokio::test]
async fn the_right_password_signs_in_after_the_delay_and_clears_the_failures() {
    let (builder, timer) = app();
    let app = builder.build().await;
    ada(&app).await;
    guess_often(&app, ADA, 12).await;
    let _ = timer.asked();
    let _ = app.browser().post("/sign-in/email", credentials()).await.expecting(200);
    assert_eq!(timer.asked(), [Duration::from_secs(1)]);
    assert_eq!(failures(&app).await, [0_i64; 0]);
    guess_often(&app, ADA, 10).await;
    assert_eq!(timer.asked(), []);
}

#[tokio::test]
async fn after_a_hundred_failures_even_the_right_password_waits_for_a_quiet_hour() {
    let (builder, _timer) = app();
    let app = builder.build().await;
    ada(&app).await;
    guess_often(&app, ADA, 99).await;
    app.advance(Duration::from_mins(59));
    guess_often(&app, ADA, 1).await;
    assert_snapshot!(app.browser().post("/sign-in/email", credentials()).await.in_full(), @r#"
    429
    content-type: application/json
    x-retry-after: 3600

    {"message":"Too many attempts","code":"TOO_MANY_ATTEMPTS"}
    "#);
    // Asking again does not make it longer.
    app.advance(Duration::from_millis(3_599_001));
    let hashes = app.auth().hashes();
    assert_snapshot!(app.browser().post("/sign-in/email", credentials()).await.in_full(), @r#"
    429
    content-type: application/json
    x-retry-after: 1

    {"message":"Too many attempts","code":"TOO_MANY_ATTEMPTS"}
    "#);
    assert_eq!(app.auth().hashes(), hashes, "nothing is compared");
    app.advance(Duration::from_millis(999));
    let _ = app.browser().post("/sign-in/email", credentials()).await.expecting(200);
    assert_eq!(failures(&app).await, [0_i64; 0]);
}

#[tokio::test]
async fn after_a_quiet_hour_the_count_starts_over() {
    let app = TestApp::with_config(limit(3)).await;
    guess_often(&app, ADA, 2).await;
    app.advance(Duration::from_hours(1));
    guess_often(&app, ADA, 3).await;
    assert_eq!(guess(&app, ADA).await, LOCKED);
    assert_eq!(failures(&app).await, [3]);
}

#[tokio::test]
async fn a_sign_in_takes_its_own_count_back() {
    let app = TestApp::with_config(limit(3)).await;
    ada(&app).await;
    for _ in 0..10 {
        let _ = app.browser().post("/sign-in/email", credentials()).await.expecting(200);
    }
    assert_eq!(failures(&app).await, [0_i64; 0]);
}

#[tokio::test]
async fn an_address_is_one_account_in_any_spelling_and_another_address_is_another() {
    let app = TestApp::with_config(limit(2)).await;
    guess_often(&app, ADA, 1).await;
    guess_often(&app, "ADA@example.com", 1).await;
    assert_eq!(guess(&app, "Ada@Example.Com").await, LOCKED);
    guess_often(&app, "eve@example.com", 2).await;
    assert_eq!(failures(&app).await, [2, 2]);
}

#[tokio::test]
async fn the_table_names_nobody() {
    let app = TestApp::new().await;
    guess_often(&app, ADA, 1).await;
    let rows = app.rows("narthexGuess").await;
    let id = rows[0]["id"].as_str().expect("a text").to_owned();
    assert_eq!(rows.to_string(), format!(r#"{{"id":"{id}","failures":1,"lastAttempt":"[now]"}}"#));
    assert_eq!((id.len(), id.contains("ada")), (24, false));
}

/// The same answers, and the same work for each of them, up to the limit and beyond.
#[tokio::test]
async fn an_unknown_address_is_counted_delayed_and_refused_alike() {
    let (builder, timer) = app();
    let app = builder.config(|config| config.password.max_failures = 14).build().await;
    ada(&app).await;
    let mut seen = Vec::new();
    for email in [ADA, "nobody@example.com"] {
        let mut attempts = Vec::new();
        for _ in 0..16 {
            let before = (app.auth().hashes(), app.store().statements(), app.store().commits());
            let reply = app.browser().post("/sign-in/email", wrong(email)).await.in_full();
            let work = (
                app.auth().hashes() - before.0,
                app.store().statements() - before.1,
                app.store().commits() - before.2,
            );
            attempts.push((reply, work, timer.asked()));
        }
        seen.push(attempts);
    }
    assert_eq!(seen[0], seen[1]);
    assert!(seen[0][13].0.starts_with("401") && seen[0][14].0.starts_with("429"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_concurrent_guesses_exactly_as_many_are_compared_as_are_allowed() {
    let app = TestApp::with_config(limit(20)).await;
    ada(&app).await;
    let hashes = app.auth().hashes();
    assert_eq!(storm(&[&app], 100).await, HashMap::from([(401, 20), (429, 80)]));
    assert_eq!((app.auth().hashes() - hashes, failures(&app).await), (20, vec![20]));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_engines_on_one_database_count_together() {
    let one = TestApp::with_config(limit(20)).await;
    let other = TestApp::builder().config(limit(20)).database(one.database()).seed(2).build().await;
    assert_eq!(storm(&[&one, &other], 100).await, HashMap::from([(401, 20), (429, 80)]));
    assert_eq!(one.auth().hashes() + other.auth().hashes(), 20);
}

/// Whoever leaves before the answer has used up an attempt all the same.
#[tokio::test(flavor = "multi_thread")]
async fn guesses_that_are_given_up_are_counted() {
    let app = TestApp::with_config(|config| {
        limit(20)(config);
        config.password.bcrypt_cost = 6;
    })
    .await;
    for number in 0..200 {
        let browser = app.browser();
        let guess = tokio::spawn(async move { browser.post("/sign-in/email", wrong(ADA)).await.status() });
        for _ in 0..number % 7 {
            tokio::task::yield_now().await;
        }
        guess.abort();
    }
    // What was given up goes on; when nothing more can be compared, it has ended.
    let over = async { while guess(&app, ADA).await != LOCKED {} };
    tokio::time::timeout(Duration::from_secs(10), over).await.expect("the limit is reached");
    assert_eq!((app.auth().hashes(), failures(&app).await), (20, vec![20]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_right_passwords_at_once_are_no_attack() {
    let (builder, timer) = app();
    let app = builder.build().await;
    ada(&app).await;
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let browser = app.browser();
        set.spawn(async move { browser.post("/sign-in/email", credentials()).await.status() });
    }
    assert!(set.join_all().await.iter().all(|status| *status == 200));
    assert_eq!((timer.asked(), failures(&app).await), (Vec::new(), Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_compared_is_not_counted() {
    let app = TestApp::with_config(|config| {
        config.password.threads = std::num::NonZeroUsize::new(1);
        config.password.queue = 0;
        config.password.max_failures = 1000;
        config.password.bcrypt_cost = 8;
    })
    .await;
    let mut set = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (browser, email) = (app.browser(), format!("user-{number}@example.com"));
        set.spawn(async move {
            let exchange = browser.post("/sign-in/email", wrong(&email)).await;
            let status = exchange.status();
            if status == 503 {
                let _ = exchange.expecting(503);
            }
            status
        });
    }
    let compared = set.join_all().await.iter().filter(|status| **status == 401).count();
    assert!((1..20).contains(&compared), "{compared} compared");
    let counted: i64 = failures(&app).await.iter().sum();
    assert_eq!(usize::try_from(counted), Ok(compared));
}

#[tokio::test]
async fn only_so_many_answers_are_delayed_at_one_time() {
    let (builder, timer) = app();
    let app = builder.config(|config| config.password.delay_after = 1).build().await;
    let addresses: Vec<_> = (0..257).map(|number| format!("user-{number}@example.com")).collect();
    for address in &addresses {
        guess_often(&app, address, 1).await;
    }
    timer.stop();
    let mut set = tokio::task::JoinSet::new();
    for address in &addresses[..256] {
        let browser = app.browser();
        let body = wrong(address);
        set.spawn(async move { browser.post("/sign-in/email", body).await.status() });
    }
    timer.until_waiting(256).await;
    assert_snapshot!(app.browser().post("/sign-in/email", wrong(&addresses[256])).await.in_full(), @r#"
    429
    content-type: application/json
    x-retry-after: 1

    {"message":"Too many attempts","code":"TOO_MANY_ATTEMPTS"}
    "#);
    // Nobody else notices.
    guess_often(&app, ADA, 1).await;
    timer.go_on();
    assert!(set.join_all().await.iter().all(|status| *status == 401));
    let counted: i64 = failures(&app).await.iter().sum();
    assert_eq!(counted, 257 + 256 + 1, "what was turned away compared nothing");
}

/// Stands in for a second factor.
struct Interrupts;

impl Plugin for Interrupts {
    const ID: &'static str = "interrupts";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.on_sign_in(Self::interrupt);
    }
}

impl Interrupts {
    async fn interrupt(&self, _cx: &mut Ctx, _sign_in: &SignIn) -> Result<Option<Reply>> {
        Ok(Some(Reply::json(&json!({ "next": "factor" }))))
    }
}

#[tokio::test]
async fn a_right_password_is_no_failure_where_something_else_stops_the_sign_in() {
    let app = TestApp::builder().plugin(Interrupts).config(limit(3)).build().await;
    ada(&app).await;
    for _ in 0..5 {
        let reply = app.browser().post("/sign-in/email", credentials()).await;
        assert_eq!(reply.to_string(), r#"200 {"next":"factor"}"#);
    }
    let unverified = TestApp::builder()
        .config(limit(3))
        .config(|config| config.email_and_password.require_email_verification = true)
        .build()
        .await;
    ada(&unverified).await;
    for _ in 0..5 {
        let reply = unverified.browser().post("/sign-in/email", credentials()).await;
        assert_eq!(reply.to_string(), r#"403 {"message":"Email not verified","code":"EMAIL_NOT_VERIFIED"}"#);
    }
    assert_eq!((failures(&app).await, failures(&unverified).await), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn a_request_that_checks_twice_does_not_wait_for_itself() {
    // Two at most: a lane in which one attempt has room.
    let app = TestApp::with_config(limit(2)).await;
    let checked = app.inside(|cx| {
        Box::pin(async move {
            let password = Secret::from(PASSWORD.to_owned());
            let hash = cx.hash(&password).await.expect("a hash");
            let told_as = Happening::SIGN_IN_FAILED;
            let attempt = Attempt { told_as, account: ADA, user_id: None, stored: Some(&hash) };
            let first = cx.check_password(attempt, &password).await.expect("counted");
            (first, cx.check_password(attempt, &password).await.expect("counted"))
        })
    });
    assert_eq!(checked.await, (true, true));
    assert_eq!(failures(&app).await, [0_i64; 0]);
}

#[tokio::test]
async fn whoever_has_proven_themselves_in_another_way_is_forgiven() {
    let app = TestApp::with_config(limit(1)).await;
    for transacts in [true, false] {
        guess_often(&app, ADA, 1).await;
        assert_eq!(guess(&app, ADA).await, LOCKED);
        let forgive = app.inside(move |cx| {
            Box::pin(async move {
                cx.forgive("Ada@Example.com");
                if transacts { cx.transact(async |_tx| Ok(())).await } else { Ok(()) }
            })
        });
        forgive.await.expect("a transaction");
        assert_eq!(failures(&app).await, [0_i64; 0]);
    }
}

#[tokio::test]
async fn a_transaction_that_fails_forgets_nothing_and_the_end_of_the_request_does() {
    let app = TestApp::with_config(limit(1)).await;
    guess_often(&app, ADA, 1).await;
    let database = app.database().clone();
    let counts = app.inside(move |cx| {
        Box::pin(async move {
            cx.forgive(ADA);
            let failing = cx.transact(async |_tx| Err::<(), _>(narthex::Error::internal("undone"))).await;
            (failing.is_err(), database.rows("narthexGuess", None).await.len())
        })
    });
    assert_eq!(counts.await, (true, 1));
    assert_eq!(failures(&app).await, [0_i64; 0]);
}

#[tokio::test]
async fn nothing_is_counted_where_it_is_switched_off() {
    let app = TestApp::with_config(|config| config.password.max_failures = 0).await;
    ada(&app).await;
    let tables = app.store().schema().tables().map(|table| table.name).collect::<Vec<_>>();
    assert_eq!(tables, ["user", "session", "account", "verification", "audit_log"]);
    guess_often(&app, ADA, 120).await;
    let before = (app.store().statements(), app.store().commits());
    let _ = app.browser().post("/sign-in/email", credentials()).await.expecting(200);
    assert_eq!((app.store().statements() - before.0, app.store().commits() - before.1), (4, 1));
}

/// One statement and one commit to count, one statement in the session's own transaction to take it back.
#[tokio::test]
async fn a_sign_in_costs_two_statements_and_a_commit_more() {
    let app = TestApp::new().await;
    ada(&app).await;
    let before = (app.store().statements(), app.store().commits());
    let _ = app.browser().post("/sign-in/email", credentials()).await.expecting(200);
    assert_eq!((app.store().statements() - before.0, app.store().commits() - before.1), (6, 2));
}

#[tokio::test]
async fn a_password_that_cannot_be_right_is_not_counted() {
    let app = TestApp::new().await;
    for body in [
        json!({ "email": "no address", "password": PASSWORD }),
        json!({ "email": ADA, "password": "x".repeat(129) }),
        json!({ "email": ADA, "password": PASSWORD, "callbackURL": "https://evil.example" }),
    ] {
        let status = app.browser().post("/sign-in/email", body).await.status();
        assert!((400..404).contains(&status), "{status}");
    }
    assert_eq!(failures(&app).await, [0_i64; 0]);
}

#[tokio::test]
async fn a_count_that_cannot_be_kept_lets_nobody_in() {
    let app = TestApp::new().await;
    ada(&app).await;
    app.database().execute(r#"alter table "narthexGuess" rename to "gone""#).await;
    let _ = app.browser().post("/sign-in/email", credentials()).await.expecting(500);
    let _ = app.browser().post("/sign-in/email", wrong("nobody@example.com")).await.expecting(500);
}

#[tokio::test]
async fn a_quiet_period_of_nothing_is_a_mistake() {
    let refused = TestApp::builder().config(|config| config.password.quiet_period = 0).try_build().await;
    assert_eq!(
        refused.err().expect("a mistake").to_string(),
        "password.quiet-period = 0: must be at least 1 second; password.max-failures = 0 counts nothing"
    );
}

/// Every endpoint that compares a password: whoever has a session can guess at none of them more often than a stranger.
#[tokio::test]
async fn a_hundred_guesses_in_one_place_are_a_hundred_in_every_place() {
    let asks = |browser: &Browser, path: &str, password: &str| {
        let body = match path {
            "/sign-in/email" => json!({ "email": ADA, "password": password }),
            "/verify-password" => json!({ "password": password }),
            _ => json!({ "currentPassword": password, "newPassword": PASSWORD }),
        };
        browser.post(path, body)
    };
    let invalid = r#"400 {"message":"Invalid password","code":"INVALID_PASSWORD"}"#;
    let places = [("/verify-password", invalid), ("/change-password", invalid), ("/sign-in/email", WRONG)];
    for (place, wrong) in places {
        let app = TestApp::with_config(|config| config.password.delay_after = 0).await;
        let browser = ada(&app).await;
        for number in 1..=100 {
            assert_eq!(asks(&browser, place, "wrong password").await.to_string(), wrong, "{place} {number}");
        }
        let hashes = app.auth().hashes();
        for (other, _) in places {
            for password in ["wrong password", PASSWORD] {
                assert_eq!(
                    asks(&browser, other, password).await.to_string(),
                    LOCKED,
                    "{place}, then {other}"
                );
            }
        }
        assert_eq!(app.auth().hashes(), hashes, "nothing is compared");
        app.advance(Duration::from_hours(1));
        let _ = asks(&browser, place, PASSWORD).await.expecting(200);
    }
}

#[tokio::test]
async fn guesses_in_different_places_add_up() {
    let app = TestApp::with_config(limit(6)).await;
    let browser = ada(&app).await;
    for _ in 0..2 {
        let verify = json!({ "password": "wrong password" });
        let change = json!({ "currentPassword": "wrong password", "newPassword": PASSWORD });
        let _ = browser.post("/verify-password", verify).await.expecting(400);
        let _ = browser.post("/change-password", change).await.expecting(400);
        let _ = browser.post("/sign-in/email", wrong(ADA)).await.expecting(401);
    }
    assert_eq!(failures(&app).await, [6]);
    assert_eq!(browser.post("/verify-password", json!({ "password": PASSWORD })).await.to_string(), LOCKED);
}
