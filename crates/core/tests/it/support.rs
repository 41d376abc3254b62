//! People and steps that many tests share.

use narthex_testkit::{Browser, TestApp};
use serde_json::json;
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

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

/// Speaks HTTP to the axum router over a socket.
fn exchange(address: SocketAddr, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.write_all(head.as_bytes()).expect("the head is taken");
    // The server may answer, and close, before it has read everything.
    let _ = stream.write_all(body);
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    String::from_utf8_lossy(&reply).into_owned()
}

pub(crate) async fn over_tcp(app: &TestApp, head: String, body: Vec<u8>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let service = app.auth().router().into_make_service_with_connect_info::<SocketAddr>();
    let client = tokio::task::spawn_blocking(move || exchange(address, &head, &body));
    tokio::select! {
        outcome = async { axum::serve(listener, service).await } => panic!("the server ended: {outcome:?}"),
        reply = client => reply.expect("the client has ended"),
    }
}
