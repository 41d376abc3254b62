//! `narthex init`: the first thing a user types.

use super::{Failure, print};
use crate::{secret_file::new_secret, settings::DEFAULT_FILE};
use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    path::PathBuf,
};

/// What `narthex init` takes.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The file to write.
    #[arg(value_name = "FILE", default_value = DEFAULT_FILE)]
    file: PathBuf,
}

const TEMPLATE: &str = include_str!("narthex.toml");

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let path = arguments.file.display();
    let text = TEMPLATE.replace("<secret>", &new_secret().map_err(Failure::failed)?);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&arguments.file).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::Failed(format!("{path} is there already; delete it first, or name another file"))
        }
        _ => Failure::Failed(format!("{path}: {error}")),
    })?;
    print(&format!(
        "{path} is written, with a fresh secret in it: keep it out of version control.\nNext: edit it, then `narthex doctor` and `narthex serve`."
    ))
}
