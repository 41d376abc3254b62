//! What happens to sessions in Redis while others change them: a real server, and somebody who stops in the middle.

use crate::support::{ADA, PASSWORD, ada, again, credentials, is_signed_in, token};
use narthex::{BoxError, BoxFuture, RedisStorage, SecondaryStorage};
use narthex_testkit::{Browser, Redis, TestApp};
use serde_json::{Value, json};
use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::Semaphore, task::JoinHandle};

const NEW: &str = "another horse";

/// A Redis of which one step can be held up, or fail.
struct Watched {
    storage: RedisStorage,
    watch: Arc<Watch>,
}

struct Watch {
    next: Mutex<Option<(&'static str, String, Then)>>,
    stopped: Semaphore,
    go_on: Semaphore,
}

#[derive(Clone, Copy)]
enum Then {
    Waits,
    Fails,
}

impl Watch {
    /// What becomes of the next step of this name on this key; of any key, if it is empty.
    fn next(&self, step: &'static str, key: &str, then: Then) {
        *self.next.lock().expect("nobody panicked") = Some((step, key.to_owned(), then));
    }

    async fn pass(&self, step: &str, key: &str) -> Result<(), BoxError> {
        let then = {
            let mut next = self.next.lock().expect("nobody panicked");
            let is_next = |(name, wanted, _): &(&str, String, Then)| {
                *name == step && (wanted.is_empty() || wanted == key)
            };
            if next.as_ref().is_some_and(is_next) { next.take().map(|(.., then)| then) } else { None }
        };
        match then {
            None => {}
            Some(Then::Fails) => return Err("as if it were away".into()),
            Some(Then::Waits) => {
                self.stopped.add_permits(1);
                self.go_on.acquire().await?.forget();
            }
        }
        Ok(())
    }

    async fn has_stopped(&self) {
        self.stopped.acquire().await.expect("it stays open").forget();
    }

    fn go_on(&self) {
        self.go_on.add_permits(1);
    }
}

impl SecondaryStorage for Watched {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<String>, BoxError>> {
        self.storage.get(key)
    }

    fn set<'a>(
        &'a self,
        key: &'a str,
        value: &'a str,
        seconds: NonZeroU32,
    ) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async move {
            self.watch.pass("set", key).await?;
            self.storage.set(key, value, seconds).await
        })
    }

    fn replace<'a>(
        &'a self,
        key: &'a str,
        expected: Option<&'a str>,
        value: Option<(&'a str, NonZeroU32)>,
    ) -> BoxFuture<'a, Result<bool, BoxError>> {
        Box::pin(async move {
            self.watch.pass("replace", key).await?;
            self.storage.replace(key, expected, value).await
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), BoxError>> {
        self.storage.delete(key)
    }

    fn get_and_delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<String>, BoxError>> {
        self.storage.get_and_delete(key)
    }

    fn increment<'a>(&'a self, key: &'a str, seconds: NonZeroU32) -> BoxFuture<'a, Result<u64, BoxError>> {
        self.storage.increment(key, seconds)
    }
}

struct World {
    redis: Redis,
    watch: Arc<Watch>,
    app: TestApp,
}

/// An app with its own Redis, whose sessions are in the database too if `both`.
async fn world(both: bool) -> World {
    let redis = Redis::start().await;
    let (stopped, go_on) = (Semaphore::new(0), Semaphore::new(0));
    let watch = Arc::new(Watch { next: Mutex::new(None), stopped, go_on });
    let storage = Watched { storage: redis.storage().await, watch: Arc::clone(&watch) };
    let builder = TestApp::builder().secondary(storage);
    let app = builder.config(|config| config.session.store_session_in_database = both).build().await;
    World { redis, watch, app }
}

impl World {
    /// Every session there is.
    async fn sessions(&self) -> Vec<Value> {
        let all = self.redis.all().await.into_values();
        let values = all.filter_map(|value| serde_json::from_str::<Value>(&value).ok());
        values.filter(|value| value.get("session").is_some()).collect()
    }
}

/// Asks in a task of its own, and answers with the whole reply.
fn asks(browser: &Browser, path: &'static str, body: Value) -> JoinHandle<String> {
    let browser = browser.clone();
    tokio::task::spawn(async move { browser.post(path, body).await.in_full() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_changes_before_its_session_is_kept_opens_nothing() {
    for both in [false, true] {
        let world = world(both).await;
        let browser = ada(&world.app).await;
        let wrong = json!({ "email": ADA, "password": "wrong password" });
        let refused = world.app.browser().post("/sign-in/email", wrong).await.in_full();
        world.watch.next("set", "", Then::Waits);
        let signing_in = asks(&world.app.browser(), "/sign-in/email", credentials());
        world.watch.has_stopped().await;
        let change = json!({ "currentPassword": PASSWORD, "newPassword": NEW, "revokeOtherSessions": true });
        let _ = browser.post("/change-password", change).await.expecting(200);
        world.watch.go_on();
        assert_eq!(signing_in.await.expect("an answer"), refused, "both: {both}");
        assert_eq!(world.sessions().await.len(), 1, "both: {both}: the one of the change");
        assert!(is_signed_in(&browser).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_ended_before_it_is_kept_has_ended() {
    let world = world(true).await;
    let browser = ada(&world.app).await;
    world.watch.next("set", "", Then::Waits);
    let signing_in = asks(&world.app.browser(), "/sign-in/email", credentials());
    world.watch.has_stopped().await;
    let _ = browser.post("/revoke-sessions", json!({})).await.expecting(200);
    world.watch.go_on();
    let _ = signing_in.await.expect("an answer");
    assert_eq!(world.sessions().await, Vec::<Value>::new());
    assert!(world.app.rows("session").await.is_empty());
}

#[tokio::test]
async fn sessions_that_the_list_has_lost_end_with_the_others() {
    for path in ["/revoke-other-sessions", "/revoke-sessions"] {
        let world = world(true).await;
        let first = ada(&world.app).await;
        let second = again(&world.app).await;
        let user_id =
            first.get("/get-session").await.json()["user"]["id"].as_str().expect("an id").to_owned();
        world.redis.put(&format!("active-sessions-{user_id}"), "[]").await;
        assert!(is_signed_in(&second).await);
        let _ = first.post(path, json!({})).await.expecting(200);
        assert!(!is_signed_in(&second).await, "{path}");
    }
}

#[tokio::test]
async fn a_session_lives_no_longer_than_its_place_on_the_list() {
    let world = world(false).await;
    let browser = ada(&world.app).await;
    let before = world.redis.json(&token(&browser)).await;
    let user_id = before["user"]["id"].as_str().expect("an id");
    world.app.advance(Duration::from_hours(48));
    world.watch.next("replace", &format!("active-sessions-{user_id}"), Then::Fails);
    let unrenewed = browser.get("/get-session").await.json();
    assert_eq!(unrenewed["session"]["expiresAt"], before["session"]["expiresAt"]);
    assert_eq!(world.redis.json(&token(&browser)).await, before);
    let renewed = browser.get("/get-session").await.json();
    assert_ne!(renewed["session"]["expiresAt"], before["session"]["expiresAt"]);
}

#[tokio::test]
async fn a_session_that_could_not_be_listed_is_in_the_database_only() {
    let world = world(true).await;
    let first = ada(&world.app).await;
    let user_id = first.get("/get-session").await.json()["user"]["id"].as_str().expect("an id").to_owned();
    world.watch.next("replace", &format!("active-sessions-{user_id}"), Then::Fails);
    let second = again(&world.app).await;
    assert_eq!(world.sessions().await.len(), 1, "whoever ends sessions could not find it");
    assert!(is_signed_in(&second).await);
    let _ = first.post("/revoke-other-sessions", json!({})).await.expecting(200);
    assert!(!is_signed_in(&second).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_changes_of_a_user_the_later_one_stays() {
    let world = world(false).await;
    let first = ada(&world.app).await;
    let second = again(&world.app).await;
    world.watch.next("replace", &token(&first), Then::Waits);
    let earlier = asks(&first, "/update-user", json!({ "name": "Ada Byron" }));
    world.watch.has_stopped().await;
    let _ = second.post("/update-user", json!({ "name": "Countess" })).await.expecting(200);
    world.watch.go_on();
    assert!(earlier.await.expect("an answer").starts_with("200"));
    let names: Vec<_> = world.sessions().await.iter().map(|kept| kept["user"]["name"].clone()).collect();
    assert_eq!(names, ["Countess", "Countess"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_changes_while_they_sign_in_is_remembered_as_they_are() {
    let world = world(false).await;
    let browser = ada(&world.app).await;
    world.watch.next("set", "", Then::Waits);
    let signing_in = asks(&world.app.browser(), "/sign-in/email", credentials());
    world.watch.has_stopped().await;
    let _ = browser.post("/update-user", json!({ "name": "Countess" })).await.expecting(200);
    world.watch.go_on();
    assert!(signing_in.await.expect("an answer").starts_with("200"));
    let names: Vec<_> = world.sessions().await.iter().map(|kept| kept["user"]["name"].clone()).collect();
    assert_eq!(names, ["Countess", "Countess"]);
}
