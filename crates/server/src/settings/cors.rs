//! `[cors]`: which pages of other origins may call from a browser and read the answer.
//!
//! Upstream has no such option: there the framework around it answers for that.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// `[cors]`: pages of other origins. Cookies are always allowed.
#[derive(Debug, Clone, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct CorsOptions {
    /// The origins, as browsers send them: `"https://app.example"`. When absent, those of `trusted-origins` that are
    /// no patterns; and where `trusted-origins` is empty, these are trusted.
    pub(crate) origins: Option<Vec<String>>,
    /// Request headers that pages may send besides those that the client sends.
    pub(crate) allowed_headers: Vec<String>,
    /// For how many seconds browsers remember what they may do.
    pub(crate) max_age: u64,
}

impl Default for CorsOptions {
    fn default() -> Self {
        Self { origins: None, allowed_headers: Vec::new(), max_age: 7200 }
    }
}

impl CorsOptions {
    /// Whoever has nothing takes the other's.
    pub(super) fn fill(&mut self, trusted: &mut Vec<String>) {
        match &self.origins {
            None => {
                let literal = trusted.iter().filter(|origin| mistake(origin).is_none());
                self.origins = Some(literal.cloned().collect());
            }
            Some(origins) if trusted.is_empty() => trusted.clone_from(origins),
            Some(_) => {}
        }
    }

    pub(super) fn check(&self, problems: &mut Vec<String>) {
        for origin in self.origins.iter().flatten() {
            if let Some(right) = mistake(origin) {
                problems.push(format!("cors.origins = {origin:?}: {right}"));
            }
        }
        for name in &self.allowed_headers {
            if http::HeaderName::try_from(name).is_err() {
                problems.push(format!(
                    "cors.allowed-headers = {name:?}: must be the name of a header, such as \"x-tenant\""
                ));
            }
        }
    }
}

/// What is wrong with something that should be an origin, spelt as browsers spell it.
fn mistake(origin: &str) -> Option<String> {
    let example = "such as \"https://app.example\" or \"http://localhost:5173\"";
    if origin.contains(['*', '?']) {
        return Some(format!(
            "must be one exact origin, {example}: an answer that may carry cookies cannot be for everybody, and patterns belong in trusted-origins"
        ));
    }
    if origin == "null" {
        return Some(format!(
            "must be an origin, {example}: \"null\" is sent by sandboxed pages, of whatever site"
        ));
    }
    let url = match Url::parse(origin) {
        Ok(url) if origin.contains("://") && url.host_str().is_some_and(|host| !host.is_empty()) => url,
        _ => return Some(format!("must be a scheme, a host and perhaps a port, {example}")),
    };
    let (scheme, host) = (url.scheme(), url.host_str().unwrap_or_default());
    let right = match url.port() {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    };
    (right != origin)
        .then(|| format!("must be written as browsers send it, without path and final slash: \"{right}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_send_them() {
        for origin in [
            "https://app.example",
            "http://localhost:5173",
            "https://xn--bcher-kva.example",
            "http://[::1]:8080",
            "capacitor://localhost",
            "chrome-extension://abcdefghijklmnop",
        ] {
            assert_eq!(mistake(origin), None, "{origin}");
        }
        for (origin, right) in [
            ("https://app.example/", "https://app.example"),
            ("https://app.example/path?query", "https://app.example"),
            ("https://App.Example", "https://app.example"),
            ("https://app.example:443", "https://app.example"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("https://ada:secret@app.example", "https://app.example"),
        ] {
            let said = mistake(origin).unwrap();
            if origin.ends_with("query") {
                // A question mark is a wildcard of trusted-origins.
                assert!(said.starts_with("must be one exact origin"), "{said}");
            } else {
                let expected = "must be written as browsers send it, without path and final slash: ";
                assert_eq!(said, format!("{expected}\"{right}\""), "{origin}");
            }
        }
        for origin in ["app.example", "localhost:5173", "", "https://", "myapp://", "mailto:ada@example.com"]
        {
            let said = mistake(origin).unwrap();
            assert!(said.starts_with("must be a scheme, a host and perhaps a port"), "{origin}: {said}");
        }
        for origin in ["*", "https://*.example", "https://app-?.example"] {
            let said = mistake(origin).unwrap();
            assert!(said.starts_with("must be one exact origin"), "{origin}: {said}");
        }
        assert!(mistake("null").unwrap().contains("sandboxed"));
    }

    #[test]
    fn whoever_has_nothing_takes_the_others() {
        let filled = |file: &str, trusted: &[&str]| {
            let mut options: CorsOptions = toml::from_str(file).unwrap();
            let mut trusted: Vec<String> = trusted.iter().map(|&origin| origin.to_owned()).collect();
            options.fill(&mut trusted);
            (options.origins.unwrap(), trusted)
        };
        let strings = |origins: &[&str]| origins.iter().map(|&origin| origin.to_owned()).collect::<Vec<_>>();
        let (a, b) = ("https://a.example", "https://b.example");
        assert_eq!(filled("", &[]), (vec![], vec![]));
        let patterns = [a, "*.example", "https://*.b.example", "https://b.example/", "myapp://"];
        assert_eq!(filled("", &patterns), (strings(&[a]), strings(&patterns)));
        let file = format!("origins = [\"{a}\"]");
        assert_eq!(filled(&file, &[]), (strings(&[a]), strings(&[a])));
        assert_eq!(filled(&file, &[b]), (strings(&[a]), strings(&[b])));
        assert_eq!(filled("origins = []", &[b]), (vec![], strings(&[b])));
    }

    #[test]
    fn every_mistake_is_named() {
        let options: CorsOptions = toml::from_str(
            "origins = [\"https://app.example/\", \"https://ok.example\"]\nallowed-headers = [\"x-tenant\", \"a b\"]",
        )
        .unwrap();
        let mut problems = Vec::new();
        options.check(&mut problems);
        assert_eq!(
            problems,
            [
                "cors.origins = \"https://app.example/\": must be written as browsers send it, without path and final slash: \"https://app.example\"",
                "cors.allowed-headers = \"a b\": must be the name of a header, such as \"x-tenant\"",
            ]
        );
    }
}
