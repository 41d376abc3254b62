//! The door that everything comes in through: what a plugin can add, and in which order it is asked.

use crate::support::{ADA, ada, credentials};
use http::{HeaderName, HeaderValue, Method};
use narthex::{
    Auth, Config,
    model::{self, Ended, User, UserCreated},
    prelude::*,
    store::{self, Value},
};
use narthex_testkit::{Database, SECRET, TestApp};
use serde_json::json;
use std::sync::{Arc, Mutex};

/// What happened, in order.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn write(&self, line: impl Into<String>) {
        self.0.lock().expect("nobody panics with it").push(line.into());
    }

    fn read(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("nobody panics with it"))
    }
}

narthex::model! {
    /// A note of the example.
    pub struct Note in "note" {
        /// What it says.
        TEXT text: String = text("text");
        /// Never shown.
        [hidden] PIN pin: Option<String> = text("pin").optional();
        /// How often it was read.
        READS reads: i64 = big_integer("reads");
    }
}

/// Uses every verb of `Setup`.
#[derive(Default)]
struct Example {
    diary: Diary,
    interrupts: bool,
    refuses_names: bool,
}

input! {
    struct Greeting { name: Text }
    struct Loudness { loud: Option<Text> }
}
output! {
    struct Greeted { greeting: String, by: Option<String> }
}

impl Plugin for Example {
    const ID: &'static str = "example";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.get("/example/none", Self::none);
        setup.post("/example/one", Self::one);
        setup.post("/example/two", Self::two);
        setup.post("/example/three/:id", Self::three);
        setup.table(Note::table());
        setup
            .extend(User::TABLE, [Field::text("motto").optional(), Field::text("doubt").optional().hidden()]);
        setup.before("/sign-up/**", Self::note_sign_up);
        setup.before("/example/one", Self::rename);
        setup.after("/example/**", Self::mark);
        setup.on_sign_in(Self::challenge);
        setup.before_write(User::TABLE, Self::give_motto);
        setup.on::<UserCreated>(Self::welcome);
        for word in ["first", "second"] {
            setup.with(word.to_owned()).before("/example/none", Self::say);
        }
        setup.with(7_u8).route(Method::GET, "/example/seven", Self::number);
    }
}

impl Example {
    async fn none(&self, cx: &mut Ctx) -> Result<Reply> {
        cx.transact(async |tx: &mut Tx| {
            let note = Note {
                id: tx_id(),
                text: "hello".into(),
                pin: Some("1234".into()),
                reads: 1,
                extra: store::Record::default(),
                hidden: store::Record::default(),
            };
            tx.insert(&note).await?;
            Ok(())
        })
        .await?;
        Ok(Reply::json(&cx.store().find(Note::ID.eq("n1")).await?))
    }

    async fn one(&self, _cx: &mut Ctx, Body(body): Body<Greeting>) -> Result<Json<Greeted>> {
        Ok(Json(Greeted { greeting: format!("Hello {}", body.name), by: None }))
    }

    async fn two(
        &self,
        _cx: &mut Ctx,
        Body(body): Body<Greeting>,
        Query(query): Query<Loudness>,
    ) -> Result<Json<Greeted>> {
        let end = if query.loud.is_some() { "!" } else { "" };
        Ok(Json(Greeted { greeting: format!("Hello {}{end}", body.name), by: None }))
    }

    async fn three(
        &self,
        cx: &mut Ctx,
        session: Session,
        Body(body): Body<Greeting>,
        Query(_): Query<Loudness>,
    ) -> Result<Json<Greeted>> {
        let id = cx.parameter("id").unwrap_or_default().to_owned();
        Ok(Json(Greeted { greeting: format!("Hello {} ({id})", body.name), by: Some(session.0.user.name) }))
    }

    async fn number(&self, number: &u8, _cx: &mut Ctx) -> Result<Reply> {
        Ok(Reply::json(number))
    }

    async fn say(&self, word: &String, _cx: &mut Ctx) -> Result<Option<Reply>> {
        self.diary.write(word);
        Ok(None)
    }

    async fn note_sign_up(&self, cx: &mut Ctx) -> Result<Option<Reply>> {
        self.diary.write(format!("before {}", cx.path()));
        let is_forbidden = cx.body().and_then(|body| body["name"].as_str()) == Some("Nobody");
        Ok(is_forbidden.then(|| Reply::json(&json!({ "answered": "in its place" }))))
    }

    async fn rename(&self, cx: &mut Ctx) -> Result<Option<Reply>> {
        if let Some(body) = cx.body_mut() {
            body["name"] = json!("you");
        }
        Ok(None)
    }

    async fn mark(&self, cx: &mut Ctx, reply: &mut Reply) -> Result<()> {
        reply.set_header(HeaderName::from_static("x-example"), HeaderValue::from_static("seen"));
        if cx.query_text() == "fail" {
            return Err(Error::forbidden(Code::new("AFTERTHOUGHT", "On second thought, no")));
        }
        Ok(())
    }

    async fn challenge(&self, _cx: &mut Ctx, sign_in: &SignIn) -> Result<Option<Reply>> {
        self.diary.write(format!("sign-in {} {:?}", sign_in.user.email, sign_in.method));
        Ok(self.interrupts.then(|| Reply::json(&json!({ "secondFactor": true }))))
    }

    async fn give_motto(&self, _tx: &mut Tx, write: &mut Write) -> Result<()> {
        if self.refuses_names && write.record.get("name") == Some(&Value::from("Ada")) {
            return Err(Error::forbidden(Code::new("NOT_ADA", "Ada is taken by history")));
        }
        write.record.set("motto", "per aspera");
        write.record.set("doubt", "hidden");
        Ok(())
    }

    async fn welcome(&self, cx: &Ctx, event: &UserCreated) {
        let is_committed = cx.users().by_id(&event.user.id).await.expect("it can be read").is_some();
        self.diary.write(format!("created {} (committed: {is_committed})", event.user.email));
    }
}

fn tx_id() -> String {
    "n1".to_owned()
}

fn example() -> (Example, Diary) {
    let diary = Diary::default();
    (Example { diary: diary.clone(), ..Example::default() }, diary)
}

#[tokio::test]
async fn a_handler_takes_up_to_three_extractors() {
    let (plugin, _) = example();
    let app = TestApp::with(plugin).await;
    let browser = app.browser();
    let greeting = json!({ "name": "Bob" });
    assert_eq!(
        browser.get("/example/none").await.text(),
        r#"{"text":"hello","reads":1,"id":"n1"}"#,
        "a record without its hidden column, its id last"
    );
    assert_eq!(
        browser.post("/example/two?loud=1", greeting.clone()).await.text(),
        r#"{"greeting":"Hello Bob!"}"#
    );
    let unknown = browser.post("/example/three/9", greeting.clone()).await;
    assert_eq!(
        (unknown.status(), unknown.text().as_str()),
        (401, r#"{"message":"Unauthorized","code":"UNAUTHORIZED"}"#)
    );
    let browser = ada(&app).await;
    assert_eq!(
        browser.post("/example/three/9", greeting).await.text(),
        r#"{"greeting":"Hello Bob (9)","by":"Ada"}"#
    );
    assert_eq!(browser.post("/example/three/", json!({})).await.status(), 404);
}

#[tokio::test]
async fn a_before_hook_changes_the_body_or_answers_itself() {
    let (plugin, diary) = example();
    let app = TestApp::with(plugin).await;
    let browser = app.browser();
    let reply = browser.post("/example/one", json!({ "name": 1 })).await;
    assert_eq!(reply.text(), r#"{"greeting":"Hello you"}"#, "the hook runs before the body is checked");
    let nobody = json!({ "name": "Nobody", "email": ADA, "password": "correct horse" });
    assert_eq!(browser.post("/sign-up/email", nobody).await.text(), r#"{"answered":"in its place"}"#);
    assert_eq!(diary.read(), ["before /sign-up/email"]);
    assert!(app.database().rows("user", None).await.is_empty());
}

#[tokio::test]
async fn an_after_hook_changes_the_reply_or_refuses() {
    let (plugin, _) = example();
    let app = TestApp::with(plugin).await;
    let browser = app.browser();
    assert_eq!(browser.get("/example/seven").await.header("x-example"), "seen");
    let refused = browser.get("/example/seven?fail").await;
    assert_eq!(
        (refused.status(), refused.text().as_str()),
        (403, r#"{"message":"On second thought, no","code":"AFTERTHOUGHT"}"#)
    );
    let failed = browser.post("/example/two", json!({})).await;
    assert_eq!((failed.status(), failed.header("x-example")), (400, "seen"), "a refusal passes it too");
}

#[tokio::test]
async fn hooks_of_a_value_run_once_for_each_value_in_order() {
    let (plugin, diary) = example();
    let app = TestApp::with(plugin).await;
    let _ = app.browser().get("/example/none").await.expecting(200);
    assert_eq!(diary.read(), ["first", "second"]);
    assert_eq!(app.browser().get("/example/seven").await.text(), "7");
}

#[tokio::test]
async fn a_sign_in_hook_decides_before_there_is_a_session() {
    let diary = Diary::default();
    let app = TestApp::with(Example { diary: diary.clone(), interrupts: true, ..Example::default() }).await;
    let browser = app.browser();
    let body = json!({ "name": "Ada", "email": ADA, "password": "correct horse" });
    let up = browser.post("/sign-up/email", body).await;
    assert_eq!((up.text().as_str(), up.cookies().len()), (r#"{"secondFactor":true}"#, 0));
    let signed_in = browser.post("/sign-in/email", credentials()).await;
    assert_eq!((signed_in.text().as_str(), signed_in.cookies().len()), (r#"{"secondFactor":true}"#, 0));
    assert_eq!(app.database().rows("user", None).await.len(), 1, "the account exists");
    assert!(app.database().rows("session", None).await.is_empty(), "and nobody is signed in");
    assert_eq!(
        diary.read(),
        [
            "before /sign-up/email",
            "sign-in ada@example.com SignUp",
            "created ada@example.com (committed: true)",
            "sign-in ada@example.com Password"
        ]
    );
}

#[tokio::test]
async fn a_wrong_password_reaches_no_sign_in_hook() {
    let (plugin, diary) = example();
    let app = TestApp::with(plugin).await;
    let browser = ada(&app).await;
    diary.read();
    let wrong = json!({ "email": ADA, "password": "wrong horse" });
    let _ = browser.post("/sign-in/email", wrong).await.expecting(401);
    assert!(diary.read().is_empty());
}

#[tokio::test]
async fn a_write_hook_changes_the_record_and_hidden_columns_stay_hidden() {
    let (plugin, _) = example();
    let app = TestApp::with(plugin).await;
    let browser = ada(&app).await;
    let session = browser.get("/get-session").await.json();
    assert_eq!(session["user"]["motto"], "per aspera");
    assert!(session["user"].get("doubt").is_none(), "{session}");
    let rows = app.database().rows("user", None).await;
    assert_eq!(rows.first().map(|user| &user["doubt"]), Some(&json!("hidden")));
}

#[tokio::test]
async fn a_write_hook_that_refuses_leaves_nothing_behind_and_nothing_is_announced() {
    let diary = Diary::default();
    let app =
        TestApp::with(Example { diary: diary.clone(), refuses_names: true, ..Example::default() }).await;
    let body = json!({ "name": "Ada", "email": ADA, "password": "correct horse" });
    let refused = app.browser().post("/sign-up/email", body).await;
    assert_eq!(
        (refused.status(), refused.text().as_str()),
        (403, r#"{"message":"Ada is taken by history","code":"NOT_ADA"}"#)
    );
    for table in ["user", "account", "session"] {
        assert!(app.database().rows(table, None).await.is_empty(), "{table}");
    }
    assert_eq!(diary.read(), ["before /sign-up/email", "sign-in ada@example.com SignUp"]);
}

#[tokio::test]
async fn mail_leaves_when_its_transaction_is_committed_and_not_before() {
    let app = TestApp::new().await;
    let outcome: Result<()> = app
        .inside(|cx| {
            Box::pin(async move {
                cx.transact(async |tx: &mut Tx| {
                    tx.mail(Mail::new("never", ADA));
                    Err(Error::forbidden(Code::UNAUTHORIZED))
                })
                .await
            })
        })
        .await;
    assert!(outcome.is_err());
    let outcome: Result<()> = app
        .inside(|cx| {
            Box::pin(async move {
                cx.transact(async |tx: &mut Tx| {
                    tx.mail(Mail::new("welcome", ADA).with("url", "https://example.com/welcome"));
                    Ok(())
                })
                .await
            })
        })
        .await;
    outcome.expect("it commits");
    assert_eq!(app.inbox().read("welcome", ADA).await.text("url"), "https://example.com/welcome");
    assert!(app.inbox().unread().is_empty(), "what was rolled back was never sent");
}

/// Mistakes of every kind a plugin can make.
struct Broken;

impl Plugin for Broken {
    const ID: &'static str = "broken";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.refuse("first: is wrong");
        setup.refuse("second: is wrong too");
        setup.get("/ok", Self::ok);
        setup.extend("nowhere", [Field::text("column")]);
        setup.extend(User::TABLE, [Field::text("email")]);
        setup.table(Note::table());
        setup.table(Note::table());
    }
}

impl Broken {
    async fn ok(&self, _cx: &mut Ctx) -> Result<Reply> {
        Ok(Reply::json(&true))
    }
}

#[tokio::test]
async fn every_mistake_is_reported_at_once() {
    let database = Database::fresh().await;
    let config = Config {
        base_url: "ftp://example.com".to_owned(),
        secret: Some("short".into()),
        ..Config::default()
    };
    let store = narthex::Store::open(database.url()).await.expect("the database opens");
    let built = Auth::builder(config).plugin(Broken).plugin(Broken).build(store).await;
    let problems = built.err().expect("it is refused").problems.join("\n");
    insta::assert_snapshot!(problems, @r#"
    plugins.broken.first: is wrong
    plugins.broken.second: is wrong too
    GET /ok is registered twice, the second time by "broken"
    plugin "broken" is registered twice
    base-url = "ftp://example.com": must be http:// or https://, a host and perhaps a port
    secret: needs at least 32 characters; `openssl rand -base64 32` makes a good one
    table "note" is declared twice
    column "column" extends table "nowhere", which no one declares
    column "email" of table "user" is declared twice
    "#);
    assert!(!problems.contains(SECRET));
}

/// Hears of sessions that end, and may not agree.
struct Mourner {
    diary: Diary,
    refuses: bool,
}

impl Plugin for Mourner {
    const ID: &'static str = "mourner";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.on_sessions_ended(Self::mourn);
    }
}

impl Mourner {
    async fn mourn(&self, tx: &mut Tx, ended: &[Ended]) -> Result<()> {
        for ended in ended {
            let Ended::Session { id, .. } = ended else { continue };
            let is_there = tx.find(model::Session::ID.eq(id)).await?.is_some();
            self.diary.write(format!("{id}, still there: {is_there}"));
        }
        if self.refuses { Err(narthex::Error::internal("not now")) } else { Ok(()) }
    }
}

#[tokio::test]
async fn the_end_of_a_session_and_what_follows_from_it_are_one() {
    for refuses in [false, true] {
        let diary = Diary::default();
        let app = TestApp::with(Mourner { diary: diary.clone(), refuses }).await;
        let browser = ada(&app).await;
        let id =
            browser.get("/get-session").await.json()["session"]["id"].as_str().expect("an id").to_owned();
        let _ = browser.post("/sign-out", json!({})).await.expecting(if refuses { 500 } else { 200 });
        assert_eq!(diary.read(), [format!("{id}, still there: false")]);
        let rows = app.store().count(model::Session::ID.eq(&*id)).await.expect("the database answers");
        assert_eq!(rows, u64::from(refuses), "what a plugin could not write down is undone");
    }
}
