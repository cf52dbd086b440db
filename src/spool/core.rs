//! One open log, as its handle, its writer, its cursors and the housekeeper share it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::bell::Bell;
use super::cursor::CursorCore;
use super::cursor::state::Place;
use super::damage::Damaged;
use super::dead_letter::DeadLetters;
use super::env::{Env, lock};
use super::format::Totals;
use super::format::cursor::Reason;
use super::fs::DiskFile;
use super::queue::Queue;
use super::segment::{FoundHole, Segment};
use super::space::{Account, Space};
use super::spare::Spares;
use super::stream::{Extent, Source};
use super::syncs::Syncs;
use super::table::Table;
use super::view::View;
use super::{Error, LogOptions};

/// What the parts of one open log share.
#[derive(Debug)]
pub(crate) struct LogCore {
    /// As its user named it.
    pub(crate) name: String,
    /// CRC32C of its name, in every structure of it.
    pub(crate) crc: u32,
    pub(crate) dir: PathBuf,
    pub(crate) env: Env,
    pub(crate) options: LogOptions,
    pub(crate) segment_size: u64,
    pub(crate) queue: Queue,
    pub(crate) view: Arc<View>,
    pub(crate) table: Mutex<Table>,
    pub(crate) cursors: Mutex<BTreeMap<String, Arc<CursorCore>>>,
    pub(crate) space: Arc<Space>,
    pub(crate) account: Arc<Account>,
    pub(crate) spares: Spares,
    pub(crate) damaged: Arc<Damaged>,
    pub(crate) opening: Opening,
    /// Wakes the housekeeper.
    pub(crate) bell: Arc<Bell>,
    /// Held while segments are reclaimed, by the writer when it needs room and by the housekeeper.
    pub(crate) reclaiming: Mutex<()>,
    /// What the writer cannot do now, for `inspect` and health.
    pub(crate) trouble: Mutex<Option<Error>>,
    pub(crate) dead: DeadLetters,
    pub(crate) syncs: Arc<Syncs>,
    /// When this log was opened, on the boot clock.
    pub(crate) opened: Duration,
}

/// What opening a log found.
///
/// ```
/// # use tidegate::spool::{Options, Spool};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// # let log = spool.log("events")?;
/// log.append_wait(1, "one frame".into(), 1)?;
/// // Not closed, as after a crash.
/// drop(spool);
///
/// let spool = Spool::open(dir.path(), Options::default())?;
/// let log = spool.log("events")?;
/// let opening = log.opening();
/// assert_eq!((opening.clean, opening.recovered_frames), (false, 1));
/// assert!(opening.cuts.is_empty() && opening.lost_cursors.is_empty() && opening.ahead_cursors.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Opening {
    /// Whether the run before stopped cleanly.
    pub clean: bool,
    /// Frames recovered from a segment that was not sealed.
    pub recovered_frames: u64,
    /// Stretches of the newest segment that did not verify: segment, offset, bytes and what was wrong. Above what
    /// was known to be durable they are torn writes that nobody was promised.
    pub cuts: Vec<Cut>,
    /// Cursors of which neither slot was intact: they start at the oldest frame, and have a loss `cursor_lost` to tell.
    pub lost_cursors: Vec<String>,
    /// Cursors whose position is beyond every frame that could be found.
    pub ahead_cursors: Vec<String>,
    pub(crate) next_sequence: u64,
    pub(crate) after_sequence: u64,
    pub(crate) totals: Totals,
    pub(crate) synced_to: u64,
    pub(crate) next_id: u64,
    /// The highest sequence that cursor slots know as durable, by epoch.
    pub(crate) witnesses: BTreeMap<u64, u64>,
}

/// A stretch of a segment that did not verify when the log was opened.
///
/// ```
/// # use tidegate::spool::{Options, Spool};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// # let log = spool.log("events")?;
/// log.append_wait(1, vec![0; 200].into(), 1)?;
/// // A crash; of the frame, which begins at 8192, only 100 bytes are there.
/// drop(spool);
/// let segment = dir.path().join("logs/events/seg-0000000000000001");
/// std::fs::File::options().write(true).open(segment)?.set_len(8192 + 100)?;
///
/// let spool = Spool::open(dir.path(), Options::default())?;
/// let log = spool.log("events")?;
/// let cut = &log.opening().cuts[0];
/// assert_eq!((cut.segment, cut.offset, cut.bytes), (1, 8192, 100));
/// assert_eq!(log.opening().recovered_frames, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Id of the segment.
    pub segment: u64,
    /// First byte in the segment's file.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
    /// What was wrong.
    pub reason: String,
}

impl LogCore {
    /// Whether this log holds the dead letters of another.
    pub(crate) fn is_dead_letters(&self) -> bool {
        self.name.starts_with(super::spool::DEAD)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.view.front().closed
    }

    /// What cursors acked and a power cut took was accepted all the same: no later total may lack it.
    pub(crate) fn count_lost_acks(&mut self) -> Result<(), Error> {
        let recovered = self.view.front().visible;
        let mut totals = self.opening.totals;
        for cursor in self.cursor_list() {
            totals = totals.max(cursor.known_totals(self, recovered.sequence, recovered.totals)?);
        }
        self.opening.totals = totals;
        self.queue.raise(totals);
        self.view.update(|front| (front.visible.totals, front.totals) = (totals, totals));
        Ok(())
    }

    /// Keeps copies of what did not verify in the newest segment, to be told.
    pub(crate) fn set_aside(&self, holes: &[FoundHole]) -> Result<(), Error> {
        if let (Some(newest), false) = (lock(&self.table).newest(&self.env)?, holes.is_empty()) {
            for found in holes {
                let was_durable = found.after_sequence < self.opening.synced_to;
                let reason = if was_durable { Reason::Damaged } else { Reason::Torn };
                self.damaged.set_aside_untold(&self.env, &self.name, &newest, found.hole, reason);
            }
        }
        Ok(())
    }

    /// After what is visible: frames being committed now are newer.
    pub(crate) fn end(&self) -> Place {
        let visible = self.view.front().visible;
        match visible.sequence {
            0 => Place { sequence: self.opening.after_sequence + 1, totals: self.opening.totals },
            last => Place { sequence: last + 1, totals: visible.totals },
        }
    }

    /// The cursors, as a list that can be used without the lock.
    pub(crate) fn cursor_list(&self) -> Vec<Arc<CursorCore>> {
        lock(&self.cursors).values().cloned().collect()
    }

    /// Durably writes every cursor that moved. The first error is answered; the others are tried all the same.
    pub(crate) fn flush_cursors(&self, only_moved: bool) -> Result<(), Error> {
        let mut first = Ok(());
        for cursor in self.cursor_list() {
            if cursor.is_dirty() || !only_moved {
                first = first.and(cursor.flush(self));
            }
        }
        first
    }
}

impl Source for LogCore {
    fn env(&self) -> &Env {
        &self.env
    }

    fn after(&self, id: u64) -> Result<Option<Arc<Segment>>, Error> {
        lock(&self.table).after(&self.env, id)
    }

    fn holding(&self, sequence: u64) -> Result<Option<Arc<Segment>>, Error> {
        lock(&self.table).holding(&self.env, sequence)
    }

    fn extent(&self, segment: &Arc<Segment>) -> Result<Extent, Error> {
        let visible = self.view.front().visible;
        if visible.segment == segment.id {
            return Ok(Extent::Live(visible));
        }
        let below = self.after(segment.id)?.map_or(u64::MAX, |next| next.header.first_sequence);
        Ok(Extent::AtRest(segment.end(&self.env, below)?))
    }

    /// Whoever reads holds the segment itself, which is enough within a process.
    fn open(&self, segment: &Arc<Segment>) -> Result<Arc<dyn DiskFile>, Error> {
        segment.open(&self.env)
    }

    fn gone(&self, segment: &Arc<Segment>) -> Result<bool, Error> {
        Ok(lock(&self.table).get(&self.env, segment.id)?.is_none())
    }

    fn witnessed(&self, epoch: u64) -> u64 {
        self.opening.witnesses.get(&epoch).copied().unwrap_or(0)
    }
}
