//! What is counted and measured, through the facade crate `metrics`: whoever embeds the engine brings the recorder.
//!
//! What a request counts is registered when the engine is built, so that counting costs a few atomic additions. What is
//! rare (failures, for the most part) is looked up by name when it happens. What has to be asked for, such as the length
//! of a queue, is asked for by [`Auth::observe`](crate::Auth::observe), and by nobody else. Labels have few values: an
//! endpoint is a route and never the path of a request, and nothing is about a person.

use crate::{
    happening::{Happening, Outcome},
    plugin::Endpoint,
    store::{Result, StoreError},
};
use http::{Method, Response, StatusCode};
use metrics::{Counter, Histogram, counter, gauge, histogram};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
    },
    time::Instant,
};

const REQUESTS: &str = "narthex_requests_total";
const REQUEST_DURATION: &str = "narthex_request_duration_seconds";
const IN_FLIGHT: &str = "narthex_requests_in_flight";
const ERRORS: &str = "narthex_errors_total";
const EVENTS: &str = "narthex_events_total";
const HASH_THREADS: &str = "narthex_password_hashing_threads";
const HASH_BUSY: &str = "narthex_password_hashing_busy";
const HASH_QUEUE: &str = "narthex_password_hashing_queue";
const HASH_REFUSED: &str = "narthex_password_hashing_refused_total";
const HASH_DURATION: &str = "narthex_password_hashing_duration_seconds";
const REACHABLE: &str = "narthex_database_reachable";
const STATEMENTS: &str = "narthex_database_statements_total";
const TRANSACTIONS: &str = "narthex_database_transactions_total";
const COMMITS: &str = "narthex_database_commits_total";
const DATABASE_ERRORS: &str = "narthex_database_errors_total";
const WAITS: &str = "narthex_database_wait_seconds";
const WAITING: &str = "narthex_database_waiting";
const CONNECTIONS: &str = "narthex_database_connections";
const MOST_CONNECTIONS: &str = "narthex_database_connections_max";
const WAL_BYTES: &str = "narthex_database_wal_bytes";
const SECONDARY_ERRORS: &str = "narthex_secondary_storage_errors_total";
const MAILS: &str = "narthex_mails_total";

const COUNTERS: &[(&str, &str)] = &[
    (REQUESTS, "Requests answered, by route, method and status"),
    (ERRORS, "Requests refused or failed, by route and the code that the client was told"),
    (EVENTS, "What has happened to users, sessions and passwords, by how or why"),
    (HASH_REFUSED, "Passwords neither hashed nor compared, because too many were waiting"),
    (STATEMENTS, "Statements sent to the database"),
    (TRANSACTIONS, "Transactions that were committed, single statements that wrote among them"),
    (COMMITS, "Commits; on SQLite several transactions share one"),
    (DATABASE_ERRORS, "Statements and transactions that failed, by the kind of failure"),
    (SECONDARY_ERRORS, "Calls of the secondary storage that failed"),
    (MAILS, "Messages handed to the mail transport, by kind and outcome"),
];

const GAUGES: &[(&str, &str)] = &[
    (IN_FLIGHT, "Requests that are being answered"),
    (HASH_THREADS, "Threads that hash passwords"),
    (HASH_BUSY, "Threads that hash a password now"),
    (HASH_QUEUE, "Passwords that wait to be hashed or compared"),
    (REACHABLE, "Whether the database was reached when it was last asked: 1 or 0"),
    (WAITING, "Those who wait to write to SQLite, or for a connection to PostgreSQL"),
    (CONNECTIONS, "Connections to PostgreSQL, by state"),
    (MOST_CONNECTIONS, "Connections to PostgreSQL that there may be"),
    (WAL_BYTES, "The size of SQLite's log, which is folded into the database beyond 4 MiB"),
];

const HISTOGRAMS: &[(&str, &str)] = &[
    (REQUEST_DURATION, "Seconds from a request's head to its reply, by route"),
    (HASH_DURATION, "Seconds that hashing or comparing a password took, without the wait for a thread"),
    (WAITS, "Seconds waited to write to SQLite, or for a connection to PostgreSQL"),
];

/// What can become of a statement.
const BUSY: &str = "busy";
const DEADLINE: &str = "deadline";
const UNAVAILABLE: &str = "unavailable";
const OTHER: &str = "other";

/// What is there from the start, so that whoever watches for a first one has seen that there was none: those that come
/// with how or why, and those that say it all.
const KNOWN_EVENTS: [(&str, Outcome, &[&str]); 11] = [
    (Happening::USER_CREATED, Outcome::Success, &[""]),
    (Happening::USER_UPDATED, Outcome::Success, &[""]),
    (
        Happening::SESSION_CREATED,
        Outcome::Success,
        &[Happening::SIGN_UP, Happening::PASSWORD, Happening::PASSWORD_CHANGE],
    ),
    (Happening::SESSION_RENEWED, Outcome::Success, &[""]),
    (
        Happening::SESSION_REVOKED,
        Outcome::Success,
        &[
            Happening::SIGN_OUT,
            Happening::ONE_SESSION,
            Happening::ALL_SESSIONS,
            Happening::OTHER_SESSIONS,
            Happening::PASSWORD_CHANGE,
        ],
    ),
    (Happening::SESSION_EXPIRED, Outcome::Success, &[""]),
    (Happening::PASSWORD_CHANGED, Outcome::Success, &[""]),
    (Happening::ACCOUNT_UNLINKED, Outcome::Success, &[""]),
    (
        Happening::SIGN_IN_FAILED,
        Outcome::Failure,
        &[
            Happening::WRONG_CREDENTIALS,
            Happening::EMAIL_NOT_VERIFIED,
            Happening::TOO_MANY_GUESSES,
            Happening::INTERRUPTED,
        ],
    ),
    (
        Happening::PASSWORD_CHECK_FAILED,
        Outcome::Failure,
        &[Happening::WRONG_CREDENTIALS, Happening::TOO_MANY_GUESSES],
    ),
    (Happening::ACCOUNT_LOCKED, Outcome::Failure, &[Happening::TOO_MANY_GUESSES]),
];

/// Where requests are counted that no endpoint answers.
const NO_ENDPOINT: &str = "none";

/// What the engine counts.
pub(crate) struct Meters {
    endpoints: Vec<EndpointMeters>,
    others: Histogram,
    hashing: Histogram,
    in_flight: AtomicI64,
}

struct EndpointMeters {
    path: String,
    method: Method,
    /// Requests that were answered with 200.
    well: Counter,
    duration: Histogram,
}

impl Meters {
    /// Registers everything with the recorder that is installed now.
    pub(crate) fn new(endpoints: &[Endpoint]) -> Self {
        describe();
        counter!(HASH_REFUSED).absolute(0);
        for (name, outcome, reasons) in KNOWN_EVENTS {
            for reason in reasons {
                event(name, outcome, reason).absolute(0);
            }
        }
        let endpoints = endpoints.iter().map(|endpoint| EndpointMeters {
            well: requests(&endpoint.path, endpoint.method.as_str(), StatusCode::OK),
            duration: histogram!(REQUEST_DURATION, "endpoint" => endpoint.path.to_string()),
            path: endpoint.path.to_string(),
            method: endpoint.method.clone(),
        });
        Self {
            endpoints: endpoints.collect(),
            others: histogram!(REQUEST_DURATION, "endpoint" => NO_ENDPOINT),
            hashing: histogram!(HASH_DURATION),
            in_flight: AtomicI64::new(0),
        }
    }

    fn answered(&self, endpoint: Option<usize>, status: StatusCode, begun: Instant) {
        let seconds = begun.elapsed().as_secs_f64();
        let Some(endpoint) = endpoint.and_then(|position| self.endpoints.get(position)) else {
            // Anything can be sent as a method.
            requests(NO_ENDPOINT, "any", status).increment(1);
            return self.others.record(seconds);
        };
        if status == StatusCode::OK {
            endpoint.well.increment(1);
        } else {
            requests(&endpoint.path, endpoint.method.as_str(), status).increment(1);
        }
        endpoint.duration.record(seconds);
    }

    /// A request was refused or failed.
    pub(crate) fn failed(&self, path: &str, code: Option<&'static str>) {
        let path = if path.is_empty() { NO_ENDPOINT } else { path };
        counter!(ERRORS, "endpoint" => path.to_owned(), "code" => code.unwrap_or("none")).increment(1);
    }

    /// Something happened to somebody.
    pub(crate) fn happened(&self, happening: &Happening) {
        let reason = happening.reason.unwrap_or_default();
        event(happening.name, happening.outcome, reason).increment(happening.count.unwrap_or(1));
    }

    /// A message was handed over, or could not be.
    pub(crate) fn mailed(&self, kind: &'static str, is_sent: bool) {
        let outcome = if is_sent { "sent" } else { "failed" };
        counter!(MAILS, "kind" => kind, "outcome" => outcome).increment(1);
    }

    /// For whoever works on a password.
    pub(crate) fn hashing(&self) -> Histogram {
        self.hashing.clone()
    }

    /// What has to be asked for.
    pub(crate) fn observe(&self, hashing: &HashingNow) {
        gauge!(IN_FLIGHT).set(whole(self.in_flight.load(Relaxed)));
        gauge!(HASH_THREADS).set(whole(hashing.threads));
        gauge!(HASH_BUSY).set(whole(hashing.busy));
        gauge!(HASH_QUEUE).set(whole(hashing.waiting));
        counter!(HASH_REFUSED).absolute(hashing.refused);
    }
}

fn describe() {
    for (name, help) in COUNTERS {
        metrics::describe_counter!(*name, *help);
    }
    for (name, help) in GAUGES {
        metrics::describe_gauge!(*name, *help);
    }
    for (name, help) in HISTOGRAMS {
        metrics::describe_histogram!(*name, *help);
    }
}

fn requests(path: &str, method: &str, status: StatusCode) -> Counter {
    counter!(
        REQUESTS,
        "endpoint" => path.to_owned(), "method" => method.to_owned(), "status" => status.as_str().to_owned()
    )
}

fn event(name: &'static str, outcome: Outcome, reason: &'static str) -> Counter {
    let outcome = match outcome {
        Outcome::Success => "success",
        Outcome::Failure => "failure",
    };
    counter!(EVENTS, "event" => name, "outcome" => outcome, "reason" => reason)
}

/// What is counted here is far from where a float stops being exact.
#[expect(clippy::cast_precision_loss, reason = "it is")]
fn whole(number: impl TryInto<i64>) -> f64 {
    number.try_into().unwrap_or(i64::MAX) as f64
}

/// The hashing threads at this moment.
pub(crate) struct HashingNow {
    pub(crate) threads: usize,
    pub(crate) busy: usize,
    pub(crate) waiting: usize,
    pub(crate) refused: u64,
}

/// A request that is being answered, and is counted when it is. Nothing where nothing is counted.
pub(crate) struct Watch(Option<Watched>);

struct Watched {
    meters: Arc<Meters>,
    begun: Instant,
    endpoint: Option<usize>,
}

impl Watch {
    pub(crate) fn begin(meters: Option<&Arc<Meters>>) -> Self {
        Self(meters.map(|meters| {
            meters.in_flight.fetch_add(1, Relaxed);
            Watched { meters: Arc::clone(meters), begun: Instant::now(), endpoint: None }
        }))
    }

    /// Which endpoint it is for, by its position in the manifest.
    pub(crate) fn is_for(&mut self, endpoint: Option<usize>) {
        if let Some(watched) = &mut self.0 {
            watched.endpoint = endpoint;
        }
    }

    /// Counts it, and gives back what it was answered with.
    #[inline]
    pub(crate) fn answered<B>(self, response: Response<B>) -> Response<B> {
        if let Some(watched) = self.0 {
            watched.answered(response.status());
        }
        response
    }
}

impl Watched {
    fn answered(self, status: StatusCode) {
        self.meters.answered(self.endpoint, status, self.begun);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.meters.in_flight.fetch_sub(1, Relaxed);
    }
}

/// What the store counts.
pub(crate) struct StoreMeters {
    is_reachable: AtomicBool,
    waits: Histogram,
}

impl StoreMeters {
    /// Whoever has opened the database has reached it.
    pub(crate) fn new() -> Self {
        // Whoever watches for a first failure needs to have seen that there was none.
        for kind in [BUSY, DEADLINE, UNAVAILABLE, OTHER] {
            counter!(DATABASE_ERRORS, "kind" => kind).absolute(0);
        }
        Self { is_reachable: AtomicBool::new(true), waits: histogram!(WAITS) }
    }

    pub(crate) fn waits(&self) -> Histogram {
        self.waits.clone()
    }

    /// What the database has answered.
    pub(crate) fn heed<T>(&self, outcome: &Result<T>) {
        let error = match outcome {
            // That a value is taken is an answer.
            Ok(_) | Err(StoreError::Unique { .. }) => {
                if !self.is_reachable.load(Relaxed) {
                    self.is_reachable.store(true, Relaxed);
                }
                return;
            }
            Err(error) => error,
        };
        let kind = match error {
            StoreError::Busy => BUSY,
            StoreError::Deadline => DEADLINE,
            StoreError::Unavailable(_) => UNAVAILABLE,
            _ => OTHER,
        };
        if kind == UNAVAILABLE {
            self.is_reachable.store(false, Relaxed);
        }
        counter!(DATABASE_ERRORS, "kind" => kind).increment(1);
    }

    /// What has to be asked for.
    pub(crate) fn observe(&self, now: &StoreNow) {
        gauge!(REACHABLE).set(if self.is_reachable.load(Relaxed) { 1.0 } else { 0.0 });
        counter!(STATEMENTS).absolute(now.statements);
        counter!(TRANSACTIONS).absolute(now.transactions);
        counter!(COMMITS).absolute(now.commits);
        gauge!(WAITING).set(whole(now.waiting));
        match now.backend {
            BackendNow::Sqlite { wal_bytes } => gauge!(WAL_BYTES).set(whole(wal_bytes)),
            BackendNow::Postgres { in_use, idle, most } => {
                gauge!(CONNECTIONS, "state" => "in-use").set(whole(in_use));
                gauge!(CONNECTIONS, "state" => "idle").set(whole(idle));
                gauge!(MOST_CONNECTIONS).set(whole(most));
            }
        }
    }
}

/// The database at this moment, as far as we know without asking it.
pub(crate) struct StoreNow {
    pub(crate) statements: u64,
    pub(crate) transactions: u64,
    pub(crate) commits: u64,
    pub(crate) waiting: usize,
    pub(crate) backend: BackendNow,
}

pub(crate) enum BackendNow {
    Sqlite { wal_bytes: u64 },
    Postgres { in_use: usize, idle: usize, most: usize },
}

/// The failures of a secondary storage.
pub(crate) fn secondary_failures() -> Counter {
    counter!(SECONDARY_ERRORS)
}
