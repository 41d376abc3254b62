//! One request: what came in, what a handler may use, and what goes out besides the reply.

use crate::{
    SPANS,
    auth::Engine,
    config::Resolved,
    crypto::{at_rest::Secrets, password},
    env::Mail,
    error::{Error, Result, chain},
    guessing::Forgiven,
    happening::Happening,
    http::{
        Reply, client_ip, cookie,
        cookies::{self, Cookie, Cookies},
        dispatch,
        router::Parameters,
    },
    model::{
        Accounts, Origin, Session, Sessions, User, Users, Verification, Verifications, sessions::Changed,
    },
    plugin::{Plugin, QueuedEvent},
    secondary::Found,
    secret::Secret,
    store::{Patch, Store, Tx},
    time::Time,
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCESS_CONTROL_EXPOSE_HEADERS, CONTENT_TYPE, COOKIE, USER_AGENT},
    request::Parts,
};
use serde::Serialize;
use serde_json::Value;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tracing::{Instrument as _, Span};

/// From waiting for a thread to having the hash.
fn hashing_span() -> Span {
    tracing::info_span!(target: SPANS, "password hash")
}

/// How long a transaction may take; it holds a lock that others wait for.
const TRANSACTION_DEADLINE: Duration = Duration::from_secs(1);

/// The media type of forms.
const FORM: &str = "application/x-www-form-urlencoded";

/// One request.
pub struct Ctx {
    pub(crate) engine: Arc<Engine>,
    parts: Parts,
    path: String,
    pub(crate) parameters: Parameters,
    pub(crate) body: Option<Value>,
    cookie_header: String,
    cookies: Cookies,
    headers_out: Vec<(HeaderName, HeaderValue)>,
    /// Whose request this was found to be, for hooks. Boxed, because most requests have no use for the room.
    current: Option<Box<SignedIn>>,
    /// Who does it, where no client asks for it.
    pub(crate) actor: Option<&'static str>,
    /// Accounts whose failures the next transaction forgets.
    pub(crate) forgiven: Vec<Forgiven>,
}

/// Who is asking, as a session remembers it.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// The address, or nothing where there is none.
    pub ip_address: String,
    /// What the browser calls itself.
    pub user_agent: String,
}

/// A session and whose it is.
#[derive(Debug, Clone, Serialize)]
pub struct SignedIn {
    /// The session.
    pub session: Session,
    /// Whose it is.
    pub user: User,
}

/// How someone proved who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// An account was just made with an email address and a password.
    SignUp,
    /// A password.
    Password,
}

impl Method {
    /// As it is told when a session is made.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::SignUp => Happening::SIGN_UP,
            Self::Password => Happening::PASSWORD,
        }
    }
}

/// A sign-in that is about to happen: credentials are proven, no session exists yet.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// Who.
    pub user: User,
    /// How they proved it.
    pub method: Method,
    /// Whether the session outlives the browser's.
    pub remember: bool,
}

impl Ctx {
    pub(crate) fn new(engine: Arc<Engine>, parts: Parts, path: String, parameters: Parameters) -> Self {
        Self {
            engine,
            cookie_header: cookies::header(&parts.headers),
            parts,
            path,
            parameters,
            body: None,
            cookies: Cookies::default(),
            headers_out: Vec::new(),
            current: None,
            actor: None,
            forgiven: Vec::new(),
        }
    }

    /// The request's method.
    pub fn method(&self) -> &http::Method {
        &self.parts.method
    }

    /// The request's path below the base path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value of a `:name` segment of the path.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find_map(|(key, value)| (key == name).then_some(value.as_str()))
    }

    /// The request's headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// The query string, without its question mark.
    pub fn query_text(&self) -> &str {
        self.parts.uri.query().unwrap_or_default()
    }

    /// Whether the body came as a form, which has nothing but texts.
    pub fn has_form(&self) -> bool {
        let content_type = self.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        content_type.is_some_and(|kind| {
            kind.get(..FORM.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(FORM.as_bytes()))
        })
    }

    /// The raw body, which a `before` hook may look at.
    pub fn body(&self) -> Option<&Value> {
        self.body.as_ref()
    }

    /// The raw body, which a `before` hook may change.
    pub fn body_mut(&mut self) -> &mut Option<Value> {
        &mut self.body
    }

    pub(crate) fn take_body(&mut self) -> Option<Value> {
        self.body.take()
    }

    /// Who is asking.
    pub fn client(&self) -> Client {
        let address = self.engine.addresses.of(&self.parts);
        // One byte, one character: what upstream's server makes of a header.
        let user_agent =
            self.headers().get(USER_AGENT).map(|value| value.as_bytes().iter().map(|byte| char::from(*byte)));
        Client {
            ip_address: address.map(client_ip::display).unwrap_or_default(),
            user_agent: user_agent.map(Iterator::collect).unwrap_or_default(),
        }
    }

    /// The database, outside a transaction.
    pub fn store(&self) -> &Store {
        &self.engine.store
    }

    /// The options.
    pub fn config(&self) -> &crate::Config {
        &self.engine.resolved.config
    }

    pub(crate) fn resolved(&self) -> &Resolved {
        &self.engine.resolved
    }

    /// The secrets, for what is kept encrypted.
    pub fn secrets(&self) -> &Secrets {
        &self.resolved().secrets
    }

    /// As many bytes of chance.
    pub fn random<const COUNT: usize>(&self) -> [u8; COUNT] {
        let mut bytes = [0; COUNT];
        self.engine.env.entropy.fill(&mut bytes);
        bytes
    }

    /// Now.
    pub fn now(&self) -> Time {
        self.engine.env.clock.now()
    }

    /// The id of a new record: empty where the database makes it.
    pub fn new_id(&self) -> String {
        self.store().new_id()
    }

    /// Users, outside a transaction: reading.
    pub fn users(&self) -> Users<&Store> {
        Users::new(self.store())
    }

    /// Accounts, outside a transaction: reading.
    pub fn accounts(&self) -> Accounts<&Store> {
        Accounts::new(self.store())
    }

    /// Sessions, outside a transaction: reading.
    pub fn sessions(&self) -> Sessions<&Store> {
        Sessions::new(self.store())
    }

    /// Verifications, outside a transaction: reading.
    pub fn verifications(&self) -> Verifications<&Store> {
        Verifications::new(self.store())
    }

    /// The plugin of this type, if it is installed.
    pub fn plugin<P: Plugin>(&self) -> Option<Arc<P>> {
        self.engine.manifest.plugin()
    }

    /// What stands for an account in logs and counts: a keyed hash of the address or name in any spelling, so that
    /// nobody reads there who was tried.
    pub fn account_hash(&self, account: &str) -> String {
        self.engine.account_hashes.of(account)
    }

    /// Hashes a password on the hashing threads; 503 when too many are waiting.
    pub async fn hash(&self, password: &Secret) -> Result<String> {
        let (scheme, password) = (self.engine.scheme, password.clone());
        let salt = self.random::<16>();
        let hash = self.on_hash_pool(move || scheme.hash(password.expose(), salt)).await?;
        hash.map_err(Error::internal)
    }

    /// Checks a password on the hashing threads and counts nothing: [`Self::check_password`] does. Without a stored
    /// hash it does the same work and finds it wrong.
    pub(crate) async fn verify(&self, stored: Option<&str>, password: &Secret) -> Result<bool> {
        let is_known = stored.is_some();
        let (stored, password) =
            (stored.map_or_else(|| self.engine.decoy.clone(), str::to_owned), password.clone());
        let matches = self.on_hash_pool(move || password::verify(&stored, password.expose())).await?;
        Ok(matches.map_err(Error::internal)? && is_known)
    }

    async fn on_hash_pool<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let outcome = match self.engine.meters.as_ref().map(|meters| meters.hashing()) {
            None => self.engine.hashing.run(job).instrument(hashing_span()).await,
            Some(durations) => {
                let measured = move || {
                    let begun = Instant::now();
                    let value = job();
                    durations.record(begun.elapsed().as_secs_f64());
                    value
                };
                self.engine.hashing.run(measured).instrument(hashing_span()).await
            }
        };
        outcome.map_err(Error::busy)
    }

    /// Whether this stored hash should be replaced by one of the scheme in force, now that the password is known.
    pub(crate) fn is_outdated(&self, stored: &str) -> bool {
        self.engine.replaces_hashes && self.engine.scheme.is_outdated(stored)
    }

    /// Asks another server.
    pub async fn fetch(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>> {
        self.engine.env.fetch.fetch(request).await.map_err(Error::internal)
    }

    /// Writes several things, or none: the only way to more than one statement that writes.
    ///
    /// `work` gets the store's verbs and the models' rules. It cannot hash, fetch or wait for anything else, because
    /// the request is borrowed while it runs, and it is undone when it fails, takes longer than a second, or the
    /// request is dropped. Mail and events leave once it is committed.
    ///
    /// ```compile_fail
    /// # use narthex::prelude::*;
    /// async fn hashes_inside(cx: &mut Ctx, password: Secret) -> Result<String> {
    ///     cx.transact(async |_tx: &mut Tx| cx.hash(&password).await).await
    /// }
    /// ```
    pub async fn transact<T>(&mut self, work: impl AsyncFnOnce(&mut Tx) -> Result<T>) -> Result<T> {
        let span = tracing::info_span!(target: SPANS, "transaction");
        self.transact_untraced(work).instrument(span).await
    }

    async fn transact_untraced<T>(&mut self, work: impl AsyncFnOnce(&mut Tx) -> Result<T>) -> Result<T> {
        let origin = self.store().audit().map(|_| self.origin()).unwrap_or_default();
        let mut tx = self.engine.store.begin().await?;
        let (forgiven, origin) = (&self.forgiven, &origin);
        let all = async {
            for forgiven in forgiven {
                tx.guesses().forget(forgiven).await?;
            }
            let value = work(&mut tx).await?;
            tx.settle().await?;
            tx.audit(origin).await?;
            Ok(value)
        };
        let outcome = tokio::time::timeout(TRANSACTION_DEADLINE, all).await;
        let value = match outcome {
            Ok(Ok(value)) => value,
            Ok(Err(error)) => {
                tx.rollback().await;
                return Err(error);
            }
            Err(elapsed) => {
                // Dropped, for a rollback would wait for the statement that is under way.
                drop(tx);
                return Err(Error::busy(elapsed));
            }
        };
        let effects = tx.commit().await?;
        self.forgiven.clear();
        let told = match self.engine.store.secondary().filter(|_| !effects.told.is_empty()) {
            Some(secondary) => Box::pin(secondary.tell(&self.engine.store, effects.told)).await,
            None => Ok(()),
        };
        for event in effects.events.iter().filter(|event| self.engine.manifest.hooks.hears(event)) {
            self.engine.manifest.hooks.tell(self, event).await;
        }
        for happening in effects.happened {
            self.tell(happening).await;
        }
        self.deliver(effects.mails);
        told.map(|()| value)
    }

    /// Tells what happened outside a transaction: something was refused, or a transaction has done it before. That it
    /// cannot be written down is logged, and changes nothing.
    pub async fn happened(&self, happening: Happening) {
        if let Some(log) = self.store().audit().filter(|_| !happening.is_routine) {
            let name = happening.name;
            if let Err(error) = Box::pin(log.write(self.store(), &happening, &self.origin())).await {
                tracing::error!(error = chain(&error), event = name, "the audit log could not be written");
            }
        }
        self.tell(happening).await;
    }

    /// From where this request comes, for the audit log.
    fn origin(&self) -> Origin {
        let client = self.client();
        let request_id = dispatch::request_id(self.headers()).map(str::to_owned);
        let [ip_address, user_agent] = [client.ip_address, client.user_agent];
        Origin {
            actor: self.actor.map(str::to_owned),
            ip_address: Some(ip_address).filter(|text| !text.is_empty()),
            user_agent: Some(user_agent).filter(|text| !text.is_empty()),
            request_id,
        }
    }

    async fn tell(&self, happening: Happening) {
        if let Some(meters) = &self.engine.meters {
            meters.happened(&happening);
        }
        let hooks = &self.engine.manifest.hooks;
        if hooks.hears_of::<Happening>() {
            hooks.tell(self, &QueuedEvent::new(happening)).await;
        }
    }

    /// Changes a session, wherever it is kept; `None` when it is gone.
    pub(crate) async fn update_session(
        &mut self,
        token: &str,
        patch: Patch<Session>,
    ) -> Result<Option<Session>> {
        let changed = self.transact(async |tx: &mut Tx| tx.sessions().update(token, patch).await).await?;
        match (changed, self.store().secondary()) {
            (Changed::Columns(columns), Some(secondary)) => {
                let table = self.store().resolved::<Session>()?;
                Box::pin(secondary.change_session(table, token, &columns, self.now())).await
            }
            (Changed::Row(row), _) => Ok(row),
            (Changed::Columns(_), None) => Ok(None),
        }
    }

    /// The sessions of a user as the secondary storage has them, where the database has none and somebody wants to know
    /// which end.
    pub(crate) async fn sessions_elsewhere(&self, user_id: &str) -> Result<Vec<Session>> {
        let store = self.store();
        match store.secondary().filter(|secondary| !secondary.has_sessions_in_database()) {
            Some(secondary) if store.hears_of_ends() => Box::pin(secondary.sessions_of(store, user_id)).await,
            _ => Ok(Vec::new()),
        }
    }

    /// What the secondary storage has of a session that is to be ended, where the database may not have it.
    pub(crate) async fn session_elsewhere(&self, token: &str) -> Result<Option<Session>> {
        let secondary = self
            .store()
            .secondary()
            .filter(|secondary| !secondary.has_sessions_in_database() || secondary.preserves_sessions());
        let Some(secondary) = secondary else { return Ok(None) };
        match Box::pin(secondary.session(self.store(), token)).await? {
            Found::Session(found) => Ok(Some(found.0)),
            Found::Nothing | Found::Refused => Ok(None),
        }
    }

    /// Redeems what waits under an identifier, once, whoever races for it, and does `work` with it in one transaction:
    /// if that fails it still waits, unless it is kept in the secondary storage alone. `None` when nothing waits, or no
    /// longer.
    pub async fn redeem<T>(
        &mut self,
        identifier: &str,
        work: impl AsyncFnOnce(&mut Tx, Verification) -> Result<T>,
    ) -> Result<Option<T>> {
        let secondary =
            self.store().secondary().filter(|secondary| !secondary.has_verifications_in_database());
        let taken = match secondary {
            Some(secondary) => {
                let taken = secondary.take_verification(self.store(), &self.store().kept(identifier)).await?;
                let now = self.now();
                match taken.filter(|verification| verification.expires_at >= now) {
                    Some(verification) => Some(verification),
                    None => return Ok(None),
                }
            }
            None => None,
        };
        self.transact(async |tx: &mut Tx| {
            let taken = match taken {
                Some(verification) => Some(verification),
                None => tx.verifications().consume(identifier).await?,
            };
            match taken {
                Some(verification) => work(tx, verification).await.map(Some),
                None => Ok(None),
            }
        })
        .await
    }

    /// The reply does not wait for a mail server, and its time says nothing of whether there was mail.
    fn deliver(&self, mails: Vec<Mail>) {
        if mails.is_empty() {
            return;
        }
        let (mailer, meters) = (Arc::clone(&self.engine.env.mailer), self.engine.meters.clone());
        self.engine.env.spawn(async move {
            for mail in mails {
                let kind = mail.kind;
                let outcome = mailer.send(mail).await;
                if let Some(meters) = &meters {
                    meters.mailed(kind, outcome.is_ok());
                }
                if let Err(error) = outcome {
                    tracing::error!(error, kind, "a message could not be sent");
                }
            }
        });
    }

    /// Runs the `on_sign_in` hooks, before a session exists. A reply takes the place of the session.
    pub async fn before_sign_in(&mut self, sign_in: &SignIn) -> Result<Option<Reply>> {
        let engine = Arc::clone(&self.engine);
        for hook in &engine.manifest.hooks.sign_in {
            let outcome = hook(self, sign_in).await;
            let is_refused = outcome.as_ref().is_err_and(|error| !error.status().is_server_error());
            if is_refused || matches!(outcome, Ok(Some(_))) {
                let interrupted = Happening::failed(Happening::SIGN_IN_FAILED, Happening::INTERRUPTED);
                self.happened(interrupted.of(&sign_in.user.id)).await;
            }
            if let Some(reply) = outcome? {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    /// Ends a sign-in: runs the `on_sign_in` hooks, creates the session, sets its cookies. A hook that interrupts
    /// ends the handler with its reply.
    pub async fn sign_in(&mut self, sign_in: SignIn) -> Result<SignedIn> {
        let (client, lifetime) = self.prepare_session(&sign_in).await?;
        let (user_id, how) = (&sign_in.user.id, sign_in.method.reason());
        let session = self
            .transact(async |tx: &mut Tx| tx.sessions().create(user_id, how, lifetime, client).await)
            .await?;
        Ok(self.signed_in(sign_in, session).await)
    }

    pub(crate) async fn prepare_session(&mut self, sign_in: &SignIn) -> Result<(Client, Duration)> {
        match self.before_sign_in(sign_in).await? {
            Some(reply) => Err(Error::interrupted(reply)),
            None => Ok((self.client(), self.session_lifetime(sign_in.remember))),
        }
    }

    pub(crate) async fn signed_in(&mut self, sign_in: SignIn, session: Session) -> SignedIn {
        let signed_in = SignedIn { session, user: sign_in.user };
        self.set_session(&signed_in, sign_in.remember).await;
        signed_in
    }

    /// How long a new session lives. One that ends with the browser is kept for a day here.
    pub(crate) fn session_lifetime(&self, remember: bool) -> Duration {
        let lifetime = if remember { self.resolved().expires_in } else { Duration::from_hours(24) };
        let now = self.now();
        self.resolved().max_lifetime.cut(lifetime, now, now)
    }

    /// Sets the cookies of a session.
    pub(crate) async fn set_session(&mut self, signed_in: &SignedIn, remember: bool) {
        let engine = Arc::clone(&self.engine);
        let ours = &engine.cookies;
        let max_age = remember.then(|| {
            let (lifetime, created_at) = (engine.resolved.expires_in, signed_in.session.created_at);
            let left = engine.resolved.max_lifetime.cut(lifetime, created_at, self.now());
            left.as_secs().try_into().unwrap_or(i64::MAX)
        });
        self.cookies.set_signed(&engine.signer, &ours.session_token, &signed_in.session.token, max_age);
        if !remember {
            let max_age = ours.dont_remember.attributes.max_age;
            self.cookies.set_signed(&engine.signer, &ours.dont_remember, "true", max_age);
        } else if self.signed_cookie(&ours.dont_remember).is_some() {
            self.cookies.expire(&ours.dont_remember);
        }
        self.cache_session(signed_in, remember).await;
    }

    /// Whether the session outlives the browser's, as far as its cookies say.
    pub(crate) fn remembers(&self) -> bool {
        self.signed_cookie(&self.engine.cookies.dont_remember).is_none()
    }

    /// Lets the browser remember a session and whose it is, where that is asked for.
    pub(crate) async fn cache_session(&mut self, signed_in: &SignedIn, remember: bool) {
        if self.engine.cookie_cache.is_none() || self.cookies.are_refused() {
            return;
        }
        let engine = Arc::clone(&self.engine);
        let Some(cache) = &engine.cookie_cache else { return };
        let cookie = &engine.cookies.session_data;
        let max_age = cookie.attributes.max_age.filter(|_| remember);
        match cache.seal(self, signed_in, max_age).await {
            Some(value) => self.cookies.set_in_pieces(&self.cookie_header, cookie, &value, max_age),
            // What it remembers is not so any more.
            None => self.cookies.expire_pieces(&self.cookie_header, cookie),
        }
    }

    /// The session of this token as the browser remembers it, if that can be believed. What cannot is forgotten.
    pub(crate) async fn cached_session(&mut self, token: &str) -> Option<SignedIn> {
        self.engine.cookie_cache.as_ref()?;
        let engine = Arc::clone(&self.engine);
        let cache = engine.cookie_cache.as_ref()?;
        let cookie = &engine.cookies.session_data;
        let value = cookies::chunked(&self.cookie_header, cookie)?;
        let remembered = cache.open(&engine.store, &value, token, self.now()).await;
        if remembered.is_none() {
            self.cookies.expire(cookie);
        }
        remembered
    }

    /// Makes the browser forget its session.
    pub(crate) fn forget_session(&mut self) {
        let engine = Arc::clone(&self.engine);
        self.cookies.expire(&engine.cookies.session_token);
        self.cookies.expire(&engine.cookies.session_data);
        self.cookies.expire_pieces(&self.cookie_header, &engine.cookies.session_data);
        self.cookies.expire(&engine.cookies.dont_remember);
    }

    /// Makes the browser forget cached session data where nobody reads it any more.
    pub(crate) fn forget_leftover_cache(&mut self) {
        if self.engine.cookie_cache.is_none()
            && cookies::chunked(&self.cookie_header, &self.engine.cookies.session_data).is_some()
        {
            let engine = Arc::clone(&self.engine);
            self.cookies.expire_pieces(&self.cookie_header, &engine.cookies.session_data);
        }
    }

    /// As if no cookie had come with the request; and none is set.
    pub(crate) fn set_no_cookies(&mut self) {
        self.parts.headers.remove(COOKIE);
        self.cookie_header.clear();
        self.cookies.refuse();
    }

    /// What guards took back of what they set is not sent.
    pub(crate) fn settle_cookies(&mut self) {
        self.cookies.settle();
    }

    /// The value of one of our signed cookies, if the signature is ours.
    pub(crate) fn signed_cookie(&self, cookie: &Cookie) -> Option<String> {
        cookies::signed(&self.cookie_header, &self.engine.signer, cookie)
    }

    /// Whose request `/get-session` has found this to be, for hooks that run after it.
    pub fn current(&self) -> Option<&SignedIn> {
        self.current.as_deref()
    }

    /// Whose request this is, for hooks that run after it.
    pub(crate) fn found(&mut self, signed_in: SignedIn) {
        if !self.engine.manifest.hooks.after.is_empty() {
            self.current = Some(Box::new(signed_in));
        }
    }

    /// A session's token with our signature, as its cookie has it.
    pub fn sign_session_token(&self, token: &str) -> String {
        self.engine.signer.sign(token)
    }

    /// Whether `signed` begins with a token and its signature, in any spelling of base64.
    pub fn is_signed_session_token(&self, signed: &str) -> bool {
        self.engine.signer.is_ours(signed)
    }

    /// For the rest of this request its cookie holds this session: `signed` is a token with our signature.
    pub fn present_session(&mut self, signed: &str) {
        let name = &self.engine.cookies.session_token.name;
        self.cookie_header = cookie::with(&self.cookie_header, name, signed);
    }

    /// What the reply sets the session's cookie to: a token with our signature; nothing when it expires it.
    pub fn session_set(&self) -> Option<String> {
        self.cookies.value_of(&self.engine.cookies.session_token.name)
    }

    /// Sets a response header that pages of other origins may read.
    pub fn expose_header(&mut self, name: HeaderName, value: HeaderValue) {
        let exposed = self.headers_out.iter().find(|(other, _)| *other == ACCESS_CONTROL_EXPOSE_HEADERS);
        let exposed = exposed.and_then(|(_, list)| list.to_str().ok()).unwrap_or_default();
        let mut names: Vec<&str> = exposed.split(", ").filter(|other| !other.is_empty()).collect();
        if !names.contains(&name.as_str()) {
            names.push(name.as_str());
        }
        // Names of headers are header values.
        if let Ok(names) = HeaderValue::try_from(names.join(", ")) {
            self.set_header(ACCESS_CONTROL_EXPOSE_HEADERS, names);
        }
        self.set_header(name, value);
    }

    /// Scheme, host and port of the base URL.
    pub fn base_origin(&self) -> &str {
        &self.engine.resolved.base_origin
    }

    /// Runs what keeps a processor busy for long on the hashing threads; 503 when too many are waiting.
    pub async fn compute<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        self.engine.hashing.run(job).await.map_err(Error::busy)
    }

    /// As [`Self::compute`], for what takes a few milliseconds: it goes before the passwords that wait.
    pub async fn compute_soon<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        self.engine.hashing.run_short(job).await.map_err(Error::busy)
    }

    /// Waits so long, or until requests that wait are to answer, because the server stops: then it is `false`.
    pub async fn sleep(&self, duration: Duration) -> bool {
        let mut hurry = self.engine.hurry.subscribe();
        tokio::select! {
            biased;
            _ = hurry.wait_for(|hurry| *hurry) => false,
            () = self.engine.env.timer.sleep(duration) => true,
        }
    }

    /// Sets a response header, whatever the handler answers.
    pub fn set_header(&mut self, name: HeaderName, value: HeaderValue) {
        self.headers_out.retain(|(other, _)| *other != name);
        self.headers_out.push((name, value));
    }

    pub(crate) fn finish(self, reply: Reply) -> http::Response<Bytes> {
        reply.into_response(self.headers_out, self.cookies.into_values())
    }
}
