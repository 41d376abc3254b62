//! `narthex copy` where something stands in between, or ends it.

use super::{cluster::Cluster, pooler::Pooler, wait_until};
use crate::{
    client::sign_up,
    copy::copy,
    server::{QUICK, Server, narthex},
};
use std::{fs, process::Stdio};
use tempfile::TempDir;

/// A folder with a configuration and a database with three users, and the database's URL.
fn first() -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), QUICK);
    for number in 0..3 {
        assert_eq!(server.connect().exchange(&sign_up(&format!("user-{number}@example.com"))).status, 200);
    }
    server.stop();
    let url = format!("sqlite://{}", folder.path().join("narthex.db").display());
    (folder, url)
}

fn migrate(folder: &TempDir, url: &str) {
    let output = narthex(folder.path()).args(["migrate", "--database", url]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A trigger that runs this for each row that an account gets.
fn trigger(cluster: &Cluster, body: &str) {
    cluster.ask(&format!(
        "create function meddle() returns trigger language plpgsql as $$ begin {body}; return new; end $$;
        create trigger meddle before insert on \"account\" for each row execute function meddle()"
    ));
}

#[test]
fn a_copy_goes_there_and_back_through_a_pooler() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let pooler = Pooler::before(&cluster);
    let (folder, first) = first();
    let (url, second) =
        (pooler.url("?pgbouncer=true"), format!("sqlite://{}", folder.path().join("second.db").display()));
    let (code, there, told) = copy(folder.path(), &first, &url, &[]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(cluster.ask("select count(*) from \"user\""), ["3"]);
    let (code, back, told) = copy(folder.path(), &url, &second, &[]);
    assert_eq!((code, back), (Some(0), there), "{told}");
    assert_eq!(pooler.named_statements(), 0);
}

#[test]
fn a_copy_that_is_killed_leaves_no_row() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let (folder, first) = first();
    migrate(&folder, &cluster.url());
    trigger(&cluster, "perform pg_advisory_xact_lock(42)");
    let held = cluster.hold("select pg_advisory_xact_lock(42)");
    let mut command = narthex(folder.path());
    command.args(["copy", "--from", &first, "--to", &cluster.url()]).stderr(Stdio::null());
    let mut copying = command.spawn().unwrap();
    let waiting = "select 1 from pg_locks where locktype = 'advisory' and not granted";
    wait_until("the copy is at its accounts", || !cluster.ask(waiting).is_empty());
    copying.kill().unwrap();
    copying.wait().unwrap();
    drop(held);
    wait_until("the server has noticed", || cluster.connections() == 0);
    for table in ["user", "session", "account"] {
        assert_eq!(cluster.ask(&format!("select count(*) from \"{table}\"")), ["0"], "{table}");
    }
    cluster.ask("drop trigger meddle on \"account\"");
    let (code, _, told) = copy(folder.path(), &first, &cluster.url(), &[]);
    assert_eq!(code, Some(0), "and does not stand in the way of another: {told}");
}

#[test]
fn limits_that_are_for_requests_do_not_end_a_copy() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let (folder, first) = first();
    migrate(&folder, &cluster.url());
    cluster.ask("alter role postgres set statement_timeout = '1h'");
    cluster.ask("alter role postgres set idle_in_transaction_session_timeout = '1h'");
    let limits = ["statement_timeout", "idle_in_transaction_session_timeout"];
    let limited = limits.map(|limit| format!("current_setting('{limit}') <> '0'")).join(" or ");
    trigger(&cluster, &format!("if {limited} then raise 'there is a limit'; end if"));
    let (code, _, told) = copy(folder.path(), &first, &cluster.url(), &[]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(cluster.ask("show statement_timeout"), ["1h"], "others keep theirs");
}

#[test]
fn tables_are_copied_out_of_the_schema_that_the_operator_names_and_into_it() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let (folder, first) = first();
    fs::write(folder.path().join("narthex.toml"), format!("{QUICK}\n[database]\nschema = \"auth\"\n"))
        .unwrap();
    let (code, there, told) = copy(folder.path(), &first, &cluster.url(), &[]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(cluster.ask("select count(*) from auth.\"user\""), ["3"]);
    let second = format!("sqlite://{}", folder.path().join("second.db").display());
    let (code, back, told) = copy(folder.path(), &cluster.url(), &second, &[]);
    assert_eq!((code, back), (Some(0), there), "{told}");
}

/// Somebody who writes to the target would write to what is being copied.
#[test]
fn a_target_that_somebody_writes_to_is_busy() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let (folder, first) = first();
    migrate(&folder, &cluster.url());
    let _held = cluster.hold("lock table \"verification\" in row exclusive mode");
    let (code, _, told) = copy(folder.path(), &first, &cluster.url(), &[]);
    assert_eq!(code, Some(1));
    assert_eq!(
        told,
        "narthex: something else writes to the target; stop what is served from it, then copy again\n"
    );
}
