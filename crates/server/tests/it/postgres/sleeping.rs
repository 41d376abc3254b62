//! Databases that go to sleep while nobody needs them, and connections that end meanwhile.

use super::{cluster::Cluster, proxy::Proxy, serve, wait_until};
use crate::client::{get, get_session, sign_in, sign_out, sign_up};
use std::{thread::sleep, time::Duration};
use tempfile::TempDir;

#[test]
fn nothing_is_asked_while_nobody_asks() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let folder = TempDir::new().unwrap();
    let server = serve(&folder, &cluster.url(), "");
    assert_eq!(server.connect().exchange(&sign_up("ada@example.com")).status, 200);
    assert!(cluster.connections() > 0);
    let asked = || {
        cluster.ask(
            "select pid || ' ' || state_change from pg_stat_activity where application_name = 'narthex' order by 1",
        )
    };
    let before = asked();
    // The chance to be wrong.
    sleep(Duration::from_secs(3));
    assert_eq!(asked(), before);
}

#[test]
fn connections_that_nobody_uses_are_closed_and_made_again() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let folder = TempDir::new().unwrap();
    let server = serve(&folder, &format!("{}?max_idle_connection_lifetime=1", cluster.url()), "");
    let cookie = server.connect().exchange(&sign_up("ada@example.com")).cookie();
    wait_until("no connection is left", || cluster.connections() == 0);
    for request in [get_session(&cookie), sign_up("bob@example.com")] {
        assert_eq!(server.connect().exchange(&request).status, 200, "{}", server.log());
        wait_until("no connection is left", || cluster.connections() == 0);
    }
    assert_eq!(server.status_of("/ready"), 200);
}

/// Reads of one row and of many, single writes and transactions: each finds its connection closed.
#[test]
fn whatever_comes_first_after_all_connections_were_cut_succeeds() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let folder = TempDir::new().unwrap();
    // Requests are counted by a single write, before anything else is done.
    let counted = "[rate-limit]\nenabled = true\nstorage = \"database\"\nmax = 100000\n\
                   [rate-limit.custom-rules]\n\"/**\" = { window = 10, max = 100000 }\n";
    for (round, configuration) in ["", counted].into_iter().enumerate() {
        let server = serve(&folder, &cluster.url(), configuration);
        let email = |number: usize| format!("user-{round}-{number}@example.com");
        assert_eq!(server.connect().exchange(&sign_up(&email(0))).status, 200);
        for number in 1..=8 {
            let cookie = server.connect().exchange(&sign_in(&email(0), "correct horse")).cookie();
            let requests = [
                get_session(&cookie),
                get("/api/auth/list-sessions", &cookie),
                sign_up(&email(number)),
                sign_in(&email(0), "correct horse"),
                sign_out(&cookie),
            ];
            for request in requests {
                // Several at once, so that there are several connections to be cut.
                let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
                for client in &mut clients {
                    client.send(&get_session(&cookie)).unwrap();
                }
                for client in &mut clients {
                    assert_eq!(client.receive().unwrap().status, 200);
                }
                assert!(cluster.cut_connections() > 0);
                let reply = server.connect().exchange(&request);
                let request = String::from_utf8_lossy(&request);
                assert_eq!(reply.status, 200, "{}: {}", request.lines().next().unwrap(), server.log());
            }
        }
        assert!(server.stop().success());
    }
}

#[test]
fn connections_that_a_router_has_dropped_without_a_word_are_given_up() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let proxy = Proxy::to(cluster.port);
    let folder = TempDir::new().unwrap();
    let server = serve(&folder, &proxy.url(), "");
    let cookie = server.connect().exchange(&sign_up("ada@example.com")).cookie();
    proxy.swallow();
    // On the connections that are there nothing is answered any more, on new ones neither.
    for request in [get_session(&cookie), sign_up("bob@example.com"), get("/ready", "")] {
        let reply = server.connect().exchange(&request);
        assert_eq!(reply.status, 503, "{}", server.log());
    }
    proxy.pass();
    wait_until("it is ready again", || server.status_of("/ready") == 200);
    for request in [get_session(&cookie), sign_up("eve@example.com")] {
        assert_eq!(server.connect().exchange(&request).status, 200, "{}", server.log());
    }
}
