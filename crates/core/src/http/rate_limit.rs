//! How often a client may ask.
//!
//! Requests are counted by client and endpoint, not by the text of a path: no spelling of a path has a count of its
//! own, and paths that are no endpoint's share one count for each rule, so that inventing paths fills no table. Which
//! rule holds for an endpoint is decided once, at start. Counting happens before anything else is done for a request,
//! in one step, so that of requests that arrive together no more pass than may.
//!
//! Upstream: `api/rate-limiter/index.ts`.

use super::{
    client_ip,
    origin_pattern::Glob,
    rate_limit_memory::{Counters, Key},
    reply::Reply,
};
use crate::{
    config::{CustomRules, RateLimitOptions},
    env::Env,
    error::{Error, Result},
    model::RateLimit,
    plugin::Rate,
    store::{Record, Store},
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use std::{net::IpAddr, num::NonZeroU32, sync::Once, time::Duration};

const RETRY_AFTER: HeaderName = HeaderName::from_static("x-retry-after");
/// What stands in the database for the address of those who have none.
const NO_ADDRESS: &str = "no-trusted-ip";
/// How often a count that somebody else changes at the same time is tried.
const TRIES: u32 = 3;

/// Paths that guess at passwords or make the server send mail, and how often they may be asked for.
const SPECIAL: [(&str, Rate); 9] = [
    ("/sign-in*", GUESSING),
    ("/sign-up*", GUESSING),
    ("/change-password*", GUESSING),
    ("/change-email*", GUESSING),
    ("/request-password-reset", MAILING),
    ("/send-verification-email", MAILING),
    ("/forget-password*", MAILING),
    ("/email-otp/send-verification-otp", MAILING),
    ("/email-otp/request-password-reset", MAILING),
];
const GUESSING: Rate = Rate { max: 3, window: 10 };
const MAILING: Rate = Rate { max: 3, window: 60 };

/// Where requests are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limits {
    InMemory,
    /// In the database, because the operator says so.
    InDatabase,
    /// In the secondary storage.
    InSecondary,
    /// In the database, because several processes may share it; each counts what only the default rule is for.
    Shared,
}

/// Counts requests, and refuses those that are too many.
pub(crate) struct RateLimiter {
    rules: Vec<Rule>,
    /// By the router's number of a path; `None` for a path with parameters, whose rule depends on them.
    by_path: Vec<Option<usize>>,
    paths: Vec<String>,
    counting: Counting,
    warned: Once,
}

struct Rule {
    paths: Paths,
    name: String,
    rate: Option<Rate>,
}

enum Paths {
    All,
    Exact(String),
    /// Everything whose path begins so.
    Beginning(String),
    Wildcard(Glob),
}

enum Counting {
    Memory(Counters),
    Database(Box<Shared>),
    Secondary,
}

/// Counts in the database, and what this process need not ask it.
struct Shared {
    /// Who is being refused: nothing but time changes that.
    refused: Counters,
    /// Counts of the default rule, where the operator did not ask for them in the database: a session check that
    /// writes would cost many times one that reads, and the rule is there to keep one client from taking everything.
    local: Option<Counters>,
}

/// A count that a request adds to.
struct Limit<'a> {
    path: Option<&'a str>,
    rule: &'a Rule,
    rate: Rate,
    bucket: u32,
}

impl Paths {
    /// Upstream's wildcards; a `*` at the end of a built-in or a plugin's rule is what upstream's `startsWith` is.
    fn of_code(pattern: &str) -> Self {
        match pattern.strip_suffix("/**").map(|prefix| format!("{prefix}/")) {
            Some(prefix) => Self::Beginning(prefix),
            None => match pattern.strip_suffix('*') {
                Some(prefix) => Self::Beginning(prefix.to_owned()),
                None => Self::Exact(pattern.to_owned()),
            },
        }
    }

    fn of_option(pattern: &str) -> Self {
        if pattern.contains('*') {
            Self::Wildcard(Glob::new(pattern))
        } else {
            Self::Exact(pattern.to_owned())
        }
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Self::All => true,
            Self::Exact(exact) => exact == path,
            Self::Beginning(prefix) => path.starts_with(prefix.as_str()),
            Self::Wildcard(glob) => glob.matches(path),
        }
    }
}

/// What holds: the operator's rules, then plugins', then ours, then the default; the first that matches.
fn rules(options: &RateLimitOptions, plugins: &[(&'static str, Rate)]) -> Vec<Rule> {
    let CustomRules(custom) = &options.custom_rules;
    let custom = custom.iter().map(|(path, rate)| (Paths::of_option(path), path.clone(), *rate));
    let of_code = plugins.iter().chain(&SPECIAL);
    let of_code = of_code.map(|(path, rate)| (Paths::of_code(path), (*path).to_owned(), Some(*rate)));
    let default = Rate { max: options.max, window: options.window };
    let all = custom.chain(of_code).chain([(Paths::All, "*".to_owned(), Some(default))]);
    all.map(|(paths, name, rate)| Rule { paths, name, rate }).collect()
}

/// The longest window there is: older counts mean nothing.
pub(crate) fn longest_window(options: &RateLimitOptions, plugins: &[(&'static str, Rate)]) -> Duration {
    let rules = rules(options, plugins);
    let windows = rules.iter().filter_map(|rule| rule.rate).map(|rate| rate.window);
    Duration::from_secs(windows.max().unwrap_or_default().into())
}

impl RateLimiter {
    /// `paths` are the router's, in its order.
    pub(crate) fn new(
        options: &RateLimitOptions,
        plugins: &[(&'static str, Rate)],
        paths: &[String],
        limits: Limits,
    ) -> Self {
        let rules = rules(options, plugins);
        let first = |path: &String| rules.iter().position(|rule| rule.paths.matches(path));
        let by_path = paths.iter().map(|path| if path.contains("/:") { None } else { first(path) }).collect();
        let counting = match limits {
            Limits::InMemory => Counting::Memory(Counters::default()),
            Limits::InSecondary => Counting::Secondary,
            Limits::InDatabase | Limits::Shared => Counting::Database(Box::new(Shared {
                refused: Counters::default(),
                local: (limits == Limits::Shared).then(Counters::default),
            })),
        };
        Self { by_path, paths: paths.to_vec(), rules, counting, warned: Once::new() }
    }

    /// Counts a request for `path`, which `number` is the router's number of. Answers in the endpoint's place when
    /// there have been too many.
    pub(crate) async fn refuses(
        &self,
        store: &Store,
        env: &Env,
        client: Option<IpAddr>,
        path: &str,
        number: Option<usize>,
    ) -> Result<Option<Response<Bytes>>> {
        let Some(limit) = self.limit(path, number) else { return Ok(None) };
        if client.is_none() {
            self.warned.call_once(|| {
                tracing::warn!("requests come without an address, so that everyone shares one limit");
            });
        }
        let key = Key { client: client.map(bits), bucket: limit.bucket };
        let now = env.clock.now().millis();
        // What asks a database is boxed, so that no other request carries room for it.
        let outcome = match &self.counting {
            Counting::Memory(counters) => counters.count(key, limit.rate.max, millis(limit.rate.window), now),
            Counting::Database(shared) => match (&shared.local, &limit.rule.paths) {
                (Some(local), Paths::All) => local.count(key, limit.rate.max, millis(limit.rate.window), now),
                _ => match shared.refused.refused_for(key, millis(limit.rate.window), now) {
                    Some(rest) => Err(rest),
                    None => Box::pin(shared.count(store, &limit, client, key, now)).await?,
                },
            },
            Counting::Secondary => Box::pin(count_elsewhere(store, &limit, client)).await?,
        };
        Ok(outcome.err().map(too_many))
    }

    /// What a client may ask of the path with this number in the router; nothing where it may ask for ever.
    pub(crate) fn allowance(&self, number: usize) -> Option<Rate> {
        let path = self.paths.get(number)?;
        self.limit(path, Some(number)).map(|limit| limit.rate)
    }

    fn limit(&self, path: &str, number: Option<usize>) -> Option<Limit<'_>> {
        let known = number.and_then(|number| self.by_path.get(number).copied().flatten());
        let position = known.or_else(|| self.rules.iter().position(|rule| rule.paths.matches(path)))?;
        let rule = self.rules.get(position)?;
        let bucket = number.map_or(0, |number| number + 1) * self.rules.len() + position;
        Some(Limit {
            path: number.and_then(|number| self.paths.get(number)).map(String::as_str),
            rule,
            rate: rule.rate?,
            bucket: u32::try_from(bucket).unwrap_or(u32::MAX),
        })
    }
}

impl Limit<'_> {
    /// Upstream's key, but with an endpoint's path as it is declared, and a rule where there is no endpoint.
    fn name(&self, client: Option<IpAddr>) -> String {
        let client = client.map_or_else(|| NO_ADDRESS.to_owned(), client_ip::display);
        match self.path {
            // Different rules may hold for different values of a parameter.
            Some(path) if path.contains("/:") && !matches!(self.rule.paths, Paths::All) => {
                format!("{client}|{path}|{}", self.rule.name)
            }
            Some(path) => format!("{client}|{path}"),
            None => format!("{client}|{}", self.rule.name),
        }
    }
}

impl Shared {
    async fn count(
        &self,
        store: &Store,
        limit: &Limit<'_>,
        client: Option<IpAddr>,
        key: Key,
        now: i64,
    ) -> Result<Result<(), i64>> {
        let window = millis(limit.rate.window);
        let row = RateLimit {
            id: store.new_id(),
            key: limit.name(client),
            count: 1,
            last_request: now,
            extra: Record::default(),
            hidden: Record::default(),
        };
        for _ in 0..TRIES {
            // A clock that was wrong may have dated it ahead: that must not lengthen anybody's wait.
            let idle = RateLimit::LAST_REQUEST.lte(now - window);
            let idle = idle.or(RateLimit::LAST_REQUEST.gt(now + window));
            let within = RateLimit::COUNT.lt(i64::from(limit.rate.max.min(i32::MAX.unsigned_abs())));
            let counted = store.tally(&row, RateLimit::KEY, RateLimit::COUNT, idle, within).await?;
            if counted.is_some() {
                return Ok(Ok(()));
            }
            // It may have been deleted, or its window may have ended, since.
            let there = store.find(RateLimit::KEY.eq(&row.key)).await?;
            let rest = there.map(|there| there.last_request + window - now).filter(|rest| *rest > 0);
            if let Some(rest) = rest {
                let rest = rest.min(window);
                self.refused.refuse_for(key, rest, now);
                return Ok(Err(rest));
            }
        }
        Ok(Err(window))
    }
}

/// Upstream: a window that begins with its first request and has an end, whatever comes meanwhile; what is too many
/// is told to wait for all of it (kept).
async fn count_elsewhere(
    store: &Store,
    limit: &Limit<'_>,
    client: Option<IpAddr>,
) -> Result<Result<(), i64>> {
    let Rate { max, window } = limit.rate;
    let (Some(secondary), Some(seconds)) = (store.secondary(), NonZeroU32::new(window)) else {
        return Err(Error::internal(
            "a window of no seconds, or no secondary storage, was accepted at start",
        ));
    };
    let count = secondary.count(&limit.name(client), seconds).await?;
    Ok(if count <= u64::from(max) { Ok(()) } else { Err(millis(window)) })
}

fn millis(seconds: u32) -> i64 {
    i64::from(seconds) * 1_000
}

/// Addresses of the two families do not meet: one that is IPv4 in IPv6's form has been read as IPv4.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn too_many(rest: i64) -> Response<Bytes> {
    let seconds = (rest + 999) / 1_000;
    let error =
        Error::with(StatusCode::TOO_MANY_REQUESTS, None, "Too many requests. Please try again later.")
            .header(RETRY_AFTER, HeaderValue::from(seconds));
    Reply::error(&error).into_response([], [])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(custom: &[(&str, Option<Rate>)], plugins: &[(&'static str, Rate)]) -> RateLimiter {
        let custom = custom.iter().map(|(path, rate)| ((*path).to_owned(), *rate)).collect();
        let options = RateLimitOptions { custom_rules: CustomRules(custom), ..RateLimitOptions::default() };
        let paths = ["/ok", "/sign-in/email", "/callback/:id", "/reset-password/:token"].map(str::to_owned);
        RateLimiter::new(&options, plugins, &paths, Limits::InMemory)
    }

    fn rate(limiter: &RateLimiter, path: &str) -> Option<(u32, u32)> {
        limiter.limit(path, None).map(|limit| (limit.rate.max, limit.rate.window))
    }

    #[test]
    fn special_paths_have_upstreams_limits() {
        let limiter = limiter(&[], &[]);
        for (path, expected) in [
            ("/sign-in/email", (3, 10)),
            ("/sign-in", (3, 10)),
            ("/sign-in-with-something", (3, 10)),
            ("/sign-up/email", (3, 10)),
            ("/change-password", (3, 10)),
            ("/change-email", (3, 10)),
            ("/request-password-reset", (3, 60)),
            ("/request-password-reset/more", (100, 10)),
            ("/send-verification-email", (3, 60)),
            ("/forget-password/email-otp", (3, 60)),
            ("/email-otp/send-verification-otp", (3, 60)),
            ("/email-otp/request-password-reset", (3, 60)),
            ("/email-otp/verify-email", (100, 10)),
            ("/ok", (100, 10)),
            ("//sign-in/email", (100, 10)),
            ("/", (100, 10)),
        ] {
            assert_eq!(rate(&limiter, path), Some(expected), "{path}");
        }
    }

    #[test]
    fn the_operator_comes_before_plugins_and_plugins_before_us() {
        let custom = [("/two-factor/*", None), ("/sign-in/*", Some(Rate { max: 9, window: 9 }))];
        let plugins = [
            ("/two-factor/**", Rate { max: 3, window: 10 }),
            ("/sign-up*", Rate { max: 5, window: 60 }),
            ("/sign-up/email", Rate { max: 7, window: 60 }),
            ("/sign-in/magic-link", Rate { max: 7, window: 60 }),
        ];
        let limiter = limiter(&custom, &plugins);
        for (path, expected) in [
            ("/two-factor/enable", None),
            ("/two-factor/enable/more", Some((3, 10))),
            ("/two-factor", Some((100, 10))),
            ("/sign-up/email", Some((5, 60))),
            ("/sign-in/magic-link", Some((9, 9))),
            ("/sign-in/a/b", Some((3, 10))),
        ] {
            assert_eq!(rate(&limiter, path), expected, "{path}");
        }
    }

    type Path = (&'static str, Option<usize>);

    #[test]
    fn a_count_belongs_to_an_endpoint_and_a_rule() {
        let limiter = limiter(&[("/callback/github", Some(Rate { max: 1, window: 1 }))], &[]);
        let limit = |path: &'static str, number| limiter.limit(path, number).expect("a limit");
        let name = |path, number| limit(path, number).name(Some([192, 0, 2, 1].into()));
        assert_eq!(name("/ok", Some(0)), "192.0.2.1|/ok");
        assert_eq!(name("/sign-in/email", Some(1)), "192.0.2.1|/sign-in/email");
        assert_eq!(name("/callback/google", Some(2)), "192.0.2.1|/callback/:id");
        assert_eq!(name("/callback/github", Some(2)), "192.0.2.1|/callback/:id|/callback/github");
        assert_eq!(name("/nobody", None), "192.0.2.1|*");
        assert_eq!(name("/sign-in/nobody", None), "192.0.2.1|/sign-in*");
        assert_eq!(limit("/ok", Some(0)).name(None), "no-trusted-ip|/ok");
        let same = |left: Path, right: Path| limit(left.0, left.1).bucket == limit(right.0, right.1).bucket;
        assert!(same(("/callback/google", Some(2)), ("/callback/apple", Some(2))));
        assert!(same(("/nobody", None), ("/nowhere", None)));
        assert!(!same(("/callback/google", Some(2)), ("/callback/github", Some(2))));
        assert!(!same(("/callback/google", Some(2)), ("/reset-password/x", Some(3))));
        assert!(!same(("/nobody", None), ("/sign-in/nobody", None)));
        assert!(!same(("/ok", Some(0)), ("/ok", None)));
    }
}
