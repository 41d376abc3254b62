//! What several tests need.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use narthex_plugins::Plugins;
use narthex_testkit::{Browser, Builder, TestApp};
use serde_json::{Value, json};

pub(crate) const ADA: &str = "ada@example.com";

/// An app with the plugins of this configuration, in their order.
pub(crate) fn with(plugins: Value) -> Builder {
    let plugins: Plugins = serde_json::from_value(plugins).expect("a configuration");
    TestApp::builder().install(move |builder| plugins.install(builder))
}

/// Somebody who has just signed up.
pub(crate) async fn signed_up(app: &TestApp, email: &str) -> Browser {
    let browser = app.browser();
    let body = json!({ "name": "Ada", "email": email, "password": "correct horse battery" });
    let reply = browser.post("/sign-up/email", body).await;
    assert_eq!(reply.status(), 200, "{reply}");
    browser
}

/// A part of a token, not believed.
pub(crate) fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).expect("a token has three parts");
    let text = URL_SAFE_NO_PAD.decode(part).expect("a part is base64");
    serde_json::from_slice(&text).expect("a part is JSON")
}

/// The token of whoever this browser is signed in as.
pub(crate) async fn token(browser: &Browser) -> String {
    let reply = browser.get("/token").await;
    assert_eq!(reply.status(), 200, "{reply}");
    reply.json()["token"].as_str().expect("a token").to_owned()
}
