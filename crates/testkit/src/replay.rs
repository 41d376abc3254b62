//! Plays back what upstream was recorded doing: the requests of a transcript, and the answers and rows it left.
//!
//! The exchanges go over a socket, byte for byte as they were recorded, to an engine whose clock stands still during
//! a step. What was random is a placeholder: the first time it is bound to what we made up, from then on it must be
//! that. Each answer must also be what the description of its endpoint says it is. The format is described in
//! `conformance/README.md`, whose harness records the transcripts.

use crate::{
    app::{Builder, TestApp},
    contract::{Contract, Replied},
    database::Dialect,
    remembered,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use narthex::{Clock as _, Config, Environment, Time, store::Kind};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, HashMap},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

/// Tables that upstream does not have, so that no transcript says what is in them: decision 0024.
const OWN_TABLES: [&str; 2] = ["narthexGuess", "audit_log"];
/// What passes between two steps; nothing that a session's lifetime would notice.
const BETWEEN_STEPS: Duration = Duration::from_millis(7);

#[derive(Deserialize)]
struct Transcript {
    env: String,
    databases: Vec<String>,
    toml: String,
    options: Options,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Options {
    #[serde(rename = "baseURL")]
    base_url: String,
    #[serde(rename = "rateLimit")]
    rate_limit: Option<Value>,
    /// Nothing where there are several.
    secret: Option<String>,
}

#[derive(Deserialize)]
struct Step {
    advance: Option<u64>,
    sql: Option<BTreeMap<String, String>>,
    request: Option<Request>,
    response: Option<Response>,
    rows: Option<BTreeMap<String, Tables>>,
    differs: Option<Differs>,
}

#[derive(Deserialize)]
struct Differs {
    narthex: Difference,
}

#[derive(Deserialize)]
struct Difference {
    status: Option<u16>,
    headers: Option<Vec<(String, String)>>,
    #[serde(default, deserialize_with = "given")]
    body: Option<Value>,
    caches: Option<Vec<String>>,
    tokens: Option<Vec<String>>,
    rows: Option<BTreeMap<String, Tables>>,
}

/// A `null` that was written is not the same as nothing.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

type Tables = BTreeMap<String, Vec<Map<String, Value>>>;

#[derive(Deserialize)]
struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Value,
}

#[derive(Deserialize, Clone)]
struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Value,
    /// What cookies remember of a session.
    #[serde(default)]
    caches: Vec<String>,
    /// What tokens say, in headers other than cookies and then in the body.
    #[serde(default)]
    tokens: Vec<String>,
}

/// The recorded transcripts of one area.
pub fn transcripts(area: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/transcripts").join(area);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a folder can be read").path()).collect();
    files.sort();
    files
}

/// Plays one transcript back; answers every difference, in words.
pub async fn replay(file: &Path) -> Vec<String> {
    replay_with(file, |app, plugins| {
        assert!(plugins.is_empty(), "{} has plugins", file.display());
        app
    })
    .await
}

/// The same with the plugins that the transcript names, which the core does not know.
pub async fn replay_with(file: &Path, install: impl FnOnce(Builder, toml::Table) -> Builder) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let transcript: Transcript =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut options: toml::Table =
        toml::from_str(&transcript.toml).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let plugins = match options.remove("plugins") {
        Some(toml::Value::Table(plugins)) => plugins,
        _ => toml::Table::new(),
    };
    let mut config: Config = options.try_into().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    // Hashes are compared by whether they are there, and made by the hundred.
    config.password.bcrypt_cost = 4;
    if transcript.options.rate_limit.is_none() {
        config.rate_limit.enabled = Some(false);
    }
    if transcript.env != "production" {
        config.environment = Environment::Development;
    }
    let app = install(TestApp::builder().config(|ours| *ours = config), plugins).build().await;
    let dialect = match app.database().dialect() {
        Dialect::Sqlite => "sqlite",
        Dialect::Postgres => "postgres",
    };
    if !transcript.databases.iter().any(|database| database == dialect) {
        return Vec::new();
    }
    let address = listen(&app).await;
    let secret = transcript.options.secret.unwrap_or_default();
    let mut player = Player::new(app, address, dialect, host(&transcript.options.base_url), secret);
    for (position, step) in transcript.steps.into_iter().enumerate() {
        player.step(position + 1, step).await;
    }
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    player.differences.into_iter().map(|difference| format!("{name} {difference}")).collect()
}

/// Serves the engine on a port of its own for as long as the test's runtime lives.
#[expect(clippy::disallowed_methods, reason = "the server outlives the call that starts it")]
async fn listen(app: &TestApp) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let service = app.auth().router().into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

fn host(base_url: &str) -> String {
    let url = url::Url::parse(base_url).expect("the base URL of a transcript");
    url.origin().ascii_serialization().split_once("://").map(|(_, host)| host.to_owned()).unwrap_or_default()
}

struct Player {
    app: TestApp,
    address: SocketAddr,
    dialect: &'static str,
    host: String,
    secret: String,
    contract: Contract,
    /// What placeholders stand for.
    bound: HashMap<String, String>,
    /// When each step was handled.
    moments: Vec<Time>,
    /// The rows after the step before.
    before: BTreeMap<String, Vec<Value>>,
    differences: Vec<String>,
}

impl Player {
    fn new(app: TestApp, address: SocketAddr, dialect: &'static str, host: String, secret: String) -> Self {
        let contract = Contract::of(app.auth());
        Self {
            app,
            contract,
            address,
            dialect,
            host,
            secret,
            bound: HashMap::new(),
            moments: Vec::new(),
            before: BTreeMap::new(),
            differences: Vec::new(),
        }
    }

    async fn step(&mut self, number: usize, step: Step) {
        self.app.advance(step.advance.map_or(BETWEEN_STEPS, Duration::from_secs));
        self.moments.push(self.app.clock().now());
        if let Some(statement) = step.sql.as_ref().and_then(|sql| sql.get(self.dialect)) {
            self.app.database().execute(statement).await;
        }
        let difference = step.differs.map(|differs| differs.narthex);
        if let (Some(request), Some(mut expected)) = (step.request, step.response) {
            if let Some(difference) = &difference {
                expected.status = difference.status.unwrap_or(expected.status);
                expected.headers = difference.headers.clone().unwrap_or(expected.headers);
                expected.body = difference.body.clone().unwrap_or(expected.body);
                expected.caches = difference.caches.clone().unwrap_or(expected.caches);
                expected.tokens = difference.tokens.clone().unwrap_or(expected.tokens);
            }
            let bytes = self.bytes(&request);
            let address = self.address;
            let answer =
                tokio::task::spawn_blocking(move || exchange(address, &bytes)).await.expect("an exchange");
            self.compare_response(number, &request, &expected, &answer);
        }
        let mut rows = step.rows.map(|mut rows| rows.remove(self.dialect).unwrap_or_default());
        let ours = difference.and_then(|difference| difference.rows?.remove(self.dialect));
        if let Some(ours) = ours {
            rows.get_or_insert_default().extend(ours);
        }
        self.compare_rows(number, rows).await;
    }

    /// The request as it goes over the socket. Header characters are bytes.
    fn bytes(&self, request: &Request) -> Vec<u8> {
        let body = match &request.body {
            Value::String(text) => Some(self.fill(text).into_bytes()),
            Value::Object(body) => body.get("hex").and_then(Value::as_str).map(unhex),
            _ => None,
        };
        let is_listed =
            |name: &str| request.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        let mut lines = vec![format!("{} {} HTTP/1.1", request.method, self.fill(&request.target))];
        if !is_listed("host") {
            lines.push(format!("Host: {}", self.host));
        }
        lines.extend(request.headers.iter().map(|(name, value)| format!("{name}: {}", self.fill(value))));
        let is_chunked = is_listed("transfer-encoding");
        if !is_listed("content-length") && !is_chunked && (body.is_some() || request.method == "POST") {
            lines.push(format!("Content-Length: {}", body.as_ref().map_or(0, Vec::len)));
        }
        lines.push("Connection: close\r\n\r\n".to_owned());
        let head = lines.join("\r\n");
        let mut bytes: Vec<u8> =
            head.chars().map(|character| u8::try_from(u32::from(character)).unwrap_or(b'?')).collect();
        let body = body.unwrap_or_default();
        if is_chunked {
            bytes.extend(format!("{:x}\r\n", body.len()).into_bytes());
            bytes.extend(body);
            bytes.extend(b"\r\n0\r\n\r\n");
        } else {
            bytes.extend(body);
        }
        bytes
    }

    /// Puts what placeholders stand for in their place.
    fn fill(&self, template: &str) -> String {
        let mut text = String::new();
        for piece in pieces(template) {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Placeholder(name) => match known(&self.bound, name) {
                    Some(value) => text.push_str(&value),
                    None => {
                        text.push_str(&self.moment(name).unwrap_or_default());
                    }
                },
            }
        }
        text
    }

    /// The moment that `step3+60s` names, or `millis:step3+60s`, or `seconds:step3+60s`, as it is written.
    fn moment(&self, name: &str) -> Option<String> {
        match name.split_once(':') {
            None => self.instant(name).map(|time| time.to_string()),
            Some(("millis", name)) => self.instant(name).map(|time| time.millis().to_string()),
            Some(("seconds", name)) => {
                self.instant(name).map(|time| time.millis().div_euclid(1000).to_string())
            }
            Some(_) => None,
        }
    }

    /// The moment that `step3+60s` names.
    fn instant(&self, name: &str) -> Option<Time> {
        let (step, offset) = name.strip_prefix("step")?.strip_suffix('s')?.split_once(['+', '-'])?;
        let moment = *self.moments.get(step.parse::<usize>().ok()?.checked_sub(1)?)?;
        let offset = Duration::from_secs(offset.parse().ok()?);
        Some(if name.contains('+') { moment + offset } else { moment - offset })
    }

    /// Whether `actual` is what `template` says; what it leaves open is bound.
    fn matches(&mut self, template: &str, actual: &str) -> bool {
        let mut bound = self.bound.clone();
        let mut rest = actual;
        for piece in pieces(template) {
            let expected = match piece {
                Piece::Text(text) => text.to_owned(),
                Piece::Placeholder(name) => {
                    let known = known(&bound, name).or_else(|| self.moment(name));
                    if let Some(known) = known {
                        known
                    } else {
                        let Some(value) = shape(name, rest) else { return false };
                        bound.insert(name.to_owned(), value.to_owned());
                        value.to_owned()
                    }
                }
            };
            match rest.strip_prefix(expected.as_str()) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        if rest.is_empty() {
            self.bound = bound;
        }
        rest.is_empty()
    }

    fn compare_response(&mut self, number: usize, request: &Request, expected: &Response, answer: &Answer) {
        let place = format!("step {number}: {} {}", request.method, request.target);
        if expected.status != answer.status {
            self.differences.push(format!(
                "{place}: {} instead of {}: {}",
                answer.status,
                expected.status,
                answer.text()
            ));
            return;
        }
        let target = self.fill(&request.target);
        if let Some(path) = target.strip_prefix(self.app.auth().base_path()) {
            let content_type =
                answer.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
            let replied = Replied {
                status: answer.status,
                content_type: content_type.map_or("", |(_, value)| value),
                body: &answer.body,
            };
            let breach = self.contract.breach(&request.method, path, replied);
            self.differences.extend(breach.map(|breach| format!("step {number}: {breach}")));
        }
        let names =
            |headers: &[(String, String)]| headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        if names(&expected.headers) != names(&answer.headers) {
            self.differences
                .push(format!("{place}: headers {:?} instead of {:?}", answer.headers, expected.headers));
        }
        let tag = entity_tag(&answer.body);
        for ((name, expected), (_, actual)) in expected.headers.iter().zip(&answer.headers) {
            let expected = if name == "etag" { expected.replace("<etag>", &tag) } else { expected.clone() };
            if !self.matches(&expected, actual) {
                self.differences.push(format!("{place}: {name}: {actual} instead of {expected}"));
            }
        }
        let caches = remembered::in_cookies(&answer.headers, &self.secret);
        if caches.len() != expected.caches.len()
            || !expected.caches.iter().zip(&caches).all(|(expected, actual)| self.matches(expected, actual))
        {
            self.differences
                .push(format!("{place}: cookies remember {caches:?} instead of {:?}", expected.caches));
        }
        let tokens = tokens(answer);
        if tokens.len() != expected.tokens.len()
            || !expected.tokens.iter().zip(&tokens).all(|(expected, actual)| self.matches(expected, actual))
        {
            self.differences.push(format!("{place}: tokens say {tokens:?} instead of {:?}", expected.tokens));
        }
        let is_same = match &expected.body {
            Value::Null => answer.body.is_empty(),
            Value::String(template) => {
                std::str::from_utf8(&answer.body).is_ok_and(|actual| self.matches(template, actual))
            }
            body => body.get("hex").and_then(Value::as_str).map(unhex).as_ref() == Some(&answer.body),
        };
        if !is_same {
            self.differences.push(format!("{place}: {} instead of {}", answer.text(), expected.body));
        }
    }

    /// Tables that are not listed have not changed.
    async fn compare_rows(&mut self, number: usize, expected: Option<Tables>) {
        let Some(expected) = expected else { return };
        let tables = self.app.store().schema().tables();
        let tables = tables.filter(|table| !OWN_TABLES.contains(&table.name));
        let tables: Vec<_> = tables.map(std::sync::Arc::clone).collect();
        for table in tables {
            let actual = self.app.database().rows(&table.relation, Some(&table)).await;
            match expected.get(&table.relation) {
                None if self.before.get(table.name).map_or(&[][..], Vec::as_slice) == actual => {}
                None => self
                    .differences
                    .push(format!("step {number}: rows of {} changed: {actual:?}", table.name)),
                Some(rows) => {
                    let mut left: Vec<_> = actual.iter().collect();
                    for row in rows {
                        match left.iter().position(|actual| self.row_matches(&table, row, actual)) {
                            Some(position) => drop(left.remove(position)),
                            None => self.differences.push(format!(
                                "step {number}: no row of {} is {row:?}: {actual:?}",
                                table.name
                            )),
                        }
                    }
                    for row in left {
                        self.differences
                            .push(format!("step {number}: unexpected row of {}: {row}", table.name));
                    }
                }
            }
            self.before.insert(table.name.to_owned(), actual);
        }
    }

    fn row_matches(
        &mut self,
        table: &narthex::store::ResolvedTable,
        expected: &Map<String, Value>,
        actual: &Value,
    ) -> bool {
        let bound = self.bound.clone();
        let same = expected.len() == actual.as_object().map_or(0, Map::len)
            && expected.iter().all(|(column, expected)| {
                let actual = actual.get(column).unwrap_or(&Value::Null);
                let kind = table.kept_in(column).map(|field| field.kind);
                match (expected, actual) {
                    (Value::String(template), Value::String(actual)) => {
                        // PostgreSQL's spelling, where a request said the time.
                        let said = Time::parse(template).filter(|_| kind == Some(Kind::Time));
                        said.map_or_else(
                            || self.matches(template, actual),
                            |said| said.to_string() == *actual,
                        )
                    }
                    (Value::String(flag), Value::Bool(actual)) => (flag == "t") == *actual,
                    // Numbers as PostgreSQL writes them, and milliseconds.
                    (Value::String(template), Value::Number(actual)) => {
                        let moment = template.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
                        let moment = moment.and_then(|name| self.instant(name)).map(Time::millis);
                        *template == actual.to_string() || (moment.is_some() && moment == actual.as_i64())
                    }
                    (Value::String(json), Value::Array(_) | Value::Object(_)) => {
                        serde_json::from_str::<Value>(json).is_ok_and(|expected| expected == *actual)
                    }
                    (Value::Number(flag), Value::Bool(actual)) if kind == Some(Kind::Bool) => {
                        (flag.as_i64() == Some(1)) == *actual
                    }
                    // The transcripts' word for what SQLite keeps as a number with a fraction.
                    (Value::Object(real), Value::Number(actual)) => {
                        real.get("real").and_then(Value::as_f64) == actual.as_f64()
                    }
                    (expected, actual) => expected == actual,
                }
            });
        if !same {
            self.bound = bound;
        }
        same
    }
}

/// What a placeholder was bound to; a signature, also in its other spelling.
fn known(bound: &HashMap<String, String>, name: &str) -> Option<String> {
    if let Some(value) = bound.get(name) {
        return Some(value.clone());
    }
    if let Some(number) = name.strip_prefix("sig-decoded:") {
        let encoded = bound.get(&format!("sig:{number}"))?;
        return Some(encoded.replace("%2B", "+").replace("%2F", "/").replace("%3D", "="));
    }
    let decoded = bound.get(&format!("sig-decoded:{}", name.strip_prefix("sig:")?))?;
    Some(decoded.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"))
}

/// What `<etag>` stands for: the first half of the hash of the body.
fn entity_tag(body: &[u8]) -> String {
    let digest = Sha256::digest(body);
    URL_SAFE_NO_PAD.encode(digest.get(..16).unwrap_or_default())
}

/// Header and payload of every token in the answer, as they are written.
fn tokens(answer: &Answer) -> Vec<String> {
    let headers =
        answer.headers.iter().filter(|(name, _)| name != "set-cookie").map(|(_, value)| value.clone());
    headers.chain([answer.text()]).flat_map(|text| tokens_in(&text)).collect()
}

fn tokens_in(text: &str) -> Vec<String> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let decode = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    let said = |token: &str| {
        let [header, payload, signature]: [&str; 3] = token.split('.').collect::<Vec<_>>().try_into().ok()?;
        URL_SAFE_NO_PAD.decode(signature).ok()?;
        Some(format!("{} {}", decode(header)?, decode(payload)?))
    };
    let runs = text.split(|character: char| !is_part(character)).filter(|run| run.starts_with("eyJ"));
    runs.filter_map(said).collect()
}

enum Piece<'a> {
    Text(&'a str),
    Placeholder(&'a str),
}

/// Takes a template apart. What is in angle brackets and no placeholder is text.
fn pieces(template: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    let is_placeholder = |name: &str| {
        let kinds = [
            "rand32:",
            "sig:",
            "sig-decoded:",
            "hash:",
            "cache:",
            "jwt:",
            "jwk:",
            "encrypted:",
            "uuid:",
            "step",
            "millis:step",
            "seconds:step",
        ];
        kinds.iter().any(|kind| {
            name.strip_prefix(kind)
                .is_some_and(|number| number.starts_with(|first: char| first.is_ascii_digit()))
        })
    };
    let mut from = 0;
    while let Some(start) = rest.get(from..).and_then(|rest| rest.find('<')).map(|start| from + start) {
        let name = rest.get(start + 1..).and_then(|after| after.split_once('>')).map(|(name, _)| name);
        match name.filter(|name| is_placeholder(name)) {
            Some(name) => {
                pieces.push(Piece::Text(rest.get(..start).unwrap_or_default()));
                pieces.push(Piece::Placeholder(name));
                rest = rest.get(start + name.len() + 2..).unwrap_or_default();
                from = 0;
            }
            None => from = start + 1,
        }
    }
    pieces.push(Piece::Text(rest));
    pieces
}

/// The beginning of `text` that has the shape of a placeholder of this kind.
fn shape<'a>(name: &str, text: &'a str) -> Option<&'a str> {
    let length = text.len();
    let run = |allowed: fn(char) -> bool| text.find(|character| !allowed(character)).unwrap_or(length);
    let taken = match name.split(':').next()? {
        "rand32" => text
            .get(..32)
            .filter(|text| text.chars().all(|character| character.is_ascii_alphanumeric()))?
            .len(),
        "uuid" => text
            .get(..36)
            .filter(|text| text.chars().all(|character| character.is_ascii_hexdigit() || character == '-'))?
            .len(),
        "sig" => run(|character| character.is_ascii_alphanumeric() || character == '%'),
        "sig-decoded" => 44,
        "cache" | "jwt" => name.rsplit_once('+')?.1.parse().ok()?,
        "jwk" => match name.rsplit_once('+') {
            Some((_, length)) => length.parse().ok()?,
            None => {
                run(|character| character.is_ascii_alphanumeric() || character == '-' || character == '_')
            }
        },
        "encrypted" => run(|character| character.is_ascii_hexdigit()),
        "hash" => run(|character| character.is_ascii_hexdigit() || character == ':'),
        _ => return None,
    };
    text.get(..taken).filter(|text| !text.is_empty())
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Headers that say how the answer travels, and not what it is.
const TRANSPORT: [&str; 5] = ["date", "connection", "keep-alive", "content-length", "transfer-encoding"];

/// Sends the bytes and reads the answer to its end.
fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let mut connection = TcpStream::connect(address).expect("the engine listens");
    connection.set_read_timeout(Some(Duration::from_mins(1))).expect("a timeout");
    connection.write_all(request).expect("the request is sent");
    let mut bytes = Vec::new();
    connection.read_to_end(&mut bytes).expect("the answer arrives");
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer has a head");
    let body = bytes.split_off(end + 4);
    let head: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let mut lines = head.trim_end().split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let mut headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": ").or_else(|| line.split_once(':')))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .filter(|(name, _)| !TRANSPORT.contains(&name.as_str()))
        .collect();
    headers.sort_by(|(left, _), (right, _)| left.cmp(right));
    Answer { status: status.expect("a status"), headers, body }
}

fn unhex(text: &str) -> Vec<u8> {
    let digit =
        |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0);
    text.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
