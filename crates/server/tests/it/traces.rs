//! Traces: what a collector is told, and how it is reached.

use super::{
    binary::refused,
    client::{get_session, sign_in, sign_up},
    database::Database,
    server::{QUICK, Server, command},
    tls::Certificate,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind},
};
use prost::Message as _;
use std::{
    fs,
    io::{BufRead as _, BufReader, Read, Write},
    net::TcpListener,
    path::Path,
    sync::{Arc, Mutex},
    thread,
};
use tokio_rustls::rustls::{ServerConnection, StreamOwned};

/// Takes traces in, and keeps what it was sent.
struct Collector {
    port: u16,
    received: Arc<Mutex<Vec<Received>>>,
}

struct Received {
    head: String,
    body: Vec<u8>,
}

impl Collector {
    fn start(tls: Option<&Certificate>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (kept, tls) = (Arc::clone(&received), tls.map(Certificate::server));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, kept) = (stream.unwrap(), Arc::clone(&kept));
                match tls.clone() {
                    None => drop(thread::spawn(move || answer(stream, &kept))),
                    Some(tls) => {
                        let session = ServerConnection::new(tls).unwrap();
                        thread::spawn(move || answer(StreamOwned::new(session, stream), &kept));
                    }
                }
            }
        });
        Self { port, received }
    }

    fn heads(&self) -> Vec<String> {
        self.received.lock().unwrap().iter().map(|received| received.head.clone()).collect()
    }

    fn spans(&self) -> Vec<Span> {
        let received = self.received.lock().unwrap();
        let requests =
            received.iter().map(|received| ExportTraceServiceRequest::decode(&*received.body).unwrap());
        let resources = requests.flat_map(|request| request.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }
}

/// Answers requests until the connection ends.
fn answer(stream: impl Read + Write, kept: &Mutex<Vec<Received>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            // Whoever leaves has nothing more to say.
            if !matches!(stream.read_line(&mut head), Ok(1..)) {
                return;
            }
        }
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap()];
        stream.read_exact(&mut body).unwrap();
        kept.lock().unwrap().push(Received { head, body });
        let said = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        if said.and_then(|()| stream.get_mut().flush()).is_err() {
            return;
        }
    }
}

fn traced(folder: &Path, traces: &str, variables: &[(&str, &str)]) -> Server {
    fs::write(folder.join("narthex.toml"), format!("{QUICK}[traces]\n{traces}\n")).unwrap();
    let mut command = command(folder);
    command.envs(variables.iter().copied());
    Server::spawn(command, folder)
}

fn attribute<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.as_ref()?.value.as_ref()
}

#[test]
fn a_collector_learns_where_time_went_and_nothing_that_was_said() {
    let (database, collector) = (Database::sqlite(), Collector::start(None));
    let endpoint = format!("endpoint = \"http://127.0.0.1:{}/\"", collector.port);
    let headers = "headers = { authorization = \"Bearer of-the-collector\" }";
    let server = traced(database.folder(), &format!("{endpoint}\n{headers}"), &[]);
    let signed_up = server.connect().exchange(&sign_up("ada@example.com"));
    assert_eq!(signed_up.status, 200);
    assert_eq!(server.connect().exchange(&sign_in("ada@example.com", "wrong password")).status, 401);
    let request = String::from_utf8(get_session(&signed_up.cookie())).unwrap();
    let belongs = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nhost:";
    assert_eq!(server.connect().exchange(request.replacen("host:", belongs, 1).as_bytes()).status, 200);
    let log = server.log();
    // What waits is sent before it ends.
    assert!(server.stop().success());
    assert!(!log.contains("of-the-collector"), "{log}");

    for head in collector.heads() {
        assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("authorization: Bearer of-the-collector\r\n"), "{head}");
    }
    let spans = collector.spans();
    let span = |name: &str| {
        spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}: {spans:?}"))
    };
    for (name, method, route, status) in [
        ("POST /sign-up/email", "POST", "/sign-up/email", 200),
        ("POST /sign-in/email", "POST", "/sign-in/email", 401),
        ("GET /get-session", "GET", "/get-session", 200),
    ] {
        let span = span(name);
        assert_eq!(span.kind, SpanKind::Server as i32, "{name}");
        let text = |text: &str| Some(Value::StringValue(text.to_owned()));
        assert_eq!(attribute(&span.attributes, "http.request.method").cloned(), text(method), "{name}");
        assert_eq!(attribute(&span.attributes, "http.route").cloned(), text(route), "{name}");
        let code = attribute(&span.attributes, "http.response.status_code");
        assert_eq!(code, Some(&Value::IntValue(status)), "{name}");
    }
    let sign_up = span("POST /sign-up/email");
    assert!(sign_up.parent_span_id.is_empty());
    for inner in ["password hash", "transaction"] {
        assert!(
            spans.iter().any(|span| span.name == inner && span.parent_span_id == sign_up.span_id),
            "{inner}: {spans:?}"
        );
    }
    let get_session = span("GET /get-session");
    assert_eq!(get_session.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
    assert_eq!(get_session.parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());

    let token = signed_up.json()["token"].as_str().unwrap().to_owned();
    for Received { body, .. } in &*collector.received.lock().unwrap() {
        let sent = String::from_utf8_lossy(body);
        for said in ["ada@example.com", "Ada", "correct horse", "wrong password", &token] {
            assert!(!sent.contains(said), "{said}");
        }
    }
}

#[test]
fn a_part_of_the_requests_is_traced_and_whoever_asks_does_not_choose_it() {
    let (database, collector) = (Database::sqlite(), Collector::start(None));
    let endpoint = format!("http://127.0.0.1:{}", collector.port);
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
    let server = traced(database.folder(), "sample-ratio = 0.0", &variables);
    let request = String::from_utf8(sign_up("ada@example.com")).unwrap();
    let belongs = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nhost:";
    assert_eq!(server.connect().exchange(request.replacen("host:", belongs, 1).as_bytes()).status, 200);
    assert!(server.stop().success());
    assert_eq!(collector.spans(), []);
}

#[test]
fn the_collector_is_reached_as_the_environment_says() {
    let far = "endpoint = \"http://collector.example:4318\"";
    let proxied = "POST http://collector.example:4318/v1/traces HTTP/1.1\r\n";
    let (database, proxy) = (Database::sqlite(), Collector::start(None));
    let address = format!("http://127.0.0.1:{}", proxy.port);
    let server = traced(database.folder(), far, &[("HTTP_PROXY", &address)]);
    assert_eq!(server.connect().exchange(&sign_up("ada@example.com")).status, 200);
    assert!(server.stop().success());
    assert!(proxy.heads().iter().any(|head| head.starts_with(proxied)), "{:?}", proxy.heads());

    let near = Collector::start(None);
    let endpoint = format!("endpoint = \"http://127.0.0.1:{}\"", near.port);
    let before = proxy.heads().len();
    let variables = [("HTTP_PROXY", address.as_str()), ("NO_PROXY", "127.0.0.1")];
    let server = traced(database.folder(), &endpoint, &variables);
    assert_eq!(server.connect().exchange(&sign_up("bob@example.com")).status, 200);
    assert!(server.stop().success());
    assert_eq!((near.heads().is_empty(), proxy.heads().len()), (false, before));

    let certificate = Certificate::new();
    certificate.install(database.folder());
    let secure = Collector::start(Some(&certificate));
    let endpoint = format!("endpoint = \"https://localhost:{}\"", secure.port);
    let authorities = database.folder().join("fullchain.pem");
    let server = traced(database.folder(), &endpoint, &[("SSL_CERT_FILE", authorities.to_str().unwrap())]);
    assert_eq!(server.connect().exchange(&sign_up("eve@example.com")).status, 200);
    assert!(server.stop().success());
    assert!(secure.spans().iter().any(|span| span.name == "POST /sign-up/email"));
}

#[test]
fn a_collector_that_is_not_there_stops_nobody() {
    let database = Database::sqlite();
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = traced(database.folder(), &format!("endpoint = \"http://{nowhere}\""), &[]);
    assert_eq!(server.connect().exchange(&sign_up("ada@example.com")).status, 200);
    assert!(server.stop().success());
}

#[test]
fn mistakes_about_traces_are_told_without_the_headers() {
    let database = Database::sqlite();
    let traces = "[traces]\nendpoint = \"collector:4318\"\nsample-ratio = 2.0\nheaders = { authorization = \"hunter2\\n\" }\n";
    fs::write(database.folder().join("narthex.toml"), traces).unwrap();
    let said = refused(&mut command(database.folder()), 2);
    for line in [
        "narthex.toml:2: traces.endpoint = \"***\": must be the http:// or https:// address",
        "narthex.toml:3: traces.sample-ratio = 2: must be from 0 to 1",
        "narthex.toml:4: traces.headers.authorization: must be the name and the value of a header",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    assert!(!said.contains("hunter2"), "{said}");
}
