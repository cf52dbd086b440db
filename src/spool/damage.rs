//! `damaged/`: copies of bytes that did not verify, kept after their segment is gone.
//!
//! What an opening finds is not always known to be anybody's loss: then no cursor counts it. Its copy has the reason
//! in its name until it was told, so that a crash leaves none untold.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::env::{Env, lock};
use super::format::cursor::Reason;
use super::fs::{DiskFile, Listed};
use super::segment::Segment;
use super::space::Space;
use super::walk::Hole;
use super::{Error, names, whole};

/// The most that is kept.
const MAX_BYTES: u64 = 64 << 20;
/// How much is copied at once.
const CHUNK: u64 = 1 << 20;

/// The directory of damaged bytes.
#[derive(Debug)]
pub(crate) struct Damaged {
    dir: PathBuf,
    bytes: AtomicU64,
    space: Arc<Space>,
    /// The last time that setting aside failed: reading goes on all the same.
    failure: Mutex<Option<Error>>,
}

impl Damaged {
    pub(crate) fn open(env: &Env, spool: &Path, space: Arc<Space>) -> Result<Self, Error> {
        let dir = spool.join("damaged");
        // Copies that a crash ended: made anew when their holes are met again.
        whole::sweep(env, &dir, |_| true);
        let bytes = env.list(&dir)?.iter().map(|listed| listed.size).sum();
        space.add_other(bytes);
        Ok(Self { dir, bytes: AtomicU64::new(bytes), space, failure: Mutex::default() })
    }

    /// Copies a hole's bytes. The name is made from the place, so that doing it twice is doing it once. With a reason
    /// it is a loss of its own, to be told; else cursors count what it held.
    pub(crate) fn set_aside(&self, env: &Env, log: &str, segment: &Segment, hole: Hole, untold: Option<Reason>) {
        if self.bytes.load(Ordering::Relaxed) + hole.bytes > MAX_BYTES {
            return;
        }
        if let Err(error) = self.copy(env, log, segment, hole, untold) {
            *lock(&self.failure) = Some(error);
        }
    }

    /// Bytes kept of this log.
    pub(crate) fn bytes_of(&self, env: &Env, log: &str) -> Result<u64, Error> {
        bytes_in(env, &self.dir, log)
    }

    /// Copies of this log that were not told of.
    pub(crate) fn untold(&self, env: &Env, log: &str) -> Result<Vec<Untold>, Error> {
        let prefix = format!("{}-", names::encode(log)?);
        let untold = |file: Listed| {
            let (place, reason) = split_reason(&file.name);
            Some(Untold { reason: reason.filter(|_| is_of(&prefix, place))?, bytes: file.size, name: file.name })
        };
        Ok(env.list(&self.dir)?.into_iter().filter_map(untold).collect())
    }

    /// This one was told.
    pub(crate) fn told(&self, env: &Env, untold: &Untold) -> Result<(), Error> {
        let (place, _) = split_reason(&untold.name);
        match env.rename(&self.dir.join(&untold.name), &self.dir.join(place)) {
            // An operator who looked at it may have taken it away.
            Err(e) if e.is_not_found() => Ok(()),
            Err(e) => Err(e),
            Ok(()) => env.sync_dir(&self.dir),
        }
    }

    fn copy(&self, env: &Env, log: &str, segment: &Segment, hole: Hole, untold: Option<Reason>) -> Result<(), Error> {
        env.make_dir(&self.dir)?;
        let place = format!("{}-{:016x}-{:x}", names::encode(log)?, segment.id, hole.offset);
        if env.list(&self.dir)?.iter().any(|f| split_reason(&f.name).0 == place) {
            return Ok(());
        }
        let name = untold.map_or(place.clone(), |reason| format!("{place}.{}", reason.name()));
        let from = segment.open(env)?;
        let mut done = 0;
        whole::put(env, &self.dir.join(name), |to, new| {
            done = fill(to, new, &*from, segment, hole)?;
            Ok(())
        })?;
        // Else a crash could take the copy's name, and with it what is told of the damage.
        env.sync_dir_and_its_name(&self.dir)?;
        self.bytes.fetch_add(done, Ordering::Relaxed);
        self.space.add_other(done);
        Ok(())
    }
}

/// Copies a hole's bytes; answers how many there were.
fn fill(to: &dyn DiskFile, path: &Path, from: &dyn DiskFile, segment: &Segment, hole: Hole) -> Result<u64, Error> {
    let mut done = 0;
    while done < hole.bytes {
        let mut bytes = Vec::new();
        let length = CHUNK.min(hole.bytes - done) as usize;
        let read = from.read(&mut bytes, hole.offset + done, length);
        if read.map_err(|e| Error::io("read", &segment.path, e))? == 0 {
            break;
        }
        to.write_bytes(&bytes, done).map_err(|e| Error::io("write", path, e))?;
        done += bytes.len() as u64;
    }
    Ok(done)
}

/// Bytes kept in `damaged/` of one log.
pub(crate) fn bytes_of(env: &Env, spool: &Path, log: &str) -> Result<u64, Error> {
    bytes_in(env, &spool.join("damaged"), log)
}

fn bytes_in(env: &Env, dir: &Path, log: &str) -> Result<u64, Error> {
    let prefix = format!("{}-", names::encode(log)?);
    let mine = |name: &str| is_of(&prefix, split_reason(name).0);
    Ok(env.list(dir)?.iter().filter(|f| mine(&f.name)).map(|f| f.size).sum())
}

/// A copy whose loss is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Untold {
    pub(crate) name: String,
    pub(crate) reason: Reason,
    pub(crate) bytes: u64,
}

/// The place that a copy's name tells, and the reason at its end if it is to be told.
fn split_reason(name: &str) -> (&str, Option<Reason>) {
    let found = name.rsplit_once('.').and_then(|(place, word)| {
        let reason = [Reason::Damaged, Reason::Torn].into_iter().find(|reason| reason.name() == word)?;
        Some((place, Some(reason)))
    });
    found.unwrap_or((name, None))
}

/// Whether a place is in the log whose places begin so.
fn is_of(prefix: &str, place: &str) -> bool {
    let rest = place.strip_prefix(prefix).unwrap_or_default();
    // Another log's name may begin with this one's: what follows must be exactly an id and an offset.
    rest.split_once('-').is_some_and(|(id, at)| {
        id.len() == 16 && u64::from_str_radix(id, 16).is_ok() && u64::from_str_radix(at, 16).is_ok()
    })
}
