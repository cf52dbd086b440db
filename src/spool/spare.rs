//! Files that wait to become segments: recycled ones, and one filled with zeros while the log is quiet.
//!
//! A write into blocks that the file has already needs no change of its metadata, so that a sync is one flush
//! instead of two. Nobody waits for a spare: without one the next segment is an empty file that grows.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Error;
use super::core::LogCore;
use super::env::{Env, lock};
use super::fs::Access;
use super::names;

/// The most spares that are kept.
const MAX_SPARES: usize = 4;
/// One piece of filling. Each is synced alone, so that a commit beside it waits for little.
const PIECE: usize = 256 << 10;

/// The spares of a log.
#[derive(Debug, Default)]
pub(crate) struct Spares {
    ready: Mutex<Vec<Spare>>,
    next_number: AtomicU64,
}

/// A file with blocks and without meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spare {
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
}

impl Spares {
    /// From the listed spares of a log's directory: number and size. Small ones were being filled when the run
    /// before ended; they are left for [`Spares::sweep`].
    pub(crate) fn new(dir: &Path, listed: &[(u64, u64)], segment_size: u64) -> Self {
        let whole = listed.iter().filter(|(_, size)| *size >= segment_size / 4 * 3);
        let ready = whole.map(|(n, size)| Spare { path: dir.join(names::spare_file(*n)), size: *size }).collect();
        let next = listed.iter().map(|(n, _)| n + 1).max().unwrap_or(0);
        Self { ready: Mutex::new(ready), next_number: AtomicU64::new(next) }
    }

    /// The largest spare, of at least this size: the fewer segments, the fewer syncs between them.
    pub(crate) fn take(&self, size: u64) -> Option<Spare> {
        let mut ready = lock(&self.ready);
        let fits = ready.iter().enumerate().filter(|(_, spare)| spare.size >= size);
        let (at, _) = fits.max_by_key(|(_, spare)| spare.size)?;
        Some(ready.swap_remove(at))
    }

    pub(crate) fn put(&self, spare: Spare) {
        lock(&self.ready).push(spare);
    }

    /// Bytes of all that are ready.
    pub(crate) fn bytes(&self) -> u64 {
        lock(&self.ready).iter().map(|spare| spare.size).sum()
    }

    pub(crate) fn is_full(&self) -> bool {
        lock(&self.ready).len() >= MAX_SPARES
    }

    /// Whether there is one of at least this size.
    pub(crate) fn has(&self, size: u64) -> bool {
        lock(&self.ready).iter().any(|spare| spare.size >= size)
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.ready).is_empty()
    }

    /// A path that no spare has or had in this run.
    pub(crate) fn new_path(&self, dir: &Path) -> PathBuf {
        dir.join(names::spare_file(self.next_number.fetch_add(1, Ordering::Relaxed)))
    }

    /// Removes spare files of which we do not know: half-filled, or left by a crash between two steps.
    pub(crate) fn sweep(&self, env: &Env, dir: &Path, listed: &[(u64, u64)]) -> Result<(), Error> {
        let known: Vec<PathBuf> = lock(&self.ready).iter().map(|s| s.path.clone()).collect();
        for (number, _) in listed {
            let path = dir.join(names::spare_file(*number));
            if !known.contains(&path) {
                env.remove(&path)?;
            }
        }
        Ok(())
    }
}

impl LogCore {
    /// Fills one spare with zeros, if there is none, room for it, and nothing else to do. Gives up as soon as the
    /// log is not quiet any more. `pause` waits between pieces and is false when the spool closes.
    pub(crate) fn fill_spare(&self, size: u64, pause: &dyn Fn() -> bool) -> Result<(), Error> {
        if !self.spares.is_empty() || self.space.copies_on_write() || self.space.room_in_cap(&self.account) < 2 * size {
            return Ok(());
        }
        let path = self.spares.new_path(&self.dir);
        let file = self.env.open(&path, Access::Create)?;
        let zeros = vec![0; PIECE];
        let mut done = 0;
        let filled = loop {
            if done >= size {
                break Ok(true);
            }
            if !self.queue.is_idle() || !pause() {
                break Ok(false);
            }
            let piece = PIECE.min((size - done) as usize);
            if let Err(e) = file.write_bytes(&zeros[..piece], done).and_then(|()| file.sync_data()) {
                break Err(Error::io("fill", &path, e));
            }
            done += piece as u64;
        };
        if let Ok(true) = filled {
            self.account.add(size);
            self.spares.put(Spare { path, size });
            return Ok(());
        }
        drop(file);
        self.env.remove(&path)?;
        filled.map(|_| ())
    }
}
