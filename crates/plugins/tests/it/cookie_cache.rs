//! The session in a cookie that a key pair has signed.

use crate::support::{ADA, part, signed_up, token, with};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderMap;
use narthex::{
    CacheStrategy, Config,
    crypto::{
        jwk::{Algorithm, SigningKey, VerifyingKey, compact},
        jws::Hs256,
        signed::Signer,
    },
    prelude::*,
    store::Filter,
};
use narthex_plugins::{Jwt, jwt::Jwk};
use narthex_testkit::{Browser, Builder, SECRET, TestApp};
use serde_json::{Value, json};
use std::time::Duration;

const TOKEN: &str = "better-auth.session_token";
const DATA: &str = "better-auth.session_data";
const ORIGIN: &str = "http://localhost:3001";
const MINUTE: Duration = Duration::from_mins(1);

fn remembering(config: &mut Config) {
    config.session.cookie_cache.enabled = true;
    config.session.cookie_cache.strategy = CacheStrategy::Jwt;
}

/// Private keys stand in the table as they are, for tests that sign with them. Session checks sign nothing else.
fn keys(more: &Value) -> Value {
    let mut jwt = json!({
        "session-cookie-cache": true,
        "disable-setting-jwt-header": true,
        "jwks": { "disable-private-key-encryption": true },
    });
    for (name, value) in more.as_object().expect("options").clone() {
        match jwt.get_mut(&name).and_then(Value::as_object_mut) {
            Some(section) => section.extend(value.as_object().expect("a section").clone()),
            None => drop(jwt.as_object_mut().expect("a table").insert(name, value)),
        }
    }
    json!({ "jwt": jwt })
}

fn signing(more: &Value) -> Builder {
    with(keys(more)).config(remembering)
}

async fn rows(app: &TestApp) -> Vec<Jwk> {
    app.store().list(Filter::<Jwk>::everything()).await.expect("the table is there")
}

fn data(browser: &Browser) -> String {
    browser.cookie(DATA).expect("it is remembered")
}

/// Who is shown when only the cookies can say it: the table of sessions is asked in vain.
async fn shown(app: &TestApp, session: &str, data: &str) -> Value {
    let cookie = format!("{TOKEN}={session}; {DATA}={data}");
    let reply = app.browser().get("/get-session").header("cookie", &cookie).await;
    assert_eq!(reply.status(), 200, "{reply}");
    reply.json()["user"]["email"].clone()
}

async fn forget_sessions(app: &TestApp) {
    app.database().execute(r#"delete from "session""#).await;
}

#[tokio::test]
async fn the_cookie_says_whose_session_it_is_and_the_published_key_verifies_it() {
    for alg in ["EdDSA", "ES256", "ES512", "RS256", "PS256"] {
        let app = signing(&json!({ "jwks": { "key-pair-config": { "alg": alg } } })).build().await;
        let browser = app.browser();
        let body = json!({ "name": "Ada", "email": ADA, "password": "correct horse battery" });
        let reply = browser.post("/sign-up/email", body).await;
        assert_eq!(
            reply.cookies(),
            [
                format!("{TOKEN}=[signed token]; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax"),
                format!("{DATA}=[keys]; Max-Age=300; Path=/; HttpOnly; SameSite=Lax"),
            ]
        );
        let cookie = data(&browser);
        let published = app.browser().get("/jwks").await.json()["keys"][0].clone();
        let key = VerifyingKey::from_jwk(&published.to_string(), Algorithm::named(alg).expect("known"));
        assert!(key.expect("a key").open(&cookie).is_some());
        let header = json!({ "alg": alg, "kid": published["kid"], "typ": "better-auth.session-cache+jwt" })
            .to_string();
        assert_eq!(part(&cookie, 0).to_string(), header, "in this order");

        let stored = browser.get("/get-session?disableCookieCache=true").await.json();
        let now = narthex::Clock::now(app.clock()).millis();
        let claims = json!({
            "session": stored["session"], "user": stored["user"], "updatedAt": now, "version": "1",
            "sid": stored["session"]["token"], "iat": now / 1000, "exp": now / 1000 + 300, "iss": ORIGIN,
            "aud": "better-auth:session-cache", "sub": stored["user"]["id"],
        });
        assert_eq!(part(&cookie, 1).to_string(), claims.to_string(), "in this order");
        assert_eq!(browser.get("/get-session").await.json(), stored);
    }
}

#[tokio::test]
async fn a_session_in_a_cookie_needs_the_keys_once_a_minute_and_nothing_else_of_the_database() {
    let app = signing(&json!({})).config(|config| config.session.cookie_cache.max_age = 3600).build().await;
    let browser = signed_up(&app, ADA).await;
    let cost = async |more: u64| {
        let before = app.store().statements();
        for _ in 0..20 {
            assert_eq!(browser.get("/get-session").await.json()["user"]["email"], ADA);
            let mut headers = HeaderMap::new();
            headers.insert("cookie", browser.cookies().parse().expect("a header"));
            let signed_in = app.auth().session(&headers).await.expect("asked").expect("signed in");
            assert_eq!(signed_in.user.email, ADA);
        }
        assert_eq!(app.store().statements() - before, more);
    };
    cost(1).await;
    cost(0).await;
    app.advance(Duration::from_millis(59_999));
    cost(0).await;
    app.advance(Duration::from_millis(1));
    cost(1).await;
}

#[tokio::test]
async fn keys_that_nobody_has_are_looked_for_once_a_second_at_most() {
    let app = signing(&json!({})).build().await;
    let browser = signed_up(&app, ADA).await;
    let (session, cookie) = (browser.cookie(TOKEN).expect("set"), data(&browser));
    let (_, rest) = cookie.split_once('.').expect("a token");
    assert_eq!(shown(&app, &session, &cookie).await, ADA);
    let before = app.store().statements();
    for number in 0..50 {
        let header =
            json!({ "alg": "EdDSA", "kid": number.to_string(), "typ": "better-auth.session-cache+jwt" });
        let unknown = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()));
        assert_eq!(shown(&app, &session, &unknown).await, ADA);
    }
    assert_eq!(app.store().statements() - before, 50, "the session of each request, and no keys");
}

#[tokio::test]
async fn what_a_replaced_key_has_signed_is_read_while_that_is_published() {
    let options = json!({ "jwks": { "rotation-interval": 3600, "grace-period": 900 } });
    let app = signing(&options).config(|config| config.session.cookie_cache.max_age = 900).build().await;
    let browser = signed_up(&app, ADA).await;
    app.advance(Duration::from_mins(55));
    let _ = browser.get("/get-session?disableCookieCache=true").await.expecting(200);
    let (session, old) = (browser.cookie(TOKEN).expect("set"), data(&browser));
    app.advance(Duration::from_mins(6));
    let _ = browser.get("/get-session?disableCookieCache=true").await.expecting(200);
    let new = data(&browser);
    assert_ne!(part(&old, 0)["kid"], part(&new, 0)["kid"], "the key has been replaced");
    forget_sessions(&app).await;
    assert_eq!(shown(&app, &session, &old).await, ADA, "by the old key");
    assert_eq!(shown(&app, &session, &new).await, ADA, "by the new one");

    // As if it had been replaced long ago.
    let past = narthex::Clock::now(app.clock()) - Duration::from_secs(901);
    let of_the_old = Jwk::ID.eq(part(&old, 0)["kid"].as_str().expect("a name"));
    app.store().update(of_the_old, Jwk::EXPIRES_AT.set(Some(past))).await.expect("it is changed");
    app.advance(MINUTE);
    assert_eq!(shown(&app, &session, &old).await, Value::Null, "its grace is over");
    assert_eq!(shown(&app, &session, &new).await, ADA);
}

#[tokio::test]
async fn a_key_whose_row_is_gone_verifies_for_a_minute_at_most() {
    let app = signing(&json!({})).build().await;
    let browser = signed_up(&app, ADA).await;
    let (session, cookie) = (browser.cookie(TOKEN).expect("set"), data(&browser));
    assert_eq!(shown(&app, &session, &cookie).await, ADA);
    app.store().delete(Filter::<Jwk>::everything()).await.expect("it is deleted");
    forget_sessions(&app).await;
    app.advance(MINUTE);
    assert_eq!(shown(&app, &session, &cookie).await, Value::Null);
}

#[tokio::test]
async fn servers_that_share_a_database_read_each_others_cookies() {
    let one = signing(&json!({})).build().await;
    let other = signing(&json!({})).database(one.database()).seed(2).build().await;
    let eve = signed_up(&other, "eve@example.com").await;
    let (ada, session) = (signed_up(&one, ADA).await, eve.cookie(TOKEN).expect("set"));
    assert_eq!(shown(&other, &session, &data(&eve)).await, "eve@example.com");
    forget_sessions(&one).await;
    let (session, cookie) = (ada.cookie(TOKEN).expect("set"), data(&ada));
    assert_eq!(shown(&one, &session, &cookie).await, ADA);
    // A key that was made elsewhere a moment ago.
    let mut row = rows(&one).await.remove(0);
    let made = SigningKey::generate(Algorithm::EdDsa, None).expect("a key");
    (row.id, row.public_key) = ("elsewhere".to_owned(), made.public_jwk());
    one.store().insert(&row).await.expect("it is inserted");
    let header = r#"{"alg":"EdDSA","kid":"elsewhere","typ":"better-auth.session-cache+jwt"}"#;
    let payload = part(&cookie, 1).to_string();
    let theirs = compact(header, payload.as_bytes(), |message| made.sign(message)).expect("signed");
    one.advance(Duration::from_secs(1));
    assert_eq!(shown(&one, &session, &theirs).await, ADA);
}

/// With another member, or without it.
fn edited(whole: &Value, name: &str, value: Value) -> Value {
    let mut edited = whole.clone();
    match value {
        Value::Null => drop(edited.as_object_mut().expect("an object").remove(name)),
        value => edited[name] = value,
    }
    edited
}

/// What upstream would not believe either, and some that it has no word for.
#[tokio::test]
async fn no_other_token_passes_for_what_a_cookie_remembers() {
    let app = signing(&json!({ "jwt": { "audience": "better-auth:session-cache" } })).build().await;
    let (ada, eve) = (signed_up(&app, ADA).await, signed_up(&app, "eve@example.com").await);
    let (session, cookie) = (ada.cookie(TOKEN).expect("set"), data(&ada));
    let (of_eve, token) = (data(&eve), token(&ada).await);
    let row = rows(&app).await.remove(0);
    forget_sessions(&app).await;
    assert_eq!(shown(&app, &session, &cookie).await, ADA);

    let key = SigningKey::from_jwk(&row.private_key, Algorithm::EdDsa).expect("a key");
    let (header, claims) = (part(&cookie, 0), part(&cookie, 1));
    let signed = |header: &Value, claims: &Value| {
        let (header, claims) = (header.to_string(), claims.to_string());
        compact(&header, claims.as_bytes(), |message| key.sign(message)).expect("signed")
    };
    let good = signed(&header, &claims);
    assert_eq!(shown(&app, &session, &good).await, ADA, "the tests' own signature counts");
    let several = edited(&claims, "aud", json!(["x", "better-auth:session-cache"]));
    assert_eq!(shown(&app, &session, &signed(&header, &several)).await, ADA);
    let within_tolerance = edited(&claims, "nbf", json!(claims["iat"].as_i64().expect("a number") + 15));
    assert_eq!(shown(&app, &session, &signed(&header, &within_tolerance)).await, ADA);

    let (start, signature) = good.rsplit_once('.').expect("a token");
    let unsigned = URL_SAFE_NO_PAD.encode(edited(&header, "alg", json!("none")).to_string());
    let payload = good.split('.').nth(1).expect("a payload");
    let by_secret = |secret: &str, header: Value| {
        compact(&header.to_string(), claims.to_string().as_bytes(), |message| {
            let text = std::str::from_utf8(message).expect("a token is text");
            let signed = Signer::new(secret).sign(text);
            let signature = signed.rsplit_once('.').expect("signed").1.to_owned();
            base64::engine::general_purpose::STANDARD.decode(signature)
        })
        .expect("signed")
    };
    let hs256 = edited(&header, "alg", json!("HS256"));
    assert!(Hs256::new(SECRET).open(&by_secret(SECRET, hs256.clone())).is_some(), "it is an HMAC");
    let mut refused = vec![
        ("a token of /token".to_owned(), token),
        ("another's".to_owned(), of_eve),
        ("signed with the secret".to_owned(), Hs256::new(SECRET).sign(claims.to_string().as_bytes())),
        ("signed with the secret, named after the key".to_owned(), by_secret(SECRET, hs256.clone())),
        ("signed with the public key as a secret".to_owned(), by_secret(&row.public_key, hs256)),
        ("not signed".to_owned(), format!("{unsigned}.{payload}.")),
        ("not signed, with a signature".to_owned(), format!("{unsigned}.{payload}.{signature}")),
        ("cut".to_owned(), start.to_owned()),
        ("longer".to_owned(), format!("{good}A")),
        ("padded".to_owned(), format!("{good}=")),
        ("too long".to_owned(), format!("{good}{}", "A".repeat(70_000))),
    ];
    for (name, value) in [
        ("typ", Value::Null),
        ("typ", json!("JWT")),
        ("typ", json!(1)),
        ("typ", json!("application/better-auth.session-cache+jwt")),
        ("kid", Value::Null),
        ("kid", json!("")),
        ("kid", json!("unknown")),
        ("alg", Value::Null),
        ("alg", json!("ES256")),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
    ] {
        refused.push((format!("header {name}: {value}"), signed(&edited(&header, name, value), &claims)));
    }
    let mut ended = claims["session"].clone();
    ended["expiresAt"] = json!("2020-01-01T00:00:00.000Z");
    for (name, value) in [
        ("aud", Value::Null),
        ("aud", json!(ORIGIN)),
        ("aud", json!([])),
        ("aud", json!({ "0": "better-auth:session-cache" })),
        ("iss", Value::Null),
        ("iss", json!(format!("{ORIGIN}/"))),
        ("iss", json!([ORIGIN])),
        ("sub", Value::Null),
        ("sub", json!("another")),
        ("sid", Value::Null),
        ("sid", json!("another")),
        ("exp", Value::Null),
        ("exp", json!("4000000000")),
        ("exp", json!(claims["iat"])),
        ("nbf", json!(4_000_000_000_u64)),
        ("version", json!("2")),
        ("session", Value::Null),
        ("session", ended),
        ("user", Value::Null),
    ] {
        refused.push((format!("{name}: {value}"), signed(&header, &edited(&claims, name, value))));
    }
    for (position, character) in good.char_indices().step_by(7) {
        let other = if character == 'A' { "B" } else { "A" };
        let changed = format!("{}{other}{}", &good[..position], &good[position + 1..]);
        refused.push((format!("changed at {position}"), changed));
    }
    for (what, value) in refused {
        assert_eq!(shown(&app, &session, &value).await, Value::Null, "{what}: {value}");
    }
    assert_eq!(shown(&app, &session, &good).await, ADA);
}

#[tokio::test]
async fn what_is_remembered_runs_out() {
    let app = signing(&json!({})).build().await;
    let browser = signed_up(&app, ADA).await;
    let (session, cookie) = (browser.cookie(TOKEN).expect("set"), data(&browser));
    forget_sessions(&app).await;
    app.advance(Duration::from_secs(299));
    assert_eq!(shown(&app, &session, &cookie).await, ADA);
    app.advance(Duration::from_secs(2));
    assert_eq!(shown(&app, &session, &cookie).await, Value::Null);
}

/// What is in a cookie has the session's token in it: nobody may take it for a token that was handed out.
#[tokio::test]
async fn what_a_cookie_remembers_is_no_token_for_anybody_else() {
    struct Reader;
    impl Plugin for Reader {
        const ID: &'static str = "reader";
        fn install(&self, setup: &mut Setup<'_, Self>) {
            setup.get("/read", Self::read);
        }
    }
    impl Reader {
        async fn read(&self, cx: &mut Ctx) -> Result<Reply> {
            let token = cx.headers().get("x-token").and_then(|token| token.to_str().ok());
            let jwt = cx.plugin::<Jwt>().ok_or_else(|| Error::internal("it is installed"))?;
            Ok(Reply::json(&jwt.verify(cx, token.unwrap_or_default()).await?.is_some()))
        }
    }
    let options = json!({ "jwt": { "audience": "better-auth:session-cache" } });
    let app = signing(&options).plugin(Reader).build().await;
    let browser = signed_up(&app, ADA).await;
    for (token, holds) in [(token(&browser).await, true), (data(&browser), false)] {
        assert_eq!(browser.get("/read").header("x-token", &token).await.json(), holds, "{token}");
    }
}

/// GHSA-xg6x-h9c9-2m83.
#[tokio::test]
async fn a_sign_in_that_is_interrupted_leaves_nothing_that_a_key_has_signed() {
    struct Challenge;
    impl Plugin for Challenge {
        const ID: &'static str = "challenge";
        fn install(&self, setup: &mut Setup<'_, Self>) {
            setup.on_sign_in(Self::interrupt);
        }
    }
    impl Challenge {
        async fn interrupt(&self, _: &mut Ctx, sign_in: &SignIn) -> Result<Option<Reply>> {
            Ok((sign_in.method == Method::Password)
                .then(|| Reply::json(&json!({ "twoFactorRedirect": true }))))
        }
    }
    let app = signing(&json!({})).plugin(Challenge).build().await;
    drop(signed_up(&app, ADA).await);
    let browser = app.browser();
    let body = json!({ "email": ADA, "password": "correct horse battery" });
    let reply = browser.post("/sign-in/email", body).await;
    assert_eq!(reply.to_string(), r#"200 {"twoFactorRedirect":true}"#);
    assert_eq!((reply.cookies(), browser.cookies().as_str()), (Vec::new(), ""));
    assert_eq!(browser.get("/get-session").await.to_string(), "200 null");
}

/// What an operator sees who has lost the secret: sessions go on, out of the database.
#[tokio::test]
async fn without_a_key_that_signs_sessions_go_on_and_nothing_is_remembered() {
    let app = signing(&json!({})).build().await;
    let browser = signed_up(&app, ADA).await;
    let unusable = Jwk::PRIVATE_KEY.set("\"00\"");
    app.store().update(Filter::<Jwk>::everything(), unusable).await.expect("it is changed");
    app.advance(MINUTE);
    let other = app.browser();
    let body = json!({ "email": ADA, "password": "correct horse battery" });
    let reply = other.post("/sign-in/email", body).await.expecting(200);
    assert_eq!(reply.cookies().len(), 1, "{reply}");
    assert_eq!(other.get("/get-session").await.json()["user"]["email"], ADA);

    let reply = browser.post("/update-user", json!({ "name": "Countess" })).await.expecting(200);
    assert!(browser.cookie(DATA).is_none(), "what it remembered is not so any more: {reply}");
    assert_eq!(browser.get("/get-session").await.json()["user"]["name"], "Countess");
}

#[tokio::test]
async fn an_endpoint_without_cookies_signs_none() {
    struct Enter;
    impl Plugin for Enter {
        const ID: &'static str = "enter";
        fn install(&self, setup: &mut Setup<'_, Self>) {
            setup.post("/enter", Self::enter);
            setup.post("/enter/bare", Self::enter).without_cookies();
        }
    }
    impl Enter {
        async fn enter(&self, cx: &mut Ctx) -> Result<Reply> {
            let user =
                cx.users().by_email(ADA).await?.ok_or_else(|| Error::internal("she has an account"))?;
            let signed_in = cx.sign_in(SignIn { user, method: Method::Password, remember: true }).await?;
            Ok(Reply::json(&signed_in.user.email))
        }
    }
    let before = with(json!({})).build().await;
    drop(signed_up(&before, ADA).await);
    let app = signing(&json!({})).plugin(Enter).database(before.database()).seed(2).build().await;
    for (path, keys, cookies) in [("/enter/bare", 0, 0), ("/enter", 1, 2)] {
        let reply = app.browser().post(path, json!({})).await;
        assert_eq!((reply.text().as_str(), reply.cookies().len()), ("\"ada@example.com\"", cookies));
        assert_eq!(rows(&app).await.len(), keys, "{path}");
    }
}

#[tokio::test]
async fn mistakes_are_told_at_start() {
    let problems =
        async |builder: Builder| builder.try_build().await.err().expect("it is refused").problems.join("\n");
    insta::assert_snapshot!(problems(with(keys(&json!({})))).await, @r#"
    plugins.jwt.session-cookie-cache = true: there is no cookie cache; set session.cookie-cache.enabled = true
    session.cookie-cache.strategy = "compact": must be "jwt", because plugins.jwt.session-cookie-cache signs it
    "#);
    let sealed = signing(&json!({ "secret": "a secret that every backend knows, 32+" }))
        .config(|config| config.session.cookie_cache.strategy = CacheStrategy::Jwe);
    insta::assert_snapshot!(problems(sealed).await, @r#"
    session.cookie-cache.strategy = "jwe": must be "jwt", because plugins.jwt.session-cookie-cache signs it
    plugins.jwt.session-cookie-cache = true: needs key pairs, and tokens are signed with plugins.jwt.secret; leave out one of the two
    "#);
    let rotating = json!({ "jwks": { "rotation-interval": 3600, "grace-period": 1000 } });
    let short = signing(&rotating).config(|config| config.session.cookie_cache.max_age = 1001);
    insta::assert_snapshot!(problems(short).await, @"plugins.jwt.jwks.grace-period = 1000: a replaced key must be published as long as the cookie cache is believed, 1001 seconds");
    let enough = signing(&rotating).config(|config| config.session.cookie_cache.max_age = 1000);
    assert!(enough.try_build().await.is_ok());
}

#[tokio::test]
async fn switched_off_it_is_the_secret_that_signs() {
    let app = with(json!({ "jwt": {} })).config(remembering).build().await;
    let browser = signed_up(&app, ADA).await;
    assert_eq!(part(&data(&browser), 0).to_string(), r#"{"alg":"HS256"}"#);
    assert!(Hs256::new(SECRET).open(&data(&browser)).is_some());
    assert!(rows(&app).await.is_empty());
}
