//! What goes wrong around a server, and what is left of it: each has its own message and a test, and loses nothing.
//!
//! | what | where it is tested |
//! |-|-|
//! | PostgreSQL cannot be reached at start, a folder is missing | `binary::a_database_that_cannot_be_reached_is_named_without_its_password` |
//! | PostgreSQL closes connections | `lost_connection` |
//! | the database is older, newer, of another shape, takes no writes | [`database`] |
//! | the port is taken | `binary::a_port_that_is_taken_is_named` |
//! | a folder or a file cannot be written | [`files`] |
//! | requests that are none | [`requests`]; their meaning in the core's tests (`security::input`, `http::dispatch`) |
//! | a body of ten megabytes | `binary::a_body_of_ten_megabytes_is_refused_and_the_refusal_arrives` |
//! | clients that leave | `disconnect`, `guessing` |
//! | another program holds SQLite's lock, the disk is full, a sync fails | [`disk`] |
//! | the process is killed | `crash`; what it had answered is synced: `durability` |
//! | the clock jumps | [`clock`] |
//! | Redis goes | [`redis`]; each endpoint in the core's tests (`secondary_storage`) |
//! | two processes | `processes`, `limits`, `guessing` |
//! | the configuration is wrong | `config`, `secrets`, `binary` |

mod clock;
mod database;
mod disk;
mod files;
mod redis;
mod requests;

use super::{
    client::{Reply, get_session, sign_up},
    database::Database,
    server::{Server, command, through},
};
use std::{
    fs,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

/// Passwords that cost a millisecond, and sessions that are renewed once a day.
const PLAIN: &str = "trusted-origins = [\"http://app.example\"]\n[password]\nbcrypt-cost = 4\n";

/// What a client is told that had better come back.
const BUSY: &str = r#"{"message":"The server is busy. Try again shortly.","code":"SERVICE_UNAVAILABLE"}"#;

fn serve(database: &Database, configuration: &str) -> Server {
    fs::write(database.folder().join("narthex.toml"), configuration).unwrap();
    let mut command = command(database.folder());
    command.args(["--database", &database.url()]);
    Server::spawn(command, database.folder())
}

/// As a user for whom permissions count: for root they do not.
fn unprivileged(command: &Command) -> Command {
    if rustix::process::geteuid().is_root() {
        through(&["setpriv", "--bounding-set", "-dac_override,-dac_read_search"], command)
    } else {
        through(&[], command)
    }
}

fn assert_busy(reply: &Reply) {
    let said = (reply.status, String::from_utf8_lossy(&reply.body));
    assert_eq!(said, (503, BUSY.into()));
    assert_eq!(reply.header("retry-after"), Some("1"));
}

/// The log once this is in it: it may be written a little later than the reply.
fn logged(server: &Server, text: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let log = server.log();
        if log.contains(text) {
            return log;
        }
        assert!(Instant::now() < deadline, "{text} is not in the log: {log}");
        sleep(Duration::from_millis(10));
    }
}

/// The address of whom the cookie belongs to, as the server says.
fn signed_in(server: &Server, cookie: &str) -> Option<String> {
    let reply = server.connect().exchange(&get_session(cookie));
    assert_eq!(reply.status, 200, "{}", server.log());
    reply.json()["user"]["email"].as_str().map(str::to_owned)
}

/// A new user's cookie.
fn new_user(server: &Server, email: &str) -> String {
    let reply = server.connect().exchange(&sign_up(email));
    assert_eq!(reply.status, 200, "{}", server.log());
    reply.cookie()
}
