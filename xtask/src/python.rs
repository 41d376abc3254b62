//! The Python package and what others make of our tokens: each folder's tests in a virtual environment of its own, with the
//! versions that stand beside them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::tools::{Need, Outcome, on_path, output, root, run as run_command, target};

/// Debian has it in a package of its own.
pub(crate) const VENV: Need =
    Need { name: "Python's venv", package: "python3-venv", present: || has_venv().is_ok() };

/// The environment is what this copy says.
const INSTALLED: &str = "installed-from";

/// The package's own tests, types and style.
pub(crate) fn package() -> Outcome {
    let folder = root().join("python/narthex");
    let python = environment("package", &folder.join("requirements-test.txt"), &[&folder])?;
    let module = |arguments: &[&str]| {
        let mut command = Command::new(&python);
        command.arg("-m").args(arguments).current_dir(&folder);
        command
    };
    run_command(&mut module(&["coverage", "run", "-m", "pytest", "--quiet"]))?;
    run_command(&mut module(&["coverage", "report", "--skip-covered"]))?;
    run_command(&mut module(&["mypy"]))?;
    run_command(&mut module(&["ruff", "check", "."]))?;
    run_command(&mut module(&["ruff", "format", "--check", "."]))
}

/// Which lines the package's own tests run, in lcov's format.
pub(crate) fn coverage() -> Outcome<String> {
    let folder = root().join("python/narthex");
    let python = environment("package", &folder.join("requirements-test.txt"), &[&folder])?;
    let data = target().join("coverage/python");
    let coverage = |arguments: &[&str]| {
        let mut command = Command::new(&python);
        command.args(["-m", "coverage"]).args(arguments).current_dir(&folder).env("COVERAGE_FILE", &data);
        command
    };
    run_command(&mut coverage(&["run", "-m", "pytest", "--quiet"]))?;
    output(&mut coverage(&["lcov", "--quiet", "-o", "-"]))
}

/// What the package costs an application, with a token of the server at `origin` for whom the cookie belongs to, as JSON.
pub(crate) fn bench(origin: &str, cookie: &str) -> Outcome<String> {
    let folder = root().join("python/narthex");
    let python = environment("package", &folder.join("requirements-test.txt"), &[&folder])?;
    let mut command = Command::new(python);
    command.args(["bench.py", "--json", "--server", origin, "--cookie", cookie]);
    output(command.current_dir(&folder))
}

/// What `PyJWT`, `joserfc`, jose and the packages for `FastAPI` make of what the binary issues.
pub(crate) fn interop(binary: &Path, node_modules: &Path) -> Outcome {
    let folder = root().join("python/interop");
    let python = environment("interop", &folder.join("requirements.txt"), &[&root().join("python/narthex")])?;
    let mut tests = Command::new(python);
    tests.args(["-m", "pytest", "--quiet"]).current_dir(&folder);
    // jose is there because upstream needs it.
    tests.env("NARTHEX_BIN", binary).env("NODE_MODULES_OF", node_modules.join("better-auth"));
    run_command(&mut tests)
}

/// The Python with what the plans' code for `FastAPI` and our checks of it need.
pub(crate) fn mission() -> Outcome<PathBuf> {
    let requirements = root().join("python/mission/requirements.txt");
    environment("mission", &requirements, &[&root().join("python/narthex")])
}

/// The tests of the application that has Narthex in it, on both databases.
pub(crate) fn fastapi_example(binary: &Path, postgres: &str) -> Outcome {
    let folder = root().join("examples/fastapi-only");
    let packages = [&*root().join("python/narthex")];
    let python = environment("fastapi-only", &folder.join("requirements.txt"), &packages)?;
    for database in ["", postgres] {
        let mut tests = Command::new(&python);
        tests.args(["-m", "pytest", "--quiet"]).current_dir(&folder);
        run_command(tests.env("NARTHEX_BIN", binary).env("TEST_DATABASE", database))?;
    }
    Ok(())
}

/// A virtual environment with these packages and ours in the folders `editable`, made once for each list; its Python.
pub(crate) fn environment(name: &str, requirements: &Path, editable: &[&Path]) -> Outcome<PathBuf> {
    let folder = target().join("python").join(name);
    let python = folder.join("bin/python");
    let wanted =
        fs::read_to_string(requirements).map_err(|error| format!("{}: {error}", requirements.display()))?;
    let installed = folder.join(INSTALLED);
    if fs::read_to_string(&installed).is_ok_and(|old| old == wanted) && python.is_file() {
        return Ok(python);
    }
    empty(name)?;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    install.arg(requirements);
    for folder in editable {
        install.arg("--editable").arg(folder);
    }
    run_command(&mut install)?;
    fs::write(&installed, wanted).map_err(|error| format!("{}: {error}", installed.display()))?;
    Ok(python)
}

/// A new virtual environment with nothing in it; its Python.
pub(crate) fn empty(name: &str) -> Outcome<PathBuf> {
    let folder = target().join("python").join(name);
    run_command(Command::new(require_python()?).args(["-m", "venv", "--clear"]).arg(&folder))?;
    Ok(folder.join("bin/python"))
}

fn has_venv() -> Outcome<String> {
    output(Command::new("python3").args(["-c", "import ensurepip, venv"]))
}

fn require_python() -> Outcome<PathBuf> {
    let missing =
        "Python 3.11 or newer is missing; install it, for example: apt-get install python3 python3-venv";
    let python = on_path("python3").ok_or_else(|| missing.to_owned())?;
    let version = output(Command::new(&python).args(["-c", "import sys; print(*sys.version_info[:2])"]))?;
    if is_new_enough(&version) { Ok(python) } else { Err(format!("{missing} (found {})", version.trim())) }
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split_whitespace().map(|number| number.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(3), Some(minor)) => minor >= 11,
        (Some(major), _) => major > 3,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, expected) in
            [("3 11\n", true), ("3 9\n", false), ("3 14", true), ("4 0", true), ("2 7", false), ("", false)]
        {
            assert_eq!(is_new_enough(version), expected, "{version}");
        }
    }
}
