//! The dead letters of a log: a small log of its own, `dead/<log>/`, that drops its oldest when it is full.
//!
//! It is opened when the first letter is parked. Until then a spare and the file of its cursor stand ready for it, so
//! that a full disk does not keep a refused record from being parked.
//!
//! The cursor never moves by itself. It wants every letter, so that what the log drops is counted in it and told.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::core::LogCore;
use super::cursor::{Cursor, Store, Stored};
use super::env::lock;
use super::format::cursor::{FILE_LEN, Slot};
use super::format::dead_letter::Envelope;
use super::format::name_crc;
use super::fs::{Access, is_no_space};
use super::space::{Account, Space};
use super::spool::{DEAD, Shared};
use super::{DeadLetter, Durability, Error, Frame, Log, LogOptions, Need, OnFull, Start, names, recovery};

/// The largest segment of dead letters, in bytes.
const MAX_SEGMENT: u64 = 1 << 20;
/// The smallest cap: four of the smallest segments, and the cursor.
pub(crate) const MIN_CAP: u64 = (256 << 10) + FILE_LEN;
/// Guaranteed at most to the dead letters of a log, however full the directory is.
const GUARANTEED: u64 = 4 << 20;
/// The cursor of every log of dead letters.
pub(crate) const KEEPER: &str = "dead_letters";
/// One piece of the spare.
const PIECE: usize = 256 << 10;

/// The way from a log to its dead letters.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    spool: Weak<Shared>,
    dir: PathBuf,
    /// There from the start: what is guaranteed must not be taken before it is used.
    account: Arc<Account>,
    open: Mutex<Option<Open>>,
}

/// The log, once somebody needed it.
#[derive(Debug)]
struct Open {
    log: Log,
    /// Held, so that it is no orphan. None while the disk has no room for its file.
    keeper: Option<Cursor>,
}

impl Open {
    fn keep(&mut self) -> Result<(), Error> {
        if self.keeper.is_none() {
            match self.log.cursor(KEEPER, Start::Oldest, Need::Required) {
                Ok(keeper) => self.keeper = Some(keeper),
                // A letter is parked all the same, as long as none must go for it.
                Err(e) if e.io_error().is_some_and(is_no_space) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

impl DeadLetters {
    /// For the dead letters in `dir` of a log with this cap.
    pub(crate) fn new(spool: Weak<Shared>, dir: PathBuf, space: &Space, log_cap: u64, max_size: Option<u64>) -> Self {
        let cap = max_size.unwrap_or(log_cap / 10).max(MIN_CAP);
        let guaranteed = GUARANTEED.min(cap).min(space.max_size() / 16);
        Self { spool, dir, account: space.account(Some(cap), Some(guaranteed)), open: Mutex::default() }
    }

    /// Dead letters have no dead letters.
    pub(crate) fn none(account: Arc<Account>) -> Self {
        Self { spool: Weak::new(), dir: PathBuf::new(), account, open: Mutex::default() }
    }

    fn segment_size(&self) -> u64 {
        (self.account.cap().saturating_sub(FILE_LEN) / 4).min(MAX_SEGMENT)
    }
}

impl LogCore {
    /// The log that holds this log's dead letters.
    pub(crate) fn dead_letters(&self) -> Result<Log, Error> {
        // First, so that it is given back last: it may be the last of the spool, which ends then.
        let spool = self.dead.spool.upgrade();
        let mut open = lock(&self.dead.open);
        if let Some(open) = &mut *open {
            open.keep()?;
            return Ok(open.log.clone());
        }
        let spool = spool.as_ref().ok_or_else(|| Error::closed(&self.name))?;
        let options = LogOptions {
            durability: Durability::Sync,
            segment_size: Some(self.dead.segment_size()),
            max_age: Duration::ZERO,
            on_full: OnFull::DropOldest,
            // Kept until it is full: no cursor holds dead letters.
            retain_size: u64::MAX,
            retain_age: Duration::MAX,
            max_frame: super::format::frame::MAX_PAYLOAD,
            ..self.options.clone()
        };
        let log = spool.open_log(&self.dead_key(), &self.dead.dir, options, Some(self.dead.account.clone()))?;
        open.insert(Open { log: log.clone(), keeper: None }).keep()?;
        Ok(log)
    }

    fn dead_key(&self) -> String {
        format!("{DEAD}{}", self.name)
    }

    /// The same, if anything was ever parked.
    pub(crate) fn dead_letters_if_any(&self) -> Result<Option<Log>, Error> {
        if self.is_dead_letters() {
            return Ok(None);
        }
        if let Some(open) = &*lock(&self.dead.open) {
            return Ok(Some(open.log.clone()));
        }
        let is_empty = recovery::list(&self.env, &self.dead.dir)?.segments.is_empty();
        if is_empty { Ok(None) } else { self.dead_letters().map(Some) }
    }

    /// Prepares what dead letters need that were never opened: a cursor and a spare. `pause` waits between pieces.
    pub(crate) fn reserve_for_dead_letters(&self, pause: &dyn Fn() -> bool) -> Result<(), Error> {
        let dir = &self.dead.dir;
        let files = recovery::list(&self.env, dir)?;
        let size = self.dead.segment_size();
        self.count_unopened(&files);
        if lock(&self.dead.open).is_some() || !files.segments.is_empty() {
            return Ok(());
        }
        self.reserve_keeper()?;
        if files.spares.iter().any(|(_, found)| *found >= size) {
            return Ok(());
        }
        for (number, _) in files.spares {
            self.env.remove(&dir.join(names::spare_file(number)))?;
        }
        let path = dir.join(names::spare_file(0));
        let file = self.env.open(&path, Access::Create)?;
        for at in (0..size).step_by(PIECE) {
            {
                // Whoever opens the log meanwhile finds a spare, or what is left of one: from then on it is theirs.
                let open = lock(&self.dead.open);
                if open.is_some() {
                    return Ok(());
                }
                let piece = &[0; PIECE][..PIECE.min((size - at) as usize)];
                let written = file.write_bytes(piece, at).and_then(|()| file.sync_data());
                written.map_err(|e| Error::io("fill", &path, e))?;
            }
            if !pause() {
                return Ok(());
            }
        }
        let open = lock(&self.dead.open);
        if open.is_none() {
            self.dead.account.set(size + FILE_LEN);
            // Else the spare could be gone after a crash, and the first letter would need room on a full disk.
            self.env.sync_dir_and_its_name(dir)?;
        }
        Ok(())
    }

    /// What an earlier run left takes room, whether or not anybody opens it in this one.
    fn count_unopened(&self, files: &recovery::Files) {
        let open = lock(&self.dead.open);
        let stored: u64 = files.segments.values().chain(files.spares.iter().map(|(_, size)| size)).sum();
        if open.is_none() && stored > 0 {
            self.dead.account.set(stored + FILE_LEN);
        }
    }

    /// Makes the file of the cursor that a log has whose every letter is still to come.
    fn reserve_keeper(&self) -> Result<(), Error> {
        let cursors = self.dead.dir.join("cursors");
        let path = cursors.join(names::encode(KEEPER)?);
        let open = lock(&self.dead.open);
        if open.is_some() || !matches!(Store::read(&self.env, &path)?, Stored::Absent) {
            return Ok(());
        }
        self.env.make_dirs(&cursors)?;
        let slot = Slot {
            spool_id: self.env.spool_id,
            log: name_crc(&self.dead_key()),
            name: name_crc(KEEPER),
            generation: 1,
            epoch: self.env.epoch,
            position: 1,
            start: 1,
            required: true,
            last_seen: self.env.clock.wall(),
            ..Slot::default()
        };
        Store::new(path).write(&self.env, &slot)
    }
}

impl Log {
    /// The log that holds this log's dead letters; made if nothing was ever parked.
    ///
    /// ```
    /// use tidegate::spool::DeadLetter;
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    ///
    /// assert_eq!(log.dead_letters()?.durable_sequence(), 0);
    /// # let sequence = log.append_wait(7, "one frame".into(), 1)?.sequence;
    /// # cursor.next_batch(1 << 20)?;
    /// # let (payload, reason) = ("one frame".into(), "refused".to_owned());
    /// let letter = DeadLetter { sequence, first_item: 0, items: 1, content: 7, payload, reason };
    /// cursor.park(letter)?;
    /// assert_eq!(log.dead_letters()?.durable_sequence(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Spool::log`](super::Spool::log); closed.
    pub fn dead_letters(&self) -> Result<Log, Error> {
        self.0.dead_letters()
    }
}

impl DeadLetter {
    /// Whether the dead letter in a frame was parked by the cursor of this name.
    ///
    /// ```
    /// use tidegate::spool::{DeadLetter, Reader};
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    /// # let sequence = log.append_wait(7, "one frame".into(), 1)?.sequence;
    /// # cursor.next_batch(1 << 20)?;
    /// # let (payload, reason) = ("one frame".into(), "refused".to_owned());
    /// # cursor.park(DeadLetter { sequence, first_item: 0, items: 1, content: 7, payload, reason })?;
    /// # spool.close()?;
    ///
    /// let mut letters = Reader::open(dir.path())?.read_dead_letters("events")?;
    /// let frame = letters.next()?.expect("one letter was parked");
    /// assert!(DeadLetter::is_by(&frame, "backend"));
    /// assert!(!DeadLetter::is_by(&frame, "another"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_by(frame: &Frame, cursor: &str) -> bool {
        Envelope::decode(&frame.payload).is_ok_and(|(envelope, _)| envelope.cursor == name_crc(cursor))
    }

    /// The dead letter in a frame of a dead-letter log, and the epoch of the frame that it came in. Epoch, sequence
    /// and first item name the records for ever: parked twice after a crash is replayed once.
    ///
    /// ```
    /// use tidegate::spool::{DeadLetter, Reader};
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    /// # let sequence = log.append_wait(7, "one frame".into(), 1)?.sequence;
    /// # cursor.next_batch(1 << 20)?;
    /// # let (payload, reason) = ("one frame".into(), "refused".to_owned());
    /// # cursor.park(DeadLetter { sequence, first_item: 0, items: 1, content: 7, payload, reason })?;
    /// # spool.close()?;
    ///
    /// let mut letters = Reader::open(dir.path())?.read_dead_letters("events")?;
    /// let frame = letters.next()?.expect("one letter was parked");
    /// let (epoch, letter) = DeadLetter::from_frame(&frame)?;
    /// assert_eq!((epoch, letter.sequence, letter.first_item), (spool.epoch(), 1, 0));
    /// assert_eq!((&*letter.payload, &*letter.reason), (&b"one frame"[..], "refused"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Invalid when the frame holds none.
    pub fn from_frame(frame: &Frame) -> Result<(u64, Self), Error> {
        let (envelope, at) = Envelope::decode(&frame.payload)
            .map_err(|fault| Error::invalid(format!("dead letter {}: {fault}", frame.sequence)))?;
        let letter = Self {
            sequence: envelope.sequence,
            first_item: envelope.first_item,
            items: envelope.items,
            content: frame.content,
            payload: frame.payload.slice(at..),
            reason: envelope.reason,
        };
        Ok((envelope.epoch, letter))
    }
}
