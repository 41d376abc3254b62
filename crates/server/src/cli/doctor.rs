//! `narthex doctor`: what would go wrong, and what to do about it.

use super::{Failure, block_on, database, print, serve};
use crate::settings::{Flags, JWT_SECRET, Listen, Settings, SocketMode};
use narthex::{Environment, Migrate, Store, chain};
use std::{fmt, fs, io, path::Path};
use url::Url;

/// Clocks that differ by more make sessions end early or late.
const TOLERATED_MILLISECONDS: i64 = 2_000;

/// How something was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fine,
    Doubtful,
    Wrong,
}

struct Finding {
    state: State,
    about: &'static str,
    text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Fine => "ok",
            State::Doubtful => "warn",
            State::Wrong => "FAIL",
        };
        write!(f, "{state:4}  {:17}  {}", self.about, self.text)
    }
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn fine(&mut self, about: &'static str, text: impl Into<String>) {
        self.0.push(Finding { state: State::Fine, about, text: text.into() });
    }

    fn doubtful(&mut self, about: &'static str, text: impl Into<String>) {
        self.0.push(Finding { state: State::Doubtful, about, text: text.into() });
    }

    fn wrong(&mut self, about: &'static str, text: impl Into<String>) {
        self.0.push(Finding { state: State::Wrong, about, text: text.into() });
    }
}

pub(super) fn run(flags: &Flags) -> Result<(), Failure> {
    // Mistakes in the configuration are reported as everywhere: all at once, with exit code 2.
    let mut settings = Settings::load(flags).map_err(Failure::Usage)?;
    let mut findings = Findings::default();
    findings.fine("configuration", format!("{} entries, no mistakes", settings.written.len()));
    check_environment(&settings, &mut findings);
    check_secret(&settings, &mut findings);
    check_base_url(&settings, &mut findings);
    check_socket(&settings, &mut findings);
    check_proxies(&settings, &mut findings);
    check_certificate(&settings, &mut findings);
    settings.imagine_secret();
    block_on(async {
        check_database(&settings, &mut findings).await;
        check_secondary(&settings, &mut findings).await;
        Ok(())
    })?;
    let lines: Vec<String> = findings.0.iter().map(ToString::to_string).collect();
    print(&lines.join("\n"))?;
    match findings.0.iter().filter(|finding| finding.state == State::Wrong).count() {
        0 => Ok(()),
        1 => Err(Failure::failed("one check failed")),
        several => Err(Failure::failed(format!("{several} checks failed"))),
    }
}

fn check_environment(settings: &Settings, findings: &mut Findings) {
    match settings.config.environment {
        Environment::Production => {
            findings.fine("environment", "production: requests are limited, a secret is required");
        }
        Environment::Development => findings.fine(
            "environment",
            "development: base-url and listen are on this machine, and NODE_ENV does not say production",
        ),
    }
}

fn check_secret(settings: &Settings, findings: &mut Findings) {
    match settings.config.has_weak_secret() {
        None => findings.doubtful(
            "secret",
            "none is set; one is made in the data folder, for development only. Put the output of `narthex secret` into BETTER_AUTH_SECRET",
        ),
        Some(true) => findings.doubtful(
            "secret",
            "looks as if somebody had made it up. Put the output of `narthex secret` into BETTER_AUTH_SECRET",
        ),
        Some(false) if settings.written.iter().any(|(key, place)| key == "secret" && place == JWT_SECRET) => {
            findings.doubtful(
                "secret",
                "derived from JWT_SECRET, which every backend has: a new JWT_SECRET signs everybody out. Put the output of `narthex secret` into BETTER_AUTH_SECRET",
            );
        }
        Some(false) => findings.fine("secret", "looks random"),
    }
    for (key, place) in
        settings.written.iter().filter(|(key, _)| key == "secret" || key.starts_with("secrets["))
    {
        let file = place.rsplit_once(':').map(|(file, _)| Path::new(file));
        if let Some(file) = file.filter(|file| is_open_to_others(file)) {
            let path = file.display();
            findings.doubtful("secret", format!("{path} has {key} and others may read it: chmod 600 {path}"));
            break;
        }
    }
}

fn check_base_url(settings: &Settings, findings: &mut Findings) {
    let text = &settings.config.base_url;
    let Ok(url) = Url::parse(text) else { return };
    let is_here = settings.config.environment == Environment::Development
        || matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if url.scheme() == "http" && !is_here {
        findings.doubtful(
            "base-url",
            format!("{text} is not https: passwords and cookies can be read on the way. Set it to the https:// address that clients use"),
        );
    } else if url.scheme() == "http" && settings.config.environment == Environment::Production {
        findings.doubtful(
            "base-url",
            format!("{text} is this machine, in production. Set base-url, or BETTER_AUTH_URL, to the address that clients use"),
        );
    } else {
        findings.fine("base-url", text);
    }
}

fn check_socket(settings: &Settings, findings: &mut Findings) {
    let Listen::Unix(path) = &settings.listen else { return };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let folder = folder.display();
        return findings.wrong(
            "listen",
            format!("{}: there is no folder {folder}; make it, or set listen", settings.listen),
        );
    }
    let who = match settings.options.socket_mode {
        SocketMode::Owner => "this user",
        SocketMode::Group => "this user and its group",
        SocketMode::Everybody => "everybody on this machine",
    };
    findings.fine("listen", format!("{}: {who} may connect, and name the clients", settings.listen));
}

fn check_proxies(settings: &Settings, findings: &mut Findings) {
    if matches!(settings.listen, Listen::Unix(_)) {
        return;
    }
    let advanced = &settings.config.advanced;
    let proxies = advanced.trusted_proxies.as_ref().or(advanced.ip_address.trusted_proxies.as_ref());
    match proxies {
        Some(proxies) => findings.fine("proxies", format!("{} may name their clients", proxies.join(", "))),
        None if settings.listen.is_local() => {
            findings.fine("proxies", "those on this machine may name their clients");
        }
        None => findings.fine(
            "proxies",
            "only those on this machine may name their clients; behind one elsewhere, list it in advanced.trusted-proxies",
        ),
    }
}

fn check_certificate(settings: &Settings, findings: &mut Findings) {
    let certificates = match serve::certificates(&settings.options.tls) {
        Ok(None) => return,
        Ok(Some(certificates)) => certificates,
        Err(Failure::Usage(problems)) => return findings.wrong("certificate", problems.join("; ")),
        Err(Failure::Failed(problem)) => return findings.wrong("certificate", problem),
    };
    let (ends, warning) = certificates.end();
    match warning {
        Some(warning) => findings.doubtful("certificate", warning),
        None => findings.fine("certificate", format!("fits its key and ends on {ends}")),
    }
    let url = Url::parse(&settings.config.base_url).ok();
    // An IPv6 address stands in brackets in a URL only.
    let host = url.as_ref().and_then(Url::host_str).map(|host| host.trim_matches(['[', ']']));
    if let Some(host) = host.filter(|host| !certificates.covers(host)) {
        findings.wrong(
            "certificate",
            format!("is not for {host}, the host of base-url, and clients refuse it: get one for that name, or set base-url to one of its own"),
        );
    }
    let key = settings.options.tls.key.as_deref().map(Path::new);
    // A group may be: distributions have one for programs that use such keys.
    if let Some(key) = key.filter(|key| is_open_to(key, 0o007)) {
        let path = key.display();
        findings.doubtful("certificate", format!("everybody may read its key: chmod o= {path}"));
    }
}

async fn check_database(settings: &Settings, findings: &mut Findings) {
    let file = settings.database.strip_prefix("sqlite://").map(Path::new);
    if let Some(file) = file.filter(|file| !file.exists()) {
        let path = file.display();
        match file.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
            Some(folder) if folder != settings.options.data_dir => findings.wrong(
                "database",
                format!("{path}: there is no folder {}; make it, or set database.url", folder.display()),
            ),
            _ => findings.fine("database", format!("{path} is not there yet and will be made")),
        }
        return;
    }
    if let Some((file, error)) = file.and_then(|file| Some((file, cannot_write(file)?))) {
        let path = file.display();
        return findings
            .wrong("database", format!("{path}: {error}; let this user write to it and its folder"));
    }
    let store = match database::inspect(settings).await {
        Ok(store) => store,
        Err(Failure::Usage(problems)) => return findings.wrong("database", problems.join("; ")),
        Err(Failure::Failed(problem)) => return findings.wrong("database", problem),
    };
    if let Some(file) = file.filter(|file| is_open_to_others(file)) {
        let path = file.display();
        findings.doubtful("database", format!("others may read {path}: chmod 600 {path}"));
    }
    check_clock(&store, findings).await;
    let migrate = settings.config.database.migrate;
    // That the secondary storage does not answer is told by its own check.
    let Ok(builder) = database::engine(settings.config.clone(), &settings.options.plugins).await else {
        return findings.fine("database", "answers");
    };
    let pending = builder.migrate(store, false).await;
    match pending {
        Err(error) => findings.wrong("database", error.problems.join("; ")),
        Ok(pending) if pending.statements.is_empty() => {
            findings.fine("database", "answers, tables are up to date");
        }
        Ok(_) => match migrate {
            Migrate::Auto => findings.fine(
                "database",
                "answers; what its tables lack is added at start (`narthex migrate --dry-run` shows it)",
            ),
            Migrate::Check | Migrate::Off => {
                findings.wrong("database", "its tables lack something: run `narthex migrate`");
            }
        },
    }
}

async fn check_clock(store: &Store, findings: &mut Findings) {
    match store.clock_difference().await {
        Ok(Some(difference)) => {
            if difference.abs() > TOLERATED_MILLISECONDS {
                findings.doubtful(
                    "clock",
                    format!(
                        "differs by {} s from the database's; set both machines' clocks by NTP",
                        difference / 1000
                    ),
                );
            } else {
                findings.fine("clock", "agrees with the database's");
            }
        }
        // The same machine's.
        Ok(None) => {}
        Err(error) => {
            findings.wrong("clock", format!("the database does not tell its time: {}", chain(&error)));
        }
    }
}

async fn check_secondary(settings: &Settings, findings: &mut Findings) {
    if settings.config.secondary_storage.url.is_none() {
        return;
    }
    match database::engine(settings.config.clone(), &settings.options.plugins).await {
        Ok(_) => findings.fine("secondary storage", "answers"),
        Err(Failure::Failed(problem)) => findings.wrong("secondary storage", problem),
        Err(Failure::Usage(problems)) => findings.wrong("secondary storage", problems.join("; ")),
    }
}

/// Why this user may not write to a file that is there. Opening it changes nothing.
fn cannot_write(file: &Path) -> Option<io::Error> {
    fs::OpenOptions::new().append(true).open(file).err()
}

/// Whether somebody besides its owner may read a file.
fn is_open_to_others(file: &Path) -> bool {
    is_open_to(file, 0o077)
}

/// Whether any of these permissions is given.
fn is_open_to(file: &Path, permissions: u32) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & permissions != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = (file, permissions);
        false
    }
}
