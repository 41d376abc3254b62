//! Adding to the query of a URL that somebody configured or that has been checked.
//!
//! Upstream: `appendQueryParams` in `utils/url.ts` of the core package.

use url::Url;

const BASE: &str = "https://path.invalid";

/// `target` with `query` at the end of its own, before its fragment. A path that begins with one slash stays a path.
/// `None` when `target` is neither that nor a URL.
pub(crate) fn append_query(target: &str, query: &str) -> Option<String> {
    let base = Url::parse(BASE).ok()?;
    let is_path = target.starts_with('/');
    let mut url = if is_path { base.join(target).ok()? } else { Url::parse(target).ok()? };
    if is_path && url.origin() != base.origin() {
        return None;
    }
    if query.is_empty() {
        return Some(target.to_owned());
    }
    let query = match url.query() {
        Some(own) if !own.is_empty() => {
            let separator = if own.ends_with('&') { "" } else { "&" };
            format!("{own}{separator}{query}")
        }
        _ => query.to_owned(),
    };
    url.set_query(Some(&query));
    let whole = String::from(url);
    if is_path { whole.strip_prefix(BASE).map(str::to_owned) } else { Some(whole) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays_there() {
        for (target, expected) in [
            ("/error", Some("/error?error=X")),
            ("/", Some("/?error=X")),
            ("/a?b=c", Some("/a?b=c&error=X")),
            ("/a?b=c&", Some("/a?b=c&error=X")),
            ("/a?", Some("/a?error=X")),
            ("/a?b=c#d?e", Some("/a?b=c&error=X#d?e")),
            ("/\u{e9} f", Some("/%C3%A9%20f?error=X")),
            ("https://app.example", Some("https://app.example/?error=X")),
            ("https://app.example/e?b=%20#d", Some("https://app.example/e?b=%20&error=X#d")),
            ("myapp://error", Some("myapp://error?error=X")),
            ("//evil.example", None),
            ("/\\evil.example", None),
            ("/\t/evil.example", None),
            ("error", None),
            ("", None),
        ] {
            assert_eq!(append_query(target, "error=X").as_deref(), expected, "{target:?}");
        }
    }
}
