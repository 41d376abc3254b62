//! The certificate: read at start, and again when its files have changed.

use std::{
    fs,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, SystemTime},
};
use time::{OffsetDateTime, macros::format_description};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, InconsistentKeys, ServerConfig,
        client::verify_server_name,
        crypto::{CryptoProvider, aws_lc_rs},
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
        server::{ClientHello, ParsedCertificate, ResolvesServerCert},
        sign::CertifiedKey,
    },
};
use x509_cert::der::Decode as _;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_mins(1);
/// What is left when it is time to say that nobody has renewed it.
const SOON: Duration = Duration::from_hours(14 * 24);
/// How often that is said.
const DAY: Duration = Duration::from_hours(24);

/// The certificate in use, and where the next one comes from.
#[derive(Debug)]
pub(crate) struct Certificates {
    cert: String,
    key: String,
    provider: Arc<CryptoProvider>,
    current: RwLock<Current>,
    /// The files as they were before they were read for the first time.
    at_start: Seen,
}

#[derive(Debug)]
struct Current {
    key: Arc<CertifiedKey>,
    ends: SystemTime,
}

/// What a look at the files has found.
#[derive(Debug, Clone, Copy)]
struct Seen {
    marks: [Mark; 2],
    /// When it was judged whether the certificate ends soon.
    judged: SystemTime,
}

/// What changes when a file is replaced.
type Mark = Option<(SystemTime, u64)>;

impl Certificates {
    /// Reads both files. What is wrong with them is said by the option that names the file.
    pub(crate) fn open(cert: &str, key: &str) -> Result<Self, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let at_start = Seen { marks: marks(cert, key), judged: now() };
        let current = RwLock::new(read(cert, key, &provider, at_start.judged)?);
        Ok(Self { cert: cert.to_owned(), key: key.to_owned(), provider, current, at_start })
    }

    /// Warns if the certificate ends soon.
    fn tell_end(&self, now: SystemTime) {
        if let Some(warning) = self.warning(now) {
            tracing::warn!("{warning}");
        }
    }

    /// What is to be said of the certificate's end, if it is near.
    fn warning(&self, now: SystemTime) -> Option<String> {
        let (cert, ends) = (&self.cert, self.current().ends);
        match ends.duration_since(now) {
            Ok(left) if left >= SOON => None,
            Ok(_) => Some(format!("tls.cert = {cert:?}: ends on {}; renew it", shown(ends))),
            Err(_) => Some(format!(
                "tls.cert = {cert:?}: has ended on {}, and clients refuse it; renew it",
                shown(ends)
            )),
        }
    }

    /// When the certificate in use ends.
    pub(crate) fn ends(&self) -> SystemTime {
        self.current().ends
    }

    /// When the certificate ends, and what is to be said of that if it is soon.
    pub(crate) fn end(&self) -> (String, Option<String>) {
        (shown(self.current().ends), self.warning(now()))
    }

    /// Whether the certificate is one for `host`, as clients see it.
    pub(crate) fn covers(&self, host: &str) -> bool {
        let key = Arc::clone(&self.current().key);
        let Some(certificate) = key.cert.first() else { return false };
        let (Ok(certificate), Ok(name)) =
            (ParsedCertificate::try_from(certificate), ServerName::try_from(host))
        else {
            return false;
        };
        verify_server_name(&certificate, &name).is_ok()
    }

    fn current(&self) -> RwLockReadGuard<'_, Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What ends TLS with the certificate that is in use at the time.
    pub(crate) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider));
        let mut config = builder
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Clients that come back resume without our having remembered them.
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Looks at the files from time to time, and when `asked` to, for as long as it is polled.
    pub(crate) async fn keep_current(self: Arc<Self>, mut asked: impl AsyncFnMut()) {
        let mut seen = self.at_start;
        self.tell_end(seen.judged);
        loop {
            let was_asked = tokio::select! {
                () = asked() => true,
                () = tokio::time::sleep(LOOK) => false,
            };
            let certificates = Arc::clone(&self);
            // Files may be on a disk that is somewhere else.
            let look = move || certificates.look(seen, was_asked, now());
            match tokio::task::spawn_blocking(look).await {
                Ok(found) => seen = found,
                Err(error) => tracing::error!(%error, "the certificate could not be looked at"),
            }
        }
    }

    /// Reads the files again if they are others than when they were `seen`, or somebody `asked`. What could not be read
    /// has not been seen: that somebody may read it by now changes neither its time nor its size.
    fn look(&self, seen: Seen, asked: bool, now: SystemTime) -> Seen {
        let marks = marks(&self.cert, &self.key);
        let replaces = asked || marks != seen.marks;
        let is_replaced = replaces && self.replace(now);
        let mut judged = seen.judged;
        // Once a day, and whenever the clock was set back.
        if is_replaced || now.duration_since(judged).map_or(true, |passed| passed >= DAY) {
            self.tell_end(now);
            judged = now;
        }
        Seen { marks: if replaces && !is_replaced { seen.marks } else { marks }, judged }
    }

    /// Reads both files again. What is no good replaces nothing: they may be in the middle of being written.
    fn replace(&self, now: SystemTime) -> bool {
        match read(&self.cert, &self.key, &self.provider, now) {
            Ok(next) => {
                tracing::info!("the certificate was read again; it ends on {}", shown(next.ends));
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
                true
            }
            Err(problem) => {
                tracing::error!("the certificate is not replaced: {problem}");
                false
            }
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current().key))
    }
}

fn marks(cert: &str, key: &str) -> [Mark; 2] {
    [cert, key].map(|path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}

/// Certificate and key, and when the certificate ends.
fn read(cert: &str, key: &str, provider: &CryptoProvider, now: SystemTime) -> Result<Current, String> {
    let content = |option: &str, path: &str| {
        fs::read(path).map_err(|error| format!("tls.{option} = {path:?}: cannot be read: {error}"))
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content("cert", cert)?).collect();
    let no_certificate = || {
        format!(
            "tls.cert = {cert:?}: must be a PEM file with the server's certificate first (-----BEGIN CERTIFICATE-----)"
        )
    };
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(no_certificate)?;
    let first = chain.first().map(|first| x509_cert::Certificate::from_der(first));
    let Some(Ok(first)) = first else { return Err(no_certificate()) };
    let validity = first.tbs_certificate().validity();

    let private = PrivateKeyDer::from_pem_slice(&content("key", key)?).map_err(|_| {
        format!(
            "tls.key = {key:?}: must be a PEM file with a private key that is not encrypted (-----BEGIN PRIVATE KEY-----)"
        )
    })?;
    let certified = CertifiedKey::from_der(chain, private, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            format!("tls.key = {key:?}: must be the private key of the certificate in tls.cert = {cert:?}; it is another one's")
        }
        other => format!("tls.key = {key:?}: must be an RSA, ECDSA or Ed25519 key that fits tls.cert = {cert:?}: {other}"),
    })?;

    let [begins, ends] = [&validity.not_before, &validity.not_after]
        .map(|time| SystemTime::UNIX_EPOCH + time.to_unix_duration());
    if ends <= now {
        return Err(format!("tls.cert = {cert:?}: must be renewed: it has expired on {}", shown(ends)));
    }
    if begins > now {
        tracing::warn!("tls.cert = {cert:?}: begins only on {}; is the clock right?", shown(begins));
    }
    Ok(Current { key: Arc::new(certified), ends })
}

fn shown(time: SystemTime) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    OffsetDateTime::from(time).format(format).unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "a certificate is judged by the time of day, not by a test's")]
fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use std::path::Path;

    fn write(folder: &Path) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(folder.join("cert.pem"), cert.pem()).unwrap();
        fs::write(folder.join("key.pem"), signing_key.serialize_pem()).unwrap();
    }

    #[test]
    fn files_are_read_again_once_they_are_others() {
        let folder = tempfile::TempDir::new().unwrap();
        write(folder.path());
        let path = |name| folder.path().join(name).to_str().unwrap().to_owned();
        let certificates = Certificates::open(&path("cert.pem"), &path("key.pem")).unwrap();
        let current = || Arc::clone(&certificates.current().key);
        let first = current();
        let seen = certificates.look(certificates.at_start, false, now());
        assert!(Arc::ptr_eq(&current(), &first), "nothing has changed");

        // One file after the other, as programs that renew certificates write them.
        let old_key = fs::read(path("key.pem")).unwrap();
        write(folder.path());
        let new_key = fs::read(path("key.pem")).unwrap();
        fs::write(path("key.pem"), old_key).unwrap();
        let seen = certificates.look(seen, false, now());
        assert!(Arc::ptr_eq(&current(), &first), "the key is not there yet");
        fs::write(path("key.pem"), new_key).unwrap();
        let seen = certificates.look(seen, false, now());
        let second = current();
        assert_ne!(second.cert, first.cert);

        fs::remove_file(path("cert.pem")).unwrap();
        let seen = certificates.look(seen, false, now());
        assert!(Arc::ptr_eq(&current(), &second), "what is missing replaces nothing");
        write(folder.path());
        certificates.look(seen, false, now());
        assert_ne!(current().cert, second.cert);
    }

    #[test]
    fn that_it_ends_is_said_two_weeks_before_and_once_a_day() {
        let folder = tempfile::TempDir::new().unwrap();
        write(folder.path());
        let path = |name| folder.path().join(name).to_str().unwrap().to_owned();
        let certificates = Certificates::open(&path("cert.pem"), &path("key.pem")).unwrap();
        let ends = certificates.current().ends;
        assert_eq!(certificates.warning(ends - SOON), None);
        let soon = certificates.warning(ends - SOON + Duration::from_secs(1)).unwrap();
        assert!(soon.contains("ends on 4096-01-01 00:00 UTC; renew it"), "{soon}");
        let over = certificates.warning(ends + Duration::from_secs(1)).unwrap();
        assert!(over.contains("has ended on 4096-01-01 00:00 UTC"), "{over}");

        let start = certificates.at_start;
        let judged = |after: Duration| certificates.look(start, false, start.judged + after).judged;
        assert_eq!(judged(DAY / 2), start.judged);
        assert_eq!(judged(DAY), start.judged + DAY);
        let set_back = start.judged - DAY;
        assert_eq!(certificates.look(start, false, set_back).judged, set_back);
    }

    #[test]
    fn a_certificate_covers_the_names_that_are_in_it() {
        let folder = tempfile::TempDir::new().unwrap();
        write(folder.path());
        let path = |name| folder.path().join(name).to_str().unwrap().to_owned();
        let certificates = Certificates::open(&path("cert.pem"), &path("key.pem")).unwrap();
        let covered = ["localhost", "auth.example", "127.0.0.1", ""].map(|host| certificates.covers(host));
        assert_eq!(covered, [true, false, false, false]);
    }
}
