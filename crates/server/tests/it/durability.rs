//! What was answered is on the disk, and many answers share a sync.

use super::{
    client::sign_up,
    database::Database,
    server::{QUICK, Server, traced_command},
    trace,
};
use std::{
    fs,
    time::{Duration, Instant},
};

#[test]
fn no_reply_leaves_before_its_commit_is_synced() {
    let database = Database::sqlite();
    fs::write(database.folder().join("narthex.toml"), QUICK).unwrap();
    let calls = "fdatasync,fsync,pwrite64,write,writev,sendto,sendmsg";
    let server = Server::spawn(traced_command(database.folder(), calls), database.folder());

    let mut client = server.connect();
    for number in 0..10 {
        assert_eq!(client.exchange(&sign_up(&format!("alone-{number}@example.com"))).status, 200);
    }
    let mut clients: Vec<_> = (0..60).map(|_| server.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&sign_up(&format!("crowd-{number}@example.com"))).unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.receive().unwrap().status, 200);
    }
    drop((client, clients));
    assert!(server.stop().success());

    let trace = fs::read_to_string(database.folder().join("trace")).unwrap();
    assert_eq!(trace::check(&trace), Ok(70));
}

#[test]
fn five_hundred_waiting_sign_ups_take_fewer_than_25_syncs() {
    // A queue that has room for all of them, whatever the number of hashing threads.
    let configuration = QUICK.replace("bcrypt-cost = 4", "bcrypt-cost = 4\nqueue = 1000");
    let mut attempts = 0;
    let (syncs, statuses) = loop {
        attempts += 1;
        if let Some(outcome) = syncs_of_waiting_sign_ups(&configuration) {
            break outcome;
        }
        assert!(attempts < 3, "this machine hashes 500 passwords of cost 4 in no less than four seconds");
    };
    assert_eq!(statuses, [200; 500]);
    assert!(syncs < 25, "{syncs} syncs");
}

/// `None` when the machine was so busy that the sign-ups had waited too long for the database.
fn syncs_of_waiting_sign_ups(configuration: &str) -> Option<(usize, Vec<u16>)> {
    let database = Database::sqlite();
    fs::write(database.folder().join("narthex.toml"), configuration).unwrap();
    let server = Server::spawn(traced_command(database.folder(), "fdatasync,fsync"), database.folder());
    let mut clients: Vec<_> = (0..500).map(|_| server.connect()).collect();
    let synced = |trace: &str| trace::calls(trace).iter().filter(|call| call.is_sync()).count();
    let trace = database.folder().join("trace");
    let before = synced(&fs::read_to_string(&trace).unwrap());

    let lock = database.open();
    lock.execute_batch("begin immediate").unwrap();
    let hashed = server.hashing_so_far();
    let begun = Instant::now();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&sign_up(&format!("user-{number}@example.com"))).unwrap();
    }
    server.wait_until_hashed(hashed);
    let held = begun.elapsed();
    lock.execute_batch("rollback").unwrap();
    let statuses = clients.iter_mut().map(|client| client.receive().unwrap().status).collect();
    drop(clients);
    assert!(server.stop().success());
    let after = synced(&fs::read_to_string(&trace).unwrap());
    (held < Duration::from_secs(4)).then_some((after - before, statuses))
}
