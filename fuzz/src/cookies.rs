//! `Cookie` and `Set-Cookie`: a value that is written is the one that is read, and a header says no more than it was asked
//! to.

use crate::{lines, texts};
use narthex::{
    fuzzing::{cookie, cookie_in_pieces, cookie_pieces, set_cookie as write, with_cookie},
    http::{Attributes, SameSite},
};
use std::collections::HashSet;

const CORPUS: &str = include_str!("../../crates/core/src/http/testdata/cookies.json");

/// A name, a value and a header.
pub(crate) fn cookies(input: &[u8]) {
    let [name, value, header] = lines(input);
    let found = cookie(header, name);
    let whole = cookie_in_pieces(header, name);
    if let Some(found) = found.as_deref().filter(|found| !found.is_empty()) {
        assert_eq!(whole.as_deref(), Some(found), "the whole cookie comes before its pieces");
    }
    let decoded = [&found, &whole].into_iter().flatten();
    assert!(decoded.into_iter().all(|value| value.len() <= header.len()), "more than was sent");

    let pieces = cookie_pieces(header, name);
    let distinct: HashSet<_> = pieces.iter().collect();
    assert_eq!(distinct.len(), pieces.len(), "each name once");
    for piece in pieces {
        let number = piece.strip_prefix(name).map(|rest| rest.strip_prefix('.').unwrap_or(rest));
        assert!(number.is_some_and(|number| number.bytes().all(|digit| digit.is_ascii_digit())), "{piece}");
    }

    let changed = with_cookie(header, name, value);
    assert_eq!(with_cookie(&changed, name, value), changed, "putting a cookie twice changes nothing");
    if write(name, "", &Attributes::default()).is_ok() {
        assert_eq!(cookie(&changed, name).as_deref(), Some(value), "what was put there is read");
    }
}

/// A name, a value, a path and a domain.
pub(crate) fn set_cookie(input: &[u8]) {
    let [name, value, path, domain] = lines(input);
    let attributes = Attributes {
        max_age: Some(60),
        domain: Some(domain.to_owned()),
        path: Some(path.to_owned()),
        http_only: true,
        secure: true,
        same_site: Some(SameSite::Lax),
        partitioned: false,
    };
    let Ok(header) = write(name, value, &attributes) else { return };
    assert!(header.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '), "{header:?}");
    let mut parts = header.split("; ");
    let pair = parts.next().unwrap_or_default();
    assert_eq!(cookie(pair, name).as_deref(), Some(value), "what was written is read");
    let allowed = ["Max-Age=60", "HttpOnly", "Secure", "SameSite=Lax"];
    let (path, domain) = (format!("Path={path}"), format!("Domain={domain}"));
    for part in parts {
        let is_asked_for = allowed.contains(&part) || part == path || part == domain || part == "Path=/";
        assert!(is_asked_for, "{part:?} in {header:?}");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    texts(CORPUS).iter().map(|header| format!("n\nvalue\n{header}").into_bytes()).collect()
}

pub(crate) fn set_cookie_seeds() -> Vec<Vec<u8>> {
    [
        "better-auth.session_token\nabc.def=\n/\nexample.com",
        "__Host-a\nä b;c\n/auth\n",
        "__Secure-a\n\n\n.example.com",
        "a\n%00%zz\n/; Domain=evil.example\nb; Path=/",
        "a b\nc\n/\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
