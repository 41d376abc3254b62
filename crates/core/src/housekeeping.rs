//! Housekeeping: what has ended and nobody asks for any more is deleted, a little at a time.
//!
//! It is begun by a write, at most once a minute, beside the request, and never by a timer: who is idle stays idle, and
//! so does a database that sleeps when nobody asks it. Each look deletes so much and no more; what is left waits for the
//! next. Several processes that look at once delete different rows, or the same ones once.

use crate::{
    error::chain,
    model::{RateLimit, Session, Verification, audit, guesses},
    plugin::ClearFn,
    store::{Column, Filter, Model, Order, Select, Store, StoreError},
    time::Time,
};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

/// How long what has ended is left alone after a look at it.
const BETWEEN: Duration = Duration::from_mins(1);
/// Rows deleted in one statement: it holds a lock that others wait for.
const DELETED_AT_ONCE: u32 = 500;
/// Statements of one look at one table.
const STATEMENTS: u32 = 20;
/// Sessions that one statement looks at: no index says which have ended.
const LOOKED_AT: u32 = 1_000;
/// How far from one look to the next the time moves that is believed. A clock that was set ten years ahead would have
/// everything deleted that there is; so it has to be wrong for as many minutes as days, with somebody writing.
const BELIEVED: Duration = Duration::from_hours(25);
/// How long a session that has ended is kept. Upstream keeps it until somebody comes with its token.
const GRACE: Duration = Duration::from_hours(7 * 24);

/// When something is to be done next, in milliseconds.
pub(crate) struct Due(AtomicI64);

impl Default for Due {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

impl Due {
    /// Whether whoever asks is to do it now: nobody else is told so for a while.
    pub(crate) fn is_now(&self, now: Time) -> bool {
        let (due, next) = (self.0.load(Ordering::Relaxed), (now + BETWEEN).millis());
        // Further ahead than it is ever set: a clock has been set back.
        let is_now = due <= now.millis() || due > next;
        is_now && self.0.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn is_first(&self) -> bool {
        self.0.load(Ordering::Relaxed) == i64::MIN
    }
}

/// What there is to be deleted.
#[derive(Default)]
pub(crate) struct Housekeeping {
    /// Sessions, where the database has them and they are not to stay.
    pub(crate) sessions: bool,
    /// Verifications, where they are not to stay.
    pub(crate) verifications: bool,
    /// Counts of wrong passwords that have been quiet for so long.
    pub(crate) guesses: Option<Duration>,
    /// Counts of requests that were last added to so long ago.
    pub(crate) requests: Option<Duration>,
    /// What was written down so long ago.
    pub(crate) audit: Option<Duration>,
    /// What plugins have, by its table.
    pub(crate) others: Vec<(&'static str, Arc<ClearFn>)>,
    pub(crate) due: Due,
    /// The time of the last look, in milliseconds, as far as it was believed.
    pub(crate) believed: AtomicI64,
    /// Whether somebody is at it, whose own writes are no reason to look again.
    pub(crate) is_busy: AtomicBool,
    /// The last session that was looked at.
    pub(crate) looked_up_to: Mutex<String>,
}

impl Housekeeping {
    /// Somebody has written: looks around, beside them, if it is time.
    pub(crate) fn after_write(store: &Store) {
        let (now, ours) = (store.now(), store.housekeeping());
        if ours.is_busy.load(Ordering::Relaxed) {
            return;
        }
        let (is_first, is_now) = (ours.due.is_first(), ours.due.is_now(now));
        // A server that has just started has made nothing that could end.
        if is_first {
            ours.believed.store(now.millis(), Ordering::Relaxed);
        }
        if is_first || !is_now {
            return;
        }
        let now = now.min(Time::from_millis(ours.believed.load(Ordering::Relaxed)) + BELIEVED);
        ours.believed.store(now.millis(), Ordering::Relaxed);
        ours.is_busy.store(true, Ordering::Relaxed);
        let store = store.clone();
        store.env().clone().spawn(async move {
            let ours = store.housekeeping();
            ours.look(&store, now).await;
            ours.is_busy.store(false, Ordering::Relaxed);
        });
    }

    /// One table that cannot be cleared keeps no other from it.
    async fn look(&self, store: &Store, now: Time) {
        if let Some(quiet_period) = self.guesses {
            told(delete(store, &guesses::stale(now, quiet_period)).await, "wrong passwords");
        }
        if let Some(longest) = self.requests {
            let (then, ahead) = ((now - longest).millis(), (now + longest).millis());
            // A clock that was wrong may have dated it ahead.
            let old = RateLimit::LAST_REQUEST.lt(then).or(RateLimit::LAST_REQUEST.gt(ahead));
            told(delete(store, &old).await, "requests");
        }
        if let Some(retention) = self.audit {
            told(delete(store, &audit::before(now - retention)).await, "audit log");
        }
        for (table, clear) in &self.others {
            told(clear(store, now).await, table);
        }
        if self.verifications {
            told(delete(store, &Verification::EXPIRES_AT.lt(now - GRACE)).await, "verifications");
        }
        if self.sessions {
            told(self.delete_sessions(store, now - GRACE).await, "sessions");
        }
    }

    /// Looks at some sessions after those of the last look, in the order of their ids, and deletes those that ended
    /// before `then`. Looking at all of them would hold up who writes, for as long as there are sessions.
    async fn delete_sessions(&self, store: &Store, then: Time) -> Result<(), StoreError> {
        const KEY: Column<Session, String> = Session::ID;
        for _ in 0..STATEMENTS {
            let from = self.looked_up_to.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let rest = if from.is_empty() { Filter::everything() } else { KEY.gt(from) };
            let last = Select::matching(rest.clone()).order_by(KEY, Order::Ascending);
            let last = store.list(last.limit(1).offset(LOOKED_AT - 1)).await?.pop();
            let page = match &last {
                Some(last) => rest.and(KEY.lte(&last.id)),
                None => rest,
            };
            let is_end = last.is_none();
            let up_to = last.map(|last| last.id).unwrap_or_default();
            // Before they are deleted: what cannot be keeps the next look from nothing.
            *self.looked_up_to.lock().unwrap_or_else(PoisonError::into_inner) = up_to;
            store.delete(page.and(Session::EXPIRES_AT.lt(then))).await?;
            if is_end {
                break;
            }
        }
        Ok(())
    }
}

fn told(outcome: Result<(), StoreError>, what: &'static str) {
    if let Err(error) = outcome {
        tracing::warn!(error = chain(&error), what, "what has ended could not be deleted");
    }
}

/// Deletes what matches, a few rows at a time and only so many.
pub(crate) async fn delete<M: Model>(store: &Store, filter: &Filter<M>) -> Result<(), StoreError> {
    for _ in 0..STATEMENTS {
        if store.delete_some(filter.clone(), DELETED_AT_ONCE).await? < DELETED_AT_ONCE.into() {
            break;
        }
    }
    Ok(())
}
