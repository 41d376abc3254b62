//! The configuration: one tree, upstream's option names in kebab-case, in upstream's nesting.
//!
//! Each section is a file with its options and a `check` that reports every mistake in it.

mod account;
mod advanced;
mod audit;
mod cookie_cache;
mod cookies;
mod database;
mod email_and_password;
mod ip_address;
mod on_api_error;
mod password;
mod rate_limit;
mod secondary_storage;
mod secrets;
mod session;
mod tables;
mod verification;

pub(crate) use self::secrets::looks_weak;
pub(crate) use self::session::MaxLifetime;
pub use self::{
    account::{AccountLinking, AccountOptions},
    advanced::{Advanced, AdvancedDatabase, OriginCheck},
    audit::AuditOptions,
    cookie_cache::{CacheStrategy, CookieCacheOptions, RefreshBefore, RefreshCache},
    cookies::{CookieAttributes, CookieOptions, CrossSubDomainCookies},
    database::{DatabaseOptions, Migrate},
    email_and_password::EmailAndPassword,
    ip_address::IpAddressOptions,
    on_api_error::OnApiError,
    password::{HashName, PasswordOptions},
    rate_limit::{CustomRules, RateLimitOptions, RateLimitStorage},
    secondary_storage::SecondaryStorageOptions,
    secrets::VersionedSecret,
    session::SessionOptions,
    tables::{AdditionalField, FieldReference, FieldType, GenerateId, Names, TypeName, UserOptions},
    verification::{IdentifierForm, IdentifierForms, StoreIdentifier, VerificationOptions},
};

use crate::{crypto::at_rest::Secrets, http::TrustedOrigins, secret::Secret};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use url::Url;

/// Options of an [`Auth`](crate::Auth). Every field has a default, and the documentation of each is its reference.
#[derive(Debug, Clone, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Where clients reach the server: scheme, host and port. A path in it wins over `base-path`.
    pub base_url: String,
    /// The path below which the endpoints are.
    pub base_path: String,
    /// Signs cookies and encrypts what is kept encrypted. At least 32 characters.
    pub secret: Option<Secret>,
    /// Several secrets, the current one first: the others still decrypt, but no longer sign. `secret` then only
    /// decrypts what was encrypted before there were several.
    pub secrets: Option<Vec<VersionedSecret>>,
    /// Origins that may call us with cookies and be redirected to, besides our own. Wildcards as upstream's.
    pub trusted_origins: Vec<String>,
    /// Signing in with an email address and a password.
    pub email_and_password: EmailAndPassword,
    /// People.
    pub user: UserOptions,
    /// Sessions.
    pub session: SessionOptions,
    /// Ways to sign in.
    pub account: AccountOptions,
    /// What waits to be redeemed.
    pub verification: VerificationOptions,
    /// How passwords are hashed.
    pub password: PasswordOptions,
    /// What few need.
    pub advanced: Advanced,
    /// How the database is reached, and how its tables are kept up to date.
    pub database: DatabaseOptions,
    /// How often a client may ask.
    pub rate_limit: RateLimitOptions,
    /// What is written down of what happens.
    pub audit: AuditOptions,
    /// Where sessions are kept besides the database, or instead of it.
    pub secondary_storage: SecondaryStorageOptions,
    /// Paths below the base path that are answered as if nothing were there.
    pub disabled_paths: Vec<String>,
    /// What becomes of errors that end in a browser.
    pub on_api_error: OnApiError,
    /// Whether this is the real thing. Whoever starts the server decides, not the file.
    #[serde(skip)]
    pub environment: Environment,
}

/// Whether this is the real thing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Environment {
    /// Requests are limited unless the options say otherwise, and errors show nothing of our own.
    #[default]
    Production,
    /// Somebody is trying things out on their own machine.
    Development,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            base_url: "http://localhost:3001".to_owned(),
            base_path: "/api/auth".to_owned(),
            secret: None,
            secrets: None,
            trusted_origins: Vec::new(),
            email_and_password: EmailAndPassword::default(),
            user: UserOptions::default(),
            session: SessionOptions::default(),
            account: AccountOptions::default(),
            verification: VerificationOptions::default(),
            password: PasswordOptions::default(),
            advanced: Advanced::default(),
            database: DatabaseOptions::default(),
            rate_limit: RateLimitOptions::default(),
            audit: AuditOptions::default(),
            secondary_storage: SecondaryStorageOptions::default(),
            disabled_paths: Vec::new(),
            on_api_error: OnApiError::default(),
            environment: Environment::default(),
        }
    }
}

/// The configuration as the engine uses it: checked, parsed, computed once.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) config: Config,
    pub(crate) base_path: String,
    /// Scheme, host and port of the base URL.
    pub(crate) base_origin: String,
    pub(crate) trusted_origins: TrustedOrigins,
    pub(crate) secrets: Secrets,
    pub(crate) expires_in: Duration,
    pub(crate) max_lifetime: MaxLifetime,
}

impl Config {
    /// The path below which the endpoints are: the base URL's where it has one, else `base-path`.
    pub fn path(&self) -> String {
        let base = Url::parse(&self.base_url).ok();
        match base.as_ref().map_or("", |base| base.path().trim_end_matches('/')) {
            "" => match self.base_path.trim_matches('/') {
                "" => String::new(),
                path => format!("/{path}"),
            },
            path => path.to_owned(),
        }
    }

    /// Whether the current secret looks as if a person had made it up; nothing where there is none.
    pub fn has_weak_secret(&self) -> Option<bool> {
        let current = match &self.secrets {
            Some(secrets) => secrets.first().map(|secret| &secret.value),
            None => self.secret.as_ref(),
        };
        current.filter(|secret| !secret.expose().is_empty()).map(looks_weak)
    }

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
        let base_path = self.path();
        let secrets = secrets::resolve(self.secret.as_ref(), self.secrets.as_deref(), problems);
        self.email_and_password.check(problems);
        self.session.check(problems);
        self.password.check(problems);
        self.advanced.check(problems);
        self.database.check(problems);
        self.rate_limit.check(problems);
        self.secondary_storage.check(problems);
        self.on_api_error.check(problems);
        for path in &self.disabled_paths {
            if !path.starts_with('/') || path.ends_with('/') {
                problems.push(format!(
                    "disabled-paths: {path:?} must be a path below the base path, such as \"/sign-up/email\""
                ));
            }
        }
        let (Some(secrets), true) = (secrets, problems.len() == before) else { return None };
        let base_origin = base.map(|base| base.origin().ascii_serialization()).unwrap_or_default();
        let own = Some(&base_origin).filter(|origin| !origin.is_empty());
        let trusted_origins = TrustedOrigins::new(own.into_iter().chain(&self.trusted_origins));
        let expires_in = Duration::from_secs(self.session.expires_in.into());
        let max_lifetime = MaxLifetime::new(&self.session);
        Some(Resolved {
            base_path,
            base_origin,
            trusted_origins,
            secrets,
            expires_in,
            max_lifetime,
            config: self,
        })
    }
}
