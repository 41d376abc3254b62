//! A failed request: what the client is told and, apart from it, what we log.
//!
//! One struct, because clients only ever see a status, a code and a message, and no caller matches on more. The
//! status is chosen where the error is made, the text comes from a table of codes, as upstream splits it.

use crate::{http::Reply, store::StoreError};
use http::{HeaderName, HeaderValue, StatusCode, header::RETRY_AFTER};
use std::{borrow::Cow, fmt, time::Duration};

/// What a handler answers with.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error, for the log.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a client sees: upstream's code and its English message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// For programs.
    pub code: &'static str,
    /// For people.
    pub message: &'static str,
}

impl Code {
    /// A code and its default message.
    pub const fn new(code: &'static str, message: &'static str) -> Self {
        Self { code, message }
    }
}

macro_rules! codes {
    ($($code:ident $message:literal),* $(,)?) => {
        impl Code {
            $(
                #[doc = $message]
                pub const $code: Self = Self::new(stringify!($code), $message);
            )*
        }
    };
}

// Upstream: `core/error/codes.ts`, and the codes that upstream writes where they are thrown.
codes! {
    ACCOUNT_NOT_FOUND "Account not found",
    BAD_REQUEST "Invalid JSON in request body",
    CREDENTIAL_ACCOUNT_NOT_FOUND "Credential account not found",
    CROSS_SITE_NAVIGATION_LOGIN_BLOCKED "Cross-site navigation login blocked. This request appears to be a CSRF attack.",
    EMAIL_NOT_VERIFIED "Email not verified",
    EMAIL_PASSWORD_DISABLED "Email and password is not enabled",
    EMAIL_PASSWORD_SIGN_UP_DISABLED "Email and password sign up is not enabled",
    FAILED_TO_CREATE_USER "Failed to create user",
    EMAIL_CAN_NOT_BE_UPDATED "Email can not be updated",
    FAILED_TO_UPDATE_SESSION "Failed to update session",
    FAILED_TO_UPDATE_USER "Failed to update user",
    FAILED_TO_GET_SESSION "Failed to get session",
    FAILED_TO_UNLINK_LAST_ACCOUNT "You can't unlink your last account",
    FIELD_NOT_ALLOWED "This field is not allowed to be set",
    INTERNAL_SERVER_ERROR "Internal Server Error",
    INVALID_CALLBACK_URL "Invalid callbackURL",
    INVALID_EMAIL "Invalid email",
    INVALID_EMAIL_OR_PASSWORD "Invalid email or password",
    INVALID_ERROR_CALLBACK_URL "Invalid errorCallbackURL",
    INVALID_NEW_USER_CALLBACK_URL "Invalid newUserCallbackURL",
    INVALID_ORIGIN "Invalid origin",
    INVALID_PASSWORD "Invalid password",
    INVALID_REDIRECT_URL "Invalid redirectURL",
    METHOD_NOT_ALLOWED_DEFER_SESSION_REQUIRED "POST method requires deferSessionRefresh to be enabled in session config",
    MISSING_FIELD "A field is required",
    MISSING_OR_NULL_ORIGIN "Missing or null Origin",
    PAYLOAD_TOO_LARGE "The request body is too large",
    PASSWORD_TOO_LONG "Password too long",
    PASSWORD_TOO_SHORT "Password too short",
    PASSWORD_COMPROMISED "The password you entered has been compromised. Please choose a different password.",
    SESSION_NOT_FRESH "Session is not fresh",
    SERVICE_UNAVAILABLE "The server is busy. Try again shortly.",
    TOO_MANY_ATTEMPTS "Too many attempts",
    UNAUTHORIZED "Unauthorized",
    UNSUPPORTED_MEDIA_TYPE "This Content-Type is not allowed",
    USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL "User already exists. Use another email.",
    USER_NOT_FOUND "User not found",
    VALIDATION_ERROR "Invalid input",
}

/// A failed request.
#[derive(Debug)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    code: Option<&'static str>,
    message: Cow<'static, str>,
    headers: Vec<(HeaderName, HeaderValue)>,
    source: Option<BoxError>,
    reply: Option<Reply>,
}

impl Error {
    /// Any status with a code from a table.
    pub fn new(status: StatusCode, code: Code) -> Self {
        Self::with(status, Some(code.code), code.message)
    }

    /// 400.
    pub fn bad_request(code: Code) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code)
    }

    /// 401.
    pub fn unauthorized(code: Code) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code)
    }

    /// 403.
    pub fn forbidden(code: Code) -> Self {
        Self::new(StatusCode::FORBIDDEN, code)
    }

    /// 404.
    pub fn not_found(code: Code) -> Self {
        Self::new(StatusCode::NOT_FOUND, code)
    }

    /// 422.
    pub fn unprocessable(code: Code) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code)
    }

    /// 500; the client learns nothing of `source`.
    pub fn internal(source: impl Into<BoxError>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Code::INTERNAL_SERVER_ERROR).caused_by(source)
    }

    /// 503, with the second in which it is worth trying again.
    pub fn busy(source: impl Into<BoxError>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::SERVICE_UNAVAILABLE)
            .header(RETRY_AFTER, HeaderValue::from_static("1"))
            .caused_by(source)
    }

    /// 429, with the time after which it is worth trying again: where upstream's clients look for it.
    pub fn too_many_attempts(retry_after: Duration) -> Self {
        let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        Self::new(StatusCode::TOO_MANY_REQUESTS, Code::TOO_MANY_ATTEMPTS)
            .header(HeaderName::from_static("x-retry-after"), HeaderValue::from(seconds.max(1)))
    }

    /// Ends the handler with `reply`, which is no failure: a hook has interrupted a sign-in.
    pub fn interrupted(reply: Reply) -> Self {
        let mut error = Self::with(reply.status(), None, "interrupted");
        error.inner.reply = Some(reply);
        error
    }

    pub(crate) fn take_reply(&mut self) -> Option<Reply> {
        self.inner.reply.take()
    }

    /// A message without a code, or with one that is in no table.
    pub(crate) fn with(
        status: StatusCode,
        code: Option<&'static str>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            inner: Box::new(Inner {
                status,
                code,
                message: message.into(),
                headers: Vec::new(),
                source: None,
                reply: None,
            }),
        }
    }

    /// Adds a response header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.inner.headers.push((name, value));
        self
    }

    /// Adds what only the log is told.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.inner.status
    }

    /// The code, where there is one.
    pub fn code(&self) -> Option<&'static str> {
        self.inner.code
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    pub(crate) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.inner.headers
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.inner.status.as_u16(), self.inner.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source.as_deref().map(|source| source as _)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy | StoreError::Deadline | StoreError::Unavailable(_) => Self::busy(error),
            error => Self::internal(error),
        }
    }
}

/// An error with everything that caused it, for the log.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
