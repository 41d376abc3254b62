//! `cargo xtask instructions`: what a request costs in instructions, compared with the baseline in the repository.
//!
//! A count repeats to a thousandth where a time does not repeat to a tenth, so a change that makes session checks a
//! few percent slower is seen by the build, on any machine, in seconds. `bench/src/bin/instructions.rs` handles the
//! requests and callgrind counts them.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::tools::{self, Need, Outcome, cargo, on_path, output, root, target};

/// Counts instructions.
pub(crate) const VALGRIND: Need =
    Need { name: "valgrind", package: "valgrind", present: || on_path("valgrind").is_some() };

/// Percent that a case may cost more than its baseline.
const ALLOWANCE: u64 = 2;
/// The same where another compiler, C library or processor has a part in the difference.
const FOREIGN_ALLOWANCE: u64 = 10;
/// Instructions that any case may cost more: where memory happens to lie moves a cheap request by some percent.
const SLACK: u64 = 100;

const HEADER: &str = "\
# Instructions for one request, and where they were counted. Written by `cargo xtask instructions --accept`.
";

/// What the counts depend on besides the code.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Surroundings {
    processor: String,
    compiler: String,
    libc: String,
}

impl Surroundings {
    fn architecture(&self) -> &str {
        self.processor.split(' ').next().unwrap_or_default()
    }

    fn describe(&self) -> String {
        format!("{}, {}, {}", self.processor, self.compiler, self.libc)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Counts {
    surroundings: Surroundings,
    /// Case and instructions.
    cases: Vec<(String, u64)>,
}

/// Counts, and compares with the baseline or, with `--accept`, makes it the baseline.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let accept = match arguments {
        [] => false,
        [word] if word == "--accept" => true,
        other => return Err(format!("instructions {}: the only option is --accept", other.join(" "))),
    };
    tools::provide(&[VALGRIND])?;
    let now = count()?;
    let path = root().join("bench/instructions.toml");
    if accept {
        fs::write(&path, now.to_text()).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("{}", now.to_text());
        return Ok(());
    }
    let baseline = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let baseline =
        Counts::from_text(&baseline).map_err(|problem| format!("{}: {problem}", path.display()))?;
    let comparison = compare(&baseline, &now);
    println!("{}", comparison.text);
    if comparison.problems.is_empty() { Ok(()) } else { Err(comparison.problems.join("\n")) }
}

fn count() -> Outcome<Counts> {
    tools::run(&mut cargo(["build", "--release", "--package", "narthex-bench", "--bin", "instructions"]))?;
    let folder = target().join("instructions");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;

    let mut command = Command::new("valgrind");
    // Of two options with the same pattern callgrind heeds one, so they are spelled differently.
    command.args(["--quiet", "--tool=callgrind", "--toggle-collect=instructions::measured*"]);
    command.arg("--dump-after=*instructions::measured*");
    command.arg(format!("--callgrind-out-file={}", folder.join("part").display()));
    command.arg(target().join("release/instructions"));
    for variable in ["TEST_DATABASE", "GLIBC_TUNABLES", "LD_PRELOAD"] {
        command.env_remove(variable);
    }
    let printed = output(&mut command)?;

    let mut lines = printed.lines();
    let processor = lines.next().ok_or("the program said nothing")?.to_owned();
    let mut cases = Vec::new();
    for (position, line) in lines.enumerate() {
        let (name, requests) = line.split_once(' ').ok_or_else(|| format!("the program said: {line}"))?;
        let requests: u64 = requests.parse().map_err(|_| format!("the program said: {line}"))?;
        let part = named(&folder, position + 1, name)?;
        let text = fs::read_to_string(&part).map_err(|error| format!("{}: {error}", part.display()))?;
        let total = total(&text).filter(|total| *total > 0);
        let total = total.ok_or_else(|| format!("{}: nothing was counted", part.display()))?;
        cases.push((name.to_owned(), total / requests.max(1)));
    }
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let line = |command: &mut Command| output(command).map(|text| text.trim().to_owned());
    let surroundings = Surroundings {
        processor,
        compiler: line(Command::new(compiler).arg("--version"))?,
        libc: line(Command::new("getconf").arg("GNU_LIBC_VERSION"))?,
    };
    Ok(Counts { surroundings, cases })
}

/// Gives a part of callgrind's output the name of its case, for whoever wants to see where the instructions went.
fn named(folder: &Path, number: usize, name: &str) -> Outcome<PathBuf> {
    let (part, named) = (folder.join(format!("part.{number}")), folder.join(name));
    fs::rename(&part, &named).map_err(|error| format!("{}: {error}", part.display()))?;
    Ok(named)
}

/// The sum at the end of callgrind's output.
fn total(text: &str) -> Option<u64> {
    text.lines().rev().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

struct Comparison {
    text: String,
    problems: Vec<String>,
}

fn compare(baseline: &Counts, now: &Counts) -> Comparison {
    let (there, here) = (&baseline.surroundings, &now.surroundings);
    let mut text = format!("{:<32}{:>14}{:>14}\n", "instructions for one request", "now", "baseline");
    let mut problems = Vec::new();
    let is_same_architecture = there.architecture() == here.architecture();
    let allowance = if there == here { ALLOWANCE } else { FOREIGN_ALLOWANCE };
    let mut is_better = false;
    for (name, count) in &now.cases {
        let known = baseline.cases.iter().find_map(|(other, known)| (other == name).then_some(*known));
        let Some(known) = known else {
            let _ = writeln!(text, "{name:<32}{count:>14}{:>14}", "none");
            problems.push(format!("{name} has no baseline: cargo xtask instructions --accept"));
            continue;
        };
        let percent = percent(known, *count);
        let _ = writeln!(text, "{name:<32}{count:>14}{known:>14}{percent:>+8.1} %");
        is_better |= there == here && count * 100 < known * (100 - ALLOWANCE);
        if is_same_architecture && *count > (known * allowance / 100).max(SLACK) + known {
            problems.push(format!(
                "{name} costs {percent:.1} % more instructions than its baseline, {count} instead of {known}; \
                 if it is worth that, say why in the commit: cargo xtask instructions --accept"
            ));
        }
    }
    for (name, _) in &baseline.cases {
        if now.cases.iter().all(|(other, _)| other != name) {
            problems.push(format!("{name} is counted no more: cargo xtask instructions --accept"));
        }
    }
    if is_better {
        text.push_str("\nCheaper than the baseline. To keep it so: cargo xtask instructions --accept\n");
    }
    if there != here {
        let consequence = if is_same_architecture {
            format!("{allowance} % more is allowed here")
        } else {
            "nothing was compared".to_owned()
        };
        let _ = write!(
            text,
            "\nThe baseline was counted on {}, this on {}: {consequence}.\n",
            there.describe(),
            here.describe()
        );
    }
    Comparison { text, problems }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn percent(baseline: u64, now: u64) -> f64 {
    (now as f64 / baseline.max(1) as f64 - 1.0) * 100.0
}

impl Counts {
    fn to_text(&self) -> String {
        let Surroundings { processor, compiler, libc } = &self.surroundings;
        let mut text = format!("{HEADER}\n[counted-on]\n");
        for (key, value) in [("processor", processor), ("compiler", compiler), ("libc", libc)] {
            let _ = writeln!(text, "{key} = \"{value}\"");
        }
        text.push_str("\n[instructions]\n");
        for (name, count) in &self.cases {
            let _ = writeln!(text, "{name} = {count}");
        }
        text
    }

    /// Reads what [`Self::to_text`] writes.
    fn from_text(text: &str) -> Outcome<Self> {
        let mut surroundings = Vec::new();
        let mut cases = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with(['#', '[']) {
                continue;
            }
            let broken = || format!("line {}: {line}", number + 1);
            let (key, value) = line.split_once(" = ").ok_or_else(broken)?;
            match value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) {
                Some(value) => surroundings.push((key, value.to_owned())),
                None => cases.push((key.to_owned(), value.parse().map_err(|_| broken())?)),
            }
        }
        let mut of = |name: &str| {
            let position = surroundings.iter().position(|(key, _)| *key == name);
            position.map(|position| surroundings.swap_remove(position).1).ok_or(format!("no {name}"))
        };
        let surroundings =
            Surroundings { processor: of("processor")?, compiler: of("compiler")?, libc: of("libc")? };
        Ok(Self { surroundings, cases })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(cases: &[(&str, u64)]) -> Counts {
        let surroundings = Surroundings {
            processor: "x86_64 linux avx2".to_owned(),
            compiler: "rustc 1.95.0".to_owned(),
            libc: "glibc 2.36".to_owned(),
        };
        Counts {
            surroundings,
            cases: cases.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
        }
    }

    #[test]
    fn a_baseline_is_read_as_it_was_written() {
        let counts = counts(&[("get-session", 50_528), ("not-found", 1547)]);
        assert_eq!(Counts::from_text(&counts.to_text()), Ok(counts.clone()));
        assert_eq!(Counts::from_text("a = b"), Err("line 1: a = b".to_owned()));
        assert_eq!(Counts::from_text("a = 1"), Err("no processor".to_owned()));
    }

    #[test]
    fn the_total_is_the_last_of_the_output() {
        assert_eq!(total("totals: 1\nfn=(1)\n\ntotals: 25870139\n"), Some(25_870_139));
        assert_eq!(total("fn=(1)\n"), None);
    }

    #[test]
    fn two_percent_more_are_allowed_and_not_three() {
        let baseline = counts(&[("get-session", 10_000)]);
        for (now, problems) in [(1, 0), (10_000, 0), (10_200, 0), (10_201, 1), (20_000, 1)] {
            let comparison = compare(&baseline, &counts(&[("get-session", now)]));
            assert_eq!(comparison.problems.len(), problems, "{now}: {}", comparison.text);
        }
        let problems = compare(&baseline, &counts(&[("get-session", 10_300)])).problems;
        assert!(problems[0].starts_with("get-session costs 3.0 % more"), "{problems:?}");
    }

    #[test]
    fn a_cheap_request_may_cost_a_hundred_more() {
        let baseline = counts(&[("not-found", 1_500)]);
        let problems = |now| compare(&baseline, &counts(&[("not-found", now)])).problems.len();
        assert_eq!((problems(1_600), problems(1_601)), (0, 1));
    }

    #[test]
    fn what_became_cheaper_asks_to_be_accepted() {
        let baseline = counts(&[("get-session", 1000)]);
        let invites = |now| compare(&baseline, &counts(&[("get-session", now)])).text.contains("--accept");
        assert!(invites(970) && !invites(990));
    }

    #[test]
    fn cases_that_came_or_went_are_problems() {
        let comparison = compare(&counts(&[("old", 1)]), &counts(&[("new", 1)]));
        assert_eq!(
            comparison.problems,
            [
                "new has no baseline: cargo xtask instructions --accept",
                "old is counted no more: cargo xtask instructions --accept"
            ]
        );
    }

    #[test]
    fn another_compiler_is_allowed_more_and_another_architecture_is_not_compared() {
        let baseline = counts(&[("get-session", 10_000)]);
        let problems = |change: fn(&mut Surroundings), now| {
            let mut counts = counts(&[("get-session", now)]);
            change(&mut counts.surroundings);
            compare(&baseline, &counts).problems.len()
        };
        let compiler = |surroundings: &mut Surroundings| surroundings.compiler = "rustc 1.96.0".to_owned();
        let machine = |surroundings: &mut Surroundings| surroundings.processor = "aarch64 linux".to_owned();
        assert_eq!(
            (problems(compiler, 10_900), problems(compiler, 11_100), problems(machine, 50_000)),
            (0, 1, 0)
        );
    }
}
