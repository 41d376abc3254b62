//! Which origins may call us, and where we may send a browser.
//!
//! Patterns are compiled once, at start. Web values are judged by the origin a WHATWG URL parser gives
//! them, so that userinfo, default ports, letter case and IDN cannot disguise a host; addresses of
//! applications (`myapp://…`) are compared as text, because parsers disagree about them. Matching takes
//! time linear in the value for each pattern, whatever the pattern.
//!
//! Upstream: `auth/trusted-origins.ts`, `utils/wildcard.ts` and `utils/url.ts`. Every verdict of theirs
//! over `testdata/origins.json` is ours too, except where it would be an open redirect: a host pattern
//! admits web addresses only, a path that resolves to `//host` is refused, and `/**` at the end of a
//! pattern stands for a path and not for the rest of a host name.

use std::iter;

use url::Url;

use super::percent::decode_component;

const SCHEME_END: &str = "://";

/// Only a base to resolve paths against; never sent anywhere.
const PATH_BASE: &str = "https://path.invalid";

/// Origins and origin patterns that may call us or be redirected to, compiled once.
#[derive(Clone, Debug)]
pub struct TrustedOrigins {
    patterns: Vec<Pattern>,
}

impl TrustedOrigins {
    /// Compiles the patterns in their order; empty ones are dropped.
    pub fn new(patterns: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let compile = |text: &str| (!text.is_empty()).then(|| Pattern::new(text));
        Self { patterns: patterns.into_iter().filter_map(|text| compile(text.as_ref())).collect() }
    }

    /// Whether an `Origin` or `Referer` header value is trusted; relative values never are.
    pub fn allows_origin(&self, value: &str) -> bool {
        if self.patterns.iter().any(|pattern| pattern.is_origin(value)) {
            return true;
        }
        Address::parse(value)
            .is_some_and(|address| self.patterns.iter().any(|pattern| pattern.matches(&address)))
    }

    /// Whether a browser may be sent there: a trusted origin, or a path that stays on our own.
    pub fn allows_redirect(&self, value: &str) -> bool {
        if value.starts_with('/') { stays_on_origin(value) } else { self.allows_origin(value) }
    }

    /// The patterns as they were written.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().map(|pattern| pattern.text.as_str())
    }
}

/// Whether browsers, proxies and routers all read `value` as a path of the origin it is resolved against.
fn stays_on_origin(value: &str) -> bool {
    if value.starts_with("//") || value.contains('\\') || value.contains(char::is_control) {
        return false;
    }
    let path = value.split(['?', '#']).next().unwrap_or(value);
    if path.split('%').skip(1).any(is_encoded_separator) {
        return false;
    }
    // Whoever resolves `/.//host` and keeps the path holds `//host`, which names another origin. Without
    // control characters and backslashes, only adjacent slashes can become a leading pair.
    !path.contains("//")
        || Url::parse(PATH_BASE)
            .and_then(|base| base.join(value))
            .is_ok_and(|resolved| !resolved.path().starts_with("//"))
}

fn is_encoded_separator(after_percent: &str) -> bool {
    matches!(after_percent.as_bytes(), [b'2', b'f' | b'F', ..] | [b'5', b'c' | b'C', ..])
}

/// A value that is to be judged.
enum Address {
    /// `http` or `https`, as the URL parser prints its origin.
    Web { origin: String },
    /// Any other scheme.
    App(AppAddress),
}

impl Address {
    fn parse(value: &str) -> Option<Self> {
        let url = Url::parse(value).ok()?;
        match url.scheme() {
            "http" | "https" => Some(Self::Web { origin: url.origin().ascii_serialization() }),
            scheme => AppAddress::parse(value, Reading::Value)
                .filter(|address| is_special(scheme) || address.has_valid_host())
                .map(Self::App),
        }
    }
}

/// Whether the URL Standard gives the scheme rules of its own, such as `\` for `/`.
fn is_special(scheme: &str) -> bool {
    matches!(scheme, "http" | "https" | "ws" | "wss" | "ftp" | "file")
}

#[derive(Clone, Debug)]
struct Pattern {
    text: String,
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    /// No wildcard. `is_origin` says that the text is an origin as URL parsers print it.
    Exact { is_origin: bool, app: Option<AppAddress> },
    /// A wildcard without a scheme: host and port of a web address.
    Host(HostGlob),
    /// A wildcard with a scheme: a web origin, or an application's address.
    Wildcard { origin: Glob, ipv4_only: bool, app: Option<AppGlob> },
}

impl Pattern {
    fn new(text: &str) -> Self {
        let rule = match text.split_once(SCHEME_END) {
            _ if !has_wildcard(text) => Rule::Exact {
                is_origin: matches!(Address::parse(text), Some(Address::Web { origin }) if origin == text),
                app: AppAddress::parse(text, Reading::Value),
            },
            None => Rule::Host(HostGlob::new(text)),
            Some((_, rest)) => Rule::Wildcard {
                origin: Glob::new(text),
                ipv4_only: is_ipv4_range(rest),
                app: AppAddress::parse(text, Reading::Wildcard).map(AppGlob::new),
            },
        };
        Self { text: text.to_owned(), rule }
    }

    /// The common case, decided without parsing.
    fn is_origin(&self, value: &str) -> bool {
        matches!(self.rule, Rule::Exact { is_origin: true, .. }) && self.text == value
    }

    fn matches(&self, address: &Address) -> bool {
        match (&self.rule, address) {
            (Rule::Exact { .. }, Address::Web { origin }) => *origin == self.text,
            (Rule::Exact { app, .. }, Address::App(address)) => {
                app.as_ref().is_some_and(|pattern| pattern.covers(address))
            }
            (Rule::Host(glob), Address::Web { origin }) => glob.matches(after_scheme(origin)),
            // The name in `other-app://www.example.com` proves nothing: any program can claim a scheme,
            // and `javascript://www.example.com/%0a…` is a program.
            (Rule::Host(_), Address::App(_)) => false,
            (Rule::Wildcard { origin: glob, ipv4_only, .. }, Address::Web { origin }) => {
                glob.matches(origin) && (!ipv4_only || is_ipv4_host(after_scheme(origin)))
            }
            (Rule::Wildcard { app, .. }, Address::App(address)) => {
                app.as_ref().is_some_and(|pattern| pattern.matches(address))
            }
        }
    }
}

fn has_wildcard(pattern: &str) -> bool {
    pattern.contains(['*', '?'])
}

fn after_scheme(origin: &str) -> &str {
    origin.split_once(SCHEME_END).map_or(origin, |(_, rest)| rest)
}

/// Whether the host of a wildcard pattern is made of digits, dots and wildcards: then it means a range of
/// addresses, and must not admit `192.168.example.com`.
fn is_ipv4_range(authority: &str) -> bool {
    let host = authority.split([':', '/']).next().unwrap_or(authority);
    host.contains(|digit: char| digit.is_ascii_digit())
        && host.chars().all(|part| part.is_ascii_digit() || matches!(part, '*' | '?' | '.'))
}

fn is_ipv4_host(authority: &str) -> bool {
    let host = authority.split(':').next().unwrap_or(authority);
    host.parse::<std::net::Ipv4Addr>().is_ok()
}

#[derive(Clone, Debug)]
struct HostGlob {
    glob: Glob,
    ipv4_only: bool,
}

impl HostGlob {
    fn new(pattern: &str) -> Self {
        Self { glob: Glob::new(pattern), ipv4_only: is_ipv4_range(pattern) }
    }

    fn matches(&self, authority: &str) -> bool {
        self.glob.matches(authority) && (!self.ipv4_only || is_ipv4_host(authority))
    }
}

/// How the text of an application's address is cut: `?` is a wildcard in a pattern and starts the query
/// everywhere else.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Value,
    Wildcard,
}

/// `scheme://authority/path` of an application, cut by hand.
#[derive(Clone, Debug)]
struct AppAddress {
    scheme: String,
    authority: String,
    /// Decoded and without dot segments, so that `/callback/../other` is not below `/callback`; empty for
    /// the root.
    path: String,
}

impl AppAddress {
    fn parse(text: &str, reading: Reading) -> Option<Self> {
        if text.contains(char::is_control) {
            return None;
        }
        let is_end = |part: char| part == '#' || (part == '?' && reading == Reading::Value);
        let (scheme, rest) = text.split_once(':').filter(|(scheme, _)| !scheme.is_empty())?;
        let (authority, rest) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find(|part| part == '/' || is_end(part)).unwrap_or(rest.len())),
            None => ("", rest),
        };
        let path = rest.split(is_end).next().unwrap_or(rest);
        Some(Self {
            scheme: scheme.to_lowercase(),
            authority: authority.to_lowercase(),
            path: resolve_path(path),
        })
    }

    /// What the URL Standard asks of a host and the `url` crate lets pass: none may be missing after
    /// credentials, and neither host nor port has a backslash.
    fn has_valid_host(&self) -> bool {
        match self.authority.rsplit_once('@') {
            // A space at the end is no part of a URL.
            Some((_, host)) => !host.trim_end_matches(' ').is_empty() && !host.contains('\\'),
            None => !self.authority.contains('\\'),
        }
    }

    /// As a pattern: what it leaves out it does not care about, and its path stands for all below it.
    fn covers(&self, address: &Self) -> bool {
        self.scheme == address.scheme
            && (self.authority.is_empty() || self.authority == address.authority)
            && address
                .path
                .strip_prefix(self.path.as_str())
                .is_some_and(|rest| self.path.is_empty() || rest.is_empty() || rest.starts_with('/'))
    }
}

fn resolve_path(path: &str) -> String {
    let decoded = decode_component(path).unwrap_or(path.into());
    let mut segments = Vec::new();
    for segment in decoded.split('/') {
        match segment {
            ".." => drop(segments.pop()),
            "." | "" => {}
            _ => segments.push(segment),
        }
    }
    segments.iter().flat_map(|segment| ["/", segment]).collect()
}

/// A wildcard pattern for the addresses of one scheme; `None` matches anything.
#[derive(Clone, Debug)]
struct AppGlob {
    scheme: String,
    authority: Option<HostGlob>,
    path: Option<Glob>,
}

impl AppGlob {
    fn new(pattern: AppAddress) -> Self {
        let AppAddress { scheme, authority, path } = pattern;
        Self {
            scheme,
            authority: (!authority.is_empty()).then(|| HostGlob::new(&authority)),
            path: (!path.is_empty()).then(|| Glob::new(&path)),
        }
    }

    fn matches(&self, address: &AppAddress) -> bool {
        let path = if address.path.is_empty() { "/" } else { &address.path };
        self.scheme == address.scheme
            && !address.authority.contains('@')
            && self.authority.as_ref().is_none_or(|glob| glob.matches(&address.authority))
            && self.path.as_ref().is_none_or(|glob| glob.matches(path))
    }
}

/// A wildcard pattern: `?` is one character and `*` any run of them, except `/` and `\`; `**` as a whole
/// segment is any number of segments; `\` takes the next character literally.
///
/// Characters are UTF-16 units, as JavaScript counts them.
#[derive(Clone, Debug)]
pub(super) struct Glob {
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Unit(u16),
    One,
    Run,
    Separator,
    Separators,
    Anything,
    /// Nothing, or anything that ends with a separator.
    Folders,
    /// Nothing, or anything that begins with a separator.
    Below,
}

impl Glob {
    pub(super) fn new(pattern: &str) -> Self {
        let mut steps = Vec::new();
        let mut segments = pattern.split('/').enumerate().peekable();
        while let Some((index, segment)) = segments.next() {
            let next = segments.peek().map(|(_, next)| *next);
            match (segment, next) {
                ("", _) if index > 0 => {}
                ("**", Some("**")) => {}
                ("**", Some(_)) => {
                    if index > 0 {
                        steps.extend([Step::Separator, Step::Separators]);
                    }
                    steps.push(Step::Folders);
                }
                ("**", None) => {
                    let is_open = matches!(steps.last(), None | Some(Step::Separators | Step::Folders));
                    steps.push(if is_open { Step::Anything } else { Step::Below });
                }
                (_, next) => {
                    push_segment(&mut steps, segment);
                    match next {
                        None => steps.push(Step::Separators),
                        Some("**") => {}
                        Some(_) => steps.extend([Step::Separator, Step::Separators]),
                    }
                }
            }
        }
        Self { steps }
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let text: Vec<u16> = text.encode_utf16().collect();
        // Cell `n` says whether the steps so far can end after `n` units.
        let mut reach = vec![false; text.len() + 1];
        if let Some(start) = reach.first_mut() {
            *start = true;
        }
        for step in &self.steps {
            step.advance(&mut reach, &text);
        }
        reach.last().is_some_and(|end| *end)
    }
}

fn push_segment(steps: &mut Vec<Step>, segment: &str) {
    let mut units = segment.encode_utf16();
    while let Some(unit) = units.next() {
        if unit == u16::from(b'\\') {
            steps.extend(units.next().map(Step::Unit));
        } else if unit == u16::from(b'?') {
            steps.push(Step::One);
        } else if unit == u16::from(b'*') {
            steps.push(Step::Run);
        } else {
            steps.push(Step::Unit(unit));
        }
    }
}

impl Step {
    fn advance(self, reach: &mut [bool], text: &[u16]) {
        // The cell to the left before and after this step, and what all cells to the left have shown.
        let (mut old_left, mut new_left, mut seen, mut below) = (false, false, false, false);
        let units = iter::once(None).chain(text.iter().copied().map(Some));
        for (cell, unit) in reach.iter_mut().zip(units) {
            let is_separator = unit.is_some_and(|unit| unit == u16::from(b'/') || unit == u16::from(b'\\'));
            let is_part = unit.is_some() && !is_separator;
            let here = *cell;
            below |= old_left && is_separator;
            *cell = match self {
                Self::Unit(wanted) => old_left && unit == Some(wanted),
                Self::One => old_left && is_part,
                Self::Run => here || (new_left && is_part),
                Self::Separator => old_left && is_separator,
                Self::Separators => here || (new_left && is_separator),
                Self::Anything => here || seen,
                Self::Folders => here || (seen && is_separator),
                Self::Below => here || below,
            };
            seen |= here;
            old_left = here;
            new_left = *cell;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, error::Error};

    use super::*;

    /// How many pairs of pattern and value the corpus has.
    const CASES: usize = 1515;

    type Outcome = Result<(), Box<dyn Error>>;

    /// Upstream's verdicts, by pattern and value: `origin` (a header and a redirect target), `redirect`
    /// (only the latter) or `refused`. Written by running `matchesOriginPattern` of Better Auth 1.7.24.
    const UPSTREAM: &str = include_str!("testdata/origins.json");

    /// Where upstream says yes and we say no.
    const REFUSED_BY_US: [(&[&str], &[&str]); 7] = [
        // Resolved against an origin these become `//evil.com`: upstream's own redirect does that.
        (
            &["https://app.example.com"],
            &[
                "/.//",
                "/.//evil.com",
                "/.//evil.com?x#y",
                "/.///evil.com",
                "/./%2e//evil.com",
                "/%2e//evil.com",
                "/%2E%2e//evil.com/x",
                "/..//evil.com",
                "/a/..//",
                "/x/..//evil.com",
                "/x/y/../..//evil.com",
            ],
        ),
        // No name in the sense of IDNA: the punycode decodes to ASCII. Node accepts it nevertheless.
        (&["https://*"], &["https://xn--xn--", "https://xn----", "https://xn--1--"]),
        // A host pattern says nothing about who owns a scheme.
        (&["*", "**", "*.example.com"], APPS),
        (&["*", "**"], &["evil://evil.com", "evil://X.EXAMPLE.COM"]),
        (&["*", "**", "*.example.com"], &["evil://user@x.example.com"]),
        (
            &["*.*.*.*", "192.168.*.*"],
            &["exp://192.168.1.5", "exp://192.168.1.5:8081", "exp://u@192.168.1.5:8081"],
        ),
        (
            &["*.*.*.*"],
            &["exp://10.0.0.2:19000/--/cb", "exp://192.168.01.5:8081", "exp://192.168.evil.com:8081"],
        ),
    ];

    const APPS: &[&str] = &[
        "javascript://x.example.com/%0aalert(1)",
        "vbscript://x.example.com/",
        "data://x.example.com/",
        "file://x.example.com/etc/passwd",
        "ftp://x.example.com",
        "ws://x.example.com",
        "wss://x.example.com/y",
        "myapp://x.example.com",
        "evil://x.example.com/",
    ];

    /// `/**` must not let the host name or the port go on.
    const CUT_BY_US: [(&str, &str); 8] = [
        ("example.com/**", "https://example.com.evil.com"),
        ("https://example.com/**", "https://example.com.evil.com"),
        ("https://example.com/**", "https://example.comevil.com"),
        ("https://example.com/**", "https://example.com:8443"),
        ("https://*.example.com/**", "https://a.example.com.evil.com"),
        ("http://10.*/**", "http://10.attacker.com"),
        ("http://10.*/**", "http://10.0.0.1.evil.com"),
        ("myapp://*/cb/**", "myapp://x/cbx"),
    ];

    fn is_refused_by_us(pattern: &str, value: &str) -> bool {
        let is_listed =
            |(patterns, values): &(&[&str], &[&str])| patterns.contains(&pattern) && values.contains(&value);
        REFUSED_BY_US.iter().any(is_listed) || CUT_BY_US.contains(&(pattern, value))
    }

    fn verdict(pattern: &str, value: &str) -> &'static str {
        let trusted = TrustedOrigins::new([pattern]);
        match (trusted.allows_origin(value), trusted.allows_redirect(value)) {
            (true, true) => "origin",
            (false, true) => "redirect",
            (false, false) => "refused",
            (true, false) => "an origin that is no redirect target",
        }
    }

    #[test]
    fn every_verdict_is_upstreams_or_a_listed_refusal() -> Outcome {
        let corpus: BTreeMap<String, BTreeMap<String, Vec<String>>> = serde_json::from_str(UPSTREAM)?;
        let mut count = 0;
        let mut wrong = Vec::new();
        for (pattern, verdicts) in &corpus {
            for (upstream, value) in
                verdicts.iter().flat_map(|(verdict, values)| values.iter().map(move |value| (verdict, value)))
            {
                let ours = verdict(pattern, value);
                let is_expected = if is_refused_by_us(pattern, value) {
                    upstream != "refused" && ours == "refused"
                } else {
                    upstream == ours
                };
                count += 1;
                if !is_expected {
                    wrong.push(format!("({pattern:?}, {value:?}): {upstream} upstream, {ours} here"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!(count, CASES, "the corpus is complete");
        Ok(())
    }

    #[test]
    fn each_pattern_is_asked() {
        let trusted = TrustedOrigins::new(["https://one.example", "", "*.two.example", "myapp://"]);
        assert_eq!(trusted.iter().collect::<Vec<_>>(), ["https://one.example", "*.two.example", "myapp://"]);
        for value in ["https://one.example", "https://one.example/x?y", "http://a.two.example", "myapp://x/y"]
        {
            assert!(trusted.allows_origin(value), "{value}");
            assert!(trusted.allows_redirect(value), "{value}");
        }
        for value in ["https://three.example", "http://one.example", "https://two.example", "yourapp://x/y"] {
            assert!(!trusted.allows_origin(value), "{value}");
            assert!(!trusted.allows_redirect(value), "{value}");
        }
    }

    #[test]
    fn nothing_is_trusted_without_patterns_except_our_own_paths() {
        let trusted = TrustedOrigins::new([""; 2]);
        assert!(!trusted.allows_origin("") && !trusted.allows_origin("https://one.example"));
        assert!(!trusted.allows_redirect("") && !trusted.allows_redirect("//one.example"));
        assert!(trusted.allows_redirect("/path") && !trusted.allows_origin("/path"));
    }

    #[test]
    fn the_verdict_does_not_depend_on_length() {
        let long = "a".repeat(100_000);
        let trusted = TrustedOrigins::new(["https://app.example.com", "*.evil.example", "myapp://host/cb"]);
        for value in [
            format!("https://app.example.com/{long}"),
            format!("https://{long}@app.example.com/"),
            format!("myapp://host/cb/{long}"),
            format!("{}https://app.example.com", " ".repeat(100_000)),
        ] {
            assert!(trusted.allows_origin(&value), "{}", &value.chars().take(40).collect::<String>());
        }
        for value in [
            format!("https://app.example.com{long}"),
            format!("https://app.example.com.{long}"),
            format!("https://app.example.com@{long}.example"),
            format!("myapp://host/cb{long}"),
            format!("{long}://app.example.com"),
        ] {
            assert!(!trusted.allows_origin(&value), "{}", &value.chars().take(40).collect::<String>());
        }
        assert!(trusted.allows_redirect(&format!("/{long}")));
        assert!(!trusted.allows_redirect(&format!("/{long}/..{}/evil.com", "/..".repeat(1_000) + "/")));
    }

    #[test]
    fn a_pattern_with_many_wildcards_takes_linear_time() {
        let trusted =
            TrustedOrigins::new([format!("myapp://{}x", "*a".repeat(50)), "myapp://**/**/**/x".into()]);
        assert!(!trusted.allows_origin(&format!("myapp://{}", "a".repeat(20_000))));
    }
}
