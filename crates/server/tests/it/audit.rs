//! `narthex audit`: what a server wrote down, for whoever runs it.

use super::{
    client::{get_session, sign_in, sign_out, sign_up},
    database::Database,
    server::{self, QUICK, Server, command},
};
use serde_json::Value;
use std::{fs, process::Output};

fn audit(database: &Database, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = server::narthex(database.folder());
    command.arg("audit").args(arguments).args(["--database", &database.url()]).env("NARTHEX_LOG", "off");
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn entries(database: &Database, arguments: &[&str]) -> Vec<Value> {
    let arguments: Vec<_> = arguments.iter().copied().chain(["--json"]).collect();
    let (code, lines, stderr) = audit(database, &arguments);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn events(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["event"].as_str().unwrap()).collect()
}

/// A server on which Ada signs up, somebody guesses, and Ada signs out.
fn served(name: &str) -> (Database, Server) {
    let database = Database::chosen(name);
    fs::write(database.folder().join("narthex.toml"), QUICK).unwrap();
    let mut command = command(database.folder());
    command.args(["--database", &database.url()]);
    let server = Server::spawn(command, database.folder());
    let mut client = server.connect();
    let signed_up = client.exchange(&sign_up("ada@example.com"));
    assert_eq!(signed_up.status, 200);
    assert_eq!(client.exchange(&sign_in("ada@example.com", "wrong password")).status, 401);
    assert_eq!(client.exchange(&sign_in("nobody@example.com", "wrong password")).status, 401);
    let cookie = signed_up.cookie();
    assert_eq!(client.exchange(&get_session(&cookie)).status, 200);
    assert_eq!(client.exchange(&sign_out(&cookie)).status, 200);
    (database, server)
}

#[test]
fn the_log_is_shown_while_the_server_runs_the_newest_first() {
    let (database, _server) = served("audit");
    let all = entries(&database, &[]);
    let expected = ["session.revoked", "sign-in.failed", "sign-in.failed", "session.created", "user.created"];
    assert_eq!(events(&all), expected);
    let signed_out = all[0].as_object().unwrap();
    let names: Vec<_> = signed_out.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "created_at",
            "event",
            "outcome",
            "reason",
            "actor",
            "user_id",
            "session_id",
            "account",
            "ip_address",
            "user_agent",
            "request_id",
            "details",
            "id"
        ]
    );
    assert_eq!(signed_out["actor"], signed_out["user_id"]);

    assert_eq!(events(&entries(&database, &["--limit", "2"])), expected[..2]);
    let hers = ["session.revoked", "sign-in.failed", "session.created", "user.created"];
    assert_eq!(events(&entries(&database, &["--user", "Ada@Example.com"])), hers);
    assert_eq!(events(&entries(&database, &["--user", all[0]["user_id"].as_str().unwrap()])), hers);
    assert_eq!(events(&entries(&database, &["--user", "nobody@example.com"])), ["sign-in.failed"]);
    assert_eq!(events(&entries(&database, &["--event", "user.created", "--since", "1h"])), ["user.created"]);
    assert!(entries(&database, &["--since", "2999-01-01"]).is_empty());
}

#[test]
fn for_a_person_the_log_is_a_table_that_says_what_failed() {
    let (database, _server) = served("audit_text");
    let (code, shown, stderr) = audit(&database, &["--event", "sign-in.failed", "--limit", "1"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let (time, rest) = shown.split_once("  ").unwrap();
    assert!(time.ends_with('Z') && time.len() == 24, "{shown}");
    assert_eq!(rest, "sign-in.failed  failure  wrong-credentials  by -  user -  from 127.0.0.1\n");
    let (_, all, _) = audit(&database, &[]);
    let column = |line: &str| line.find("  by ").unwrap();
    assert!(all.lines().all(|line| column(line) == column(all.lines().next().unwrap())), "{all}");
    let (code, nothing, _) = audit(&database, &["--event", "nothing"]);
    assert_eq!((code, nothing.as_str()), (Some(0), "nothing of the kind is written down\n"));
}

#[test]
fn a_log_that_cannot_be_shown_says_why() {
    let database = Database::sqlite();
    let (code, _, stderr) = audit(&database, &[]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("there is no database"), "{stderr}");
    assert!(!database.file().exists(), "none is made");

    let (code, _, stderr) = audit(&database, &["--since", "yesterday"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("must be like 2026-11-01, 2026-11-01T12:30:00Z, 7d, 12h or 30m"), "{stderr}");

    fs::write(database.folder().join("narthex.toml"), "[audit]\nenabled = false\n").unwrap();
    let (code, _, stderr) = audit(&database, &[]);
    assert_eq!(
        (code, stderr.as_str()),
        (Some(2), "narthex: audit.enabled = false: nothing is written down\n")
    );
}
