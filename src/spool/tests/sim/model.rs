//! What a log and its cursors were seen to promise: the oracle of the checker.
//!
//! It knows nothing of segments and slots. It knows which appends were answered, which syncs worked since, and what
//! each cursor acked.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::spool::Durability;
use crate::spool::tests::{number, payload};

/// How an opening came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The run before closed, without an error.
    Closed,
    /// The process was killed: the kernel lives, and with it what is not synced.
    Killed,
    /// The power went.
    PowerCut,
}

/// What was promised, by log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) logs: Vec<LogModel>,
}

/// What one log promised. Frames are named by the numbers in their payloads.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogModel {
    pub(crate) durability: Durability,
    /// Numbers given to the log, with the length of the payload.
    pub(crate) issued: BTreeMap<u64, usize>,
    /// Answered as appended, lost or not.
    pub(crate) answered: BTreeSet<u64>,
    /// Acknowledged, or found by an opening, and not known to be lost.
    pub(crate) acked: BTreeSet<u64>,
    /// Of them: they survive a killed process.
    pub(crate) kept: BTreeSet<u64>,
    /// Of them: a sync covered them.
    pub(crate) synced: BTreeSet<u64>,
    /// Of them: no sync will ever cover them. With `os`, in a segment that failed and was left.
    pub(crate) left: BTreeSet<u64>,
    /// Of them: the kernel alone has them. The process that wrote them was killed, and nobody synced them yet.
    pub(crate) cached: BTreeSet<u64>,
    /// Acknowledged before the last end: of them only [`LogModel::acked`] had to survive it.
    pub(crate) hoped: BTreeSet<u64>,
    /// Every sequence that was seen in an answer or a frame, and whose it is.
    pub(crate) sequences: BTreeMap<u64, u64>,
    pub(crate) sequence_of: BTreeMap<u64, u64>,
    pub(crate) cursors: BTreeMap<&'static str, CursorModel>,
    /// Letters answered as durable: number of the frame.
    pub(crate) letters: Vec<u64>,
}

/// What one cursor promised.
#[derive(Debug, Clone, Default)]
pub(crate) struct CursorModel {
    /// It is owed nothing below.
    pub(crate) start: u64,
    /// Acked by its user.
    pub(crate) acked: BTreeSet<u64>,
    /// Acked when its slot was last written.
    pub(crate) durable: BTreeSet<u64>,
    /// Items that its counters show as delivered or parked.
    pub(crate) counted: u64,
}

/// Items of a frame.
pub(crate) fn items(number: u64) -> u64 {
    1 + number % 3
}

/// A frame's payload is a function of its number and length.
pub(crate) fn bytes(number: u64, length: usize) -> Bytes {
    payload(number, length)
}

impl LogModel {
    pub(crate) fn answered(&mut self, id: u64, sequence: u64) {
        let highest = self.sequences.last_key_value().map_or(0, |(s, _)| *s);
        assert!(sequence > highest, "P2: sequence {sequence} was given to {id} after {highest} was seen");
        self.sequences.insert(sequence, id);
        self.sequence_of.insert(id, sequence);
        self.answered.insert(id);
        self.acked.insert(id);
        self.kept.insert(id);
        if self.durability == Durability::Sync {
            self.synced.insert(id);
        }
    }

    /// A sync of the segment worked: it covers what was acked before.
    pub(crate) fn segment_synced(&mut self) {
        self.synced = self.acked.difference(&self.left).copied().collect();
        self.kept = self.acked.clone();
    }

    /// A sync of the segment failed: what it should have covered is safe only when another one works. With `os` it
    /// never is: nobody has the bytes any more.
    pub(crate) fn segment_failed(&mut self) {
        self.kept = self.synced.clone();
        // An opening that cannot sync what a killed run left goes by what the disk has.
        let cached = std::mem::take(&mut self.cached);
        self.acked.retain(|id| !cached.contains(id));
        if self.durability == Durability::Os {
            self.acked = self.synced.clone();
        }
    }

    /// The run ended: only what must survive that is promised from now on.
    pub(crate) fn ended(&mut self, end: End) {
        let survives = match end {
            End::Closed => self.acked.clone(),
            // The power may still go before anybody syncs them.
            End::Killed => self.kept.clone(),
            End::PowerCut => self.synced.clone(),
        };
        self.hoped = std::mem::replace(&mut self.acked, survives);
        self.kept = self.acked.clone();
        self.cached = match end {
            End::Killed => self.acked.difference(&self.synced).copied().collect(),
            _ => BTreeSet::new(),
        };
        match end {
            End::Closed => self.synced = self.acked.difference(&self.left).copied().collect(),
            End::Killed if self.durability == Durability::Os => {
                self.left = self.acked.difference(&self.synced).copied().collect();
            }
            _ => {}
        }
    }

    /// Whether cursors are owed this frame. With `os`, what a refused append left may show after a power cut, before
    /// frames that a cursor was given already.
    pub(crate) fn is_owed(&self, id: u64) -> bool {
        self.durability != Durability::Os || self.answered.contains(&id)
    }

    /// A frame that was read: what it claims must be what was appended. Answers its number.
    pub(crate) fn met(&self, sequence: u64, payload: &Bytes, count: u32) -> u64 {
        let id = number(payload);
        assert_eq!(self.issued.get(&id), Some(&payload.len()), "P3: {id} was never appended so");
        assert_eq!(u64::from(count), items(id), "P3: items of {id}");
        let known = self.sequences.get(&sequence);
        assert!(known.is_none_or(|known| *known == id), "P2: sequence {sequence} is {id}'s and was {known:?}'s");
        let known = self.sequence_of.get(&id);
        assert!(known.is_none_or(|known| *known == sequence), "P2: {id} has sequence {sequence} and had {known:?}");
        id
    }

    /// Opened after an end, this was found: from now on it is all there is. All of it is durable; with `os`, only
    /// the newest segment is synced by an opening, and what an older one lost is lost.
    pub(crate) fn found(&mut self, end: End, read: &[(u64, u64)]) {
        for (sequence, id) in read {
            self.sequences.insert(*sequence, *id);
            self.sequence_of.insert(*id, *sequence);
        }
        self.cached.clear();
        self.acked = read.iter().map(|(_, id)| *id).collect();
        self.kept = self.acked.clone();
        self.left.retain(|id| self.acked.contains(id));
        if end != End::PowerCut && self.durability == Durability::Os {
            self.left = self.acked.difference(&self.synced).copied().collect();
        }
        self.synced = self.acked.difference(&self.left).copied().collect();
    }
}

impl CursorModel {
    pub(crate) fn ack(&mut self, id: u64) {
        if self.acked.insert(id) {
            self.counted += items(id);
        }
    }

    pub(crate) fn flushed(&mut self) {
        self.durable = self.acked.clone();
    }
}

/// Items of these frames together.
pub(crate) fn items_of<'a>(ids: impl IntoIterator<Item = &'a u64>) -> u64 {
    ids.into_iter().map(|id| items(*id)).sum()
}
