//! What one request costs before anything is known about it.

use bytes::Bytes;
use http::Request;
use narthex_testkit::TestApp;

/// What is being done for a request is moved several times before it is done. It was 13 KB when it had room for every
/// statement that some request may need, and a session check took half as long again.
#[tokio::test]
async fn a_request_carries_no_room_for_what_few_requests_need() {
    let app = TestApp::with_config(|config| config.rate_limit.enabled = Some(true)).await;
    let request = Request::get("http://localhost:3000/api/auth/get-session").body(Bytes::new());
    let answering = app.auth().handle(request.expect("a request"));
    let bytes = size_of_val(&answering);
    assert!(bytes < 2_500, "{bytes} bytes; box what waits for a database");
    assert_eq!(answering.await.status(), 200);
}
