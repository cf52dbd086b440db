//! Every file call of the log: the only place that touches the disk.
//!
//! The log sees a [`Disk`] and [`DiskFile`]s. [`RealDisk`] is the operating system's; tests put one behind it that
//! fails on purpose. Primitive calls are what can be made to fail: a short write is a `write_at` that returns less,
//! and the loops around primitives are here, in the provided methods.
//!
//! What each call makes durable, and so the order in which the log uses them:
//! - bytes of a file: [`DiskFile::sync_data`], or [`DiskFile::sync_all`] for a new file;
//! - the name of a file, after it was made, renamed or removed: [`Disk::sync_dir`] of its directory.
//!
//! After a failed sync the kernel may hold the bytes as clean while the disk lacks them, and a second sync says Ok.
//! So nobody here, and nobody above, syncs a file again after a failure.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Advice, FlockOperation, OFlags};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

/// A file system, as far as the log needs one.
pub(crate) trait Disk: fmt::Debug + Send + Sync {
    /// Makes a directory with mode 0700; one that is there is checked instead: a real directory, not a link.
    fn make_dir(&self, path: &Path) -> io::Result<()>;
    /// Shuts others out of a directory: mode 0700, or at least not writable by them if it is not ours.
    fn protect_dir(&self, path: &Path) -> io::Result<()>;
    /// The regular files and directories in a directory, in no order; links and others are left out.
    fn list(&self, path: &Path) -> io::Result<Vec<Listed>>;
    /// Opens a file; never follows a link in the last part of its path.
    fn open(&self, path: &Path, how: Access) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames within a directory, replacing what has the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Size, room and kind of the file system.
    fn volume(&self, path: &Path) -> io::Result<Volume>;
}

/// An open file of a [`Disk`].
pub(crate) trait DiskFile: fmt::Debug + Send + Sync {
    /// Its size in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Appends up to `length` bytes at `offset` to `into`; fewer when the file ends or the call was short.
    fn read_some(&self, into: &mut Vec<u8>, offset: u64, length: usize) -> io::Result<usize>;
    /// Writes some of the buffers' bytes at `offset`, at most 1,024 buffers; returns how many bytes.
    fn write_some(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    /// Makes the file's bytes, and its size where that is needed to read them, durable.
    fn sync_data(&self) -> io::Result<()>;
    /// As `sync_data`, with everything about the file: for a new one.
    fn sync_all(&self) -> io::Result<()>;
    /// Forgets cached clean pages, so that the next read comes from the disk.
    fn forget_cache(&self) -> io::Result<()>;
    /// These bytes are read soon. A hint: nothing depends on it.
    fn prefetch(&self, _offset: u64, _length: u64) {}
    /// Takes the lock, alone or shared, if nobody else's is in the way. Held until the file is closed.
    fn try_lock(&self, alone: bool) -> io::Result<bool>;

    /// Appends `length` bytes at `offset` to `into`, or as many as there are before the file's end.
    fn read(&self, into: &mut Vec<u8>, offset: u64, length: usize) -> io::Result<usize> {
        into.reserve(length);
        let mut done = 0;
        while done < length {
            match self.read_some(into, offset + done as u64, length - done) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    /// Writes all bytes of all buffers at `offset`. After an error any part of them may be in the file.
    fn write(&self, mut buffers: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        IoSlice::advance_slices(&mut buffers, 0);
        while !buffers.is_empty() {
            match self.write_some(&buffers[..buffers.len().min(MAX_BUFFERS)], offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    offset += n as u64;
                    IoSlice::advance_slices(&mut buffers, n);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Writes one buffer at `offset`.
    fn write_bytes(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write(&mut [IoSlice::new(bytes)], offset)
    }
}

/// The most buffers of one write call (IOV_MAX).
const MAX_BUFFERS: usize = 1024;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// For reading.
    Read,
    /// For reading and writing; it must be there.
    Write,
    /// For reading and writing, with mode 0600; it must not be there.
    Create,
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) is_dir: bool,
    /// Bytes of a file.
    pub(crate) size: u64,
}

/// A file system's size, room and kind, and what may be written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Volume {
    pub(crate) total: u64,
    pub(crate) available: u64,
    /// The name of a network file system, where locks and syncs may not hold.
    pub(crate) network: Option<&'static str>,
    /// Writing in place costs a copy: preparing zeros gains nothing.
    pub(crate) copy_on_write: bool,
    /// What the process may write to one file, in bytes (`RLIMIT_FSIZE`).
    pub(crate) largest_file: u64,
}

/// What an errno means for the log. Decided on the number, never on text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// No room now: disk, quota or file size. The file itself is sound.
    Full,
    /// The disk or the file system fails.
    Failing,
}

/// Sorts an I/O error.
pub(crate) fn trouble(error: &io::Error) -> Trouble {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => Trouble::Full,
        _ => Trouble::Failing,
    }
}

/// Whether giving up other files helps: the disk or a quota is used up.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::NOSPC | Errno::DQUOT))
}

/// The operating system's file systems.
#[derive(Debug)]
pub(crate) struct RealDisk;

#[derive(Debug)]
struct RealFile(File);

impl Disk for RealDisk {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let found = path.symlink_metadata()?;
                match found.file_type() {
                    kind if kind.is_dir() => Ok(()),
                    kind if kind.is_symlink() => Err(Errno::LOOP.into()),
                    _ => Err(Errno::NOTDIR.into()),
                }
            }
            other => other,
        }
    }

    fn protect_dir(&self, path: &Path) -> io::Result<()> {
        let mode = path.metadata()?.mode();
        if mode & 0o077 == 0 {
            return Ok(());
        }
        match rustix::fs::chmod(path, rustix::fs::Mode::RWXU) {
            Err(_) if mode & 0o022 == 0 => Ok(()),
            other => Ok(other?),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for entry in path.read_dir()? {
            let entry = entry?;
            // A file may go while we look: its owner reclaims beside a reader.
            let found = match entry.metadata() {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                found => found?,
            };
            let (Ok(name), true) = (entry.file_name().into_string(), found.is_file() || found.is_dir()) else {
                continue;
            };
            listed.push(Listed { name, is_dir: found.is_dir(), size: found.size() });
        }
        Ok(listed)
    }

    #[allow(clippy::disallowed_methods, reason = "the home of opening")]
    fn open(&self, path: &Path, how: Access) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).mode(0o600).custom_flags(OFlags::NOFOLLOW.bits() as i32);
        match how {
            Access::Read => {}
            Access::Write => {
                options.write(true);
            }
            Access::Create => {
                options.write(true).create_new(true);
            }
        }
        let file = options.open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Arc::new(RealFile(file)))
    }

    #[allow(clippy::disallowed_methods, reason = "the home of renaming; callers sync the directory")]
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    #[allow(clippy::disallowed_methods, reason = "the home of removing; callers sync the directory")]
    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let dir = File::open(path)?;
        // As std does for files.
        Ok(rustix::io::retry_on_intr(|| rustix::fs::fsync(&dir))?)
    }

    fn volume(&self, path: &Path) -> io::Result<Volume> {
        let found = rustix::fs::statfs(path)?;
        let block = found.f_bsize as u64;
        // The field's type differs between architectures; the magic numbers are 32 bits.
        let kind = found.f_type as u32;
        Ok(Volume {
            total: found.f_blocks.saturating_mul(block),
            available: found.f_bavail.saturating_mul(block),
            network: NETWORK.iter().find(|(magic, _)| *magic == kind).map(|(_, name)| *name),
            copy_on_write: COPY_ON_WRITE.contains(&kind),
            largest_file: getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX),
        })
    }
}

/// Network and cluster file systems (`statfs(2)`).
const NETWORK: [(u32, &str); 12] = [
    (0x6969, "nfs"),
    (0x517B, "smb"),
    (0xFF53_4D42, "cifs"),
    (0xFE53_4D42, "smb2"),
    (0x00C3_6400, "ceph"),
    (0x0102_1997, "9p"),
    (0x5346_414F, "afs"),
    (0x7375_7245, "coda"),
    (0x0BD0_0BD0, "lustre"),
    (0x1983_0326, "beegfs"),
    (0x4750_4653, "gpfs"),
    (0x0116_1970, "gfs2"),
];

/// Btrfs, ZFS, bcachefs.
const COPY_ON_WRITE: [u32; 3] = [0x9123_683E, 0x2FC1_2FC1, 0xCA45_1A4E];

impl DiskFile for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_some(&self, into: &mut Vec<u8>, offset: u64, length: usize) -> io::Result<usize> {
        into.reserve(length);
        // Reads into spare capacity: no byte is zeroed first. It may have more room than was asked for.
        let before = into.len();
        let n = rustix::io::pread(&self.0, rustix::buffer::spare_capacity(into), offset)?;
        into.truncate(before + n.min(length));
        Ok(n.min(length))
    }

    fn write_some(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(&self.0, buffers, offset)?)
    }

    #[allow(clippy::disallowed_methods, reason = "the home of syncing")]
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    #[allow(clippy::disallowed_methods, reason = "the home of syncing")]
    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn forget_cache(&self) -> io::Result<()> {
        Ok(rustix::fs::fadvise(&self.0, 0, None, Advice::DontNeed)?)
    }

    fn prefetch(&self, offset: u64, length: u64) {
        if let Some(length) = std::num::NonZeroU64::new(length) {
            rustix::fs::fadvise(&self.0, offset, Some(length), Advice::WillNeed).unwrap_or_default();
        }
    }

    fn try_lock(&self, alone: bool) -> io::Result<bool> {
        let how = if alone { FlockOperation::NonBlockingLockExclusive } else { FlockOperation::NonBlockingLockShared };
        match rustix::fs::flock(&self.0, how) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing else tells a sync that was not made from one that was, while the power stays on.
    #[test]
    fn each_sync_reaches_the_kernel() {
        // It has nothing to sync, and says so.
        let nowhere = Path::new("/dev/null");
        let file = RealFile(File::open(nowhere).unwrap());
        for answer in [file.sync_data(), file.sync_all(), RealDisk.sync_dir(nowhere)] {
            assert_eq!(answer.unwrap_err().raw_os_error(), Some(Errno::INVAL.raw_os_error()));
        }
    }
}
