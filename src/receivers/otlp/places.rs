//! The places for connections of a port. When all are taken, who did nothing for the longest gives his to who comes: a
//! crowd of silent clients keeps nobody out, and more clients than there are places take turns.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::idle::Activity;

/// Who did something within this keeps his place, so that a storm of newcomers does not drive out clients at work.
const SAFE: Duration = Duration::from_secs(1);
/// How often it is told that somebody had to go.
const TELL: Duration = Duration::from_secs(60);
/// How often it is looked whether somebody has become idle.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    free: Arc<Semaphore>,
    taken: Mutex<Vec<Weak<Activity>>>,
    /// When it was told last that somebody was asked to go.
    told: Mutex<Option<Instant>>,
}

/// A place, until dropped.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) activity: Arc<Activity>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self { most, free: Arc::new(Semaphore::new(most)), taken: Mutex::default(), told: Mutex::default() }
    }

    /// Waits for a place.
    pub(super) async fn take(&self) -> Option<Place> {
        loop {
            if self.free.available_permits() == 0 {
                self.ask_for_one();
            }
            if let Ok(permit) = timeout(LOOK, Arc::clone(&self.free).acquire_owned()).await {
                return Some(self.place(permit.ok()?));
            }
        }
    }

    fn place(&self, permit: OwnedSemaphorePermit) -> Place {
        let activity = Arc::new(Activity::default());
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|activity| activity.strong_count() > 0);
        taken.push(Arc::downgrade(&activity));
        Place { activity, _permit: permit }
    }

    /// Asks who did nothing for the longest to go.
    fn ask_for_one(&self) {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let idle =
            taken.iter().filter_map(Weak::upgrade).filter_map(|activity| Some((activity.idle_since()?, activity)));
        let longest = idle.min_by_key(|(since, _)| *since).filter(|(since, _)| since.elapsed() >= SAFE);
        if let Some((_, activity)) = longest {
            activity.ask_to_go();
            self.tell();
        }
    }

    /// Now and then: a client that comes again each time may be slow for it, and nobody else would know why.
    fn tell(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= TELL) {
            *told = Some(Instant::now());
            tracing::warn!(
                max_connections = self.most,
                "every place for a connection is taken: who was idle for the longest gives his to who comes; with more \
                 clients than that, raise limits.max_connections of the receiver otlp"
            );
        }
    }
}
