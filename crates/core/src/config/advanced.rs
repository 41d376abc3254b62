use super::{
    GenerateId, IpAddressOptions,
    cookies::{CookieAttributes, CookieOptions, CrossSubDomainCookies},
};
use crate::http::cookie::is_name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `[advanced]`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Advanced {
    /// `__Secure-` cookies, whatever the base URL's scheme.
    pub use_secure_cookies: Option<bool>,
    /// What cookie names begin with; `better-auth` when absent.
    pub cookie_prefix: Option<String>,
    /// Names and attributes of single cookies, by upstream's keys.
    pub cookies: BTreeMap<String, CookieOptions>,
    /// Attributes of all cookies.
    pub default_cookie_attributes: CookieAttributes,
    /// Cookies for all hosts of a domain.
    pub cross_sub_domain_cookies: CrossSubDomainCookies,
    /// Do not check where requests with cookies come from.
    #[serde(rename = "disable-csrf-check")]
    pub disable_csrf_check: Option<bool>,
    /// Do not check origins and redirect targets, everywhere or below these paths.
    pub disable_origin_check: Option<OriginCheck>,
    /// Addresses or networks whose forwarding headers count; the loopback ones when absent.
    pub trusted_proxies: Option<Vec<String>>,
    /// How a client's address is found and kept.
    pub ip_address: IpAddressOptions,
    /// A path with a slash at its end means the same as without.
    pub skip_trailing_slashes: bool,
    /// How rows are kept.
    pub database: AdvancedDatabase,
}

/// `[advanced.database]`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct AdvancedDatabase {
    /// Who makes the ids of new rows: `"uuid"`, `"serial"`, or `false` for the database; 32 letters when absent.
    pub generate_id: Option<GenerateId>,
}

/// Where origin checks are off.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(untagged, expecting = "must be true, false or a list of paths")]
pub enum OriginCheck {
    /// Everywhere, or nowhere.
    Everywhere(bool),
    /// Below these paths.
    Paths(Vec<String>),
}

impl Advanced {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        let prefix = self.cookie_prefix.as_deref().unwrap_or("better-auth");
        if !is_name(prefix) {
            problems.push(format!(
                "advanced.cookie-prefix = {prefix:?}: must be made of characters a cookie name can have"
            ));
        }
        self.ip_address.check(problems);
        if self.trusted_proxies.is_some() && self.ip_address.trusted_proxies.is_some() {
            problems.push(
                "advanced.ip-address.trusted-proxies: is another name of advanced.trusted-proxies; set one of them"
                    .to_owned(),
            );
        }
        for (key, cookie) in &self.cookies {
            cookie.check(key, problems);
        }
        self.default_cookie_attributes.check("advanced.default-cookie-attributes", problems);
        self.cross_sub_domain_cookies.check(problems);
    }
}
