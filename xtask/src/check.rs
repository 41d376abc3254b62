//! `cargo xtask check`: the quick loop, on SQLite and Redis only.

use std::process::Command;

use crate::{
    redis::{self, Redis},
    steps::Steps,
    tidy,
    tools::{self, Outcome, cargo, on_path, run as run_command},
};

/// Runs the quick loop.
pub(crate) fn run() -> Outcome {
    let mut steps = Steps::default();
    let redis = steps.run("Redis", || {
        tools::provide(&[redis::NEED])?;
        Redis::start()
    });
    add(&mut steps, redis.as_ref());
    steps.finish()
}

/// The steps of the quick loop, which `test` begins with.
pub(crate) fn add(steps: &mut Steps, redis: Option<&Redis>) {
    steps.run("tidy", tidy::run);
    steps.run("formatting", || run_command(&mut cargo(["fmt", "--all", "--check"])));
    steps.run("clippy", || {
        run_command(&mut cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    });
    steps.run("tests on SQLite", || run_command(rust_tests(redis)?.env_remove("TEST_DATABASE")));
}

/// All Rust tests but those in documentation, with nextest where it is installed.
pub(crate) fn rust_tests(redis: Option<&Redis>) -> Outcome<Command> {
    let redis = redis.ok_or("Redis did not start")?;
    let mut command = if on_path("cargo-nextest").is_some() {
        cargo(["nextest", "run", "--workspace"])
    } else {
        cargo(["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"])
    };
    command.env("TEST_REDIS", redis.url());
    Ok(command)
}
