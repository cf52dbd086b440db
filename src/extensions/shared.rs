//! What is collected when somebody asks, by one at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::turns::Turns;

/// Collects on a thread of its own, for it reads files. Who asks while that goes on waits for the next collection, and
/// shares it with all others who do: a crowd costs as much as two.
pub(super) struct Shared<T> {
    collect: Arc<dyn Fn() -> T + Send + Sync>,
    turns: Turns,
    last: Arc<Mutex<Option<Collected<T>>>>,
}

/// What was collected, and when that was begun.
type Collected<T> = (Instant, Arc<T>);

impl<T: Send + Sync + 'static> Shared<T> {
    pub(super) fn new(collect: Arc<dyn Fn() -> T + Send + Sync>) -> Self {
        Self { collect, turns: Turns::new(1), last: Arc::default() }
    }

    /// What a collection gives that began after this was called; none when that failed.
    pub(super) async fn get(&self) -> Option<Arc<T>> {
        let asked = Instant::now();
        let turn = self.turns.take().await;
        let (collect, last) = (Arc::clone(&self.collect), Arc::clone(&self.last));
        let look = move || {
            let last = || last.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((begun, collected)) = &*last()
                && *begun >= asked
            {
                return Arc::clone(collected);
            }
            let begun = Instant::now();
            let collected = Arc::new(collect());
            *last() = Some((begun, Arc::clone(&collected)));
            collected
        };
        turn.work(look).await.inspect_err(|error| tracing::error!(%error, "health or metrics cannot be said")).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_crowd_that_asks_at_once_costs_two_collections_and_blocks_nobody() {
        let (count, at_once) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let shared = Arc::new(Shared::new(Arc::new({
            let count = Arc::clone(&count);
            move || {
                assert_eq!(at_once.fetch_add(1, Ordering::SeqCst), 0, "two at once");
                std::thread::park_timeout(Duration::from_millis(100));
                at_once.fetch_sub(1, Ordering::SeqCst);
                count.fetch_add(1, Ordering::SeqCst) + 1
            }
        })));
        let ask = || {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move { *shared.get().await.unwrap() })
        };
        let first = ask();
        // One that hangs up does not let another begin beside it.
        let gone = ask();
        tokio::time::sleep(Duration::from_millis(20)).await;
        gone.abort();
        let crowd: Vec<_> = (0..20).map(|_| ask()).collect();
        assert_eq!(first.await.unwrap(), 1);
        for one in crowd {
            assert_eq!(one.await.unwrap(), 2, "what began before it asked may be old");
        }
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }
}
