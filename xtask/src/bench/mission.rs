//! `cargo xtask bench --mission`: whether sign-ins, sign-ups, tokens and sessions are answered as quickly as they have to
//! be, with as many people as there have to be.
//!
//! Requests arrive evenly and wait for nobody (`load steady`). How many people sign in or up is half of what the same
//! server can hash, which is measured just before.

use std::{fs, process::Command};

use super::{
    Bench, Database, Options, on_processor,
    report::member,
    servers::{Kind, Server, only_the_file_counts},
};
use crate::{
    postgres::{Postgres, Purpose},
    python,
    tools::{self, Outcome, output},
};

/// Accounts that are there before anybody is measured.
const PEOPLE: u32 = 10_000;
/// Of these, how many are signed in.
const SESSIONS: u32 = 1000;
/// How often each session asks for itself, and how often for a token, in seconds.
const EVERY: u32 = 10;

/// All requests come from one address, which no limit would let pass.
const CONFIGURATION: &str = "[rate-limit]\nenabled = false\n[plugins.jwt]\n";

/// What has a limit, the 95th percentile in milliseconds.
const LIMITS: [(&str, f64); 4] =
    [("sign-in", 200.0), ("sign-up", 200.0), ("get-session", 50.0), ("token", 50.0)];
/// A whole request to a `FastAPI` application, without a network, in milliseconds.
const VALIDATION: f64 = 0.4;
/// What a validation may take beyond the bare check of the signature, in milliseconds.
const BEYOND: f64 = 0.06;

/// One line of the table; times are in milliseconds.
#[derive(Debug, PartialEq)]
struct Row {
    what: String,
    /// Requests a second, where they arrive.
    rate: Option<f64>,
    p50: Option<f64>,
    p95: f64,
    p99: Option<f64>,
    limit: f64,
}

impl Row {
    fn to_markdown(&self) -> String {
        let number = |number: Option<f64>, digits| {
            number.map_or_else(String::new, |number| format!("{number:.digits$}"))
        };
        let digits = if self.limit < 1.0 { 3 } else { 1 };
        let limit = self.limit;
        let cells = [
            self.what.clone(),
            number(self.rate, 1),
            number(self.p50, digits),
            number(Some(self.p95), digits),
            number(self.p99, digits),
            limit.to_string(),
            if self.p95 <= limit { "met" } else { "**missed**" }.to_owned(),
        ];
        format!("| {} |\n", cells.join(" | ")).replace("|  |", "| |").replace("|  |", "| |")
    }
}

/// Measures, and prints the table as Markdown.
pub(super) fn run(bench: &Bench, options: &Options) -> Outcome {
    if options.python {
        tools::provide(&[python::VENV])?;
    }
    let people = bench.folder.join("people.csv");
    tools::run(Command::new(bench.programs.join("people")).arg(&people).arg(PEOPLE.to_string()))?;
    let mut rows = Vec::new();
    let mut capacities = Vec::new();
    for database in &options.databases {
        let postgres = match database {
            Database::Sqlite => None,
            Database::Postgres => Some(Postgres::start(Purpose::Measurement)?),
        };
        let url = bench.database(Kind::Narthex, postgres.as_ref())?;
        let server = bench.spawn_with(Kind::Narthex, &url, CONFIGURATION)?;
        let mut import = Command::new(bench.programs.join("narthex"));
        import.arg("import").arg(&people).arg("--config").arg(bench.configuration_file());
        only_the_file_counts(&mut import);
        tools::run(&mut import)?;
        let capacity = sign_in(bench, &server)?;
        capacities.push(format!("{capacity:.1} passwords a second on {database:?}"));
        for first in ["sign-in", "sign-up"] {
            eprintln!("{database:?}: {first}, {:.1} a second", capacity / 2.0);
            rows.extend(steady(bench, *database, &server, first, capacity / 2.0)?);
        }
        // The server stays for it; its token is verified.
        if options.python && Some(database) == options.databases.last() {
            let cookies = fs::read_to_string(bench.folder.join("cookies")).unwrap_or_default();
            let origin = format!("http://localhost:{}", server.port);
            rows.extend(validation(&python::bench(&origin, cookies.lines().next().unwrap_or_default())?)?);
        }
    }
    println!(
        "\n## {PEOPLE} accounts, {SESSIONS} live sessions, {} s of sign-ins and of sign-ups\n",
        bench.seconds
    );
    println!("The server's one processor hashes {}.\n", capacities.join(", "));
    println!("{}", table(&rows));
    Ok(())
}

/// Signs people in until there are enough sessions; how many passwords a second the server compares at most.
fn sign_in(bench: &Bench, server: &Server) -> Outcome<f64> {
    let mut command = on_processor(1, &bench.programs.join("load"));
    command.arg("sessions").arg(server.port.to_string()).arg(SESSIONS.to_string());
    let line = output(command.arg(bench.folder.join("cookies")))?;
    member(&line, "sign_ins_per_second").ok_or_else(|| format!("load printed: {line}"))
}

/// Lets people sign in or up while all sessions ask for themselves and for tokens.
fn steady(bench: &Bench, database: Database, server: &Server, first: &str, rate: f64) -> Outcome<Vec<Row>> {
    let others = f64::from(SESSIONS / EVERY);
    let kinds = [(first, rate), ("get-session", others), ("token", others)];
    let mut command = on_processor(1, &bench.programs.join("load"));
    command.arg("steady").arg(server.port.to_string()).arg(server.process_id().to_string());
    command.arg(bench.seconds.to_string()).arg(PEOPLE.to_string()).arg(bench.folder.join("cookies"));
    let line = output(command.args(kinds.map(|(kind, rate)| format!("{kind}={rate}"))))?;
    if member(&line, "generator_cpu_seconds").is_none_or(|seconds| seconds > 0.9 * bench.seconds) {
        eprintln!("{database:?}, {first}: the load generator had no time to spare");
    }
    kinds.iter().map(|(kind, _)| row(&line, database, first, kind)).collect()
}

fn row(line: &str, database: Database, first: &str, kind: &str) -> Outcome<Row> {
    let number = |name: &str| {
        member(line, &format!("{kind}_{name}"))
            .ok_or_else(|| format!("load printed nothing of {kind}: {line}"))
    };
    let limit = LIMITS.iter().find_map(|(name, limit)| (*name == kind).then_some(*limit));
    let beside = if kind == first { String::new() } else { format!(" beside {first}s") };
    Ok(Row {
        what: format!("{database:?}: {kind}{beside}"),
        rate: Some(number("per_second")?),
        p50: Some(number("p50_us")? / 1000.0),
        p95: number("p95_us")? / 1000.0,
        p99: Some(number("p99_us")? / 1000.0),
        limit: limit.ok_or("no limit")?,
    })
}

/// What `bench.py` has measured.
fn validation(printed: &str) -> Outcome<Vec<Row>> {
    let line = printed.lines().last().unwrap_or_default();
    let number = |name: &str| {
        member(line, name).map(|us| us / 1000.0).ok_or_else(|| format!("bench.py printed: {line}"))
    };
    let row =
        |what: &str, p95, limit| Row { what: what.to_owned(), rate: None, p50: None, p95, p99: None, limit };
    Ok(vec![
        row(
            "Python: a token is verified inside a request to FastAPI",
            number("in_fastapi_p95_us")?,
            VALIDATION,
        ),
        row(
            "Python: of that, beyond the bare signature check",
            number("in_fastapi_beyond_signature_p95_us")?,
            BEYOND,
        ),
    ])
}

fn table(rows: &[Row]) -> String {
    let rows: String = rows.iter().map(Row::to_markdown).collect();
    format!("| | a second | p50 ms | p95 ms | p99 ms | limit of p95 | |\n|-|-:|-:|-:|-:|-:|-|\n{rows}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"server_cpu_seconds":1,"token_per_second":100.0,"token_p50_us":900,"token_p95_us":50001,"token_p99_us":60000}"#;

    #[test]
    fn what_is_slower_than_its_limit_is_missed() {
        let row = row(LINE, Database::Postgres, "sign-in", "token").unwrap();
        assert_eq!(
            row.to_markdown(),
            "| Postgres: token beside sign-ins | 100.0 | 0.9 | 50.0 | 60.0 | 50 | **missed** |\n"
        );
        assert!(Row { p95: 50.0, ..row }.to_markdown().ends_with("| met |\n"));
        assert!(super::row(LINE, Database::Sqlite, "sign-in", "sign-in").is_err());
    }

    #[test]
    fn what_the_python_package_costs_is_in_milliseconds() {
        let printed = "{\"in_fastapi_p95_us\": 401.0, \"in_fastapi_beyond_signature_p95_us\": 42}\n";
        let table = table(&validation(printed).unwrap());
        assert!(table.contains("| | | 0.401 | | 0.4 | **missed** |"), "{table}");
        assert!(table.contains("| | | 0.042 | | 0.06 | met |"), "{table}");
        assert!(validation("").is_err());
    }
}
