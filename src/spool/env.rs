//! What every part of one open spool shares: what it stands on, and its ids.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::Error;
use super::clock::{Clock, RealClock};
use super::fs::{Access, Disk, DiskFile, RealDisk};
use super::worker::Runner;

/// What every part of one open spool shares.
#[derive(Debug, Clone)]
pub(crate) struct Env {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) runner: Runner,
    pub(crate) spool_id: u128,
    /// Random, new with each open for writing; zero for a reader.
    pub(crate) epoch: u64,
}

impl Env {
    /// The machine itself; no spool yet.
    pub(crate) fn real() -> Self {
        Self {
            disk: Arc::new(RealDisk),
            clock: Arc::new(RealClock),
            random: Arc::new(KernelRandom),
            runner: Runner::Threads,
            spool_id: 0,
            epoch: 0,
        }
    }

    /// Random bytes.
    pub(crate) fn random<const N: usize>(&self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes)?;
        Ok(bytes)
    }

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

    /// Makes a directory and those above it that are missing, each durable in its parent.
    pub(crate) fn make_dirs(&self, dir: &Path) -> Result<(), Error> {
        match self.make_dir(dir) {
            Err(e) if e.is_not_found() => {}
            other => return other,
        }
        let parent = dir.parent().filter(|p| !p.as_os_str().is_empty());
        let Some(parent) = parent else { return Err(Error::not_found(format!("directory {}", dir.display()))) };
        self.make_dirs(parent)?;
        self.make_dir(dir)?;
        self.sync_dir(parent)
    }

    pub(crate) fn sync_dir(&self, path: &Path) -> Result<(), Error> {
        self.disk.sync_dir(path).map_err(|e| Error::io("sync directory", path, e))
    }

    /// What is named in a directory, and the directory's own name, which may be as new.
    pub(crate) fn sync_dir_and_its_name(&self, dir: &Path) -> Result<(), Error> {
        self.sync_dir(dir)?;
        dir.parent().map_or(Ok(()), |above| self.sync_dir(above))
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<(), Error> {
        self.disk.rename(from, to).map_err(|e| Error::io("rename", from, e))
    }

    pub(crate) fn remove(&self, path: &Path) -> Result<(), Error> {
        self.disk.remove(path).map_err(|e| Error::io("remove", path, e))
    }

    /// As [`Env::remove`], of a file that may not be there.
    pub(crate) fn remove_if_there(&self, path: &Path) -> Result<(), Error> {
        match self.remove(path) {
            Err(e) if !e.is_not_found() => Err(e),
            _ => Ok(()),
        }
    }

    /// The entries of a directory; none when it is not there.
    pub(crate) fn list(&self, path: &Path) -> Result<Vec<super::fs::Listed>, Error> {
        match self.disk.list(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other.map_err(|e| Error::io("list", path, e)),
        }
    }
}

/// Where ids come from.
pub(crate) trait Random: std::fmt::Debug + Send + Sync {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error>;
}

/// The kernel's random numbers.
#[derive(Debug)]
struct KernelRandom;

impl Random for KernelRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
        getrandom::fill(bytes).map_err(|e| Error::invalid(format!("no random numbers: {e}")))
    }
}

/// Locks a mutex whose data stays whole even if a holder panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
