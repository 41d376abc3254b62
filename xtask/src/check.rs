//! `cargo xtask check`: the quick loop, on SQLite only.

use std::process::Command;

use crate::{
    redis,
    steps::Steps,
    tidy,
    tools::{self, Outcome, cargo, on_path, run as run_command},
};

/// Runs the quick loop.
pub(crate) fn run() -> Outcome {
    let mut steps = Steps::default();
    steps.run("tools", || tools::provide(&[redis::NEED]));
    add(&mut steps);
    steps.finish()
}

/// The steps of the quick loop, which `test` begins with.
pub(crate) fn add(steps: &mut Steps) {
    steps.run("tidy", tidy::run);
    steps.run("formatting", || run_command(&mut cargo(["fmt", "--all", "--check"])));
    steps.run("clippy", || {
        run_command(&mut cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    });
    steps.run("tests on SQLite", || run_command(rust_tests().env_remove("TEST_DATABASE")));
}

/// All Rust tests but those in documentation, with nextest where it is installed. They start each Redis they need, to
/// stop it when they please.
pub(crate) fn rust_tests() -> Command {
    if on_path("cargo-nextest").is_some() {
        cargo(["nextest", "run", "--workspace"])
    } else {
        cargo(["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"])
    }
}
