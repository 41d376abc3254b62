use crate::support::{ADA, part, signed_up, token, with};
use narthex::{
    crypto::{
        jwk::{Algorithm, VerifyingKey},
        jws::Hs256,
    },
    prelude::*,
};
use narthex_plugins::{Jwt, jwt::Jwk};
use narthex_testkit::{Browser, TestApp};
use serde_json::{Value, json};
use std::{num::NonZeroUsize, pin::pin, time::Duration};

const SHARED: &str = "a secret that every backend knows, 32+";

/// What is published.
async fn published(app: &TestApp) -> Vec<Value> {
    let reply = app.browser().get("/jwks").await;
    assert_eq!(reply.status(), 200, "{reply}");
    reply.json()["keys"].as_array().expect("a list").clone()
}

/// The claims of a token that the published keys verify.
async fn verified(app: &TestApp, token: &str) -> Option<Value> {
    let header = part(token, 0);
    let keys = published(app).await;
    let key = keys.iter().find(|key| key["kid"] == header["kid"])?;
    let algorithm = Algorithm::named(key["alg"].as_str()?)?;
    let key = VerifyingKey::from_jwk(&key.to_string(), algorithm).ok()?;
    serde_json::from_slice(&key.open(token)?).ok()
}

async fn rows(app: &TestApp) -> Vec<Jwk> {
    app.store().list(narthex::store::Filter::<Jwk>::everything()).await.expect("the table is there")
}

#[tokio::test]
async fn a_token_says_who_it_is_for_and_the_published_key_verifies_it() {
    let app = with(json!({ "jwt": {} })).build().await;
    let browser = signed_up(&app, ADA).await;
    let reply = browser.get("/token").await;
    assert_eq!(reply.json().as_object().map(serde_json::Map::len), Some(1));
    let token = reply.json()["token"].as_str().expect("a token").to_owned();

    let user = browser.get("/get-session").await.json()["user"].clone();
    let now = narthex::Clock::now(app.clock()).millis() / 1000;
    let claims = verified(&app, &token).await.expect("it is verified");
    let mut expected = json!({ "iat": now });
    let members = expected.as_object_mut().expect("an object");
    members.extend(user.as_object().expect("an object").clone());
    let origin = "http://localhost:3001";
    members.extend([
        ("sub".to_owned(), user["id"].clone()),
        ("exp".to_owned(), (now + 900).into()),
        ("iss".to_owned(), origin.into()),
        ("aud".to_owned(), origin.into()),
    ]);
    assert_eq!(claims.to_string(), expected.to_string(), "in this order");
    let kid = &rows(&app).await[0].id;
    assert_eq!(part(&token, 0).to_string(), json!({ "alg": "EdDSA", "kid": kid }).to_string());
}

#[tokio::test]
async fn nobody_signed_in_has_no_token_and_makes_no_key() {
    let app = with(json!({ "jwt": {} })).build().await;
    let reply = app.browser().get("/token").await;
    assert_eq!(reply.to_string(), r#"401 {"message":"Unauthorized","code":"UNAUTHORIZED"}"#);
    let reply = app.browser().get("/get-session").await;
    assert_eq!(reply.header("set-auth-jwt"), "");
    assert!(rows(&app).await.is_empty());
}

#[tokio::test]
async fn every_session_check_hands_out_a_token_unless_that_is_switched_off() {
    let app = with(json!({ "bearer": {}, "jwt": {} })).build().await;
    let browser = signed_up(&app, ADA).await;
    let reply = browser.get("/get-session").await;
    assert_eq!(reply.header("access-control-expose-headers"), "set-auth-jwt");
    assert!(verified(&app, reply.header("set-auth-jwt")).await.is_some());
    app.advance(Duration::from_hours(25));
    let reply = browser.get("/get-session").await;
    assert_eq!(reply.header("access-control-expose-headers"), "set-auth-token, set-auth-jwt");

    let app = with(json!({ "jwt": { "disable-setting-jwt-header": true } })).build().await;
    let reply = signed_up(&app, ADA).await.get("/get-session").await;
    assert_eq!(reply.header("set-auth-jwt"), "");
    assert_eq!(reply.header("access-control-expose-headers"), "");
}

#[tokio::test]
async fn each_algorithm_signs_what_its_published_key_verifies() {
    for (alg, kty) in [("EdDSA", "OKP"), ("ES256", "EC"), ("ES512", "EC"), ("RS256", "RSA"), ("PS256", "RSA")]
    {
        let app = with(json!({ "jwt": { "jwks": { "key-pair-config": { "alg": alg } } } })).build().await;
        let token = token(&signed_up(&app, ADA).await).await;
        assert_eq!(part(&token, 0)["alg"], alg);
        let keys = published(&app).await;
        assert_eq!((keys.len(), &keys[0]["kty"], &keys[0]["alg"]), (1, &kty.into(), &alg.into()));
        assert_eq!(keys[0]["d"], Value::Null);
        assert!(verified(&app, &token).await.is_some(), "{alg}");
    }
}

#[tokio::test]
async fn a_signature_that_takes_long_is_made_on_another_thread_and_no_password_is_counted() {
    for (alg, is_slow) in
        [("EdDSA", false), ("ES256", false), ("ES512", true), ("RS256", true), ("PS256", true)]
    {
        let app = with(json!({ "jwt": { "jwks": { "key-pair-config": { "alg": alg } } } }))
            .config(|config| (config.password.threads, config.password.queue) = (NonZeroUsize::new(1), 1))
            .build()
            .await;
        let browser = signed_up(&app, ADA).await;
        let first = token(&browser).await;
        assert!(verified(&app, &first).await.is_some(), "{alg}");
        let hashes = app.auth().hashes();
        token(&browser).await;
        assert_eq!(app.auth().hashes(), hashes, "{alg}");

        // The one thread has something to do, and the one place before it is taken.
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let cx = app.auth().ctx();
        let job = cx.compute(move || {
            begun.send(()).expect("somebody waits");
            let _ = released.recv();
        });
        let asked = async {
            has_begun.await.expect("it has begun");
            let mut waiting = pin!(cx.compute_soon(|| ()));
            tokio::select! {
                biased;
                _ = &mut waiting => panic!("the thread is busy"),
                () = std::future::ready(()) => {}
            }
            let _ = browser.get("/token").await.expecting(if is_slow { 503 } else { 200 });
            drop(release);
            waiting.await.expect("it has had its turn");
        };
        let (ended, ()) = tokio::join!(job, asked);
        ended.expect("it has ended");
    }
}

#[tokio::test]
async fn the_private_key_is_encrypted_in_the_table_unless_the_options_say_otherwise() {
    let app = with(json!({ "jwt": {} })).build().await;
    let token = token(&signed_up(&app, ADA).await).await;
    let row = rows(&app).await.remove(0);
    assert!(row.private_key.starts_with('"') && !row.private_key.contains("OKP"), "{}", row.private_key);
    assert!(!format!("{row:?}").contains(&row.private_key), "nor is it in logs");
    assert_eq!(
        (row.alg.as_deref(), row.crv.as_deref(), row.expires_at),
        (Some("EdDSA"), Some("Ed25519"), None)
    );

    let plain = json!({ "jwt": { "jwks": { "disable-private-key-encryption": true } } });
    let same = with(plain.clone()).database(app.database()).seed(2).build().await;
    assert!(verified(&same, &token).await.is_some(), "what was encrypted before is still read");
    let other = with(plain).build().await;
    crate::support::token(&signed_up(&other, ADA).await).await;
    let row = rows(&other).await.remove(0);
    assert!(row.private_key.starts_with(r#"{"crv":"Ed25519","d":""#), "{}", row.private_key);
}

#[tokio::test]
async fn the_set_is_remembered_by_who_has_it_and_asked_for_by_its_tag() {
    let app = with(json!({ "jwt": {} })).build().await;
    let first = app.browser().get("/jwks").await;
    assert_eq!(first.header("cache-control"), "public, max-age=300, must-revalidate");
    let tag = first.header("etag").to_owned();
    for (known, status) in [
        (tag.clone(), 304),
        (format!("\"x\", W/{tag}"), 304),
        ("*".to_owned(), 304),
        ("\"x\"".to_owned(), 200),
    ] {
        let again = app.browser().get("/jwks").header("if-none-match", &known).await;
        assert_eq!((again.status(), again.header("etag")), (status, &*tag), "{known}");
        assert_eq!(again.text().is_empty(), status == 304);
    }
}

#[tokio::test]
async fn a_key_is_replaced_when_its_time_is_over_and_its_successor_was_published_before_it_signs() {
    let rotating = json!({ "jwt": { "jwks": { "rotation-interval": 86400, "grace-period": 3600 } } });
    let app = with(rotating).build().await;
    let browser = signed_up(&app, ADA).await;
    let kid = |token: &str| part(token, 0)["kid"].as_str().expect("a name").to_owned();
    let first = token(&browser).await;
    app.advance(Duration::from_secs(86_400 - 500));
    let during = token(&browser).await;
    assert_eq!(kid(&during), kid(&first));
    assert_eq!(published(&app).await.len(), 2, "the next key is there already");
    app.advance(Duration::from_secs(280));
    assert_eq!(kid(&token(&browser).await), kid(&first), "others may not know the next one yet");
    app.advance(Duration::from_secs(61));
    let next = token(&browser).await;
    assert_ne!(kid(&next), kid(&first));
    assert!(verified(&app, &first).await.is_some(), "the old one still verifies");
    app.advance(Duration::from_secs(159 + 3600));
    assert!(verified(&app, &first).await.is_none(), "its grace is over");
    assert!(verified(&app, &next).await.is_some());
    assert_eq!(rows(&app).await.len(), 2);
}

#[tokio::test]
async fn a_key_that_ended_while_nobody_asked_is_replaced_at_once() {
    let app = with(json!({ "jwt": { "jwks": { "rotation-interval": 3600 } } })).build().await;
    let browser = signed_up(&app, ADA).await;
    let first = token(&browser).await;
    app.advance(Duration::from_hours(5));
    let second = token(&browser).await;
    assert_ne!(part(&first, 0)["kid"], part(&second, 0)["kid"]);
    assert!(verified(&app, &second).await.is_some());
}

#[tokio::test]
async fn another_algorithm_takes_effect_and_the_old_key_stays_published() {
    let app = with(json!({ "jwt": {} })).build().await;
    let first = token(&signed_up(&app, ADA).await).await;
    let other = json!({ "jwt": { "jwks": { "key-pair-config": { "alg": "ES256" } } } });
    let app = with(other).database(app.database()).seed(2).build().await;
    let second = token(&signed_up(&app, "eve@example.com").await).await;
    assert_eq!(part(&second, 0)["alg"], "ES256");
    assert!(verified(&app, &first).await.is_some() && verified(&app, &second).await.is_some());
}

#[tokio::test]
async fn thirty_two_who_ask_at_once_make_one_key() {
    let app = with(json!({ "jwt": {} })).build().await;
    let browser = signed_up(&app, ADA).await;
    let asked: Vec<_> = (0..32)
        .map(|_| {
            let browser = browser.clone();
            tokio::spawn(async move { token(&browser).await })
        })
        .collect();
    for token in asked {
        assert!(verified(&app, &token.await.expect("it is answered")).await.is_some());
    }
    assert_eq!(rows(&app).await.len(), 1);
}

#[tokio::test]
async fn keys_made_by_two_servers_at_once_are_both_published_and_both_sign_with_one() {
    let one = with(json!({ "jwt": {} })).build().await;
    let other = with(json!({ "jwt": {} })).database(one.database()).seed(2).build().await;
    let (ada, eve) = (signed_up(&one, ADA).await, signed_up(&other, "eve@example.com").await);
    let (first, second) = (token(&ada).await, token(&eve).await);
    for app in [&one, &other] {
        assert!(verified(app, &first).await.is_some() && verified(app, &second).await.is_some());
    }
    for app in [&one, &other] {
        app.advance(Duration::from_mins(2));
    }
    assert_eq!(part(&token(&ada).await, 0), part(&token(&eve).await, 0));
}

/// Somebody may serve several databases with the same options.
#[tokio::test]
async fn engines_with_the_same_options_sign_with_keys_of_their_own() {
    let jwt: Jwt = serde_json::from_value(json!({})).expect("options");
    let one = TestApp::builder().plugin(jwt.clone()).build().await;
    let first = token(&signed_up(&one, ADA).await).await;
    let other = TestApp::builder().plugin(jwt).seed(2).build().await;
    let second = token(&signed_up(&other, ADA).await).await;
    assert!(verified(&one, &first).await.is_some() && verified(&other, &second).await.is_some());
    assert!(verified(&other, &first).await.is_none());
}

#[tokio::test]
async fn a_row_that_is_gone_signs_for_a_minute_at_most() {
    let app = with(json!({ "jwt": {} })).build().await;
    let browser = signed_up(&app, ADA).await;
    let first = token(&browser).await;
    app.store().delete(narthex::store::Filter::<Jwk>::everything()).await.expect("it is deleted");
    app.advance(Duration::from_mins(1));
    let second = token(&browser).await;
    assert_ne!(part(&first, 0)["kid"], part(&second, 0)["kid"]);
    assert!(verified(&app, &second).await.is_some() && verified(&app, &first).await.is_none());
}

/// What an operator sees who has lost the secret: sessions go on, tokens do not, and the log says why.
#[tokio::test]
async fn a_key_that_cannot_be_opened_takes_no_session_with_it() {
    let app = with(json!({ "jwt": {} })).build().await;
    let browser = signed_up(&app, ADA).await;
    let sealed = Jwk::PRIVATE_KEY.set("\"00\"");
    token(&browser).await;
    app.store().update(narthex::store::Filter::<Jwk>::everything(), sealed).await.expect("it is changed");
    app.advance(Duration::from_mins(1));
    let reply = browser.get("/get-session").await;
    assert_eq!((reply.status(), reply.header("set-auth-jwt")), (200, ""));
    assert_eq!(reply.json()["user"]["email"], ADA);
    let reply = browser.get("/token").await.expecting(500);
    assert_eq!(reply.text(), "");
}

#[tokio::test]
async fn a_row_that_is_no_key_does_not_take_the_others_with_it() {
    let app = with(json!({ "jwt": {} })).build().await;
    let browser = signed_up(&app, ADA).await;
    let token = token(&browser).await;
    let mut broken = rows(&app).await.remove(0);
    broken.id = "broken".to_owned();
    broken.public_key = "not JSON".to_owned();
    app.store().insert(&broken).await.expect("it is inserted");
    let mut whole = broken.clone();
    whole.id = "whole".to_owned();
    whole.public_key = r#"{"crv":"Ed25519","d":"secret","x":"x","kty":"OKP"}"#.to_owned();
    app.store().insert(&whole).await.expect("it is inserted");
    let keys = published(&app).await;
    assert_eq!(keys.len(), 2, "{keys:?}");
    assert!(!format!("{keys:?}").contains("secret"), "no private half is published, whoever put it there");
    assert!(verified(&app, &token).await.is_some());
}

#[tokio::test]
async fn claims_come_from_the_template() {
    let app = with(json!({ "jwt": { "jwt": {
        "issuer": "https://id.example.com",
        "audience": ["api", "admin"],
        "expiration-time": "1 hour",
        "get-subject": "user.email",
        "define-payload": {
            "email": "user.email",
            "sid": "session.id",
            "since": "session.createdAt",
            "nothing": "user.nothing",
            "tier": { "value": ["free"] },
        },
    }}}))
    .build()
    .await;
    let browser = signed_up(&app, ADA).await;
    let session = browser.get("/get-session").await.json()["session"].clone();
    let claims = part(&token(&browser).await, 1);
    let iat = claims["iat"].as_i64().expect("a number");
    let expected = json!({
        "iat": iat, "email": ADA, "sid": session["id"], "since": session["createdAt"], "tier": ["free"],
        "sub": ADA, "exp": iat + 3600, "iss": "https://id.example.com", "aud": ["api", "admin"],
    });
    assert_eq!(claims.to_string(), expected.to_string());
}

/// A user may be allowed to set fields of their own, and those decide nothing, whatever they are called.
#[tokio::test]
async fn no_field_of_a_user_decides_whether_a_token_holds() {
    let field = |kind: &str| json!({ "type": kind, "required": false });
    let fields = json!({
        "exp": field("number"), "iat": field("number"), "nbf": field("number"), "iss": field("string"),
        "aud": field("string"), "jti": field("string"), "sub": field("string"), "level": field("string"),
    });
    let fields = serde_json::from_value(fields).expect("fields");
    let app =
        with(json!({ "jwt": {} })).config(|config| config.user.additional_fields = fields).build().await;
    let browser = app.browser();
    let reply = browser
        .post(
            "/sign-up/email",
            json!({
                "name": "Eve", "email": "eve@example.com", "password": "correct horse battery",
                "exp": 2_000_000_000, "iat": 1, "nbf": 1, "iss": "evil", "aud": "admin", "jti": "x", "sub": "ada",
                "level": "high",
            }),
        )
        .await;
    assert_eq!(reply.status(), 200, "{reply}");
    let id = reply.json()["user"]["id"].clone();
    let claims = part(&token(&browser).await, 1);
    let now = narthex::Clock::now(app.clock()).millis() / 1000;
    assert_eq!(
        [
            &claims["iat"],
            &claims["exp"],
            &claims["iss"],
            &claims["aud"],
            &claims["sub"],
            &claims["nbf"],
            &claims["jti"]
        ],
        [
            &json!(now),
            &json!(now + 900),
            &json!("http://localhost:3001"),
            &json!("http://localhost:3001"),
            &id,
            &Value::Null,
            &Value::Null,
        ]
    );
    assert_eq!(claims["level"], "high");
}

#[tokio::test]
async fn a_shared_secret_signs_for_backends_that_know_no_keys() {
    let app = with(json!({ "jwt": { "secret": SHARED } })).build().await;
    let browser = signed_up(&app, ADA).await;
    let token = token(&browser).await;
    assert_eq!(part(&token, 0).to_string(), r#"{"alg":"HS256"}"#);
    let claims: Value =
        serde_json::from_slice(&Hs256::new(SHARED).open(&token).expect("it is signed")).expect("JSON");
    assert_eq!((&claims["email"], &claims["aud"]), (&json!(ADA), &Value::Null));
    assert_eq!(published(&app).await, Vec::<Value>::new());
    assert!(rows(&app).await.is_empty());
    assert!(Hs256::new(narthex_testkit::SECRET).open(&token).is_none());
}

#[tokio::test]
async fn an_audience_has_an_algorithm_of_its_own() {
    let app = with(json!({ "jwt": {
        "secret": SHARED,
        "jwks": { "key-pair-configs": [{ "alg": "ES256" }] },
        "audiences": [{ "audience": "https://api.example.com", "alg": "ES256" }, { "audience": "b", "alg": "EdDSA" }],
    }}))
    .build()
    .await;
    let browser = signed_up(&app, ADA).await;
    let reply = browser.get("/token?audience=https%3A%2F%2Fapi.example.com").await;
    let claims =
        verified(&app, reply.json()["token"].as_str().expect("a token")).await.expect("it is verified");
    assert_eq!(claims["aud"], "https://api.example.com");
    let reply = browser.get("/token?audience=b").await;
    assert_eq!(part(reply.json()["token"].as_str().expect("a token"), 0)["alg"], "EdDSA");
    assert_eq!(part(&token(&browser).await, 0)["alg"], "HS256");
    let reply = browser.get("/token?audience=c").await;
    assert_eq!(
        reply.to_string(),
        r#"400 {"message":"There are no tokens for this audience","code":"UNKNOWN_AUDIENCE"}"#
    );
}

#[tokio::test]
async fn keys_that_are_published_elsewhere_are_not_published_here() {
    let plugins = json!({ "jwt": { "jwks": { "remote-url": "https://cdn.example.com/jwks.json" } } });
    let app = with(plugins).build().await;
    let reply = app.browser().get("/jwks").await;
    assert_eq!(
        (reply.status(), reply.text().as_str(), reply.header("content-type")),
        (404, "", "application/json")
    );
    let elsewhere = json!({ "jwt": { "jwks": { "jwks-path": "/.well-known/jwks.json" } } });
    let app = with(elsewhere).build().await;
    assert_eq!(app.browser().get("/jwks").await.status(), 404);
    assert_eq!(app.browser().get("/.well-known/jwks.json").await.status(), 200);
}

#[tokio::test]
async fn the_table_and_its_columns_can_have_other_names() {
    let names =
        json!({ "model-name": "signing_keys", "fields": { "publicKey": "public_key", "createdAt": "made" } });
    let app = with(json!({ "jwt": { "schema": { "jwks": names } } })).build().await;
    let token = token(&signed_up(&app, ADA).await).await;
    assert!(verified(&app, &token).await.is_some());
    let row = &app.rows("signing_keys").await.to_string();
    assert!(row.contains("public_key") && row.contains("made"), "{row}");
}

/// What a handler of somebody's own does with a token.
struct Reader;

impl Plugin for Reader {
    const ID: &'static str = "reader";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.get("/read", Self::read);
    }
}

impl Reader {
    async fn read(&self, cx: &mut Ctx) -> Result<Reply> {
        let token = cx.headers().get("x-token").and_then(|token| token.to_str().ok()).unwrap_or_default();
        let jwt = cx.plugin::<Jwt>().ok_or_else(|| Error::internal("it is installed"))?;
        Ok(Reply::json(&jwt.verify(cx, token).await?))
    }
}

async fn read(browser: &Browser, token: &str) -> Value {
    browser.get("/read").header("x-token", token).await.json()
}

#[tokio::test]
async fn an_application_can_verify_what_was_signed_for_it_and_nothing_else() {
    for plugins in [json!({ "jwt": {} }), json!({ "jwt": { "secret": SHARED } })] {
        let app = with(plugins.clone()).plugin(Reader).build().await;
        let browser = signed_up(&app, ADA).await;
        let token = token(&browser).await;
        assert_eq!(read(&browser, &token).await["email"], ADA);
        let other = with(plugins).config(|config| config.base_url = "https://other.example".to_owned());
        let other = other.plugin(Reader).database(app.database()).seed(2).build().await;
        assert_eq!(read(&other.browser(), &token).await, Value::Null, "another issuer");
        for broken in ["", "x", "a.b.c", &token[1..], &format!("{token}x"), &token[..token.len() - 1]] {
            assert_eq!(read(&browser, broken).await, Value::Null, "{broken}");
        }
        app.advance(Duration::from_mins(15));
        assert_eq!(read(&browser, &token).await, Value::Null, "it has ended");
    }
}
