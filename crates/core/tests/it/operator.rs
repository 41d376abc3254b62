//! What an application does with users and sessions by itself, without a request.

use crate::support::{ADA, PASSWORD, ada, again, credentials, is_signed_in};
use narthex::{
    Config, GenerateId, Secret,
    input::Record,
    model::{NewUser, User, UserCreated},
    prelude::*,
    store::Select,
};
use narthex_testkit::{Redis, TestApp};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const NEW_PASSWORD: &str = "another horse";

fn bob() -> NewUser {
    NewUser { name: "Bob".to_owned(), email: "Bob@Example.com".to_owned(), email_verified: true, image: None }
}

fn record(fields: &Value) -> Record {
    fields.as_object().expect("an object").clone()
}

async fn find(app: &TestApp, id_or_email: &str) -> Option<User> {
    app.auth().find_user(id_or_email).await.expect("it answers")
}

async fn user(app: &TestApp, id_or_email: &str) -> User {
    find(app, id_or_email).await.expect("there is one")
}

async fn status(app: &TestApp, email: &str, password: &str) -> u16 {
    let body = json!({ "email": email, "password": password });
    app.browser().post("/sign-in/email", body).await.status()
}

fn fields(config: &mut Config) {
    config.user.additional_fields = serde_json::from_value(json!({
        "level": { "type": ["beginner", "advanced"], "required": true },
        "age": { "type": "number", "required": false },
        "tags": { "type": "string[]", "required": false },
        "role": { "type": "string", "default": "user", "input": false },
    }))
    .expect("fields");
}

/// Hears of users, and refuses some.
#[derive(Clone, Default)]
struct Watcher(Arc<Mutex<Vec<String>>>);

impl Plugin for Watcher {
    const ID: &'static str = "watcher";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.before_write("user", Self::look);
        setup.on::<UserCreated>(Self::hear);
    }
}

impl Watcher {
    async fn look(&self, _: &mut Tx, write: &mut narthex::store::Write) -> Result<()> {
        match write.record.get("name") {
            Some(narthex::store::Value::Text(name)) if name == "Mallory" => {
                Err(Error::forbidden(narthex::Code::new("NO_MALLORY", "not Mallory")))
            }
            _ => Ok(()),
        }
    }

    async fn hear(&self, cx: &Ctx, event: &UserCreated) {
        let there = cx.users().by_id(&event.user.id).await.expect("it answers").is_some();
        self.0.lock().expect("nobody panics with it").push(format!("{} {there}", event.user.email));
    }
}

#[tokio::test]
async fn a_user_is_made_by_the_rules_of_a_sign_up() {
    let watcher = Watcher::default();
    let app = TestApp::with(watcher.clone()).await;
    let auth = app.auth();
    let made = auth.new_user(bob(), Record::new()).expect("it is right");
    let made = auth.create_user(&made, Some(&PASSWORD.into())).await.expect("it is made");
    assert_eq!((made.email.as_str(), made.email_verified), ("bob@example.com", true));
    assert_eq!(status(&app, "bob@example.com", PASSWORD).await, 200);
    assert_eq!(user(&app, &made.id).await, user(&app, "BOB@example.com").await);
    // Told once it was there.
    assert_eq!(*watcher.0.lock().expect("nobody panics with it"), ["bob@example.com true"]);

    let again = auth.new_user(bob(), Record::new()).expect("it is right");
    let taken = auth.create_user(&again, None).await.expect_err("the address is taken");
    assert_eq!(taken.code(), Some("USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL"));
    let mallory = NewUser { name: "Mallory".to_owned(), email: "m@example.com".to_owned(), ..bob() };
    let mallory = auth.new_user(mallory, Record::new()).expect("it is right");
    let refused = auth.create_user(&mallory, None).await.expect_err("a hook refuses it");
    assert_eq!(refused.code(), Some("NO_MALLORY"));
    let short = auth.new_user(NewUser { email: "c@example.com".to_owned(), ..bob() }, Record::new());
    let short = auth.create_user(&short.expect("it is right"), Some(&"short".into())).await;
    assert_eq!(short.expect_err("the password is short").code(), Some("PASSWORD_TOO_SHORT"));
    let no_address = auth.new_user(NewUser { email: "bob".to_owned(), ..bob() }, Record::new());
    assert_eq!(no_address.expect_err("it is none").code(), Some("INVALID_EMAIL"));
    assert_eq!((app.rows("user").await.len(), app.rows("account").await.len()), (1, 1));
}

#[tokio::test]
async fn fields_are_checked_and_those_that_are_not_for_clients_can_be_set() {
    let app = TestApp::with_config(fields).await;
    let auth = app.auth();
    let refusal = |fields: Value| {
        let error = auth.new_user(bob(), record(&fields)).expect_err("it is wrong");
        error.message().to_owned()
    };
    assert_eq!(refusal(json!({})), "level is required");
    assert_eq!(
        refusal(json!({ "level": "expert" })),
        "[field.level] Invalid option: expected one of \"beginner\"|\"advanced\""
    );
    assert_eq!(
        refusal(json!({ "level": "beginner", "lvl": 1 })),
        "\"user\" has no field \"lvl\" of yours; its are: level, age, tags, role"
    );
    let mut texts = record(&json!({ "level": "advanced", "age": "36", "tags": "[\"a\"]", "role": "admin" }));
    auth.read_texts(&mut texts).expect("they can be read");
    let made = auth.new_user(bob(), texts).expect("it is right");
    auth.create_user(&made, None).await.expect("it is made");
    let row = &app.rows("user").await[0];
    assert_eq!(
        json!([row["level"], row["age"], row["tags"], row["role"]]),
        json!(["advanced", 36, ["a"], "admin"])
    );
    let mut broken = record(&json!({ "level": "advanced", "tags": "a" }));
    let broken = auth.read_texts(&mut broken).expect_err("it is no JSON");
    assert!(broken.message().starts_with("tags: no JSON"), "{}", broken.message());
}

#[tokio::test]
async fn a_new_password_ends_the_sessions_and_lets_in_who_was_locked_out() {
    let app = TestApp::with_config(|config| {
        config.password.max_failures = 3;
        config.password.delay_after = 0;
    })
    .await;
    let browser = ada(&app).await;
    for _ in 0..3 {
        assert_eq!(status(&app, ADA, "wrong password").await, 401);
    }
    assert_eq!(status(&app, ADA, PASSWORD).await, 429);
    let ada = user(&app, ADA).await;
    let short = app.auth().set_password(&ada, &"short".into(), false).await;
    assert_eq!(short.expect_err("it is short").code(), Some("PASSWORD_TOO_SHORT"));
    assert!(is_signed_in(&browser).await, "nothing has changed");

    app.auth().set_password(&ada, &NEW_PASSWORD.into(), true).await.expect("it is set");
    assert!(is_signed_in(&browser).await, "the sessions are kept");
    assert_eq!(status(&app, ADA, NEW_PASSWORD).await, 200);
    assert_eq!(status(&app, ADA, PASSWORD).await, 401);
    app.auth().set_password(&ada, &PASSWORD.into(), false).await.expect("it is set");
    assert!(!is_signed_in(&browser).await);
    assert!(app.rows("session").await.is_empty());
    assert_eq!(app.rows("account").await.len(), 1);
}

#[tokio::test]
async fn who_has_no_password_gets_a_first_one() {
    let app = TestApp::new().await;
    let made = app.auth().new_user(bob(), Record::new()).expect("it is right");
    let made = app.auth().create_user(&made, None).await.expect("it is made");
    assert!(app.rows("account").await.is_empty());
    app.auth().set_password(&made, &PASSWORD.into(), false).await.expect("it is set");
    assert_eq!(status(&app, "bob@example.com", PASSWORD).await, 200);
    app.auth().delete_user(&made).await.expect("it answers").expect("there was one");
    let gone = app.auth().set_password(&made, &PASSWORD.into(), false).await;
    assert_eq!(gone.expect_err("nobody has it").code(), Some("USER_NOT_FOUND"));
}

#[tokio::test]
async fn a_deleted_user_leaves_nothing_behind() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    assert_eq!(status(&app, ADA, "wrong password").await, 401);
    let other = app.auth().new_user(bob(), Record::new()).expect("it is right");
    app.auth().create_user(&other, Some(&PASSWORD.into())).await.expect("it is made");
    let ada = user(&app, ADA).await;
    let deleted = app.auth().delete_user(&ada).await.expect("it answers");
    assert_eq!(deleted.map(|user| user.email).as_deref(), Some(ADA));
    assert!(app.auth().delete_user(&ada).await.expect("it answers").is_none());
    assert!(!is_signed_in(&browser).await);
    assert!(find(&app, ADA).await.is_none());
    for (table, left) in [("user", 1), ("account", 1), ("session", 0), ("narthexGuess", 0)] {
        assert_eq!(app.rows(table).await.len(), left, "{table}");
    }
}

#[tokio::test]
async fn sessions_are_listed_and_ended_one_by_one_or_all() {
    let app = TestApp::new().await;
    let (first, second) = (ada(&app).await, again(&app).await);
    let ada = user(&app, ADA).await;
    let auth = app.auth();
    let sessions = auth.sessions_of(&ada.id).await.expect("it answers");
    assert_eq!(sessions.len(), 2);
    let token = crate::support::token(&first);
    let of_first = sessions.iter().find(|session| session.token == token).expect("it is listed");
    let other = auth.new_user(bob(), Record::new()).expect("it is right");
    let other = auth.create_user(&other, None).await.expect("it is made");
    assert!(auth.revoke_session(&of_first.id, Some(&other.id)).await.expect("it answers").is_none());
    assert!(auth.revoke_session("nobody's", None).await.expect("it answers").is_none());
    assert!(is_signed_in(&first).await);
    assert!(auth.revoke_session(&of_first.id, None).await.expect("it answers").is_some());
    assert!(!is_signed_in(&first).await && is_signed_in(&second).await);
    auth.revoke_sessions(&ada.id).await.expect("it answers");
    assert!(!is_signed_in(&second).await);
    let third = again(&app).await;
    auth.revoke_all_sessions().await.expect("it answers");
    assert!(!is_signed_in(&third).await);
}

#[tokio::test]
async fn sessions_in_the_secondary_storage_end_too() {
    let redis = Redis::start().await;
    let app = TestApp::builder().secondary(redis.storage().await).build().await;
    let (first, second) = (ada(&app).await, again(&app).await);
    let ada = user(&app, ADA).await;
    let auth = app.auth();
    assert!(!auth.has_sessions_in_database());
    let token = crate::support::token(&first);
    let sessions = auth.sessions_of(&ada.id).await.expect("it answers");
    let id = sessions.iter().find(|session| session.token == token).map(|session| session.id.clone());
    let ended = auth.revoke_session(&id.expect("it is listed"), Some(&ada.id)).await;
    assert!(ended.expect("it answers").is_some());
    assert!(!is_signed_in(&first).await && is_signed_in(&second).await);
    auth.revoke_all_sessions().await.expect("it answers");
    assert!(!is_signed_in(&second).await);
    app.advance(std::time::Duration::from_secs(1));
    let third = again(&app).await;
    auth.set_password(&ada, &NEW_PASSWORD.into(), false).await.expect("it is set");
    assert!(!is_signed_in(&third).await);
    app.advance(std::time::Duration::from_secs(1));
    let body = json!({ "email": ADA, "password": NEW_PASSWORD });
    let fourth = app.browser();
    let _ = fourth.post("/sign-in/email", body).await.expecting(200);
    auth.delete_user(&ada).await.expect("it answers").expect("there was one");
    assert!(!is_signed_in(&fourth).await);
}

#[tokio::test]
async fn a_transaction_without_a_request_is_whole_or_nothing() {
    let app = TestApp::new().await;
    let auth = app.auth();
    let made = auth.new_user(bob(), Record::new()).expect("it is right");
    let refused = auth
        .transact(async |tx: &mut Tx| {
            tx.users().create(&made).await?;
            Err::<(), _>(Error::forbidden(narthex::Code::new("NO", "no")))
        })
        .await;
    assert_eq!(refused.expect_err("it has failed").code(), Some("NO"));
    assert!(app.rows("user").await.is_empty());
    auth.transact(async |tx: &mut Tx| tx.users().create(&made).await).await.expect("it is made");
    assert_eq!(app.rows("user").await.len(), 1);
}

#[tokio::test]
async fn a_part_of_a_text_is_looked_for_in_any_case() {
    let app = TestApp::new().await;
    let auth = app.auth();
    for (name, email) in [("Ada", "ada@example.com"), ("BOB", "b_b@example.com"), ("Carol", "c@example.org")]
    {
        let new = NewUser { name: name.to_owned(), email: email.to_owned(), ..bob() };
        let user = auth.new_user(new, Record::new()).expect("it is right");
        auth.create_user(&user, None).await.expect("it is made");
    }
    let found = async |text: &str| {
        let filter = User::EMAIL.contains(text).or(User::NAME.contains(text));
        let users: Vec<User> = app.store().list(Select::matching(filter)).await.expect("it answers");
        let mut names: Vec<String> = users.into_iter().map(|user| user.name).collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(found("EXAMPLE.com").await, "Ada BOB");
    assert_eq!(found("bob").await, "BOB");
    // No character stands for others.
    assert_eq!(found("_").await, "BOB");
    assert_eq!(found("%").await, "");
    assert_eq!(found("").await, "Ada BOB Carol");
}

#[tokio::test]
async fn ids_that_others_have_made_are_taken_where_the_database_makes_none() {
    let check = async |ids: Option<GenerateId>, id: &str| {
        let app = TestApp::with_config(|config| config.advanced.database.generate_id = ids).await;
        app.auth().check_id(id).is_ok()
    };
    assert!(check(None, "auth0|1").await && !check(None, "").await && !check(None, "a\nb").await);
    assert!(!check(None, &"x".repeat(256)).await);
    let uuid = "3f0c5a52-9a0e-4a55-8d3c-0e6b1f2a7c11";
    assert!(check(Some(GenerateId::Uuid), uuid).await && !check(Some(GenerateId::Uuid), "1").await);
    assert!(!check(Some(GenerateId::Serial), "1").await);
}

#[tokio::test]
async fn a_snapshot_shows_one_moment_whole() {
    let app = TestApp::new().await;
    let _browser = ada(&app).await;
    let mut snapshot = app.store().snapshot().await.expect("it opens");
    let users = snapshot.page("user", None, 10).await.expect("it reads");
    let _ = app.browser().post("/sign-in/email", credentials()).await.expecting(200);
    let other = app.auth().new_user(bob(), Record::new()).expect("it is right");
    app.auth().create_user(&other, None).await.expect("it is made");
    let names: Vec<&str> = users[0].iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["id", "name", "email", "emailVerified", "image", "createdAt", "updatedAt"]);
    assert_eq!(snapshot.page("user", None, 10).await.expect("it reads").len(), 1);
    assert_eq!(snapshot.page("session", None, 10).await.expect("it reads").len(), 1);
    let account = snapshot.page("account", None, 10).await.expect("it reads").remove(0);
    assert!(
        matches!(account.get("password"), Some(narthex::store::Value::Text(hash)) if hash.starts_with("$2b$"))
    );
    assert!(snapshot.page("nothing", None, 10).await.is_err());

    let mut later = app.store().snapshot().await.expect("it opens");
    let first = later.page("user", None, 1).await.expect("it reads");
    let Some(narthex::store::Value::Text(id)) = first[0].get("id") else { panic!("an id is text") };
    let second = later.page("user", Some(id), 10).await.expect("it reads");
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first[0].get("id"), second[0].get("id"));
}

#[tokio::test]
async fn a_snapshot_goes_on_after_ids_that_the_database_counts() {
    let app =
        TestApp::with_config(|config| config.advanced.database.generate_id = Some(GenerateId::Serial)).await;
    for number in 0..12 {
        let new = NewUser { email: format!("user-{number}@example.com"), ..bob() };
        let user = app.auth().new_user(new, Record::new()).expect("it is right");
        app.auth().create_user(&user, Some(&Secret::from(PASSWORD))).await.expect("it is made");
    }
    let mut snapshot = app.store().snapshot().await.expect("it opens");
    let (mut after, mut ids) = (None::<String>, Vec::new());
    loop {
        let page = snapshot.page("account", after.as_deref(), 5).await.expect("it reads");
        let Some(last) = page.last() else { break };
        let Some(narthex::store::Value::Text(id)) = last.get("id") else { panic!("an id is text") };
        after = Some(id.clone());
        ids.extend(page.iter().map(|row| format!("{:?}", row.get("userId").expect("it has one"))));
    }
    let expected: Vec<String> = (1..=12).map(|id| format!("Text(\"{id}\")")).collect();
    assert_eq!(ids, expected);
}
