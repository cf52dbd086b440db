//! Where receivers put what they received: every log that a pipeline gave them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;

use crate::otlp::Signal;
use crate::spool::{Ack, Error, Log};

/// The logs behind one receiver: one per pipeline that names it.
#[derive(Clone, Debug, Default)]
pub struct Intake {
    logs: Vec<Way>,
    counts: Arc<[Counts; 3]>,
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
        Self { logs: logs.into_iter().map(way).collect(), counts: Arc::default(), is_stopping: Arc::default() }
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
        Self { counts: self.counts, ..Self::new(logs) }
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
        match self.logs.iter().filter(|way| way.signal == signal).map(append).collect::<Result<Vec<Ack>, Error>>() {
            Ok(acks) => Ok(Stored { acks, signal, items, counts: Arc::clone(&self.counts) }),
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
    acks: Vec<Ack>,
    signal: Signal,
    items: u32,
    counts: Arc<[Counts; 3]>,
}

impl Stored {
    /// Waits until every log has the request durable.
    ///
    /// # Errors
    /// The first log's error.
    pub async fn durable(mut self) -> Result<(), Error> {
        let mut result = Ok(());
        for ack in std::mem::take(&mut self.acks) {
            result = result.and(ack.await.map(|_| ()));
        }
        self.count(result)
    }

    /// As [`Stored::durable`], blocking the thread.
    ///
    /// # Errors
    /// The first log's error.
    pub fn wait(mut self) -> Result<(), Error> {
        let mut result = Ok(());
        for ack in std::mem::take(&mut self.acks) {
            result = result.and(ack.wait().map(|_| ()));
        }
        self.count(result)
    }

    fn count(&self, result: Result<(), Error>) -> Result<(), Error> {
        let counts = of(&self.counts, self.signal);
        let counter = if result.is_ok() { &counts.accepted } else { &counts.refused };
        counter.fetch_add(u64::from(self.items), Ordering::Relaxed);
        result
    }
}
