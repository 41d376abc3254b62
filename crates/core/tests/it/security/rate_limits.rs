//! Ways in which people have escaped a limit.

use crate::support::{ADA, PASSWORD, ada, credentials};
use narthex::{Config, RateLimitStorage, prelude::*};
use narthex_testkit::{Redis, TestApp};
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

fn limited(config: &mut Config) {
    config.rate_limit.enabled = Some(true);
    config.rate_limit.storage = Some(RateLimitStorage::Memory);
}

/// Whoever has an IPv6 address has 2^64 of them, and each can be written in many ways.
#[tokio::test]
async fn ghsa_p6v2_xcpg_h6xw_no_spelling_of_an_address_and_no_neighbour_has_a_count_of_its_own() {
    for (addresses, elsewhere) in [
        (
            vec![
                "2001:db8:1:2::1".to_owned(),
                "2001:0db8:0001:0002:0000:0000:0000:0001".to_owned(),
                "2001:DB8:1:2::1".to_owned(),
                "2001:db8:1:2:0:0:0.0.0.1".to_owned(),
            ]
            .into_iter()
            .chain((0..200).map(|host| format!("2001:db8:1:2:{host:x}:ffff::{host:x}")))
            .collect::<Vec<_>>(),
            "2001:db8:1:3::1",
        ),
        (
            [
                "192.0.2.7",
                "::ffff:192.0.2.7",
                "::FFFF:192.0.2.7",
                "::ffff:c000:207",
                "0:0:0:0:0:ffff:c000:0207",
            ]
            .map(str::to_owned)
            .to_vec(),
            "192.0.2.8",
        ),
    ] {
        let app = TestApp::with_config(limited).await;
        let browser = app.browser();
        let mut refused = 0;
        for address in &addresses {
            let call = browser.post("/sign-in/email", credentials()).header("x-forwarded-for", address);
            refused += usize::from(call.await.status() == 429);
        }
        assert_eq!(refused, addresses.len() - 3);
        let call = browser.post("/sign-in/email", credentials()).header("x-forwarded-for", elsewhere);
        assert_eq!(call.await.status(), 401, "a neighbour is somebody else");
    }
}

/// What a client writes into the header stands to the left of what its proxy adds.
#[tokio::test]
async fn a_client_cannot_choose_the_address_it_is_counted_by() {
    let app = TestApp::with_config(limited).await;
    let mut answers = Vec::new();
    for number in 0..20 {
        let forwarded = format!("198.51.100.{number}, 192.0.2.7");
        let call = app.browser().post("/sign-in/email", credentials()).header("x-forwarded-for", &forwarded);
        answers.push(call.await.status());
    }
    assert_eq!(answers.iter().filter(|status| **status == 429).count(), 17);
    let app = TestApp::with_config(|config| {
        limited(config);
        config.advanced.trusted_proxies = Some(Vec::new());
    })
    .await;
    let mut answers = Vec::new();
    for number in 0..20 {
        let forwarded = format!("198.51.100.{number}");
        let call = app.browser().post("/sign-in/email", credentials()).header("x-forwarded-for", &forwarded);
        answers.push(call.await.status());
    }
    assert_eq!(answers.iter().filter(|status| **status == 429).count(), 17);
}

/// Counts how often it is asked.
#[derive(Clone, Default)]
struct Counts(Arc<AtomicUsize>);

impl Plugin for Counts {
    const ID: &'static str = "counts";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.before("/**", Self::count);
    }
}

impl Counts {
    async fn count(&self, _: &mut Ctx) -> Result<Option<Reply>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(None)
    }
}

/// A plugin may send a message, or ask another server: who is refused must not make it.
#[tokio::test]
async fn no_plugin_sees_what_is_too_often() {
    for storage in [RateLimitStorage::Memory, RateLimitStorage::Database] {
        let counts = Counts::default();
        let app = TestApp::builder().plugin(counts.clone()).config(|config| {
            limited(config);
            config.rate_limit.storage = Some(storage);
            config.rate_limit.max = 1;
        });
        let app = app.build().await;
        assert_eq!(app.browser().get("/ok").await.status(), 200);
        assert_eq!(app.browser().get("/ok").await.status(), 429);
        assert_eq!(counts.0.load(Ordering::SeqCst), 1);
    }
}

/// Fail-open would give whoever can make the storage slow as many guesses as they like.
#[tokio::test]
async fn ghsa_8fpg_where_nothing_can_be_counted_nothing_is_compared() {
    let mut redis = Redis::start().await;
    let app = TestApp::builder()
        .secondary(redis.storage().await)
        .config(|config| config.rate_limit.enabled = Some(true))
        .build()
        .await;
    let browser = ada(&app).await;
    let cookies = browser.cookies();
    redis.stop();
    let (hashes, statements) = (app.auth().hashes(), app.store().statements());
    let sign_up = json!({ "name": "Eve", "email": "eve@example.com", "password": PASSWORD });
    let change = json!({ "currentPassword": PASSWORD, "newPassword": "another horse" });
    for (path, body) in [
        ("/sign-in/email", credentials()),
        ("/sign-in/email", json!({ "email": ADA, "password": "wrong password" })),
        ("/sign-up/email", sign_up),
        ("/verify-password", json!({ "password": PASSWORD })),
        ("/change-password", change),
    ] {
        let reply = app.browser().post(path, body).header("cookie", &cookies).await.expecting(503);
        assert_eq!(
            reply.in_full(),
            "503\ncontent-type: application/json\nretry-after: 1\n\n{\"message\":\"The server is busy. Try again shortly.\",\"code\":\"SERVICE_UNAVAILABLE\"}",
            "{path}"
        );
    }
    assert_eq!((app.auth().hashes(), app.store().statements()), (hashes, statements));
}
