//! Hostile values by the thousand, put together from their parts, and judged by what a browser would make of them.
//!
//! Each test knows how many it has made and how many were let through, and fails if the ones that are harmless are
//! refused as well.

use crate::support::{ADA, PASSWORD, ada};
use http::Method;
use narthex::RateLimitStorage;
use narthex_testkit::{Browser, TestApp};
use serde_json::json;
use std::fmt::Write as _;
use url::Url;

const OWN: &str = "http://localhost:3001";
const APP: &str = "https://app.example.com";

/// What stands before a host to make it look like ours, like a path, or like nothing at all.
const BEFORE: &[&str] = &[
    "",
    "/",
    "//",
    "///",
    "////",
    "/\\",
    "\\",
    "\\\\",
    "\\/",
    "\\/\\/",
    "/%5c",
    "/%5C%5C",
    "/%2f",
    "/%2F%2F",
    "%2f%2f",
    "/\t/",
    "/\n/",
    "/\r\n/",
    "\t//",
    "\n//",
    " //",
    "\u{a0}//",
    "\u{feff}//",
    "\0//",
    "/\0/",
    "/.//",
    "/..//",
    "/a/..//",
    "/./\\",
    "./",
    "../",
    "//./",
    "http:",
    "https:",
    "http:/",
    "https:/",
    "http://",
    "https://",
    "http:///",
    "https:\\\\",
    "HTTP://",
    "hTtPs://",
    "ht\ntp://",
    "javascript:",
    "javascript://",
    "jAvAsCrIpT:",
    "java\tscript:",
    "data:text/html,",
    "vbscript:",
    "file://",
    "blob:http://",
    "ws://",
    "ftp://",
    "about:",
    "view-source:http://",
    "intent://",
    "http://localhost:3001@",
    "http://localhost:3001\\@",
    "http://localhost:3001%40",
    "http://localhost:3001%2f@",
    "http://localhost:3001%23@",
    "http://localhost:3001&@",
    "http://localhost:3001;",
    "http://localhost:3001,",
    "//localhost:3001@",
    "//localhost:3001\\",
    "https://app.example.com@",
    "https://app.example.com.",
    "?",
    "#",
    ";",
    "／／",
    "/／",
    "。",
    "http:／／",
];

const HOSTS: &[&str] = &[
    "evil.example",
    "evil.example.",
    "EVIL.EXAMPLE",
    "evil。example",
    "evil%2eexample",
    "evil.example:3001",
    "user:pass@evil.example",
    "localhost:3001.evil.example",
    "localhost.evil.example:3001",
    "evil.example%00.localhost:3001",
    "app.example.com.evil.example",
    "evilapp.example.com",
    "x.app.example.com",
    "app.example.com@evil.example",
    "app.example.com:444",
    "localhost",
    "localhost:3002",
    "localhost:30010",
    "localhost.:3001",
    "ⓛocalhost:3002",
    "127.0.0.1:3001",
    "[::1]:3001",
    "0x7f.1:3001",
    "2130706433",
    "xn--pple-43d.com",
    "alert(1)",
];

const AFTER: &[&str] = &[
    "",
    "/",
    "/dash",
    "\\",
    "/..",
    "/%2e%2e/",
    "?http://localhost:3001",
    "#http://localhost:3001/",
    "/http://localhost:3001",
    "%00",
    "\r\nx: y",
];

/// As they come, and each once more after the decoding that a proxy or a framework might do.
fn readings(value: &str) -> [String; 2] {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => (bytes.push(byte), rest = &tail[2..]),
            None => (bytes.push(*first), rest = tail),
        };
    }
    [value.to_owned(), String::from_utf8_lossy(&bytes).into_owned()]
}

/// Whether a browser on one of our pages would stay with us: WHATWG's own algorithm is the judge.
fn stays(target: &str) -> bool {
    [format!("{OWN}/api/auth/sign-in"), format!("{APP}/login?next=/")].iter().all(|page| {
        let page = Url::parse(page).expect("a page");
        page.join(target).is_ok_and(|url| {
            let origin = url.origin().ascii_serialization();
            origin == OWN || origin == APP
        })
    })
}

async fn app() -> (TestApp, Browser) {
    let app = TestApp::with_config(|config| config.trusted_origins = vec![APP.to_owned()]).await;
    let browser = ada(&app).await;
    (app, browser)
}

fn encoded(value: &str) -> String {
    value.bytes().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "%{byte:02x}");
        text
    })
}

#[tokio::test]
async fn no_redirect_target_of_the_corpus_leads_elsewhere() {
    let (app, browser) = app().await;
    let (mut tried, mut accepted) = (0, 0);
    for (before, host) in BEFORE.iter().flat_map(|before| HOSTS.iter().map(move |host| (before, host))) {
        for after in AFTER {
            let target = format!("{before}{host}{after}");
            tried += 1;
            let reply = browser.post("/sign-out", json!({ "callbackURL": target })).await;
            match reply.status() {
                403 => {}
                200 => {
                    accepted += 1;
                    for reading in readings(&target) {
                        assert!(
                            stays(&reading),
                            "{target:?} was let through, and {reading:?} leads elsewhere"
                        );
                    }
                }
                status => panic!("{target:?}: {status}"),
            }
        }
    }
    assert_eq!((tried, accepted), (21_450, 754), "and those let through are paths of ours");
    // The same in a query, where each is decoded once on its way.
    for (before, host) in BEFORE.iter().flat_map(|before| HOSTS.iter().map(move |host| (before, host))) {
        let target = format!("{before}{host}");
        let reply =
            browser.request(Method::POST, &format!("/sign-out?callbackURL={}", encoded(&target))).await;
        assert!(reply.status() == 403 || stays(&target), "{target:?}");
    }
    drop(app);
}

#[tokio::test]
async fn no_origin_of_the_corpus_is_taken_for_ours() {
    let (app, browser) = app().await;
    let (mut tried, mut accepted) = (0, 0);
    for (before, host) in BEFORE.iter().flat_map(|before| HOSTS.iter().map(move |host| (before, host))) {
        for after in AFTER {
            let origin = format!("{before}{host}{after}");
            if origin.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
                continue;
            }
            tried += 1;
            let post =
                || browser.request(Method::POST, "/sign-out").header("cookie", "a=1").without("origin");
            for header in ["origin", "referer"] {
                let status = post().header_bytes(header, origin.as_bytes()).await.status();
                if status != 403 {
                    accepted += 1;
                    let url = Url::parse(&origin);
                    let is_ours = url
                        .is_ok_and(|url| [OWN, APP].contains(&url.origin().ascii_serialization().as_str()));
                    assert!(is_ours, "{header}: {origin:?} was taken for ours");
                }
            }
        }
    }
    for ours in [OWN, APP] {
        assert_eq!(
            browser
                .request(Method::POST, "/sign-out")
                .header("cookie", "a=1")
                .header("origin", ours)
                .await
                .status(),
            200
        );
    }
    assert_eq!((tried, accepted), (17_940, 520), "and those let through are ours");
    drop(app);
}

/// Headers in which somebody may say whom they speak for.
const NAMES: &[&str] = &[
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "cf-connecting-ip",
    "true-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-original-forwarded-for",
    "fastly-client-ip",
    "x-forwarded-host",
    "x-forwarded-proto",
    "via",
];

/// What a client may claim in them.
const CLAIMS: &[&str] = &[
    "6.6.6.6",
    "127.0.0.1",
    "10.0.0.1, 6.6.6.6",
    "::1",
    "::ffff:6.6.6.6",
    "[::1]:80",
    "6.6.6.6:80",
    "unknown",
    "_hidden",
    "for=6.6.6.6",
    "for=\"[2001:db8::1]\"",
    ",,,",
    " ",
    "6.6.6.6,",
    "0x06060606",
    "06.6.6.6",
    "6.6.6.6 ",
    "\u{e9}",
    "6.6.6.6;7.7.7.7",
    "6.6.6.6\t",
    "localhost",
    "fe80::1%eth0",
];

#[tokio::test]
async fn no_forwarding_header_of_the_corpus_speaks_for_the_client() {
    let (app, browser) = app().await;
    let body = || json!({ "email": ADA, "password": PASSWORD });
    let mut tried = 0;
    // Our proxy appends whom it has seen; the client writes what it likes before that, and into every other header.
    for claim in CLAIMS {
        for name in NAMES {
            let call = browser.post("/sign-in/email", body()).header_bytes(name, claim.as_bytes());
            let reply =
                call.header_bytes("x-forwarded-for", format!("{claim}, 203.0.113.9").as_bytes()).await;
            assert_eq!(reply.status(), 200);
            tried += 1;
        }
    }
    let sessions = app.rows("session").await;
    assert_eq!(sessions.len(), tried + 1);
    let seen = sessions.iter().filter(|session| session["ipAddress"] == "203.0.113.9").count();
    assert_eq!(seen, tried, "each session remembers the client that the proxy has seen");
    assert_eq!(tried, 264);
}

/// The same claims on lines of their own, judged by the name under which the limiter counts.
#[tokio::test]
async fn no_forwarding_header_of_the_corpus_is_counted_as_somebody_else() {
    let app = TestApp::with_config(|config| {
        config.rate_limit.enabled = Some(true);
        config.rate_limit.storage = Some(RateLimitStorage::Database);
        config.rate_limit.max = u32::MAX;
    })
    .await;
    let browser = app.browser();
    let mut tried = 0;
    for claim in CLAIMS {
        let claim = claim.as_bytes();
        for name in NAMES.iter().copied().chain(["x-forwarded-for"]) {
            let forwarded =
                || browser.get("/ok").header_bytes(name, claim).header_bytes("x-forwarded-for", claim);
            for call in [
                // Our proxy adds a line, or a hop to the last one.
                forwarded().and_header("x-forwarded-for", "203.0.113.9"),
                forwarded()
                    .and_header_bytes("x-forwarded-for", claim)
                    .and_header("x-forwarded-for", "203.0.113.9"),
                forwarded().and_header_bytes("x-forwarded-for", &[claim, b", 203.0.113.9"].concat()),
            ] {
                assert_eq!(call.await.status(), 200);
                tried += 1;
            }
        }
    }
    let rows = app.rows("rateLimit").await;
    let counted: Vec<_> = rows.iter().map(|row| (row["key"].clone(), row["count"].as_i64())).collect();
    assert_eq!(counted, [(json!("203.0.113.9|/ok"), Some(tried))]);
    assert_eq!(tried, 858);
}

/// Whether a pattern means this address.
type Means = fn(&Url) -> bool;

/// What trusts more than one origin, and the judge of each: WHATWG's parser, told what the words mean.
const PATTERNS: &[(&str, Means)] = &[
    ("https://*.app.example.com", |url| url.scheme() == "https" && is_below_app(url)),
    ("*.app.example.com", |url| matches!(url.scheme(), "http" | "https") && is_below_app(url)),
    ("myapp://", |url| url.scheme() == "myapp"),
];

/// A host below `app.example.com`, at the scheme's own port. An empty name there is one that nobody can have.
fn is_below_app(url: &Url) -> bool {
    url.host_str().is_some_and(|host| host.ends_with(".app.example.com")) && url.port().is_none()
}

const BEFORE_PATTERNS: &[&str] = &[
    "myapp://",
    "myapp:",
    "myapp:/",
    "MYAPP://",
    "my\tapp://",
    " myapp://",
    "myapp.evil://",
    "xmyapp://",
    "javascript://myapp://",
    "http://myapp://",
    "https://x.app.example.com@",
    "https://x.app.example.com\\@",
];

const BELOW: &[&str] = &[
    "x.app.example.com.evil.example",
    "x.app.example.com@evil.example",
    "evil.example/.app.example.com",
    "evil.example/x.app.example.com",
    "evil.example?.app.example.com",
    "evil.example#.app.example.com",
    "evil.example\\.app.example.com",
    "evil.example:80.app.example.com",
    "evil.example%2f.app.example.com",
    "evil.example%00.app.example.com",
    "evil.example／.app.example.com",
    "evil.example。app.example.com",
    "user:pass@x.app.example.com",
    "a.b.app.example.com",
    "x.app.example.com:444",
    "x.app.example.com:443",
    "x.app.example.com.",
    ".app.example.com",
    "X.APP.EXAMPLE.COM",
    "x.app。example.com",
    "x-app.example.com",
];

#[tokio::test]
async fn no_value_of_the_corpus_passes_for_what_a_pattern_means() {
    let mut passed = Vec::new();
    for (pattern, means) in PATTERNS {
        let app = TestApp::with_config(|config| config.trusted_origins = vec![(*pattern).to_owned()]).await;
        let (browser, mut targets, mut origins) = (app.browser(), 0, 0);
        let is_trusted = |url: &Url| url.origin().ascii_serialization() == OWN || means(url);
        for before in BEFORE.iter().chain(BEFORE_PATTERNS) {
            for host in HOSTS.iter().chain(BELOW) {
                let value = format!("{before}{host}");
                let reply = browser.post("/sign-out", json!({ "callbackURL": value })).await;
                if reply.status() != 403 {
                    targets += 1;
                    let page = Url::parse(&format!("{OWN}/api/auth/sign-in")).expect("a page");
                    let url = page.join(&value);
                    assert!(
                        url.is_ok_and(|url| is_trusted(&url)),
                        "{pattern} lets a browser go to {value:?}"
                    );
                }
                if value.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
                    continue;
                }
                let call = browser.request(Method::POST, "/sign-out").header("cookie", "a=1");
                if call.header_bytes("origin", value.as_bytes()).await.status() != 403 {
                    origins += 1;
                    assert!(
                        Url::parse(&value).is_ok_and(|url| is_trusted(&url)),
                        "{pattern} takes {value:?} for ours"
                    );
                }
            }
        }
        passed.push((*pattern, targets, origins));
    }
    assert_eq!(
        passed,
        [("https://*.app.example.com", 248, 158), ("*.app.example.com", 322, 225), ("myapp://", 319, 229)],
        "and those let through are what it means"
    );
}
