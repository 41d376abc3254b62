//! `cargo xtask generate`: documents that are written from the code. A test compares what is kept with what would be
//! written.

use std::fs;

use crate::tools::{Outcome, cargo, output, root};

/// Writes every one of them.
pub(crate) fn run() -> Outcome {
    let written =
        output(&mut cargo(["run", "--quiet", "--package", "narthex-server", "--", "config", "reference"]))?;
    let file = root().join("docs/reference/configuration.md");
    fs::write(&file, written).map_err(|error| format!("{}: {error}", file.display()))
}
