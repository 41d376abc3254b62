//! Measurements, and the two tables made of them: ratios, which are the result, and medians.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

/// What one run of the load generator counted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) sessions: Option<Rate>,
    pub(super) passwords: Option<Rate>,
    pub(super) server_cpu_seconds: f64,
    pub(super) generator_cpu_seconds: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rate {
    pub(super) per_second: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
}

/// The samples of one round, by server and workload.
pub(super) type Round = BTreeMap<(&'static str, &'static str), Sample>;

impl Sample {
    /// Reads the generator's line of JSON.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let rate = |kind: &str| {
            Some(Rate {
                per_second: member(line, &format!("{kind}_per_second"))?,
                p50_us: member(line, &format!("{kind}_p50_us"))?,
                p99_us: member(line, &format!("{kind}_p99_us"))?,
            })
        };
        Some(Self {
            sessions: rate("sessions"),
            passwords: rate("passwords"),
            server_cpu_seconds: member(line, "server_cpu_seconds")?,
            generator_cpu_seconds: member(line, "generator_cpu_seconds")?,
        })
    }

    fn rate(&self, of: Of) -> Option<&Rate> {
        match of {
            Of::Sessions => self.sessions.as_ref(),
            Of::Passwords => self.passwords.as_ref(),
        }
    }
}

/// A number of a flat JSON object whose names are no part of one another.
pub(super) fn member(json: &str, name: &str) -> Option<f64> {
    let (_, rest) = json.split_once(&format!("\"{name}\":"))?;
    rest.split([',', '}']).next()?.trim().parse().ok()
}

#[derive(Clone, Copy)]
enum Of {
    Sessions,
    Passwords,
}

/// One row of the table of ratios: `left` over `right`, each a server and its workload.
struct Comparison {
    title: &'static str,
    left: (&'static str, &'static str),
    right: (&'static str, &'static str),
    of: Of,
    /// Per second of the server's processor time instead of per second.
    per_cpu: bool,
}

const fn compare(
    title: &'static str,
    left: (&'static str, &'static str),
    right: (&'static str, &'static str),
    of: Of,
    per_cpu: bool,
) -> Comparison {
    Comparison { title, left, right, of, per_cpu }
}

const SESSIONS: [&str; 3] = ["narthex", "bare", "node"];
const COMPARISONS: [Comparison; 10] = {
    let [narthex, bare, node] = SESSIONS;
    let quiet = "get-session";
    [
        compare("get-session: narthex / bare", (narthex, quiet), (bare, quiet), Of::Sessions, false),
        compare("the same per CPU second", (narthex, quiet), (bare, quiet), Of::Sessions, true),
        compare("get-session: narthex / node", (narthex, quiet), (node, quiet), Of::Sessions, false),
        compare("get-session: bare / node", (bare, quiet), (node, quiet), Of::Sessions, false),
        compare(
            "sign-in / bare hash, per CPU second",
            (narthex, "sign-in"),
            (bare, "hash"),
            Of::Passwords,
            true,
        ),
        compare("sign-in: narthex / node", (narthex, "sign-in"), (node, "sign-in"), Of::Passwords, false),
        compare(
            "get-session kept under sign-ins: narthex",
            (narthex, "mixed"),
            (narthex, quiet),
            Of::Sessions,
            false,
        ),
        compare("get-session kept under sign-ins: node", (node, "mixed"), (node, quiet), Of::Sessions, false),
        compare(
            "sign-ins kept under get-session: narthex",
            (narthex, "mixed"),
            (narthex, "sign-in"),
            Of::Passwords,
            false,
        ),
        compare(
            "sign-ins kept under get-session: node",
            (node, "mixed"),
            (node, "sign-in"),
            Of::Passwords,
            false,
        ),
    ]
};

impl Comparison {
    /// The ratio within one round, when both sides were measured.
    fn ratio(&self, round: &Round) -> Option<f64> {
        let side = |key| {
            let sample: &Sample = round.get(&key)?;
            let rate = sample.rate(self.of)?.per_second;
            Some(if self.per_cpu { rate / sample.server_cpu_seconds } else { rate })
        };
        Some(side(self.left)? / side(self.right)?)
    }
}

/// The ratios as a Markdown table; nothing when only one server was measured.
pub(super) fn ratios(rounds: &[Round]) -> String {
    let mut rows = String::new();
    for comparison in &COMPARISONS {
        let ratios: Vec<f64> = rounds.iter().filter_map(|round| comparison.ratio(round)).collect();
        if let Some((lowest, median, highest)) = spread(ratios) {
            let row = format!("| {} | {median:.3} | {lowest:.3} | {highest:.3} |\n", comparison.title);
            rows.push_str(&row);
        }
    }
    if rows.is_empty() {
        return rows;
    }
    format!("| ratio | median | lowest | highest |\n|-|-:|-:|-:|\n{rows}")
}

/// The absolute numbers as a Markdown table.
pub(super) fn medians(rounds: &[Round]) -> String {
    let mut table =
        String::from("| server | workload | counted | per second | p50 ms | p99 ms |\n|-|-|-|-:|-:|-:|\n");
    let keys: BTreeSet<_> = rounds.iter().flat_map(BTreeMap::keys).collect();
    for key in keys {
        let samples: Vec<&Sample> = rounds.iter().filter_map(|round| round.get(key)).collect();
        for (counted, of) in [("session checks", Of::Sessions), ("passwords", Of::Passwords)] {
            let median = |number: fn(&Rate) -> f64| {
                let numbers = samples.iter().filter_map(|sample| sample.rate(of)).map(number);
                spread(numbers.collect()).map(|(_, median, _)| median)
            };
            let row =
                (median(|rate| rate.per_second), median(|rate| rate.p50_us), median(|rate| rate.p99_us));
            if let (Some(per_second), Some(p50), Some(p99)) = row {
                let (server, workload) = key;
                // Writing to a string cannot fail.
                let _ = writeln!(
                    table,
                    "| {server} | {workload} | {counted} | {per_second:.1} | {:.2} | {:.2} |",
                    p50 / 1000.0,
                    p99 / 1000.0
                );
            }
        }
    }
    table
}

/// Lowest, median and highest.
pub(super) fn spread(mut numbers: Vec<f64>) -> Option<(f64, f64, f64)> {
    numbers.sort_by(f64::total_cmp);
    let (lowest, highest) = (*numbers.first()?, *numbers.last()?);
    let (left, right) = (numbers.get((numbers.len() - 1) / 2)?, numbers.get(numbers.len() / 2)?);
    Some((lowest, f64::midpoint(*left, *right), highest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(per_second: f64, cpu: f64) -> Sample {
        Sample::parse(&format!(
            "{{\"server_cpu_seconds\":{cpu},\"generator_cpu_seconds\":0.5,\"sessions_per_second\":{per_second},\
             \"sessions_p50_us\":1000,\"sessions_p99_us\":2000}}"
        ))
        .unwrap()
    }

    fn round(narthex: f64, bare: f64) -> Round {
        let key = |server| (server, "get-session");
        Round::from([(key("narthex"), sample(narthex, 2.0)), (key("bare"), sample(bare, 1.0))])
    }

    #[test]
    fn a_sample_without_processor_time_is_no_sample() {
        assert_eq!(Sample::parse("{\"sessions_per_second\":5}"), None);
    }

    #[test]
    fn only_ratios_within_a_round_count() {
        let table = ratios(&[round(80.0, 100.0), round(9.0, 10.0), round(600.0, 1000.0)]);
        assert!(table.contains("| get-session: narthex / bare | 0.800 | 0.600 | 0.900 |"), "{table}");
        assert!(table.contains("| the same per CPU second | 0.400 | 0.300 | 0.450 |"), "{table}");
        assert!(!table.contains("node"), "{table}");
    }

    #[test]
    fn medians_are_given_per_server_and_workload() {
        let table = medians(&[round(80.0, 100.0), round(9.0, 10.0)]);
        assert!(table.contains("| narthex | get-session | session checks | 44.5 | 1.00 | 2.00 |"), "{table}");
    }
}
