//! The project's commands, run as `cargo xtask <command>`.
//!
//! Everything a contributor or the build server has to start is one of these commands, and each
//! brings or names what it needs: no step is ever skipped because a tool is missing.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to its user")]

mod bench;
mod check;
mod conformance;
mod copy;
mod coverage;
mod dist;
mod fuzz;
mod generate;
mod instructions;
mod mission;
mod npm;
mod postgres;
mod python;
mod redis;
mod steps;
mod test;
mod tidy;
mod tools;
mod wheel;

use std::process::ExitCode;

const HELP: &str = "\
usage: cargo xtask <command>

  check                 the quick loop: tidy, formatting, clippy, tests on SQLite
  test                  everything: check, tests on PostgreSQL, doc tests, conformance,
                        instruction counts, Python
  python                the Python package's tests, types and style
  coverage              how many lines the tests run, in Rust and in Python; fails below 85 %
  tidy                  the rules of the code base that no other tool knows
  generate              writes docs/reference/configuration.md and data-model.md from the code
  conformance [args…]   the official client against the release binary; args go to the runner
  mission <folder>      the server-side code and .env files of the plans in that folder, run as they
                        are written against the release binary and the Python package
  fuzz [target]         looks for inputs that break a parser, with libFuzzer; all targets by default
      --seconds N             how long for each, 60 by default
  instructions          what a request costs in instructions, compared with the baseline
      --accept                makes what is counted the baseline
  bench [options]       throughput compared with a bare server and with upstream on Node
      --pairs N               rounds of measurements, 7 by default
      --seconds S             length of each measurement, 3 by default
      --database NAME         sqlite, postgres or both, which is the default
      --only WORKLOAD         get-session, sign-in or mixed
      --no-node               leave upstream out
      --no-narthex            leave Narthex out: checks the yardsticks themselves
      --crowd                 session checks while 11,000 other connections are open
      --mission               latencies at half the hash capacity, beside what they may be
      --no-python             … without those of the Python package
  footprint             start, memory and size of the binary, beside the bare server
  copy [--users N]      how long `narthex copy` takes for 1,000,000 users to PostgreSQL and back,
                        and how much memory
  dist [options]        the archive that is published, with SHA256SUMS, in target/packages
      --target TRIPLE         a static musl binary where that target is installed, by default
  wheel [options]       the Python package and a wheel with the binary, in target/wheels;
                        the same options as dist
      --check BINARY          instead: both with this binary, installed where nothing else is
  rehearse              installs that archive on a Debian of its own, under systemd, and restarts
                        and stops it under load; needs root
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, rest)) = arguments.split_first() else {
        print!("{HELP}");
        return ExitCode::from(2);
    };
    let outcome = match (command.as_str(), rest) {
        ("check", []) => check::run(),
        ("test", []) => test::run(),
        ("python", []) => python::package(),
        ("coverage", []) => coverage::run(),
        ("tidy", []) => tidy::run(),
        ("generate", []) => generate::run(),
        ("conformance", _) => conformance::run(rest),
        ("mission", [folder]) => mission::run(folder.as_ref()),
        ("fuzz", _) => match fuzz::Options::parse(rest) {
            Ok(options) => fuzz::run(&options),
            Err(problem) => return misused(&problem),
        },
        ("instructions", _) => instructions::run(rest),
        ("footprint", []) => bench::footprint::run(),
        ("dist", _) => dist::run(rest),
        ("wheel", [flag, binary]) if flag == "--check" => wheel::check(binary.as_ref()),
        ("wheel", _) => wheel::run(rest),
        ("rehearse", []) => dist::rehearse(),
        ("copy", _) => copy::users(rest).and_then(copy::run_with),
        ("bench", _) => match bench::Options::parse(rest) {
            Ok(options) => bench::run(&options),
            Err(problem) => return misused(&problem),
        },
        ("help" | "--help" | "-h", _) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => return misused(&format!("unknown command: {}", arguments.join(" "))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// Says what is wrong with the words, and what there is.
fn misused(problem: &str) -> ExitCode {
    eprint!("{problem}\n\n{HELP}");
    ExitCode::from(2)
}
