//! `cargo xtask generate`: documents that are written from the code. A test compares what is kept with what would be
//! written.

use std::fs;

use crate::tools::{Outcome, cargo, output, root};

/// What a word after `narthex config` prints, and where it is kept.
const WRITTEN: [(&str, &str); 2] =
    [("reference", "docs/reference/configuration.md"), ("tables", "docs/reference/data-model.md")];

/// Writes every one of them.
pub(crate) fn run() -> Outcome {
    for (what, path) in WRITTEN {
        let written =
            output(&mut cargo(["run", "--quiet", "--package", "narthex-server", "--", "config", what]))?;
        let file = root().join(path);
        fs::write(&file, written).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}
