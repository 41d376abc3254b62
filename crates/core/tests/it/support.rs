//! People and steps that many tests share.

use narthex_testkit::{Browser, TestApp};
use serde_json::json;

/// Her address, in the form in which it is kept.
pub(crate) const ADA: &str = "ada@example.com";
/// Her password.
pub(crate) const PASSWORD: &str = "correct horse";

/// A browser in which Ada has signed up.
pub(crate) async fn ada(app: &TestApp) -> Browser {
    let browser = app.browser();
    let body = json!({ "name": "Ada", "email": ADA, "password": PASSWORD });
    let _ = browser.post("/sign-up/email", body).await.expecting(200);
    browser
}

/// The body with which she signs in.
pub(crate) fn credentials() -> serde_json::Value {
    json!({ "email": ADA, "password": PASSWORD })
}

/// Ada again, in another browser.
pub(crate) async fn again(app: &TestApp) -> Browser {
    let browser = app.browser();
    let _ = browser.post("/sign-in/email", credentials()).await.expecting(200);
    browser
}

/// What identifies the session of a browser.
pub(crate) fn token(browser: &Browser) -> String {
    let cookie = browser.cookie("better-auth.session_token").expect("signed in");
    cookie.split('.').next().unwrap_or_default().to_owned()
}

/// Whether a browser's session is one. Its cookies are left as they are, so that they can be tried again.
pub(crate) async fn is_signed_in(browser: &Browser) -> bool {
    let cookies = browser.cookies();
    let reply = browser.clone().get("/get-session?disableRefresh=true").header("cookie", &cookies).await;
    reply.json() != serde_json::Value::Null
}
