//! Tables and columns by names of the operator's: code never sees them.

use crate::support::{ADA, PASSWORD, ada};
use insta::assert_snapshot;
use narthex::{
    Config,
    model::{Account, Session, User},
    prelude::*,
    store::{StoreError, Write},
};
use narthex_testkit::TestApp;
use serde_json::json;

fn rename(config: &mut Config) {
    config.user = serde_json::from_value(json!({
        "model-name": "order",
        "fields": { "email": "e-mail", "updatedAt": "group" },
        "additional-fields": { "city": { "type": "string", "required": false, "unique": true, "column": "home" } },
    }))
    .expect("options of users");
    config.session.model_name = Some("Sessions".to_owned());
    config.session.fields =
        serde_json::from_value(json!({ "userId": "select", "token": "key" })).expect("names");
    config.account =
        serde_json::from_value(json!({ "fields": { "userId": "owner" } })).expect("options of accounts");
}

#[tokio::test]
async fn replies_say_declared_names_and_tables_have_the_operators() {
    let app = TestApp::with_config(rename).await;
    let browser = ada(&app).await;
    assert_snapshot!(browser.get("/get-session").await, @r#"200 {"session":{"expiresAt":"[now+7d]","token":"[token]","createdAt":"[now]","updatedAt":"[now]","ipAddress":"127.0.0.1","userAgent":"testkit","userId":"[id]","id":"[id]"},"user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]","city":null,"id":"[id]"}}"#);
    assert_snapshot!(app.rows("user").await, @r#"{"id":"[id]","name":"Ada","e-mail":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now]","group":"[now]","home":null}"#);
    let session = &app.rows("session").await[0];
    let columns: Vec<_> = session.as_object().expect("a row").keys().collect();
    assert_eq!(
        columns,
        ["id", "expiresAt", "key", "createdAt", "updatedAt", "ipAddress", "userAgent", "select"]
    );
    browser.post("/sign-out", json!({})).await.expecting(200).text();
    assert_eq!(browser.get("/get-session").await.text(), "null");
}

#[tokio::test]
async fn every_verb_of_the_store_knows_the_names() {
    let app = TestApp::with_config(rename).await;
    let _browser = ada(&app).await;
    let store = app.store();
    let user = store.find(User::EMAIL.eq(ADA)).await.expect("a query").expect("Ada");
    let everyone = narthex::store::Select::matching(
        User::EMAIL.ne("x").and(User::NAME.eq("Ada").or(User::NAME.eq("B"))),
    );
    let everyone = everyone.order_by(User::EMAIL, narthex::store::Order::Descending).limit(3);
    assert_eq!(store.list(everyone).await.expect("a query"), std::slice::from_ref(&user));
    assert_eq!(store.count(Session::USER_ID.eq(&user.id)).await.expect("a query"), 1);
    assert_eq!(store.update(User::EMAIL.eq(ADA), User::EMAIL.set("b@c.d")).await.expect("a change"), 1);
    let session = store.take(Session::USER_ID.eq(&user.id)).await.expect("a change").expect("hers");
    assert_eq!(session.user_id, user.id);
    assert_eq!(store.delete(Account::USER_ID.eq(&user.id)).await.expect("a change"), 1);
}

#[tokio::test]
async fn what_must_be_unique_is_named_as_declared() {
    let app = TestApp::with_config(rename).await;
    let _browser = ada(&app).await;
    let mut other = app.store().find(User::EMAIL.eq(ADA)).await.expect("a query").expect("Ada");
    other.id = "another".to_owned();
    let refusal = app.store().insert(&other).await.expect_err("the address is taken");
    assert!(
        matches!(&refusal, StoreError::Unique { table, column } if table == "user" && column == "email"),
        "{refusal:?}"
    );
    let body = json!({ "name": "Eve", "email": ADA, "password": PASSWORD });
    assert_snapshot!(app.browser().post("/sign-up/email", body).await, @r#"422 {"message":"User already exists. Use another email.","code":"USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL"}"#);
}

/// Puts everyone into the same city.
struct Mayor;

impl Plugin for Mayor {
    const ID: &'static str = "mayor";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.before_write(User::TABLE, Self::settle);
    }
}

impl Mayor {
    async fn settle(&self, _tx: &mut Tx, write: &mut Write) -> Result<()> {
        assert!(write.record.get("e-mail").is_none(), "a column's name is no field's");
        write.record.set("city", "London");
        Ok(())
    }
}

#[tokio::test]
async fn hooks_see_declared_names() {
    let app = TestApp::builder().config(rename).plugin(Mayor).build().await;
    let browser = ada(&app).await;
    assert_eq!(browser.get("/get-session").await.json()["user"]["city"], "London");
}

#[tokio::test]
async fn names_that_cannot_be_are_all_reported() {
    let outcome = TestApp::builder()
        .config(|config| {
            config.user = serde_json::from_value(json!({
                "model-name": "Session",
                "fields": { "emial": "x", "name": "id", "image": "NAME2", "createdAt": "name2", "updatedAt": "a\"b" },
                "additional-fields": {
                    "email": { "type": "string" },
                    "password": { "type": "string" },
                    "twice": { "type": "string", "column": "emailVerified" },
                    "lost": { "type": "string", "references": { "model": "team" } },
                },
            }))
            .expect("options of users");
            config.account.model_name = Some("sqlite_accounts".to_owned());
            config.verification.model_name = Some(String::new());
            config.rate_limit.storage = Some(narthex::RateLimitStorage::Database);
            config.rate_limit.model_name = Some("rate limit".to_owned());
            config.rate_limit.fields = serde_json::from_value(json!({ "kee": "x" })).expect("columns");
            config.audit.model_name = Some("audit.log".to_owned());
        })
        .try_build()
        .await;
    let problems = outcome.err().expect("it is refused").to_string();
    assert_snapshot!(problems, @r#"
    user.additional-fields.password: the name means something else already
    user.additional-fields.email: "user" has a field "email" already
    user.fields.emial = "x": "user" has no field "emial"; its own are name, email, emailVerified, image, createdAt, updatedAt
    rate-limit.fields.kee = "x": "rateLimit" has no field "kee"; its own are key, count, lastRequest
    "user"."lost" references unknown table "team"
    "user"."id" and "user"."name" are both kept in "id"
    "user"."image" and "user"."createdAt" are both kept in "name2"
    "user"."updatedAt" is kept in "a\"b": a name has letters, digits, _, - and $
    "user"."emailVerified" and "user"."twice" are both kept in "emailVerified"
    "user" and "session" are both kept in "session"
    account.model-name = "sqlite_accounts": SQLite keeps such names for itself
    verification.model-name = "": a name has 1 to 63 bytes
    audit.model-name = "audit.log": a name has letters, digits, _, - and $
    rate-limit.model-name = "rate limit": a name has letters, digits, _, - and $
    "#);
}

#[tokio::test]
async fn options_of_fields_that_make_no_sense_are_all_reported() {
    let outcome = TestApp::builder()
        .config(|config| {
            config.user = serde_json::from_value(json!({ "additional-fields": {
                "age": { "type": "number", "default": "old" },
                "born": { "type": "date", "default": "yesterday" },
                "level": { "type": ["a", "b"], "default": "c" },
                "none": { "type": [] },
                "many": { "type": "number", "values": ["1"] },
                "big": { "type": "string", "bigint": true },
            } }))
            .expect("options of users");
        })
        .try_build()
        .await;
    let problems = outcome.err().expect("it is refused").to_string();
    assert_snapshot!(problems, @r#"
    user.additional-fields.age.default = "old": Invalid input: expected number, received string
    user.additional-fields.born.default = "yesterday": Invalid input: expected date, received Date
    user.additional-fields.level.default = "c": Invalid option: expected one of "a"|"b"
    user.additional-fields.none.type = []: needs at least one text
    user.additional-fields.many.values: only a field of type = "string" can be one of several texts
    user.additional-fields.big.bigint = true: only a field of type = "number" can have it
    "#);
}
