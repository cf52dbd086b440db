//! Work that keeps a thread busy: so much of it at once, whatever is asked for.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;

/// Turns to work.
#[derive(Debug, Clone)]
pub(crate) struct Turns(Arc<Semaphore>);

/// The right to work, until dropped.
#[derive(Debug)]
pub(crate) struct Turn(#[expect(dead_code, reason = "held")] Option<OwnedSemaphorePermit>);

impl Turns {
    /// So much is worked on at once.
    pub(crate) fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once)))
    }

    /// Waits for a turn.
    pub(crate) async fn take(&self) -> Turn {
        // Nobody closes it.
        Turn(Arc::clone(&self.0).acquire_owned().await.ok())
    }

    /// A turn if there is one now.
    pub(crate) fn try_take(&self) -> Option<Turn> {
        Some(Turn(Some(Arc::clone(&self.0).try_acquire_owned().ok()?)))
    }

    /// How many there are now.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.0.available_permits()
    }
}

impl Turn {
    /// Works on a thread where it holds up nobody. The turn lasts as long as the work: a caller that goes away does not
    /// end it.
    ///
    /// # Errors
    /// When the work panicked.
    pub(crate) async fn work<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        tokio::task::spawn_blocking(move || {
            let _turn = self;
            work()
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_caller_that_goes_away_keeps_its_turn_until_its_work_is_done() {
        let turns = Turns::new(1);
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (go_on, may_go_on) = mpsc::sync_channel::<()>(1);
        let turn = turns.take().await;
        let caller = tokio::spawn(turn.work(move || {
            begun.send(()).unwrap();
            may_go_on.recv().unwrap();
        }));
        has_begun.await.unwrap();
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        assert!(turns.try_take().is_none(), "the work goes on");
        go_on.send(()).unwrap();
        turns.take().await;
    }
}
