//! `narthex session`.

use super::{
    super::{
        client::{get_session, sign_in},
        database::Database,
        redis::Redis,
        server::Server,
    },
    Answer, PASSWORD, PLAIN, configure, create, installed, run, serve,
};

/// A browser's cookie and the id of its session.
fn session(server: &Server, database: &Database, email: &str) -> (String, String) {
    let before: Vec<String> = listed(database, email);
    let cookie = server.connect().exchange(&sign_in(email, PASSWORD)).cookie();
    let id = listed(database, email).into_iter().find(|id| !before.contains(id)).unwrap();
    (cookie, id)
}

fn listed(database: &Database, email: &str) -> Vec<String> {
    let sessions = run(database, &["session", "list", email, "--json"], "").json();
    let sessions = sessions.as_array().unwrap();
    assert!(sessions.iter().all(|session| session.get("token").is_none()), "tokens are not shown");
    sessions.iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect()
}

fn is_signed_in(server: &Server, cookie: &str) -> bool {
    let reply = server.connect().exchange(&get_session(cookie));
    assert_eq!(reply.status, 200);
    reply.body != b"null"
}

fn revoke(database: &Database, arguments: &[&str]) -> Answer {
    let mut all = vec!["session", "revoke"];
    all.extend(arguments);
    run(database, &all, "")
}

#[test]
fn sessions_are_ended_one_by_one_by_user_or_all() {
    let database = installed("session", PLAIN);
    let server = serve(&database);
    for email in ["ada@example.com", "bob@example.com"] {
        create(&database, email);
    }
    assert_eq!(run(&database, &["session", "list", "ada@example.com"], "").stderr, "narthex: no session\n");
    let (first, id) = session(&server, &database, "ada@example.com");
    let (second, _) = session(&server, &database, "ada@example.com");
    let (other, _) = session(&server, &database, "bob@example.com");
    let text = run(&database, &["session", "list", "ada@example.com"], "").result();
    assert!(text.lines().count() == 2 && text.contains(&id) && text.contains("127.0.0.1"), "{text}");

    let said = revoke(&database, &[&id, "--user", "bob@example.com"]).failure(1);
    assert!(said.contains("there is no session"), "{said}");
    assert_eq!(revoke(&database, &[&id]).result(), format!("ended the session {id}\n"));
    assert!(!is_signed_in(&server, &first) && is_signed_in(&server, &second));
    let said = revoke(&database, &["--user", "ada@example.com"]).result();
    assert_eq!(said, "ended all sessions of ada@example.com\n");
    assert!(!is_signed_in(&server, &second) && is_signed_in(&server, &other));
    assert!(revoke(&database, &["--all"]).failure(2).contains("--yes"));
    assert!(is_signed_in(&server, &other));
    assert_eq!(revoke(&database, &["--all", "--yes"]).result(), "ended all sessions\n");
    assert!(!is_signed_in(&server, &other));
    assert_eq!(revoke(&database, &[]).code, Some(2));
}

#[test]
fn it_is_said_how_long_browsers_may_remember_a_session() {
    let database =
        installed("session_cache", &format!("{PLAIN}[session.cookie-cache]\nenabled = true\nmax-age = 60\n"));
    create(&database, "ada@example.com");
    let answer = revoke(&database, &["--user", "ada@example.com"]);
    assert_eq!(
        answer.stderr,
        "narthex: browsers may go on with what their cookies remember for 60 seconds (session.cookie-cache.max-age)\n"
    );
    answer.result();
}

#[test]
fn sessions_in_redis_are_ended_too() {
    let database = Database::chosen("session_redis");
    let _redis = Redis::start(database.folder());
    let url = format!("unix://{}", database.folder().join("socket").display());
    configure(&database, &format!("{PLAIN}[secondary-storage]\nurl = {url:?}\n"));
    run(&database, &["migrate"], "").result();
    let server = serve(&database);
    create(&database, "ada@example.com");
    let (first, id) = session(&server, &database, "ada@example.com");
    let (second, _) = session(&server, &database, "ada@example.com");
    assert!(revoke(&database, &[&id]).failure(2).contains("--user"));
    revoke(&database, &[&id, "--user", "ada@example.com"]).result();
    assert!(!is_signed_in(&server, &first) && is_signed_in(&server, &second));
    revoke(&database, &["--all", "--yes"]).result();
    assert!(!is_signed_in(&server, &second));
    let (third, _) = session(&server, &database, "ada@example.com");
    run(&database, &["user", "delete", "ada@example.com", "--yes"], "").result();
    assert!(!is_signed_in(&server, &third));
}
