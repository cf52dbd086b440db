//! What a look at a spool, and a check of it, answer.

use std::path::PathBuf;

use super::{Durability, Pending};

/// A spool at one moment.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// The data directory.
    pub directory: PathBuf,
    /// Random, given when the directory was made.
    pub spool_id: u128,
    /// Who holds or last held the lock; `None`: nobody yet.
    pub owner: Option<Owner>,
    /// By name.
    pub logs: Vec<LogInspection>,
}

/// Who owns a data directory.
#[derive(Debug, Clone)]
pub struct Owner {
    /// Process id, as the owner wrote it.
    pub pid: u32,
    /// Whether the lock is held now.
    pub alive: bool,
}

/// One log at one moment.
#[derive(Debug, Clone)]
pub struct LogInspection {
    /// Its name.
    pub name: String,
    /// Content tag of the newest frame; `None` while there is none.
    pub content: Option<u8>,
    /// Sequence of the oldest frame held; 0 when there is none.
    pub first_sequence: u64,
    /// Sequence of the newest frame; 0 when there is none.
    pub last_sequence: u64,
    /// Items held.
    pub items: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Its cap in bytes; 0 when unknown (an offline reader).
    pub max_size: u64,
    /// When appends are acknowledged.
    pub durability: Durability,
    /// A failed sync waits for its rewrite.
    pub poisoned: bool,
    /// Bytes set aside as damaged, still kept in `damaged/`.
    pub damaged_bytes: u64,
    /// By id.
    pub segments: Vec<SegmentInspection>,
    /// By name.
    pub cursors: Vec<CursorInspection>,
    /// Items appended since the log was made.
    pub accepted_items: u64,
}

/// One segment at one moment.
#[derive(Debug, Clone)]
pub struct SegmentInspection {
    /// The number in its file name.
    pub id: u64,
    /// `open`, `sealed`, `unsealed` (a run ended without sealing it) or `poisoned`.
    pub state: &'static str,
    /// Sequence of its first frame; 0 when it has none.
    pub first_sequence: u64,
    /// Sequence of its last frame; 0 when it has none.
    pub last_sequence: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

/// One cursor at one moment, with its ledger: accepted = delivered + parked + dropped + skipped + pending.
#[derive(Debug, Clone)]
pub struct CursorInspection {
    /// Its name.
    pub name: String,
    /// Whether it holds data.
    pub required: bool,
    /// It hands nothing out until it is resumed.
    pub paused: bool,
    /// It passed every frame below this sequence.
    pub sequence: u64,
    /// What it still has to deliver.
    pub pending: Pending,
    /// Items that its backend took.
    pub delivered_items: u64,
    /// Items in the dead letters.
    pub parked_items: u64,
    /// Reason and items.
    pub dropped_items: Vec<(String, u64)>,
    /// Items passed over by command.
    pub skipped_items: u64,
    /// Items handed out again by command; no part of the ledger.
    pub replayed_items: u64,
    /// Items that a replay still has to hand out.
    pub replaying_items: u64,
    /// Items appended since the cursor's start.
    pub accepted_items: u64,
}

/// What a check of every checksum found.
#[derive(Debug, Clone)]
pub struct Verification {
    /// By name.
    pub logs: Vec<LogVerification>,
}

/// What a check of one log found.
#[derive(Debug, Clone)]
pub struct LogVerification {
    /// Its name.
    pub name: String,
    /// Valid frames.
    pub frames: u64,
    /// Bytes read.
    pub bytes: u64,
    /// What did not verify.
    pub damage: Vec<Damage>,
    /// Whether the running totals and the cursors' counters add up.
    pub ledger_closes: bool,
}

/// A range that did not verify.
#[derive(Debug, Clone)]
pub struct Damage {
    /// Id of the segment.
    pub segment: u64,
    /// First byte in the segment's file.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
    /// What was wrong.
    pub reason: String,
    /// Frames that the range held, by the running totals around it.
    pub frames_lost: u64,
}
