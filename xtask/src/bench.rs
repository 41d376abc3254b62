//! `cargo xtask bench`: Narthex beside a bare server that does only the unavoidable, and beside
//! upstream on Node.
//!
//! All servers run at the same time on the first processor; the load generator and PostgreSQL have
//! the second. Measurements take turns, server after server, round after round, and only ratios
//! within one round count, so that a machine that slows down for a while slows all of them.

mod crowd;
pub(crate) mod footprint;
mod mission;
mod report;
mod servers;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use report::{Round, Sample};
use servers::{Kind, Server};

use crate::{
    conformance, npm,
    postgres::{self, Postgres, Purpose},
    tools::{self, Need, Outcome, cargo, on_path, output, root, target},
};

const TASKSET: Need =
    Need { name: "taskset", package: "util-linux", present: || on_path("taskset").is_some() };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Database {
    Sqlite,
    Postgres,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Workload {
    GetSession,
    SignIn,
    Mixed,
}

/// What to measure.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    rounds: usize,
    seconds: f64,
    databases: Vec<Database>,
    only: Option<Workload>,
    node: bool,
    narthex: bool,
    crowd: bool,
    mission: bool,
    python: bool,
}

impl Options {
    /// Reads the words after `bench`.
    pub(crate) fn parse(words: &[String]) -> Outcome<Self> {
        let mut options = Self {
            rounds: 7,
            seconds: 3.0,
            databases: vec![Database::Sqlite, Database::Postgres],
            only: None,
            node: true,
            narthex: true,
            crowd: false,
            mission: false,
            python: true,
        };
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word {
                "--no-node" => options.node = false,
                "--no-python" => options.python = false,
                "--no-narthex" => options.narthex = false,
                "--crowd" => options.crowd = true,
                "--mission" => options.mission = true,
                "--pairs" => options.rounds = number(word, value()?)?,
                "--seconds" => options.seconds = number(word, value()?)?,
                "--database" => {
                    options.databases = match value()? {
                        "sqlite" => vec![Database::Sqlite],
                        "postgres" => vec![Database::Postgres],
                        "both" => vec![Database::Sqlite, Database::Postgres],
                        other => return Err(format!("--database {other}: sqlite, postgres or both")),
                    };
                }
                "--only" => {
                    options.only = Some(match value()? {
                        "get-session" => Workload::GetSession,
                        "sign-in" => Workload::SignIn,
                        "mixed" => Workload::Mixed,
                        other => return Err(format!("--only {other}: get-session, sign-in or mixed")),
                    });
                }
                other => return Err(format!("unknown option: {other}")),
            }
        }
        if options.rounds == 0 || options.seconds <= 0.0 {
            return Err("--pairs and --seconds are at least one".to_owned());
        }
        Ok(options)
    }

    fn wants(&self, workload: Workload) -> bool {
        // What is kept of a mixed load is a ratio to the quiet ones.
        self.only.is_none_or(|only| only == workload || only == Workload::Mixed)
    }
}

fn number<T: std::str::FromStr>(option: &str, value: &str) -> Outcome<T> {
    value.parse().map_err(|_| format!("{option} {value}: not a number"))
}

/// What has been built and installed, and where the measurements keep their files.
struct Bench {
    programs: PathBuf,
    node: PathBuf,
    folder: PathBuf,
    credentials: PathBuf,
    seconds: f64,
}

/// Measures, and prints the tables as Markdown.
pub(crate) fn run(options: &Options) -> Outcome {
    if std::thread::available_parallelism().is_ok_and(|processors| processors.get() < 2) {
        return Err("two processors are needed: one for the servers, one for the load".to_owned());
    }
    let on_postgres = !options.crowd && options.databases.contains(&Database::Postgres);
    tools::provide(if on_postgres { &[TASKSET, postgres::NEED] } else { &[TASKSET] })?;
    if options.narthex || options.crowd || options.mission {
        conformance::release_binary()?;
    }
    let bench = Bench::build(options.seconds)?;
    if options.mission {
        return mission::run(&bench, options);
    }
    if options.node && !options.crowd {
        npm::install(&bench.node)?;
    }

    if options.crowd {
        return crowd::run(&bench, options);
    }
    for database in &options.databases {
        println!("\n## {database:?}: {} rounds of {} s per measurement\n", options.rounds, options.seconds);
        let rounds = bench.measure(*database, options)?;
        println!("{}", report::ratios(&rounds));
        println!("{}", report::medians(&rounds));
    }
    Ok(())
}

impl Bench {
    /// Builds what measures, and empties the folder of the last run.
    fn build(seconds: f64) -> Outcome<Self> {
        tools::run(&mut cargo(["build", "--release", "--package", "narthex-bench"]))?;
        let folder = target().join("bench");
        let unusable = |error| format!("{}: {error}", folder.display());
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(unusable)?;
        }
        fs::create_dir_all(&folder).map_err(unusable)?;
        let (programs, node) = (target().join("release"), root().join("bench/node"));
        Ok(Self { programs, node, credentials: folder.join("credentials"), folder, seconds })
    }

    fn measure(&self, database: Database, options: &Options) -> Outcome<Vec<Round>> {
        let postgres = match database {
            Database::Sqlite => None,
            Database::Postgres => Some(Postgres::start(Purpose::Measurement)?),
        };
        let mut servers = Vec::new();
        if options.narthex {
            servers.push(self.start(Kind::Narthex, postgres.as_ref())?);
        }
        servers.push(self.start(Kind::Bare, postgres.as_ref())?);
        if options.node {
            servers.push(self.start_faster_node(postgres.as_ref())?);
        }
        let mut rounds = Vec::new();
        for round in 1..=options.rounds {
            eprintln!("round {round} of {}", options.rounds);
            rounds.push(self.round(&servers, options)?);
        }
        Ok(rounds)
    }

    /// Node's own HTTP server and Hono are tried once; the faster one is compared.
    fn start_faster_node(&self, postgres: Option<&Postgres>) -> Outcome<Server> {
        let mut best: Option<(f64, Server)> = None;
        for kind in [Kind::NodeHttp, Kind::NodeHono] {
            let server = self.start(kind, postgres)?;
            // Until its code is compiled Node runs at half its speed.
            self.load(&server, "get-session")?;
            let rate = self.load(&server, "get-session")?.sessions.map_or(0.0, |rate| rate.per_second);
            println!("{}: {rate:.0} session checks per second when tried", kind.name());
            if best.as_ref().is_none_or(|(fastest, _)| rate > *fastest) {
                best = Some((rate, server));
            }
        }
        best.map(|(_, server)| server).ok_or_else(|| "upstream did not start".to_owned())
    }

    fn round(&self, servers: &[Server], options: &Options) -> Outcome<Round> {
        let mut round = Round::default();
        if options.wants(Workload::GetSession) {
            for server in servers {
                round.insert((server.role(), "get-session"), self.load(server, "get-session")?);
            }
        }
        if options.wants(Workload::SignIn) {
            for server in servers {
                let workload = if server.kind == Kind::Bare { "hash" } else { "sign-in" };
                round.insert((server.role(), workload), self.load(server, workload)?);
            }
        }
        if options.only.is_none_or(|only| only == Workload::Mixed) {
            for server in servers.iter().filter(|server| server.kind != Kind::Bare) {
                round.insert((server.role(), "mixed"), self.load(server, "mixed")?);
            }
        }
        Ok(round)
    }

    fn load(&self, server: &Server, workload: &str) -> Outcome<Sample> {
        let mut command = on_processor(1, &self.programs.join("load"));
        command.arg(workload).arg(server.port.to_string()).arg(server.process_id().to_string());
        command.arg(self.seconds.to_string()).arg(&self.credentials);
        let line = output(&mut command).map_err(|problem| format!("{}: {problem}", server.kind.name()))?;
        let sample = Sample::parse(&line).ok_or_else(|| format!("load printed: {line}"))?;
        // It would then be the generator that is measured.
        if sample.generator_cpu_seconds > 0.9 * self.seconds {
            eprintln!("{}, {workload}: the load generator had no time to spare", server.kind.name());
        }
        Ok(sample)
    }
}

fn on_processor(number: u8, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &number.to_string()]).arg(program);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Outcome<Options> {
        Options::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read_and_the_rest_keeps_its_default() {
        let options = parse("--pairs 9 --database sqlite --no-node").unwrap();
        assert_eq!((options.rounds, options.databases), (9, vec![Database::Sqlite]));
        assert_eq!((options.node, options.narthex, options.only), (false, true, None));
    }

    #[test]
    fn a_mistake_in_the_options_is_named() {
        assert_eq!(parse("--pairs"), Err("--pairs needs a value".to_owned()));
        assert_eq!(parse("--pairs x"), Err("--pairs x: not a number".to_owned()));
        assert_eq!(parse("--fast"), Err("unknown option: --fast".to_owned()));
        assert_eq!(parse("--only hash"), Err("--only hash: get-session, sign-in or mixed".to_owned()));
    }

    #[test]
    fn a_mixed_load_brings_the_quiet_ones_it_is_compared_with() {
        let options = parse("--only mixed").unwrap();
        assert!(options.wants(Workload::GetSession) && options.wants(Workload::SignIn));
        assert!(!parse("--only sign-in").unwrap().wants(Workload::GetSession));
    }
}
