//! Guessing a password: each account has so many attempts, whoever makes them and from wherever.
//!
//! An attempt is counted before the password is compared, by one statement that all processes share, and a right
//! password takes the count back: whatever is cut off in between, no more passwords are compared than were counted.
//! Accounts that do not exist are counted alike. The count is kept under a keyed hash, so neither the table nor a
//! copy of it says which addresses were tried.
//!
//! What is counted but not decided yet looks like a failure. So that many right passwords at once do not look like
//! an attack, an account has a lane of limited width in each process, and what is in it does not count as failed.

use crate::{
    config::PasswordOptions,
    context::Ctx,
    crypto::{derive_key, hash_pool::Busy, hmac_sha256},
    error::{Error, Result, chain},
    happening::Happening,
    model::{Guesses, users::normalize},
    secret::Secret,
    store::Store,
    time::Time,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use http::StatusCode;
use sha2::Sha256;
use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What the key is for, so that no other use of the secret makes the same one.
const PURPOSE: &[u8] = b"narthex password guesses";
/// Bytes of the hash that name an account: enough that no two share one.
const KEY_BYTES: usize = 18;
/// The first delay; each further failure doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// The longest.
const LONGEST_DELAY: Duration = Duration::from_secs(4);
/// Attempts that are delayed at one time. Each is a waiting task; nothing else is held for it.
const DELAYED_AT_ONCE: usize = 256;

/// A password that somebody has entered, and whose it may be.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// What has happened when it is wrong: [`Happening::SIGN_IN_FAILED`], [`Happening::PASSWORD_CHECK_FAILED`].
    pub told_as: &'static str,
    /// Whom they named, in any spelling: the address, the name or the number, also where nobody has it.
    pub account: &'a str,
    /// The user of that name, where there is one.
    pub user_id: Option<&'a str>,
    /// The hash of their password, where there is one.
    pub stored: Option<&'a str>,
}

/// Names accounts by keyed hashes, so that neither a table nor a copy of it says who was tried.
#[derive(Clone)]
pub(crate) struct AccountHashes(Hmac<Sha256>);

impl AccountHashes {
    pub(crate) fn new(secret: &str) -> Self {
        Self(hmac_sha256(&*derive_key(secret.as_bytes(), PURPOSE)))
    }

    pub(crate) fn of(&self, account: &str) -> String {
        let hash = self.0.clone().chain_update(normalize(account)).finalize().into_bytes();
        URL_SAFE_NO_PAD.encode(hash.get(..KEY_BYTES).unwrap_or(&hash))
    }
}

/// What came of comparing a password.
enum Compared {
    Right,
    Wrong {
        /// No more are compared for a while.
        is_last: bool,
    },
}

/// Counts attempts and says which are too many.
pub(crate) struct Guessing {
    max_failures: i64,
    delay_after: i64,
    quiet_period: Duration,
    lanes: Arc<Lanes>,
    delayed: Semaphore,
}

/// An account whose failures are to be forgotten.
pub(crate) struct Forgiven {
    pub(crate) key: String,
    /// Its attempt is in the lane until then.
    turn: Option<Turn>,
}

/// The attempts that are under way, by account.
struct Lanes {
    open: Mutex<HashMap<String, Arc<Semaphore>>>,
    /// Attempts at one account at a time.
    width: usize,
    waiting: AtomicUsize,
    /// Attempts that may wait for their turn, at all accounts together.
    queue: usize,
}

/// A place in an account's lane, or in the queue before it.
struct Turn {
    lanes: Arc<Lanes>,
    key: String,
    lane: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Guessing {
    /// `None` where nothing is counted.
    pub(crate) fn new(options: &PasswordOptions, threads: NonZeroUsize) -> Option<Self> {
        if options.max_failures == 0 {
            return None;
        }
        // Twice the threads keeps them busy while sessions are written; beyond a quarter of the limit, what is in the
        // lanes of several processes could reach it.
        let most = usize::try_from(options.max_failures / 4).unwrap_or(usize::MAX).max(1);
        let lanes = Lanes {
            open: Mutex::default(),
            width: threads.get().saturating_mul(2).min(most),
            waiting: AtomicUsize::new(0),
            queue: options.queue,
        };
        Some(Self {
            max_failures: options.max_failures.into(),
            delay_after: options.delay_after.into(),
            quiet_period: Duration::from_secs(options.quiet_period.into()),
            lanes: Arc::new(lanes),
            delayed: Semaphore::new(DELAYED_AT_ONCE),
        })
    }

    /// Counts an attempt; answers how many failures it comes after and whether it is the last one allowed, or refuses
    /// it.
    async fn count(&self, store: &Store, turn: &Turn, now: Time) -> Result<(i64, bool)> {
        let guesses = Guesses::new(store);
        if let Some(guess) = guesses.count(&turn.key, now, self.quiet_period, self.max_failures).await? {
            let before = guess.failures.saturating_sub(1).saturating_sub(turn.others());
            return Ok((before, guess.failures >= self.max_failures));
        }
        // Forgiven meanwhile: try again at once.
        let over =
            guesses.by_key(&turn.key).await?.map_or(now, |guess| guess.last_attempt + self.quiet_period);
        let left = u64::try_from(over.millis().saturating_sub(now.millis())).unwrap_or(0);
        Err(Error::too_many_attempts(Duration::from_millis(left)))
    }

    /// How long an attempt after so many failures waits.
    fn delay(&self, failures: i64) -> Option<Duration> {
        let beyond = failures.checked_sub(self.delay_after).filter(|_| self.delay_after > 0)?;
        let doublings = u32::try_from(beyond.clamp(-1, 16)).ok()?;
        Some(FIRST_DELAY.saturating_mul(1 << doublings).min(LONGEST_DELAY))
    }
}

impl Ctx {
    /// Checks a password that somebody has entered; the only way for an endpoint to do so.
    ///
    /// Without a stored hash the work is the same and the password is wrong. Enough wrong ones delay the answer,
    /// too many are refused with 429, and a right one makes the request's next transaction, or its end, forget them.
    /// What is not right is told.
    pub async fn check_password(&mut self, attempt: Attempt<'_>, password: &Secret) -> Result<bool> {
        let account = self.account_hash(attempt.account);
        let compared = self.compare(&account, attempt.stored, password).await;
        let failed = |reason| {
            let failed = Happening::failed(attempt.told_as, reason).account(account.clone());
            failed.of(attempt.user_id.unwrap_or_default())
        };
        match compared {
            Ok(Compared::Right) => return Ok(true),
            Ok(Compared::Wrong { is_last }) => {
                self.happened(failed(Happening::WRONG_CREDENTIALS)).await;
                if is_last {
                    let locked = failed(Happening::TOO_MANY_GUESSES);
                    self.happened(Happening { name: Happening::ACCOUNT_LOCKED, ..locked }).await;
                }
            }
            Err(error) => {
                if error.status() == StatusCode::TOO_MANY_REQUESTS {
                    self.happened(failed(Happening::TOO_MANY_GUESSES).routine()).await;
                }
                return Err(error);
            }
        }
        Ok(false)
    }

    async fn compare(&mut self, key: &str, stored: Option<&str>, password: &Secret) -> Result<Compared> {
        let engine = Arc::clone(&self.engine);
        let Some(guessing) = &engine.guessing else {
            let is_right = self.verify(stored, password).await?;
            return Ok(if is_right { Compared::Right } else { Compared::Wrong { is_last: false } });
        };
        // A request that checks twice must not wait for itself.
        self.forgiven.iter_mut().for_each(|forgiven| forgiven.turn = None);
        let turn = guessing.lanes.enter(key.to_owned()).await?;
        engine.hashing.expect_room().map_err(Error::busy)?;
        let (failures, is_last) = guessing.count(self.store(), &turn, self.now()).await?;
        if let Some(delay) = guessing.delay(failures) {
            let Ok(_place) = guessing.delayed.try_acquire() else {
                Guesses::new(self.store()).take_back(&turn.key).await?;
                return Err(Error::too_many_attempts(delay));
            };
            engine.env.timer.sleep(delay).await;
        }
        match self.verify(stored, password).await {
            Ok(true) => {
                self.forgiven.push(Forgiven { key: turn.key.clone(), turn: Some(turn) });
                Ok(Compared::Right)
            }
            Ok(false) => Ok(Compared::Wrong { is_last }),
            Err(error) => {
                // Nothing was compared.
                Guesses::new(self.store()).take_back(&turn.key).await?;
                Err(error)
            }
        }
    }

    /// Makes the request's next transaction, or its end, forget the wrong passwords of an account: its owner has
    /// proven themselves in another way.
    pub fn forgive(&mut self, account: &str) {
        if self.engine.guessing.is_some() {
            let key = self.account_hash(account);
            self.forgiven.push(Forgiven { key, turn: None });
        }
    }

    /// Forgets what no transaction has forgotten.
    pub(crate) async fn forget_failures(&mut self) {
        for forgiven in std::mem::take(&mut self.forgiven) {
            // Boxed, so that a request that forgives nothing carries no room for it.
            if let Err(error) = Box::pin(Guesses::new(self.store()).forget(&forgiven)).await {
                tracing::warn!(error = chain(&error), "the failures of an account could not be forgotten");
            }
        }
    }
}

impl Lanes {
    /// Waits for a place; 503 when too many do.
    async fn enter(self: &Arc<Self>, key: String) -> Result<Turn> {
        let lane = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(open.entry(key.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.width))))
        };
        let mut turn = Turn { lanes: Arc::clone(self), key, lane, permit: None };
        if let Ok(permit) = Arc::clone(&turn.lane).try_acquire_owned() {
            turn.permit = Some(permit);
            return Ok(turn);
        }
        let waiting = Waiting::new(&self.waiting);
        if waiting.before >= self.queue {
            return Err(Error::busy(Busy));
        }
        let permit = Arc::clone(&turn.lane).acquire_owned().await.map_err(Error::internal)?;
        turn.permit = Some(permit);
        Ok(turn)
    }
}

/// Counts itself while it lives, also when the request is given up.
struct Waiting<'a> {
    counter: &'a AtomicUsize,
    before: usize,
}

impl<'a> Waiting<'a> {
    fn new(counter: &'a AtomicUsize) -> Self {
        Self { counter, before: counter.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.counter.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turn {
    /// Attempts at the account that are under way besides this one.
    fn others(&self) -> i64 {
        let free = self.lane.available_permits();
        i64::try_from(self.lanes.width.saturating_sub(free + 1)).unwrap_or(i64::MAX)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut open = self.lanes.open.lock().unwrap_or_else(PoisonError::into_inner);
        self.permit = None;
        // Held by the map and by us: places are given out under the lock, so nobody else comes now.
        if Arc::strong_count(&self.lane) == 2 {
            open.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guessing(change: impl FnOnce(&mut PasswordOptions)) -> Guessing {
        let mut options = PasswordOptions::default();
        change(&mut options);
        Guessing::new(&options, NonZeroUsize::MIN.saturating_add(1)).expect("it is on")
    }

    #[test]
    fn the_delay_doubles_from_the_tenth_failure_to_four_seconds() {
        let guessing = guessing(|_| {});
        let delays = [0, 9, 10, 11, 12, 13, 14, 15, 99, i64::MAX].map(|failures| guessing.delay(failures));
        let delays = delays.map(|delay| delay.map_or(0, |delay| delay.as_millis()));
        assert_eq!(delays, [0, 0, 250, 500, 1000, 2000, 4000, 4000, 4000, 4000]);
        let undelayed = self::guessing(|options| options.delay_after = 0);
        assert_eq!(undelayed.delay(99), None);
    }

    #[test]
    fn a_key_is_one_accounts_under_one_secret_in_any_spelling() {
        let (one, other) = (AccountHashes::new("a secret"), AccountHashes::new("another secret"));
        assert_eq!(one.of("ada@example.com"), one.of("Ada@EXAMPLE.com"));
        assert_ne!(one.of("ada@example.com"), one.of("eve@example.com"));
        assert_eq!(one.of("ada@example.com").len(), 24);
        assert_ne!(one.of("ada@example.com"), other.of("ada@example.com"));
    }

    #[tokio::test]
    async fn a_lane_is_as_wide_as_it_says_and_gone_when_nobody_is_in_it() {
        let guessing = guessing(|options| options.queue = 1);
        let lanes = &guessing.lanes;
        let mut turns = Vec::new();
        for _ in 0..lanes.width {
            turns.push(lanes.enter("a".to_owned()).await.expect("there is room"));
        }
        assert_eq!((lanes.width, turns[0].others()), (4, 3));
        let waiting = lanes.enter("a".to_owned());
        tokio::pin!(waiting);
        assert!(tokio::time::timeout(Duration::ZERO, &mut waiting).await.is_err(), "it waits");
        assert!(lanes.enter("a".to_owned()).await.is_err(), "the queue is full");
        let other = lanes.enter("b".to_owned()).await.expect("another account has a lane of its own");
        turns.pop();
        let last = waiting.await.expect("a place is free");
        drop((turns, other, last));
        assert!(lanes.open.lock().expect("nobody panicked").is_empty());
        assert_eq!(lanes.waiting.load(Ordering::Relaxed), 0);
    }
}
