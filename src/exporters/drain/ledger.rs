//! Frames that were read and are not done: a frame is done when every piece of it is.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::piece::Piece;
use crate::spool::Frame;

/// What is known of a frame under way.
#[derive(Debug)]
struct Open {
    /// Pieces of it that are not done.
    pieces: u32,
    items: u64,
    parked: u64,
}

/// Consecutive frames that are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) first: u64,
    pub(super) last: u64,
    /// Items of theirs that were parked, not delivered.
    pub(super) parked: u64,
}

/// Frames under way, and those done but not yet acked.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    open: BTreeMap<u64, Open>,
    done: BTreeMap<u64, u64>,
}

impl Ledger {
    /// Notes a frame that was read; false when it is under way already.
    pub(super) fn open(&mut self, frame: &Frame) -> bool {
        let Entry::Vacant(place) = self.open.entry(frame.sequence) else { return false };
        place.insert(Open { pieces: 1, items: u64::from(frame.items), parked: 0 });
        true
    }

    /// Notes that a piece was cut. Only a cut inside one frame makes that frame's pieces more.
    pub(super) fn cut(&mut self, left: &Piece, right: &Piece) {
        if let ([left], [right]) = (left.slices.as_slice(), right.slices.as_slice())
            && left.sequence == right.sequence
            && let Some(open) = self.open.get_mut(&left.sequence)
        {
            open.pieces += 1;
        }
    }

    /// Notes that a piece is done, with so many of its items parked.
    pub(super) fn close(&mut self, piece: &Piece, mut parked: u64) {
        for slice in &piece.slices {
            let Some(open) = self.open.get_mut(&slice.sequence) else { continue };
            // Never more than the frame was appended with: the log's totals are kept by that number.
            let share = parked.min(open.items - open.parked);
            parked -= share;
            open.parked += share;
            open.pieces -= 1;
            if open.pieces == 0 {
                self.done.insert(slice.sequence, open.parked);
                self.open.remove(&slice.sequence);
            }
        }
    }

    /// Takes what is done, in ranges of consecutive sequences.
    pub(super) fn take_done(&mut self) -> Vec<Done> {
        let mut ranges: Vec<Done> = Vec::new();
        for (sequence, parked) in std::mem::take(&mut self.done) {
            match ranges.last_mut() {
                Some(range) if range.last + 1 == sequence => {
                    range.last = sequence;
                    range.parked += parked;
                }
                _ => ranges.push(Done { first: sequence, last: sequence, parked }),
            }
        }
        ranges
    }
}
