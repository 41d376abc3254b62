//! `cargo xtask coverage`: how many of the lines that users run are run by the tests, of the Rust crates and of the Python
//! package. Fails where it is less than [`FLOOR`] per cent.
//!
//! Rust is measured by the compiler's own counters, with the tests of `cargo xtask check`. Lines of tests do not count, nor do
//! the test kit, the measurements and these commands.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    check, python, redis,
    tools::{self, Need, Outcome, cargo, output, root, run as run_command, target},
};

const FLOOR: f64 = 85.0;
/// How many files are named in which most is left.
const NAMED: usize = 10;

/// They read what programs count that this compiler has made. The compiler's own, where they are installed, else Debian's.
const LLVM: Need =
    Need { name: "llvm-cov of the compiler's LLVM", package: "llvm-22", present: || llvm().is_ok() };

/// Runs the tests and prints both percentages.
pub(crate) fn run() -> Outcome {
    tools::provide(&[LLVM, redis::NEED, python::VENV])?;
    let (rust, tests) = rust()?;
    let python = Coverage::read(&python::coverage()?, |file| {
        Some(format!("python/narthex/{file}")).filter(|file| file.contains("/src/"))
    });
    rust.print_files();
    python.print_files();
    println!();
    let enough = [("Rust", &rust), ("Python", &python)].map(|(name, coverage)| {
        let percent = coverage.percent();
        println!("{name}: {percent:.1} % of {} lines", coverage.lines());
        percent >= FLOOR
    });
    tests?;
    if enough.iter().all(|enough| *enough) { Ok(()) } else { Err(format!("less than {FLOOR} %")) }
}

/// What the Rust tests run, and whether they passed.
fn rust() -> Outcome<(Coverage, Outcome)> {
    let folder = target().join("coverage");
    let profiles = folder.join("profiles");
    drop(fs::remove_dir_all(&profiles));
    let failed = |error: std::io::Error| format!("{}: {error}", profiles.display());
    fs::create_dir_all(&profiles).map_err(failed)?;
    let compiler = compiler(&folder).map_err(failed)?;
    let measured = |mut command: Command| {
        command.env("CARGO_TARGET_DIR", &folder).env("RUSTC_WORKSPACE_WRAPPER", &compiler);
        // One file for each program, which it writes to while it runs: tests kill many of them.
        command.env("LLVM_PROFILE_FILE", profiles.join("%m%c.profraw")).env_remove("TEST_DATABASE");
        command
    };
    let build = ["test", "--workspace", "--lib", "--bins", "--tests", "--no-run", "--message-format=json"];
    let messages = output(&mut measured(cargo(build)))?;
    let tests = run_command(&mut measured(check::rust_tests()));

    let llvm = llvm()?;
    let profile = folder.join("profile");
    let mut merge = Command::new(llvm.join("llvm-profdata"));
    merge.args(["merge", "--sparse", "--output"]).arg(&profile);
    run_command(merge.arg(&profiles))?;
    let mut export = Command::new(llvm.join("llvm-cov"));
    export.args(["export", "--format=lcov", "--instr-profile"]).arg(&profile);
    for program in programs(&messages) {
        export.arg("--object").arg(program);
    }
    let coverage = Coverage::read(&output(&mut export)?, |file| {
        let file = Path::new(file).strip_prefix(root()).ok()?.to_str()?;
        is_product(file).then(|| file.to_owned())
    });
    Ok((coverage, tests))
}

/// Dependencies are compiled as ever; programs of the workspace count what they run.
fn compiler(folder: &Path) -> std::io::Result<PathBuf> {
    let compiler = folder.join("rustc");
    let options = "-C instrument-coverage -C llvm-args=-runtime-counter-relocation";
    fs::write(&compiler, format!("#!/bin/sh\nexec \"$@\" {options}\n"))?;
    fs::set_permissions(&compiler, fs::Permissions::from_mode(0o755))?;
    Ok(compiler)
}

/// Every program that cargo says it has made.
fn programs(messages: &str) -> Vec<&str> {
    let named = messages.lines().filter_map(|line| line.split_once("\"executable\":\"")?.1.split('"').next());
    let mut programs: Vec<&str> = named.collect();
    programs.sort_unstable();
    programs.dedup();
    programs
}

fn is_product(file: &str) -> bool {
    let is_tests = file.starts_with("crates/testkit/") || file.ends_with("/tests.rs");
    file.starts_with("crates/") && file.contains("/src/") && !is_tests
}

/// The folder with `llvm-cov` and `llvm-profdata` for this compiler.
fn llvm() -> Outcome<PathBuf> {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = output(Command::new(&compiler).arg("-vV"))?;
    let said = |name: &str| version.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let major = said("LLVM version: ").split('.').next().unwrap_or_default();
    let sysroot = output(Command::new(compiler).args(["--print", "sysroot"]))?;
    let own = Path::new(sysroot.trim()).join("lib/rustlib").join(said("host: ")).join("bin");
    let debian = Path::new("/usr/lib").join(format!("llvm-{major}")).join("bin");
    [own, debian].into_iter().find(|folder| folder.join("llvm-cov").is_file()).ok_or_else(|| {
        format!("llvm-cov of LLVM {major} is missing; install it: rustup component add llvm-tools, or apt-get install llvm-{major}")
    })
}

/// Which lines of which file were run.
#[derive(Default)]
struct Coverage(BTreeMap<String, BTreeMap<usize, bool>>);

impl Coverage {
    /// Reads lcov's format. `name` says what a file is called here, if its lines count.
    fn read(text: &str, name: impl Fn(&str) -> Option<String>) -> Self {
        let mut files: BTreeMap<String, BTreeMap<usize, bool>> = BTreeMap::new();
        let mut current = None;
        for line in text.lines() {
            if let Some(path) = line.strip_prefix("SF:") {
                current = name(path).map(|name| {
                    let end = fs::read_to_string(root().join(&name)).map_or(usize::MAX, |text| tests(&text));
                    (name, end)
                });
            } else if let (Some((name, end)), Some((number, times))) = (&current, numbers(line))
                && number < *end
            {
                *files.entry(name.clone()).or_default().entry(number).or_default() |= times > 0;
            }
        }
        Self(files)
    }

    fn lines(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    #[expect(clippy::cast_precision_loss, reason = "a number for people")]
    fn percent(&self) -> f64 {
        let left: usize = self.0.values().map(left).sum();
        let lines = self.lines();
        // Where nothing was measured nothing is shown.
        if lines == 0 { 0.0 } else { 100.0 * (lines - left) as f64 / lines as f64 }
    }

    fn print_files(&self) {
        let mut files: Vec<_> = self.0.iter().map(|(name, lines)| (left(lines), lines.len(), name)).collect();
        files.sort_unstable_by(|one, other| other.cmp(one));
        println!();
        for (left, lines, name) in files.into_iter().take(NAMED).filter(|(left, ..)| *left > 0) {
            println!("{left:>5} of {lines:>5} lines not run  {name}");
        }
    }
}

fn left(lines: &BTreeMap<usize, bool>) -> usize {
    lines.values().filter(|run| !**run).count()
}

/// A line's number, and how often it was run.
fn numbers(line: &str) -> Option<(usize, u64)> {
    let mut fields = line.strip_prefix("DA:")?.split(',');
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// The number of the line at which the tests at a file's end begin.
fn tests(text: &str) -> usize {
    text.find("#[cfg(test)]\nmod ").map_or(usize::MAX, |at| text.split_at(at).0.lines().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_counts_once_and_is_run_if_any_program_ran_it() {
        let text = "SF:a\nDA:1,0\nDA:2,0\nend_of_record\nSF:b\nDA:1,1\nend_of_record\nSF:a\nDA:2,3,x\nend_of_record\n";
        let coverage = Coverage::read(text, |file| (file != "b").then(|| file.to_owned()));
        assert_eq!(coverage.lines(), 2);
        assert!((coverage.percent() - 50.0).abs() < f64::EPSILON);
        assert!(Coverage::default().percent() < FLOOR);
    }

    #[test]
    fn tests_at_the_end_of_a_file_do_not_count() {
        assert_eq!(tests("fn one() {}\n\n#[cfg(test)]\nmod tests {\n}\n"), 3);
        assert_eq!(tests("#[cfg(test)]\nuse x;\n"), usize::MAX);
    }

    #[test]
    fn only_what_users_run_counts() {
        assert!(is_product("crates/core/src/auth.rs"));
        for file in [
            "crates/core/src/input/tests.rs",
            "crates/core/tests/it/main.rs",
            "crates/testkit/src/lib.rs",
            "xtask/src/main.rs",
        ] {
            assert!(!is_product(file), "{file}");
        }
    }

    #[test]
    fn programs_are_taken_from_what_cargo_says() {
        let messages = "{\"executable\":null}\n{\"reason\":\"x\",\"executable\":\"/t/b\",\"fresh\":true}\n{\"executable\":\"/t/a\"}\n{\"executable\":\"/t/b\"}\n";
        assert_eq!(programs(messages), ["/t/a", "/t/b"]);
    }
}
