//! Passwords that are tried first can be refused where one is set.

use crate::support::{ADA, PASSWORD};
use insta::assert_snapshot;
use narthex_testkit::TestApp;
use serde_json::{Value, json};
use std::io::Write as _;

fn sign_up(password: &str) -> Value {
    json!({ "name": "Ada", "email": ADA, "password": password })
}

#[tokio::test]
async fn by_default_a_common_password_is_taken_as_upstream_takes_it() {
    let app = TestApp::new().await;
    let _ = app.browser().post("/sign-up/email", sign_up("password123")).await.expecting(200);
}

#[tokio::test]
async fn a_common_password_is_refused_in_any_spelling_and_costs_no_hash() {
    let app = TestApp::with_config(|config| config.password.blocklist = true).await;
    for password in ["password123", "PassWord123", "ｐａｓｓｗｏｒｄ１２３", "qwertyuiop", "P@SSW0RD"]
    {
        assert_eq!(
            app.browser().post("/sign-up/email", sign_up(password)).await.to_string(),
            r#"400 {"message":"The password you entered has been compromised. Please choose a different password.","code":"PASSWORD_COMPROMISED"}"#
        );
    }
    assert_eq!((app.auth().hashes(), app.rows("user").await.len()), (0, 0));
    let _ = app.browser().post("/sign-up/email", sign_up(PASSWORD)).await.expecting(200);
}

#[tokio::test]
async fn a_password_that_is_too_short_is_that_first() {
    let app = TestApp::with_config(|config| config.password.blocklist = true).await;
    assert_snapshot!(app.browser().post("/sign-up/email", sign_up("123456")).await, @r#"400 {"message":"Password too short","code":"PASSWORD_TOO_SHORT"}"#);
    let app = TestApp::with_config(|config| {
        config.password.blocklist = true;
        config.email_and_password.min_password_length = 6;
    })
    .await;
    assert_snapshot!(app.browser().post("/sign-up/email", sign_up("123456")).await, @r#"400 {"message":"The password you entered has been compromised. Please choose a different password.","code":"PASSWORD_COMPROMISED"}"#);
}

#[tokio::test]
async fn the_answer_is_the_same_for_an_address_that_is_taken() {
    let app = TestApp::with_config(|config| {
        config.password.blocklist = true;
        config.email_and_password.auto_sign_in = false;
    })
    .await;
    let new = app.browser().post("/sign-up/email", sign_up("password123")).await.in_full();
    let _ = app.browser().post("/sign-up/email", sign_up(PASSWORD)).await.expecting(200);
    assert_eq!(app.browser().post("/sign-up/email", sign_up("password123")).await.in_full(), new);
}

/// An app that refuses common passwords, with Ada, who has had one since before.
async fn stricter_than_the_password() -> TestApp {
    let app = TestApp::new().await;
    let _ = app.browser().post("/sign-up/email", sign_up("password123")).await.expecting(200);
    let stricter = TestApp::builder().config(|config| config.password.blocklist = true);
    stricter.database(app.database()).seed(2).build().await
}

#[tokio::test]
async fn who_has_a_common_password_signs_in_with_it() {
    let stricter = stricter_than_the_password().await;
    let body = json!({ "email": ADA, "password": "password123" });
    let _ = stricter.browser().post("/sign-in/email", body).await.expecting(200);
}

#[tokio::test]
async fn an_own_list_works_with_and_without_the_common_one() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"acme corp 2026\n").expect("written");
    for (blocklist, common) in [(false, 200), (true, 400)] {
        let path = file.path().to_owned();
        let app = TestApp::with_config(|config| {
            config.password.blocklist = blocklist;
            config.password.blocklist_file = Some(path);
        })
        .await;
        let _ = app.browser().post("/sign-up/email", sign_up("Acme Corp 2026")).await.expecting(400);
        let _ = app.browser().post("/sign-up/email", sign_up("password123")).await.expecting(common);
    }
}

#[tokio::test]
async fn a_list_that_cannot_be_read_is_reported_with_every_other_mistake() {
    let refused = TestApp::builder()
        .config(|config| {
            config.password.blocklist_file = Some("/nowhere/list".into());
            config.password.bcrypt_cost = 40;
        })
        .try_build()
        .await;
    let problems = refused.err().expect("mistakes").problems;
    assert_eq!(
        problems,
        [
            "password.blocklist-file = \"/nowhere/list\": No such file or directory (os error 2)",
            "password.bcrypt-cost = 40: must be 4 to 16",
        ]
    );
}

#[tokio::test]
async fn who_changes_a_password_cannot_change_it_to_a_common_one() {
    let stricter = stricter_than_the_password().await;
    let browser = stricter.browser();
    let credentials = json!({ "email": ADA, "password": "password123" });
    let _ = browser.post("/sign-in/email", credentials.clone()).await.expecting(200);
    let account = stricter.rows("account").await.to_vec();
    let hashes = stricter.auth().hashes();
    for password in ["qwertyuiop", "QwertyUiop", "password123"] {
        let body = json!({ "currentPassword": "password123", "newPassword": password });
        assert_eq!(
            browser.post("/change-password", body).await.to_string(),
            r#"400 {"message":"The password you entered has been compromised. Please choose a different password.","code":"PASSWORD_COMPROMISED"}"#,
            "{password}"
        );
    }
    assert_eq!((stricter.auth().hashes(), stricter.rows("account").await.to_vec()), (hashes, account));
    let body = json!({ "currentPassword": "password123", "newPassword": PASSWORD });
    let _ = browser.post("/change-password", body).await.expecting(200);
    let _ = browser.post("/sign-in/email", credentials).await.expecting(401);
}
