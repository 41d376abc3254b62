//! TLS to PostgreSQL: whom Narthex trusts, and what it says when it does not.

use super::{
    cluster::{Cluster, PASSWORD},
    refusal, serve,
};
use crate::client::sign_up;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};
use tempfile::TempDir;

/// A cluster that speaks TLS as `localhost`, and the certificate of the authority that vouches for it.
struct Encrypted {
    cluster: Cluster,
    authority: PathBuf,
    _folder: TempDir,
}

impl Encrypted {
    fn start() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let authority_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Somebody's own authority");
        let authority = folder.path().join("authority.pem");
        fs::write(&authority, params.self_signed(&authority_key).unwrap().pem()).unwrap();
        let issuer = Issuer::new(params, authority_key);
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &issuer).unwrap();
        let cluster = Cluster::with_authentication("scram-sha-256", &["ssl=on"], |data| {
            fs::write(data.join("server.crt"), certificate.pem()).unwrap();
            fs::write(data.join("server.key"), key.serialize_pem()).unwrap();
            fs::set_permissions(data.join("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
        })?;
        Some(Self { cluster, authority, _folder: folder })
    }

    fn url(&self, host: &str, parameters: &str) -> String {
        let parameters = parameters.replace("AUTHORITY", &self.authority.display().to_string());
        format!("postgres://postgres:{PASSWORD}@{host}:{}/postgres?{parameters}", self.cluster.port)
    }
}

#[test]
fn connections_are_as_encrypted_as_the_url_says() {
    let Some(encrypted) = Encrypted::start() else { return };
    for (number, (host, parameters, is_encrypted)) in [
        ("localhost", "sslmode=verify-full&sslrootcert=AUTHORITY", true),
        ("localhost", "sslmode=require&sslrootcert=AUTHORITY&channel_binding=require", true),
        ("localhost", "sslrootcert=AUTHORITY&ssl_min_protocol_version=TLSv1.3", true),
        // The certificate is for another name.
        ("127.0.0.1", "sslmode=verify-ca&sslrootcert=AUTHORITY", true),
        ("127.0.0.1", "sslmode=no-verify&channel_binding=require", true),
        ("127.0.0.1", "sslmode=require&uselibpqcompat=true", true),
        ("127.0.0.1", "sslmode=prefer", true),
        ("127.0.0.1", "sslmode=allow", false),
        ("127.0.0.1", "sslmode=disable", false),
        // Nobody listens on the way to this machine.
        ("127.0.0.1", "", false),
    ]
    .into_iter()
    .enumerate()
    {
        let folder = TempDir::new().unwrap();
        let server = serve(&folder, &encrypted.url(host, parameters), "");
        let email = format!("user-{number}@example.com");
        assert_eq!(server.connect().exchange(&sign_up(&email)).status, 200, "{parameters}");
        let used = encrypted.cluster.ask(
            "select distinct ssl from pg_stat_ssl join pg_stat_activity using (pid) \
             where application_name = 'narthex'",
        );
        assert_eq!(used, [if is_encrypted { "t" } else { "f" }], "{parameters}");
        assert!(!server.banner.concat().contains(PASSWORD), "{:?}", server.banner);
        assert!(server.stop().success());
    }
}

#[test]
fn who_cannot_be_trusted_is_refused_with_what_to_do() {
    let Some(encrypted) = Encrypted::start() else { return };
    for (host, parameters, says) in [
        ("localhost", "sslmode=require", "signed by an authority that is not known here; name the file"),
        ("localhost", "sslmode=verify-full&sslrootcert=system", "sslrootcert=FILE"),
        ("localhost", "ssl=true", "sslmode=no-verify to encrypt without knowing with whom"),
        (
            "127.0.0.1",
            "sslmode=verify-full&sslrootcert=AUTHORITY",
            "the server's certificate is for another host; use the name that it is for",
        ),
        ("localhost", "sslmode=disable&channel_binding=require", "channel_binding=require needs TLS"),
    ] {
        let (said, code) = refusal(&encrypted.url(host, parameters));
        assert_eq!(code, Some(1), "{parameters}: {said}");
        assert!(said.contains(says), "{parameters}: {said}");
        assert!(!said.contains(PASSWORD), "{said}");
    }
    let wrong = encrypted.url("localhost", "sslmode=no-verify").replace(PASSWORD, "wr0ng-one");
    let (said, code) = refusal(&wrong);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the user's name or the password in the URL is wrong"), "{said}");
    assert!(!said.contains("wr0ng-one"), "{said}");
    let none = encrypted.url("localhost", "sslmode=no-verify").replace(&format!(":{PASSWORD}"), "");
    assert!(refusal(&none).0.contains("the URL has no password, and one is needed"));
    let nowhere = encrypted.url("localhost", "").replace("/postgres?", "/nowhere?");
    assert!(refusal(&nowhere).0.contains("there is no such database; create it"));
    let (said, code) = refusal(&encrypted.url("localhost", "sslrootcert=/nowhere.pem"));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("sslrootcert=/nowhere.pem: "), "{said}");
}

#[test]
fn a_server_without_tls_is_told_from_one_that_cannot_be_trusted() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let url = |parameters: &str| format!("{}?{parameters}", cluster.url());
    let (said, code) = refusal(&url("sslmode=require"));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the server does not speak TLS; set sslmode=disable in the URL"), "{said}");
    let folder = TempDir::new().unwrap();
    let server = serve(&folder, &url("sslmode=prefer"), "");
    assert_eq!(server.connect().exchange(&sign_up("ada@example.com")).status, 200);
}
