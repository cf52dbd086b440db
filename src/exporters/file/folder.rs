//! The directory of the file: every call that changes it, each with its directory sync.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

const FILE_MODE: Mode = Mode::from_raw_mode(0o600);
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o700);
/// Not a symbolic link: whoever may write the directory must not choose what else we write. Not blocking: a FIFO.
const FILE_FLAGS: OFlags = OFlags::RDWR
    .union(OFlags::APPEND)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

/// A directory, held open: its files stay ours when a path above is moved.
#[derive(Debug)]
pub(super) struct Folder(OwnedFd);

impl Folder {
    /// Opens the directory of a file; `create` makes it when it is missing.
    pub(super) fn of(file: &Path, create: bool) -> io::Result<Self> {
        let path = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if create {
            create_missing(path)?;
        }
        match open_folder(path) {
            Ok(fd) => Ok(Self(fd)),
            Err(Errno::NOENT) => Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("no directory {}: create it, or set create_directory: true", path.display()),
            )),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Opens a regular file for appending, and locks it; None when there is none.
    pub(super) fn open_file(&self, name: &OsStr) -> io::Result<Option<File>> {
        match fs::openat(&self.0, name, FILE_FLAGS, Mode::empty()) {
            Ok(fd) => locked(fd).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP) => Err(io::Error::other("is a symbolic link: name the file itself")),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Makes a file for appending, and locks it. Its name survives a power cut when this returns.
    pub(super) fn create_file(&self, name: &OsStr) -> io::Result<File> {
        let fd = fs::openat(&self.0, name, FILE_FLAGS | OFlags::CREATE | OFlags::EXCL, FILE_MODE)?;
        // Without this, synced lines could be in a file that has no name after a power cut.
        if let Err(error) = self.sync() {
            // A directory sync is not tried again for the same entry: the next attempt makes a new one.
            self.remove(name)?;
            return Err(error);
        }
        locked(fd)
    }

    /// Renames; durable when this returns.
    pub(super) fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        fs::renameat(&self.0, from, &self.0, to)?;
        // Otherwise a power cut could bring the old name back beside a new file's.
        self.sync()
    }

    /// Removes without a sync: a file that comes back after a power cut is removed again.
    pub(super) fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(fs::unlinkat(&self.0, name, AtFlags::empty())?)
    }

    /// Whether `name` is still this file, and not another or none.
    pub(super) fn holds(&self, name: &OsStr, file: &File) -> io::Result<bool> {
        let ours = fs::fstat(file)?;
        match fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) => Ok((there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The names in it that are UTF-8: ours are.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&self.0)? {
            if let Ok(name) = entry?.file_name().to_str() {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(fs::fsync(self.0.as_fd())?)
    }
}

fn open_folder(path: &Path) -> rustix::io::Result<OwnedFd> {
    fs::openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Makes a directory and those above it that are missing, each synced into its parent.
fn create_missing(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path
        .ancestors()
        .take_while(|at| !at.as_os_str().is_empty() && matches!(open_folder(at), Err(Errno::NOENT)))
        .collect();
    for folder in missing.into_iter().rev() {
        match fs::mkdirat(CWD, folder, FOLDER_MODE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // A directory that a power cut takes away takes its files along.
        fs::fsync(open_folder(parent)?)?;
    }
    Ok(())
}

/// Takes the file for this process alone: two writers would cut each other's lines.
fn locked(fd: OwnedFd) -> io::Result<File> {
    if FileType::from_raw_mode(fs::fstat(&fd)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("is not a regular file"));
    }
    match fs::flock(&fd, fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(File::from(fd)),
        Err(Errno::WOULDBLOCK) => Err(io::Error::other("another process, or another exporter, writes it")),
        Err(errno) => Err(errno.into()),
    }
}
