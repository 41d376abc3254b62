//! What is answered, whatever connection it came by: the engine's endpoints, and around them what only a server on
//! the open internet needs.

use super::{activity::Activity, connection::CLOSING, cors::Cors, stop::Stop};
use crate::{metrics::Scrape, traces};
use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderValue, Method, Request, StatusCode, Version,
    header::{
        ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, LOCATION, RETRY_AFTER,
        STRICT_TRANSPORT_SECURITY,
    },
    request::Parts,
};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::{Bytes, Incoming};
use narthex::{Auth, http::Peer};
use opentelemetry::trace::FutureExt as _;
use std::{
    error::Error,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::sleep;

/// For whoever operates the server; never redirected, never counted, for no page.
const HEALTH: &str = "/health";
const READY: &str = "/ready";
const METRICS: &str = "/metrics";

/// How the requests of one listener are answered.
pub(crate) struct Handler {
    pub(crate) auth: Auth,
    pub(crate) cors: Option<Cors>,
    /// How long the body of a request may take to come.
    pub(crate) body_timeout: Duration,
    /// The value of `Strict-Transport-Security`, where TLS ends.
    pub(crate) hsts: Option<HeaderValue>,
    pub(crate) purpose: Purpose,
}

/// What a listener is for.
pub(crate) enum Purpose {
    /// Everything but metrics.
    Everything,
    /// To say where everything is: scheme, host and port.
    Redirect(String),
    /// `/metrics`, and nothing else.
    Metrics(Arc<Scrape>),
}

/// One connection's view of it.
pub(super) struct Visit {
    handler: Arc<Handler>,
    activity: Arc<Activity>,
    stop: Arc<Stop>,
    peer: Peer,
}

/// A request that is being answered.
pub(super) struct Begun(Arc<Visit>);

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.activity.end();
    }
}

impl Visit {
    pub(super) fn new(handler: Arc<Handler>, activity: Arc<Activity>, stop: Arc<Stop>, peer: Peer) -> Self {
        Self { handler, activity, stop, peer }
    }

    pub(super) fn activity(&self) -> &Activity {
        &self.activity
    }

    pub(super) fn peer(&self) -> Peer {
        self.peer
    }

    pub(super) fn begin(self: &Arc<Self>) -> Begun {
        self.activity.begin();
        Begun(Arc::clone(self))
    }
}

impl Begun {
    pub(super) async fn answer(self, request: Request<Incoming>) -> Response {
        let Visit { handler, activity, stop, .. } = &*self.0;
        let (is_head, version) = (*request.method() == Method::HEAD, request.version());
        let is_answered_unread =
            !matches!(handler.purpose, Purpose::Everything) || request.uri().path() == METRICS;
        if is_answered_unread && !request.body().is_end_stream() {
            activity.leave_unread();
        }
        let mut response = match (&handler.purpose, request.uri().path()) {
            (Purpose::Metrics(scrape), METRICS) => match for_operators(request.method()) {
                Some(refusal) => refusal,
                None => Arc::clone(scrape).answer().await,
            },
            // What is counted is no business of those who are.
            (Purpose::Metrics(_), _) | (_, METRICS) => StatusCode::NOT_FOUND.into_response(),
            (_, HEALTH) => for_operators(request.method()).unwrap_or_else(|| StatusCode::OK.into_response()),
            (_, READY) => match for_operators(request.method()) {
                Some(refusal) => refusal,
                None if handler.auth.is_ready().await => StatusCode::OK.into_response(),
                None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            },
            (Purpose::Redirect(elsewhere), _) => redirect(elsewhere, &request),
            (Purpose::Everything, _) => match traces::context(request.headers()) {
                Some(trace) => Box::pin(self.endpoint(request).with_context(trace)).await,
                None => self.endpoint(request).await,
            },
        };
        if let Some(value) = &handler.hsts {
            response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, value.clone());
        }
        if stop.is_told() && version <= Version::HTTP_11 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        measure(&mut response, is_head);
        response
    }

    async fn endpoint(&self, request: Request<Incoming>) -> Response {
        let Some(cors) = &self.0.handler.cors else {
            return self.engine(request).await;
        };
        if let Some(answer) = cors.preflight(&request) {
            return answer;
        }
        let origin = cors.allowed(request.headers()).cloned();
        let mut response = self.engine(request).await;
        cors.mark(origin, response.headers_mut());
        response
    }

    async fn engine(&self, request: Request<Incoming>) -> Response {
        let Visit { handler, activity, stop, peer } = &*self.0;
        let version = request.version();
        let (mut parts, body) = request.into_parts();
        if version == Version::HTTP_2 {
            name_host(&mut parts);
        }
        parts.extensions.insert(*peer);
        if body.is_end_stream() {
            return handler.auth.answer(Request::from_parts(parts, Body::empty())).await;
        }
        let late = Arc::new(OnceLock::new());
        let body = Timed {
            incoming: body,
            patience: handler.body_timeout,
            deadline: None,
            has_ended: false,
            late: Arc::clone(&late),
            activity: Arc::clone(activity),
            stop: Arc::clone(stop),
        };
        let response = handler.auth.answer(Request::from_parts(parts, Body::new(body))).await;
        // The engine only knows that the body did not end well.
        late.get().map_or(response, |late| late.answer(version))
    }
}

/// `GET` and `HEAD` are answered, and nothing else.
fn for_operators(method: &Method) -> Option<Response> {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    (!is_read).then(|| (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET,HEAD")]).into_response())
}

/// The same path with TLS. The host is the configured one, whatever the request says, so it can lead nowhere else.
///
/// Only what a person types is led there. Anything else has sent its passwords for everybody to read, and a redirect
/// would make it look as if that were fine.
fn redirect(elsewhere: &str, request: &Request<Incoming>) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let text = r#"{"message":"This is answered over https only, and what was sent could be read on its way. Use https.","code":"HTTPS_REQUIRED"}"#;
        return refusal(StatusCode::FORBIDDEN, text, request.version());
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    // `OPTIONS *` has no place.
    let path = if path.starts_with('/') { path } else { "/" };
    match HeaderValue::try_from(format!("{elsewhere}{path}")) {
        Ok(location) => (StatusCode::PERMANENT_REDIRECT, [(LOCATION, location)]).into_response(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// Why a body is not waited for any longer.
#[derive(Debug, Clone, Copy)]
enum Late {
    Slow,
    /// The server stops, and whoever has not asked completely has been promised nothing.
    Stopping,
}

impl Late {
    async fn after(patience: Duration, stop: Arc<Stop>) -> Self {
        let stopping = async {
            stop.told().await;
            sleep(CLOSING).await;
        };
        tokio::select! {
            () = sleep(patience) => Self::Slow,
            () = stopping => Self::Stopping,
        }
    }

    fn answer(self, version: Version) -> Response {
        let (status, body) = match self {
            Self::Slow => (
                StatusCode::REQUEST_TIMEOUT,
                r#"{"message":"The request body did not arrive in time","code":"REQUEST_TIMEOUT"}"#,
            ),
            Self::Stopping => (
                StatusCode::SERVICE_UNAVAILABLE,
                r#"{"message":"The server is stopping. Try again shortly.","code":"SERVICE_UNAVAILABLE"}"#,
            ),
        };
        let mut response = refusal(status, body, version);
        if matches!(self, Self::Stopping) {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// The last answer of a connection.
fn refusal(status: StatusCode, body: &'static str, version: Version) -> Response {
    let mut response = (status, body).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if version <= Version::HTTP_11 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// HTTP/2 has the host in another place. Whoever looks for it where HTTP/1.1 has it is to find it.
fn name_host(parts: &mut Parts) {
    if let Some(authority) = parts.uri.authority()
        && let Ok(host) = HeaderValue::try_from(authority.as_str())
    {
        parts.headers.insert(HOST, host);
    }
}

/// A reply says how long it is, also where a `HEAD` leaves it out.
fn measure(response: &mut Response, is_head: bool) {
    if let Some(length) = response.size_hint().exact()
        && !response.headers().contains_key(CONTENT_LENGTH)
    {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    if is_head {
        *response.body_mut() = Body::empty();
    }
}

/// A body that must have come within a time. Most come with their heads and need no timer.
struct Timed {
    incoming: Incoming,
    patience: Duration,
    deadline: Option<Pin<Box<dyn Future<Output = Late> + Send>>>,
    has_ended: bool,
    late: Arc<OnceLock<Late>>,
    activity: Arc<Activity>,
    stop: Arc<Stop>,
}

impl http_body::Body for Timed {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) {
            this.has_ended = frame.is_none();
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if this.late.get().is_none() {
            let (patience, stop) = (this.patience, &this.stop);
            let deadline =
                this.deadline.get_or_insert_with(|| Box::pin(Late::after(patience, Arc::clone(stop))));
            let late = ready!(deadline.as_mut().poll(cx));
            this.late.get_or_init(|| late);
        }
        Poll::Ready(Some(Err("the body did not arrive in time".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        if !self.has_ended && !self.incoming.is_end_stream() {
            self.activity.leave_unread();
        }
    }
}
