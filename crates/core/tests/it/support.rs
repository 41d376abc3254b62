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
