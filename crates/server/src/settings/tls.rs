//! `[tls]`: ending TLS here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use url::{Host, Url};

/// `[tls]`: HTTPS without a proxy. `cert` and `key` switch it on.
#[derive(Debug, Clone, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct TlsOptions {
    /// A PEM file with the server's certificate and those between it and a root, the server's first.
    pub(crate) cert: Option<String>,
    /// A PEM file with the certificate's private key, not encrypted.
    pub(crate) key: Option<String>,
    /// Another address and port that answers plain HTTP with a redirect to `base-url`; what is not `GET` or `HEAD` is
    /// refused.
    pub(crate) redirect: Option<SocketAddr>,
    /// Tell browsers to come with https only; when absent, if the host of `base-url` is a name other than localhost.
    pub(crate) hsts: Option<bool>,
    /// For how many seconds browsers remember that.
    pub(crate) hsts_max_age: u64,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self { cert: None, key: None, redirect: None, hsts: None, hsts_max_age: 31_536_000 }
    }
}

impl TlsOptions {
    /// Certificate and key, when TLS ends here.
    pub(crate) fn files(&self) -> Option<(&str, &str)> {
        Some((self.cert.as_deref()?, self.key.as_deref()?))
    }

    pub(super) fn check(&self, base_url: &str, problems: &mut Vec<String>) {
        match (&self.cert, &self.key) {
            (Some(cert), None) => {
                problems.push(format!("tls.cert = {cert:?}: must come with its private key in tls.key"));
            }
            (None, Some(key)) => {
                problems.push(format!("tls.key = {key:?}: must come with its certificate in tls.cert"));
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        let ends_here = self.cert.is_some() || self.key.is_some();
        if let Some(address) = self.redirect {
            if !ends_here {
                problems.push(format!(
                    "tls.redirect = \"{address}\": must come with tls.cert and tls.key; a proxy that ends TLS redirects by itself"
                ));
            } else if !base_url.starts_with("https://") {
                problems.push(format!(
                    "tls.redirect = \"{address}\": must have somewhere to lead to: base-url = {base_url:?} does not begin with https://"
                ));
            }
        }
        if self.hsts == Some(true) && !ends_here {
            problems.push(
                "tls.hsts = true: must come with tls.cert and tls.key; a proxy that ends TLS sends the header by itself"
                    .to_owned(),
            );
        }
    }

    /// With a Unix socket, whoever connects ends TLS before.
    pub(super) fn check_unix(&self, problems: &mut Vec<String>) {
        for (key, file) in [("cert", &self.cert), ("key", &self.key)] {
            if let Some(file) = file {
                problems.push(format!(
                    "tls.{key} = {file:?}: must be left out where listen is a Unix socket: the proxy before it ends TLS"
                ));
            }
        }
    }

    /// The value of `Strict-Transport-Security`, if it is sent.
    pub(crate) fn strict_transport_security(&self, base_url: &str) -> Option<String> {
        self.files()?;
        self.hsts
            .unwrap_or_else(|| is_public_name(base_url))
            .then(|| format!("max-age={}", self.hsts_max_age))
    }
}

/// Where a browser would remember it, and nobody develops.
fn is_public_name(base_url: &str) -> bool {
    Url::parse(base_url).is_ok_and(|url| match url.host() {
        Some(Host::Domain(name)) => {
            url.scheme() == "https" && name != "localhost" && !name.ends_with(".localhost")
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(file: &str) -> TlsOptions {
        toml::from_str(file).unwrap()
    }

    fn problems(file: &str, base_url: &str) -> Vec<String> {
        let mut problems = Vec::new();
        options(file).check(base_url, &mut problems);
        problems
    }

    const BOTH: &str = "cert = \"c.pem\"\nkey = \"k.pem\"\n";

    #[test]
    fn a_certificate_and_its_key_come_together() {
        let url = "https://auth.example";
        assert_eq!(problems("", url), [""; 0]);
        assert_eq!(problems(BOTH, url), [""; 0]);
        assert_eq!(
            problems("cert = \"c.pem\"", url),
            ["tls.cert = \"c.pem\": must come with its private key in tls.key"]
        );
        assert_eq!(
            problems("key = \"k.pem\"", url),
            ["tls.key = \"k.pem\": must come with its certificate in tls.cert"]
        );
    }

    #[test]
    fn what_needs_tls_is_refused_without() {
        assert_eq!(
            problems("redirect = \"0.0.0.0:80\"\nhsts = true", "https://auth.example"),
            [
                "tls.redirect = \"0.0.0.0:80\": must come with tls.cert and tls.key; a proxy that ends TLS redirects by itself",
                "tls.hsts = true: must come with tls.cert and tls.key; a proxy that ends TLS sends the header by itself",
            ]
        );
        assert_eq!(
            problems(&format!("{BOTH}redirect = \"0.0.0.0:80\""), "http://auth.example"),
            [
                "tls.redirect = \"0.0.0.0:80\": must have somewhere to lead to: base-url = \"http://auth.example\" does not begin with https://"
            ]
        );
    }

    #[test]
    fn a_unix_socket_has_no_tls() {
        let mut problems = Vec::new();
        TlsOptions::default().check_unix(&mut problems);
        assert_eq!(problems, [""; 0]);
        options(BOTH).check_unix(&mut problems);
        assert_eq!(
            problems,
            [
                "tls.cert = \"c.pem\": must be left out where listen is a Unix socket: the proxy before it ends TLS",
                "tls.key = \"k.pem\": must be left out where listen is a Unix socket: the proxy before it ends TLS",
            ]
        );
    }

    #[test]
    fn browsers_are_told_to_stay_where_nobody_develops() {
        let told = |file: &str, base_url: &str| {
            options(&format!("{BOTH}{file}")).strict_transport_security(base_url)
        };
        let year = Some("max-age=31536000".to_owned());
        assert_eq!(told("", "https://auth.example/x"), year);
        for base_url in [
            "https://localhost:3001",
            "https://a.localhost",
            "https://192.0.2.1",
            "https://[2001:db8::1]",
            "http://auth.example",
        ] {
            assert_eq!(told("", base_url), None, "{base_url}");
            assert_eq!(told("hsts = true", base_url), year, "{base_url}");
        }
        assert_eq!(told("hsts = false", "https://auth.example"), None);
        assert_eq!(told("hsts-max-age = 60", "https://auth.example"), Some("max-age=60".to_owned()));
        assert_eq!(TlsOptions::default().strict_transport_security("https://auth.example"), None);
    }
}
