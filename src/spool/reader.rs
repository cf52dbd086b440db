//! Reading a spool beside its owner, or without one. Takes no lock that could keep an owner out, writes nothing.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::env::{Env, lock};
use super::format::{Totals, name_crc};
use super::fs::DiskFile;
use super::lock::{Holder, holder, lock_within};
use super::segment::Segment;
use super::stream::{Event, Extent, Source, Stream, Visible, unless_gone};
use super::table::Table;
use super::walk::{Found, Walk};
use super::{Error, Frame, From, id, names, recovery};

/// How often, and how far apart, a segment's lock is tried.
const LOCK_TRIES: u32 = 1000;
const LOCK_PAUSE: Duration = Duration::from_millis(1);

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

    fn names_in(&self, parent: &str) -> Result<Vec<String>, Error> {
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

/// A log's directory as a source of segments.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) name: String,
    env: Env,
    spool: PathBuf,
    pub(crate) dir: PathBuf,
    table: Mutex<Table>,
    live: Mutex<Live>,
}

/// What is known of the segment that another process is writing.
#[derive(Debug, Default)]
struct Live {
    holder: Option<Holder>,
    visible: Visible,
    /// Up to where it was walked, and what came after the visible end.
    walked: u64,
    unproven: Vec<(u64, u64, Totals)>,
}

impl Files {
    pub(crate) fn open(reader: &Reader, name: &str, dead: bool) -> Result<Self, Error> {
        let dir = reader.dir.join(if dead { "dead" } else { "logs" }).join(names::encode(name)?);
        let is_there = reader.names_in(if dead { "dead" } else { "logs" })?.iter().any(|n| n == name);
        if !is_there {
            return Err(Error::not_found(format!("log {name} in {}", reader.dir.display())));
        }
        let key = if dead { format!("dead/{name}") } else { name.to_owned() };
        let files = Self {
            env: reader.env.clone(),
            spool: reader.dir.clone(),
            table: Mutex::new(Table::new(dir.clone(), name_crc(&key), [])),
            dir,
            name: key,
            live: Mutex::default(),
        };
        files.refresh()?;
        Ok(files)
    }

    /// Looks again which segments there are and who writes them.
    pub(crate) fn refresh(&self) -> Result<(), Error> {
        lock(&self.live).holder = holder(&self.env, &self.spool)?;
        let files = recovery::list(&self.env, &self.dir)?;
        lock(&self.table).refresh(&files.segments);
        Ok(())
    }

    pub(crate) fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        lock(&self.table)
    }

    /// Whether the owner is writing this segment now.
    pub(crate) fn is_live(&self, segment: &Segment) -> Result<bool, Error> {
        let holder = lock(&self.live).holder;
        let owned = holder.is_some_and(|h| h.alive && h.epoch == segment.header.epoch);
        Ok(owned && lock(&self.table).newest_id() == Some(segment.id))
    }

    /// How much of a live segment is proven durable: up to the last frame that a later one witnesses.
    pub(crate) fn look(&self, segment: &Arc<Segment>) -> Result<Visible, Error> {
        let live = &mut *lock(&self.live);
        if live.visible.segment != segment.id {
            let end = segment.empty_end();
            live.visible =
                Visible { segment: segment.id, end: end.data_end, sequence: end.last_sequence, totals: end.totals };
            live.walked = end.data_end;
            live.unproven.clear();
        }
        let file = self.open(segment)?;
        let size = self.env.size(&*file, &segment.path)?;
        let mut walk = Walk::new(file, segment, live.walked, size, u64::MAX);
        let os = segment.header.durability == 2;
        while let Some(Found::Frame(frame)) = walk.next()? {
            if frame.offset != live.walked {
                // Beyond bytes that are no frame yet: older contents of the file, or a write under way.
                break;
            }
            live.walked = frame.offset + frame.header.frame_len();
            let proven = if os { u64::MAX } else { frame.header.synced_to };
            let last = frame.header.sequence;
            live.unproven.push((last, live.walked, frame.header.totals_after()));
            let upto = live.unproven.partition_point(|(sequence, ..)| *sequence <= proven);
            if let Some((sequence, end, totals)) = live.unproven.drain(..upto).next_back() {
                live.visible = Visible { segment: segment.id, end, sequence, totals };
            }
        }
        Ok(live.visible)
    }
}

impl Source for Files {
    fn env(&self) -> &Env {
        &self.env
    }

    fn after(&self, id: u64) -> Result<Option<Arc<Segment>>, Error> {
        if let Some(next) = lock(&self.table).after(&self.env, id)? {
            return Ok(Some(next));
        }
        self.refresh()?;
        lock(&self.table).after(&self.env, id)
    }

    fn holding(&self, sequence: u64) -> Result<Option<Arc<Segment>>, Error> {
        self.refresh()?;
        lock(&self.table).holding(&self.env, sequence)
    }

    fn extent(&self, segment: &Arc<Segment>) -> Result<Extent, Error> {
        if segment.known_end().is_none() {
            self.refresh()?;
        }
        if self.is_live(segment)? {
            return Ok(Extent::Live(self.look(segment)?));
        }
        let next = lock(&self.table).after(&self.env, segment.id)?;
        let below = next.map_or(u64::MAX, |next| next.header.first_sequence);
        Ok(Extent::AtRest(segment.end(&self.env, below)?))
    }

    /// With a shared lock, which keeps the owner from recycling the file.
    fn open(&self, segment: &Arc<Segment>) -> Result<Arc<dyn DiskFile>, Error> {
        let file = segment.open(&self.env)?;
        // Its owner has it alone only while it makes a spare of it, and what is in it then can still be read.
        let locked = lock_within(&*file, false, LOCK_TRIES, LOCK_PAUSE);
        let locked = locked.map_err(|e| Error::io("lock", &segment.path, e))?;
        // Between our look at the header and the lock it may have been recycled.
        if !locked || !(segment.header_damaged || segment.is_mine(&*file)?) {
            return Err(Error::not_found(format!("segment {}: reclaimed; it", segment.path.display())));
        }
        Ok(file)
    }

    fn gone(&self, segment: &Arc<Segment>) -> Result<bool, Error> {
        self.refresh()?;
        Ok(lock(&self.table).get(&self.env, segment.id)?.is_none())
    }

    fn witnessed(&self, epoch: u64) -> u64 {
        let slots = recovery::slots(&self.env, &self.dir).unwrap_or_default();
        let of = |stored: &super::cursor::Stored| match stored {
            super::cursor::Stored::Slot(slot) if slot.epoch == epoch => slot.synced_to,
            _ => 0,
        };
        slots.iter().map(|(_, stored)| of(stored)).max().unwrap_or(0)
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

impl Files {
    /// The last sequence to be seen and the totals up to it.
    pub(crate) fn end(&self) -> Result<(u64, Totals), Error> {
        loop {
            let newest = lock(&self.table).newest(&self.env)?;
            let Some(newest) = newest else {
                let before = lock(&self.table).newest_id();
                self.refresh()?;
                // All that we knew may have been reclaimed while we looked: there are newer ones by now.
                if lock(&self.table).newest_id() == before {
                    return Ok((0, Totals::default()));
                }
                continue;
            };
            match unless_gone(self, &newest, self.extent(&newest))? {
                None => {}
                Some(Extent::Live(visible)) => return Ok((visible.sequence, visible.totals)),
                Some(Extent::AtRest(end)) => return Ok((end.last_sequence, end.totals)),
            }
        }
    }

    /// First sequence of the last segment that was begun before this time. Time orders nothing: a search through
    /// segments made while the clock was wrong finds an earlier one and passes over more.
    fn segment_before_time(&self, time: u64) -> Result<u64, Error> {
        let all = lock(&self.table).all(&self.env)?;
        let last = all.iter().take_while(|s| s.header.created <= time).last();
        Ok(last.map_or(0, |s| s.header.first_sequence))
    }

    /// First sequence of the last segment before which all but `items` items lie, and how many those are.
    fn segment_before_last(&self, items: u64) -> Result<(u64, u64), Error> {
        let (_, totals) = self.end()?;
        let skip = totals.items.saturating_sub(items);
        let all = lock(&self.table).all(&self.env)?;
        let last = all.iter().take_while(|s| s.header.totals.items <= skip).last();
        Ok((last.map_or(0, |s| s.header.first_sequence), skip))
    }
}
