//! A disk that fails on purpose, in front of the real one.
//!
//! It can also cut the power: then each block that was written and not synced, and each name that was changed and
//! whose directory was not synced, is as it was or as it should be, by chance.
//!
//! A failed sync behaves as ext4 was seen to: the cache goes on showing the new bytes, a second sync says Ok, and
//! once the cache is dropped the old bytes are back.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use rustix::io::Errno;

use crate::spool::env::lock;
use crate::spool::fs::{Access, Disk, DiskFile, Listed, RealDisk, Volume};

/// A large and local file system.
pub(crate) fn volume() -> Volume {
    Volume { total: 1 << 40, available: 1 << 40, network: None, copy_on_write: false, largest_file: u64::MAX }
}

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
    gate: Arc<Gate>,
}

/// Where syncs wait.
#[derive(Debug, Default)]
struct Gate {
    held: Mutex<Held>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Held {
    is_shut: bool,
    waiting: usize,
    let_through: usize,
}

/// Syncs that wait.
pub(crate) struct HeldSyncs(Arc<Gate>);

impl HeldSyncs {
    pub(crate) fn count(&self) -> usize {
        lock(&self.0.held).waiting
    }

    /// Lets one through.
    pub(crate) fn let_one_through(&self) {
        lock(&self.0.held).let_through += 1;
        self.0.changed.notify_all();
    }
}

impl Drop for HeldSyncs {
    fn drop(&mut self) {
        lock(&self.0.held).is_shut = false;
        self.0.changed.notify_all();
    }
}

impl Gate {
    fn pass(&self) {
        let mut held = lock(&self.held);
        held.waiting += 1;
        while held.is_shut && held.let_through == 0 {
            held = self.changed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        held.waiting -= 1;
        held.let_through = held.let_through.saturating_sub(1);
    }
}

#[derive(Debug, Default)]
struct State {
    faults: Vec<Fault>,
    calls: Vec<(Op, PathBuf)>,
    /// Every file that was opened.
    files: Vec<Arc<FileState>>,
    kept_count: u64,
    /// Names that were changed, oldest first, whose directory was not synced since.
    names: Vec<NameChange>,
    /// What the file system says that it is, if not what it is.
    volume: Option<Volume>,
}

#[derive(Debug)]
struct FileState {
    /// Its present name: a renamed file fails under its new one.
    path: Mutex<PathBuf>,
    undo: Mutex<Undo>,
}

#[derive(Debug, Clone)]
enum NameChange {
    Made(PathBuf),
    Renamed {
        from: PathBuf,
        to: PathBuf,
        /// What had the name before.
        replaced: Option<PathBuf>,
    },
    /// Kept under a name of ours until its directory is synced.
    Removed {
        path: PathBuf,
        kept: PathBuf,
    },
}

impl NameChange {
    fn path(&self) -> &Path {
        match self {
            Self::Made(path) | Self::Renamed { to: path, .. } | Self::Removed { path, .. } => path,
        }
    }
}

impl NameChange {
    /// It is durable: what it replaced or removed is gone for good.
    fn settle(&self) -> io::Result<()> {
        match self {
            Self::Removed { kept, .. } | Self::Renamed { replaced: Some(kept), .. } => RealDisk.remove(kept),
            _ => Ok(()),
        }
    }
}

impl State {
    /// Moves a file out of the way; it may have to come back.
    fn keep(&mut self, path: &Path) -> io::Result<PathBuf> {
        let kept = path.with_file_name(format!("{KEPT}{}", self.kept_count));
        self.kept_count += 1;
        RealDisk.rename(path, &kept)?;
        self.renamed(path, &kept);
        Ok(kept)
    }

    fn renamed(&self, from: &Path, to: &Path) {
        for file in &self.files {
            let mut path = lock(&file.path);
            if *path == from {
                *path = to.to_owned();
            }
        }
    }
}

const KEPT: &str = ".kept-";
const BLOCK: usize = 4096;

impl FaultDisk {
    pub(crate) fn add(&self, fault: Fault) {
        lock(&self.state).faults.push(fault);
    }

    /// Another kind of file system.
    pub(crate) fn is_on(&self, volume: Volume) {
        lock(&self.state).volume = Some(volume);
    }

    /// Syncs of files wait from now on, until they are let through or what this answers is gone.
    pub(crate) fn hold_syncs(&self) -> HeldSyncs {
        lock(&self.gate.held).is_shut = true;
        HeldSyncs(self.gate.clone())
    }

    /// Every call from now on succeeds.
    pub(crate) fn heal(&self) {
        lock(&self.state).faults.clear();
    }

    /// The calls so far, failed ones included; forgets them.
    pub(crate) fn take_calls(&self) -> Vec<(Op, PathBuf)> {
        std::mem::take(&mut lock(&self.state).calls)
    }

    /// What the machine does when the power goes: to be called when nothing uses the disk any more.
    pub(crate) fn cut_power(&self, chance: &mut dyn FnMut() -> bool) -> io::Result<()> {
        let state = std::mem::take(&mut *lock(&self.state));
        for file in state.files {
            let undo = std::mem::take(&mut lock(&file.undo).before);
            let path = lock(&file.path).clone();
            let on_disk = match RealDisk.open(&path, Access::Write) {
                Err(_) if undo.is_empty() => continue,
                other => other?,
            };
            for (offset, before) in undo.into_iter().rev() {
                for (at, block) in (offset..).step_by(BLOCK).zip(before.chunks(BLOCK)) {
                    if chance() {
                        on_disk.write_bytes(block, at)?;
                    }
                }
            }
        }
        // A journal keeps the order of names: what is lost is lost from some change on.
        let mut lost = false;
        let kept = state.names.iter().position(|_| chance()).unwrap_or(state.names.len());
        for change in state.names[kept..].iter().rev() {
            lost = true;
            match change {
                NameChange::Made(path) => RealDisk.remove(path)?,
                NameChange::Renamed { from, to, replaced } => {
                    RealDisk.rename(to, from)?;
                    if let Some(kept) = replaced {
                        RealDisk.rename(kept, to)?;
                    }
                }
                NameChange::Removed { path, kept } => RealDisk.rename(kept, path)?,
            }
        }
        assert!(lost || kept == state.names.len());
        state.names[..kept].iter().try_for_each(NameChange::settle)
    }

    /// A sync is of the file, through whichever handle its bytes came.
    fn synced(&self, path: &Path) {
        for file in lock(&self.state).files.iter().filter(|f| *lock(&f.path) == path) {
            let mut undo = lock(&file.undo);
            if !undo.lost {
                undo.before.clear();
            }
        }
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
        let mut listed = RealDisk.list(path)?;
        listed.retain(|l| !l.name.starts_with(KEPT));
        Ok(listed)
    }
    fn open(&self, path: &Path, how: Access) -> io::Result<Arc<dyn DiskFile>> {
        self.call(if how == Access::Create { Op::Create } else { Op::Open }, path)?;
        let inner = RealDisk.open(path, how)?;
        let file = Arc::new(FileState { path: Mutex::new(path.to_owned()), undo: Mutex::default() });
        let mut state = lock(&self.state);
        if how != Access::Read {
            state.files.push(file.clone());
        }
        if how == Access::Create {
            state.names.push(NameChange::Made(path.to_owned()));
        }
        Ok(Arc::new(FaultFile { disk: self.clone(), inner, file }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Op::Rename, to)?;
        let mut state = lock(&self.state);
        let replaced = if to.exists() { Some(state.keep(to)?) } else { None };
        RealDisk.rename(from, to)?;
        state.renamed(from, to);
        state.names.push(NameChange::Renamed { from: from.to_owned(), to: to.to_owned(), replaced });
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(Op::Remove, path)?;
        let mut state = lock(&self.state);
        let kept = state.keep(path)?;
        state.names.push(NameChange::Removed { path: path.to_owned(), kept });
        Ok(())
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.call(Op::SyncDir, path)?;
        RealDisk.sync_dir(path)?;
        let mut state = lock(&self.state);
        let (durable, open): (Vec<_>, Vec<_>) =
            std::mem::take(&mut state.names).into_iter().partition(|c| c.path().parent() == Some(path));
        state.names = open;
        durable.iter().try_for_each(NameChange::settle)
    }
    fn volume(&self, path: &Path) -> io::Result<Volume> {
        lock(&self.state).volume.map_or_else(|| RealDisk.volume(path), Ok)
    }
}

#[derive(Debug)]
struct FaultFile {
    disk: FaultDisk,
    inner: Arc<dyn DiskFile>,
    file: Arc<FileState>,
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
        let path = lock(&self.file.path).clone();
        self.disk.call(op, &path)
    }

    fn sync(&self, call: impl Fn() -> io::Result<()>) -> io::Result<()> {
        self.disk.gate.pass();
        let result = self.call(Op::Sync);
        let mut undo = lock(&self.file.undo);
        match result {
            Ok(()) if undo.lost => Ok(()),
            Ok(()) => {
                undo.before.clear();
                drop(undo);
                let path = lock(&self.file.path).clone();
                self.disk.synced(&path);
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
        lock(&self.file.undo).before.push((offset, before));
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
        let undo = std::mem::take(&mut *lock(&self.file.undo));
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
