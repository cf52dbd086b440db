//! The loop between a cursor, which blocks, and a sink, which does not.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use super::Settings;
use super::flow::{Flow, Parking};
use super::gather::Gathered;
use super::piece::Piece;
use crate::exporters::status::LOSS;
use crate::exporters::{SendError, Sent, Sink, State, Status};
use crate::otlp::Signal;
use crate::spool::{Cursor, DeadLetter, Error, Frame};

/// Told when the dead letters cannot be written.
const NOT_PARKED: &str = "a dead letter cannot be written, so its records stay in the log";

/// How long a stop waits for requests that a working backend is about to answer: each saves a duplicate.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// The pause after the log could not be read or written.
const DISK_PAUSE: Duration = Duration::from_secs(1);
/// The pause when the log said that there is more and there was not.
const EMPTY_PAUSE: Duration = Duration::from_millis(50);

/// Delivers what `cursor` reads to `sink` until `shutdown` completes; then gives the cursor back, flushed. What is not delivered stays in the log. A backend that does not answer never delays the stop; one that
/// works is given a second to answer what is in flight.
///
/// Needs a tokio runtime with time; the cursor's disk work is done on its blocking threads.
pub async fn run<S: Sink>(
    cursor: Cursor,
    sink: Arc<S>,
    settings: Settings,
    status: Arc<Status>,
    shutdown: impl Future<Output = ()>,
) -> Cursor {
    let mut shutdown = std::pin::pin!(shutdown);
    let mut drain = Drain::new(sink, settings, status);
    drain.is_paused = cursor.is_paused();
    let mut cursor = drain.turn(cursor).await;
    loop {
        let readable = cursor.readable();
        let commanded = cursor.commanded();
        let is_waiting = drain.is_waiting_for_log();
        let wake = drain.wake_at();
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(joined) = drain.sends.join_next_with_id() => drain.joined(joined),
            () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            () = readable, if is_waiting => drain.woken(),
            () = commanded => {}
        }
        cursor = drain.turn(cursor).await;
    }
    drain.stop(cursor).await
}

struct Drain<S> {
    flow: Flow,
    sink: Arc<S>,
    status: Arc<Status>,
    sends: JoinSet<Result<Sent, SendError>>,
    in_flight: HashMap<Id, Piece>,
    /// Frames that were read and are in no piece yet.
    gathered: Gathered,
    /// Frames whose content is none of OTLP's signals: no exporter can send them.
    foreign: VecDeque<Frame>,
    /// Nothing is left to read until the log says so.
    is_dry: bool,
    /// The log said that there is more and there was not; it is not believed before.
    dry_until: Option<Instant>,
    /// A failure was told, and no success since.
    is_failure_told: bool,
    /// The disk failed; nothing is asked of it before.
    disk_pause: Option<Instant>,
    /// By command: nothing is sent and nothing is read.
    is_paused: bool,
}

impl<S: Sink> Drain<S> {
    fn new(sink: Arc<S>, settings: Settings, status: Arc<Status>) -> Self {
        Self {
            gathered: Gathered::new(settings.clone()),
            flow: Flow::new(settings),
            sink,
            status,
            sends: JoinSet::new(),
            in_flight: HashMap::new(),
            foreign: VecDeque::new(),
            is_dry: false,
            dry_until: None,
            is_failure_told: false,
            disk_pause: None,
            is_paused: false,
        }
    }

    /// Does as an operator commanded. What a moved cursor does not want any more is forgotten, in flight or not.
    fn obey(&mut self, cursor: &mut Cursor) {
        let Some(commanded) = cursor.take_commanded() else { return };
        (self.is_paused, self.is_dry, self.dry_until) = (commanded.paused, false, None);
        if commanded.moved {
            self.sends.abort_all();
            self.in_flight.clear();
            self.foreign.clear();
            self.gathered = Gathered::new(self.flow.settings().clone());
            self.flow = Flow::new(self.flow.settings().clone());
        }
    }

    /// Does all that can be done now: settles what is done, sends what may be sent, reads what there is room for.
    async fn turn(&mut self, mut cursor: Cursor) -> Cursor {
        loop {
            self.obey(&mut cursor);
            cursor = self.settle(cursor).await;
            let now = Instant::now();
            if self.is_paused {
                self.publish();
                return cursor;
            }
            if let Some(piece) = self.flow.next(now, false) {
                self.send(piece);
            } else if self.can_read(now) {
                cursor = self.read(cursor).await;
            } else if let Some(piece) = self.flow.next(now, true) {
                self.send(piece);
            } else {
                self.publish();
                return cursor;
            }
        }
    }

    fn can_read(&self, now: Instant) -> bool {
        let may_ask = !self.is_dry && self.disk_pause.is_none_or(|until| until <= now);
        (may_ask || self.gathered.is_ripe(now, self.flow.max_batch())) && self.flow.wants_more(now)
    }

    fn woken(&mut self) {
        self.is_dry = false;
        self.dry_until = Some(Instant::now() + EMPTY_PAUSE);
    }

    fn is_waiting_for_log(&self) -> bool {
        self.is_dry && self.disk_pause.or(self.dry_until).is_none()
    }

    fn wake_at(&self) -> Option<Instant> {
        if self.is_paused {
            return self.disk_pause;
        }
        let now = Instant::now();
        // What is ripe already waits for the flow, not for the time.
        let due = self.gathered.due().filter(|due| *due > now);
        self.flow.wake_at(now).into_iter().chain(self.disk_pause).chain(self.dry_until).chain(due).min()
    }

    fn send(&mut self, piece: Piece) {
        self.status.update(|s| s.attempts += 1);
        let (sink, request) = (Arc::clone(&self.sink), piece.request());
        let task = self.sends.spawn(async move { sink.send(request).await });
        self.in_flight.insert(task.id(), piece);
    }

    fn joined(&mut self, joined: Result<(Id, Result<Sent, SendError>), JoinError>) {
        let (id, answer) = match joined {
            Ok(joined) => joined,
            Err(error) => {
                let reason = format!("the exporter failed: {error}");
                (error.id(), Err(SendError::Retry { reason, after: None }))
            }
        };
        let Some(piece) = self.in_flight.remove(&id) else { return };
        self.note(&piece, &answer);
        self.flow.answered(piece, answer, Instant::now());
    }

    /// Counts an answer, and tells of it when it changes how the exporter is doing.
    fn note(&mut self, piece: &Piece, answer: &Result<Sent, SendError>) {
        match answer {
            Ok(sent) => self.note_sent(piece.items(), sent),
            Err(error) => self.note_failed(piece, error),
        }
    }

    fn note_sent(&mut self, items: u64, sent: &Sent) {
        if std::mem::take(&mut self.is_failure_told) {
            tracing::info!("the backend takes requests again");
        }
        if let Some(message) = &sent.message {
            tracing::warn!(rejected = sent.rejected_items, of = items, message, "the backend took a request in part");
        }
        self.status.update(|s| s.sent_items += items.saturating_sub(sent.rejected_items));
    }

    fn note_failed(&mut self, piece: &Piece, error: &SendError) {
        let (items, reason) = (piece.items(), error.to_string());
        // Told once, not with each attempt, nor with each part of what was refused.
        let is_new = self.flow.is_well() && piece.suspected_at.is_none();
        match error {
            SendError::TooLarge { .. } | SendError::BadData { .. } if items > 1 => {
                tracing::debug!(items, "sent again in parts: {reason}");
            }
            _ if is_new || self.status.snapshot().last_error.as_deref() != Some(&reason) => {
                tracing::warn!(items, "not delivered, kept on disk: {reason}");
                self.is_failure_told = true;
            }
            _ => {}
        }
        self.status.update(|s| {
            s.failures += 1;
            s.failed(error.kind(), reason);
        });
    }

    fn publish(&self) {
        let state = match (self.disk_pause, self.is_paused) {
            (Some(_), _) => State::Failed,
            (None, true) => State::Paused,
            (None, false) => self.flow.state(),
        };
        let (is_waiting, in_flight) = (self.is_waiting_for_backend(), self.in_flight.len() as u64);
        self.status.update(|s| {
            (s.state, s.in_flight) = (state, in_flight);
            match is_waiting {
                true => drop(s.waiting_since.get_or_insert_with(std::time::Instant::now)),
                false => s.waiting_since = None,
            }
        });
    }

    /// Whether something that was read is not delivered. What a command paused waits for the command.
    fn is_waiting_for_backend(&self) -> bool {
        !self.is_paused && (self.flow.is_busy() || !self.foreign.is_empty())
    }

    /// Parks what is to be parked, and acks what is done.
    async fn settle(&mut self, cursor: Cursor) -> Cursor {
        let now = Instant::now();
        self.dry_until = self.dry_until.filter(|until| *until > now);
        self.disk_pause = self.disk_pause.filter(|until| *until > now);
        let mut cursor = if self.disk_pause.is_none() { self.park(cursor).await } else { cursor };
        for done in self.flow.ledger.take_done() {
            if let Err(error) = cursor.ack(done.first, done.last, done.parked) {
                // Delivered all the same: a restart sends these records again.
                self.disk_failed("the cursor cannot be moved", &error);
            } else {
                // Counted from now, if there is more.
                self.status.update(|s| s.waiting_since = None);
            }
        }
        cursor
    }

    /// Writes the dead letters that are due, as far as the disk lets it.
    async fn park(&mut self, mut cursor: Cursor) -> Cursor {
        while let Some(frame) = self.foreign.pop_front() {
            let (returned, (result, frame)) =
                blocking(cursor, move |cursor| (park_foreign(cursor, &frame), frame)).await;
            cursor = returned;
            if let Err(error) = result {
                self.disk_failed(NOT_PARKED, &error);
                self.foreign.push_front(frame);
                return cursor;
            }
        }
        while let Some(parking) = self.flow.parking.pop_front() {
            let letters = parking.piece.letters(&parking.reason);
            let (returned, result) = blocking(cursor, move |cursor| park(cursor, letters)).await;
            cursor = returned;
            if let Err(error) = result {
                self.disk_failed(NOT_PARKED, &error);
                self.flow.parking.push_front(parking);
                return cursor;
            }
            self.parked(&parking);
        }
        cursor
    }

    fn parked(&mut self, parking: &Parking) {
        tracing::warn!(target: LOSS, items = parking.items, reason = parking.reason, "records went to the dead letters");
        self.status.update(|s| s.parked_items += parking.items);
        self.flow.parked(parking);
    }

    /// Makes a piece of what is ripe; else reads the next frames.
    async fn read(&mut self, mut cursor: Cursor) -> Cursor {
        let max_batch = self.flow.max_batch();
        if !self.gathered.is_ripe(Instant::now(), max_batch) {
            let room = self.gathered.room(max_batch);
            let (returned, result) = blocking(cursor, move |cursor| cursor.next_batch(room)).await;
            cursor = returned;
            match result {
                Ok(Some(batch)) => {
                    self.gathered.add(batch.frames, Instant::now());
                    self.dry_until = None;
                }
                Ok(None) => self.is_dry = true,
                Err(error) => self.disk_failed("the log cannot be read", &error),
            }
        }
        if let Some(batch) = self.gathered.take(Instant::now(), max_batch) {
            self.add(batch);
        }
        cursor
    }

    fn add(&mut self, (tag, frames): (u8, Vec<Frame>)) {
        match Signal::from_tag(tag) {
            Some(signal) => self.flow.add(signal, frames),
            None => self.foreign.extend(frames),
        }
    }

    /// What waits for more goes out with the stop: nothing more will come. What a stop leaves is on disk.
    fn send_rest(&mut self) {
        if self.flow.is_well()
            && !self.is_paused
            && let Some(batch) = self.gathered.take_now(self.flow.max_batch())
        {
            self.add(batch);
            if let Some(piece) = self.flow.next(Instant::now(), false) {
                self.send(piece);
            }
        }
    }

    fn disk_failed(&mut self, what: &str, error: &Error) {
        tracing::error!(%error, "{what}");
        self.disk_pause = Some(Instant::now() + DISK_PAUSE);
        self.status.update(|s| s.failed("disk", format!("{what}: {error}")));
    }

    async fn stop(mut self, cursor: Cursor) -> Cursor {
        self.send_rest();
        let in_time = async {
            while self.flow.is_well()
                && let Some(joined) = self.sends.join_next_with_id().await
            {
                self.joined(joined);
            }
        };
        if timeout(STOP_GRACE, in_time).await.is_err() {
            tracing::debug!("requests in flight were left at the stop; they will be sent again");
        }
        self.sends.abort_all();
        let cursor = self.settle(cursor).await;
        let (cursor, result) = blocking(cursor, Cursor::flush).await;
        if let Err(error) = result {
            self.disk_failed("the cursor cannot be written at the stop; the last records will be sent again", &error);
        }
        self.publish();
        cursor
    }
}

fn park(cursor: &mut Cursor, letters: Vec<DeadLetter>) -> Result<(), Error> {
    letters.into_iter().try_for_each(|letter| cursor.park(letter))
}

/// Parks a frame that no exporter can send.
fn park_foreign(cursor: &mut Cursor, frame: &Frame) -> Result<(), Error> {
    let reason = format!("content tag {} is no OTLP signal", frame.content);
    let (sequence, items) = (frame.sequence, frame.items);
    tracing::warn!(target: LOSS, sequence, items, reason, "a frame went to the dead letters");
    cursor.park(DeadLetter {
        sequence: frame.sequence,
        first_item: 0,
        items: frame.items,
        content: frame.content,
        payload: frame.payload.clone(),
        reason,
    })?;
    cursor.ack(frame.sequence, frame.sequence, u64::from(frame.items))
}

/// Lends the cursor to a thread that may block.
async fn blocking<R: Send + 'static>(
    mut cursor: Cursor,
    work: impl FnOnce(&mut Cursor) -> R + Send + 'static,
) -> (Cursor, R) {
    let lent = tokio::task::spawn_blocking(move || {
        let result = work(&mut cursor);
        (cursor, result)
    });
    match lent.await {
        Ok(returned) => returned,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is ending and so is this task: it will not be polled again.
            Err(_) => std::future::pending().await,
        },
    }
}
