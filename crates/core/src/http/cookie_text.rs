//! Cookies as text: reading a `Cookie` header, writing a `Set-Cookie` one.
//!
//! Upstream reads in two ways, and so do we. [`find`] takes what browsers send as it is
//! (`better-call`, `cookies.ts`), and the first of two equal names counts. [`chunked`] and [`pieces`]
//! believe only well-formed pairs (`cookies/cookie-utils.ts`, `cookies/session-store.ts`), and the last
//! counts. [`serialize`] writes attributes in upstream's order and cannot emit a header that says more
//! than its arguments.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
};

use super::percent::{decode_component, encode_component};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Browsers cut a longer `Max-Age` (400 days), and upstream refuses to send one.
const LONGEST_MAX_AGE: i64 = 34_560_000;

/// The largest integer that JavaScript tells apart from its neighbours.
const LARGEST_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// The first cookie of that name; present and empty is `Some("")`.
pub(crate) fn find<'header>(header: &'header str, name: &str) -> Option<Cow<'header, str>> {
    // Most requests lack most cookies, which one look over the text shows sooner than all its pairs.
    if !header.contains(name) {
        return None;
    }
    raw_pairs(header).find(|(key, _)| *key == name).map(|(_, value)| decode(raw_value(value)))
}

/// A value that may be spread over `name.0`, `name.1`, …: in the order of the numbers, whether or not all
/// are there. The plain name wins unless it is empty.
pub(crate) fn chunked<'header>(header: &'header str, name: &str) -> Option<Cow<'header, str>> {
    if let Some(whole) = find(header, name).filter(|value| !value.is_empty()) {
        return Some(whole);
    }
    let chunks: BTreeMap<u64, &str> = well_formed_pairs(header)
        .filter_map(|(key, value)| chunk_index(key, name).map(|index| (index, value)))
        .collect();
    (!chunks.is_empty()).then(|| Cow::Owned(chunks.into_values().map(decode).collect()))
}

/// The names under which a request carries `name` or chunks of it, each once: what has to be expired when
/// the value is removed or written anew.
pub(crate) fn pieces<'header>(header: &'header str, name: &str) -> Vec<&'header str> {
    let mut seen = HashSet::new();
    well_formed_pairs(header)
        .map(|(key, _)| key)
        .filter(|key| is_piece(key, name) && seen.insert(*key))
        .collect()
}

/// Whether a `Set-Cookie` value sets `name`, a chunk of it, or another name that goes on with a dot.
pub(crate) fn is_for(set_cookie: &str, name: &str) -> bool {
    set_cookie.strip_prefix(name).is_some_and(|rest| rest.starts_with(['=', '.']))
}

/// Whether `key` is `name` or a chunk of it.
pub(crate) fn is_piece(key: &str, name: &str) -> bool {
    key == name || chunk_index(key, name).is_some()
}

/// A header in which `name` has this value, and every other well-formed cookie the one it had; of two with one name
/// the last counts and stands where the first stood.
pub(crate) fn with(header: &str, name: &str, value: &str) -> String {
    let mut pairs: Vec<(&str, Cow<'_, str>)> = Vec::new();
    let mut put = |name, value| match pairs.iter_mut().find(|(other, _)| *other == name) {
        Some((_, other)) => *other = value,
        None => pairs.push((name, value)),
    };
    for (name, value) in well_formed_pairs(header) {
        put(name, decode(value));
    }
    if is_name(name) {
        put(name, Cow::Borrowed(value));
    }
    let pairs: Vec<_> =
        pairs.iter().map(|(name, value)| format!("{name}={}", encode_component(value))).collect();
    pairs.join("; ")
}

/// Names, and values for [`raw_value`].
fn raw_pairs(header: &str) -> impl Iterator<Item = (&str, &str)> {
    header.split(';').filter_map(|pair| pair.split_once('=').map(|(key, value)| (trim(key), value)))
}

fn raw_value(value: &str) -> &str {
    let value = trim(value);
    // A leading quote costs the last character too, whatever it is.
    value.strip_prefix('"').map_or(value, without_last)
}

/// As `String.prototype.trim` does. After the space that browsers put between two cookies there is usually nothing
/// to remove.
fn trim(text: &str) -> &str {
    let text = text.strip_prefix(' ').unwrap_or(text);
    match text.as_bytes() {
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => text,
        _ => text.trim_matches(is_javascript_space),
    }
}

fn well_formed_pairs(header: &str) -> impl Iterator<Item = (&str, &str)> {
    header.split(';').filter_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let (key, value) = (key.trim_matches([' ', '\t']), value.trim_matches([' ', '\t']));
        let value = value.strip_prefix('"').and_then(|quoted| quoted.strip_suffix('"')).unwrap_or(value);
        let is_value = value.bytes().all(|byte| is_value_byte(byte) || matches!(byte, b' ' | b','));
        (is_name(key) && is_value).then_some((key, value))
    })
}

/// The number of a chunk, if it is written the way `String(number)` writes it.
fn chunk_index(key: &str, name: &str) -> Option<u64> {
    let digits = key.strip_prefix(name)?.strip_prefix('.')?;
    let is_canonical =
        digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|index| is_canonical && *index <= LARGEST_SAFE_INTEGER)
}

fn decode(value: &str) -> Cow<'_, str> {
    if value.contains('%') {
        return decode_component(value).unwrap_or(Cow::Borrowed(value));
    }
    Cow::Borrowed(value)
}

fn without_last(text: &str) -> &str {
    let mut characters = text.chars();
    characters.next_back();
    characters.as_str()
}

/// What `String.prototype.trim` removes.
fn is_javascript_space(character: char) -> bool {
    character == '\u{feff}' || (character.is_whitespace() && character != '\u{85}')
}

/// A token of RFC 9110.
pub(crate) fn is_name(text: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token)
}

/// A cookie octet of RFC 6265.
fn is_value_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

/// When a browser sends a cookie along with requests from other sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SameSite {
    /// Never.
    #[serde(alias = "Strict")]
    Strict,
    /// Only when the user follows a link.
    #[serde(alias = "Lax")]
    Lax,
    /// Always; browsers ask for `Secure` in return.
    #[serde(alias = "None")]
    None,
}

impl SameSite {
    fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}

/// Everything of a `Set-Cookie` header but name and value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Seconds until the cookie is forgotten; a negative number counts as none.
    pub max_age: Option<i64>,
    /// The domain whose hosts all receive the cookie; empty counts as none.
    pub domain: Option<String>,
    /// The path below which it is sent; empty counts as none.
    pub path: Option<String>,
    /// Hidden from scripts.
    pub http_only: bool,
    /// Only over TLS.
    pub secure: bool,
    /// When other sites make the browser send it.
    pub same_site: Option<SameSite>,
    /// Kept apart for each top-level site.
    pub partitioned: bool,
}

/// Why a cookie cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCookie {
    /// The name is not a token.
    #[error("a cookie's name must be a token")]
    Name,
    /// The value holds what has to be encoded.
    #[error("a cookie's value must be encoded")]
    Value,
    /// The domain could be read as another attribute.
    #[error("a cookie's domain must be printable ASCII without `;`")]
    Domain,
    /// The path could be read as another attribute.
    #[error("a cookie's path must be printable ASCII without `;`")]
    Path,
    /// The lifetime is longer than browsers keep a cookie.
    #[error("a cookie's Max-Age must not be above {LONGEST_MAX_AGE} seconds")]
    MaxAge,
}

/// `name=value; Max-Age=…; Domain=…; Path=…; HttpOnly; Secure; SameSite=Lax; Partitioned`, in this order;
/// `encoded_value` is written as it is.
///
/// `__Secure-` in a name implies `Secure`; `__Host-` implies also `Path=/` and no domain.
pub(crate) fn serialize(
    name: &str,
    encoded_value: &str,
    attributes: &Attributes,
) -> Result<String, InvalidCookie> {
    if !is_name(name) {
        return Err(InvalidCookie::Name);
    }
    if !encoded_value.bytes().all(is_value_byte) {
        return Err(InvalidCookie::Value);
    }
    let is_host_only = name.starts_with("__Host-");
    let domain = attributes.domain.as_deref().filter(|domain| !domain.is_empty() && !is_host_only);
    let path = if is_host_only { Some("/") } else { attributes.path.as_deref() };
    let path = path.filter(|path| !path.is_empty());
    if !domain.is_none_or(is_attribute_text) {
        return Err(InvalidCookie::Domain);
    }
    if !path.is_none_or(is_attribute_text) {
        return Err(InvalidCookie::Path);
    }

    let mut cookie = format!("{name}={encoded_value}");
    if let Some(seconds) = attributes.max_age.filter(|seconds| *seconds >= 0) {
        if seconds > LONGEST_MAX_AGE {
            return Err(InvalidCookie::MaxAge);
        }
        cookie.extend(["; Max-Age=", &seconds.to_string()]);
    }
    if let Some(domain) = domain {
        cookie.extend(["; Domain=", domain]);
    }
    if let Some(path) = path {
        cookie.extend(["; Path=", path]);
    }
    if attributes.http_only {
        cookie.push_str("; HttpOnly");
    }
    if attributes.secure || is_host_only || name.starts_with("__Secure-") {
        cookie.push_str("; Secure");
    }
    if let Some(same_site) = attributes.same_site {
        cookie.extend(["; SameSite=", same_site.as_str()]);
    }
    if attributes.partitioned {
        cookie.push_str("; Partitioned");
    }
    Ok(cookie)
}

fn is_attribute_text(text: &str) -> bool {
    text.bytes().all(|byte| (byte.is_ascii_graphic() || byte == b' ') && byte != b';')
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    type Outcome = Result<(), Box<dyn Error>>;

    /// What upstream makes of these headers. Written by running `parseCookies` and `serializeCookie` of
    /// better-call, and `getChunkedCookie` and `createSessionStore` of Better Auth 1.7.24, with chunks of
    /// a cookie named `n`.
    const UPSTREAM: &str = include_str!("testdata/cookies.json");

    #[derive(Deserialize)]
    struct Corpus {
        pairs: Vec<(String, Vec<(String, String)>)>,
        chunks: Vec<(String, Option<String>, Vec<String>)>,
        written: Vec<(String, String, Options, Option<String>)>,
    }

    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default, deny_unknown_fields)]
    struct Options {
        max_age: Option<i64>,
        domain: Option<String>,
        path: Option<String>,
        http_only: bool,
        secure: bool,
        same_site: Option<String>,
        partitioned: bool,
    }

    impl From<Options> for Attributes {
        fn from(options: Options) -> Self {
            let Options { max_age, domain, path, http_only, secure, same_site, partitioned } = options;
            let same_site = same_site.map(|text| match text.as_str() {
                "strict" => SameSite::Strict,
                "lax" => SameSite::Lax,
                _ => SameSite::None,
            });
            Self { max_age, domain, path, http_only, secure, same_site, partitioned }
        }
    }

    fn corpus() -> Result<Corpus, serde_json::Error> {
        serde_json::from_str(UPSTREAM)
    }

    #[test]
    fn headers_are_read_as_upstream_reads_them() -> Outcome {
        for (header, expected) in corpus()?.pairs {
            let mut pairs: Vec<(String, String)> = Vec::new();
            for (key, value) in raw_pairs(&header) {
                if !pairs.iter().any(|(known, _)| known == key) {
                    pairs.push((key.to_owned(), decode(raw_value(value)).into_owned()));
                }
            }
            assert_eq!(pairs, expected, "{header:?}");
            for (key, value) in &expected {
                assert_eq!(find(&header, key).as_deref(), Some(value.as_str()), "{key:?} in {header:?}");
            }
            assert_eq!(find(&header, "absent"), None, "{header:?}");
        }
        Ok(())
    }

    #[test]
    fn chunks_are_joined_and_listed_as_upstream_does() -> Outcome {
        for (header, joined, names) in corpus()?.chunks {
            assert_eq!(chunked(&header, "n").as_deref(), joined.as_deref(), "{header:?}");
            assert_eq!(pieces(&header, "n"), names, "{header:?}");
        }
        Ok(())
    }

    #[test]
    fn cookies_are_written_as_upstream_writes_them() -> Outcome {
        for (name, value, options, expected) in corpus()?.written {
            let written = serialize(&name, &value, &options.into());
            assert_eq!(written.as_ref().ok(), expected.as_ref(), "{name}={value}: {written:?}");
        }
        Ok(())
    }

    #[test]
    fn the_corpus_is_complete() -> Outcome {
        let Corpus { pairs, chunks, written } = corpus()?;
        assert_eq!((pairs.len(), chunks.len(), written.len()), (132, 132, 19));
        Ok(())
    }

    #[test]
    fn reading_a_plain_value_copies_nothing() {
        assert!(matches!(find("a=b; c=\"d\"", "c"), Some(Cow::Borrowed("d"))));
        assert!(matches!(find("a=%zz", "a"), Some(Cow::Borrowed("%zz"))));
        assert!(matches!(chunked("a=b", "a"), Some(Cow::Borrowed("b"))));
    }

    #[test]
    fn a_header_of_chunks_only_is_read_in_reasonable_time() {
        let header: String =
            (0..20_000).rev().flat_map(|index| ["n.".into(), index.to_string(), "=a;".into()]).collect();
        assert_eq!(chunked(&header, "n").map(|value| value.len()), Some(20_000));
        assert_eq!(pieces(&header, "n").len(), 20_000);
    }

    #[test]
    fn nothing_can_be_smuggled_into_a_header() {
        let plain = Attributes::default();
        for hostile in
            ["", "a b", "a;b", "a=b", "a\r\nb", "a\nb", "a\0", "a\u{7f}", "\u{e9}", "a,b", "a\"", "a(b", " a"]
        {
            assert_eq!(serialize(hostile, "b", &plain), Err(InvalidCookie::Name), "{hostile:?}");
        }
        for hostile in [
            "a b",
            "a;b",
            "a\r\nSet-Cookie: b",
            "a\n",
            "\r",
            "a\0",
            "a\tb",
            "\u{7f}",
            "\u{e9}",
            "a,b",
            "\"a\"",
            "\\",
        ] {
            assert_eq!(serialize("a", hostile, &plain), Err(InvalidCookie::Value), "{hostile:?}");
        }
        for hostile in ["/;Domain=x", "/\r\nSet-Cookie: b", "/\n", "/\0", "/\u{e9}", "/\u{7f}"] {
            let path = Attributes { path: Some(hostile.to_owned()), ..plain.clone() };
            assert_eq!(serialize("a", "b", &path), Err(InvalidCookie::Path), "{hostile:?}");
            let domain = Attributes { domain: Some(hostile.to_owned()), ..plain.clone() };
            assert_eq!(serialize("a", "b", &domain), Err(InvalidCookie::Domain), "{hostile:?}");
            assert_eq!(serialize("__Host-a", "b", &domain).as_deref(), Ok("__Host-a=b; Path=/; Secure"));
        }
        let long = Attributes { max_age: Some(i64::MAX), ..plain };
        assert_eq!(serialize("a", "b", &long), Err(InvalidCookie::MaxAge));
    }

    #[test]
    fn an_earlier_cookie_is_recognised_by_name_and_chunk() {
        for (set_cookie, expected) in [
            ("session=a; Path=/", true),
            ("session=", true),
            ("session.0=a", true),
            ("session.data=a", true),
            ("session", false),
            ("sessions=a", false),
            ("session_data=a", false),
            ("Session=a", false),
            (" session=a", false),
            ("__Secure-session=a", false),
            ("other=session=a", false),
            ("", false),
        ] {
            assert_eq!(is_for(set_cookie, "session"), expected, "{set_cookie:?}");
        }
    }
}
