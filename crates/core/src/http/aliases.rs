//! Other paths of endpoints: what a request asks for is looked up here before anything else, so that limits, switches,
//! hooks and metrics see the endpoint's own path, and an alias is no way around them.

use super::router::Router;
use crate::plugin::Alias;
use http::Method;
use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
};

/// The paths of endpoints by their other, whole paths. Where there are none a request pays nothing.
#[derive(Debug, Default)]
pub(crate) struct Aliases(HashMap<String, Vec<(Method, Cow<'static, str>)>>);

impl Aliases {
    /// One that is among `disabled` is left out: whoever switches it off does not mean the endpoint.
    pub(crate) fn new(
        registered: &[Alias],
        router: &Router,
        base_path: &str,
        disabled: &[String],
        problems: &mut Vec<String>,
    ) -> Self {
        let mut aliases: HashMap<_, Vec<(Method, Cow<'static, str>)>> = HashMap::new();
        for alias in registered {
            if let Some(problem) = mistake(alias, router, base_path) {
                problems.push(format!(
                    "the alias {} {} of \"{}\" {problem}",
                    alias.method, alias.from, alias.plugin
                ));
                continue;
            }
            if alias.is_among(disabled) {
                continue;
            }
            let target = (alias.method.clone(), alias.to.clone());
            match aliases.entry(alias.path(base_path).into_owned()) {
                Entry::Occupied(entry) if entry.get().iter().any(|(method, _)| *method == alias.method) => {
                    problems.push(format!("{} {} is an alias of two endpoints", alias.method, entry.key()));
                }
                Entry::Occupied(mut entry) => entry.get_mut().push(target),
                Entry::Vacant(entry) => drop(entry.insert(vec![target])),
            }
        }
        Self(aliases)
    }

    /// The endpoint's path below the base path that a whole path stands for.
    pub(crate) fn target(&self, method: &Method, path: &str) -> Option<&str> {
        let (_, target) = self.0.get(path)?.iter().find(|(other, _)| other == method)?;
        Some(target)
    }

    /// Every whole path that is one.
    #[cfg(feature = "axum")]
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Whether a path is written in the one way in which it is compared: `/`, and letters, digits, `-`, `.`, `_` and `~`
/// between single slashes.
pub fn is_plain_path(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|path| {
        path.split('/').all(|segment| {
            !matches!(segment, "" | "." | "..")
                && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
        })
    })
}

fn mistake(alias: &Alias, router: &Router, base_path: &str) -> Option<&'static str> {
    let whole = alias.path(base_path);
    if !is_plain_path(&alias.from) {
        return Some(
            "is no path: it begins with / and has letters, digits, -, ., _ and ~ between single slashes",
        );
    }
    if router.find(&alias.method, &alias.to).endpoint.is_none() {
        return Some("leads to a path that no endpoint has");
    }
    let below = whole.strip_prefix(base_path).filter(|path| path.starts_with('/'));
    below
        .filter(|path| router.find(&alias.method, path).endpoint.is_some())
        .map(|_| "is an endpoint's own path")
}
