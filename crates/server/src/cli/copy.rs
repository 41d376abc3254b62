//! `narthex copy`: everything that one database has, into another of the same kind or of the other.

use super::{Failure, block_on, database, print};
use crate::settings::{Flags, ServerOptions, Settings};
use narthex::{
    DatabaseOptions, Store, chain,
    store::{Copied, CopyOptions, Progress, Source, Step, StoreError, without_password},
};
use std::io::{self, IsTerminal as _, Write as _};

/// What `narthex copy` takes.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The database to read, which is not changed: `sqlite://path` or `postgres://…`
    #[arg(long, value_name = "URL", env = "NARTHEX_COPY_FROM", hide_env_values = true, conflicts_with_all = ["database", "listen"])]
    from: String,
    /// The database to write, which must not have users or anything else yet.
    #[arg(long, value_name = "URL", env = "NARTHEX_COPY_TO", hide_env_values = true)]
    to: String,
    /// Leave out columns of our tables that no option declares, instead of refusing to copy.
    #[arg(long)]
    leave_behind: bool,
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Settings { mut config, options: ServerOptions { plugins, .. }, .. } =
        Settings::load(&arguments.flags).map_err(Failure::Usage)?;
    // Nothing is signed here.
    config.secret = config.secret.or_else(|| Some("no cookie is signed with this placeholder".into()));
    let has_secondary = config.secondary_storage.url.is_some();
    block_on(async {
        let (from, to) = (&arguments.from, &arguments.to);
        let source = Source::open(from, &options(&config.database, from)).await;
        let source = source.map_err(|error| unopened("--from", from, &error))?;
        let target = Store::open_with(to, &options(&config.database, to)).await;
        let target = target.map_err(|error| unopened("--to", to, &error))?;
        let builder = database::engine(config, &plugins).await?;
        let options = CopyOptions { leave_behind: arguments.leave_behind };
        let mut shown = Shown::new();
        let copied = builder.copy(source, target, options, |progress| shown.show(progress)).await;
        shown.end();
        let copied = copied.map_err(|error| Failure::Failed(error.to_string()))?;
        for note in notes(&copied, has_secondary) {
            tell(&note);
        }
        print(&table(&copied))
    })
}

/// What is configured for one kind of database is no mistake for the other.
fn options(configured: &DatabaseOptions, url: &str) -> DatabaseOptions {
    let mut options = configured.clone();
    if url.starts_with("sqlite:") {
        options.schema = None;
    }
    options
}

fn unopened(flag: &str, url: &str, error: &StoreError) -> Failure {
    let problem = format!("{flag} {}: {}", without_password(url), chain(error));
    match error {
        StoreError::Url(_) => Failure::Usage(vec![problem]),
        _ => Failure::Failed(problem),
    }
}

/// A line for each table, the same for every database with these rows.
fn table(copied: &Copied) -> String {
    let widest = copied.tables.iter().map(|table| table.name.len()).max().unwrap_or(0);
    let line = |table: &narthex::store::CopiedTable| {
        format!("{:widest$}  {:>10} rows  {}", table.name, table.rows, table.hash)
    };
    copied.tables.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What a person should know who believes that everything was copied.
fn notes(copied: &Copied, has_secondary: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if !copied.others.is_empty() {
        notes.push(format!("not copied, since Narthex has no such tables: {}", copied.others.join(", ")));
    }
    if !copied.not_needed.is_empty() {
        notes.push(format!(
            "not copied, since the target needs no such table: {}",
            copied.not_needed.join(", ")
        ));
    }
    if !copied.left_behind.is_empty() {
        notes.push(format!("left behind: {}", copied.left_behind.join(", ")));
    }
    if has_secondary {
        notes.push("not copied: what the secondary storage keeps, which stays where it is".to_owned());
    }
    for table in copied.tables.iter().filter(|table| table.shortened > 0) {
        notes.push(format!(
            "{} times in {} had more than milliseconds, which nobody reads; the target has them without",
            table.shortened, table.name
        ));
    }
    notes
}

/// For the person who typed the command; the result goes to stdout.
fn tell(text: &str) {
    // Nobody has to read it.
    drop(writeln!(io::stderr(), "{text}"));
}

/// How far it is: a line that changes on a terminal, and elsewhere one for each table.
struct Shown {
    is_terminal: bool,
    has_line: bool,
}

impl Shown {
    fn new() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), has_line: false }
    }

    fn show(&mut self, progress: Progress<'_>) {
        if self.is_terminal {
            drop(write!(io::stderr(), "\r\x1b[K{}", bar(progress)));
            self.has_line = true;
        } else if progress.rows == progress.all && progress.step == Step::Check {
            tell(&format!("{}: {} rows copied and checked", progress.table, progress.rows));
        }
    }

    fn end(&mut self) {
        if self.has_line {
            drop(write!(io::stderr(), "\r\x1b[K"));
        }
    }
}

/// `copying user  [########------------]  400000 of 1000000`.
fn bar(progress: Progress<'_>) -> String {
    const WIDTH: u64 = 20;
    let Progress { table, step, rows, all } = progress;
    let done = rows.saturating_mul(WIDTH).checked_div(all).unwrap_or(WIDTH).min(WIDTH);
    let part = |times: u64, text: &str| text.repeat(usize::try_from(times).unwrap_or(0));
    let verb = match step {
        Step::Copy => "copying",
        Step::Check => "checking",
    };
    format!("{verb} {table}  [{}{}]  {rows} of {all}", part(done, "#"), part(WIDTH - done, "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_as_long_as_what_is_done() {
        let shown = |rows, all| bar(Progress { table: "user", step: Step::Copy, rows, all });
        assert_eq!(shown(0, 4), "copying user  [--------------------]  0 of 4");
        assert_eq!(shown(1, 4), "copying user  [#####---------------]  1 of 4");
        assert_eq!(shown(4, 4), "copying user  [####################]  4 of 4");
        assert_eq!(shown(0, 0), "copying user  [####################]  0 of 0");
    }
}
