//! What an operator may set. The keys of `disk_buffer`, parsed.

use std::time::Duration;

/// Options of a spool.
///
/// ```
/// use std::time::Duration;
/// use tidegate::spool::{Durability, LogOptions, Options, Spool};
///
/// let options = Options {
///     max_size: Some(1 << 30),
///     orphan_ttl: Duration::from_secs(3600),
///     log: LogOptions { durability: Durability::Interval, ..LogOptions::default() },
///     ..Options::default()
/// };
/// assert_eq!((options.min_free_percent, options.allow_network_fs), (5, false));
///
/// # let dir = tempfile::tempdir()?;
/// let spool = Spool::open(dir.path(), options)?;
/// assert_eq!(spool.max_size(), 1 << 30);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Options of each log that is not opened with options of its own.
    pub log: LogOptions,
    /// `max_size`: cap of the whole directory in bytes. `None`: 10 GiB or 10 % of the file system, the smaller.
    pub max_size: Option<u64>,
    /// `min_free`: share of the file system kept free, in percent. Never shrinks what is stored: below it, the logs
    /// act as if the directory's present size were its cap. Default 5.
    pub min_free_percent: u8,
    /// `orphan_ttl`: a required cursor that no exporter opened for this long stops holding data. Default 24 h.
    pub orphan_ttl: Duration,
    /// `allow_network_fs`: store on NFS and the like, where locks and syncs may not hold. Default false.
    pub allow_network_fs: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            log: LogOptions::default(),
            max_size: None,
            min_free_percent: 5,
            orphan_ttl: Duration::from_secs(24 * 3600),
            allow_network_fs: false,
        }
    }
}

/// Options of one log.
///
/// ```
/// use tidegate::spool::{LogOptions, OnFull};
/// # use tidegate::spool::{Options, Spool};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
///
/// let options = LogOptions { max_size: Some(4 << 20), on_full: OnFull::DropOldest, ..LogOptions::default() };
/// assert_eq!((options.max_frame, options.sync_interval.as_millis()), (64 << 20, 100));
///
/// let log = spool.log_with("kernel", options)?;
/// assert_eq!(spool.inspect()?.logs[0].max_size, Some(4 << 20));
/// # assert_eq!(log.name(), "kernel");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LogOptions {
    /// When an append is acknowledged. Default [`Durability::Sync`].
    pub durability: Durability,
    /// `sync_interval`: how often [`Durability::Interval`] syncs. Default 100 ms.
    pub sync_interval: Duration,
    /// `segment_size` in bytes, brought between 64 KiB (the configuration: 1 MiB) and 1 GiB, and to a quarter of the
    /// log's cap at most. `None`: a sixteenth of the log's share, 1 MiB to 16 MiB.
    pub segment_size: Option<u64>,
    /// This log's own cap in bytes. `None`: only the directory's.
    pub max_size: Option<u64>,
    /// `max_age`: older frames go even if an exporter still wants them, counted. Zero (the default): never.
    pub max_age: Duration,
    /// What a full log does. Default [`OnFull::Reject`].
    pub on_full: OnFull,
    /// `retain_size`: delivered bytes kept so that `find`, `tail` and replay have a past. Default 1 GiB.
    pub retain_size: u64,
    /// `retain_age`: how long delivered bytes are kept. Default 72 h.
    pub retain_age: Duration,
    /// `max_frame`: largest payload in bytes. Default 64 MiB, which is also the format's limit.
    pub max_frame: u64,
    /// `dead_letter.max_size` in bytes. `None`: 10 % of the log's cap.
    pub dead_letter_max_size: Option<u64>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Sync,
            sync_interval: Duration::from_millis(100),
            segment_size: None,
            max_size: None,
            max_age: Duration::ZERO,
            on_full: OnFull::Reject,
            retain_size: 1 << 30,
            retain_age: Duration::from_secs(72 * 3600),
            max_frame: 64 << 20,
            dead_letter_max_size: None,
        }
    }
}

/// When an append is acknowledged, and so what an acknowledged frame survives: [the table](super#what-is-promised).
///
/// ```
/// use std::time::Duration;
/// use tidegate::spool::{Durability, LogOptions, Need, Start};
/// # use tidegate::spool::{Options, Spool};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
///
/// let options = LogOptions { durability: Durability::Interval, ..LogOptions::default() };
/// let log = spool.log_with("events", options)?;
/// let cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
/// // Acknowledged when it is written: from here on it survives the end of this process.
/// let appended = log.append_wait(1, "one frame".into(), 1)?;
/// // Synced within 100 ms: from here on it survives a power cut, and cursors see it.
/// assert!(cursor.wait_readable(Duration::from_secs(60)));
/// assert_eq!(log.durable_sequence(), appended.sequence);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// After the frame is synced to the disk; frames that arrive together share one sync.
    #[default]
    Sync,
    /// After the frame is written; a timer syncs every `sync_interval`, idle or not, and at 8 MiB unsynced.
    Interval,
    /// After the frame is written; the kernel decides when it reaches the disk.
    Os,
}

/// What a log does when it has no room and every required cursor still wants what it holds.
///
/// ```
/// use tidegate::spool::{LogOptions, Need, OnFull, Start};
/// # use tidegate::spool::{Options, Spool};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
///
/// let options = LogOptions { max_size: Some(1 << 20), on_full: OnFull::DropOldest, ..LogOptions::default() };
/// let log = spool.log_with("kernel", options)?;
/// let cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
/// // Twice as much as the log may hold. With `OnFull::Reject` it would refuse at about the half.
/// for _ in 0..32 {
///     log.append_wait(1, vec![0; 64 << 10].into(), 1)?;
/// }
/// let loss = &log.losses()?[0];
/// assert_eq!(loss.reason, "full");
/// assert_eq!(loss.items + cursor.pending().items, 32);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFull {
    /// Appends are refused as full: for receivers that can push back.
    #[default]
    Reject,
    /// The oldest segment goes, counted per cursor: for sources that cannot wait, such as the kernel.
    DropOldest,
}
