//! The frames of a log from some sequence on, across its segments, with an account of what is missing.

use std::sync::Arc;

use super::Error;
use super::env::Env;
use super::format::Totals;
use super::format::cursor::Reason;
use super::format::segment::{DATA_AT, flags::REWRITTEN};
use super::fs::DiskFile;
use super::segment::{End, Segment};
use super::walk::{self, Found, FoundFrame, Hole, Walk};

/// Where a stream gets its segments from: a log of this process, or a directory that another one may be writing.
pub(crate) trait Source {
    fn env(&self) -> &Env;
    /// The first segment with an id above this one.
    fn after(&self, id: u64) -> Result<Option<Arc<Segment>>, Error>;
    /// The segment in which this sequence is or would be; the oldest if all begin after it.
    fn holding(&self, sequence: u64) -> Result<Option<Arc<Segment>>, Error>;
    /// How far this segment may be read now.
    fn extent(&self, segment: &Arc<Segment>) -> Result<Extent, Error>;
    /// Opens a segment's file so that it is not recycled while it is open; not found when it was.
    fn open(&self, segment: &Arc<Segment>) -> Result<Arc<dyn DiskFile>, Error>;
    /// Forgets a segment whose file is gone; false if it must be there.
    fn gone(&self, segment: &Arc<Segment>) -> Result<bool, Error>;
    /// The highest sequence of this epoch that a cursor's slot knows as durable.
    fn witnessed(&self, epoch: u64) -> u64;
}

/// How far a segment may be read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Extent {
    /// Up to here for now; more may come.
    Live(Visible),
    /// To its end.
    AtRest(End),
}

/// What readers may see of a log that is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Visible {
    /// The segment that is being written; 0 when there is none.
    pub(crate) segment: u64,
    /// The offset in it after the last frame to be seen.
    pub(crate) end: u64,
    /// The last sequence to be seen.
    pub(crate) sequence: u64,
    /// The log's totals up to it.
    pub(crate) totals: Totals,
}

/// What a stream meets.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A data frame.
    Frame(Met),
    /// Frames that the log accepted and that are not there.
    Lost(Lost),
    /// Bytes that do not verify, whether or not frames are missing. Told beside `Lost`, for `verify`.
    Hole(u64, Hole),
}

/// A frame and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Met {
    pub(crate) frame: FoundFrame,
    pub(crate) segment: u64,
    pub(crate) epoch: u64,
}

/// Frames that the running totals know of and nobody can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) first_sequence: u64,
    pub(crate) last_sequence: u64,
    pub(crate) amount: Totals,
    /// Totals after them.
    pub(crate) totals: Totals,
    pub(crate) reason: Reason,
}

impl Lost {
    /// After them.
    pub(crate) fn end(&self) -> super::cursor::state::Place {
        super::cursor::state::Place { sequence: self.last_sequence + 1, totals: self.totals }
    }
}

/// A position in a log that moves forward.
#[derive(Debug)]
pub(crate) struct Stream {
    /// The lowest sequence still wanted.
    wanted: u64,
    /// What the log had accepted before `wanted`; unknown until a first frame or segment tells.
    expected: Option<Totals>,
    place: Option<Place>,
    hint: Option<(u64, u64)>,
    pending: Option<Event>,
    chunk: usize,
}

#[derive(Debug)]
struct Place {
    segment: Arc<Segment>,
    walk: Walk,
    end: Option<End>,
}

impl Stream {
    /// From this sequence on. With `before`, what the log had accepted before it, anything missing is seen from the
    /// first frame on; `hint` is where the frame may be: segment and offset.
    pub(crate) fn new(wanted: u64, before: Option<Totals>, hint: Option<(u64, u64)>) -> Self {
        Self { wanted, expected: before, place: None, hint, pending: None, chunk: walk::CHUNK }
    }

    /// The lowest sequence still to come.
    pub(crate) fn wanted(&self) -> u64 {
        self.wanted
    }

    /// How much to read at once.
    pub(crate) fn set_chunk(&mut self, bytes: usize) {
        self.chunk = bytes;
        if let Some(place) = &mut self.place {
            place.walk.set_chunk(bytes);
        }
    }

    /// The next event; `None` at the present end.
    pub(crate) fn next(&mut self, source: &dyn Source) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.pending.take() {
                return Ok(self.pass(event));
            }
            let Some(place) = &mut self.place else {
                if !self.enter_first(source)? {
                    return Ok(None);
                }
                continue;
            };
            match place.walk.next()? {
                Some(Found::Hole(hole)) => return Ok(Some(Event::Hole(place.segment.id, hole))),
                Some(Found::Frame(frame)) => {
                    if let Some(event) = self.meet(source, frame) {
                        return Ok(self.pass(event));
                    }
                }
                None if self.at_end(source)? => return Ok(None),
                None => {}
            }
        }
    }

    /// Takes back the event that was given last.
    pub(crate) fn give_again(&mut self, event: Event) {
        self.pending = Some(event);
    }

    fn pass(&mut self, event: Event) -> Option<Event> {
        match &event {
            Event::Frame(met) => {
                self.wanted = met.frame.header.sequence + 1;
                self.expected = Some(met.frame.header.totals_after());
            }
            Event::Lost(lost) => {
                self.wanted = lost.last_sequence + 1;
                self.expected = Some(lost.totals);
            }
            Event::Hole(..) => {}
        }
        Some(event)
    }

    /// What a frame means: itself, or first the frames that should have come before it.
    fn meet(&mut self, source: &dyn Source, frame: FoundFrame) -> Option<Event> {
        let (segment, epoch) = self.place.as_ref().map(|p| (p.segment.id, p.segment.header.epoch))?;
        let header = frame.header;
        // A mark speaks for what comes after its sequence.
        let sequence = header.sequence + u64::from(!header.is_data());
        if sequence < self.wanted {
            return None;
        }
        let missing = self.missing(source, header.totals, sequence);
        let event = header.is_data().then(|| Event::Frame(Met { frame, segment, epoch }));
        match (missing, event) {
            (Some(lost), event) => {
                self.pending = event;
                Some(Event::Lost(lost))
            }
            (None, event) => event,
        }
    }

    /// What is missing before `next`, where the log's totals are known to be `totals`.
    fn missing(&mut self, source: &dyn Source, totals: Totals, next: u64) -> Option<Lost> {
        let amount = totals - *self.expected.get_or_insert(totals);
        if amount.is_zero() {
            return None;
        }
        let first_sequence = self.wanted;
        let last_sequence = next.saturating_sub(1).max(first_sequence);
        let failed = self.is_poisoned(source, first_sequence);
        let reason = match self.was_promised(source, first_sequence) {
            // With `os` what a failed segment held is not written again, and later syncs say nothing about it.
            _ if failed && self.place.as_ref().is_some_and(|p| p.segment.header.durability == 2) => Reason::SyncFailed,
            true => Reason::Damaged,
            false if failed => Reason::SyncFailed,
            false => Reason::Torn,
        };
        Some(Lost { first_sequence, last_sequence, amount, totals, reason })
    }

    /// Whether what is missing was in a segment whose sync failed: its successor says so.
    fn is_poisoned(&self, source: &dyn Source, sequence: u64) -> bool {
        let Some(place) = &self.place else { return false };
        let rewritten = |segment: &Segment| segment.header.flags & REWRITTEN != 0;
        if sequence < place.segment.header.first_sequence {
            return rewritten(&place.segment);
        }
        let next = || source.after(place.segment.id).ok().flatten();
        place.segment.is_poisoned() || next().is_some_and(|next| rewritten(&next))
    }

    /// Whether a missing frame is known to have been durable once. Only at the end of a run, or of a segment whose
    /// sync failed, can it not have been: above all that its witnesses say.
    fn was_promised(&self, source: &dyn Source, sequence: u64) -> bool {
        let Some(place) = &self.place else { return true };
        let header = &place.segment.header;
        if sequence < header.first_sequence {
            return sequence <= header.synced_to;
        }
        match &place.end {
            Some(end) if !end.sealed => {
                let told = source.after(header.segment_id).ok().flatten().map_or(0, |next| next.header.synced_to);
                sequence <= end.synced_to.max(told).max(source.witnessed(header.epoch))
            }
            _ => true,
        }
    }

    fn enter_first(&mut self, source: &dyn Source) -> Result<bool, Error> {
        let Some(segment) = source.holding(self.wanted)? else { return Ok(false) };
        let at = match self.hint.take() {
            Some((id, offset)) if id == segment.id && offset >= DATA_AT => offset,
            _ => DATA_AT,
        };
        // A wrong hint must not skip a frame: only the wanted one itself confirms it.
        let at = if at > DATA_AT && !self.verify_hint(source, &segment, at)? { DATA_AT } else { at };
        self.enter(source, segment, at)?;
        Ok(true)
    }

    fn verify_hint(&self, source: &dyn Source, segment: &Arc<Segment>, at: u64) -> Result<bool, Error> {
        let Some((file, extent)) = open(source, segment)? else { return Ok(false) };
        let end = match extent {
            Extent::Live(visible) => visible.end,
            Extent::AtRest(end) => end.data_end,
        };
        if at == end {
            return Ok(true);
        }
        let mut walk = Walk::new(file, segment, at, end, u64::MAX);
        walk.set_chunk(0);
        let found = walk.next()?;
        let wanted = |f: &FoundFrame| f.header.sequence + u64::from(!f.header.is_data()) == self.wanted;
        Ok(matches!(found, Some(Found::Frame(f)) if f.offset == at && wanted(&f)))
    }

    fn enter(&mut self, source: &dyn Source, segment: Arc<Segment>, at: u64) -> Result<(), Error> {
        let Some((file, extent)) = open(source, &segment)? else {
            // Look again where the wanted sequence is now.
            self.place = None;
            return Ok(());
        };
        let (end, known) = match extent {
            Extent::Live(visible) => (visible.end, None),
            Extent::AtRest(end) => (end.data_end, Some(end)),
        };
        let mut walk = Walk::new(file, &segment, at, end, u64::MAX);
        walk.set_chunk(self.chunk);
        let (totals, first) = (segment.header.totals, segment.header.first_sequence);
        self.place = Some(Place { segment, walk, end: known });
        if at == DATA_AT && first >= self.wanted {
            self.pending = self.missing(source, totals, first).map(Event::Lost);
        }
        self.prefetch_next(source);
        Ok(())
    }

    /// Asks the disk for the beginning of the next segment: else each would begin with a wait for the disk. What
    /// fails here fails again, and is told, when it is read.
    fn prefetch_next(&self, source: &dyn Source) {
        let Some(place) = self.place.as_ref().filter(|_| self.chunk >= walk::CHUNK) else { return };
        if let Ok(Some(next)) = source.after(place.segment.id)
            && let Ok(file) = source.open(&next)
        {
            file.prefetch(DATA_AT, walk::READ_AHEAD);
        }
    }

    /// At the walk's end: whether it is the present end of the log. Else moves on.
    fn at_end(&mut self, source: &dyn Source) -> Result<bool, Error> {
        let Some(place) = &mut self.place else { return Ok(true) };
        let Some(extent) = unless_gone(source, &place.segment, source.extent(&place.segment))? else {
            // The file that is held has all of it still.
            match place.segment.footer(place.walk.file())?.filter(|end| place.end != Some(*end)) {
                Some(end) => {
                    place.end = Some(end);
                    place.walk.set_end(end.data_end.max(place.walk.offset()));
                }
                None => self.place = None,
            }
            return Ok(false);
        };
        let end = match extent {
            Extent::Live(visible) if visible.end > place.walk.end() => {
                place.walk.set_end(visible.end);
                return Ok(false);
            }
            Extent::Live(visible) => return Ok(!self.end_with(source, visible.sequence, visible.totals)),
            Extent::AtRest(end) => end,
        };
        if place.end != Some(end) {
            // It was open when we entered it, or had just become the newest and did not look so yet.
            place.end = Some(end);
            place.walk.set_end(end.data_end.max(place.walk.offset()));
            return Ok(false);
        }
        let id = place.segment.id;
        if let Some(hole) = place.walk.take_rest() {
            self.pending = Some(Event::Hole(id, hole));
            return Ok(false);
        }
        if self.end_with(source, end.last_sequence, end.totals) {
            return Ok(false);
        }
        let Some(next) = source.after(id)? else { return Ok(true) };
        self.enter(source, next, DATA_AT)?;
        Ok(false)
    }

    /// Tells what is missing between the last frame met and `sequence`, the last there should be.
    fn end_with(&mut self, source: &dyn Source, sequence: u64, totals: Totals) -> bool {
        if sequence >= self.wanted {
            self.pending = self.missing(source, totals, sequence + 1).map(Event::Lost);
        }
        self.pending.is_some()
    }
}

/// A segment's file and how far it may be read.
type Opened = (Arc<dyn DiskFile>, Extent);

/// `None` when it was reclaimed meanwhile.
fn open(source: &dyn Source, segment: &Arc<Segment>) -> Result<Option<Opened>, Error> {
    let opened = source.open(segment).and_then(|file| Ok((file, source.extent(segment)?)));
    unless_gone(source, segment, opened)
}

/// What was found in a segment; `None` when it was reclaimed while it was looked for.
pub(crate) fn unless_gone<T>(
    source: &dyn Source,
    segment: &Arc<Segment>,
    found: Result<T, Error>,
) -> Result<Option<T>, Error> {
    match found {
        Err(e) if e.is_not_found() && source.gone(segment)? => Ok(None),
        found => found.map(Some),
    }
}
