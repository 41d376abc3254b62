//! Whose request it is, and where the database is.

use crate::{lines, texts};
use http::{HeaderMap, HeaderValue, Request};
use narthex::{
    Advanced,
    fuzzing::{client_address, database_url_problems},
    http::{Network, Peer, TrustedProxies},
    store::without_password,
};
use std::{net::IpAddr, sync::LazyLock};

const CLIENTS: &str = include_str!("../../crates/core/src/http/testdata/client_ip.json");
const CLIENT: &str = "198.51.100.7";
const PASSWORD: &str = "S3cretMarker";

static OPTIONS: LazyLock<Advanced> = LazyLock::new(Advanced::default);

fn address(peer: &str, lines: &[&[u8]]) -> Option<IpAddr> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append("x-forwarded-for", HeaderValue::from_bytes(line).ok()?);
    }
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.headers = headers;
    parts.extensions.insert(Peer::Address((peer.parse::<IpAddr>().ok()?, 1).into()));
    client_address(&OPTIONS, &parts)
}

/// What a client wrote into the header that our proxy appends to; and a network of trusted proxies.
pub(crate) fn client(input: &[u8]) {
    if let Some(alone) = address("127.0.0.1", &[input]) {
        let _ = alone.to_string();
        let expected = CLIENT.parse().ok();
        let appended = [input, b", ", CLIENT.as_bytes()].concat();
        assert_eq!(address("127.0.0.1", &[&appended]), expected, "the header has moved the answer");
        assert_eq!(address("127.0.0.1", &[input, CLIENT.as_bytes()]), expected);
        assert_eq!(address(CLIENT, &[input]), expected, "a stranger has spoken for somebody else");
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(network) = text.parse::<Network>() {
        let proxies = TrustedProxies::from_iter([network]);
        let written = text.split('/').next().and_then(|address| address.parse().ok());
        assert!(written.is_some_and(|address| proxies.contains(address)), "{text} is not in itself");
    }
}

/// What stands before, after and behind a password that somebody did not write in codes.
pub(crate) fn database(input: &[u8]) {
    let [before, after, rest] = lines(input);
    let _ = database_url_problems(before);
    let _ = without_password(before);
    if rest.contains(PASSWORD) {
        return;
    }
    for scheme in ["postgres", "postgresql"] {
        let url = format!("{scheme}://user:{before}{PASSWORD}{after}@db.example/{rest}");
        let shown = without_password(&url);
        assert!(!shown.contains(PASSWORD), "{shown}");
        for problem in database_url_problems(&url) {
            assert!(!problem.contains(PASSWORD), "{problem}");
        }
    }
}

pub(crate) fn client_seeds() -> Vec<Vec<u8>> {
    texts(CLIENTS).into_iter().map(String::into_bytes).collect()
}

pub(crate) fn database_seeds() -> Vec<Vec<u8>> {
    [
        "postgresql://u:p@h/d\n\nd?sslmode=require&channel_binding=require",
        "a@b\n/c\nd?host=/tmp&host=a,b&port=1,2&hostaddr=10.0.0.1",
        "a?b\n#c\nd?sslrootcert=system&target_session_attrs=read-write&load_balance_hosts=random",
        "%40\n%2F\nd?schema=auth&connection_limit=5&pool_timeout=2&pgbouncer=true&sslaccept=strict",
        "\n@[::1]:5432,b:1\nd?options=-c%20x%3Dy&keepalives=0&keepalives_idle=3&connect_timeout=1",
        "\n\nd?password=x&user=y&dbname=z&application_name=a&statement_cache_size=0",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
