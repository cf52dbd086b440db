//! From one segment to the next: room for what comes, sealing, rewriting after a failure.

use std::io;
use std::sync::atomic::Ordering;

use super::super::Error;
use super::super::error::Kind;
use super::super::format::segment::{DATA_AT, Footer, flags};
use super::super::fs::{Trouble, is_no_space, trouble};
use super::super::reclaim::Purpose;
use super::super::segment::End;
use super::begin::Beginning;
use super::open::{Numbered, Open, RESERVE};
use super::{Kept, Writer};

/// How often frames are tried again on a disk that refuses them.
const MAX_REFUSALS: u32 = 2;

impl Writer {
    /// Makes sure that an open segment has room for frames of this many bytes, in the cap and on the disk.
    pub(super) fn ensure_room(&mut self, frames: u64) -> Result<(), Error> {
        if self.open.as_ref().is_some_and(|open| open.count > 0 && open.room(self.core.segment_size) < frames) {
            self.seal()?;
        }
        if self.find_room(frames)? { Ok(()) } else { Err(self.capped(need_of(frames))) }
    }

    /// Room in the open segment, else in the next one. False when there is none and no policy gives up any more.
    fn find_room(&mut self, frames: u64) -> Result<bool, Error> {
        if let Some(open) = &self.open {
            let growth = open.growth(frames);
            if growth == 0 || growth <= self.core.space.room(&self.core.account) {
                return Ok(true);
            }
            if !self.keeps_blocks() {
                return self.make_room(growth, Purpose::Growth);
            }
        }
        let need = need_of(frames);
        if !self.make_room(need, Purpose::Segment)? {
            return Ok(false);
        }
        if self.open.is_some() && self.core.spares.has(need) {
            self.seal()?;
        }
        if self.open.is_none() {
            self.begin(need)?;
        }
        Ok(true)
    }

    /// Whether a segment that may not grow is left for a file whose blocks the log has already: on a full disk, others
    /// could take what it gave back to grow. Where each write takes new blocks, the old ones are of no use.
    fn keeps_blocks(&self) -> bool {
        self.core.space.is_tight() && !self.core.space.copies_on_write()
    }

    fn make_room(&mut self, need: u64, purpose: Purpose) -> Result<bool, Error> {
        let made = self.core.make_room(need, purpose);
        // A disk that does not let go of the old has no room for the new.
        made.map_err(|e| self.refused(e))
    }

    /// The disk refused more bytes, so many times in a row by now: until it has room again, the log's cap is what it
    /// has now. True when another try is worth it, with frames of so many bytes at least.
    pub(super) fn gives_way(&mut self, refusal: &io::Error, frames: u64, refusals: u32) -> Result<bool, Error> {
        if !is_no_space(refusal) {
            return Ok(false);
        }
        self.core.space.is_used_up();
        if refusals > MAX_REFUSALS {
            return Ok(false);
        }
        match &self.open {
            // What the refused write left is room for some of it.
            Some(open) if open.growth(frames) == 0 && refusals == 1 => Ok(true),
            // The file has its bytes, and a write takes new blocks for them: only what goes makes room.
            Some(open) if open.growth(frames) == 0 => self.make_room(frames, Purpose::Growth),
            _ => self.find_room(frames),
        }
    }

    /// Ends the open segment with a durable footer. A disk without room for it leaves the segment unsealed, which
    /// costs a scan later and nothing else.
    pub(super) fn seal(&mut self) -> Result<(), Error> {
        self.let_go();
        if self.unsynced > 0 {
            let to_be_sealed = self.open.as_ref().map(|open| open.segment.id);
            // A footer says that the frames before it are whole: on the disk it must not come before them.
            self.sync()?;
            if self.open.as_ref().map(|open| open.segment.id) != to_be_sealed {
                // The sync failed, and what it left in doubt stands in another file, which has just begun.
                return Ok(());
            }
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        let footer = Footer {
            segment_id: open.segment.id,
            epoch: self.core.env.epoch,
            data_end: open.end,
            last_sequence: self.last_sequence,
            synced_to: self.synced_to,
            count: open.count,
            totals: self.totals,
            first_time: open.first_time,
            last_time: open.last_time,
        };
        let sealed = match open.write_footer(footer) {
            Ok(grown) => {
                self.core.account.add(grown);
                true
            }
            Err(e) if trouble(&e) == Trouble::Full => false,
            Err(e) => return self.poison(&e),
        };
        // Before the first ack in the next segment: that ack says that this one is whole.
        if let Err(e) = open.sync() {
            return self.poison(&e);
        }
        self.synced();
        self.sync_due = None;
        self.mark_due = None;
        if let Some(open) = self.open.take() {
            let end = self.end_of(&open, sealed);
            open.segment.set_end(end);
            self.kept.clear();
            self.core.view.update(|front| front.visible.segment = 0);
            // What is passed now may become the next segment.
            self.core.bell.ring();
        }
        Ok(())
    }

    fn end_of(&self, open: &Open, sealed: bool) -> End {
        End {
            sealed,
            data_end: open.end,
            last_sequence: self.last_sequence,
            totals: self.totals,
            synced_to: self.synced_to,
            count: open.count,
            last_time: open.last_time.max(open.segment.header.created),
            content: None,
        }
    }

    /// Writes what the failed file may have lost to a new one. The first sequence in its header is final: from it on
    /// the old file's frames are not data. Its other frames are, once they are read from the disk.
    pub(super) fn rewrite(&mut self) -> Result<(), Error> {
        let Some(old) = &self.open else {
            self.poisoned = false;
            return Ok(());
        };
        old.segment.poisoned.store(true, Ordering::Relaxed);
        old.forget_cache().map_err(|e| Error::io("drop the cache of", &old.segment.path, e))?;
        let frames: Vec<Numbered> = self.kept.iter().map(|kept| kept.frame.clone()).collect();
        let (first_sequence, totals) = match self.kept.front() {
            Some(first) => (first.frame.header.sequence, first.frame.header.totals),
            None => (self.first_to_come(), self.totals),
        };
        let durable = self.kept.front().map(|first| End {
            data_end: first.start.min(old.end),
            last_sequence: first_sequence.saturating_sub(1),
            totals,
            count: old.count.saturating_sub(self.kept.len() as u64),
            ..self.end_of(old, false)
        });
        let after_sequence = if frames.is_empty() { self.last_sequence } else { first_sequence.saturating_sub(1) };
        let beginning = Beginning { flags: flags::REWRITTEN, first_sequence, after_sequence, totals };
        let bytes: u64 = frames.iter().map(|f| f.header.frame_len()).sum();
        let need = need_of(bytes);
        let open = self.make(need, &beginning, &frames)?;
        // Readers leave the old file before what was rewritten. Without frames (`os`), a scan says what it holds.
        if let (Some(end), Some(old)) = (durable, &self.open) {
            old.segment.set_end(end);
        }
        self.kept = place(frames, DATA_AT);
        self.poisoned = false;
        self.unsynced = 0;
        self.open = Some(open);
        self.adopt();
        if !self.kept.is_empty() {
            self.synced();
        }
        self.sound();
        Ok(())
    }

    /// No room within the caps.
    fn capped(&mut self, need: u64) -> Error {
        let retry_after = self.next_delay();
        let (log, bytes) = (self.core.name.clone(), self.core.account.bytes());
        self.troubled(Kind::Capped { log, bytes, need, retry_after }.into(), retry_after)
    }

    /// The disk refused a new file, for whatever reason: the log is full until a later try succeeds.
    pub(super) fn refused(&mut self, error: Error) -> Error {
        let retry_after = self.next_delay();
        let (log, limit) = (self.core.name.clone(), error.to_string());
        self.troubled(Kind::Full { log, limit, retry_after }.into(), retry_after)
    }
}

/// What a new segment takes for frames of this many bytes.
fn need_of(frames: u64) -> u64 {
    DATA_AT + frames + RESERVE
}

/// Where frames stand that were written from `start` on.
fn place(frames: Vec<Numbered>, mut start: u64) -> std::collections::VecDeque<Kept> {
    let place = |frame: Numbered| {
        let end = start + frame.header.frame_len();
        let kept = Kept { frame, start, end };
        start = end;
        kept
    };
    frames.into_iter().map(place).collect()
}
