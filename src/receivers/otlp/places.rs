//! The places for connections of a port. When all are taken, who did nothing for the longest gives his to who comes: a
//! crowd of silent clients keeps nobody out, and more clients than there are places take turns.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::idle::Activity;

/// Who did something within this keeps his place, so that a storm of newcomers does not drive out clients at work.
const SAFE: Duration = Duration::from_secs(1);
/// How often it is looked whether somebody has become idle.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    taken: Mutex<Vec<Weak<Activity>>>,
}

/// A place, until dropped.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) activity: Arc<Activity>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(most)), taken: Mutex::default() }
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
        }
    }
}
