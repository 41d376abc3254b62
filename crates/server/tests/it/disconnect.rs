//! Clients that leave in the middle, and processes that write beside the server.

use super::{
    client::{get_session, sign_out, sign_up},
    database::Database,
    server::{QUICK, Server, command, wait_for},
};
use std::{fs, thread::sleep, time::Duration};

/// Long enough for the server to have read what was sent and to have come to wait for the database.
const UNTIL_IT_WAITS: Duration = Duration::from_millis(200);

#[test]
fn connections_cut_at_random_leave_no_half_user() {
    let database = Database::chosen("cut");
    fs::write(database.folder().join("narthex.toml"), QUICK).unwrap();
    let mut command = command(database.folder());
    command.args(["--database", &database.url()]);
    let server = Server::spawn(command, database.folder());

    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % u64::try_from(below).unwrap()).unwrap()
    };
    for number in 0..300 {
        let request = sign_up(&format!("user-{number}@example.com"));
        // Half of them within the request, the others while it is worked on.
        let sent = if next(2) == 0 { next(request.len()) } else { request.len() };
        let mut client = server.connect();
        client.send(&request[..sent]).unwrap();
        sleep(Duration::from_micros(u64::try_from(next(4000)).unwrap()));
        client.cut();
    }
    // Whoever comes after them is served, and after that nothing is left to do.
    assert_eq!(server.connect().exchange(&sign_up("last@example.com")).status, 200);
    let count = |table: &str| database.number(&format!("select count(*) from \"{table}\""));
    wait_for(|| {
        let before = count("user");
        sleep(Duration::from_millis(100));
        before == count("user")
    });
    let complete = "select count(*) from \"user\" where \
                    (select count(*) from account where account.\"userId\" = \"user\".id and account.password is not null) = 1 and \
                    (select count(*) from session where session.\"userId\" = \"user\".id) = 1";
    let users = count("user");
    assert_eq!((database.number(complete), count("account"), count("session")), (users, users, users));
    assert!((20..290).contains(&users), "{users} users: the cuts were not spread over the work");
}

#[test]
fn a_sign_up_whose_client_left_is_completed() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), QUICK);
    let lock = database.open();
    lock.execute_batch("begin immediate").unwrap();
    let hashed = server.hashing_so_far();
    let mut clients: Vec<_> = (0..60).map(|_| server.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&sign_up(&format!("user-{number}@example.com"))).unwrap();
    }
    server.wait_until_hashed(hashed);
    clients.into_iter().for_each(super::client::Client::cut);
    sleep(UNTIL_IT_WAITS);
    lock.execute_batch("rollback").unwrap();
    wait_for(|| database.number("select count(*) from session") == 60);
    assert_eq!(database.number("select count(*) from account where password is not null"), 60);
}

#[test]
fn a_sign_out_whose_client_left_is_completed() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), QUICK);
    let cookie = server.connect().exchange(&sign_up("ada@example.com")).cookie();
    let lock = database.open();
    lock.execute_batch("begin immediate").unwrap();
    let mut client = server.connect();
    client.send(&sign_out(&cookie)).unwrap();
    sleep(UNTIL_IT_WAITS);
    client.cut();
    sleep(UNTIL_IT_WAITS);
    assert_eq!(database.number("select count(*) from session"), 1, "the lock did not hold it up");
    lock.execute_batch("rollback").unwrap();
    wait_for(|| database.number("select count(*) from session") == 0);
    assert_eq!(server.connect().exchange(&get_session(&cookie)).body, b"null");
}

#[test]
fn a_renewal_whose_client_left_holds_nobody_up() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), QUICK);
    let cookie = server.connect().exchange(&sign_up("ada@example.com")).cookie();
    let renewed =
        "select cast((julianday(updatedAt) - julianday(createdAt)) * 86400000 + 0.5 as integer) from session";
    assert_eq!(database.number(renewed), 0);
    let lock = database.open();
    lock.execute_batch("begin immediate").unwrap();
    let mut clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(&get_session(&cookie)).unwrap();
    }
    sleep(UNTIL_IT_WAITS);
    clients.into_iter().for_each(super::client::Client::cut);
    sleep(UNTIL_IT_WAITS);
    lock.execute_batch("rollback").unwrap();
    let lifetime =
        "select cast((julianday(expiresAt) - julianday(updatedAt)) * 86400 + 0.5 as integer) from session";
    assert_eq!(database.number(lifetime), 604_800, "renewed by half");
    let reply = server.connect().exchange(&get_session(&cookie));
    assert_eq!((reply.status, &reply.json()["user"]["email"]), (200, &"ada@example.com".into()));
    assert!(database.number(renewed) >= 400, "the next look renews it");
    assert_eq!(database.number(lifetime), 604_800);
}

#[test]
fn what_another_process_writes_is_seen_at_once() {
    let database = Database::sqlite();
    let server = Server::start(database.folder(), &QUICK.replace("update-age = 0", ""));
    let mut client = server.connect();
    let cookie = client.exchange(&sign_up("ada@example.com")).cookie();
    let other = database.open();
    for number in 0..100 {
        let name = format!("Ada {number}");
        other.execute("update user set name = ?1", [&name]).unwrap();
        assert_eq!(client.exchange(&get_session(&cookie)).json()["user"]["name"], *name);
    }
}
