//! Who makes ids: text everywhere but in the tables.

use crate::support::{ADA, PASSWORD, ada, credentials};
use insta::assert_snapshot;
use narthex::{
    GenerateId,
    model::{Session, User},
    prelude::*,
    store::{Value, Write},
};
use narthex_testkit::{Database, Dialect, TestApp};
use serde_json::json;
use std::sync::Arc;

async fn app_with(ids: GenerateId) -> TestApp {
    TestApp::with_config(|config| config.advanced.database.generate_id = Some(ids)).await
}

#[tokio::test]
async fn the_database_counts_and_replies_show_text() {
    let app = app_with(GenerateId::Serial).await;
    let browser = ada(&app).await;
    assert_snapshot!(browser.get("/get-session").await, @r#"200 {"session":{"expiresAt":"[now+7d]","token":"[token]","createdAt":"[now]","updatedAt":"[now]","ipAddress":"127.0.0.1","userAgent":"testkit","userId":"1","id":"1"},"user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]","id":"1"}}"#);
    let accounts = app.rows("account").await;
    assert_eq!(accounts[0]["userId"], 1, "a number in the table");
    assert_eq!(accounts[0]["accountId"], "1", "text, for it may be anybody's id elsewhere");
    browser.post("/sign-in/email", credentials()).await.expecting(200).text();
    let sessions = app.store().list(Session::USER_ID.eq("1")).await.expect("a query");
    assert_eq!(sessions.iter().map(|session| &*session.id).collect::<Vec<_>>(), ["1", "2"]);
}

#[tokio::test]
async fn uuids_are_of_version_four() {
    let app = app_with(GenerateId::Uuid).await;
    let browser = ada(&app).await;
    let session = browser.get("/get-session").await.json();
    let id = session["user"]["id"].as_str().expect("text").to_owned();
    assert_eq!(session["session"]["userId"], *id);
    let shape: String = id.chars().map(|digit| if digit.is_ascii_hexdigit() { 'x' } else { digit }).collect();
    assert_eq!(shape, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
    assert_eq!(&id[14..15], "4");
    assert!("89ab".contains(&id[19..20]), "{id}");
    let found = app.store().find(User::ID.eq(&id)).await.expect("a query").expect("Ada");
    assert_eq!(found.email, ADA);
}

#[tokio::test]
async fn what_is_no_id_matches_nothing() {
    for (ids, others) in [
        (
            GenerateId::Serial,
            ["", "x", " 1", "01", "+1", "1.0", "1e0", "0x1", "-1", "99999999999", "99999999999999999999"]
                .as_slice(),
        ),
        (
            GenerateId::Uuid,
            ["", "x", "1", "00000000-0000-4000-8000-00000000000", "{00000000-0000-4000-8000-000000000000}"]
                .as_slice(),
        ),
    ] {
        let app = app_with(ids).await;
        let _browser = ada(&app).await;
        for other in others {
            assert!(
                app.store().find(User::ID.eq(*other)).await.expect("no error").is_none(),
                "{ids:?} {other:?}"
            );
            let theirs = app.store().list(Session::USER_ID.eq(*other)).await.expect("no error");
            assert!(theirs.is_empty(), "{ids:?} {other:?}");
            assert_eq!(
                app.store().count(User::ID.ne(*other)).await.expect("no error"),
                1,
                "{ids:?} {other:?}"
            );
            assert_eq!(
                app.store().delete(User::ID.eq(*other)).await.expect("no error"),
                0,
                "{ids:?} {other:?}"
            );
        }
    }
}

#[tokio::test]
async fn an_address_that_is_taken_gets_the_next_id() {
    let app = TestApp::with_config(|config| {
        config.advanced.database.generate_id = Some(GenerateId::Serial);
        config.email_and_password.auto_sign_in = false;
    })
    .await;
    let sign_up = async || {
        let body = json!({ "name": "Ada", "email": ADA, "password": PASSWORD });
        app.browser().post("/sign-up/email", body).await.expecting(200).json()["user"]["id"].clone()
    };
    assert_eq!(sign_up().await, "1");
    assert_eq!(sign_up().await, "2", "as if it had been new");
    assert_eq!(app.rows("user").await.len(), 1);
}

/// Refuses records that come with an id.
struct Numberless;

impl Plugin for Numberless {
    const ID: &'static str = "numberless";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.before_write(User::TABLE, Self::look);
    }
}

impl Numberless {
    async fn look(&self, _tx: &mut Tx, write: &mut Write) -> Result<()> {
        assert_eq!(write.record.get("id"), None::<&Value>, "the database gives it");
        Ok(())
    }
}

#[tokio::test]
async fn hooks_see_no_id_where_the_database_gives_it() {
    let app = TestApp::builder()
        .config(|config| config.advanced.database.generate_id = Some(GenerateId::Serial))
        .plugin(Numberless)
        .build()
        .await;
    let _browser = ada(&app).await;
}

/// A table as the operator has made it, whose ids are of their own kind.
#[tokio::test]
async fn tables_that_give_ids_themselves_do() {
    let database = Arc::new(Database::fresh().await);
    let (key, reference) = match database.dialect() {
        Dialect::Sqlite => ("text not null primary key default (lower(hex(randomblob(8))))", "text"),
        Dialect::Postgres => ("uuid not null primary key default gen_random_uuid()", "uuid"),
    };
    let (bool_type, time) = match database.dialect() {
        Dialect::Sqlite => ("integer", "date"),
        Dialect::Postgres => ("boolean", "timestamptz"),
    };
    database
        .execute(&format!(
            r#"create table "user" ("id" {key}, "name" text, "email" text unique, "emailVerified" {bool_type}, "image" text, "createdAt" {time}, "updatedAt" {time});
               create table "session" ("id" {key}, "expiresAt" {time}, "token" text unique, "createdAt" {time}, "updatedAt" {time}, "ipAddress" text, "userAgent" text, "userId" {reference});
               create table "account" ("id" {key}, "accountId" text, "providerId" text, "userId" {reference}, "accessToken" text, "refreshToken" text, "idToken" text, "accessTokenExpiresAt" {time}, "refreshTokenExpiresAt" {time}, "scope" text, "password" text, "createdAt" {time}, "updatedAt" {time})"#
        ))
        .await;
    let app = TestApp::builder()
        .database(&database)
        .config(|config| config.advanced.database.generate_id = Some(GenerateId::Never))
        .build()
        .await;
    let browser = ada(&app).await;
    let session = browser.get("/get-session").await.json();
    assert_eq!(session["user"]["email"], ADA);
    assert_eq!(session["session"]["userId"], session["user"]["id"]);
    assert!(app.store().find(User::ID.eq("nobody")).await.expect("no error").is_none());
}

#[tokio::test]
async fn ids_that_the_tables_cannot_hold_are_refused_at_start() {
    let database = Arc::new(Database::fresh().await);
    drop(TestApp::builder().database(&database).build().await);
    let counting = TestApp::builder()
        .database(&database)
        .config(|config| config.advanced.database.generate_id = Some(GenerateId::Serial));
    let refusal = counting.try_build().await.err().expect("it is refused").to_string().to_lowercase();
    let problem = r#""user"."id" has type text, but integer is needed; say in advanced.database.generate-id what the ids are"#;
    assert!(refusal.contains(problem), "{refusal}");
    assert!(refusal.contains(r#""session"."userid" has type text, but integer is needed"#), "{refusal}");
}
