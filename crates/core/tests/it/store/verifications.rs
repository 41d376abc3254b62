//! Verifications that nobody has redeemed in time.

use narthex::store::Tx;
use narthex_testkit::TestApp;
use std::time::Duration;

const MINUTE: Duration = Duration::from_mins(1);
const MILLISECOND: Duration = Duration::from_millis(1);

async fn issue(app: &TestApp, identifier: &'static str, lifetime: Duration) {
    let issued = app.inside(move |cx| {
        Box::pin(cx.transact(async move |tx: &mut Tx| {
            tx.verifications().issue(identifier, "a-user", lifetime).await.map(drop)
        }))
    });
    issued.await.expect("it is issued");
}

async fn look(app: &TestApp, identifier: &'static str) -> bool {
    let found = app.inside(move |cx| {
        Box::pin(async move { cx.verifications().by_identifier(identifier).await.expect("an answer") })
    });
    found.await.is_some()
}

async fn identifiers(app: &TestApp) -> Vec<String> {
    let rows = app.rows("verification").await;
    let mut identifiers: Vec<_> =
        rows.iter().map(|row| row["identifier"].as_str().expect("a text").to_owned()).collect();
    identifiers.sort();
    identifiers
}

async fn redeem(app: &TestApp, identifier: &'static str) -> bool {
    let redeemed = app.inside(move |cx| Box::pin(cx.redeem(identifier, async |_: &mut Tx, _| Ok(()))));
    redeemed.await.expect("an answer").is_some()
}

/// What happens beside the request has this long.
async fn until(app: &TestApp, expected: &[&str]) {
    let done = async {
        while identifiers(app).await != expected {
            tokio::task::yield_now().await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(5), done).await;
    assert!(done.is_ok(), "{:?}", identifiers(app).await);
}

/// Gives what must not happen the chance to happen.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn a_verification_is_good_to_its_last_millisecond() {
    let app = TestApp::new().await;
    for (waited, is_good) in [(MINUTE, true), (MINUTE + MILLISECOND, false)] {
        issue(&app, "link", MINUTE).await;
        app.advance(waited);
        assert_eq!(redeem(&app, "link").await, is_good, "after {waited:?}");
        assert_eq!(identifiers(&app).await, [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_is_deleted_once_a_minute_when_somebody_looks() {
    let app = TestApp::new().await;
    issue(&app, "long", 60 * MINUTE).await;
    issue(&app, "short", MINUTE).await;
    issue(&app, "longer", MINUTE + MILLISECOND).await;
    app.advance(MINUTE + MILLISECOND);
    assert!(look(&app, "short").await, "who looks is told that there was something");
    until(&app, &["long", "longer"]).await;
    assert!(!look(&app, "short").await);

    app.advance(MINUTE.saturating_sub(MILLISECOND));
    assert!(look(&app, "longer").await);
    a_moment().await;
    assert_eq!(identifiers(&app).await, ["long", "longer"], "not twice in a minute");
    app.advance(MILLISECOND);
    assert!(!look(&app, "nothing").await);
    until(&app, &["long"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_stays_where_it_is_to_stay() {
    let app = TestApp::with_config(|config| config.verification.disable_cleanup = true).await;
    issue(&app, "short", MINUTE).await;
    app.advance(2 * MINUTE);
    assert!(look(&app, "short").await);
    a_moment().await;
    assert_eq!(identifiers(&app).await, ["short"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_one_statement_deletes_goes_too() {
    let app = TestApp::new().await;
    issue(&app, "long", MINUTE).await;
    let old = |number: usize| {
        let time = "'2020-01-01T00:00:00.000Z'";
        format!("('old-{number}', 'old', 'a-user', {time}, {time}, {time})")
    };
    let rows: Vec<_> = (0..1203).map(old).collect();
    let columns = r#""id", "identifier", "value", "expiresAt", "createdAt", "updatedAt""#;
    let statement = format!(r#"insert into "verification" ({columns}) values {}"#, rows.join(", "));
    app.database().execute(&statement).await;
    assert!(look(&app, "long").await);
    until(&app, &["long"]).await;
}
