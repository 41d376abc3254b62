use crate::support::{ADA, part, signed_up, token as cookie_token, with};
use insta::assert_snapshot;
use narthex::{
    model::{Session, User},
    prelude::{Ctx, Error, Model as _, Plugin, Reply, Result, Setup, SignIn},
    store::Filter,
};
use narthex_plugins::token_api::RefreshTokens;
use narthex_testkit::{Call, Exchange, Redis, TestApp};
use serde_json::{Value, json};
use std::time::Duration;

const PASSWORD: &str = "correct horse battery";
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);

fn plugins() -> Value {
    json!({ "jwt": {}, "bearer": {}, "token-api": {} })
}

async fn app() -> TestApp {
    with(plugins()).build().await
}

/// A client without cookies and without an origin.
fn post(app: &TestApp, path: &str, body: &Value) -> Call {
    app.browser().post("", body.clone()).without("origin").at(path)
}

fn get(app: &TestApp, path: &str, token: &str) -> Call {
    let call = app.browser().get("").without("origin").at(path);
    if token.is_empty() { call } else { call.header("authorization", &format!("Bearer {token}")) }
}

fn ada() -> Value {
    json!({ "name": "Ada", "email": ADA, "password": PASSWORD })
}

/// An access token and a refresh token.
#[derive(Clone, Debug, PartialEq)]
struct Pair(String, String);

fn pair(reply: &Exchange) -> Pair {
    let json = reply.json();
    let member = |name: &str| json[name].as_str().expect(name).to_owned();
    Pair(member("access_token"), member("refresh_token"))
}

/// A reply without what is random in its tokens.
fn shown(reply: &Exchange) -> String {
    let Pair(access, refresh) = pair(reply);
    assert_eq!((access.split('.').count(), refresh.len()), (3, 64), "{reply}");
    reply.in_full().replace(&access, "[access]").replace(&refresh, "[refresh]")
}

async fn sign_up(app: &TestApp) -> Pair {
    let reply = post(app, "/auth/signup", &ada()).await;
    assert_eq!(reply.status(), 200, "{reply}");
    pair(&reply)
}

async fn sign_in(app: &TestApp) -> Exchange {
    post(app, "/auth/signin", &json!({ "email": ADA, "password": PASSWORD })).await
}

async fn refresh(app: &TestApp, token: &str) -> Exchange {
    post(app, "/auth/refresh", &json!({ "refresh_token": token })).await
}

async fn me(app: &TestApp, token: &str) -> Exchange {
    get(app, "/auth/me", token).await
}

async fn families(app: &TestApp) -> usize {
    app.rows(RefreshTokens::TABLE).await.len()
}

/// `event reason` of everything in the audit log but that Ada is there.
async fn audited(app: &TestApp) -> Vec<String> {
    let rows = app.rows("audit_log").await;
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or("-").to_owned();
    rows.iter().map(|row| format!("{} {}", text(row, "event"), text(row, "reason"))).collect()
}

const DONE: &str = r#"200 {"success":true}"#;
const REFUSED: &str = r#"401 {"message":"Invalid refresh token","code":"INVALID_REFRESH_TOKEN"}"#;

#[tokio::test]
async fn somebody_signs_up_in_refreshes_asks_who_they_are_and_leaves() {
    let app = app().await;
    assert_snapshot!(shown(&post(&app, "/auth/signup", &ada()).await), @r#"
    200
    cache-control: no-store
    content-type: application/json

    {"access_token":"[access]","token_type":"bearer","expires_in":900,"refresh_token":"[refresh]","user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]","id":"[id]"}}
    "#);
    let reply = sign_in(&app).await;
    assert_snapshot!(shown(&reply), @r#"
    200
    cache-control: no-store
    content-type: application/json

    {"access_token":"[access]","token_type":"bearer","expires_in":900,"refresh_token":"[refresh]","user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]","id":"[id]"}}
    "#);
    let Pair(access, first) = pair(&reply);
    assert_snapshot!(me(&app, &access).await.in_full(), @r#"
    200
    cache-control: no-store
    content-type: application/json

    {"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]","id":"[id]"}
    "#);
    app.advance(SECOND);
    let reply = refresh(&app, &first).await;
    assert_snapshot!(shown(&reply), @r#"
    200
    cache-control: no-store
    content-type: application/json

    {"access_token":"[access]","token_type":"bearer","expires_in":900,"refresh_token":"[refresh]","user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now-1s]","updatedAt":"[now-1s]","id":"[id]"}}
    "#);
    let Pair(access, second) = pair(&reply);
    assert_ne!(first, second);
    assert_snapshot!(post(&app, "/auth/signout", &json!({ "refresh_token": second })).await.in_full(), @r#"
    200
    content-type: application/json

    {"success":true}
    "#);
    assert_eq!(me(&app, &access).await.status(), 401);
    assert_eq!(refresh(&app, &second).await.to_string(), REFUSED);
    assert_eq!(
        (app.rows("session").await.len(), families(&app).await),
        (1, 1),
        "that of the sign-up is left"
    );
    assert_snapshot!(audited(&app).await.join("\n"), @"
    user.created -
    session.created sign-up
    session.created password
    session.revoked sign-out
    ");
}

/// What a token is made of, and what the database has of it.
#[tokio::test]
async fn an_access_token_says_whose_it_is_and_the_database_has_hashes_only() {
    let app = app().await;
    let Pair(access, token) = sign_up(&app).await;
    let session = &app.rows("session").await[0]["id"].clone();
    let claims = part(&access, 1);
    assert_eq!((&claims["sid"], &claims["email"]), (session, &json!(ADA)));
    assert_eq!(claims["exp"].as_i64(), claims["iat"].as_i64().map(|iat| iat + 900));
    let row = &app.rows(RefreshTokens::TABLE).await[0];
    for (name, value) in row.as_object().expect("a row") {
        let text = value.as_str().unwrap_or_default();
        assert!(text.is_empty() || !token.contains(text), "{name}");
    }
    assert_eq!((&row["previousHash"], &row["usedAt"]), (&Value::Null, &Value::Null));
    let hours = with(json!({ "jwt": { "jwt": { "expiration-time": "2 hours" } }, "token-api": {} }));
    let hours = hours.database(app.database()).seed(2).build().await;
    assert_eq!(sign_in(&hours).await.json()["expires_in"], 7200);
}

#[tokio::test]
async fn no_cookie_is_set_and_none_is_looked_at() {
    let app = with(json!({ "jwt": {}, "bearer": {}, "token-api": {} }))
        .config(|config| config.session.cookie_cache.enabled = true)
        .build()
        .await;
    let eve = signed_up(&app, "eve@example.com").await;
    let cookies = eve.cookies();
    assert!(!cookies.is_empty());
    let hostile = |call: Call| {
        call.header("cookie", &cookies)
            .header("origin", "https://evil.example")
            .header("sec-fetch-site", "cross-site")
            .header("sec-fetch-mode", "navigate")
    };
    let reply = hostile(post(&app, "/auth/signup", &ada())).await;
    let Pair(access, token) = pair(&reply);
    let silent = |reply: &Exchange| {
        assert_eq!(reply.status(), 200, "{reply}");
        for name in ["set-cookie", "set-auth-token", "set-auth-jwt", "access-control-expose-headers"] {
            assert_eq!(reply.header(name), "", "{name} of {reply:?}");
        }
    };
    silent(&reply);
    let body = json!({ "email": ADA, "password": PASSWORD });
    silent(&hostile(post(&app, "/auth/signin", &body)).await);
    let reply = hostile(get(&app, "/auth/me", &access)).await;
    silent(&reply);
    assert_eq!(reply.json()["email"], ADA);
    let reply = hostile(post(&app, "/auth/refresh", &json!({ "refresh_token": token }))).await;
    silent(&reply);
    silent(&hostile(post(&app, "/auth/signout", &json!({ "refresh_token": pair(&reply).1 }))).await);
    let reply = hostile(get(&app, "/auth/me", "")).await;
    assert_eq!(
        (reply.status(), reply.header("www-authenticate")),
        (401, "Bearer"),
        "a cookie is nobody here"
    );
    assert_eq!(eve.get("/get-session").await.json()["user"]["email"], "eve@example.com");
}

#[tokio::test]
async fn what_is_wrong_is_answered_as_upstream_answers_it() {
    let app = app().await;
    sign_up(&app).await;
    let sign_in = |body: Value| post(&app, "/auth/signin", &body);
    let wrong = sign_in(json!({ "email": ADA, "password": "wrong horse" })).await;
    assert_snapshot!(wrong.in_full(), @r#"
    401
    content-type: application/json

    {"message":"Invalid email or password","code":"INVALID_EMAIL_OR_PASSWORD"}
    "#);
    let hashes = app.auth().hashes();
    let unknown = sign_in(json!({ "email": "nobody@example.com", "password": "wrong horse" })).await;
    assert_eq!(unknown.in_full(), wrong.in_full());
    assert_eq!(app.auth().hashes() - hashes, 1, "the work is the same");
    assert_snapshot!(sign_in(json!({ "email": "ada", "password": PASSWORD })).await, @r#"400 {"message":"Invalid email","code":"INVALID_EMAIL"}"#);
    assert_snapshot!(sign_in(json!({ "email": ADA, "password": "x".repeat(129) })).await, @r#"400 {"message":"Password too long","code":"PASSWORD_TOO_LONG"}"#);
    assert_snapshot!(sign_in(json!({})).await, @r#"400 {"message":"[body.email] Invalid input: expected string, received undefined; [body.password] Invalid input: expected string, received undefined","code":"VALIDATION_ERROR"}"#);
    assert_snapshot!(sign_in(json!({})).form("username=ada%40example.com&password=x").await, @r#"415 {"message":"Content-Type \"application/x-www-form-urlencoded\" is not allowed. Allowed types: application/json","code":"UNSUPPORTED_MEDIA_TYPE"}"#);
    assert_snapshot!(post(&app, "/auth/signup", &ada()).await, @r#"422 {"message":"User already exists. Use another email.","code":"USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL"}"#);
    assert_snapshot!(post(&app, "/auth/signup", &json!({ "email": "x", "password": "" })).await, @r#"400 {"message":"[body.name] Invalid input: expected string, received undefined; [body.email] Invalid email address; [body.password] Too small: expected string to have >=1 characters","code":"VALIDATION_ERROR"}"#);
    assert_snapshot!(post(&app, "/auth/signup", &json!({ "name": "Eve", "email": "eve@example.com", "password": "short" })).await, @r#"400 {"message":"Password too short","code":"PASSWORD_TOO_SHORT"}"#);
    assert_snapshot!(post(&app, "/auth/refresh", &json!({})).await, @r#"400 {"message":"[body.refresh_token] Invalid input: expected string, received undefined","code":"VALIDATION_ERROR"}"#);
    assert_snapshot!(get(&app, "/auth/signin", "").await, @"404");
    assert_eq!(app.rows("user").await.len(), 1);
}

#[tokio::test]
async fn signing_up_and_in_can_be_switched_off() {
    let app = with(plugins()).config(|config| config.email_and_password.disable_sign_up = true).build().await;
    assert_snapshot!(post(&app, "/auth/signup", &ada()).await, @r#"400 {"message":"Email and password sign up is not enabled","code":"EMAIL_PASSWORD_SIGN_UP_DISABLED"}"#);
    let app = with(plugins()).config(|config| config.email_and_password.enabled = false).build().await;
    assert_snapshot!(sign_in(&app).await, @r#"400 {"message":"Email and password is not enabled","code":"EMAIL_PASSWORD_DISABLED"}"#);
}

/// Nobody learns from the answer whether the address was taken.
#[tokio::test]
async fn whoever_has_to_prove_an_address_first_gets_no_tokens() {
    let verify = |builder: narthex_testkit::Builder| {
        builder.config(|config| config.email_and_password.require_email_verification = true)
    };
    let app = verify(with(plugins())).build().await;
    let reply = post(&app, "/auth/signup", &ada()).await;
    assert_snapshot!(reply, @r#"200 {"access_token":null,"token_type":"bearer","expires_in":null,"refresh_token":null,"user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]","id":"[id]"}}"#);
    assert_eq!(post(&app, "/auth/signup", &ada()).await.to_string(), reply.to_string());
    assert_snapshot!(sign_in(&app).await, @r#"403 {"message":"Email not verified","code":"EMAIL_NOT_VERIFIED"}"#);
    assert_eq!((app.rows("session").await.len(), families(&app).await), (0, 0));
    let app = with(plugins()).config(|config| config.email_and_password.auto_sign_in = false).build().await;
    assert_eq!(post(&app, "/auth/signup", &ada()).await.json()["access_token"], Value::Null);
    assert_eq!(sign_in(&app).await.status(), 200);
}

/// Stands for a second factor.
struct Challenge;

impl Plugin for Challenge {
    const ID: &'static str = "challenge";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.on_sign_in(Self::ask);
    }
}

impl Challenge {
    async fn ask(&self, _: &mut Ctx, sign_in: &SignIn) -> Result<Option<Reply>> {
        if sign_in.user.name == "Banned" {
            return Err(Error::forbidden(narthex::Code::new("BANNED", "You are banned")));
        }
        Ok(Some(Reply::json(&json!({ "twoFactorRedirect": true }))))
    }
}

#[tokio::test]
async fn a_hook_that_interrupts_or_refuses_a_sign_in_does_so_here_too() {
    let app = with(plugins()).plugin(Challenge).build().await;
    assert_snapshot!(post(&app, "/auth/signup", &ada()).await, @r#"200 {"twoFactorRedirect":true}"#);
    assert_snapshot!(sign_in(&app).await, @r#"200 {"twoFactorRedirect":true}"#);
    let banned = json!({ "name": "Banned", "email": "eve@example.com", "password": PASSWORD });
    assert_snapshot!(post(&app, "/auth/signup", &banned).await, @r#"403 {"message":"You are banned","code":"BANNED"}"#);
    assert_eq!((app.rows("session").await.len(), families(&app).await), (0, 0));
}

#[tokio::test]
async fn fields_of_the_operator_come_in_and_go_out_under_their_own_names() {
    let field = json!({ "type": "string", "required": true });
    let fields = json!({ "software_background": field, "hardware_background": field });
    let fields = serde_json::from_value(fields).expect("fields");
    let app = with(plugins()).config(|config| config.user.additional_fields = fields).build().await;
    assert_snapshot!(post(&app, "/auth/signup", &ada()).await, @r#"400 {"message":"software_background is required","code":"MISSING_FIELD"}"#);
    let mut body = ada();
    body["software_background"] = json!("Python");
    body["hardware_background"] = json!("none");
    let reply = post(&app, "/auth/signup", &body).await;
    let user = reply.json()["user"].clone();
    assert_eq!(
        (&user["software_background"], &user["hardware_background"]),
        (&json!("Python"), &json!("none"))
    );
    assert_eq!(me(&app, &pair(&reply).0).await.json(), user);
}

#[tokio::test]
async fn the_password_form_is_taken_where_that_is_switched_on() {
    let form = json!({ "jwt": {}, "token-api": { "password-form": true } });
    let app = with(form).build().await;
    sign_up(&app).await;
    let by_form =
        |body: &str| app.browser().post("", json!({})).without("origin").at("/auth/signin").form(body);
    for body in [
        "grant_type=password&username=ada%40example.com&password=correct+horse+battery&scope=&client_id=x",
        "username=ada%40example.com&password=correct%20horse%20battery",
    ] {
        let reply = by_form(body).await;
        assert_eq!(reply.json()["token_type"], "bearer", "{reply}");
        assert_eq!(me(&app, &pair(&reply).0).await.json()["email"], ADA);
    }
    assert_eq!(sign_in(&app).await.status(), 200, "JSON is taken as well");
    assert_snapshot!(by_form("grant_type=client_credentials&username=a&password=b").await, @r#"400 {"message":"[body.grant_type] Invalid input: expected \"password\"","code":"VALIDATION_ERROR"}"#);
    assert_snapshot!(by_form("grant_type=password&username=ada%40example.com&password=wrong").await, @r#"401 {"message":"Invalid email or password","code":"INVALID_EMAIL_OR_PASSWORD"}"#);
    assert_snapshot!(by_form("grant_type=password").await, @r#"400 {"message":"[body.username] Invalid input: expected string, received undefined; [body.password] Invalid input: expected string, received undefined","code":"VALIDATION_ERROR"}"#);
}

#[tokio::test]
async fn an_access_token_counts_for_as_long_as_its_session_and_its_user_are_there() {
    let app = app().await;
    let Pair(access, _) = sign_up(&app).await;
    assert_eq!(me(&app, &access).await.status(), 200);
    let name = User::NAME.set("Countess");
    app.store().update(Filter::<User>::everything(), name).await.expect("it is changed");
    assert_eq!(me(&app, &access).await.json()["name"], "Countess", "as the database has it now");
    for broken in ["x", &access[1..], &format!("{access}x"), &access[..access.len() - 1], "a.b.c"] {
        let reply = me(&app, broken).await;
        assert_eq!(reply.header("www-authenticate"), "Bearer error=\"invalid_token\"");
        assert_eq!(
            reply.to_string(),
            r#"401 {"message":"Invalid token","code":"INVALID_TOKEN"}"#,
            "{broken}"
        );
    }
    assert_snapshot!(me(&app, "").await.in_full(), @r#"
    401
    content-type: application/json
    www-authenticate: Bearer

    {"message":"Unauthorized","code":"UNAUTHORIZED"}
    "#);
    app.advance(Duration::from_mins(15));
    assert_eq!(me(&app, &access).await.status(), 401, "it has ended");

    let Pair(access, _) = pair(&sign_in(&app).await);
    let id = app.rows("session").await[1]["id"].as_str().expect("an id").to_owned();
    assert!(app.auth().revoke_session(&id, None).await.expect("it is done").is_some());
    assert_snapshot!(me(&app, &access).await.in_full(), @r#"
    401
    content-type: application/json
    www-authenticate: Bearer error="invalid_token"

    {"message":"Invalid token","code":"INVALID_TOKEN"}
    "#);

    let Pair(access, _) = pair(&sign_in(&app).await);
    let user = app.auth().find_user(ADA).await.expect("an answer").expect("she is there");
    app.auth().delete_user(&user).await.expect("it is done");
    assert_eq!(me(&app, &access).await.status(), 401);
    assert_eq!(families(&app).await, 0);
}

/// Backends get tokens of `/token`, which know of no session; those of other audiences are for others.
#[tokio::test]
async fn tokens_of_the_plugin_jwt_are_taken_if_they_are_for_us() {
    let jwt = json!({ "audiences": [{ "audience": "b", "alg": "EdDSA" }] });
    let app = with(json!({ "jwt": jwt, "token-api": {} })).build().await;
    let browser = signed_up(&app, ADA).await;
    let token = cookie_token(&browser).await;
    assert_eq!(me(&app, &token).await.json()["email"], ADA);
    let other = browser.get("/token?audience=b").await.json()["token"].as_str().expect("a token").to_owned();
    assert_eq!(me(&app, &other).await.status(), 401);
    let sign_out =
        post(&app, "/auth/signout", &json!({})).header("authorization", &format!("Bearer {token}"));
    assert_eq!(sign_out.await.status(), 401, "nobody knows which session to end");
}

/// Somebody who may choose a field of their own cannot name the session of somebody else.
#[tokio::test]
async fn a_claim_that_names_another_users_session_is_refused() {
    let fields = json!({ "sid": { "type": "string", "required": false } });
    let fields = serde_json::from_value(fields).expect("fields");
    let app = with(plugins()).config(|config| config.user.additional_fields = fields).build().await;
    sign_up(&app).await;
    let ada_session = app.rows("session").await[0]["id"].clone();
    let browser = app.browser();
    let mut eve = json!({ "name": "Eve", "email": "eve@example.com", "password": PASSWORD });
    eve["sid"] = ada_session.clone();
    assert_eq!(browser.post("/sign-up/email", eve.clone()).await.status(), 200);
    let token = cookie_token(&browser).await;
    assert_eq!(part(&token, 1)["sid"], ada_session);
    assert_eq!(me(&app, &token).await.status(), 401);
    let sign_out =
        post(&app, "/auth/signout", &json!({})).header("authorization", &format!("Bearer {token}"));
    assert_eq!(sign_out.await.status(), 200);
    assert_eq!(app.rows("session").await.len(), 2, "Ada's goes on");
    let reply =
        post(&app, "/auth/signin", &json!({ "email": "eve@example.com", "password": PASSWORD })).await;
    assert_ne!(part(&pair(&reply).0, 1)["sid"], ada_session, "our own claim comes before a field");
}

#[tokio::test]
async fn a_refresh_token_holds_once_and_is_excused_for_half_a_minute() {
    let app = app().await;
    let Pair(_, first) = sign_up(&app).await;
    let Pair(_, second) = pair(&refresh(&app, &first).await);
    app.advance(30 * SECOND);
    let again = pair(&refresh(&app, &first).await);
    assert_eq!(again.1, second, "the answer that was lost is given again");
    assert_eq!(me(&app, &again.0).await.status(), 200);
    let Pair(_, third) = pair(&refresh(&app, &second).await);
    assert_eq!((families(&app).await, app.rows("session").await.len()), (1, 1));
    app.advance(30 * SECOND + Duration::from_millis(1));
    assert_eq!(refresh(&app, &second).await.to_string(), REFUSED);
    assert_eq!(refresh(&app, &third).await.to_string(), REFUSED, "the session has ended");
    assert_eq!((families(&app).await, app.rows("session").await.len()), (0, 0));
    assert_eq!(audited(&app).await.last().expect("something"), "session.revoked refresh-token-reused");
}

/// However long ago: whoever has stolen one has used the others since.
#[tokio::test]
async fn a_token_from_long_before_ends_the_session_too_also_within_half_a_minute() {
    let app = app().await;
    let Pair(_, first) = sign_up(&app).await;
    let mut newest = first.clone();
    for _ in 0..3 {
        newest = pair(&refresh(&app, &newest).await).1;
    }
    assert_eq!(refresh(&app, &first).await.to_string(), REFUSED);
    assert_eq!(refresh(&app, &newest).await.to_string(), REFUSED);
    assert_eq!(app.rows("session").await.len(), 0);
}

#[tokio::test]
async fn a_clock_that_was_set_back_does_not_excuse_for_longer() {
    let app = app().await;
    let Pair(_, first) = sign_up(&app).await;
    refresh(&app, &first).await.expecting(200).text();
    let ahead = narthex::Clock::now(app.clock()) + DAY;
    let used = RefreshTokens::USED_AT.set(ahead);
    app.store().update(Filter::<RefreshTokens>::everything(), used).await.expect("it is changed");
    assert_eq!(refresh(&app, &first).await.to_string(), REFUSED);
}

#[tokio::test]
async fn what_is_no_refresh_token_is_refused_and_ends_nothing() {
    let app = app().await;
    let Pair(access, token) = sign_up(&app).await;
    let flipped = |index: usize| {
        let mut text = token.clone().into_bytes();
        text[index] = if text[index] == b'A' { b'B' } else { b'A' };
        String::from_utf8(text).expect("letters")
    };
    for broken in
        ["", "x", &access, &token[1..], &format!("{token}="), &"A".repeat(64), &flipped(0), &flipped(20)]
    {
        assert_eq!(refresh(&app, broken).await.to_string(), REFUSED, "{broken}");
    }
    assert_eq!(me(&app, &access).await.status(), 200);
    assert_eq!(refresh(&app, &token).await.status(), 200);
    assert_eq!(refresh(&app, &flipped(63)).await.to_string(), REFUSED);
    assert_eq!(app.rows("session").await.len(), 0, "who knows how a session's tokens begin has had one");
}

#[tokio::test]
async fn thirty_two_who_use_a_token_at_once_get_the_same_next_one() {
    let app = app().await;
    let Pair(_, first) = sign_up(&app).await;
    let asked: Vec<_> = (0..32)
        .map(|_| tokio::spawn(post(&app, "/auth/refresh", &json!({ "refresh_token": first })).into_future()))
        .collect();
    let mut next = Vec::new();
    for reply in asked {
        let reply = reply.await.expect("it is answered");
        assert_eq!(reply.status(), 200, "{reply}");
        next.push(pair(&reply).1);
    }
    next.dedup();
    assert_eq!(next.len(), 1);
    assert_eq!((families(&app).await, app.rows("session").await.len()), (1, 1));
    assert_eq!(refresh(&app, &next[0]).await.status(), 200);
}

#[tokio::test]
async fn thirty_two_who_come_too_late_at_once_end_the_session_once() {
    let app = app().await;
    let Pair(_, first) = sign_up(&app).await;
    let Pair(_, second) = pair(&refresh(&app, &first).await);
    app.advance(31 * SECOND);
    let asked: Vec<_> = (0..32)
        .map(|index| {
            let token = if index == 16 { &second } else { &first };
            tokio::spawn(post(&app, "/auth/refresh", &json!({ "refresh_token": token })).into_future())
        })
        .collect();
    let mut answered = 0;
    for reply in asked {
        answered += i32::from(reply.await.expect("it is answered").status() == 200);
    }
    assert!(answered <= 1, "at most the one whose token holds");
    assert_eq!((families(&app).await, app.rows("session").await.len()), (0, 0));
    let ended = audited(&app).await;
    assert_eq!(ended.iter().filter(|line| **line == "session.revoked refresh-token-reused").count(), 1);
}

#[tokio::test]
async fn a_lost_answer_is_given_again_also_when_the_secret_is_replaced_meanwhile() {
    let app = app().await;
    let Pair(_, first) = sign_up(&app).await;
    let Pair(_, second) = pair(&refresh(&app, &first).await);
    let another = |secrets: Value| {
        let secrets = serde_json::from_value(secrets).expect("secrets");
        let builder = with(plugins()).database(app.database()).seed(2);
        builder.config(|config| config.secrets = Some(secrets))
    };
    let new = "another-secret-for-tests-that-is-long-enough";
    let both = json!([{ "version": 2, "value": new }, { "version": 1, "value": narthex_testkit::SECRET }]);
    let replaced = another(both).build().await;
    assert_eq!(pair(&refresh(&replaced, &first).await).1, second);
    assert_eq!(refresh(&replaced, &second).await.status(), 200);
}

#[tokio::test]
async fn refreshing_renews_the_session_when_that_is_due_and_no_longer_than_it_may_live() {
    let app = with(plugins()).config(|config| config.session.max_lifetime = Some(10 * 86_400)).build().await;
    let Pair(_, mut token) = sign_up(&app).await;
    let ends = async || {
        let ends = app.rows("session").await[0]["expiresAt"].as_str().map(narthex::Time::parse);
        ends.flatten().expect("a time").millis() - narthex::Clock::now(app.clock()).millis()
    };
    let days = |days: i64| days * 86_400_000;
    app.advance(Duration::from_secs(86_399));
    token = pair(&refresh(&app, &token).await).1;
    assert_eq!(ends().await, days(6) + 1000, "not due");
    app.advance(SECOND);
    token = pair(&refresh(&app, &token).await).1;
    assert_eq!(ends().await, days(7));
    app.advance(5 * DAY);
    token = pair(&refresh(&app, &token).await).1;
    assert_eq!(ends().await, days(4), "no later than it may live");
    app.advance(4 * DAY + SECOND);
    assert_eq!(refresh(&app, &token).await.to_string(), REFUSED);

    let app = with(plugins()).config(|config| config.session.disable_session_refresh = true).build().await;
    let Pair(_, token) = sign_up(&app).await;
    app.advance(Duration::from_secs(7 * 86_400 - 1));
    let Pair(_, token) = pair(&refresh(&app, &token).await);
    app.advance(2 * SECOND);
    assert_eq!(refresh(&app, &token).await.to_string(), REFUSED, "it was never renewed");
}

#[tokio::test]
async fn whatever_ends_the_session_ends_its_refresh_token() {
    let app = app().await;
    let browser = signed_up(&app, ADA).await;
    let begin = async || pair(&sign_in(&app).await).1;
    let newest = async || app.rows("session").await.last().expect("a session").clone();

    let token = begin().await;
    let listed = browser.get("/list-sessions").await.json();
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "it is listed");
    let reply = browser.post("/revoke-session", json!({ "token": newest().await["token"] })).await;
    assert_eq!(reply.status(), 200);
    assert_eq!(refresh(&app, &token).await.to_string(), REFUSED);

    let token = begin().await;
    let id = newest().await["id"].as_str().expect("an id").to_owned();
    assert!(app.auth().revoke_session(&id, None).await.expect("it is done").is_some());
    assert_eq!(refresh(&app, &token).await.to_string(), REFUSED);

    let token = begin().await;
    let body = json!({ "currentPassword": PASSWORD, "newPassword": PASSWORD, "revokeOtherSessions": true });
    assert_eq!(browser.post("/change-password", body).await.status(), 200);
    assert_eq!(refresh(&app, &token).await.to_string(), REFUSED);

    let token = begin().await;
    app.auth().revoke_all_sessions().await.expect("it is done");
    assert_eq!(refresh(&app, &token).await.to_string(), REFUSED);
    assert_eq!(families(&app).await, 0);
}

#[tokio::test]
async fn signing_out_takes_any_token_of_the_session_and_answers_the_same_when_it_is_gone() {
    let app = app().await;
    let sign_out = |body: Value| post(&app, "/auth/signout", &body);
    let Pair(access, first) = sign_up(&app).await;
    let Pair(_, second) = pair(&refresh(&app, &first).await);
    app.advance(Duration::from_mins(5));
    assert_eq!(sign_out(json!({ "refresh_token": first })).await.to_string(), DONE, "also an old one");
    assert_eq!(refresh(&app, &second).await.to_string(), REFUSED);
    for body in [json!({ "refresh_token": first }), json!({ "refresh_token": "x" })] {
        assert_eq!(sign_out(body).await.to_string(), DONE);
    }
    let header = |access: &str| format!("Bearer {access}");
    assert_eq!(sign_out(json!({})).header("authorization", &header(&access)).await.to_string(), DONE);

    let Pair(access, token) = pair(&sign_in(&app).await);
    let bodyless = app.browser().request(http::Method::POST, "").without("origin").at("/auth/signout");
    assert_eq!(bodyless.header("authorization", &header(&access)).await.to_string(), DONE);
    assert_eq!(refresh(&app, &token).await.to_string(), REFUSED);
    assert_eq!(app.rows("session").await.len(), 0);

    let Pair(access, _) = pair(&sign_in(&app).await);
    assert_snapshot!(sign_out(json!({})).await.in_full(), @r#"
    401
    content-type: application/json
    www-authenticate: Bearer

    {"message":"Unauthorized","code":"UNAUTHORIZED"}
    "#);
    app.advance(Duration::from_hours(1));
    let reply = sign_out(json!({})).header("authorization", &header(&access)).await;
    assert_eq!(reply.status(), 401, "nothing was ended, and the client is told");
    assert_eq!(app.rows("session").await.len(), 1);
}

#[tokio::test]
async fn every_name_of_an_endpoint_shares_its_limit() {
    let app = with(plugins()).config(|config| config.rate_limit.enabled = Some(true)).build().await;
    let wrong = json!({ "email": ADA, "password": "wrong horse" });
    for path in ["/auth/signin", "/api/auth/token-api/signin", "/auth/signin"] {
        assert_eq!(post(&app, path, &wrong).await.status(), 401);
    }
    for path in ["/auth/signin", "/api/auth/token-api/signin"] {
        assert_eq!(post(&app, path, &wrong).await.status(), 429, "{path}");
    }
    for path in ["/api/auth/signin/email", "/api/auth/sign-in/email", "/api/auth/signin/email"] {
        assert_eq!(app.browser().post("", wrong.clone()).at(path).await.status(), 401, "{path}");
    }
    for path in ["/api/auth/signin/email", "/api/auth/sign-in/email"] {
        assert_eq!(app.browser().post("", wrong.clone()).at(path).await.status(), 429, "{path}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_switched_off_is_off_by_every_name_and_a_name_alone_too() {
    let disabled = |paths: &[&str]| {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        with(plugins()).config(|config| config.disabled_paths = paths)
    };
    let app = disabled(&["/token-api/signup", "/sign-up/email"]).build().await;
    for path in ["/auth/signup", "/api/auth/token-api/signup", "/api/auth/signup/email"] {
        assert_eq!(post(&app, path, &ada()).await.to_string(), "404 Not Found", "{path}");
    }
    let app = disabled(&["/signup/email"]).build().await;
    assert_eq!(post(&app, "/api/auth/signup/email", &ada()).await.to_string(), "404 Not Found");
    assert_eq!(app.browser().post("/sign-up/email", ada()).await.status(), 200);
}

#[tokio::test]
async fn the_other_names_of_upstreams_api_are_its_endpoints() {
    let app = app().await;
    let browser = app.browser();
    assert_eq!(
        browser.get("/user").await.to_string(),
        r#"401 {"message":"Unauthorized","code":"UNAUTHORIZED"}"#
    );
    let nobody = browser.post("/session/refresh", json!({})).await;
    assert_eq!(
        (nobody.status(), nobody.text().as_str(), nobody.header("cache-control")),
        (200, "null", "no-store")
    );
    let reply = browser.post("/signup/email", ada()).await;
    assert!(reply.cookies()[0].starts_with("better-auth.session_token=[signed token]"), "{reply:?}");
    let user = reply.json()["user"].clone();
    assert_eq!(browser.get("/user").await.json(), user);
    assert_eq!(browser.get("/session").await.text(), browser.get("/get-session").await.text());
    app.advance(Duration::from_hours(1));
    let renewed = browser.post("/session/refresh", json!({})).await;
    let header = renewed.header("set-auth-token").to_owned();
    assert_snapshot!(renewed.in_full().replace(&header, "[signed token]"), @r#"
    200
    access-control-expose-headers: set-auth-token
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    set-auth-token: [signed token]
    set-cookie: better-auth.session_token=[signed token]; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax

    {"session":{"expiresAt":"[now+7d]","token":"[token]","createdAt":"[now-1h]","updatedAt":"[now]","ipAddress":"127.0.0.1","userAgent":"testkit","userId":"[id]","id":"[id]"},"user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now-1h]","updatedAt":"[now-1h]","id":"[id]"}}
    "#);
    let evil = browser.post("/session/refresh", json!({})).header("origin", "https://evil.example").await;
    assert_eq!(evil.json()["code"], "INVALID_ORIGIN");
    assert_eq!(browser.post("/signout", json!({})).await.to_string(), r#"200 {"success":true}"#);
    let again = json!({ "email": ADA, "password": PASSWORD });
    assert_eq!(browser.post("/signin/email", again).await.json()["user"]["email"], ADA);
    let bare = app.browser();
    let bearer = format!("Bearer {}", app.rows("session").await[0]["token"].as_str().expect("a token"));
    assert_eq!(bare.get("/user").header("authorization", &bearer).await.json()["email"], ADA);

    let app = with(json!({ "jwt": {}, "token-api": { "aliases": false, "path": "" } })).build().await;
    for path in ["/api/auth/signup/email", "/auth/signup", "/api/auth/session/refresh"] {
        assert_eq!(post(&app, path, &ada()).await.to_string(), "404", "{path}");
    }
    assert_eq!(app.browser().get("/user").await.to_string(), "404");
    assert_eq!(post(&app, "/api/auth/token-api/signup", &ada()).await.status(), 200);
}

#[tokio::test]
async fn a_session_that_may_not_be_renewed_is_answered_as_it_is() {
    let app = with(plugins()).config(|config| config.session.disable_session_refresh = true).build().await;
    let browser = signed_up(&app, ADA).await;
    app.advance(DAY);
    let reply = browser.post("/session/refresh", json!({})).await;
    assert_eq!(reply.json()["user"]["email"], ADA);
    assert_eq!(reply.cookies(), Vec::<String>::new());
}

#[tokio::test]
async fn mistakes_are_told_at_start() {
    let problems = async |builder: narthex_testkit::Builder| {
        builder.try_build().await.err().expect("it is refused").problems.join("\n")
    };
    assert_snapshot!(problems(with(json!({ "token-api": {} }))).await, @r#"plugins.token-api: its access tokens are made by the plugin "jwt"; add [plugins.jwt]"#);
    let subject = json!({ "jwt": { "jwt": { "get-subject": "user.email" } }, "token-api": {} });
    assert_snapshot!(problems(with(subject)).await, @r#"plugins.jwt.jwt.get-subject = "user.email": plugins.token-api finds users by their ids; leave it out"#);
    let path = json!({ "jwt": {}, "token-api": { "path": "auth/" } });
    assert_snapshot!(problems(with(path)).await, @r#"plugins.token-api.path = "auth/": must be a path such as "/auth", or empty"#);
    let clash = json!({ "jwt": { "jwks": { "jwks-path": "/session" } }, "token-api": { "path": "/api/auth/token-api" } });
    assert_snapshot!(problems(with(clash)).await, @r#"
    the alias POST /api/auth/token-api/signup of "token-api" is an endpoint's own path
    the alias POST /api/auth/token-api/signin of "token-api" is an endpoint's own path
    the alias POST /api/auth/token-api/refresh of "token-api" is an endpoint's own path
    the alias POST /api/auth/token-api/signout of "token-api" is an endpoint's own path
    the alias GET /api/auth/token-api/me of "token-api" is an endpoint's own path
    the alias GET /session of "token-api" is an endpoint's own path
    "#);
    let redis = Redis::start().await;
    assert_snapshot!(problems(with(plugins()).secondary(redis.storage().await)).await, @"session.store-session-in-database = false: plugins.token-api keeps refresh tokens beside the sessions in the database; set it to true");
}

#[tokio::test]
async fn sessions_that_are_kept_elsewhere_too_end_there_and_here() {
    for preserved in [false, true] {
        let redis = Redis::start().await;
        let app = with(plugins()).secondary(redis.storage().await).config(|config| {
            config.session.store_session_in_database = true;
            config.session.preserve_session_in_database = preserved;
        });
        let app = app.build().await;
        let Pair(access, first) = sign_up(&app).await;
        let Pair(_, second) = pair(&refresh(&app, &first).await);
        assert_eq!(me(&app, &access).await.json()["email"], ADA);
        app.advance(31 * SECOND);
        assert_eq!(refresh(&app, &first).await.to_string(), REFUSED);
        assert_eq!(refresh(&app, &second).await.to_string(), REFUSED);
        assert_eq!(me(&app, &access).await.status(), 401);
        let Pair(access, token) = pair(&sign_in(&app).await);
        assert_eq!(post(&app, "/auth/signout", &json!({ "refresh_token": token })).await.status(), 200);
        assert_eq!(refresh(&app, &token).await.to_string(), REFUSED);
        assert_eq!(me(&app, &access).await.status(), 401);
        let sessions = app.store().count(Filter::<Session>::everything()).await.expect("a number");
        assert_eq!(sessions, if preserved { 2 } else { 0 });
    }
}
