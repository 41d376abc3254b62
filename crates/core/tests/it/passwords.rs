//! How passwords are kept: which scheme, when a hash is replaced, and what happens when too many are waiting.

use crate::support::{ADA, PASSWORD, ada, credentials};
use narthex::{Config, HashName};
use narthex_testkit::{Database, TestApp};
use serde_json::json;
use std::{num::NonZeroUsize, sync::Arc};

/// Upstream's hash of [`PASSWORD`], as its `hashPassword` made it.
const UPSTREAM_HASH: &str = include_str!("upstream_hash.txt");

async fn stored(app: &TestApp) -> String {
    let accounts = app.database().rows("account", None).await;
    let account = accounts.first().expect("there is an account");
    account["password"].as_str().expect("it has a password").to_owned()
}

async fn app_with(hash: HashName) -> TestApp {
    TestApp::with_config(|config| config.password.hash = hash).await
}

#[tokio::test]
async fn a_fresh_database_gets_bcrypt() {
    let app = app_with(HashName::Auto).await;
    let _browser = ada(&app).await;
    assert!(stored(&app).await.starts_with("$2b$"));
}

#[tokio::test]
async fn each_scheme_can_be_asked_for_by_name() {
    for (hash, beginning) in [(HashName::Bcrypt, "$2b$04$"), (HashName::Argon2id, "$argon2id$v=19$")] {
        let app = app_with(hash).await;
        let browser = ada(&app).await;
        assert!(stored(&app).await.starts_with(beginning), "{hash:?}");
        let _ = browser.post("/sign-in/email", credentials()).await.expecting(200);
    }
    let app = app_with(HashName::Scrypt).await;
    let browser = ada(&app).await;
    let hash = stored(&app).await;
    assert_eq!(hash.split_once(':').map(|(salt, key)| (salt.len(), key.len())), Some((32, 128)));
    let _ = browser.post("/sign-in/email", credentials()).await.expecting(200);
}

/// A database in which Ada has the hash upstream gave her, and the app that then runs on it.
async fn upstreams_database(change: impl FnOnce(&mut Config)) -> TestApp {
    let database = Arc::new(Database::fresh().await);
    {
        let app = TestApp::builder().database(&database).build().await;
        let _browser = ada(&app).await;
    }
    database.execute(&format!("update \"account\" set \"password\" = '{}'", UPSTREAM_HASH.trim())).await;
    TestApp::builder().database(&database).seed(2).config(change).build().await
}

#[tokio::test]
async fn a_database_of_upstreams_keeps_to_scrypt_and_nothing_is_rewritten() {
    let app = upstreams_database(|_| {}).await;
    let browser = app.browser();
    let _ = browser.post("/sign-in/email", credentials()).await.expecting(200);
    assert_eq!(stored(&app).await, UPSTREAM_HASH.trim());
    let body = json!({ "name": "Eve", "email": "eve@example.com", "password": PASSWORD });
    let _ = browser.post("/sign-up/email", body).await.expecting(200);
    let hashes = app.database().rows("account", None).await;
    assert!(
        hashes.iter().all(|account| !account["password"].as_str().unwrap_or("$").starts_with('$')),
        "{hashes:?}"
    );
}

#[tokio::test]
async fn a_scheme_asked_for_by_name_replaces_an_old_hash_at_sign_in_and_only_then() {
    let app = upstreams_database(|config| config.password.hash = HashName::Bcrypt).await;
    let browser = app.browser();
    let wrong = json!({ "email": ADA, "password": "wrong horse" });
    let _ = browser.post("/sign-in/email", wrong).await.expecting(401);
    assert_eq!(stored(&app).await, UPSTREAM_HASH.trim(), "a wrong password replaces nothing");
    let _ = browser.post("/sign-in/email", credentials()).await.expecting(200);
    let replaced = stored(&app).await;
    assert!(replaced.starts_with("$2b$04$"), "{replaced}");
    let _ = browser.post("/sign-in/email", credentials()).await.expecting(200);
    assert_eq!(stored(&app).await, replaced, "a hash of the right scheme stays");
}

/// One of them replaces the hash; the others have entered the same password, which is as right as it was.
#[tokio::test(flavor = "multi_thread")]
async fn who_signs_in_while_their_hash_is_replaced_is_signed_in() {
    let app = upstreams_database(|config| config.password.hash = HashName::Bcrypt).await;
    let signing_in = (0..8).map(|_| {
        let browser = app.browser();
        tokio::task::spawn(async move { browser.post("/sign-in/email", credentials()).await.status() })
    });
    let signing_in: Vec<_> = signing_in.collect();
    for signing_in in signing_in {
        assert_eq!(signing_in.await.expect("an answer"), 200);
    }
    assert!(stored(&app).await.starts_with("$2b$04$"));
}

#[tokio::test]
async fn what_bcrypt_would_not_see_counts() {
    let app = TestApp::new().await;
    let browser = app.browser();
    let long = "x".repeat(100);
    let body = json!({ "name": "Ada", "email": ADA, "password": long });
    let _ = browser.post("/sign-up/email", body).await.expecting(200);
    assert!(stored(&app).await.starts_with("$bcrypt-sha256$v=2,"));
    let similar = json!({ "email": ADA, "password": format!("{}y", "x".repeat(99)) });
    let _ = browser.post("/sign-in/email", similar).await.expecting(401);
    let same = json!({ "email": ADA, "password": long });
    let _ = browser.post("/sign-in/email", same).await.expecting(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_queue_nobody_waits() {
    let app = TestApp::with_config(|config| {
        config.password.threads = Some(NonZeroUsize::MIN);
        config.password.queue = 1;
        config.password.bcrypt_cost = 9;
    })
    .await;
    let attempts = (0..12).map(|_| {
        let browser = app.browser();
        tokio::task::spawn(async move { browser.post("/sign-in/email", credentials()).await })
    });
    let attempts: Vec<_> = attempts.collect();
    let mut refused = 0;
    for attempt in attempts {
        let answer = attempt.await.expect("an answer");
        match answer.status() {
            401 => {}
            503 => {
                assert_eq!(answer.header("retry-after"), "1");
                let _ = answer.expecting(503);
                refused += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert!((1..12).contains(&refused), "{refused} of 12 were refused");
}
