//! The environment: upstream's names, those that every platform sets, and `NARTHEX__SECTION__KEY` for everything.
//!
//! Nothing else reads it. It comes after the file and before flags; names that other programs read too come last.

use super::document::{Document, Place};
use narthex::{Secret, VersionedSecret};
use std::{env, net::Ipv4Addr};
use toml::{Table, Value};

/// Every option by its key in capitals: `NARTHEX__SESSION__UPDATE_AGE`.
const PREFIX: &str = "NARTHEX__";
/// The secret that backends share, from which the server's own is derived when nobody has set that.
pub(crate) const JWT_SECRET: &str = "JWT_SECRET";
/// A change of it would sign everybody out.
const FROM_JWT_SECRET: &str = "narthex/server-secret/1";
/// As of any secret.
const SHORTEST_SECRET: usize = 32;
/// Where upstream looks for its base URL besides.
const BASE_URLS: [&str; 4] = [
    "NEXT_PUBLIC_BETTER_AUTH_URL",
    "PUBLIC_BETTER_AUTH_URL",
    "NUXT_PUBLIC_BETTER_AUTH_URL",
    "NUXT_PUBLIC_AUTH_URL",
];

/// A variable that is set and not empty.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether the environment says what this is for; `None` when it does not say.
pub(crate) fn is_production(problems: &mut Vec<String>) -> Option<bool> {
    match variable("NARTHEX_ENV").as_deref() {
        Some("development") => return Some(false),
        Some("production") => return Some(true),
        Some(other) => {
            problems.push(format!("NARTHEX_ENV = {other:?}: must be \"production\" or \"development\""));
        }
        None => {}
    }
    // Node's own name has other values too, such as `test`.
    variable("NODE_ENV").filter(|value| value == "production").map(|_| true)
}

/// Writes what the environment says over the file's entries.
pub(crate) fn apply(document: &mut Document, problems: &mut Vec<String>) {
    for (name, path) in [
        ("BETTER_AUTH_URL", &["base-url"][..]),
        ("BETTER_AUTH_SECRET", &["secret"]),
        ("DATABASE_URL", &["database", "url"]),
        ("NARTHEX_LOG", &["log", "level"]),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &["traces", "endpoint"]),
        ("OTEL_SERVICE_NAME", &["traces", "service-name"]),
    ] {
        if let Some(value) = variable(name) {
            document.set(path, value.into(), Place::Variable(name.to_owned()));
        }
    }
    if let Some(port) = variable("PORT") {
        match port.parse::<u16>() {
            // Set by platforms that route requests from elsewhere to it.
            Ok(port) => {
                let listen = format!("{}:{port}", Ipv4Addr::UNSPECIFIED);
                document.set(&["listen"], listen.into(), Place::Variable("PORT".to_owned()));
            }
            Err(_) => problems.push(format!("PORT = {port:?}: must be a number from 0 to 65535")),
        }
    }
    if let Some(list) = variable("BETTER_AUTH_SECRETS") {
        match VersionedSecret::parse_list(&list) {
            Ok(secrets) => {
                let secrets = secrets.into_iter().map(|VersionedSecret { version, value }| {
                    let mut entry = Table::new();
                    entry.insert("version".to_owned(), version.into());
                    entry.insert("value".to_owned(), value.expose().into());
                    Value::Table(entry)
                });
                let place = Place::Variable("BETTER_AUTH_SECRETS".to_owned());
                document.set(&["secrets"], Value::Array(secrets.collect()), place);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if let Some(list) = variable("BETTER_AUTH_TRUSTED_ORIGINS") {
        document.extend(
            "trusted-origins",
            items(&list),
            &Place::Variable("BETTER_AUTH_TRUSTED_ORIGINS".to_owned()),
        );
    }
    if let Some(list) = variable("CORS_ORIGINS") {
        let place = Place::Variable("CORS_ORIGINS".to_owned());
        document.set(&["cors", "origins"], Value::Array(items(&list)), place);
    }
    apply_named(document);
    let is_unset = |document: &Document, key: &str| {
        document.table.get(key).is_none_or(|value| value.as_str().is_some_and(str::is_empty))
    };
    if let Some(secret) = variable("AUTH_SECRET").filter(|_| is_unset(document, "secret")) {
        document.set(&["secret"], secret.into(), Place::Variable("AUTH_SECRET".to_owned()));
    }
    let named = |table: &Table, path: &[&str]| {
        path.iter().try_fold(table.get("plugins")?, |value, key| value.get(key)).cloned()
    };
    if let Some(secret) = signs_tokens().filter(|_| named(&document.table, &["jwt", "secret"]).is_none()) {
        let place = Place::Variable(JWT_SECRET.to_owned());
        document.set(&["plugins", "jwt", "secret"], secret.expose().into(), place);
    }
    let has_secret = !is_unset(document, "secret") || document.has("secrets");
    if let Some(secret) = signs_tokens().filter(|secret| !has_secret && is_long_enough(secret)) {
        let secret = secret.derive(FROM_JWT_SECRET).expose().to_owned();
        document.set(&["secret"], secret.into(), Place::Variable(JWT_SECRET.to_owned()));
    }
    let base_url = BASE_URLS.into_iter().find_map(|name| Some((name, variable(name)?)));
    if let Some((name, url)) = base_url.filter(|_| is_unset(document, "base-url")) {
        document.set(&["base-url"], url.into(), Place::Variable(name.to_owned()));
    }
}

/// What signs tokens that a backend verifies by a shared secret. Backends know it, so it is not what signs cookies.
fn signs_tokens() -> Option<Secret> {
    variable(JWT_SECRET).map(Secret::from)
}

fn is_long_enough(secret: &Secret) -> bool {
    secret.expose().chars().count() >= SHORTEST_SECRET
}

/// Why no secret was derived, where somebody could think that one was.
pub(super) fn cannot_derive() -> Option<String> {
    signs_tokens().filter(|secret| !is_long_enough(secret)).map(|_| {
        format!("{JWT_SECRET} has fewer than {SHORTEST_SECRET} characters, too few to derive one from")
    })
}

/// A list as a variable has it.
fn items(list: &str) -> Vec<Value> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Value::from).collect()
}

fn apply_named(document: &mut Document) {
    let mut named: Vec<(String, String)> = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    named.sort();
    for (name, value) in named {
        let path: Vec<String> =
            name.split("__").skip(1).map(|part| part.to_lowercase().replace('_', "-")).collect();
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        document.set(&path, read(&value), Place::Variable(name));
    }
}

/// As the file would have it, or else text: nobody quotes text in a variable.
fn read(text: &str) -> Value {
    let entry = format!("value = {text}").parse::<Table>().ok();
    // A text with a line break could have more entries.
    let value = entry.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    value.unwrap_or_else(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_read_as_the_file_would_read_it_or_as_text() {
        for (text, value) in [
            ("60", Value::Integer(60)),
            ("true", Value::Boolean(true)),
            ("[\"a\", \"b\"]", Value::Array(vec!["a".into(), "b".into()])),
            ("sqlite://x.db", Value::from("sqlite://x.db")),
            ("\"60\"", Value::from("60")),
            ("1\nother = 2", Value::from("1\nother = 2")),
            ("", Value::from("")),
        ] {
            assert_eq!(read(text), value, "{text:?}");
        }
    }
}
