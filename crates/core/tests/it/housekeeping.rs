//! What has ended goes, a little at a time, when somebody writes.

use crate::support::{ADA, ada, credentials};
use narthex::{Config, GenerateId, RateLimitStorage};
use narthex_testkit::{Redis, TestApp};
use serde_json::json;
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

/// Writes, which is what housekeeping waits for.
async fn write(app: &TestApp) {
    let wrong = json!({ "email": "somebody@example.com", "password": "wrong password" });
    let _ = app.browser().post("/sign-in/email", wrong).await.expecting(401);
}

/// Lets days pass, on each of which somebody writes: a clock that runs further ahead is not believed.
async fn days(app: &TestApp, number: usize) {
    for _ in 0..number {
        app.advance(DAY);
        write(app).await;
        a_moment().await;
    }
}

/// What happens beside the request has this long.
async fn until(app: &TestApp, table: &str, expected: usize) {
    let done = async {
        while app.rows(table).await.len() != expected {
            tokio::task::yield_now().await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(10), done).await;
    assert!(done.is_ok(), "{} rows of {table}, not {expected}", app.rows(table).await.len());
}

/// Gives what must not happen the chance to happen.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

fn undelayed(config: &mut Config) {
    config.password.delay_after = 0;
}

/// Gives Ada as many sessions that ended long ago.
async fn add_ended(app: &TestApp, number: usize) {
    let time = "'2020-01-01T00:00:00.000Z'";
    let row = |number: usize| {
        format!(
            r#"select 'old-{number:05}', 'token-{number}', {time}, {time}, {time}, "id" from "user" where "email" = '{ADA}'"#
        )
    };
    let rows: Vec<_> = (0..number).map(row).collect();
    for rows in rows.chunks(400) {
        let columns = r#""id", "token", "expiresAt", "createdAt", "updatedAt", "userId""#;
        // PostgreSQL takes texts for times in a list of values, and not in a select.
        let rows = rows.join(" union all ").replace(time, &timestamp(app, time));
        app.database().execute(&format!(r#"insert into "session" ({columns}) {rows}"#)).await;
    }
}

fn timestamp(app: &TestApp, time: &str) -> String {
    if app.database().url().starts_with("sqlite:") { time.to_owned() } else { format!("{time}::timestamptz") }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_go_a_week_after_their_end_when_somebody_writes() {
    let app = TestApp::with_config(undelayed).await;
    ada(&app).await;
    days(&app, 14).await;
    assert_eq!(app.rows("session").await.len(), 1, "it ended a week ago and not a moment more");
    app.advance(Duration::from_mins(1));
    let _ = app.browser().get("/get-session").await.expecting(200);
    a_moment().await;
    assert_eq!(app.rows("session").await.len(), 1, "who only reads sets nothing going");
    write(&app).await;
    until(&app, "session", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_goes_on_where_the_last_one_stopped() {
    let app = TestApp::with_config(undelayed).await;
    let browser = ada(&app).await;
    add_ended(&app, 2500).await;
    app.advance(Duration::from_mins(1));
    write(&app).await;
    until(&app, "session", 1).await;
    assert!(browser.get("/get-session").await.json().is_object(), "who is signed in stays so");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_the_database_numbers_go_too() {
    let app = TestApp::with_config(|config| config.advanced.database.generate_id = Some(GenerateId::Serial));
    let app = app.await;
    ada(&app).await;
    days(&app, 13).await;
    let browser = app.browser();
    let _ = browser.post("/sign-in/email", credentials()).await.expecting(200);
    app.advance(2 * DAY);
    write(&app).await;
    until(&app, "session", 1).await;
    assert!(browser.get("/get-session").await.json().is_object(), "the one that ended is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_ahead_has_nothing_deleted() {
    let app = TestApp::with_config(undelayed).await;
    ada(&app).await;
    write(&app).await;
    let entries = app.rows("audit_log").await.len();
    app.advance(3650 * DAY);
    for _ in 0..3 {
        write(&app).await;
        a_moment().await;
        app.advance(Duration::from_mins(1));
    }
    assert_eq!(app.rows("session").await.len(), 1);
    assert_eq!(app.rows("audit_log").await.len(), entries + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_are_to_stay_stay() {
    let redis = Redis::start().await;
    let builder = TestApp::builder().secondary(redis.storage().await).config(|config| {
        config.session.store_session_in_database = true;
        config.session.preserve_session_in_database = true;
    });
    let app = builder.build().await;
    ada(&app).await;
    days(&app, 16).await;
    until(&app, "narthexGuess", 1).await;
    assert_eq!(app.rows("session").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_of_wrong_passwords_go_after_the_quiet_hour() {
    let app = TestApp::with_config(undelayed).await;
    let old = |number: usize| format!("('old-{number}', 1, '2020-01-01T00:{:02}:00.000Z')", number % 60);
    let rows: Vec<_> = (0..1203).map(old).collect();
    let statement =
        format!(r#"insert into "narthexGuess" ("id", "failures", "lastAttempt") values {}"#, rows.join(", "));
    app.database().execute(&statement).await;
    write(&app).await;
    a_moment().await;
    assert_eq!(app.rows("narthexGuess").await.len(), 1204, "not with the first write");
    app.advance(Duration::from_mins(1));
    write(&app).await;
    until(&app, "narthexGuess", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_deletes_so_much_and_the_next_one_the_rest() {
    let app = TestApp::with_config(undelayed).await;
    let old = |number: usize| format!("('old-{number}', 1, '2020-01-01T00:00:00.000Z')");
    let rows: Vec<_> = (0..10_010).map(old).collect();
    let statement =
        format!(r#"insert into "narthexGuess" ("id", "failures", "lastAttempt") values {}"#, rows.join(", "));
    app.database().execute(&statement).await;
    write(&app).await;
    app.advance(Duration::from_mins(1));
    write(&app).await;
    until(&app, "narthexGuess", 11).await;
    write(&app).await;
    a_moment().await;
    assert_eq!(app.rows("narthexGuess").await.len(), 11, "not twice in a minute");
    app.advance(Duration::from_mins(1));
    write(&app).await;
    until(&app, "narthexGuess", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_of_requests_go_after_the_longest_window() {
    let app = TestApp::with_config(|config| {
        config.rate_limit.enabled = Some(true);
        config.rate_limit.storage = Some(RateLimitStorage::Database);
    })
    .await;
    let ask = async |last: u32| {
        let address = format!("192.0.2.{last}");
        let _ = app.browser().get("/ok").header("x-forwarded-for", &address).await.expecting(200);
    };
    for last in 1..=9 {
        ask(last).await;
    }
    app.advance(Duration::from_mins(1));
    ask(10).await;
    a_moment().await;
    assert_eq!(app.rows("rateLimit").await.len(), 10, "their window is just over");
    app.advance(Duration::from_mins(1));
    ask(11).await;
    until(&app, "rateLimit", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_down_goes_when_it_is_old_enough() {
    let app = TestApp::with_config(|config| {
        undelayed(config);
        config.audit.retention = 2 * 86_400;
    })
    .await;
    ada(&app).await;
    app.advance(DAY);
    write(&app).await;
    a_moment().await;
    assert_eq!(app.rows("audit_log").await.len(), 3);
    app.advance(DAY + Duration::from_millis(1));
    write(&app).await;
    until(&app, "audit_log", 2).await;
    assert!(app.rows("audit_log").await.iter().all(|row| row["event"] == "sign-in.failed"));
    let kept = TestApp::with_config(|config| config.audit.retention = 0).await;
    ada(&kept).await;
    for _ in 0..16 {
        kept.advance(DAY);
        let _ = kept.browser().post("/sign-in/email", credentials()).await.expecting(200);
        a_moment().await;
    }
    until(&kept, "session", 15).await;
    assert_eq!(kept.rows("audit_log").await.len(), 18);
}

#[tokio::test(flavor = "multi_thread")]
async fn verifications_that_nobody_looks_for_go_too() {
    let app = TestApp::with_config(undelayed).await;
    let times = "'2020-01-01T00:00:00.000Z', '2020-01-01T00:00:00.000Z', '2020-01-01T00:00:00.000Z'";
    let columns = r#""id", "identifier", "value", "expiresAt", "createdAt", "updatedAt""#;
    let statement =
        format!(r#"insert into "verification" ({columns}) values ('old', 'old', 'a-user', {times})"#);
    app.database().execute(&statement).await;
    write(&app).await;
    app.advance(Duration::from_mins(1));
    write(&app).await;
    until(&app, "verification", 0).await;
}
