//! What is said of the endpoints, and whether it is true.

use crate::support::{ADA, PASSWORD, ada, again, credentials, token};
use http::Method;
use insta::assert_snapshot;
use narthex::{Auth, Config, Credential, OriginCheck, prelude::*};
use narthex_testkit::{Browser, Contract, Exchange, Replied, TestApp};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A plugin with everything that the base endpoints lack: a parameter in the path, another credential, a shape whose
/// name is taken.
struct Library;

impl Plugin for Library {
    const ID: &'static str = "my-library";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.get("/library/:shelf/books/:book", Self::book);
        setup.post("/library/:shelf/books/:book", Self::book);
        setup.credential(Credential::Header { name: "X-Library-Card".into(), meaning: "A card." });
        setup.extend("user", [Field::text("card").optional().no_input(), Field::text("pin").hidden()]);
    }
}

input! {
    pub(crate) struct BookQuery {
        /// Which page.
        page: Text,
    }
}

output! {
    /// A book.
    pub(crate) struct Book {
        title: String,
        next: Option<Revoked>,
        other: Nullable<Error>,
    }

    /// Not what the base endpoints call so.
    pub(crate) struct Revoked {
        at: String,
    }

    /// Not what everybody calls so.
    pub(crate) struct Error {
        at: String,
    }
}

impl Library {
    /// `GET /library/:shelf/books/:book`
    async fn book(&self, _: &mut Ctx, Query(query): Query<BookQuery>) -> Result<Json<Book>> {
        Ok(Json(Book { title: query.page, next: None, other: None.into() }))
    }
}

fn fields(config: &mut Config) {
    config.user.additional_fields = serde_json::from_value(json!({
        "nickname": { "type": "string" },
        "level": { "type": ["beginner", "advanced"], "default": "beginner" },
        "plan": { "type": "string", "values": ["free", "pro"], "required": false },
        "age": { "type": "number", "required": false },
        "active": { "type": "boolean", "default": true },
        "born": { "type": "date", "required": false },
        "joined": { "type": "date", "default": "now", "input": false },
        "settings": { "type": "json", "required": false },
        "tags": { "type": "string[]", "default": ["new"] },
        "scores": { "type": "number[]", "required": false },
        "hint": { "type": "string", "required": false, "returned": false },
    }))
    .expect("fields");
    config.session.additional_fields =
        serde_json::from_value(json!({ "theme": { "type": "string", "required": false } })).expect("fields");
}

fn document(change: impl FnOnce(&mut Config)) -> Value {
    let mut config = Config::default();
    change(&mut config);
    Auth::builder(config).plugin(Library).openapi().expect("nothing is wrong")
}

/// Every operation, by its method and path.
fn operations(document: &Value) -> BTreeMap<(String, String), &Value> {
    let paths = document["paths"].as_object().expect("paths");
    let all = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().expect("methods");
        methods.iter().map(move |(method, operation)| ((method.clone(), path.clone()), operation))
    });
    all.collect()
}

/// Every value of this name, however deep.
fn all<'a>(value: &'a Value, name: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get(name));
            members.values().for_each(|member| all(member, name, found));
        }
        Value::Array(items) => items.iter().for_each(|item| all(item, name, found)),
        _ => {}
    }
}

#[test]
fn every_route_is_described_and_those_that_are_switched_off_are_not() {
    let disabled_paths = vec!["/sign-up/email".to_owned(), "/library/:shelf/books/:book".to_owned()];
    let config = Config { disabled_paths, ..Config::default() };
    let builder = Auth::builder(config).plugin(Library);
    let routes: BTreeSet<(String, String)> = builder
        .routes()
        .iter()
        .filter(|route| !route.is_disabled)
        .map(|route| (route.method.as_str().to_lowercase(), route.path.to_string()))
        .collect();
    assert_eq!(routes.len() + 3, builder.routes().len());
    let document = builder.openapi().expect("nothing is wrong");
    assert_eq!(operations(&document).into_keys().collect::<BTreeSet<_>>(), routes);
    assert_eq!(document["components"]["schemas"].get("SignUpBody"), None);
}

#[test]
fn what_is_referred_to_is_there_and_every_name_is_used_once() {
    let document = document(fields);
    let mut references = Vec::new();
    all(&document, "$ref", &mut references);
    assert!(references.len() > 30, "{}", references.len());
    for reference in &references {
        let pointer =
            reference.as_str().and_then(|reference| reference.strip_prefix('#')).expect("a reference");
        assert!(document.pointer(pointer).is_some_and(Value::is_object), "{pointer}");
    }
    for name in document["components"]["schemas"].as_object().expect("shapes").keys() {
        let reference = json!(format!("#/components/schemas/{name}"));
        assert!(references.contains(&&reference), "{name} is not used");
    }
    let tags: Vec<&Value> =
        document["tags"].as_array().expect("tags").iter().map(|tag| &tag["name"]).collect();
    let schemes = document["components"]["securitySchemes"].as_object().expect("schemes");
    let mut names = BTreeSet::new();
    for ((method, path), operation) in operations(&document) {
        assert!(names.insert(operation["operationId"].as_str().expect("a name").to_owned()), "{path}");
        assert!(tags.contains(&&operation["tags"][0]), "{path}");
        assert!(operation["summary"].is_string() || operation["tags"][0] == "my-library", "{path}");
        for way in operation["security"].as_array().into_iter().flatten().filter_map(Value::as_object) {
            assert!(way.keys().all(|scheme| schemes.contains_key(scheme)), "{path}");
        }
        let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
        let declared: Vec<&str> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "path" && parameter["required"] == true)
            .filter_map(|parameter| parameter["name"].as_str())
            .collect();
        let written: Vec<&str> =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        assert_eq!(declared, written, "{path}");
        assert!(!path.contains(':'), "{path}");
        let responses = operation["responses"].as_object().expect("responses");
        assert!(responses.values().all(|response| response["description"].is_string()), "{path}");
        assert!(responses.contains_key("200"), "{method} {path}");
        assert!(method != "get" || operation.get("requestBody").is_none(), "{path}");
    }
    let mut examples = Vec::new();
    all(&document, "examples", &mut examples);
    for (code, example) in examples.iter().filter_map(|examples| examples.as_object()).flatten() {
        assert_eq!(example["value"]["code"], **code);
        assert!(example["value"]["message"].is_string());
    }
}

#[test]
fn operations_have_upstreams_names() {
    let document = document(|_| ());
    let names: Vec<String> = operations(&document)
        .into_iter()
        .map(|((method, path), operation)| {
            format!("{method} {path} {}", operation["operationId"].as_str().unwrap_or(""))
        })
        .collect();
    assert_eq!(
        names,
        [
            "get /error error",
            "get /get-session getSession",
            "get /library/{shelf}/books/{book} libraryShelfBooksBook",
            "get /list-accounts listUserAccounts",
            "get /list-sessions listUserSessions",
            "get /ok ok",
            "post /change-password changePassword",
            "post /get-session getSessionPost",
            "post /library/{shelf}/books/{book} libraryShelfBooksBookPost",
            "post /revoke-other-sessions revokeOtherSessions",
            "post /revoke-session revokeSession",
            "post /revoke-sessions revokeSessions",
            "post /sign-in/email signInEmail",
            "post /sign-out signOut",
            "post /sign-up/email signUpWithEmailAndPassword",
            "post /unlink-account unlinkAccount",
            "post /update-session updateSession",
            "post /update-user updateUser",
            "post /verify-password verifyPassword",
        ]
    );
}

/// Members of an object one a line, those of its larger members too.
fn lines(value: &Value) -> String {
    let mut lines = Vec::new();
    for (name, member) in value.as_object().into_iter().flatten() {
        match member {
            Value::Object(members) => {
                lines.extend(members.iter().map(|(inner, member)| format!("{name}.{inner}: {member}")));
            }
            member => lines.push(format!("{name}: {member}")),
        }
    }
    lines.join("\n")
}

#[test]
fn one_endpoint_in_full() {
    let document = document(|config| config.rate_limit.enabled = Some(false));
    assert_snapshot!(lines(&document["paths"]["/verify-password"]["post"]), @r##"
    tags: ["verify-password"]
    summary: "Checks the password of whoever is signed in."
    operationId: "verifyPassword"
    requestBody.required: true
    requestBody.content: {"application/json":{"schema":{"$ref":"#/components/schemas/VerifyPasswordBody"}}}
    responses.200: {"description":"It is the right one.","content":{"application/json":{"schema":{"$ref":"#/components/schemas/Verified"}}}}
    responses.400: {"description":"What was sent cannot be used.","content":{"application/json":{"schema":{"$ref":"#/components/schemas/Error"},"examples":{"BAD_REQUEST":{"value":{"message":"Invalid JSON in request body","code":"BAD_REQUEST"}},"VALIDATION_ERROR":{"value":{"message":"Invalid input","code":"VALIDATION_ERROR"}},"PASSWORD_TOO_LONG":{"value":{"message":"Password too long","code":"PASSWORD_TOO_LONG"}},"INVALID_PASSWORD":{"value":{"message":"Invalid password","code":"INVALID_PASSWORD"}}}}}}
    responses.401: {"description":"Nobody is signed in, or what was to prove who it is does not.","content":{"application/json":{"schema":{"$ref":"#/components/schemas/Error"},"examples":{"UNAUTHORIZED":{"value":{"message":"Unauthorized","code":"UNAUTHORIZED"}}}}}}
    responses.403: {"description":"Not from there, or not for them.","content":{"application/json":{"schema":{"$ref":"#/components/schemas/Error"},"examples":{"MISSING_OR_NULL_ORIGIN":{"value":{"message":"Missing or null Origin","code":"MISSING_OR_NULL_ORIGIN"}},"INVALID_ORIGIN":{"value":{"message":"Invalid origin","code":"INVALID_ORIGIN"}},"INVALID_CALLBACK_URL":{"value":{"message":"Invalid callbackURL","code":"INVALID_CALLBACK_URL"}},"INVALID_REDIRECT_URL":{"value":{"message":"Invalid redirectURL","code":"INVALID_REDIRECT_URL"}},"INVALID_ERROR_CALLBACK_URL":{"value":{"message":"Invalid errorCallbackURL","code":"INVALID_ERROR_CALLBACK_URL"}},"INVALID_NEW_USER_CALLBACK_URL":{"value":{"message":"Invalid newUserCallbackURL","code":"INVALID_NEW_USER_CALLBACK_URL"}}}}}}
    responses.413: {"description":"The body is too large.","content":{"application/json":{"schema":{"$ref":"#/components/schemas/Error"},"examples":{"PAYLOAD_TOO_LARGE":{"value":{"message":"The request body is too large","code":"PAYLOAD_TOO_LARGE"}}}}}}
    responses.415: {"description":"The body is of another type.","content":{"application/json":{"schema":{"$ref":"#/components/schemas/Error"},"examples":{"UNSUPPORTED_MEDIA_TYPE":{"value":{"message":"This Content-Type is not allowed","code":"UNSUPPORTED_MEDIA_TYPE"}}}}}}
    responses.429: {"description":"Too often.","headers":{"X-Retry-After":{"description":"After how many seconds it is worth trying again.","schema":{"type":"integer"}}},"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Error"},"examples":{"TOO_MANY_ATTEMPTS":{"value":{"message":"Too many attempts","code":"TOO_MANY_ATTEMPTS"}}}}}}
    responses.503: {"description":"Not now.","headers":{"Retry-After":{"description":"After how many seconds it is worth trying again.","schema":{"type":"integer"}}},"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Error"},"examples":{"SERVICE_UNAVAILABLE":{"value":{"message":"The server is busy. Try again shortly.","code":"SERVICE_UNAVAILABLE"}}}}}}
    security: [{"cookie":[]},{"x-library-card":[]}]
    "##);
}

#[test]
fn fields_of_plugins_and_of_the_operator_are_in_what_is_sent_and_what_is_answered() {
    let document = document(fields);
    let schemas = &document["components"]["schemas"];
    assert_snapshot!(lines(&schemas["User"]), @r#"
    type: "object"
    properties.name: {"type":"string","description":"What they are called."}
    properties.email: {"type":"string","description":"Their address, in lower case."}
    properties.emailVerified: {"type":"boolean","description":"Whether they have shown that the address is theirs."}
    properties.image: {"type":["string","null"],"description":"Where there is a picture of them."}
    properties.createdAt: {"type":"string","format":"date-time","description":"When they signed up."}
    properties.updatedAt: {"type":"string","format":"date-time","description":"When this record last changed."}
    properties.id: {"type":"string","description":"Its key."}
    properties.card: {"type":["string","null"]}
    properties.nickname: {"type":"string"}
    properties.level: {"type":"string","enum":["beginner","advanced"]}
    properties.plan: {"type":["string","null"],"enum":["free","pro",null]}
    properties.age: {"type":["number","null"]}
    properties.active: {"type":"boolean"}
    properties.born: {"type":["string","null"],"format":"date-time"}
    properties.joined: {"type":"string","format":"date-time"}
    properties.settings: {}
    properties.tags: {"type":"array","items":{"type":"string"}}
    properties.scores: {"type":["array","null"],"items":{"type":"number"}}
    required: ["name","email","emailVerified","image","createdAt","updatedAt","id","card","nickname","level","plan","age","active","born","joined","settings","tags","scores"]
    description: "A person who can sign in."
    "#);
    assert_snapshot!(lines(&schemas["SignUpBody"]), @r#"
    type: "object"
    properties.name: {"type":"string","description":"What to call them."}
    properties.email: {"type":"string","format":"email","pattern":"^(?:[A-Za-z0-9_'+\\-]+\\.)*[A-Za-z0-9_'+\\-]*[A-Za-z0-9_+-]@(?:[A-Za-z0-9][A-Za-z0-9\\-]*\\.)+[A-Za-z]{2,}$","description":"Their address."}
    properties.password: {"type":"string","minLength":1,"description":"The password they chose."}
    properties.image: {"type":"string","description":"Where there is a picture of them."}
    properties.callbackURL: {"type":"string","description":"Where the link in the verification message leads."}
    properties.rememberMe: {"type":"boolean","description":"Whether the session outlives the browser's. True when absent."}
    properties.nickname: {"type":"string"}
    properties.level: {"type":["string","null"],"enum":["beginner","advanced",null],"default":"beginner"}
    properties.plan: {"type":["string","null"],"enum":["free","pro",null]}
    properties.age: {"type":["number","null"]}
    properties.active: {"type":["boolean","null"],"default":true}
    properties.born: {"type":["string","null"],"format":"date-time"}
    properties.settings: {}
    properties.tags: {"type":["array","null"],"items":{"type":"string"},"default":["new"]}
    properties.scores: {"type":["array","null"],"items":{"type":"number"}}
    properties.hint: {"type":["string","null"]}
    properties.pin: {"type":"string"}
    required: ["name","email","password","nickname","pin"]
    description: "Who wants an account."
    "#);
    assert_snapshot!(lines(&schemas["UpdateUserBody"]), @r#"
    type: "object"
    properties.name: {"type":"string","description":"What to call them."}
    properties.image: {"type":["string","null"],"description":"Where there is a picture of them."}
    properties.nickname: {"type":"string"}
    properties.level: {"type":"string","enum":["beginner","advanced"]}
    properties.plan: {"type":["string","null"],"enum":["free","pro",null]}
    properties.age: {"type":["number","null"]}
    properties.active: {"type":"boolean"}
    properties.born: {"type":["string","null"],"format":"date-time"}
    properties.settings: {}
    properties.tags: {"type":"array","items":{"type":"string"}}
    properties.scores: {"type":["array","null"],"items":{"type":"number"}}
    properties.hint: {"type":["string","null"]}
    properties.pin: {"type":"string"}
    description: "What is to change in the user."
    "#);
    assert_snapshot!(lines(&schemas["UpdateSessionBody"]), @r#"
    type: "object"
    properties.theme: {"type":["string","null"]}
    description: "What is to change in the session."
    "#);
    assert_eq!(schemas["Session"]["properties"]["theme"], json!({ "type": ["string", "null"] }));
}

#[test]
fn of_two_shapes_of_one_name_the_plugins_is_called_after_it() {
    let document = document(|_| ());
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["Revoked"]["properties"]["status"]["type"], "boolean");
    assert_eq!(schemas["MyLibraryRevoked"]["properties"]["at"]["type"], "string");
    assert_eq!(schemas["MyLibraryError"]["properties"]["at"]["type"], "string");
    assert_eq!(
        schemas["Book"]["properties"]["next"],
        json!({ "$ref": "#/components/schemas/MyLibraryRevoked" })
    );
    assert_eq!(
        schemas["Book"]["properties"]["other"],
        json!({ "anyOf": [{ "$ref": "#/components/schemas/MyLibraryError" }, { "type": "null" }] })
    );
}

#[test]
fn the_configuration_decides_where_it_is_and_what_may_be_answered() {
    let refusals = |document: &Value, path: &str| {
        let responses = document["paths"][path]["post"]["responses"].as_object().expect("responses");
        let codes = |response: &Value| {
            let examples = response["content"]["application/json"]["examples"].as_object();
            examples.map_or_else(Vec::new, |examples| examples.keys().cloned().collect())
        };
        responses
            .iter()
            .map(|(status, response)| (status.clone(), codes(response)))
            .collect::<BTreeMap<_, _>>()
    };
    let plain = document(|config| config.rate_limit.enabled = Some(false));
    assert_eq!(plain["servers"], json!([{ "url": "http://localhost:3001/api/auth" }]));
    let schemes = &plain["components"]["securitySchemes"];
    assert_eq!(schemes["cookie"]["name"], "better-auth.session_token");
    assert_eq!(
        schemes["x-library-card"],
        json!({ "type": "apiKey", "in": "header", "name": "X-Library-Card", "description": "A card." })
    );
    let ways = json!([{ "cookie": [] }, { "x-library-card": [] }]);
    assert_eq!(plain["paths"]["/update-user"]["post"]["security"], ways);
    assert_eq!(plain["paths"]["/sign-up/email"]["post"].get("security"), None);
    let ways = json!([{ "cookie": [] }, { "x-library-card": [] }, {}]);
    assert_eq!(plain["paths"]["/get-session"]["get"]["security"], ways);
    let sign_in = refusals(&plain, "/sign-in/email");
    assert_eq!(sign_in["429"], ["TOO_MANY_ATTEMPTS"]);
    assert!(sign_in["403"].contains(&"INVALID_ORIGIN".to_owned()));
    assert!(sign_in["403"].contains(&"INVALID_CALLBACK_URL".to_owned()));
    assert!(!refusals(&plain, "/update-user").contains_key("429"));
    assert_eq!(
        refusals(&plain, "/get-session")["403"],
        ["MISSING_OR_NULL_ORIGIN", "INVALID_ORIGIN", "INVALID_CALLBACK_URL"]
    );

    let other = document(|config| {
        config.base_url = "https://id.example.com/accounts/".to_owned();
        config.advanced.cookie_prefix = Some("mine".to_owned());
        config.advanced.disable_origin_check = Some(OriginCheck::Everywhere(true));
    });
    let csrf = document(|config| config.advanced.disable_csrf_check = Some(true));
    assert_eq!(refusals(&csrf, "/get-session")["403"], ["INVALID_CALLBACK_URL"]);
    assert_eq!(other["servers"], json!([{ "url": "https://id.example.com/accounts" }]));
    assert_eq!(other["components"]["securitySchemes"]["cookie"]["name"], "__Secure-mine.session_token");
    assert!(refusals(&other, "/update-user").contains_key("429"));
    assert!(!refusals(&other, "/update-user").contains_key("403"));
}

#[test]
fn fields_that_make_no_sense_are_named() {
    let mut config = Config::default();
    config.user.additional_fields =
        serde_json::from_value(json!({ "email": { "type": "string" } })).expect("a field");
    let problems = Auth::builder(config).openapi().expect_err("it is a mistake").problems;
    assert_eq!(problems, ["user.additional-fields.email: \"user\" has a field \"email\" already"]);
}

/// Asks, and fails unless the reply has this status and is as described; counts what has been seen.
struct Asked {
    contract: Contract,
    seen: BTreeSet<(String, u16)>,
}

impl Asked {
    fn of(app: &TestApp) -> Self {
        Self { contract: Contract::of(app.auth()), seen: BTreeSet::new() }
    }

    fn judge(&mut self, method: &str, path: &str, status: u16, reply: Exchange) -> Value {
        let reply = reply.expecting(status);
        let body = reply.text();
        let replied = Replied { status, content_type: reply.header("content-type"), body: body.as_bytes() };
        assert_eq!(self.contract.breach(method, path, replied), None);
        let name = path.split('?').next().unwrap_or_default();
        self.seen.insert((format!("{} {name}", method.to_lowercase()), status));
        serde_json::from_str(&body).unwrap_or_default()
    }

    async fn get(&mut self, browser: &Browser, path: &str, status: u16) -> Value {
        let reply = browser.get(path).await;
        self.judge("GET", path, status, reply)
    }

    async fn post(&mut self, browser: &Browser, path: &str, body: Value, status: u16) -> Value {
        let reply = browser.post(path, body).await;
        self.judge("POST", path, status, reply)
    }
}

fn person(more: &Value) -> Value {
    let mut body = json!({ "name": "Ada", "email": ADA, "password": PASSWORD, "nickname": "A" });
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    body
}

/// Every endpoint answers what is said that it answers, with every kind of field, given and not.
#[tokio::test]
async fn every_reply_has_the_shape_that_is_described() {
    let app = TestApp::builder()
        .config(|config| {
            fields(config);
            config.session.defer_session_refresh = true;
        })
        .build()
        .await;
    let mut ask = Asked::of(&app);
    let browser = app.browser();
    assert_eq!(ask.get(&browser, "/get-session", 200).await, Value::Null);
    ask.post(&browser, "/sign-up/email", person(&json!({})), 200).await;
    let given = json!({
        "email": "eve@example.com", "level": "advanced", "plan": "pro", "age": 36, "active": false, "born": "1815-12-10",
        "settings": { "a": [1, null] }, "scores": [1, 2.5], "tags": [], "hint": "x", "image": "https://example.com/a.png",
    });
    ask.post(&app.browser(), "/sign-up/email", person(&given), 200).await;
    ask.get(&browser, "/get-session", 200).await;
    ask.post(&browser, "/get-session", json!({}), 200).await;
    ask.post(&browser, "/update-user", json!({ "name": "A", "image": null, "age": 1, "hint": null }), 200)
        .await;
    ask.post(&browser, "/update-session", json!({ "theme": "dark" }), 200).await;
    ask.get(&browser, "/list-sessions", 200).await;
    ask.get(&browser, "/list-accounts", 200).await;
    ask.post(&browser, "/verify-password", json!({ "password": PASSWORD }), 200).await;
    let change = json!({ "currentPassword": PASSWORD, "newPassword": "another horse" });
    assert_eq!(ask.post(&browser, "/change-password", change, 200).await["token"], Value::Null);
    let change = json!({
        "currentPassword": "another horse", "newPassword": PASSWORD, "revokeOtherSessions": true,
    });
    assert!(ask.post(&browser, "/change-password", change, 200).await["token"].is_string());
    let other = app.browser();
    ask.post(&other, "/sign-in/email", credentials(), 200).await;
    let mut with_target = credentials();
    with_target["callbackURL"] = json!("/welcome");
    ask.post(&other, "/sign-in/email", with_target, 200).await;
    ask.post(&browser, "/revoke-session", json!({ "token": token(&other) }), 200).await;
    ask.post(&browser, "/revoke-other-sessions", json!({}), 200).await;
    let linked = "insert into account (id, \"accountId\", \"providerId\", \"userId\", scope, \"createdAt\", \"updatedAt\") \
                  select 'linked', 'over-there', 'github', \"userId\", 'user:email,repo', \"createdAt\", \"updatedAt\" \
                  from account where \"userId\" = (select id from \"user\" where email = 'ada@example.com')";
    app.database().execute(linked).await;
    let accounts = ask.get(&browser, "/list-accounts", 200).await;
    assert_eq!(accounts.as_array().map(Vec::len), Some(2));
    ask.post(&browser, "/unlink-account", json!({ "accountId": "linked" }), 200).await;
    ask.post(&browser, "/revoke-sessions", json!({}), 200).await;
    ask.post(&browser, "/sign-out", json!({}), 200).await;
    ask.get(&browser, "/ok", 200).await;
    ask.get(&browser, "/error?error=x", 302).await;

    let document = ask.contract.document().clone();
    let asked: BTreeSet<_> = ask.seen.iter().map(|(name, _)| name.clone()).collect();
    let all: BTreeSet<_> = operations(&document)
        .into_keys()
        .filter(|(_, path)| path != "/probe")
        .map(|(method, path)| format!("{method} {path}"))
        .collect();
    assert_eq!(asked, all, "every endpoint is asked");
}

/// What is refused has a status and a code that are described.
#[tokio::test]
async fn every_refusal_is_described() {
    let app = TestApp::with_config(fields).await;
    let mut ask = Asked::of(&app);
    let stranger = app.browser();
    let codes =
        async |ask: &mut Asked, browser: &Browser, path: &str, body: Value, status: u16, code: &str| {
            assert_eq!(ask.post(browser, path, body, status).await["code"], code, "{path}");
        };
    codes(&mut ask, &stranger, "/sign-up/email", json!({}), 400, "VALIDATION_ERROR").await;
    codes(
        &mut ask,
        &stranger,
        "/sign-up/email",
        person(&json!({ "password": "x" })),
        400,
        "PASSWORD_TOO_SHORT",
    )
    .await;
    let missing = json!({ "name": "Ada", "email": ADA, "password": PASSWORD });
    codes(&mut ask, &stranger, "/sign-up/email", missing, 400, "MISSING_FIELD").await;
    let browser = app.browser();
    ask.post(&browser, "/sign-up/email", person(&json!({})), 200).await;
    codes(
        &mut ask,
        &stranger,
        "/sign-up/email",
        person(&json!({})),
        422,
        "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL",
    )
    .await;
    let wrong = json!({ "email": ADA, "password": "wrong horse" });
    codes(&mut ask, &stranger, "/sign-in/email", wrong, 401, "INVALID_EMAIL_OR_PASSWORD").await;
    let no_address = json!({ "email": "ada", "password": PASSWORD });
    codes(&mut ask, &stranger, "/sign-in/email", no_address, 400, "INVALID_EMAIL").await;
    let mut elsewhere = credentials();
    elsewhere["callbackURL"] = json!("https://evil.example");
    codes(&mut ask, &stranger, "/sign-in/email", elsewhere, 403, "INVALID_CALLBACK_URL").await;
    let broken = stranger.request(Method::POST, "/sign-in/email").body("application/json", "{").await;
    assert_eq!(ask.judge("POST", "/sign-in/email", 400, broken)["code"], "BAD_REQUEST");
    let text = stranger.request(Method::POST, "/sign-in/email").body("text/plain", "{}").await;
    assert_eq!(ask.judge("POST", "/sign-in/email", 415, text)["code"], "UNSUPPORTED_MEDIA_TYPE");
    let navigation = stranger
        .request(Method::POST, "/sign-in/email")
        .json(&credentials())
        .header("sec-fetch-site", "cross-site")
        .header("sec-fetch-mode", "navigate")
        .await;
    let blocked = ask.judge("POST", "/sign-in/email", 403, navigation);
    assert_eq!(blocked["code"], "CROSS_SITE_NAVIGATION_LOGIN_BLOCKED");
    codes(&mut ask, &stranger, "/get-session", json!({}), 405, "METHOD_NOT_ALLOWED_DEFER_SESSION_REQUIRED")
        .await;

    let guarded: Vec<((String, String), Value)> = operations(&ask.contract.document().clone())
        .into_iter()
        .filter(|(_, operation)| operation["security"].as_array().is_some_and(|ways| ways.len() == 1))
        .map(|(name, operation)| (name, operation.clone()))
        .collect();
    assert_eq!(guarded.len(), 10);
    for ((method, path), operation) in guarded {
        let shape = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
        let shape = shape.as_str().and_then(|reference| ask.contract.referred(reference));
        let names = shape.and_then(|shape| shape["required"].as_array()).into_iter().flatten();
        let body: Value = names.filter_map(|name| Some((name.as_str()?.to_owned(), json!("x")))).collect();
        let call = if method == "get" { stranger.get(&path) } else { stranger.post(&path, body) };
        let reply = call.await;
        assert_eq!(ask.judge(&method, &path, 401, reply)["code"], "UNAUTHORIZED", "{path}");
    }
    let foreign =
        browser.post("/update-user", json!({ "name": "A" })).header("origin", "https://evil.example").await;
    assert_eq!(ask.judge("POST", "/update-user", 403, foreign)["code"], "INVALID_ORIGIN");
    codes(&mut ask, &browser, "/update-user", json!({ "email": "x" }), 400, "EMAIL_CAN_NOT_BE_UPDATED").await;
    codes(&mut ask, &browser, "/update-user", json!({ "joined": "x" }), 400, "FIELD_NOT_ALLOWED").await;
    codes(&mut ask, &browser, "/update-user", json!({ "name": 1 }), 400, "VALIDATION_ERROR").await;
    assert_eq!(ask.post(&browser, "/update-session", json!({}), 400).await["message"], "No fields to update");
    codes(&mut ask, &browser, "/verify-password", json!({ "password": "x" }), 400, "INVALID_PASSWORD").await;
    let accounts = app.rows("account").await;
    let own = json!({ "accountId": accounts[0]["id"] });
    codes(&mut ask, &browser, "/unlink-account", own, 400, "FAILED_TO_UNLINK_LAST_ACCOUNT").await;
    let change = json!({ "currentPassword": "wrong", "newPassword": "another horse" });
    codes(&mut ask, &browser, "/change-password", change, 400, "INVALID_PASSWORD").await;
    ask.get(&browser, "/get-session?disableRefresh=maybe", 200).await;
    app.advance(Duration::from_hours(48));
    let stale = ask.get(&browser, "/list-sessions", 403).await;
    assert_eq!(stale["code"], "SESSION_NOT_FRESH");
}

#[tokio::test]
async fn who_asks_too_often_is_refused_as_described() {
    let app = TestApp::with_config(|config| config.rate_limit.enabled = Some(true)).await;
    let mut ask = Asked::of(&app);
    ada(&app).await;
    again(&app).await;
    for status in [200, 200, 429] {
        ask.post(&app.browser(), "/sign-in/email", credentials(), status).await;
    }
}
