//! `/metrics`: what is counted, where it can be read, and that its reference says so.

use super::{
    binary::refused,
    client::{Client, get, get_session, post, sign_in, sign_up},
    database::Database,
    server::{QUICK, Server, command, wait_for},
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Command,
};

/// The same command line, for a server whose metrics can be read, at a free address.
pub(crate) fn measured(mut command: Command) -> Command {
    command.env("NARTHEX__METRICS__ENABLED", "true").env("NARTHEX__METRICS__LISTEN", "127.0.0.1:0");
    command
}

fn start(database: &Database, configuration: &str) -> Server {
    fs::write(database.folder().join("narthex.toml"), format!("{QUICK}{configuration}")).unwrap();
    let mut command = measured(command(database.folder()));
    command.args(["--database", &database.url()]);
    Server::spawn(command, database.folder())
}

fn address(server: &Server) -> SocketAddr {
    let line = server.banner.iter().find_map(|line| line.strip_prefix("  metrics    http://"));
    line.and_then(|line| line.strip_suffix("/metrics")).unwrap().parse().unwrap()
}

fn text(server: &Server) -> String {
    let reply = Client::connect(address(server)).exchange(&get("/metrics", ""));
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    String::from_utf8(reply.body).unwrap()
}

/// Every value by its name with its labels.
pub(crate) struct Scraped(BTreeMap<String, f64>);

impl Scraped {
    pub(crate) fn of(server: &Server) -> Self {
        let text = text(server);
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        });
        Self(samples.collect())
    }

    /// Nothing, where there is none.
    pub(crate) fn get(&self, series: &str) -> Option<f64> {
        self.0.get(series).copied()
    }

    /// All whose name begins so, but those that are 0.
    fn beginning(&self, prefix: &str) -> Vec<(&str, f64)> {
        let all = self.0.iter().map(|(series, value)| (series.as_str(), *value));
        all.filter(|(series, value)| series.starts_with(prefix) && *value != 0.0).collect()
    }
}

#[test]
fn what_is_asked_for_is_counted_by_its_endpoint() {
    let database = Database::chosen("metrics_requests");
    let server = start(&database, "");
    let mut client = server.connect();
    let cookie = client.exchange(&sign_up("ada@example.com")).cookie();
    assert_eq!(client.exchange(&sign_in("ada@example.com", "wrong password")).status, 401);
    assert_eq!(client.exchange(&sign_in("eve@example.com", "wrong password")).status, 401);
    assert_eq!(client.exchange(&sign_in("ada@example.com", "correct horse")).status, 200);
    for _ in 0..3 {
        assert_eq!(client.exchange(&get_session(&cookie)).status, 200);
    }
    assert_eq!(client.exchange(&get("/api/auth/ada@example.com/secret", "")).status, 404);
    assert_eq!(client.exchange(&post("/api/auth/sign-out", &cookie, &json!({}))).status, 200);
    let strange = b"BREW /api/auth/ok HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert_eq!(client.exchange(strange).status, 404);

    let scraped = Scraped::of(&server);
    assert_eq!(
        scraped.beginning("narthex_requests_total"),
        [
            (r#"narthex_requests_total{endpoint="/get-session",method="GET",status="200"}"#, 3.0),
            (r#"narthex_requests_total{endpoint="/sign-in/email",method="POST",status="200"}"#, 1.0),
            (r#"narthex_requests_total{endpoint="/sign-in/email",method="POST",status="401"}"#, 2.0),
            (r#"narthex_requests_total{endpoint="/sign-out",method="POST",status="200"}"#, 1.0),
            (r#"narthex_requests_total{endpoint="/sign-up/email",method="POST",status="200"}"#, 1.0),
            (r#"narthex_requests_total{endpoint="none",method="any",status="404"}"#, 2.0),
        ]
    );
    assert_eq!(
        scraped.beginning("narthex_errors_total"),
        [(r#"narthex_errors_total{endpoint="/sign-in/email",code="INVALID_EMAIL_OR_PASSWORD"}"#, 2.0)]
    );
    for (series, value) in [
        (r#"narthex_request_duration_seconds_count{endpoint="/get-session"}"#, 3.0),
        (r#"narthex_request_duration_seconds_bucket{endpoint="/get-session",le="+Inf"}"#, 3.0),
        ("narthex_requests_in_flight", 0.0),
        // A sign-up, and three sign-ins of which one was for nobody.
        ("narthex_password_hashing_duration_seconds_count", 4.0),
        ("narthex_password_hashing_refused_total", 0.0),
        ("narthex_password_hashing_busy", 0.0),
        ("narthex_password_hashing_queue", 0.0),
        ("narthex_database_reachable", 1.0),
        ("narthex_database_waiting", 0.0),
        (r#"narthex_database_errors_total{kind="unavailable"}"#, 0.0),
        ("narthex_connections_open", 1.0),
        ("narthex_log_lines_dropped_total", 0.0),
        (concat!(r#"narthex_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""}"#), 1.0),
    ] {
        assert_eq!(scraped.get(series), Some(value), "{series}");
    }
    let [transactions, commits, waits] = [
        "narthex_database_transactions_total",
        "narthex_database_commits_total",
        "narthex_database_wait_seconds_count",
    ]
    .map(|series| scraped.get(series).unwrap());
    // Nobody writes without having waited for their turn, be it for no time.
    assert!(transactions >= 4.0 && waits >= transactions, "{transactions} {waits}");
    if database.is_postgres() {
        assert_eq!(scraped.get("narthex_database_connections_max"), Some(20.0));
        assert_eq!(scraped.get("narthex_database_wal_bytes"), None);
        assert!(commits >= transactions, "{commits} {transactions}: the tables were made in one more");
    } else {
        assert!(scraped.get("narthex_database_wal_bytes") > Some(4096.0));
        assert!(commits > 0.0 && commits <= transactions, "{commits} {transactions}");
        assert_eq!(scraped.get("narthex_database_connections_max"), None);
    }
    for series in
        ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_max_fds"]
    {
        assert!(scraped.get(series) > Some(0.0), "{series}");
    }
    assert!(scraped.get("process_start_time_seconds") > Some(1_700_000_000.0));
}

#[test]
fn what_happens_to_people_is_counted_by_how_and_why() {
    let database = Database::chosen("metrics_people");
    let server = start(&database, "");
    assert_eq!(Scraped::of(&server).beginning("narthex_events_total"), []);
    let mut client = server.connect();
    let cookie = client.exchange(&sign_up("ada@example.com")).cookie();
    assert_eq!(client.exchange(&sign_up("ada@example.com")).status, 422);
    for email in ["ada@example.com", "eve@example.com"] {
        assert_eq!(client.exchange(&sign_in(email, "wrong password")).status, 401);
    }
    let other = client.exchange(&sign_in("ada@example.com", "correct horse")).cookie();
    let last = client.exchange(&sign_in("ada@example.com", "correct horse")).cookie();
    assert_eq!(client.exchange(&get_session(&other)).status, 200);
    assert_eq!(client.exchange(&post("/api/auth/sign-out", &other, &json!({}))).status, 200);
    let mut change = json!({ "currentPassword": "wrong", "newPassword": "battery staple" });
    assert_eq!(client.exchange(&post("/api/auth/change-password", &last, &change)).status, 400);
    change["currentPassword"] = "correct horse".into();
    change["revokeOtherSessions"] = true.into();
    assert_eq!(client.exchange(&post("/api/auth/change-password", &cookie, &change)).status, 200);

    let events = [
        ("password-check.failed", "failure", "wrong-credentials", 1.0),
        ("password.changed", "success", "", 1.0),
        ("session.created", "success", "password", 2.0),
        ("session.created", "success", "password-change", 1.0),
        ("session.created", "success", "sign-up", 1.0),
        // This server renews sessions whenever it looks at them.
        ("session.renewed", "success", "", 3.0),
        // Two at once.
        ("session.revoked", "success", "password-change", 2.0),
        ("session.revoked", "success", "sign-out", 1.0),
        ("sign-in.failed", "failure", "wrong-credentials", 2.0),
        ("user.created", "success", "", 1.0),
    ];
    let events = events.map(|(event, outcome, reason, count)| {
        (format!(r#"narthex_events_total{{event="{event}",outcome="{outcome}",reason="{reason}"}}"#), count)
    });
    let scraped = Scraped::of(&server);
    let counted = scraped.beginning("narthex_events_total").into_iter();
    assert_eq!(counted.map(|(series, count)| (series.to_owned(), count)).collect::<Vec<_>>(), events);
}

#[test]
fn whoever_asks_too_often_is_counted_as_refused() {
    let database = Database::sqlite();
    let server = start(
        &database,
        "[rate-limit]\nenabled = true\n[rate-limit.custom-rules.\"/get-session\"]\nmax = 1\nwindow = 3600\n",
    );
    let statuses = [(); 3].map(|()| server.connect().exchange(&get_session("")).status);
    assert_eq!(statuses, [200, 429, 429]);
    let series = r#"narthex_requests_total{endpoint="/get-session",method="GET",status="429"}"#;
    assert_eq!(Scraped::of(&server).get(series), Some(2.0));
}

#[test]
fn a_scrape_asks_the_database_nothing() {
    let database = Database::chosen("metrics_scrape");
    let server = start(&database, "");
    assert_eq!(server.connect().exchange(&sign_up("ada@example.com")).status, 200);
    let statements = || Scraped::of(&server).get("narthex_database_statements_total").unwrap();
    let first = statements();
    assert!(first > 0.0);
    assert_eq!((statements(), statements()), (first, first));
}

#[test]
fn nothing_secret_and_nothing_about_persons_is_in_them() {
    let database = Database::sqlite();
    let server = start(&database, "");
    let mut client = server.connect();
    let made = client.exchange(&sign_up("ada@example.com"));
    let (cookie, user) = (made.cookie(), made.json()["user"].take());
    let token = cookie.split_once('=').unwrap().1.split('.').next().unwrap().to_owned();
    for request in [
        sign_in("ada@example.com", "wrong password"),
        get("/api/auth/reset-password/ada@example.com?token=open-sesame", &cookie),
        get(&format!("/api/auth/{token}"), &cookie),
        post("/api/auth/revoke-session", &cookie, &json!({ "token": token })),
        b"open-sesame /api/auth/ok HTTP/1.1\r\nhost: ada.example\r\nuser-agent: ada's\r\n\r\n".to_vec(),
    ] {
        client.exchange(&request);
    }
    let text = text(&server);
    let secret = fs::read_to_string(database.folder().join("narthex.secret")).unwrap();
    let id = user["id"].as_str().unwrap();
    for hidden in ["ada", "example", "127.0.0.1", "horse", "sesame", "narthex.db", id, &token, secret.trim()]
    {
        assert!(!text.to_lowercase().contains(&hidden.to_lowercase()), "{hidden} is in\n{text}");
    }
}

#[test]
fn they_are_at_their_own_address_and_nothing_else_is() {
    let database = Database::sqlite();
    let server = start(&database, "");
    let status = |at: SocketAddr, request: &[u8]| Client::connect(at).exchange(request).status;
    assert_eq!(status(server.address, &get("/metrics", "")), 404);
    assert_eq!(status(server.address, &get("/metrics/", "")), 404);
    let own = address(&server);
    assert!(own.ip().is_loopback() && own != server.address);
    assert_eq!(status(own, &get("/metrics?format=json", "")), 200);
    assert_eq!(status(own, &post("/metrics", "", &json!({}))), 405);
    for path in ["/", "/health", "/ready", "/api/auth/ok", "/metrics/x"] {
        assert_eq!(status(own, &get(path, "")), 404, "{path}");
    }
    assert_eq!(status(own, &sign_up("ada@example.com")), 404);
    assert_eq!(database.number("select count(*) from user"), 0);
    // Whoever reads them keeps the server from nothing.
    let _idle = Client::connect(own);
    assert!(server.stop().success());
}

#[test]
fn they_can_be_switched_off() {
    let database = Database::sqlite();
    fs::write(
        database.folder().join("narthex.toml"),
        "[metrics]\nenabled = false\nlisten = \"127.0.0.1:0\"\n",
    )
    .unwrap();
    let mut command = command(database.folder());
    command.env_remove("NARTHEX__METRICS__ENABLED");
    let server = Server::spawn(command, database.folder());
    assert!(!server.banner.iter().any(|line| line.contains("metrics")), "{:?}", server.banner);
    assert_eq!(server.status_of("/ready"), 200);
}

#[test]
fn an_address_that_somebody_else_has_stops_the_server_only_if_it_was_asked_for() {
    let database = Database::sqlite();
    // Somebody has it: we, or whoever keeps us from it.
    let _taken = TcpListener::bind("127.0.0.1:9464");
    let mut by_default = measured(command(database.folder()));
    by_default.env_remove("NARTHEX__METRICS__LISTEN");
    let server = Server::spawn(by_default, database.folder());
    assert!(!server.banner.iter().any(|line| line.contains("metrics")), "{:?}", server.banner);
    assert_eq!(server.status_of("/ready"), 200);
    wait_for(|| server.log().contains("metrics cannot be served on 127.0.0.1:9464"));
    let log = server.log_at_end();
    assert!(log.contains("set metrics.listen to a free address, or metrics.enabled = false"), "{log}");

    let other = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _taken = TcpListener::bind(other).unwrap();
    let mut asked_for = measured(command(database.folder()));
    asked_for.env("NARTHEX__METRICS__LISTEN", other.to_string()).args(["--listen", "127.0.0.1:0"]);
    let line = refused(&mut asked_for, 1);
    assert!(line.contains(&format!("metrics.listen = \"{other}\": cannot listen there")), "{line}");
    assert!(line.contains("in use") && line.contains("metrics.enabled = false"), "{line}");
}

/// Name, kind and meaning of everything that there may be, and the labels that were seen.
struct Shown {
    kind: String,
    meaning: String,
    labels: Option<BTreeSet<String>>,
}

fn shown(text: &str) -> BTreeMap<String, Shown> {
    let mut all: BTreeMap<String, Shown> = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines() {
        if let Some((name, meaning)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' ')) {
            let new = Shown { kind: String::new(), meaning: meaning.to_owned(), labels: None };
            assert!(all.insert(name.to_owned(), new).is_none(), "{name} is there twice");
            name.clone_into(&mut last);
        } else if let Some(kind) = line.strip_prefix(&format!("# TYPE {last} ")) {
            kind.clone_into(&mut all.get_mut(&last).unwrap().kind);
        } else {
            let rest = line.strip_prefix(&last).unwrap_or_else(|| panic!("{line} is not below its name"));
            let labels = rest
                .split_once('{')
                .and_then(|(_, rest)| rest.rsplit_once('}'))
                .map_or("", |(labels, _)| labels);
            let names = labels.split("\",").filter_map(|label| label.split_once("=\"")).map(|(name, _)| name);
            let names = names.filter(|name| *name != "le").map(str::to_owned).collect();
            let known = &mut all.get_mut(&last).unwrap().labels;
            assert!(
                known.as_ref().is_none_or(|known| *known == names),
                "{line} has other labels than its like"
            );
            *known = Some(names);
        }
    }
    all
}

/// The rows of the reference's tables: name, kind, labels and meaning.
pub(crate) fn documented() -> BTreeMap<String, [String; 3]> {
    let text = fs::read_to_string(repository().join("docs/reference/metrics.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `narthex_") || line.starts_with("| `process_"));
    rows.map(|row| {
        let cells: Vec<_> =
            row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let [name, kind, labels, meaning] = <[String; 4]>::try_from(cells).unwrap();
        (name, [kind, labels, meaning])
    })
    .collect()
}

pub(crate) fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[test]
fn the_reference_says_what_is_shown() {
    let database = Database::chosen("metrics_reference");
    let server = start(&database, "");
    assert_eq!(server.connect().exchange(&sign_up("ada@example.com")).status, 200);
    assert_eq!(server.connect().exchange(&sign_in("ada@example.com", "wrong password")).status, 401);
    let (documented, shown) = (documented(), shown(&text(&server)));
    let names = |names: Vec<&String>| names.into_iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(documented.keys().collect()), names(shown.keys().collect()));
    for (name, Shown { kind, meaning, labels }) in shown {
        let [documented_kind, documented_labels, documented_meaning] = &documented[&name];
        assert_eq!((&kind, &meaning), (documented_kind, documented_meaning), "{name}");
        if let Some(labels) = labels {
            let expected = documented_labels.split(", ").filter(|label| !label.is_empty());
            assert_eq!(labels, expected.map(str::to_owned).collect(), "{name}");
        }
    }
}
