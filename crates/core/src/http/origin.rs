//! Where a request comes from, and where it wants to send the browser.
//!
//! Runs on the raw body, before anyone has said what the body should be: no endpoint can forget it.
//! Upstream: `api/middlewares/origin-check.ts`.

use crate::{
    config::{Config, OriginCheck},
    context::Ctx,
    error::{Code, Error, Result},
    input::from_query,
};
use http::{
    HeaderMap, Method, StatusCode,
    header::{COOKIE, HOST, ORIGIN, REFERER},
};
use serde_json::Value;
use std::borrow::Cow;

/// A member of a body that says where the browser is to go.
struct Target {
    member: &'static str,
    /// Whether it is looked for in the query, too.
    in_query: bool,
    /// What it is called when it is refused.
    label: &'static str,
    code: Code,
}

impl Target {
    const fn new(member: &'static str, code: Code) -> Self {
        Self { member, in_query: false, label: member, code }
    }
}

/// In the order in which they are judged.
const TARGETS: [Target; 4] = [
    Target { in_query: true, ..Target::new("callbackURL", Code::INVALID_CALLBACK_URL) },
    Target { label: "redirectURL", ..Target::new("redirectTo", Code::INVALID_REDIRECT_URL) },
    Target::new("errorCallbackURL", Code::INVALID_ERROR_CALLBACK_URL),
    Target::new("newUserCallbackURL", Code::INVALID_NEW_USER_CALLBACK_URL),
];

/// Characters of a client's text that are logged.
const LOGGED: usize = 200;

/// For every request that may change something.
pub(super) fn check(cx: &Ctx) -> Result<()> {
    if matches!(*cx.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    check_origin(cx, false)?;
    if is_disabled(cx) {
        return Ok(());
    }
    let query = from_query(cx.query_text());
    TARGETS.iter().try_for_each(|target| {
        let asked = query.get(target.member).filter(|value| target.in_query && is_truthy(value));
        check_target(cx, member(cx.body(), target.member).or(asked), target)
    })
}

/// What a request that may change something can be refused with. Without cookies nobody is asked where they come from.
pub(crate) fn refusals(config: &Config, takes_body: bool, has_cookies: bool) -> Vec<Code> {
    if config.advanced.disable_origin_check == Some(OriginCheck::Everywhere(true)) {
        return Vec::new();
    }
    let mut codes = Vec::new();
    if has_cookies && !csrf_is_disabled(config) {
        codes.extend([Code::MISSING_OR_NULL_ORIGIN, Code::INVALID_ORIGIN]);
    }
    codes.extend(TARGETS.iter().filter(|target| takes_body || target.in_query).map(|target| target.code));
    codes
}

/// For endpoints that sign in, also without a cookie. Browsers say with Fetch Metadata what kind of request it is;
/// what sends neither that nor an origin is no browser.
pub(super) fn check_form(cx: &Ctx) -> Result<()> {
    if is_csrf_disabled(cx) {
        return Ok(());
    }
    if cx.headers().contains_key(COOKIE) {
        return check_origin(cx, false);
    }
    let [site, mode, destination] =
        ["sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest"].map(|name| text(cx, name));
    if [&site, &mode, &destination].iter().any(|value| !value.trim().is_empty()) {
        if site == "cross-site" && mode == "navigate" {
            return Err(Error::forbidden(Code::CROSS_SITE_NAVIGATION_LOGIN_BLOCKED));
        }
        return check_origin(cx, true);
    }
    if has_text(cx.headers(), ORIGIN.as_str()) || has_text(cx.headers(), REFERER.as_str()) {
        return check_origin(cx, true);
    }
    Ok(())
}

fn check_origin(cx: &Ctx, even_without_cookies: bool) -> Result<()> {
    if is_csrf_disabled(cx) || is_disabled(cx) || !(even_without_cookies || cx.headers().contains_key(COOKIE))
    {
        return Ok(());
    }
    let origin = text(cx, ORIGIN.as_str());
    // Browsers hide the origin of some requests of a page to itself, but never lie in Sec-Fetch-Site.
    let own =
        (origin == "null" && text(cx, "sec-fetch-site") == "same-origin").then(|| own_origin(cx)).flatten();
    let claimed = match own {
        Some(own) => Cow::Owned(own),
        None if origin.is_empty() => text(cx, REFERER.as_str()),
        None => origin,
    };
    if claimed.is_empty() || claimed == "null" {
        return Err(Error::forbidden(Code::MISSING_OR_NULL_ORIGIN));
    }
    if cx.resolved().trusted_origins.allows_origin(&claimed) {
        return Ok(());
    }
    tracing::warn!(
        origin = beginning(&claimed),
        "refused a request from an untrusted origin; if it is yours, add it to trusted-origins"
    );
    Err(Error::forbidden(Code::INVALID_ORIGIN))
}

/// The origin the request was sent to.
fn own_origin(cx: &Ctx) -> Option<String> {
    let host = cx.headers().get(HOST)?.to_str().ok()?;
    let scheme = if cx.resolved().config.base_url.starts_with("https:") { "https" } else { "http" };
    url::Url::parse(&format!("{scheme}://{host}")).ok().map(|url| url.origin().ascii_serialization())
}

fn check_target(cx: &Ctx, target: Option<&Value>, Target { label, code, .. }: &Target) -> Result<()> {
    match target {
        None => Ok(()),
        Some(Value::String(target)) if cx.resolved().trusted_origins.allows_redirect(target) => Ok(()),
        Some(Value::String(target)) => {
            tracing::warn!(
                target = beginning(target),
                "refused an untrusted {label}; if it is yours, add its origin to trusted-origins"
            );
            Err(Error::forbidden(*code))
        }
        Some(_) => {
            Err(Error::with(StatusCode::BAD_REQUEST, None, format!("Invalid {label}: expected a string")))
        }
    }
}

/// What the log is told of a client's text, which may be as long as a body.
fn beginning(text: &str) -> &str {
    text.char_indices().nth(LOGGED).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// A member that is there and, in JavaScript's sense, true.
fn member<'a>(body: Option<&'a Value>, name: &str) -> Option<&'a Value> {
    body?.get(name).filter(|value| is_truthy(value))
}

fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// `disable-origin-check = true` has always switched both checks off, unless the other option says something.
fn is_csrf_disabled(cx: &Ctx) -> bool {
    csrf_is_disabled(cx.config())
}

fn csrf_is_disabled(config: &Config) -> bool {
    let advanced = &config.advanced;
    advanced
        .disable_csrf_check
        .unwrap_or(advanced.disable_origin_check == Some(OriginCheck::Everywhere(true)))
}

fn is_disabled(cx: &Ctx) -> bool {
    match &cx.resolved().config.advanced.disable_origin_check {
        None => false,
        Some(OriginCheck::Everywhere(disabled)) => *disabled,
        Some(OriginCheck::Paths(paths)) => paths.iter().any(|path| {
            let path = path.trim_end_matches('/');
            cx.path().strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }),
    }
}

fn has_text(headers: &HeaderMap, name: &str) -> bool {
    headers.get(name).is_some_and(|value| !value.is_empty())
}

/// A header's text; what is no text is as good as a wrong origin. Repeated, it is a list, and no list is an origin.
fn text<'a>(cx: &'a Ctx, name: &str) -> Cow<'a, str> {
    let mut values = cx.headers().get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let first = values.next().unwrap_or_default();
    values.fold(first, |all, value| format!("{all}, {value}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_told_two_hundred_characters_and_no_half_one() {
        for letter in ["a", "é", "€", "😀"] {
            for (length, logged) in [(0, 0), (1, 1), (199, 199), (200, 200), (201, 200), (1 << 18, 200)] {
                assert_eq!(beginning(&letter.repeat(length)), letter.repeat(logged), "{letter} {length}");
            }
        }
        assert_eq!(beginning("https://evil.example"), "https://evil.example");
    }
}
