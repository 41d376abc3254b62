//! `cargo xtask fuzz`: libFuzzer looks for inputs that show a parser of ours to be wrong.
//!
//! The targets are in `fuzz/`. What libFuzzer learns is kept in `target/fuzz` and used the next time; an input that
//! breaks something is kept in `fuzz/regressions`, where the tests find it from then on.

use std::{
    collections::VecDeque,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use crate::tools::{self, Need, Outcome, cargo, on_path, output, root, target};

/// Compiles libFuzzer.
pub(crate) const COMPILER: Need =
    Need { name: "a C++ compiler", package: "g++", present: || on_path("c++").is_some() };

/// For each target where nothing else is said.
const SECONDS: u32 = 60;
/// The same as a part of `cargo xtask test`, where each change has to wait for it.
const SECONDS_IN_TESTS: u32 = 6;
/// An input for which a parser takes longer is a mistake in itself. Generous: the machine may be busy.
const SECONDS_FOR_ONE: u32 = 10;
/// Headers and tokens may be longer; nothing new is found there.
const LONGEST_INPUT: u32 = 8192;

/// What to run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    only: Option<String>,
    seconds: u32,
}

impl Options {
    /// Reads the words after `fuzz`.
    pub(crate) fn parse(words: &[String]) -> Outcome<Self> {
        let mut options = Self { only: None, seconds: SECONDS };
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            match word {
                "--seconds" => {
                    let value = words.next().and_then(|value| value.parse().ok()).filter(|value| *value > 0);
                    options.seconds = value.ok_or("--seconds needs a number above 0")?;
                }
                option if option.starts_with('-') => return Err(format!("unknown option: {option}")),
                name if options.only.is_none() => options.only = Some(name.to_owned()),
                name => return Err(format!("{name}: one target at a time, or all")),
            }
        }
        Ok(options)
    }

    /// What every change has to pass.
    pub(crate) fn in_tests() -> Self {
        Self { only: None, seconds: SECONDS_IN_TESTS }
    }
}

/// Runs one target or all, as many at a time as there are processors.
pub(crate) fn run(options: &Options) -> Outcome {
    tools::provide(&[COMPILER])?;
    let programs = build()?;
    let folder = target().join("fuzz");
    let seeds = folder.join("seeds");
    let printed = output(Command::new(programs.join("fuzz-seeds")).arg(&seeds))?;
    let names: Vec<&str> = printed.lines().collect();
    let chosen = match options.only.as_deref() {
        None => names,
        Some(only) if names.contains(&only) => vec![only],
        Some(only) => return Err(format!("{only} is no target; there are {}", names.join(", "))),
    };
    let at_once = thread::available_parallelism().map_or(1, usize::from);
    let mut waiting: VecDeque<&str> = chosen.into();
    let mut running: Vec<Run> = Vec::new();
    let mut problems = Vec::new();
    while !(waiting.is_empty() && running.is_empty()) {
        while running.len() < at_once
            && let Some(name) = waiting.pop_front()
        {
            running.push(Run::start(&programs.join("fuzz"), &folder, name, options.seconds)?);
        }
        thread::sleep(Duration::from_millis(50));
        let mut still = Vec::new();
        for run in running {
            match run.ended()? {
                Ended::NotYet(run) => still.push(run),
                Ended::Well(summary) => println!("{summary}"),
                Ended::Badly(problem) => problems.push(problem),
            }
        }
        running = still;
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

/// Builds the fuzzer, and what writes the seeds. The whole workspace is asked for, so that packages of others have the
/// features with which they are compiled already.
fn build() -> Outcome<PathBuf> {
    let arguments =
        |example| ["build", "--workspace", "--example", example, "--features", "narthex-fuzz/libfuzzer"];
    tools::run(&mut cargo(arguments("fuzz-seeds")))?;
    tools::run(cargo(arguments("fuzz")).env("RUSTC_WORKSPACE_WRAPPER", root().join("fuzz/rustc")))?;
    Ok(target().join("debug/examples"))
}

/// A target that is being tried.
struct Run {
    name: String,
    process: Child,
    log: PathBuf,
}

enum Ended {
    NotYet(Run),
    /// A line for the user.
    Well(String),
    Badly(String),
}

impl Run {
    fn start(fuzzer: &Path, folder: &Path, name: &str, seconds: u32) -> Outcome<Self> {
        let unusable = |path: &Path| {
            let shown = path.display().to_string();
            move |error| format!("{shown}: {error}")
        };
        let (corpus, found) = (folder.join("corpus").join(name), root().join("fuzz/regressions").join(name));
        fs::create_dir_all(&corpus).map_err(unusable(&corpus))?;
        fs::create_dir_all(&found).map_err(unusable(&found))?;
        let log = folder.join(name).with_extension("log");
        let file = File::create(&log).map_err(unusable(&log))?;
        let mut command = Command::new(fuzzer);
        command.env("FUZZ_TARGET", name).arg(&corpus).arg(folder.join("seeds").join(name)).arg(&found);
        for (option, value) in [
            ("max_total_time", seconds),
            ("timeout", SECONDS_FOR_ONE),
            ("max_len", LONGEST_INPUT),
            ("print_final_stats", 1),
        ] {
            command.arg(format!("-{option}={value}"));
        }
        command.arg(format!("-artifact_prefix={}/", found.display()));
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn();
        let process = process.map_err(|error| format!("{}: {error}", fuzzer.display()))?;
        Ok(Self { name: name.to_owned(), process, log })
    }

    fn ended(mut self) -> Outcome<Ended> {
        let status = self.process.try_wait().map_err(|error| format!("{}: {error}", self.name))?;
        let Some(status) = status else { return Ok(Ended::NotYet(self)) };
        // The folder stays only where there is something in it.
        drop(fs::remove_dir(root().join("fuzz/regressions").join(&self.name)));
        let log = String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned();
        if status.success() {
            return Ok(Ended::Well(format!("{:<16} {}", self.name, summary(&log))));
        }
        Ok(Ended::Badly(format!("{}: {}; see {}", self.name, reason(&log), self.log.display())))
    }
}

/// How much was tried, of what libFuzzer printed.
fn summary(log: &str) -> String {
    let stat = |name: &str| {
        let line = log.lines().rev().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').trim().parse::<u64>().ok()
    };
    let covered =
        log.lines().rev().find_map(|line| line.split_once("cov: ")?.1.split(' ').next()).unwrap_or("?");
    let (tried, a_second) = (stat("stat::number_of_executed_units"), stat("stat::average_exec_per_sec"));
    match (tried, a_second) {
        (Some(tried), Some(a_second)) => format!("{tried} inputs, {a_second} a second, {covered} branches"),
        _ => "ended without saying what it did".to_owned(),
    }
}

/// What went wrong, and with which input.
fn reason(log: &str) -> String {
    let panic = log.lines().skip_while(|line| !line.contains("panicked at")).take(2);
    let error =
        log.lines().filter(|line| line.contains("ERROR: libFuzzer") || line.contains("Test unit written to"));
    let lines: Vec<_> = panic.chain(error).map(str::trim).collect();
    if lines.is_empty() { "failed".to_owned() } else { lines.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Outcome<Options> {
        Options::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn one_target_or_all_are_run_for_a_while() {
        let options = |only: Option<&str>, seconds| Options { only: only.map(str::to_owned), seconds };
        assert_eq!(parse(""), Ok(options(None, 60)));
        assert_eq!(parse("token --seconds 5"), Ok(options(Some("token"), 5)));
        assert_eq!(parse("--seconds 0"), Err("--seconds needs a number above 0".to_owned()));
        assert_eq!(parse("token key"), Err("key: one target at a time, or all".to_owned()));
        assert_eq!(parse("--fast"), Err("unknown option: --fast".to_owned()));
    }

    #[test]
    fn what_was_tried_is_told_in_a_line() {
        let log = "#2\tINITED cov: 10 ft: 3\n#9\tDONE   cov: 1234 ft: 99 corp: 7/1b\n\
                   stat::number_of_executed_units: 900\nstat::average_exec_per_sec:     150\n";
        assert_eq!(summary(log), "900 inputs, 150 a second, 1234 branches");
        assert_eq!(summary(""), "ended without saying what it did");
    }

    #[test]
    fn what_was_found_is_told_with_its_file() {
        let log = "INFO: Seed: 1\nthread '<unnamed>' panicked at fuzz/src/tokens.rs:1:2:\na token that nobody signed\n\
                   ==7== ERROR: libFuzzer: deadly signal\nTest unit written to fuzz/regressions/token/crash-1\n";
        let told = reason(log);
        assert!(told.contains("a token that nobody signed") && told.contains("token/crash-1"), "{told}");
        assert_eq!(reason(""), "failed");
    }
}
