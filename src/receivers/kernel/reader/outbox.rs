//! Between the rings and the log: the kernel cannot be asked to wait, so what the log refuses is kept for a while.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::otlp::Signal;
use crate::receivers::kernel::events::catalogue::Kind;
use crate::receivers::{Intake, Stored};
use crate::spool::Error;

/// What is kept in memory while the log does not take it (LOG.md rule 12).
pub(crate) const CAPACITY: usize = 4 << 20;
/// How long after a refusal without a delay of its own the log is asked again.
const RETRY: Duration = Duration::from_millis(500);

/// One export request on its way into the log.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub payload: Bytes,
    /// How many records of each event it holds.
    pub kinds: Vec<(Kind, u64)>,
}

impl Request {
    fn items(&self) -> u32 {
        u32::try_from(self.kinds.iter().map(|(_, count)| count).sum::<u64>()).unwrap_or(u32::MAX)
    }
}

/// A request that was given up, and why.
#[derive(Debug)]
pub(crate) struct Lost {
    pub request: Request,
    pub reason: &'static str,
}

type Durable = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// Requests that the log does not have durable yet, oldest first.
pub(crate) struct Outbox {
    intake: Intake,
    waiting: VecDeque<Request>,
    in_flight: VecDeque<(Request, Durable)>,
    bytes: usize,
    retry_at: Option<Instant>,
    lost: Vec<Lost>,
}

impl Outbox {
    pub(crate) fn new(intake: Intake) -> Self {
        Self {
            intake,
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            bytes: 0,
            retry_at: None,
            lost: Vec::new(),
        }
    }

    /// From now on requests go to `intake`; those on their way end where they were given.
    pub(crate) fn redirect(&mut self, intake: Intake) {
        self.intake = intake;
        self.retry_at = None;
    }

    /// Takes a request. Beyond the capacity it is lost: what came first stays, since it is nearer to the cause.
    pub(crate) fn offer(&mut self, request: Request) {
        if self.bytes + request.payload.len() > CAPACITY {
            self.lost.push(Lost { request, reason: "log_full" });
            return;
        }
        self.bytes += request.payload.len();
        self.waiting.push_back(request);
    }

    /// Moves what can move; never waits.
    pub(crate) fn pump(&mut self) {
        self.collect_acks();
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            return;
        }
        self.retry_at = None;
        while let Some(request) = self.waiting.pop_front() {
            match self.intake.append(Signal::Logs, &request.payload, request.items()) {
                Ok(stored) => self.in_flight.push_back((request, durable(stored))),
                Err(error) if error.is_too_large() => self.give_up(request, "too_large"),
                Err(error) if error.is_closed() => self.give_up(request, "log_closed"),
                Err(error) => {
                    self.waiting.push_front(request);
                    self.retry_at = Some(Instant::now() + error.retry_after().unwrap_or(RETRY));
                    break;
                }
            }
        }
        self.collect_acks();
    }

    /// Whether the log refused last time.
    pub(crate) fn is_refused(&self) -> bool {
        self.retry_at.is_some()
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }

    /// What was given up since the last call.
    pub(crate) fn take_lost(&mut self) -> Vec<Lost> {
        std::mem::take(&mut self.lost)
    }

    /// Records that are not durable yet.
    pub(crate) fn pending_records(&self) -> u64 {
        let waiting = self.waiting.iter().map(|request| u64::from(request.items()));
        waiting.chain(self.in_flight.iter().map(|(request, _)| u64::from(request.items()))).sum()
    }

    /// Acks come in the order of appends. A failed one means that the log could not keep it: it is offered again.
    fn collect_acks(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        let mut again = Vec::new();
        while let Some((_, durable)) = self.in_flight.front_mut() {
            let Poll::Ready(result) = durable.as_mut().poll(&mut context) else { break };
            let Some((request, _)) = self.in_flight.pop_front() else { break };
            match result {
                Ok(()) => self.bytes -= request.payload.len(),
                Err(error) if error.is_closed() => self.give_up(request, "log_closed"),
                Err(_) => again.push(request),
            }
        }
        if !again.is_empty() {
            self.retry_at = Some(Instant::now() + RETRY);
        }
        for request in again.into_iter().rev() {
            self.waiting.push_front(request);
        }
    }

    fn give_up(&mut self, request: Request, reason: &'static str) {
        self.bytes -= request.payload.len();
        self.lost.push(Lost { request, reason });
    }
}

/// Boxed, because an async function's future has no name to put into a field.
fn durable(stored: Stored) -> Durable {
    Box::pin(stored.durable())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::{Cursor, Log, LogOptions, Need, OnFull, Options, Spool, Start};

    const LARGE: usize = 256 << 10;

    fn request(bytes: usize) -> Request {
        Request { payload: Bytes::from(vec![7; bytes]), kinds: vec![(Kind::PacketDrop, 1)] }
    }

    /// A log of a few MiB that refuses when it is full, and the cursor that fills it by standing still.
    fn small_log(directory: &std::path::Path) -> (Spool, Log, Cursor) {
        let options = LogOptions {
            max_size: Some(4 << 20),
            segment_size: Some(1 << 20),
            on_full: OnFull::Reject,
            retain_size: 0,
            ..LogOptions::default()
        };
        let spool = Spool::open(directory, Options::default()).unwrap();
        let log = spool.log_with("kernel", options).unwrap();
        let cursor = log.cursor("slow", Start::Oldest, Need::Required).unwrap();
        (spool, log, cursor)
    }

    fn pump_until(outbox: &mut Outbox, mut done: impl FnMut(&Outbox) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !done(outbox) {
            assert!(Instant::now() < deadline, "{} records are still pending", outbox.pending_records());
            std::thread::park_timeout(Duration::from_millis(2));
            outbox.pump();
        }
    }

    #[test]
    fn what_the_log_takes_leaves_no_trace() {
        let directory = tempfile::tempdir().unwrap();
        let (_spool, log, _cursor) = small_log(directory.path());
        let mut outbox = Outbox::new(Intake::new(vec![(Signal::Logs, log)]));
        outbox.offer(request(100));
        pump_until(&mut outbox, Outbox::is_empty);
        assert_eq!((outbox.bytes, outbox.pending_records(), outbox.take_lost().len()), (0, 0, 0));
    }

    #[test]
    fn rule_12_a_full_log_is_waited_for_with_four_mebibytes_and_the_rest_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        let (_spool, log, mut cursor) = small_log(directory.path());
        let mut outbox = Outbox::new(Intake::new(vec![(Signal::Logs, log)]));
        let mut offered = 0;
        while !outbox.is_refused() {
            outbox.offer(request(LARGE));
            offered += 1;
            pump_until(&mut outbox, |outbox| outbox.is_empty() || outbox.is_refused());
        }
        // One waits; what fits beside it waits too, the next is lost.
        let fit = CAPACITY / LARGE - 1;
        for _ in 0..fit + 3 {
            outbox.offer(request(LARGE));
            offered += 1;
        }
        let lost = outbox.take_lost();
        assert_eq!(lost.iter().map(|lost| lost.reason).collect::<Vec<_>>(), ["log_full"; 3]);
        assert!(outbox.bytes <= CAPACITY);

        // Room again: all that waited is stored, in its order, and nothing else is missing.
        let mut stored = 0;
        pump_until(&mut outbox, |outbox| {
            while let Some(batch) = cursor.next_batch(1 << 20).unwrap() {
                stored += batch.frames.len();
                let last = batch.frames.last().unwrap().sequence;
                cursor.ack(batch.frames[0].sequence, last, 0).unwrap();
            }
            outbox.is_empty() && stored == offered - 3
        });
        assert_eq!(outbox.bytes, 0);
    }
}
