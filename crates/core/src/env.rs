//! What the outside world decides: time, chance, and what leaves the process.
//!
//! Nothing below this module asks the operating system for any of it, so every test is deterministic.

use crate::{error::BoxError, time::Time};
use bytes::Bytes;
use serde::Serialize;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A future that can be stored.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Time;
}

/// Lets time pass.
pub trait Timer: Send + Sync + 'static {
    /// Returns when so much time has passed.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// Unguessable bytes.
pub trait Entropy: Send + Sync + 'static {
    /// Fills all of `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// Delivers messages.
pub trait Mailer: Send + Sync + 'static {
    /// Hands one message over.
    fn send(&self, mail: Mail) -> BoxFuture<'_, Result<(), BoxError>>;
}

/// Makes requests to other servers.
pub trait Fetch: Send + Sync + 'static {
    /// Sends one request.
    fn fetch(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Bytes>, BoxError>>;
}

/// Everything the outside world decides. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Lets time pass.
    pub timer: Arc<dyn Timer>,
    /// Unguessable bytes.
    pub entropy: Arc<dyn Entropy>,
    /// Delivers messages.
    pub mailer: Arc<dyn Mailer>,
    /// Makes requests to other servers.
    pub fetch: Arc<dyn Fetch>,
}

impl Env {
    /// The operating system's clock, timer and entropy. Mail and requests to other servers fail, with an error that
    /// says so, until the application puts its own in their place.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(System),
            timer: Arc::new(System),
            entropy: Arc::new(System),
            mailer: Arc::new(System),
            fetch: Arc::new(System),
        }
    }

    /// Runs `work` on its own; it goes on when whoever started it leaves.
    #[expect(clippy::disallowed_methods, reason = "this is where tasks are started")]
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        tokio::spawn(work)
    }

    /// `length` characters out of `alphabet`, each as likely as any other.
    pub(crate) fn random_text(&self, length: usize, alphabet: &[u8]) -> String {
        let mut text = String::with_capacity(length);
        // The largest multiple of the alphabet's size that a byte can count to: beyond it, characters would differ
        // in likelihood.
        let bound = 256 - 256 % alphabet.len().clamp(1, 256);
        let mut bytes = [0; 64];
        while text.len() < length {
            self.entropy.fill(&mut bytes);
            let usable = bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < bound);
            let letters = usable.filter_map(|byte| alphabet.get(byte % alphabet.len()));
            text.extend(letters.take(length - text.len()).map(|letter| char::from(*letter)));
        }
        text
    }
}

struct System;

impl Clock for System {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> Time {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Time::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

impl Timer for System {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

impl Entropy for System {
    #[expect(
        clippy::disallowed_methods,
        clippy::expect_used,
        reason = "without entropy nothing here is safe to do"
    )]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system has entropy");
    }
}

impl Mailer for System {
    fn send(&self, mail: Mail) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move {
            Err(format!("no mail transport is set up, so \"{}\" was not sent", mail.kind).into())
        })
    }
}

impl Fetch for System {
    fn fetch(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Bytes>, BoxError>> {
        Box::pin(async move { Err(format!("no HTTP client is set up to reach {}", request.uri()).into()) })
    }
}

/// A message to a person.
#[derive(Clone)]
pub struct Mail {
    /// What it is about: `verify-email`, `reset-password`, …
    pub kind: &'static str,
    /// Whom it goes to.
    pub to: String,
    /// What its text is made of.
    pub data: serde_json::Map<String, serde_json::Value>,
}

// Its data holds links and codes that are as good as a password.
impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail").field("kind", &self.kind).field("to", &self.to).finish_non_exhaustive()
    }
}

impl Mail {
    /// A message without data yet.
    pub fn new(kind: &'static str, to: impl Into<String>) -> Self {
        Self { kind, to: to.into(), data: serde_json::Map::new() }
    }

    /// Adds a value its text needs.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Serialize) -> Self {
        // Only maps with keys that are no strings cannot be written as JSON.
        self.data.insert(key.to_owned(), serde_json::to_value(value).unwrap_or_default());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU8, Ordering};

    struct Counting(AtomicU8);
    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill_with(|| self.0.fetch_add(1, Ordering::Relaxed));
        }
    }

    #[test]
    fn random_text_uses_every_letter_equally_often() {
        let env = Env { entropy: Arc::new(Counting(AtomicU8::new(0))), ..Env::system() };
        // 256 = 85 * 3 + 1: the last byte value has to be skipped.
        let text = env.random_text(255, b"abc");
        for letter in ["a", "b", "c"] {
            assert_eq!(text.matches(letter).count(), 85);
        }
    }
}
