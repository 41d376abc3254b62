//! The threads on which passwords are hashed, and the queue before them.
//!
//! At most as many hashes run as there are threads, and at most `queue` wait; one more is refused at once, so a
//! storm of sign-ins costs neither memory nor the session checks beside it. The threads are niced, first come is
//! first served, and what nobody waits for any more is not computed. What takes a few milliseconds has a queue of its
//! own, before the hashes.
//!
//! Written over std because no crate has all of it: rayon and tokio's blocking pool have no bound, `blocking`
//! neither that nor a nice value, and a semaphore before any of them would still count callers that have left.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::oneshot;

/// The pool has no room for the job, or the job failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hash pool is busy")]
pub struct Busy;

/// A bounded pool of threads for work that takes tens of milliseconds; cheap to clone.
///
/// The threads end when the last clone is dropped.
#[derive(Clone)]
pub struct HashPool {
    handle: Arc<Handle>,
}

impl HashPool {
    /// Starts `threads` threads with the nice value `nice` (on Linux), before which `queue` jobs may wait.
    pub fn new(threads: NonZeroUsize, queue: usize, nice: i32) -> Self {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                jobs: VecDeque::new(),
                short: VecDeque::new(),
                idle: 0,
                closed: false,
            }),
            ready: Condvar::new(),
            capacity: queue,
            threads: threads.get(),
            completed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        });
        for number in 0..threads.get() {
            let worker = Arc::clone(&shared);
            let started = thread::Builder::new().name(format!("hash-{number}")).spawn(move || {
                set_nice(nice);
                worker.work();
            });
            match started {
                // Counted here and not by the thread, so that the first job already finds it.
                Ok(_) => shared.lock().idle += 1,
                Err(error) => tracing::error!(%error, "cannot start hash thread {number}"),
            }
        }
        let mut state = shared.lock();
        // Without a single thread a job would wait for ever.
        state.closed = state.idle == 0;
        drop(state);
        Self { handle: Arc::new(Handle { shared }) }
    }

    /// Runs `job` on the pool; [`Busy`] at once when the queue is full, and also when the job panics.
    pub async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let (reply, result) = oneshot::channel();
        self.handle.shared.push(Box::new(Job { work: job, reply, is_counted: true }), Length::Long)?;
        result.await.map_err(|_| Busy)
    }

    /// As [`Self::run`], for a job of a few milliseconds: it waits for those that run, and not for those that wait. It
    /// is not counted as completed.
    pub async fn run_short<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let (reply, result) = oneshot::channel();
        self.handle.shared.push(Box::new(Job { work: job, reply, is_counted: false }), Length::Short)?;
        result.await.map_err(|_| Busy)
    }

    /// How many jobs wait for a thread.
    pub fn waiting(&self) -> usize {
        let queue = self.handle.shared.lock();
        queue.jobs.len() + queue.short.len()
    }

    /// [`Busy`] if a job would be refused now, which then counts as refused.
    pub fn expect_room(&self) -> Result<(), Busy> {
        let shared = &self.handle.shared;
        let queue = shared.lock();
        if queue.closed || queue.jobs.len() >= shared.capacity.saturating_add(queue.idle) {
            return Err(shared.refuse());
        }
        Ok(())
    }

    /// How many jobs were refused since the start.
    pub fn refused(&self) -> u64 {
        self.handle.shared.refused.load(Ordering::Relaxed)
    }

    /// How many threads there are, and how many of them have a job.
    pub fn threads(&self) -> (usize, usize) {
        let shared = &self.handle.shared;
        (shared.threads, shared.threads.saturating_sub(shared.lock().idle))
    }

    /// How many jobs have run to their end since the start.
    pub fn completed(&self) -> u64 {
        self.handle.shared.completed.load(Ordering::Acquire)
    }
}

impl fmt::Debug for HashPool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HashPool")
            .field("waiting", &self.waiting())
            .field("completed", &self.completed())
            .finish_non_exhaustive()
    }
}

/// What the clones of a pool share, and the threads do not: its end is theirs.
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.ready.notify_all();
    }
}

struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
    capacity: usize,
    threads: usize,
    completed: AtomicU64,
    refused: AtomicU64,
}

/// How long a job takes.
#[derive(Clone, Copy)]
enum Length {
    Short,
    Long,
}

struct Queue {
    jobs: VecDeque<Box<dyn Task>>,
    /// Taken before the others.
    short: VecDeque<Box<dyn Task>>,
    /// Threads without a job: they take the first jobs of the queue as soon as they wake.
    idle: usize,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No job runs under the lock, so a poisoned queue is still a whole one.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self) -> Busy {
        self.refused.fetch_add(1, Ordering::Relaxed);
        Busy
    }

    fn push(&self, job: Box<dyn Task>, length: Length) -> Result<(), Busy> {
        let mut queue = self.lock();
        let (room, is_closed) = (self.capacity.saturating_add(queue.idle), queue.closed);
        let jobs = match length {
            Length::Short => &mut queue.short,
            Length::Long => &mut queue.jobs,
        };
        if jobs.len() >= room {
            jobs.retain(|waiting| !waiting.is_abandoned());
        }
        if is_closed || jobs.len() >= room {
            return Err(self.refuse());
        }
        jobs.push_back(job);
        drop(queue);
        self.ready.notify_one();
        Ok(())
    }

    fn work(&self) {
        let mut queue = self.lock();
        while !queue.closed {
            let next = queue.short.pop_front();
            let Some(job) = next.or_else(|| queue.jobs.pop_front()) else {
                queue = self.ready.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            queue.idle -= 1;
            drop(queue);
            job.run(&self.completed);
            queue = self.lock();
            queue.idle += 1;
        }
    }
}

/// A [`Job`] without its types.
trait Task: Send {
    fn is_abandoned(&self) -> bool;
    fn run(self: Box<Self>, completed: &AtomicU64);
}

struct Job<F, T> {
    work: F,
    reply: oneshot::Sender<T>,
    is_counted: bool,
}

impl<T: Send, F: FnOnce() -> T + Send> Task for Job<F, T> {
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn run(self: Box<Self>, completed: &AtomicU64) {
        if self.is_abandoned() {
            return;
        }
        let Self { work, reply, is_counted } = *self;
        // Unwind safe: what the job owned is gone with it, and the caller learns that it failed.
        if let Ok(value) = catch_unwind(AssertUnwindSafe(work)) {
            // Before the reply, so that whoever has the reply sees it counted.
            if is_counted {
                completed.fetch_add(1, Ordering::Release);
            }
            // A caller that left meanwhile needs no answer.
            drop(reply.send(value));
        } else {
            tracing::error!("a job of the hash pool panicked");
        }
    }
}

#[cfg(target_os = "linux")]
fn set_nice(nice: i32) {
    // Linux has a nice value per thread, and takes a thread's id where POSIX says process.
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), nice) {
        tracing::debug!(%error, nice, "cannot set the nice value of a hash thread");
    }
}

#[cfg(not(target_os = "linux"))]
fn set_nice(_nice: i32) {}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::mpsc;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn pool(threads: usize, queue: usize) -> HashPool {
        HashPool::new(NonZeroUsize::new(threads).unwrap(), queue, 0)
    }

    type Running<T> = Pin<Box<dyn Future<Output = Result<T, Busy>> + Send>>;

    /// Hands the job over without waiting for it; `Err` is an answer that was there at once.
    fn start<T: Send + 'static>(
        pool: &HashPool,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Running<T>, Result<T, Busy>> {
        let pool = pool.clone();
        let mut running: Running<T> = Box::pin(async move { pool.run(job).await });
        match running.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => Ok(running),
            Poll::Ready(answer) => Err(answer),
        }
    }

    /// Occupies one thread until the returned sender is dropped; returns when the thread has begun.
    fn occupy(pool: &HashPool) -> (Running<()>, mpsc::Sender<()>) {
        let (begun, has_begun) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let running = start(pool, move || {
            begun.send(()).unwrap();
            let _ = released.recv_timeout(PATIENCE);
        });
        has_begun.recv_timeout(PATIENCE).unwrap();
        (running.ok().unwrap(), release)
    }

    #[tokio::test]
    async fn a_job_runs_on_a_named_thread_and_its_value_comes_back() {
        let pool = pool(1, 1);
        let name = pool.run(|| thread::current().name().map(str::to_owned)).await;
        assert_eq!(name, Ok(Some("hash-0".to_owned())));
        assert_eq!(pool.completed(), 1);
    }

    #[tokio::test]
    async fn one_more_than_the_queue_holds_is_refused_at_once() {
        let pool = pool(1, 2);
        let (running, release) = occupy(&pool);
        let first = start(&pool, || 1).ok().unwrap();
        let second = start(&pool, || 2).ok().unwrap();
        assert_eq!(pool.waiting(), 2);
        assert_eq!(start(&pool, || 3).err(), Some(Err(Busy)));
        assert_eq!(pool.expect_room(), Err(Busy));
        assert_eq!((pool.waiting(), pool.refused(), pool.threads()), (2, 2, (1, 1)));

        drop(release);
        assert_eq!(running.await, Ok(()));
        assert_eq!((first.await, second.await), (Ok(1), Ok(2)));
        assert_eq!(pool.waiting(), 0);
        assert_eq!(pool.run(|| 4).await, Ok(4));
        assert_eq!(pool.completed(), 4);
    }

    #[tokio::test]
    async fn a_short_job_waits_for_none_that_waits_and_has_a_queue_of_its_own() {
        let pool = pool(1, 1);
        let (running, release) = occupy(&pool);
        let (first, order) = mpsc::channel();
        let second = first.clone();
        let long = start(&pool, move || first.send("long").unwrap()).ok().unwrap();
        assert_eq!(start(&pool, || ()).err(), Some(Err(Busy)), "the queue of the long ones is full");
        let other = pool.clone();
        let mut short: Running<()> =
            Box::pin(async move { other.run_short(move || second.send("short").unwrap()).await });
        assert!(short.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let refused = pool.run_short(|| ()).await;
        assert_eq!((refused, pool.waiting()), (Err(Busy), 2));

        drop(release);
        assert_eq!((running.await, short.await, long.await), (Ok(()), Ok(()), Ok(())));
        assert_eq!(order.iter().collect::<Vec<_>>(), ["short", "long"]);
        assert_eq!(pool.completed(), 2, "only hashes are counted");
    }

    #[tokio::test]
    async fn without_a_queue_a_job_needs_an_idle_thread() {
        let pool = pool(2, 0);
        let (first, release_first) = occupy(&pool);
        let (second, release_second) = occupy(&pool);
        assert_eq!(start(&pool, || ()).err(), Some(Err(Busy)));
        drop((release_first, release_second));
        assert_eq!((first.await, second.await), (Ok(()), Ok(())));
    }

    #[tokio::test]
    async fn jobs_run_in_the_order_in_which_they_came() {
        let pool = pool(1, 100);
        let (running, release) = occupy(&pool);
        let (order, seen) = mpsc::channel();
        let jobs: Vec<_> = (0..100)
            .map(|number| {
                let order = order.clone();
                start(&pool, move || order.send(number).unwrap()).ok().unwrap()
            })
            .collect();
        drop((release, order));
        running.await.unwrap();
        for job in jobs {
            job.await.unwrap();
        }
        assert_eq!(seen.iter().collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_job_whose_caller_has_left_is_not_run() {
        let pool = pool(1, 10);
        let (running, release) = occupy(&pool);
        let (ran, has_run) = mpsc::channel();
        let left = start(&pool, move || ran.send(()).unwrap()).ok().unwrap();
        let stayed = start(&pool, || ()).ok().unwrap();
        drop(left);
        drop(release);
        assert_eq!((running.await, stayed.await), (Ok(()), Ok(())));
        assert_eq!(has_run.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
        assert_eq!(pool.completed(), 2);
    }

    #[tokio::test]
    async fn callers_that_have_left_hold_no_place_in_a_full_queue() {
        let pool = pool(1, 2);
        let (running, release) = occupy(&pool);
        let stayed = start(&pool, || 1).ok().unwrap();
        drop(start(&pool, || 2));
        let late = start(&pool, || 3).ok().unwrap();
        assert_eq!(start(&pool, || 4).err(), Some(Err(Busy)));
        drop(release);
        assert_eq!((running.await, stayed.await, late.await), (Ok(()), Ok(1), Ok(3)));
    }

    #[tokio::test]
    async fn a_panic_reaches_the_caller_as_an_error_and_the_thread_lives_on() {
        let pool = pool(1, 1);
        assert_eq!(pool.run(|| assert!(Vec::<u8>::new().pop().is_some(), "on purpose")).await, Err(Busy));
        assert_eq!(pool.completed(), 0);
        assert_eq!(pool.run(|| 5).await, Ok(5));
        assert_eq!(pool.completed(), 1);
    }

    #[tokio::test]
    async fn the_threads_end_with_the_last_clone() {
        struct Farewell(mpsc::Sender<()>);
        impl Drop for Farewell {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        thread_local!(static LAST: std::cell::RefCell<Option<Farewell>> = const { std::cell::RefCell::new(None) });

        let pool = pool(1, 1);
        let clone = pool.clone();
        let (ended, has_ended) = mpsc::channel();
        pool.run(move || LAST.set(Some(Farewell(ended)))).await.unwrap();
        drop(pool);
        assert_eq!(clone.run(|| 6).await, Ok(6));
        assert_eq!(has_ended.try_recv(), Err(mpsc::TryRecvError::Empty));
        drop(clone);
        assert_eq!(has_ended.recv_timeout(PATIENCE), Ok(()));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_threads_and_nobody_else_have_the_nice_value() {
        /// Field 19 of `/proc/<pid>/stat`, counted after the name, which may hold spaces.
        fn nice() -> i32 {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap()
        }
        let before = nice();
        let niced = HashPool::new(NonZeroUsize::MIN, 1, 17);
        assert_eq!(niced.run(nice).await, Ok(17));
        assert_eq!(nice(), before);
    }
}
