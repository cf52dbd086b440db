//! What the device may hold after a power cut, at every moment of a recording.
//!
//! What came before the last flush is there. Of the writes after it, each block of 4 KiB is there or not, by itself:
//! a drive keeps no order between flushes. Blocks of 4 KiB, as drives write them; a file system that is promised that
//! much need not survive smaller tears.

use crate::model::Model;
use crate::trace::{Event, Trace};

const BLOCK: u64 = 4096;

/// What of the unflushed writes reached the disk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Keep {
    All,
    Nothing,
    /// Each block with this chance.
    Some(f64),
}

/// Whether the drive does what a flush asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drive {
    Honest,
    /// The last flush before the cut was answered and not done.
    Lies,
}

/// A recording, played up to some event.
pub(crate) struct Images<'a> {
    trace: &'a Trace,
    /// What is durable.
    disk: Vec<u8>,
    /// Writes that the last flush was for, if the drive lies.
    doubtful: Vec<usize>,
    /// Writes after the last flush.
    pending: Vec<usize>,
    next: usize,
    drive: Drive,
    pub(crate) model: Model,
}

impl<'a> Images<'a> {
    /// Begins with the bytes and the promises that the recording began with.
    pub(crate) fn new(trace: &'a Trace, base: &[u8], model: &Model, drive: Drive) -> Self {
        let (disk, model) = (base.to_vec(), model.clone());
        Self { trace, disk, doubtful: Vec::new(), pending: Vec::new(), next: 0, drive, model }
    }

    /// Lets the events before `cut` happen.
    pub(crate) fn play(&mut self, cut: usize) {
        while self.next < cut {
            match self.trace.event(self.next) {
                Event::Write { .. } => self.pending.push(self.next),
                Event::Flush => {
                    let settled = match self.drive {
                        Drive::Honest => std::mem::take(&mut self.pending),
                        Drive::Lies => std::mem::replace(&mut self.doubtful, std::mem::take(&mut self.pending)),
                    };
                    for index in settled {
                        self.apply(index, |_| true, &mut Vec::new());
                    }
                }
                Event::Mark(text) => self.model.hear(text),
                Event::Refused => {}
            }
            self.next += 1;
        }
    }

    /// Shows `look` the device after a power cut now.
    pub(crate) fn cut<R>(&mut self, keep: Keep, dice: &mut fastrand::Rng, look: impl FnOnce(&[u8], &Model) -> R) -> R {
        let mut before = Vec::new();
        let unflushed: Vec<usize> = self.doubtful.iter().chain(&self.pending).copied().collect();
        for index in unflushed {
            let keeps = |dice: &mut fastrand::Rng| match keep {
                Keep::All => true,
                Keep::Nothing => false,
                Keep::Some(chance) => dice.f64() < chance,
            };
            self.apply(index, |_| keeps(dice), &mut before);
        }
        let result = look(&self.disk, &self.model);
        for (at, bytes) in before.into_iter().rev() {
            self.disk[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        result
    }

    /// Puts the chosen blocks of a write in their place, and what was there before into `before`.
    fn apply(&mut self, index: usize, mut chosen: impl FnMut(u64) -> bool, before: &mut Vec<(usize, Vec<u8>)>) {
        let Event::Write { offset, bytes } = self.trace.event(index) else { return };
        let end = offset + bytes.len() as u64;
        let mut from = offset;
        while from < end {
            let to = ((from / BLOCK + 1) * BLOCK).min(end);
            if chosen(from) {
                let (at, part) = (from as usize, &bytes[(from - offset) as usize..(to - offset) as usize]);
                let place = &mut self.disk[at..at + part.len()];
                before.push((at, place.to_vec()));
                place.copy_from_slice(part);
            }
            from = to;
        }
    }
}
