//! Connecting to PostgreSQL: which host, encrypted or not, whom to trust, and what to tell whoever operates this when it
//! does not work.
//!
//! The driver bounds opening a socket only; here the whole of it is bounded, for each host, so that one that accepts and
//! says nothing is left for the next.

use super::{
    Result, StoreError,
    postgres_url::{Binding, Host, Mode, Place, PostgresUrl, Target},
};
use crate::error::chain;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};
use std::{
    error::Error as _,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, task::AbortHandle};
use tokio_postgres::{
    Client, Config,
    config::{ChannelBinding, LoadBalanceHosts, SslMode, SslNegotiation, TargetSessionAttrs},
};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long one host may take until it takes statements.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where to connect, and how.
pub(super) struct Connector {
    hosts: Vec<Destination>,
    tls: MakeRustlsConnect,
    patience: Duration,
    /// The host that took the last connection is asked first.
    preferred: AtomicUsize,
}

/// A new connection.
pub(super) struct Connected {
    pub(super) client: Client,
    pub(super) task: AbortHandle,
    /// Once it has ended: whether what was not answered was certainly never sent.
    pub(super) has_ended: watch::Receiver<Option<bool>>,
}

/// A host, and the ways of talking to it in the order in which they are tried.
struct Destination {
    name: String,
    ways: Vec<Config>,
}

impl Connector {
    pub(super) fn new(url: &PostgresUrl) -> Result<Self> {
        let tls = tls(url).map_err(StoreError::Url)?;
        let hosts: Vec<_> = url.places.iter().map(|place| Destination::new(url, place)).collect();
        let patience = url.connect_timeout.unwrap_or(PATIENCE);
        // Any will do, as long as not every process begins with the same one.
        let any = || usize::try_from(RandomState::new().build_hasher().finish() >> 32).unwrap_or(0);
        let preferred = if url.is_shuffled { any() % hosts.len().max(1) } else { 0 };
        Ok(Self { hosts, tls, patience, preferred: AtomicUsize::new(preferred) })
    }

    /// The longest that [`Self::connect`] takes.
    pub(super) fn patience(&self) -> Duration {
        self.patience.saturating_mul(u32::try_from(self.hosts.len()).unwrap_or(u32::MAX))
    }

    /// A connection to the first host that takes one.
    pub(super) async fn connect(&self) -> Result<Connected> {
        let mut problems = Vec::new();
        let first = self.preferred.load(Ordering::Relaxed);
        for turn in 0..self.hosts.len() {
            let position = (first + turn) % self.hosts.len();
            let Some(host) = self.hosts.get(position) else { continue };
            match tokio::time::timeout(self.patience, Box::pin(self.connect_to(host))).await {
                Ok(Ok(connected)) => {
                    self.preferred.store(position, Ordering::Relaxed);
                    return Ok(connected);
                }
                Ok(Err(problem)) => problems.push(format!("{}: {problem}", host.name)),
                Err(_) => problems.push(format!(
                    "{}: no answer within {} s; connect_timeout in the URL sets how long to wait",
                    host.name,
                    self.patience.as_secs(),
                )),
            }
        }
        Err(StoreError::Unavailable(problems.join("; ").into()))
    }

    #[expect(clippy::disallowed_methods, reason = "the driver's connection has to be polled by someone")]
    async fn connect_to(&self, host: &Destination) -> Result<Connected, String> {
        let mut problem = String::new();
        for way in &host.ways {
            match way.connect(self.tls.clone()).await {
                Ok((client, mut connection)) => {
                    let (end, has_ended) = watch::channel(None);
                    let task = tokio::spawn(async move {
                        let outcome = (&mut connection).await;
                        // A farewell that answers nothing: whatever was not answered by then was not sent either.
                        let is_farewell = outcome.as_ref().is_err_and(|error| error.as_db_error().is_some());
                        end.send_replace(Some(is_farewell));
                        // Only now do those who wait for an answer hear that there will be none.
                        drop(connection);
                        if let Err(error) = outcome {
                            tracing::debug!(error = chain(&error), "a PostgreSQL connection was lost");
                        }
                    });
                    return Ok(Connected { client, task: task.abort_handle(), has_ended });
                }
                Err(error) => {
                    problem = match advice(&error) {
                        Some(advice) => format!("{advice} ({})", chain(&error)),
                        None => chain(&error),
                    };
                    if !is_about_encryption(&error) {
                        break;
                    }
                }
            }
        }
        Err(problem)
    }

    /// Stops what is under way on a connection that nobody waits for any more.
    #[expect(clippy::disallowed_methods, reason = "whoever gave up does not wait for this either")]
    pub(super) fn cancel(&self, client: &Client) {
        let (cancel, tls) = (client.cancel_token(), self.tls.clone());
        if client.is_closed() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        tokio::spawn(async move {
            match tokio::time::timeout(PATIENCE, cancel.cancel_query(tls)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(error = chain(&error), "a PostgreSQL statement could not be cancelled");
                }
                Err(_) => tracing::warn!("PostgreSQL does not answer, not even to cancel a statement"),
            }
        });
    }
}

impl Destination {
    fn new(url: &PostgresUrl, place: &Place) -> Self {
        let mut config = Config::new();
        match &place.host {
            Host::Name(name) => config.host(name),
            Host::Socket(folder) => config.host_path(folder),
        };
        if let (Some(address), None) = (place.address, place.socket()) {
            config.hostaddr(address);
        }
        config.port(place.port);
        if let Some(user) = &url.user {
            config.user(user);
        }
        if let Some(password) = &url.password {
            config.password(password.expose());
        }
        if let Some(database) = &url.database {
            config.dbname(database);
        }
        if let Some(options) = &url.options {
            config.options(options);
        }
        config.application_name(url.application_name.as_deref().unwrap_or("narthex"));
        config.keepalives(!url.keepalive.is_off);
        if let Some(idle) = url.keepalive.idle {
            config.keepalives_idle(idle);
        }
        if let Some(interval) = url.keepalive.interval {
            config.keepalives_interval(interval);
        }
        if let Some(count) = url.keepalive.count {
            config.keepalives_retries(count);
        }
        if let Some(time) = url.keepalive.user_timeout {
            config.tcp_user_timeout(time);
        }
        if url.is_shuffled {
            config.load_balance_hosts(LoadBalanceHosts::Random);
        }
        if let Some(binding) = url.binding {
            config.channel_binding(match binding {
                Binding::Disable => ChannelBinding::Disable,
                Binding::Prefer => ChannelBinding::Prefer,
                Binding::Require => ChannelBinding::Require,
            });
        }
        if url.tls.is_direct {
            config.ssl_negotiation(SslNegotiation::Direct);
        }
        // Of several hosts, the one that is meant takes writes: after a failover the others answer as well.
        let target = url.target.unwrap_or(if url.places.len() > 1 { Target::Writable } else { Target::Any });
        if target == Target::Writable {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        let modes: &[SslMode] = match url.mode {
            // The driver has no encryption there, and nobody is in between.
            _ if place.socket().is_some() => &[SslMode::Disable],
            mode => match mode.unwrap_or(if place.is_local() { Mode::Allow } else { Mode::Prefer }) {
                Mode::Disable => &[SslMode::Disable],
                Mode::Allow => &[SslMode::Disable, SslMode::Require],
                Mode::Prefer => &[SslMode::Prefer, SslMode::Disable],
                Mode::NoVerify | Mode::VerifyCa | Mode::VerifyFull => &[SslMode::Require],
            },
        };
        let ways = modes.iter().map(|mode| {
            let mut way = config.clone();
            way.ssl_mode(*mode);
            way
        });
        Self { name: place.name(), ways: ways.collect() }
    }
}

/// Whether the same host may take a connection that is encrypted, or one that is not.
fn is_about_encryption(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        // invalid_authorization_specification: no line of pg_hba.conf fits.
        Some(code) => code.code() == "28000",
        None => tls_error(error).is_some(),
    }
}

fn tls_error(error: &tokio_postgres::Error) -> Option<&rustls::Error> {
    error.source()?.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref()
}

/// What to do about it.
fn advice(error: &tokio_postgres::Error) -> Option<&'static str> {
    if let Some(refusal) = error.as_db_error() {
        let message = refusal.message();
        let advice = match refusal.code().code() {
            "28P01" => "the user's name or the password in the URL is wrong",
            "28000" if message.contains("no encryption") || message.contains("SSL off") => {
                "the server takes no unencrypted connections; set sslmode=require in the URL"
            }
            "3D000" => "there is no such database; create it, or correct its name in the URL",
            // PgBouncer's words.
            "08P01" if message.contains("unsupported startup parameter") => {
                "a pooler stands in between and takes no options; leave `options` out of the URL, and say with \
                 database.schema where the tables are"
            }
            _ => return None,
        };
        return Some(advice);
    }
    if let Some(rustls::Error::InvalidCertificate(problem)) = tls_error(error) {
        return Some(distrust(problem));
    }
    let said = error.source()?.to_string();
    let advice = if said.contains("does not support TLS") {
        "the server does not speak TLS; set sslmode=disable in the URL if nobody else can listen on the way to it"
    } else if said.contains("password missing") {
        "the URL has no password, and one is needed"
    } else if said.contains("did not use channel binding") {
        "channel_binding=require needs TLS and a password kept as scram-sha-256; without one of them, leave it out"
    } else if said.contains("does not allow writes") {
        "it is a standby, or in recovery, and takes no writes"
    } else {
        return None;
    };
    Some(advice)
}

fn distrust(problem: &CertificateError) -> &'static str {
    match problem {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the server's certificate is signed by an authority that is not known here; name the file with the \
             authority's certificate in the URL (sslrootcert=FILE, providers offer it for download), or set \
             sslmode=no-verify to encrypt without knowing with whom"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the server's certificate is for another host; use the name that it is for, or set sslmode=verify-ca \
             with sslrootcert=FILE if that authority signs for nobody else"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired, or the clock of this machine is wrong"
        }
        _ => {
            "the server's certificate cannot be verified; name the file with the authority's certificate in the URL \
             (sslrootcert=FILE), or set sslmode=no-verify to encrypt without knowing with whom"
        }
    }
}

fn tls(url: &PostgresUrl) -> Result<MakeRustlsConnect, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions: &[_] = if url.tls.only_newest { &[&rustls::version::TLS13] } else { rustls::ALL_VERSIONS };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    let verified = || -> Result<_, String> {
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots(url.roots.as_deref())?, Arc::clone(&provider));
        verifier.build().map_err(|error| format!("sslrootcert: {error}"))
    };
    let verifier: Arc<dyn ServerCertVerifier> = match url.mode {
        Some(Mode::VerifyFull) => verified()?,
        Some(Mode::VerifyCa) => Arc::new(Trust::Authority(verified()?)),
        _ => Arc::new(Trust::Anybody(provider)),
    };
    // Nothing dangerous about the two that verify; it is what the library calls every verifier that is not its default.
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.enable_sni = !url.tls.hides_name;
    if url.tls.is_direct {
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(MakeRustlsConnect::new(config))
}

/// Mozilla's authorities, which need no file on this machine, or those that the operator names.
fn roots(file: Option<&Path>) -> Result<Arc<RootCertStore>, String> {
    let Some(file) = file else {
        return Ok(Arc::new(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }));
    };
    let problem = |what: &dyn std::fmt::Display| format!("sslrootcert={}: {what}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| problem(&error))? {
        let certificate = certificate.map_err(|error| problem(&error))?;
        roots.add(certificate).map_err(|error| problem(&error))?;
    }
    if roots.is_empty() {
        return Err(problem(&"has no certificate; it must be a file with lines BEGIN CERTIFICATE"));
    }
    Ok(Arc::new(roots))
}

/// What libpq's weaker modes take.
#[derive(Debug)]
enum Trust {
    /// Whoever answers.
    Anybody(Arc<CryptoProvider>),
    /// Whoever has a certificate of one of the authorities, for whichever host.
    Authority(Arc<WebPkiServerVerifier>),
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Self::Authority(verifier) = self else { return Ok(ServerCertVerified::assertion()) };
        // The name is looked at last, once everything else is right.
        match verifier.verify_server_cert(certificate, intermediates, name, stapled, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match self {
            Self::Anybody(provider) => rustls::crypto::verify_tls12_signature(
                message,
                certificate,
                signature,
                &provider.signature_verification_algorithms,
            ),
            Self::Authority(verifier) => verifier.verify_tls12_signature(message, certificate, signature),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match self {
            Self::Anybody(provider) => rustls::crypto::verify_tls13_signature(
                message,
                certificate,
                signature,
                &provider.signature_verification_algorithms,
            ),
            Self::Authority(verifier) => verifier.verify_tls13_signature(message, certificate, signature),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        match self {
            Self::Anybody(provider) => provider.signature_verification_algorithms.supported_schemes(),
            Self::Authority(verifier) => verifier.supported_verify_schemes(),
        }
    }
}
