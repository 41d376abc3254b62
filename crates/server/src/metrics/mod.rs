//! What there is to know about a running server, in the text that Prometheus reads.
//!
//! The engine counts through the crate `metrics`; here is the recorder that keeps what it counts, and what the server
//! adds. Nothing runs between two scrapes: what has to be asked for is asked for by the scrape itself, which asks the
//! database nothing and therefore also answers while there is none.

mod process;
mod recorder;

use self::recorder::Registry;
use crate::listener::{Certificates, Counts};
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header::CONTENT_TYPE};
use metrics::{counter, describe_counter, describe_gauge, gauge};
use narthex::Auth;
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tracing_appender::non_blocking::ErrorCounter;

/// A TLS handshake has failed, or took too long.
pub(crate) const HANDSHAKES_FAILED: &str = "narthex_tls_handshake_failures_total";
const CERTIFICATE_END: &str = "narthex_tls_certificate_end_timestamp_seconds";
const CONNECTIONS: &str = "narthex_connections_open";
const MOST_CONNECTIONS: &str = "narthex_connections_max";
const CONNECTIONS_FULL: &str = "narthex_connections_full_total";
const LOG_LINES_DROPPED: &str = "narthex_log_lines_dropped_total";
const BUILD: &str = "narthex_build_info";
const STARTED: &str = "process_start_time_seconds";

/// Begins to keep what is counted from now on.
pub(crate) fn install() -> Result<Registry, String> {
    let registry = Registry::default();
    metrics::set_global_recorder(registry.clone()).map_err(|error| error.to_string())?;
    describe_counter!(HANDSHAKES_FAILED, "TLS handshakes that failed or took too long");
    describe_gauge!(CERTIFICATE_END, "When the certificate in use ends, in seconds since 1970");
    describe_gauge!(CONNECTIONS, "Connections that are open");
    describe_gauge!(MOST_CONNECTIONS, "Connections that may be open");
    describe_counter!(CONNECTIONS_FULL, "How often a connection had to wait until another one was closed");
    describe_counter!(LOG_LINES_DROPPED, "Lines of the log that were dropped, because nobody took them away");
    describe_gauge!(BUILD, "Always 1; which version this is");
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    describe_gauge!(STARTED, "When the process was started, in seconds since 1970");
    gauge!(STARTED).set(since_1970(now()));
    Ok(registry)
}

/// Whom to ask.
pub(crate) struct Scrape {
    pub(crate) registry: Registry,
    pub(crate) auth: Auth,
    pub(crate) connections: Arc<Counts>,
    /// Those that there may be.
    pub(crate) most_connections: u32,
    /// Where TLS ends here.
    pub(crate) certificates: Option<Arc<Certificates>>,
    pub(crate) lines_dropped: ErrorCounter,
}

impl Scrape {
    pub(crate) async fn answer(self: Arc<Self>) -> Response {
        // Some of it is read from files.
        match tokio::task::spawn_blocking(move || self.render()).await {
            Ok(text) => ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
            Err(error) => {
                tracing::error!(%error, "the metrics could not be written");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }

    fn render(&self) -> String {
        self.auth.observe();
        gauge!(CONNECTIONS).set(f64::from(self.connections.open()));
        gauge!(MOST_CONNECTIONS).set(f64::from(self.most_connections));
        counter!(CONNECTIONS_FULL).absolute(self.connections.full());
        counter!(LOG_LINES_DROPPED)
            .absolute(u64::try_from(self.lines_dropped.dropped_lines()).unwrap_or(u64::MAX));
        if let Some(certificates) = &self.certificates {
            gauge!(CERTIFICATE_END).set(since_1970(certificates.ends()));
            counter!(HANDSHAKES_FAILED).absolute(0);
        }
        let mut text = self.registry.render();
        process::write(&mut text);
        text
    }
}

fn since_1970(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[expect(clippy::disallowed_methods, reason = "when the process was started is no test's to say")]
fn now() -> SystemTime {
    SystemTime::now()
}
