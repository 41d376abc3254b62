//! Whose session it is: the endpoint, and the guard that other endpoints ask for.
//!
//! This is the path that every page of every application takes: one statement, no write but once a day.
//!
//! Upstream: `api/routes/session.ts`.

use crate::{
    auth::Engine,
    error::chain,
    http::{Extract, ReplyOf, cookies},
    input::{CoercedBoolean, Input as _, from_query},
    model,
    plugin::{Description, SessionUse},
    prelude::*,
};
use ::http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, PRAGMA},
};
use serde::Serialize;
use std::{sync::Arc, time::Duration};

pub(crate) struct GetSession;

impl Plugin for GetSession {
    const ID: &'static str = "get-session";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        let codes = [Code::FAILED_TO_GET_SESSION];
        setup
            .get("/get-session", Self::get)
            .summary("Tells who is signed in.")
            .looks_for_session()
            .refuses(StatusCode::UNAUTHORIZED, codes)
            .refuses(StatusCode::SERVICE_UNAVAILABLE, [Code::SERVICE_UNAVAILABLE]);
        setup
            .post("/get-session", Self::post)
            .without_body()
            .summary("Tells who is signed in and renews the session, where that is deferred.")
            .looks_for_session()
            .refuses(StatusCode::UNAUTHORIZED, codes)
            .refuses(StatusCode::METHOD_NOT_ALLOWED, [Code::METHOD_NOT_ALLOWED_DEFER_SESSION_REQUIRED]);
    }
}

input! {
    /// How to look.
    pub(crate) struct GetSessionQuery {
        /// Ask the database, not the cookie cache.
        disable_cookie_cache: Option<CoercedBoolean>,
        /// Do not renew the session.
        disable_refresh: Option<CoercedBoolean>,
    }
}

output! {
    /// Who is signed in.
    pub(crate) struct Current {
        /// The session.
        session: model::Session,
        /// Whose it is.
        user: model::User,
        /// Whether the session is due to be renewed by a `POST`, where that is deferred.
        needs_refresh: Option<bool>,
    }
}

impl Current {
    fn new(SignedIn { session, user }: SignedIn, needs_refresh: Option<bool>) -> Self {
        Self { session, user, needs_refresh }
    }
}

impl GetSession {
    /// `GET /get-session`
    async fn get(
        &self,
        cx: &mut Ctx,
        Query(query): Query<GetSessionQuery>,
    ) -> Result<ReplyOf<Option<Current>>> {
        no_store(cx);
        current(cx, &query, Renewal::WhenDue).await.map(|current| answer(cx, current))
    }

    /// `POST /get-session`
    async fn post(
        &self,
        cx: &mut Ctx,
        Query(query): Query<GetSessionQuery>,
    ) -> Result<ReplyOf<Option<Current>>> {
        no_store(cx);
        if !cx.config().session.defer_session_refresh {
            return Err(Error::new(
                StatusCode::METHOD_NOT_ALLOWED,
                Code::METHOD_NOT_ALLOWED_DEFER_SESSION_REQUIRED,
            ));
        }
        current(cx, &query, Renewal::Deferred).await.map(|current| answer(cx, current))
    }
}

/// When a session is renewed, if the options let it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Renewal {
    /// When it is due, unless that is deferred.
    WhenDue,
    /// When it is due, also where renewal is deferred.
    Deferred,
    /// Now.
    Now,
}

/// Hooks that run after this endpoint may ask whose request it is: they get what was written, and no copy of it.
fn answer(cx: &mut Ctx, current: Option<Current>) -> ReplyOf<Option<Current>> {
    let reply = ReplyOf::json(&current);
    if let Some(Current { session, user, .. }) = current {
        cx.found(SignedIn { session, user });
    }
    reply
}

fn no_store(cx: &mut Ctx) {
    cx.set_header(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    cx.set_header(PRAGMA, HeaderValue::from_static("no-cache"));
}

async fn current(cx: &mut Ctx, query: &GetSessionQuery, renewal: Renewal) -> Result<Option<Current>> {
    let token = cx.signed_cookie(&cx.engine.cookies.session_token);
    cx.forget_leftover_cache();
    let Some(token) = token else { return Ok(None) };
    if !is_set(query.disable_cookie_cache)
        && let Some(signed_in) = cx.cached_session(&token).await
    {
        return Ok(Some(Current::new(signed_in, None)));
    }
    stored(cx, query, renewal, &token).await
}

/// The session of this token as the database knows it.
async fn stored(
    cx: &mut Ctx,
    query: &GetSessionQuery,
    renewal: Renewal,
    token: &str,
) -> Result<Option<Current>> {
    let engine = Arc::clone(&cx.engine);
    let options = &engine.resolved.config.session;
    let may_write = !options.defer_session_refresh || renewal != Renewal::WhenDue;
    let now = cx.now();

    let limit = engine.resolved.max_lifetime;
    let mut found = cx.sessions().by_token(token).await?;
    let kept_until = found.as_ref().map(|(session, _)| session.expires_at);
    if let Some((session, _)) = &mut found {
        session.expires_at = limit.end(session.created_at, session.expires_at);
    }
    let is_expired = found.as_ref().is_some_and(|(session, _)| session.expires_at < now);
    let Some((session, user)) = found.filter(|_| !is_expired) else {
        cx.forget_session();
        if let Some(kept_until) = kept_until.filter(|_| is_expired && may_write) {
            let delete = cx.transact(async |tx: &mut Tx| tx.sessions().delete_ended(token, kept_until).await);
            match Box::pin(delete).await {
                // Whoever looks next deletes it.
                Err(error) if cannot_be_written(&error) => {
                    tracing::warn!(error = chain(&error), "a session that has ended could not be deleted");
                }
                deleted => deleted?,
            }
        }
        return Ok(None);
    };

    let signed_in = SignedIn { session, user };
    if !cx.remembers() || is_set(query.disable_refresh) {
        // Upstream: the cache is not set again either (kept).
        return Ok(Some(Current::new(signed_in, None)));
    }
    let is_due = may_be_renewed(cx, &signed_in.session)
        && (renewal == Renewal::Now || has_aged(cx, &signed_in.session));
    if !may_write || !is_due {
        cx.cache_session(&signed_in, true).await;
        return Ok(Some(Current::new(signed_in, (!may_write).then_some(is_due))));
    }
    let renewed = match Box::pin(renewed(cx, &signed_in.session)).await {
        Err(error) if cannot_be_written(&error) => {
            tracing::warn!(error = chain(&error), "a session could not be renewed and is answered as it is");
            cx.cache_session(&signed_in, true).await;
            return Ok(Some(Current::new(signed_in, None)));
        }
        renewed => renewed?,
    };
    let Some(session) = renewed else {
        // Signed out elsewhere since we looked.
        cx.forget_session();
        return Err(Error::unauthorized(Code::FAILED_TO_GET_SESSION));
    };
    let signed_in = SignedIn { session, ..signed_in };
    cx.set_session(&signed_in, true).await;
    Ok(Some(Current::new(signed_in, None)))
}

/// Whether the options let it live any longer.
fn may_be_renewed(cx: &Ctx, session: &model::Session) -> bool {
    let resolved = cx.resolved();
    !resolved.config.session.disable_session_refresh
        && resolved.max_lifetime.leaves_more(session.created_at, session.expires_at)
}

/// Whether its last renewal is so long ago that the next is due.
fn has_aged(cx: &Ctx, session: &model::Session) -> bool {
    let resolved = cx.resolved();
    let renewed_at = session.expires_at - resolved.expires_in;
    renewed_at + Duration::from_secs(resolved.config.session.update_age.into()) <= cx.now()
}

/// Gives a session all of its time again; `None` when it is gone.
async fn renewed(cx: &mut Ctx, session: &model::Session) -> Result<Option<model::Session>> {
    let (now, limit) = (cx.now(), cx.resolved().max_lifetime);
    let lifetime = limit.cut(cx.resolved().expires_in, session.created_at, now);
    let renewed = model::Session::EXPIRES_AT.set(now + lifetime);
    let Some(mut session) = cx.update_session(&session.token, renewed).await? else {
        return Ok(None);
    };
    let happening = Happening::new(Happening::SESSION_RENEWED).of(&session.user_id).session(&session.id);
    cx.happened(happening.routine()).await;
    session.expires_at = limit.end(session.created_at, session.expires_at);
    Ok(Some(session))
}

impl Ctx {
    /// Renews the session that a cookie names, now and not only when it is due, as far as the options let it and unless
    /// it ends with the browser. `None` when there is none.
    pub async fn renew_current_session(&mut self) -> Result<Option<SignedIn>> {
        no_store(self);
        let query =
            GetSessionQuery { disable_cookie_cache: Some(CoercedBoolean(true)), disable_refresh: None };
        let current = current(self, &query, Renewal::Now).await?;
        Ok(current.map(|Current { session, user, .. }| SignedIn { session, user }))
    }

    /// Renews a session that was found without a cookie, if it is due; `None` when it is gone.
    pub async fn renew_if_due(&mut self, signed_in: SignedIn) -> Result<Option<SignedIn>> {
        let session = &signed_in.session;
        if !may_be_renewed(self, session) || !has_aged(self, session) {
            return Ok(Some(signed_in));
        }
        let renewed = renewed(self, session).await?;
        Ok(renewed.map(|session| SignedIn { session, ..signed_in }))
    }

    /// The session with this id and whose it is, unless it has ended. Sessions are found in this way where the database
    /// has them.
    pub async fn session_by_id(&self, id: &str) -> Result<Option<SignedIn>> {
        let Some(mut session) = self.store().find(model::Session::ID.eq(id)).await? else { return Ok(None) };
        if self.store().secondary().is_some() {
            // What the database has of it may be all that is left.
            match self.sessions().by_token(&session.token).await? {
                Some((there, _)) if there.id == session.id => session = there,
                _ => return Ok(None),
            }
        }
        session.expires_at = self.resolved().max_lifetime.end(session.created_at, session.expires_at);
        if session.expires_at < self.now() {
            return Ok(None);
        }
        let user = self.users().by_id(&session.user_id).await?;
        Ok(user.map(|user| SignedIn { session, user }))
    }
}

/// Whoever only asks whose session it is need not be told that the database takes no writes just now.
fn cannot_be_written(error: &Error) -> bool {
    error.status() == StatusCode::SERVICE_UNAVAILABLE
}

fn is_set(flag: Option<CoercedBoolean>) -> bool {
    flag.is_some_and(|flag| flag.0)
}

/// Guard: somebody is signed in. Renews the session as `/get-session` does.
#[derive(Debug, Clone, Serialize)]
pub struct Session(pub SignedIn);

/// Guard: as [`Session`], but asks the database also where a cookie remembers the session: for what must not be done
/// with a session that was ended a minute ago.
#[derive(Debug, Clone)]
pub struct SensitiveSession(pub SignedIn);

/// Guard: as [`Session`], and they signed in not long ago.
#[derive(Debug, Clone)]
pub struct FreshSession(pub SignedIn);

impl Extract for Session {
    async fn extract(cx: &mut Ctx) -> Result<Self> {
        signed_in(cx, None).await.map(Self)
    }

    fn describe(description: &mut Description) {
        description.session = SessionUse::Required;
        description.refuse(StatusCode::UNAUTHORIZED, Code::UNAUTHORIZED);
        description.refuse(StatusCode::SERVICE_UNAVAILABLE, Code::SERVICE_UNAVAILABLE);
    }
}

impl Extract for SensitiveSession {
    async fn extract(cx: &mut Ctx) -> Result<Self> {
        signed_in(cx, Some(CoercedBoolean(true))).await.map(Self)
    }

    fn describe(description: &mut Description) {
        Session::describe(description);
    }
}

impl Extract for FreshSession {
    async fn extract(cx: &mut Ctx) -> Result<Self> {
        let Session(signed_in) = Session::extract(cx).await?;
        let fresh_age = cx.config().session.fresh_age;
        let is_fresh =
            cx.now() < signed_in.session.created_at + Duration::from_secs(fresh_age.into()) || fresh_age == 0;
        if is_fresh { Ok(Self(signed_in)) } else { Err(Error::forbidden(Code::SESSION_NOT_FRESH)) }
    }

    fn describe(description: &mut Description) {
        Session::describe(description);
        description.refuse(StatusCode::FORBIDDEN, Code::SESSION_NOT_FRESH);
    }
}

/// Upstream reads the query of whatever endpoint is asked for as if it were `/get-session`'s (kept).
async fn signed_in(cx: &mut Ctx, disable_cookie_cache: Option<CoercedBoolean>) -> Result<SignedIn> {
    let asked = GetSessionQuery::from_value(Some(from_query(cx.query_text()).into()));
    let mut query = asked.unwrap_or(GetSessionQuery { disable_cookie_cache: None, disable_refresh: None });
    query.disable_cookie_cache = disable_cookie_cache.or(query.disable_cookie_cache);
    match current(cx, &query, Renewal::WhenDue).await {
        Ok(Some(Current { session, user, .. })) => Ok(SignedIn { session, user }),
        Err(error) if error.status().is_server_error() => Err(error),
        Ok(None) | Err(_) => Err(Error::unauthorized(Code::UNAUTHORIZED)),
    }
}

/// Whose request this is, without a request of ours: reads, writes nothing.
pub(crate) async fn of(engine: &Engine, headers: &HeaderMap) -> Result<Option<SignedIn>> {
    let (header, now) = (cookies::header(headers), engine.env.clock.now());
    let Some(token) = cookies::signed(&header, &engine.signer, &engine.cookies.session_token) else {
        return Ok(None);
    };
    if let Some(cache) = &engine.cookie_cache
        && let Some(value) = cookies::chunked(&header, &engine.cookies.session_data)
        && let Some(remembered) = cache.open(&engine.store, &value, &token, now).await
    {
        return Ok(Some(remembered));
    }
    let found = model::Sessions::new(&engine.store).by_token(&token).await?;
    Ok(found
        .filter(|(session, _)| {
            engine.resolved.max_lifetime.end(session.created_at, session.expires_at) >= now
        })
        .map(|(session, user)| SignedIn { session, user }))
}
