//! A password that changes while somebody enters the old one: no session of the old password is left.

use crate::support::{ADA, PASSWORD, ada, credentials};
use narthex::prelude::*;
use narthex_testkit::{Browser, Dialect, TestApp};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::JoinHandle};

const NEW: &str = "another horse";
/// Long enough to be wrong in, and shorter than a transaction may take.
const A_WHILE: Duration = Duration::from_millis(300);

/// Stops who signs in once their password was compared, before they have a session.
#[derive(Clone)]
struct Stops {
    stopped: Arc<Semaphore>,
    go_on: Arc<Semaphore>,
}

impl Plugin for Stops {
    const ID: &'static str = "stops";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.on_sign_in(Self::stop);
    }
}

impl Stops {
    async fn stop(&self, _: &mut Ctx, sign_in: &SignIn) -> Result<Option<Reply>> {
        if sign_in.method == Method::Password {
            self.stopped.add_permits(1);
            self.go_on.acquire().await.expect("it stays open").forget();
        }
        Ok(None)
    }
}

fn change() -> Value {
    json!({ "currentPassword": PASSWORD, "newPassword": NEW, "revokeOtherSessions": true })
}

/// Asks in a task of its own, and answers with the whole reply.
fn asks(browser: Browser, path: &'static str, body: Value) -> JoinHandle<String> {
    tokio::task::spawn(async move { browser.post(path, body).await.in_full() })
}

/// Without a count of wrong passwords, whose row would make everybody wait for each other.
async fn uncounted() -> TestApp {
    TestApp::with_config(|config| config.password.max_failures = 0).await
}

async fn refusal(app: &TestApp) -> String {
    let body = json!({ "email": ADA, "password": "wrong password" });
    app.browser().post("/sign-in/email", body).await.in_full()
}

async fn sessions(app: &TestApp) -> usize {
    app.rows("session").await.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_changed_since_it_was_compared_opens_nothing() {
    let stops = Stops { stopped: Arc::new(Semaphore::new(0)), go_on: Arc::new(Semaphore::new(0)) };
    let app = TestApp::with(stops.clone()).await;
    let browser = ada(&app).await;
    for overtaken_by in ["a change", "the end of the account"] {
        let signing_in = asks(app.browser(), "/sign-in/email", credentials());
        stops.stopped.acquire().await.expect("it stays open").forget();
        match overtaken_by {
            "a change" => {
                let _ = browser.post("/change-password", change()).await.expecting(200);
            }
            _ => app.database().execute(r#"delete from "account""#).await,
        }
        stops.go_on.add_permits(1);
        assert_eq!(signing_in.await.expect("an answer"), refusal(&app).await, "{overtaken_by}");
        assert_eq!(sessions(&app).await, 1, "{overtaken_by}: the one of the change");
        let back = json!({ "currentPassword": NEW, "newPassword": PASSWORD });
        let _ = browser.post("/change-password", back).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_enters_the_old_password_waits_for_a_change_that_is_under_way() {
    let app = uncounted().await;
    let browser = ada(&app).await;
    let refused = refusal(&app).await;
    let change_of_another = app.database().hold(r#"update "account" set "password" = 'changed'"#).await;
    let signing_in = asks(app.browser(), "/sign-in/email", credentials());
    let changing = asks(browser, "/change-password", change());
    tokio::time::sleep(A_WHILE).await;
    assert!(!signing_in.is_finished() && !changing.is_finished());
    change_of_another.release().await;
    assert_eq!(signing_in.await.expect("an answer"), refused);
    let changed = changing.await.expect("an answer");
    assert!(changed.ends_with(r#"{"message":"Invalid password","code":"INVALID_PASSWORD"}"#), "{changed}");
    assert_eq!(sessions(&app).await, 1, "the one of the sign-up");
}

/// The other order: the session is there, but not committed yet. On SQLite nobody writes before it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_waits_for_the_session_that_is_being_made_and_ends_it() {
    let app = uncounted().await;
    if app.database().dialect() == Dialect::Sqlite {
        return;
    }
    let browser = ada(&app).await;
    // A session refers to its user: it is written, and waits for whoever holds the user's key.
    let held = app.database().hold(r#"select 1 from "user" for update"#).await;
    let signing_in = asks(app.browser(), "/sign-in/email", credentials());
    tokio::time::sleep(A_WHILE).await;
    let changing = asks(browser, "/change-password", change());
    tokio::time::sleep(A_WHILE).await;
    assert!(!signing_in.is_finished() && !changing.is_finished());
    held.release().await;
    let outcomes = (signing_in.await.expect("an answer"), changing.await.expect("an answer"));
    assert!(outcomes.0.starts_with("200") && outcomes.1.starts_with("200"), "{outcomes:?}");
    assert_eq!(sessions(&app).await, 1, "the one of the change");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_sign_in_during_a_change_nobody_stays() {
    let app = uncounted().await;
    let browser = ada(&app).await;
    let (mut from, mut to) = (PASSWORD, NEW);
    for round in 0..8 {
        let body = json!({ "email": ADA, "password": from });
        let mut signing_in: Vec<_> =
            (0..12).map(|_| asks(app.browser(), "/sign-in/email", body.clone())).collect();
        let change = json!({ "currentPassword": from, "newPassword": to, "revokeOtherSessions": true });
        let changing = browser.post("/change-password", change);
        signing_in.extend((0..12).map(|_| asks(app.browser(), "/sign-in/email", body.clone())));
        let _ = changing.await.expecting(200);
        for signing_in in signing_in {
            let reply = signing_in.await.expect("an answer");
            assert!(reply.starts_with("200") || reply.starts_with("401"), "{reply}");
        }
        assert_eq!(sessions(&app).await, 1, "round {round}: the one of the change");
        std::mem::swap(&mut from, &mut to);
    }
}
