//! The commands that look at a database or a server: `doctor`, `migrate`, `routes`, `health`.

use super::{
    client::{post, sign_up},
    database::Database,
    server::{self, QUICK, Server, command},
};
use rustix::process::Signal;
use std::{fs, os::unix::fs::PermissionsExt as _, process::Output};

fn narthex(
    database: &Database,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> (Option<i32>, String, String) {
    let mut command = server::narthex(database.folder());
    command.args(arguments).args(["--database", &database.url()]).env("NARTHEX_LOG", "off");
    let Output { status, stdout, stderr } = command.envs(variables.iter().copied()).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_migration_is_shown_then_made_then_not_needed() {
    let database = Database::chosen("migrate");
    let (code, shown, stderr) = narthex(&database, &["migrate", "--dry-run"], &[]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(shown.contains("create table \"user\"") && shown.trim_end().ends_with(';'), "{shown}");
    let (_, again, _) = narthex(&database, &["migrate", "--dry-run"], &[]);
    assert_eq!(again, shown, "showing changes nothing");
    let (code, made, stderr) = narthex(&database, &["migrate"], &[]);
    assert_eq!((code, &made), (Some(0), &shown), "{stderr}");
    let (code, none, stderr) = narthex(&database, &["migrate"], &[]);
    assert_eq!((code, none.as_str()), (Some(0), "-- the tables are up to date\n"), "{stderr}");
    // And a server that only checks starts on it.
    let mut server = command(database.folder());
    server.args(["--database", &database.url()]).env("NARTHEX__DATABASE__MIGRATE", "check");
    let server = Server::spawn(server, database.folder());
    assert_eq!(server.connect().exchange(&sign_up("ada@example.com")).status, 200);
}

#[test]
fn whoever_looks_makes_no_file_and_changes_none() {
    let database = Database::sqlite();
    let names = || {
        let entries = fs::read_dir(database.folder()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    let (code, shown, stderr) = narthex(&database, &["migrate", "--dry-run"], &[]);
    assert_eq!((code, shown.contains("create table")), (Some(0), true), "{stderr}");
    assert_eq!(narthex(&database, &["doctor"], &[]).0, Some(0));
    assert_eq!(names(), before);

    // What a server that was killed has left is read, and left for the server that comes back.
    let mut command = command(database.folder());
    command.args(["--database", &database.url()]);
    let server = Server::spawn(command, database.folder());
    assert_eq!(server.connect().exchange(&sign_up("ada@example.com")).status, 200);
    server.signal(Signal::KILL);
    server.wait();
    let file = |end: &str| database.folder().join(format!("narthex.db{end}"));
    let read = || ["", "-wal"].map(|end| fs::read(file(end)).unwrap());
    let left = read();
    assert!(!left[1].is_empty());
    let copy = database.folder().join("copy.db");
    for arguments in [&["migrate", "--dry-run"][..], &["doctor"], &["backup", copy.to_str().unwrap()]] {
        assert_eq!(narthex(&database, arguments, &[]).0, Some(0), "{arguments:?}");
        assert!(read() == left, "{arguments:?}");
    }
    let copied = rusqlite::Connection::open(copy).unwrap();
    let users: i64 = copied.query_row("select count(*) from \"user\"", [], |row| row.get(0)).unwrap();
    assert_eq!(users, 1);
}

#[test]
fn a_server_that_only_checks_says_how_to_migrate() {
    let database = Database::chosen("checks");
    let (code, _, stderr) = narthex(&database, &["serve"], &[("NARTHEX__DATABASE__MIGRATE", "check")]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("narthex migrate") && stderr.contains("create table \"user\""), "{stderr}");
}

#[test]
fn the_doctor_finds_what_is_fine_and_what_is_not() {
    let database = Database::chosen("doctor");
    let (code, found, stderr) = narthex(&database, &["doctor"], &[]);
    assert_eq!(code, Some(0), "{found}{stderr}");
    assert!(found.contains("warn  secret"), "{found}");
    let production = [("NODE_ENV", "production"), ("BETTER_AUTH_URL", "https://auth.example.com")];
    let mut variables = production.to_vec();
    variables.push(("BETTER_AUTH_SECRET", "7f3c9b1e5a2d48f6b0c4e8a19d63725f"));
    // Production on PostgreSQL has one table more.
    let (code, ..) = narthex(&database, &["migrate"], &variables);
    assert_eq!(code, Some(0));
    let (code, found, stderr) = narthex(&database, &["doctor"], &variables);
    assert_eq!(code, Some(0), "{found}{stderr}");
    let doubts: Vec<&str> = found.lines().filter(|line| !line.starts_with("ok ")).collect();
    assert!(doubts.is_empty(), "{found}");
    assert!(found.contains("tables are up to date"), "{found}");

    variables[1].1 = "http://auth.example.com";
    variables[2].1 = "abababababababababababababababababab";
    variables.push(("NARTHEX__SECONDARY_STORAGE__URL", "redis://127.0.0.1:1"));
    let (code, found, stderr) = narthex(&database, &["doctor"], &variables);
    assert_eq!(code, Some(1), "{found}");
    assert!(found.contains("warn  secret") && found.contains("warn  base-url"), "{found}");
    assert!(found.contains("FAIL  secondary storage"), "{found}");
    assert_eq!(stderr, "narthex: one check failed\n");
}

#[test]
fn the_doctor_looks_at_who_may_read_the_files() {
    let database = Database::sqlite();
    fs::write(database.folder().join("narthex.toml"), "secret = \"7f3c9b1e5a2d48f6b0c4e8a19d63725f\"\n")
        .unwrap();
    let open = |name: &str, mode| {
        fs::set_permissions(database.folder().join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    open("narthex.toml", 0o644);
    let (_, found, _) = narthex(&database, &["doctor"], &[]);
    assert!(
        found.contains("narthex.toml has secret and others may read it: chmod 600 narthex.toml"),
        "{found}"
    );
    open("narthex.toml", 0o600);
    let (_, found, _) = narthex(&database, &["doctor"], &[]);
    assert!(!found.contains("warn"), "{found}");
}

#[test]
fn the_doctor_names_a_database_that_does_not_answer() {
    let database = Database::sqlite();
    let mut command = server::narthex(database.folder());
    command.args(["doctor", "--database", "postgres://ada:hunter2@127.0.0.1:1/auth"]);
    let Output { status, stdout, .. } = command.output().unwrap();
    let found = String::from_utf8(stdout).unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(
        found.contains("FAIL  database") && found.contains("127.0.0.1:1") && !found.contains("hunter2"),
        "{found}"
    );
}

#[test]
fn routes_are_listed_with_their_limits() {
    let database = Database::sqlite();
    let production = [("NODE_ENV", "production"), ("BETTER_AUTH_SECRET", "7f3c9b1e5a2d48f6b0c4e8a19d63725f")];
    let (code, list, stderr) = narthex(&database, &["routes"], &production);
    assert_eq!(code, Some(0), "{stderr}");
    let line = |path: &str| list.lines().find(|line| line.split_whitespace().nth(1) == Some(path)).unwrap();
    let words: Vec<&str> = line("/api/auth/sign-in/email").split_whitespace().collect();
    assert_eq!(words, ["POST", "/api/auth/sign-in/email", "sign-in-email", "3", "in", "10", "s"]);
    let (_, json, _) = narthex(&database, &["routes", "--json"], &production);
    let routes: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(routes.as_array().unwrap().len(), list.lines().count());
    fs::write(database.folder().join("narthex.toml"), "disabled-paths = [\"/sign-up/email\"]\n").unwrap();
    let (_, list, _) = narthex(&database, &["routes"], &[]);
    assert!(list.lines().any(|line| line.contains("/sign-up/email") && line.ends_with("disabled")), "{list}");
}

#[test]
fn other_paths_are_listed_with_their_endpoints_and_answered() {
    let database = Database::sqlite();
    let settings = format!("{QUICK}[plugins.jwt]\n[plugins.token-api]\n");
    fs::write(database.folder().join("narthex.toml"), &settings).unwrap();
    let (code, list, stderr) = narthex(&database, &["routes"], &[]);
    assert_eq!(code, Some(0), "{stderr}");
    let position =
        |path: &str| list.lines().position(|line| line.split_whitespace().nth(1) == Some(path)).unwrap();
    let (endpoint, alias) = (position("/api/auth/token-api/signin"), position("/auth/signin"));
    assert_eq!(alias, endpoint + 1);
    let words: Vec<&str> = list.lines().nth(alias).unwrap().split_whitespace().collect();
    assert_eq!(words, ["POST", "/auth/signin", "token-api", "is", "/api/auth/token-api/signin"]);
    let (_, json, _) = narthex(&database, &["routes", "--json"], &[]);
    let routes: serde_json::Value = serde_json::from_str(&json).unwrap();
    let route = |path: &str| routes.as_array().unwrap().iter().find(|route| route["path"] == path).unwrap();
    assert_eq!(route("/api/auth/token-api/signin")["aliases"], serde_json::json!(["/auth/signin"]));
    assert_eq!(route("/api/auth/sign-out")["aliases"], serde_json::json!(["/api/auth/signout"]));
    assert_eq!(route("/api/auth/ok")["aliases"], serde_json::json!([]));

    let server = Server::start(database.folder(), &settings);
    let body = serde_json::json!({ "name": "Ada", "email": "ada@example.com", "password": "correct horse" });
    let reply = server.connect().exchange(&post("/auth/signup", "", &body));
    assert_eq!((reply.status, reply.header("set-cookie")), (200, None));
    let id = narthex_ok(&database, &["session", "list", "ada@example.com"]);
    let id = id.split_whitespace().find(|word| word.len() == 32).unwrap();
    narthex_ok(&database, &["session", "revoke", id]);
    let token = serde_json::json!({ "refresh_token": reply.json()["refresh_token"] });
    assert_eq!(server.connect().exchange(&post("/auth/refresh", "", &token)).status, 401);
}

/// What a command prints that does what it is told.
fn narthex_ok(database: &Database, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = narthex(database, arguments, &[]);
    assert_eq!(code, Some(0), "{stderr}");
    stdout
}

#[test]
fn routes_are_described_as_openapi_with_the_plugins_and_fields_of_the_configuration() {
    let database = Database::sqlite();
    let config = "base-url = \"http://localhost:3001/id\"\ndisabled-paths = [\"/ok\"]\n[plugins.bearer]\n\
                  [user.additional-fields]\nnickname = { type = \"string\" }\n";
    fs::write(database.folder().join("narthex.toml"), config).unwrap();
    let (code, json, stderr) = narthex(&database, &["routes", "--openapi"], &[]);
    assert_eq!(code, Some(0), "{stderr}");
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(document["servers"][0]["url"], "http://localhost:3001/id");
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    assert_eq!(document["components"]["schemas"]["User"]["properties"]["nickname"]["type"], "string");
    let (_, list, _) = narthex(&database, &["routes"], &[]);
    let described = document["paths"].as_object().unwrap();
    assert!(described.len() > 10 && !described.contains_key("/ok"));
    for line in list.lines().filter(|line| !line.ends_with("disabled")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let path = words[1].strip_prefix("/id").unwrap();
        assert!(described[path].get(words[0].to_lowercase()).is_some(), "{line}");
    }

    let (code, yaml, _) = narthex(&database, &["routes", "--openapi", "--yaml"], &[]);
    assert_eq!(code, Some(0));
    assert!(yaml.starts_with("openapi: \"3.1.0\"\ninfo:\n  title: \"Narthex\"\n"), "{yaml}");
    for arguments in [["routes", "--yaml", "--json"], ["routes", "--openapi", "--json"]] {
        assert_eq!(narthex(&database, &arguments, &[]).0, Some(2), "{arguments:?}");
    }
}

#[test]
fn health_is_asked_of_a_running_server() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), QUICK);
    let address = server.address.to_string();
    let asked = |address: &str| {
        let mut command = server::narthex(database.folder());
        let Output { status, stdout, stderr } =
            command.args(["health", "--listen", address]).output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    };
    assert_eq!(asked(&address), (Some(0), "ok\n".to_owned(), String::new()));
    drop(server);
    let (code, _, stderr) = asked(&address);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("does not answer"), "{stderr}");
}

#[test]
fn a_backup_of_a_running_server_is_whole_private_and_replaces_nothing() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), QUICK);
    let mut client = server.connect();
    let mut made = 0;
    let mut sign_up_some = |client: &mut super::client::Client| {
        for _ in 0..20 {
            made += 1;
            assert_eq!(client.exchange(&sign_up(&format!("user-{made}@example.com"))).status, 200);
        }
    };
    sign_up_some(&mut client);
    let (code, said, stderr) = narthex(&database, &["backup", "copy.db"], &[]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(said.starts_with("copy.db has ") && said.ends_with(" bytes and is whole\n"), "{said}");
    // The server has not noticed, and what comes later is not in it.
    sign_up_some(&mut client);
    let copy = database.folder().join("copy.db");
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let count = |file: &std::path::Path| -> i64 {
        let file = rusqlite::Connection::open(file).unwrap();
        file.query_row("select count(*) from user", [], |row| row.get(0)).unwrap()
    };
    assert_eq!((count(&copy), count(&database.file())), (20, 40));
    let before = fs::read(&copy).unwrap();
    let (code, _, stderr) = narthex(&database, &["backup", "copy.db"], &[]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("copy.db is there already"), "{stderr}");
    assert_eq!(fs::read(&copy).unwrap(), before);
    drop(server);

    // A server serves it.
    fs::rename(&copy, database.file()).unwrap();
    for rest in ["narthex.db-wal", "narthex.db-shm"] {
        let _ = fs::remove_file(database.folder().join(rest));
    }
    let server = Server::start(database.folder(), QUICK);
    let sign_in = super::client::sign_in("user-20@example.com", "correct horse");
    assert_eq!(server.connect().exchange(&sign_in).status, 200);
}

#[test]
fn a_backup_of_nothing_is_refused() {
    let database = Database::sqlite();
    let (code, _, stderr) = narthex(&database, &["backup", "copy.db"], &[]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("there is no database"), "{stderr}");
    assert!(!database.file().exists() && !database.folder().join("copy.db").exists());
}
