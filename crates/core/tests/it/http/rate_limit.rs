//! How often a client may ask.

use crate::support::{ada, credentials};
use futures_util::future::join_all;
use http::Method;
use narthex::{Config, CustomRules, Rate, RateLimitStorage, prelude::*};
use narthex_testkit::{Dialect, TestApp};
use serde_json::json;
use std::time::Duration;

const STORAGES: [RateLimitStorage; 2] = [RateLimitStorage::Memory, RateLimitStorage::Database];

fn limited(storage: RateLimitStorage, max: u32) -> impl FnOnce(&mut Config) {
    move |config| {
        config.rate_limit.enabled = Some(true);
        config.rate_limit.storage = Some(storage);
        config.rate_limit.max = max;
    }
}

async fn statuses(app: &TestApp, path: &str, times: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..times {
        statuses.push(app.browser().get(path).await.status());
    }
    statuses
}

#[tokio::test]
async fn a_client_that_asks_too_often_is_told_when_to_come_back() {
    for storage in STORAGES {
        let app = TestApp::with_config(limited(storage, 2)).await;
        assert_eq!(statuses(&app, "/ok", 3).await, [200, 200, 429]);
        let refused = app.browser().get("/ok").await.in_full();
        assert_eq!(
            refused,
            "429\ncontent-type: application/json\nx-retry-after: 10\n\n{\"message\":\"Too many requests. Please try again later.\"}"
        );
        assert_eq!(statuses(&app, "/get-session", 1).await, [200], "another endpoint");

        app.advance(Duration::from_millis(8_001));
        assert_eq!(app.browser().get("/ok").await.header("x-retry-after"), "2");
        app.advance(Duration::from_millis(1_999));
        assert_eq!(statuses(&app, "/ok", 3).await, [200, 200, 429], "refusals have not lengthened the wait");
    }
}

#[tokio::test]
async fn guessing_passwords_is_limited_unless_somebody_says_otherwise() {
    // The default of whoever embeds the library, too.
    let app = TestApp::with_config(|config| config.rate_limit.enabled = None).await;
    ada(&app).await;
    let browser = app.browser();
    for expected in [200, 200, 200, 429, 429] {
        assert_eq!(browser.post("/sign-in/email", credentials()).await.status(), expected);
    }
    assert_eq!(app.auth().hashes(), 4, "who is refused costs no hash");
    app.advance(Duration::from_secs(10));
    assert_eq!(browser.post("/sign-in/email", credentials()).await.status(), 200);

    let development = TestApp::with_config(|config| {
        config.rate_limit.enabled = None;
        config.environment = narthex::Environment::Development;
    });
    let development = development.await;
    for _ in 0..5 {
        assert_eq!(development.browser().post("/sign-in/email", credentials()).await.status(), 401);
    }
}

#[tokio::test]
async fn processes_that_share_a_database_share_their_counts_without_being_told_to() {
    let app = TestApp::with_config(|config| config.rate_limit.enabled = None).await;
    let has_table = app.store().schema().table("rateLimit").is_some();
    assert_eq!(has_table, app.database().dialect() == Dialect::Postgres);
}

#[tokio::test]
async fn what_is_counted_in_the_database_is_what_upstream_would_have_counted() {
    let app = TestApp::with_config(limited(RateLimitStorage::Database, 5)).await;
    let browser = app.browser();
    for address in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "2001:db8::2"] {
        assert_eq!(browser.get("/ok").header("x-forwarded-for", address).await.status(), 200);
    }
    assert_eq!(browser.get("/nobody").await.status(), 404);
    let mut rows: Vec<_> = app
        .rows("rateLimit")
        .await
        .iter()
        .map(|row| (row["key"].to_string(), row["count"].as_i64(), row["lastRequest"].as_i64()))
        .collect();
    rows.sort();
    let now = Some(narthex::Clock::now(app.clock()).millis());
    assert_eq!(
        rows,
        [
            (r#""127.0.0.1|*""#.to_owned(), Some(1), now),
            (r#""192.0.2.1|/ok""#.to_owned(), Some(2), now),
            (r#""2001:0db8:0000:0000:0000:0000:0000:0000|/ok""#.to_owned(), Some(2), now),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_at_once_exactly_so_many_pass() {
    for storage in STORAGES {
        let app = TestApp::with_config(limited(storage, 7)).await;
        let answers = join_all((0..100).map(|_| async { app.browser().get("/ok").await.status() })).await;
        let passed = answers.iter().filter(|status| **status == 200).count();
        let refused = answers.iter().filter(|status| **status == 429).count();
        assert_eq!((passed, refused), (7, 93), "{storage:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_at_once_in_two_engines_on_one_database_exactly_so_many_pass() {
    let one = TestApp::with_config(limited(RateLimitStorage::Database, 7)).await;
    let two = TestApp::builder().config(limited(RateLimitStorage::Database, 7));
    let two = two.database(one.database()).seed(2).build().await;
    for round in 0..5 {
        let answers = join_all((0..100).map(|number| {
            let app = if number % 2 == 0 { &one } else { &two };
            let call = app.browser().get("/ok");
            async move { call.await.status() }
        }));
        let passed = answers.await.iter().filter(|status| **status == 200).count();
        assert_eq!(passed, 7, "round {round}");
        one.advance(Duration::from_secs(10));
        two.advance(Duration::from_secs(10));
    }
    assert_eq!(one.rows("rateLimit").await.len(), 1);
}

#[tokio::test]
async fn whoever_is_refused_costs_the_database_nothing() {
    let app = TestApp::with_config(limited(RateLimitStorage::Database, 1)).await;
    assert_eq!(statuses(&app, "/ok", 2).await, [200, 429]);
    let before = app.store().statements();
    assert_eq!(statuses(&app, "/ok", 50).await, [429; 50]);
    assert_eq!(app.store().statements(), before);
}

#[tokio::test]
async fn who_cannot_be_counted_is_not_let_through() {
    let app = TestApp::with_config(limited(RateLimitStorage::Database, 5)).await;
    app.database().execute("drop table \"rateLimit\"").await;
    let reply = app.browser().get("/ok").await.expecting(500);
    assert_eq!(reply.text(), "");
    let reply = app.browser().post("/sign-in/email", credentials()).await.expecting(500);
    assert_eq!((reply.text().as_str(), app.auth().hashes()), ("", 0));
}

#[tokio::test]
async fn paths_that_are_no_endpoints_share_one_count() {
    for storage in STORAGES {
        let app = TestApp::with_config(limited(storage, 20)).await;
        for number in 0..20 {
            assert_eq!(statuses(&app, &format!("/nobody/{number}"), 1).await, [404]);
        }
        assert_eq!(statuses(&app, "/anything/else", 1).await, [429]);
        assert_eq!(statuses(&app, "/ok", 1).await, [200], "endpoints are counted apart");
        for number in 0..3 {
            assert_eq!(statuses(&app, &format!("/sign-in/{number}"), 1).await, [404]);
        }
        assert_eq!(statuses(&app, "/sign-in/other", 1).await, [429], "a path of a stricter rule");
    }
}

/// Has a path with a parameter, and a limit for it.
struct Things;

output! {
    struct Thing { id: String }
}

impl Plugin for Things {
    const ID: &'static str = "things";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.get("/things/:id", Self::thing);
        setup.post("/things/:id/close", Self::thing);
        setup.rate_limit(["/things/**"], Rate { max: 4, window: 30 });
    }
}

impl Things {
    /// `GET /things/:id`
    async fn thing(&self, cx: &mut Ctx) -> Result<Json<Thing>> {
        Ok(Json(Thing { id: cx.parameter("id").unwrap_or_default().to_owned() }))
    }
}

#[tokio::test]
async fn a_path_with_a_parameter_has_one_count_for_all_values() {
    for storage in STORAGES {
        let app = TestApp::builder().plugin(Things).config(limited(storage, 50)).build().await;
        for spelling in ["/things/1", "/things/%31", "/things/2", "/things/anything"] {
            assert_eq!(statuses(&app, spelling, 1).await, [200], "{spelling}");
        }
        for spelling in ["/things/1", "/things/1/", "/things/%32", "/things/new"] {
            assert_eq!(statuses(&app, spelling, 1).await, [429], "{spelling}");
        }
        let reply = app.browser().request(Method::DELETE, "/things/1").await;
        assert_eq!(reply.status(), 429, "a method that it does not answer");
        assert_eq!(app.browser().post("/things/1/close", json!({})).await.status(), 200, "another path");
    }
}

#[tokio::test]
async fn a_path_with_a_parameter_is_switched_off_for_all_values_or_for_one() {
    for (disabled, other) in [("/things/:id", 404), ("/things/1", 200)] {
        let app = TestApp::builder().plugin(Things);
        let app = app.config(|config| config.disabled_paths = vec![disabled.to_owned()]).build().await;
        assert_eq!(statuses(&app, "/things/1", 1).await, [404]);
        assert_eq!(statuses(&app, "/things/2", 1).await, [other]);
        assert_eq!(app.browser().post("/things/1/close", json!({})).await.status(), 200, "another path");
    }
}

#[tokio::test]
async fn the_operators_rules_come_first_in_the_order_in_which_they_are_written() {
    let app = TestApp::builder().plugin(Things).config(|config| {
        limited(RateLimitStorage::Memory, 3)(config);
        let rule = |path: &str, rate| (path.to_owned(), rate);
        config.rate_limit.custom_rules = CustomRules(vec![
            rule("/things/free", None),
            rule("/things/*", Some(Rate { max: 1, window: 60 })),
            rule("/things/rich", None),
        ]);
    });
    let app = app.build().await;
    assert_eq!(statuses(&app, "/things/free", 9).await, [200; 9]);
    assert_eq!(statuses(&app, "/things/rich", 2).await, [200, 429]);
    assert_eq!(statuses(&app, "/things/poor", 1).await, [429]);
    app.advance(Duration::from_secs(59));
    assert_eq!(app.browser().get("/things/poor").await.header("x-retry-after"), "1");
}

#[tokio::test]
async fn without_addresses_nothing_is_counted_and_nothing_remembered() {
    let app = TestApp::with_config(|config| {
        limited(RateLimitStorage::Memory, 1)(config);
        config.advanced.ip_address.disable_ip_tracking = true;
    })
    .await;
    assert_eq!(statuses(&app, "/ok", 5).await, [200; 5]);
    ada(&app).await;
    assert_eq!(app.rows("session").await[0]["ipAddress"], "");
}

#[tokio::test]
async fn a_request_that_came_over_no_socket_shares_its_count_with_all_such() {
    let app = TestApp::with_config(limited(RateLimitStorage::Memory, 2)).await;
    let ask = |forwarded: &'static str| {
        let request = http::Request::get("/api/auth/ok").header("x-forwarded-for", forwarded);
        let auth = app.auth().clone();
        async move { auth.handle(request.body(bytes::Bytes::new()).expect("a request")).await.status() }
    };
    assert_eq!([ask("192.0.2.1").await, ask("192.0.2.2").await, ask("192.0.2.3").await], [200, 200, 429]);
}

#[tokio::test]
async fn what_is_not_below_the_base_path_is_not_counted() {
    let app = TestApp::with_config(limited(RateLimitStorage::Memory, 1)).await;
    for _ in 0..3 {
        for path in ["/ok", "/health", "/api/auth", "/api/authok"] {
            let request = http::Request::get(path).body(bytes::Bytes::new()).expect("a request");
            assert_eq!(app.auth().handle(request).await.status(), 404);
        }
    }
    assert_eq!(statuses(&app, "/ok", 1).await, [200]);
}
