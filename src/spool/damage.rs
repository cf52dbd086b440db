//! `damaged/`: copies of bytes that did not verify, kept after their segment is gone.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::Error;
use super::env::{Env, lock};
use super::fs::Access;
use super::names;
use super::segment::Segment;
use super::space::Space;
use super::walk::Hole;

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
        let bytes = env.list(&dir)?.iter().map(|f| f.size).sum();
        space.add_other(bytes);
        Ok(Self { dir, bytes: AtomicU64::new(bytes), space, failure: Mutex::default() })
    }

    /// Copies a hole's bytes. The name is made from the place, so that doing it twice is doing it once.
    pub(crate) fn set_aside(&self, env: &Env, log: &str, segment: &Segment, hole: Hole) {
        if self.bytes.load(Ordering::Relaxed) + hole.bytes > MAX_BYTES {
            return;
        }
        if let Err(error) = self.copy(env, log, segment, hole) {
            *lock(&self.failure) = Some(error);
        }
    }

    fn copy(&self, env: &Env, log: &str, segment: &Segment, hole: Hole) -> Result<(), Error> {
        env.make_dir(&self.dir)?;
        let name = format!("{}-{:016x}-{:x}", names::encode(log)?, segment.id, hole.offset);
        let path = self.dir.join(&name);
        if env.list(&self.dir)?.iter().any(|f| f.name == name) {
            return Ok(());
        }
        let from = segment.open(env)?;
        let temporary = self.dir.join(format!("~{name}"));
        match env.remove(&temporary) {
            Err(e) if !e.is_not_found() => return Err(e),
            _ => {}
        }
        let to = env.open(&temporary, Access::Create)?;
        let mut done = 0;
        while done < hole.bytes {
            let mut bytes = Vec::new();
            let length = CHUNK.min(hole.bytes - done) as usize;
            let read = from.read(&mut bytes, hole.offset + done, length);
            if read.map_err(|e| Error::io("read", &segment.path, e))? == 0 {
                break;
            }
            to.write_bytes(&bytes, done).map_err(|e| Error::io("write", &temporary, e))?;
            done += bytes.len() as u64;
        }
        to.sync_all().map_err(|e| Error::io("sync", &temporary, e))?;
        env.rename(&temporary, &path)?;
        env.sync_dir(&self.dir)?;
        self.bytes.fetch_add(done, Ordering::Relaxed);
        self.space.add_other(done);
        Ok(())
    }
}

/// Bytes kept in `damaged/` of one log.
pub(crate) fn bytes_of(env: &Env, spool: &Path, log: &str) -> Result<u64, Error> {
    let prefix = format!("{}-", names::encode(log)?);
    let mine = |name: &str| {
        let rest = name.strip_prefix(&prefix).unwrap_or_default();
        // Another log's name may begin with this one's: what follows must be exactly an id and an offset.
        rest.split_once('-').is_some_and(|(id, at)| {
            id.len() == 16 && u64::from_str_radix(id, 16).is_ok() && u64::from_str_radix(at, 16).is_ok()
        })
    };
    Ok(env.list(&spool.join("damaged"))?.iter().filter(|f| mine(&f.name)).map(|f| f.size).sum())
}
