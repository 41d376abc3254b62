//! Requests that arrive when they arrive, whether or not earlier ones are answered: `load steady`.
//!
//! Each has a time at which it is due, and its latency counts from there. A server that stands still therefore pays for
//! everybody who would have come meanwhile, which connections that wait for their answer before they ask again hide.
//! Also makes the sessions that the requests are about, by signing in: `load sessions`.

use std::{
    collections::VecDeque,
    fs,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{Failure, WARM_UP, connection::Connection, count, percentile, processor::processor_time};

/// Connections that sign in as fast as they are answered: enough that no thread that hashes ever waits.
const SATURATING: usize = 16;
/// The server would soon close one that nobody uses.
const IDLE: Duration = Duration::from_secs(3);
/// Of everybody whom `people` has made.
const PASSWORD: &str = "correct horse battery staple";

/// What is asked.
#[derive(Clone, Copy)]
enum Kind {
    SignIn,
    SignUp,
    GetSession,
    Token,
}

impl Kind {
    fn named(name: &str) -> Option<Self> {
        match name {
            "sign-in" => Some(Self::SignIn),
            "sign-up" => Some(Self::SignUp),
            "get-session" => Some(Self::GetSession),
            "token" => Some(Self::Token),
            _ => None,
        }
    }

    /// The request of that number, and how the body of its answer begins.
    fn request(self, number: usize, run: u32, people: usize, sessions: &[String]) -> (String, &'static str) {
        let session = || sessions.get(number % sessions.len().max(1)).map_or("", String::as_str);
        match self {
            Self::SignIn => (sign_in(number % people.max(1)), r#"{"redirect":false,"token":""#),
            Self::SignUp => {
                let body = format!(
                    r#"{{"name":"New {number}","email":"new-{run}-{number}@example.com","password":"{PASSWORD}"}}"#
                );
                (post("/sign-up/email", &body), r#"{"token":""#)
            }
            Self::GetSession => (get("/get-session", session()), r#"{"session":{"#),
            Self::Token => (get("/token", session()), r#"{"token":"eyJ"#),
        }
    }
}

fn sign_in(number: usize) -> String {
    post("/sign-in/email", &format!(r#"{{"email":"user{number}@example.com","password":"{PASSWORD}"}}"#))
}

fn post(path: &str, body: &str) -> String {
    format!(
        "POST /api/auth{path} HTTP/1.1\r\nhost: localhost:3001\r\norigin: http://localhost:3001\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn get(path: &str, cookie: &str) -> String {
    format!("GET /api/auth{path} HTTP/1.1\r\nhost: localhost:3001\r\ncookie: {cookie}\r\n\r\n")
}

/// `load sessions PORT COUNT FILE`: signs the first people in, as fast as the server does it, and writes down their
/// cookies. How many a second is what the server can hash.
pub(crate) async fn sessions(mut words: impl Iterator<Item = String>) -> Result<(), Failure> {
    let mut next = |name: &str| words.next().ok_or_else(|| format!("missing: {name}"));
    let port = next("port of the server")?.parse()?;
    let wanted: usize = next("number of sessions")?.parse()?;
    let file = next("file for the cookies")?;

    let waiting: Arc<Mutex<VecDeque<usize>>> = Arc::new(Mutex::new((0..wanted).collect()));
    let began = Instant::now();
    let mut running = JoinSet::new();
    for _ in 0..SATURATING {
        let waiting = Arc::clone(&waiting);
        let mut connection = Connection::open(port).await?;
        running.spawn(async move {
            let mut cookies = String::new();
            loop {
                let number = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some(number) = number else { return Ok::<_, Failure>(cookies) };
                let (request, expected) = Kind::SignIn.request(number, 0, usize::MAX, &[]);
                connection.exchange(request.as_bytes(), expected.as_bytes()).await?;
                let cookie = connection.header("set-cookie").and_then(|cookie| cookie.split(';').next());
                cookies.extend([cookie.ok_or("a sign-in without a cookie")?, "\n"]);
            }
        });
    }
    let mut cookies = String::new();
    while let Some(some) = running.join_next().await {
        cookies.push_str(&some??);
    }
    let per_second = count(wanted) / began.elapsed().as_secs_f64();
    fs::write(file, cookies)?;
    println!("{}", serde_json::json!({ "sign_ins_per_second": per_second }));
    Ok(())
}

/// What one run of [`steady`] has in common.
struct Load {
    port: u16,
    run: u32,
    people: usize,
    sessions: Vec<String>,
    idle: Mutex<Vec<(Connection, Instant)>>,
}

/// `load steady PORT PROCESS SECONDS PEOPLE FILE KIND=RATE…`: so many of each kind a second, evenly.
pub(crate) async fn steady(mut words: impl Iterator<Item = String>) -> Result<(), Failure> {
    let mut next = |name: &str| words.next().ok_or_else(|| format!("missing: {name}"));
    let port = next("port of the server")?.parse()?;
    let server: u32 = next("process id of the server")?.parse()?;
    let duration = Duration::from_secs_f64(next("seconds")?.parse()?);
    let people = next("number of people")?.parse()?;
    let sessions = fs::read_to_string(next("file with cookies")?)?.lines().map(str::to_owned).collect();
    let load = Arc::new(Load { port, run: std::process::id(), people, sessions, idle: Mutex::default() });

    let start = Instant::now() + WARM_UP;
    let mut kinds = JoinSet::new();
    for word in words {
        let (name, rate) = word.split_once('=').ok_or_else(|| format!("{word}: no rate"))?;
        let kind = Kind::named(name).ok_or_else(|| format!("no such request: {name}"))?;
        let rate: f64 = rate.parse()?;
        let (name, load) = (name.to_owned(), Arc::clone(&load));
        kinds.spawn(
            async move { Ok::<_, Failure>((name, arrivals(load, kind, rate, start, duration).await?)) },
        );
    }
    tokio::time::sleep_until(start.into()).await;
    let before = (processor_time(server)?, processor_time(std::process::id())?);
    tokio::time::sleep_until((start + duration).into()).await;
    let after = (processor_time(server)?, processor_time(std::process::id())?);

    let mut report = serde_json::Map::new();
    report.insert("server_cpu_seconds".to_owned(), after.0.saturating_sub(before.0).as_secs_f64().into());
    report.insert("generator_cpu_seconds".to_owned(), after.1.saturating_sub(before.1).as_secs_f64().into());
    while let Some(kind) = kinds.join_next().await {
        let (name, mut latencies) = kind??;
        latencies.sort_unstable();
        report.insert(format!("{name}_per_second"), (count(latencies.len()) / duration.as_secs_f64()).into());
        for percent in [50, 95, 99] {
            report.insert(format!("{name}_p{percent}_us"), percentile(&latencies, percent).into());
        }
    }
    println!("{}", serde_json::Value::Object(report));
    Ok(())
}

/// Sends the requests of one kind, each when it is due, from the warm-up on; latencies of those that are due after it.
async fn arrivals(
    load: Arc<Load>,
    kind: Kind,
    rate: f64,
    start: Instant,
    duration: Duration,
) -> Result<Vec<u32>, Failure> {
    let began = start.checked_sub(WARM_UP).unwrap_or(start);
    let mut running = JoinSet::new();
    for number in 0.. {
        let due = due(began, number, rate);
        if due >= start + duration {
            break;
        }
        tokio::time::sleep_until(due.into()).await;
        let load = Arc::clone(&load);
        running.spawn(async move {
            let answered = load.ask(kind, number).await?;
            let latency = u32::try_from((answered - due).as_micros())?;
            Ok::<_, Failure>((due >= start).then_some(latency))
        });
    }
    let mut latencies = Vec::new();
    while let Some(latency) = running.join_next().await {
        latencies.extend(latency??);
    }
    Ok(latencies)
}

/// When the request of that number is due.
fn due(began: Instant, number: usize, rate: f64) -> Instant {
    began + Duration::from_secs_f64(count(number) / rate)
}

impl Load {
    /// Asks over a connection that is free, or a new one; when it was answered.
    async fn ask(&self, kind: Kind, number: usize) -> Result<Instant, Failure> {
        let (request, expected) = kind.request(number, self.run, self.people, &self.sessions);
        let mut connection = match self.free() {
            Some(connection) => connection,
            None => Connection::open(self.port).await?,
        };
        connection.exchange(request.as_bytes(), expected.as_bytes()).await?;
        let answered = Instant::now();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push((connection, answered));
        Ok(answered)
    }

    fn free(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // The last one first, so that those that are not needed grow old and go.
        idle.retain(|(_, used)| used.elapsed() < IDLE);
        idle.pop().map(|(connection, _)| connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    #[test]
    fn requests_are_due_evenly_whatever_became_of_those_before() {
        let began = Instant::now();
        let at = |number| due(began, number, 8.0) - began;
        assert_eq!([at(0), at(1), at(80)], [0, 125, 10_000].map(Duration::from_millis));
    }

    /// A server that answers nothing until it has been asked three times, over three connections.
    #[tokio::test]
    async fn requests_do_not_wait_for_the_answers_to_others() {
        const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n{\"token\":\"eyJ\"}\n";
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = async {
            let mut streams = Vec::new();
            for _ in 0..3 {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                streams.push(stream);
            }
            for stream in &mut streams {
                stream.write_all(ANSWER).await.unwrap();
            }
            streams
        };
        let sessions = vec!["a=b".to_owned()];
        let load = Arc::new(Load { port, run: 0, people: 1, sessions, idle: Mutex::default() });
        // Three within the second of the warm-up.
        let start = Instant::now() + WARM_UP;
        let load = arrivals(Arc::clone(&load), Kind::Token, 3.0, start, Duration::ZERO);
        let (latencies, _streams) = tokio::join!(load, server);
        assert_eq!(latencies.unwrap(), [0; 0], "the warm-up does not count");
    }
}
