//! The load generator: fixed numbers of keep-alive connections, each sending its own request again
//! as soon as it is answered, for a fixed time after a warm-up.
//!
//! One thread, prepared request bytes and the least parsing that still proves each answer: a
//! status of 200 and a body that begins as it should. Anything else fails the run. Prints one line
//! of JSON.
//!
//! `load steady` and `load sessions` are in `steady.rs`.

#![expect(clippy::print_stdout, reason = "the measurement is its output")]

mod connection;
mod processor;
mod steady;

use std::{
    error::Error,
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use connection::Connection;
use processor::processor_time;
use tokio::task::JoinSet;

type Failure = Box<dyn Error + Send + Sync>;

const SESSION_CONNECTIONS: usize = 64;
const PASSWORD_CONNECTIONS: usize = 16;
const WARM_UP: Duration = Duration::from_secs(1);

struct Options {
    port: u16,
    workload: String,
    duration: Duration,
    credentials: PathBuf,
    server: u32,
}

/// One kind of request: what each connection sends, and how the body of its answer begins.
struct Kind {
    requests: Vec<String>,
    expected: &'static str,
}

struct Window {
    start: Instant,
    end: Instant,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut words = std::env::args().skip(1).peekable();
    match words.peek().map(String::as_str) {
        Some("steady") => return steady::steady(words.skip(1)).await,
        Some("sessions") => return steady::sessions(words.skip(1)).await,
        _ => {}
    }
    let options = options(words)?;
    let credentials = fs::read_to_string(&options.credentials)?;
    let (sessions, passwords) = match options.workload.as_str() {
        "get-session" => (Some(get_session(&credentials, SESSION_CONNECTIONS)), None),
        "get-session-of-everybody" => (Some(get_session(&credentials, usize::MAX)), None),
        "sign-in" => (None, Some(sign_in(&credentials))),
        "hash" => (None, Some(hash(&credentials))),
        "mixed" => (Some(get_session(&credentials, SESSION_CONNECTIONS)), Some(sign_in(&credentials))),
        other => return Err(format!("no such workload: {other}").into()),
    };

    let start = Instant::now() + WARM_UP;
    let window = Arc::new(Window { start, end: start + options.duration });
    let sessions = begin(sessions, options.port, &window).await?;
    let passwords = begin(passwords, options.port, &window).await?;
    tokio::time::sleep_until(window.start.into()).await;
    let before = (processor_time(options.server)?, processor_time(std::process::id())?);
    tokio::time::sleep_until(window.end.into()).await;
    let after = (processor_time(options.server)?, processor_time(std::process::id())?);

    let seconds = options.duration.as_secs_f64();
    let mut report = serde_json::Map::new();
    report.insert("workload".to_owned(), options.workload.into());
    report.insert("server_cpu_seconds".to_owned(), after.0.saturating_sub(before.0).as_secs_f64().into());
    report.insert("generator_cpu_seconds".to_owned(), after.1.saturating_sub(before.1).as_secs_f64().into());
    for (name, connections) in [("sessions", sessions), ("passwords", passwords)] {
        let mut latencies = finish(connections).await?;
        if !latencies.is_empty() {
            latencies.sort_unstable();
            report.insert(format!("{name}_per_second"), (count(latencies.len()) / seconds).into());
            report.insert(format!("{name}_p50_us"), percentile(&latencies, 50).into());
            report.insert(format!("{name}_p99_us"), percentile(&latencies, 99).into());
        }
    }
    println!("{}", serde_json::Value::Object(report));
    Ok(())
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options, Failure> {
    let mut next = |name: &str| words.next().ok_or_else(|| format!("missing: {name}"));
    Ok(Options {
        workload: next("workload")?,
        port: next("port of the server")?.parse()?,
        server: next("process id of the server")?.parse()?,
        duration: Duration::from_secs_f64(next("seconds")?.parse()?),
        credentials: next("file that seed wrote")?.into(),
    })
}

/// One connection for each session, up to `connections`.
fn get_session(credentials: &str, connections: usize) -> Kind {
    let cookies = credentials.lines().filter_map(|line| line.split('\t').next());
    let requests = cookies.take(connections).map(|cookie| {
        format!(
            "GET /api/auth/get-session HTTP/1.1\r\nhost: localhost:3001\r\n\
             cookie: better-auth.session_token={cookie}\r\n\r\n"
        )
    });
    Kind { requests: requests.collect(), expected: r#"{"session":{"# }
}

fn sign_in(credentials: &str) -> Kind {
    Kind {
        requests: posts(credentials, "/api/auth/sign-in/email"),
        expected: r#"{"redirect":false,"token":""#,
    }
}

fn hash(credentials: &str) -> Kind {
    Kind { requests: posts(credentials, "/hash"), expected: r#"{"hashed":true}"# }
}

fn posts(credentials: &str, path: &str) -> Vec<String> {
    let bodies = credentials.lines().filter_map(|line| line.split('\t').nth(1));
    let requests = bodies.take(PASSWORD_CONNECTIONS).map(|body| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: localhost:3001\r\norigin: http://localhost:3001\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    });
    requests.collect()
}

/// Starts the connections of one kind; each gives back its latencies in microseconds.
async fn begin(
    kind: Option<Kind>,
    port: u16,
    window: &Arc<Window>,
) -> Result<JoinSet<Result<Vec<u32>, Failure>>, Failure> {
    let mut running = JoinSet::new();
    let Some(Kind { requests, expected }) = kind else { return Ok(running) };
    for request in requests {
        let connection = Connection::open(port).await?;
        running.spawn(repeat(connection, request, expected, Arc::clone(window)));
    }
    Ok(running)
}

async fn repeat(
    mut connection: Connection,
    request: String,
    expected: &'static str,
    window: Arc<Window>,
) -> Result<Vec<u32>, Failure> {
    let mut latencies = Vec::with_capacity(1 << 14);
    let mut sent = Instant::now();
    while sent < window.end {
        connection.exchange(request.as_bytes(), expected.as_bytes()).await?;
        let answered = Instant::now();
        if answered >= window.start && answered < window.end {
            latencies.push(u32::try_from((answered - sent).as_micros())?);
        }
        sent = answered;
    }
    Ok(latencies)
}

async fn finish(mut connections: JoinSet<Result<Vec<u32>, Failure>>) -> Result<Vec<u32>, Failure> {
    let mut latencies = Vec::new();
    while let Some(connection) = connections.join_next().await {
        latencies.extend(connection??);
    }
    Ok(latencies)
}

#[expect(clippy::cast_precision_loss, reason = "no run has 2^52 requests")]
fn count(requests: usize) -> f64 {
    requests as f64
}

fn percentile(sorted: &[u32], percent: usize) -> u32 {
    sorted
        .get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let sorted: Vec<u32> = (1..=200).collect();
        assert_eq!((percentile(&sorted, 50), percentile(&sorted, 99)), (101, 199));
        assert_eq!(percentile(&[7], 99), 7);
    }
}
