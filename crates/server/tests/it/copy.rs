//! `narthex copy`, between SQLite and the database that `TEST_DATABASE` asks for.

use super::{
    client::{sign_in, sign_up},
    database::Database,
    server::{QUICK, Server, command, narthex},
};
use std::{fs, path::Path};

/// Exit code, stdout and stderr.
pub(crate) fn copy(folder: &Path, from: &str, to: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let mut command = narthex(folder);
    let output = command.args(["copy", "--from", from, "--to", to]).args(more).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn serve(database: &Database) -> Server {
    let mut command = command(database.folder());
    command.args(["--database", &database.url()]);
    Server::spawn(command, database.folder())
}

fn users(database: &Database) -> i64 {
    database.number("select count(*) from \"user\"")
}

#[test]
fn who_signed_up_before_signs_in_after_a_copy_there_and_back() {
    let (first, second, third) = (Database::sqlite(), Database::chosen("copy"), Database::sqlite());
    for database in [&first, &second, &third] {
        fs::write(database.folder().join("narthex.toml"), QUICK).unwrap();
    }
    let server = serve(&first);
    for number in 0..3 {
        let email = format!("user-{number}@example.com");
        assert_eq!(server.connect().exchange(&sign_up(&email)).status, 200);
    }
    server.stop();

    let (code, there, told) = copy(first.folder(), &first.url(), &second.url(), &[]);
    assert_eq!(code, Some(0), "{told}");
    let (code, back, _) = copy(first.folder(), &second.url(), &third.url(), &[]);
    assert_eq!((code, &back), (Some(0), &there));
    let lines: Vec<Vec<&str>> = there.lines().map(|line| line.split_whitespace().collect()).collect();
    let tables: Vec<_> = lines.iter().map(|words| (words[0], words[1], words[2], words[3].len())).collect();
    assert_eq!(
        tables,
        [
            ("user", "3", "rows", 64),
            ("session", "3", "rows", 64),
            ("account", "3", "rows", 64),
            ("verification", "0", "rows", 64),
            ("narthexGuess", "0", "rows", 64),
            ("audit_log", "6", "rows", 64),
        ]
    );
    let told: Vec<_> = told.lines().collect();
    assert_eq!(told[0], "user: 3 rows copied and checked");
    assert_eq!(told.len(), 6, "{told:?}");

    for database in [second, third] {
        let server = serve(&database);
        let signed_in = server.connect().exchange(&sign_in("user-1@example.com", "correct horse"));
        assert_eq!(signed_in.status, 200);
        assert_eq!(signed_in.json()["user"]["email"], "user-1@example.com");
    }
}

#[test]
fn a_copy_needs_an_empty_target_and_says_what_it_leaves() {
    let (first, second) = (Database::sqlite(), Database::chosen("copy_refused"));
    fs::write(first.folder().join("narthex.toml"), QUICK).unwrap();
    let server = serve(&first);
    assert_eq!(server.connect().exchange(&sign_up("ada@example.com")).status, 200);
    server.stop();
    first.execute("alter table \"user\" add column \"shoeSize\" integer; create table \"blog\" (text text)");

    let (code, printed, told) = copy(first.folder(), &first.url(), &second.url(), &[]);
    assert_eq!((code, printed.as_str()), (Some(1), ""));
    assert_eq!(
        told,
        "narthex: the source has columns that nothing declares, and they would not be copied: \"user\".\"shoeSize\"; \
         declare them in additional-fields, or leave them out with --leave-behind\n"
    );
    let (code, _, told) = copy(first.folder(), &first.url(), &second.url(), &["--leave-behind"]);
    assert_eq!((code, users(&second)), (Some(0), 1), "{told}");
    assert!(
        told.contains(
            "\nnot copied, since Narthex has no such tables: blog\nleft behind: \"user\".\"shoeSize\"\n"
        ),
        "{told}"
    );

    let (code, printed, told) = copy(first.folder(), &first.url(), &second.url(), &["--leave-behind"]);
    assert_eq!((code, printed.as_str(), users(&second)), (Some(1), "", 1));
    assert_eq!(
        told,
        "narthex: the target has rows already, in \"user\", \"session\", \"account\", \"audit_log\"; a copy adds to nothing: use an \
         empty database\n"
    );
}

#[test]
fn mistakes_in_what_is_to_be_copied_are_named_without_passwords() {
    let database = Database::sqlite();
    let folder = database.folder();
    let (code, _, told) = copy(folder, "mysql://ada:hunter2@db/auth", &database.url(), &[]);
    assert_eq!(code, Some(2));
    assert!(
        told.starts_with("narthex: --from mysql://") && told.contains("a database URL starts with"),
        "{told}"
    );
    assert!(!told.contains("hunter2"), "{told}");

    let (code, _, told) = copy(folder, "sqlite://nowhere.db", &database.url(), &[]);
    assert_eq!(code, Some(1));
    assert_eq!(
        told,
        "narthex: --from sqlite://nowhere.db: the database cannot be reached: there is no file nowhere.db\n"
    );
    assert!(!folder.join("nowhere.db").exists() && !database.file().exists(), "nothing is made");

    let (code, _, told) = copy(folder, &database.url(), &database.url(), &["--database", "sqlite://x.db"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("cannot be used with"), "{told}");
    // Passwords need not be where everybody sees them who asks for the list of processes.
    let mut command = narthex(folder);
    let output = command
        .arg("copy")
        .env("NARTHEX_COPY_FROM", "sqlite://nowhere.db")
        .env("NARTHEX_COPY_TO", database.url());
    assert!(String::from_utf8(output.output().unwrap().stderr).unwrap().contains("no file nowhere.db"));
}
