//! The engine as an axum router.

use super::{Peer, bodies};
use crate::auth::Auth;
use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    response::Response,
};
use http::{
    HeaderValue, Version,
    header::{CONNECTION, CONTENT_LENGTH, EXPECT},
};
use http_body::Body as _;
use std::net::SocketAddr;

impl Auth {
    /// Routes that answer everything below the base path, and every alias elsewhere; an application nests them among its
    /// own.
    ///
    /// Serve it with `into_make_service_with_connect_info::<SocketAddr>()`, which tells sessions where they come from; on a
    /// Unix socket, put [`Peer::Local`] into each request's extensions.
    pub fn router(&self) -> Router {
        let top = format!("{}/", self.base_path());
        let answer = axum::routing::any(async |State(auth): State<Self>, request| auth.answer(request).await);
        let router =
            Router::new().route(&format!("{top}{{*path}}"), answer.clone()).route(&top, answer.clone());
        let elsewhere = self.engine.aliases.paths().filter(|path| !path.starts_with(&top));
        elsewhere.fold(router, |router, path| router.route(path, answer.clone())).with_state(self.clone())
    }

    /// Answers one of axum's requests: for a fallback, which costs less than a route when there is nothing else.
    ///
    /// Its body is read once it is wanted. Where it is not, and more of it is to come than has come, the answer ends the
    /// connection.
    pub async fn answer(&self, mut request: Request) -> Response {
        if let Some(ConnectInfo(address)) = request.extensions().get::<ConnectInfo<SocketAddr>>().copied() {
            request.extensions_mut().insert(Peer::Address(address));
        }
        let (parts, mut body) = request.into_parts();
        let declared =
            parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        // To take the first of it would be to ask for the rest.
        let waits_to_be_asked = parts.headers.contains_key(EXPECT);
        let is_http1 = parts.version <= Version::HTTP_11;
        let reading = bodies::read(&mut body, declared, &self.engine.bodies);
        let mut response = self.handle_reading(parts, reading).await.map(Body::from);
        let is_read = body.is_end_stream() || !waits_to_be_asked && bodies::skim(&mut body).await;
        if is_http1 && !is_read {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
