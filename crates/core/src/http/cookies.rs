//! Our cookies: their names and attributes, computed once, and the ones a reply sets.
//!
//! Upstream: `cookies/index.ts`.

use super::{
    cookie::{self, Attributes, SameSite},
    encode_component,
};
use crate::{config::Config, crypto::signed::Signer};
use http::{HeaderMap, HeaderValue, header::COOKIE};
use std::borrow::Cow;

/// A cookie we set: its full name and attributes.
#[derive(Debug, Clone)]
pub(crate) struct Cookie {
    /// Its name with prefixes.
    pub(crate) name: String,
    /// Its attributes.
    pub(crate) attributes: Attributes,
}

/// The cookies every installation has.
#[derive(Debug)]
pub(crate) struct AuthCookies {
    pub(crate) session_token: Cookie,
    pub(crate) session_data: Cookie,
    pub(crate) dont_remember: Cookie,
}

impl AuthCookies {
    pub(crate) fn new(config: &Config) -> Self {
        let is_secure = config.advanced.use_secure_cookies.unwrap_or(config.base_url.starts_with("https://"));
        let make = |key: &str, max_age: Option<i64>| {
            let prefix = config.advanced.cookie_prefix.as_deref().unwrap_or("better-auth");
            let secure_prefix = if is_secure { "__Secure-" } else { "" };
            let attributes = Attributes {
                max_age,
                path: Some("/".to_owned()),
                http_only: true,
                secure: is_secure,
                same_site: Some(SameSite::Lax),
                ..Attributes::default()
            };
            Cookie { name: format!("{secure_prefix}{prefix}.{key}"), attributes }
        };
        Self {
            session_token: make("session_token", Some(config.session.expires_in.into())),
            session_data: make("session_data", Some(300)),
            dont_remember: make("dont_remember", None),
        }
    }
}

/// The cookies a reply sets, in order.
#[derive(Debug, Default)]
pub(crate) struct Cookies {
    lines: Vec<String>,
}

impl Cookies {
    /// Sets a cookie to a value signed with our secret.
    pub(crate) fn set_signed(&mut self, signer: &Signer, cookie: &Cookie, value: &str, max_age: Option<i64>) {
        let signed = signer.sign(value);
        self.write(
            &cookie.name,
            &encode_component(&signed),
            &Attributes { max_age, ..cookie.attributes.clone() },
        );
    }

    /// Makes the browser forget a cookie; what this reply set under the name before is taken back.
    pub(crate) fn expire(&mut self, cookie: &Cookie) {
        self.lines.retain(|line| !cookie::is_for(line, &cookie.name));
        self.expire_as(&cookie.name, cookie);
    }

    /// Makes the browser forget every piece it sent of a cookie that may have been split.
    pub(crate) fn expire_pieces(&mut self, header: &str, cookie: &Cookie) {
        for name in cookie::pieces(header, &cookie.name) {
            self.expire_as(name, cookie);
        }
    }

    fn expire_as(&mut self, name: &str, cookie: &Cookie) {
        self.write(name, "", &Attributes { max_age: Some(0), ..cookie.attributes.clone() });
    }

    fn write(&mut self, name: &str, encoded: &str, attributes: &Attributes) {
        match cookie::serialize(name, encoded, attributes) {
            Ok(line) => self.lines.push(line),
            // Names and attributes were checked when the configuration was read, values are encoded.
            Err(error) => tracing::error!(%error, name, "a cookie was not set"),
        }
    }

    pub(crate) fn into_values(self) -> impl Iterator<Item = HeaderValue> {
        self.lines.into_iter().filter_map(|line| HeaderValue::try_from(line).ok())
    }
}

/// The Cookie header; several are one, as HTTP/2 may split them.
pub(crate) fn header(headers: &HeaderMap) -> String {
    let mut lines = headers.get_all(COOKIE).iter().map(|line| match line.to_str() {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(line.as_bytes()),
    });
    let mut all = lines.next().unwrap_or_default().into_owned();
    for line in lines {
        all.push_str("; ");
        all.push_str(&line);
    }
    all
}

/// The value of one of our signed cookies, if the signature is ours.
pub(crate) fn signed(header: &str, signer: &Signer, cookie: &Cookie) -> Option<String> {
    let value = cookie::find(header, &cookie.name)?;
    signer.open(&value).map(str::to_owned)
}

/// Whether the browser sent the cookie, whole or in pieces, with something in it.
pub(crate) fn is_present(header: &str, cookie: &Cookie) -> bool {
    // Most requests have none, and the careful reading costs as much as everything else about cookies.
    header.contains(&cookie.name)
        && cookie::chunked(header, &cookie.name).is_some_and(|value| !value.is_empty())
}
