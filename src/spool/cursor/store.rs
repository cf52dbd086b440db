//! A cursor's file: two slots, written in turn, so that one is always whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::Error;
use super::super::env::Env;
use super::super::format::Fault;
use super::super::format::cursor::{FILE_LEN, SLOT_LEN, Slot};
use super::super::fs::{Access, DiskFile};

/// The file of one cursor.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    /// `None` after a failed write or sync: that file is never written again, the next write makes another.
    file: Option<Arc<dyn DiskFile>>,
    /// The cursor is no more: a late write must not bring its file back.
    removed: bool,
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

impl Store {
    /// Reads the file at `path`, writing nothing.
    pub(crate) fn read(env: &Env, path: &Path) -> Result<Stored, Error> {
        let file = match env.open(path, Access::Read) {
            Err(e) if e.is_not_found() => return Ok(Stored::Absent),
            other => other?,
        };
        let mut bytes = Vec::new();
        file.read(&mut bytes, 0, FILE_LEN as usize).map_err(|e| Error::io("read", path, e))?;
        let slots = [0, SLOT_LEN as usize].map(|at| Slot::decode(bytes.get(at..).unwrap_or_default()));
        for slot in &slots {
            if let Err(e @ (Fault::Version(_) | Fault::Features(_))) = slot {
                return Err(super::super::error::Kind::Newer { path: path.to_owned(), what: e.to_string() }.into());
            }
        }
        let newest = slots.into_iter().flatten().max_by_key(|slot| slot.generation);
        Ok(newest.map_or(Stored::Lost, |slot| Stored::Slot(Box::new(slot))))
    }

    /// For the file at `path`, which may not exist yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, file: None, removed: false }
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.removed
    }

    /// Durably removes the file. After an error it may or may not be there.
    pub(crate) fn remove(&mut self, env: &Env) -> Result<(), Error> {
        match env.remove(&self.path) {
            Err(e) if !e.is_not_found() => return Err(e),
            _ => {}
        }
        (self.removed, self.file) = (true, None);
        // The name itself: else it could be back after a crash, and hold data again.
        self.path.parent().map_or(Ok(()), |dir| env.sync_dir(dir))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Durably writes a slot whose generation is one above the last. After an error the old slot may or may not be
    /// the present one; the next write goes to a new file.
    pub(crate) fn write(&mut self, env: &Env, slot: &Slot) -> Result<(), Error> {
        let bytes = slot.encode();
        let Some(file) = self.file.take() else {
            self.file = Some(self.replace(env, &bytes, slot.generation)?);
            return Ok(());
        };
        // The other slot stays whole while this one is torn.
        let at = place(slot.generation);
        file.write_bytes(&bytes, at).map_err(|e| Error::io("write", &self.path, e))?;
        file.sync_data().map_err(|e| Error::io("sync", &self.path, e))?;
        self.file = Some(file);
        Ok(())
    }

    /// Makes a whole new file beside the old one and puts it in its place. Its space is taken now, so that later
    /// updates need none.
    fn replace(&self, env: &Env, slot: &[u8], generation: u64) -> Result<Arc<dyn DiskFile>, Error> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let new = self.path.with_file_name(format!("~{name}"));
        match env.remove(&new) {
            Err(e) if !e.is_not_found() => return Err(e),
            _ => {}
        }
        let file = env.open(&new, Access::Create)?;
        let mut whole = vec![0; FILE_LEN as usize];
        let at = place(generation) as usize;
        whole[at..at + slot.len()].copy_from_slice(slot);
        file.write_bytes(&whole, 0).map_err(|e| Error::io("write", &new, e))?;
        // Before the rename: else a crash could leave the name on a file without its bytes.
        file.sync_all().map_err(|e| Error::io("sync", &new, e))?;
        env.rename(&new, &self.path)?;
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
