//! `narthex health`: for container health checks, where there is no curl.

use super::{Failure, print};
use crate::settings::{Flags, Listen, Settings};
use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio_rustls::rustls::{
    self, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) fn run(flags: &Flags) -> Result<(), Failure> {
    let settings = Settings::load(flags).map_err(Failure::Usage)?;
    let listen = match settings.listen {
        Listen::Tcp(address) => Listen::Tcp(reachable(address)),
        unix @ Listen::Unix(_) => unix,
    };
    let failed = |what: &str| Failure::Failed(format!("{listen} {what}"));
    let asked = match &listen {
        Listen::Tcp(address) => ask_port(*address, settings.options.tls.files().is_some()),
        Listen::Unix(path) => ask_socket(path),
    };
    match asked {
        Ok(answer) if answer.ends_with(b" 200") => print("ok"),
        Ok(_) => Err(failed("answers, but not with 200")),
        Err(error) => Err(failed(&format!("does not answer: {error}"))),
    }
}

fn ask_port(address: SocketAddr, is_encrypted: bool) -> io::Result<[u8; 12]> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let host = address.to_string();
    if is_encrypted {
        ask(&mut encrypted(stream, address).map_err(io::Error::other)?, &host)
    } else {
        ask(&mut stream, &host)
    }
}

#[cfg(unix)]
fn ask_socket(path: &Path) -> io::Result<[u8; 12]> {
    let mut stream = std::os::unix::net::UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    ask(&mut stream, "localhost")
}

#[cfg(not(unix))]
fn ask_socket(_: &Path) -> io::Result<[u8; 12]> {
    Err(io::ErrorKind::Unsupported.into())
}

fn ask(stream: &mut (impl Read + Write), host: &str) -> io::Result<[u8; 12]> {
    let request = format!("GET /health HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = [0_u8; 12];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

fn encrypted(
    stream: TcpStream,
    address: SocketAddr,
) -> Result<StreamOwned<ClientConnection, TcpStream>, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(AnyCertificate(Arc::clone(&provider)));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let name = ServerName::IpAddress(address.ip().into());
    Ok(StreamOwned::new(ClientConnection::new(Arc::new(config), name)?, stream))
}

/// The server is asked by an address that is in no certificate, and told nothing that anybody may not know.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A server that listens on all addresses is asked on this machine's own.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let address = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    SocketAddr::new(address, listen.port())
}
