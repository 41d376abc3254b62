//! `[metrics]`: what a monitoring system asks for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};

/// Where metrics are when nobody says where.
const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// `[metrics]`: `/metrics` for Prometheus, at an address of its own.
#[derive(Debug, Clone, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct MetricsOptions {
    /// Whether to count and measure, and to answer `/metrics`.
    pub(crate) enabled: bool,
    /// The address and port of `/metrics`; 127.0.0.1:9464 when absent, if nobody else has it. Whoever reaches it may read
    /// it: there is nothing about persons.
    pub(crate) listen: Option<SocketAddr>,
}

impl Default for MetricsOptions {
    fn default() -> Self {
        Self { enabled: true, listen: None }
    }
}

impl MetricsOptions {
    /// Where to listen, and whether somebody has said so.
    pub(crate) fn address(&self) -> (SocketAddr, bool) {
        (self.listen.unwrap_or(DEFAULT), self.listen.is_some())
    }
}
