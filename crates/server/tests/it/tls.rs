//! HTTPS without a proxy.

use super::{
    binary::refused,
    client::{Client, get, get_session, sign_up},
    database::Database,
    metrics::{Scraped, measured},
    server::{self, QUICK, Server, command, wait_for},
};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Bytes, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustix::process::Signal;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};
use time::OffsetDateTime;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};

/// `QUICK` with TLS; `{more}` may follow.
const TLS: &str = "[tls]\ncert = \"fullchain.pem\"\nkey = \"key.pem\"\n";

const HOUR: Duration = Duration::from_hours(1);

/// A certificate for localhost that signs itself.
pub(super) struct Certificate {
    der: CertificateDer<'static>,
    pem: String,
    key: String,
}

impl Certificate {
    pub(super) fn new() -> Self {
        Self::until(2100)
    }

    fn until(year: i32) -> Self {
        Self::ending(date_time_ymd(year, 1, 2))
    }

    fn ending(time: OffsetDateTime) -> Self {
        let mut parameters =
            CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        parameters.not_before = date_time_ymd(2000, 1, 1);
        parameters.not_after = time;
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        Self { der: certificate.der().clone(), pem: certificate.pem(), key: key.serialize_pem() }
    }

    /// A server's side of TLS with it.
    pub(super) fn server(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        Arc::new(builder.with_single_cert(vec![self.der.clone()], key).unwrap())
    }

    pub(super) fn install(&self, folder: &Path) {
        fs::write(folder.join("fullchain.pem"), &self.pem).unwrap();
        fs::write(folder.join("key.pem"), &self.key).unwrap();
    }

    /// A client that believes this certificate only.
    fn client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let mut config = builder
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    fn connect(&self, server: &Server) -> Client {
        Client::through(server.address, |socket| {
            let connection = ClientConnection::new(self.client(&["http/1.1"]), localhost()).unwrap();
            StreamOwned::new(connection, socket)
        })
    }

    async fn connect_http2(&self, server: &Server) -> (http2::SendRequest<Full<Bytes>>, Http2) {
        let socket = TcpStream::connect(server.address).await.unwrap();
        let connector = TlsConnector::from(self.client(&["h2", "http/1.1"]));
        let stream = connector.connect(localhost(), socket).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap()
    }
}

type Http2 = http2::Connection<TokioIo<TlsStream<TcpStream>>, Full<Bytes>, TokioExecutor>;

fn localhost() -> ServerName<'static> {
    "localhost".try_into().unwrap()
}

/// With `more` after the section `[tls]`.
fn start(folder: &Path, more: &str) -> (Certificate, Server) {
    let certificate = Certificate::new();
    certificate.install(folder);
    (certificate, Server::start(folder, &format!("{QUICK}{TLS}{more}")))
}

#[test]
fn an_account_is_made_over_https() {
    let database = Database::sqlite();
    let (certificate, server) = start(database.folder(), "");
    let open = "  open       https://localhost:0/api/auth/ok";
    assert!(server.banner.iter().any(|line| line == open), "{:?}", server.banner);
    let mut client = certificate.connect(&server);
    let reply = client.exchange(&sign_up("ada@example.com"));
    assert_eq!((reply.status, &reply.json()["user"]["email"]), (200, &"ada@example.com".into()));
    let cookie = reply.header("set-cookie").unwrap();
    assert!(
        cookie.starts_with("__Secure-better-auth.session_token=") && cookie.contains("; Secure"),
        "{cookie}"
    );
    let session = client.exchange(&get_session(&reply.cookie()));
    assert_eq!(session.json()["user"]["email"], "ada@example.com");
    assert_eq!(session.header("strict-transport-security"), None, "nobody pins localhost");
    assert_eq!(session.json()["session"]["ipAddress"], "127.0.0.1");
    // Its buffers are put away after two seconds, and nobody notices.
    sleep(Duration::from_millis(2500));
    assert_eq!(client.exchange(&get_session(&reply.cookie())).json()["user"], session.json()["user"]);
    // Whoever speaks no TLS gets nothing, and disturbs nobody.
    let mut plain = server.connect();
    plain.send(&get("/health", "")).unwrap();
    assert!(plain.receive().is_err());
    assert_eq!(client.exchange(&get("/health", "")).status, 200);
}

#[test]
fn http2_is_spoken_to_those_who_can() {
    let database = Database::sqlite();
    let slow = QUICK.replace("bcrypt-cost = 4", "bcrypt-cost = 12");
    let certificate = Certificate::new();
    certificate.install(database.folder());
    let trusting = slow.replace("http://app.example", "https://localhost");
    let server = Server::start(database.folder(), &format!("{trusting}{TLS}"));
    let cookie = certificate.connect(&server).exchange(&sign_up("first@example.com")).cookie();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let (sender, connection) = certificate.connect_http2(&server).await;
        let connection = runtime.spawn(connection);
        let ask_with = |method: &str, path: &str, body: String, headers: &[(&str, &str)]| {
            let request = Request::builder().method(method).uri(format!("https://localhost{path}"));
            let request = request.header("content-type", "application/json");
            let request =
                headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            let sent = sender.clone().send_request(request.body(Full::from(body)).unwrap());
            async {
                let reply = sent.await.unwrap();
                let status = reply.status().as_u16();
                (
                    status,
                    String::from_utf8(reply.into_body().collect().await.unwrap().to_bytes().to_vec())
                        .unwrap(),
                )
            }
        };
        let ask = |method: &str, path: &str, body: String| ask_with(method, path, body, &[]);
        let get = |path| ask("GET", path, String::new());
        assert_eq!(get("/api/auth/ok").await, (200, r#"{"ok":true}"#.to_owned()));
        let (one, two) = tokio::join!(get("/health"), get("/nothing"));
        assert_eq!((one.0, two.0), (200, 404));
        // Browsers send each cookie in a line of its own, and the host in another place.
        let crumbs = [("cookie", "a=b"), ("cookie", cookie.as_str()), ("cookie", "c=d")];
        let session = ask_with("GET", "/api/auth/get-session", String::new(), &crumbs).await;
        assert!(session.1.contains("first@example.com"), "{session:?}");
        let own = [&crumbs[..], &[("origin", "null"), ("sec-fetch-site", "same-origin")]].concat();
        let signed_out = ask_with("POST", "/api/auth/sign-out", "{}".to_owned(), &own).await;
        assert_eq!(signed_out, (200, r#"{"success":true}"#.to_owned()));
        let long = " ".repeat(2 << 20);
        assert_eq!(ask("POST", "/api/auth/sign-up/email", long).await.0, 413);

        let account = r#"{"name":"Ada","email":"ada@example.com","password":"correct horse"}"#;
        let busy = runtime.spawn(ask("POST", "/api/auth/sign-up/email", account.to_owned()));
        let deadline = Instant::now() + Duration::from_secs(10);
        while !server.is_hashing() {
            assert!(Instant::now() < deadline, "the password is not being hashed");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.signal(Signal::TERM);
        let (status, body) = busy.await.unwrap();
        assert_eq!(status, 200, "{body}");
        // It was told to go away, and left.
        connection.await.unwrap().unwrap();
    });
    assert!(server.wait().success());
    assert_eq!(database.number("select count(*) from session"), 1, "hers is the one that is left");
}

#[test]
fn an_idle_http2_connection_makes_room_and_one_that_never_asks_is_closed() {
    let database = Database::sqlite();
    let (certificate, server) =
        start(database.folder(), "[http]\nmax-connections = 2\nheader-timeout = 5\nidle-timeout = 600\n");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut sender, connection) = certificate.connect_http2(&server).await;
        let connection = runtime.spawn(connection);
        let health = Request::builder().uri("https://localhost/health").body(Full::default()).unwrap();
        assert_eq!(sender.send_request(health).await.unwrap().status(), 200);
        // Whoever has a head half sent keeps its place for as long as a head may take.
        let mut slow = certificate.connect(&server);
        slow.send(b"GET /health HTTP/1.1\r\n").unwrap();
        assert_eq!(certificate.connect(&server).exchange(&get("/health", "")).status, 200);
        connection.await.unwrap().unwrap();

        let (_sender, silent) = certificate.connect_http2(&server).await;
        runtime.spawn(silent).await.unwrap().unwrap();
    });
    // Before and after the handshake.
    assert!(server.connect().is_at_end());
    let mut silent = certificate.connect(&server);
    silent.send(b"").unwrap();
    assert!(silent.is_at_end());
}

#[test]
fn a_request_in_flight_over_tls_is_finished_after_sigterm() {
    let database = Database::sqlite();
    let slow = QUICK.replace("bcrypt-cost = 4", "bcrypt-cost = 12");
    let certificate = Certificate::new();
    certificate.install(database.folder());
    let server = Server::start(database.folder(), &format!("{slow}{TLS}"));
    let mut idle = certificate.connect(&server);
    assert_eq!(idle.exchange(&get("/health", "")).status, 200);
    let mut busy = certificate.connect(&server);
    busy.send(&sign_up("ada@example.com")).unwrap();
    wait_for(|| server.is_hashing());
    server.signal(Signal::TERM);
    let reply = busy.receive().unwrap();
    assert_eq!((reply.status, &reply.json()["user"]["email"]), (200, &"ada@example.com".into()));
    assert!(idle.is_at_end(), "and says so before it closes");
    assert!(server.wait().success());
}

#[test]
fn a_certificate_is_replaced_while_it_runs() {
    let database = Database::sqlite();
    let (first, server) = start(database.folder(), "");
    let mut old = first.connect(&server);
    assert_eq!(old.exchange(&get("/health", "")).status, 200);

    let second = Certificate::new();
    second.install(database.folder());
    server.signal(Signal::HUP);
    wait_for(|| server.log().contains("the certificate was read again; it ends on 2100-01-02 00:00 UTC"));
    assert_eq!(second.connect(&server).exchange(&get("/health", "")).status, 200);
    assert_eq!(old.exchange(&get("/health", "")).status, 200, "who is connected notices nothing");
    assert!(first.connect(&server).send(&get("/health", "")).is_err(), "it is still the old one");

    // What is no good replaces nothing.
    let expired = Certificate::until(2020);
    for (name, content, problem) in [
        ("fullchain.pem", "nonsense", "must be a PEM file with the server's certificate first"),
        ("fullchain.pem", expired.pem.as_str(), "must be the private key of the certificate"),
        ("key.pem", expired.key.as_str(), "must be renewed: it has expired on 2020-01-02 00:00 UTC"),
    ] {
        fs::write(database.folder().join(name), content).unwrap();
        server.signal(Signal::HUP);
        wait_for(|| server.log().contains(problem));
        assert!(server.log().contains("the certificate is not replaced"), "{}", server.log());
        assert_eq!(second.connect(&server).exchange(&get("/health", "")).status, 200, "{problem}");
    }
    assert!(!server.log().contains(second.key.lines().nth(1).unwrap()));
}

#[test]
fn metrics_tell_when_the_certificate_ends_and_how_many_handshakes_failed() {
    const END: &str = "narthex_tls_certificate_end_timestamp_seconds";
    const FAILED: &str = "narthex_tls_handshake_failures_total";
    let database = Database::sqlite();
    let first = Certificate::new();
    first.install(database.folder());
    fs::write(database.folder().join("narthex.toml"), format!("{QUICK}{TLS}")).unwrap();
    let server = Server::spawn(measured(command(database.folder())), database.folder());
    let told = || [END, FAILED].map(|series| Scraped::of(&server).get(series));
    // The second of January 2100, at midnight.
    assert_eq!(told(), [Some(4_102_531_200.0), Some(0.0)]);
    assert_eq!(first.connect(&server).exchange(&get("/health", "")).status, 200);
    let mut plain = server.connect();
    plain.send(&get("/health", "")).unwrap();
    assert!(plain.receive().is_err());
    wait_for(|| told()[1] == Some(1.0));

    Certificate::until(2090).install(database.folder());
    server.signal(Signal::HUP);
    wait_for(|| told()[0] == Some(3_786_998_400.0));
}

#[test]
fn plain_http_is_sent_to_https_but_for_what_operators_ask() {
    let database = Database::sqlite();
    let certificate = Certificate::new();
    certificate.install(database.folder());
    let (before, after) = ("base-url = \"https://auth.example\"\n", "redirect = \"127.0.0.1:0\"\n");
    fs::write(database.folder().join("narthex.toml"), format!("{before}{QUICK}{TLS}{after}")).unwrap();
    let mut command = command(database.folder());
    command.env("BETTER_AUTH_SECRET", "a-secret-that-is-long-enough-for-it");
    let server = Server::spawn(command, database.folder());
    let redirects = server.banner.iter().find_map(|line| line.strip_prefix("  redirects  ")).unwrap();
    let redirects = redirects.parse().unwrap();

    let ask = |request: &str| Client::connect(redirects).exchange(request.as_bytes());
    let reply =
        ask("GET /api/auth/ok?a=b&c HTTP/1.1\r\nhost: evil.example\r\nx-forwarded-proto: https\r\n\r\n");
    assert_eq!(reply.head(), "308\nlocation: https://auth.example/api/auth/ok?a=b&c\ncontent-length: 0");
    let reply = ask("GET //evil.example HTTP/1.1\r\nhost: evil.example\r\n\r\n");
    assert_eq!(reply.header("location"), Some("https://auth.example//evil.example"));
    // What was posted has been sent for everybody to read; whether it comes completely makes no difference.
    for rest in ["hello", ""] {
        let reply = ask(&format!(
            "POST /api/auth/sign-in/email HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n{rest}"
        ));
        assert_eq!(
            reply.head(),
            "403\ncontent-type: application/json\nconnection: close\ncontent-length: 126"
        );
        assert_eq!(reply.json()["code"], "HTTPS_REQUIRED");
    }
    for (path, expected) in [("/health", 200), ("/ready", 200), ("/metrics", 404)] {
        let reply = ask(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
        assert_eq!((reply.status, reply.header("location")), (expected, None), "{path}");
        assert_eq!(reply.header("strict-transport-security"), None, "browsers ignore it there");
    }
    let reply = certificate.connect(&server).exchange(&get("/health", ""));
    assert_eq!(reply.head(), "200\nstrict-transport-security: max-age=31536000\ncontent-length: 0");
}

#[test]
fn mistakes_are_named_with_what_would_be_right() {
    let database = Database::sqlite();
    let folder = database.folder();
    let (certificate, other, expired) = (Certificate::new(), Certificate::new(), Certificate::until(2020));
    fs::write(folder.join("fullchain.pem"), format!("{}{}", certificate.pem, other.pem)).unwrap();
    fs::write(folder.join("key.pem"), &certificate.key).unwrap();
    fs::write(folder.join("other.pem"), &other.key).unwrap();
    fs::write(folder.join("expired.pem"), &expired.pem).unwrap();
    fs::write(folder.join("expired-key.pem"), &expired.key).unwrap();
    fs::write(folder.join("nonsense.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .unwrap();
    for (cert, key, problem) in [
        ("none.pem", "key.pem", "tls.cert = \"none.pem\": cannot be read: No such file"),
        ("fullchain.pem", "none.pem", "tls.key = \"none.pem\": cannot be read: No such file"),
        (
            "key.pem",
            "key.pem",
            "tls.cert = \"key.pem\": must be a PEM file with the server's certificate first",
        ),
        (
            "nonsense.pem",
            "key.pem",
            "tls.cert = \"nonsense.pem\": must be a PEM file with the server's certificate first",
        ),
        (
            "fullchain.pem",
            "fullchain.pem",
            "tls.key = \"fullchain.pem\": must be a PEM file with a private key that is not encrypted",
        ),
        (
            "fullchain.pem",
            "other.pem",
            "tls.key = \"other.pem\": must be the private key of the certificate in tls.cert = \"fullchain.pem\"; it is another one's",
        ),
        (
            "expired.pem",
            "expired-key.pem",
            "tls.cert = \"expired.pem\": must be renewed: it has expired on 2020-01-02 00:00 UTC",
        ),
        ("fullchain.pem", "", "tls.key"),
    ] {
        let key = if key.is_empty() { String::new() } else { format!("key = \"{key}\"\n") };
        fs::write(folder.join("narthex.toml"), format!("[tls]\ncert = \"{cert}\"\n{key}")).unwrap();
        let line = refused(&mut command(folder), 2);
        assert!(line.contains(problem), "{line}");
        assert!(!line.contains(certificate.key.lines().nth(1).unwrap()), "{line}");
    }
    let made = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let made: Vec<_> = made.filter(|name| !name.contains(".pem") && name != "narthex.toml").collect();
    assert_eq!(made, [""; 0], "neither a database nor a secret");
}

#[test]
fn that_a_certificate_ends_soon_is_said_at_start() {
    for (days, is_told) in [(13, true), (15, false)] {
        let database = Database::sqlite();
        let certificate = Certificate::ending(OffsetDateTime::now_utc() + 24 * days * HOUR);
        certificate.install(database.folder());
        let server = Server::start(database.folder(), &format!("{QUICK}{TLS}"));
        assert_eq!(certificate.connect(&server).exchange(&get("/health", "")).status, 200);
        assert!(server.stop().success());
        let log = fs::read_to_string(database.folder().join("log-0")).unwrap();
        assert_eq!(log.contains("tls.cert = \\\"fullchain.pem\\\": ends on "), is_told, "{log}");
    }
}

#[test]
fn a_crowd_on_the_listener_that_redirects_holds_up_nobody_else() {
    let database = Database::sqlite();
    let more = "redirect = \"127.0.0.1:0\"\n[http]\nmax-connections = 2\nheader-timeout = 600\n";
    let certificate = Certificate::new();
    certificate.install(database.folder());
    let configuration = format!("base-url = \"https://localhost\"\n{QUICK}{TLS}{more}");
    let server = Server::start(database.folder(), &configuration);
    let redirects = server.banner.iter().find_map(|line| line.strip_prefix("  redirects  ")).unwrap();
    let redirects = redirects.parse().unwrap();
    let mut slow: Vec<_> = (0..8).map(|_| Client::connect(redirects)).collect();
    for client in &mut slow {
        client.send(b"GET / HTTP/1.1\r\n").unwrap();
    }
    wait_for(|| server.log().contains("1 connections are open"));
    assert_eq!(certificate.connect(&server).exchange(&get("/health", "")).status, 200);
}

#[test]
fn the_doctor_looks_at_the_certificate() {
    let database = Database::sqlite();
    let folder = database.folder();
    let examine = |base_url: &str, certificate: &Certificate, mode| {
        certificate.install(folder);
        fs::set_permissions(folder.join("key.pem"), fs::Permissions::from_mode(mode)).unwrap();
        fs::write(folder.join("narthex.toml"), format!("base-url = \"{base_url}\"\n{TLS}")).unwrap();
        let output = server::narthex(folder).arg("doctor").output().unwrap();
        let found = String::from_utf8(output.stdout).unwrap();
        let found = found.lines().filter(|line| line.contains("  certificate ")).map(str::to_owned);
        (output.status.code(), found.collect::<Vec<_>>())
    };
    let long = Certificate::new();
    assert_eq!(
        examine("https://localhost:3001", &long, 0o640),
        (Some(0), vec!["ok    certificate        fits its key and ends on 2100-01-02 00:00 UTC".to_owned()])
    );
    let ends = OffsetDateTime::now_utc() + 24 * HOUR;
    let (code, found) = examine("https://127.0.0.1:3001", &Certificate::ending(ends), 0o644);
    assert_eq!(code, Some(0));
    assert!(
        found[0].starts_with("warn  certificate        tls.cert = \"fullchain.pem\": ends on "),
        "{found:?}"
    );
    assert_eq!(found[1..], ["warn  certificate        everybody may read its key: chmod o= key.pem"]);
    let (code, found) = examine("https://[::1]:3001", &long, 0o600);
    assert_eq!(code, Some(1));
    assert_eq!(
        found[1..],
        [
            "FAIL  certificate        is not for ::1, the host of base-url, and clients refuse it: get one for that name, or set base-url to one of its own"
        ]
    );
}

#[test]
fn health_is_asked_over_https_too() {
    let database = Database::sqlite();
    let (_, server) = start(database.folder(), "");
    let mut command = server::narthex(database.folder());
    let output = command.args(["health", "--listen", &server.address.to_string()]).output().unwrap();
    let said = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!((output.status.code(), said), (Some(0), ("ok\n".to_owned(), String::new())));
}
