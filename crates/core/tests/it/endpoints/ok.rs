//! `/ok`, and what is no endpoint.

use http::Method;
use insta::assert_snapshot;
use narthex_testkit::TestApp;
use serde_json::json;

#[tokio::test]
async fn the_server_says_that_it_can_be_reached() {
    let app = TestApp::new().await;
    assert_snapshot!(app.browser().get("/ok").await.in_full(), @r#"
    200
    content-type: application/json

    {"ok":true}
    "#);
}

#[tokio::test]
async fn another_method_or_path_is_not_found_and_has_no_body() {
    let app = TestApp::new().await;
    let browser = app.browser();
    assert_snapshot!(browser.post("/ok", json!({})).await.in_full(), @"404");
    for (method, path) in [
        (Method::HEAD, "/ok"),
        (Method::OPTIONS, "/ok"),
        (Method::DELETE, "/ok"),
        (Method::GET, "/nope"),
        (Method::GET, "/"),
        (Method::GET, ""),
        (Method::GET, "/ok/more"),
    ] {
        let reply = browser.request(method.clone(), path).await;
        assert_eq!((reply.status(), reply.text().as_str()), (404, ""), "{method} {path}");
    }
}

#[tokio::test]
async fn the_base_path_can_be_moved_and_a_path_in_the_base_url_wins() {
    let app = TestApp::with_config(|config| config.base_path = "/auth/v1".to_owned()).await;
    assert_eq!(app.auth().base_path(), "/auth/v1");
    assert_snapshot!(app.browser().get("/ok").await, @r#"200 {"ok":true}"#);

    let app = TestApp::with_config(|config| config.base_url = "http://localhost:3001/here".to_owned()).await;
    assert_eq!(app.auth().base_path(), "/here");
    assert_snapshot!(app.browser().get("/ok").await, @r#"200 {"ok":true}"#);
}
