//! SQLite's file: held by another program, on a full disk, on a disk that fails.

use super::{
    super::{
        client::{Client, post, sign_up},
        crash,
        database::Database,
        server::{QUICK, Server, command, failing_command, through},
        trace,
    },
    PLAIN, assert_busy, logged, new_user, serve, signed_in,
};
use rustix::process::{Resource, Rlimit, Signal, prlimit};
use serde_json::json;
use std::{collections::HashSet, fs, thread::sleep, time::Duration};

/// Long enough for the server to have read what was sent and to have come to wait for the database.
const UNTIL_IT_WAITS: Duration = Duration::from_millis(150);

/// What `trace::check` has to see.
const CALLS: &str = "fdatasync,fsync,pwrite64,write,writev,sendto,sendmsg";

fn rename(cookie: &str, name: &str) -> Vec<u8> {
    post("/api/auth/update-user", cookie, &json!({ "name": name }))
}

fn length_of_log(database: &Database) -> u64 {
    fs::metadata(database.folder().join("narthex.db-wal")).map_or(0, |log| log.len())
}

#[test]
fn writes_wait_in_order_for_another_program_and_are_then_told_to_come_back() {
    let database = Database::sqlite();
    let server = serve(&database, PLAIN);
    let cookie = new_user(&server, "ada@example.com");
    database.execute(
        "create table audit (number integer primary key, name text); \
         create trigger audited after update on user begin insert into audit (name) values (new.name); end",
    );
    let lock = database.open();
    let held_while_sent = |names: &[&str]| {
        lock.execute_batch("begin immediate").unwrap();
        let clients = names.iter().map(|name| {
            let mut client = server.connect();
            client.send(&rename(&cookie, name)).unwrap();
            sleep(UNTIL_IT_WAITS);
            client
        });
        let clients: Vec<Client> = clients.collect();
        assert_eq!(signed_in(&server, &cookie).as_deref(), Some("ada@example.com"), "reads go on");
        clients
    };

    let mut clients = held_while_sent(&["a", "b", "c", "d", "e"]);
    lock.execute_batch("rollback").unwrap();
    for client in &mut clients {
        assert_eq!(client.receive().unwrap().status, 200, "{}", server.log());
    }
    let in_order =
        "select (select group_concat(name, '') from (select name from audit order by number)) = 'abcde'";
    assert_eq!(database.number(in_order), 1);

    let mut clients = held_while_sent(&["f", "g", "h"]);
    for client in &mut clients {
        assert_busy(&client.receive().unwrap());
    }
    assert_eq!(signed_in(&server, &cookie).as_deref(), Some("ada@example.com"), "reads go on");
    lock.execute_batch("rollback").unwrap();
    assert_eq!(server.connect().exchange(&rename(&cookie, "i")).status, 200);
    assert_eq!(database.number("select count(*) from audit"), 6);
}

/// A limit on the size of files stands for the end of the disk: the kernel refuses what would lie beyond it.
#[test]
fn a_full_disk_refuses_writes_keeps_what_was_acknowledged_and_recovers() {
    let database = Database::sqlite();
    fs::write(database.folder().join("narthex.toml"), QUICK).unwrap();
    let ignoring = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];
    let server = Server::spawn(through(&ignoring, &command(database.folder())), database.folder());
    let limit = |length| {
        let limit = Rlimit { current: length, maximum: None };
        prlimit(Some(server.process()), Resource::Fsize, limit).unwrap();
    };
    let mut acknowledged = HashSet::new();
    for round in 0..3 {
        let before = format!("before-{round}@example.com");
        let cookie = new_user(&server, &before);
        // A part of a transaction's pages has room in the second and third round.
        limit(Some(length_of_log(&database) + round * 9_000));
        let refused: Vec<_> = (0..10).map(|number| format!("during-{round}-{number}@example.com")).collect();
        assert_busy(&server.connect().exchange(&sign_up(&refused[0])));
        let mut clients: Vec<_> = refused.iter().map(|_| server.connect()).collect();
        for (client, address) in clients.iter_mut().zip(&refused) {
            client.send(&sign_up(address)).unwrap();
        }
        for client in &mut clients {
            assert_busy(&client.receive().unwrap());
        }
        // It is due to be renewed, which cannot be written in the first round.
        assert_eq!(signed_in(&server, &cookie).as_ref(), Some(&before));
        if round == 0 {
            assert_busy(&server.connect().exchange(&rename(&cookie, "Ada L.")));
            logged(&server, "a session could not be renewed");
        }
        assert_eq!(server.status_of("/ready"), 200);
        limit(None);
        for address in &refused {
            new_user(&server, address);
        }
        assert_eq!(signed_in(&server, &cookie).as_ref(), Some(&before));
        acknowledged.insert(before);
        acknowledged.extend(refused);
        crash::check(&database, &acknowledged);
    }
    logged(&server, "disk I/O error");
    assert!(server.stop().success());
    crash::check(&database, &acknowledged);
    assert_eq!(database.number("select count(*) from user"), 33);
}

#[test]
fn what_is_acknowledged_is_on_a_disk_that_fails_now_and_then() {
    let database = Database::sqlite();
    assert!(serve(&database, PLAIN).stop().success());
    // Each thread has its own count of calls.
    let faults =
        ["-e", "inject=fdatasync,fsync:error=EIO:when=2+3", "-e", "inject=pwrite64:error=ENOSPC:when=90+170"];
    let server = Server::spawn(failing_command(database.folder(), CALLS, &faults), database.folder());
    let (mut acknowledged, mut refused) = (HashSet::new(), 0);
    for round in 0..30 {
        let addresses: Vec<_> = (0..5).map(|number| format!("user-{round}-{number}@example.com")).collect();
        let mut clients: Vec<_> = addresses.iter().map(|_| server.connect()).collect();
        for (client, address) in clients.iter_mut().zip(&addresses) {
            client.send(&sign_up(address)).unwrap();
        }
        for (client, address) in clients.iter_mut().zip(addresses) {
            let reply = client.receive().unwrap();
            if reply.status == 200 {
                acknowledged.insert(address);
            } else {
                assert_busy(&reply);
                refused += 1;
            }
        }
    }
    assert!(refused > 0 && acknowledged.len() > 10, "{refused} refused, {} acknowledged", acknowledged.len());
    logged(&server, "disk I/O error");
    logged(&server, "database or disk is full");
    server.signal(Signal::KILL);
    assert!(!server.wait().success());

    let trace = fs::read_to_string(database.folder().join("trace")).unwrap();
    assert_eq!(trace::check(&trace), Ok(acknowledged.len()));
    let server = serve(&database, PLAIN);
    crash::check(&database, &acknowledged);
    new_user(&server, "afterwards@example.com");
}

#[test]
fn while_no_sync_succeeds_nothing_is_acknowledged_and_sessions_go_on() {
    let database = Database::sqlite();
    let server = serve(&database, QUICK);
    let cookie = new_user(&server, "ada@example.com");
    assert!(server.stop().success());

    let faults = ["-e", "inject=fdatasync,fsync:error=EIO"];
    let server =
        Server::spawn(failing_command(database.folder(), "fdatasync,fsync", &faults), database.folder());
    let addresses: Vec<_> = (0..10).map(|number| format!("user-{number}@example.com")).collect();
    let mut clients: Vec<_> = addresses.iter().map(|_| server.connect()).collect();
    for (client, address) in clients.iter_mut().zip(&addresses) {
        client.send(&sign_up(address)).unwrap();
    }
    for client in &mut clients {
        assert_busy(&client.receive().unwrap());
    }
    assert_busy(&server.connect().exchange(&rename(&cookie, "Ada L.")));
    assert_eq!(signed_in(&server, &cookie).as_deref(), Some("ada@example.com"));
    logged(&server, "SQLite could not commit");
    assert!(server.stop().success());

    let server = serve(&database, QUICK);
    assert_eq!(database.number("select count(*) from user where name = 'Ada'"), 1);
    assert_eq!(database.number("select count(*) from user"), 1);
    for address in &addresses {
        new_user(&server, address);
    }
    assert_eq!(signed_in(&server, &cookie).as_deref(), Some("ada@example.com"));
}

/// After a sync that failed the kernel takes the pages for written: that the next sync succeeds says nothing.
#[test]
fn a_log_that_could_not_be_folded_into_the_database_is_kept_until_the_next_start() {
    const TOLD: &str = "check the disk, then restart";
    let database = Database::sqlite();
    assert!(serve(&database, PLAIN).stop().success());
    let file = database.file();
    // Of the database itself, not of its log; once on each thread.
    let faults = ["-P", file.to_str().unwrap(), "-e", "inject=fdatasync,fsync:error=EIO:when=1"];
    let server =
        Server::spawn(failing_command(database.folder(), "fdatasync,fsync", &faults), database.folder());
    let mut client = server.connect();
    let mut acknowledged = HashSet::new();
    let mut sign_up_another = || {
        let address = format!("user-{}@example.com", acknowledged.len());
        assert_eq!(client.exchange(&sign_up(&address)).status, 200);
        acknowledged.insert(address);
        acknowledged.len()
    };
    while !server.log().contains(TOLD) {
        assert!(sign_up_another() < 1_000, "{}", server.log());
    }
    let length = length_of_log(&database);
    assert!(length > 4 << 20, "{length}");
    for _ in 0..20 {
        sign_up_another();
    }
    assert!(length_of_log(&database) > length, "the log is written anew from its beginning");
    assert_eq!(server.log().matches(TOLD).count(), 1, "{}", server.log());
    drop(client);
    assert!(server.stop().success());
    assert!(length_of_log(&database) > length, "what may be nowhere else was deleted");

    let server = serve(&database, PLAIN);
    crash::check(&database, &acknowledged);
    assert!(server.stop().success());
    assert_eq!(length_of_log(&database), 0);
    crash::check(&database, &acknowledged);
}
