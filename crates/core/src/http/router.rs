//! Which endpoint a method and a path mean. Exact paths are one lookup; `:name` segments are compared in turn.

use crate::plugin::Endpoint;
use http::Method;
use std::collections::HashMap;

/// All routes. Endpoints are named by their position in the manifest, their paths by a number that endpoints of
/// several methods share.
#[derive(Debug, Default)]
pub(crate) struct Router {
    paths: Vec<String>,
    exact: HashMap<String, (usize, Vec<(Method, usize)>)>,
    patterns: Vec<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    method: Method,
    segments: Vec<Segment>,
    position: usize,
    path: usize,
}

#[derive(Debug)]
enum Segment {
    Literal(String),
    Parameter(String),
}

/// Values of the `:name` segments.
pub(crate) type Parameters = Vec<(String, String)>;

/// What a method and a path lead to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The path of the endpoint or, when it is asked for with a method it does not answer, of another one there.
    pub(crate) path: Option<usize>,
    /// The endpoint, and what its parameters stand for.
    pub(crate) endpoint: Option<(usize, Parameters)>,
}

impl Router {
    pub(crate) fn new(endpoints: &[Endpoint]) -> Self {
        let mut router = Self::default();
        for (position, endpoint) in endpoints.iter().enumerate() {
            let known = router.paths.iter().position(|path| *path == endpoint.path);
            let path = known.unwrap_or_else(|| {
                router.paths.push(endpoint.path.clone().into_owned());
                router.paths.len() - 1
            });
            let method = endpoint.method.clone();
            if endpoint.path.contains("/:") {
                let segments = endpoint.path.split('/').map(|segment| match segment.strip_prefix(':') {
                    Some(name) => Segment::Parameter(name.to_owned()),
                    None => Segment::Literal(segment.to_owned()),
                });
                router.patterns.push(Pattern { method, segments: segments.collect(), position, path });
            } else {
                let (_, methods) =
                    router.exact.entry(endpoint.path.clone().into_owned()).or_insert((path, Vec::new()));
                methods.push((method, position));
            }
        }
        router
    }

    /// The paths of all endpoints, each once.
    pub(crate) fn paths(&self) -> &[String] {
        &self.paths
    }

    /// An empty segment matches no parameter, so `//` and a trailing slash are never somebody's route.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Found {
        let exact = self.exact.get(path);
        let mut found = Found { path: exact.map(|(path, _)| *path), endpoint: None };
        let answering = exact.and_then(|(_, methods)| methods.iter().find(|(other, _)| other == method));
        if let Some((_, position)) = answering {
            found.endpoint = Some((*position, Parameters::new()));
            return found;
        }
        for pattern in &self.patterns {
            if pattern.method != *method && found.path.is_some() {
                continue;
            }
            let Some(parameters) = pattern.parameters(path) else { continue };
            if pattern.method == *method {
                return Found { path: Some(pattern.path), endpoint: Some((pattern.position, parameters)) };
            }
            found.path = Some(pattern.path);
        }
        found
    }
}

impl Pattern {
    fn parameters(&self, path: &str) -> Option<Parameters> {
        let mut parameters = Parameters::new();
        let mut rest = path.split('/');
        for segment in &self.segments {
            match (segment, rest.next()?) {
                (Segment::Literal(literal), actual) if literal == actual => {}
                (Segment::Parameter(name), actual) if !actual.is_empty() => {
                    parameters.push((name.clone(), actual.to_owned()));
                }
                _ => return None,
            }
        }
        rest.next().is_none().then_some(parameters)
    }
}
