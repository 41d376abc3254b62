use serde::Deserialize;

/// `[session]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SessionOptions {
    /// How long a session lives without being used, in seconds.
    pub expires_in: u32,
    /// A session used this long after its last renewal is renewed, in seconds.
    pub update_age: u32,
    /// How long after signing in a session may do what is delicate, in seconds; 0 for as long as it lives.
    pub fresh_age: u32,
    /// Never renew a session.
    pub disable_session_refresh: bool,
    /// Asking for the session never writes; posting renews it.
    pub defer_session_refresh: bool,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            expires_in: 604_800,
            update_age: 86_400,
            fresh_age: 86_400,
            disable_session_refresh: false,
            defer_session_refresh: false,
        }
    }
}

/// Browsers refuse cookies that live longer than 400 days, and upstream refuses to make them.
const LONGEST_COOKIE: u32 = 34_560_000;

impl SessionOptions {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        if self.expires_in == 0 || self.expires_in > LONGEST_COOKIE {
            problems.push(format!(
                "session.expires-in = {}: must be 1 to {LONGEST_COOKIE} seconds",
                self.expires_in
            ));
        }
    }
}
