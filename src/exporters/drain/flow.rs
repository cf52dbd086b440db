//! What is sent next, and what an answer means. Decides only: knows no socket, no disk and no clock.
//!
//! A backend that refuses may refuse the records or be broken itself, and says the same in both cases. So a refused
//! piece is never parked on its own word. It is cut, and its parts are sent in turn with others; parts that are
//! accepted prove that the backend works. A single record that is refused although another request was accepted since
//! it first was, is condemned; it is parked when `max_interval` later it is refused again. While nothing at all is
//! accepted, nothing is parked, and one piece at a time is tried at `max_interval`.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::piece::Piece;
use super::rate::MaxRate;
use super::slice::Held;
use super::{Settings, ledger::Ledger};
use crate::exporters::{SendError, Sent, State};
use crate::otlp::Signal;
use crate::spool::Frame;

/// What one exporter may hold in memory, in bytes; a single larger batch is held alone.
const MAX_HELD: usize = 8 << 20;
/// Refused pieces that are held while others go on.
const MAX_SUSPECTS: usize = 64;
/// So many refusals in a row may still be the records' fault; with more, the backend is taken to be broken.
const REFUSALS_OF_A_WORKING_BACKEND: u32 = 5;
/// "Too large" is not remembered below this: batches that small would cost more than they could gain.
const SMALLEST_LEARNED: usize = 64 << 10;

/// Records that go to the dead letters before their frames are done.
#[derive(Debug)]
pub(super) struct Parking {
    pub(super) piece: Piece,
    pub(super) reason: String,
    /// How many of its items count as parked; the others were delivered.
    pub(super) items: u64,
}

/// The state of a drain between its cursor and its sink.
#[derive(Debug)]
pub(super) struct Flow {
    settings: Settings,
    backoff: Backoff,
    /// What is to be sent, in this order as far as it is due.
    queue: VecDeque<Piece>,
    /// What is to be parked.
    pub(super) parking: VecDeque<Parking>,
    /// Frames that are not done.
    pub(super) ledger: Ledger,
    in_flight: usize,
    /// Bytes of frames that are not done.
    held: Held,
    /// Requests that the backend took since start.
    accepted: u64,
    /// Refusals since the last request that was accepted.
    refusals: u32,
    /// The backend is away: failures since the last answer that came.
    retries: u32,
    /// Nothing is sent before this, unless the backend accepts something in the meantime.
    paused: Option<Instant>,
    /// The backend asked for nothing to be sent before this.
    throttled: Option<Instant>,
    /// The largest batch that is not known to be too large.
    max_batch: usize,
}

impl Flow {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            backoff: Backoff::new(settings.retry.clone()),
            max_batch: first_max_batch(&settings),
            settings,
            queue: VecDeque::new(),
            parking: VecDeque::new(),
            ledger: Ledger::default(),
            in_flight: 0,
            held: Held::default(),
            accepted: 0,
            refusals: 0,
            retries: 0,
            paused: None,
            throttled: None,
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How many bytes to read next.
    pub(super) fn max_batch(&self) -> usize {
        self.max_batch
    }

    /// Whether to read more: there is room, and nothing that could be sent is waiting.
    pub(super) fn wants_more(&self, now: Instant) -> bool {
        let held = self.held.bytes();
        let has_room = held == 0 || held + self.max_batch <= MAX_HELD;
        let suspects = self.queue.iter().filter(|piece| piece.refused_at.is_some()).count();
        has_room && suspects < MAX_SUSPECTS && !self.is_paused(now) && self.ready(now).is_none()
    }

    /// Takes frames that were read, all of one signal. A cursor that was moved, because the log dropped what it stood
    /// at, reads again what is under way here: that is left out.
    pub(super) fn add(&mut self, signal: Signal, mut frames: Vec<Frame>) {
        frames.retain(|frame| self.ledger.open(frame));
        if !frames.is_empty() {
            self.queue.push_back(Piece::new(signal, frames, &self.held));
        }
    }

    /// The next piece to send now. Refused pieces wait for others to be tried first; with `last_resort`, when there
    /// are none, the oldest is sent.
    pub(super) fn next(&mut self, now: Instant, last_resort: bool) -> Option<Piece> {
        // One request tries whether a backend that failed is back.
        let limit = if self.is_well() { self.settings.requests_in_flight.max(1) } else { 1 };
        if self.in_flight >= limit || self.is_paused(now) || self.paced().is_some_and(|until| until > now) {
            return None;
        }
        let due = |piece: &Piece| piece.not_before.is_none_or(|at| at <= now);
        let at = self.ready(now).or_else(|| self.queue.iter().position(due).filter(|_| last_resort))?;
        let mut piece = self.queue.remove(at)?;
        // More than one frame within the limit were never put together.
        if piece.items() > self.settings.max_batch_items
            && let Some((left, right)) = piece.cut_after(self.settings.max_batch_items)
        {
            self.ledger.cut(&left, &right);
            self.queue.push_front(right);
            piece = left;
        }
        while piece.bytes() > self.max_request() {
            let Some((left, right)) = self.cut(&piece) else { break };
            self.queue.push_front(right);
            piece = left;
        }
        self.in_flight += 1;
        if let Some(rate) = &self.settings.max_rate {
            rate.send(piece.bytes(), now);
        }
        Some(piece)
    }

    /// By `max_rate`, nothing more is sent before this.
    fn paced(&self) -> Option<Instant> {
        self.settings.max_rate.as_ref()?.busy_until()
    }

    /// When something may be sent that may not be sent now.
    pub(super) fn wake_at(&self, now: Instant) -> Option<Instant> {
        let paced = self.paced().filter(|_| !self.queue.is_empty());
        match self.paused.max(self.throttled).max(paced).filter(|until| *until > now) {
            Some(until) => Some(until),
            None => self.queue.iter().filter_map(|piece| piece.not_before).filter(|at| *at > now).min(),
        }
    }

    /// How the exporter is doing.
    pub(super) fn state(&self) -> State {
        if (self.refusals > 0 && self.is_busy()) || self.queue.iter().any(|piece| piece.suspected_at.is_some()) {
            State::Refused
        } else if self.retries > 0 {
            State::Retrying
        } else {
            State::Ok
        }
    }

    /// Whether something is sent, or is to be sent or parked.
    pub(super) fn is_busy(&self) -> bool {
        self.in_flight > 0 || !self.queue.is_empty() || !self.parking.is_empty()
    }

    /// Whether the last answer was an acceptance, or none came yet.
    pub(super) fn is_well(&self) -> bool {
        self.refusals == 0 && self.retries == 0
    }

    /// Takes the answer to a piece that [`Flow::next`] gave.
    pub(super) fn answered(&mut self, piece: Piece, answer: Result<Sent, SendError>, now: Instant) {
        self.in_flight -= 1;
        match answer {
            Ok(sent) => self.accepted(piece, sent),
            Err(SendError::Retry { reason, after }) => self.retry(piece, reason, after, now),
            Err(SendError::Refused { reason }) => self.refused(piece, reason, now),
            Err(SendError::BadData { reason }) => {
                self.retries = 0;
                match self.cut(&piece) {
                    Some(parts) => self.queue_first(parts),
                    None => self.park(piece, reason),
                }
            }
            Err(SendError::TooLarge { reason }) => {
                self.retries = 0;
                self.max_batch = self.max_batch.min((piece.bytes() / 2).max(SMALLEST_LEARNED));
                match self.cut(&piece) {
                    Some(parts) => self.queue_first(parts),
                    // A limit that no record fits is the backend's trouble as likely as the record's.
                    None => self.refused(piece, reason, now),
                }
            }
        }
    }

    /// A piece whose dead letters are durable is done.
    pub(super) fn parked(&mut self, parking: &Parking) {
        self.done(&parking.piece, parking.items);
    }

    fn accepted(&mut self, piece: Piece, sent: Sent) {
        self.accepted += 1;
        (self.refusals, self.retries, self.paused) = (0, 0, None);
        self.backoff.reset();
        let rejected = sent.rejected_items.min(piece.items());
        if rejected == 0 {
            self.done(&piece, 0);
            return;
        }
        // Which items were rejected is not said: the dead letters get a copy of the whole request.
        let message = sent.message.unwrap_or_default();
        let reason = format!("partial success: {rejected} of {} items rejected: {message}", piece.items());
        self.parking.push_back(Parking { piece, reason, items: rejected });
    }

    fn retry(&mut self, mut piece: Piece, reason: String, after: Option<Duration>, now: Instant) {
        if let Some(reason) = self.gives_up(&mut piece, &reason, now) {
            return self.park(piece, reason);
        }
        self.retries = self.retries.saturating_add(1);
        // Requests that failed together are one failure.
        let until = match (after, self.paused.filter(|until| *until > now)) {
            (Some(asked), _) => now + self.backoff.throttled(asked),
            (None, Some(until)) => until,
            (None, None) => now + self.backoff.after_failure(),
        };
        if after.is_some() {
            self.throttled = self.throttled.max(Some(until));
        }
        self.paused = self.paused.max(Some(until));
        piece.not_before = Some(until);
        self.queue.push_front(piece);
    }

    fn refused(&mut self, mut piece: Piece, reason: String, now: Instant) {
        self.retries = 0;
        if self.settings.park_permanent_errors {
            return self.park(piece, reason);
        }
        if let Some(reason) = self.gives_up(&mut piece, &reason, now) {
            return self.park(piece, reason);
        }
        self.refusals = self.refusals.saturating_add(1);
        let was_refused = piece.refused_at.replace(self.accepted).is_some();
        let suspected_at = *piece.suspected_at.get_or_insert(self.accepted);
        let backend_works = self.refusals <= REFUSALS_OF_A_WORKING_BACKEND;
        let again_at = now + self.backoff.after_refusal();
        if !backend_works {
            self.paused = self.paused.max(Some(again_at));
        }
        // A piece that is refused again is cut even so: its parts may be what gets through.
        if (backend_works || was_refused)
            && let Some((left, right)) = self.cut(&piece)
        {
            self.queue.extend([left, right]);
            return;
        }
        if piece.condemned {
            return self.park(piece, reason);
        }
        piece.condemned = backend_works && self.accepted > suspected_at && piece.cut().is_none();
        piece.not_before = Some(again_at);
        piece.let_go(&self.held);
        self.queue.push_back(piece);
    }

    /// Why a piece that failed is not tried again, if it is not.
    fn gives_up(&self, piece: &mut Piece, reason: &str, now: Instant) -> Option<String> {
        let retry = &self.settings.retry;
        let failed_first = *piece.failed_first.get_or_insert(now);
        if !retry.enabled {
            return Some(format!("retry_on_failure is off: {reason}"));
        }
        let limit = retry.max_elapsed_time;
        let is_over = !limit.is_zero() && now.saturating_duration_since(failed_first) >= limit;
        is_over.then(|| format!("given up after max_elapsed_time ({} s): {reason}", limit.as_secs_f64()))
    }

    fn park(&mut self, piece: Piece, reason: String) {
        let items = piece.items();
        self.parking.push_back(Parking { piece, reason, items });
    }

    fn done(&mut self, piece: &Piece, parked: u64) {
        self.ledger.close(piece, parked);
    }

    /// Cuts a piece in two that together stand for it.
    fn cut(&mut self, piece: &Piece) -> Option<(Piece, Piece)> {
        let (left, right) = piece.cut()?;
        self.ledger.cut(&left, &right);
        Some((left, right))
    }

    fn queue_first(&mut self, (left, right): (Piece, Piece)) {
        self.queue.push_front(right);
        self.queue.push_front(left);
    }

    /// The first piece that may be sent: never refused, or refused before the last request that was accepted.
    fn ready(&self, now: Instant) -> Option<usize> {
        self.queue.iter().position(|piece| {
            let is_due = piece.not_before.is_none_or(|at| at <= now);
            let is_cleared = !piece.condemned && piece.refused_at.is_some_and(|at| self.accepted > at);
            (is_due && piece.refused_at.is_none()) || is_cleared || (is_due && piece.condemned)
        })
    }

    fn is_paused(&self, now: Instant) -> bool {
        self.paused.max(self.throttled).is_some_and(|until| until > now)
    }

    /// A single frame may be larger than a batch, but not than what the backend said to be too large.
    fn max_request(&self) -> usize {
        let has_learned = self.max_batch < first_max_batch(&self.settings);
        if has_learned { self.max_batch } else { self.settings.max_request_bytes.max(self.max_batch) }
    }
}

/// The largest batch before the backend said that one is too large. With a rate it is what may be sent in a second, so
/// that it is kept in every few.
fn first_max_batch(settings: &Settings) -> usize {
    let in_a_second = settings.max_rate.as_ref().map_or(usize::MAX, MaxRate::in_a_second);
    settings.max_batch_bytes.min(in_a_second.max(SMALLEST_LEARNED)).max(1)
}
