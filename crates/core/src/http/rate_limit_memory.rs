//! Counting in this process: a bounded table, and a constant amount of work for each request.
//!
//! Whoever is known costs one look at the table. For a key that is new, two of those that wait in a queue are looked
//! at: one whose window is over is dropped, another sent back to the end, so that the table shrinks faster than it
//! grows and nothing is ever searched. A full table forgets the key whose turn it is, but spares those that are being
//! refused as long as it finds others.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

/// As many as upstream keeps.
const CAPACITY: usize = 100_000;
/// Keys at the head of the queue that are looked at for each new one. More than one, so that the queue is emptied
/// faster than it is filled.
const LOOKED_AT: usize = 2;
/// Keys that are looked at when there is no room.
const LOOKED_AT_WHEN_FULL: usize = 16;

/// A client, and what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Its address; everyone without one is the same client.
    pub(super) client: Option<u128>,
    pub(super) bucket: u32,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    requests: u32,
    max: u32,
    /// When the window is over, unless another request is allowed before: milliseconds.
    ends: i64,
}

#[derive(Debug)]
pub(super) struct Counters {
    inner: Mutex<Inner>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Inner {
    counts: HashMap<Key, Count>,
    /// Every key of `counts`, once.
    queue: VecDeque<Key>,
}

impl Default for Counters {
    fn default() -> Self {
        Self::with_capacity(CAPACITY)
    }
}

impl Counters {
    fn with_capacity(capacity: usize) -> Self {
        Self { inner: Mutex::default(), capacity }
    }

    /// Counts one request. A refused one is not counted: answers after how many milliseconds the window is over.
    pub(super) fn count(&self, key: Key, max: u32, window: i64, now: i64) -> Result<(), i64> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = inner.counts.get_mut(&key) else {
            inner.add(key, Count { requests: 1, max, ends: now + window }, self.capacity, now);
            return Ok(());
        };
        // A clock that was set back must not lengthen anybody's wait.
        count.ends = count.ends.min(now + window);
        if count.ends <= now {
            count.requests = 0;
        } else if count.requests >= max {
            return Err(count.ends - now);
        }
        count.requests += 1;
        count.ends = now + window;
        Ok(())
    }

    /// For how many milliseconds more the key is known to be refused. Longer than the window is nobody: a clock has been
    /// set back.
    pub(super) fn refused_for(&self, key: Key, window: i64, now: i64) -> Option<i64> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.counts.get(&key).map(|count| count.ends - now).filter(|rest| (1..=window).contains(rest))
    }

    /// Remembers that the key is refused for so long.
    pub(super) fn refuse_for(&self, key: Key, rest: i64, now: i64) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = Count { requests: 0, max: 0, ends: now + rest };
        if let Some(count) = inner.counts.get_mut(&key) {
            *count = refused;
        } else {
            inner.add(key, refused, self.capacity, now);
        }
    }

    #[cfg(test)]
    fn len(&self) -> (usize, usize) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        (inner.counts.len(), inner.queue.len())
    }
}

impl Inner {
    fn add(&mut self, key: Key, count: Count, capacity: usize, now: i64) {
        self.tidy(now);
        if self.counts.len() >= capacity {
            self.make_room(now);
        }
        self.counts.insert(key, count);
        self.queue.push_back(key);
    }

    fn tidy(&mut self, now: i64) {
        for _ in 0..LOOKED_AT {
            let Some(key) = self.queue.pop_front() else { return };
            if self.counts.get(&key).is_some_and(|count| count.ends > now) {
                self.queue.push_back(key);
            } else {
                self.counts.remove(&key);
            }
        }
    }

    fn make_room(&mut self, now: i64) {
        for looked_at in 1..=LOOKED_AT_WHEN_FULL {
            let Some(key) = self.queue.pop_front() else { return };
            let is_refused =
                self.counts.get(&key).is_some_and(|count| count.ends > now && count.requests >= count.max);
            if is_refused && looked_at < LOOKED_AT_WHEN_FULL {
                self.queue.push_back(key);
            } else {
                self.counts.remove(&key);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::HashMap as Model, thread};

    const SECOND: i64 = 1_000;

    fn key(client: u128) -> Key {
        Key { client: Some(client), bucket: 0 }
    }

    #[test]
    fn the_window_begins_anew_with_every_allowed_request() {
        let counters = Counters::default();
        let at = |now| counters.count(key(1), 3, 10 * SECOND, now);
        assert_eq!([at(0), at(8_000), at(16_000)], [Ok(()), Ok(()), Ok(())]);
        assert_eq!([at(16_001), at(25_999), at(26_000)], [Err(9_999), Err(1), Ok(())]);
        assert_eq!([at(26_000), at(26_000), at(26_000)], [Ok(()), Ok(()), Err(10_000)]);
    }

    #[test]
    fn clients_and_endpoints_are_counted_apart() {
        let counters = Counters::default();
        let count = |client, bucket| counters.count(Key { client, bucket }, 1, SECOND, 0);
        for client in [None, Some(0), Some(1)] {
            for bucket in [0, 1] {
                assert_eq!(count(client, bucket), Ok(()));
                assert_eq!(count(client, bucket), Err(SECOND));
            }
        }
    }

    #[test]
    fn a_clock_set_back_lengthens_no_wait() {
        let counters = Counters::default();
        assert_eq!(counters.count(key(1), 1, SECOND, 3_600 * SECOND), Ok(()));
        assert_eq!(counters.count(key(1), 1, SECOND, 0), Err(SECOND));
        assert_eq!(counters.count(key(1), 1, SECOND, SECOND), Ok(()));
    }

    #[test]
    fn what_is_over_is_forgotten_without_being_searched_for() {
        let counters = Counters::default();
        for client in 0..1_000 {
            assert_eq!(counters.count(key(client), 1, SECOND, 0), Ok(()));
        }
        assert_eq!(counters.len(), (1_000, 1_000));
        for client in 1_000..1_500 {
            assert_eq!(counters.count(key(client), 1, 9 * SECOND, SECOND), Ok(()));
        }
        assert_eq!(counters.len(), (500, 500));
        for client in 1_000..1_500 {
            assert!(counters.count(key(client), 1, 9 * SECOND, SECOND).is_err(), "{client} is not over yet");
        }
    }

    #[test]
    fn a_full_table_stays_full_and_spares_those_who_are_refused() {
        let counters = Counters::with_capacity(1_000);
        let refused = |client| counters.count(key(client), 3, 60 * SECOND, 0).is_err();
        for client in 0..8 {
            assert_eq!(
                [refused(client), refused(client), refused(client), refused(client)],
                [false, false, false, true]
            );
        }
        for client in 1_000..101_000 {
            assert!(!refused(client), "a new client is served");
        }
        assert_eq!(counters.len(), (1_000, 1_000));
        assert!((0..8).all(refused), "inventing addresses frees nobody");
    }

    #[test]
    fn the_default_table_is_bounded() {
        let counters = Counters::default();
        for client in 0..150_000 {
            assert_eq!(counters.count(key(client), 3, 60 * SECOND, 0), Ok(()));
        }
        assert_eq!(counters.len(), (CAPACITY, CAPACITY));
    }

    #[test]
    fn of_many_threads_exactly_so_many_pass() {
        let counters = Counters::default();
        let allowed: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| (0..100).filter(|_| counters.count(key(1), 37, SECOND, 0).is_ok()).count())
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).sum()
        });
        assert_eq!(allowed, 37);
    }

    /// What upstream decides, written down as it is there: a map that never forgets.
    #[test]
    fn every_decision_is_that_of_a_table_without_bounds() {
        let counters = Counters::default();
        let mut model: Model<u128, (u32, i64)> = Model::new();
        let (mut state, mut now) = (1_u64, 0_i64);
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let client = u128::from(state >> 60);
            now += i64::try_from((state >> 40) % 400).unwrap_or(0);
            let (count, last) = model.get(&client).copied().unwrap_or((0, i64::MIN / 2));
            let expected = if now - last >= SECOND {
                model.insert(client, (1, now));
                Ok(())
            } else if count >= 3 {
                Err(last + SECOND - now)
            } else {
                model.insert(client, (count + 1, now));
                Ok(())
            };
            assert_eq!(counters.count(key(client), 3, SECOND, now), expected);
        }
    }
}
