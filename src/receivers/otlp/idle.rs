//! Whether a connection does anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The requests of one connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// A request in flight, until dropped.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl Activity {
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
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}
