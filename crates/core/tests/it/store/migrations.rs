//! The tables: upstream's own statements, added to and never changed.

use super::{Ticket, Tickets};
use narthex::{Auth, Config, Migrate, Store};
use narthex_testkit::{Database, Dialect, SECRET, TestApp};
use std::sync::Arc;

/// What upstream's `getMigrations` emits for an empty database.
const UPSTREAM: [(Dialect, &str); 2] = [
    (
        Dialect::Sqlite,
        r#"create table "user" ("id" text not null primary key, "name" text not null, "email" text not null unique, "emailVerified" integer not null, "image" text, "createdAt" date not null, "updatedAt" date not null)
create table "session" ("id" text not null primary key, "expiresAt" date not null, "token" text not null unique, "createdAt" date not null, "updatedAt" date not null, "ipAddress" text, "userAgent" text, "userId" text not null references "user" ("id") on delete cascade)
create table "account" ("id" text not null primary key, "accountId" text not null, "providerId" text not null, "userId" text not null references "user" ("id") on delete cascade, "accessToken" text, "refreshToken" text, "idToken" text, "accessTokenExpiresAt" date, "refreshTokenExpiresAt" date, "scope" text, "password" text, "createdAt" date not null, "updatedAt" date not null)
create table "verification" ("id" text not null primary key, "identifier" text not null, "value" text not null, "expiresAt" date not null, "createdAt" date not null, "updatedAt" date not null)
create index "session_userId_idx" on "session" ("userId")
create index "account_userId_idx" on "account" ("userId")
create index "verification_identifier_idx" on "verification" ("identifier")"#,
    ),
    (
        Dialect::Postgres,
        r#"create table "user" ("id" text not null primary key, "name" text not null, "email" text not null unique, "emailVerified" boolean not null, "image" text, "createdAt" timestamptz default CURRENT_TIMESTAMP not null, "updatedAt" timestamptz default CURRENT_TIMESTAMP not null)
create table "session" ("id" text not null primary key, "expiresAt" timestamptz not null, "token" text not null unique, "createdAt" timestamptz default CURRENT_TIMESTAMP not null, "updatedAt" timestamptz not null, "ipAddress" text, "userAgent" text, "userId" text not null references "user" ("id") on delete cascade)
create table "account" ("id" text not null primary key, "accountId" text not null, "providerId" text not null, "userId" text not null references "user" ("id") on delete cascade, "accessToken" text, "refreshToken" text, "idToken" text, "accessTokenExpiresAt" timestamptz, "refreshTokenExpiresAt" timestamptz, "scope" text, "password" text, "createdAt" timestamptz default CURRENT_TIMESTAMP not null, "updatedAt" timestamptz not null)
create table "verification" ("id" text not null primary key, "identifier" text not null, "value" text not null, "expiresAt" timestamptz not null, "createdAt" timestamptz default CURRENT_TIMESTAMP not null, "updatedAt" timestamptz default CURRENT_TIMESTAMP not null)
create index "session_userId_idx" on "session" ("userId")
create index "account_userId_idx" on "account" ("userId")
create index "verification_identifier_idx" on "verification" ("identifier")"#,
    ),
];

/// The tables that upstream does not have, and their indexes.
const OURS: [(Dialect, &str, &str); 2] = [
    (
        Dialect::Sqlite,
        r#"create table "narthexGuess" ("id" text not null primary key, "failures" bigint not null, "lastAttempt" date not null)
create table "audit_log" ("id" text not null primary key, "created_at" date not null, "event" text not null, "outcome" text not null, "reason" text, "actor" text, "user_id" text, "session_id" text, "account" text, "ip_address" text, "user_agent" text, "request_id" text, "details" text)"#,
        r#"create index "narthexGuess_lastAttempt_idx" on "narthexGuess" ("lastAttempt")
create index "audit_log_user_id_idx" on "audit_log" ("user_id")
create index "audit_log_account_idx" on "audit_log" ("account")"#,
    ),
    (
        Dialect::Postgres,
        r#"create table "narthexGuess" ("id" text not null primary key, "failures" bigint not null, "lastAttempt" timestamptz not null)
create table "audit_log" ("id" text not null primary key, "created_at" timestamptz not null, "event" text not null, "outcome" text not null, "reason" text, "actor" text, "user_id" text, "session_id" text, "account" text, "ip_address" text, "user_agent" text, "request_id" text, "details" jsonb)"#,
        r#"create index "narthexGuess_lastAttempt_idx" on "narthexGuess" ("lastAttempt")
create index "audit_log_user_id_idx" on "audit_log" ("user_id")
create index "audit_log_account_idx" on "audit_log" ("account")"#,
    ),
];

async fn build(database: &Database, migrate: Migrate) -> Result<Auth, String> {
    let mut config = Config { secret: Some(SECRET.into()), ..Config::default() };
    config.database.migrate = migrate;
    // The default of upstream, which has no table for it.
    config.rate_limit.storage = Some(narthex::RateLimitStorage::Memory);
    let store = Store::open(database.url()).await.expect("the database opens");
    Auth::builder(config).build(store).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn an_empty_database_gets_upstreams_statements_and_a_table_of_ours() {
    let database = Database::fresh().await;
    let refusal = build(&database, Migrate::Check).await.err().expect("it is not up to date");
    let statements = refusal
        .strip_prefix("the database is not up to date; run `narthex migrate`, or:\n")
        .expect("the statements");
    let statements = statements.replace(";\n", "\n");
    let (_, upstream) =
        UPSTREAM.into_iter().find(|(dialect, _)| *dialect == database.dialect()).expect("both are there");
    let (_, table, index) =
        OURS.into_iter().find(|(dialect, ..)| *dialect == database.dialect()).expect("both are there");
    let (tables, indexes) = upstream.split_once("\ncreate index").expect("tables come first");
    let expected = format!("{tables}\n{table}\ncreate index{indexes}\n{index}");
    assert_eq!(statements.trim_end_matches(';'), expected);

    let auth = build(&database, Migrate::Auto).await.expect("it is brought up to date");
    assert!(auth.migrate().await.expect("it can be compared").statements.is_empty(), "once is enough");
    build(&database, Migrate::Check).await.map(drop).expect("nothing is missing");
}

#[tokio::test]
async fn what_is_missing_is_added_and_what_is_there_stays() {
    let database = Arc::new(Database::fresh().await);
    {
        let app = TestApp::builder().database(&database).build().await;
        let _browser = crate::support::ada(&app).await;
    }
    database.execute(r#"alter table "user" drop column "image"; drop index "session_userId_idx""#).await;
    let app = TestApp::builder().database(&database).seed(2).plugin(Tickets).build().await;
    app.store().insert(&Ticket::named("a", 1)).await.expect("the new table is there");
    let users = database.rows("user", None).await;
    assert_eq!(users.len(), 1);
    assert!(users.iter().all(|user| user["image"].is_null() && user["name"] == "Ada"), "{users:?}");
    assert!(app.auth().migrate().await.expect("it can be compared").statements.is_empty());
}

#[tokio::test]
async fn a_column_of_another_type_is_refused_with_what_to_do() {
    let database = Database::fresh().await;
    let kind = if database.dialect() == Dialect::Sqlite { "blob" } else { "bytea" };
    database.execute(&format!(r#"create table "verification" ("id" text primary key, "identifier" {kind}, "value" text, "expiresAt" text, "createdAt" text, "updatedAt" text)"#)).await;
    let refusal = build(&database, Migrate::Auto).await.err().expect("it is refused");
    let refusal = refusal.to_lowercase();
    assert!(
        refusal.contains(&format!(r#""verification"."identifier" has type {kind}, but text is needed"#)),
        "{refusal}"
    );
    assert!(refusal.contains("convert the column"), "{refusal}");
}

#[tokio::test]
async fn a_required_column_that_rows_would_lack_is_refused() {
    let database = Arc::new(Database::fresh().await);
    {
        let app = TestApp::builder().database(&database).build().await;
        let _browser = crate::support::ada(&app).await;
    }
    database.execute(r#"alter table "user" drop column "name""#).await;
    let refusal = build(&database, Migrate::Auto).await.err().expect("it is refused");
    assert!(refusal.contains(r#""user" lacks the required column "name""#), "{refusal}");
}

/// Upstream's SQLite adapter has written dates as numbers, and other programs write `1` for true.
#[tokio::test]
async fn other_spellings_of_the_same_value_are_read() {
    let app = TestApp::new().await;
    if app.database().dialect() == Dialect::Postgres {
        return;
    }
    let browser = crate::support::ada(&app).await;
    let year = 365 * 24 * 3_600_000_i64;
    let later = narthex::Clock::now(app.clock()).millis() + year;
    app.database()
        .execute(&format!(
            r#"update "session" set "expiresAt" = {later}; update "user" set "emailVerified" = 1"#
        ))
        .await;
    let session = browser.get("/get-session").await.json();
    assert_eq!(session["user"]["emailVerified"], true);
    assert_eq!(session["session"]["expiresAt"], narthex::Time::from_millis(later).to_string());
}

/// Upstream's statements for columns that a table with rows gets.
#[tokio::test]
async fn added_fields_have_defaults_and_indexes() {
    let database = Arc::new(Database::fresh().await);
    {
        let app = TestApp::builder().database(&database).build().await;
        let _browser = crate::support::ada(&app).await;
    }
    let change = |config: &mut Config| {
        let fields = serde_json::json!({
            "plan": { "type": "string", "default": "it's free", "index": true },
            "handle": { "type": "string", "required": false, "unique": true, "default": "x" },
            "credits": { "type": "number", "default": 3, "bigint": true },
            "active": { "type": "boolean", "default": true, "column": "is_active" },
            "tags": { "type": "string[]", "required": false },
            "invitedBy": { "type": "string", "required": false, "references": { "model": "user", "on-delete": "set null" } },
        });
        config.user.additional_fields = serde_json::from_value(fields).expect("fields");
    };
    let mut config = Config { secret: Some(SECRET.into()), ..Config::default() };
    config.database.migrate = Migrate::Check;
    // Where requests are counted is not what this is about.
    config.rate_limit.storage = Some(narthex::RateLimitStorage::Memory);
    change(&mut config);
    let store = Store::open(database.url()).await.expect("the database opens");
    let refusal = Auth::builder(config).build(store).await.err().expect("it is not up to date").to_string();
    let statements = match database.dialect() {
        Dialect::Sqlite => {
            r#"alter table "user" add column "plan" text default 'it''s free' not null;
alter table "user" add column "handle" text;
alter table "user" add column "credits" bigint default 3 not null;
alter table "user" add column "is_active" integer default 1 not null;
alter table "user" add column "tags" text;
alter table "user" add column "invitedBy" text references "user" ("id") on delete set null;
create index "user_plan_idx" on "user" ("plan");
create unique index "user_handle_uidx" on "user" ("handle");"#
        }
        Dialect::Postgres => {
            r#"alter table "user" add column "plan" text default 'it''s free' not null;
alter table "user" add column "handle" text;
alter table "user" add column "credits" bigint default 3 not null;
alter table "user" add column "is_active" boolean default true not null;
alter table "user" add column "tags" jsonb;
alter table "user" add column "invitedBy" text references "user" ("id") on delete set null;
create index "user_plan_idx" on "user" ("plan");
create unique index "user_handle_uidx" on "user" ("handle");"#
        }
    };
    assert_eq!(refusal, format!("the database is not up to date; run `narthex migrate`, or:\n{statements}"));

    let app = TestApp::builder().database(&database).config(change).seed(2).build().await;
    let ada = app.store().find(narthex::model::User::EMAIL.eq(crate::support::ADA)).await;
    let ada = serde_json::to_value(ada.expect("a query").expect("Ada")).expect("JSON");
    assert_eq!(
        (&ada["plan"], &ada["credits"], &ada["active"]),
        (&"it's free".into(), &3.into(), &true.into())
    );
    assert!(ada["handle"].is_null(), "a default of what may be missing and must differ is nobody's");
    assert!(app.auth().migrate().await.expect("it can be compared").statements.is_empty(), "once is enough");
}
