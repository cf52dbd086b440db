//! The cursors of a data directory that nobody owns.

use std::path::Path;

use super::super::env::Env;
use super::super::files::Files;
use super::super::format::name_crc;
use super::super::lock::DirectoryLock;
use super::super::reader::Reader;
use super::super::stream::Source as _;
use super::super::{Error, From, Move, Pending, names};
use super::seek::{self, How};
use super::state::{Place, State};
use super::{Store, Stored};

/// Changes the cursors of a data directory that nobody owns, and holds its lock meanwhile. Opens no log: nothing is
/// recovered, reclaimed or written but the cursor's file.
///
/// ```
/// use tidegate::spool::{Editor, From, Reader};
/// # use tidegate::spool::{Need, Options, Spool, Start};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// # let log = spool.log("events")?;
/// # log.cursor("backend", Start::Oldest, Need::Required)?;
/// # log.append_wait(1, "one frame".into(), 1)?;
/// # spool.close()?;
///
/// let editor = Editor::open(dir.path())?;
/// editor.seek("events", "backend", From::End)?;
/// editor.pause("events", "backend")?;
///
/// let inspection = Reader::open(dir.path())?.inspect()?;
/// let cursor = &inspection.logs[0].cursors[0];
/// assert_eq!((cursor.sequence, cursor.skipped_items, cursor.paused), (2, 1, true));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Editor {
    reader: Reader,
    _lock: DirectoryLock,
}

impl Editor {
    /// Takes the lock of a data directory.
    ///
    /// ```
    /// use tidegate::spool::Editor;
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    ///
    /// assert!(Editor::open(dir.path()).is_err_and(|error| error.is_owned()));
    /// spool.close()?;
    /// let editor = Editor::open(dir.path())?;
    /// // Now it has the lock.
    /// assert!(Spool::open(dir.path(), Options::default()).is_err_and(|error| error.is_owned()));
    /// # drop((editor, log));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Owned, with the owner's pid, when a process has it; as [`Reader::open`].
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let reader = Reader::open(dir)?;
        // Of no segment: who looks finds none that is being written.
        let env = Env { epoch: 0, ..reader.env().clone() };
        let lock = DirectoryLock::take(&env, dir)?;
        Ok(Self { reader, _lock: lock })
    }

    /// As [`Log::seek`](super::super::Log::seek).
    ///
    /// ```
    /// use tidegate::spool::{Editor, From};
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # log.cursor("backend", Start::Oldest, Need::Required)?;
    /// # log.append_wait(1, "one frame".into(), 1)?;
    /// # spool.close()?;
    ///
    /// let editor = Editor::open(dir.path())?;
    /// let moved = editor.seek("events", "backend", From::End)?;
    /// assert_eq!((moved.from_sequence, moved.to_sequence, moved.skipped_items), (1, 2, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Not found when there is no such log or cursor; corrupt when its file is damaged: the agent begins such a cursor
    /// anew, at its next start; I/O.
    pub fn seek(&self, log: &str, cursor: &str, to: From) -> Result<Move, Error> {
        self.find(log, cursor)?.seek(to, How::Do)
    }

    /// What [`Editor::seek`] would do.
    ///
    /// ```
    /// use tidegate::spool::{Editor, From};
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # log.cursor("backend", Start::Oldest, Need::Required)?;
    /// # log.append_wait(1, "one frame".into(), 1)?;
    /// # spool.close()?;
    ///
    /// let editor = Editor::open(dir.path())?;
    /// let would = editor.try_seek("events", "backend", From::End)?;
    /// assert_eq!(would.skipped_items, 1);
    /// // Nothing was moved, so the move itself does the same.
    /// assert_eq!(editor.seek("events", "backend", From::End)?, would);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Editor::seek`].
    pub fn try_seek(&self, log: &str, cursor: &str, to: From) -> Result<Move, Error> {
        self.find(log, cursor)?.seek(to, How::Try)
    }

    /// As [`Log::pause`](super::super::Log::pause).
    ///
    /// ```
    /// use tidegate::spool::{Editor, Reader};
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # log.cursor("backend", Start::Oldest, Need::Required)?;
    /// # log.append_wait(1, "one frame".into(), 1)?;
    /// # spool.close()?;
    ///
    /// Editor::open(dir.path())?.pause("events", "backend")?;
    /// assert!(Reader::open(dir.path())?.inspect()?.logs[0].cursors[0].paused);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Editor::seek`].
    pub fn pause(&self, log: &str, cursor: &str) -> Result<(), Error> {
        self.find(log, cursor)?.pause(true)
    }

    /// As [`Log::resume`](super::super::Log::resume).
    ///
    /// ```
    /// use tidegate::spool::{Editor, Reader};
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # log.cursor("backend", Start::Oldest, Need::Required)?;
    /// # log.append_wait(1, "one frame".into(), 1)?;
    /// # spool.close()?;
    ///
    /// let editor = Editor::open(dir.path())?;
    /// editor.pause("events", "backend")?;
    /// editor.resume("events", "backend")?;
    /// assert!(!Reader::open(dir.path())?.inspect()?.logs[0].cursors[0].paused);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Editor::seek`].
    pub fn resume(&self, log: &str, cursor: &str) -> Result<(), Error> {
        self.find(log, cursor)?.pause(false)
    }

    /// As [`Log::remove_cursor`](super::super::Log::remove_cursor).
    ///
    /// ```
    /// use tidegate::spool::Editor;
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # log.cursor("backend", Start::Oldest, Need::Required)?;
    /// # log.append_wait(1, "one frame".into(), 1)?;
    /// # spool.close()?;
    ///
    /// let editor = Editor::open(dir.path())?;
    /// let pending = editor.remove_cursor("events", "backend")?;
    /// assert_eq!((pending.items, pending.bytes), (1, 9));
    /// assert!(editor.pause("events", "backend").is_err_and(|error| error.is_not_found()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Editor::seek`].
    pub fn remove_cursor(&self, log: &str, cursor: &str) -> Result<Pending, Error> {
        let mut found = self.find(log, cursor)?;
        let pending = found.pending()?;
        found.store.remove(found.files.env())?;
        Ok(pending)
    }

    fn find(&self, log: &str, cursor: &str) -> Result<Found, Error> {
        let files = Files::open(&self.reader, log, false)?;
        let path = files.dir.join("cursors").join(names::encode(cursor)?);
        let env = files.env();
        let slot = match Store::read(env, &path)? {
            Stored::Slot(slot)
                if slot.spool_id == env.spool_id && slot.log == name_crc(log) && slot.name == name_crc(cursor) =>
            {
                *slot
            }
            Stored::Absent => return Err(Error::not_found(format!("cursor {cursor} of log {log}"))),
            Stored::Slot(_) => return Err(super::super::error::Kind::Foreign { path }.into()),
            Stored::Lost => {
                let what = "both slots of the cursor are damaged; it begins at the oldest frame at the agent's next \
                            start";
                return Err(super::super::error::Kind::Corrupt { path, offset: 0, what: what.to_owned() }.into());
            }
        };
        Ok(Found { store: Store::new(path), state: State::new(slot), files })
    }
}

/// A cursor as its file has it.
struct Found {
    files: Files,
    store: Store,
    state: State,
}

impl Found {
    fn seek(mut self, to: From, how: How) -> Result<Move, Error> {
        let to = seek::place(&self.files, to, self.end()?)?;
        let moved = seek::seek(&self.files, &mut self.state, to)?;
        if how == How::Do {
            self.write()?;
        }
        Ok(moved)
    }

    fn pause(mut self, paused: bool) -> Result<(), Error> {
        self.state.slot.paused = paused;
        self.write()
    }

    /// What the run that wrote it knew to be durable stays what it says.
    fn write(mut self) -> Result<(), Error> {
        self.state.slot.generation += 1;
        self.store.write(self.files.env(), &self.state.slot)
    }

    fn pending(&self) -> Result<Pending, Error> {
        let accepted = self.end()?.totals - self.state.slot.start_totals;
        Ok(Pending {
            items: accepted.items.saturating_sub(self.state.slot.done_items()),
            bytes: accepted.bytes.saturating_sub(self.state.slot.done_bytes),
            oldest_age: None,
        })
    }

    /// After the last frame; where the cursor stands when that is further: segments may be lost.
    fn end(&self) -> Result<Place, Error> {
        let (sequence, totals) = self.files.end()?;
        let (counted, counted_totals) = self.state.slot.counted();
        Ok(match sequence + 1 < counted {
            true => Place { sequence: counted, totals: counted_totals },
            false => Place { sequence: sequence + 1, totals },
        })
    }
}
