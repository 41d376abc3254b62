//! Authentication that speaks Better Auth's protocol, as a library.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use narthex::{Auth, Config, Store};
//!
//! let config = Config { secret: Some(std::env::var("BETTER_AUTH_SECRET")?.into()), ..Config::default() };
//! let auth = Auth::builder(config).build(Store::open("sqlite://narthex.db").await?).await?;
//! // `auth.handle(request)` answers one request; `auth.router()` is an axum router.
//! # Ok(())
//! # }
//! ```
//!
//! Everything the server can do comes in through [`Plugin::install`], the base endpoints too. The core knows no
//! plugin, nothing below [`Env`] asks the operating system for time, chance or the network, and more than one write
//! goes through [`Ctx::transact`], or [`Auth::transact`] where there is no request.

mod auth;
mod config;
mod context;
mod cookie_cache;
mod credentials;
pub mod crypto;
mod endpoints;
mod env;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod guessing;
mod happening;
mod housekeeping;
pub mod http;
pub mod input;
mod meters;
pub mod model;
mod openapi;
mod operator;
mod plugin;
mod secondary;
mod secret;
pub mod store;
mod time;

pub use self::{
    auth::{Auth, AuthBuilder, BuildError, Route},
    config::{
        AccountLinking, AccountOptions, AdditionalField, Advanced, AdvancedDatabase, AuditOptions,
        CacheStrategy, Config, CookieAttributes, CookieCacheOptions, CookieOptions, CrossSubDomainCookies,
        CustomRules, DatabaseOptions, EmailAndPassword, Environment, FieldReference, FieldType, GenerateId,
        HashName, IdentifierForm, IdentifierForms, IpAddressOptions, Migrate, Names, OnApiError, OriginCheck,
        PasswordOptions, RateLimitOptions, RateLimitStorage, RefreshBefore, RefreshCache,
        SecondaryStorageOptions, SessionOptions, StoreIdentifier, TypeName, UserOptions, VerificationOptions,
        VersionedSecret,
    },
    context::{Client, Ctx, Method, SignIn, SignedIn},
    credentials::{Credentials, NewAccount},
    endpoints::session::{FreshSession, SensitiveSession, Session},
    env::{BoxFuture, Clock, Entropy, Env, Fetch, Mail, Mailer, Timer},
    error::{BoxError, Code, Error, Result, chain},
    guessing::Attempt,
    happening::{Happening, Outcome},
    plugin::{
        Alias, AsyncFn2, AsyncFn3, AsyncFn4, AsyncFn5, BearerToken, Credential, Description, Endpoint, Event,
        Handler, Installed, Manifest, Other, Plugin, Rate, SessionUse, Setup, With,
    },
    secondary::SecondaryStorage,
    secret::Secret,
    store::Store,
    time::Time,
};

#[cfg(feature = "redis")]
pub use self::secondary::RedisStorage;

/// The target of the spans that say where a request spent its time: for a subscriber that traces, not for a log.
pub const SPANS: &str = "narthex::spans";

/// What a plugin's file needs.
pub mod prelude {
    pub use crate::{
        Attempt, Code, Ctx, Error, Event, FreshSession, Happening, Mail, Method, Plugin, Rate, Result,
        Secret, SensitiveSession, Session, Setup, SignIn, SignedIn, Time,
        http::{Body, FormBody, FormCsrf, Json, Query, Reply},
        input,
        input::{Email, NonEmptyPassword, Nullable, Password, Record, Text},
        output,
        store::{Field, Model, Table, Tx, Write},
    };
}
