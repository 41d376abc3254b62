//! What a user types.

mod serve;

use crate::settings::Flags;
use clap::{Parser, Subcommand};
use std::{fmt, io::IsTerminal as _, process::ExitCode};
use tracing_subscriber::{EnvFilter, fmt as log};

/// Authentication that speaks Better Auth's protocol.
#[derive(Parser)]
#[command(name = "narthex", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Subcommand)]
enum Command {
    /// Serves the endpoints. What happens when no command is given.
    Serve(Flags),
}

/// Why a command did not do what it was asked to.
pub(crate) enum Failure {
    /// What was asked for makes no sense: exit code 2.
    Usage(Vec<String>),
    /// It could not be done: exit code 1.
    Failed(String),
}

impl Failure {
    pub(crate) fn failed(what: impl fmt::Display) -> Self {
        Self::Failed(what.to_string())
    }
}

pub(crate) fn run() -> ExitCode {
    let Arguments { command, flags } = Arguments::parse();
    start_log();
    let outcome = match command.unwrap_or(Command::Serve(flags)) {
        Command::Serve(flags) => serve::run(&flags),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(problems)) => {
            report(&problems);
            ExitCode::from(2)
        }
        Err(Failure::Failed(problem)) => {
            report(&[problem]);
            ExitCode::FAILURE
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "this is for the person who typed the command, whatever the log level"
)]
fn report(problems: &[String]) {
    for problem in problems {
        eprintln!("narthex: {problem}");
    }
}

/// Text for a person at a terminal, JSON lines for everything else; always to stderr.
fn start_log() {
    let filter = EnvFilter::try_from_env("NARTHEX_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = log().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.with_target(false).init();
    } else {
        builder.json().init();
    }
}
