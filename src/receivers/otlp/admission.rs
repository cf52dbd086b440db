//! How much memory requests in flight may hold together, and how many are worked on at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::arrivals::{Arrival, Arrivals};
use super::idle::InFlight;
use crate::turns::{Turn, Turns};

/// What requests in flight may hold over all receivers that share it: from when their first part has come until they are
/// durable. That part comes for the place that each request on its way has.
///
/// A third is for compressed bodies, the rest for messages. A request asks for its compressed body first, then for its
/// message, each whole, and waits its turn each time; who holds a message's memory only tries for more. So nobody waits
/// for another who waits for him. Who holds memory and waits for a slow sender gives way to those who wait for memory.
#[derive(Debug, Clone)]
pub struct Admission {
    compressed: Share,
    messages: Share,
    arrivals: Arrivals,
    processors: Turns,
}

/// A part of the memory.
#[derive(Debug, Clone)]
struct Share {
    units: Arc<Semaphore>,
    total: u32,
}

/// Bytes per semaphore permit.
const UNIT: usize = 1024;

impl Default for Admission {
    /// 24 MiB.
    fn default() -> Self {
        Self::new(24 << 20)
    }
}

impl Admission {
    /// Lets requests hold `bytes` together, rounded up to whole KiB, and at least two of them.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            compressed: Share::new(bytes / 3),
            messages: Share::new(bytes - bytes / 3),
            arrivals: Arrivals::default(),
            processors: Turns::new(processors),
        }
    }

    /// Waits for a processor's worth of work: with a thread for each of many large bodies, all others would wait for
    /// their share of the processors. Who has it waits for nothing, so that everybody's turn comes.
    pub(super) async fn processor(&self) -> Turn {
        self.processors.take().await
    }

    /// A place for a request whose body is on its way.
    pub(super) async fn arrive<'r>(&self, request: &'r InFlight) -> Option<Arrival<'r>> {
        self.arrivals.begin(request).await
    }

    /// Waits until a compressed body of this size may be held. One larger than all waits until it is alone.
    pub(super) async fn admit_compressed(&self, bytes: usize) -> Option<Permit> {
        self.arrivals.wait_for_memory(self.compressed.admit(bytes)).await
    }

    /// Waits until a message of this size may be held. One larger than all waits until it is alone.
    pub(super) async fn admit_message(&self, bytes: usize) -> Option<Permit> {
        self.arrivals.wait_for_memory(self.messages.admit(bytes)).await
    }
}

impl Share {
    fn new(bytes: usize) -> Self {
        let total = units(bytes);
        Self { units: Arc::new(Semaphore::new(total as usize)), total }
    }

    async fn admit(&self, bytes: usize) -> Option<Permit> {
        let wanted = units(bytes).min(self.total);
        let held = Arc::clone(&self.units).acquire_many_owned(wanted).await.ok()?;
        Some(Permit { share: self.clone(), held })
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).max(1)
}

/// The right to hold some bytes, until dropped.
#[derive(Debug)]
pub(super) struct Permit {
    share: Share,
    held: OwnedSemaphorePermit,
}

impl Permit {
    /// Tries to hold `bytes` in all. Who already holds everything may go on alone.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let wanted = units(bytes).min(self.share.total) as usize;
        let Some(missing) = wanted.checked_sub(self.held.num_permits()).filter(|missing| *missing > 0) else {
            return true;
        };
        match Arc::clone(&self.share.units).try_acquire_many_owned(missing as u32) {
            Ok(more) => {
                self.held.merge(more);
                true
            }
            Err(_) => false,
        }
    }

    /// Gives back what is held above `bytes`.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let surplus = self.held.num_permits().saturating_sub(units(bytes) as usize);
        drop(self.held.split(surplus));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_request_waits_until_there_is_room() {
        let admission = Share::new(10 * UNIT);
        let mut first = admission.admit(8 * UNIT).await.unwrap();
        let second = tokio::spawn({
            let admission = admission.clone();
            async move { admission.admit(4 * UNIT).await.map(drop) }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!second.is_finished());
        first.shrink(6 * UNIT);
        assert!(second.await.unwrap().is_some());
    }

    #[tokio::test]
    async fn one_larger_than_all_is_admitted_alone_and_may_grow() {
        let admission = Share::new(4 * UNIT);
        let mut permit = admission.admit(1 << 30).await.unwrap();
        assert!(permit.grow(2 << 30));
        assert_eq!(admission.units.available_permits(), 0);
        drop(permit);
        assert_eq!(admission.units.available_permits(), 4);
    }

    #[tokio::test]
    async fn growing_never_waits() {
        let admission = Share::new(4 * UNIT);
        let _other = admission.admit(2 * UNIT).await.unwrap();
        let mut permit = admission.admit(1).await.unwrap();
        assert!(permit.grow(2 * UNIT));
        assert!(!permit.grow(3 * UNIT));
    }
}
