//! What must be kept is not printed.

use crate::support::{ADA, PASSWORD, ada, credentials};
use narthex::{
    Config, Ctx, Mail, Plugin, Setup, VersionedSecret,
    crypto::signed::Signer,
    http::Reply,
    model::{Account, Session, User, Verification},
    store::{Filter, Tx, Value, Write, Writing},
};
use narthex_testkit::{SECRET, TestApp};
use std::time::Duration;

#[tokio::test]
async fn no_record_shows_a_secret_when_it_is_formatted() {
    let app = TestApp::new().await;
    ada(&app).await;
    let account =
        app.store().find(Filter::<Account>::everything()).await.expect("asked").expect("there is one");
    let mut session =
        app.store().find(Filter::<Session>::everything()).await.expect("asked").expect("there is one");
    let user = app.store().find(Filter::<User>::everything()).await.expect("asked").expect("there is one");
    let hash = account.password.clone().expect("a hash");
    let tokens = Account {
        access_token: Some("access-secret".into()),
        refresh_token: Some("refresh-secret".into()),
        id_token: Some("id-secret".into()),
        ..account
    };
    let text = format!("{tokens:?}");
    assert!(!text.contains(&hash) && !text.contains("-secret"), "{text}");
    session.hidden.set("pin", "hidden-secret");
    let text = format!("{session:?}");
    assert!(!text.contains(&session.token) && !text.contains("hidden-secret"), "{text}");
    assert!(text.contains(&session.user_id), "what is no secret is shown: {text}");
    assert!(format!("{user:?}").contains(ADA));

    let verification = app
        .inside(|cx: &mut Ctx| {
            Box::pin(async {
                cx.transact(async |tx: &mut Tx| {
                    tx.verifications().issue("reset", "value-secret", Duration::from_secs(1)).await
                })
                .await
            })
        })
        .await;
    let verification: Verification = verification.expect("issued");
    assert!(!format!("{verification:?}").contains("value-secret"), "{verification:?}");
}

#[test]
fn no_filter_or_write_shows_a_value_when_it_is_formatted() {
    let filter = Session::TOKEN.eq("token-secret").and(Session::USER_ID.eq("a-user"));
    assert_eq!(format!("{filter:?}"), "All([token Equal, userId Equal])");
    let record = [("password".to_owned(), Value::from("hash-secret"))].into_iter().collect();
    let write = Write { table: "account", kind: Writing::Create, record };
    assert_eq!(format!("{write:?}"), r#"Write { table: "account", kind: Create, record: {"password"} }"#);
}

#[tokio::test]
async fn no_reply_mail_or_option_shows_a_secret_when_it_is_formatted() {
    let version = VersionedSecret { version: 1, value: SECRET.into() };
    let config = Config { secret: Some(SECRET.into()), secrets: Some(vec![version]), ..Config::default() };
    assert!(!format!("{config:?}").contains(SECRET));
    assert!(!format!("{:?}", Signer::new(SECRET)).contains(SECRET));
    let mail = Mail::new("reset-password", ADA).with("url", "https://a.b/token-secret");
    assert!(!format!("{mail:?}").contains("token-secret"), "{mail:?}");
    let reply = Reply::json(&"token-secret");
    assert!(!format!("{reply:?}").contains("token-secret"), "{reply:?}");
}

/// Looks at everything a sign-in hook is given.
struct Listener;

impl Plugin for Listener {
    const ID: &'static str = "listener";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.on_sign_in(Self::listen);
    }
}

impl Listener {
    async fn listen(&self, cx: &mut Ctx, sign_in: &narthex::SignIn) -> narthex::Result<Option<Reply>> {
        cx.set_header(http::HeaderName::from_static("x-seen"), format!("{sign_in:?}").parse().expect("text"));
        Ok(None)
    }
}

#[tokio::test]
async fn a_sign_in_that_is_formatted_shows_no_password() {
    let app = TestApp::with(Listener).await;
    ada(&app).await;
    let reply = app.browser().post("/sign-in/email", credentials()).await;
    assert!(reply.header("x-seen").contains(ADA), "{}", reply.header("x-seen"));
    assert!(!reply.header("x-seen").contains(PASSWORD));
}

#[tokio::test]
async fn a_server_error_tells_the_client_nothing() {
    let app = TestApp::new().await;
    ada(&app).await;
    app.database().execute(r#"alter table "account" rename to "gone""#).await;
    let reply = app.browser().post("/sign-in/email", credentials()).await.expecting(500);
    assert_eq!(reply.in_full(), "500\n\n");
}

/// What a plugin keeps encrypted is opened after the secret was replaced; a cookie is not.
#[tokio::test]
async fn a_former_secret_opens_what_it_encrypted_and_signs_nothing() {
    let before = TestApp::new().await;
    let browser = ada(&before).await;
    let encrypt = async |app: &TestApp| {
        app.inside(|cx: &mut Ctx| Box::pin(async { cx.secrets().encrypt("kept", cx.random()) })).await
    };
    let decrypt = async |app: &TestApp, stored: String| {
        app.inside(move |cx: &mut Ctx| Box::pin(async move { cx.secrets().decrypt(&stored) })).await
    };
    let without_version = encrypt(&before).await.expect("it is short");

    let current = "another-secret-for-tests-that-is-long-enough";
    let app = TestApp::builder().database(before.database()).seed(2).config(|config| {
        config.secrets = Some(vec![
            VersionedSecret { version: 2, value: current.into() },
            VersionedSecret { version: 1, value: "former".into() },
        ]);
    });
    let app = app.build().await;
    let with_version = encrypt(&app).await.expect("it is short");
    assert!(with_version.starts_with("$ba$2$"), "{with_version}");
    for stored in [without_version, with_version] {
        assert_eq!(decrypt(&app, stored).await.expect("it opens").expose(), "kept");
    }
    let cookies = browser.cookies();
    let get = async |cookies: &str| app.browser().get("/get-session").header("cookie", cookies).await.json();
    assert_eq!(get(&cookies).await, serde_json::Value::Null);
    let token = before.rows("session").await[0]["token"].as_str().expect("a token").to_owned();
    let signed =
        Signer::new(current).sign(&token).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    assert_eq!(get(&format!("better-auth.session_token={signed}")).await["user"]["email"], ADA);
}

#[tokio::test]
async fn a_secret_that_everybody_knows_is_refused() {
    for secret in ["short", "better-auth-secret-12345678901234567890"] {
        let error = TestApp::builder().config(|config| config.secret = Some(secret.into())).try_build().await;
        let problems = error.err().expect("a mistake").problems;
        assert!(problems.len() == 1 && problems[0].starts_with("secret: "), "{problems:?}");
    }
}
