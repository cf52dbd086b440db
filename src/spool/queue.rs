//! What waits for the writer of a log: frames, with a limit on their bytes, and requests to act. In front of it the
//! line of callers who wait until there is room.
//!
//! Invariants:
//! - Whether there is room is decided under one lock, for one frame after the other. So what a cursor with a limit has
//!   pending never exceeds it, but by one frame that is larger than the limit and found nothing pending.
//! - A frame counts as accepted from the moment it is queued; one that is not stored after all is taken back.
//! - Those who wait are let in first come, first served. Appends that do not wait are refused rather than queued, so
//!   they may pass those who do: who waits loses time by it, never a record.
//! - A commit waits for those whom the last one answered, since most callers come back at once and then share its sync:
//!   at most for as long as a commit takes, and not again for a while when they did not come.
//! - A frame in the line belongs to its caller. It goes when the caller goes, when its time is up, or when the log
//!   closes, and nothing of it was written then.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::clock::Clock;
use super::env::lock;
use super::error::Kind;
use super::format::{Totals, frame};
use super::{Appended, Error, Limit};

/// The most payload bytes that wait for a commit, those being committed included. A single larger frame is taken
/// when nothing else waits.
pub(crate) const MAX_WAITING: u64 = 16 << 20;
/// When to try again after "busy": about the time that a slow disk needs for [`MAX_WAITING`].
const BUSY_DELAY: Duration = Duration::from_millis(100);
/// When to try again after a cursor's limit refused: only its backend knows.
const LIMIT_DELAY: Duration = Duration::from_secs(1);
/// The longest that a commit waits for others.
const MAX_GATHER: Duration = Duration::from_millis(1);
/// Commits that do not wait after one that waited in vain.
const HURRIED: u32 = 16;
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

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Queued>,
    /// Payload bytes queued or being committed.
    waiting: u64,
    /// What the log accepted, with all that is queued or being committed.
    accepted: Totals,
    limits: Vec<Limited>,
    /// Those who wait for room, by their place.
    line: BTreeMap<u64, Queued>,
    next_place: u64,
    /// Until when appends are refused, on the monotonic clock, and with what.
    refusing: Option<(Duration, Error)>,
    closed: bool,
    stop: Option<Stop>,
    /// When the writer has something to do even without frames, on the monotonic clock.
    deadline: Option<Duration>,
    gather: Option<Gather>,
    /// Commits that wait for nobody, because the last ones who were waited for did not come.
    hurried: u32,
    writer: Presence,
}

/// Whom the next commit waits for.
#[derive(Debug, Clone, Copy)]
struct Gather {
    /// As soon as so many frames wait, it begins.
    frames: usize,
    /// On the monotonic clock.
    until: Duration,
}

/// Where the writer's worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Presence {
    #[default]
    Busy,
    /// It waits for frames, at most until then.
    Waits { until: Option<Duration> },
}

/// A cursor that may lag by so much and no more.
#[derive(Debug)]
struct Limited {
    cursor: String,
    limit: Limit,
    /// What the log had accepted before the cursor's start, and what it is done with since.
    done: u64,
}

/// A frame on its way.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) content: u8,
    pub(crate) items: u32,
    pub(crate) time: u64,
    pub(crate) payload: Bytes,
    pub(crate) ack: oneshot::Sender<Result<Appended, Error>>,
    /// Set once the caller had to wait for room.
    pub(crate) patience: Option<Patience>,
}

/// Whose caller waits for room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// In the line; kept when a full disk sends the frame back.
    place: u64,
    /// On the monotonic clock.
    until: Duration,
}

impl Queued {
    /// Bytes in the segment.
    pub(crate) fn frame_len(&self) -> u64 {
        frame::frame_len(self.payload.len() as u64)
    }

    /// What it adds to the log's totals.
    pub(crate) fn amount(&self) -> Totals {
        Totals::frame(self.items, self.payload.len() as u64)
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

/// Whose turn it is once a frame is queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// The writer's worker.
    Writer,
    /// The caller's own: it has the writer and commits at once.
    Nobody,
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
    pub(crate) fn new(log: &str, accepted: Totals, clock: Arc<dyn Clock>) -> Self {
        let state = State { accepted, ..State::default() };
        Self { log: log.to_owned(), clock, state: Mutex::new(state), work: Condvar::new() }
    }

    /// Queues a frame, or refuses it at once.
    pub(crate) fn push(&self, queued: Queued, wake: Wake) -> Result<(), Error> {
        let mut state = self.open_state()?;
        if let Some(error) = state.obstacle(&self.log, self.now(), &queued) {
            return Err(error);
        }
        state.take_in(queued);
        if wake == Wake::Writer {
            self.wake_writer(&state);
        }
        Ok(())
    }

    /// Queues a frame, or puts it in the line for so long. Answers its place there; `None` when it is queued.
    pub(crate) fn push_or_wait(&self, mut queued: Queued, patience: Duration) -> Result<Option<u64>, Error> {
        let mut state = self.open_state()?;
        let now = self.now();
        let obstacle = state.obstacle(&self.log, now, &queued);
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
        match (state.writer, state.gather) {
            (Presence::Busy, _) => {}
            // It wakes by itself when it has waited long enough.
            (Presence::Waits { until: Some(until) }, Some(gather))
                if until <= gather.until && state.frames.len() < gather.frames && state.line.is_empty() => {}
            _ => self.work.notify_one(),
        }
    }

    /// Whether the next commit waits for others: who commits now would go without them.
    pub(crate) fn is_gathering(&self) -> bool {
        lock(&self.state).gather.is_some()
    }

    /// A commit that took so long is about to answer so many: the next one waits for them to come back.
    pub(crate) fn expect(&self, answered: usize, took: Duration) {
        let mut state = lock(&self.state);
        state.hurried = state.hurried.saturating_sub(1);
        let frames = answered + state.frames.len();
        let waits = frames > 1 && state.hurried == 0;
        state.gather = waits.then(|| Gather { frames, until: self.now() + took.min(MAX_GATHER) });
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
        let mut state = lock(&self.state);
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
        let reason = |queued: Queued| (state.reason(&self.log, now, &queued), queued);
        let answers: Vec<_> = line.into_values().map(reason).collect();
        drop(state);
        for (error, queued) in answers {
            answer(queued.ack, Err(error));
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
            let gather = state.gather.map(|gather| gather.until);
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
        let mut state = lock(&self.state);
        // Whoever is waited for would have no turn.
        state.gather = None;
        state.signal(&self.log, self.now())
    }

    /// Bytes in the segment of the first frame that waits.
    pub(crate) fn first_len(&self) -> Option<u64> {
        lock(&self.state).frames.front().map(Queued::frame_len)
    }

    /// Takes frames, in order, that together are at most this many bytes in the segment.
    pub(crate) fn take(&self, room: u64, into: &mut Vec<Queued>) {
        let mut state = lock(&self.state);
        let mut left = room;
        while let Some(next) = state.frames.front() {
            let length = next.frame_len();
            if length > left {
                break;
            }
            left -= length;
            into.extend(state.frames.pop_front());
        }
    }

    /// A group of frames waits no more; only `stored` of it counts as accepted. Lets in whom there is room for now:
    /// callers that commit themselves may leave the writer's worker no turn to.
    pub(crate) fn settled(&self, group: Totals, stored: Totals) {
        let mut state = lock(&self.state);
        state.waiting = state.waiting.saturating_sub(group.bytes);
        state.accepted = state.accepted - (group - stored);
        if !state.line.is_empty() {
            state.let_in(&self.log, self.now());
        }
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
                Some(patience) if error.is_full() && !state.closed && !queued.ack.is_closed() => {
                    state.line.insert(patience.place, queued);
                    // It may sleep without a look at the line: none was there when it went.
                    self.wake_writer(&state);
                }
                _ => {
                    drop(state);
                    answer(queued.ack, Err(error.clone()));
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
            answer(queued.ack, Err(Error::closed(&self.log)));
        }
    }

    /// The writer has ended: what still waits is answered.
    pub(crate) fn end(&self, log: &str) {
        let (frames, line) = {
            let mut state = lock(&self.state);
            state.closed = true;
            (std::mem::take(&mut state.frames), std::mem::take(&mut state.line))
        };
        for queued in frames.into_iter().chain(line.into_values()) {
            answer(queued.ack, Err(Error::closed(log)));
        }
    }
}

impl State {
    /// What the writer has to do now.
    fn signal(&mut self, log: &str, now: Duration) -> Option<Signal> {
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
    fn gathers(&mut self, now: Duration) -> bool {
        let Some(gather) = self.gather else { return false };
        let came = self.frames.len() >= gather.frames || self.waiting >= MAX_WAITING / 2;
        if !came && now < gather.until && self.stop.is_none() {
            return true;
        }
        self.gather = None;
        if !came {
            self.hurried = HURRIED;
        }
        false
    }

    /// Why a frame cannot be queued now.
    fn obstacle(&mut self, log: &str, now: Duration, queued: &Queued) -> Option<Error> {
        if let Some((until, error)) = &self.refusing {
            if now < *until {
                return Some(error.clone());
            }
            // This one is the probe.
            self.refusing = None;
        }
        if self.waiting > 0 && self.waiting + queued.payload.len() as u64 > MAX_WAITING {
            return Some(self.busy(log));
        }
        self.limits.iter().find_map(|limited| limited.obstacle(log, self.accepted, queued.amount()))
    }

    fn busy(&self, log: &str) -> Error {
        Kind::Busy { log: log.to_owned(), waiting: self.waiting, retry_after: BUSY_DELAY }.into()
    }

    /// What to tell somebody who leaves the line without having been let in.
    fn reason(&mut self, log: &str, now: Duration, queued: &Queued) -> Error {
        self.obstacle(log, now, queued).unwrap_or_else(|| self.busy(log))
    }

    fn take_in(&mut self, queued: Queued) {
        self.waiting += queued.payload.len() as u64;
        self.accepted = self.accepted + queued.amount();
        self.frames.push_back(queued);
    }

    /// Lets in whom there is room for, in order, and sends away those whose time is up.
    fn let_in(&mut self, log: &str, now: Duration) {
        if self.line.is_empty() {
            return;
        }
        let is_over = |queued: &Queued| queued.patience.is_some_and(|patience| patience.until <= now);
        let over: Vec<u64> = self.line.iter().filter(|(_, queued)| is_over(queued)).map(|(place, _)| *place).collect();
        for queued in over.iter().filter_map(|place| self.line.remove(place)).collect::<Vec<_>>() {
            let error = self.reason(log, now, &queued);
            answer(queued.ack, Err(error));
        }
        while let Some((place, queued)) = self.line.pop_first() {
            if self.obstacle(log, now, &queued).is_some() {
                self.line.insert(place, queued);
                return;
            }
            self.take_in(queued);
        }
    }
}

impl Limited {
    fn obstacle(&self, log: &str, accepted: Totals, frame: Totals) -> Option<Error> {
        let (pending, most) = (self.limit.of(accepted).saturating_sub(self.done), self.limit.most());
        if pending == 0 || pending.saturating_add(self.limit.of(frame)) <= most {
            return None;
        }
        let (log, unit) = (log.to_owned(), self.limit.unit());
        let limit = format!("cursor {} has {pending} {unit} to deliver and may have {most}", self.cursor);
        Some(Kind::Full { log, limit, retry_after: LIMIT_DELAY }.into())
    }
}

/// Answers one append. Nobody may be waiting any more; the frame's fate does not depend on it.
pub(crate) fn answer(ack: oneshot::Sender<Result<Appended, Error>>, result: Result<Appended, Error>) {
    drop(ack.send(result));
}
