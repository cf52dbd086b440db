//! `max_rate`: how fast an exporter may send, however many pipelines it has.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Bytes a second at most. Clones share them: while one sends, the others wait.
#[derive(Debug, Clone)]
pub struct MaxRate {
    bytes_per_second: NonZeroU64,
    busy_until: Arc<Mutex<Option<Instant>>>,
}

impl MaxRate {
    /// So many bytes a second.
    #[must_use]
    pub fn new(bytes_per_second: NonZeroU64) -> Self {
        Self { bytes_per_second, busy_until: Arc::default() }
    }

    pub(super) fn in_a_second(&self) -> usize {
        usize::try_from(self.bytes_per_second.get()).unwrap_or(usize::MAX)
    }

    /// Nothing more is to be sent before this.
    pub(super) fn busy_until(&self) -> Option<Instant> {
        *self.busy_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is sent now takes its time before anything else is sent.
    pub(super) fn send(&self, bytes: usize, now: Instant) {
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second.get() as f64);
        let mut busy_until = self.busy_until.lock().unwrap_or_else(PoisonError::into_inner);
        *busy_until = Some(busy_until.map_or(now, |until| until.max(now)) + takes);
    }
}

/// The same rate, shared or not.
impl PartialEq for MaxRate {
    fn eq(&self, other: &Self) -> bool {
        self.bytes_per_second == other.bytes_per_second
    }
}
