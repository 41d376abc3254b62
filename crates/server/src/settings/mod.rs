//! Where the configuration comes from: defaults, then the file, then the environment, then flags.
//!
//! Every mistake is reported at once, each with where it was written and what would be right.

mod cors;
mod document;
mod environment;
mod http;
mod listen;
mod log;
mod metrics;
mod mistakes;
mod options;
mod reference;
mod tls;
mod traces;
mod upstream;

pub(crate) use self::{
    cors::CorsOptions,
    environment::JWT_SECRET,
    http::HttpOptions,
    listen::{Listen, SocketMode},
    log::{LogFormat, LogOptions},
    metrics::MetricsOptions,
    options::ServerOptions,
    tls::TlsOptions,
    traces::TracesOptions,
};

use self::document::{Document, Place};
use crate::secret_file;
use clap::Args;
use narthex::{Auth, Config, Environment};
use serde_json::{Value as Json, json};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};
use toml::Table;

/// The configuration file that is read when none is named.
pub(crate) const DEFAULT_FILE: &str = "narthex.toml";

/// Where the configuration is, and what comes before it.
#[derive(Args)]
pub(crate) struct Flags {
    /// The configuration file; narthex.toml, if there is one, when absent.
    #[arg(long, value_name = "FILE", env = "NARTHEX_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Where to listen: an address and port, or `unix:PATH`
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Where the database is: `sqlite://path` or `postgres://…`
    #[arg(long, value_name = "URL")]
    database: Option<String>,
}

/// Everything the server needs to start.
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) options: ServerOptions,
    pub(crate) listen: Listen,
    pub(crate) database: String,
    /// Every entry that somebody wrote, with where.
    pub(crate) written: Vec<(String, String)>,
    /// The file that has the secret, when nobody has set one and this is development.
    secret_file: Option<PathBuf>,
}

impl Settings {
    /// Reads everything and changes nothing.
    pub(crate) fn load(flags: &Flags) -> Result<Self, Vec<String>> {
        Self::load_for(flags, None)
    }

    /// As [`Self::load`], for a socket that was opened for us: its address wins over what is configured.
    pub(crate) fn load_for(flags: &Flags, inherited: Option<Listen>) -> Result<Self, Vec<String>> {
        let mut document = read_file(flags.config.as_deref())?;
        let mut problems = Vec::new();
        environment::apply(&mut document, &mut problems);
        if let Some(listen) = &flags.listen {
            document.set(&["listen"], listen.as_str().into(), Place::Flag("--listen"));
        }
        if let Some(listen) = inherited {
            document.set(&["listen"], listen.to_string().into(), Place::Variable("LISTEN_FDS".to_owned()));
        }
        if let Some(url) = &flags.database {
            document.set(&["database", "url"], url.as_str().into(), Place::Flag("--database"));
        }

        let mut table = document.table.clone();
        let own = own_keys();
        let own_table: Table = own.iter().filter_map(|key| table.remove_entry(key)).collect();
        let mut options: ServerOptions = mistakes::read(own_table, &[], &document, &mut problems);
        let mut config: Config = mistakes::read(table, &own, &document, &mut problems);
        // Without an address that was told already, and nothing is started.
        let listen = options.place().unwrap_or(Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))));
        if !document.has("base-url") {
            let scheme = if options.tls.files().is_some() { "https" } else { "http" };
            config.base_url = listen.base_url(scheme);
        }
        options.cors.fill(&mut config.trusted_origins);
        options.check(&config.base_url, &mut problems);
        let says_production = environment::is_production(&mut problems);
        let is_development = is_development(&config.base_url, &listen, says_production);
        config.environment = if is_development { Environment::Development } else { Environment::Production };
        let is_secret_set = config.secrets.is_some()
            || config.secret.as_ref().is_some_and(|secret| !secret.expose().is_empty());
        for problem in options.plugins.install(Auth::builder(config.clone())).check() {
            let key = problem.split([':', ' ', '[']).next().unwrap_or_default();
            // What could not be read, and what is made later, is not checked by what stands in for it.
            if !is_told(&problems, key) && (key != "secret" || is_secret_set) {
                problems.push(problem);
            }
        }
        // Whether one is needed is not known before it is known what this is for.
        let is_known = says_production.is_some()
            || !["base-url", "listen", "NARTHEX_ENV"].iter().any(|key| is_told(&problems, key));
        let is_wanted = !is_secret_set && !is_development && is_known;
        if is_wanted
            && !["secret", "secrets", "BETTER_AUTH_SECRETS"].iter().any(|key| is_told(&problems, key))
        {
            let besides = environment::cannot_derive().map(|why| format!("{why}; ")).unwrap_or_default();
            problems.push(format!(
                "secret: none is set; {besides}put the output of `narthex secret` into BETTER_AUTH_SECRET"
            ));
        }
        if !problems.is_empty() {
            return Err(in_order(&document, problems));
        }

        let database = database(&config, &options.data_dir);
        let written = document.places().map(|(path, place)| (path.to_owned(), place.to_string())).collect();
        let secret_file = (!is_secret_set).then(|| options.data_dir.join(secret_file::NAME));
        Ok(Self { config, options, listen, database, written, secret_file })
    }

    /// For a command that signs nothing and makes no files: the development secret is made when the server starts.
    pub(crate) fn imagine_secret(&mut self) {
        if self.secret_file.is_some() {
            self.config.secret = Some("no cookie is signed with this placeholder".into());
        }
    }

    /// Takes the development secret that a server has made, and makes none; whether there is one.
    pub(crate) fn find_secret(&mut self) -> Result<bool, String> {
        let Some(path) = self.secret_file.as_ref() else { return Ok(true) };
        if !path.exists() {
            return Ok(false);
        }
        self.prepare().map(|_| true)
    }

    /// Makes what a server needs in its data folder, and tells what a person should know of it.
    pub(crate) fn prepare(&mut self) -> Result<Vec<String>, String> {
        let folder = &self.options.data_dir;
        std::fs::create_dir_all(folder).map_err(|error| {
            format!(
                "data-dir = {:?}: cannot be made: {error}; set data-dir to a folder that this user may write to",
                folder.display()
            )
        })?;
        let Some(path) = &self.secret_file else { return Ok(Vec::new()) };
        let secret = secret_file::read_or_make(path).map_err(|error| {
            let remedy = match error.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    "; set BETTER_AUTH_SECRET, or data-dir to a folder that this user may write to"
                }
                _ => "",
            };
            format!("{}: {error}{remedy}", path.display())
        })?;
        self.config.secret = Some(secret);
        Ok(vec![format!(
            "secret     {} (for development; set BETTER_AUTH_SECRET in production)",
            path.display()
        )])
    }
}

/// Whether a mistake at this key was told already.
fn is_told(problems: &[String], key: &str) -> bool {
    let is_it =
        |problem: &String| problem.strip_prefix(key).is_some_and(|rest| rest.starts_with([':', ' ', '[']));
    problems.iter().any(is_it)
}

/// The schema of the whole file, for editors.
pub(crate) fn schema() -> Json {
    let mut schema = mistakes::schema::<Config>();
    let own = mistakes::schema::<ServerOptions>();
    for part in ["properties", "$defs"] {
        let (Some(Json::Object(all)), Some(Json::Object(more))) = (schema.get_mut(part), own.get(part))
        else {
            continue;
        };
        // The server's come first, as they do in everybody's file.
        let rest = std::mem::replace(all, more.clone());
        all.extend(rest);
    }
    schema["title"] = json!("narthex.toml");
    schema
}

/// The reference of all options, as Markdown.
pub(crate) fn reference() -> String {
    reference::write(&schema())
}

/// The keys of the options that are the server's.
fn own_keys() -> Vec<String> {
    let schema = mistakes::schema::<ServerOptions>();
    let properties = schema.get("properties").and_then(Json::as_object);
    properties.into_iter().flat_map(|properties| properties.keys().cloned()).collect()
}

/// Mistakes with where they were written: those of the file first, from its top to its end.
fn in_order(document: &Document, problems: Vec<String>) -> Vec<String> {
    let line = |place: Option<&Place>| match place {
        Some(Place::Line(_, line)) => *line,
        _ => usize::MAX,
    };
    let mut problems: Vec<_> =
        problems.into_iter().map(|problem| (document.place(&problem).cloned(), problem)).collect();
    problems.sort_by_key(|(place, _)| line(place.as_ref()));
    let placed = |(place, problem)| match place {
        Some(place) => format!("{place}: {problem}"),
        None => problem,
    };
    problems.into_iter().map(placed).collect()
}

fn read_file(named: Option<&Path>) -> Result<Document, Vec<String>> {
    let path = match named {
        Some(path) => path,
        None if Path::new(DEFAULT_FILE).exists() => Path::new(DEFAULT_FILE),
        None => return Ok(Document::default()),
    };
    let text = std::fs::read_to_string(path).map_err(|error| vec![format!("{}: {error}", path.display())])?;
    Document::parse(path, &text)
}

fn database(config: &Config, data_dir: &Path) -> String {
    let url = config.database.url.clone().unwrap_or_else(|| "sqlite://narthex.db".to_owned());
    match url.strip_prefix("sqlite://").map(Path::new) {
        // A relative file is in the data folder.
        Some(path) if path.is_relative() && !path.as_os_str().is_empty() && data_dir != Path::new(".") => {
            format!("sqlite://{}", data_dir.join(path).display())
        }
        _ => url,
    }
}

/// Development is the exception: everything is on this machine, and nobody says otherwise.
fn is_development(base_url: &str, listen: &Listen, says_production: Option<bool>) -> bool {
    let host = url::Url::parse(base_url).ok().and_then(|url| match url.host()? {
        url::Host::Domain(name) => Some(name == "localhost" || name.ends_with(".localhost")),
        url::Host::Ipv4(address) => Some(IpAddr::V4(address).is_loopback()),
        url::Host::Ipv6(address) => Some(IpAddr::V6(address).is_loopback()),
    });
    let is_here = host == Some(true) && listen.is_local();
    says_production.map_or(is_here, |production| !production)
}
