//! A clock that is wrong, and set right.
//!
//! Now and then libfaketime tells a thread the real time. What is asked for while the clock is wrong is therefore asked
//! for until it is so; what must never be is asked for where the real time would give the same answer.

use super::{
    super::{
        client::{get, get_session, sign_in},
        database::Database,
        server::{Server, command},
    },
    PLAIN, new_user, signed_in,
};
use std::{
    fs,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
const TEN_YEARS: i64 = 3_652 * DAY;

/// A server whose clock the test moves.
struct Moved {
    server: Server,
    clock: PathBuf,
}

fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap().map(|folder| folder.unwrap().path());
    let mut libraries = folders.map(|folder| folder.join("faketime/libfaketime.so.1"));
    let library = libraries.find(|library| library.exists());
    library.expect("libfaketime is missing; install it: apt-get install faketime")
}

impl Moved {
    fn start(database: &Database, configuration: &str) -> Self {
        fs::write(database.folder().join("narthex.toml"), configuration).unwrap();
        let clock = database.folder().join("clock");
        set(&clock, 0);
        let mut command = command(database.folder());
        command.args(["--database", &database.url()]).env("LD_PRELOAD", library());
        command.env("FAKETIME_TIMESTAMP_FILE", &clock).env("FAKETIME_NO_CACHE", "1");
        // Deadlines and delays are not told by the clock.
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        // Of two threads that ask for the time at once libfaketime may tell one the real time.
        command.env("TOKIO_WORKER_THREADS", "1");
        Self { server: Server::spawn(command, database.folder()), clock }
    }

    /// Puts the clock so many seconds before or behind the right time.
    fn jump_to(&self, seconds: i64) {
        set(&self.clock, seconds);
    }

    /// Asks until the answer has this status.
    fn until(&self, request: &[u8], status: u16) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.server.connect().exchange(request).status != status {
            assert!(Instant::now() < deadline, "no {status}: {}", self.server.log());
            sleep(Duration::from_millis(10));
        }
    }

    fn statuses(&self, request: &[u8], times: usize) -> Vec<u16> {
        (0..times).map(|_| self.server.connect().exchange(request).status).collect()
    }
}

/// Whoever reads the file sees the one text or the other.
fn set(clock: &Path, seconds: i64) {
    let new = clock.with_extension("new");
    fs::write(&new, format!("{seconds:+}\n")).unwrap();
    fs::rename(new, clock).unwrap();
}

#[test]
fn a_clock_that_is_set_back_ends_no_session_and_renews_none() {
    let database = Database::chosen("set_back");
    let moved = Moved::start(&database, PLAIN);
    let cookie = new_user(&moved.server, "ada@example.com");
    let session = || moved.server.connect().exchange(&get_session(&cookie)).json();
    let first = session();
    assert_eq!(first["user"]["email"], "ada@example.com");
    moved.jump_to(-HOUR);
    for _ in 0..10 {
        assert_eq!(session(), first);
    }
    moved.jump_to(2 * DAY);
    let renewed = (0..100).map(|_| session()).find(|session| *session != first).unwrap();
    assert_eq!(renewed["session"]["token"], first["session"]["token"]);
    assert_ne!(renewed["session"]["expiresAt"], first["session"]["expiresAt"]);
    moved.jump_to(2 * DAY - HOUR);
    for _ in 0..10 {
        assert_eq!(session(), renewed);
    }
    moved.jump_to(0);
    for _ in 0..10 {
        assert_eq!(session(), renewed);
    }
}

#[test]
fn ten_years_ahead_sessions_have_ended_and_back_again_they_are_as_their_rows_say() {
    let database = Database::chosen("ahead");
    let moved = Moved::start(&database, PLAIN);
    let server = &moved.server;
    let looked_at = new_user(server, "ada@example.com");
    let left_alone = new_user(server, "bob@example.com");
    moved.jump_to(TEN_YEARS);
    assert!((0..100).any(|_| signed_in(server, &looked_at).is_none()));
    let made_there = new_user(server, "eve@example.com");
    assert_eq!(database.number("select count(*) from \"session\""), 2);
    moved.jump_to(0);
    assert_eq!(signed_in(server, &looked_at), None);
    assert_eq!(signed_in(server, &left_alone).as_deref(), Some("bob@example.com"));
    assert_eq!(signed_in(server, &made_there).as_deref(), Some("eve@example.com"));
    assert_eq!(database.number("select count(*) from \"user\""), 3);
}

#[test]
fn limits_end_as_they_would_have_when_a_clock_is_set_right() {
    for storage in ["memory", "database"] {
        for wrong in [HOUR, TEN_YEARS] {
            let database = Database::chosen(&format!("limits_{storage}_{wrong}"));
            let configuration = format!(
                "[rate-limit]\nenabled = true\nstorage = \"{storage}\"\n[rate-limit.custom-rules.\"/ok\"]\nwindow = 2\nmax = 3\n"
            );
            let moved = Moved::start(&database, &configuration);
            let ok = get("/api/auth/ok", "");
            moved.jump_to(wrong);
            moved.until(&ok, 429);
            moved.jump_to(0);
            moved.until(&ok, 200);
            moved.until(&ok, 429);
            let reply = moved.server.connect().exchange(&ok);
            let wait = reply.header("x-retry-after").map(|seconds| seconds.parse::<u64>().unwrap());
            assert!(wait.is_none_or(|seconds| seconds <= 2), "{storage}: {wait:?}");
        }
    }
}

#[test]
fn an_account_is_not_locked_until_a_day_that_a_wrong_clock_has_named() {
    let database = Database::chosen("locked");
    let configuration =
        PLAIN.replace("bcrypt-cost = 4", "bcrypt-cost = 4\nmax-failures = 5\ndelay-after = 0");
    let moved = Moved::start(&database, &configuration);
    let (wrong, right) = (sign_in("ada@example.com", "wrong"), sign_in("ada@example.com", "correct horse"));
    new_user(&moved.server, "ada@example.com");
    moved.jump_to(TEN_YEARS);
    moved.until(&wrong, 429);
    moved.jump_to(0);
    assert_eq!(moved.statuses(&right, 1), [200]);

    // An hour back, guesses are not forgotten for it, and are an hour later than without.
    assert_eq!(moved.statuses(&wrong, 6), [401, 401, 401, 401, 401, 429]);
    moved.jump_to(-HOUR + 60);
    assert_eq!(moved.statuses(&right, 1), [429]);
    moved.jump_to(HOUR + 60);
    moved.until(&right, 200);
}
