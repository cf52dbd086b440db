//! `damaged/`: copies of bytes that did not verify, kept after their segment is gone.
//!
//! What an opening finds is not always known to be anybody's loss: then no cursor counts it. Its copy has the reason
//! in its name until it was told, so that a crash leaves none untold. Where no copy can be made an empty file with
//! the number of bytes in its name, a note, stands for it.

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
    /// What is to be told and could be written nowhere, with its log.
    unwritten: Mutex<Vec<(String, Untold)>>,
}

impl Damaged {
    pub(crate) fn open(env: &Env, spool: &Path, space: Arc<Space>) -> Result<Self, Error> {
        let dir = spool.join("damaged");
        // Copies that a crash ended: made anew when their holes are met again.
        whole::sweep(env, &dir, |_| true);
        let bytes = env.list(&dir)?.iter().map(|listed| listed.size).sum();
        space.add_other(bytes);
        Ok(Self { dir, bytes: AtomicU64::new(bytes), space, unwritten: Mutex::default() })
    }

    /// Copies a hole's bytes that cursors count. The copy is for a person: where it cannot be made, nobody waits for it.
    pub(crate) fn set_aside(&self, env: &Env, log: &str, segment: &Segment, hole: Hole) {
        drop(self.copy(env, log, segment, hole, None));
    }

    /// Copies the bytes of a hole that is a loss of its own, to be told. Without a copy, a note remembers it; without
    /// room for that, this run does: it is told within seconds, and until the log goes on the next opening meets the
    /// hole as this one did.
    pub(crate) fn set_aside_untold(&self, env: &Env, log: &str, segment: &Segment, hole: Hole, reason: Reason) {
        let kept = match self.copy(env, log, segment, hole, Some(reason)) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => self.note(env, log, segment, hole, reason),
        };
        if kept.is_err()
            && let Ok(name) = note_of(log, segment, hole, reason)
        {
            lock(&self.unwritten).push((log.to_owned(), Untold { name, reason, bytes: hole.bytes }));
        }
    }

    /// Bytes kept of this log.
    pub(crate) fn bytes_of(&self, env: &Env, log: &str) -> Result<u64, Error> {
        bytes_in(env, &self.dir, log)
    }

    /// What of this log was not told of.
    pub(crate) fn untold(&self, env: &Env, log: &str) -> Result<Vec<Untold>, Error> {
        let prefix = format!("{}-", names::encode(log)?);
        let untold = |file: Listed| {
            let name = Name::parse(&file.name);
            let reason = name.reason.filter(|_| is_of(&prefix, name.place))?;
            Some(Untold { reason, bytes: name.noted.unwrap_or(file.size), name: file.name })
        };
        let mut all: Vec<Untold> = env.list(&self.dir)?.into_iter().filter_map(untold).collect();
        all.extend(lock(&self.unwritten).iter().filter(|(of, _)| of == log).map(|(_, untold)| untold.clone()));
        Ok(all)
    }

    /// This one was told.
    pub(crate) fn told(&self, env: &Env, untold: &Untold) -> Result<(), Error> {
        let mut unwritten = lock(&self.unwritten);
        if let Some(at) = unwritten.iter().position(|(_, other)| other == untold) {
            unwritten.swap_remove(at);
            return Ok(());
        }
        drop(unwritten);
        match env.rename(&self.dir.join(&untold.name), &self.dir.join(Name::parse(&untold.name).told)) {
            // An operator who looked at it may have taken it away.
            Err(e) if e.is_not_found() => Ok(()),
            Err(e) => Err(e),
            Ok(()) => env.sync_dir(&self.dir),
        }
    }

    /// The name is made from the place, so that doing it twice is doing it once. False when too much is kept already.
    fn copy(&self, env: &Env, log: &str, segment: &Segment, hole: Hole, untold: Option<Reason>) -> Result<bool, Error> {
        let place = place_of(log, segment, hole)?;
        if self.has(env, &place)? {
            return Ok(true);
        }
        if self.bytes.load(Ordering::Relaxed) + hole.bytes > MAX_BYTES {
            return Ok(false);
        }
        let name = untold.map_or(place.clone(), |reason| format!("{place}.{}", reason.name()));
        let from = segment.open(env)?;
        let mut done = 0;
        self.put(env, &name, |to, new| {
            done = fill(to, new, &*from, segment, hole)?;
            Ok(())
        })?;
        self.bytes.fetch_add(done, Ordering::Relaxed);
        self.space.add_other(done);
        Ok(true)
    }

    /// Remembers a hole without its bytes.
    fn note(&self, env: &Env, log: &str, segment: &Segment, hole: Hole, reason: Reason) -> Result<(), Error> {
        self.put(env, &note_of(log, segment, hole, reason)?, |_, _| Ok(()))
    }

    fn has(&self, env: &Env, place: &str) -> Result<bool, Error> {
        Ok(env.list(&self.dir)?.iter().any(|file| Name::parse(&file.name).place == place))
    }

    fn put(
        &self,
        env: &Env,
        name: &str,
        fill: impl FnOnce(&dyn DiskFile, &Path) -> Result<(), Error>,
    ) -> Result<(), Error> {
        env.make_dir(&self.dir)?;
        whole::put(env, &self.dir.join(name), fill)?;
        // Else a crash could take the name, and with it what is told of the damage.
        env.sync_dir_and_its_name(&self.dir)
    }
}

fn place_of(log: &str, segment: &Segment, hole: Hole) -> Result<String, Error> {
    Ok(format!("{}-{:016x}-{:x}", names::encode(log)?, segment.id, hole.offset))
}

/// The name of an empty file that says how many bytes did not verify at a place.
fn note_of(log: &str, segment: &Segment, hole: Hole, reason: Reason) -> Result<String, Error> {
    Ok(format!("{}+{}.{}", place_of(log, segment, hole)?, hole.bytes, reason.name()))
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
    let mine = |name: &str| is_of(&prefix, Name::parse(name).place);
    Ok(env.list(dir)?.iter().filter(|f| mine(&f.name)).map(|f| f.size).sum())
}

/// A loss that is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Untold {
    /// The name of its file, or the one that its note would have.
    pub(crate) name: String,
    pub(crate) reason: Reason,
    pub(crate) bytes: u64,
}

/// What the name of a file in `damaged/` says.
struct Name<'a> {
    /// The name that it has once it is told.
    told: &'a str,
    place: &'a str,
    /// How many bytes there were, of a note.
    noted: Option<u64>,
    /// It is to be told.
    reason: Option<Reason>,
}

impl<'a> Name<'a> {
    fn parse(name: &'a str) -> Self {
        let with_reason = name.rsplit_once('.').and_then(|(told, word)| {
            Some((told, [Reason::Damaged, Reason::Torn].into_iter().find(|reason| reason.name() == word)?))
        });
        let (told, reason) = with_reason.map_or((name, None), |(told, reason)| (told, Some(reason)));
        let with_bytes = told.rsplit_once('+').and_then(|(place, bytes)| Some((place, bytes.parse().ok()?)));
        let (place, noted) = with_bytes.map_or((told, None), |(place, bytes)| (place, Some(bytes)));
        Self { told, place, noted, reason }
    }
}

/// Whether a place is in the log whose places begin so.
fn is_of(prefix: &str, place: &str) -> bool {
    let rest = place.strip_prefix(prefix).unwrap_or_default();
    // Another log's name may begin with this one's: what follows must be exactly an id and an offset.
    rest.split_once('-').is_some_and(|(id, at)| {
        id.len() == 16 && u64::from_str_radix(id, 16).is_ok() && u64::from_str_radix(at, 16).is_ok()
    })
}
