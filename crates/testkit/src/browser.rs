//! A browser that calls the engine in process: it keeps cookies and says from which origin it calls.

use crate::{app::Failures, app::SECRET, exchange::Exchange, redact::Redactor, world::FixedClock};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use narthex::{Auth, BoxFuture, Clock as _, http::Peer};
use serde_json::Value;
use std::{
    future::IntoFuture,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

/// A browser with its cookies. Clones share them.
#[derive(Clone)]
pub struct Browser {
    auth: Auth,
    clock: FixedClock,
    failures: Arc<Failures>,
    origin: String,
    jar: Arc<Mutex<Vec<(String, String)>>>,
}

impl Browser {
    pub(crate) fn new(auth: Auth, clock: FixedClock, failures: Arc<Failures>, origin: String) -> Self {
        Self { auth, clock, failures, origin, jar: Arc::default() }
    }

    /// `GET` of a path below the base path.
    pub fn get(&self, path: &str) -> Call {
        self.request(Method::GET, path)
    }

    /// `POST` of JSON to a path below the base path.
    #[expect(clippy::needless_pass_by_value, reason = "tests hand over what `json!` has just made")]
    pub fn post(&self, path: &str, body: Value) -> Call {
        self.request(Method::POST, path).json(&body)
    }

    /// Any request to a path below the base path; `.await` sends it.
    pub fn request(&self, method: Method, path: &str) -> Call {
        let target = format!("{}{path}", self.auth.base_path());
        let mut call =
            Call { browser: self.clone(), method, target, headers: HeaderMap::new(), body: Bytes::new() };
        call = call.header("host", self.origin.split_once("://").map_or("", |(_, host)| host));
        call = call.header("origin", &self.origin).header("user-agent", "testkit");
        match self.cookies().as_str() {
            "" => call,
            cookies => call.header("cookie", cookies),
        }
    }

    /// The `Cookie` header it sends.
    pub fn cookies(&self) -> String {
        self.lock().iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    /// The value of a cookie as it is sent.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.lock().iter().find_map(|(other, value)| (other == name).then(|| value.clone()))
    }

    /// Puts a cookie into the jar, as a script on the page could.
    pub fn set_cookie(&self, name: &str, value: &str) {
        let mut jar = self.lock();
        jar.retain(|(other, _)| other != name);
        jar.push((name.to_owned(), value.to_owned()));
    }

    /// Empties the jar.
    pub fn forget_cookies(&self) {
        self.lock().clear();
    }

    /// As browsers do, but that nothing expires on its own: a session's end has to be the server's decision.
    fn keep(&self, line: &str) {
        let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
        let (name, value) = pair.split_once('=').expect("a cookie has a name and a value");
        if attributes.split(';').any(|attribute| attribute.trim().eq_ignore_ascii_case("max-age=0")) {
            self.lock().retain(|(other, _)| other != name);
        } else {
            self.set_cookie(name, value);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(String, String)>> {
        self.jar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request being made; `.await` sends it.
#[must_use = "a request is sent by `.await`"]
pub struct Call {
    browser: Browser,
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    /// Asks for another path, which need not be below the base path.
    pub fn at(mut self, path: &str) -> Self {
        path.clone_into(&mut self.target);
        self
    }

    /// Sets a header, in place of what the browser would send.
    pub fn header(self, name: &str, value: &str) -> Self {
        self.header_bytes(name, value.as_bytes())
    }

    /// Sets a header that need not be text.
    pub fn header_bytes(mut self, name: &str, value: &[u8]) -> Self {
        let name: HeaderName = name.parse().expect("a header name");
        self.headers.insert(name, HeaderValue::from_bytes(value).expect("a header value"));
        self
    }

    /// One more line of a header that may be there already.
    pub fn and_header(self, name: &str, value: &str) -> Self {
        self.and_header_bytes(name, value.as_bytes())
    }

    /// One more line of a header that may be there already and need not be text.
    pub fn and_header_bytes(mut self, name: &str, value: &[u8]) -> Self {
        let name: HeaderName = name.parse().expect("a header name");
        self.headers.append(name, HeaderValue::from_bytes(value).expect("a header value"));
        self
    }

    /// Leaves a header out that the browser would send.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    /// A JSON body.
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// A form body.
    pub fn form(self, body: &str) -> Self {
        self.body("application/x-www-form-urlencoded", body.to_owned())
    }

    /// Any body.
    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self = self.header(header::CONTENT_TYPE.as_str(), content_type);
        self.body = body.into();
        self
    }

    async fn send(self) -> Exchange {
        let line = format!("{} {}", self.method, self.target);
        let mut request = Request::new(self.body);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.target.parse().expect("a path");
        *request.headers_mut() = self.headers;
        request.extensions_mut().insert(Peer::Address(SocketAddr::from((Ipv4Addr::LOCALHOST, 50_000))));
        let response = self.browser.auth.handle(request).await;
        for cookie in response.headers().get_all(header::SET_COOKIE) {
            self.browser.keep(cookie.to_str().expect("a cookie is text"));
        }
        let redactor = Redactor::new(self.browser.clock.now(), SECRET);
        Exchange::new(&line, response, redactor, Arc::clone(&self.browser.failures))
    }
}

impl IntoFuture for Call {
    type Output = Exchange;
    type IntoFuture = BoxFuture<'static, Exchange>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
