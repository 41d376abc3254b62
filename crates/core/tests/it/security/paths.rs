//! One way to write a path: what a proxy, a limit or a hook might read differently is nobody's route.

use crate::support::{ada, credentials};
use http::Method;
use narthex_testkit::TestApp;

#[tokio::test]
async fn ghsa_x732_6j76_qmhm_no_other_spelling_of_a_path_reaches_an_endpoint() {
    let app = TestApp::new().await;
    ada(&app).await;
    let browser = app.browser();
    for path in [
        "//sign-in/email",
        "/sign-in//email",
        "/sign-in/email/",
        "/sign-in/email//",
        "/./sign-in/email",
        "/sign-in/./email",
        "/sign-in/../sign-in/email",
        "/sign-up/../sign-in/email",
        "/sign-in%2femail",
        "/sign-in%2Femail",
        "/sign%2din/email",
        "/%73ign-in/email",
        "/sign-in/email%00",
        "/sign-in/email%20",
        "/sign-in/email;x=1",
        "/Sign-In/Email",
        "/SIGN-IN/EMAIL",
        "/sign-in\\email",
        "/sign-in/email.json",
        "/sign-in/email/x",
    ] {
        let Ok(_) = path.parse::<http::Uri>() else { continue };
        let reply = browser.post(path, credentials()).await;
        assert_eq!((reply.status(), reply.text().as_str()), (404, ""), "{path}");
    }
    assert_eq!(app.auth().hashes(), 1, "only the sign-up has hashed");
    assert_eq!(browser.post("/sign-in/email?x=1", credentials()).await.status(), 200);
}

#[tokio::test]
async fn the_base_path_is_matched_exactly() {
    let app = TestApp::new().await;
    let auth = app.auth();
    for path in [
        "/ok",
        "/api/ok",
        "/api/authok",
        "/api/auth-x/ok",
        "//api/auth/ok",
        "/API/AUTH/ok",
        "/api//auth/ok",
        "/x/api/auth/ok",
    ] {
        let request = http::Request::builder().method(Method::GET).uri(path).body(bytes::Bytes::new());
        assert_eq!(auth.handle(request.expect("a request")).await.status(), 404, "{path}");
    }
    let absolute = http::Request::get("http://evil.example/api/auth/ok").body(bytes::Bytes::new());
    assert_eq!(
        auth.handle(absolute.expect("a request")).await.status(),
        200,
        "a proxy's form of the same path"
    );
}
