//! A database that restarts, is elsewhere, has too few connections, or says nothing.

use super::{
    cluster::{Cluster, free_port},
    command_on,
    proxy::Proxy,
    refusal, serve, wait_until,
};
use crate::{
    client::{Reply, get, get_session, sign_in, sign_up},
    metrics::{Scraped, measured},
    server::Server,
};
use serde_json::json;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};
use tempfile::TempDir;

fn assert_busy(reply: &Reply) {
    assert_eq!(reply.status, 503);
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(
        reply.json(),
        json!({ "message": "The server is busy. Try again shortly.", "code": "SERVICE_UNAVAILABLE" })
    );
}

#[test]
fn a_database_that_restarts_under_load_is_waited_for() {
    let Some(mut cluster) = Cluster::start(&[]) else { return };
    let folder = TempDir::new().unwrap();
    let server = serve(&folder, &cluster.url(), "");
    let cookie = server.connect().exchange(&sign_up("ada@example.com")).cookie();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let load: Vec<_> = (0..6)
            .map(|number| {
                let (server, cookie, is_over) = (&server, &cookie, &is_over);
                scope.spawn(move || {
                    let mut statuses = [0; 2];
                    let mut client = server.connect();
                    let mut turn = 0;
                    while !is_over.load(Ordering::SeqCst) {
                        turn += 1;
                        let reply = if turn % 3 == 0 {
                            client.exchange(&sign_up(&format!("user-{number}-{turn}@example.com")))
                        } else {
                            client.exchange(&get_session(cookie))
                        };
                        match reply.status {
                            200 => statuses[0] += 1,
                            503 => {
                                assert_busy(&reply);
                                statuses[1] += 1;
                            }
                            other => panic!("{other}: {}", server.log()),
                        }
                    }
                    statuses
                })
            })
            .collect();
        for _ in 0..2 {
            cluster.stop();
            wait_until("it says that it is not ready", || server.status_of("/ready") == 503);
            assert_eq!(server.status_of("/health"), 200);
            assert_busy(&server.connect().exchange(&get_session(&cookie)));
            assert_busy(&server.connect().exchange(&sign_in("ada@example.com", "correct horse")));
            cluster.resume();
            wait_until("it is ready again", || server.status_of("/ready") == 200);
            assert_eq!(server.connect().exchange(&get_session(&cookie)).status, 200);
        }
        is_over.store(true, Ordering::SeqCst);
        let served: [u32; 2] = load.into_iter().fold([0, 0], |sum, thread| {
            let statuses = thread.join().unwrap();
            [sum[0] + statuses[0], sum[1] + statuses[1]]
        });
        assert!(served.iter().all(|count| *count > 0), "{served:?}");
    });
    // What was acknowledged is there, whole.
    let orphans =
        "select id from \"user\" where not exists (select 1 from account where \"userId\" = \"user\".id)";
    assert!(cluster.ask(orphans).is_empty());
}

#[test]
fn metrics_are_there_while_the_database_is_not_and_say_so() {
    const REACHABLE: &str = "narthex_database_reachable";
    const UNAVAILABLE: &str = r#"narthex_database_errors_total{kind="unavailable"}"#;
    let Some(mut cluster) = Cluster::start(&[]) else { return };
    let folder = TempDir::new().unwrap();
    let server = Server::spawn(measured(command_on(&folder, &cluster.url(), "")), folder.path());
    let reached = |server: &Server| {
        let scraped = Scraped::of(server);
        (scraped.get(REACHABLE), scraped.get(UNAVAILABLE))
    };
    assert_eq!(reached(&server), (Some(1.0), Some(0.0)));
    cluster.stop();
    assert_eq!(server.status_of("/ready"), 503);
    let (reachable, failures) = reached(&server);
    assert_eq!(reachable, Some(0.0));
    assert!(failures >= Some(1.0), "{failures:?}");
    cluster.resume();
    wait_until("it is ready again", || server.status_of("/ready") == 200);
    assert_eq!(reached(&server).0, Some(1.0));
}

#[test]
fn a_host_that_refuses_or_says_nothing_is_passed_over() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let silent = Proxy::to(cluster.port);
    silent.swallow();
    let hosts = format!("127.0.0.1:{},127.0.0.1:{},127.0.0.1:{}", free_port(), silent.port, cluster.port);
    let folder = TempDir::new().unwrap();
    let server = serve(&folder, &format!("postgres://postgres@{hosts}/postgres?connect_timeout=1"), "");
    assert_eq!(server.connect().exchange(&sign_up("ada@example.com")).status, 200, "{}", server.log());
}

#[test]
fn writes_go_to_the_host_that_takes_them() {
    let Some(first) = Cluster::start(&[]) else { return };
    let Some(second) = Cluster::start(&[]) else { return };
    let demote = |cluster: &Cluster, is_standby: &str| {
        cluster.ask(&format!("alter system set default_transaction_read_only = {is_standby}"));
        cluster.ask("select pg_reload_conf()");
        wait_until("it has noticed", || cluster.ask("show default_transaction_read_only") == [is_standby]);
    };
    demote(&first, "on");
    let folder = TempDir::new().unwrap();
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", first.port, second.port);
    let server = serve(&folder, &format!("postgres://postgres@{hosts}/postgres"), "");
    assert_eq!(server.connect().exchange(&sign_up("ada@example.com")).status, 200, "{}", server.log());
    assert_eq!(second.ask("select email from \"user\""), ["ada@example.com"]);

    // The other one takes over: here, with the tables and without what was in them.
    let definitions = second.ask(
        "select 'create table \"' || relname || '\" (' || string_agg(format('%I %s', attname, \
         format_type(atttypid, atttypmod)), ', ' order by attnum) || ', unique (id))' from pg_class \
         join pg_attribute on attrelid = pg_class.oid where relkind = 'r' and attnum > 0 \
         and relnamespace = 'public'::regnamespace group by relname",
    );
    assert!(definitions.len() >= 4, "{definitions:?}");
    for definition in definitions {
        first.ask(&format!("begin read write; {definition}; commit"));
    }
    demote(&first, "off");
    demote(&second, "on");
    let mut number = 0;
    wait_until("the other host is found", || {
        number += 1;
        assert!(number < 60, "{}", server.log());
        let reply = server.connect().exchange(&sign_up(&format!("user-{number}@example.com")));
        if reply.status != 200 {
            assert_busy(&reply);
        }
        reply.status == 200
    });
    assert_eq!(first.ask("select email from \"user\""), [format!("user-{number}@example.com")]);
}

#[test]
fn a_socket_is_a_host() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let folder = TempDir::new().unwrap();
    let url = format!(
        "postgres:///postgres?host={}&port={}&user=postgres",
        cluster.socket().display(),
        cluster.port
    );
    let server = serve(&folder, &url, "");
    assert_eq!(server.connect().exchange(&sign_up("ada@example.com")).status, 200);
    let by_address =
        "select pid from pg_stat_activity where application_name = 'narthex' and client_addr is not null";
    assert!(cluster.connections() > 0 && cluster.ask(by_address).is_empty());
}

#[test]
fn whoever_waits_for_a_connection_waits_for_a_bounded_time() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let folder = TempDir::new().unwrap();
    let url = format!("{}?pool_timeout=1", cluster.url());
    let server = serve(&folder, &url, "[database]\npool-size = 2\n");
    let cookie = server.connect().exchange(&sign_up("ada@example.com")).cookie();
    assert!(cluster.connections() <= 2, "two were allowed");
    let held = cluster.hold("lock table account in exclusive mode");
    let mut clients: Vec<_> = (0..6).map(|_| server.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&sign_up(&format!("user-{number}@example.com"))).unwrap();
    }
    // Meanwhile sessions are read on the other connection.
    let reading = get("/api/auth/get-session?disableRefresh=true", &cookie);
    assert_eq!(server.connect().exchange(&reading).json()["user"]["email"], "ada@example.com");
    for client in &mut clients {
        assert_busy(&client.receive().unwrap());
    }
    drop(held);
    wait_until("the next one is served", || {
        server.connect().exchange(&sign_up("next@example.com")).status == 200
    });
    assert!(cluster.connections() <= 2, "two were allowed");
}

#[test]
fn a_server_that_cannot_be_reached_at_start_is_named_without_its_password() {
    if Cluster::start(&[]).is_none() {
        return;
    }
    let port = free_port();
    let (said, code) = refusal(&format!("postgres://ada:gEh3im@127.0.0.1:{port}/db"));
    assert_eq!(code, Some(1), "{said}");
    let told = format!(
        "database.url = \"postgres://ada:***@127.0.0.1:{port}/db\": the database cannot be reached: 127.0.0.1:{port}: "
    );
    assert!(said.contains(&told), "{said}");
    assert!(said.contains("refused"), "{said}");
    let silent = Proxy::to(port);
    silent.swallow();
    let (said, code) = refusal(&format!("{}?connect_timeout=1", silent.url()));
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains(&format!("127.0.0.1:{}: no answer within 1 s; connect_timeout", silent.port)),
        "{said}"
    );
    assert!(!said.contains("gEh3im"), "{said}");
    let (said, code) = refusal("postgres://ada:gEh3im@127.0.0.1/db?sslmode=strict&nonsense=1");
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("sslmode=strict: must be") && said.contains("nonsense: there is no such"),
        "{said}"
    );
    assert!(!said.contains("gEh3im"), "{said}");
}
