//! Requests on their way to the disk, and the count of what became of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::otlp::Signal;
use crate::spool::{Ack, Appended, Error};

/// What became of one signal's items; both only grow.
#[derive(Debug, Default)]
pub struct Counts {
    accepted: AtomicU64,
    refused: AtomicU64,
}

impl Counts {
    /// Items that every log has durable.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Items that a log refused; the sender was told and still has them.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Those of one signal.
    pub(super) fn of(counts: &[Self; 3], signal: Signal) -> &Self {
        let [logs, traces, metrics] = counts;
        match signal {
            Signal::Logs => logs,
            Signal::Traces => traces,
            Signal::Metrics => metrics,
        }
    }

    /// A log refused so many.
    pub(super) fn refuse(&self, items: u32) {
        self.refused.fetch_add(u64::from(items), Ordering::Relaxed);
    }
}

/// A request on its way to the disk.
#[must_use = "only a waited-for request is durable"]
#[derive(Debug)]
pub struct Stored {
    /// Those that did not answer yet.
    pub(super) acks: VecDeque<Ack>,
    /// The first log's.
    pub(super) error: Option<Error>,
    pub(super) signal: Signal,
    pub(super) items: u32,
    pub(super) counts: Arc<[Counts; 3]>,
    /// Dropping it takes it back from no log.
    pub(super) stays: bool,
}

impl Stored {
    /// Waits until every log has the request durable.
    ///
    /// # Errors
    /// The first log's error.
    pub async fn durable(mut self) -> Result<(), Error> {
        while let Some(ack) = self.acks.front_mut() {
            let answer = ack.await;
            self.acks.pop_front();
            self.answered(answer);
        }
        self.count()
    }

    /// As [`Stored::durable`], blocking the thread.
    ///
    /// # Errors
    /// The first log's error.
    pub fn wait(mut self) -> Result<(), Error> {
        while let Some(ack) = self.acks.pop_front() {
            self.answered(ack.wait());
        }
        self.count()
    }

    fn answered(&mut self, answer: Result<Appended, Error>) {
        if let Err(error) = answer {
            self.error.get_or_insert(error);
        }
    }

    fn count(&mut self) -> Result<(), Error> {
        let counts = Counts::of(&self.counts, self.signal);
        let counter = if self.error.is_none() { &counts.accepted } else { &counts.refused };
        counter.fetch_add(u64::from(self.items), Ordering::Relaxed);
        self.error.take().map_or(Ok(()), Err)
    }
}

impl Drop for Stored {
    /// A sender that hung up: what is on its way to the disk is stored all the same, and counted.
    fn drop(&mut self) {
        if self.acks.is_empty() || !self.stays {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (acks, error) = (std::mem::take(&mut self.acks), self.error.take());
            let stored = Self {
                acks,
                error,
                counts: Arc::clone(&self.counts),
                signal: self.signal,
                items: self.items,
                stays: true,
            };
            runtime.spawn(async move {
                if let Err(error) = stored.durable().await {
                    tracing::debug!(%error, "a request whose sender hung up was not stored");
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::receivers::Intake;
    use crate::spool::{Options, Spool};

    #[tokio::test]
    async fn what_is_stored_although_its_sender_hung_up_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(directory.path(), Options::default()).unwrap();
        let intake = Intake::new(vec![(Signal::Logs, spool.log("logs").unwrap())]);
        let payload = Bytes::from_static(b"\x0a\x00");
        // Before anybody waited for it, and while it is waited for.
        drop(intake.append(Signal::Logs, &payload, 3).unwrap());
        let waiting = intake.append(Signal::Logs, &payload, 4).unwrap().durable();
        drop(tokio::time::timeout(Duration::ZERO, waiting).await);
        let counted = async {
            while intake.counts(Signal::Logs).accepted() < 7 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), counted).await.expect("not counted");
        assert_eq!(intake.counts(Signal::Logs).refused(), 0);
    }
}
