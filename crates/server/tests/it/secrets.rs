//! Where secrets come from, and what is said of bad ones.

use super::{
    binary::refused,
    client::{get_session, sign_up},
    database::Database,
    server::{QUICK, Server, command},
};
use std::fs;

const A: &str = "a-0123456789-abcdefghijklmnopqrstuvwxyz-A";
const B: &str = "b-0123456789-abcdefghijklmnopqrstuvwxyz-B";

/// A server with this line at the top of its file, and these variables.
fn server(database: &Database, line: &str, variables: &[(&str, &str)]) -> Server {
    fs::write(database.folder().join("narthex.toml"), format!("{line}\n{QUICK}")).unwrap();
    let mut command = command(database.folder());
    command.envs(variables.iter().copied());
    Server::spawn(command, database.folder())
}

#[test]
fn what_signs_is_the_first_of_several_or_the_one_that_is_meant_for_it() {
    let database = Database::sqlite();
    let first = server(&database, "", &[("BETTER_AUTH_SECRET", A)]);
    let cookie = first.connect().exchange(&sign_up("ada@example.com")).cookie();
    assert!(first.stop().success());
    let (secret_a, secret_b) = (format!("secret = {A:?}"), format!("secret = {B:?}"));
    let secrets_a = format!("secrets = [{{ version = 1, value = {A:?} }}]");
    let secrets_b = format!("secrets = [{{ version = 1, value = {B:?} }}]");
    let (a_then_b, b_then_a) = (format!("1:{A},2:{B}"), format!("2:{B}, 1:{A}"));
    for (line, variables, is_a) in [
        (secret_a.as_str(), &[][..], true),
        ("", &[("AUTH_SECRET", A)], true),
        ("", &[("BETTER_AUTH_SECRET", A), ("AUTH_SECRET", B)], true),
        (&secret_a, &[("AUTH_SECRET", B)], true),
        (&secret_b, &[("BETTER_AUTH_SECRET", A)], true),
        (&secrets_a, &[("BETTER_AUTH_SECRET", B)], true),
        ("", &[("BETTER_AUTH_SECRETS", &a_then_b), ("BETTER_AUTH_SECRET", B)], true),
        ("", &[("BETTER_AUTH_SECRETS", &b_then_a)], false),
        ("", &[("BETTER_AUTH_SECRETS", &b_then_a), ("BETTER_AUTH_SECRET", A)], false),
        (&secrets_b, &[("BETTER_AUTH_SECRETS", &a_then_b)], true),
    ] {
        let server = server(&database, line, variables);
        let session = server.connect().exchange(&get_session(&cookie)).json();
        assert_eq!(session["user"]["email"] == "ada@example.com", is_a, "{line} {variables:?}: {session}");
    }
    assert!(!database.folder().join("narthex.secret").exists());
}

#[test]
fn the_secret_that_backends_share_stands_in_for_one_of_its_own_and_signs_no_cookie() {
    let database = Database::sqlite();
    let first = server(&database, "", &[("JWT_SECRET", A)]);
    let cookie = first.connect().exchange(&sign_up("ada@example.com")).cookie();
    assert!(first.stop().success());
    assert!(!database.folder().join("narthex.secret").exists());
    for (variables, is_same) in [
        (&[("JWT_SECRET", A)][..], true),
        (&[("JWT_SECRET", B)], false),
        (&[("BETTER_AUTH_SECRET", A)], false),
        (&[("JWT_SECRET", A), ("BETTER_AUTH_SECRET", B)], false),
        (&[("JWT_SECRET", A), ("AUTH_SECRET", B)], false),
        (&[("JWT_SECRET", A), ("BETTER_AUTH_SECRETS", &format!("1:{B}"))], false),
    ] {
        let server = server(&database, "", variables);
        let session = server.connect().exchange(&get_session(&cookie)).json();
        assert_eq!(session["user"]["email"] == "ada@example.com", is_same, "{variables:?}: {session}");
    }
}

#[test]
fn a_shared_secret_that_is_too_short_is_named_where_one_is_needed() {
    let database = Database::sqlite();
    fs::write(database.folder().join("narthex.toml"), "base-url = \"https://auth.example.com\"\n").unwrap();
    let said = refused(command(database.folder()).env("JWT_SECRET", "hunter2-hunter2"), 2);
    let told = "secret: none is set; JWT_SECRET has fewer than 32 characters, too few to derive one from; put the output of `narthex secret` into BETTER_AUTH_SECRET";
    assert!(said.contains(told) && !said.contains("hunter2"), "{said}");
}

#[test]
fn a_mistake_in_secrets_is_told_without_them() {
    let database = Database::sqlite();
    for (list, told) in [
        ("hunter2", "entry 1 has no colon"),
        ("1:hunter2hunter2hunter2hunter2hunter2,x:hunter2", "entry 2 must begin with its version"),
        ("1:hunter2", "secrets[0].value: needs at least 32 characters"),
        (
            "1:hunter2hunter2hunter2hunter2hunter2,1:hunter2",
            "secrets[1].version = 1: each version must be there once",
        ),
    ] {
        let line = refused(command(database.folder()).env("BETTER_AUTH_SECRETS", list), 2);
        assert!(line.contains(told) && !line.contains("hunter2"), "{line}");
        assert!(!line.contains("none is set"), "{line}");
    }
    let production = "base-url = \"https://auth.example.com\"\n";
    fs::write(database.folder().join("narthex.toml"), production).unwrap();
    let line = refused(command(database.folder()).env("BETTER_AUTH_SECRETS", "hunter2"), 2);
    assert!(line.contains("entry 1 has no colon") && !line.contains("none is set"), "{line}");
}

#[test]
fn a_secret_that_somebody_made_up_is_warned_about() {
    let database = Database::sqlite();
    let warns = |secret: &str| {
        let log = server(&database, "", &[("BETTER_AUTH_SECRET", secret)]).log_at_end();
        assert!(!log.contains(secret), "{log}");
        log.contains("made it up")
    };
    assert!(warns("abababababababababababababababababab"));
    assert!(!warns(A));
}
