//! Nobody learns who has an account: not from the reply, and not from the work it takes.

use crate::support::{ADA, PASSWORD, ada};
use narthex_testkit::{Browser, TestApp};
use serde_json::json;

/// Everything that can be told apart from outside, and the work done inside.
#[derive(Debug, PartialEq)]
struct Attempt {
    reply: String,
    hashes: u64,
    statements: u64,
    commits: u64,
}

async fn attempt(app: &TestApp, browser: &Browser, path: &str, body: serde_json::Value) -> Attempt {
    let before = (app.auth().hashes(), app.store().statements(), app.store().commits());
    let reply = browser.post(path, body).await.in_full();
    Attempt {
        reply,
        hashes: app.auth().hashes() - before.0,
        statements: app.store().statements() - before.1,
        commits: app.store().commits() - before.2,
    }
}

async fn sign_in(app: &TestApp, email: &str, password: &str) -> Attempt {
    attempt(app, &app.browser(), "/sign-in/email", json!({ "email": email, "password": password })).await
}

async fn a_failed_sign_in_is_the_same_for_everyone(app: TestApp) {
    ada(&app).await;
    let eve = json!({ "name": "Eve", "email": "eve@example.com", "password": PASSWORD });
    let _ = app.browser().post("/sign-up/email", eve).await.expecting(200);
    let bob = json!({ "name": "Bob", "email": "bob@example.com", "password": PASSWORD });
    let _ = app.browser().post("/sign-up/email", bob).await.expecting(200);
    // Eve signs in with something else; Bob's account holds no hash.
    let eves = r#"(select "id" from "user" where "email" = 'eve@example.com')"#;
    let bobs = r#"(select "id" from "user" where "email" = 'bob@example.com')"#;
    app.database().execute(&format!(r#"delete from "account" where "userId" = {eves}"#)).await;
    app.database()
        .execute(&format!(r#"update "account" set "password" = null where "userId" = {bobs}"#))
        .await;

    let wrong_password = sign_in(&app, ADA, "wrong password").await;
    assert_eq!((wrong_password.hashes, wrong_password.statements, wrong_password.commits), (1, 4, 2));
    assert_eq!(
        sign_in(&app, "nobody@example.com", "wrong password").await,
        wrong_password,
        "an unknown address"
    );
    assert_eq!(
        sign_in(&app, "nobody@example.com", PASSWORD).await,
        wrong_password,
        "an unknown address, a real password"
    );
    assert_eq!(
        sign_in(&app, "eve@example.com", PASSWORD).await,
        wrong_password,
        "no account with a password"
    );
    assert_eq!(sign_in(&app, "bob@example.com", PASSWORD).await, wrong_password, "an account without a hash");
}

#[tokio::test]
async fn a_failed_sign_in_says_nothing_and_costs_the_same() {
    a_failed_sign_in_is_the_same_for_everyone(TestApp::new().await).await;
}

#[tokio::test]
async fn a_failed_sign_in_says_nothing_where_addresses_must_be_verified() {
    let app =
        TestApp::with_config(|config| config.email_and_password.require_email_verification = true).await;
    a_failed_sign_in_is_the_same_for_everyone(app).await;
}

#[tokio::test]
async fn a_sign_up_without_auto_sign_in_hashes_for_a_taken_address_too() {
    let app = TestApp::with_config(|config| config.email_and_password.auto_sign_in = false).await;
    let body = || json!({ "name": "Ada", "email": ADA, "password": PASSWORD });
    let new = attempt(&app, &app.browser(), "/sign-up/email", body()).await;
    let taken = attempt(&app, &app.browser(), "/sign-up/email", body()).await;
    assert_eq!((&taken.reply, taken.hashes), (&new.reply, new.hashes));
}

#[tokio::test]
async fn a_long_password_costs_an_unknown_address_as_much_as_a_known_one() {
    let app = TestApp::new().await;
    ada(&app).await;
    // Longer than bcrypt reads, and in another normal form: both take other ways through the verifier.
    for password in ["x".repeat(100), "ﬁ".repeat(20)] {
        let known = sign_in(&app, ADA, &password).await;
        assert_eq!(sign_in(&app, "nobody@example.com", &password).await, known, "{password}");
    }
}
