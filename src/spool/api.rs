//! The signatures that the rest of the crate is written against. Replaced by the real modules.
#![allow(missing_docs, unused_variables, clippy::unimplemented, reason = "signatures only")]

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

/// A directory of logs, owned by this process.
#[derive(Debug, Clone)]
pub struct Spool;

/// Options of a spool, and of each log unless overridden. LOG.md section 6 has the keys and defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub log: LogOptions,
    /// Cap of the whole directory in bytes. None: 10 GiB or 10 % of the file system, the smaller.
    pub max_size: Option<u64>,
    /// Share of the file system kept free, in percent.
    pub min_free_percent: u8,
    pub orphan_ttl: Duration,
    pub allow_network_fs: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LogOptions {
    pub durability: Durability,
    pub sync_interval: Duration,
    /// None: derived from the log's share.
    pub segment_size: Option<u64>,
    /// This log's own cap; None: only the directory's.
    pub max_size: Option<u64>,
    /// Zero: none.
    pub max_age: Duration,
    pub on_full: OnFull,
    pub retain_size: u64,
    pub retain_age: Duration,
    pub max_frame: u64,
    /// None: 10 % of the log's cap.
    pub dead_letter_max_size: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    #[default]
    Sync,
    Interval,
    Os,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFull {
    #[default]
    Reject,
    DropOldest,
}

impl Default for Options {
    fn default() -> Self {
        unimplemented!()
    }
}
impl Default for LogOptions {
    fn default() -> Self {
        unimplemented!()
    }
}

impl Spool {
    /// Opens or creates; takes the lock for life.
    pub fn open(dir: &Path, options: Options) -> Result<Self, Error> {
        unimplemented!()
    }
    pub fn directory(&self) -> &Path {
        unimplemented!()
    }
    pub fn id(&self) -> u128 {
        unimplemented!()
    }
    /// The log of this name, opened or created with the spool's log options.
    pub fn log(&self, name: &str) -> Result<Log, Error> {
        unimplemented!()
    }
    /// As `log`, with options of its own.
    pub fn log_with(&self, name: &str, options: LogOptions) -> Result<Log, Error> {
        unimplemented!()
    }
    /// Syncs and seals every log, writes every cursor, ends the writer threads. Later appends are refused.
    pub fn close(&self) -> Result<(), Error> {
        unimplemented!()
    }
    /// A snapshot of every log, as `inspect` shows it.
    pub fn inspect(&self) -> Result<Inspection, Error> {
        unimplemented!()
    }
}

/// One log of a spool. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Log;

impl Log {
    pub fn name(&self) -> &str {
        unimplemented!()
    }
    /// Hands a frame to the writer; never waits for the disk. `content` is an opaque tag of the caller's.
    pub fn append(&self, content: u8, payload: Bytes, items: u32) -> Result<Ack, Error> {
        unimplemented!()
    }
    pub fn durable_sequence(&self) -> u64 {
        unimplemented!()
    }
    /// Opens the durable cursor of this name. One handle per name at a time.
    pub fn cursor(&self, name: &str, start: Start, need: Need) -> Result<Cursor, Error> {
        unimplemented!()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Oldest,
    Newest,
}

/// Whether a cursor holds data that a full log would otherwise drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Required,
    Optional,
}

/// An append on its way to the disk: wait for it or await it.
#[must_use = "only a waited-for append is durable"]
#[derive(Debug)]
pub struct Ack;

impl Ack {
    pub fn wait(self) -> Result<Appended, Error> {
        unimplemented!()
    }
}
impl Future for Ack {
    type Output = Result<Appended, Error>;
    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        unimplemented!()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub sequence: u64,
}

/// A durable reader of one log. Moves forward in memory with `next_batch`, durably with `ack`.
#[derive(Debug)]
pub struct Cursor;

impl Cursor {
    pub fn name(&self) -> &str {
        unimplemented!()
    }
    /// The next durable frames after the read position, up to `max_bytes` of payload (at least one frame); None when
    /// there is nothing more now. Blocks on the disk, never on the writer. Damaged frames are skipped, counted, told.
    pub fn next_batch(&mut self, max_bytes: usize) -> Result<Option<Batch>, Error> {
        unimplemented!()
    }
    /// Completes when a frame beyond the read position is durable, or the log is closed.
    pub fn readable(&self) -> impl Future<Output = ()> + Send + 'static {
        async { unimplemented!() }
    }
    /// As `readable`, blocking; false on time-out.
    pub fn wait_readable(&self, timeout: Duration) -> bool {
        unimplemented!()
    }
    /// Marks the frames from `first` to `last` as done: all their items delivered but `parked` of them.
    /// Any order; durable within 100 ms.
    pub fn ack(&mut self, first: u64, last: u64, parked: u64) -> Result<(), Error> {
        unimplemented!()
    }
    /// Writes a dead letter and returns when it is durable; the frame still has to be acked.
    pub fn park(&self, letter: DeadLetter) -> Result<(), Error> {
        unimplemented!()
    }
    /// Back to the oldest frame that is not acked.
    pub fn rewind(&mut self) {
        unimplemented!()
    }
    /// Durably writes position and counters now.
    pub fn flush(&mut self) -> Result<(), Error> {
        unimplemented!()
    }
    pub fn pending(&self) -> Pending {
        unimplemented!()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pending {
    pub items: u64,
    pub bytes: u64,
    pub oldest_age: Option<Duration>,
}

#[derive(Debug, Clone)]
pub struct DeadLetter {
    pub sequence: u64,
    pub first_item: u32,
    pub items: u32,
    pub content: u8,
    pub payload: Bytes,
    pub reason: String,
}

#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub frames: Vec<Frame>,
}

#[derive(Debug, Clone)]
pub struct Frame {
    pub sequence: u64,
    /// Append time, nanoseconds since 1970.
    pub time_unix_nanos: u64,
    pub items: u32,
    pub content: u8,
    pub payload: Bytes,
}

/// Reads a spool beside its owner or without one; never repairs.
#[derive(Debug)]
pub struct Reader;

impl Reader {
    pub fn open(dir: &Path) -> Result<Self, Error> {
        unimplemented!()
    }
    pub fn logs(&self) -> Result<Vec<String>, Error> {
        unimplemented!()
    }
    pub fn inspect(&self) -> Result<Inspection, Error> {
        unimplemented!()
    }
    /// Checks every checksum; `progress(done, total)` in bytes.
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Verification, Error> {
        unimplemented!()
    }
    pub fn read(&self, log: &str, from: From) -> Result<LogReader, Error> {
        unimplemented!()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Oldest,
    Sequence(u64),
    TimeUnixNanos(u64),
    LastItems(u64),
    End,
}

/// Follows one log: `next` is None at the present end and may give more later.
#[derive(Debug)]
pub struct LogReader;
impl LogReader {
    pub fn next(&mut self) -> Result<Option<Frame>, Error> {
        unimplemented!()
    }
}

#[derive(Debug, Clone)]
pub struct Inspection {
    pub directory: PathBuf,
    pub spool_id: u128,
    pub owner: Option<Owner>,
    pub logs: Vec<LogInspection>,
}
#[derive(Debug, Clone)]
pub struct Owner {
    pub pid: u32,
    pub alive: bool,
}
#[derive(Debug, Clone)]
pub struct LogInspection {
    pub name: String,
    /// Content tag of the newest frame.
    pub content: Option<u8>,
    pub first_sequence: u64,
    pub last_sequence: u64,
    pub items: u64,
    pub bytes: u64,
    pub max_size: u64,
    pub durability: Durability,
    pub poisoned: bool,
    pub damaged_bytes: u64,
    pub segments: Vec<SegmentInspection>,
    pub cursors: Vec<CursorInspection>,
    pub accepted_items: u64,
}
#[derive(Debug, Clone)]
pub struct SegmentInspection {
    pub id: u64,
    pub state: &'static str,
    pub first_sequence: u64,
    pub last_sequence: u64,
    pub bytes: u64,
}
#[derive(Debug, Clone)]
pub struct CursorInspection {
    pub name: String,
    pub required: bool,
    pub sequence: u64,
    pub pending: Pending,
    pub delivered_items: u64,
    pub parked_items: u64,
    /// Reason and items.
    pub dropped_items: Vec<(String, u64)>,
    pub skipped_items: u64,
    pub accepted_items: u64,
}
#[derive(Debug, Clone)]
pub struct Verification {
    pub logs: Vec<LogVerification>,
}
#[derive(Debug, Clone)]
pub struct LogVerification {
    pub name: String,
    pub frames: u64,
    pub bytes: u64,
    pub damage: Vec<Damage>,
    pub ledger_closes: bool,
}
#[derive(Debug, Clone)]
pub struct Damage {
    pub segment: u64,
    pub offset: u64,
    pub bytes: u64,
    pub reason: String,
    pub frames_lost: u64,
}

/// Why the log refused. Opaque; ask it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    message: String,
}

impl Error {
    pub fn is_full(&self) -> bool {
        unimplemented!()
    }
    pub fn is_busy(&self) -> bool {
        unimplemented!()
    }
    pub fn is_poisoned(&self) -> bool {
        unimplemented!()
    }
    pub fn is_owned(&self) -> bool {
        unimplemented!()
    }
    pub fn is_too_large(&self) -> bool {
        unimplemented!()
    }
    pub fn is_closed(&self) -> bool {
        unimplemented!()
    }
    pub fn is_not_found(&self) -> bool {
        unimplemented!()
    }
    /// When another try may help.
    pub fn retry_after(&self) -> Option<Duration> {
        unimplemented!()
    }
}
