//! `[traces]`: where traces of requests are sent.

use narthex::{Secret, store::without_password};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use url::Url;

/// `[traces]`: what each request spent its time on, for a collector that speaks OpenTelemetry's protocol (OTLP) over HTTP.
#[derive(Debug, Clone, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct TracesOptions {
    /// Where the collector is: `"http://localhost:4318"`. `/v1/traces` is added. Nothing is traced when absent.
    pub(crate) endpoint: Option<String>,
    /// The part of requests that is traced, from 0 to 1.
    pub(crate) sample_ratio: f64,
    /// What this service is called there.
    pub(crate) service_name: String,
    /// Headers for the collector, such as an `authorization`.
    pub(crate) headers: BTreeMap<String, Secret>,
}

impl Default for TracesOptions {
    fn default() -> Self {
        Self {
            endpoint: None,
            sample_ratio: 1.0,
            service_name: "narthex".to_owned(),
            headers: BTreeMap::new(),
        }
    }
}

impl TracesOptions {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        if let Some(endpoint) = &self.endpoint {
            let is_http = Url::parse(endpoint)
                .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
            if !is_http {
                problems.push(format!(
                    "traces.endpoint = {:?}: must be the http:// or https:// address of a collector, such as \"http://localhost:4318\"",
                    without_password(endpoint)
                ));
            }
        }
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            problems.push(format!("traces.sample-ratio = {}: must be from 0 to 1", self.sample_ratio));
        }
        for (name, value) in &self.headers {
            let is_header = http::HeaderName::try_from(name.as_str()).is_ok()
                && http::HeaderValue::try_from(value.expose()).is_ok();
            if !is_header {
                problems.push(format!("traces.headers.{name}: must be the name and the value of a header"));
            }
        }
    }
}
