//! A file of whole lines: appended durably, or cut back to what it was.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;

/// How a line of this exporter begins, up to the signal.
const LINE_START: &[u8] = b"{\"resource";

/// A file that ends with a whole line.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) file: File,
}

/// Why lines were not appended.
#[derive(Debug)]
pub(super) enum AppendError {
    /// The file is what it was before.
    Unchanged(io::Error),
    /// Nobody knows what a reader will find: the file must not be written again.
    Unsure(io::Error),
}

impl Lines {
    /// Takes a file as it was left; an unfinished last line, which nobody was promised, is cut.
    pub(super) fn take(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let whole = end_of_last_line(&file, length)?;
        if whole < length {
            check_torn(&file, whole)?;
            tracing::warn!(bytes = length - whole, "exporter file: cut an unfinished last line");
            cut(&file, whole)?;
        }
        Ok(Self { file })
    }

    /// The length in bytes.
    pub(super) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Appends whole lines; they are on disk when this returns.
    pub(super) fn append(&mut self, lines: &[u8]) -> Result<(), AppendError> {
        let before = self.length().map_err(AppendError::Unchanged)?;
        if let Err(error) = write(&mut self.file, lines) {
            // A full disk took a part of it.
            return match cut(&self.file, before) {
                Ok(()) => Err(AppendError::Unchanged(error)),
                Err(_) => Err(AppendError::Unsure(error)),
            };
        }
        if let Err(error) = sync(&self.file) {
            // The kernel marks pages clean that it failed to write: a second sync would say yes to nothing. So the
            // lines are taken back, if they can be, and the file is left alone from here on.
            cut(&self.file, before).ok();
            return Err(AppendError::Unsure(error));
        }
        Ok(())
    }
}

fn write(file: &mut File, lines: &[u8]) -> io::Result<()> {
    #[cfg(test)]
    faults::write(file, lines)?;
    file.write_all(lines)
}

#[allow(clippy::disallowed_methods, reason = "a file that is exported to, not one of the log's")]
fn cut(file: &File, length: u64) -> io::Result<()> {
    file.set_len(length)
}

/// Makes the lines and the file's length survive a power cut; the only promise this exporter makes.
#[allow(clippy::disallowed_methods, reason = "a file that is exported to, not one of the log's")]
fn sync(file: &File) -> io::Result<()> {
    #[cfg(test)]
    faults::sync(file)?;
    file.sync_data()
}

/// Where the last whole line ends; 0 when there is none.
fn end_of_last_line(file: &File, length: u64) -> io::Result<u64> {
    let mut buffer = vec![0; 64 << 10];
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(buffer.len() as u64);
        let piece = &mut buffer[..(end - start) as usize];
        file.read_exact_at(piece, start)?;
        if let Some(newline) = memchr::memrchr(b'\n', piece) {
            return Ok(start + newline as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Refuses to cut what this exporter did not write. A crash may leave zeros where its line began.
fn check_torn(file: &File, start: u64) -> io::Result<()> {
    let mut torn = [0; LINE_START.len()];
    let read = file.read_at(&mut torn, start)?;
    if torn[..read] == LINE_START[..read] || torn.starts_with(&[0]) {
        return Ok(());
    }
    Err(io::Error::other("its last line is unfinished and not this exporter's: name another path, or end the line"))
}

/// Disk faults for tests, by thread.
#[cfg(test)]
pub(super) mod faults {
    use std::cell::{Cell, RefCell};
    use std::os::unix::fs::MetadataExt as _;

    use rustix::io::Errno;

    use super::{File, io};

    thread_local! {
        /// The next write takes this many bytes and then fails.
        pub(in super::super) static WRITE: Cell<Option<(usize, Errno)>> = const { Cell::new(None) };
        /// The next sync fails.
        pub(in super::super) static SYNC: Cell<Option<Errno>> = const { Cell::new(None) };
        /// The inodes that were synced, failed ones too.
        pub(in super::super) static SYNCED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn write(file: &mut File, lines: &[u8]) -> io::Result<()> {
        let Some((taken, errno)) = WRITE.take() else { return Ok(()) };
        io::Write::write_all(file, &lines[..taken])?;
        Err(errno.into())
    }

    pub(super) fn sync(file: &File) -> io::Result<()> {
        let inode = file.metadata()?.ino();
        SYNCED.with_borrow_mut(|synced| synced.push(inode));
        SYNC.take().map_or(Ok(()), |errno| Err(errno.into()))
    }
}
