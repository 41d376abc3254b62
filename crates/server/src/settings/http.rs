//! `[http]`: what a connection may take.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[http]`: how long clients may take and how much they may have open. Times are seconds.
#[derive(Debug, Clone, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct HttpOptions {
    /// Within how many seconds the head of a request must have come once it has begun, a TLS handshake, and the first byte
    /// of a connection.
    pub(crate) header_timeout: u64,
    /// Within how many seconds the body of a request must have come; 408 beyond.
    pub(crate) body_timeout: u64,
    /// How many seconds a connection may be open without a further request; longer than those of a proxy in front.
    pub(crate) idle_timeout: u64,
    /// Connections that may be open at once; for each further one the longest idle is closed, and where none is idle it
    /// waits.
    pub(crate) max_connections: u32,
    /// The largest head of a request, in bytes; 431 beyond.
    pub(crate) max_header_bytes: u32,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            header_timeout: 15,
            body_timeout: 30,
            idle_timeout: 75,
            max_connections: 16_384,
            max_header_bytes: 32_768,
        }
    }
}

impl HttpOptions {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        let times = [
            ("header-timeout", self.header_timeout),
            ("body-timeout", self.body_timeout),
            ("idle-timeout", self.idle_timeout),
        ];
        for (key, seconds) in times {
            if !(1..=86_400).contains(&seconds) {
                problems.push(format!("http.{key} = {seconds}: must be from 1 to 86400 seconds"));
            }
        }
        // The runtime counts no further than 2^29.
        if !(1..=1_000_000).contains(&self.max_connections) {
            problems
                .push(format!("http.max-connections = {}: must be from 1 to 1000000", self.max_connections));
        }
        if !(4096..=1_048_576).contains(&self.max_header_bytes) {
            problems.push(format!(
                "http.max-header-bytes = {}: must be from 4096 to 1048576",
                self.max_header_bytes
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(file: &str) -> Vec<String> {
        let mut problems = Vec::new();
        toml::from_str::<HttpOptions>(file).unwrap().check(&mut problems);
        problems
    }

    #[test]
    fn every_mistake_is_named_with_what_would_be_right() {
        assert_eq!(problems(""), [""; 0]);
        assert_eq!(
            problems(
                "header-timeout = 0\nbody-timeout = 86401\nidle-timeout = 0\nmax-connections = 0\nmax-header-bytes = 100"
            ),
            [
                "http.header-timeout = 0: must be from 1 to 86400 seconds",
                "http.body-timeout = 86401: must be from 1 to 86400 seconds",
                "http.idle-timeout = 0: must be from 1 to 86400 seconds",
                "http.max-connections = 0: must be from 1 to 1000000",
                "http.max-header-bytes = 100: must be from 4096 to 1048576",
            ]
        );
    }
}
