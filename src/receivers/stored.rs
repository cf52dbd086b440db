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

    /// Items that a log refused, or whose sender hung up where it may have to wait for room. It still has them, and was
    /// told unless it hung up.
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
    /// A sender that hung up: what is on its way to the disk is stored all the same, and counted. What waits for room is
    /// taken back. Which of both it was is not to be seen where senders wait, so there it counts as refused: the sender
    /// was not promised anything.
    fn drop(&mut self) {
        if self.acks.is_empty() {
            return;
        }
        if !self.stays {
            return Counts::of(&self.counts, self.signal).refuse(self.items);
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
    use std::time::{Duration, Instant};

    use bytes::Bytes;

    use super::*;
    use crate::receivers::Intake;
    use crate::spool::{Cursor, CursorOptions, Limit, Log, Need, Options, Spool, Start};

    static ONE: Bytes = Bytes::from_static(b"\x0a\x00");

    #[tokio::test]
    async fn what_is_stored_although_its_sender_hung_up_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(directory.path(), Options::default()).unwrap();
        let intake = Intake::new(vec![(Signal::Logs, spool.log("logs").unwrap())]);
        // Before anybody waited for it, and while it is waited for.
        drop(intake.append(Signal::Logs, &ONE, 3).unwrap());
        let waiting = intake.append(Signal::Logs, &ONE, 4).unwrap().durable();
        drop(tokio::time::timeout(Duration::ZERO, waiting).await);
        until(|| intake.counts(Signal::Logs).accepted() == 7).await;
        assert_eq!(intake.counts(Signal::Logs).refused(), 0);
    }

    #[tokio::test]
    async fn what_waits_for_room_is_taken_back_and_counted_when_its_sender_hangs_up() {
        let two = Two::new();
        let waiting = Intake::new(vec![(Signal::Logs, two.full.clone())]).waiting_at(|_| true);
        let deadline = Instant::now() + Duration::from_secs(60);
        let append = |items| waiting.append_when_room(Signal::Logs, &ONE, items, deadline).unwrap();
        // Before anybody waited for it, and while it is waited for.
        drop(append(3));
        drop(tokio::time::timeout(Duration::ZERO, append(4).durable()).await);
        let counts = waiting.counts(Signal::Logs);
        assert_eq!((counts.accepted(), counts.refused()), (0, 7));
        two.give_room();
        append(5).durable().await.unwrap();
        assert_eq!((two.full.durable_sequence(), counts.accepted(), counts.refused()), (2, 5, 7));
    }

    #[tokio::test]
    async fn rule_13_a_request_into_two_logs_is_acked_when_both_have_it() {
        let two = Two::new();
        let intake = two.intake().waiting_at(|_| true);
        let counts = intake.counts(Signal::Logs);
        let deadline = Instant::now() + Duration::from_secs(60);
        let stored = intake.append_when_room(Signal::Logs, &ONE, 3, deadline).unwrap();
        let mut durable = Box::pin(stored.durable());
        until(|| two.free.durable_sequence() == 1).await;
        assert!(tokio::time::timeout(Duration::ZERO, &mut durable).await.is_err(), "only one of them has it");
        assert_eq!((counts.accepted(), counts.refused()), (0, 0));
        two.give_room();
        durable.await.unwrap();
        assert_eq!((two.full.durable_sequence(), counts.accepted(), counts.refused()), (2, 3, 0));
    }

    #[tokio::test]
    async fn rule_13_a_request_into_two_logs_is_refused_when_one_refuses_it() {
        let two = Two::new();
        let intake = two.intake();
        let counts = intake.counts(Signal::Logs);
        assert!(intake.append(Signal::Logs, &ONE, 3).unwrap_err().is_full());
        assert_eq!((counts.accepted(), counts.refused()), (0, 3));
        // The same when it waited, in vain.
        let waiting = two.intake().waiting_at(|_| true);
        let counts = waiting.counts(Signal::Logs);
        let deadline = Instant::now() + Duration::from_secs(60);
        let stored = waiting.append_when_room(Signal::Logs, &ONE, 3, deadline).unwrap();
        waiting.stop_waiting();
        assert!(stored.durable().await.unwrap_err().is_full());
        assert_eq!((counts.accepted(), counts.refused()), (0, 3));
    }

    /// A log with room, and one whose cursor has all pending that it may.
    struct Two {
        free: Log,
        full: Log,
        cursor: std::cell::RefCell<Cursor>,
        _spool: Spool,
        _directory: tempfile::TempDir,
    }

    impl Two {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let spool = Spool::open(directory.path(), Options::default()).unwrap();
            let [free, full] = ["free", "full"].map(|name| spool.log(name).unwrap());
            let max_pending = Some(Limit::Items(3));
            let options = CursorOptions { max_pending, ..CursorOptions::new(Start::Oldest, Need::Required) };
            let cursor = full.cursor_with("c", options).unwrap().into();
            full.append_wait(1, ONE.clone(), 3).unwrap();
            Self { free, full, cursor, _spool: spool, _directory: directory }
        }

        fn intake(&self) -> Intake {
            Intake::new([&self.free, &self.full].map(|log| (Signal::Logs, log.clone())).into())
        }

        fn give_room(&self) {
            let mut cursor = self.cursor.borrow_mut();
            cursor.next_batch(1 << 20).unwrap();
            cursor.ack(1, 1, 0).unwrap();
        }
    }

    async fn until(is_so: impl Fn() -> bool) {
        let wait = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.expect("within 10 s");
    }
}
