//! Where the configuration comes from: defaults, then the file, then the environment, then flags.
//!
//! Nothing else reads the environment. Every mistake is collected, with what would be right.

use crate::secret_file;
use clap::Args;
use narthex::{Config, Environment, Secret, VersionedSecret};
use serde::Deserialize as _;
use std::{
    env,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};
use toml::{Table, Value};

/// The configuration file that is read when none is named.
const DEFAULT_FILE: &str = "narthex.toml";
const DEFAULT_PORT: u16 = 3001;

/// What can be said on the command line.
#[derive(Args)]
pub(crate) struct Flags {
    /// The configuration file; narthex.toml, if there is one, when absent.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The address to listen on.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Where the database is: `sqlite://path` or `postgres://…`
    #[arg(long, value_name = "URL")]
    database: Option<String>,
}

/// Everything the server needs to start.
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) listen: SocketAddr,
    pub(crate) database: String,
    /// What the person who starts the server should know.
    pub(crate) notes: Vec<String>,
}

impl Settings {
    pub(crate) fn load(flags: &Flags) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut file = read_file(flags.config.as_deref()).map_err(|problem| vec![problem])?;
        let data_dir =
            PathBuf::from(take_text(&mut file, "data-dir", &mut problems).unwrap_or_else(|| ".".to_owned()));
        if let Err(error) = std::fs::create_dir_all(&data_dir) {
            problems.push(format!("data-dir = {:?}: cannot be made: {error}", data_dir.display()));
        }
        let listen = listen(flags, take_text(&mut file, "listen", &mut problems), &mut problems);
        let database = database(flags, &mut file, &data_dir, &mut problems);
        let has_base_url = file.contains_key("base-url");
        let config =
            Config::deserialize(file).map_err(|error| problems.push(error.to_string().trim().to_owned()));
        let (Ok(mut config), Some(listen), true) = (config, listen, problems.is_empty()) else {
            return Err(problems);
        };

        if let Some(url) = variable("BETTER_AUTH_URL") {
            config.base_url = url;
        } else if !has_base_url {
            config.base_url = format!("http://localhost:{}", listen.port());
        }
        if let Some(origins) = variable("BETTER_AUTH_TRUSTED_ORIGINS") {
            let origins = origins.split(',').map(|origin| origin.trim().to_owned());
            config.trusted_origins.extend(origins.filter(|origin| !origin.is_empty()));
        }
        secrets(&mut config).map_err(|problem| vec![problem])?;
        let is_development = is_development(&config.base_url, listen);
        config.environment = if is_development { Environment::Development } else { Environment::Production };
        let mut notes = Vec::new();
        if config.secret.is_none() && config.secrets.is_none() {
            if !is_development {
                return Err(vec![
                    "secret: none is set; put the output of `openssl rand -base64 32` into BETTER_AUTH_SECRET".to_owned(),
                ]);
            }
            let path = data_dir.join(secret_file::NAME);
            let secret = secret_file::read_or_make(&path)
                .map_err(|error| vec![format!("{}: {error}", path.display())])?;
            config.secret = Some(secret);
            notes.push(format!(
                "secret     {} (for development; set BETTER_AUTH_SECRET in production)",
                path.display()
            ));
        }
        Ok(Self { config, listen, database, notes })
    }
}

/// The environment before the file, as for everything else; but a name that other programs read too comes last.
fn secrets(config: &mut Config) -> Result<(), String> {
    if let Some(list) = variable("BETTER_AUTH_SECRETS") {
        config.secrets = Some(VersionedSecret::parse_list(&list)?);
    }
    let own = variable("BETTER_AUTH_SECRET").map(Secret::from);
    let secret = own.or_else(|| config.secret.take().filter(|secret| !secret.expose().is_empty()));
    config.secret = secret.or_else(|| variable("AUTH_SECRET").map(Secret::from));
    Ok(())
}

fn read_file(named: Option<&Path>) -> Result<Table, String> {
    let path = match named {
        Some(path) => path,
        None if Path::new(DEFAULT_FILE).exists() => Path::new(DEFAULT_FILE),
        None => return Ok(Table::new()),
    };
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    text.parse().map_err(|error: toml::de::Error| format!("{}: {error}", path.display()))
}

fn listen(flags: &Flags, file: Option<String>, problems: &mut Vec<String>) -> Option<SocketAddr> {
    if let Some(listen) = flags.listen {
        return Some(listen);
    }
    if let Some(port) = variable("PORT") {
        // Set by platforms that route requests from elsewhere to it.
        let parsed = port.parse();
        if parsed.is_err() {
            problems.push(format!("PORT = {port:?}: must be a number from 0 to 65535"));
        }
        return parsed.ok().map(|port| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port));
    }
    match file {
        None => Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DEFAULT_PORT)),
        Some(text) => {
            let parsed = text.parse();
            if parsed.is_err() {
                problems.push(format!(
                    "listen = {text:?}: must be an address and a port, such as \"127.0.0.1:3001\""
                ));
            }
            parsed.ok()
        }
    }
}

fn database(flags: &Flags, file: &mut Table, data_dir: &Path, problems: &mut Vec<String>) -> String {
    let in_file = match file.get_mut("database") {
        Some(Value::Table(table)) => take_text(table, "url", problems),
        _ => None,
    };
    let url = flags.database.clone().or_else(|| variable("DATABASE_URL")).or(in_file);
    let url = url.unwrap_or_else(|| "sqlite://narthex.db".to_owned());
    match url.strip_prefix("sqlite://").map(Path::new) {
        // A relative file is in the data folder.
        Some(path) if path.is_relative() && !path.as_os_str().is_empty() && data_dir != Path::new(".") => {
            format!("sqlite://{}", data_dir.join(path).display())
        }
        _ => url,
    }
}

fn take_text(table: &mut Table, key: &str, problems: &mut Vec<String>) -> Option<String> {
    match table.remove(key)? {
        Value::String(text) => Some(text),
        other => {
            problems.push(format!("{key} = {other}: must be text in quotes"));
            None
        }
    }
}

/// Development is the exception: everything is on this machine, and nobody says otherwise.
fn is_development(base_url: &str, listen: SocketAddr) -> bool {
    let says = |name, what| variable(name).is_some_and(|value| value == what);
    if says("NARTHEX_ENV", "development") {
        return true;
    }
    let host = url::Url::parse(base_url).ok().and_then(|url| match url.host()? {
        url::Host::Domain(name) => Some(name == "localhost" || name.ends_with(".localhost")),
        url::Host::Ipv4(address) => Some(IpAddr::V4(address).is_loopback()),
        url::Host::Ipv6(address) => Some(IpAddr::V6(address).is_loopback()),
    });
    let is_production = says("NARTHEX_ENV", "production") || says("NODE_ENV", "production");
    host == Some(true) && listen.ip().is_loopback() && !is_production
}

/// A variable that is set and not empty.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
