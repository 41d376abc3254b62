//! What a connection is doing, so that every phase has a limit of its own and none needs a timer of its own.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// What a connection is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// For a request to begin, or for a reply to be taken.
    Idle,
    /// For the rest of a request's head.
    Head,
    /// For us.
    Busy,
    /// For the client to take the last reply and leave.
    Closing,
}

/// Written by whoever reads the bytes and by whoever answers, read by whoever looks after the connection. All three
/// are polled by one task, but with HTTP/2, where each request is a task.
#[derive(Debug)]
pub(super) struct Activity {
    /// The phase in its two lowest bits; above them a count, so that a phase that came back is not the same one.
    state: AtomicU32,
    requests: AtomicU32,
    /// A body was not read to its end: whoever sends it shall still read our answer.
    unread: AtomicBool,
    /// The client does not take what is written.
    held_back: AtomicBool,
    /// Whether the first bytes after an answer are the head of a request. In HTTP/2 they may be anything.
    heads_are_marked: bool,
    has_asked: AtomicBool,
}

/// One reading of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State(u32);

impl State {
    pub(super) fn phase(self) -> Phase {
        match self.0 & 3 {
            0 => Phase::Idle,
            1 => Phase::Head,
            2 => Phase::Busy,
            _ => Phase::Closing,
        }
    }
}

impl Activity {
    pub(super) fn new(heads_are_marked: bool) -> Self {
        Self {
            state: AtomicU32::new(0),
            requests: AtomicU32::new(0),
            unread: AtomicBool::new(false),
            held_back: AtomicBool::new(false),
            heads_are_marked,
            has_asked: AtomicBool::new(false),
        }
    }

    pub(super) fn state(&self) -> State {
        State(self.state.load(Relaxed))
    }

    /// Bytes have come.
    pub(super) fn received(&self) {
        if self.heads_are_marked && self.state().phase() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    /// A request is to be answered.
    pub(super) fn begin(&self) {
        self.requests.fetch_add(1, Relaxed);
        self.has_asked.store(true, Relaxed);
        self.enter(Phase::Busy);
    }

    /// Whether there has been a request.
    pub(super) fn has_asked(&self) -> bool {
        self.has_asked.load(Relaxed)
    }

    /// It is answered, or its client has left.
    pub(super) fn end(&self) {
        if self.requests.fetch_sub(1, Relaxed) == 1 {
            self.enter(Phase::Idle);
        }
    }

    /// Our side has ended.
    pub(super) fn close(&self) {
        if self.state().phase() != Phase::Closing {
            self.enter(Phase::Closing);
        }
    }

    pub(super) fn leave_unread(&self) {
        self.unread.store(true, Relaxed);
    }

    pub(super) fn is_unread(&self) -> bool {
        self.unread.load(Relaxed)
    }

    pub(super) fn holds_back(&self, is_held_back: bool) {
        self.held_back.store(is_held_back, Relaxed);
    }

    /// Whether everything was read and written, so that nothing would be lost with the buffers.
    pub(super) fn is_even(&self) -> bool {
        self.state().phase() == Phase::Idle && !self.is_unread() && !self.held_back.load(Relaxed)
    }

    fn enter(&self, phase: Phase) {
        let bits = match phase {
            Phase::Idle => 0,
            Phase::Head => 1,
            Phase::Busy => 2,
            Phase::Closing => 3,
        };
        // Requests of one HTTP/2 connection end on several threads.
        let next = |state: u32| Some((state & !3).wrapping_add(4) | bits);
        let _ = self.state.fetch_update(Relaxed, Relaxed, next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_that_came_back_is_another_one() {
        let activity = Activity::new(true);
        let first = activity.state();
        assert_eq!(first.phase(), Phase::Idle);
        activity.received();
        let head = activity.state();
        assert_eq!(head.phase(), Phase::Head);
        activity.received();
        assert_eq!(activity.state(), head, "the head has begun already");
        activity.begin();
        assert_eq!(activity.state().phase(), Phase::Busy);
        activity.received();
        assert_eq!(activity.state().phase(), Phase::Busy, "a body, or the next request");
        activity.end();
        assert_eq!(activity.state().phase(), Phase::Idle);
        assert_ne!(activity.state(), first);
    }

    #[test]
    fn nothing_is_put_away_that_would_be_lost() {
        let activity = Activity::new(true);
        assert!(activity.is_even());
        activity.holds_back(true);
        assert!(!activity.is_even(), "a part of the reply is not written");
        activity.holds_back(false);
        assert!(activity.is_even());
        activity.begin();
        assert!(!activity.is_even());
        activity.end();
        assert!(activity.is_even());
        activity.leave_unread();
        assert!(!activity.is_even(), "a part of the body is not read");
    }

    #[test]
    fn of_several_requests_the_last_one_ends_it() {
        let activity = Activity::new(false);
        activity.received();
        assert_eq!(activity.state().phase(), Phase::Idle, "a frame is no head");
        activity.begin();
        activity.begin();
        activity.end();
        assert_eq!(activity.state().phase(), Phase::Busy);
        activity.end();
        assert_eq!(activity.state().phase(), Phase::Idle);
    }
}
