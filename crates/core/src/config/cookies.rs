use crate::http::{SameSite, cookie::is_name};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Browsers cut a longer lifetime (400 days), and upstream refuses to send one.
pub(super) const LONGEST_COOKIE: u32 = 34_560_000;

/// `[advanced.cookies.<key>]`, by upstream's key: `session_token`, `session_data`, `dont_remember` and those of plugins.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct CookieOptions {
    /// Its name in place of `<cookie-prefix>.<key>`; `__Secure-` still comes before it where cookies are secure.
    pub name: Option<String>,
    /// Its attributes, over all others.
    pub attributes: CookieAttributes,
}

/// Attributes of cookies. What is not given stays as it is; an empty text takes the attribute away.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct CookieAttributes {
    /// The domain whose hosts all get the cookie.
    pub domain: Option<String>,
    /// Hidden from scripts.
    pub http_only: Option<bool>,
    /// How long browsers keep it, in seconds. The session's own cookie always lives as long as the session.
    pub max_age: Option<u32>,
    /// Kept apart for each top-level site.
    pub partitioned: Option<bool>,
    /// The path below which it is sent.
    pub path: Option<String>,
    /// When other sites make the browser send it: `strict`, `lax` or `none`.
    pub same_site: Option<SameSite>,
    /// Only over TLS.
    pub secure: Option<bool>,
}

/// `[advanced.cross-sub-domain-cookies]`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct CrossSubDomainCookies {
    /// All hosts of a domain get the cookies.
    pub enabled: bool,
    /// Which domain; the base URL's host when absent.
    pub domain: Option<String>,
    /// Accepted, and read by nothing: all cookies are shared. It is the same upstream.
    pub additional_cookies: Vec<String>,
}

impl CookieOptions {
    pub(super) fn check(&self, key: &str, problems: &mut Vec<String>) {
        let section = format!("advanced.cookies.{key}");
        if key.contains('-') && key != "better-auth-passkey" {
            let right = key.replace('-', "_");
            problems.push(format!("{section}: cookies keep upstream's keys; perhaps `{right}` is meant"));
        }
        if let Some(name) = self.name.as_deref().filter(|name| !is_name(name)) {
            problems.push(format!(
                "{section}.name = {name:?}: must be made of characters a cookie name can have"
            ));
        }
        self.attributes.check(&format!("{section}.attributes"), problems);
    }
}

impl CookieAttributes {
    pub(super) fn check(&self, section: &str, problems: &mut Vec<String>) {
        check_domain(&format!("{section}.domain"), self.domain.as_deref(), problems);
        if let Some(seconds) = self.max_age.filter(|seconds| *seconds > LONGEST_COOKIE) {
            problems.push(format!("{section}.max-age = {seconds}: must be at most {LONGEST_COOKIE} seconds"));
        }
        let is_path = |path: &str| {
            path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';')
        };
        if let Some(path) = self.path.as_deref().filter(|path| !path.is_empty() && !is_path(path)) {
            problems.push(format!("{section}.path = {path:?}: must begin with `/`, without spaces and `;`"));
        }
    }
}

impl CrossSubDomainCookies {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        check_domain("advanced.cross-sub-domain-cookies.domain", self.domain.as_deref(), problems);
    }
}

fn check_domain(option: &str, domain: Option<&str>, problems: &mut Vec<String>) {
    let is_domain = |domain: &str| {
        domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
    };
    if let Some(domain) = domain.filter(|domain| !is_domain(domain)) {
        problems.push(format!("{option} = {domain:?}: must be a host name, without scheme, port and path"));
    }
}
