//! What the outside world decides, decided by the test: time, chance, mail, and other servers.

use bytes::Bytes;
use http::{Request, Response};
use narthex::{BoxError, BoxFuture, Clock, Entropy, Fetch, Mail, Mailer, Time, Timer};
use serde_json::Value;
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, watch};

/// How long a test waits for something that happens beside it.
const PATIENCE: Duration = Duration::from_secs(5);

/// A clock that moves when it is told to. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FixedClock(Arc<AtomicI64>);

impl Default for FixedClock {
    fn default() -> Self {
        // 2026-01-02T03:04:05.678Z: every part differs, so that a swapped one shows.
        Self(Arc::new(AtomicI64::new(1_767_323_045_678)))
    }
}

impl FixedClock {
    /// Moves on.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).expect("a test's span fits"), Ordering::SeqCst);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Time {
        Time::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// A timer that does not wait, and tells how long it was to. Cheap to clone.
#[derive(Debug, Clone)]
pub struct InstantTimer {
    asked: Arc<Mutex<Vec<Duration>>>,
    stopped: watch::Sender<bool>,
}

impl Default for InstantTimer {
    fn default() -> Self {
        Self { asked: Arc::default(), stopped: watch::Sender::new(false) }
    }
}

impl InstantTimer {
    /// How long it was asked to wait since this was asked last.
    pub fn asked(&self) -> Vec<Duration> {
        std::mem::take(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whoever waits from now on waits until [`Self::go_on`].
    pub fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// Everybody's time is over.
    pub fn go_on(&self) {
        self.stopped.send_replace(false);
    }

    /// Returns when so many wait.
    pub async fn until_waiting(&self, number: usize) {
        let arrival = async {
            while self.stopped.receiver_count() < number {
                tokio::task::yield_now().await;
            }
        };
        let arrived = tokio::time::timeout(PATIENCE, arrival).await;
        assert!(arrived.is_ok(), "{} wait, not {number}", self.stopped.receiver_count());
    }
}

impl Timer for InstantTimer {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(duration);
        let mut stopped = self.stopped.subscribe();
        Box::pin(async move {
            // An error says that the test has ended.
            let _ = stopped.wait_for(|stopped| !stopped).await;
        })
    }
}

/// The same bytes in every run, and no eight of them twice: `SplitMix64`, a permutation of its counter.
#[derive(Debug)]
pub struct SeededEntropy(AtomicU64);

impl SeededEntropy {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    fn next(&self) -> u64 {
        let mut word = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

/// Every message that was sent and not read yet. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Inbox {
    letters: Arc<Mutex<Vec<Mail>>>,
    arrived: Arc<Notify>,
}

/// A message that was read.
#[derive(Debug, Clone)]
pub struct Letter(pub Mail);

impl Letter {
    /// A text of its data.
    pub fn text(&self, key: &str) -> &str {
        self.0
            .data
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("{:?} has no text {key:?}", self.0))
    }

    /// The link in it.
    pub fn link(&self) -> &str {
        self.text("url")
    }
}

impl Inbox {
    /// Takes the oldest message of this kind to this address, waiting for it if need be.
    pub async fn read(&self, kind: &str, to: &str) -> Letter {
        let arrival = async {
            loop {
                let arrived = self.arrived.notified();
                if let Some(letter) = self.take(kind, to) {
                    return letter;
                }
                arrived.await;
            }
        };
        let letter = tokio::time::timeout(PATIENCE, arrival).await;
        letter.unwrap_or_else(|_| panic!("no {kind:?} for {to:?}; unread: {:?}", self.unread()))
    }

    /// What was sent and not read, as `kind to`.
    pub fn unread(&self) -> Vec<String> {
        self.lock().iter().map(|mail| format!("{} {}", mail.kind, mail.to)).collect()
    }

    fn take(&self, kind: &str, to: &str) -> Option<Letter> {
        let mut letters = self.lock();
        let position = letters.iter().position(|mail| mail.kind == kind && mail.to == to)?;
        Some(Letter(letters.remove(position)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Mail>> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mailer for Inbox {
    fn send(&self, mail: Mail) -> BoxFuture<'_, Result<(), BoxError>> {
        self.lock().push(mail);
        self.arrived.notify_waiters();
        Box::pin(async { Ok(()) })
    }
}

/// Other servers, as the test has written them down. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ScriptedFetch {
    script: Arc<Mutex<Script>>,
}

#[derive(Debug, Default)]
struct Script {
    answers: VecDeque<(String, Response<Bytes>)>,
    seen: Vec<Request<Bytes>>,
}

impl ScriptedFetch {
    /// The next request must be this one, such as `GET https://example.com/keys`, and is answered so.
    pub fn answer(&self, request: &str, response: Response<Bytes>) {
        self.lock().answers.push_back((request.to_owned(), response));
    }

    /// The requests that were made since this was asked last.
    pub fn seen(&self) -> Vec<Request<Bytes>> {
        std::mem::take(&mut self.lock().seen)
    }

    /// Answers that nobody has asked for.
    pub(crate) fn unused(&self) -> Vec<String> {
        self.lock().answers.iter().map(|(request, _)| request.clone()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fetch for ScriptedFetch {
    fn fetch(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, BoxError>> {
        let line = format!("{} {}", request.method(), request.uri());
        let mut script = self.lock();
        script.seen.push(request);
        let answer = match script.answers.pop_front() {
            Some((expected, response)) if expected == line => Ok(response),
            Some((expected, _)) => Err(format!("the test expected {expected}, not {line}").into()),
            None => Err(format!("the test expected no request, but there was {line}").into()),
        };
        Box::pin(async { answer })
    }
}
