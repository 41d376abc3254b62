//! How everything gets in: a plugin installs endpoints, tables, hooks and limits; the base endpoints use the same door.
//!
//! Handlers and hooks are async methods of the plugin: options are `self`, the request is `cx`, inputs are
//! extractors in the signature. [`Setup`] erases them when they are registered, so there is no `dyn Plugin`, and
//! after `build()` nothing can be added: what is registered is data, listed by the [`Manifest`].

mod description;

pub use self::description::{BearerToken, Credential, Description, Other, SessionUse};

use crate::{
    config::Config,
    context::{Ctx, SignIn},
    env::BoxFuture,
    error::{Code, Result},
    housekeeping,
    http::{Extract, Replies, Reply},
    model::Ended,
    store::{Column, Field, Model, Store, StoreError, Table, Tx, Write},
    time::Time,
};
use http::{Method, StatusCode};
use std::{
    any::Any, any::TypeId, borrow::Cow, collections::HashMap, fmt::Display, future::Future, sync::Arc,
};

/// A feature that can be left out. Its fields are its options.
pub trait Plugin: Send + Sync + Sized + 'static {
    /// Upstream's plugin id; also the name of its section in the configuration file.
    const ID: &'static str;

    /// Adds everything the plugin contributes. Runs once, when [`Auth`](crate::Auth) is built.
    fn install(&self, setup: &mut Setup<'_, Self>);
}

/// Something that happened and is committed.
pub trait Event: Send + Sync + 'static {
    /// Its name in the configuration: `user.created`.
    const NAME: &'static str;
}

/// A request allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests allowed within the window.
    pub max: u32,
    /// Seconds.
    pub window: u32,
}

impl Rate {
    /// So many requests a minute.
    pub const fn per_minute(max: u32) -> Self {
        Self { max, window: 60 }
    }
}

/// Everything registered, as data.
#[derive(Default)]
pub struct Manifest {
    /// Endpoints, in registration order.
    pub endpoints: Vec<Endpoint>,
    /// Other paths of endpoints.
    pub aliases: Vec<Alias>,
    /// Tables, in the order they are created.
    pub tables: Vec<Table>,
    /// Columns added to tables of others.
    pub extensions: Vec<(&'static str, Field)>,
    /// Request allowances by path pattern, the first match first.
    pub rate_limits: Vec<(&'static str, Rate)>,
    /// Codes by the plugin that answers with them.
    pub codes: Vec<(&'static str, Code)>,
    /// How a client may show its session besides the cookie.
    pub credentials: Vec<Credential>,
    pub(crate) hooks: Hooks,
    pub(crate) plugins: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    pub(crate) ids: Vec<&'static str>,
    pub(crate) problems: Vec<String>,
    pub(crate) checks: Vec<Box<CheckFn>>,
}

impl Manifest {
    /// The plugin of this type, if it is installed.
    pub(crate) fn plugin<P: Plugin>(&self) -> Option<Arc<P>> {
        Arc::clone(self.plugins.get(&TypeId::of::<P>())?).downcast().ok()
    }
}

/// One endpoint.
pub struct Endpoint {
    /// The plugin that brings it.
    pub plugin: &'static str,
    /// Its method.
    pub method: Method,
    /// Its path below the base path; `:name` stands for one segment.
    pub path: Cow<'static, str>,
    /// What it takes and answers.
    pub description: Description,
    pub(crate) reads_body: bool,
    pub(crate) has_cookies: bool,
    pub(crate) run: Arc<HandlerFn>,
}

impl Endpoint {
    /// Leaves the body alone, whatever it is.
    pub fn without_body(&mut self) -> &mut Self {
        self.reads_body = false;
        self
    }

    /// What it does, in one sentence.
    pub fn summary(&mut self, summary: &'static str) -> &mut Self {
        self.description.summary = Some(summary);
        self
    }

    /// Upstream's name for it, where that is not its path in camel case.
    pub fn operation(&mut self, name: &'static str) -> &mut Self {
        self.description.operation = Some(name);
        self
    }

    /// Looks for a session and answers without one, too.
    pub fn looks_for_session(&mut self) -> &mut Self {
        self.description.session = SessionUse::Optional;
        self
    }

    /// Looks for a token of its own and answers without one, too.
    pub fn looks_for_bearer(&mut self, token: BearerToken) -> &mut Self {
        self.description.bearer = Some((token, SessionUse::Optional));
        self
    }

    /// Codes with which it may answer, besides those that its guards and inputs answer with.
    pub fn refuses(&mut self, status: StatusCode, codes: impl IntoIterator<Item = Code>) -> &mut Self {
        codes.into_iter().for_each(|code| self.description.refuse(status, code));
        self
    }

    /// As [`Self::refuses`], for rules that several endpoints share.
    pub fn refuses_with(&mut self, refusals: impl IntoIterator<Item = (StatusCode, Code)>) -> &mut Self {
        refusals.into_iter().for_each(|(status, code)| self.description.refuse(status, code));
        self
    }

    /// Something else that it may answer, such as a redirect.
    pub fn answers(&mut self, status: StatusCode, meaning: &'static str) -> &mut Self {
        self.description.others.push(Other { status, content_type: None, meaning });
        self
    }

    /// A page for people that it may answer.
    pub fn shows(&mut self, meaning: &'static str) -> &mut Self {
        self.sends("text/html", meaning)
    }

    /// Text of another type that it answers.
    pub fn sends(&mut self, content_type: &'static str, meaning: &'static str) -> &mut Self {
        let content_type = Some(content_type);
        self.description.others.push(Other { status: StatusCode::OK, content_type, meaning });
        self
    }

    /// Whether it looks at the body of a request.
    pub(crate) fn takes_body(&self) -> bool {
        self.reads_body && self.method != Method::GET
    }

    /// Sees no cookie and sets none, nor do its hooks. With no cookie there is nothing that a page of another site could
    /// use on the sly, so that no origin is asked for.
    pub fn without_cookies(&mut self) -> &mut Self {
        self.has_cookies = false;
        self
    }
}

/// Another path of an endpoint. Whoever comes by it is at the endpoint for limits, switches, hooks and metrics.
#[derive(Debug, Clone)]
pub struct Alias {
    /// The plugin that brings it.
    pub plugin: &'static str,
    /// The endpoint's method.
    pub method: Method,
    /// The path.
    pub from: Cow<'static, str>,
    /// Whether that is below the base path, and not the whole path.
    pub is_below: bool,
    /// The endpoint's path below the base path.
    pub to: Cow<'static, str>,
}

impl Alias {
    /// The whole path.
    pub fn path<'a>(&'a self, base_path: &str) -> Cow<'a, str> {
        if self.is_below { format!("{base_path}{}", self.from).into() } else { Cow::Borrowed(&self.from) }
    }

    /// Whether one of these paths below the base path is this one.
    pub(crate) fn is_among(&self, paths: &[impl AsRef<str>]) -> bool {
        self.is_below && paths.iter().any(|path| path.as_ref() == self.from)
    }
}

/// What there is once every plugin is installed, for [`Setup::check`].
pub struct Installed<'a> {
    /// The options.
    pub config: &'a Config,
    /// Whether the database has the sessions, or only a secondary storage.
    pub has_sessions_in_database: bool,
    pub(crate) manifest: &'a Manifest,
}

impl Installed<'_> {
    /// The plugin of this type, if it is installed.
    pub fn plugin<P: Plugin>(&self) -> Option<Arc<P>> {
        self.manifest.plugin()
    }
}

pub(crate) type HandlerFn = dyn for<'a> Fn(&'a mut Ctx) -> BoxFuture<'a, Result<Reply>> + Send + Sync;
pub(crate) type BeforeFn = dyn for<'a> Fn(&'a mut Ctx) -> BoxFuture<'a, Result<Option<Reply>>> + Send + Sync;
pub(crate) type SignInFn =
    dyn for<'a> Fn(&'a mut Ctx, &'a SignIn) -> BoxFuture<'a, Result<Option<Reply>>> + Send + Sync;
pub(crate) type WriteFn =
    dyn for<'a> Fn(&'a mut Tx, &'a mut Write) -> BoxFuture<'a, Result<()>> + Send + Sync;
pub(crate) type EndedFn = dyn for<'a> Fn(&'a mut Tx, &'a [Ended]) -> BoxFuture<'a, Result<()>> + Send + Sync;
pub(crate) type ClearFn =
    dyn for<'a> Fn(&'a Store, Time) -> BoxFuture<'a, Result<(), StoreError>> + Send + Sync;
pub(crate) type AfterFn =
    dyn for<'a> Fn(&'a mut Ctx, &'a mut Reply) -> BoxFuture<'a, Result<()>> + Send + Sync;
pub(crate) type CheckFn = dyn Fn(&Installed<'_>) -> Vec<String> + Send + Sync;
type SignFn =
    dyn for<'a> Fn(&'a mut Ctx, &'static str, String) -> BoxFuture<'a, Result<String>> + Send + Sync;
type OpenFn =
    dyn for<'a> Fn(&'a Store, &'static str, &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>>> + Send + Sync;
type EventFn = dyn for<'a> Fn(&'a Ctx, &'a (dyn Any + Send + Sync)) -> BoxFuture<'a, ()> + Send + Sync;

#[derive(Default)]
pub(crate) struct Hooks {
    pub(crate) before: Vec<(Pattern, Arc<BeforeFn>)>,
    pub(crate) after: Vec<(Pattern, Arc<AfterFn>)>,
    pub(crate) sign_in: Vec<Arc<SignInFn>>,
    pub(crate) write: Vec<(&'static str, Arc<WriteFn>)>,
    pub(crate) ended: Vec<Arc<EndedFn>>,
    pub(crate) cleared: Vec<(&'static str, Arc<ClearFn>)>,
    pub(crate) events: HashMap<TypeId, Vec<Arc<EventFn>>>,
    pub(crate) cache_signer: Option<CacheSigner>,
}

/// Who signs what the cookie cache remembers, in place of the secret.
#[derive(Clone)]
pub(crate) struct CacheSigner {
    /// A compact token of this type with these claims.
    pub(crate) sign: Arc<SignFn>,
    /// The claims of a token of this type, if it was signed here.
    pub(crate) open: Arc<OpenFn>,
}

/// An event on its way to its hooks.
pub(crate) struct QueuedEvent {
    kind: TypeId,
    name: &'static str,
    event: Box<dyn Any + Send + Sync>,
}

impl QueuedEvent {
    pub(crate) fn new<E: Event>(event: E) -> Self {
        Self { kind: TypeId::of::<E>(), name: E::NAME, event: Box::new(event) }
    }
}

impl Hooks {
    pub(crate) fn hears(&self, event: &QueuedEvent) -> bool {
        self.events.contains_key(&event.kind)
    }

    /// Whether anybody wants to know what happens, so that nothing is made ready for nobody.
    pub(crate) fn hears_of<E: Event>(&self) -> bool {
        self.events.contains_key(&TypeId::of::<E>())
    }

    pub(crate) async fn tell(&self, cx: &Ctx, event: &QueuedEvent) {
        tracing::debug!(event = event.name, "telling hooks");
        for hook in self.events.get(&event.kind).into_iter().flatten() {
            hook(cx, &*event.event).await;
        }
    }
}

/// Paths a hook or a limit concerns: exact, or everything below a prefix that ends in `/**`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(Cow<'static, str>);

impl Pattern {
    pub(crate) fn matches(&self, path: &str) -> bool {
        match self.0.strip_suffix("/**") {
            Some(prefix) => path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/')),
            None => self.0 == path,
        }
    }
}

macro_rules! async_fn {
    ($(#[$meta:meta])* $name:ident: $($argument:ident),+) => {
        $(#[$meta])*
        pub trait $name<$($argument),+>: Fn($($argument),+) -> <Self as $name<$($argument),+>>::Future + Send + Sync + 'static {
            /// What the call returns.
            type Future: Future<Output = <Self as $name<$($argument),+>>::Output> + Send;
            /// What the future returns.
            type Output;
        }
        impl<F, Fut, $($argument),+> $name<$($argument),+> for F
        where
            F: Fn($($argument),+) -> Fut + Send + Sync + 'static,
            Fut: Future + Send,
        {
            type Future = Fut;
            type Output = Fut::Output;
        }
    };
}
async_fn! {
    /// An async function of two arguments whose future can change threads.
    AsyncFn2: A, B
}
async_fn! {
    /// An async function of three arguments whose future can change threads.
    AsyncFn3: A, B, C
}
async_fn! {
    /// An async function of four arguments whose future can change threads.
    AsyncFn4: A, B, C, D
}
async_fn! {
    /// An async function of five arguments whose future can change threads.
    AsyncFn5: A, B, C, D, E
}

/// An `async fn(&self, cx: &mut Ctx, …up to three extractors) -> Result<impl Replies>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an endpoint handler of `{P}`",
    label = "expected `async fn(&self, cx: &mut Ctx, …) -> Result<…>`",
    note = "a handler is an async method of its plugin: `async fn(&self, cx: &mut Ctx, …) -> Result<…>`",
    note = "after `cx` come up to three extractors, such as `Body(body): Body<MyBody>` or `session: Session`",
    note = "it returns `Result<Reply>`, or `Result<Json<MyOutput>>` with an `output!` struct, and its future must be `Send`"
)]
pub trait Handler<P, Arguments>: Send + Sync + 'static {
    /// Extracts the arguments and runs the handler.
    fn handle<'a>(
        &'a self,
        plugin: &'a P,
        cx: &'a mut Ctx,
    ) -> impl Future<Output = Result<Reply>> + Send + 'a;
    /// What the signature says of the endpoint.
    fn describe() -> Description;
}

macro_rules! handler {
    ($function:ident $(, $extractor:ident $value:ident)*) => {
        impl<P: Plugin, F, R: Replies + 'static $(, $extractor: Extract + 'static)*> Handler<P, (R, $($extractor,)*)> for F
        where
            F: for<'a> $function<&'a P, &'a mut Ctx $(, $extractor)*, Output = Result<R>>,
        {
            async fn handle<'a>(&'a self, plugin: &'a P, cx: &'a mut Ctx) -> Result<Reply> {
                $( let $value = $extractor::extract(cx).await?; )*
                cx.settle_cookies();
                Ok(self(plugin, cx $(, $value)*).await?.into_reply())
            }

            fn describe() -> Description {
                let describes: &[fn(&mut Description)] = &[$( $extractor::describe ),*];
                let mut description = Description::default();
                R::describe(&mut description);
                for describe in describes {
                    describe(&mut description);
                }
                description
            }
        }
    };
}
handler!(AsyncFn2);
handler!(AsyncFn3, A a);
handler!(AsyncFn4, A a, B b);
handler!(AsyncFn5, A a, B b, C c);

/// What a plugin can add, one verb each.
pub struct Setup<'m, P> {
    plugin: Arc<P>,
    manifest: &'m mut Manifest,
}

impl<'m, P: Plugin> Setup<'m, P> {
    pub(crate) fn install(plugin: P, manifest: &'m mut Manifest) {
        if manifest.ids.contains(&P::ID) {
            manifest.problems.push(format!("plugin \"{}\" is registered twice", P::ID));
            return;
        }
        manifest.ids.push(P::ID);
        let plugin = Arc::new(plugin);
        manifest.plugins.insert(TypeId::of::<P>(), Arc::clone(&plugin) as _);
        Arc::clone(&plugin).install(&mut Setup { plugin, manifest });
    }

    /// Answers `GET path`.
    pub fn get<A>(
        &mut self,
        path: impl Into<Cow<'static, str>>,
        handler: impl Handler<P, A>,
    ) -> &mut Endpoint {
        self.route(Method::GET, path.into(), handler)
    }

    /// Answers `POST path`.
    pub fn post<A>(
        &mut self,
        path: impl Into<Cow<'static, str>>,
        handler: impl Handler<P, A>,
    ) -> &mut Endpoint {
        self.route(Method::POST, path.into(), handler)
    }

    #[expect(clippy::expect_used, reason = "the endpoint was pushed in the line before")]
    fn route<A, H: Handler<P, A>>(
        &mut self,
        method: Method,
        path: Cow<'static, str>,
        handler: H,
    ) -> &mut Endpoint {
        if self.manifest.endpoints.iter().any(|other| other.method == method && other.path == path) {
            self.manifest
                .problems
                .push(format!("{method} {path} is registered twice, the second time by \"{}\"", P::ID));
        }
        let plugin = Arc::clone(&self.plugin);
        let handler = Arc::new(handler);
        let run = erase_handler(move |cx| {
            let (plugin, handler) = (Arc::clone(&plugin), Arc::clone(&handler));
            Box::pin(async move { handler.handle(&plugin, cx).await })
        });
        let description = H::describe();
        let endpoint =
            Endpoint { plugin: P::ID, method, path, description, reads_body: true, has_cookies: true, run };
        self.manifest.endpoints.push(endpoint);
        self.manifest.endpoints.last_mut().expect("just pushed")
    }

    /// Answers `method from`, a path below the base path, as the endpoint at `to` does.
    pub fn alias(
        &mut self,
        method: Method,
        from: impl Into<Cow<'static, str>>,
        to: impl Into<Cow<'static, str>>,
    ) {
        let (from, to) = (from.into(), to.into());
        self.manifest.aliases.push(Alias { plugin: P::ID, method, from, is_below: true, to });
    }

    /// As [`Self::alias`], but `from` is a whole path, which need not be below the base path.
    pub fn alias_anywhere(
        &mut self,
        method: Method,
        from: impl Into<Cow<'static, str>>,
        to: impl Into<Cow<'static, str>>,
    ) {
        let (from, to) = (from.into(), to.into());
        self.manifest.aliases.push(Alias { plugin: P::ID, method, from, is_below: false, to });
    }

    /// Adds a table.
    pub fn table(&mut self, table: Table) {
        self.manifest.tables.push(table);
    }

    /// Adds columns to a table of core or of another plugin.
    pub fn extend(&mut self, table: &'static str, fields: impl IntoIterator<Item = Field>) {
        self.manifest.extensions.extend(fields.into_iter().map(|field| (table, field)));
    }

    /// Limits how often these paths may be asked for: a path, all below one with `/**`, or all that begin with a text
    /// with `*` at the end. Of several limits the first that matches holds.
    pub fn rate_limit(&mut self, paths: impl IntoIterator<Item = &'static str>, rate: Rate) {
        self.manifest.rate_limits.extend(paths.into_iter().map(|path| (path, rate)));
    }

    /// Names the codes this plugin answers with.
    pub fn codes(&mut self, codes: &'static [Code]) {
        self.manifest.codes.extend(codes.iter().map(|code| (P::ID, *code)));
    }

    /// Says how a client may show its session besides the cookie; a hook takes it from there.
    pub fn credential(&mut self, credential: Credential) {
        self.manifest.credentials.push(credential);
    }

    /// Reports a mistake in the plugin's section of the configuration, beginning with the option; `build()` fails with
    /// all of them.
    pub fn refuse(&mut self, problem: impl Display) {
        self.manifest.problems.push(format!("plugins.{}.{problem}", P::ID));
    }

    /// Looks, once every plugin is installed, for mistakes that concern more than this one's own section: what it depends
    /// on and what it cannot live with. Each begins with the option that is to be changed.
    pub fn check(&mut self, check: fn(&P, &Installed<'_>) -> Vec<String>) {
        let plugin = Arc::clone(&self.plugin);
        self.manifest.checks.push(Box::new(move |installed| check(&plugin, installed)));
    }

    /// Runs before the endpoints under `path` (`/sign-up/email`, or `/sign-up/**`): may change the request's raw
    /// body, or answer in the endpoint's place.
    pub fn before<H>(&mut self, path: impl Into<Cow<'static, str>>, hook: H)
    where
        H: for<'a> AsyncFn2<&'a P, &'a mut Ctx, Output = Result<Option<Reply>>>,
    {
        let (plugin, hook) = (Arc::clone(&self.plugin), Arc::new(hook));
        let run = erase_before(move |cx| {
            let (plugin, hook) = (Arc::clone(&plugin), Arc::clone(&hook));
            Box::pin(async move { hook(&plugin, cx).await })
        });
        self.manifest.hooks.before.push((Pattern(path.into()), run));
    }

    /// Runs once credentials are proven, before a session exists: `Some(reply)` interrupts the sign-in.
    pub fn on_sign_in<H>(&mut self, hook: H)
    where
        H: for<'a> AsyncFn3<&'a P, &'a mut Ctx, &'a SignIn, Output = Result<Option<Reply>>>,
    {
        let (plugin, hook) = (Arc::clone(&self.plugin), Arc::new(hook));
        self.manifest.hooks.sign_in.push(erase_sign_in(move |cx, sign_in| {
            let (plugin, hook) = (Arc::clone(&plugin), Arc::clone(&hook));
            Box::pin(async move { hook(&plugin, cx, sign_in).await })
        }));
    }

    /// Runs inside the transaction that writes a record of `table`: may change or refuse it.
    pub fn before_write<H>(&mut self, table: &'static str, hook: H)
    where
        H: for<'a> AsyncFn3<&'a P, &'a mut Tx, &'a mut Write, Output = Result<()>>,
    {
        let (plugin, hook) = (Arc::clone(&self.plugin), Arc::new(hook));
        let run = erase_write(move |tx, write| {
            let (plugin, hook) = (Arc::clone(&plugin), Arc::clone(&hook));
            Box::pin(async move { hook(&plugin, tx, write).await })
        });
        self.manifest.hooks.write.push((table, run));
    }

    /// Runs inside a transaction that ends sessions before their time, as the last that it does: what is written here is
    /// committed with their end, or neither is.
    pub fn on_sessions_ended<H>(&mut self, hook: H)
    where
        H: for<'a> AsyncFn3<&'a P, &'a mut Tx, &'a [Ended], Output = Result<()>>,
    {
        let (plugin, hook) = (Arc::clone(&self.plugin), Arc::new(hook));
        self.manifest.hooks.ended.push(erase_ended(move |tx, ended| {
            let (plugin, hook) = (Arc::clone(&plugin), Arc::clone(&hook));
            Box::pin(async move { hook(&plugin, tx, ended).await })
        }));
    }

    /// Deletes, some time after it, rows whose moment in this column has passed.
    pub fn clear<M: Model>(&mut self, ends: Column<M, Option<Time>>) {
        let run = erase_clear(move |store, now| {
            Box::pin(async move { housekeeping::delete(store, &ends.lt(now)).await })
        });
        self.manifest.hooks.cleared.push((M::TABLE, run));
    }

    /// Runs after the endpoints under `path`, whether they succeeded or not: may change the reply.
    pub fn after<H>(&mut self, path: impl Into<Cow<'static, str>>, hook: H)
    where
        H: for<'a> AsyncFn3<&'a P, &'a mut Ctx, &'a mut Reply, Output = Result<()>>,
    {
        let (plugin, hook) = (Arc::clone(&self.plugin), Arc::new(hook));
        let run = erase_after(move |cx, reply| {
            let (plugin, hook) = (Arc::clone(&plugin), Arc::clone(&hook));
            Box::pin(async move { hook(&plugin, cx, reply).await })
        });
        self.manifest.hooks.after.push((Pattern(path.into()), run));
    }

    /// Hears of an event after its commit; cannot fail the request.
    pub fn on<E: Event>(&mut self, hook: impl for<'a> AsyncFn3<&'a P, &'a Ctx, &'a E, Output = ()>) {
        let (plugin, hook) = (Arc::clone(&self.plugin), Arc::new(hook));
        let run = erase_event(move |cx, event| {
            let (plugin, hook) = (Arc::clone(&plugin), Arc::clone(&hook));
            Box::pin(async move {
                if let Some(event) = event.downcast_ref::<E>() {
                    hook(&plugin, cx, event).await;
                }
            })
        });
        self.manifest.hooks.events.entry(TypeId::of::<E>()).or_default().push(run);
    }

    /// Signs what the cookie cache remembers in place of the secret, where its strategy is `jwt`, so that others can
    /// verify it too. `sign` makes a compact token with this `typ` in its header out of claims that are JSON already;
    /// `open` gives the claims of a token that it made, if that is its `typ`. What they say is looked at here.
    pub fn sign_cookie_cache<S, O>(&mut self, sign: S, open: O)
    where
        S: for<'a> AsyncFn4<&'a P, &'a mut Ctx, &'static str, String, Output = Result<String>>,
        O: for<'a> AsyncFn4<&'a P, &'a Store, &'static str, &'a str, Output = Result<Option<Vec<u8>>>>,
    {
        if self.manifest.hooks.cache_signer.is_some() {
            self.manifest
                .problems
                .push(format!("the cookie cache is signed twice, the second time by \"{}\"", P::ID));
        }
        let (plugin, sign) = (Arc::clone(&self.plugin), Arc::new(sign));
        let sign = erase_sign(move |cx, kind, claims| {
            let (plugin, sign) = (Arc::clone(&plugin), Arc::clone(&sign));
            Box::pin(async move { sign(&plugin, cx, kind, claims).await })
        });
        let (plugin, open) = (Arc::clone(&self.plugin), Arc::new(open));
        let open = erase_open(move |store, kind, token| {
            let (plugin, open) = (Arc::clone(&plugin), Arc::clone(&open));
            Box::pin(async move { open(&plugin, store, kind, token).await })
        });
        self.manifest.hooks.cache_signer = Some(CacheSigner { sign, open });
    }

    /// Registers hooks and handlers that get `&value` after `&self`: one registration for each entry of the
    /// configuration, without closures that capture it.
    pub fn with<V: Send + Sync + 'static>(&mut self, value: V) -> With<'_, 'm, P, V> {
        With { setup: self, value: Arc::new(value) }
    }
}

/// A [`Setup`] whose hooks and handlers get a value besides the plugin.
pub struct With<'s, 'm, P, V> {
    setup: &'s mut Setup<'m, P>,
    value: Arc<V>,
}

impl<P: Plugin, V: Send + Sync + 'static> With<'_, '_, P, V> {
    /// Answers `method path`.
    pub fn route<R: Replies + 'static, H>(
        &mut self,
        method: Method,
        path: impl Into<Cow<'static, str>>,
        handler: H,
    ) -> &mut Endpoint
    where
        H: for<'a> AsyncFn3<&'a P, &'a V, &'a mut Ctx, Output = Result<R>>,
    {
        self.setup.route(method, path.into(), ValueHandler { value: Arc::clone(&self.value), handler })
    }

    /// As [`Setup::before`].
    pub fn before<H>(&mut self, path: impl Into<Cow<'static, str>>, hook: H) -> &mut Self
    where
        H: for<'a> AsyncFn3<&'a P, &'a V, &'a mut Ctx, Output = Result<Option<Reply>>>,
    {
        let (plugin, value, hook) = (Arc::clone(&self.setup.plugin), Arc::clone(&self.value), Arc::new(hook));
        let run = erase_before(move |cx| {
            let (plugin, value, hook) = (Arc::clone(&plugin), Arc::clone(&value), Arc::clone(&hook));
            Box::pin(async move { hook(&plugin, &value, cx).await })
        });
        self.setup.manifest.hooks.before.push((Pattern(path.into()), run));
        self
    }

    /// As [`Setup::after`].
    pub fn after<H>(&mut self, path: impl Into<Cow<'static, str>>, hook: H) -> &mut Self
    where
        H: for<'a> AsyncFn4<&'a P, &'a V, &'a mut Ctx, &'a mut Reply, Output = Result<()>>,
    {
        let (plugin, value, hook) = (Arc::clone(&self.setup.plugin), Arc::clone(&self.value), Arc::new(hook));
        let run = erase_after(move |cx, reply| {
            let (plugin, value, hook) = (Arc::clone(&plugin), Arc::clone(&value), Arc::clone(&hook));
            Box::pin(async move { hook(&plugin, &value, cx, reply).await })
        });
        self.setup.manifest.hooks.after.push((Pattern(path.into()), run));
        self
    }

    /// As [`Setup::on_sign_in`].
    pub fn on_sign_in<H>(&mut self, hook: H) -> &mut Self
    where
        H: for<'a> AsyncFn4<&'a P, &'a V, &'a mut Ctx, &'a SignIn, Output = Result<Option<Reply>>>,
    {
        let (plugin, value, hook) = (Arc::clone(&self.setup.plugin), Arc::clone(&self.value), Arc::new(hook));
        self.setup.manifest.hooks.sign_in.push(erase_sign_in(move |cx, sign_in| {
            let (plugin, value, hook) = (Arc::clone(&plugin), Arc::clone(&value), Arc::clone(&hook));
            Box::pin(async move { hook(&plugin, &value, cx, sign_in).await })
        }));
        self
    }
}

struct ValueHandler<V, H> {
    value: Arc<V>,
    handler: H,
}

impl<P: Plugin, V: Send + Sync + 'static, R: Replies + 'static, H> Handler<P, (V, R)> for ValueHandler<V, H>
where
    H: for<'a> AsyncFn3<&'a P, &'a V, &'a mut Ctx, Output = Result<R>>,
{
    async fn handle<'a>(&'a self, plugin: &'a P, cx: &'a mut Ctx) -> Result<Reply> {
        Ok((self.handler)(plugin, &self.value, cx).await?.into_reply())
    }

    fn describe() -> Description {
        let mut description = Description::default();
        R::describe(&mut description);
        description
    }
}

// A closure is given its higher-ranked signature by the function it is passed to, and in no other way.
fn erase_handler(
    run: impl for<'a> Fn(&'a mut Ctx) -> BoxFuture<'a, Result<Reply>> + Send + Sync + 'static,
) -> Arc<HandlerFn> {
    Arc::new(run)
}
fn erase_before(
    run: impl for<'a> Fn(&'a mut Ctx) -> BoxFuture<'a, Result<Option<Reply>>> + Send + Sync + 'static,
) -> Arc<BeforeFn> {
    Arc::new(run)
}
fn erase_sign_in(
    run: impl for<'a> Fn(&'a mut Ctx, &'a SignIn) -> BoxFuture<'a, Result<Option<Reply>>> + Send + Sync + 'static,
) -> Arc<SignInFn> {
    Arc::new(run)
}
fn erase_write(
    run: impl for<'a> Fn(&'a mut Tx, &'a mut Write) -> BoxFuture<'a, Result<()>> + Send + Sync + 'static,
) -> Arc<WriteFn> {
    Arc::new(run)
}
fn erase_ended(
    run: impl for<'a> Fn(&'a mut Tx, &'a [Ended]) -> BoxFuture<'a, Result<()>> + Send + Sync + 'static,
) -> Arc<EndedFn> {
    Arc::new(run)
}
fn erase_clear(
    run: impl for<'a> Fn(&'a Store, Time) -> BoxFuture<'a, Result<(), StoreError>> + Send + Sync + 'static,
) -> Arc<ClearFn> {
    Arc::new(run)
}
fn erase_after(
    run: impl for<'a> Fn(&'a mut Ctx, &'a mut Reply) -> BoxFuture<'a, Result<()>> + Send + Sync + 'static,
) -> Arc<AfterFn> {
    Arc::new(run)
}
fn erase_sign(
    run: impl for<'a> Fn(&'a mut Ctx, &'static str, String) -> BoxFuture<'a, Result<String>>
    + Send
    + Sync
    + 'static,
) -> Arc<SignFn> {
    Arc::new(run)
}
fn erase_open(
    run: impl for<'a> Fn(&'a Store, &'static str, &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>>>
    + Send
    + Sync
    + 'static,
) -> Arc<OpenFn> {
    Arc::new(run)
}
fn erase_event(
    run: impl for<'a> Fn(&'a Ctx, &'a (dyn Any + Send + Sync)) -> BoxFuture<'a, ()> + Send + Sync + 'static,
) -> Arc<EventFn> {
    Arc::new(run)
}
