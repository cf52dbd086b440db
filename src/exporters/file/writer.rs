//! The file over its life: opened, appended to, rotated, set aside when its disk fails.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::Rotation;
use super::folder::Folder;
use super::lines::{AppendError, Lines};
use super::rotated::Names;

/// Writes lines durably.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    create_directory: bool,
    folder: Folder,
    names: Names,
    rotation: Rotation,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Not open: at first, and after what a new attempt may mend.
    Closed,
    /// Ends with a whole, durable line.
    Open(Lines),
    /// A sync failed. The file is held, so that its lock is too, until it has another name.
    Spent(Lines),
}

impl Writer {
    pub(super) fn new(path: &Path, rotation: Rotation, create_directory: bool) -> io::Result<Self> {
        let names = Names::of(path).ok_or_else(|| io::Error::other("is not the name of a file in UTF-8"))?;
        let folder = Folder::of(path, create_directory)?;
        Ok(Self { path: path.into(), create_directory, folder, names, rotation, state: State::Closed })
    }

    /// Appends whole lines; they are on disk when this returns. After an error the same lines may be given again.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.open()?;
        if let State::Open(file) = &self.state {
            let length = file.length()?;
            if length > 0 && length + lines.len() as u64 > self.rotation.max_bytes {
                self.rotate()?;
                self.open()?;
            }
        }
        let State::Open(mut file) = std::mem::replace(&mut self.state, State::Closed) else {
            return Err(io::Error::other("the file is not open"));
        };
        match file.append(lines) {
            Ok(()) => {
                self.state = State::Open(file);
                Ok(())
            }
            Err(AppendError::Unchanged(error)) => {
                self.state = State::Open(file);
                Err(error)
            }
            Err(AppendError::Unsure(error)) => {
                self.state = State::Spent(file);
                Err(error)
            }
        }
    }

    /// Makes sure that a file is open which can be appended to.
    pub(super) fn open(&mut self) -> io::Result<()> {
        let name = self.names.active();
        match &self.state {
            // Renamed or removed by somebody: what we append would be seen by no one.
            State::Open(lines) if !self.folder.holds(name.as_ref(), &lines.file)? => self.state = State::Closed,
            State::Open(_) => return Ok(()),
            State::Spent(_) => self.rotate()?,
            State::Closed => {}
        }
        // The directory too may be another one by now.
        self.folder = Folder::of(&self.path, self.create_directory)?;
        let lines = match self.folder.open_file(name.as_ref())? {
            Some(file) => Lines::take(file)?,
            None => Lines { file: self.folder.create_file(name.as_ref())? },
        };
        self.state = State::Open(lines);
        self.remove_surplus();
        Ok(())
    }

    /// Gives the file its rotated name and lets go of it.
    fn rotate(&mut self) -> io::Result<()> {
        let (State::Open(lines) | State::Spent(lines)) = &self.state else { return Ok(()) };
        let name = self.names.active();
        // What stands under the name may be another file by now; then there is nothing to rename.
        if self.folder.holds(name.as_ref(), &lines.file)? {
            let rotated = self.names.next(&self.folder.names()?, now());
            self.folder.rename(name.as_ref(), rotated.as_ref())?;
        }
        self.state = State::Closed;
        Ok(())
    }

    /// Removes rotated files beyond the limits. A failure is told, and tried again at the next opening.
    fn remove_surplus(&self) {
        let Rotation { max_backups, max_age, .. } = self.rotation;
        let removed = self.folder.names().and_then(|names| {
            let surplus = self.names.surplus(&names, max_backups, max_age, now());
            surplus.iter().try_for_each(|name| self.folder.remove(name.as_ref()))
        });
        if let Err(error) = removed {
            tracing::warn!(file = %self.names.active(), %error, "exporter file: cannot remove rotated files");
        }
    }
}

/// The wall clock: it names files and ages them, and orders nothing.
fn now() -> Timestamp {
    Timestamp::now()
}
