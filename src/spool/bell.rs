//! What the housekeeper sleeps on: until its time has come, a segment was sealed, or the spool closes.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::clock::Clock;
use super::env::lock;

/// Wakes the housekeeper.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    rung: bool,
    stopped: bool,
}

impl Bell {
    /// There is something to do now.
    pub(crate) fn ring(&self) {
        lock(&self.state).rung = true;
        self.changed.notify_one();
    }

    /// The spool closes.
    pub(crate) fn stop(&self) {
        lock(&self.state).stopped = true;
        self.changed.notify_all();
    }

    #[cfg(test)]
    pub(crate) fn is_stopped(&self) -> bool {
        lock(&self.state).stopped
    }

    /// Waits until then, on the monotonic clock, or until it rings; false when the spool closes.
    pub(crate) fn wait(&self, clock: &dyn Clock, until: Duration) -> bool {
        self.sleep(clock, until, |state| std::mem::take(&mut state.rung))
    }

    /// Waits, whatever rings; false when the spool closes.
    pub(crate) fn pause(&self, clock: &dyn Clock, time: Duration) -> bool {
        self.sleep(clock, clock.monotonic() + time, |_| false)
    }

    fn sleep(&self, clock: &dyn Clock, until: Duration, ready: impl Fn(&mut State) -> bool) -> bool {
        let mut state = lock(&self.state);
        loop {
            let left = until.saturating_sub(clock.monotonic());
            if state.stopped || left.is_zero() || ready(&mut state) {
                return !state.stopped;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
