//! What waits for the writer of a log: frames, with a limit on their bytes, and requests to act. In front of it the
//! line of callers who wait until there is room.
//!
//! Invariants:
//! - Whether there is room is decided under one lock, for one frame after the other. So what a cursor with a limit has
//!   pending never exceeds it, but by one frame that is larger than the limit and found nothing pending.
//! - A frame counts as accepted from the moment it is queued; one that is not stored after all is taken back.
//! - Those who wait are let in first come, first served. Appends that do not wait are refused rather than queued, so
//!   they may pass those who do: who waits loses time by it, never a record.
//! - A frame in the line belongs to its caller. It goes when the caller goes, when its time is up, or when the log
//!   closes, and nothing of it was written then.

mod answer;
mod gather;
mod state;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

pub(crate) use self::answer::{Caller, Company, Seat};

use self::answer::OpenGroup;
use self::state::{Limited, Presence, State};
use super::clock::Clock;
use super::env::{Env, lock};
use super::format::{Totals, frame};
use super::{Error, Limit};

/// How often the line is looked at while nothing happens: for those whose time is up, and to try a full disk again.
const LOOK: Duration = Duration::from_millis(100);

/// The queue in front of a writer.
#[derive(Debug)]
pub(crate) struct Queue {
    /// The log's name, for errors.
    log: String,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    work: Condvar,
}

/// What is to be written.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) content: u8,
    pub(crate) items: u32,
    /// Nanoseconds since 1970.
    pub(crate) time: u64,
    pub(crate) payload: Bytes,
}

/// A frame on its way.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) frame: Frame,
    pub(crate) caller: Caller,
    /// Set once the caller had to wait for room.
    patience: Option<Patience>,
}

/// Whose caller waits for room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// In the line; kept when a full disk sends the frame back.
    place: u64,
    /// On the monotonic clock.
    until: Duration,
}

impl Frame {
    /// What it adds to the log's totals.
    fn amount(&self) -> Totals {
        Totals::frame(self.items, self.payload.len() as u64)
    }
}

impl Queued {
    pub(crate) fn new(frame: Frame, caller: Caller) -> Self {
        Self { frame, caller, patience: None }
    }

    /// Bytes in the segment.
    pub(crate) fn frame_len(&self) -> u64 {
        frame::frame_len(self.frame.payload.len() as u64)
    }

    /// What it adds to the log's totals.
    pub(crate) fn amount(&self) -> Totals {
        self.frame.amount()
    }
}

/// How a writer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Commit what waits, seal the segment.
    Close,
    /// At once, as a crash would.
    Abandon,
}

/// Who commits a frame that was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Its caller, unless somebody else commits just now.
    Callers,
    /// Somebody else will: the writer's worker, or the caller whom the next commit waits for.
    Others,
}

/// What became of a group that was taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settled {
    /// All of it.
    pub(crate) group: Totals,
    /// Of that, what counts as accepted.
    pub(crate) stored: Totals,
    /// How many callers are about to be answered that it is stored.
    pub(crate) answered: usize,
    pub(crate) took: Duration,
    /// When the writer has something to do even if no frame comes.
    pub(crate) deadline: Option<Duration>,
}

/// Why the writer was woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Frames,
    Deadline,
    Stop(Stop),
}

impl Queue {
    /// For a log that accepted this much before.
    pub(crate) fn new(log: &str, accepted: Totals, env: &Env) -> Self {
        let state = State::new(accepted, env.runner);
        Self { log: log.to_owned(), clock: env.clock.clone(), state: Mutex::new(state), work: Condvar::new() }
    }

    /// Queues a frame, or refuses it at once.
    pub(crate) fn push(&self, queued: Queued) -> Result<(), Error> {
        let mut state = self.open_state()?;
        if let Some(error) = state.obstacle(&self.log, self.now(), &queued.frame) {
            return Err(error);
        }
        state.take_in(queued);
        self.wake_writer(&state);
        Ok(())
    }

    /// As [`Queue::push`], for a caller who blocks. When it is its turn, it tries to commit; whoever commits just then
    /// looks here again afterwards.
    pub(crate) fn join(&self, frame: Frame) -> Result<(Seat, Turn), Error> {
        let mut state = self.open_state()?;
        let now = self.now();
        if let Some(error) = state.obstacle(&self.log, now, &frame) {
            return Err(error);
        }
        let (member, seat) = state.group.get_or_insert_with(OpenGroup::new).join();
        state.take_in(Queued::new(frame, Caller::Member(member)));
        if state.gathers(now) {
            self.wake_writer(&state);
            return Ok((seat, Turn::Others));
        }
        Ok((seat, Turn::Callers))
    }

    /// Queues a frame, or puts it in the line for so long. Answers its place there; `None` when it is queued.
    pub(crate) fn push_or_wait(&self, mut queued: Queued, patience: Duration) -> Result<Option<u64>, Error> {
        let mut state = self.open_state()?;
        let now = self.now();
        let obstacle = state.obstacle(&self.log, now, &queued.frame);
        if obstacle.is_none() && state.line.is_empty() {
            state.take_in(queued);
            self.wake_writer(&state);
            return Ok(None);
        }
        if patience.is_zero() {
            return Err(obstacle.unwrap_or_else(|| state.busy(&self.log)));
        }
        let place = state.next_place;
        state.next_place += 1;
        queued.patience = Some(Patience { place, until: now.saturating_add(patience) });
        state.line.insert(place, queued);
        // It looks at the line from now on.
        self.wake_writer(&state);
        Ok(Some(place))
    }

    fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    fn open_state(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = lock(&self.state);
        if state.closed { Err(Error::closed(&self.log)) } else { Ok(state) }
    }

    fn wake_writer(&self, state: &State) {
        if state.needs_wake() {
            self.work.notify_one();
        }
    }

    /// Wakes the writer if frames wait.
    pub(crate) fn wake(&self) {
        let state = lock(&self.state);
        if !state.frames.is_empty() {
            self.wake_writer(&state);
        }
    }

    /// Says when the writer has something to do even if no frame comes.
    pub(crate) fn set_deadline(&self, deadline: Option<Duration>) {
        self.put_deadline(&mut lock(&self.state), deadline);
    }

    fn put_deadline(&self, state: &mut State, deadline: Option<Duration>) {
        state.deadline = deadline;
        let Presence::Waits { until } = state.writer else { return };
        // A later one is found when the earlier one has passed.
        if deadline.is_some_and(|deadline| until.is_none_or(|until| deadline < until)) {
            self.work.notify_one();
        }
    }

    /// The caller at this place is gone.
    pub(crate) fn leave(&self, place: u64) {
        let mut state = lock(&self.state);
        let gone = state.line.remove(&place);
        // Who stood behind it may fit where it did not.
        self.wake_writer(&state);
        drop(state);
        drop(gone);
    }

    /// Sends everyone in the line away, as full.
    pub(crate) fn send_away(&self) {
        let mut state = lock(&self.state);
        let line = std::mem::take(&mut state.line);
        let now = self.now();
        let reason = |queued: Queued| (state.reason(&self.log, now, &queued.frame), queued);
        let answers: Vec<_> = line.into_values().map(reason).collect();
        drop(state);
        for (error, queued) in answers {
            queued.caller.answer(Err(error));
        }
    }

    /// Whether somebody waits for room.
    pub(crate) fn has_line(&self) -> bool {
        !lock(&self.state).line.is_empty()
    }

    /// Refuses what would make this cursor lag by more than `limit`; `done` as in [`Queue::passed`].
    pub(crate) fn limit(&self, cursor: &str, limit: Limit, done: Totals) {
        let mut state = lock(&self.state);
        state.limits.retain(|limited| limited.cursor != cursor);
        state.limits.push(Limited { cursor: cursor.to_owned(), limit, done: limit.of(done) });
    }

    /// Lets this cursor lag as it may.
    pub(crate) fn unlimit(&self, cursor: &str) {
        let mut state = lock(&self.state);
        state.limits.retain(|limited| limited.cursor != cursor);
        self.wake_writer(&state);
    }

    /// A cursor is done with all but what the log accepted beyond `done`.
    pub(crate) fn passed(&self, cursor: &str, done: Totals) {
        let mut state = lock(&self.state);
        if let Some(limited) = state.limits.iter_mut().find(|limited| limited.cursor == cursor) {
            // It only grows; two threads may come here in either order.
            limited.done = limited.done.max(limited.limit.of(done));
        }
        if !state.line.is_empty() {
            self.wake_writer(&state);
        }
    }

    /// Waits for work, at most until the deadline.
    pub(crate) fn wait(&self) -> Signal {
        let mut state = lock(&self.state);
        loop {
            let now = self.now();
            if let Some(signal) = state.signal(&self.log, now) {
                return signal;
            }
            let look = (!state.line.is_empty()).then_some(now + LOOK);
            let gather = state.gather.until();
            let until = [state.deadline, look, gather].into_iter().flatten().min();
            state.writer = Presence::Waits { until };
            state = match until {
                Some(until) => {
                    let left = until.saturating_sub(now);
                    self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state.writer = Presence::Busy;
        }
    }

    /// The work that there is now.
    #[cfg(test)]
    pub(crate) fn poll(&self) -> Option<Signal> {
        lock(&self.state).signal(&self.log, self.now())
    }

    /// Bytes in the segment of the first frame that waits. None after a stop as by a crash: a caller whose turn comes so
    /// late must not write into a directory that may be another process's by now.
    pub(crate) fn first_len(&self) -> Option<u64> {
        let state = lock(&self.state);
        state.frames.front().filter(|_| state.stop != Some(Stop::Abandon)).map(Queued::frame_len)
    }

    /// Takes frames, in order, that together are at most this many bytes in the segment.
    pub(crate) fn take(&self, room: u64, into: &mut Vec<Queued>) {
        let mut state = lock(&self.state);
        // Who joins from now on waits for a later commit.
        state.group = None;
        let mut left = room;
        while let Some(next) = state.frames.front() {
            let length = next.frame_len();
            if length > left {
                break;
            }
            left -= length;
            into.extend(state.frames.pop_front());
        }
        state.is_split = !state.frames.is_empty();
    }

    /// A group waits no more. Lets in whom there is room for now: callers that commit themselves may leave the writer's
    /// worker no turn to.
    pub(crate) fn settled(&self, settled: Settled) {
        let mut state = lock(&self.state);
        let now = self.now();
        let Settled { group, stored, answered, took, deadline } = settled;
        state.waiting = state.waiting.saturating_sub(group.bytes);
        state.accepted = state.accepted - (group - stored);
        state.let_in(&self.log, now);
        // Who blocks in a group that was split comes back only after the next commit.
        let expected = if state.is_split { 0 } else { answered };
        state.expect(expected, took, now);
        self.put_deadline(&mut state, deadline);
    }

    /// At an opening, it turned out that the log had accepted so much before.
    pub(crate) fn raise(&self, accepted: Totals) {
        let mut state = lock(&self.state);
        state.accepted = state.accepted.max(accepted);
    }

    /// Answers a group that was not stored. Whose caller waits for room goes back to its place when there was none.
    pub(crate) fn refused(&self, group: &mut Vec<Queued>, error: &Error) {
        for queued in group.drain(..) {
            let mut state = lock(&self.state);
            match queued.patience {
                // Asked under the lock: a caller who goes later finds its frame at its place.
                Some(patience) if error.is_full() && !state.closed && !queued.caller.is_gone() => {
                    state.line.insert(patience.place, queued);
                    // It may sleep without a look at the line: none was there when it went.
                    self.wake_writer(&state);
                }
                _ => {
                    drop(state);
                    queued.caller.answer(Err(error.clone()));
                }
            }
        }
    }

    /// Refuses appends until then, on the monotonic clock.
    pub(crate) fn refuse(&self, error: Error, until: Duration) {
        lock(&self.state).refusing = Some((until, error));
    }

    /// Takes appends again.
    pub(crate) fn admit(&self) {
        let mut state = lock(&self.state);
        state.refusing = None;
        if !state.line.is_empty() {
            self.wake_writer(&state);
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_idle(&self) -> bool {
        lock(&self.state).waiting == 0
    }

    /// Refuses appends for ever and tells the writer to end.
    pub(crate) fn stop(&self, stop: Stop) {
        let mut state = lock(&self.state);
        state.closed = true;
        if state.stop != Some(Stop::Abandon) {
            state.stop = Some(stop);
        }
        let line = std::mem::take(&mut state.line);
        drop(state);
        self.work.notify_one();
        for queued in line.into_values() {
            queued.caller.answer(Err(Error::closed(&self.log)));
        }
    }

    /// The writer has ended: what still waits is answered.
    pub(crate) fn end(&self, log: &str) {
        let (frames, line) = {
            let mut state = lock(&self.state);
            state.closed = true;
            state.group = None;
            (std::mem::take(&mut state.frames), std::mem::take(&mut state.line))
        };
        for queued in frames.into_iter().chain(line.into_values()) {
            queued.caller.answer(Err(Error::closed(log)));
        }
    }
}
