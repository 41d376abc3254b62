//! `narthex serve`: listens once it can serve, and finishes what it has begun before it stops.

use super::{Failure, block_on, database};
use crate::log::Log;
use crate::settings::{Flags, Settings};
use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    response::Response,
    routing::get,
    serve::ListenerExt as _,
};
use narthex::{Auth, store::without_password};
use std::{io::Write as _, net::SocketAddr, time::Duration};
use tokio::{net::TcpListener, signal};

/// How long requests in flight may take to finish once the server was told to stop.
const GRACE: Duration = Duration::from_secs(20);

pub(super) fn run(flags: &Flags) -> Result<(), Failure> {
    let mut settings = Settings::load(flags).map_err(Failure::Usage)?;
    let log = Log::open(&settings.options.log).map_err(Failure::Failed)?;
    let notes = settings.prepare().map_err(Failure::Failed)?;
    block_on(async {
        #[cfg(unix)]
        let log = log.reopened_on_hangup();
        let outcome = serve(settings, &notes).await;
        drop(log);
        outcome
    })
}

async fn serve(settings: Settings, notes: &[String]) -> Result<(), Failure> {
    let store = database::open(&settings).await?;
    let Settings { config, listen, database, .. } = settings;
    let base_url = config.base_url.clone();
    let auth = database::engine(config).await?.build(store).await;
    let auth = auth.map_err(|error| Failure::Usage(error.problems))?;

    let listener = TcpListener::bind(listen).await;
    let listener =
        listener.map_err(|error| Failure::Failed(format!("cannot listen on {listen}: {error}")))?;
    // Port 0 has become a free one.
    let listen = listener.local_addr().map_err(Failure::failed)?;
    greet(&base_url, &auth, listen, &database, notes);

    let routes = Router::new().route("/health", get(health)).route("/ready", get(ready));
    let service =
        routes.fallback(answer).with_state(auth).into_make_service_with_connect_info::<SocketAddr>();
    let listener = listener.tap_io(|connection| {
        // A reply is one small packet; waiting for more to send would only delay it.
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
    });
    let (stop, stopping) = tokio::sync::oneshot::channel();
    let server = axum::serve(listener, service).with_graceful_shutdown(async move {
        told_to_stop().await;
        tracing::info!("stopping: finishing the requests in flight");
        // Nobody is left to hear it only if the server has already ended.
        let _ = stop.send(());
    });
    let overtime = async {
        if stopping.await.is_ok() {
            tokio::time::sleep(GRACE).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        outcome = server => outcome.map_err(Failure::failed),
        () = overtime => Err(Failure::Failed(format!("some requests did not finish within {} seconds", GRACE.as_secs()))),
    }
}

/// Everything that is not for whoever operates the server.
async fn answer(State(auth): State<Auth>, request: Request) -> Response {
    auth.answer(request).await
}

/// The process answers.
async fn health() -> StatusCode {
    StatusCode::OK
}

/// It can serve.
async fn ready(State(auth): State<Auth>) -> StatusCode {
    if auth.is_ready().await { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn told_to_stop() {
    let interrupted = async {
        if signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminated = async {
        match signal::unix::signal(signal::unix::SignalKind::terminate()) {
            Ok(mut terminated) => {
                terminated.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! { () = interrupted => {}, () = terminated => {} }
}

/// What a person who starts the server wants to know. Nobody has to read it: a closed output stops no server.
fn greet(base_url: &str, auth: &Auth, listen: SocketAddr, database: &str, notes: &[String]) {
    let base_url = base_url.trim_end_matches('/');
    let mut lines = vec![
        format!("Narthex {} is ready.", env!("CARGO_PKG_VERSION")),
        String::new(),
        format!("  open       {base_url}{}/ok", auth.base_path()),
        format!("  client     createAuthClient({{ baseURL: \"{base_url}\" }})"),
        format!("  listening  {listen}"),
        format!("  database   {}", without_password(database)),
    ];
    lines.extend(notes.iter().map(|note| format!("  {note}")));
    if let Err(error) = writeln!(std::io::stdout(), "{}", lines.join("\n")) {
        tracing::debug!(%error, "nobody reads the greeting");
    }
}
