//! `narthex export`.

use super::{
    super::{client::sign_up, database::Database},
    FIELDS, PLAIN, create, installed, run, serve,
};
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt as _};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_export_has_every_row_is_private_and_replaces_nothing() {
    let database = installed("export", PLAIN);
    let server = serve(&database);
    let reply = server.connect().exchange(&sign_up("ada@example.com"));
    assert_eq!(reply.status, 200);
    assert_eq!(super::signs_in(&server, "eve@example.com", "wrong password"), 401);
    let answer = run(&database, &["export", "--output", "all.jsonl"], "");
    assert!(answer.stderr.contains("it contains password hashes and tokens"), "{}", answer.stderr);
    assert_eq!(answer.result(), "");
    let file = database.folder().join("all.jsonl");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&file).unwrap();
    let rows = lines(&text);
    let tables: Vec<&str> = rows.iter().map(|row| row["table"].as_str().unwrap()).collect();
    let written_down = ["audit_log"; 3];
    assert_eq!(tables, [&["user", "session", "account", "narthexGuess"], &written_down[..]].concat());
    let members = |row: &Value| row["row"].as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(members(&rows[0]), "id name email emailVerified image createdAt updatedAt");
    assert_eq!(rows[0]["row"]["email"], "ada@example.com");
    assert_eq!(rows[0]["row"]["emailVerified"], false);
    assert_eq!(rows[1]["row"]["token"], reply.json()["token"]);
    assert!(rows[2]["row"]["password"].as_str().unwrap().starts_with("$2b$04$"));

    let said = run(&database, &["export", "--output", "all.jsonl"], "").failure(1);
    assert!(said.contains("all.jsonl is there already"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    let stdout =
        run(&database, &["export", "--output", "-", "--table", "account", "--table", "user"], "").result();
    let tables: Vec<Value> = lines(&stdout).into_iter().map(|mut row| row["table"].take()).collect();
    assert_eq!(tables, ["user", "account"]);
    let said = run(&database, &["export", "--output", "-", "--table", "users"], "").failure(2);
    assert!(said.contains("--table users: must be one of user, session, account"), "{said}");
    assert_eq!(run(&database, &["export"], "").code, Some(2), "never to stdout by itself");
}

#[test]
fn an_export_has_more_rows_than_are_read_at_once() {
    let database = installed("export_pages", PLAIN);
    let users: Vec<String> = (0..2_345).map(|number| format!("user-{number}@example.com\n")).collect();
    let users = format!("email\n{}", users.concat());
    fs::write(database.folder().join("users.csv"), users).unwrap();
    run(&database, &["import", "users.csv"], "").result();
    let rows = lines(&run(&database, &["export", "--table", "user", "--output", "-"], "").result());
    let mut emails: Vec<&str> = rows.iter().map(|row| row["row"]["email"].as_str().unwrap()).collect();
    emails.sort_unstable();
    emails.dedup();
    assert_eq!(emails.len(), 2_345);
}

#[test]
fn users_move_between_installations_with_their_ids_and_passwords() {
    let configuration = format!("{PLAIN}{FIELDS}");
    let from = installed("export_from", &configuration);
    let arguments = [
        "user",
        "create",
        "ada@example.com",
        "--name",
        "Ada",
        "--field",
        "level=expert",
        "--field",
        "rank=7",
    ];
    let mut with_password = arguments.to_vec();
    with_password.push("--password-stdin");
    run(&from, &with_password, super::PASSWORD).result();
    run(
        &from,
        &[
            "user",
            "create",
            "bob@example.com",
            "--name",
            "Bob",
            "--field",
            "level=beginner",
            "--without-password",
        ],
        "",
    )
    .result();
    let server = serve(&from);
    assert_eq!(super::signs_in(&server, "ada@example.com", super::PASSWORD), 200);
    let tables = ["--table", "user", "--table", "session", "--table", "account"];
    let exported = run(&from, &[&["export", "--output", "-"], &tables[..]].concat(), "").result();

    // SQLite, whatever the other one is.
    let to = Database::sqlite();
    super::configure(&to, &configuration);
    run(&to, &["migrate"], "").result();
    fs::write(to.folder().join("all.jsonl"), &exported).unwrap();
    let said = run(&to, &["import", "all.jsonl"], "").result();
    assert_eq!(said, "imported 2 users and 1 passwords; 1 rows are no users and no passwords\n");
    let of = |database: &Database| {
        let mut rows = lines(&run(database, &["export", "--table", "user", "--output", "-"], "").result());
        // PostgreSQL may sort letters in another order.
        rows.sort_by_key(|row| row["row"]["email"].to_string());
        rows
    };
    assert_eq!(of(&to).len(), 2);
    assert_eq!(of(&to), of(&from));
    assert_eq!(super::signs_in(&serve(&to), "ada@example.com", super::PASSWORD), 200);
    // And again.
    let said = run(&to, &["import", "all.jsonl", "--skip-existing"], "").result();
    assert_eq!(
        said,
        "imported 0 users and 0 passwords; 3 were there already; 1 rows are no users and no passwords\n"
    );
    let said = run(&to, &["import", "all.jsonl"], "").failure(1);
    assert!(said.contains("nothing was written") && said.contains("--skip-existing"), "{said}");
}

#[test]
fn an_export_that_could_not_see_every_row_is_refused() {
    let database = installed("export_hidden", PLAIN);
    if !database.is_postgres() {
        return;
    }
    create(&database, "ada@example.com");
    let export = |file: &str| run(&database, &["export", "--output", file], "");
    // May read every table, and is not above policies of rows.
    database.execute("alter table \"session\" enable row level security");
    assert!(
        lines(&export("-").result()).iter().any(|row| row["table"] == "account"),
        "the owner sees every row"
    );
    database.limit_to("pg_read_all_data");
    let said = export("all.jsonl").failure(1);
    assert!(said.contains("row-level security") && said.contains("session"), "{said}");
    assert!(!database.folder().join("all.jsonl").exists());
}
