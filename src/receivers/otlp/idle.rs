//! Whether a connection does anything.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::arrivals::paid;

/// The requests of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
    /// Requests that wait for nothing from their client.
    at_work: AtomicU64,
    /// Until when it was of use: when it was opened or a request was stored last, moved on by what came of bodies.
    /// Requests that are refused, or do not go on, keep no place.
    last: Mutex<Instant>,
    /// Its place is wanted.
    go: Notify,
    is_asked: AtomicBool,
}

/// A request in flight, until dropped.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

/// While it is there its request waits for nothing from its client.
#[derive(Debug)]
pub(super) struct AtWork<'r>(&'r Activity);

impl Default for Activity {
    fn default() -> Self {
        Self {
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            at_work: AtomicU64::new(0),
            last: Mutex::new(Instant::now()),
            go: Notify::new(),
            is_asked: AtomicBool::new(false),
        }
    }
}

impl Activity {
    /// Since when it does nothing; `None` while a request is worked on, and when it is to go already.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let is_idle = !self.is_asked.load(Ordering::Relaxed) && self.at_work.load(Ordering::Relaxed) == 0;
        is_idle.then(|| *self.last())
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no request ever began.
    pub(super) fn is_new(&self) -> bool {
        self.begun.load(Ordering::Relaxed) == 0
    }

    /// Completes when its place is wanted.
    pub(super) async fn asked_to_go(&self) {
        self.go.notified().await;
    }

    pub(super) fn ask_to_go(&self) {
        self.is_asked.store(true, Ordering::Relaxed);
        self.go.notify_one();
    }

    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.begun.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Completes when the first request did not come within `first`, or there was none for `limit`, twice that at
    /// most after the last one.
    pub(super) async fn idle(&self, first: Duration, limit: Duration) {
        tokio::time::sleep(first.min(limit)).await;
        if self.begun.load(Ordering::Relaxed) == 0 {
            return;
        }
        loop {
            let begun = self.begun.load(Ordering::Relaxed);
            tokio::time::sleep(limit).await;
            let is_idle = self.ended.load(Ordering::Relaxed) == self.begun.load(Ordering::Relaxed);
            if is_idle && self.begun.load(Ordering::Relaxed) == begun {
                return;
            }
        }
    }
}

impl InFlight {
    /// So many bytes of its body came.
    pub(super) fn came(&self, bytes: usize) {
        let mut last = self.0.last();
        *last = paid(*last, bytes, Instant::now());
    }

    /// It waits for nothing from its client as long as what is returned is there.
    pub(super) fn at_work(&self) -> AtWork<'_> {
        self.0.at_work.fetch_add(1, Ordering::Relaxed);
        AtWork(&self.0)
    }

    /// It was stored.
    pub(super) fn stored(&self) {
        *self.0.last() = Instant::now();
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}
