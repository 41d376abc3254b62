//! `[metrics]`: what a monitoring system asks for.

use super::listen::Listen;
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
    /// The address and port of `/metrics`; 127.0.0.1:9464 when absent, if nobody else has it, and none where the server
    /// listens on a Unix socket. Whoever reaches it may read it: there is nothing about persons.
    pub(crate) listen: Option<SocketAddr>,
}

impl Default for MetricsOptions {
    fn default() -> Self {
        Self { enabled: true, listen: None }
    }
}

impl MetricsOptions {
    /// Where they are, if anywhere, and whether somebody has said so. A server without a port opens none by itself.
    pub(crate) fn address(&self, listen: &Listen) -> Option<(SocketAddr, bool)> {
        match (self.listen, listen) {
            _ if !self.enabled => None,
            (Some(address), _) => Some((address, true)),
            (None, Listen::Tcp(_)) => Some((DEFAULT, false)),
            (None, Listen::Unix(_)) => None,
        }
    }
}
