//! `narthex backup`: a copy of the SQLite file, while the server runs.

use super::{Failure, block_on, database, print};
use crate::settings::{Flags, Settings};
use narthex::chain;
use std::path::PathBuf;

/// What `narthex backup` takes.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The file to write; it must not be there yet.
    file: PathBuf,
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let settings = Settings::load(&arguments.flags).map_err(Failure::Usage)?;
    database::must_exist(&settings)?;
    block_on(async {
        let store = database::inspect(&settings).await?;
        match store.backup(&arguments.file).await {
            Ok(Some(bytes)) => print(&format!("{} has {bytes} bytes and is whole", arguments.file.display())),
            Ok(None) => Err(Failure::failed("this database is PostgreSQL: use `pg_dump --format=custom`")),
            Err(error) => Err(Failure::Failed(chain(&error))),
        }
    })
}
