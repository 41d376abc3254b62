//! `narthex user`.

use super::{
    super::{client::get_session, database::Database},
    FIELDS, PASSWORD, PLAIN, create, installed, run, serve, signs_in, users,
};
use std::fs;

#[test]
fn a_user_that_was_made_beside_a_running_server_signs_in() {
    let database = installed("user_create", &format!("{PLAIN}{FIELDS}"));
    let server = serve(&database);
    let arguments = [
        "user",
        "create",
        "Ada@Example.com",
        "--name",
        "Ada",
        "--field",
        "level=expert",
        "--field",
        "rank=7",
        "--email-verified",
        "--password-stdin",
    ];
    let said = run(&database, &arguments, "correct horse\n").result();
    assert!(said.starts_with("created ada@example.com with the id "), "{said}");
    let reply = server.connect().exchange(&super::sign_in("ada@example.com", PASSWORD));
    let user = &reply.json()["user"];
    assert_eq!(reply.status, 200);
    assert_eq!(
        (&user["level"], &user["rank"], &user["emailVerified"]),
        (&"expert".into(), &7.into(), &true.into())
    );
    assert_eq!(
        run(&database, &arguments, PASSWORD).failure(1),
        "narthex: somebody has this address already\n"
    );
    assert_eq!(users(&database), 1);
}

#[test]
fn a_user_that_breaks_a_rule_is_not_made() {
    let database = installed("user_rules", &format!("{PLAIN}{FIELDS}"));
    let attempt = |email: &str, more: &[&str], stdin: &str| {
        let mut arguments = vec!["user", "create", email, "--name", "Ada"];
        arguments.extend(more);
        run(&database, &arguments, stdin)
    };
    let beginner = ["--field", "level=beginner", "--password-stdin"];
    assert_eq!(
        attempt("ada@example.com", &["--password-stdin"], PASSWORD).failure(1),
        "narthex: level is required\n"
    );
    assert!(attempt("ada", &beginner, PASSWORD).failure(1).contains("no address"));
    assert_eq!(
        attempt("ada@example.com", &beginner, "short").failure(1),
        "narthex: the password is shorter than 8 characters (email-and-password.min-password-length)\n"
    );
    let wrong = ["--field", "level=master", "--password-stdin"];
    assert!(attempt("ada@example.com", &wrong, PASSWORD).failure(1).contains("\"beginner\"|\"expert\""));
    let unknown = ["--field", "lvl=beginner", "--field", "level=expert", "--without-password"];
    assert!(
        attempt("ada@example.com", &unknown, "")
            .failure(1)
            .contains("no field \"lvl\" of yours; its are: level, rank")
    );
    let twice = ["--field", "level=expert", "--field", "level=beginner", "--without-password"];
    assert_eq!(attempt("ada@example.com", &twice, "").failure(2), "narthex: --field level: is given twice\n");
    // Nobody to ask.
    let silent = ["--field", "level=beginner"];
    assert!(attempt("ada@example.com", &silent, PASSWORD).failure(2).contains("--password-stdin"));
    assert_eq!(users(&database), 0);
    attempt("ada@example.com", &["--field", "level=beginner", "--without-password"], "").result();
    assert_eq!((users(&database), database.number("select count(*) from \"account\"")), (1, 0));
}

#[test]
fn users_are_listed_in_pages_searched_and_shown_without_what_is_secret() {
    let database = installed("user_list", PLAIN);
    let server = serve(&database);
    let ids: Vec<String> =
        ["a@example.com", "b@example.com", "c@example.org"].map(|email| create(&database, email)).into();
    let page = run(&database, &["user", "list", "--limit", "2"], "");
    assert_eq!(page.code, Some(0), "{}", page.stderr);
    let last = page.stdout.lines().last().unwrap().split_whitespace().next().unwrap().to_owned();
    assert_eq!(page.stderr, format!("narthex: there are more: --after {last}\n"));
    let rest = run(&database, &["user", "list", "--after", &last, "--json"], "").json();
    assert_eq!((page.stdout.lines().count(), rest.as_array().unwrap().len()), (2, 1));
    let mut all: Vec<&str> =
        page.stdout.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    all.push(rest[0]["id"].as_str().unwrap());
    let mut sorted: Vec<&str> = ids.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    all.sort_unstable();
    assert_eq!(all, sorted);
    let found = run(&database, &["user", "list", "--search", "EXAMPLE.ORG", "--json"], "").json();
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert_eq!(run(&database, &["user", "list", "--search", "%"], "").result(), "");

    let reply = server.connect().exchange(&super::sign_in("a@example.com", PASSWORD));
    let token = reply.json()["token"].as_str().unwrap().to_owned();
    let text = run(&database, &["user", "show", "A@example.com"], "").result();
    let json = run(&database, &["user", "show", &ids[0], "--json"], "").result();
    for shown in [&text, &json] {
        assert!(!shown.contains(&token) && !shown.contains("$2b$"), "{shown}");
        assert!(shown.contains("a@example.com") && shown.contains("credential"), "{shown}");
    }
    assert!(text.lines().any(|line| line.starts_with("session") && line.contains("127.0.0.1")), "{text}");
    let shown: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(shown["user"]["id"].as_str(), Some(ids[0].as_str()));
    assert_eq!(shown["sessions"][0]["ipAddress"], "127.0.0.1");
    assert_eq!(shown["accounts"][0]["providerId"], "credential");
    let missing = run(&database, &["user", "show", "nobody@example.com"], "").failure(1);
    assert!(missing.contains("there is no user") && missing.contains("user list --search"), "{missing}");
}

#[test]
fn what_users_call_themselves_does_nothing_to_a_terminal() {
    let database = installed("user_escape", PLAIN);
    let name = "\u{1b}[2J\nroot";
    run(&database, &["user", "create", "e@example.com", "--name", name, "--without-password"], "").result();
    for command in [&["user", "list"][..], &["user", "show", "e@example.com"]] {
        let said = run(&database, command, "").result();
        assert!(said.contains("\\u{1b}[2J\\nroot") && !said.contains('\u{1b}'), "{said}");
    }
}

#[test]
fn a_new_password_lets_in_who_was_locked_out_and_ends_their_sessions() {
    let database = installed("user_password", &format!("{PLAIN}max-failures = 3\n"));
    let server = serve(&database);
    let id = create(&database, "ada@example.com");
    let cookie = server.connect().exchange(&super::sign_in("ada@example.com", PASSWORD)).cookie();
    for _ in 0..3 {
        assert_eq!(signs_in(&server, "ada@example.com", "wrong password"), 401);
    }
    assert_eq!(signs_in(&server, "ada@example.com", PASSWORD), 429);
    let set = |more: &[&str], password: &str| {
        let mut arguments = vec!["user", "set-password", &id, "--password-stdin"];
        arguments.extend(more);
        run(&database, &arguments, password)
    };
    let is_signed_in = || server.connect().exchange(&get_session(&cookie)).body != b"null";
    assert!(set(&[], "short").failure(1).contains("shorter than 8"));
    let said = set(&["--keep-sessions"], "another horse\r\n").result();
    assert_eq!(said, "ada@example.com has a new password and stays signed in\n");
    assert!(is_signed_in());
    assert_eq!(signs_in(&server, "ada@example.com", "another horse"), 200);
    let said = set(&[], PASSWORD).result();
    assert_eq!(said, "ada@example.com has a new password and is signed out everywhere\n");
    assert!(!is_signed_in());
    assert_eq!(signs_in(&server, "ada@example.com", "another horse"), 401);
    assert_eq!(signs_in(&server, "ada@example.com", PASSWORD), 200);
}

#[test]
fn a_user_is_deleted_only_when_that_is_meant() {
    let database = installed("user_delete", PLAIN);
    let server = serve(&database);
    create(&database, "ada@example.com");
    let cookie = server.connect().exchange(&super::sign_in("ada@example.com", PASSWORD)).cookie();
    let said = run(&database, &["user", "delete", "ada@example.com"], "y\n").failure(2);
    assert!(said.contains("--yes"), "{said}");
    assert_eq!(users(&database), 1);
    let said = run(&database, &["user", "delete", "ada@example.com", "--yes"], "").result();
    assert_eq!(said, "deleted ada@example.com\n");
    for table in ["user", "account", "session"] {
        assert_eq!(database.number(&format!("select count(*) from \"{table}\"")), 0, "{table}");
    }
    assert_eq!(server.connect().exchange(&get_session(&cookie)).body, b"null");
}

#[test]
fn a_database_that_is_missing_or_not_up_to_date_is_left_as_it_is() {
    let database = Database::sqlite();
    let said = run(&database, &["user", "list"], "").failure(1);
    assert!(said.contains("there is no database") && said.contains("narthex migrate"), "{said}");
    assert!(!database.file().exists());
    let database = Database::chosen("user_stale");
    if !database.is_postgres() {
        fs::write(database.file(), "").unwrap();
    }
    let said = run(&database, &["user", "list"], "").failure(2);
    assert!(said.contains("run `narthex migrate`"), "{said}");
    let there: Vec<_> =
        fs::read_dir(database.folder()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(there.iter().all(|file| file == "narthex.db"), "who looks makes no files: {there:?}");
    assert!(database.is_postgres() || fs::metadata(database.file()).unwrap().len() == 0);
    run(&database, &["migrate", "--dry-run"], "")
        .result()
        .find("create table \"user\"")
        .expect("nothing was made");
}
