//! The session as a cookie remembers it.

use crate::support::{ADA, ada, credentials};
use http::HeaderMap;
use insta::assert_snapshot;
use narthex::{
    CacheStrategy, Config,
    model::{Session as SessionRow, User},
    prelude::*,
    store::Value,
};
use narthex_testkit::{Browser, SECRET, TestApp};
use serde_json::json;
use std::time::Duration;

const DATA: &str = "better-auth.session_data";
const STRATEGIES: [CacheStrategy; 3] = [CacheStrategy::Compact, CacheStrategy::Jwt, CacheStrategy::Jwe];
/// Made in 2099, with members and numbers that a parser would write differently.
const UPSTREAM: &str = "eyJzZXNzaW9uIjp7InNlc3Npb24iOnsiMSI6MiwiZXhwaXJlc0F0IjoiMjA5OS0wNi0wMVQwMDowMDowMC4wMDBaIiwidG9rZW4iOiJ1cHN0cmVhbXVwc3RyZWFtdXBzdHJlYW11cHN0cmVhbSIsImNyZWF0ZWRBdCI6IjIwMjYtMDEtMDJUMDM6MDQ6MDUuNjc4WiIsInVwZGF0ZWRBdCI6IjIwMjYtMDEtMDJUMDM6MDQ6MDUuNjc4WiIsImlwQWRkcmVzcyI6IiIsInVzZXJBZ2VudCI6IsO8bsOv4pyTIFwiXFxcdTAwMDfigKgiLCJ1c2VySWQiOiJ1IiwiaWQiOiJzIiwiY291bnQiOjFlKzIxfSwidXNlciI6eyJuYW1lIjoiw5xuw68iLCJlbWFpbCI6ImFkYUBleGFtcGxlLmNvbSIsImVtYWlsVmVyaWZpZWQiOnRydWUsImltYWdlIjpudWxsLCJjcmVhdGVkQXQiOiIyMDI2LTAxLTAyVDAzOjA0OjA1LjY3OFoiLCJ1cGRhdGVkQXQiOiIyMDI2LTAxLTAyVDAzOjA0OjA1LjY3OFoiLCJpZCI6InUiLCJyYXRpbyI6MC4xfSwidXBkYXRlZEF0Ijo0MDcwOTA4ODAwMDAwLCJ2ZXJzaW9uIjoiMSJ9LCJleHBpcmVzQXQiOjQwNzA5MDkxMDAwMDAsInNpZ25hdHVyZSI6ImM3WWxFSDgzbDMyUEVNTzhuTnBkbDYyWWd0OVZnM0tDNDVodXQ4YThZbjQifQ";
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn remembering(strategy: CacheStrategy) -> impl FnOnce(&mut Config) {
    move |config| {
        config.session.cookie_cache.enabled = true;
        config.session.cookie_cache.strategy = strategy;
    }
}

/// Answers whom each guard lets in.
struct Guarded;

output! {
    struct Seen { name: String }
}

impl Plugin for Guarded {
    const ID: &'static str = "guarded";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.get("/guarded/session", Self::session);
        setup.get("/guarded/sensitive", Self::sensitive);
        setup.get("/guarded/fresh", Self::fresh);
        let columns = || {
            [
                Field::text("motto").optional(),
                Field::big_integer("points").optional(),
                Field::bool("trusted").optional(),
                Field::time("bornAt").optional(),
                Field::json("tags").optional(),
                Field::text("pin").optional().hidden(),
            ]
        };
        setup.extend(User::TABLE, columns());
        setup.extend(SessionRow::TABLE, columns());
    }
}

impl Guarded {
    async fn session(&self, _: &mut Ctx, Session(signed_in): Session) -> Result<Json<Seen>> {
        Ok(Json(Seen { name: signed_in.user.name }))
    }

    async fn sensitive(
        &self,
        _: &mut Ctx,
        SensitiveSession(signed_in): SensitiveSession,
    ) -> Result<Json<Seen>> {
        Ok(Json(Seen { name: signed_in.user.name }))
    }

    async fn fresh(&self, _: &mut Ctx, FreshSession(signed_in): FreshSession) -> Result<Json<Seen>> {
        Ok(Json(Seen { name: signed_in.user.name }))
    }
}

async fn guarded(strategy: CacheStrategy) -> (TestApp, Browser) {
    let app = TestApp::builder().config(remembering(strategy)).plugin(Guarded).build().await;
    let browser = ada(&app).await;
    (app, browser)
}

async fn rename(app: &TestApp) {
    app.database().execute(r#"update "user" set "name" = 'Changed'"#).await;
}

#[tokio::test]
async fn signing_up_sets_the_session_and_what_remembers_it() {
    for strategy in STRATEGIES {
        let app = TestApp::with_config(remembering(strategy)).await;
        let body = json!({ "name": "Ada", "email": ADA, "password": "correct horse" });
        let name = format!("{strategy:?}").to_lowercase();
        assert_eq!(
            app.browser().post("/sign-up/email", body).await.cookies(),
            [
                "better-auth.session_token=[signed token]; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax"
                    .to_owned(),
                format!("{DATA}=[{name}]; Max-Age=300; Path=/; HttpOnly; SameSite=Lax"),
            ]
        );
    }
}

#[tokio::test]
async fn a_remembered_session_needs_no_database_and_stands_in_upstreams_other_order() {
    for strategy in STRATEGIES {
        let app = TestApp::with_config(remembering(strategy)).await;
        let browser = ada(&app).await;
        let statements = app.store().statements();
        let reply = browser.get("/get-session").await;
        assert_eq!(reply.cookies(), Vec::<String>::new());
        assert_eq!(
            reply.to_string(),
            r#"200 {"session":{"id":"[id]","createdAt":"[now]","updatedAt":"[now]","userId":"[id]","expiresAt":"[now+7d]","token":"[token]","ipAddress":"127.0.0.1","userAgent":"testkit"},"user":{"id":"[id]","createdAt":"[now]","updatedAt":"[now]","email":"ada@example.com","emailVerified":false,"name":"Ada","image":null}}"#
        );
        assert_eq!(app.store().statements(), statements);
    }
}

#[tokio::test]
async fn the_database_is_asked_where_the_request_says_so() {
    for strategy in STRATEGIES {
        let app = TestApp::with_config(remembering(strategy)).await;
        let browser = ada(&app).await;
        rename(&app).await;
        assert_eq!(browser.get("/get-session").await.json()["user"]["name"], "Ada");
        let reply = browser.get("/get-session?disableCookieCache=true").await;
        assert_eq!(reply.json()["user"]["name"], "Changed");
        assert_eq!(reply.cookies().len(), 1, "remembered anew");
        assert_eq!(browser.get("/get-session").await.json()["user"]["name"], "Changed");
    }
}

#[tokio::test]
async fn what_is_remembered_runs_out() {
    // A signed token has ended at its last second; upstream gives an encrypted one some tolerance.
    for (strategy, last) in [
        (CacheStrategy::Compact, 300 * SECOND),
        (CacheStrategy::Jwt, 299 * SECOND + 999 * MILLISECOND),
        (CacheStrategy::Jwe, 300 * SECOND),
    ] {
        let app = TestApp::with_config(remembering(strategy)).await;
        let into_second = Duration::from_millis(
            u64::try_from(narthex::Clock::now(app.clock()).millis() % 1000).expect("since 1970"),
        );
        app.advance(SECOND.saturating_sub(into_second));
        let browser = ada(&app).await;
        let statements = app.store().statements();
        app.advance(last);
        let _ = browser.get("/get-session").await.expecting(200);
        assert_eq!(app.store().statements(), statements, "{strategy:?}");
        app.advance(MILLISECOND);
        let reply = browser.get("/get-session").await;
        let name = format!("{strategy:?}").to_lowercase();
        assert_eq!(
            reply.cookies(),
            [
                format!("{DATA}=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"),
                format!("{DATA}=[{name}]; Max-Age=300; Path=/; HttpOnly; SameSite=Lax"),
            ]
        );
        assert_eq!(app.store().statements(), statements + 1, "{strategy:?}");
    }
}

#[tokio::test]
async fn a_session_that_ends_sooner_is_not_remembered_beyond_its_end() {
    for strategy in STRATEGIES {
        let app = TestApp::builder().config(remembering(strategy));
        let app = app.config(|config| (config.session.expires_in, config.session.update_age) = (100, 100));
        let app = app.build().await;
        let browser = ada(&app).await;
        app.advance(100 * SECOND);
        assert_eq!(browser.get("/get-session").await.json()["user"]["email"], ADA);
        app.advance(MILLISECOND);
        assert_eq!(browser.get("/get-session").await.to_string(), "200 null");
        assert_eq!(browser.cookies(), "");
    }
}

#[tokio::test]
async fn a_session_that_ends_with_the_browser_is_remembered_for_a_while() {
    let app = TestApp::with_config(remembering(CacheStrategy::Compact)).await;
    drop(ada(&app).await);
    let mut body = credentials();
    body["rememberMe"] = false.into();
    let browser = app.browser();
    let reply = browser.post("/sign-in/email", body).await;
    assert_snapshot!(reply.cookies().join("\n"), @r#"
    better-auth.session_token=[signed token]; Path=/; HttpOnly; SameSite=Lax
    better-auth.dont_remember=[signed true]; Path=/; HttpOnly; SameSite=Lax
    better-auth.session_data=[compact]; Path=/; HttpOnly; SameSite=Lax
    "#);
    let statements = app.store().statements();
    app.advance(60 * SECOND);
    let _ = browser.get("/get-session").await.expecting(200);
    assert_eq!(app.store().statements(), statements);
    app.advance(MILLISECOND);
    let reply = browser.get("/get-session").await;
    // Upstream: it is not remembered again (kept).
    assert_snapshot!(reply.cookies().join("\n"), @"better-auth.session_data=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(browser.get("/get-session").await.cookies(), Vec::<String>::new());
    assert_eq!(app.store().statements(), statements + 2);
}

#[tokio::test]
async fn what_is_delicate_asks_the_database() {
    for strategy in STRATEGIES {
        let (app, browser) = guarded(strategy).await;
        rename(&app).await;
        assert_eq!(browser.get("/guarded/session").await.to_string(), r#"200 {"name":"Ada"}"#);
        assert_eq!(browser.get("/guarded/fresh").await.to_string(), r#"200 {"name":"Ada"}"#);
        let cookies = browser.cookies();
        assert_eq!(browser.get("/guarded/sensitive").await.to_string(), r#"200 {"name":"Changed"}"#);
        let same = |path: &str| browser.get(path).header("cookie", &cookies);
        assert_eq!(
            same("/guarded/session?disableCookieCache=1").await.to_string(),
            r#"200 {"name":"Changed"}"#
        );
        app.database().execute(r#"delete from "session""#).await;
        assert_eq!(same("/guarded/session").await.to_string(), r#"200 {"name":"Ada"}"#);
        let refused = same("/guarded/sensitive").await;
        assert_eq!(refused.to_string(), r#"401 {"message":"Unauthorized","code":"UNAUTHORIZED"}"#);
        assert_eq!(browser.cookies(), "", "and everything is forgotten");
    }
}

#[tokio::test]
async fn a_remembered_session_grows_old_like_any_other() {
    let app = TestApp::builder().config(remembering(CacheStrategy::Compact)).plugin(Guarded);
    let app = app.config(|config| config.session.fresh_age = 10).build().await;
    let browser = ada(&app).await;
    app.advance((10 * SECOND).saturating_sub(MILLISECOND));
    assert_eq!(browser.get("/guarded/fresh").await.status(), 200);
    app.advance(MILLISECOND);
    let statements = app.store().statements();
    let reply = browser.get("/guarded/fresh").await;
    assert_snapshot!(reply, @r#"403 {"message":"Session is not fresh","code":"SESSION_NOT_FRESH"}"#);
    assert_eq!(app.store().statements(), statements);
}

#[tokio::test]
async fn columns_of_plugins_are_remembered_and_hidden_ones_are_not() {
    for strategy in STRATEGIES {
        let (app, browser) = guarded(strategy).await;
        for table in ["user", "session"] {
            let (truth, born) = match app.database().dialect() {
                narthex_testkit::Dialect::Sqlite => ("1", "2001-02-03T04:05:06.789Z"),
                narthex_testkit::Dialect::Postgres => ("true", "2001-02-03 04:05:06.789+00"),
            };
            app.database()
                .execute(&format!(
                    r#"update "{table}" set "motto" = '2001-02-03T04:05:06Z', "points" = 9007199254740993, "trusted" = {truth}, "bornAt" = '{born}', "tags" = '{{"a":"x","b":[1,null]}}', "pin" = '1234'"#
                ))
                .await;
        }
        let stored = browser.get("/get-session?disableCookieCache=true").await.json();
        let statements = app.store().statements();
        let remembered = browser.get("/get-session").await;
        assert!(!remembered.text().contains("1234") && !browser.cookies().contains("1234"));
        assert!(remembered.text().contains(r#""motto":"2001-02-03T04:05:06Z","points":9007199254740993,"trusted":true,"bornAt":"2001-02-03T04:05:06.789Z","tags":{"a":"x","b":[1,null]}}"#), "{}", remembered.text());
        assert_eq!(remembered.json(), stored);
        let mut headers = HeaderMap::new();
        headers.insert("cookie", browser.cookies().parse().expect("a header"));
        let signed_in = app.auth().session(&headers).await.expect("asked").expect("signed in");
        assert_eq!(signed_in.user.email, ADA);
        assert_eq!(signed_in.user.extra.get("points"), Some(&Value::Integer(9_007_199_254_740_993)));
        assert_eq!(
            signed_in.session.extra.get("tags"),
            Some(&Value::Json(json!({ "a": "x", "b": [1, null] })))
        );
        assert_eq!(signed_in.user.hidden.get("pin"), Some(&Value::Null));
        assert_eq!(
            app.store().statements(),
            statements,
            "an application's own question needs no database either"
        );
    }
}

#[tokio::test]
async fn an_application_that_asks_in_process_sees_a_change_when_the_cache_runs_out() {
    let app = TestApp::with_config(remembering(CacheStrategy::Jwe)).await;
    let browser = ada(&app).await;
    rename(&app).await;
    let mut headers = HeaderMap::new();
    headers.insert("cookie", browser.cookies().parse().expect("a header"));
    let name = async || app.auth().session(&headers).await.expect("asked").expect("signed in").user.name;
    assert_eq!(name().await, "Ada");
    app.advance(301 * SECOND);
    assert_eq!(name().await, "Changed");
}

#[tokio::test]
async fn another_version_or_strategy_starts_anew() {
    let app = TestApp::with_config(remembering(CacheStrategy::Compact)).await;
    let browser = ada(&app).await;
    for (seed, strategy, version, is_believed) in [
        (2, CacheStrategy::Compact, None, true),
        (3, CacheStrategy::Compact, Some(""), true),
        (4, CacheStrategy::Compact, Some("1"), true),
        (5, CacheStrategy::Compact, Some("2"), false),
        (6, CacheStrategy::Jwt, None, false),
        (7, CacheStrategy::Jwe, None, false),
    ] {
        let other = TestApp::builder().database(app.database()).seed(seed).config(remembering(strategy));
        let other = other.config(|config| config.session.cookie_cache.version = version.map(str::to_owned));
        let other = other.build().await;
        let statements = other.store().statements();
        let reply = other.browser().get("/get-session").header("cookie", &browser.cookies()).await;
        assert_eq!(reply.json()["user"]["email"], ADA);
        assert_eq!(other.store().statements() == statements, is_believed, "{strategy:?} {version:?}");
    }
}

#[tokio::test]
async fn long_records_are_remembered_in_pieces_and_stale_pieces_are_forgotten() {
    for strategy in STRATEGIES {
        let app = TestApp::with_config(remembering(strategy)).await;
        let browser = app.browser();
        let image = format!("https://example.com/{}", "long".repeat(2_000));
        let body = json!({ "name": "Ada", "email": ADA, "password": "correct horse", "image": image });
        let _ = browser.post("/sign-up/email", body).await.expecting(200);
        assert!(browser.cookie(DATA).is_none());
        let pieces = |browser: &Browser| {
            (0..10).filter_map(|index| browser.cookie(&format!("{DATA}.{index}"))).collect::<Vec<_>>()
        };
        assert_eq!(pieces(&browser).len(), 3, "{strategy:?}");
        assert!(pieces(&browser).iter().all(|piece| piece.len() <= 4_000));
        let statements = app.store().statements();
        assert_eq!(browser.get("/get-session").await.json()["user"]["image"], *image);
        assert_eq!(app.store().statements(), statements);

        app.database().execute(r#"update "user" set "image" = null"#).await;
        let reply = browser.get("/get-session?disableCookieCache=1").await;
        assert_eq!(reply.cookies().len(), 4);
        assert_eq!(pieces(&browser).len(), 0);
        assert!(browser.cookie(DATA).is_some());
    }
}

#[tokio::test]
async fn a_guard_sends_all_that_it_sets_and_nothing_that_it_sets_again() {
    let (app, browser) = guarded(CacheStrategy::Compact).await;
    let cookies = browser.cookies();
    app.advance(Duration::from_hours(25));
    let reply = browser.get("/guarded/session").header("cookie", &cookies).await;
    assert_eq!(
        reply.cookies(),
        [
            "better-auth.session_token=[signed token]; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax",
            "better-auth.session_data=[compact]; Max-Age=300; Path=/; HttpOnly; SameSite=Lax",
        ]
    );

    let image = "long".repeat(2_000);
    app.database().execute(&format!(r#"update "user" set "image" = '{image}'"#)).await;
    let reply = browser.get("/guarded/sensitive").await;
    let names: Vec<_> =
        reply.cookies().iter().map(|line| line.split('=').next().unwrap_or_default().to_owned()).collect();
    assert_eq!(names, [DATA, &format!("{DATA}.0"), &format!("{DATA}.1"), &format!("{DATA}.2")]);
    let statements = app.store().statements();
    assert_eq!(browser.get("/get-session").await.json()["user"]["image"], *image);
    assert_eq!(app.store().statements(), statements);
}

#[tokio::test]
async fn a_record_that_no_cookies_can_hold_is_not_remembered() {
    let app = TestApp::with_config(remembering(CacheStrategy::Compact)).await;
    let browser = app.browser();
    let body =
        json!({ "name": "Ada", "email": ADA, "password": "correct horse", "image": "x".repeat(310_000) });
    let reply = browser.post("/sign-up/email", body).await;
    assert_snapshot!(reply.cookies().join("\n"), @"better-auth.session_token=[signed token]; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(browser.get("/get-session").await.json()["user"]["email"], ADA);
}

#[tokio::test]
async fn a_deferred_renewal_says_so_when_the_database_is_asked() {
    let app = TestApp::builder().config(remembering(CacheStrategy::Compact));
    let app = app.config(|config| config.session.defer_session_refresh = true).build().await;
    let browser = ada(&app).await;
    assert_eq!(browser.get("/get-session").await.json().get("needsRefresh"), None);
    let reply = browser.get("/get-session?disableCookieCache=1").await;
    assert_eq!(reply.json()["needsRefresh"], false);
    app.advance(Duration::from_hours(25));
    assert_eq!(browser.get("/get-session").await.json()["needsRefresh"], true);
    let commits = app.store().commits();
    // Upstream: what is remembered answers a POST, too (kept).
    let _ = browser.post("/get-session", json!({})).await.expecting(200);
    assert_eq!(app.store().commits(), commits);
    let _ = browser.post("/get-session?disableCookieCache=1", json!({})).await.expecting(200);
    assert_eq!(browser.get("/get-session?disableCookieCache=1").await.json()["needsRefresh"], false);
}

#[tokio::test]
async fn signing_out_forgets_what_was_remembered() {
    let app = TestApp::with_config(remembering(CacheStrategy::Jwt)).await;
    let browser = ada(&app).await;
    let _ = browser.post("/sign-out", json!({})).await.expecting(200);
    assert_eq!(browser.cookies(), "");
}

/// What upstream's `setCookieCache` wrote with the secret of these tests: its text is verified as it came.
#[tokio::test]
async fn what_upstream_wrote_is_believed() {
    let app = TestApp::with_config(remembering(CacheStrategy::Compact)).await;
    let browser = app.browser();
    let token = "upstreamupstreamupstreamupstream";
    let signed = narthex::crypto::signed::Signer::new(SECRET).sign(token);
    let encoded = signed.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    browser.set_cookie("better-auth.session_token", &encoded);
    browser.set_cookie(DATA, UPSTREAM);
    assert_snapshot!(browser.get("/get-session").await.text(), @r#"{"session":{"id":"s","createdAt":"2026-01-02T03:04:05.678Z","updatedAt":"2026-01-02T03:04:05.678Z","userId":"u","expiresAt":"2099-06-01T00:00:00.000Z","token":"upstreamupstreamupstreamupstream","ipAddress":"","userAgent":"ünï✓ \"\\\u0007 "},"user":{"id":"u","createdAt":"2026-01-02T03:04:05.678Z","updatedAt":"2026-01-02T03:04:05.678Z","email":"ada@example.com","emailVerified":true,"name":"Ünï","image":null}}"#);
}
