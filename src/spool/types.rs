//! What passes between a log and its users.

use std::time::Duration;

use bytes::Bytes;

use super::Limit;

/// Where a cursor starts that has never been opened before.
///
/// ```
/// use tidegate::spool::{Need, Start};
/// # use tidegate::spool::{Options, Spool};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// # let log = spool.log("events")?;
///
/// log.append_wait(1, "before".into(), 1)?;
/// let oldest = log.cursor("all", Start::Oldest, Need::Required)?;
/// let newest = log.cursor("new", Start::Newest, Need::Required)?;
/// assert_eq!((oldest.pending().items, newest.pending().items), (1, 0));
///
/// // The second time, a cursor goes on where it was: its start means nothing any more.
/// drop(newest);
/// let newest = log.cursor("new", Start::Oldest, Need::Required)?;
/// assert_eq!(newest.pending().items, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest frame that the log still holds.
    Oldest,
    /// After the newest frame.
    Newest,
}

/// Whether a cursor holds data that a full log would otherwise drop.
///
/// ```
/// use tidegate::spool::{LogOptions, Need, Start};
/// # use tidegate::spool::{Options, Spool};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
///
/// let options = LogOptions { max_size: Some(1 << 20), ..LogOptions::default() };
/// let log = spool.log_with("events", options)?;
/// let append = || log.append_wait(1, vec![0; 64 << 10].into(), 1);
///
/// // Twice as much as the log may hold: it takes all, and the optional cursor loses its oldest frames.
/// let optional = log.cursor("debug", Start::Oldest, Need::Optional)?;
/// for _ in 0..32 {
///     append()?;
/// }
/// assert!(optional.pending().items < 32);
/// // A required cursor keeps them: in the end the log refuses.
/// let _required = log.cursor("backend", Start::Oldest, Need::Required)?;
/// assert!((0..32).any(|_| append().is_err_and(|error| error.is_full())));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Frames stay until this cursor passed them, or a limit takes them, counted.
    Required,
    /// Frames may go before this cursor passed them when space is short, counted.
    Optional,
}

/// How a cursor is opened.
///
/// ```
/// use tidegate::spool::{CursorOptions, Limit, Need, Start};
/// # use tidegate::spool::{Options, Spool};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// # let log = spool.log("events")?;
///
/// let options = CursorOptions {
///     max_pending: Some(Limit::Items(2)),
///     ..CursorOptions::new(Start::Oldest, Need::Required)
/// };
/// let cursor = log.cursor_with("backend", options)?;
/// log.append_wait(1, "two records".into(), 2)?;
/// assert!(log.append(1, "one more".into(), 1).is_err_and(|error| error.is_full()));
/// assert_eq!(cursor.pending().items, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    ///
    /// ```
    /// use tidegate::spool::{CursorOptions, Need, Start};
    ///
    /// let options = CursorOptions::new(Start::Newest, Need::Optional);
    /// assert_eq!((options.start, options.need), (Start::Newest, Need::Optional));
    /// assert_eq!(options.max_pending, None);
    /// ```
    #[must_use]
    pub fn new(start: Start, need: Need) -> Self {
        Self { start, need, max_pending: None }
    }
}

/// Where an acknowledged frame stands.
///
/// ```
/// # use tidegate::spool::{Options, Spool};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// # let log = spool.log("events")?;
/// let first = log.append_wait(1, "first".into(), 1)?;
/// let second = log.append_wait(1, "second".into(), 1)?;
/// assert!(second.sequence > first.sequence);
///
/// // After a restart sequences go on; after a crash they go on with a gap.
/// drop(spool);
/// let spool = Spool::open(dir.path(), Options::default())?;
/// let third = spool.log("events")?.append_wait(1, "third".into(), 1)?;
/// assert!(third.sequence > second.sequence);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The frame's sequence: one a frame, rising, never given twice by this log.
    pub sequence: u64,
}

/// What a cursor still has to deliver.
///
/// ```
/// use tidegate::spool::{Need, Pending, Start};
/// # use tidegate::spool::{Options, Spool};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// # let log = spool.log("events")?;
///
/// let cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
/// assert_eq!(cursor.pending(), Pending::default());
///
/// log.append_wait(1, "three records".into(), 3)?;
/// let pending = cursor.pending();
/// assert_eq!((pending.items, pending.bytes), (3, 13));
/// assert!(pending.oldest_age.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
///
/// ```
/// use tidegate::spool::DeadLetter;
/// # use tidegate::spool::{Need, Options, Spool, Start};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// # let log = spool.log("events")?;
/// # let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
///
/// # log.append_wait(1, "a\nb\nc".into(), 3)?;
/// let batch = cursor.next_batch(1 << 20)?.expect("a frame of three records");
/// let frame = &batch.frames[0];
/// // The backend took the first and the last record, and refused the one between.
/// cursor.park(DeadLetter {
///     sequence: frame.sequence,
///     first_item: 1,
///     items: 1,
///     content: frame.content,
///     payload: frame.payload.slice(2..3),
///     reason: "no such field".to_owned(),
/// })?;
/// cursor.ack(frame.sequence, frame.sequence, 1)?;
/// let seen = &spool.inspect()?.logs[0].cursors[0];
/// assert_eq!((seen.delivered_items, seen.parked_items), (2, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
///
/// ```
/// use tidegate::spool::From;
/// # use tidegate::spool::{Need, Options, Spool, Start};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// # let log = spool.log("events")?;
/// # let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
///
/// log.append_wait(1, "two records".into(), 2)?;
/// let last = log.append_wait(1, "three records".into(), 3)?.sequence;
///
/// let moved = cursor.seek(From::Sequence(last))?;
/// assert_eq!((moved.from_sequence, moved.to_sequence), (1, last));
/// assert_eq!((moved.skipped_items, moved.replayed_items), (2, 0));
/// // How far back it could be moved.
/// assert_eq!(moved.oldest_sequence, Some(1));
/// assert!(moved.oldest_time_unix_nanos.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
///
/// ```
/// # use tidegate::spool::{Need, Options, Spool, Start};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// # let log = spool.log("events")?;
/// # let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
/// # log.append_wait(1, "first".into(), 1)?;
/// # log.append_wait(1, "second".into(), 1)?;
/// let batch = cursor.next_batch(1 << 20)?.expect("two frames are durable");
/// assert_eq!(batch.frames.len(), 2);
/// let (first, last) = (&batch.frames[0], &batch.frames[batch.frames.len() - 1]);
/// assert!(first.sequence < last.sequence);
///
/// cursor.ack(first.sequence, last.sequence, 0)?;
/// assert_eq!(cursor.pending().items, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Never empty in an answer of `next_batch`.
    pub frames: Vec<Frame>,
}

/// One frame of a log, its checksums verified.
///
/// ```
/// # use tidegate::spool::{Need, Options, Spool, Start};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// # let log = spool.log("events")?;
/// # let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
/// let appended = log.append_wait(7, "two records".into(), 2)?;
/// let batch = cursor.next_batch(1 << 20)?.expect("a frame is durable");
/// let frame = &batch.frames[0];
/// assert_eq!((frame.sequence, frame.epoch), (appended.sequence, spool.epoch()));
/// assert_eq!((frame.content, frame.items), (7, 2));
/// assert_eq!(frame.payload, "two records");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
///
/// ```
/// use tidegate::spool::{From, Reader};
/// # use tidegate::spool::{Options, Spool};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// # let log = spool.log("events")?;
///
/// for text in ["one", "two", "three"] {
///     log.append_wait(1, text.into(), 1)?;
/// }
/// spool.close()?;
///
/// let reader = Reader::open(dir.path())?;
/// let first = |from| reader.read("events", from)?.next().map(|frame| frame.map(|frame| frame.sequence));
/// assert_eq!(first(From::Oldest)?, Some(1));
/// assert_eq!(first(From::Sequence(2))?, Some(2));
/// assert_eq!(first(From::TimeUnixNanos(0))?, Some(1));
/// assert_eq!(first(From::LastItems(1))?, Some(3));
/// assert_eq!(first(From::End)?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
