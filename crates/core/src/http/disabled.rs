//! Paths that are switched off: answered as if nothing were there, before anything else is looked at.

use super::reply::Reply;
use crate::plugin::Alias;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use std::collections::HashSet;

/// The paths that are switched off.
#[derive(Debug, Default)]
pub(crate) struct DisabledPaths {
    written: HashSet<String>,
    /// By the router's number of a path, so that whatever leads to the endpoint finds it off.
    by_path: Vec<bool>,
}

impl DisabledPaths {
    pub(crate) fn new(disabled: &[String], paths: &[String], aliases: &[Alias]) -> Self {
        let written: HashSet<_> = disabled.iter().cloned().collect();
        let is_alias = |path: &str| aliases.iter().any(|alias| alias.is_among(&[path]));
        for path in disabled.iter().filter(|path| !paths.contains(path) && !is_alias(path)) {
            tracing::warn!(path, "disabled-paths names a path that no endpoint has");
        }
        Self { by_path: paths.iter().map(|path| written.contains(path)).collect(), written }
    }

    /// `path` has no slash at its end.
    pub(crate) fn contains(&self, path: &str, number: Option<usize>) -> bool {
        !self.written.is_empty()
            && (self.written.contains(path)
                || number.and_then(|number| self.by_path.get(number)).copied().unwrap_or(false))
    }

    pub(crate) fn reply() -> Response<Bytes> {
        let mut reply = Reply::empty(StatusCode::NOT_FOUND);
        reply.set_header(CONTENT_TYPE, HeaderValue::from_static("text/plain;charset=UTF-8"));
        reply.set_body("Not Found");
        reply.into_response([], [])
    }
}
