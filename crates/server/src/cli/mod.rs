//! What a user types.

mod audit;
mod backup;
mod config;
mod copy;
mod database;
mod doctor;
mod export;
mod health;
mod import;
mod init;
mod migrate;
mod people;
mod routes;
mod serve;
mod session;
mod tables;
mod terminal;
mod text;
mod user;
mod yaml;

use crate::settings::Flags;
use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use std::{
    fmt,
    io::{self, Write as _},
    process::ExitCode,
};

/// Authentication that speaks Better Auth's protocol.
#[derive(Parser)]
#[command(name = "narthex", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Serves the endpoints. What happens when no command is given.
    Serve(serve::Serve),
    /// Writes a commented narthex.toml with a fresh secret, readable by its owner only.
    Init(init::Arguments),
    /// Shows the configuration, or describes it.
    Config {
        #[command(subcommand)]
        command: config::Command,
    },
    /// Looks for what would go wrong: secret, base URL, database, clock.
    Doctor(Flags),
    /// Adds missing tables and columns to the database.
    Migrate(migrate::Arguments),
    /// Copies the SQLite file, while the server runs.
    Backup(backup::Arguments),
    /// Shows what was written down of what happened, the newest first.
    Audit(audit::Arguments),
    /// Adds, lists, shows and deletes users, and sets their passwords.
    User {
        #[command(subcommand)]
        command: user::Command,
    },
    /// Lists sessions and ends them.
    Session {
        #[command(subcommand)]
        command: session::Command,
    },
    /// Adds users from a file, with the password hashes of another system.
    ///
    /// The file is CSV with the names of the fields in its first line, or one object of JSON in each line. The fields
    /// are email, name, id, emailVerified, image, createdAt, updatedAt, passwordHash and fields of your own. Also read
    /// are names such as `email_verified` and `password_hash`, Auth0's files, and users and passwords of `narthex
    /// export`. Only email is required. Hashes may be bcrypt, scrypt, Argon2 or PBKDF2: people sign in with the
    /// passwords they have.
    ///
    /// Nothing is written unless every line is right.
    Import(import::Arguments),
    /// Writes every row as JSON lines, password hashes and tokens too.
    ///
    /// All are as of one moment, while the server runs. Each line is `{"table": "user", "row": {…}}` with Better Auth's
    /// names of fields. The tables and columns are those that the configuration declares: what other programs, or
    /// plugins that are off, have in the database is not written. Keep the file as you keep the database: it has password hashes, session tokens and whatever
    /// else is in the tables. What is in the secondary storage is not in it. `narthex import` reads users and their
    /// passwords from it.
    Export(export::Arguments),
    /// Copies everything from one database to another, SQLite or PostgreSQL, and checks the copy.
    Copy(copy::Arguments),
    /// Lists every endpoint with its limit, or describes them as OpenAPI.
    Routes(routes::Arguments),
    /// Prints a new secret.
    Secret,
    /// Asks a running server whether it lives: for container health checks.
    Health(Flags),
    /// Prints a completion script for a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
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
    let Arguments { command, serve } = Arguments::parse();
    let outcome = match command.unwrap_or(Command::Serve(serve)) {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Init(arguments) => init::run(&arguments),
        Command::Config { command } => config::run(&command),
        Command::Doctor(flags) => doctor::run(&flags),
        Command::Migrate(arguments) => migrate::run(&arguments),
        Command::Backup(arguments) => backup::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::User { command } => user::run(&command),
        Command::Session { command } => session::run(&command),
        Command::Import(arguments) => import::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Copy(arguments) => copy::run(&arguments),
        Command::Routes(arguments) => routes::run(&arguments),
        Command::Secret => {
            crate::secret_file::new_secret().map_err(Failure::failed).and_then(|secret| print(&secret))
        }
        Command::Health(flags) => health::run(&flags),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "narthex", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
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

/// Results go to stdout. A reader that has seen enough, such as `head`, is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{}", text.trim_end()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::failed(error)),
        _ => Ok(()),
    }
}

#[expect(
    clippy::print_stderr,
    reason = "this is for the person who typed the command, whatever the log level"
)]
fn report(problems: &[String]) {
    match problems {
        [problem] => eprintln!("narthex: {problem}"),
        several => {
            eprintln!("narthex: {} mistakes", several.len());
            for problem in several {
                eprintln!("  {problem}");
            }
        }
    }
}

/// What is worth knowing beside the result.
#[expect(clippy::print_stderr, reason = "as above, and a program that reads the result is not to read this")]
fn note(text: &str) {
    eprintln!("narthex: {text}");
}

/// A runtime for a command that does one thing.
fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::failed)?;
    runtime.block_on(future)
}
