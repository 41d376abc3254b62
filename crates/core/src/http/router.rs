//! Which endpoint a method and a path mean. Exact paths are one lookup; `:name` segments are compared in turn.

use crate::plugin::Endpoint;
use http::Method;
use std::collections::HashMap;

/// All routes. Endpoints are named by their position in the manifest.
#[derive(Debug, Default)]
pub(crate) struct Router {
    exact: HashMap<String, Vec<(Method, usize)>>,
    patterns: Vec<(Method, Vec<Segment>, usize)>,
}

#[derive(Debug)]
enum Segment {
    Literal(String),
    Parameter(String),
}

/// Values of the `:name` segments.
pub(crate) type Parameters = Vec<(String, String)>;

impl Router {
    pub(crate) fn new(endpoints: &[Endpoint]) -> Self {
        let mut router = Self::default();
        for (position, endpoint) in endpoints.iter().enumerate() {
            if endpoint.path.contains("/:") {
                let segments = endpoint.path.split('/').map(|segment| match segment.strip_prefix(':') {
                    Some(name) => Segment::Parameter(name.to_owned()),
                    None => Segment::Literal(segment.to_owned()),
                });
                router.patterns.push((endpoint.method.clone(), segments.collect(), position));
            } else {
                let methods = router.exact.entry(endpoint.path.clone().into_owned()).or_default();
                methods.push((endpoint.method.clone(), position));
            }
        }
        router
    }

    /// An empty segment matches no parameter, so `//` and a trailing slash are never somebody's route.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Option<(usize, Parameters)> {
        let exact = self.exact.get(path).into_iter().flatten().find(|(candidate, _)| candidate == method);
        if let Some((_, position)) = exact {
            return Some((*position, Parameters::new()));
        }
        self.patterns.iter().filter(|(candidate, ..)| candidate == method).find_map(
            |(_, segments, position)| {
                let mut parameters = Parameters::new();
                let mut rest = path.split('/');
                for segment in segments {
                    match (segment, rest.next()?) {
                        (Segment::Literal(literal), actual) if literal == actual => {}
                        (Segment::Parameter(name), actual) if !actual.is_empty() => {
                            parameters.push((name.clone(), actual.to_owned()));
                        }
                        _ => return None,
                    }
                }
                rest.next().is_none().then_some((*position, parameters))
            },
        )
    }
}
