//! `cargo xtask copy`: how long `narthex copy` takes for a large SQLite database to PostgreSQL and back, how much memory,
//! and whether everything has come back.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    conformance,
    postgres::{self, Postgres, Purpose},
    tools::{self, Outcome, cargo, run, target},
};

const USERS: u64 = 1_000_000;
/// How often the memory in use is looked at. Its peak is remembered by the kernel, so only the last moments are missed.
const LOOK: Duration = Duration::from_millis(20);

/// Reads the words after `copy`.
pub(crate) fn users(words: &[String]) -> Outcome<u64> {
    match words {
        [] => Ok(USERS),
        [flag, number] if flag == "--users" => {
            number.parse().map_err(|_| format!("--users {number}: not a number"))
        }
        _ => Err(format!("unknown option: {}", words.join(" "))),
    }
}

pub(crate) fn run_with(users: u64) -> Outcome {
    tools::provide(&[postgres::NEED])?;
    run(&mut cargo(["build", "--release", "--package", "narthex-bench", "--bin", "population"]))?;
    let narthex = conformance::release_binary()?;
    let folder = target().join("copy");
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let outcome = measure(&narthex, &folder, users);
    drop(fs::remove_dir_all(&folder));
    outcome
}

fn measure(narthex: &Path, folder: &Path, users: u64) -> Outcome {
    let postgres = Postgres::start(Purpose::Measurement)?;
    postgres.create_database("copied")?;
    let file = |name: &str| folder.join(name);
    let url = |name: &str| format!("sqlite://{}", file(name).display());

    let mut migrate = Command::new(narthex);
    run(migrate.args(["migrate", "--database", &url("first.db")]).current_dir(folder).stdout(Stdio::null()))?;
    let mut population = Command::new(target().join("release/population"));
    run(population.arg(file("first.db")).arg(users.to_string()))?;

    let there = copy(narthex, folder, &url("first.db"), &postgres.url("copied"))?;
    let back = copy(narthex, folder, &postgres.url("copied"), &url("second.db"))?;
    println!("\n{}", there.printed);
    let size = |name: &str| fs::metadata(file(name)).map_or(0, |file| file.len() >> 20);
    println!("SQLite, {} MiB, to PostgreSQL: {}", size("first.db"), there.cost());
    println!("PostgreSQL to SQLite, {} MiB: {}", size("second.db"), back.cost());
    if there.printed == back.printed {
        println!("rows and hashes are the same");
        Ok(())
    } else {
        Err(format!("what came back is not what was there:\n{}", back.printed))
    }
}

/// What a copy printed and cost.
struct Copied {
    printed: String,
    seconds: f64,
    peak_mebibytes: f64,
}

impl Copied {
    fn cost(&self) -> String {
        format!("{:.1} s, peak memory {:.1} MiB", self.seconds, self.peak_mebibytes)
    }
}

fn copy(narthex: &Path, folder: &Path, from: &str, to: &str) -> Outcome<Copied> {
    println!("$ narthex copy --from {from} --to {to}");
    let mut command = Command::new(narthex);
    command.args(["copy", "--from", from, "--to", to]).current_dir(folder);
    let start = Instant::now();
    // What it prints is less than a pipe holds.
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", narthex.display()))?;
    let peak = watch(&mut child)?;
    let seconds = start.elapsed().as_secs_f64();
    let output = child.wait_with_output().map_err(|error| format!("narthex copy: {error}"))?;
    if !output.status.success() {
        return Err(format!("narthex copy: {}", output.status));
    }
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    #[expect(clippy::cast_precision_loss, reason = "a number for people")]
    let peak_mebibytes = peak as f64 / 1024.0;
    Ok(Copied { printed, seconds, peak_mebibytes })
}

/// Waits for its end; the most memory that it has used, in KiB.
fn watch(child: &mut Child) -> Outcome<u64> {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().map_err(|error| format!("narthex copy: {error}"))?.is_none() {
        peak = fs::read_to_string(&status).ok().and_then(|status| high_water(&status)).unwrap_or(0).max(peak);
        thread::sleep(LOOK);
    }
    Ok(peak)
}

fn high_water(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_from_what_the_kernel_tells() {
        assert_eq!(high_water("Name:\tnarthex\nVmHWM:\t   41236 kB\nVmRSS:\t 1 kB\n"), Some(41_236));
        assert_eq!(high_water("Name:\tnarthex\n"), None);
    }

    #[test]
    fn a_number_of_users_may_be_given() {
        let parse = |text: &str| users(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(parse(""), Ok(1_000_000));
        assert_eq!(parse("--users 10"), Ok(10));
        assert_eq!(parse("--users many"), Err("--users many: not a number".to_owned()));
        assert_eq!(parse("--rows 1"), Err("unknown option: --rows 1".to_owned()));
    }
}
