//! Cross-origin requests: what a browser has to be told before it lets a page of another origin read our answers.
//!
//! Narrower than a general layer: only exact origins, which all may send cookies; nothing is said to anybody else, and
//! only what is a preflight is answered as one. Every other answer passes through, refusals too, or the page could not
//! read why it was refused.

use crate::settings::CorsOptions;
use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};

/// What endpoints of Better Auth and of its plugins take.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");
/// What its client and its plugins send, or tell applications to send: bodies, bearer tokens, API keys and captchas;
/// and what tracing adds by itself to every request.
const HEADERS: &str = "content-type, authorization, x-api-key, x-captcha-response, x-requested-with, cache-control, \
     traceparent, tracestate, baggage";
/// Tokens of the bearer and jwt plugins, and when to come back.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("set-auth-token, set-auth-jwt, x-retry-after, retry-after");
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// The configured origins, and what is said to them.
pub(crate) struct Cors {
    origins: Vec<HeaderValue>,
    headers: HeaderValue,
    max_age: HeaderValue,
}

impl Cors {
    /// Nothing when no origin is allowed: then no reply changes.
    pub(crate) fn new(options: &CorsOptions) -> Option<Self> {
        let origins =
            options.origins.iter().flatten().filter_map(|origin| HeaderValue::try_from(origin).ok());
        let origins: Vec<_> = origins.collect();
        if origins.is_empty() {
            return None;
        }
        let mut headers = HEADERS.to_owned();
        for name in &options.allowed_headers {
            headers.push_str(", ");
            headers.push_str(&name.to_lowercase());
        }
        Some(Self {
            origins,
            // Checked to be names when it was read.
            headers: HeaderValue::try_from(headers).unwrap_or(HeaderValue::from_static(HEADERS)),
            max_age: options.max_age.into(),
        })
    }

    /// The origin of a request, if it is one of ours.
    pub(super) fn allowed<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        headers.get(ORIGIN).filter(|origin| self.origins.contains(origin))
    }

    /// The answer to a browser that asks what a page may send. Whoever else sends `OPTIONS` means something else.
    pub(super) fn preflight<B>(&self, request: &Request<B>) -> Option<Response> {
        let headers = request.headers();
        let is_preflight = *request.method() == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !is_preflight {
            return None;
        }
        let mut response: Response<Body> = StatusCode::NO_CONTENT.into_response();
        let answer = response.headers_mut();
        if let Some(origin) = self.allowed(headers) {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
            answer.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, self.headers.clone());
            answer.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        }
        // To others too: a cache must not give the one's answer to the other.
        answer.insert(VARY, HeaderValue::from_static("Origin"));
        Some(response)
    }

    /// Lets the page at `origin` read an answer.
    pub(super) fn mark(&self, origin: Option<HeaderValue>, headers: &mut HeaderMap) {
        headers.append(VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}
