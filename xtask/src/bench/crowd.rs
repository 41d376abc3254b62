//! `cargo xtask bench --crowd`: what get-session keeps of its rate and latency while thousands of connections are open
//! besides, idle and slow ones.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Stdio},
};

use super::{
    Bench, Options, on_processor,
    report::{Rate, Sample, member, spread},
    servers::{Kind, Server},
};
use crate::tools::Outcome;

const IDLE: usize = 10_000;
const SLOW: usize = 1_000;

/// The connections while they are open; they end with this value.
struct Crowd {
    process: Child,
    output: BufReader<ChildStdout>,
}

/// One measurement without a crowd and one with it, one after the other.
struct Pair {
    quiet: Sample,
    crowded: Sample,
    /// Bytes of memory that the server had touched before, and for each connection since.
    resident: u64,
    for_each: f64,
    opened_again: f64,
}

impl Drop for Crowd {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Crowd {
    fn gather(bench: &Bench, port: u16) -> Outcome<Self> {
        let mut command = on_processor(1, &bench.programs.join("crowd"));
        command.args([usize::from(port), IDLE, SLOW].map(|number| number.to_string()));
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = spawned.map_err(|error| format!("crowd: {error}"))?;
        let output = process.stdout.take().ok_or("crowd: no output")?;
        let mut crowd = Self { process, output: BufReader::new(output) };
        match crowd.line()?.as_str() {
            "ready" => Ok(crowd),
            other => Err(format!("crowd printed: {other:?}")),
        }
    }

    /// Lets everybody go; how many connections had to be opened again meanwhile.
    fn dissolve(mut self) -> Outcome<f64> {
        drop(self.process.stdin.take());
        let line = self.line()?;
        let number = |name| member(&line, name).ok_or_else(|| format!("crowd printed: {line:?}"));
        let (open, opened_again) = (number("open")?, number("opened_again")?);
        // A few are always on their way back.
        if open < 0.98 * count(IDLE + SLOW) {
            return Err(format!("only {open} connections were open at the end"));
        }
        Ok(opened_again)
    }

    fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|error| format!("crowd: {error}"))?;
        Ok(line.trim_end().to_owned())
    }
}

/// Measures, and prints the tables as Markdown.
pub(super) fn run(bench: &Bench, options: &Options) -> Outcome {
    let server = bench.start(Kind::Narthex, None)?;
    let mut pairs = Vec::new();
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        pairs.push(measure(bench, &server)?);
    }
    println!(
        "\n## get-session while {IDLE} idle and {SLOW} slow connections are open: {} rounds\n",
        pairs.len()
    );
    println!("{}", ratios(&pairs));
    println!("{}", medians(&pairs));
    Ok(())
}

fn measure(bench: &Bench, server: &Server) -> Outcome<Pair> {
    let quiet = bench.load(server, "get-session")?;
    let resident = resident(server)?;
    let crowd = Crowd::gather(bench, server.port)?;
    let crowded = bench.load(server, "get-session")?;
    let more = self::resident(server)?.saturating_sub(resident);
    let opened_again = crowd.dissolve()?;
    let for_each = count(usize::try_from(more).unwrap_or(usize::MAX)) / count(IDLE + SLOW);
    Ok(Pair { quiet, crowded, resident, for_each, opened_again })
}

/// A title, what is compared, and how many of its unit make one in the table.
type Row = (&'static str, fn(&Rate) -> f64, f64);

const ROWS: [Row; 3] = [
    ("requests per second", |rate| rate.per_second, 1.0),
    ("p50 ms", |rate| rate.p50_us, 1000.0),
    ("p99 ms", |rate| rate.p99_us, 1000.0),
];

fn ratios(pairs: &[Pair]) -> String {
    let rows = ROWS.iter().filter_map(|(title, value, _)| {
        let ratio =
            |pair: &Pair| Some(value(pair.crowded.sessions.as_ref()?) / value(pair.quiet.sessions.as_ref()?));
        let (lowest, median, highest) = spread(pairs.iter().filter_map(ratio).collect())?;
        Some(format!("| {title} | {median:.3} | {lowest:.3} | {highest:.3} |\n"))
    });
    format!(
        "| with the crowd / without | median | lowest | highest |\n|-|-:|-:|-:|\n{}",
        rows.collect::<String>()
    )
}

fn medians(pairs: &[Pair]) -> String {
    let median = |values: Vec<f64>| spread(values).map_or(f64::NAN, |(_, median, _)| median);
    let rows = ROWS.iter().map(|(title, value, unit)| {
        let side = |of: fn(&Pair) -> &Sample| {
            let rates = pairs.iter().filter_map(|pair| of(pair).sessions.as_ref());
            median(rates.map(|rate| value(rate) / unit).collect())
        };
        let (quiet, crowded) = (side(|pair| &pair.quiet), side(|pair| &pair.crowded));
        format!("| {title} | {quiet:.2} | {crowded:.2} |\n")
    });
    let rows: String = rows.collect();
    // Later rounds use the memory of earlier ones again.
    let memory = pairs.first().map_or_else(String::new, |first| {
        let (resident, for_each) = (first.resident >> 20, first.for_each);
        format!("In the first round the server had {resident} MiB, and {for_each:.0} bytes more for each connection.\n")
    });
    let again = median(pairs.iter().map(|pair| pair.opened_again).collect());
    format!(
        "| median | without | with the crowd |\n|-|-:|-:|\n{rows}\n{memory}Connections that the server had cut and that \
         were opened again, in each round: {again:.0}.\n"
    )
}

/// Bytes of memory that the server has touched.
fn resident(server: &Server) -> Outcome<u64> {
    let path = format!("/proc/{}/status", server.process_id());
    let status = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.map(|kibibytes| kibibytes << 10).ok_or_else(|| format!("{path}: no VmRSS"))
}

#[expect(clippy::cast_precision_loss, reason = "no machine has 2^52 of anything that is counted here")]
fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(per_second: u32, p50: u32, p99: u32) -> Sample {
        Sample::parse(&format!(
            "{{\"server_cpu_seconds\":1,\"generator_cpu_seconds\":1,\"sessions_per_second\":{per_second},\
             \"sessions_p50_us\":{p50},\"sessions_p99_us\":{p99}}}"
        ))
        .unwrap()
    }

    #[test]
    fn a_round_is_compared_with_itself() {
        let pair = |crowded| Pair {
            quiet: sample(1000, 2000, 4000),
            crowded,
            resident: 16 << 20,
            for_each: 2048.0,
            opened_again: 40.0,
        };
        let pairs =
            [pair(sample(900, 2200, 8000)), pair(sample(1000, 2000, 4000)), pair(sample(950, 2000, 5000))];
        let ratios = ratios(&pairs);
        assert!(ratios.contains("| requests per second | 0.950 | 0.900 | 1.000 |"), "{ratios}");
        assert!(ratios.contains("| p99 ms | 1.250 | 1.000 | 2.000 |"), "{ratios}");
        let medians = medians(&pairs);
        assert!(medians.contains("| p50 ms | 2.00 | 2.00 |"), "{medians}");
        assert!(
            medians.contains("the server had 16 MiB, and 2048 bytes more for each connection"),
            "{medians}"
        );
    }
}
