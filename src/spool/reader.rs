//! Reading a spool beside its owner, or without one. Takes no lock that could keep an owner out, writes nothing.

use std::path::{Path, PathBuf};

use super::env::Env;
use super::files::Files;
use super::lock::holder;
use super::stream::{Event, Stream};
use super::{Error, Frame, From, Owner, id, names, recovery};

/// Reads a spool beside its owner or without one; never repairs.
///
/// Beside an owner it shows what is known to be durable (with durability `os`: what is written), which for the last
/// frame is some 15 ms after its append.
///
/// ```
/// use tidegate::spool::{From, Options, Reader, Spool};
///
/// let dir = tempfile::tempdir()?;
/// let spool = Spool::open(dir.path(), Options::default())?;
/// spool.log("events")?.append(1, "one frame".into(), 1)?.wait()?;
/// spool.close()?;
///
/// let reader = Reader::open(dir.path())?;
/// assert_eq!(reader.logs()?, ["events"]);
/// let mut frames = reader.read("events", From::Oldest)?;
/// assert_eq!(frames.next()?.expect("one frame is there").payload, "one frame");
/// assert!(frames.next()?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Reader {
    env: Env,
    dir: PathBuf,
}

impl Reader {
    /// Opens a data directory for reading.
    ///
    /// ```
    /// use tidegate::spool::{Options, Reader, Spool};
    ///
    /// let dir = tempfile::tempdir()?;
    /// assert!(Reader::open(dir.path()).is_err_and(|error| error.is_not_found()));
    ///
    /// // Beside the owner as well as without one.
    /// let spool = Spool::open(dir.path(), Options::default())?;
    /// assert!(Reader::open(dir.path())?.logs()?.is_empty());
    /// # drop(spool);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Not found when it is not a data directory; newer, when a newer program made it; I/O.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        Self::open_on(Env::real(), dir)
    }

    /// Who holds the directory, or did last.
    pub(crate) fn owner(&self) -> Result<Option<Owner>, Error> {
        Ok(holder(&self.env, &self.dir)?.map(|h| Owner { pid: h.pid, alive: h.alive }))
    }

    /// As [`Reader::open`], on another machine than the real one.
    pub(crate) fn open_on(env: Env, dir: &Path) -> Result<Self, Error> {
        let spool_id = match id::read(&env, &dir.join("spool.id"))? {
            Some(Ok(id)) => id,
            Some(Err(e @ (super::format::Fault::Version(_) | super::format::Fault::Features(_)))) => {
                return Err(super::error::Kind::Newer { path: dir.join("spool.id"), what: e.to_string() }.into());
            }
            _ => id::in_segments(&env, dir)?
                .ok_or_else(|| Error::not_found(format!("data directory {} (no spool.id in it)", dir.display())))?,
        };
        Ok(Self::with(Env { spool_id, ..env }, dir))
    }

    pub(crate) fn with(env: Env, dir: &Path) -> Self {
        Self { env, dir: dir.to_owned() }
    }

    pub(crate) fn env(&self) -> &Env {
        &self.env
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The names of its logs, sorted.
    ///
    /// ```
    /// use tidegate::spool::Reader;
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    ///
    /// spool.log("traces")?;
    /// spool.log("logs/gateway")?;
    /// assert_eq!(Reader::open(dir.path())?.logs()?, ["logs/gateway", "traces"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// I/O.
    pub fn logs(&self) -> Result<Vec<String>, Error> {
        self.names_in("logs")
    }

    /// The names of its logs that have dead letters, sorted.
    ///
    /// ```
    /// use tidegate::spool::Reader;
    /// # use tidegate::spool::{DeadLetter, Need, Options, Spool, Start};
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
    /// assert_eq!(Reader::open(dir.path())?.dead_letter_logs()?, ["events"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// I/O.
    pub fn dead_letter_logs(&self) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        for name in self.names_in("dead")? {
            if !recovery::list(&self.env, &self.dir.join("dead").join(names::encode(&name)?))?.segments.is_empty() {
                names.push(name);
            }
        }
        Ok(names)
    }

    pub(crate) fn names_in(&self, parent: &str) -> Result<Vec<String>, Error> {
        let listed = self.env.list(&self.dir.join(parent))?;
        let mut names: Vec<String> =
            listed.iter().filter(|l| l.is_dir).filter_map(|l| names::decode(&l.name)).collect();
        names.sort();
        Ok(names)
    }

    /// Reads one log from some place on.
    ///
    /// ```
    /// use tidegate::spool::{From, Reader};
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    ///
    /// for text in ["one", "two", "three"] {
    ///     log.append_wait(1, text.into(), 1)?;
    /// }
    /// spool.close()?;
    ///
    /// let reader = Reader::open(dir.path())?;
    /// let mut frames = reader.read("events", From::LastItems(2))?;
    /// assert_eq!(frames.next()?.expect("two of three").payload, "two");
    /// assert_eq!(frames.next()?.expect("three of three").payload, "three");
    /// assert!(reader.read("nothing", From::Oldest).is_err_and(|error| error.is_not_found()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Not found when there is no such log; newer; I/O.
    pub fn read(&self, log: &str, from: From) -> Result<LogReader, Error> {
        LogReader::open(Files::open(self, log, false)?, from)
    }

    /// Reads the dead letters of one log, oldest first; [`DeadLetter::from_frame`](super::DeadLetter::from_frame)
    /// takes each apart.
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
    /// while let Some(frame) = letters.next()? {
    ///     let (_, letter) = DeadLetter::from_frame(&frame)?;
    ///     assert_eq!((letter.items, &*letter.reason), (1, "refused"));
    ///     assert_eq!(letter.payload, "one frame");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Not found when nothing of that log was ever parked; newer; I/O.
    pub fn read_dead_letters(&self, log: &str) -> Result<LogReader, Error> {
        LogReader::open(Files::open(self, log, true)?, From::Oldest)
    }
}

/// Follows one log: [`LogReader::next`] is `None` at the present end and may give more later.
///
/// ```
/// use tidegate::spool::{Durability, From, LogOptions, Reader};
/// # use tidegate::spool::{Options, Spool};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
///
/// // So that a reader beside the owner sees frames when they are written.
/// let options = LogOptions { durability: Durability::Os, ..LogOptions::default() };
/// let log = spool.log_with("events", options)?;
/// let mut frames = Reader::open(dir.path())?.read("events", From::End)?;
/// assert!(frames.next()?.is_none());
///
/// log.append_wait(1, "news".into(), 1)?;
/// assert_eq!(frames.next()?.expect("more since").payload, "news");
/// assert!(frames.next()?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LogReader {
    files: Files,
    stream: Stream,
    /// Frames appended before this time are passed over.
    not_before: u64,
    /// Items to pass over first.
    skip_items: u64,
}

impl LogReader {
    fn open(files: Files, from: From) -> Result<Self, Error> {
        let mut reader = Self { files, stream: Stream::new(0, None, None), not_before: 0, skip_items: 0 };
        match from {
            From::Oldest => {}
            From::Sequence(sequence) => reader.stream = Stream::new(sequence, None, None),
            From::TimeUnixNanos(time) => {
                let first = reader.files.segment_before_time(time)?;
                reader.stream = Stream::new(first, None, None);
                reader.not_before = time;
            }
            From::LastItems(items) => {
                let (first, totals) = reader.files.segment_before_last(items)?;
                reader.stream = Stream::new(first, None, None);
                reader.skip_items = totals;
            }
            From::End => {
                let (sequence, _) = reader.files.end()?;
                reader.stream = Stream::new(sequence + 1, None, None);
            }
        }
        Ok(reader)
    }

    /// The next frame, or `None` at the present end. What does not verify is passed over.
    ///
    /// ```
    /// use tidegate::spool::{From, Reader};
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    ///
    /// for text in ["one", "two", "three"] {
    ///     log.append_wait(1, text.into(), 1)?;
    /// }
    /// spool.close()?;
    ///
    /// let mut frames = Reader::open(dir.path())?.read("events", From::Oldest)?;
    /// let mut sequences = Vec::new();
    /// while let Some(frame) = frames.next()? {
    ///     sequences.push(frame.sequence);
    /// }
    /// assert_eq!(sequences, [1, 2, 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Newer; I/O.
    #[allow(clippy::should_implement_trait, reason = "an iterator that ends may not go on")]
    pub fn next(&mut self) -> Result<Option<Frame>, Error> {
        while let Some(event) = self.stream.next(&self.files)? {
            let Event::Frame(met) = event else { continue };
            let header = met.frame.header;
            if header.totals_after().items <= self.skip_items && self.skip_items > 0 || header.time < self.not_before {
                continue;
            }
            (self.skip_items, self.not_before) = (0, 0);
            return Ok(Some(Frame {
                sequence: header.sequence,
                epoch: met.epoch,
                time_unix_nanos: header.time,
                items: header.items,
                content: header.content,
                payload: met.frame.payload,
            }));
        }
        Ok(None)
    }
}
