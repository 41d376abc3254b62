//! What is told when something happens: once, with the ids concerned, and only if it came to be.

use crate::{
    endpoints::accounts::link,
    support::{ADA, PASSWORD, ada, again, credentials, token},
};
use narthex::{
    Attempt, Ctx, Error, Happening, Outcome, Plugin, Result, Secret, Setup, SignIn, http::Reply, store::Tx,
};
use narthex_testkit::{Builder, Redis, TestApp};
use serde_json::json;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// Writes down what it hears, and may interrupt sign-ins.
#[derive(Clone, Default)]
struct Listener {
    heard: Arc<Mutex<Vec<Happening>>>,
    interrupts: bool,
}

impl Plugin for Listener {
    const ID: &'static str = "listener";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.on::<Happening>(Self::hear);
        setup.on_sign_in(Self::interrupt);
    }
}

impl Listener {
    async fn hear(&self, _cx: &Ctx, happening: &Happening) {
        self.heard.lock().expect("nobody panics with it").push(happening.clone());
    }

    async fn interrupt(&self, _cx: &mut Ctx, _sign_in: &SignIn) -> Result<Option<Reply>> {
        Ok(self.interrupts.then(|| Reply::json(&json!({ "secondFactor": true }))))
    }

    fn take(&self) -> Vec<Happening> {
        std::mem::take(&mut *self.heard.lock().expect("nobody panics with it"))
    }

    /// What was heard, one line each.
    fn lines(&self) -> Vec<String> {
        let line = |happening: Happening| {
            let mut line = happening.name.to_owned();
            if happening.outcome == Outcome::Failure {
                line.push_str(" failed");
            }
            if let Some(reason) = happening.reason {
                line = format!("{line}: {reason}");
            }
            if let Some(count) = happening.count {
                line = format!("{line} ({count})");
            }
            let has = [
                ("user", happening.user_id.is_some()),
                ("session", happening.session_id.is_some()),
                ("account", happening.account.is_some()),
                ("routine", happening.is_routine),
            ];
            for (name, _) in has.iter().filter(|(_, is_there)| *is_there) {
                line = format!("{line} +{name}");
            }
            line
        };
        self.take().into_iter().map(line).collect()
    }
}

async fn app(change: impl FnOnce(Builder) -> Builder) -> (TestApp, Listener) {
    let listener = Listener::default();
    (change(TestApp::builder().plugin(listener.clone())).build().await, listener)
}

#[tokio::test]
async fn signing_up_in_and_out_is_told_with_the_ids_concerned() {
    let (app, heard) = app(|builder| builder).await;
    let browser = ada(&app).await;
    let (user, session) = (app.rows("user").await[0].clone(), app.rows("session").await[0].clone());
    let told = heard.take();
    assert_eq!(told.len(), 2);
    assert_eq!(told[0], Happening::new("user.created").of(user["id"].as_str().expect("an id")));
    let (user, session) = (user["id"].as_str().expect("an id"), session["id"].as_str().expect("an id"));
    assert_eq!(told[1], Happening::new("session.created").because("sign-up").of(user).session(session));

    let _ = browser.post("/sign-out", json!({})).await.expecting(200);
    let signed_out = Happening::new("session.revoked").because("sign-out").of(user).session(session);
    assert_eq!(heard.take(), [signed_out]);
    let _ = browser.post("/sign-out", json!({})).await.expecting(200);
    assert_eq!(heard.take(), [], "there was nothing to end");
    again(&app).await;
    assert_eq!(heard.lines(), ["session.created: password +user +session"]);
}

#[tokio::test]
async fn ending_sessions_is_told_with_the_reason_and_the_number() {
    let (app, heard) = app(|builder| builder).await;
    let browser = ada(&app).await;
    let (one, _two, _three) = (again(&app).await, again(&app).await, again(&app).await);
    heard.take();
    let revoke = json!({ "token": token(&one) });
    let _ = browser.post("/revoke-session", revoke.clone()).await.expecting(200);
    let _ = browser.post("/revoke-session", revoke).await.expecting(200);
    let _ = browser.post("/revoke-other-sessions", json!({})).await.expecting(200);
    let _ = browser.post("/revoke-other-sessions", json!({})).await.expecting(200);
    let _ = browser.post("/revoke-sessions", json!({})).await.expecting(200);
    assert_eq!(
        heard.lines(),
        [
            "session.revoked: revoke-session +user +session",
            "session.revoked: revoke-other-sessions (2) +user",
            "session.revoked: revoke-sessions (1) +user",
        ]
    );
}

#[tokio::test]
async fn a_changed_password_is_told_with_the_sessions_that_it_ends() {
    let (app, heard) = app(|builder| builder).await;
    let browser = ada(&app).await;
    again(&app).await;
    heard.take();
    let mut body = json!({ "currentPassword": PASSWORD, "newPassword": "another horse" });
    let _ = browser.post("/change-password", body.clone()).await.expecting(200);
    assert_eq!(heard.lines(), ["password.changed +user +session"]);
    let _ = browser.post("/change-password", body.clone()).await.expecting(400);
    let _ = browser.post("/verify-password", json!({ "password": PASSWORD })).await.expecting(400);
    let failed = "password-check.failed failed: wrong-credentials +user +account";
    assert_eq!(heard.lines(), [failed, failed]);
    body["currentPassword"] = json!("another horse");
    body["revokeOtherSessions"] = json!(true);
    let _ = browser.post("/change-password", body).await.expecting(200);
    assert_eq!(
        heard.lines(),
        [
            "password.changed +user +session",
            "session.revoked: password-change (2) +user",
            "session.created: password-change +user +session",
        ]
    );
}

#[tokio::test]
async fn changes_of_a_user_and_their_accounts_are_told() {
    let (app, heard) = app(|builder| builder).await;
    let browser = ada(&app).await;
    link(&app, "github-1", "github", "").await;
    heard.take();
    let _ = browser.post("/update-user", json!({ "name": "Ada L." })).await.expecting(200);
    assert_eq!(heard.lines(), ["user.updated +user +routine"]);
    let _ = browser.post("/unlink-account", json!({ "accountId": "github-1" })).await.expecting(200);
    let told = heard.take();
    let user = app.rows("user").await[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(told, [Happening::new("account.unlinked").of(&user).with("provider", "github")]);
}

#[tokio::test]
async fn a_renewal_and_an_end_that_came_by_itself_are_routine() {
    let (app, heard) = app(|builder| builder).await;
    let browser = ada(&app).await;
    heard.take();
    app.advance(Duration::from_hours(25));
    let _ = browser.get("/get-session").await.expecting(200);
    let _ = browser.get("/get-session").await.expecting(200);
    assert_eq!(heard.lines(), ["session.renewed +user +session +routine"]);
    app.advance(Duration::from_hours(24 * 8));
    let _ = browser.get("/get-session").await.expecting(200);
    assert_eq!(heard.lines(), ["session.expired +user +session +routine"]);
}

#[tokio::test]
async fn a_failed_sign_in_names_the_account_by_a_hash_whether_it_exists_or_not() {
    let (app, heard) = app(|builder| builder).await;
    ada(&app).await;
    heard.take();
    for email in ["Ada@Example.com", ADA, "nobody@example.com"] {
        let body = json!({ "email": email, "password": "wrong password" });
        let _ = app.browser().post("/sign-in/email", body).await.expecting(401);
    }
    let told = heard.take();
    assert_eq!(told[0], told[1], "in any spelling");
    assert!(told.iter().all(|told| told.reason == Some("wrong-credentials")));
    assert_ne!(told[0].account, told[2].account);
    let user = app.rows("user").await[0]["id"].as_str().map(str::to_owned);
    assert_eq!(told.iter().map(|told| told.user_id.clone()).collect::<Vec<_>>(), [user.clone(), user, None]);
    let unproven = json!({ "email": "no address", "password": "wrong password" });
    let _ = app.browser().post("/sign-in/email", unproven).await.expecting(400);
    assert_eq!(heard.take(), [], "nobody was named");
}

#[tokio::test]
async fn guessing_is_told_to_its_end_and_then_only_counted() {
    let (app, heard) = app(|builder| {
        builder.config(|config| {
            config.password.max_failures = 2;
            config.password.delay_after = 0;
        })
    })
    .await;
    for status in [401, 401, 429, 429] {
        let _ = app.browser().post("/sign-in/email", credentials()).await.expecting(status);
    }
    let refused = "sign-in.failed failed: too-many-guesses +account +routine";
    assert_eq!(
        heard.lines(),
        [
            "sign-in.failed failed: wrong-credentials +account",
            "sign-in.failed failed: wrong-credentials +account",
            "account.locked failed: too-many-guesses +account",
            refused,
            refused,
        ]
    );
}

#[tokio::test]
async fn a_right_password_that_does_not_let_in_is_told() {
    let (app, heard) =
        app(|builder| builder.config(|config| config.email_and_password.require_email_verification = true))
            .await;
    ada(&app).await;
    let _ = app.browser().post("/sign-in/email", credentials()).await.expecting(403);
    assert_eq!(
        heard.lines(),
        ["user.created +user", "sign-in.failed failed: email-not-verified +user +account"]
    );

    let listener = Listener { interrupts: true, ..Listener::default() };
    let app = TestApp::with(listener.clone()).await;
    ada(&app).await;
    let _ = app.browser().post("/sign-in/email", credentials()).await.expecting(200);
    let interrupted = "sign-in.failed failed: interrupted +user";
    assert_eq!(listener.lines(), [interrupted, "user.created +user", interrupted]);
}

#[tokio::test]
async fn what_is_rolled_back_is_not_told_and_plugins_have_names_of_their_own() {
    let (app, heard) = app(|builder| builder).await;
    let outcomes = app.inside(|cx| {
        Box::pin(async move {
            let undone = cx
                .transact(async |tx: &mut Tx| {
                    tx.happened(Happening::new("two-factor.enabled").of("u1"));
                    Err::<(), _>(Error::internal("undone"))
                })
                .await;
            let done = cx
                .transact(async |tx: &mut Tx| {
                    tx.happened(Happening::new("two-factor.disabled").of("u1").by("admin"));
                    Ok(())
                })
                .await;
            (undone.is_err(), done.is_ok())
        })
    });
    assert_eq!(outcomes.await, (true, true));
    assert_eq!(heard.take(), [Happening::new("two-factor.disabled").of("u1").by("admin")]);
}

#[tokio::test]
async fn plugins_say_what_a_wrong_password_of_theirs_is() {
    let (app, heard) = app(|builder| builder).await;
    let checked = app.inside(|cx| {
        Box::pin(async move {
            let attempt =
                Attempt { told_as: "two-factor.failed", account: ADA, user_id: Some("u1"), stored: None };
            cx.check_password(attempt, &Secret::from(PASSWORD.to_owned())).await.expect("counted")
        })
    });
    assert!(!checked.await);
    assert_eq!(heard.lines(), ["two-factor.failed failed: wrong-credentials +user +account"]);
}

#[tokio::test]
async fn sessions_that_no_table_has_are_told_alike() {
    let redis = Redis::start().await;
    for keeps_rows in [false, true] {
        let storage = redis.storage().await;
        let (app, heard) = app(|builder| {
            builder.seed(if keeps_rows { 2 } else { 1 }).secondary(storage).config(|config| {
                config.session.store_session_in_database = keeps_rows;
                config.session.preserve_session_in_database = keeps_rows;
            })
        })
        .await;
        let browser = ada(&app).await;
        let other = again(&app).await;
        heard.take();
        let revoke = json!({ "token": token(&other) });
        let _ = browser.post("/revoke-session", revoke.clone()).await.expecting(200);
        let _ = browser.post("/revoke-session", revoke).await.expecting(200);
        let _ = browser.post("/sign-out", json!({})).await.expecting(200);
        assert_eq!(
            heard.lines(),
            ["session.revoked: revoke-session +user +session", "session.revoked: sign-out +user +session",],
            "rows: {keeps_rows}"
        );
    }
}
