//! The configuration: one tree, upstream's option names in kebab-case, in upstream's nesting.

use crate::{http::TrustedOrigins, secret::Secret};
use serde::Deserialize;
use std::{num::NonZeroUsize, time::Duration};
use url::Url;

/// Options of an [`Auth`](crate::Auth). Every field has a default, and the documentation of each is its reference.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Where clients reach the server: scheme, host and port. A path in it wins over `base-path`.
    pub base_url: String,
    /// The path below which the endpoints are.
    pub base_path: String,
    /// Signs cookies and encrypts what is kept encrypted. At least 32 characters.
    pub secret: Option<Secret>,
    /// Origins that may call us with cookies and be redirected to, besides our own. Wildcards as upstream's.
    pub trusted_origins: Vec<String>,
    /// Signing in with an email address and a password.
    pub email_and_password: EmailAndPassword,
    /// Sessions.
    pub session: SessionOptions,
    /// How passwords are hashed.
    pub password: PasswordOptions,
    /// What few need.
    pub advanced: Advanced,
    /// How the tables are kept up to date.
    pub database: DatabaseOptions,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            base_url: "http://localhost:3001".to_owned(),
            base_path: "/api/auth".to_owned(),
            secret: None,
            trusted_origins: Vec::new(),
            email_and_password: EmailAndPassword::default(),
            session: SessionOptions::default(),
            password: PasswordOptions::default(),
            advanced: Advanced::default(),
            database: DatabaseOptions::default(),
        }
    }
}

/// `[email-and-password]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct EmailAndPassword {
    /// Whether people can sign in this way. On, unlike upstream: a server without any way in is of no use.
    pub enabled: bool,
    /// Refuse new accounts.
    pub disable_sign_up: bool,
    /// Refuse to sign in before the address is verified.
    pub require_email_verification: bool,
    /// Shortest password, in UTF-16 units as JavaScript counts.
    pub min_password_length: usize,
    /// Longest password, in UTF-16 units.
    pub max_password_length: usize,
    /// Sign in right after signing up.
    pub auto_sign_in: bool,
}

impl Default for EmailAndPassword {
    fn default() -> Self {
        Self {
            enabled: true,
            disable_sign_up: false,
            require_email_verification: false,
            min_password_length: 8,
            max_password_length: 128,
            auto_sign_in: true,
        }
    }
}

/// `[session]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SessionOptions {
    /// How long a session lives without being used, in seconds.
    pub expires_in: u32,
    /// A session used this long after its last renewal is renewed, in seconds.
    pub update_age: u32,
    /// Never renew a session.
    pub disable_session_refresh: bool,
    /// Asking for the session never writes; posting renews it.
    pub defer_session_refresh: bool,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            expires_in: 604_800,
            update_age: 86_400,
            disable_session_refresh: false,
            defer_session_refresh: false,
        }
    }
}

/// `[password]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct PasswordOptions {
    /// How new passwords are hashed. `auto` is bcrypt, but scrypt in a database that holds upstream's hashes.
    pub hash: HashName,
    /// The work factor of bcrypt.
    pub bcrypt_cost: u32,
    /// Threads that hash; as many as cores when absent.
    pub threads: Option<NonZeroUsize>,
    /// Hashes that may wait for a thread; beyond it, 503.
    pub queue: usize,
}

impl Default for PasswordOptions {
    fn default() -> Self {
        Self { hash: HashName::Auto, bcrypt_cost: 10, threads: None, queue: 512 }
    }
}

/// A way to hash passwords, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HashName {
    /// bcrypt, unless the database already holds upstream's scrypt hashes.
    Auto,
    /// What most systems read.
    Bcrypt,
    /// Upstream's.
    Scrypt,
    /// The most memory-hard.
    Argon2id,
}

/// `[advanced]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Advanced {
    /// `__Secure-` cookies, whatever the base URL's scheme.
    pub use_secure_cookies: Option<bool>,
    /// What cookie names begin with; `better-auth` when absent.
    pub cookie_prefix: Option<String>,
    /// Do not check where requests with cookies come from.
    #[serde(rename = "disable-csrf-check")]
    pub disable_csrf_check: Option<bool>,
    /// Do not check origins and redirect targets, everywhere or below these paths.
    pub disable_origin_check: Option<OriginCheck>,
    /// Addresses or networks whose forwarding headers count; the loopback ones when absent.
    pub trusted_proxies: Option<Vec<String>>,
}

/// Where origin checks are off.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum OriginCheck {
    /// Everywhere, or nowhere.
    Everywhere(bool),
    /// Below these paths.
    Paths(Vec<String>),
}

/// `[database]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct DatabaseOptions {
    /// What to do about missing tables and columns at start.
    pub migrate: Migrate,
}

/// What to do about missing tables and columns at start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Migrate {
    /// Add them.
    #[default]
    Auto,
    /// Refuse to start.
    Check,
    /// Do not look.
    Off,
}

/// The configuration as the engine uses it: checked, parsed, computed once.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) config: Config,
    pub(crate) base_path: String,
    pub(crate) trusted_origins: TrustedOrigins,
    pub(crate) secret: Secret,
    pub(crate) expires_in: Duration,
}

/// Browsers refuse cookies that live longer than 400 days, and upstream refuses to make them.
const LONGEST_COOKIE: u32 = 34_560_000;

impl Config {
    /// Checks everything and reports every mistake with the option and what would be right.
    pub(crate) fn resolve(self, problems: &mut Vec<String>) -> Option<Resolved> {
        let before = problems.len();
        let base = Url::parse(&self.base_url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        if base.is_none() {
            problems.push(format!(
                "base-url = {:?}: must be http:// or https://, a host and perhaps a port",
                self.base_url
            ));
        }
        let base_path =
            base.as_ref().map_or_else(String::new, |base| match base.path().trim_end_matches('/') {
                "" => format!("/{}", self.base_path.trim_matches('/')),
                path => path.to_owned(),
            });
        let secret = self.secret.clone().unwrap_or_default();
        if secret.expose().chars().count() < 32 {
            problems.push(
                "secret: needs at least 32 characters; `openssl rand -base64 32` makes a good one".to_owned(),
            );
        }
        if self.session.expires_in == 0 || self.session.expires_in > LONGEST_COOKIE {
            problems.push(format!(
                "session.expires-in = {}: must be 1 to {LONGEST_COOKIE} seconds",
                self.session.expires_in
            ));
        }
        let lengths = &self.email_and_password;
        if lengths.max_password_length == 0 {
            problems.push("email-and-password.max-password-length = 0: must be at least 1".to_owned());
        } else if lengths.min_password_length > lengths.max_password_length {
            problems.push(format!(
                "email-and-password.min-password-length = {}: must not exceed max-password-length = {}",
                lengths.min_password_length, lengths.max_password_length
            ));
        }
        if !(4..=16).contains(&self.password.bcrypt_cost) {
            problems.push(format!("password.bcrypt-cost = {}: must be 4 to 16", self.password.bcrypt_cost));
        }
        let prefix = self.advanced.cookie_prefix.as_deref().unwrap_or("better-auth");
        if prefix.is_empty()
            || !prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
        {
            problems.push(format!(
                "advanced.cookie-prefix = {prefix:?}: must be made of characters a cookie name can have"
            ));
        }
        if problems.len() > before {
            return None;
        }
        let own = base.map(|base| base.origin().ascii_serialization());
        let trusted_origins = TrustedOrigins::new(own.iter().chain(&self.trusted_origins));
        let expires_in = Duration::from_secs(self.session.expires_in.into());
        Some(Resolved { base_path, trusted_origins, secret, expires_in, config: self })
    }
}
