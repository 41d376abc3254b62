//! `cargo xtask wheel`: what `pip install 'narthex[server]'` installs, the Python package and a wheel with the binary.
//!
//! The binary is packed as it was built: hatchling, which builds the package too, puts it into a wheel. maturin would want to
//! compile it once more with flags of its own, and knows no tag for a static binary, which runs on every Linux.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    dist, python,
    tools::{Outcome, root, run as run_command, target},
};

/// Every crate of the workspace has this version, so this one too.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What stands beside the binary in the folder that is packed.
const BESIDE: [&str; 5] = [
    "python/server/pyproject.toml",
    "python/server/hatch_build.py",
    "python/server/README.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
];

/// Builds both for publishing, for the target that `arguments` name or for the best one this machine has.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let (binary, triple) = dist::binary(dist::target_of(arguments, "wheel")?)?;
    let folder = target().join("wheels");
    make(&binary, &triple, &folder)?;
    let entries = fs::read_dir(&folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    for entry in entries.map_err(|error| format!("{}: {error}", folder.display()))? {
        println!("{}", entry.path().display());
    }
    Ok(())
}

/// Installs both, with this binary, where nothing else is, and signs somebody up.
pub(crate) fn check(binary: &Path) -> Outcome {
    let wheels = target().join("python/wheels");
    make(binary, &dist::host()?, &wheels)?;
    let python = python::empty("installed")?;
    let pip = || {
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        pip
    };
    // Ours first, and from nowhere else.
    run_command(
        pip()
            .args(["--no-index", "--no-deps", "--find-links"])
            .arg(&wheels)
            .args([format!("narthex=={VERSION}"), format!("narthex-server=={VERSION}")]),
    )?;
    let versions = root().join("python/narthex/requirements-test.txt");
    run_command(
        pip().arg("--constraint").arg(versions).args([&format!("narthex[server]=={VERSION}"), "uvicorn"]),
    )?;
    run_command(Command::new(&python).arg(root().join("python/server/check.py")).env_remove("NARTHEX_BIN"))
}

/// Both wheels in a new folder.
fn make(binary: &Path, triple: &str, folder: &Path) -> Outcome {
    versions_agree()?;
    let staged = target().join("python/server");
    for old in [folder, &staged] {
        if old.exists() {
            fs::remove_dir_all(old).map_err(|error| format!("{}: {error}", old.display()))?;
        }
    }
    dist::copy(binary, &staged.join("narthex"))?;
    for file in BESIDE {
        let name = Path::new(file).file_name().unwrap_or_default();
        dist::copy(&root().join(file), &staged.join(name))?;
    }
    let licences = staged.join("THIRD-PARTY-LICENSES");
    fs::write(&licences, dist::licences(triple)?)
        .map_err(|error| format!("{}: {error}", licences.display()))?;
    let builder = python::environment("build", &root().join("python/server/requirements-build.txt"), &[])?;
    for source in [&staged, &root().join("python/narthex")] {
        let mut build = Command::new(&builder);
        build.args(["-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]);
        build.args(["--no-deps", "--no-build-isolation", "--wheel-dir"]).arg(folder).arg(source);
        run_command(build.env("SOURCE_DATE_EPOCH", dist::time_of_source()?))?;
    }
    Ok(())
}

/// A package of another version would ask this binary for what it cannot do.
fn versions_agree() -> Outcome {
    let expected = [
        ("python/narthex/pyproject.toml", format!("version = \"{VERSION}\"")),
        ("python/narthex/pyproject.toml", format!("\"narthex-server=={VERSION}\"")),
        ("python/server/pyproject.toml", format!("version = \"{VERSION}\"")),
    ];
    for (file, text) in expected {
        let path: PathBuf = root().join(file);
        let content = fs::read_to_string(&path).map_err(|error| format!("{file}: {error}"))?;
        if !content.contains(&text) {
            return Err(format!("{file}: must have {text}, the version of the crates"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_packages_have_the_version_of_the_crates() {
        assert_eq!(super::versions_agree(), Ok(()));
    }
}
