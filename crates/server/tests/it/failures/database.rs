//! A database that is not as this server would have made it, or that takes no writes.

use super::{
    super::{
        binary::refused,
        client::{get_session, post, sign_in, sign_up},
        database::{Database, Postgres},
        server::{self, QUICK, Server, command},
    },
    PLAIN, assert_busy, logged, new_user, serve, signed_in,
};
use serde_json::json;
use std::fs;
use tempfile::TempDir;

#[test]
fn an_older_database_is_added_to_and_keeps_what_it_has() {
    let database = Database::chosen("older");
    let before = serve(&database, PLAIN);
    let cookie = new_user(&before, "ada@example.com");
    assert!(before.stop().success());
    for statement in [
        "alter table \"user\" drop column \"image\"",
        "alter table \"session\" drop column \"userAgent\"",
        "alter table \"account\" drop column \"idToken\"",
        "drop table \"verification\"",
        "drop table \"narthexGuess\"",
        "drop table \"audit_log\"",
    ] {
        database.execute(statement);
    }
    let after = serve(&database, PLAIN);
    logged(&after, "brought the tables up to date");
    assert_eq!(signed_in(&after, &cookie).as_deref(), Some("ada@example.com"));
    assert_eq!(after.connect().exchange(&sign_in("ada@example.com", "correct horse")).status, 200);
    new_user(&after, "bob@example.com");
    assert_eq!(database.number("select count(*) from \"user\" where \"image\" is null"), 2);
    assert_eq!(database.number("select count(*) from \"session\""), 3);
    assert_eq!(database.number("select count(*) from \"narthexGuess\""), 0);
}

#[test]
fn what_a_newer_version_has_added_is_left_alone() {
    let database = Database::chosen("newer");
    let before = serve(&database, PLAIN);
    let cookie = new_user(&before, "ada@example.com");
    assert!(before.stop().success());
    for statement in [
        "alter table \"user\" add column \"later\" text not null default 'theirs'",
        "alter table \"session\" add column \"later\" text",
        "update \"session\" set \"later\" = 'theirs'",
        "create table \"passkey\" (\"id\" text primary key, \"userId\" text references \"user\" (\"id\"))",
        "insert into \"passkey\" select 'a', \"id\" from \"user\"",
    ] {
        database.execute(statement);
    }
    let after = serve(&database, QUICK);
    // Renews it.
    assert_eq!(signed_in(&after, &cookie).as_deref(), Some("ada@example.com"));
    let renamed = post("/api/auth/update-user", &cookie, &json!({ "name": "Ada L." }));
    assert_eq!(after.connect().exchange(&renamed).status, 200);
    new_user(&after, "bob@example.com");
    assert_eq!(database.number("select count(*) from \"user\" where \"later\" = 'theirs'"), 2);
    assert_eq!(database.number("select count(*) from \"session\" where \"later\" = 'theirs'"), 1);
    assert_eq!(database.number("select count(*) from \"passkey\""), 1);
}

#[test]
fn a_column_that_must_have_a_value_of_somebody_elses_is_named_in_the_log_and_nothing_is_half_written() {
    let failed_to_create = r#"{"message":"Failed to create user","code":"FAILED_TO_CREATE_USER"}"#;
    for (table, status, body) in [("user", 422, failed_to_create), ("account", 500, ""), ("session", 500, "")]
    {
        let database = Database::chosen(&format!("mandate_{table}"));
        let mut migration = server::narthex(database.folder());
        migration.args(["migrate", "--dry-run", "--database", &database.url()]);
        let statements = String::from_utf8(migration.output().unwrap().stdout).unwrap();
        let (mine, theirs) = (
            format!("create table \"{table}\" ("),
            format!("create table \"{table}\" (\"mandate\" text not null, "),
        );
        assert!(statements.contains(&mine), "{statements}");
        for statement in statements.split(";\n") {
            database.execute(&statement.trim_end().trim_end_matches(';').replace(&mine, &theirs));
        }
        let server = serve(&database, PLAIN);
        let reply = server.connect().exchange(&sign_up("ada@example.com"));
        let said = (reply.status, String::from_utf8_lossy(&reply.body));
        assert_eq!(said, (status, body.into()), "{table}");
        let log = logged(&server, "mandate");
        // PostgreSQL would show the whole row.
        assert!(!log.contains("$2b$") && !log.contains("ada@example.com"), "{log}");
        for table in ["user", "account", "session"] {
            assert_eq!(database.number(&format!("select count(*) from \"{table}\"")), 0, "{table}");
        }
        assert_eq!(server.status_of("/ready"), 200);
    }
}

#[test]
fn a_column_of_another_type_is_refused_by_table_column_and_both_types() {
    let database = Database::chosen("another_type");
    let kind = if database.is_postgres() { "bytea" } else { "blob" };
    database.execute(&format!(
        "create table \"verification\" (\"id\" text primary key, \"identifier\" {kind}, \"value\" text)"
    ));
    database.execute("insert into \"verification\" (\"id\") values ('a')");
    let line = refused(command(database.folder()).args(["--database", &database.url()]), 2);
    let told = format!("\"verification\".\"identifier\" has type {kind}, but text is needed");
    assert!(line.to_lowercase().contains(&told), "{line}");
    assert!(line.contains("convert the column"), "{line}");
    assert_eq!(database.number("select count(*) from \"verification\""), 1);
}

#[test]
fn a_postgresql_that_takes_no_writes_is_a_503_and_sessions_go_on() {
    let Some(database) = Postgres::create("read_only") else { return };
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("narthex.toml"), QUICK).unwrap();
    let start = || {
        let mut command = command(folder.path());
        command.args(["--database", &database.url]);
        Server::spawn(command, folder.path())
    };
    let server = start();
    let cookie = new_user(&server, "ada@example.com");
    database.set_read_only(true);
    assert!(database.cut_connections() > 0);
    // A server that starts now has nothing to add to the tables, and one that runs goes on.
    for server in [&start(), &server] {
        assert_busy(&server.connect().exchange(&sign_up("bob@example.com")));
        assert_busy(&server.connect().exchange(&sign_in("ada@example.com", "correct horse")));
        let rename = post("/api/auth/update-user", &cookie, &json!({ "name": "Ada L." }));
        assert_busy(&server.connect().exchange(&rename));
        logged(server, "cannot execute INSERT in a read-only transaction");
        // It is due to be renewed, which cannot be written.
        assert_eq!(signed_in(server, &cookie).as_deref(), Some("ada@example.com"));
        assert_eq!(server.status_of("/ready"), 200);
    }
    database.set_read_only(false);
    assert!(database.cut_connections() > 0);
    let renewed = server.connect().exchange(&get_session(&cookie));
    assert_eq!((renewed.status, renewed.cookie()), (200, cookie));
    new_user(&server, "bob@example.com");
    assert_eq!(database.number("select count(*) from \"user\""), 2);
}
