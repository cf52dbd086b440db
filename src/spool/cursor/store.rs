//! A cursor's file: two slots, written in turn, so that one is always whole.
//!
//! Each run makes the file anew at its first write; on a full disk it goes on with the one that is there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::env::Env;
use super::super::format::Fault;
use super::super::format::cursor::{FILE_LEN, SLOT_LEN, Slot};
use super::super::fs::{Access, DiskFile, is_no_space};
use super::super::{Error, names, whole};

/// The file of one cursor.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    file: Held,
    /// The cursor is no more: a late write must not bring its file back.
    removed: bool,
}

/// What is known of the file itself.
#[derive(Debug)]
enum Held {
    /// Nothing: it is another run's, or not there. What the cache shows of it the disk may lack, so it is replaced.
    Unknown,
    /// Made by this run, and sound.
    Sound(Arc<dyn DiskFile>),
    /// A write or sync failed: it is never written again, the next write makes another.
    Failed,
}

/// What a cursor's file held.
#[derive(Debug)]
pub(crate) enum Stored {
    /// The newer intact slot.
    Slot(Box<Slot>),
    /// There is a file, and neither slot is intact.
    Lost,
    /// There is no file.
    Absent,
}

/// One of a file's two slots.
#[derive(Debug)]
pub(crate) enum Half {
    Slot(Box<Slot>),
    /// It does not verify.
    Bad,
    /// It was not written yet.
    Empty,
}

impl Store {
    /// Reads the file at `path`, writing nothing.
    pub(crate) fn read(env: &Env, path: &Path) -> Result<Stored, Error> {
        let Some(halves) = Self::halves(env, path)? else { return Ok(Stored::Absent) };
        let slots = halves.into_iter().filter_map(|half| match half {
            Half::Slot(slot) => Some(slot),
            Half::Bad | Half::Empty => None,
        });
        let newest = slots.max_by_key(|slot| slot.generation);
        Ok(newest.map_or(Stored::Lost, Stored::Slot))
    }

    /// Both slots of the file at `path`, if there is one.
    pub(crate) fn halves(env: &Env, path: &Path) -> Result<Option<[Half; 2]>, Error> {
        let file = match env.open(path, Access::Read) {
            Err(e) if e.is_not_found() => return Ok(None),
            other => other?,
        };
        let mut bytes = Vec::new();
        file.read(&mut bytes, 0, FILE_LEN as usize).map_err(|e| Error::io("read", path, e))?;
        let half = |at: u64| -> Result<Half, Error> {
            let bytes = bytes.get(at as usize..).unwrap_or_default();
            match Slot::decode(bytes) {
                Ok(slot) => Ok(Half::Slot(Box::new(slot))),
                Err(e @ (Fault::Version(_) | Fault::Features(_))) => {
                    Err(super::super::error::Kind::Newer { path: path.to_owned(), what: e.to_string() }.into())
                }
                Err(_) if is_zero(&bytes[..bytes.len().min(SLOT_LEN as usize)]) => Ok(Half::Empty),
                Err(_) => Ok(Half::Bad),
            }
        };
        Ok(Some([half(0)?, half(SLOT_LEN)?]))
    }

    /// Removes from a directory of cursors what was to become a file of one when a run ended: it would take room until
    /// that cursor is written again. Answers the bytes of what stays.
    pub(crate) fn sweep(env: &Env, dir: &Path) -> u64 {
        whole::sweep(env, dir, |name| names::decode(name).is_some())
    }

    /// For the file at `path`, which may not exist yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, file: Held::Unknown, removed: false }
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.removed
    }

    /// Durably removes the file. After an error it may or may not be there.
    pub(crate) fn remove(&mut self, env: &Env) -> Result<(), Error> {
        env.remove_if_there(&self.path)?;
        self.file = Held::Failed;
        // The name itself: else it could be back after a crash, and hold data again.
        self.path.parent().map_or(Ok(()), |dir| env.sync_dir(dir))?;
        // Not before: a cursor that could not be removed is written when it is used again.
        self.removed = true;
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Durably writes a slot whose generation is one above the last. After an error the old slot may or may not be
    /// the present one; the next write goes to a new file.
    pub(crate) fn write(&mut self, env: &Env, slot: &Slot) -> Result<(), Error> {
        let bytes = slot.encode();
        let file = match std::mem::replace(&mut self.file, Held::Failed) {
            Held::Sound(file) => self.update(file, &bytes, slot.generation)?,
            Held::Failed => self.replace(env, &bytes, slot.generation)?,
            Held::Unknown => match self.renew(env, &bytes, slot.generation) {
                // A full disk keeps no agent from starting: the file that is there needs no room.
                Err(e) if e.io_error().is_some_and(is_no_space) => self.reuse(env, &bytes, slot.generation).ok_or(e)?,
                renewed => self.named(env, renewed?)?,
            },
        };
        self.file = Held::Sound(file);
        Ok(())
    }

    /// Writes the slot that is not the newest, in place: the other one stays whole while this one is torn.
    fn update(&self, file: Arc<dyn DiskFile>, slot: &[u8], generation: u64) -> Result<Arc<dyn DiskFile>, Error> {
        file.write_bytes(slot, place(generation)).map_err(|e| Error::io("write", &self.path, e))?;
        file.sync_data().map_err(|e| Error::io("sync", &self.path, e))?;
        Ok(file)
    }

    /// Writes in place to a file of another run, if there is one of full size.
    fn reuse(&self, env: &Env, slot: &[u8], generation: u64) -> Option<Arc<dyn DiskFile>> {
        let file = env.open(&self.path, Access::Write).ok()?;
        file.size().is_ok_and(|size| size >= FILE_LEN).then(|| self.update(file, slot, generation).ok())?
    }

    /// Durably puts a whole new file in the place of the old one.
    fn replace(&self, env: &Env, slot: &[u8], generation: u64) -> Result<Arc<dyn DiskFile>, Error> {
        let file = self.renew(env, slot, generation)?;
        self.named(env, file)
    }

    /// Puts a whole new file in the place of the old one. Its space is taken now, so that later updates need none.
    /// After an error the old one is there as it was.
    fn renew(&self, env: &Env, slot: &[u8], generation: u64) -> Result<Arc<dyn DiskFile>, Error> {
        let mut bytes = vec![0; FILE_LEN as usize];
        let at = place(generation) as usize;
        bytes[at..at + slot.len()].copy_from_slice(slot);
        whole::put(env, &self.path, |file, new| file.write_bytes(&bytes, 0).map_err(|e| Error::io("write", new, e)))
    }

    /// A new file whose name is durable.
    fn named(&self, env: &Env, file: Arc<dyn DiskFile>) -> Result<Arc<dyn DiskFile>, Error> {
        if let Some(dir) = self.path.parent() {
            // The name itself: else the old file could be back after a crash.
            env.sync_dir(dir)?;
        }
        Ok(file)
    }
}

/// Where the slot of a generation stands.
fn place(generation: u64) -> u64 {
    generation % 2 * SLOT_LEN
}

/// A page at once: it is asked for every cursor at every opening.
fn is_zero(bytes: &[u8]) -> bool {
    static ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|page| *page == ZEROS[..page.len()])
}
