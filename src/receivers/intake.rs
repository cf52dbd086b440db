//! Where receivers put what they received: every log that a pipeline gave them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;

use super::Refusals;
use crate::otlp::Signal;
use crate::spool::{Ack, Appended, Error, Log};

/// The logs behind one receiver: one per pipeline that names it.
#[derive(Clone, Debug, Default)]
pub struct Intake {
    logs: Vec<Way>,
    counts: Arc<[Counts; 3]>,
    refusals: Arc<Refusals>,
    /// Nobody is to wait for room any more.
    is_stopping: Arc<AtomicBool>,
}

/// One log, and what it is given.
#[derive(Clone, Debug)]
struct Way {
    signal: Signal,
    log: Log,
    /// Who can wait does when it is full.
    waits: bool,
}

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
}

impl Intake {
    /// An intake that writes to these logs.
    #[must_use]
    pub fn new(logs: Vec<(Signal, Log)>) -> Self {
        let way = |(signal, log)| Way { signal, log, waits: false };
        Self { logs: logs.into_iter().map(way).collect(), ..Self::default() }
    }

    /// Has those who can wait do so when one of these logs is full (`block_on_overflow`).
    #[must_use]
    pub fn waiting_at(mut self, waits: impl Fn(&Log) -> bool) -> Self {
        self.logs.iter_mut().for_each(|way| way.waits = waits(&way.log));
        self
    }

    /// Writes to other logs, and goes on counting.
    #[must_use]
    pub fn with_logs(self, logs: Vec<(Signal, Log)>) -> Self {
        Self { counts: self.counts, refusals: self.refusals, ..Self::new(logs) }
    }

    /// Whether any pipeline takes this signal.
    #[must_use]
    pub fn accepts(&self, signal: Signal) -> bool {
        self.logs.iter().any(|way| way.signal == signal)
    }

    /// What became of this signal's items since start.
    #[must_use]
    pub fn counts(&self, signal: Signal) -> &Counts {
        of(&self.counts, signal)
    }

    /// The requests that never came to be items.
    #[must_use]
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Hands one OTLP export request to every log of its signal. Does not wait for the disk: the returned
    /// [`Stored`] does. A log that refuses refuses the whole request; what another log already took is then
    /// stored without an ack, which a client's re-send duplicates (at least once).
    ///
    /// # Errors
    /// What [`Log::append`] answers: full, busy, poisoned, too large.
    pub fn append(&self, signal: Signal, payload: &Bytes, items: u32) -> Result<Stored, Error> {
        self.append_to(signal, items, |way| way.log.append(signal.tag(), payload.clone(), items))
    }

    /// As [`Intake::append`], for who can wait: where a log is full whose senders are to wait for room, [`Stored`]
    /// waits, until `until` or [`Intake::stop_waiting`]. Dropping it before takes the request back from that log.
    ///
    /// # Errors
    /// As [`Intake::append`].
    pub fn append_when_room(
        &self,
        signal: Signal,
        payload: &Bytes,
        items: u32,
        until: Instant,
    ) -> Result<Stored, Error> {
        let stored = self.append_to(signal, items, |way| match way.waits {
            true => way.log.append_when_room(signal.tag(), payload.clone(), items, until),
            false => way.log.append(signal.tag(), payload.clone(), items),
        });
        // Looked at only now: a stop either sees us in the line or is seen here.
        if self.is_stopping.load(Ordering::SeqCst) {
            self.refuse_waiting();
        }
        stored
    }

    /// Refuses those who wait for room, now and from now on: a stop waits for no backend.
    pub fn stop_waiting(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        self.refuse_waiting();
    }

    fn refuse_waiting(&self) {
        self.logs.iter().filter(|way| way.waits).for_each(|way| way.log.refuse_waiting());
    }

    fn append_to(
        &self,
        signal: Signal,
        items: u32,
        append: impl Fn(&Way) -> Result<Ack, Error>,
    ) -> Result<Stored, Error> {
        match self.logs.iter().filter(|way| way.signal == signal).map(append).collect::<Result<VecDeque<Ack>, Error>>()
        {
            Ok(acks) => {
                let stays = !self.logs.iter().any(|way| way.signal == signal && way.waits);
                Ok(Stored { acks, error: None, signal, items, counts: Arc::clone(&self.counts), stays })
            }
            Err(error) => {
                self.counts(signal).refused.fetch_add(u64::from(items), Ordering::Relaxed);
                Err(error)
            }
        }
    }
}

fn of(counts: &[Counts; 3], signal: Signal) -> &Counts {
    let [logs, traces, metrics] = counts;
    match signal {
        Signal::Logs => logs,
        Signal::Traces => traces,
        Signal::Metrics => metrics,
    }
}

/// A request on its way to the disk.
#[must_use = "only a waited-for request is durable"]
#[derive(Debug)]
pub struct Stored {
    /// Those that did not answer yet.
    acks: VecDeque<Ack>,
    /// The first log's.
    error: Option<Error>,
    signal: Signal,
    items: u32,
    counts: Arc<[Counts; 3]>,
    /// Dropping it takes it back from no log.
    stays: bool,
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
        let counts = of(&self.counts, self.signal);
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

    use super::*;
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
