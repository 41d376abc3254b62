//! A request's body as a JSON value, before anyone says what it should be.
//!
//! Upstream: `getBody` in better-call's `utils.ts`, behind its Node adapter.

use crate::{
    error::{Code, Error, Result},
    input::{as_javascript, from_form},
};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use serde_json::Value;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// `None` when there is no body, or none that upstream's Node server would look at: one without a content type.
pub(super) fn parse(headers: &HeaderMap, body: &[u8], accepts_form: bool) -> Result<Option<Value>> {
    if body.is_empty() && !is_chunked(headers) {
        return Ok(None);
    }
    let Some(content_type) = headers.get(CONTENT_TYPE).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let content_type = String::from_utf8_lossy(content_type.as_bytes());
    let lower = content_type.to_lowercase();
    let essence = lower.split(';').next().unwrap_or_default().trim();
    if essence.starts_with(JSON) {
        return json(body).map(Some);
    }
    if accepts_form && essence == FORM {
        return Ok(Some(Value::Object(from_form(body))));
    }
    Err(unsupported(&content_type, accepts_form))
}

/// A body of no bytes counts as one only when its length was not said beforehand.
fn is_chunked(headers: &HeaderMap) -> bool {
    headers.contains_key(http::header::TRANSFER_ENCODING)
}

fn json(body: &[u8]) -> Result<Value> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    // What is no UTF-8 is replaced, as every `fetch` implementation does before it parses.
    let text = String::from_utf8_lossy(body);
    let mut value = serde_json::from_str(&text)
        .map_err(|error| Error::bad_request(Code::BAD_REQUEST).caused_by(error))?;
    as_javascript(&mut value);
    Ok(value)
}

fn unsupported(content_type: &str, accepts_form: bool) -> Error {
    let allowed = if accepts_form { format!("{FORM}, {JSON}") } else { JSON.to_owned() };
    Error::with(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Some(Code::UNSUPPORTED_MEDIA_TYPE.code),
        format!("Content-Type \"{content_type}\" is not allowed. Allowed types: {allowed}"),
    )
}
