//! What every part of one open spool shares: the disk, the clocks, the ids.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::Error;
use super::clock::Clock;
use super::fs::{Access, Disk, DiskFile};

/// What every part of one open spool shares.
#[derive(Debug, Clone)]
pub(crate) struct Env {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) spool_id: u128,
    /// Random, new with each open for writing; zero for a reader.
    pub(crate) epoch: u64,
}

impl Env {
    pub(crate) fn open(&self, path: &Path, how: Access) -> Result<Arc<dyn DiskFile>, Error> {
        let op = if how == Access::Create { "create" } else { "open" };
        self.disk.open(path, how).map_err(|e| Error::io(op, path, e))
    }

    pub(crate) fn size(&self, file: &dyn DiskFile, path: &Path) -> Result<u64, Error> {
        file.size().map_err(|e| Error::io("size", path, e))
    }

    pub(crate) fn make_dir(&self, path: &Path) -> Result<(), Error> {
        self.disk.make_dir(path).map_err(|e| match e.raw_os_error() {
            Some(errno) if errno == Errno::LOOP.raw_os_error() => {
                Error::refused(path, "this is a symbolic link; name the directory that it points to")
            }
            _ => Error::io("create directory", path, e),
        })
    }

    pub(crate) fn sync_dir(&self, path: &Path) -> Result<(), Error> {
        self.disk.sync_dir(path).map_err(|e| Error::io("sync directory", path, e))
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<(), Error> {
        self.disk.rename(from, to).map_err(|e| Error::io("rename", from, e))
    }

    pub(crate) fn remove(&self, path: &Path) -> Result<(), Error> {
        self.disk.remove(path).map_err(|e| Error::io("remove", path, e))
    }

    /// The entries of a directory; none when it is not there.
    pub(crate) fn list(&self, path: &Path) -> Result<Vec<super::fs::Listed>, Error> {
        match self.disk.list(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other.map_err(|e| Error::io("list", path, e)),
        }
    }
}

/// Locks a mutex whose data stays whole even if a holder panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
