//! What is in a queue, and the decisions that are made under its lock.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::super::error::Kind;
use super::super::format::Totals;
use super::super::worker::Runner;
use super::super::{Error, Limit};
use super::answer::OpenGroup;
use super::gather::Gather;
use super::{Frame, Queued, Signal, Stop};

/// The most payload bytes that wait for a commit, those being committed included. A single larger frame is taken
/// when nothing else waits.
const MAX_WAITING: u64 = 16 << 20;
/// When to try again after "busy": about the time that a slow disk needs for [`MAX_WAITING`].
const BUSY_DELAY: Duration = Duration::from_millis(100);
/// When to try again after a cursor's limit refused: only its backend knows.
const LIMIT_DELAY: Duration = Duration::from_secs(1);

/// What is in a queue.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) frames: VecDeque<Queued>,
    /// Payload bytes queued or being committed.
    pub(super) waiting: u64,
    /// What the log accepted, with all that is queued or being committed.
    pub(super) accepted: Totals,
    pub(super) limits: Vec<Limited>,
    /// Those who wait for room, by their place.
    pub(super) line: BTreeMap<u64, Queued>,
    pub(super) next_place: u64,
    /// Until when appends are refused, on the monotonic clock, and with what.
    pub(super) refusing: Option<(Duration, Error)>,
    pub(super) closed: bool,
    pub(super) stop: Option<Stop>,
    /// When the writer has something to do even without frames, on the monotonic clock.
    pub(super) deadline: Option<Duration>,
    pub(super) gather: Gather,
    /// Some of the last group that was taken did not fit.
    pub(super) is_split: bool,
    /// Whom callers who block join now.
    pub(super) group: Option<OpenGroup>,
    pub(super) writer: Presence,
}

/// Where the writer's worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Presence {
    #[default]
    Busy,
    /// It waits for frames, at most until then.
    Waits { until: Option<Duration> },
}

/// A cursor that may lag by so much and no more.
#[derive(Debug)]
pub(super) struct Limited {
    pub(super) cursor: String,
    pub(super) limit: Limit,
    /// What the log had accepted before the cursor's start, and what it is done with since.
    pub(super) done: u64,
}

impl State {
    /// For a log that accepted this much before.
    pub(super) fn new(accepted: Totals, runner: Runner) -> Self {
        let gather = match runner {
            Runner::Threads => Gather::default(),
            #[cfg(test)]
            Runner::Hand => Gather::never(),
        };
        Self { accepted, gather, ..Self::default() }
    }

    /// What the writer has to do now.
    pub(super) fn signal(&mut self, log: &str, now: Duration) -> Option<Signal> {
        if self.stop == Some(Stop::Abandon) {
            return Some(Signal::Stop(Stop::Abandon));
        }
        self.let_in(log, now);
        if !self.gathers(now) && !self.frames.is_empty() {
            return Some(Signal::Frames);
        }
        let is_due = self.deadline.is_some_and(|deadline| deadline <= now);
        self.stop.map(Signal::Stop).or(is_due.then_some(Signal::Deadline))
    }

    /// Whether the next commit still waits for others.
    pub(super) fn gathers(&mut self, now: Duration) -> bool {
        if self.waiting >= MAX_WAITING / 2 || self.stop.is_some() {
            self.gather.end();
        }
        self.gather.waits(self.frames.len(), now)
    }

    /// A commit that took so long is about to answer so many.
    pub(super) fn expect(&mut self, answered: usize, took: Duration, now: Duration) {
        self.gather.expect(answered, self.frames.len(), took, now);
    }

    /// Whether the worker sleeps and would not wake by itself when it should.
    pub(super) fn needs_wake(&self) -> bool {
        match self.writer {
            Presence::Busy => false,
            Presence::Waits { until } => !self.line.is_empty() || !self.gather.holds(self.frames.len(), until),
        }
    }

    /// Why a frame cannot be queued now.
    pub(super) fn obstacle(&mut self, log: &str, now: Duration, frame: &Frame) -> Option<Error> {
        if let Some((until, error)) = &self.refusing {
            if now < *until {
                return Some(error.clone());
            }
            // This one is the probe.
            self.refusing = None;
        }
        if self.waiting > 0 && self.waiting + frame.payload.len() as u64 > MAX_WAITING {
            return Some(self.busy(log));
        }
        self.limits.iter().find_map(|limited| limited.obstacle(log, self.accepted, frame.amount()))
    }

    pub(super) fn busy(&self, log: &str) -> Error {
        Kind::Busy { log: log.to_owned(), waiting: self.waiting, retry_after: BUSY_DELAY }.into()
    }

    /// What to tell somebody who leaves the line without having been let in.
    pub(super) fn reason(&mut self, log: &str, now: Duration, frame: &Frame) -> Error {
        self.obstacle(log, now, frame).unwrap_or_else(|| self.busy(log))
    }

    pub(super) fn take_in(&mut self, queued: Queued) {
        self.waiting += queued.frame.payload.len() as u64;
        self.accepted = self.accepted + queued.amount();
        self.frames.push_back(queued);
    }

    /// Lets in whom there is room for, in order, and sends away those whose time is up.
    pub(super) fn let_in(&mut self, log: &str, now: Duration) {
        if self.line.is_empty() {
            return;
        }
        let is_over = |queued: &Queued| queued.patience.is_some_and(|patience| patience.until <= now);
        let over: Vec<u64> = self.line.iter().filter(|(_, queued)| is_over(queued)).map(|(place, _)| *place).collect();
        for queued in over.iter().filter_map(|place| self.line.remove(place)).collect::<Vec<_>>() {
            let error = self.reason(log, now, &queued.frame);
            queued.caller.answer(Err(error));
        }
        while let Some((place, queued)) = self.line.pop_first() {
            if self.obstacle(log, now, &queued.frame).is_some() {
                self.line.insert(place, queued);
                return;
            }
            self.take_in(queued);
        }
    }
}

impl Limited {
    pub(super) fn obstacle(&self, log: &str, accepted: Totals, frame: Totals) -> Option<Error> {
        let (pending, most) = (self.limit.of(accepted).saturating_sub(self.done), self.limit.most());
        if pending == 0 || pending.saturating_add(self.limit.of(frame)) <= most {
            return None;
        }
        let (log, unit) = (log.to_owned(), self.limit.unit());
        let limit = format!("cursor {} has {pending} {unit} to deliver and may have {most}", self.cursor);
        Some(Kind::Full { log, limit, retry_after: LIMIT_DELAY }.into())
    }
}
