//! What the log had promised by some moment, told by the marks on the tape up to it.
//!
//! A mark is written after a promise was received, or before the workload does what may undo one. So at every cut the
//! device knows at least the promises of the marks before it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The cursors of the workload, all required.
pub(crate) const CURSORS: [&str; 2] = ["first", "second"];

/// What a line of a mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// The append of this record was acknowledged with this sequence.
    Acked { record: u64, sequence: u64 },
    /// A cursor handed it out: it is durable even if its append was not acknowledged.
    Seen { record: u64, sequence: u64 },
    /// Its dead letter is durable.
    Parked { record: u64 },
    /// The workload is about to ack it at a cursor.
    Acking { cursor: usize, record: u64 },
    /// The cursor was durably written after every ack that this run told of.
    Flushed { cursor: usize },
    /// Another run begins: acks that were not durable may be forgotten.
    Opened,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acked { record, sequence } => writeln!(f, "acked {record} {sequence}"),
            Self::Seen { record, sequence } => writeln!(f, "seen {record} {sequence}"),
            Self::Parked { record } => writeln!(f, "parked {record}"),
            Self::Acking { cursor, record } => writeln!(f, "acking {cursor} {record}"),
            Self::Flushed { cursor } => writeln!(f, "flushed {cursor}"),
            Self::Opened => writeln!(f, "opened"),
        }
    }
}

impl Said {
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        Some(match words[0] {
            "acked" => Self::Acked { record: number(1), sequence: number(2) },
            "seen" => Self::Seen { record: number(1), sequence: number(2) },
            "parked" => Self::Parked { record: number(1) },
            "acking" => Self::Acking { cursor: words[1].parse().unwrap(), record: number(2) },
            "flushed" => Self::Flushed { cursor: words[1].parse().unwrap() },
            "opened" => Self::Opened,
            _ => return None,
        })
    }
}

/// The promises.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    /// Durable records and their sequences.
    pub(crate) durable: BTreeMap<u64, u64>,
    /// The same, the other way round.
    by_sequence: BTreeMap<u64, u64>,
    pub(crate) parked: BTreeSet<u64>,
    pub(crate) cursors: [CursorModel; CURSORS.len()],
    /// What contradicts an earlier promise.
    pub(crate) contradictions: Vec<String>,
}

/// What one cursor was told and has promised.
#[derive(Debug, Clone, Default)]
pub(crate) struct CursorModel {
    /// May be done: the cursor may give them again or not.
    pub(crate) acking: BTreeSet<u64>,
    /// Acked by the present run.
    recent: BTreeSet<u64>,
    /// Durably done: never to be given again.
    pub(crate) done: BTreeSet<u64>,
}

impl Model {
    /// Takes in the lines of a mark. Others than the workload's are passed over.
    pub(crate) fn hear(&mut self, mark: &str) {
        mark.lines().filter_map(Said::parse).for_each(|said| self.take(said));
    }

    fn take(&mut self, said: Said) {
        match said {
            Said::Acked { record, sequence } | Said::Seen { record, sequence } => self.durable(record, sequence),
            Said::Parked { record } => {
                self.parked.insert(record);
            }
            Said::Acking { cursor, record } => {
                self.cursors[cursor].acking.insert(record);
                self.cursors[cursor].recent.insert(record);
            }
            Said::Flushed { cursor } => {
                let cursor = &mut self.cursors[cursor];
                cursor.done.append(&mut cursor.recent);
            }
            Said::Opened => self.cursors.iter_mut().for_each(|cursor| cursor.recent.clear()),
        }
    }

    fn durable(&mut self, record: u64, sequence: u64) {
        let known = self.durable.insert(record, sequence);
        if known.is_some_and(|known| known != sequence) {
            self.contradictions.push(format!("record {record} has the sequences {known:?} and {sequence}"));
        }
        let other = self.by_sequence.insert(sequence, record);
        if other.is_some_and(|other| other != record) {
            self.contradictions.push(format!("sequence {sequence} was given to {other:?} and to {record}"));
        }
    }

    pub(crate) fn last_sequence(&self) -> u64 {
        self.by_sequence.last_key_value().map_or(0, |(sequence, _)| *sequence)
    }
}
