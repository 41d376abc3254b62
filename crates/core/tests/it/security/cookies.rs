//! Cookies that were made or changed by somebody else.

use crate::support::{ADA, ada, credentials};
use http::HeaderMap;
use narthex::{CacheStrategy, Entropy as _, crypto::signed::Signer, http::Reply, prelude::*};
use narthex_testkit::{Browser, SECRET, SeededEntropy, TestApp};
use serde_json::{Value, json};

const TOKEN: &str = "better-auth.session_token";
const DATA: &str = "better-auth.session_data";
const STRATEGIES: [CacheStrategy; 3] = [CacheStrategy::Compact, CacheStrategy::Jwt, CacheStrategy::Jwe];

async fn remembering(strategy: CacheStrategy) -> TestApp {
    TestApp::with_config(|config| {
        config.session.cookie_cache.enabled = true;
        config.session.cookie_cache.strategy = strategy;
    })
    .await
}

/// Every way to change a value that one can write down quickly: at each position other characters, characters left
/// out, doubled and swapped, the value cut there; and a few hundred changes of several characters at once.
fn mutations(value: &str) -> Vec<String> {
    let mut all = Vec::new();
    let characters: Vec<char> = value.chars().collect();
    let text = |characters: &[char]| characters.iter().collect::<String>();
    for position in 0..characters.len() {
        let (before, after) = characters.split_at(position);
        let (own, rest) = after.split_first().expect("there is one");
        for other in ['A', 'B', 'Q', 'g', 'w', '0', '-', '_', '+', '%', '.', '=', '"', '~'] {
            all.push(format!("{}{other}{}", text(before), text(rest)));
        }
        all.push(format!("{}{}", text(before), text(rest)));
        all.push(format!("{}{own}{own}{}", text(before), text(rest)));
        if let Some((next, rest)) = rest.split_first() {
            all.push(format!("{}{next}{own}{}", text(before), text(rest)));
        }
        all.push(text(before));
        all.push(text(after));
    }
    let entropy = SeededEntropy::new(7);
    for _ in 0..400 {
        let mut chance = [0; 12];
        entropy.fill(&mut chance);
        let mut changed = characters.clone();
        for pair in chance.chunks(3) {
            let position = (usize::from(pair[0]) << 8 | usize::from(pair[1])) % changed.len();
            changed[position] = char::from(b"ABCabc019_-.%=+/"[usize::from(pair[2]) % 16]);
        }
        all.push(text(&changed));
    }
    all.extend([format!("{value}{value}"), format!("{value}."), format!(".{value}"), format!("{value}=")]);
    all.extend(
        ["null", "none", "undefined", "true", "e30", "bnVsbA", "%00", "..", "....", "{}"].map(str::to_owned),
    );
    all.retain(|changed| changed != value);
    all.sort();
    all.dedup();
    all
}

async fn shown(browser: &Browser, cookie: String) -> Value {
    let reply = browser.get("/get-session").header("cookie", &cookie).await;
    assert_eq!(reply.status(), 200, "{cookie}");
    reply.json()
}

#[tokio::test]
async fn of_thousands_of_changed_cache_cookies_none_is_believed() {
    for strategy in STRATEGIES {
        let app = remembering(strategy).await;
        let browser = ada(&app).await;
        let (token, data) = (browser.cookie(TOKEN).expect("set"), browser.cookie(DATA).expect("set"));
        // From now on only a cookie can say that there is a session.
        app.database().execute(r#"delete from "session""#).await;
        let asked = app.browser();
        let good = format!("{TOKEN}={token}; {DATA}={data}");
        assert_eq!(shown(&asked, good.clone()).await["user"]["email"], ADA);
        let all = mutations(&data);
        assert!(all.len() > 10_000, "{strategy:?}: {}", all.len());
        for changed in all {
            assert_eq!(
                shown(&asked, format!("{TOKEN}={token}; {DATA}={changed}")).await,
                Value::Null,
                "{changed}"
            );
        }
        assert_eq!(shown(&asked, good).await["user"]["email"], ADA);
    }
}

#[tokio::test]
async fn of_thousands_of_changed_session_cookies_none_is_believed_with_or_without_a_cache() {
    for strategy in [None, Some(CacheStrategy::Compact)] {
        let app =
            TestApp::with_config(|config| config.session.cookie_cache.enabled = strategy.is_some()).await;
        let browser = ada(&app).await;
        let token = browser.cookie(TOKEN).expect("set");
        let data = browser.cookie(DATA).map(|data| format!("; {DATA}={data}")).unwrap_or_default();
        let asked = app.browser();
        // The last character of a signature has two bits too many: three other spellings are the same signature.
        let last = token.trim_end_matches("%3D").chars().next_back().expect("signed");
        let (mut refused, mut spelled) = (0, 0);
        for changed in mutations(&token) {
            let is_a_spelling = changed.len() == token.len()
                && changed.bytes().zip(token.bytes()).filter(|(one, other)| one != other).count() == 1
                && !changed.trim_end_matches("%3D").ends_with(last);
            let shown = shown(&asked, format!("{TOKEN}={changed}{data}")).await;
            if is_a_spelling && shown != Value::Null {
                spelled += 1;
            } else {
                assert_eq!(shown, Value::Null, "{changed}");
                refused += 1;
            }
        }
        assert!(refused > 1_500 && spelled <= 3, "{refused} {spelled}");
        assert_eq!(app.rows("session").await.len(), 1);
    }
}

#[tokio::test]
async fn a_cache_cookie_is_worth_nothing_without_its_session_cookie() {
    for strategy in STRATEGIES {
        let app = remembering(strategy).await;
        let (first, data) = {
            let browser = ada(&app).await;
            (browser.cookie(TOKEN).expect("set"), browser.cookie(DATA).expect("set"))
        };
        let second = app.browser();
        let _ = second.post("/sign-in/email", credentials()).await.expecting(200);
        let second = second.cookie(TOKEN).expect("set");
        let token = first.split('.').next().expect("signed");
        app.database().execute(r#"delete from "session""#).await;
        let asked = app.browser();
        for cookies in [
            format!("{DATA}={data}"),
            format!("{TOKEN}={second}; {DATA}={data}"),
            format!("{TOKEN}={token}; {DATA}={data}"),
            format!("{TOKEN}={token}.{}; {DATA}={data}", "A".repeat(43) + "%3D"),
            format!("{TOKEN}={data}; {DATA}={data}"),
            format!("{TOKEN}={first}; {DATA}={first}"),
            format!("{TOKEN}={first}; {DATA}.0={data}; {DATA}.1={data}"),
            format!("{TOKEN}={first}; Better-Auth.session_data={data}"),
            format!("{TOKEN}={first}; __Secure-{DATA}={data}"),
        ] {
            assert_eq!(shown(&asked, cookies.clone()).await, Value::Null, "{cookies}");
            let mut headers = HeaderMap::new();
            headers.insert("cookie", cookies.parse().expect("a header"));
            assert!(app.auth().session(&headers).await.expect("asked").is_none(), "{cookies}");
        }
        assert!(!shown(&asked, format!("{TOKEN}={first}; {DATA}={data}")).await.is_null());
    }
}

/// Signatures of the same secret for other purposes are no cache, and no session.
#[tokio::test]
async fn what_was_signed_for_something_else_is_not_believed() {
    let app = remembering(CacheStrategy::Compact).await;
    let browser = ada(&app).await;
    let token = browser.cookie(TOKEN).expect("set");
    app.database().execute(r#"delete from "session""#).await;
    let asked = app.browser();
    let signed = Signer::new(SECRET).sign("true").replace('=', "%3D").replace('+', "%2B").replace('/', "%2F");
    assert_eq!(shown(&asked, format!("{TOKEN}={signed}")).await, Value::Null);
    for (seed, other) in [(9, CacheStrategy::Jwt), (10, CacheStrategy::Jwe)] {
        let elsewhere = TestApp::builder().database(app.database()).seed(seed).config(|config| {
            config.session.cookie_cache.enabled = true;
            config.session.cookie_cache.strategy = other;
        });
        let elsewhere = elsewhere.build().await;
        let there = elsewhere.browser();
        let _ = there.post("/sign-in/email", credentials()).await.expecting(200);
        let (its_token, data) = (there.cookie(TOKEN).expect("set"), there.cookie(DATA).expect("set"));
        app.database().execute(r#"delete from "session""#).await;
        assert!(!shown(&there, there.cookies()).await.is_null(), "believed where it was made");
        for token in [&token, &its_token] {
            assert_eq!(shown(&asked, format!("{TOKEN}={token}; {DATA}={data}")).await, Value::Null);
        }
    }
}

#[tokio::test]
async fn a_cache_of_another_secret_is_not_believed() {
    for strategy in STRATEGIES {
        let app = remembering(strategy).await;
        let browser = ada(&app).await;
        let other = TestApp::builder().database(app.database()).seed(2).config(|config| {
            config.session.cookie_cache.enabled = true;
            config.session.cookie_cache.strategy = strategy;
            config.secret = Some("another-secret-that-is-long-enough-too".into());
        });
        let other = other.build().await;
        app.database().execute(r#"delete from "session""#).await;
        let token = browser.cookie(TOKEN).expect("set");
        let theirs = Signer::new("another-secret-that-is-long-enough-too")
            .sign(token.split('.').next().expect("signed"));
        let theirs = theirs.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        let cookies = format!("{TOKEN}={theirs}; {DATA}={}", browser.cookie(DATA).expect("set"));
        assert_eq!(shown(&other.browser(), cookies).await, Value::Null);
    }
}

#[tokio::test]
async fn what_is_remembered_is_worth_nothing_where_nothing_is_to_be_remembered() {
    let app = remembering(CacheStrategy::Compact).await;
    let browser = ada(&app).await;
    let cookies = browser.cookies();
    let without = TestApp::builder().database(app.database()).seed(2).build().await;
    app.database().execute(r#"delete from "session""#).await;
    assert_eq!(shown(&without.browser(), cookies.clone()).await, Value::Null);
    let mut headers = HeaderMap::new();
    headers.insert("cookie", cookies.parse().expect("a header"));
    assert!(without.auth().session(&headers).await.expect("asked").is_none());
    let asked = without.browser();
    asked.set_cookie(DATA, "none");
    let _ = asked.get("/get-session").await.expecting(200);
    assert_eq!(asked.cookies(), "", "and it is forgotten");
}

/// Interrupts every sign-in, as a second factor does.
struct Interrupts;

impl Plugin for Interrupts {
    const ID: &'static str = "interrupts";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.on_sign_in(Self::interrupt);
    }
}

impl Interrupts {
    async fn interrupt(&self, _: &mut Ctx, sign_in: &SignIn) -> Result<Option<Reply>> {
        let is_password = sign_in.method == Method::Password;
        Ok(is_password.then(|| Reply::json(&json!({ "secondFactor": true }))))
    }
}

/// The cache must not let in who has only shown the first factor.
#[tokio::test]
async fn ghsa_xg6x_h9c9_2m83_an_interrupted_sign_in_leaves_no_cookie() {
    for strategy in STRATEGIES {
        let app = TestApp::builder().plugin(Interrupts).config(|config| {
            config.session.cookie_cache.enabled = true;
            config.session.cookie_cache.strategy = strategy;
        });
        let app = app.build().await;
        drop(ada(&app).await);
        let browser = app.browser();
        let reply = browser.post("/sign-in/email", credentials()).await;
        assert_eq!(reply.to_string(), r#"200 {"secondFactor":true}"#);
        assert_eq!(reply.cookies(), Vec::<String>::new());
        assert_eq!(browser.get("/get-session").await.to_string(), "200 null");
        assert_eq!(app.rows("session").await.len(), 1, "the one of the sign-up");
    }
}

#[tokio::test]
async fn mistakes_in_the_configuration_of_cookies_are_all_reported() {
    let mistakes = TestApp::builder().config(|config| {
        *config = narthex_config(
            r#"{
                "secret": "a-secret-for-tests-that-is-long-enough",
                "session": { "cookie-cache": { "max-age": 0 } },
                "advanced": {
                    "cookies": {
                        "session-token": { "name": "a b", "attributes": { "max-age": 34560001, "path": "api", "domain": "a;b" } },
                        "session_data": { "name": "x.1" },
                        "dont_remember": { "name": "x" }
                    },
                    "default-cookie-attributes": { "domain": "https://example.com", "path": "/a b" },
                    "cross-sub-domain-cookies": { "enabled": true, "domain": "example.com:80" }
                }
            }"#,
        );
    });
    let error = mistakes.try_build().await.err().expect("refused");
    insta::assert_snapshot!(error.to_string(), @r#"
    advanced.cookies: "x" and "x.1" get in each other's way; give one another name
    session.cookie-cache.max-age = 0: must be 1 to 34560000 seconds
    advanced.cookies.session-token: cookies keep upstream's keys; perhaps `session_token` is meant
    advanced.cookies.session-token.name = "a b": must be made of characters a cookie name can have
    advanced.cookies.session-token.attributes.domain = "a;b": must be a host name, without scheme, port and path
    advanced.cookies.session-token.attributes.max-age = 34560001: must be at most 34560000 seconds
    advanced.cookies.session-token.attributes.path = "api": must begin with `/`, without spaces and `;`
    advanced.default-cookie-attributes.domain = "https://example.com": must be a host name, without scheme, port and path
    advanced.default-cookie-attributes.path = "/a b": must begin with `/`, without spaces and `;`
    advanced.cross-sub-domain-cookies.domain = "example.com:80": must be a host name, without scheme, port and path
    "#);
}

#[test]
fn options_that_make_no_sense_in_a_file_are_unknown() {
    for (json, expected) in [
        (
            r#"{"advanced":{"default-cookie-attributes":{"expires":"2030-01-01T00:00:00.000Z"}}}"#,
            "unknown field `expires`",
        ),
        (
            r#"{"advanced":{"cookies":{"session_token":{"attributes":{"prefix":"host"}}}}}"#,
            "unknown field `prefix`",
        ),
        (r#"{"advanced":{"default-cookie-attributes":{"same-site":"LAX"}}}"#, "unknown variant `LAX`"),
        (r#"{"session":{"cookie-cache":{"strategy":"paseto"}}}"#, "unknown variant `paseto`"),
    ] {
        let error = serde_json::from_str::<narthex::Config>(json).expect_err(json).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

fn narthex_config(json: &str) -> narthex::Config {
    serde_json::from_str(json).expect("a configuration")
}
