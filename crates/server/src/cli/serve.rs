//! `narthex serve`: listens once it can serve, and finishes what it has begun before it stops.

use super::{Failure, block_on, database};
use crate::{
    listener::{self, Certificates, Connections, Cors, Handler, Inherited, Purpose, Socket},
    log::Log,
    metrics::{self, Scrape},
    settings::{Flags, HttpOptions, Listen, MetricsOptions, ServerOptions, Settings, TlsOptions},
    traces::Traces,
};
use http::HeaderValue;
use narthex::{Auth, store::without_password};
use serde_json::json;
use std::{
    io::{self, Write as _},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use tokio::signal;
use url::Url;

/// How long requests in flight may take to finish once the server was told to stop.
const GRACE: Duration = Duration::from_secs(20);
/// Monitoring systems that may ask at once: they take no connection from anybody, and nobody takes one from them.
const SCRAPING: u32 = 16;

/// What `narthex serve` takes.
#[derive(clap::Args)]
pub(super) struct Serve {
    #[command(flatten)]
    flags: Flags,
    /// For a program that starts this one: says that it is ready in one line of JSON, and stops when its standard input
    /// ends.
    #[arg(long, hide = true)]
    for_parent: bool,
}

pub(super) fn run(arguments: &Serve) -> Result<(), Failure> {
    let inherited = listener::inherited().map_err(|problem| Failure::Usage(vec![problem]))?;
    let first = inherited.first().map(Inherited::address).transpose();
    let listen = first.map_err(|error| Failure::Usage(vec![format!("LISTEN_FDS: {error}")]))?;
    let mut settings = Settings::load_for(&arguments.flags, listen).map_err(Failure::Usage)?;
    let (most, redirect) = match settings.options.tls.redirect {
        Some(_) => (2, "the second one redirects"),
        None => (1, "a second one would be that of tls.redirect, which is not set"),
    };
    if inherited.len() > most {
        let given = inherited.len();
        return Err(Failure::Usage(vec![format!(
            "LISTEN_FDS = {given}: must be at most {most} with this configuration ({redirect}); remove a ListenStream= from the socket's unit"
        )]));
    }
    let traces = Traces::open(&settings.options.traces).map_err(|problem| Failure::Usage(vec![problem]))?;
    let log = Log::open(&settings.options.log, traces.as_ref()).map_err(Failure::Failed)?;
    let certificates = certificates(&settings.options.tls)?;
    let notes = settings.prepare().map_err(Failure::Failed)?;
    let (outcome, log) = block_on(async {
        #[cfg(unix)]
        let log = log.reopened_on_hangup();
        let greeting = Greeting { notes, for_parent: arguments.for_parent };
        Ok((serve(settings, certificates, inherited, &greeting, &log).await, log))
    })?;
    // Outside the runtime, for it waits; what cannot be sent is told in the log, which ends last.
    drop(traces);
    drop(log);
    outcome
}

/// What ends TLS here, if anything does.
pub(super) fn certificates(tls: &TlsOptions) -> Result<Option<Arc<Certificates>>, Failure> {
    let opened = tls.files().map(|(cert, key)| Certificates::open(cert, key).map(Arc::new)).transpose();
    opened.map_err(|problem| Failure::Usage(vec![problem]))
}

async fn serve(
    settings: Settings,
    certificates: Option<Arc<Certificates>>,
    inherited: Vec<Inherited>,
    greeting: &Greeting,
    log: &Log,
) -> Result<(), Failure> {
    let acceptor = certificates.as_ref().map(Certificates::acceptor).transpose().map_err(Failure::failed)?;
    let store = database::open(&settings).await?;
    let Settings { config, options, listen, database, .. } = settings;
    let ServerOptions { socket_mode, cors, http, tls, metrics, plugins, .. } = options;
    let base_url = config.base_url.clone();
    let for_metrics = bind_metrics(&metrics, &listen).await?;
    let registry = for_metrics.as_ref().map(|_| metrics::install()).transpose().map_err(Failure::Failed)?;
    let mut builder = database::engine(config, &plugins).await?;
    if registry.is_some() {
        builder = builder.metrics();
    }
    let auth = builder.build(store).await;
    let auth = auth.map_err(|error| Failure::Usage(error.problems))?;

    let mut inherited = inherited.into_iter();
    let mut bind = async |listen: &Listen| match inherited.next() {
        Some(socket) => {
            Socket::from_inherited(socket).map_err(|error| format!("cannot listen on {listen}: {error}"))
        }
        None => Socket::bind(listen, socket_mode).await,
    };
    let socket = bind(&listen).await.map_err(Failure::Failed)?;
    let second = match tls.redirect {
        Some(address) => Some(bind(&Listen::Tcp(address)).await.map_err(Failure::Failed)?),
        None => None,
    };
    let listening =
        Listening::of(listen, &socket, second.as_ref(), for_metrics.as_ref()).map_err(Failure::failed)?;

    let hsts = tls.strict_transport_security(&base_url).and_then(|value| HeaderValue::try_from(value).ok());
    let handler = |hsts, purpose| Handler {
        auth: auth.clone(),
        cors: Cors::new(&cors),
        body_timeout: Duration::from_secs(http.body_timeout),
        hsts,
        purpose,
    };
    let connections = Connections::new(http.clone(), second.is_some());
    let redirecting = async {
        if let Some(socket) = second {
            let redirect = handler(None, Purpose::Redirect(origin(&base_url)));
            connections.accept(socket, redirect, None).await;
        }
    };
    let answering = connections.accept(socket, handler(hsts, Purpose::Everything), acceptor);
    let for_scrapes = Connections::new(HttpOptions { max_connections: SCRAPING, ..http.clone() }, false);
    let scrape = registry.map(|registry| Scrape {
        registry,
        auth: auth.clone(),
        connections: connections.counts(),
        most_connections: connections.most(),
        certificates: certificates.clone(),
        lines_dropped: log.lines_dropped(),
    });
    let being_scraped = async {
        if let Some((socket, scrape)) = for_metrics.zip(scrape) {
            let handler = Handler { cors: None, ..handler(None, Purpose::Metrics(Arc::new(scrape))) };
            for_scrapes.accept(socket, handler, None).await;
        }
    };
    let renewing = certificates.map(|certificates| certificates.keep_current(hangups()));
    let renewing = async {
        match renewing {
            Some(renewing) => renewing.await,
            None => std::future::pending().await,
        }
    };
    let told = told_to_stop();
    let alone = async {
        if greeting.for_parent { listener::parent_gone().await } else { std::future::pending().await }
    };
    say(&if greeting.for_parent {
        ready_line(&base_url, &auth, &listening)
    } else {
        greet(&base_url, &auth, &listening, &database, &greeting.notes)
    });
    listener::ready();
    let until_told = async {
        tokio::select! {
            () = renewing => {},
            () = listener::watchdog() => {},
            () = told => {},
            () = alone => {},
        }
        tracing::info!("stopping: finishing the requests in flight");
        listener::stopping();
        auth.hurry();
        connections.stop();
        for_scrapes.stop();
    };
    tokio::join!(answering, redirecting, being_scraped, until_told);
    let (has_finished, _) = tokio::join!(connections.finish(GRACE), for_scrapes.finish(GRACE));
    if has_finished {
        Ok(())
    } else {
        Err(Failure::Failed(format!("some requests did not finish within {} seconds", GRACE.as_secs())))
    }
}

/// Where metrics are, if anywhere. That somebody else has the address which nobody has asked for stops no server.
async fn bind_metrics(options: &MetricsOptions, listen: &Listen) -> Result<Option<Socket>, Failure> {
    let Some((address, is_asked_for)) = options.address(listen) else { return Ok(None) };
    match Socket::tcp(address).await {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if is_asked_for => Err(Failure::Failed(format!(
            "metrics.listen = \"{address}\": cannot listen there: {error}; set it to an address of this machine that is free, or set metrics.enabled = false"
        ))),
        Err(error) => {
            tracing::warn!(
                %error,
                "nothing is measured: metrics cannot be served on {address}, which another Narthex may have; set metrics.listen to a free address, or metrics.enabled = false"
            );
            Ok(None)
        }
    }
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> String {
    Url::parse(url).map_or_else(|_| url.to_owned(), |url| url.origin().ascii_serialization())
}

/// Each call waits until somebody asks for the files to be read again: `SIGHUP`.
#[cfg(unix)]
fn hangups() -> impl AsyncFnMut() {
    let mut hangups = signal::unix::signal(signal::unix::SignalKind::hangup()).ok();
    async move || match &mut hangups {
        Some(hangups) => drop(hangups.recv().await),
        None => std::future::pending().await,
    }
}

#[cfg(not(unix))]
fn hangups() -> impl AsyncFnMut() {
    async || std::future::pending().await
}

/// Heard from the call on, and not only once somebody waits.
fn told_to_stop() -> impl Future<Output = ()> {
    #[cfg(unix)]
    let mut terminate = signal::unix::signal(signal::unix::SignalKind::terminate()).ok();
    let interrupted = async {
        if signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    async move {
        #[cfg(unix)]
        let terminated = async {
            match &mut terminate {
                Some(terminate) => drop(terminate.recv().await),
                None => std::future::pending().await,
            }
        };
        #[cfg(not(unix))]
        let terminated = std::future::pending::<()>();
        tokio::select! { () = interrupted => {}, () = terminated => {} }
    }
}

/// The addresses that are listened on.
struct Listening {
    everything: Listen,
    redirect: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
}

impl Listening {
    fn of(
        listen: Listen,
        everything: &Socket,
        redirect: Option<&Socket>,
        metrics: Option<&Socket>,
    ) -> io::Result<Self> {
        let address = |socket: Option<&Socket>| {
            let address = socket.map(Socket::port_address).transpose()?;
            Ok::<_, io::Error>(address.flatten())
        };
        Ok(Self {
            everything: everything.port_address()?.map_or(listen, Listen::Tcp),
            redirect: address(redirect)?,
            metrics: address(metrics)?,
        })
    }
}

/// What is said once requests are answered.
struct Greeting {
    notes: Vec<String>,
    for_parent: bool,
}

/// Nobody has to read it: a closed output stops no server.
fn say(text: &str) {
    if let Err(error) = writeln!(std::io::stdout(), "{text}") {
        tracing::debug!(%error, "nobody reads the greeting");
    }
}

/// What a program that starts the server wants to know.
fn ready_line(base_url: &str, auth: &Auth, listening: &Listening) -> String {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "baseURL": base_url.trim_end_matches('/'),
        "basePath": auth.base_path(),
        "listen": listening.everything.to_string(),
    })
    .to_string()
}

/// What a person who starts the server wants to know.
fn greet(base_url: &str, auth: &Auth, listening: &Listening, database: &str, notes: &[String]) -> String {
    let base_url = base_url.trim_end_matches('/');
    let open = match &listening.everything {
        Listen::Tcp(_) => format!("  open       {base_url}{}/ok", auth.base_path()),
        // What passes requests on may not be there yet.
        Listen::Unix(path) => {
            format!(
                "  try        curl --unix-socket {} http://localhost{}/ok",
                path.display(),
                auth.base_path()
            )
        }
    };
    let mut lines = vec![
        format!("Narthex {} is ready.", env!("CARGO_PKG_VERSION")),
        String::new(),
        open,
        format!("  client     createAuthClient({{ baseURL: \"{base_url}\" }})"),
        format!("  listening  {}", listening.everything),
    ];
    lines.extend(listening.redirect.map(|redirect| format!("  redirects  {redirect}")));
    lines.extend(listening.metrics.map(|metrics| format!("  metrics    http://{metrics}/metrics")));
    lines.push(format!("  database   {}", without_password(database)));
    lines.extend(notes.iter().map(|note| format!("  {note}")));
    lines.join("\n")
}
