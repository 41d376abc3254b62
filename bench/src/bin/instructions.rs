//! What one request costs in instructions, for `cargo xtask instructions`, which runs this under callgrind.
//!
//! Each case has an engine of its own on a fresh SQLite database, with the clock, the seed and the allocator that
//! make it repeatable and alike to the server. Its requests are handled in process, first some that are not counted,
//! so that statements are prepared and memory is warm, then [`REQUESTS`] inside [`measured`]: callgrind collects only
//! there, on that thread, and writes its counts whenever it is left. Nothing of the start, the hashing threads or the
//! database's housekeeping is counted.
//!
//! The first line on stdout says what the counts depend on besides the code; then comes one line for each case.

#![expect(
    clippy::print_stdout,
    clippy::panic,
    clippy::expect_used,
    reason = "a tool that fails by panicking"
)]

use axum::body::Bytes;
use axum::http::{Method, Request, header};
use mimalloc::MiMalloc;
use narthex::{Auth, CacheStrategy, Config, http::Peer};
use narthex_testkit::TestApp;
use serde_json::json;
use tokio::runtime::Runtime;

/// The server's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const WARM_UP: usize = 64;
const REQUESTS: usize = 512;
const SESSION: &str = "better-auth.session_token";

struct Case {
    name: &'static str,
    config: fn(&mut Config),
    method: Method,
    path: &'static str,
    cookies: Cookies,
    status: u16,
}

/// What the browser sends of the cookies that it got when it signed up.
#[derive(Clone, Copy)]
enum Cookies {
    None,
    All,
    /// The same, but that the session's signature belongs to another token.
    Forged,
}

const fn case(
    name: &'static str,
    config: fn(&mut Config),
    method: Method,
    path: &'static str,
    cookies: Cookies,
    status: u16,
) -> Case {
    Case { name, config, method, path, cookies, status }
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    case("get-session", defaults, Method::GET, "/get-session", Cookies::All, 200),
    case("get-session-without-cookie", defaults, Method::GET, "/get-session", Cookies::None, 200),
    case("get-session-forged", defaults, Method::GET, "/get-session", Cookies::Forged, 200),
    case("get-session-limited", limited, Method::GET, "/get-session", Cookies::All, 200),
    case("get-session-compact", compact, Method::GET, "/get-session", Cookies::All, 200),
    case("get-session-jwt", jwt, Method::GET, "/get-session", Cookies::All, 200),
    case("get-session-jwe", jwe, Method::GET, "/get-session", Cookies::All, 200),
    case("sign-out-without-cookie", defaults, Method::POST, "/sign-out", Cookies::None, 200),
    case("not-found", defaults, Method::GET, "/nothing-here", Cookies::All, 404),
];

fn defaults(_: &mut Config) {}

fn limited(config: &mut Config) {
    config.rate_limit.enabled = Some(true);
    config.rate_limit.max = u32::MAX;
}

fn remembered(config: &mut Config, strategy: CacheStrategy) {
    config.session.cookie_cache.enabled = true;
    config.session.cookie_cache.strategy = strategy;
}

fn compact(config: &mut Config) {
    remembered(config, CacheStrategy::Compact);
}

fn jwt(config: &mut Config) {
    remembered(config, CacheStrategy::Jwt);
}

fn jwe(config: &mut Config) {
    remembered(config, CacheStrategy::Jwe);
}

fn main() {
    println!("{}", surroundings());
    for case in CASES {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let app = runtime.block_on(TestApp::with_config(case.config));
        let request = runtime.block_on(request(case, &app));
        let body = runtime.block_on(answer(case, &app, &request));
        let is_signed_in = body.starts_with(b"{\"session\":{");
        let expects_session = case.path == "/get-session" && matches!(case.cookies, Cookies::All);
        assert_eq!(is_signed_in, expects_session, "{}: {body:?}", case.name);
        for _ in 0..WARM_UP {
            runtime.block_on(answer(case, &app, &request));
        }
        let requests = vec![request; REQUESTS];
        measured(&runtime, handle_all(app.auth(), requests));
        println!("{} {REQUESTS}", case.name);
    }
}

/// The only function that is counted: its name is known to `xtask`.
#[inline(never)]
fn measured(runtime: &Runtime, work: impl Future<Output = ()>) {
    runtime.block_on(work);
}

async fn handle_all(auth: &Auth, requests: Vec<Request<Bytes>>) {
    for request in requests {
        auth.handle(request).await;
    }
}

async fn answer(case: &Case, app: &TestApp, request: &Request<Bytes>) -> Bytes {
    let response = app.auth().handle(request.clone()).await;
    assert_eq!(response.status(), case.status, "{}: {response:?}", case.name);
    response.into_body()
}

/// What a browser sends, after it has signed up.
async fn request(case: &Case, app: &TestApp) -> Request<Bytes> {
    let browser = app.browser();
    let person = json!({ "name": "Ada Lovelace", "email": "ada@example.com", "password": "correct horse" });
    assert_eq!(browser.post("/sign-up/email", person).await.status(), 200, "{}", case.name);
    if let Cookies::Forged = case.cookies {
        let mut value = browser.cookie(SESSION).expect("signing up sets a cookie");
        value.replace_range(..1, if value.starts_with('a') { "b" } else { "a" });
        browser.set_cookie(SESSION, &value);
    }
    let cookies = if let Cookies::None = case.cookies { String::new() } else { browser.cookies() };
    let mut request = Request::builder()
        .method(case.method.clone())
        .uri(format!("{}{}", app.auth().base_path(), case.path))
        .header(header::HOST, "localhost:3000")
        .header(header::USER_AGENT, "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
        .header(header::ACCEPT, "*/*")
        .header(header::ACCEPT_LANGUAGE, "en-US,en;q=0.5")
        .header(header::ACCEPT_ENCODING, "gzip, deflate, br, zstd")
        .header(header::REFERER, "http://localhost:3000/dashboard")
        .extension(Peer::Address(([127, 0, 0, 1], 50_000).into()));
    if !cookies.is_empty() {
        request = request.header(header::COOKIE, cookies);
    }
    request.body(Bytes::new()).unwrap_or_else(|error| panic!("{}: {error}", case.name))
}

/// The processor as it shows itself: libraries choose their code by it, and callgrind's is not the machine's.
fn surroundings() -> String {
    let words = [std::env::consts::ARCH, std::env::consts::OS].into_iter().chain(features());
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    let features = [
        ("aes", is_x86_feature_detected!("aes")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("bmi2", is_x86_feature_detected!("bmi2")),
        ("sha", is_x86_feature_detected!("sha")),
        ("sse4.2", is_x86_feature_detected!("sse4.2")),
    ];
    features.into_iter().filter_map(|(name, is_there)| is_there.then_some(name)).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<&'static str> {
    Vec::new()
}
