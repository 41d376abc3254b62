//! The npm packages of a folder: installed from its lock file, once per lock file.

use std::{path::Path, process::Command};

use crate::tools::{Outcome, on_path, output, run};

/// A copy of the lock file that `node_modules` was installed from; npm's own record is rewritten.
const INSTALLED: &str = "node_modules/.installed-from";

/// Makes `node_modules` what the lock file says.
pub(crate) fn install(folder: &Path) -> Outcome {
    require_node()?;
    let lock = read(&folder.join("package-lock.json"))?;
    let installed = folder.join(INSTALLED);
    if read(&installed).is_ok_and(|old| old == lock) {
        return Ok(());
    }
    run(&mut command(folder, ["ci", "--no-audit", "--no-fund"]))?;
    std::fs::write(&installed, lock).map_err(|error| format!("{}: {error}", installed.display()))
}

/// npm in that folder.
pub(crate) fn command<const N: usize>(folder: &Path, arguments: [&str; N]) -> Command {
    let mut command = Command::new("npm");
    command.args(arguments).current_dir(folder);
    command
}

fn require_node() -> Outcome {
    let missing = "Node.js 20 or newer with npm is missing; install it from https://nodejs.org";
    if on_path("node").is_none() || on_path("npm").is_none() {
        return Err(missing.to_owned());
    }
    let version = output(Command::new("node").arg("--version"))?;
    if major(&version).is_some_and(|major| major >= 20) {
        Ok(())
    } else {
        Err(format!("{missing} (found {})", version.trim()))
    }
}

fn major(version: &str) -> Option<u32> {
    version.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

fn read(file: &Path) -> Outcome<String> {
    std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_of_node_is_read() {
        assert_eq!(major("v20.20.2\n"), Some(20));
        assert_eq!(major("v8.1.0"), Some(8));
        assert_eq!(major("unknown"), None);
    }
}
