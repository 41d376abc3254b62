//! A reply, and the ways a test looks at it.

use crate::{app::Failures, redact::Redactor};
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use serde_json::Value;
use std::{fmt, fmt::Write as _, sync::Arc};

/// A reply to a [`Call`](crate::Call). Shown as `200 {"token":"[token]"}`, for inline snapshots.
#[must_use = "a reply that nobody looks at tests nothing"]
pub struct Exchange {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    redactor: Redactor,
    failures: Arc<Failures>,
    failure: Option<u64>,
}

impl Exchange {
    pub(crate) fn new(
        line: &str,
        response: Response<Bytes>,
        redactor: Redactor,
        failures: Arc<Failures>,
    ) -> Self {
        let (parts, body) = response.into_parts();
        let failure = parts
            .status
            .is_server_error()
            .then(|| failures.add(format!("{line} was answered {}", parts.status)));
        Self { status: parts.status, headers: parts.headers, body, redactor, failures, failure }
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// Fails unless the status is this one. A server error that is expected does not fail the test.
    pub fn expecting(mut self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        if let Some(failure) = self.failure.take() {
            self.failures.forgive(failure);
        }
        self
    }

    /// All headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// One header; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header is text"))
    }

    /// The `Set-Cookie` lines, redacted.
    pub fn cookies(&self) -> Vec<String> {
        let lines = self.headers.get_all("set-cookie").iter();
        lines
            .map(|line| self.redactor.header("set-cookie", line.to_str().expect("a cookie is text")))
            .collect()
    }

    /// The body as it came.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).expect("a body is UTF-8")
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// Status, headers and body, redacted.
    pub fn in_full(&self) -> String {
        let mut text = self.status.as_str().to_owned();
        for (name, value) in &self.headers {
            let value = self.redactor.header(name.as_str(), value.to_str().expect("a header is text"));
            let _ = write!(text, "\n{name}: {value}");
        }
        let _ = write!(text, "\n\n{}", self.redactor.text(&self.text()));
        text
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.status.as_str())?;
        match self.redactor.text(&self.text()) {
            body if body.is_empty() => Ok(()),
            body => write!(f, " {body}"),
        }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_full())
    }
}
