//! What goes back to the client. Redirects are replies too, not errors.

use super::encode_component;
use crate::{
    error::Error,
    input::{Described, Schema},
    plugin::Description,
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, LOCATION, SET_COOKIE},
};
use serde::Serialize;
use std::{fmt, marker::PhantomData};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A response being made.
#[derive(Clone)]
pub struct Reply {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

// The body of a sign-in holds a session's token.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Something a handler can return.
pub trait Replies: Send {
    /// The reply.
    fn into_reply(self) -> Reply;
    /// Adds what it says about the endpoint.
    fn describe(description: &mut Description);
}

impl Replies for Reply {
    fn into_reply(self) -> Reply {
        self
    }
    fn describe(_: &mut Description) {}
}

/// A 200 with a described body: an `output!` struct, or an `Option` of one for a body of `null`.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: Serialize + Described + Send> Replies for Json<T> {
    fn into_reply(self) -> Reply {
        Reply::json(&self.0)
    }
    fn describe(description: &mut Description) {
        description.reply = Some(if T::OMITTABLE { Schema::nullable(T::describe()) } else { T::describe() });
    }
}

/// A [`Reply`] whose body is a `T` when its status is 200: for handlers that have something to do with its bytes.
#[derive(Debug)]
pub struct ReplyOf<T>(Reply, PhantomData<fn() -> T>);

impl<T> ReplyOf<T> {
    /// Something else than a `T`, as the endpoint [says](crate::Endpoint::answers) besides.
    pub fn other(reply: Reply) -> Self {
        Self(reply, PhantomData)
    }
}

impl<T: Serialize> ReplyOf<T> {
    /// 200 with JSON.
    pub fn json(value: &T) -> Self {
        Self(Reply::json(value), PhantomData)
    }
}

impl<T> std::ops::Deref for ReplyOf<T> {
    type Target = Reply;

    fn deref(&self) -> &Reply {
        &self.0
    }
}

impl<T> std::ops::DerefMut for ReplyOf<T> {
    fn deref_mut(&mut self) -> &mut Reply {
        &mut self.0
    }
}

impl<T: Serialize + Described + Send> Replies for ReplyOf<T> {
    fn into_reply(self) -> Reply {
        self.0
    }
    fn describe(description: &mut Description) {
        Json::<T>::describe(description);
    }
}

/// `target` as a header: Latin-1 as it is, as upstream writes it, what lies beyond it percent-encoded. A target with
/// control characters would be another header, and is none.
pub(crate) fn location(target: &str) -> Option<HeaderValue> {
    let mut bytes = Vec::with_capacity(target.len());
    for character in target.trim_matches(['\t', '\n', '\r', ' ']).chars() {
        match u8::try_from(u32::from(character)) {
            Ok(byte) => bytes.push(byte),
            Err(_) => {
                bytes.extend_from_slice(encode_component(character.encode_utf8(&mut [0; 4])).as_bytes());
            }
        }
    }
    HeaderValue::from_bytes(&bytes).ok()
}

impl Reply {
    /// A status and nothing else.
    pub fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    /// 200 with JSON.
    pub fn json(value: &impl Serialize) -> Self {
        let mut body = Vec::with_capacity(768);
        match serde_json::to_writer(&mut body, value) {
            Ok(()) => Self { status: StatusCode::OK, headers: vec![(CONTENT_TYPE, JSON)], body: body.into() },
            Err(error) => Self::error(&Error::internal(error)),
        }
    }

    /// 302 to `target`.
    pub fn redirect(target: &str) -> Self {
        match location(target) {
            Some(target) => Self {
                status: StatusCode::FOUND,
                headers: vec![(CONTENT_TYPE, JSON), (LOCATION, target)],
                body: Bytes::new(),
            },
            None => Self::error(&Error::internal("a redirect target that no header can carry")),
        }
    }

    pub(crate) fn error(error: &Error) -> Self {
        #[derive(Serialize)]
        struct Shape<'a> {
            message: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            code: Option<&'static str>,
        }
        let shape = Shape { message: error.message(), code: error.code() };
        // Two strings can always be written.
        let body = serde_json::to_vec(&shape).unwrap_or_default();
        let mut headers = vec![(CONTENT_TYPE, JSON)];
        headers.extend(error.headers().iter().cloned());
        Self { status: error.status(), headers, body: body.into() }
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Replaces its body.
    pub fn set_body(&mut self, body: impl Into<Bytes>) {
        self.body = body.into();
    }

    /// Sets a header.
    pub fn set_header(&mut self, name: HeaderName, value: HeaderValue) {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value));
    }

    /// The finished response. Headers stand in alphabetical order, as upstream's do, cookies in the order they were
    /// set.
    pub(crate) fn into_response(
        mut self,
        more: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
        cookies: impl IntoIterator<Item = HeaderValue>,
    ) -> Response<Bytes> {
        for (name, value) in more {
            if self.headers.iter().all(|(other, _)| *other != name) {
                self.headers.push((name, value));
            }
        }
        self.headers.extend(cookies.into_iter().map(|cookie| (SET_COOKIE, cookie)));
        self.headers.sort_by(|(left, _), (right, _)| left.as_str().cmp(right.as_str()));
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 2);
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        *response.headers_mut() = headers;
        response
    }
}
