//! `secret` and `secrets`: what signs cookies and encrypts what is kept encrypted.
//!
//! Upstream: `context/secret-utils.ts`.

use crate::{crypto::at_rest::Secrets, secret::Secret};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// What upstream falls back to, and everybody knows.
const UPSTREAMS_DEFAULT: &str = "better-auth-secret-12345678901234567890";
/// Bits of chance below which a secret is likely to have been typed by a person.
const LIKELY_RANDOM: f64 = 120.0;

/// One of several secrets.
#[derive(Debug, Clone, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct VersionedSecret {
    /// What it is called in what it has encrypted. Never given to another secret.
    pub version: i64,
    /// The secret.
    pub value: Secret,
}

impl VersionedSecret {
    /// Reads `2:new,1:old`, as `BETTER_AUTH_SECRETS` has it. A mistake is told without the secrets.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        text.split(',').enumerate().map(|(index, entry)| Self::parse(index + 1, entry.trim())).collect()
    }

    fn parse(position: usize, entry: &str) -> Result<Self, String> {
        let mistake = |what: &str| Err(format!("BETTER_AUTH_SECRETS: entry {position} {what}"));
        let Some((version, value)) = entry.split_once(':') else {
            return mistake("has no colon; it must be <version>:<secret>");
        };
        match (version.trim().parse(), value.trim()) {
            (Err(_), _) => mistake("must begin with its version, a whole number that is not negative"),
            (_, "") => mistake("has no secret after its version"),
            (Ok(version), value) => Ok(Self { version, value: value.into() }),
        }
    }
}

/// The secrets in force. `secret` alone has no version; beside `secrets` it only opens what it once encrypted.
pub(super) fn resolve(
    secret: Option<&Secret>,
    secrets: Option<&[VersionedSecret]>,
    problems: &mut Vec<String>,
) -> Option<Secrets> {
    let Some(secrets) = secrets else {
        let secret = secret.cloned().unwrap_or_default();
        check_current("secret", &secret, problems);
        return Some(Secrets::single(secret));
    };
    let mut seen = HashSet::new();
    let mut entries = Vec::with_capacity(secrets.len());
    for (index, VersionedSecret { version, value }) in secrets.iter().enumerate() {
        if value.expose().is_empty() {
            problems.push(format!("secrets[{index}].value: is empty; it must be the secret of this version"));
        } else if index == 0 {
            check_current("secrets[0].value", value, problems);
        }
        if !seen.insert(version) {
            problems.push(format!("secrets[{index}].version = {version}: each version must be there once"));
        }
        match u64::try_from(*version) {
            Ok(version) => entries.push((version, value.clone())),
            Err(_) => {
                problems.push(format!("secrets[{index}].version = {version}: must not be negative"));
            }
        }
    }
    let mut entries = entries.into_iter();
    let Some(current) = entries.next() else {
        if secrets.is_empty() {
            problems.push("secrets = []: must hold one secret at least, the current one first".to_owned());
        }
        return None;
    };
    let legacy = secret.filter(|secret| !matches!(secret.expose(), "" | UPSTREAMS_DEFAULT));
    Some(Secrets::versioned(current, entries.collect(), legacy.cloned()))
}

fn check_current(key: &str, secret: &Secret, problems: &mut Vec<String>) {
    if secret.expose().chars().count() < 32 {
        problems
            .push(format!("{key}: needs at least 32 characters; `openssl rand -base64 32` makes a good one"));
    } else if secret.expose() == UPSTREAMS_DEFAULT {
        problems.push(format!(
            "{key}: is the one in everybody's source code; `openssl rand -base64 32` makes a good one"
        ));
    }
}

/// Whether a secret looks as if a person had made it up.
pub(crate) fn looks_weak(secret: &Secret) -> bool {
    entropy(secret.expose()) < LIKELY_RANDOM
}

/// Upstream's estimate: as if every character that occurs were as likely at every place.
fn entropy(text: &str) -> f64 {
    let distinct = text.chars().collect::<HashSet<_>>().len();
    let length = text.encode_utf16().count();
    let bits = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    if distinct == 0 { 0.0 } else { bits(length) * bits(distinct).log2() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "current-secret-0123456789-abcdefghijklmnop";

    fn entry(version: i64, value: &str) -> VersionedSecret {
        VersionedSecret { version, value: value.into() }
    }

    fn problems(secret: Option<&str>, secrets: Option<&[VersionedSecret]>) -> Vec<String> {
        let mut problems = Vec::new();
        resolve(secret.map(Secret::from).as_ref(), secrets, &mut problems);
        problems
    }

    #[test]
    fn the_list_of_the_environment_is_read_as_upstream_reads_it() {
        let read = |text: &str| {
            let list = VersionedSecret::parse_list(text).expect("a list");
            list.into_iter().map(|entry| (entry.version, entry.value.expose().to_owned())).collect::<Vec<_>>()
        };
        let two = [(2, "new:est".to_owned()), (1, "old".to_owned())];
        assert_eq!(read("2:new:est,1:old"), two);
        assert_eq!(read(" 2 : new:est , 1: old "), two);
    }

    #[test]
    fn a_mistake_in_the_list_is_told_by_its_place_and_not_by_its_secret() {
        for (text, mistake) in [
            ("2:new,hunter2", "entry 2 has no colon; it must be <version>:<secret>"),
            ("2:new,", "entry 2 has no colon; it must be <version>:<secret>"),
            ("x:hunter2", "entry 1 must begin with its version, a whole number that is not negative"),
            ("1.5:hunter2", "entry 1 must begin with its version, a whole number that is not negative"),
            (":hunter2", "entry 1 must begin with its version, a whole number that is not negative"),
            ("1: ", "entry 1 has no secret after its version"),
        ] {
            let expected = format!("BETTER_AUTH_SECRETS: {mistake}");
            assert_eq!(VersionedSecret::parse_list(text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn every_mistake_is_reported() {
        assert_eq!(problems(Some(GOOD), None), Vec::<String>::new());
        assert_eq!(problems(None, None).len(), 1);
        assert_eq!(problems(Some(UPSTREAMS_DEFAULT), None).len(), 1);
        assert_eq!(
            problems(None, Some(&[])),
            ["secrets = []: must hold one secret at least, the current one first"]
        );
        let entries = [entry(2, "short"), entry(2, ""), entry(-1, "old")];
        assert_eq!(
            problems(None, Some(&entries)),
            [
                "secrets[0].value: needs at least 32 characters; `openssl rand -base64 32` makes a good one",
                "secrets[1].value: is empty; it must be the secret of this version",
                "secrets[1].version = 2: each version must be there once",
                "secrets[2].version = -1: must not be negative",
            ]
        );
        let default = [entry(1, UPSTREAMS_DEFAULT)];
        assert_eq!(problems(None, Some(&default)).len(), 1);
    }

    #[test]
    fn the_first_is_current_and_a_single_secret_beside_them_opens_what_is_old() {
        let mut problems = Vec::new();
        let entries = [entry(1, GOOD), entry(7, "old")];
        let resolved = |secret: &str, problems: &mut Vec<String>| {
            let secrets = resolve(Some(&secret.into()), Some(&entries), problems).expect("secrets");
            secrets.all().map(|secret| secret.expose().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(resolved("x", &mut problems), [GOOD, "old", "x"]);
        assert_eq!(resolved(UPSTREAMS_DEFAULT, &mut problems), [GOOD, "old"]);
        assert_eq!(resolved("", &mut problems), [GOOD, "old"]);
        assert_eq!(problems, Vec::<String>::new());
    }

    /// What upstream's estimate says of them.
    #[test]
    fn weakness_is_judged_as_upstream_does() {
        for (text, bits) in [
            ("", 0.0),
            ("aaaa", 0.0),
            ("abcdefgh", 24.0),
            ("better-auth-secret-that-is-long-enough-for-validation", 221.006_025_076_442_57),
            ("🐎a", 3.0),
        ] {
            assert!((entropy(text) - bits).abs() < 1e-9, "{text}: {}", entropy(text));
        }
        assert!(!looks_weak(&"ab".repeat(60).into()), "exactly enough");
        assert!(looks_weak(&"ab".repeat(59).into()));
    }
}
