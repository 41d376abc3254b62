//! What happened, told in one way to whoever counts it or writes it down.
//!
//! One shape for core and plugins. Names and reasons are texts of the program, so that there are only so many of them;
//! no secret is in it, and nothing that a client has typed. What is told in a transaction is told once that is
//! committed, or not at all.

use crate::plugin::Event;
use serde_json::{Map, Value};

/// Something that happened, and whom it concerns. Heard with `setup.on::<Happening>(…)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Happening {
    /// What: `session.created`. Plugins have names of their own.
    pub name: &'static str,
    /// Whether somebody got what they wanted.
    pub outcome: Outcome,
    /// How it was done, or why it was refused.
    pub reason: Option<&'static str>,
    /// Who did it, where that is not the user whom it concerns: another user's id.
    pub actor: Option<String>,
    /// The user whom it concerns, where there is one.
    pub user_id: Option<String>,
    /// The session that it concerns.
    pub session_id: Option<String>,
    /// Whom somebody named who did not prove to be them, as a keyed hash of the address or name.
    pub account: Option<String>,
    /// How many sessions or rows it concerns, where that is known and may be another number than one.
    pub count: Option<u64>,
    /// What else an operator may want to know: a few short values.
    pub details: Map<String, Value>,
    /// Whether it is only counted: it happens by itself, or as often as somebody likes.
    pub is_routine: bool,
}

/// Whether somebody got what they wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// They did.
    Success,
    /// They did not.
    Failure,
}

impl Event for Happening {
    const NAME: &'static str = "happening";
}

/// What happens in core.
impl Happening {
    /// Somebody signed up, or was given a user.
    pub const USER_CREATED: &'static str = "user.created";
    /// Something of a user changed.
    pub const USER_UPDATED: &'static str = "user.updated";
    /// A user is gone, with everything that hung on it.
    pub const USER_DELETED: &'static str = "user.deleted";
    /// Somebody signed in; the reason says how.
    pub const SESSION_CREATED: &'static str = "session.created";
    /// A session was renewed, as is done once a day.
    pub const SESSION_RENEWED: &'static str = "session.renewed";
    /// Sessions were ended before their time; the reason says why.
    pub const SESSION_REVOKED: &'static str = "session.revoked";
    /// A session was found to have ended by itself, and deleted.
    pub const SESSION_EXPIRED: &'static str = "session.expired";
    /// A user has a new password.
    pub const PASSWORD_CHANGED: &'static str = "password.changed";
    /// Somebody who is signed in entered a password that is not theirs.
    pub const PASSWORD_CHECK_FAILED: &'static str = "password-check.failed";
    /// A user gave up a way to sign in.
    pub const ACCOUNT_UNLINKED: &'static str = "account.unlinked";
    /// Passwords were guessed at an account until no more are compared.
    pub const ACCOUNT_LOCKED: &'static str = "account.locked";
    /// Failures were too many to be written down one by one; so many are missing.
    pub const AUDIT_OMITTED: &'static str = "audit.omitted";
    /// Somebody did not get in; the reason says why.
    pub const SIGN_IN_FAILED: &'static str = "sign-in.failed";
}

/// Reasons that core gives.
impl Happening {
    /// They signed up.
    pub const SIGN_UP: &'static str = "sign-up";
    /// With a password.
    pub const PASSWORD: &'static str = "password";
    /// They signed out.
    pub const SIGN_OUT: &'static str = "sign-out";
    /// They ended one session.
    pub const ONE_SESSION: &'static str = "revoke-session";
    /// They ended all their sessions.
    pub const ALL_SESSIONS: &'static str = "revoke-sessions";
    /// They ended all their sessions but the one they had.
    pub const OTHER_SESSIONS: &'static str = "revoke-other-sessions";
    /// The password was changed.
    pub const PASSWORD_CHANGE: &'static str = "password-change";
    /// No such account, or a wrong password: nobody is told which.
    pub const WRONG_CREDENTIALS: &'static str = "wrong-credentials";
    /// The address has not been shown to be theirs.
    pub const EMAIL_NOT_VERIFIED: &'static str = "email-not-verified";
    /// So many guesses have failed that no more are compared.
    pub const TOO_MANY_GUESSES: &'static str = "too-many-guesses";
    /// Whoever runs the installation did it, by a command or from an application.
    pub const OPERATOR: &'static str = "operator";
    /// A plugin stepped in: it refuses, or wants something more first.
    pub const INTERRUPTED: &'static str = "interrupted";
}

impl Happening {
    /// Something that was done.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            outcome: Outcome::Success,
            reason: None,
            actor: None,
            user_id: None,
            session_id: None,
            account: None,
            count: None,
            details: Map::new(),
            is_routine: false,
        }
    }

    /// Something that was refused.
    pub fn failed(name: &'static str, reason: &'static str) -> Self {
        Self { outcome: Outcome::Failure, reason: Some(reason), ..Self::new(name) }
    }

    /// How, or why.
    #[must_use]
    pub fn because(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Whom it concerns; an empty id is none.
    #[must_use]
    pub fn of(mut self, user_id: &str) -> Self {
        self.user_id = Some(user_id.to_owned()).filter(|id| !id.is_empty());
        self
    }

    /// Which session.
    #[must_use]
    pub fn session(mut self, session_id: &str) -> Self {
        self.session_id = Some(session_id.to_owned()).filter(|id| !id.is_empty());
        self
    }

    /// Whom somebody named, as [`Ctx::account_hash`](crate::Ctx::account_hash) has it.
    #[must_use]
    pub fn account(mut self, hash: String) -> Self {
        self.account = Some(hash);
        self
    }

    /// Who did it to somebody else.
    #[must_use]
    pub fn by(mut self, actor: &str) -> Self {
        self.actor = Some(actor.to_owned());
        self
    }

    /// How many, where that is known.
    #[must_use]
    pub fn counting(mut self, count: Option<u64>) -> Self {
        self.count = count;
        self
    }

    /// Something else to know; no secret, and nothing that somebody typed.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Only to be counted.
    #[must_use]
    pub fn routine(mut self) -> Self {
        self.is_routine = true;
        self
    }
}
