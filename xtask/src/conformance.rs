//! `cargo xtask conformance`: the official client against the release binary, on both databases.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    npm,
    postgres::{self, Postgres, Purpose},
    redis::{self, Redis},
    tools::{self, Outcome, cargo, root, run as run_command, target},
};

/// Brings everything the scenarios need and hands `arguments` to their runner.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    tools::provide(&[postgres::NEED, redis::NEED, tools::FAKETIME])?;
    npm::install(&folder())?;
    let binary = release_binary()?;
    let (postgres, redis) = (Postgres::start(Purpose::Tests)?, Redis::start()?);
    scenarios(&binary, &postgres, &redis, arguments)
}

/// Runs the scenarios with packages, binary and database in place.
pub(crate) fn scenarios(binary: &Path, postgres: &Postgres, redis: &Redis, arguments: &[String]) -> Outcome {
    let mut command = npm::command(&folder(), ["test"]);
    if !arguments.is_empty() {
        command.arg("--").args(arguments);
    }
    against(command.env("TEST_REDIS", redis.url()), binary, postgres)
}

/// Hands databases from one server to the other and back.
pub(crate) fn data(binary: &Path, postgres: &Postgres) -> Outcome {
    against(&mut npm::command(&folder(), ["run", "data"]), binary, postgres)
}

/// Lets both servers serve one database at the same time.
pub(crate) fn alternate(binary: &Path, postgres: &Postgres, redis: &Redis) -> Outcome {
    let mut command = npm::command(&folder(), ["run", "alternate"]);
    against(command.env("TEST_REDIS", redis.url()), binary, postgres)
}

fn against(command: &mut Command, binary: &Path, postgres: &Postgres) -> Outcome {
    run_command(command.env("NARTHEX_BIN", binary).env("TEST_POSTGRES_URL", postgres.url("postgres")))
}

/// Builds what users run.
pub(crate) fn release_binary() -> Outcome<PathBuf> {
    run_command(&mut cargo(["build", "--release", "--package", "narthex-server"]))?;
    Ok(target().join("release/narthex"))
}

pub(crate) fn folder() -> PathBuf {
    root().join("conformance")
}
