//! What the server adds to the library's options.

use super::{
    cors::CorsOptions,
    http::HttpOptions,
    listen::{Listen, SocketMode},
    log::LogOptions,
    metrics::MetricsOptions,
    tls::TlsOptions,
    traces::TracesOptions,
};
use narthex_plugins::Plugins;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

const DEFAULT_PORT: u16 = 3001;

/// Options of the server itself.
#[derive(Debug, Clone, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ServerOptions {
    /// The address and port to listen on: `"127.0.0.1:3001"`, or `"0.0.0.0:3001"` for all addresses. Or a Unix socket,
    /// `"unix:/run/narthex/narthex.sock"`, for a proxy or an application on this machine.
    listen: String,
    /// Who may connect to that Unix socket: the server's own user (`0600`), its group too (`0660`), or everybody (`0666`).
    /// Whoever may is believed whose requests it passes on.
    pub(crate) socket_mode: SocketMode,
    /// The folder for the SQLite file, when its path is relative, and the development secret; made at start.
    pub(crate) data_dir: PathBuf,
    /// What the server writes down.
    pub(crate) log: LogOptions,
    /// Pages of other origins.
    pub(crate) cors: CorsOptions,
    /// What a connection may take.
    pub(crate) http: HttpOptions,
    /// HTTPS without a proxy.
    pub(crate) tls: TlsOptions,
    /// What a monitoring system asks for.
    pub(crate) metrics: MetricsOptions,
    /// Traces of requests.
    pub(crate) traces: TracesOptions,
    /// What can be left out; a section is enough to have it.
    pub(crate) plugins: Plugins,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DEFAULT_PORT).to_string(),
            socket_mode: SocketMode::default(),
            data_dir: ".".into(),
            log: LogOptions::default(),
            cors: CorsOptions::default(),
            http: HttpOptions::default(),
            tls: TlsOptions::default(),
            metrics: MetricsOptions::default(),
            traces: TracesOptions::default(),
            plugins: Plugins::default(),
        }
    }
}

impl ServerOptions {
    pub(super) fn check(&self, base_url: &str, problems: &mut Vec<String>) {
        self.log.check(problems);
        self.cors.check(problems);
        self.http.check(problems);
        self.tls.check(base_url, problems);
        self.traces.check(problems);
        match self.place() {
            Ok(Listen::Tcp(_)) => {}
            Ok(Listen::Unix(_)) => self.tls.check_unix(problems),
            Err(right) => problems.push(format!("listen = {:?}: {right}", self.listen)),
        }
    }

    /// Where to listen, or what would be right.
    pub(super) fn place(&self) -> Result<Listen, &'static str> {
        self.listen.parse()
    }
}
