//! PostgreSQL closes our connections: a restart, a failover, an administrator.

use super::{
    client::{get_session, sign_up},
    database::Postgres,
    server::{QUICK, Server, command},
};
use std::fs;
use tempfile::TempDir;

#[test]
fn connections_that_postgresql_closed_are_replaced_unnoticed() {
    let Some(database) = Postgres::create("lost") else { return };
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("narthex.toml"), QUICK).unwrap();
    let mut command = command(folder.path());
    command.args(["--database", &database.url]);
    let server = Server::spawn(command, folder.path());
    let cookie = server.connect().exchange(&sign_up("first@example.com")).cookie();
    for round in 0..30 {
        // Several transactions at once, so that the pool holds several connections.
        let mut clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(&sign_up(&format!("user-{round}-{number}@example.com"))).unwrap();
        }
        for client in &mut clients {
            assert_eq!(client.receive().unwrap().status, 200, "round {round}: {}", server.log());
        }
        let mut client = server.connect();
        assert_eq!(client.exchange(&get_session(&cookie)).status, 200);
        assert!(database.cut_connections() > 1);
        // A read, then a write; in other rounds the write comes first.
        let email = format!("after-{round}@example.com");
        let requests = [get_session(&cookie), sign_up(&email)];
        for turn in 0..2 {
            let reply = client.exchange(&requests[(round + turn) % 2]);
            assert_eq!(reply.status, 200, "round {round}: {}", server.log());
        }
    }
}
