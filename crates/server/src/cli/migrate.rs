//! `narthex migrate`: brings the tables up to date, or says what it would do.

use super::{Failure, block_on, database, print};
use crate::settings::{Flags, Settings};

/// What `narthex migrate` takes.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Print the statements and run none.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut settings = Settings::load(&arguments.flags).map_err(Failure::Usage)?;
    if arguments.dry_run {
        settings.imagine_secret();
    } else {
        settings.prepare().map_err(Failure::Failed)?;
    }
    block_on(async {
        let store = if arguments.dry_run {
            database::inspect(&settings).await?
        } else {
            database::open(&settings).await?
        };
        let builder = database::engine(settings.config, &settings.options.plugins).await?;
        let migration = builder.migrate(store, !arguments.dry_run).await;
        let migration = migration.map_err(|error| Failure::Failed(error.to_string()))?;
        if migration.statements.is_empty() {
            return print("-- the tables are up to date");
        }
        print(&format!("{};", migration.statements.join(";\n")))
    })
}
