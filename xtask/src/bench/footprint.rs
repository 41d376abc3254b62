//! `cargo xtask footprint`: what it costs to have the server at all. How long it takes to start, what it holds while nobody
//! asks, and what connections cost; beside the bare server, in one run, on SQLite.

use std::{fs, path::Path, process::Command, sync::mpsc, time::Duration, time::Instant};

use super::{Bench, TASKSET, servers::Kind, servers::Server};
use crate::{
    conformance,
    tools::{self, Outcome, output, target},
};

/// Starts of each server, taking turns.
const STARTS: usize = 20;
const SECONDS_OF_LOAD: f64 = 5.0;

/// Measures, and prints a table as Markdown.
pub(crate) fn run() -> Outcome {
    tools::provide(&[TASKSET])?;
    conformance::release_binary()?;
    let bench = Bench::build(SECONDS_OF_LOAD)?;
    let kinds = [Kind::Narthex, Kind::Bare];
    let databases = [bench.prepare(kinds[0], None)?, bench.prepare(kinds[1], None)?];

    let mut starts = [Vec::new(), Vec::new()];
    for _ in 0..STARTS {
        for ((kind, database), starts) in kinds.into_iter().zip(&databases).zip(&mut starts) {
            let begun = Instant::now();
            let server = bench.spawn(kind, database)?;
            starts.push(begun.elapsed());
            drop(server);
        }
    }
    let starts = starts.map(median);
    let mut held = Vec::new();
    for (kind, database) in kinds.into_iter().zip(&databases) {
        held.push(Held::of(&bench, &bench.spawn(kind, database)?)?);
    }
    let [narthex, bare] = held.as_slice() else { return Err("two servers were measured".to_owned()) };

    println!("\n| | narthex | bare | difference |\n|-|-:|-:|-:|");
    let milliseconds = starts.map(|start| start.as_secs_f64() * 1e3);
    row(&format!("start until it answers, median of {STARTS}, ms"), milliseconds);
    row("anonymous memory after the start, MB", [narthex.started, bare.started].map(megabytes));
    row("the same with 64 busy connections, MB", [narthex.busy, bare.busy].map(megabytes));
    row("the same with 1,000 busy connections, MB", [narthex.crowded, bare.crowded].map(megabytes));
    row("the same when they have left, MB", [narthex.left, bare.left].map(megabytes));
    println!("\nbinary, stripped: {:.1} MB", megabytes(stripped(&target().join("release/narthex"))?));
    Ok(())
}

/// Anonymous memory in bytes: what a process holds that is not a file's.
struct Held {
    started: u64,
    busy: u64,
    crowded: u64,
    left: u64,
}

impl Held {
    fn of(bench: &Bench, server: &Server) -> Outcome<Self> {
        Ok(Self {
            started: anonymous(server)?,
            busy: most_during(bench, server, "get-session")?,
            crowded: most_during(bench, server, "get-session-of-everybody")?,
            left: anonymous(server)?,
        })
    }
}

/// The most that was held while the server was under load.
fn most_during(bench: &Bench, server: &Server, workload: &str) -> Outcome<u64> {
    std::thread::scope(|scope| {
        let (done, is_done) = mpsc::channel::<()>();
        let load = scope.spawn(move || {
            let outcome = bench.load(server, workload);
            drop(done);
            outcome
        });
        let mut most = anonymous(server)?;
        while is_done.recv_timeout(Duration::from_millis(20)) == Err(mpsc::RecvTimeoutError::Timeout) {
            most = most.max(anonymous(server)?);
        }
        load.join().map_err(|_| "the load generator's thread panicked".to_owned())??;
        Ok(most)
    })
}

fn anonymous(server: &Server) -> Outcome<u64> {
    let file = format!("/proc/{}/status", server.process_id());
    let status = fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
    rss_anon(&status).ok_or_else(|| format!("{file} says nothing of RssAnon"))
}

fn rss_anon(status: &str) -> Option<u64> {
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(kilobytes.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// The size of a binary without its symbols.
fn stripped(binary: &Path) -> Outcome<u64> {
    let copy = target().join("bench/stripped");
    output(Command::new("strip").arg("-o").arg(&copy).arg(binary))?;
    fs::metadata(&copy).map(|file| file.len()).map_err(|error| format!("{}: {error}", copy.display()))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "nothing here has 2^52 bytes")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn row(name: &str, [narthex, bare]: [f64; 2]) {
    println!("| {name} | {narthex:.1} | {bare:.1} | {:.1} |", narthex - bare);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_memory_is_read_in_bytes() {
        let status = "VmRSS:\t   20000 kB\nRssAnon:\t    9112 kB\nRssFile:\t 10888 kB\n";
        assert_eq!(rss_anon(status), Some(9112 * 1024));
        assert_eq!(rss_anon("VmRSS:\t 20000 kB\n"), None);
    }

    #[test]
    fn the_median_is_a_time_that_was_measured() {
        let times = [5, 1, 9].map(Duration::from_millis);
        assert_eq!(median(times.to_vec()), Duration::from_millis(5));
    }
}
