//! What waits for the writer of a log: frames, with a limit on their bytes, and requests to act.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::clock::Clock;
use super::env::lock;
use super::error::Kind;
use super::format::frame;
use super::{Appended, Error};

/// The most payload bytes that wait for a commit, those being committed included. A single larger frame is taken
/// when nothing else waits.
pub(crate) const MAX_WAITING: u64 = 16 << 20;
/// When to try again after "busy": about the time that a slow disk needs for [`MAX_WAITING`].
const BUSY_DELAY: Duration = Duration::from_millis(100);

/// The queue in front of a writer.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Queued>,
    /// Payload bytes queued or being committed.
    waiting: u64,
    /// Until when appends are refused, on the monotonic clock, and with what.
    refusing: Option<(Duration, Error)>,
    closed: bool,
    stop: Option<Stop>,
    /// When the writer has something to do even without frames, on the monotonic clock.
    deadline: Option<Duration>,
    writer: Presence,
}

/// Where the writer's worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Presence {
    #[default]
    Busy,
    /// It waits for frames, at most until then.
    Waits { until: Option<Duration> },
}

/// A frame on its way.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) content: u8,
    pub(crate) items: u32,
    pub(crate) time: u64,
    pub(crate) payload: Bytes,
    pub(crate) ack: oneshot::Sender<Result<Appended, Error>>,
}

impl Queued {
    /// Bytes in the segment.
    pub(crate) fn frame_len(&self) -> u64 {
        frame::frame_len(self.payload.len() as u64)
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

impl State {
    fn signal(&self) -> Option<Signal> {
        match self.stop {
            Some(Stop::Abandon) => Some(Signal::Stop(Stop::Abandon)),
            _ if !self.frames.is_empty() => Some(Signal::Frames),
            stop => stop.map(Signal::Stop),
        }
    }
}

impl Queue {
    /// Queues a frame, or refuses it at once.
    pub(crate) fn push(&self, clock: &dyn Clock, log: &str, queued: Queued, wake: Wake) -> Result<(), Error> {
        let bytes = queued.payload.len() as u64;
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Error::closed(log));
        }
        if let Some((until, error)) = &state.refusing {
            if clock.monotonic() < *until {
                return Err(error.clone());
            }
            // This one is the probe.
            state.refusing = None;
        }
        if state.waiting > 0 && state.waiting + bytes > MAX_WAITING {
            let (log, waiting) = (log.to_owned(), state.waiting);
            return Err(Kind::Busy { log, waiting, retry_after: BUSY_DELAY }.into());
        }
        state.waiting += bytes;
        state.frames.push_back(queued);
        if wake == Wake::Writer && state.writer != Presence::Busy {
            self.work.notify_one();
        }
        Ok(())
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

    /// Wakes the writer if frames wait.
    pub(crate) fn wake(&self) {
        let state = lock(&self.state);
        if !state.frames.is_empty() && state.writer != Presence::Busy {
            self.work.notify_one();
        }
    }

    /// Waits for work, at most until the deadline.
    pub(crate) fn wait(&self, clock: &dyn Clock) -> Signal {
        let mut state = lock(&self.state);
        loop {
            if let Some(signal) = state.signal() {
                return signal;
            }
            let left = state.deadline.map(|d| d.saturating_sub(clock.monotonic()));
            if left.is_some_and(|left| left.is_zero()) {
                return Signal::Deadline;
            }
            state.writer = Presence::Waits { until: state.deadline };
            state = match left {
                Some(left) => self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state.writer = Presence::Busy;
        }
    }

    /// The work that there is now.
    #[cfg(test)]
    pub(crate) fn poll(&self, clock: &dyn Clock) -> Option<Signal> {
        let state = lock(&self.state);
        let due = state.deadline.is_some_and(|d| d <= clock.monotonic());
        state.signal().or(due.then_some(Signal::Deadline))
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

    /// These payload bytes wait no more.
    pub(crate) fn settled(&self, bytes: u64) {
        let mut state = lock(&self.state);
        state.waiting = state.waiting.saturating_sub(bytes);
    }

    /// Refuses appends until then, on the monotonic clock.
    pub(crate) fn refuse(&self, error: Error, until: Duration) {
        lock(&self.state).refusing = Some((until, error));
    }

    /// Takes appends again.
    pub(crate) fn admit(&self) {
        lock(&self.state).refusing = None;
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
        drop(state);
        self.work.notify_one();
    }

    /// The writer has ended: what still waits is answered.
    pub(crate) fn end(&self, log: &str) {
        let frames = {
            let mut state = lock(&self.state);
            state.closed = true;
            std::mem::take(&mut state.frames)
        };
        for queued in frames {
            answer(queued.ack, Err(Error::closed(log)));
        }
    }
}

/// Answers one append. Nobody may be waiting any more; the frame's fate does not depend on it.
pub(crate) fn answer(ack: oneshot::Sender<Result<Appended, Error>>, result: Result<Appended, Error>) {
    drop(ack.send(result));
}

/// An append on its way to the disk: wait for it or await it.
///
/// Dropping it does not take the append back.
#[must_use = "only a waited-for append is durable"]
#[derive(Debug)]
pub struct Ack(Answer);

#[derive(Debug)]
enum Answer {
    Waiting(oneshot::Receiver<Result<Appended, Error>>),
    Polled(oneshot::AsyncReceiver<Result<Appended, Error>>),
    Taken,
}

impl Ack {
    pub(crate) fn new(receiver: oneshot::Receiver<Result<Appended, Error>>) -> Self {
        Self(Answer::Waiting(receiver))
    }

    /// Blocks until the frame is as durable as the log promises.
    ///
    /// # Errors
    /// Full, when the disk or the log's cap refused it after all; poisoned, when a sync failed and the frame could
    /// not be written elsewhere at once (it may still be stored later); closed.
    pub fn wait(self) -> Result<Appended, Error> {
        match self.0 {
            Answer::Waiting(receiver) => receiver.recv().unwrap_or_else(|_| Err(gone())),
            Answer::Polled(receiver) => block_on(receiver).unwrap_or_else(|_| Err(gone())),
            Answer::Taken => Err(Error::invalid("the answer of this append was taken before")),
        }
    }
}

impl Future for Ack {
    type Output = Result<Appended, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0 = match std::mem::replace(&mut self.0, Answer::Taken) {
            Answer::Waiting(receiver) => Answer::Polled(receiver.into_future()),
            other => other,
        };
        match &mut self.0 {
            Answer::Polled(receiver) => Pin::new(receiver).poll(cx).map(|r| r.unwrap_or_else(|_| Err(gone()))),
            _ => Poll::Ready(Err(Error::invalid("the answer of this append was taken before"))),
        }
    }
}

fn gone() -> Error {
    Error::closed("(its writer ended)")
}

/// Waits for a future on this thread.
fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
