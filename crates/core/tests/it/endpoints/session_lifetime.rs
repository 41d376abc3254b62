//! `session.max-lifetime`

use crate::support::{ADA, PASSWORD, ada, credentials};
use insta::assert_snapshot;
use narthex_testkit::TestApp;
use serde_json::{Value, json};
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);
const MILLISECOND: Duration = Duration::from_millis(1);
const TEN_DAYS: u32 = 864_000;

fn max_age(cookies: &[String]) -> Option<&str> {
    cookies.first()?.split("; ").find_map(|attribute| attribute.strip_prefix("Max-Age="))
}

#[tokio::test]
async fn no_renewal_moves_the_end() {
    let app = TestApp::with_config(|config| config.session.max_lifetime = Some(TEN_DAYS)).await;
    let browser = ada(&app).await;
    app.advance(2 * DAY);
    assert_eq!(max_age(&browser.get("/get-session").await.cookies()), Some("604800"), "as ever");
    app.advance(2 * DAY);
    let reply = browser.get("/get-session").await;
    assert_eq!(max_age(&reply.cookies()), Some("518400"), "the six days that are left");
    assert_snapshot!(reply, @r#"200 {"session":{"expiresAt":"[now+6d]","token":"[token]","createdAt":"[now-4d]","updatedAt":"[now]","ipAddress":"127.0.0.1","userAgent":"testkit","userId":"[id]","id":"[id]"},"user":{"name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now-4d]","updatedAt":"[now-4d]","id":"[id]"}}"#);
    app.advance(3 * DAY);
    let rows = app.rows("session").await.to_vec();
    assert_eq!(browser.get("/get-session").await.cookies(), Vec::<String>::new());
    assert_eq!(app.rows("session").await.to_vec(), rows, "what cannot be prolonged is not written");
    app.advance(3 * DAY);
    assert_eq!(browser.get("/get-session").await.json()["user"]["email"], ADA);
    app.advance(MILLISECOND);
    assert_snapshot!(browser.get("/get-session").await, @"200 null");
    assert_eq!(app.rows("session").await.len(), 0);
}

#[tokio::test]
async fn a_lifetime_shorter_than_the_usual_one_is_the_lifetime() {
    let app = TestApp::with_config(|config| config.session.max_lifetime = Some(3_600)).await;
    let browser = app.browser();
    let body = json!({ "name": "Ada", "email": ADA, "password": PASSWORD });
    assert_eq!(max_age(&browser.post("/sign-up/email", body).await.cookies()), Some("3600"));
    assert_snapshot!(app.rows("session").await, @r#"{"id":"[id]","expiresAt":"[now+1h]","token":"[token]","createdAt":"[now]","updatedAt":"[now]","ipAddress":"127.0.0.1","userAgent":"testkit","userId":"[id]"}"#);
    let short = app.browser();
    let mut body = credentials();
    body["rememberMe"] = json!(false);
    let _ = short.post("/sign-in/email", body).await.expecting(200);
    app.advance(Duration::from_hours(1));
    let rows = app.rows("session").await.to_vec();
    for browser in [&browser, &short] {
        assert_eq!(browser.get("/get-session").await.json()["user"]["email"], ADA);
    }
    assert_eq!(app.rows("session").await.to_vec(), rows);
    app.advance(MILLISECOND);
    for browser in [&browser, &short] {
        assert_eq!(browser.get("/get-session").await.json(), Value::Null);
    }
}

#[tokio::test]
async fn sessions_from_before_the_option_are_judged_by_their_age() {
    let before = TestApp::new().await;
    let browser = ada(&before).await;
    let cookies = browser.cookies();
    let app = TestApp::builder()
        .database(before.database())
        .seed(2)
        .config(|config| {
            config.session.max_lifetime = Some(3_600);
            config.session.fresh_age = 0;
        })
        .build()
        .await;
    let get = async |path: &str| app.browser().get(path).header("cookie", &cookies).await;
    app.advance(Duration::from_hours(1));
    assert_snapshot!(get("/list-sessions").await, @r#"200 []"#);
    assert_eq!(get("/get-session").await.json()["session"]["expiresAt"], app_now(&app));
    let headers =
        [("cookie".parse().expect("a name"), cookies.parse().expect("a value"))].into_iter().collect();
    assert!(app.auth().session(&headers).await.expect("an answer").is_some());
    app.advance(MILLISECOND);
    assert!(app.auth().session(&headers).await.expect("an answer").is_none());
    assert_snapshot!(get("/list-sessions").await, @r#"401 {"message":"Unauthorized","code":"UNAUTHORIZED"}"#);
    assert_snapshot!(get("/get-session").await, @"200 null");
}

fn app_now(app: &TestApp) -> Value {
    use narthex::Clock as _;
    json!(app.clock().now())
}

#[tokio::test]
async fn a_post_is_not_due_where_nothing_can_be_prolonged() {
    let app = TestApp::with_config(|config| {
        config.session.max_lifetime = Some(3_600);
        config.session.defer_session_refresh = true;
    });
    let app = app.await;
    let browser = ada(&app).await;
    app.advance(Duration::from_mins(30));
    assert_eq!(browser.get("/get-session").await.json()["needsRefresh"], false);
}

#[tokio::test]
async fn a_lifetime_of_nothing_is_a_mistake() {
    let error = TestApp::builder().config(|config| config.session.max_lifetime = Some(0)).try_build().await;
    let problems = error.err().expect("a mistake").problems;
    assert_eq!(problems, ["session.max-lifetime = 0: must be at least 1; leave it out for no limit"]);
}
