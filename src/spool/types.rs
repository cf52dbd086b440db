//! What passes between a log and its users.

use std::time::Duration;

use bytes::Bytes;

use super::Limit;

/// Where a cursor starts that has never been opened before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest frame that the log still holds.
    Oldest,
    /// After the newest frame.
    Newest,
}

/// Whether a cursor holds data that a full log would otherwise drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Frames stay until this cursor passed them, or a limit takes them, counted.
    Required,
    /// Frames may go before this cursor passed them when space is short, counted.
    Optional,
}

/// How a cursor is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CursorOptions {
    /// Where it starts if it was never opened before.
    pub start: Start,
    /// Whether it holds data. May change from one time to the next.
    pub need: Need,
    /// How much it may have pending while it is open; `None`: all that the log holds. At the limit, a log that rejects
    /// refuses appends as full on behalf of a required cursor. A log that drops its oldest, and any log for an optional
    /// cursor, drops this cursor's oldest frames instead, counted, within 100 ms.
    pub max_pending: Option<Limit>,
}

impl CursorOptions {
    /// Without a limit.
    #[must_use]
    pub fn new(start: Start, need: Need) -> Self {
        Self { start, need, max_pending: None }
    }
}

/// Where an acknowledged frame stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The frame's sequence: one a frame, rising, never given twice by this log.
    pub sequence: u64,
}

/// What a cursor still has to deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pending {
    /// Items, as their receivers counted them.
    pub items: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Time since the oldest of them was appended; `None` when nothing is pending.
    pub oldest_age: Option<Duration>,
}

/// A refused record on its way to the dead letters of its log.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The frame it came in.
    pub sequence: u64,
    /// Index of its first item in that frame.
    pub first_item: u32,
    /// How many items it is.
    pub items: u32,
    /// Content tag of `payload`.
    pub content: u8,
    /// The refused bytes themselves.
    pub payload: Bytes,
    /// What the backend said.
    pub reason: String,
}

/// What moving a cursor did, or would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// Where it stood: it had passed every frame below this sequence.
    pub from_sequence: u64,
    /// Where it stands now.
    pub to_sequence: u64,
    /// Items passed over: they count as skipped.
    pub skipped_items: u64,
    /// Items to be handed out again.
    pub replayed_items: u64,
    /// The oldest frame that the log still holds; `None` when it holds none.
    pub oldest_sequence: Option<u64>,
    /// When that was appended, nanoseconds since 1970.
    pub oldest_time_unix_nanos: Option<u64>,
}

/// Frames that follow each other in a log.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Never empty in an answer of `next_batch`.
    pub frames: Vec<Frame>,
}

/// One frame of a log, its checksums verified.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Its position in the log.
    pub sequence: u64,
    /// The random number of the run that wrote it. With the sequence it names the frame for ever.
    pub epoch: u64,
    /// Append time, nanoseconds since 1970.
    pub time_unix_nanos: u64,
    /// Items in it, as its receiver counted them.
    pub items: u32,
    /// The caller's tag, opaque to the log.
    pub content: u8,
    /// The caller's bytes.
    pub payload: Bytes,
}

/// Where a [`LogReader`](super::LogReader) starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The oldest frame that the log still holds.
    Oldest,
    /// The first frame with this sequence or a higher one.
    Sequence(u64),
    /// The first frame appended at this time or later, nanoseconds since 1970.
    TimeUnixNanos(u64),
    /// So late that at least this many items follow, as far as the log holds them.
    LastItems(u64),
    /// After the newest frame.
    End,
}
