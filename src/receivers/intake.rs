//! Where receivers put what they received: every log that a pipeline gave them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;

use super::{Counts, Protocol, Refusals, Stored};
use crate::otlp::Signal;
use crate::spool::{Ack, Error, Log};

/// The logs behind one receiver: one per pipeline that names it.
#[derive(Clone, Debug, Default)]
pub struct Intake {
    logs: Vec<Way>,
    /// Of what comes by no protocol, or by that of [`Intake::via`].
    counts: Arc<[Counts; 3]>,
    by_protocol: [Arc<[Counts; 3]>; Protocol::ALL.len()],
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
        let Self { counts, by_protocol, refusals, .. } = self;
        Self { counts, by_protocol, refusals, ..Self::new(logs) }
    }

    /// The same intake for what comes by this protocol, which is counted by itself.
    #[must_use]
    pub fn via(&self, protocol: Protocol) -> Self {
        Self { counts: Arc::clone(&self.by_protocol[protocol as usize]), ..self.clone() }
    }

    /// Whether any pipeline takes this signal.
    #[must_use]
    pub fn accepts(&self, signal: Signal) -> bool {
        self.logs.iter().any(|way| way.signal == signal)
    }

    /// Whether who can wait may have to, for room in a log of this signal.
    pub(super) fn waits(&self, signal: Signal) -> bool {
        self.logs.iter().any(|way| way.signal == signal && way.waits)
    }

    /// What became of this signal's items since start.
    #[must_use]
    pub fn counts(&self, signal: Signal) -> &Counts {
        Counts::of(&self.counts, signal)
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
        self.append_to(signal, items, true, |way| way.log.append(signal.tag(), payload.clone(), items))
    }

    /// As [`Intake::append`], for who can wait: where a log is full whose senders are to wait for room, [`Stored`]
    /// waits, until `until` or [`Intake::stop_waiting`]. Dropping it before takes the request back from that log, and
    /// counts it as refused.
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
        let stored = self.append_to(signal, items, !self.waits(signal), |way| match way.waits {
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
        stays: bool,
        append: impl Fn(&Way) -> Result<Ack, Error>,
    ) -> Result<Stored, Error> {
        match self.logs.iter().filter(|way| way.signal == signal).map(append).collect::<Result<VecDeque<Ack>, Error>>()
        {
            Ok(acks) => Ok(Stored { acks, error: None, signal, items, counts: Arc::clone(&self.counts), stays }),
            Err(error) => {
                self.counts(signal).refuse(items);
                Err(error)
            }
        }
    }
}
