//! The log: where it goes, how it looks, and what never is in it.

use super::{
    client::{get, post, sign_in, sign_up},
    database::Database,
    server::{QUICK, Server, command, wait_for},
};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Output};

fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A server whose sessions cannot be written.
fn broken_server(database: &Database, log: &str) -> Server {
    let started = Server::start(database.folder(), QUICK);
    drop(started);
    let file = database.open();
    file.execute_batch(
        "create trigger broken before insert on session begin select raise(abort, 'broken'); end",
    )
    .unwrap();
    Server::start(database.folder(), &format!("{QUICK}{log}"))
}

#[test]
fn a_file_is_added_to_and_opened_anew_after_sighup() {
    let database = Database::sqlite();
    let server = broken_server(&database, "[log]\nfile = \"logs/auth.log\"\n");
    let file = database.folder().join("logs/auth.log");
    assert_eq!(server.connect().exchange(&sign_up("ada@example.com")).status, 500);
    wait_for(|| lines(&file).iter().any(|line| line["fields"]["message"] == "a request failed"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    let before = fs::read_to_string(&file).unwrap();

    let moved = database.folder().join("logs/auth.log.1");
    fs::rename(&file, &moved).unwrap();
    server.signal(Signal::HUP);
    wait_for(|| file.exists());
    assert_eq!(server.connect().exchange(&sign_up("bob@example.com")).status, 500);
    wait_for(|| lines(&file).iter().any(|line| line["fields"]["message"] == "a request failed"));
    assert_eq!(fs::read_to_string(&moved).unwrap(), before, "nothing is added to what was moved away");
    assert_eq!(server.log(), "", "all is in the file");
    drop(server);

    // The next server adds to it.
    let there = lines(&file).len();
    let server = Server::start(database.folder(), &format!("{QUICK}[log]\nfile = \"logs/auth.log\"\n"));
    assert_eq!(server.connect().exchange(&sign_up("eve@example.com")).status, 500);
    wait_for(|| lines(&file).len() > there);
}

#[test]
fn a_failure_is_logged_with_its_endpoint_and_the_proxys_name_for_it() {
    let database = Database::sqlite();
    let server = broken_server(&database, "");
    let body = json!({ "name": "Ada", "email": "ada@example.com", "password": "correct horse" });
    let request = String::from_utf8(post("/api/auth/sign-up/email", "", &body)).unwrap();
    let named = request.replacen("host:", "x-request-id: 7f3c-9b1e\r\nhost:", 1);
    assert_eq!(server.connect().exchange(named.as_bytes()).status, 500);
    let long = request.replacen("host:", &format!("x-request-id: {}\r\nhost:", "x".repeat(200)), 1);
    assert_eq!(server.connect().exchange(long.as_bytes()).status, 500);
    let failures = || -> Vec<Value> {
        let log = server.log();
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["fields"].take());
        lines.filter(|fields| fields["message"] == "a request failed").collect()
    };
    wait_for(|| failures().len() == 2);
    let [named, long] = failures().try_into().unwrap();
    assert_eq!((&named["method"], &named["path"]), (&json!("POST"), &json!("/sign-up/email")));
    assert_eq!((&named["request_id"], &long["request_id"]), (&json!("7f3c-9b1e"), &Value::Null));
    assert!(named["error"].as_str().unwrap().contains("broken"), "{named}");
}

#[test]
fn whatever_is_logged_nothing_secret_is_in_it() {
    let database = Database::sqlite();
    let secret = "7f3c9b1e5a2d48f6b0c4e8a19d63725f";
    let mut command = command(database.folder());
    fs::write(database.folder().join("narthex.toml"), QUICK).unwrap();
    command.env("NARTHEX_LOG", "trace").env("BETTER_AUTH_SECRET", secret);
    let server = Server::spawn(command, database.folder());
    let mut client = server.connect();
    let made = client.exchange(&sign_up("ada@example.com"));
    assert_eq!(made.status, 200);
    let cookie = made.cookie();
    assert_eq!(client.exchange(&sign_in("ada@example.com", "wrong password")).status, 401);
    let change = json!({ "currentPassword": "correct horse", "newPassword": "battery staple", "revokeOtherSessions": true });
    assert_eq!(client.exchange(&post("/api/auth/change-password", &cookie, &change)).status, 200);
    let again = client.exchange(&sign_in("ada@example.com", "battery staple"));
    let token = again.json()["token"].as_str().unwrap().to_owned();
    let list = get(&format!("/api/auth/list-sessions?token={token}"), &again.cookie());
    assert_eq!(client.exchange(&list).status, 200);
    drop(client);
    let log = server.log_at_end();
    assert!(log.lines().count() > 10, "{log}");
    let first_token = cookie.split_once('=').unwrap().1.split('.').next().unwrap();
    for hidden in [secret, "correct horse", "battery staple", "wrong password", first_token, &token] {
        assert!(!log.contains(hidden), "{hidden} is in the log");
    }
}

#[test]
fn without_a_file_sighup_ends_nothing() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), QUICK);
    server.signal(Signal::HUP);
    wait_for(|| server.log().contains("SIGHUP: there is no log.file that could be opened anew"));
    assert_eq!(server.status_of("/ready"), 200);
}

#[test]
fn the_format_can_be_chosen() {
    let database = Database::sqlite();
    let server = broken_server(&database, "[log]\nformat = \"text\"\n");
    assert_eq!(server.connect().exchange(&sign_up("ada@example.com")).status, 500);
    wait_for(|| server.log().contains("ERROR a request failed"));
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let database = Database::sqlite();
    fs::write(database.folder().join("taken"), "a file").unwrap();
    fs::write(database.folder().join("narthex.toml"), "[log]\nfile = \"taken/auth.log\"\n").unwrap();
    let Output { status, stderr, .. } = command(database.folder()).output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(said.starts_with("narthex: log.file = \"taken/auth.log\": cannot be written: "), "{said}");
}
