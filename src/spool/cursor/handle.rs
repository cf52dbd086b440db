//! The handle through which an exporter reads and acks.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{BufMut, BytesMut};

use super::super::core::LogCore;
use super::super::env::lock;
use super::super::format::cursor::Slot;
use super::super::format::dead_letter::Envelope;
use super::super::format::name_crc;
use super::super::names;
use super::super::stream::{Event, Met, Source, Stream};
use super::super::{Ack, Batch, CursorOptions, DeadLetter, Error, Frame, Need, Pending, Start};
use super::CursorCore;
use super::state::Place;

/// A durable reader of one log. Moves forward in memory with [`Cursor::next_batch`], durably with [`Cursor::ack`].
///
/// A frame is delivered at least once: after a crash, what was in flight or was acked within the last 100 ms comes
/// again. Frames come in order; acks may come in any.
///
/// The handle may be dropped and opened again; the position stays.
///
/// ```
/// use tidegate::spool::{Need, Start};
/// # use tidegate::spool::{Options, Spool};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// # let log = spool.log("events")?;
///
/// # log.append_wait(1, "one".into(), 1)?;
/// # log.append_wait(1, "two".into(), 1)?;
/// let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
/// let mut delivered = Vec::new();
/// while let Some(batch) = cursor.next_batch(1 << 20)? {
///     let (first, last) = (batch.frames[0].sequence, batch.frames[batch.frames.len() - 1].sequence);
///     delivered.extend(batch.frames.into_iter().map(|frame| frame.payload));
///     // Only once the backend has them: from here on they are delivered.
///     cursor.ack(first, last, 0)?;
/// }
/// assert_eq!(delivered, ["one", "two"]);
/// assert_eq!((cursor.position(), cursor.pending().items), (3, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Cursor {
    pub(super) log: Arc<LogCore>,
    pub(super) core: Arc<CursorCore>,
    pub(super) stream: Stream,
    /// Read already, and given with the next batch.
    pub(super) held: Option<Met>,
    /// The moves, and those of them by command, that the stream followed.
    pub(super) moves: u64,
    seeks: u64,
    /// The commands, and those of them that moved it, that the holder of this handle knows of.
    pub(super) known: (u64, u64),
}

impl Cursor {
    pub(crate) fn open(log: Arc<LogCore>, name: &str, options: CursorOptions) -> Result<Self, Error> {
        if log.is_closed() {
            return Err(Error::closed(&log.name));
        }
        let core = find_or_make(&log, name, options.start)?;
        if core.claimed.swap(true, Ordering::AcqRel) {
            return Err(Error::invalid(format!("cursor {name} of log {} is open already", log.name)));
        }
        core.orphaned.store(false, Ordering::Relaxed);
        lock(&core.state).slot.required = options.need == Need::Required;
        let stream = Stream::new(0, None, None);
        let mut cursor = Self { log, core, stream, held: None, moves: 0, seeks: 0, known: (0, 0) };
        cursor.rewind();
        cursor.known = cursor.commands();
        // Before a frame is read: a cursor that is not durable would start anew after a crash, and that it exists
        // is what keeps frames from being reclaimed.
        cursor.flush()?;
        cursor.core.set_limit(&cursor.log, options.max_pending);
        Ok(cursor)
    }

    /// Its name.
    ///
    /// ```
    /// use tidegate::spool::{Need, Start};
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    ///
    /// let cursor = log.cursor("otlp/eu", Start::Oldest, Need::Required)?;
    /// assert_eq!(cursor.name(), "otlp/eu");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        &self.core.name
    }

    /// The next durable frames after the read position, up to `max_bytes` of payload (at least one frame); `None`
    /// when there is nothing more now or the cursor is paused. Blocks on the disk, never on the writer. Frames that
    /// cannot be read are skipped and counted as dropped, with the reason.
    ///
    /// ```
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    /// for text in ["one", "two", "three"] {
    ///     log.append_wait(1, text.into(), 1)?;
    /// }
    /// // "one" and "two" together have 6 bytes.
    /// let batch = cursor.next_batch(6)?.expect("three frames are durable");
    /// assert_eq!(batch.frames.len(), 2);
    /// // At least one frame, however large.
    /// let batch = cursor.next_batch(1)?.expect("the third");
    /// assert_eq!(batch.frames[0].payload, "three");
    /// assert!(cursor.next_batch(6)?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// I/O on reading; a segment of a newer format. The read position stays: the call can be made again.
    pub fn next_batch(&mut self, max_bytes: usize) -> Result<Option<Batch>, Error> {
        self.follow();
        if self.is_paused() {
            return Ok(None);
        }
        self.core.tried.store(true, Ordering::Relaxed);
        self.stream.set_chunk(max_bytes.saturating_add(max_bytes / 8));
        let (mut frames, mut bytes) = (Vec::new(), 0);
        while let Some(met) = self.next_frame()? {
            let length = met.frame.payload.len();
            let mut state = lock(&self.core.state);
            if state.seeks != self.seeks {
                // Moved by command while the disk was read. Read now, this frame would pass all that lies before it.
                drop(state);
                (frames, bytes) = (Vec::new(), 0);
                self.rewind();
                continue;
            }
            let fits = frames.is_empty() || bytes + length <= max_bytes;
            if !fits || !state.may_read(met.frame.header.sequence) {
                self.held = Some(met);
                break;
            }
            let wanted = state.wants(met.frame.header.sequence);
            state.read(&met);
            if wanted {
                bytes += length;
                frames.push(frame(met));
            }
            if bytes >= max_bytes {
                break;
            }
        }
        // What was missing is counted by now.
        self.core.tell_passed(&self.log);
        Ok(if frames.is_empty() { None } else { Some(Batch { frames }) })
    }

    fn next_frame(&mut self) -> Result<Option<Met>, Error> {
        if let Some(met) = self.held.take() {
            return Ok(Some(met));
        }
        while let Some(event) = self.stream.next(&*self.log)? {
            match event {
                Event::Frame(met) => return Ok(Some(met)),
                Event::Lost(lost) => {
                    let (seeks, now) = (self.seeks, self.log.env.clock.wall());
                    let counted = self.core.with_counted(&self.log, lost.end(), |state, counted| {
                        // Moved by command meanwhile, its new place says whether this is missing there.
                        if state.seeks == seeks {
                            state.lost(&lost, counted, now);
                        }
                    });
                    counted.inspect_err(|_| self.stream.give_again(Event::Lost(lost)))?;
                    self.core.set_dirty();
                }
                Event::Hole(segment, hole) => {
                    let segment = lock(&self.log.table).get(&self.log.env, segment)?;
                    if let Some(segment) = segment {
                        self.log.damaged.set_aside(&self.log.env, &self.log.name, &segment, hole);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Whether the frame of this sequence is done, or behind.
    ///
    /// ```
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    /// # log.append_wait(1, "first".into(), 1)?;
    /// # log.append_wait(1, "second".into(), 1)?;
    /// let batch = cursor.next_batch(1 << 20)?.expect("two frames are durable");
    /// let (first, second) = (batch.frames[0].sequence, batch.frames[1].sequence);
    /// cursor.ack(second, second, 0)?;
    /// assert!(cursor.has_passed(second) && !cursor.has_passed(first));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn has_passed(&self, sequence: u64) -> bool {
        !lock(&self.core.state).wants(sequence)
    }

    /// Marks the frames from `first` to `last` as done: all their items delivered but `parked` of them. Any order;
    /// durable within 100 ms. Frames of the range that were not handed out, or are done already, are not counted.
    ///
    /// ```
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    /// # for text in ["one", "two", "three"] {
    /// #     log.append_wait(1, text.into(), 1)?;
    /// # }
    /// // Frames 1 to 3 are on their way. The answers for 2 and 3 come first.
    /// cursor.next_batch(1 << 20)?;
    /// cursor.ack(2, 3, 0)?;
    /// assert_eq!((cursor.position(), cursor.pending().items), (1, 1));
    /// cursor.ack(1, 1, 0)?;
    /// assert_eq!((cursor.position(), cursor.pending().items), (4, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Invalid when `first` is above `last`.
    pub fn ack(&mut self, first: u64, last: u64, parked: u64) -> Result<(), Error> {
        if first > last {
            return Err(Error::invalid(format!("cursor {}: ack from {first} to {last}", self.core.name)));
        }
        let mut state = lock(&self.core.state);
        let was_full = !state.may_read(u64::MAX);
        state.ack(first, last, parked);
        drop(state);
        self.core.set_dirty();
        self.core.tell_passed(&self.log);
        if was_full {
            // A reader that waits for room among the intervals looks again.
            self.log.view.update(|_| {});
        }
        Ok(())
    }

    /// Writes a dead letter and returns when it is durable; the frame still has to be acked.
    ///
    /// ```
    /// use tidegate::spool::DeadLetter;
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    ///
    /// # log.append_wait(1, "one frame".into(), 1)?;
    /// let frame = cursor.next_batch(1 << 20)?.expect("a frame is durable").frames.remove(0);
    /// cursor.park(DeadLetter {
    ///     sequence: frame.sequence,
    ///     first_item: 0,
    ///     items: frame.items,
    ///     content: frame.content,
    ///     payload: frame.payload,
    ///     reason: "refused".to_owned(),
    /// })?;
    /// assert_eq!(cursor.pending().items, 1, "not done yet");
    /// // All its items are parked, none is delivered.
    /// cursor.ack(frame.sequence, frame.sequence, u64::from(frame.items))?;
    /// assert_eq!((cursor.pending().items, log.dead_letters()?.durable_sequence()), (0, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What an append to the dead letters answers. The record then stays in the cursor's window.
    pub fn park(&self, letter: DeadLetter) -> Result<(), Error> {
        self.append_letter(letter)?.wait()?;
        Ok(())
    }

    /// Hands a dead letter to the writer of the dead letters.
    pub(crate) fn append_letter(&self, letter: DeadLetter) -> Result<Ack, Error> {
        let epoch = lock(&self.core.state).in_flight(letter.sequence).map_or(self.log.env.epoch, |e| e.epoch);
        let envelope = Envelope {
            epoch,
            sequence: letter.sequence,
            first_item: letter.first_item,
            items: letter.items,
            cursor: name_crc(&self.core.name),
            reason: letter.reason,
        };
        let envelope = envelope.encode();
        let mut payload = BytesMut::with_capacity(envelope.len() + letter.payload.len());
        payload.put_slice(&envelope);
        payload.put_slice(&letter.payload);
        self.log.dead_letters()?.append(letter.content, payload.freeze(), letter.items)
    }

    /// Every frame below this sequence is done: delivered, parked, dropped or skipped.
    ///
    /// ```
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    /// assert_eq!(cursor.position(), 1);
    /// # log.append_wait(1, "one frame".into(), 1)?;
    /// let frame = cursor.next_batch(1 << 20)?.expect("a frame is durable").frames.remove(0);
    /// assert_eq!(cursor.position(), frame.sequence, "handed out is not done");
    /// cursor.ack(frame.sequence, frame.sequence, 0)?;
    /// assert_eq!(cursor.position(), frame.sequence + 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn position(&self) -> u64 {
        lock(&self.core.state).slot.position
    }

    /// Back to the oldest frame that is not acked and that the log still has. What a limit took while it was handed
    /// out counts as dropped from now on.
    ///
    /// ```
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    /// # log.append_wait(1, "one frame".into(), 1)?;
    /// assert!(cursor.next_batch(1 << 20)?.is_some());
    /// assert!(cursor.next_batch(1 << 20)?.is_none());
    /// // The connection broke, and nobody knows what the backend has.
    /// cursor.rewind();
    /// assert!(cursor.next_batch(1 << 20)?.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rewind(&mut self) {
        self.give_up();
        let state = lock(&self.core.state);
        let (wanted, before, hint) = state.oldest_undone();
        (self.moves, self.seeks) = (state.moves, state.seeks);
        self.stream = Stream::new(wanted, Some(before), Some(hint));
        self.held = None;
    }

    fn give_up(&self) {
        if lock(&self.core.state).give_up(self.log.env.clock.wall()) {
            self.core.set_dirty();
        }
    }

    /// Goes on after what a limit took, if that was not read yet; or where a command moved it.
    fn follow(&mut self) {
        let state = lock(&self.core.state);
        if state.moves == self.moves {
            return;
        }
        if state.seeks != self.seeks {
            drop(state);
            return self.rewind();
        }
        self.moves = state.moves;
        let kept = state.kept;
        self.held = self.held.take().filter(|met| met.frame.header.sequence >= kept.sequence);
        if self.stream.wanted() < kept.sequence {
            self.stream = Stream::new(kept.sequence, Some(kept.totals), None);
        }
    }

    /// Durably writes position and counters now.
    ///
    /// ```
    /// use tidegate::spool::Reader;
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    ///
    /// # log.append_wait(1, "one frame".into(), 1)?;
    /// cursor.next_batch(1 << 20)?;
    /// cursor.ack(1, 1, 0)?;
    /// cursor.flush()?;
    /// assert_eq!(Reader::open(dir.path())?.inspect()?.logs[0].cursors[0].sequence, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// I/O. What is on disk then is the state before; the next write goes to a new file.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.core.flush(&self.log)
    }

    /// Whether its ledger closes now, as far as that shows.
    #[cfg(test)]
    pub(crate) fn closes(&self) -> bool {
        lock(&self.core.state).closes()
    }

    /// What it still has to deliver, in flight included.
    ///
    /// ```
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    /// log.append_wait(1, "three records".into(), 3)?;
    /// cursor.next_batch(1 << 20)?;
    /// assert_eq!((cursor.pending().items, cursor.pending().bytes), (3, 13), "in flight");
    /// cursor.ack(1, 1, 0)?;
    /// assert_eq!((cursor.pending().items, cursor.pending().oldest_age), (0, None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn pending(&self) -> Pending {
        self.core.pending(&self.log)
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.core.set_limit(&self.log, None);
        self.give_up();
        // The moment when somebody last had it open: what its time as an orphan is counted from.
        lock(&self.core.state).slot.last_seen = self.log.env.clock.wall();
        self.core.set_dirty();
        self.core.claimed.store(false, Ordering::Release);
    }
}

fn frame(met: Met) -> Frame {
    let header = met.frame.header;
    Frame {
        sequence: header.sequence,
        epoch: met.epoch,
        time_unix_nanos: header.time,
        items: header.items,
        content: header.content,
        payload: met.frame.payload,
    }
}

/// The cursor of this name, with a place to begin if it is new.
fn find_or_make(log: &Arc<LogCore>, name: &str, start: Start) -> Result<Arc<CursorCore>, Error> {
    let file = names::encode(name)?;
    // So that the oldest segment does not go between our look at it and the cursor being there to hold it.
    let _reclaiming = lock(&log.reclaiming);
    let mut cursors = lock(&log.cursors);
    if let Some(core) = cursors.get(name) {
        return Ok(core.clone());
    }
    let oldest = log.holding(0)?.filter(|_| start == Start::Oldest);
    let Place { sequence: position, totals } =
        oldest.map_or_else(|| log.end(), |s| Place { sequence: s.header.first_sequence, totals: s.header.totals });
    let slot = Slot {
        spool_id: log.env.spool_id,
        log: log.crc,
        name: name_crc(name),
        position,
        position_totals: totals,
        start: position,
        start_totals: totals,
        ..Slot::default()
    };
    let path = log.dir.join("cursors").join(file);
    let core = Arc::new(CursorCore::fresh(name.to_owned(), path, slot));
    cursors.insert(name.to_owned(), core.clone());
    log.account.add(super::super::format::cursor::FILE_LEN);
    Ok(core)
}
