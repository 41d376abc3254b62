use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[advanced.ip-address]`
#[derive(Debug, Clone, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct IpAddressOptions {
    /// Headers in which a trusted proxy names its client, the first that names one.
    pub ip_address_headers: Vec<String>,
    /// Remember no addresses. Without them nobody can be told apart, so that no request is limited either.
    pub disable_ip_tracking: bool,
    /// How many leading bits of an IPv6 address tell clients apart; they choose the others themselves.
    pub ipv6_subnet: u8,
    /// As `advanced.trusted-proxies`.
    pub trusted_proxies: Option<Vec<String>>,
}

impl Default for IpAddressOptions {
    fn default() -> Self {
        Self {
            ip_address_headers: vec!["x-forwarded-for".to_owned()],
            disable_ip_tracking: false,
            ipv6_subnet: 64,
            trusted_proxies: None,
        }
    }
}

impl IpAddressOptions {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        if self.ipv6_subnet > 128 {
            problems
                .push(format!("advanced.ip-address.ipv6-subnet = {}: must be 0 to 128", self.ipv6_subnet));
        }
        for name in &self.ip_address_headers {
            if name.parse::<HeaderName>().is_err() {
                problems.push(format!(
                    "advanced.ip-address.ip-address-headers: {name:?} must be the name of a header, such as \"x-forwarded-for\""
                ));
            }
        }
    }
}
