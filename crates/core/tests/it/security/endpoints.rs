//! Every endpoint there is, asked the same questions, so that a new one is covered the day it is added.

use super::redirects::TARGETS;
use crate::support::{ADA, PASSWORD, ada};
use http::Method;
use narthex::{
    CacheStrategy,
    input::{Kind, Schema},
    prelude::*,
};
use narthex_testkit::{Browser, Call, TestApp};
use serde_json::{Value, json};

/// What needs no session. Whoever adds a line here has thought about what a stranger can do with it.
const PUBLIC: &[(&str, &str)] = &[
    ("GET", "/error"),
    ("GET", "/get-session"),
    ("GET", "/ok"),
    ("POST", "/get-session"),
    ("POST", "/sign-in/email"),
    ("POST", "/sign-out"),
    ("POST", "/sign-up/email"),
];

/// What does not look at its body, so that there is nothing in it to be judged.
const WITHOUT_BODY: &[&str] = &["/get-session"];

const HOSTILE: &[&str] = &[
    "https://evil.example",
    "//evil.example",
    "/\\evil.example",
    "/%5cevil.example",
    "javascript:alert(1)",
    "http://localhost:3001@evil.example",
    "http://localhost:3001.evil.example",
];

const UNAUTHORIZED: &str = r#"401 {"message":"Unauthorized","code":"UNAUTHORIZED"}"#;

/// An endpoint as a stranger calls it.
struct Endpoint {
    method: Method,
    path: String,
    /// A body that it takes.
    body: Value,
    is_public: bool,
}

impl Endpoint {
    fn call(&self, browser: &Browser, query: &str, body: &Value) -> Call {
        let call = browser.request(self.method.clone(), &format!("{}{query}", self.path));
        if self.method == Method::GET { call } else { call.json(body) }
    }

    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Its body and more.
    fn body_with(&self, name: &str, value: impl Into<Value>) -> Value {
        let mut body = self.body.clone();
        body[name] = value.into();
        body
    }
}

/// Those of the app, without what only tests have.
fn endpoints(app: &TestApp) -> Vec<Endpoint> {
    let all = app.auth().manifest().endpoints.iter().filter(|endpoint| endpoint.plugin != "probe");
    let endpoints: Vec<_> = all
        .map(|endpoint| {
            let segments =
                endpoint.path.split('/').map(|part| if part.starts_with(':') { "x" } else { part });
            let body = endpoint.description.body.as_ref().map_or_else(|| json!({}), example);
            Endpoint {
                method: endpoint.method.clone(),
                path: segments.collect::<Vec<_>>().join("/"),
                body,
                is_public: PUBLIC.contains(&(endpoint.method.as_str(), &*endpoint.path)),
            }
        })
        .collect();
    let public = endpoints.iter().filter(|endpoint| endpoint.is_public).count();
    assert_eq!(public, PUBLIC.len(), "every line of the list is an endpoint");
    endpoints
}

/// A value of this shape, with what it needs and nothing else.
fn example(schema: &Schema) -> Value {
    match &schema.kind {
        Kind::Boolean { only } => json!(only.unwrap_or(true)),
        Kind::Number { minimum, more_than, .. } => {
            json!(minimum.or(more_than.map(|least| least + 1)).unwrap_or(1))
        }
        Kind::Text { format: Some("email"), .. } => json!("somebody@example.com"),
        Kind::Text { minimum, .. } => json!("x".repeat((*minimum).max(8))),
        Kind::Choice(words) => json!(words[0]),
        Kind::List { items, minimum, .. } => vec![example(items); *minimum].into(),
        Kind::Object(object) => {
            let required = object.properties.iter().filter(|property| property.required);
            required.map(|property| (property.name.to_owned(), example(&property.schema))).collect()
        }
        Kind::Any | Kind::Entries(_) => json!({}),
        Kind::Nullable(inner) => example(inner),
        Kind::AnyOf(shapes) => example(&shapes[0]),
    }
}

async fn tables(app: &TestApp) -> Vec<Vec<Value>> {
    let mut tables = Vec::new();
    for table in ["user", "account", "session", "verification"] {
        tables.push(app.rows(table).await.to_vec());
    }
    tables
}

#[tokio::test]
async fn another_site_can_use_nobodys_session_at_any_endpoint() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let before = tables(&app).await;
    let mut asked = 0;
    for endpoint in endpoints(&app).iter().filter(|endpoint| endpoint.method != Method::GET) {
        let name = endpoint.name();
        let call = || endpoint.call(&browser, "", &endpoint.body);
        for origin in ["https://evil.example", "http://localhost:3001.evil.example", "file://"] {
            assert_eq!(
                call().header("origin", origin).await.to_string(),
                r#"403 {"message":"Invalid origin","code":"INVALID_ORIGIN"}"#,
                "{name} from {origin}"
            );
        }
        for call in [call().header("origin", "null"), call().without("origin")] {
            assert_eq!(
                call.await.to_string(),
                r#"403 {"message":"Missing or null Origin","code":"MISSING_OR_NULL_ORIGIN"}"#,
                "{name}"
            );
        }
        asked += 1;
    }
    assert!(asked >= 12, "{asked} endpoints");
    assert_eq!(tables(&app).await, before);
    assert_eq!(browser.get("/get-session").await.json()["user"]["email"], ADA);
}

#[tokio::test]
async fn cve_2025_53535_no_endpoint_takes_a_hostile_target() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let before = tables(&app).await;
    for endpoint in endpoints(&app) {
        let name = endpoint.name();
        for hostile in HOSTILE {
            let encoded = hostile.bytes().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat();
            let in_query = async |target: &str| {
                endpoint.call(&browser, &format!("?{target}={encoded}"), &endpoint.body).await
            };
            if endpoint.method == Method::GET {
                for (target, _) in TARGETS {
                    let reply = in_query(target).await;
                    assert!(!reply.header("location").contains("evil"), "{name} {target} {hostile:?}");
                }
                continue;
            }
            assert_eq!(
                in_query("callbackURL").await.to_string(),
                format!("403 {}", TARGETS[0].1),
                "{name} {hostile:?}"
            );
            if WITHOUT_BODY.contains(&endpoint.path.as_str()) {
                continue;
            }
            for (target, refusal) in TARGETS {
                let reply = endpoint.call(&browser, "", &endpoint.body_with(target, *hostile)).await;
                assert_eq!(reply.to_string(), format!("403 {refusal}"), "{name} {target} {hostile:?}");
            }
        }
    }
    assert_eq!(tables(&app).await, before);
}

#[tokio::test]
async fn what_does_not_look_at_its_body_asks_for_nothing_in_it() {
    let app = TestApp::new().await;
    for endpoint in &app.auth().manifest().endpoints {
        if WITHOUT_BODY.contains(&&*endpoint.path) {
            assert_eq!(endpoint.description.body, None, "{} {}", endpoint.method, endpoint.path);
        }
    }
}

/// An identity that comes in the body, the query, or a cookie that nobody has signed, and no session.
#[tokio::test]
async fn cve_2025_61928_without_a_session_every_endpoint_but_the_public_ones_answers_401() {
    let app = TestApp::new().await;
    ada(&app).await;
    let before = tables(&app).await;
    let (user, session) = (&before[0][0], &before[2][0]);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let forged = format!("better-auth.session_token={0}; session_token={0}", text(&session["token"]));
    let query = format!("?userId={0}&id={0}&token={1}", text(&user["id"]), text(&session["token"]));
    let hashes = app.auth().hashes();
    let mut asked = 0;
    for endpoint in endpoints(&app).iter().filter(|endpoint| !endpoint.is_public) {
        let mut claim = endpoint.body.clone();
        for (name, value) in [
            ("userId", &user["id"]),
            ("user", user),
            ("session", session),
            ("token", &session["token"]),
            ("email", &user["email"]),
        ] {
            claim[name] = value.clone();
        }
        let stranger = app.browser();
        for body in [&endpoint.body, &claim] {
            for call in [
                endpoint.call(&stranger, "", body),
                endpoint.call(&stranger, &query, body),
                endpoint.call(&stranger, "", body).header("cookie", &forged),
                endpoint
                    .call(&stranger, "", body)
                    .header("authorization", &format!("Bearer {}", text(&session["token"]))),
            ] {
                assert_eq!(call.await.to_string(), UNAUTHORIZED, "{}", endpoint.name());
            }
        }
        asked += 1;
    }
    assert!(asked >= 10, "{asked} endpoints");
    assert_eq!((tables(&app).await, app.auth().hashes()), (before, hashes));
}

/// What must not be done with a session that was ended a minute ago, and therefore asks the database also where a
/// cookie remembers the session: upstream's `sensitiveSessionMiddleware`.
const SENSITIVE: &[&str] = &[
    "/change-password",
    "/revoke-other-sessions",
    "/revoke-session",
    "/revoke-sessions",
    "/verify-password",
];

/// What believes the cookie until it runs out, as upstream does, and how it answers somebody whose session has ended.
/// That is the price of the cookie cache, which is off by default.
const BELIEVING: &[(&str, &str)] = &[
    ("/list-accounts", "200 ["),
    ("/list-sessions", "200 ["),
    ("/unlink-account", r#"400 {"message":"You can't unlink your last account","#),
    ("/update-session", r#"400 {"message":"No fields to update"}"#),
    ("/update-user", r#"400 {"message":"No fields to update"}"#),
];

#[tokio::test]
async fn a_session_that_was_revoked_elsewhere_does_nothing_sensitive_however_well_it_is_remembered() {
    for strategy in [CacheStrategy::Compact, CacheStrategy::Jwt, CacheStrategy::Jwe] {
        let app = TestApp::with_config(|config| {
            config.session.cookie_cache.enabled = true;
            config.session.cookie_cache.strategy = strategy;
        })
        .await;
        let (browser, elsewhere) = (ada(&app).await, app.browser());
        let cookies = browser.cookies();
        let _ = elsewhere.post("/sign-in/email", json!({ "email": ADA, "password": PASSWORD })).await;
        let _ = elsewhere.post("/revoke-other-sessions", json!({})).await.expecting(200);
        assert_eq!(app.rows("session").await.len(), 1, "that of the other browser");
        let (before, hashes) = (tables(&app).await, app.auth().hashes());
        let mut known = 0;
        for endpoint in endpoints(&app).iter().filter(|endpoint| !endpoint.is_public) {
            let name = format!("{} {strategy:?}", endpoint.name());
            let replay =
                |query: &str| endpoint.call(&app.browser(), query, &endpoint.body).header("cookie", &cookies);
            if SENSITIVE.contains(&endpoint.path.as_str()) {
                for query in ["", "?disableCookieCache=false"] {
                    assert_eq!(replay(query).await.to_string(), UNAUTHORIZED, "{name}{query}");
                }
            } else {
                let answer = BELIEVING.iter().find(|(path, _)| *path == endpoint.path);
                let (_, answer) = answer.unwrap_or_else(|| panic!("{name} is in neither list"));
                let reply = replay("").await.to_string();
                assert!(reply.starts_with(answer), "{name}: {reply}");
            }
            known += 1;
        }
        assert_eq!(known, SENSITIVE.len() + BELIEVING.len());
        assert_eq!((tables(&app).await, app.auth().hashes()), (before, hashes));
    }
}

/// Says what the tests above would overlook.
struct Careless;

input! {
    struct CarelessBody { user_id: Text, count: f64 }
}
output! {
    struct CarelessReply { id: String }
}

impl Plugin for Careless {
    const ID: &'static str = "careless";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.post("/careless/:id", Self::act);
    }
}

impl Careless {
    async fn act(&self, _: &mut Ctx, Body(body): Body<CarelessBody>) -> Result<Json<CarelessReply>> {
        Ok(Json(CarelessReply { id: format!("{} {}", body.user_id, body.count) }))
    }
}

#[tokio::test]
async fn an_endpoint_that_believes_its_body_is_found() {
    let app = TestApp::with(Careless).await;
    let careless =
        endpoints(&app).into_iter().find(|endpoint| endpoint.path == "/careless/x").expect("it is one");
    assert!(!careless.is_public);
    let reply = careless.call(&app.browser(), "", &careless.body).await;
    assert_eq!(reply.to_string(), r#"200 {"id":"xxxxxxxx 1"}"#, "the body that was made up is taken");
}
