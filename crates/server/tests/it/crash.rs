//! Killed in the middle of everything, again and again, on one database.

use super::{
    client::{Client, sign_up},
    database::Database,
    server::{QUICK, Server},
};
use rustix::process::Signal;
use std::{collections::HashSet, thread::sleep, time::Duration};

const ROUNDS: u32 = 20;
const SIGN_UPS: u32 = 200;

#[test]
fn every_acknowledged_sign_up_survives_twenty_crashes() {
    let database = Database::sqlite();
    let mut acknowledged = HashSet::new();
    for round in 0..ROUNDS {
        let server = Server::start(database.folder(), QUICK);
        acknowledged.extend(sign_up_until_killed(server, round));
        check(&database, &acknowledged);
    }
    // Half of them on average: the server was neither killed before it did anything nor after it had done everything.
    let rounds = (ROUNDS * SIGN_UPS) as usize;
    assert!((rounds / 5..rounds).contains(&acknowledged.len()), "{} acknowledged", acknowledged.len());

    let server = Server::start(database.folder(), QUICK);
    assert_eq!(server.status_of("/ready"), 200);
    assert_eq!(server.connect().exchange(&sign_up("afterwards@example.com")).status, 200);
}

/// Kills the server once a share of the sign-ups, another one in each round, has been answered. The addresses whose
/// reply has arrived as a whole, be it after the kill.
fn sign_up_until_killed(server: Server, round: u32) -> Vec<String> {
    let addresses: Vec<_> =
        (0..SIGN_UPS).map(|number| format!("user-{round}-{number}@example.com")).collect();
    let mut clients: Vec<_> = addresses.iter().map(|_| server.connect()).collect();
    for (client, address) in clients.iter_mut().zip(&addresses) {
        client.send(&sign_up(address)).unwrap();
    }
    let share = 1 + (round * SIGN_UPS / ROUNDS) as usize;
    let mut replies: Vec<_> = clients.iter_mut().take(share).map(Client::receive).collect();
    assert!(replies.iter().all(|reply| reply.as_ref().is_ok_and(|reply| reply.status == 200)), "{replies:?}");
    // At the moment of a reply, and some time after it.
    if round % 2 == 1 {
        sleep(Duration::from_micros(u64::from(round) * 137 % 2000));
    }
    server.signal(Signal::KILL);
    assert!(!server.wait().success());
    replies.extend(clients.iter_mut().skip(share).map(Client::receive));
    addresses
        .into_iter()
        .zip(replies)
        .filter_map(|(address, reply)| reply.is_ok().then_some(address))
        .collect()
}

/// Every address that was acknowledged is there, with an account and a session, and no user is there without.
pub(crate) fn check(database: &Database, acknowledged: &HashSet<String>) {
    let connection = database.open();
    let integrity: String = connection.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
    let complete = "select email from user where exists (select 1 from account where userId = user.id and password is not null) \
                    and exists (select 1 from session where userId = user.id)";
    let mut statement = connection.prepare(complete).unwrap();
    let complete: HashSet<String> =
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let lost: Vec<_> = acknowledged.difference(&complete).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let users: i64 = connection.query_row("select count(*) from user", [], |row| row.get(0)).unwrap();
    assert_eq!(usize::try_from(users).unwrap(), complete.len(), "a user without an account or a session");
}
