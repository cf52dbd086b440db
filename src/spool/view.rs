//! What readers may see of a log, and how they learn that there is more.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use event_listener::Event;

use super::env::lock;
use super::format::Totals;
use super::stream::Visible;

/// The front of a log, moved by its writer.
#[derive(Debug, Default)]
pub(crate) struct View {
    front: Mutex<Front>,
    moved: Condvar,
    event: Event,
}

/// Where a log stands.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Front {
    pub(crate) visible: Visible,
    /// The highest sequence known durable, and the totals up to it.
    pub(crate) durable: u64,
    pub(crate) durable_totals: Totals,
    /// What was accepted in all, acknowledged or about to be.
    pub(crate) totals: Totals,
    pub(crate) closed: bool,
}

impl View {
    pub(crate) fn new(front: Front) -> Self {
        Self { front: Mutex::new(front), ..Self::default() }
    }

    pub(crate) fn front(&self) -> Front {
        *lock(&self.front)
    }

    /// Changes the front and wakes who waits for it.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Front)) {
        change(&mut lock(&self.front));
        self.moved.notify_all();
        self.event.notify(usize::MAX);
    }

    /// Waits until `ready`; false on time-out.
    pub(crate) fn wait(&self, timeout: Duration, ready: impl Fn(&Front) -> bool) -> bool {
        // No sum of the two: a caller may wait as long as there is time.
        let began = Instant::now();
        let mut front = lock(&self.front);
        while !ready(&front) {
            let left = timeout.saturating_sub(began.elapsed());
            if left.is_zero() {
                return false;
            }
            front = self.moved.wait_timeout(front, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Completes when `ready`.
    pub(crate) async fn ready(self: Arc<Self>, ready: impl Fn(&Front) -> bool + Send + Sync + 'static) {
        loop {
            // Listen first: what happens after the check must not be missed.
            let listener = self.event.listen();
            if ready(&self.front()) {
                return;
            }
            listener.await;
        }
    }
}
