//! One way to write a path: what a proxy, a limit or a hook might read differently is nobody's route.

use crate::support::{ada, credentials};
use http::Method;
use narthex_testkit::TestApp;

#[tokio::test]
async fn ghsa_x732_6j76_qmhm_no_other_spelling_of_a_path_reaches_an_endpoint() {
    let app = TestApp::new().await;
    ada(&app).await;
    let browser = app.browser();
    for path in [
        "//sign-in/email",
        "/sign-in//email",
        "/sign-in/email/",
        "/sign-in/email//",
        "/./sign-in/email",
        "/sign-in/./email",
        "/sign-in/../sign-in/email",
        "/sign-up/../sign-in/email",
        "/sign-in%2femail",
        "/sign-in%2Femail",
        "/sign%2din/email",
        "/%73ign-in/email",
        "/sign-in/email%00",
        "/sign-in/email%20",
        "/sign-in/email;x=1",
        "/Sign-In/Email",
        "/SIGN-IN/EMAIL",
        "/sign-in\\email",
        "/sign-in/email.json",
        "/sign-in/email/x",
    ] {
        let Ok(_) = path.parse::<http::Uri>() else { continue };
        let reply = browser.post(path, credentials()).await;
        assert_eq!((reply.status(), reply.text().as_str()), (404, ""), "{path}");
    }
    assert_eq!(app.auth().hashes(), 1, "only the sign-up has hashed");
    assert_eq!(browser.post("/sign-in/email?x=1", credentials()).await.status(), 200);
}

/// Every way to write `path` that somebody between us and the client might read as `path`.
fn spellings(path: &str) -> Vec<String> {
    let mut spellings = Vec::new();
    for (position, byte) in path.bytes().enumerate() {
        let (before, rest) = path.split_at(position);
        let after = &rest[1..];
        for other in [
            format!("%{byte:02x}"),
            format!("%{byte:02X}"),
            format!("%25{byte:02x}"),
            format!("%c1%{:02x}", byte + 0x40),
        ] {
            spellings.push(format!("{before}{other}{after}"));
        }
        if byte.is_ascii_lowercase() {
            spellings.push(format!("{before}{}{after}", char::from(byte.to_ascii_uppercase())));
        }
        if byte == b'/' {
            for other in [
                "//",
                "///",
                "/./",
                "/.//",
                "/../",
                "/x/../",
                "/%2e/",
                "/%2e%2e/",
                "/x/%2e%2e/",
                "/x/.%2E/",
                "/;/",
                "/x;/../",
                "/..;/",
                "\\",
                "/\\",
                "%5c",
                "%2f/",
                "/%2f",
                "/%00/",
                "/%20",
                "%20/",
                "/\u{2215}",
                "/%E2%88%95",
                "/%C0%AF",
                "/api/auth/",
            ] {
                spellings.push(format!("{before}{other}{after}"));
            }
        }
    }
    for end in [
        "/",
        "//",
        "/.",
        "/..",
        "/x/..",
        "%2f",
        "%2F",
        "%00",
        "%20",
        "%09",
        "%0a",
        "%0d%0a",
        ";",
        ";x=1",
        ";/",
        ".",
        "..",
        ".json",
        ".css",
        "/.css",
        "/index.html",
        "%3f",
        "%3fx",
        "%23",
        "\\",
        "%5c",
        "&",
        "=",
        "+",
        ",",
        "~",
        "*",
        "/*",
        "/**",
        "%2e",
        "%ff",
        "%",
        "%2",
        "%zz",
        "/%2e%2e/email",
    ] {
        spellings.push(format!("{path}{end}"));
    }
    spellings
}

/// Over every such spelling: no endpoint is reached, no limit is escaped, and what is switched off stays off.
#[tokio::test]
async fn ghsa_x732_6j76_qmhm_no_spelling_escapes_a_limit_or_switches_on_what_is_off() {
    const SENT: usize = 298;
    for skip_trailing_slashes in [false, true] {
        let open =
            TestApp::with_config(|config| config.advanced.skip_trailing_slashes = skip_trailing_slashes)
                .await;
        ada(&open).await;
        let closed = TestApp::with_config(|config| {
            config.advanced.skip_trailing_slashes = skip_trailing_slashes;
            config.disabled_paths = vec!["/sign-in/email".to_owned(), "/sign-up/email".to_owned()];
        });
        let closed = closed.await;
        let limited = TestApp::with_config(|config| {
            config.advanced.skip_trailing_slashes = skip_trailing_slashes;
            config.rate_limit.enabled = Some(true);
            config.rate_limit.storage = Some(narthex::RateLimitStorage::Memory);
            config.rate_limit.max = 5;
        });
        let limited = limited.await;
        let mut statuses = std::collections::BTreeMap::new();
        let mut sent = 0;
        for path in ["/sign-in/email", "/sign-up/email"] {
            for _ in 0..3 {
                let _ = limited.browser().post(path, credentials()).await;
            }
            for spelling in spellings(path) {
                // What is no request target at all is refused before it gets here.
                if spelling.parse::<http::Uri>().is_err() {
                    continue;
                }
                sent += 1;
                let reply = open.browser().post(&spelling, credentials()).await;
                let is_same = skip_trailing_slashes && spelling == format!("{path}/");
                if !is_same {
                    assert_eq!((reply.status(), reply.text().as_str()), (404, ""), "{spelling}");
                }
                assert_eq!(closed.browser().post(&spelling, credentials()).await.status(), 404, "{spelling}");
                let reply = limited.browser().post(&spelling, credentials()).await;
                *statuses.entry(reply.status()).or_insert(0) += 1;
            }
        }
        assert_eq!(sent, SENT);
        // Only the first few paths that are nobody's are still answered; all of them share few counts.
        assert_eq!(statuses.keys().copied().collect::<Vec<_>>(), [404, 429]);
        assert!(statuses[&404] <= 11, "{statuses:?}");
        assert_eq!((closed.auth().hashes(), limited.auth().hashes()), (0, 3));
    }
}

#[tokio::test]
async fn the_base_path_is_matched_exactly() {
    let app = TestApp::new().await;
    let auth = app.auth();
    for path in [
        "/ok",
        "/api/ok",
        "/api/authok",
        "/api/auth-x/ok",
        "//api/auth/ok",
        "/API/AUTH/ok",
        "/api//auth/ok",
        "/x/api/auth/ok",
    ] {
        let request = http::Request::builder().method(Method::GET).uri(path).body(bytes::Bytes::new());
        assert_eq!(auth.handle(request.expect("a request")).await.status(), 404, "{path}");
    }
    let absolute = http::Request::get("http://evil.example/api/auth/ok").body(bytes::Bytes::new());
    assert_eq!(
        auth.handle(absolute.expect("a request")).await.status(),
        200,
        "a proxy's form of the same path"
    );
}
