//! The engine as an axum router.

use super::Peer;
use crate::auth::Auth;
use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    response::Response,
};
use bytes::Bytes;
use http::{StatusCode, header::CONTENT_LENGTH};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Limited};
use std::net::SocketAddr;

/// The largest body that is read; nothing we take is nearly as large.
pub const MAX_BODY: usize = 1 << 20;

impl Auth {
    /// Routes that answer everything below the base path; an application nests them among its own.
    ///
    /// Serve it with `into_make_service_with_connect_info::<SocketAddr>()`, which tells sessions where they come from.
    pub fn router(&self) -> Router {
        let top = format!("{}/", self.base_path());
        let answer = axum::routing::any(async |State(auth): State<Self>, request| auth.answer(request).await);
        Router::new()
            .route(&format!("{top}{{*path}}"), answer.clone())
            .route(&top, answer)
            .with_state(self.clone())
    }

    /// Answers one of axum's requests: for a fallback, which costs less than a route when there is nothing else.
    pub async fn answer(&self, mut request: Request) -> Response {
        if let Some(ConnectInfo(address)) = request.extensions().get::<ConnectInfo<SocketAddr>>().copied() {
            request.extensions_mut().insert(Peer(address));
        }
        let (parts, body) = request.into_parts();
        let declared =
            parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if declared.is_some_and(|length: u64| length > MAX_BODY as u64) {
            return too_large();
        }
        let body = if body.is_end_stream() {
            Bytes::new()
        } else {
            match Limited::new(body, MAX_BODY).collect().await {
                Ok(body) => body.to_bytes(),
                Err(_) => return too_large(),
            }
        };
        self.handle(http::Request::from_parts(parts, body)).await.map(Body::from)
    }
}

fn too_large() -> Response {
    let mut response = Response::new(Body::from(
        r#"{"message":"The request body is too large","code":"PAYLOAD_TOO_LARGE"}"#,
    ));
    *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}
