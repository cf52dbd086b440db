//! A file system in memory, without faults: fast enough to damage a log half a million times.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::spool::env::lock;
use crate::spool::fs::{Access, Disk, DiskFile, Listed, Volume};

type Bytes = Arc<Mutex<Vec<u8>>>;

/// The disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(super) struct MemoryDisk(Arc<Mutex<Tree>>);

#[derive(Debug, Default)]
struct Tree {
    dirs: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, Bytes>,
}

#[derive(Debug)]
struct File(Bytes);

impl MemoryDisk {
    /// Paths of all files.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        lock(&self.0).files.keys().cloned().collect()
    }

    pub(super) fn get(&self, path: &Path) -> Vec<u8> {
        lock(&self.bytes(path)).clone()
    }

    pub(super) fn put(&self, path: &Path, bytes: Vec<u8>) {
        lock(&self.0).files.insert(path.to_owned(), Arc::new(Mutex::new(bytes)));
    }

    pub(super) fn flip(&self, path: &Path, bit: u64) {
        lock(&self.bytes(path))[(bit / 8) as usize] ^= 1 << (bit % 8);
    }

    /// Another disk with the same files.
    pub(super) fn copy(&self) -> Self {
        let tree = lock(&self.0);
        let files = tree.files.iter().map(|(path, bytes)| (path.clone(), Arc::new(Mutex::new(lock(bytes).clone()))));
        Self(Arc::new(Mutex::new(Tree { dirs: tree.dirs.clone(), files: files.collect() })))
    }

    fn bytes(&self, path: &Path) -> Bytes {
        lock(&self.0).files[path].clone()
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for MemoryDisk {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        let mut tree = lock(&self.0);
        let parent = path.parent().unwrap();
        if parent != Path::new("/") && !tree.dirs.contains(parent) {
            return Err(not_found());
        }
        tree.dirs.insert(path.to_owned());
        Ok(())
    }

    fn protect_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        let tree = lock(&self.0);
        let name = |found: &Path| found.file_name().unwrap().to_str().unwrap().to_owned();
        let dirs = tree.dirs.iter().filter(|found| found.parent() == Some(path));
        let dirs = dirs.map(|found| Listed { name: name(found), is_dir: true, size: 0 });
        let files = tree.files.iter().filter(|(found, _)| found.parent() == Some(path));
        let file = |(found, bytes): (&PathBuf, &Bytes)| Listed {
            name: name(found),
            is_dir: false,
            size: lock(bytes).len() as u64,
        };
        Ok(dirs.chain(files.map(file)).collect())
    }

    fn open(&self, path: &Path, how: Access) -> io::Result<Arc<dyn DiskFile>> {
        let mut tree = lock(&self.0);
        if how == Access::Create {
            tree.files.insert(path.to_owned(), Bytes::default());
        }
        let bytes = tree.files.get(path).cloned().ok_or_else(not_found)?;
        Ok(Arc::new(File(bytes)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut tree = lock(&self.0);
        let bytes = tree.files.remove(from).ok_or_else(not_found)?;
        tree.files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        lock(&self.0).files.remove(path).map(|_| ()).ok_or_else(not_found)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn volume(&self, _: &Path) -> io::Result<Volume> {
        Ok(Volume { total: 1 << 40, available: 1 << 39, network: None, copy_on_write: false, largest_file: u64::MAX })
    }
}

impl DiskFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(lock(&self.0).len() as u64)
    }

    fn read_some(&self, into: &mut Vec<u8>, offset: u64, length: usize) -> io::Result<usize> {
        let bytes = lock(&self.0);
        let from = bytes.get(offset as usize..).unwrap_or_default();
        let found = &from[..length.min(from.len())];
        into.extend_from_slice(found);
        Ok(found.len())
    }

    fn write_some(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut bytes = lock(&self.0);
        let mut at = offset as usize;
        for buffer in buffers {
            let end = at + buffer.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[at..end].copy_from_slice(buffer);
            at = end;
        }
        Ok(at - offset as usize)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }

    fn forget_cache(&self) -> io::Result<()> {
        Ok(())
    }

    /// Nobody else is here.
    fn try_lock(&self, _: bool) -> io::Result<bool> {
        Ok(true)
    }
}
