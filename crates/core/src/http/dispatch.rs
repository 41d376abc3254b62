//! One request from the wire to its reply: route, limit, body, origin, hooks, handler, hooks.
//!
//! Upstream: `api/dispatch.ts` and better-call's `router.ts`.

use super::{body, disabled::DisabledPaths, origin, rate_limit::RateLimiter, reply::Reply};
use crate::{
    SPANS,
    auth::Engine,
    context::Ctx,
    error::{Code, Error, Result, chain},
    meters::{Meters, Watch},
    plugin::Endpoint,
};
use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, request::Parts};
use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};
use tracing::{Instrument as _, Span, field::Empty};

/// How long a request may take before it is given up with 503.
const DEADLINE: Duration = Duration::from_secs(30);
/// What is longer is no name but somebody's attempt to fill the log.
const LONGEST_REQUEST_ID: usize = 128;

/// The other end of the connection: the server puts it into the request's extensions.
#[derive(Debug, Clone, Copy)]
pub enum Peer {
    /// Another machine, or a program on this one.
    Address(SocketAddr),
    /// A program that was let in to a Unix socket, to pass on what others ask: it is believed whom it speaks for, and is
    /// this machine where it speaks for nobody.
    Local,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Local => f.write_str("unix"),
        }
    }
}

/// `body` is waited for only once somebody wants it, so that what is refused before takes no room.
pub(crate) async fn handle(
    engine: &Arc<Engine>,
    parts: Parts,
    body: impl Future<Output = Result<Bytes>>,
) -> Response<Bytes> {
    let mut watch = Watch::begin(engine.meters.as_ref());
    let Some(route) = route(engine, &parts) else { return watch.answered(Engine::not_found()) };
    // Limits and switches look at what a path means, so that its spelling is of no use against them.
    let plain = route.trim_end_matches('/');
    let found = engine.router.find(&parts.method, route);
    watch.is_for(found.endpoint.as_ref().map(|(position, _)| *position));
    let number = if route == plain { found.path } else { engine.router.find(&parts.method, plain).path };
    if engine.disabled.contains(plain, number) {
        return watch.answered(DisabledPaths::reply());
    }
    if let Some(limiter) = &engine.limiter {
        match limit(engine, limiter, &parts, plain, number).await {
            Ok(None) => {}
            Ok(Some(refusal)) => return watch.answered(refusal),
            // Whoever cannot be counted is not let through.
            Err(error) => {
                let path = number.and_then(|number| engine.router.paths().get(number));
                let path = path.map_or("", String::as_str);
                let about = About::new(engine, &parts.method, path, &parts.headers);
                return watch.answered(failed(&error, about).into_response([], []));
            }
        }
    }
    let Some((position, parameters)) = found.endpoint else { return watch.answered(Engine::not_found()) };
    let Some(endpoint) = engine.manifest.endpoints.get(position) else {
        return watch.answered(Engine::not_found());
    };
    let is_read = parts.method == Method::GET;
    let body = if endpoint.reads_body && !matches!(parts.method, Method::GET | Method::HEAD) {
        match body.await {
            Ok(body) => Some(body),
            Err(error) => {
                let about = About::new(engine, &endpoint.method, &endpoint.path, &parts.headers);
                return watch.answered(failed(&error, about).into_response([], []));
            }
        }
    } else {
        None
    };
    let path = route.to_owned();
    let mut cx = Ctx::new(Arc::clone(engine), parts, path, parameters);
    if !endpoint.has_cookies {
        cx.set_no_cookies();
    }
    let span = span(endpoint);
    if is_read {
        // Not traced, as most are, a request has no second future around the one that answers it.
        let reply = if span.is_disabled() {
            run(engine, endpoint, &mut cx, None).await
        } else {
            Box::pin(run(engine, endpoint, &mut cx, None).instrument(span.clone())).await
        };
        return traced(&span, watch.answered(cx.finish(reply)));
    }
    // In a task of its own, what has begun to write goes on when the client leaves.
    let task = engine.env.spawn(apart(cx, position, body, watch).instrument(span.clone()));
    let response = task.await.unwrap_or_else(|error| {
        let (method, path) = (&endpoint.method, &*endpoint.path);
        let about = About { method, path, request_id: None, meters: engine.meters.as_deref() };
        // What counted it is gone with the task.
        let mut watch = Watch::begin(engine.meters.as_ref());
        watch.is_for(Some(position));
        watch.answered(failed(&Error::internal(error), about).into_response([], []))
    });
    traced(&span, response)
}

/// The path below the base path that is asked for, by whichever of its names.
fn route<'a>(engine: &'a Engine, parts: &'a Parts) -> Option<&'a str> {
    fn unslashed(path: &str) -> &str {
        path.strip_suffix('/').unwrap_or(path)
    }
    let (whole, ignores_slash) = (parts.uri.path(), engine.resolved.config.advanced.skip_trailing_slashes);
    let asked = if ignores_slash { unslashed(whole) } else { whole };
    if let Some(target) = engine.aliases.target(&parts.method, asked) {
        return Some(target);
    }
    let path = whole.strip_prefix(&engine.resolved.base_path).filter(|path| path.starts_with('/'))?;
    Some(if ignores_slash { unslashed(path) } else { path })
}

/// What OpenTelemetry's conventions want to know of a request, and nothing that is in it.
fn span(endpoint: &Endpoint) -> Span {
    tracing::info_span!(
        target: SPANS,
        "request",
        otel.kind = "server",
        otel.name = %format_args!("{} {}", endpoint.method, endpoint.path),
        otel.status_code = Empty,
        http.request.method = %endpoint.method,
        http.route = &*endpoint.path,
        http.response.status_code = Empty,
    )
}

fn traced(span: &Span, response: Response<Bytes>) -> Response<Bytes> {
    if !span.is_disabled() {
        let status = response.status();
        span.record("http.response.status_code", i64::from(status.as_u16()));
        if status.is_server_error() {
            span.record("otel.status_code", "ERROR");
        }
    }
    response
}

/// What it counts is counted here, also when the client has left.
async fn apart(mut cx: Ctx, position: usize, body: Option<Bytes>, watch: Watch) -> Response<Bytes> {
    let engine = Arc::clone(&cx.engine);
    let Some(endpoint) = engine.manifest.endpoints.get(position) else { return Engine::not_found() };
    watch.answered(match tokio::time::timeout(DEADLINE, run(&engine, endpoint, &mut cx, body)).await {
        Ok(reply) => cx.finish(reply),
        Err(elapsed) => failed(&Error::busy(elapsed), About::of(&cx, endpoint)).into_response([], []),
    })
}

async fn limit(
    engine: &Engine,
    limiter: &RateLimiter,
    parts: &Parts,
    path: &str,
    number: Option<usize>,
) -> Result<Option<Response<Bytes>>> {
    if !engine.addresses.is_tracking {
        return Ok(None);
    }
    let path = if path.is_empty() { "/" } else { path };
    limiter.refuses(&engine.store, &engine.env, engine.addresses.of(parts), path, number).await
}

async fn run(engine: &Engine, endpoint: &Endpoint, cx: &mut Ctx, body: Option<Bytes>) -> Reply {
    let outcome = match admit(cx, body.as_deref(), endpoint.description.accepts_form) {
        // Refused before any hook: the reply is upstream's, and no hook sees it.
        Err(error) => return failed(&error, About::of(cx, endpoint)),
        Ok(()) => hooked(engine, cx, &endpoint.path, &*endpoint.run).await,
    };
    let mut reply = outcome.unwrap_or_else(|error| failed_or_interrupted(error, About::of(cx, endpoint)));
    for (_, hook) in engine.manifest.hooks.after.iter().filter(|(pattern, _)| pattern.matches(&endpoint.path))
    {
        if let Err(error) = hook(cx, &mut reply).await {
            reply = failed_or_interrupted(error, About::of(cx, endpoint));
        }
    }
    cx.forget_failures().await;
    reply
}

/// Reads the body and checks where the request comes from.
fn admit(cx: &mut Ctx, body: Option<&[u8]>, accepts_form: bool) -> Result<()> {
    if let Some(body) = body {
        cx.body = body::parse(cx.headers(), body, accepts_form)?;
    }
    origin::check(cx)
}

async fn hooked(engine: &Engine, cx: &mut Ctx, path: &str, run: &crate::plugin::HandlerFn) -> Result<Reply> {
    for (_, hook) in engine.manifest.hooks.before.iter().filter(|(pattern, _)| pattern.matches(path)) {
        if let Some(reply) = hook(cx).await? {
            return Ok(reply);
        }
    }
    run(cx).await
}

/// The name that a proxy gave a request.
pub(crate) fn request_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get("x-request-id").and_then(|id| id.to_str().ok());
    id.filter(|id| id.len() <= LONGEST_REQUEST_ID && id.bytes().all(|byte| byte.is_ascii_graphic()))
}

/// What the log and the metrics say of a request. The path is the endpoint's own: that of the request may hold a token.
#[derive(Clone, Copy)]
struct About<'a> {
    method: &'a Method,
    path: &'a str,
    request_id: Option<&'a str>,
    meters: Option<&'a Meters>,
}

impl<'a> About<'a> {
    fn new(engine: &'a Engine, method: &'a Method, path: &'a str, headers: &'a HeaderMap) -> Self {
        Self { method, path, request_id: request_id(headers), meters: engine.meters.as_deref() }
    }

    fn of(cx: &'a Ctx, endpoint: &'a Endpoint) -> Self {
        Self::new(&cx.engine, &endpoint.method, &endpoint.path, cx.headers())
    }
}

fn failed_or_interrupted(mut error: Error, about: About<'_>) -> Reply {
    error.take_reply().unwrap_or_else(|| failed(&error, about))
}

/// Our own faults are logged with their cause, which the client never sees, and with the name that a proxy gave the
/// request, by which its own log has it.
fn failed(error: &Error, About { method, path, request_id, meters }: About<'_>) -> Reply {
    if let Some(meters) = meters {
        meters.failed(path, error.code());
    }
    if error.status().is_server_error() {
        tracing::error!(%method, path, request_id, error = chain(error), "a request failed");
        if error.code() == Some(Code::INTERNAL_SERVER_ERROR.code)
            && error.status() == StatusCode::INTERNAL_SERVER_ERROR
        {
            // Upstream answers what it did not expect without a body.
            return Reply::empty(StatusCode::INTERNAL_SERVER_ERROR);
        }
    } else {
        tracing::debug!(%method, path, request_id, %error, "a request was refused");
    }
    Reply::error(error)
}
