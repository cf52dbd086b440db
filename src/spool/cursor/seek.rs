//! Moving, pausing, resuming and removing cursors by command. How it is done is the same for a log of this process and
//! for files that nobody owns; who does it differs: [`CursorCore`] here, and `editor` there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::core::LogCore;
use super::super::env::lock;
use super::super::format::Totals;
use super::super::format::cursor::{FILE_LEN, Interval};
use super::super::stream::{Event, Source, Stream};
use super::super::{Error, From, Log, Move, Pending};
use super::state::{Place, State};
use super::{CursorCore, less_beyond};

/// Whether a move is made or only worked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Do,
    Try,
}

/// The place of `to` in a log that ends at `end`.
pub(crate) fn place(source: &dyn Source, to: From, end: Place) -> Result<Place, Error> {
    let from = match to {
        From::End => return Ok(end),
        From::Oldest => {
            let oldest = source.holding(0)?;
            return Ok(oldest.map_or(end, |s| Place { sequence: s.header.first_sequence, totals: s.header.totals }));
        }
        From::Sequence(sequence) => sequence,
        From::TimeUnixNanos(time) => last_segment(source, |header| header.created <= time)?,
        From::LastItems(items) => {
            let skip = end.totals.items.saturating_sub(items);
            last_segment(source, |header| header.totals.items <= skip)?
        }
    };
    let mut stream = Stream::new(from, None, None);
    while let Some(event) = stream.next(source)? {
        let Event::Frame(met) = event else { continue };
        let header = met.frame.header;
        let is_before = match to {
            From::TimeUnixNanos(time) => header.time < time,
            From::LastItems(items) => header.totals_after().items <= end.totals.items.saturating_sub(items),
            _ => false,
        };
        if !is_before {
            return Ok(Place { sequence: header.sequence, totals: header.totals });
        }
    }
    Ok(end)
}

/// First sequence of the last segment for which this holds, or of the oldest.
fn last_segment(
    source: &dyn Source,
    is_before: impl Fn(&super::super::format::segment::SegmentHeader) -> bool,
) -> Result<u64, Error> {
    let Some(mut segment) = source.holding(0)? else { return Ok(0) };
    while let Some(next) = source.after(segment.id)?.filter(|next| is_before(&next.header)) {
        segment = next;
    }
    Ok(segment.header.first_sequence)
}

/// How much of what lies from `from` on is in these intervals: frames, and what was found missing and counted.
pub(crate) fn amount_in(source: &dyn Source, from: Place, intervals: &[Interval]) -> Result<Totals, Error> {
    let mut amount = Totals::default();
    let Some(last) = intervals.last().map(|i| i.last) else { return Ok(amount) };
    let is_done = |sequence: u64| intervals.iter().any(|i| i.first <= sequence && sequence <= i.last);
    let mut stream = Stream::new(from.sequence, Some(from.totals), None);
    while let Some(event) = stream.next(source)? {
        let (sequence, part) = match event {
            Event::Frame(met) => (met.frame.header.sequence, met.frame.header.totals_after() - met.frame.header.totals),
            Event::Lost(lost) => (lost.last_sequence, lost.amount),
            Event::Hole(..) => continue,
        };
        if sequence > last {
            break;
        }
        if is_done(sequence) {
            amount = amount + part;
        }
    }
    Ok(amount)
}

/// Moves a cursor's state that nobody else uses, or a copy of one.
pub(crate) fn seek(source: &dyn Source, state: &mut State, to: Place) -> Result<Move, Error> {
    let from_sequence = state.slot.position;
    let counted = less_beyond(source, to, &state.counted_before(to.sequence))?;
    let skipped = state.seek(to, counted, source.env().clock.wall());
    told(source, from_sequence, state, skipped)
}

/// What a move did, by the state after it.
fn told(source: &dyn Source, from_sequence: u64, state: &State, skipped: Totals) -> Result<Move, Error> {
    let oldest = oldest_frame(source)?;
    Ok(Move {
        from_sequence,
        to_sequence: state.slot.position,
        skipped_items: skipped.items,
        replayed_items: state.replaying().items,
        oldest_sequence: oldest.map(|(sequence, _)| sequence),
        oldest_time_unix_nanos: oldest.map(|(_, time)| time),
    })
}

/// Sequence and append time of the oldest frame that can be read.
fn oldest_frame(source: &dyn Source) -> Result<Option<(u64, u64)>, Error> {
    let mut stream = Stream::new(0, None, None);
    stream.set_chunk(0);
    while let Some(event) = stream.next(source)? {
        if let Event::Frame(met) = event {
            return Ok(Some((met.frame.header.sequence, met.frame.header.time)));
        }
    }
    Ok(None)
}

impl CursorCore {
    /// Moves it, durably; or says what that would do.
    pub(crate) fn seek(&self, log: &LogCore, to: From, how: How) -> Result<Move, Error> {
        // What it is moved back to must not be reclaimed before it holds it.
        let _reclaiming = lock(&log.reclaiming);
        let to = place(log, to, self.end(log))?;
        if how == How::Try {
            // A statement of its own: the copy is made under the lock, and not read from the disk under it.
            let mut copy = lock(&self.state).clone();
            return seek(log, &mut copy, to);
        }
        let now = log.env.clock.wall();
        let (from_sequence, skipped, after) = self.with_counted(log, to, |state, counted| {
            let from_sequence = state.slot.position;
            let skipped = state.seek(to, counted, now);
            (from_sequence, skipped, state.clone())
        })?;
        self.tell_passed(log);
        self.flush(log)?;
        self.wake(log);
        told(log, from_sequence, &after, skipped)
    }

    /// The log's end. With `os`, a power cut takes frames that were delivered: the log's totals have them, and so they
    /// lie before its end.
    fn end(&self, log: &LogCore) -> Place {
        let end = log.end();
        let acked = lock(&self.state).slot.intervals.last().map_or(0, |i| i.last);
        Place { sequence: end.sequence.max(acked + 1), ..end }
    }

    /// Stops or lets go on what it hands out, durably.
    pub(crate) fn pause(&self, log: &LogCore, paused: bool) -> Result<(), Error> {
        {
            let mut state = lock(&self.state);
            state.slot.paused = paused;
            state.commands += 1;
        }
        self.flush(log)?;
        self.wake(log);
        Ok(())
    }

    /// Who waits for frames looks again.
    fn wake(&self, log: &LogCore) {
        log.view.update(|_| {});
    }
}

impl Log {
    /// Moves a cursor by command, as [`Cursor::seek`](super::Cursor::seek) does, whether or not somebody has it open.
    ///
    /// ```
    /// use tidegate::spool::From;
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    ///
    /// log.append_wait(1, "old news".into(), 1)?;
    /// log.seek("backend", From::End)?;
    /// log.append_wait(1, "news".into(), 1)?;
    /// let batch = cursor.next_batch(1 << 20)?.expect("what came after the move");
    /// assert_eq!(batch.frames[0].payload, "news");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Not found when the log has no such cursor; I/O.
    pub fn seek(&self, cursor: &str, to: From) -> Result<Move, Error> {
        self.existing(cursor)?.seek(&self.0, to, How::Do)
    }

    /// What [`Log::seek`] would do now.
    ///
    /// ```
    /// use tidegate::spool::From;
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # let cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    ///
    /// log.append_wait(1, "three records".into(), 3)?;
    /// assert_eq!(log.try_seek("backend", From::End)?.skipped_items, 3);
    /// assert_eq!((cursor.position(), cursor.pending().items), (1, 3), "nothing was moved");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Log::seek`].
    pub fn try_seek(&self, cursor: &str, to: From) -> Result<Move, Error> {
        self.existing(cursor)?.seek(&self.0, to, How::Try)
    }

    /// Pauses a cursor: it hands nothing out until it is resumed, after a restart too. It goes on holding what it did
    /// not deliver. Durable when this returns.
    ///
    /// ```
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    /// log.append_wait(1, "one frame".into(), 1)?;
    /// log.pause("backend")?;
    /// assert!(cursor.next_batch(1 << 20)?.is_none());
    /// assert_eq!(cursor.pending().items, 1, "it goes on holding the frame");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Log::seek`].
    pub fn pause(&self, cursor: &str) -> Result<(), Error> {
        self.existing(cursor)?.pause(&self.0, true)
    }

    /// Lets a paused cursor go on.
    ///
    /// ```
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    /// log.append_wait(1, "one frame".into(), 1)?;
    /// log.pause("backend")?;
    /// assert!(cursor.next_batch(1 << 20)?.is_none());
    /// log.resume("backend")?;
    /// assert!(cursor.next_batch(1 << 20)?.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Log::seek`].
    pub fn resume(&self, cursor: &str) -> Result<(), Error> {
        self.existing(cursor)?.pause(&self.0, false)
    }

    /// Removes a cursor that nobody has open, and its file: it holds nothing any more, and an exporter of its name
    /// begins anew. Returns what it had not delivered.
    ///
    /// ```
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # let cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    /// log.append_wait(1, "two records".into(), 2)?;
    /// assert!(log.remove_cursor("backend").is_err(), "it is open");
    /// drop(cursor);
    /// assert_eq!(log.remove_cursor("backend")?.items, 2);
    /// assert!(log.remove_cursor("backend").is_err_and(|error| error.is_not_found()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Not found; invalid while somebody has it open; I/O.
    pub fn remove_cursor(&self, cursor: &str) -> Result<Pending, Error> {
        let core = self.existing(cursor)?;
        let pending = core.pending(&self.0);
        // Nobody may take it up, or reclaim by it, while it goes.
        let _reclaiming = lock(&self.0.reclaiming);
        if core.claimed.swap(true, Ordering::AcqRel) {
            return Err(Error::invalid(format!(
                "cursor {cursor} of log {} is in use: take its exporter out of the configuration first",
                self.name()
            )));
        }
        core.remove(&self.0).inspect_err(|_| core.claimed.store(false, Ordering::Release))?;
        lock(&self.0.cursors).remove(cursor);
        self.0.account.sub(FILE_LEN);
        Ok(pending)
    }

    /// Counts items that were sent again by command, from the dead letters. Durable within 100 ms.
    ///
    /// ```
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # let cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    /// // Two dead letters of this cursor were sent again.
    /// log.count_replayed("backend", 2)?;
    /// assert_eq!(spool.inspect()?.logs[0].cursors[0].replayed_items, 2);
    /// # drop(cursor);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Not found.
    pub fn count_replayed(&self, cursor: &str, items: u64) -> Result<(), Error> {
        let core = self.existing(cursor)?;
        lock(&core.state).slot.replayed_items += items;
        core.set_dirty();
        Ok(())
    }

    fn existing(&self, cursor: &str) -> Result<Arc<CursorCore>, Error> {
        let found = lock(&self.0.cursors).get(cursor).cloned();
        found.ok_or_else(|| Error::not_found(format!("cursor {cursor} of log {}", self.name())))
    }
}
