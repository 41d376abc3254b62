//! PostgreSQL as it is found: behind a pooler, encrypted, on several hosts, restarted, gone, or hanging.
//!
//! Each test has a cluster of its own, which it may stop. They run where `TEST_DATABASE` says that PostgreSQL is there.

mod cluster;
mod copy;
mod encrypted;
mod outage;
mod pooler;
mod proxy;
mod sleeping;

use super::server::{QUICK, Server, command};
use std::{
    fs,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A server on this database, with this in its file, in a folder that lives as long as the caller wants.
fn serve(folder: &TempDir, url: &str, configuration: &str) -> Server {
    Server::spawn(command_on(folder, url, configuration), folder.path())
}

fn command_on(folder: &TempDir, url: &str, configuration: &str) -> Command {
    fs::write(folder.path().join("narthex.toml"), format!("{QUICK}{configuration}")).unwrap();
    let mut command = command(folder.path());
    command.args(["--database", url]);
    command
}

/// What a server says that cannot start, and how it ends.
fn refusal(url: &str) -> (String, Option<i32>) {
    let folder = TempDir::new().unwrap();
    let output = command_on(&folder, url, "").args(["--listen", "127.0.0.1:0"]).output().unwrap();
    (String::from_utf8_lossy(&output.stderr).into_owned(), output.status.code())
}

/// Waits until something is so.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within a minute");
        sleep(Duration::from_millis(50));
    }
}
