//! Who may take how much of the data directory.
//!
//! Half of `max_size` is guaranteed, in equal parts, to the logs; the other half is for whoever needs it. Invariants:
//! - A log within its part can always grow: parts are given to nobody else. Other logs grow only as far as all parts,
//!   and what was taken beyond them, stay in the cap.
//! - At the cap, the log furthest above its part gives room first, in its own order of reclaiming; if it rejects, it
//!   takes nothing until it is below.
//! - The directory is above `max_size` only if a part was not free when its log came: by the rest of that part, until
//!   the log that filled the directory has delivered. Two logs that grow at the same moment may also pass the cap, by
//!   one group of frames.
//! - `min_free` is not passed for anybody's part.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use super::core::LogCore;
use super::env::{Env, lock};
use super::format::ALIGN;
use super::format::frame::frame_len;
use super::format::segment::DATA_AT;
use super::writer::RESERVE;
use super::{Error, LogOptions, Options};

/// The cap when none is set, if a tenth of the file system is not less.
const DEFAULT_MAX_SIZE: u64 = 10 << 30;
/// The smallest segment, in bytes.
const MIN_SEGMENT: u64 = 64 << 10;
/// The largest segment, in bytes.
const MAX_SEGMENT: u64 = 1 << 30;

/// The budget of a data directory.
#[derive(Debug)]
pub(crate) struct Space {
    max_size: u64,
    min_free_percent: u8,
    accounts: Mutex<Accounts>,
    /// Bytes of what belongs to no log: damaged bytes set aside.
    other: AtomicU64,
    /// The cap while less than `min_free` is left on the file system, or after it refused more: what was stored when
    /// that began. Else the largest number.
    tight: AtomicU64,
    copy_on_write: bool,
    largest_file: u64,
}

/// The accounts that somebody holds. A log that could not be opened has none: the next try would count it twice.
#[derive(Debug, Default)]
struct Accounts(Vec<Weak<Account>>);

impl Accounts {
    fn iter(&self) -> impl Iterator<Item = Arc<Account>> {
        self.0.iter().filter_map(Weak::upgrade)
    }

    fn add(&mut self, account: &Arc<Account>) {
        self.0.retain(|account| account.strong_count() > 0);
        self.0.push(Arc::downgrade(account));
    }

    fn others(&self, account: &Account) -> impl Iterator<Item = Arc<Account>> {
        self.iter().filter(move |other| !std::ptr::eq(&**other, account))
    }

    /// How many logs share what is guaranteed.
    fn sharing(&self) -> u64 {
        self.iter().filter(|account| account.fixed.is_none()).count() as u64
    }

    fn bytes(&self) -> u64 {
        self.iter().map(|account| account.bytes()).sum()
    }
}

/// What one log takes.
#[derive(Debug)]
pub(crate) struct Account {
    bytes: AtomicU64,
    cap: u64,
    /// Guaranteed whatever the number of logs; else an equal part.
    fixed: Option<u64>,
    /// Whose it is, once that is open: who is asked to give room.
    owner: OnceLock<Weak<LogCore>>,
}

impl Account {
    /// Says whose it is.
    pub(crate) fn set_owner(&self, log: &Arc<LogCore>) {
        // A log that was opened before keeps its account.
        self.owner.get_or_init(|| Arc::downgrade(log));
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, bytes: u64) {
        let before = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "more given back than was taken");
    }

    /// Takes stock anew.
    pub(crate) fn set(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// This log's own cap.
    pub(crate) fn cap(&self) -> u64 {
        self.cap
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Space {
    pub(crate) fn new(env: &Env, dir: &Path, options: &Options) -> Result<Self, Error> {
        let volume = env.disk.volume(dir).map_err(|e| Error::io("stat the file system of", dir, e))?;
        if let (Some(kind), false) = (volume.network, options.allow_network_fs) {
            let what = format!(
                "is on a network file system ({kind}), where locks and syncs may not hold: use a local disk, or set \
                 allow_network_fs"
            );
            return Err(Error::refused(dir, what));
        }
        Ok(Self {
            max_size: options.max_size.unwrap_or(DEFAULT_MAX_SIZE.min(volume.total / 10)),
            min_free_percent: options.min_free_percent,
            accounts: Mutex::default(),
            other: AtomicU64::new(0),
            tight: AtomicU64::new(u64::MAX),
            copy_on_write: volume.copy_on_write,
            largest_file: volume.largest_file,
        })
    }

    pub(crate) fn max_size(&self) -> u64 {
        self.max_size
    }

    pub(crate) fn copies_on_write(&self) -> bool {
        self.copy_on_write
    }

    /// Opens the account of a log with its own cap, and if `fixed` a guarantee of its own.
    pub(crate) fn account(&self, cap: Option<u64>, fixed: Option<u64>) -> Arc<Account> {
        let cap = cap.unwrap_or(self.max_size).min(self.max_size);
        let account = Arc::new(Account { bytes: AtomicU64::new(0), cap, fixed, owner: OnceLock::new() });
        lock(&self.accounts).add(&account);
        account
    }

    /// What is guaranteed to this log.
    pub(crate) fn guaranteed(&self, account: &Account) -> u64 {
        self.part(account, lock(&self.accounts).sharing())
    }

    fn part(&self, account: &Account, logs: u64) -> u64 {
        account.fixed.unwrap_or(self.max_size / 2 / logs.max(1)).min(account.cap)
    }

    /// The largest payload that one file may hold: a larger one is never stored, however much room there is.
    pub(crate) fn largest_frame(&self) -> u64 {
        self.largest_file.saturating_sub(DATA_AT + RESERVE + frame_len(ALIGN))
    }

    /// A sixteenth of the log's part of the directory, 1 to 16 MiB; never more than a quarter of its cap, or than one
    /// file may hold.
    pub(crate) fn segment_size(&self, account: &Account, options: &LogOptions) -> u64 {
        let part = (self.guaranteed(account) / 16).clamp(1 << 20, 16 << 20);
        let size = options.segment_size.map_or(part, |size| size.clamp(MIN_SEGMENT, MAX_SEGMENT));
        let most = (account.cap() / 4).next_multiple_of(4096).min(self.largest_file / 4096 * 4096);
        size.next_multiple_of(4096).min(most).max(MIN_SEGMENT)
    }

    /// By how many bytes this log's files may grow now.
    pub(crate) fn room(&self, account: &Account) -> u64 {
        let mine = self.guaranteed(account).saturating_sub(account.bytes());
        self.room_in_cap(account).max(mine.min(self.room_on_disk()))
    }

    /// As `room`, with the whole directory in its cap.
    pub(crate) fn room_in_cap(&self, account: &Account) -> u64 {
        let accounts = lock(&self.accounts);
        let logs = accounts.sharing();
        let others: u64 = accounts.others(account).map(|other| other.bytes().max(self.part(&other, logs))).sum();
        drop(accounts);
        let mine = self.max_size.saturating_sub(others + self.other.load(Ordering::Relaxed)).min(account.cap);
        mine.saturating_sub(account.bytes()).min(self.room_on_disk())
    }

    /// How much may be stored in addition before the file system has less than `min_free`.
    fn room_on_disk(&self) -> u64 {
        match self.tight.load(Ordering::Relaxed) {
            u64::MAX => u64::MAX,
            tight => tight.saturating_sub(lock(&self.accounts).bytes()),
        }
    }

    /// Whether it is the file system that has no room.
    pub(crate) fn is_tight(&self) -> bool {
        self.tight.load(Ordering::Relaxed) < u64::MAX
    }

    /// The log that is to give room before this one, which needs so many bytes, gives its own: the furthest above its
    /// part, if it is further above than this one would be.
    pub(crate) fn donor(&self, account: &Account, need: u64) -> Option<Arc<LogCore>> {
        // Its own cap is in the way, not the others.
        if account.bytes() + need > account.cap {
            return None;
        }
        let accounts = lock(&self.accounts);
        let logs = accounts.sharing();
        let above = |a: &Account, more: u64| (a.bytes() + more).saturating_sub(self.share(a, logs));
        let donor = accounts.others(account).max_by_key(|other| above(other, 0))?;
        let is_further = above(&donor, 0) > above(account, need);
        donor.owner.get().filter(|_| is_further)?.upgrade()
    }

    /// What would be guaranteed to this log if what may be stored now were `max_size`.
    fn share(&self, account: &Account, logs: u64) -> u64 {
        let cap = self.max_size.min(self.tight.load(Ordering::Relaxed));
        account.fixed.unwrap_or(cap / 2 / logs.max(1)).min(account.cap)
    }

    pub(crate) fn add_other(&self, bytes: u64) {
        self.other.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The disk, or a quota on it, refused more bytes: what is stored now is the cap until the next look.
    pub(crate) fn is_used_up(&self) {
        let stored = lock(&self.accounts).bytes();
        self.tight.fetch_min(stored, Ordering::Relaxed);
    }

    /// Looks at how much the file system has left.
    pub(crate) fn look(&self, env: &Env, dir: &Path) {
        if let Ok(volume) = env.disk.volume(dir) {
            let kept = volume.total / 100 * u64::from(self.min_free_percent);
            let cap = match (volume.available < kept, self.tight.load(Ordering::Relaxed)) {
                (false, _) => u64::MAX,
                (true, u64::MAX) => lock(&self.accounts).bytes(),
                (true, cap) => cap,
            };
            self.tight.store(cap, Ordering::Relaxed);
        }
    }
}
