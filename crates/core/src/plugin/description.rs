//! What an endpoint says of itself, and what clients may show it.

use crate::{error::Code, input::Schema};
use http::StatusCode;
use std::borrow::Cow;

/// What an endpoint takes and answers: read off its handler's signature, and said where it is registered.
#[derive(Debug, Clone, Default)]
pub struct Description {
    /// What it does, in one sentence.
    pub summary: Option<&'static str>,
    /// Upstream's name for it, where that is not its path in camel case.
    pub operation: Option<&'static str>,
    /// Whether somebody must be signed in.
    pub session: SessionUse,
    /// A token that only such endpoints take, in place of a session, and whether it must be there.
    pub bearer: Option<(BearerToken, SessionUse)>,
    /// Its body.
    pub body: Option<Schema>,
    /// Whether there must be a body.
    pub requires_body: bool,
    /// Whether the body may also be a form.
    pub accepts_form: bool,
    /// Its query.
    pub query: Option<Schema>,
    /// Its reply.
    pub reply: Option<Schema>,
    /// Codes with which it may answer.
    pub refusals: Vec<(StatusCode, Code)>,
    /// What else it may answer.
    pub others: Vec<Other>,
}

/// Something an endpoint may answer that is neither its reply nor a refusal with a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// Its status.
    pub status: StatusCode,
    /// Of which type its body is, if it has one.
    pub content_type: Option<&'static str>,
    /// What it means.
    pub meaning: &'static str,
}

/// Whether an endpoint asks for a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SessionUse {
    /// It does not look.
    #[default]
    None,
    /// It answers with and without one.
    Optional,
    /// Only who has one gets in.
    Required,
}

/// How a client may show its session besides the cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// In `Authorization: Bearer`.
    Bearer {
        /// What stands there.
        meaning: &'static str,
    },
    /// In a header of its own.
    Header {
        /// The header.
        name: Cow<'static, str>,
        /// What stands there.
        meaning: &'static str,
    },
}

/// A token in `Authorization: Bearer` that says who is asking, and is not the session's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BearerToken {
    /// What it is called where endpoints are described.
    pub name: &'static str,
    /// How it is written: `JWT`.
    pub format: &'static str,
    /// Where it comes from.
    pub meaning: &'static str,
}

impl Description {
    /// Adds a code with which the endpoint may answer.
    pub fn refuse(&mut self, status: StatusCode, code: Code) {
        if !self.refusals.contains(&(status, code)) {
            self.refusals.push((status, code));
        }
    }
}
