//! Where sessions, verifications and counts are kept besides the database, or instead of it: Redis, Valkey, or what an
//! application brings.
//!
//! Keys and values are upstream's, so that a Node instance can share the storage. A transaction cannot reach it: what
//! there is to tell is told once the transaction is committed, and before the reply. Of two who change the same value
//! none undoes what the other did, which takes one step more than upstream has: a value is replaced only if it is
//! still the one that was read.
//!
//! Upstream: `db/internal-adapter.ts`, `packages/redis-storage`.

#[cfg(feature = "redis")]
mod redis;
mod sessions;
mod verifications;

#[cfg(feature = "redis")]
pub use self::redis::RedisStorage;

pub(crate) use self::sessions::Found;

use crate::{
    config::Config,
    env::BoxFuture,
    error::{BoxError, Error, Result},
    meters,
    model::{Account, Session, Verification},
    store::{Model as _, Record, Store},
    time::Time,
};
use serde_json::{Map, Value as Json};
use std::{num::NonZeroU32, sync::Arc, time::Duration};

/// How often a value that others change at the same time is tried: each time one of them has got on.
const TRIES: u32 = 128;
/// How long a session lives that ends with the browser.
const DAY: Duration = Duration::from_hours(24);

/// A store of texts by key, which forgets them when their time is over. An error is one the caller can only try
/// again after: the client gets a 503.
pub trait SecondaryStorage: Send + Sync + 'static {
    /// What is under a key.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<String>, BoxError>>;

    /// Puts `value` under a key for so many seconds.
    fn set<'a>(
        &'a self,
        key: &'a str,
        value: &'a str,
        seconds: NonZeroU32,
    ) -> BoxFuture<'a, Result<(), BoxError>>;

    /// Puts `value` under a key for so many seconds, or nothing, if what is there is still `expected`, in one step.
    /// Answers whether it was.
    fn replace<'a>(
        &'a self,
        key: &'a str,
        expected: Option<&'a str>,
        value: Option<(&'a str, NonZeroU32)>,
    ) -> BoxFuture<'a, Result<bool, BoxError>>;

    /// Forgets a key.
    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), BoxError>>;

    /// Forgets a key and answers what was there, in one step: of several who ask at once one gets it.
    fn get_and_delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<String>, BoxError>>;

    /// Adds one to the number under a key, in one step; a new one lives for so many seconds.
    fn increment<'a>(&'a self, key: &'a str, seconds: NonZeroU32) -> BoxFuture<'a, Result<u64, BoxError>>;
}

/// The storage, and what is in the database as well.
pub(crate) struct Secondary {
    storage: Arc<dyn SecondaryStorage>,
    sessions_in_database: bool,
    preserves_sessions: bool,
    verifications_in_database: bool,
    /// As long as this a session may live that was made before somebody ended all of a user's.
    longest_session: Duration,
}

/// What a transaction has to tell once it is committed.
#[derive(Debug)]
pub(crate) enum Told {
    /// Somebody signed in, with the password of `account` if there is one.
    SessionMade {
        session: Map<String, Json>,
        token: String,
        user_id: String,
        expires_at: Time,
        account: Option<Box<Account>>,
    },
    /// Some columns of a session have other values, in the database too.
    SessionChanged { token: String, columns: Record },
    /// A session has ended, if it was this user's.
    SessionEnded { token: String, of: Option<String> },
    /// All sessions of a user that were made before have ended, among them those the database knew.
    AllEnded { user_id: String, before: Time, known: Vec<String> },
    /// All sessions of a user but one have ended, among them those the database knew.
    OthersEnded { user_id: String, token: String, known: Vec<String> },
    /// A user is another than the sessions remember.
    UserChanged { user_id: String },
    /// Something waits to be redeemed.
    Issued { identifier: String, value: Map<String, Json>, expires_at: Time },
    /// Nothing waits under this identifier any more.
    Redeemed { identifiers: Vec<String> },
}

impl Secondary {
    pub(crate) fn new(storage: Arc<dyn SecondaryStorage>, config: &Config) -> Self {
        let session = &config.session;
        Self {
            storage,
            sessions_in_database: session.store_session_in_database,
            preserves_sessions: session.preserve_session_in_database,
            verifications_in_database: config.verification.store_in_database,
            longest_session: Duration::from_secs(session.expires_in.into()).max(DAY),
        }
    }

    /// Whether sessions are in the database as well.
    pub(crate) fn has_sessions_in_database(&self) -> bool {
        self.sessions_in_database
    }

    /// Whether a session that has ended stays in the database, as something that was.
    pub(crate) fn preserves_sessions(&self) -> bool {
        self.preserves_sessions
    }

    /// Whether the database is asked for a session that is not here.
    pub(crate) fn falls_back(&self) -> bool {
        self.sessions_in_database && !self.preserves_sessions
    }

    /// Whether verifications are in the database as well.
    pub(crate) fn has_verifications_in_database(&self) -> bool {
        self.verifications_in_database
    }

    /// Whether the database has no table of this name.
    pub(crate) fn replaces(&self, table: &str) -> bool {
        match table {
            Session::TABLE => !self.sessions_in_database,
            Verification::TABLE => !self.verifications_in_database,
            _ => false,
        }
    }

    /// Whether it answers.
    pub(crate) async fn ping(&self) -> bool {
        self.storage.get("ready").await.map_err(away).is_ok()
    }

    /// Counts under a key; the first count of a window begins it.
    pub(crate) async fn count(&self, key: &str, window: NonZeroU32) -> Result<u64> {
        self.storage.increment(key, window).await.map_err(away)
    }

    /// Everything is told, whatever becomes of some of it; the first failure is the answer.
    pub(crate) async fn tell(&self, store: &Store, told: Vec<Told>) -> Result<()> {
        let mut outcome = Ok(());
        for told in told {
            let told = self.tell_one(store, told).await;
            outcome = outcome.and(told);
        }
        outcome
    }

    async fn tell_one(&self, store: &Store, told: Told) -> Result<()> {
        let now = store.now();
        match told {
            Told::SessionMade { session, token, user_id, expires_at, account } => {
                self.session_made(store, session, &token, &user_id, expires_at, account.as_deref()).await
            }
            Told::SessionChanged { token, columns } => {
                self.change_session(store.resolved::<Session>()?, &token, &columns, now).await.map(drop)
            }
            Told::SessionEnded { token, of } => self.session_ended(store, &token, of.as_deref()).await,
            Told::AllEnded { user_id, before, known } => self.all_ended(&user_id, before, known, now).await,
            Told::OthersEnded { user_id, token, known } => {
                self.others_ended(&user_id, &token, known, now).await
            }
            Told::UserChanged { user_id } => self.user_changed(store, &user_id, now).await,
            Told::Issued { identifier, value, expires_at } => {
                self.issued(&identifier, value, expires_at, now).await
            }
            Told::Redeemed { identifiers } => self.redeemed(&identifiers).await,
        }
    }

    /// Changes the text under a key: `change` makes another of it, or nothing, or leaves it alone with an answer.
    async fn edit<T>(&self, key: &str, mut change: impl FnMut(Option<&str>) -> Edit<T> + Send) -> Result<T> {
        for _ in 0..TRIES {
            let there = self.storage.get(key).await.map_err(away)?;
            let edit = change(there.as_deref());
            if let Some(answer) = self.try_edit(key, there.as_deref(), edit).await? {
                return Ok(answer);
            }
        }
        Err(contended())
    }

    /// Makes of the text under a key what it is to become, if it still is `there`; nothing when it is another by now.
    async fn try_edit<T>(&self, key: &str, there: Option<&str>, edit: Edit<T>) -> Result<Option<T>> {
        let (value, answer) = match edit {
            Edit::Leave(answer) => return Ok(Some(answer)),
            Edit::Forget(answer) => (None, answer),
            Edit::Put(text, seconds, answer) => (Some((text, seconds)), answer),
        };
        let value = value.as_ref().map(|(text, seconds)| (text.as_str(), *seconds));
        Ok(self.storage.replace(key, there, value).await.map_err(away)?.then_some(answer))
    }
}

fn contended() -> Error {
    Error::busy(Away("others change the same value all the time".into()))
}

/// What becomes of a text, and what the caller is told.
enum Edit<T> {
    Leave(T),
    Forget(T),
    Put(String, NonZeroU32, T),
}

/// Whole seconds that are left, if there are any.
fn seconds_until(end: Time, now: Time) -> Option<NonZeroU32> {
    let seconds = (end.millis() - now.millis()) / 1_000;
    NonZeroU32::new(u32::try_from(seconds.max(0)).unwrap_or(u32::MAX))
}

fn away(error: BoxError) -> Error {
    meters::secondary_failures().increment(1);
    Error::busy(Away(error))
}

/// What the log says.
#[derive(Debug, thiserror::Error)]
#[error("the secondary storage does not answer")]
struct Away(#[source] BoxError);
