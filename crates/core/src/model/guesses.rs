//! Wrong passwords, counted for each account that was named, whether it exists or not.
//!
//! A row says nothing of whom it is about: its id is a keyed hash. Every write is one statement, so that any number
//! of processes count together.

use crate::{
    Result,
    guessing::Forgiven,
    model,
    store::{self, Filter, Store, Tx},
    time::Time,
};
use std::time::Duration;

model! {
    /// What is known of the attempts at one account.
    pub struct Guess in "narthexGuess" {
        /// Attempts that have failed or are not decided yet.
        FAILURES failures: i64 = big_integer("failures");
        /// When the last of them began.
        LAST_ATTEMPT last_attempt: Time = time("lastAttempt").index();
    }
}

/// The rules for guesses.
pub struct Guesses<D> {
    database: D,
}

impl<D> Guesses<D> {
    pub(crate) fn new(database: D) -> Self {
        Self { database }
    }
}

impl Guesses<&Store> {
    /// Counts an attempt, unless there have been `limit` without a quiet period since: then nothing is written and
    /// `None` comes back.
    pub(crate) async fn count(
        &self,
        key: &str,
        now: Time,
        quiet_period: Duration,
        limit: i64,
    ) -> Result<Option<Guess>> {
        let attempt = Guess {
            id: key.to_owned(),
            failures: 1,
            last_attempt: now,
            extra: store::Record::default(),
            hidden: store::Record::default(),
        };
        let stale = stale(now, quiet_period);
        Ok(self
            .database
            .tally(&attempt, Guess::ID, Guess::FAILURES, stale, Guess::FAILURES.lt(limit))
            .await?)
    }

    /// What is known of the attempts at an account.
    pub(crate) async fn by_key(&self, key: &str) -> Result<Option<Guess>> {
        Ok(self.database.find(Guess::ID.eq(key)).await?)
    }

    /// Takes an attempt back that compared nothing.
    pub(crate) async fn take_back(&self, key: &str) -> Result<()> {
        let counted = Guess::ID.eq(key).and(Guess::FAILURES.gt(0));
        self.database.add(counted, Guess::FAILURES, -1).await?;
        Ok(())
    }

    /// Forgets the failures of an account.
    pub(crate) async fn forget(&self, forgiven: &Forgiven) -> Result<()> {
        self.database.delete(Guess::ID.eq(&forgiven.key)).await?;
        Ok(())
    }
}

/// What counts no longer: it has been quiet, or a clock that was wrong has dated it further ahead than an attempt can
/// matter. Otherwise an account would be locked until that day comes.
pub(crate) fn stale(now: Time, quiet_period: Duration) -> Filter<Guess> {
    Guess::LAST_ATTEMPT.lte(now - quiet_period).or(Guess::LAST_ATTEMPT.gt(now + quiet_period))
}

impl Guesses<&mut Tx> {
    /// Forgets the failures of an account.
    pub(crate) async fn forget(&mut self, forgiven: &Forgiven) -> Result<()> {
        self.database.delete(Guess::ID.eq(&forgiven.key)).await?;
        Ok(())
    }
}
