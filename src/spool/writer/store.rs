//! From a group that was taken to its bytes in the open segment.

use std::io;

use super::super::format::frame::{FrameHeader, kind};
use super::super::fs::{Trouble, is_no_space, trouble};
use super::super::queue::Queued;
use super::super::{Durability, Error};
use super::Writer;
use super::open::{Numbered, Open};

/// Why a group was not stored.
enum Failed {
    /// The disk has no room for it, and nothing of it counts as written.
    Full(io::Error),
    Other(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl Writer {
    /// Writes a group and makes it as durable as the policy says: how many frames of it, and why not the others. On a
    /// disk that is full it goes on where the log still has room, or gets some by what a policy gives up.
    pub(super) fn store(&mut self, group: &[Queued]) -> (usize, Result<(), Error>) {
        self.open.iter_mut().for_each(Open::begin_group);
        // Numbered once: what a first try left in the file must not say anything else than the second.
        let frames = self.number(group);
        // Burnt even if the write fails: a part of it may be in the file.
        self.next_sequence += frames.len() as u64;
        let (mut stored, mut end, mut refusals) = (0, frames.len(), 0);
        while let Some(next) = frames.get(stored) {
            match self.write_group(&frames[stored..end]) {
                Ok(()) if end == frames.len() => stored = end,
                Ok(()) => {
                    (stored, refusals) = (end, 0);
                    if let Err(error) = self.ensure_room(frames[stored].header.frame_len()) {
                        return (stored, Err(error));
                    }
                    end += self.how_many_fit(&frames[stored..]);
                }
                Err(Failed::Full(refusal)) => {
                    refusals += 1;
                    match self.gives_way(&refusal, next.header.frame_len(), refusals) {
                        Ok(true) => end = stored + self.how_many_fit(&frames[stored..]),
                        Ok(false) => return (stored, Err(self.full(&refusal))),
                        Err(error) => return (stored, Err(error)),
                    }
                }
                Err(Failed::Other(error)) => return (stored, Err(error)),
            }
        }
        (stored, Ok(()))
    }

    /// So many frames fit the open segment now; the first of them at least, for which room was made.
    fn how_many_fit(&self, frames: &[Numbered]) -> usize {
        let mut room = self.room();
        let fits = |frame: &&Numbered| {
            let left = room.checked_sub(frame.header.frame_len());
            room = left.unwrap_or(0);
            left.is_some()
        };
        frames.iter().take_while(fits).count().max(1)
    }

    fn write_group(&mut self, frames: &[Numbered]) -> Result<(), Failed> {
        self.clear_litter()?;
        let last = frames.last().map_or(self.last_sequence, |f| f.header.sequence);
        let totals = frames.last().map_or(self.totals, |f| f.header.totals_after());
        match self.write(frames) {
            Ok(start) => {
                let is_durable = self.name().map_err(|error| self.not_begun(error))?;
                (self.last_sequence, self.totals) = (last, totals);
                let durability = self.core.options.durability;
                if durability != Durability::Os {
                    self.keep(frames, start);
                }
                if is_durable && durability == Durability::Sync {
                    self.committed();
                    return Ok(());
                }
                Ok(self.after_write()?)
            }
            Err(e) if trouble(&e) == Trouble::Full => {
                self.take_back();
                Err(Failed::Full(e))
            }
            Err(e) if self.open.as_ref().is_some_and(Open::is_unnamed) => {
                self.give_up();
                Err(self.not_begun(Error::io("write to the next segment of", &self.core.dir, e)))
            }
            Err(e) => {
                // The file is not to be trusted: these frames, too, go to another one.
                (self.last_sequence, self.totals) = (last, totals);
                self.keep(frames, u64::MAX);
                Ok(self.poison(&e)?)
            }
        }
    }

    /// The next segment failed before it had its name: nothing of it counts as written, nothing was acknowledged.
    fn not_begun(&mut self, error: Error) -> Failed {
        let no_space = error.io_error().filter(|e| is_no_space(e)).and_then(io::Error::raw_os_error);
        match no_space {
            Some(code) => Failed::Full(io::Error::from_raw_os_error(code)),
            None => Failed::Other(self.refused(error)),
        }
    }

    /// A power cut that takes a part of what is written next must not bring back what was refused before in its place:
    /// the two differ in what they add to the totals, and frames behind them may still be there. What an earlier try of
    /// the same group left is the same.
    fn clear_litter(&mut self) -> Result<(), Failed> {
        let Some(open) = self.open.as_mut().filter(|open| open.is_littered()) else { return Ok(()) };
        match open.clear() {
            Ok(()) => Ok(self.sync()?),
            Err(e) if trouble(&e) == Trouble::Full => Err(Failed::Full(e)),
            Err(e) => Ok(self.poison(&e)?),
        }
    }

    /// With `os` readers in other processes see what is written at once, refused or not. What fails here is done before
    /// the next group.
    fn take_back(&mut self) {
        if let (Durability::Os, Some(open)) = (self.core.options.durability, &mut self.open) {
            drop(open.take_back());
        }
    }

    /// Gives each frame its sequence and its place in the totals.
    fn number(&self, group: &[Queued]) -> Vec<Numbered> {
        let (mut sequence, mut totals) = (self.next_sequence, self.totals);
        let number = |queued: &Queued| {
            let header = FrameHeader {
                kind: kind::DATA,
                content: queued.frame.content,
                length: queued.frame.payload.len() as u32,
                items: queued.frame.items,
                sequence,
                time: queued.frame.time,
                synced_to: self.synced_to,
                totals,
            };
            sequence += 1;
            totals = header.totals_after();
            Numbered { header, payload: queued.frame.payload.clone() }
        };
        group.iter().map(number).collect()
    }
}
