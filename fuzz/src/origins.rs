//! Origins and redirects: what is trusted is what a URL parser that is not ours finds in the value.

use crate::{lines, texts};
use narthex::{fuzzing::append_query, http::TrustedOrigins};
use std::sync::LazyLock;
use url::Url;

const CORPUS: &str = include_str!("../../crates/core/src/http/testdata/origins.json");
const BASE: &str = "https://auth.example.org";

static EXACT: LazyLock<TrustedOrigins> = LazyLock::new(|| TrustedOrigins::new(["https://app.example.com"]));
static SUBDOMAINS: LazyLock<TrustedOrigins> =
    LazyLock::new(|| TrustedOrigins::new(["https://*.example.com"]));
static HOSTS: LazyLock<TrustedOrigins> = LazyLock::new(|| TrustedOrigins::new(["*.example.com"]));
static RANGE: LazyLock<TrustedOrigins> = LazyLock::new(|| TrustedOrigins::new(["http://192.168.*"]));
static APP: LazyLock<TrustedOrigins> = LazyLock::new(|| TrustedOrigins::new(["myapp://"]));
static NOBODY: LazyLock<TrustedOrigins> = LazyLock::new(|| TrustedOrigins::new([""; 0]));

/// One value before patterns of each kind.
pub(crate) fn origin(input: &[u8]) {
    let Ok(value) = std::str::from_utf8(input) else { return };
    let url = Url::parse(value).ok();
    let is = |holds: fn(&Url) -> bool| url.as_ref().is_some_and(holds);
    if EXACT.allows_origin(value) {
        assert!(is(|url| url.origin().ascii_serialization() == "https://app.example.com"), "{value:?}");
    }
    if SUBDOMAINS.allows_origin(value) {
        assert!(
            is(|url| url.scheme() == "https" && is_below_example(url) && url.port().is_none()),
            "{value:?}"
        );
    }
    if HOSTS.allows_origin(value) {
        assert!(is(|url| matches!(url.scheme(), "http" | "https") && is_below_example(url)), "{value:?}");
    }
    if RANGE.allows_origin(value) {
        let is_local = |url: &Url| match url.host() {
            Some(url::Host::Ipv4(address)) => address.octets().starts_with(&[192, 168]),
            _ => false,
        };
        assert!(is(is_local), "{value:?}");
    }
    if APP.allows_origin(value) {
        assert!(is(|url| url.scheme() == "myapp"), "{value:?}");
    }
    assert!(!NOBODY.allows_origin(value), "{value:?}");
    if NOBODY.allows_redirect(value) {
        stays(value);
        let more = append_query(value, "error=a%20b");
        assert!(more.is_some(), "{value:?}");
        stays(&more.unwrap_or_default());
    }
}

fn is_below_example(url: &Url) -> bool {
    url.host_str().is_some_and(|host| host.ends_with(".example.com"))
}

/// A browser that is sent there remains with us, also when somebody keeps the path alone.
fn stays(value: &str) {
    let base = Url::parse(BASE).ok();
    let joined = |value: &str| base.as_ref().and_then(|base| base.join(value).ok());
    let target = joined(value);
    let origin = |url: &Option<Url>| url.as_ref().map(|url| url.origin().ascii_serialization());
    assert_eq!(origin(&target).as_deref(), Some(BASE), "{value:?}");
    let path = target.map(|url| url.path().to_owned()).unwrap_or_default();
    assert_eq!(origin(&joined(&path)).as_deref(), Some(BASE), "{value:?}, of which the path is {path:?}");
}

/// Any pattern and any value.
pub(crate) fn pattern(input: &[u8]) {
    let [pattern, value] = lines(input);
    let trusted = TrustedOrigins::new([pattern]);
    assert_eq!(trusted.iter().collect::<Vec<_>>().concat(), pattern);
    if !trusted.allows_origin(value) || value == pattern {
        return;
    }
    let url = Url::parse(value);
    let Ok(url) = url else { return assert!(url.is_ok(), "{value:?} is no URL, and {pattern:?} admits it") };
    let scheme = pattern.split(':').next().unwrap_or_default();
    if pattern.contains("://") && !scheme.contains(['*', '?', '\\']) {
        assert_eq!(url.scheme(), scheme.to_lowercase(), "{pattern:?} admits {value:?}");
    }
    let is_web = matches!(url.scheme(), "http" | "https");
    if is_web && !pattern.contains(['*', '?']) {
        assert_eq!(url.origin().ascii_serialization(), pattern, "{pattern:?} admits {value:?}");
    }
}

pub(crate) fn origin_seeds() -> Vec<Vec<u8>> {
    let redirects = ["/a?b=c#d", "/.//evil.example", "/%2fevil.example", "/a/..//evil.example", "/\u{e9} f?"];
    let redirects = redirects.map(str::to_owned).into_iter();
    texts(CORPUS).into_iter().chain(redirects).map(String::into_bytes).collect()
}

pub(crate) fn pattern_seeds() -> Vec<Vec<u8>> {
    let corpus: serde_json::Value = serde_json::from_str(CORPUS).unwrap_or_default();
    let mut seeds = Vec::new();
    for (pattern, verdicts) in corpus.as_object().into_iter().flatten() {
        for value in texts(&verdicts.to_string()) {
            seeds.push(format!("{pattern}\n{value}").into_bytes());
        }
    }
    seeds
}
