//! What a look at a spool, and a check of it, answer.

use std::path::PathBuf;

use super::{Durability, Pending};

/// A spool at one moment.
///
/// ```
/// # use tidegate::spool::{Options, Spool};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// # let log = spool.log("events")?;
/// let inspection = spool.inspect()?;
/// assert_eq!(inspection.directory, dir.path());
/// assert_eq!(inspection.spool_id, spool.id());
/// assert_eq!(inspection.logs[0].name, log.name());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
///
/// ```
/// use tidegate::spool::Reader;
/// # use tidegate::spool::{Options, Spool};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
///
/// let owner = spool.inspect()?.owner.expect("this process");
/// assert_eq!((owner.pid, owner.alive), (std::process::id(), true));
///
/// spool.close()?;
/// let owner = Reader::open(dir.path())?.inspect()?.owner.expect("who had it last");
/// assert_eq!((owner.pid, owner.alive), (std::process::id(), false));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Owner {
    /// Process id, as the owner wrote it.
    pub pid: u32,
    /// Whether the lock is held now.
    pub alive: bool,
}

/// One log at one moment.
///
/// ```
/// use tidegate::spool::{Durability, Reader};
/// # use tidegate::spool::{Options, Spool};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// # let log = spool.log("events")?;
///
/// log.append_wait(7, "two records".into(), 2)?;
/// log.append_wait(7, "three records".into(), 3)?;
/// spool.close()?;
///
/// let inspection = Reader::open(dir.path())?.inspect()?;
/// let log = &inspection.logs[0];
/// assert_eq!((log.first_sequence, log.last_sequence), (1, 2));
/// assert_eq!((log.items, log.accepted_items, log.content), (5, 5, Some(7)));
/// assert_eq!((log.durability, log.poisoned, log.damaged_bytes), (Durability::Sync, Some(false), 0));
/// assert_eq!((log.segments.len(), log.cursors.len()), (1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// Its cap in bytes. Only the owner knows it: `None` from the files alone.
    pub max_size: Option<u64>,
    /// When appends are acknowledged.
    pub durability: Durability,
    /// A failed sync waits for its rewrite. `None` from the files alone, while another process owns them.
    pub poisoned: Option<bool>,
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
///
/// ```
/// use tidegate::spool::Reader;
/// # use tidegate::spool::{Options, Spool};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// # let log = spool.log("events")?;
///
/// log.append_wait(1, "first".into(), 1)?;
/// log.append_wait(1, "second".into(), 1)?;
/// spool.close()?;
///
/// let inspection = Reader::open(dir.path())?.inspect()?;
/// let segment = &inspection.logs[0].segments[0];
/// assert_eq!((segment.id, segment.state), (1, "sealed"));
/// assert_eq!((segment.first_sequence, segment.last_sequence), (1, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct SegmentInspection {
    /// The number in its file name.
    pub id: u64,
    /// `open`, `sealed`, `unsealed` (a run ended without sealing it), `poisoned` (a sync of it failed) or `strange` (a
    /// file of that name that is no segment of this log).
    pub state: &'static str,
    /// Sequence of its first frame; 0 when it has none.
    pub first_sequence: u64,
    /// Sequence of its last frame; 0 when it has none.
    pub last_sequence: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

/// One cursor at one moment, with its ledger: accepted = delivered + parked + dropped + skipped + pending.
///
/// ```
/// # use tidegate::spool::{Need, Options, Spool, Start};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// # let log = spool.log("events")?;
/// # let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
/// log.append_wait(1, "two records".into(), 2)?;
/// log.append_wait(1, "three records".into(), 3)?;
/// // A budget of one byte: one frame.
/// cursor.next_batch(1)?;
/// cursor.ack(1, 1, 0)?;
///
/// let inspection = spool.inspect()?;
/// let seen = &inspection.logs[0].cursors[0];
/// assert_eq!((&*seen.name, seen.required, seen.sequence), ("backend", true, 2));
/// assert_eq!(seen.accepted_items, seen.delivered_items + seen.pending.items);
/// assert_eq!((seen.delivered_items, seen.pending.items), (2, 3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
///
/// ```
/// use tidegate::spool::Reader;
/// # use tidegate::spool::{Options, Spool};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// # let log = spool.log("events")?;
///
/// # log.append_wait(1, "one frame".into(), 1)?;
/// spool.close()?;
/// let verification = Reader::open(dir.path())?.verify(&mut |_, _| {})?;
/// assert!(verification.logs.iter().all(|log| log.damage.is_empty() && log.ledger_closes));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Verification {
    /// Who holds the directory, or did last. Beside a live one, what it is just writing is not looked at.
    pub owner: Option<Owner>,
    /// By name.
    pub logs: Vec<LogVerification>,
    /// The logs of dead letters, by the name `dead/<log>`.
    pub dead_letters: Vec<LogVerification>,
}

/// What a check of one log found.
///
/// ```
/// use tidegate::spool::Reader;
/// # use tidegate::spool::{Options, Spool};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// # let log = spool.log("events")?;
///
/// log.append_wait(1, "first".into(), 1)?;
/// log.append_wait(1, "second".into(), 1)?;
/// spool.close()?;
///
/// let verification = Reader::open(dir.path())?.verify(&mut |_, _| {})?;
/// let log = &verification.logs[0];
/// assert_eq!((&*log.name, log.frames), ("events", 2));
/// assert!(log.bytes > 0 && log.damage.is_empty() && log.ledger_closes);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// What did not verify and was never known to be durable: a crash cut it, and nobody was promised it.
    pub torn: Vec<Damage>,
    /// Whether the running totals and the cursors' counters add up.
    pub ledger_closes: bool,
}

/// A range that did not verify.
///
/// ```
/// use tidegate::spool::Reader;
/// # use tidegate::spool::{Options, Spool};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// # let log = spool.log("events")?;
///
/// log.append_wait(1, "first".into(), 1)?;
/// log.append_wait(1, "second".into(), 1)?;
/// spool.close()?;
/// // Frames begin at 8192, their payload 72 bytes later: one bit of "first" flips.
/// let segment = dir.path().join("logs/events/seg-0000000000000001");
/// let mut bytes = std::fs::read(&segment)?;
/// bytes[8192 + 72] ^= 1;
/// std::fs::write(&segment, bytes)?;
///
/// let verification = Reader::open(dir.path())?.verify(&mut |_, _| {})?;
/// let damage = &verification.logs[0].damage[0];
/// assert_eq!((damage.segment, damage.offset, damage.frames_lost), (1, 8192, 1));
/// assert_eq!(verification.logs[0].frames, 1, "the other frame is whole");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
