//! Whether a connection does anything.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// The requests of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
    /// When the last one ended; when it was opened, before the first.
    last: Mutex<Instant>,
    /// Its place is wanted.
    go: Notify,
    is_asked: AtomicBool,
}

/// A request in flight, until dropped.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl Default for Activity {
    fn default() -> Self {
        let (begun, ended) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { begun, ended, last: Mutex::new(Instant::now()), go: Notify::new(), is_asked: AtomicBool::new(false) }
    }
}

impl Activity {
    /// Since when it does nothing; `None` while a request is in flight, and when it is to go already.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let is_idle = !self.is_asked.load(Ordering::Relaxed)
            && self.ended.load(Ordering::Relaxed) == self.begun.load(Ordering::Relaxed);
        is_idle.then(|| *self.last.lock().unwrap_or_else(PoisonError::into_inner))
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

impl Drop for InFlight {
    fn drop(&mut self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}
