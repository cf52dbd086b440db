//! A disk that fails on purpose, in front of the real one.
//!
//! A failed sync behaves as ext4 was seen to: the cache goes on showing the new bytes, a second sync says Ok, and
//! once the cache is dropped the old bytes are back.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use rustix::io::Errno;

use crate::spool::env::lock;
use crate::spool::fs::{Access, Disk, DiskFile, Listed, RealDisk, Volume};

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Create,
    Open,
    Read,
    Write,
    Sync,
    SyncDir,
    Rename,
    Remove,
}

/// Which calls fail, and how.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) op: Op,
    /// Part of the file's name.
    pub(crate) file: &'static str,
    /// So many such calls go well first.
    pub(crate) skip: usize,
    /// So many fail then.
    pub(crate) times: usize,
    pub(crate) errno: Errno,
}

/// The disk. Clones share their faults.
#[derive(Debug, Clone, Default)]
pub(crate) struct FaultDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    faults: Vec<Fault>,
    calls: Vec<(Op, PathBuf)>,
    /// The present names of open files: a renamed file fails under its new one.
    names: Vec<Weak<Mutex<PathBuf>>>,
}

impl FaultDisk {
    pub(crate) fn add(&self, fault: Fault) {
        lock(&self.state).faults.push(fault);
    }

    /// Every call from now on succeeds.
    pub(crate) fn heal(&self) {
        lock(&self.state).faults.clear();
    }

    /// The calls so far, failed ones included; forgets them.
    pub(crate) fn take_calls(&self) -> Vec<(Op, PathBuf)> {
        std::mem::take(&mut lock(&self.state).calls)
    }

    fn call(&self, op: Op, path: &Path) -> io::Result<()> {
        let state = &mut *lock(&self.state);
        state.calls.push((op, path.to_owned()));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        for fault in state.faults.iter_mut().filter(|f| f.op == op && name.contains(f.file) && f.times > 0) {
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            fault.times -= 1;
            return Err(fault.errno.into());
        }
        Ok(())
    }
}

impl Disk for FaultDisk {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.make_dir(path)
    }
    fn protect_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.protect_dir(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        RealDisk.list(path)
    }
    fn open(&self, path: &Path, how: Access) -> io::Result<Arc<dyn DiskFile>> {
        self.call(if how == Access::Create { Op::Create } else { Op::Open }, path)?;
        let inner = RealDisk.open(path, how)?;
        let name = Arc::new(Mutex::new(path.to_owned()));
        lock(&self.state).names.push(Arc::downgrade(&name));
        Ok(Arc::new(FaultFile { disk: self.clone(), path: name, inner, undo: Mutex::default() }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Op::Rename, to)?;
        RealDisk.rename(from, to)?;
        for name in lock(&self.state).names.iter().filter_map(Weak::upgrade) {
            let mut name = lock(&name);
            if *name == from {
                *name = to.to_owned();
            }
        }
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(Op::Remove, path)?;
        RealDisk.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.call(Op::SyncDir, path)?;
        RealDisk.sync_dir(path)
    }
    fn volume(&self, path: &Path) -> io::Result<Volume> {
        RealDisk.volume(path)
    }
}

#[derive(Debug)]
struct FaultFile {
    disk: FaultDisk,
    path: Arc<Mutex<PathBuf>>,
    inner: Arc<dyn DiskFile>,
    undo: Mutex<Undo>,
}

/// What was there before the writes that no good sync covers.
#[derive(Debug, Default)]
struct Undo {
    before: Vec<(u64, Vec<u8>)>,
    /// A sync failed: they are lost once the cache is dropped.
    lost: bool,
}

impl FaultFile {
    fn call(&self, op: Op) -> io::Result<()> {
        let path = lock(&self.path).clone();
        self.disk.call(op, &path)
    }

    fn sync(&self, call: impl Fn() -> io::Result<()>) -> io::Result<()> {
        let result = self.call(Op::Sync);
        let mut undo = lock(&self.undo);
        match result {
            Ok(()) if undo.lost => Ok(()),
            Ok(()) => {
                undo.before.clear();
                call()
            }
            Err(e) => {
                undo.lost = true;
                Err(e)
            }
        }
    }
}

impl DiskFile for FaultFile {
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }
    fn read_some(&self, into: &mut Vec<u8>, offset: u64, length: usize) -> io::Result<usize> {
        self.call(Op::Read)?;
        // Short reads are part of a file's contract.
        self.inner.read_some(into, offset, length.min(300_000))
    }
    fn write_some(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let length = buffers.iter().map(|b| b.len()).sum::<usize>();
        let failed = self.call(Op::Write);
        let mut before = Vec::new();
        self.inner.read(&mut before, offset, length)?;
        before.resize(length, 0);
        lock(&self.undo).before.push((offset, before));
        let Err(error) = failed else { return self.inner.write_some(buffers, offset) };
        // A failed write may have written a part.
        let all: Vec<u8> = buffers.iter().flat_map(|b| b.iter().copied()).collect();
        self.inner.write_bytes(&all[..length / 2], offset)?;
        Err(error)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.sync(|| self.inner.sync_data())
    }
    fn sync_all(&self) -> io::Result<()> {
        self.sync(|| self.inner.sync_all())
    }
    fn forget_cache(&self) -> io::Result<()> {
        let undo = std::mem::take(&mut *lock(&self.undo));
        if undo.lost {
            for (offset, bytes) in undo.before.into_iter().rev() {
                self.inner.write_bytes(&bytes, offset)?;
            }
        }
        self.inner.forget_cache()
    }
    fn try_lock(&self, alone: bool) -> io::Result<bool> {
        self.inner.try_lock(alone)
    }
}
