use super::{AdditionalField, Names, cookie_cache::CookieCacheOptions, cookies::LONGEST_COOKIE};
use crate::time::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `[session]`
#[derive(Debug, Clone, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SessionOptions {
    /// How long a session lives without being used, in seconds.
    pub expires_in: u32,
    /// A session used this long after its last renewal is renewed, in seconds.
    pub update_age: u32,
    /// How long after signing in a session may do what is delicate, in seconds; 0 for as long as it lives.
    pub fresh_age: u32,
    /// How long a session lives at most, in seconds after signing in, however often it is renewed; no limit when absent.
    pub max_lifetime: Option<u32>,
    /// Never renew a session.
    pub disable_session_refresh: bool,
    /// Asking for the session never writes; posting renews it.
    pub defer_session_refresh: bool,
    /// Keep sessions in the database too, where there is a secondary storage.
    pub store_session_in_database: bool,
    /// Leave sessions that have ended in the database, where they are kept there too.
    pub preserve_session_in_database: bool,
    /// A second cookie that remembers session and user.
    pub cookie_cache: CookieCacheOptions,
    /// The table's name in the database.
    pub model_name: Option<String>,
    /// Columns by the name of the field that is kept in them.
    pub fields: Names<String>,
    /// Fields beyond upstream's.
    pub additional_fields: Names<AdditionalField>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            expires_in: 604_800,
            update_age: 86_400,
            fresh_age: 86_400,
            max_lifetime: None,
            disable_session_refresh: false,
            defer_session_refresh: false,
            store_session_in_database: false,
            preserve_session_in_database: false,
            cookie_cache: CookieCacheOptions::default(),
            model_name: None,
            fields: Names::default(),
            additional_fields: Names::default(),
        }
    }
}

impl SessionOptions {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        if self.expires_in == 0 || self.expires_in > LONGEST_COOKIE {
            problems.push(format!(
                "session.expires-in = {}: must be 1 to {LONGEST_COOKIE} seconds",
                self.expires_in
            ));
        }
        if self.max_lifetime == Some(0) {
            problems
                .push("session.max-lifetime = 0: must be at least 1; leave it out for no limit".to_owned());
        }
        self.cookie_cache.check(problems);
    }
}

/// The end that no renewal moves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaxLifetime(Option<Duration>);

impl MaxLifetime {
    pub(super) fn new(options: &SessionOptions) -> Self {
        Self(options.max_lifetime.map(|seconds| Duration::from_secs(seconds.into())))
    }

    /// When a session ends that was made at `created_at` and would end at `expires_at`.
    pub(crate) fn end(self, created_at: Time, expires_at: Time) -> Time {
        self.0.map_or(expires_at, |longest| expires_at.min(created_at + longest))
    }

    /// Whether a session made at `created_at` that ends at `expires_at` can end later.
    pub(crate) fn leaves_more(self, created_at: Time, expires_at: Time) -> bool {
        self.0.is_none_or(|longest| expires_at < created_at + longest)
    }

    /// What is left of `lifetime` at `now` for a session made at `created_at`.
    pub(crate) fn cut(self, lifetime: Duration, created_at: Time, now: Time) -> Duration {
        self.0.map_or(lifetime, |longest| lifetime.min(created_at + longest - now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_limit_nothing_is_cut() {
        let limit = MaxLifetime::new(&SessionOptions::default());
        let (created, expires) = (Time::from_millis(0), Time::from_millis(i64::MAX));
        assert_eq!(limit.end(created, expires), expires);
        assert!(limit.leaves_more(created, expires));
        assert_eq!(limit.cut(Duration::MAX, created, expires), Duration::MAX);
    }

    #[test]
    fn a_limit_counts_from_the_beginning() {
        let options = SessionOptions { max_lifetime: Some(10), ..SessionOptions::default() };
        let limit = MaxLifetime::new(&options);
        let at = |seconds: i64| Time::from_millis(seconds * 1000);
        assert_eq!((limit.end(at(5), at(14)), limit.end(at(5), at(16))), (at(14), at(15)));
        assert!(limit.leaves_more(at(5), at(14)) && !limit.leaves_more(at(5), at(15)));
        let left = |lifetime, now| limit.cut(Duration::from_secs(lifetime), at(5), now).as_millis();
        assert_eq!(
            (left(7, at(5)), left(20, at(5)), left(20, at(12)), left(20, at(99))),
            (7_000, 10_000, 3_000, 0)
        );
    }
}
