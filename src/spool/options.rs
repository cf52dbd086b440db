//! What an operator may set. The keys of `disk_buffer`, parsed.

use std::time::Duration;

/// Options of a spool.
///
/// ```
/// use tidegate::spool::{Durability, LogOptions, Options};
///
/// let options = Options {
///     max_size: Some(1 << 30),
///     log: LogOptions { durability: Durability::Interval, ..LogOptions::default() },
///     ..Options::default()
/// };
/// assert_eq!(options.min_free_percent, 5);
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
#[derive(Debug, Clone, PartialEq)]
pub struct LogOptions {
    /// When an append is acknowledged. Default [`Durability::Sync`].
    pub durability: Durability,
    /// `sync_interval`: how often [`Durability::Interval`] syncs. Default 100 ms.
    pub sync_interval: Duration,
    /// `segment_size` in bytes, 1 MiB to 1 GiB. `None`: a sixteenth of the log's share, 1 MiB to 16 MiB.
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

/// When an append is acknowledged, and so what an acknowledged frame survives.
///
/// | policy | acknowledged after | killed process | power cut or kernel crash |
/// |---|---|---|---|
/// | `Sync` | its `fdatasync` | survives | survives |
/// | `Interval` | its write | survives | the last `sync_interval` or 8 MiB may be lost |
/// | `Os` | its write | survives | what the kernel had not written yet may be lost |
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFull {
    /// Appends are refused as full: for receivers that can push back.
    #[default]
    Reject,
    /// The oldest segment goes, counted per cursor: for sources that cannot wait, such as the kernel.
    DropOldest,
}
