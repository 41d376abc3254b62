//! Replaces what differs from test to test, and only if it has the right shape: what has not, stays and shows.
//!
//! Times are written relative to the clock (`[now]`, `[now+7d]`), identifiers become `[id]`, session tokens
//! `[token]`, cookies that our secret has signed `[signed …]`, those that remember a session `[compact]`, `[jwt]`, `[jwe]` or `[keys]`, password hashes their scheme.

use crate::remembered;
use narthex::{Time, crypto::signed::Signer};
use serde_json::Value;
use std::fmt::Write as _;

/// Knows the time and the secret of one app.
#[derive(Clone)]
pub struct Redactor {
    now: Time,
    signer: Signer,
    secret: String,
}

impl Redactor {
    pub(crate) fn new(now: Time, secret: &str) -> Self {
        Self { now, signer: Signer::new(secret), secret: secret.to_owned() }
    }

    /// A JSON text; one that is not written as we write JSON is left as it is.
    pub fn text(&self, text: &str) -> String {
        let Ok(mut value) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
        let rewritten = value.to_string();
        if rewritten == text {
            self.value("", &mut value);
            value.to_string()
        } else {
            text.to_owned()
        }
    }

    /// Every text in `value`, which stands under `key`.
    pub fn value(&self, key: &str, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(redacted) = self.redacted(key, text) {
                    *text = redacted;
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.value(key, value)),
            Value::Object(members) => members.iter_mut().for_each(|(key, value)| self.value(key, value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn redacted(&self, key: &str, text: &str) -> Option<String> {
        if is_identifier(text) {
            if key == "id" || key.ends_with("Id") {
                return Some("[id]".to_owned());
            }
            if key == "token" {
                return Some("[token]".to_owned());
            }
        }
        if key == "password" {
            return scheme(text).map(|scheme| format!("[{scheme}]"));
        }
        // Read and written again, so that another way to write the same time shows.
        let time = Time::parse(text).filter(|time| time.to_string() == text)?;
        Some(self.time(time))
    }

    fn time(&self, time: Time) -> String {
        let difference = time.millis() - self.now.millis();
        if difference == 0 {
            return "[now]".to_owned();
        }
        let mut text = String::from(if difference < 0 { "[now-" } else { "[now+" });
        let mut rest = difference.unsigned_abs();
        for (unit, millis) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if rest >= millis {
                let _ = write!(text, "{}{unit}", rest / millis);
                rest %= millis;
            }
        }
        text.push(']');
        text
    }

    /// One response header.
    pub fn header(&self, name: &str, value: &str) -> String {
        if name != "set-cookie" {
            return value.to_owned();
        }
        let (pair, attributes) = value.split_at(value.find(';').unwrap_or(value.len()));
        let signed = pair.split_once('=').and_then(|(name, encoded)| {
            if let Some(text) = remembered::text(encoded, &self.secret) {
                let strategy = text.split(' ').next().unwrap_or_default();
                return Some(format!("{name}=[{strategy}]{attributes}"));
            }
            let decoded = percent_decoded(encoded);
            let inner = self.signer.open(&decoded)?;
            let inner = if is_identifier(inner) { "token" } else { inner };
            Some(format!("{name}=[signed {inner}]{attributes}"))
        });
        signed.unwrap_or_else(|| value.to_owned())
    }
}

/// 32 letters and digits.
fn is_identifier(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn scheme(hash: &str) -> Option<&'static str> {
    ["bcrypt-sha256", "argon2id"].into_iter().find(|scheme| hash.starts_with(&format!("${scheme}$"))).or_else(
        || {
            let is_hex = |text: &str, length| {
                text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
            };
            let is_scrypt =
                hash.split_once(':').is_some_and(|(salt, key)| is_hex(salt, 32) && is_hex(key, 128));
            match () {
                () if hash.starts_with("$2b$") && hash.len() == 60 => Some("bcrypt"),
                () if is_scrypt => Some("scrypt"),
                () => None,
            }
        },
    )
}

fn percent_decoded(text: &str) -> String {
    let pair = format!("x={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(pair.as_bytes())
        .map(|(_, value)| value.into_owned())
        .next()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SECRET: &str = "a-secret";
    const ID: &str = "abcdefghijklmnopqrstuvwxyz012345";

    fn redacted(value: &Value) -> String {
        Redactor::new(Time::from_millis(86_400_000), SECRET).text(&value.to_string())
    }

    #[test]
    fn what_has_the_right_shape_is_replaced() {
        let value = json!({ "id": ID, "userId": ID, "token": ID, "at": "1970-01-02T00:00:00.000Z", "before": "1970-01-01T22:59:59.500Z", "after": "1970-01-09T00:00:00.000Z" });
        assert_eq!(
            redacted(&value),
            r#"{"id":"[id]","userId":"[id]","token":"[token]","at":"[now]","before":"[now-1h500ms]","after":"[now+7d]"}"#
        );
        assert_eq!(
            redacted(&json!({ "password": "0".repeat(32) + ":" + &"0".repeat(128) })),
            r#"{"password":"[scrypt]"}"#
        );
    }

    #[test]
    fn what_has_not_stays_and_shows() {
        for value in [
            json!({ "id": &ID[1..] }),
            json!({ "id": ID.replace('a', "-") }),
            json!({ "token": "short" }),
            json!({ "name": ID }),
            json!({ "at": "1970-01-02T00:00:00Z" }),
            json!({ "at": "1970-01-02 00:00:00.000" }),
            json!({ "password": "plain" }),
            json!({ "password": "$2b$04$short" }),
        ] {
            assert_eq!(redacted(&value), value.to_string());
        }
        let spaced = r#"{"id": "abcdefghijklmnopqrstuvwxyz012345"}"#;
        assert_eq!(Redactor::new(Time::from_millis(0), SECRET).text(spaced), spaced);
    }

    #[test]
    fn a_cookie_is_replaced_only_if_we_have_signed_it() {
        let redactor = Redactor::new(Time::from_millis(0), SECRET);
        let cookie = |secret: &str, value: &str| {
            let signed = Signer::new(secret).sign(value);
            format!("name={}; Path=/", signed.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"))
        };
        assert_eq!(redactor.header("set-cookie", &cookie(SECRET, ID)), "name=[signed token]; Path=/");
        assert_eq!(redactor.header("set-cookie", &cookie(SECRET, "true")), "name=[signed true]; Path=/");
        let foreign = cookie("another-secret", ID);
        assert_eq!(redactor.header("set-cookie", &foreign), foreign);
    }
}
