//! The engine: built once from a configuration, plugins and a database, then shared by every request.

use crate::{
    config::{
        Config, CookieCacheOptions, Environment, HashName, Migrate, RateLimitStorage, Resolved, looks_weak,
    },
    context::SignedIn,
    cookie_cache::CookieCache,
    crypto::{
        blocklist::Blocklist,
        hash_pool::HashPool,
        password::{Scheme, is_upstream_hash},
        signed::Signer,
    },
    endpoints,
    env::Env,
    error::{Result, chain},
    guessing::{AccountHashes, Guessing},
    housekeeping::{Due, Housekeeping},
    http::{
        Reply,
        aliases::Aliases,
        client_ip::ClientAddresses,
        cookies::AuthCookies,
        disabled::DisabledPaths,
        dispatch,
        rate_limit::{Limits, RateLimiter, longest_window},
        router::Router,
    },
    meters::{HashingNow, Meters, StoreMeters},
    model::{self, Account, RateLimit, audit::AuditLog},
    openapi,
    plugin::{Alias, Endpoint, Installed, Manifest, Plugin, Rate, Setup},
    secondary::{Secondary, SecondaryStorage},
    store::{
        self, Copied, CopyOptions, Migration, Model as _, Order, Progress, Rules, Schema, Select, Source,
        Store, Table,
    },
};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use std::{borrow::Cow, fmt, num::NonZeroUsize, sync::Arc, time::Duration};
use tokio::sync::watch;

/// On a core that everyone wants, hashing gets about as much as all requests together.
const HASHING_NICENESS: i32 = 1;
/// Accounts that are looked at to see whose database it is: ids are random, so a few tell.
const SAMPLED_ACCOUNTS: u32 = 16;

/// The engine. Cheap to clone.
#[derive(Clone)]
pub struct Auth {
    pub(crate) engine: Arc<Engine>,
}

/// What every request shares.
pub(crate) struct Engine {
    pub(crate) resolved: Resolved,
    pub(crate) manifest: Manifest,
    pub(crate) router: Router,
    pub(crate) aliases: Aliases,
    pub(crate) store: Store,
    pub(crate) env: Env,
    pub(crate) signer: Signer,
    pub(crate) cookies: AuthCookies,
    pub(crate) addresses: ClientAddresses,
    pub(crate) disabled: DisabledPaths,
    pub(crate) limiter: Option<RateLimiter>,
    /// Remembers sessions in a cookie, where that is asked for.
    pub(crate) cookie_cache: Option<CookieCache>,
    pub(crate) hashing: HashPool,
    pub(crate) scheme: Scheme,
    /// What is checked in place of the hash of an account that does not exist.
    pub(crate) decoy: String,
    /// What accounts are called where nobody is to read their names.
    pub(crate) account_hashes: AccountHashes,
    /// Counts wrong passwords, unless that is switched off.
    pub(crate) guessing: Option<Guessing>,
    /// Passwords that are refused.
    pub(crate) blocklist: Blocklist,
    /// Room for the bodies that are being read.
    #[cfg(feature = "axum")]
    pub(crate) bodies: Arc<crate::http::Bodies>,
    /// Whether a sign-in replaces a hash of another scheme: only when a scheme was asked for by name.
    pub(crate) replaces_hashes: bool,
    /// Nothing where nothing is counted.
    pub(crate) meters: Option<Arc<Meters>>,
    /// Who does what no client asks for.
    pub(crate) operator: &'static str,
    /// Whether nobody is to wait any longer.
    pub(crate) hurry: watch::Sender<bool>,
}

/// Collects plugins before the engine is built.
pub struct AuthBuilder {
    config: Config,
    manifest: Manifest,
    env: Env,
    secondary: Option<Arc<dyn SecondaryStorage>>,
    is_metered: bool,
    operator: &'static str,
}

/// Everything that stands in the way of building the engine.
#[derive(Debug)]
pub struct BuildError {
    /// Each problem, with what would be right.
    pub problems: Vec<String>,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for BuildError {}

impl Auth {
    /// Starts with the endpoints every installation has.
    pub fn builder(config: Config) -> AuthBuilder {
        let builder = AuthBuilder {
            config,
            manifest: Manifest::default(),
            env: Env::system(),
            secondary: None,
            is_metered: false,
            operator: "application",
        };
        endpoints::install(model::install(builder))
    }

    /// Answers one request.
    ///
    /// Anything but a `GET` runs to its end even if the client leaves, so that dropping this future is safe.
    pub async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        let (parts, body) = request.into_parts();
        self.handle_reading(parts, std::future::ready(Ok(body))).await
    }

    /// The same with a body that is yet to be read: it is polled only once it is wanted. What a path that nothing
    /// answers, a method without a body and a client that asks too often are answered costs nobody the reading of it.
    pub async fn handle_reading(
        &self,
        parts: http::request::Parts,
        body: impl Future<Output = Result<Bytes>>,
    ) -> Response<Bytes> {
        dispatch::handle(&self.engine, parts, body).await
    }

    /// The path below which the endpoints are.
    pub fn base_path(&self) -> &str {
        &self.engine.resolved.base_path
    }

    /// Whose request this is, for the application's own endpoints: reads, renews nothing.
    pub async fn session(&self, headers: &HeaderMap) -> Result<Option<SignedIn>> {
        endpoints::session::of(&self.engine, headers).await
    }

    /// Compares the tables with what is declared and adds what is missing.
    pub async fn migrate(&self) -> Result<Migration> {
        Ok(self.engine.store.migrate(true).await?)
    }

    /// The options.
    pub fn config(&self) -> &Config {
        &self.engine.resolved.config
    }

    /// Everything registered, as data.
    pub fn manifest(&self) -> &Manifest {
        &self.engine.manifest
    }

    /// The endpoints that are served, as OpenAPI 3.1.
    pub fn openapi(&self) -> serde_json::Value {
        let Engine { resolved, manifest, router, disabled, limiter, store, .. } = &*self.engine;
        let disabled_paths = &resolved.config.disabled_paths;
        let routes = routes(manifest, router, disabled, limiter.as_ref(), disabled_paths);
        openapi::document(&resolved.config, manifest, store.schema(), &routes)
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.engine.store
    }

    /// What stands for an account in the audit log and in counts of wrong passwords: a keyed hash of the address or
    /// name in any spelling.
    pub fn account_hash(&self, account: &str) -> String {
        self.engine.account_hashes.of(account)
    }

    /// Passwords hashed and checked so far.
    pub fn hashes(&self) -> u64 {
        self.engine.hashing.completed()
    }

    /// Brings up to date those metrics that are not counted as things happen, such as the length of a queue: to be
    /// called before metrics are read. The database is asked nothing; the size of one file is.
    pub fn observe(&self) {
        let Some(meters) = &self.engine.meters else { return };
        let hashing = &self.engine.hashing;
        let (threads, busy) = hashing.threads();
        let (waiting, refused) = (hashing.waiting(), hashing.refused());
        meters.observe(&HashingNow { threads, busy, waiting, refused });
        self.engine.store.observe();
    }

    pub(crate) fn engine(&self) -> Arc<Engine> {
        Arc::clone(&self.engine)
    }

    /// Tells requests that wait for something to happen to answer now: the server is about to stop.
    pub fn hurry(&self) {
        self.engine.hurry.send_replace(true);
    }

    /// Whether requests can be served now.
    pub async fn is_ready(&self) -> bool {
        let secondary = async {
            match self.engine.store.secondary() {
                Some(secondary) => secondary.ping().await,
                None => true,
            }
        };
        self.engine.store.ping().await.is_ok() && secondary.await
    }
}

impl AuthBuilder {
    /// Adds a plugin; plugins are installed in the order they are added.
    #[must_use]
    pub fn plugin<P: Plugin>(mut self, plugin: P) -> Self {
        Setup::install(plugin, &mut self.manifest);
        self
    }

    /// Replaces what the outside world decides.
    #[must_use]
    pub fn env(mut self, env: Env) -> Self {
        self.env = env;
        self
    }

    /// Keeps sessions, verifications and counts of requests there.
    #[must_use]
    pub fn secondary_storage(mut self, storage: impl SecondaryStorage) -> Self {
        self.secondary = Some(Arc::new(storage));
        self
    }

    /// Whom the audit log names for what is done without a request ([`Auth::ctx`]); `application` if this is not called.
    #[must_use]
    pub fn operator(mut self, name: &'static str) -> Self {
        self.operator = name;
        self
    }

    /// Counts and measures what is done, through the crate `metrics`, with the recorder that is installed when the
    /// engine is built. Without this no request pays for it.
    ///
    /// What there is to see: `docs/reference/metrics.md`. Before metrics are read, call [`Auth::observe`].
    #[must_use]
    pub fn metrics(mut self) -> Self {
        self.is_metered = true;
        self
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Everything registered so far, as data.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Every mistake that can be found without the database and the secondary storage, as `build` would report it.
    pub fn check(&self) -> Vec<String> {
        let mut problems = self.manifest.problems.clone();
        let has_secondary = self.secondary.is_some() || self.config.secondary_storage.url.is_some();
        check_counting(&self.config, has_secondary, &mut problems);
        check_installed(&self.config, &self.manifest, has_secondary, &mut problems);
        let _ = Parts::new(&self.config, &self.manifest, None, &mut problems);
        problems
    }

    /// Every endpoint, as it would be served.
    pub fn routes(&self) -> Vec<Route> {
        let router = Router::new(&self.manifest.endpoints);
        let disabled =
            DisabledPaths::new(&self.config.disabled_paths, router.paths(), &self.manifest.aliases);
        let limiter = counts_requests(&self.config).then(|| {
            let options = &self.config.rate_limit;
            RateLimiter::new(options, &self.manifest.rate_limits, router.paths(), Limits::InMemory)
        });
        routes(&self.manifest, &router, &disabled, limiter.as_ref(), &self.config.disabled_paths)
    }

    /// The endpoints that would be served, as OpenAPI 3.1. Neither a database nor a secret is needed for it.
    pub fn openapi(&self) -> Result<serde_json::Value, BuildError> {
        let mut problems = self.manifest.problems.clone();
        let layout = self.config.layout(&mut problems);
        let (tables, extensions) = (&self.manifest.tables, &self.manifest.extensions);
        match Schema::resolve(tables.iter().cloned(), extensions.iter().cloned(), layout) {
            Ok(schema) if problems.is_empty() => {
                Ok(openapi::document(&self.config, &self.manifest, &schema, &self.routes()))
            }
            schema => {
                problems.extend(schema.err().into_iter().flatten());
                Err(BuildError { problems })
            }
        }
    }

    /// Adds what the tables lack, or only says what that would be.
    pub async fn migrate(self, store: Store, apply: bool) -> Result<Migration, BuildError> {
        let Assembled { store, .. } = self.assemble(store)?;
        store.migrate(apply).await.map_err(|error| BuildError { problems: vec![chain(&error)] })
    }

    /// Copies every row of the tables that are declared, and makes those that `to` lacks. It must not have a row in any of
    /// them. Unless everything was copied, none has one afterwards.
    pub async fn copy(
        self,
        from: Source,
        to: Store,
        options: CopyOptions,
        mut progress: impl FnMut(Progress<'_>) + Send,
    ) -> Result<Copied, BuildError> {
        let secondary = self.secondary.clone().map(|storage| Secondary::new(storage, &self.config));
        let mut tables = self.manifest.tables.clone();
        let limits = limits(&self.config, from.is_shared(), secondary.is_some());
        complete(&mut tables, secondary.as_ref(), limits);
        let mut problems = Vec::new();
        let mut layout = self.config.layout(&mut problems);
        layout.namespace = from.namespace().map(str::to_owned);
        let schema = Schema::resolve(tables, self.manifest.extensions.iter().cloned(), layout);
        // Tells all mistakes, those among them that concern the tables.
        let Assembled { store: to, .. } = self.assemble(to)?;
        let schema = schema.map_err(|problems| BuildError { problems })?;
        let copied = store::copy(&from.bind(schema), &to, options, &mut progress).await;
        copied.map_err(|error| BuildError { problems: vec![chain(&error)] })
    }

    /// Checks everything, brings the tables up to date and freezes what is registered.
    pub async fn build(self, store: Store) -> Result<Auth, BuildError> {
        let (is_metered, operator) = (self.is_metered, self.operator);
        let Assembled { parts, resolved, manifest, env, limits, store } = self.assemble(store)?;
        let Parts { router, addresses, aliases, cookies, blocklist, .. } = parts;
        if looks_weak(resolved.secrets.current()) {
            tracing::warn!(
                "the secret looks as if somebody had made it up; `openssl rand -base64 32` makes a good one"
            );
        }
        prepare(&store, resolved.config.database.migrate).await?;
        let scheme = scheme(&resolved.config, &store).await?;
        let threads = resolved.config.password.threads.or_else(|| std::thread::available_parallelism().ok());
        let threads = threads.unwrap_or(NonZeroUsize::MIN);
        let guessing = Guessing::new(&resolved.config.password, threads);
        let options = &resolved.config.rate_limit;
        let limiter = counts_requests(&resolved.config)
            .then(|| RateLimiter::new(options, &manifest.rate_limits, router.paths(), limits));
        let engine = Engine {
            account_hashes: AccountHashes::new(resolved.secrets.current().expose()),
            guessing,
            blocklist,
            #[cfg(feature = "axum")]
            bodies: Arc::default(),
            disabled: DisabledPaths::new(&resolved.config.disabled_paths, router.paths(), &manifest.aliases),
            limiter,
            router,
            aliases,
            signer: Signer::new(resolved.secrets.current().expose()),
            cookies,
            addresses,
            cookie_cache: CookieCache::new(&resolved, manifest.hooks.cache_signer.clone(), store.schema()),
            hashing: HashPool::new(threads, resolved.config.password.queue, HASHING_NICENESS),
            decoy: scheme.decoy(),
            replaces_hashes: resolved.config.password.hash != HashName::Auto,
            meters: is_metered.then(|| Arc::new(Meters::new(&manifest.endpoints))),
            operator,
            hurry: watch::Sender::new(false),
            scheme,
            resolved,
            manifest,
            store,
            env,
        };
        Ok(Auth { engine: Arc::new(engine) })
    }

    /// Everything that needs no answer of the database.
    fn assemble(self, store: Store) -> Result<Assembled, BuildError> {
        let Self { config, mut manifest, env, secondary, is_metered, .. } = self;
        let mut problems = std::mem::take(&mut manifest.problems);
        let secondary = secondary.map(|storage| Secondary::new(storage, &config));
        check_counting(&config, secondary.is_some(), &mut problems);
        check_opened(&config, secondary.is_some(), &mut problems);
        check_installed(&config, &manifest, secondary.is_some(), &mut problems);
        let limits = limits(&config, store.is_shared(), secondary.is_some());
        complete(&mut manifest.tables, secondary.as_ref(), limits);
        let mut parts = Parts::new(&config, &manifest, store.namespace(), &mut problems);
        let (true, Some(resolved)) = (problems.is_empty(), parts.resolved.take()) else {
            return Err(BuildError { problems });
        };
        let rules = Rules {
            env: env.clone(),
            housekeeping: housekeeping(&resolved.config, &manifest, limits, secondary.as_ref()),
            audit: resolved
                .config
                .audit
                .enabled
                .then(|| AuditLog::new(resolved.config.audit.failures_per_minute)),
            secondary,
            store_identifier: resolved.config.verification.store_identifier.clone(),
            remembered_for: remembered_for(&resolved.config.session.cookie_cache),
            verification_cleanup: (!resolved.config.verification.disable_cleanup).then(Due::default),
            hooks: std::mem::take(&mut manifest.hooks.write),
            ended: std::mem::take(&mut manifest.hooks.ended),
            meters: is_metered.then(StoreMeters::new),
        };
        let store = store.bind(Arc::new(std::mem::take(&mut parts.schema)), rules);
        Ok(Assembled { parts, resolved, manifest, env, limits, store })
    }
}

/// What is left to do when everything is checked: ask the database.
struct Assembled {
    parts: Parts,
    resolved: Resolved,
    manifest: Manifest,
    env: Env,
    limits: Limits,
    store: Store,
}

/// An endpoint as it is served.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its method.
    pub method: Method,
    /// Its path below the base path.
    pub path: Cow<'static, str>,
    /// The plugin that brings it.
    pub plugin: &'static str,
    /// How often a client may ask for it; nothing where requests are not counted.
    pub limit: Option<Rate>,
    /// Whether it is switched off.
    pub is_disabled: bool,
    /// Its other paths.
    pub aliases: Vec<Alias>,
}

fn routes(
    manifest: &Manifest,
    router: &Router,
    disabled: &DisabledPaths,
    limiter: Option<&RateLimiter>,
    disabled_paths: &[String],
) -> Vec<Route> {
    let route = |endpoint: &Endpoint| {
        let number = router.paths().iter().position(|path| *path == endpoint.path);
        let aliases = manifest.aliases.iter();
        let aliases = aliases.filter(|alias| alias.method == endpoint.method && alias.to == endpoint.path);
        Route {
            method: endpoint.method.clone(),
            path: endpoint.path.clone(),
            plugin: endpoint.plugin,
            limit: number.and_then(|number| limiter?.allowance(number)),
            is_disabled: disabled.contains(&endpoint.path, number),
            aliases: aliases.filter(|alias| !alias.is_among(disabled_paths)).cloned().collect(),
        }
    };
    manifest.endpoints.iter().map(route).collect()
}

/// What is computed from the configuration alone.
struct Parts {
    router: Router,
    addresses: ClientAddresses,
    aliases: Aliases,
    cookies: AuthCookies,
    blocklist: Blocklist,
    schema: Schema,
    resolved: Option<Resolved>,
}

impl Parts {
    fn new(
        config: &Config,
        manifest: &Manifest,
        namespace: Option<&str>,
        problems: &mut Vec<String>,
    ) -> Self {
        let mut layout = config.layout(problems);
        layout.namespace = namespace.map(str::to_owned);
        let addresses = ClientAddresses::new(&config.advanced, problems);
        let (router, base_path) = (Router::new(&manifest.endpoints), config.path());
        let aliases = Aliases::new(&manifest.aliases, &router, &base_path, &config.disabled_paths, problems);
        let cookies = AuthCookies::new(config, problems);
        let blocklist = Blocklist::load(&config.password, problems);
        let resolved = config.clone().resolve(problems);
        let schema =
            Schema::resolve(manifest.tables.iter().cloned(), manifest.extensions.iter().cloned(), layout);
        Self {
            router,
            addresses,
            aliases,
            cookies,
            blocklist,
            schema: schema.map_err(|mut mistakes| problems.append(&mut mistakes)).unwrap_or_default(),
            resolved,
        }
    }
}

fn remembered_for(options: &CookieCacheOptions) -> Duration {
    if options.enabled { Duration::from_secs(options.max_age.into()) } else { Duration::ZERO }
}

fn housekeeping(
    config: &Config,
    manifest: &Manifest,
    limits: Limits,
    secondary: Option<&Secondary>,
) -> Housekeeping {
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    Housekeeping {
        sessions: secondary
            .is_none_or(|secondary| secondary.has_sessions_in_database() && !secondary.preserves_sessions()),
        verifications: !config.verification.disable_cleanup
            && secondary.is_none_or(Secondary::has_verifications_in_database),
        guesses: (config.password.max_failures > 0).then(|| seconds(config.password.quiet_period)),
        requests: matches!(limits, Limits::InDatabase | Limits::Shared)
            .then(|| longest_window(&config.rate_limit, &manifest.rate_limits)),
        audit: (config.audit.enabled && config.audit.retention > 0).then(|| seconds(config.audit.retention)),
        others: manifest.hooks.cleared.clone(),
        ..Housekeeping::default()
    }
}

/// Behind a database that several processes share, each counting for itself would multiply every limit. The table is
/// there wherever the option says so, as upstream has it.
fn limits(config: &Config, is_shared: bool, has_secondary: bool) -> Limits {
    match config.rate_limit.storage {
        Some(RateLimitStorage::Database) => Limits::InDatabase,
        Some(RateLimitStorage::SecondaryStorage) => Limits::InSecondary,
        None if has_secondary => Limits::InSecondary,
        None if is_shared && counts_requests(config) => Limits::Shared,
        _ => Limits::InMemory,
    }
}

/// What the tables are beyond what was declared, which depends on what is kept where.
fn complete(tables: &mut Vec<Table>, secondary: Option<&Secondary>, limits: Limits) {
    if let Some(secondary) = secondary {
        for table in &mut *tables {
            table.is_elsewhere |= secondary.replaces(table.name);
        }
    }
    if matches!(limits, Limits::InDatabase | Limits::Shared) {
        tables.push(RateLimit::table());
    }
}

fn check_counting(config: &Config, has_secondary: bool, problems: &mut Vec<String>) {
    if !has_secondary && config.rate_limit.storage == Some(RateLimitStorage::SecondaryStorage) {
        problems.push(
            "rate-limit.storage = \"secondary-storage\": there is none; set secondary-storage.url, or count in \"memory\" or \"database\""
                .to_owned(),
        );
    }
}

fn check_opened(config: &Config, is_opened: bool, problems: &mut Vec<String>) {
    if !is_opened && config.secondary_storage.url.is_some() {
        problems.push(
            "secondary-storage.url: whoever builds the engine opens it, with `RedisStorage::open`, and hands it over with `AuthBuilder::secondary_storage`"
                .to_owned(),
        );
    }
}

/// What plugins find when they look around.
fn check_installed(config: &Config, manifest: &Manifest, has_secondary: bool, problems: &mut Vec<String>) {
    let has_sessions_in_database = !has_secondary || config.session.store_session_in_database;
    let installed = Installed { config, has_sessions_in_database, manifest };
    problems.extend(manifest.checks.iter().flat_map(|check| check(&installed)));
}

fn counts_requests(config: &Config) -> bool {
    config.rate_limit.enabled.unwrap_or(config.environment == Environment::Production)
}

async fn prepare(store: &Store, migrate: Migrate) -> Result<(), BuildError> {
    let problem = |problem: String| BuildError { problems: vec![problem] };
    if migrate == Migrate::Off {
        return Ok(());
    }
    let migration = store.migrate(migrate == Migrate::Auto).await.map_err(|error| problem(chain(&error)))?;
    for statement in &migration.statements {
        tracing::debug!(statement, applied = migration.applied, "migration");
    }
    if migration.applied {
        tracing::info!(statements = migration.statements.len(), "brought the tables up to date");
    }
    if migrate == Migrate::Check && !migration.statements.is_empty() {
        let statements = migration.statements.join(";\n");
        return Err(problem(format!(
            "the database is not up to date; run `narthex migrate`, or:\n{statements};"
        )));
    }
    Ok(())
}

/// `auto` keeps to scrypt in a database that upstream has filled: it answers 500 to a hash it does not know.
async fn scheme(config: &Config, store: &Store) -> Result<Scheme, BuildError> {
    let bcrypt = Scheme::Bcrypt { cost: config.password.bcrypt_cost };
    Ok(match config.password.hash {
        HashName::Bcrypt => bcrypt,
        HashName::Scrypt => Scheme::Scrypt,
        HashName::Argon2id => Scheme::Argon2id,
        HashName::Auto => {
            let some = Select::matching(Account::PASSWORD.ne(None::<String>));
            let some = some.order_by(Account::ID, Order::Ascending).limit(SAMPLED_ACCOUNTS);
            let some =
                store.list(some).await.map_err(|error| BuildError { problems: vec![chain(&error)] })?;
            let is_upstreams =
                some.iter().filter_map(|account: &Account| account.password.as_deref()).any(is_upstream_hash);
            if is_upstreams { Scheme::Scrypt } else { bcrypt }
        }
    })
}

impl Engine {
    pub(crate) fn not_found() -> Response<Bytes> {
        Reply::empty(StatusCode::NOT_FOUND).into_response([], [])
    }
}
