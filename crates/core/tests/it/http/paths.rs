//! Paths that are switched off, and slashes at their end.

use crate::support::{ada, credentials};
use http::Method;
use insta::assert_snapshot;
use narthex_testkit::TestApp;
use serde_json::json;

#[tokio::test]
async fn a_path_that_is_switched_off_is_not_there_whatever_the_method() {
    let app = TestApp::with_config(|config| {
        config.disabled_paths = vec!["/sign-up/email".to_owned(), "/no-endpoint".to_owned()];
    })
    .await;
    let browser = app.browser();
    let body = json!({ "name": "Ada", "email": "ada@example.com", "password": "correct horse" });
    assert_snapshot!(browser.post("/sign-up/email", body).await.in_full(), @r"
    404
    content-type: text/plain;charset=UTF-8

    Not Found
    ");
    for path in ["/sign-up/email", "/sign-up/email/", "/sign-up/email//", "/no-endpoint"] {
        for method in [Method::GET, Method::PUT, Method::OPTIONS] {
            let reply = browser.request(method.clone(), path).await;
            assert_eq!((reply.status(), reply.text().as_str()), (404, "Not Found"), "{method} {path}");
        }
    }
    assert_eq!((app.auth().hashes(), app.rows("user").await.len()), (0, 0));
    assert_eq!(browser.get("/ok").await.status(), 200);
}

#[tokio::test]
async fn a_slash_at_the_end_means_nothing_only_where_the_option_says_so() {
    let app = TestApp::with_config(|config| config.advanced.skip_trailing_slashes = true).await;
    ada(&app).await;
    let browser = app.browser();
    assert_eq!(browser.get("/ok/").await.status(), 200);
    assert_eq!(browser.post("/sign-in/email/", credentials()).await.status(), 200);
    for path in ["/ok//", "//ok/", "/ok///", "/", "//"] {
        assert_eq!(browser.get(path).await.status(), 404, "{path}");
    }
    let strict = TestApp::new().await;
    assert_eq!(strict.browser().get("/ok/").await.status(), 404);
}

#[tokio::test]
async fn endpoints_can_be_at_the_root() {
    let app = TestApp::with_config(|config| config.base_path = "/".to_owned()).await;
    assert_eq!(app.auth().base_path(), "");
    assert_snapshot!(app.browser().get("/ok").await, @r#"200 {"ok":true}"#);
}

#[tokio::test]
async fn every_mistake_about_paths_and_limits_is_reported_with_what_would_be_right() {
    let mistakes = TestApp::builder().config(|config| {
        config.disabled_paths = vec!["sign-up/email".to_owned(), "/ok/".to_owned()];
        config.rate_limit.window = 0;
        config.rate_limit.max = 0;
        config.rate_limit.storage = Some(narthex::RateLimitStorage::SecondaryStorage);
        let rate = narthex::Rate { max: 0, window: 0 };
        config.rate_limit.custom_rules = narthex::CustomRules(vec![("sign-in".to_owned(), Some(rate))]);
        config.advanced.ip_address.ipv6_subnet = 129;
        config.advanced.ip_address.ip_address_headers = vec!["a header".to_owned()];
        config.advanced.trusted_proxies = Some(vec!["nobody".to_owned()]);
        config.advanced.ip_address.trusted_proxies = Some(Vec::new());
        config.on_api_error.error_url = Some("//evil.example".to_owned());
    });
    let Err(error) = mistakes.try_build().await else { panic!("it was built") };
    assert_snapshot!(error, @r#"
    rate-limit.storage = "secondary-storage": there is none; set secondary-storage.url, or count in "memory" or "database"
    advanced.trusted-proxies = "nobody": expected an IP address or a range such as 10.0.0.0/8
    advanced.ip-address.ipv6-subnet = 129: must be 0 to 128
    advanced.ip-address.ip-address-headers: "a header" must be the name of a header, such as "x-forwarded-for"
    advanced.ip-address.trusted-proxies: is another name of advanced.trusted-proxies; set one of them
    rate-limit.window = 0: must be at least 1
    rate-limit.max = 0: must be at least 1
    rate-limit.custom-rules."sign-in".window = 0: must be at least 1
    rate-limit.custom-rules."sign-in".max = 0: must be at least 1
    rate-limit.custom-rules."sign-in": must be a path below the base path, such as "/sign-in/*"
    on-api-error.error-url = "//evil.example": must be a URL, or a path that begins with one /
    disabled-paths: "sign-up/email" must be a path below the base path, such as "/sign-up/email"
    disabled-paths: "/ok/" must be a path below the base path, such as "/sign-up/email"
    "#);
}
