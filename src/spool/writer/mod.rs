//! The writer of a log: numbers frames, writes and syncs them in groups, and answers their acks. A worker serves it;
//! a caller that waits anyway commits itself when nobody else does.
//!
//! Invariants:
//! - An ack is sent only after its frame is as durable as the log's policy says, in a file whose name is durable. A
//!   segment gets its name with its first frames, when they are durable with its header.
//! - A sequence is given once. A group that could not be written burns its sequences; the totals of the next frame
//!   say that nothing is missing.
//! - Whether there is room is decided before a byte is written.
//! - After a failed sync the file is never written or synced again. Everything since the last good sync, and every
//!   frame that shares the last durable block with it, is kept in memory until it is durable in another file.
//! - No error of the disk ends it.

mod begin;
mod open;
mod roll;
mod serve;
mod store;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub(crate) use self::open::RESERVE;
pub(crate) use self::serve::Serving;

use self::open::{Arena, Numbered, Open};
use super::core::LogCore;
use super::env::lock;
use super::error::Kind;
use super::format::Totals;
use super::format::frame::{FrameHeader, kind};
use super::fs::{Trouble, trouble};
use super::queue::{Company, Queued, Settled, Signal, Stop};
use super::{Appended, Durability, Error};

/// After the last commit, when nothing more came: a mark makes the last frames' durability known on disk, so that
/// readers in other processes see them "at once".
const QUIET: Duration = Duration::from_millis(15);
/// With `interval`, so many unsynced bytes are synced before the timer.
const MAX_UNSYNCED: u64 = 8 << 20;
/// What a disk block is: a failed write of one may take what was durable in it.
const BLOCK: u64 = 4096;
/// How long appends are refused after a failure: doubled up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// The state of a log's writer.
#[derive(Debug)]
pub(crate) struct Writer {
    core: Arc<LogCore>,
    open: Option<Open>,
    next_id: u64,
    /// The sequence of the next frame.
    next_sequence: u64,
    /// The last sequence in the log.
    last_sequence: u64,
    /// What the log accepted up to it.
    totals: Totals,
    /// The highest sequence known durable.
    synced_to: u64,
    /// The first sequence of the newest segment that was begun in this run.
    begun: Option<u64>,
    /// Flags of the next segment's header.
    flags: u8,
    /// Frames that a failed sync would take: not yet durable, or in the block of the last durable byte.
    kept: VecDeque<Kept>,
    unsynced: u64,
    /// The open segment's sync or write failed and what it held is not yet in another file.
    poisoned: bool,
    backoff: Duration,
    /// On the monotonic clock.
    sync_due: Option<Duration>,
    mark_due: Option<Duration>,
    arena: Arena,
    taken: Vec<Queued>,
    /// Who was answered last.
    answered: Option<Company>,
}

/// A written frame and where it stands in the open segment.
#[derive(Debug)]
struct Kept {
    frame: Numbered,
    start: u64,
    end: u64,
}

impl Writer {
    pub(crate) fn new(core: Arc<LogCore>) -> Self {
        let opening = &core.opening;
        Self {
            open: None,
            next_id: opening.next_id,
            next_sequence: opening.next_sequence,
            last_sequence: opening.after_sequence,
            totals: opening.totals,
            synced_to: opening.synced_to,
            begun: None,
            flags: if opening.clean { 0 } else { super::format::segment::flags::UNCLEAN },
            kept: VecDeque::new(),
            unsynced: 0,
            poisoned: false,
            backoff: BACKOFF.0,
            sync_due: None,
            mark_due: None,
            arena: Arena::default(),
            taken: Vec::new(),
            answered: None,
            core,
        }
    }

    fn deadline(&self) -> Option<Duration> {
        [self.sync_due, self.mark_due].into_iter().flatten().min()
    }

    /// On the monotonic clock.
    fn now(&self) -> Duration {
        self.core.env.clock.monotonic()
    }

    /// Acts on one signal. `Some` at the end: closing, whether all is sealed.
    fn act(&mut self, signal: Signal) -> Option<Result<(), Error>> {
        match signal {
            Signal::Frames => self.commit(),
            Signal::Deadline => self.tick(),
            Signal::Stop(Stop::Abandon) => {
                // As a crash: no sync, but the file and its lock are given up.
                self.open = None;
                return Some(Ok(()));
            }
            Signal::Stop(Stop::Close) => return Some(self.close()),
        }
        None
    }

    /// One group: as many waiting frames as fit the open segment.
    pub(super) fn commit(&mut self) {
        let Some(first) = self.core.queue.first_len() else { return };
        let began = self.now();
        self.mark_due = None;
        let ready = self.ensure_sound().and_then(|()| self.ensure_room(first));
        let room = if ready.is_ok() { self.room().max(first) } else { u64::MAX };
        let mut group = std::mem::take(&mut self.taken);
        self.core.queue.take(room, &mut group);
        let taken = group.iter().fold(Totals::default(), |sum, queued| sum + queued.amount());
        let (answered, first, before) = (group.len(), self.next_sequence, self.totals);
        let (stored, result) = ready.map_or_else(|error| (0, Err(error)), |()| self.store(&group));
        if let Err(error) = &result {
            self.core.queue.refused(&mut group.split_off(stored), error);
        }
        self.core.queue.settled(Settled {
            group: taken,
            stored: self.totals - before,
            answered,
            took: self.now().saturating_sub(began),
            deadline: self.deadline(),
        });
        if !group.is_empty() {
            self.settle(first, &mut group);
        }
        if result.is_ok() {
            self.sound();
        }
        self.taken = group;
    }

    /// Bytes of frames that fit now: within the file that is there already, or as much as it may grow.
    fn room(&self) -> u64 {
        let growth = self.core.space.room(&self.core.account);
        self.open.as_ref().map_or(0, |open| open.room_now(self.core.segment_size, growth))
    }

    /// Writes frames at the end of the open segment; answers where.
    fn write(&mut self, frames: &[Numbered]) -> io::Result<u64> {
        let Some(open) = &mut self.open else { return Err(io::ErrorKind::NotFound.into()) };
        let start = open.end;
        let written = open.write(frames, &mut self.arena);
        // What is left of a refused write takes room all the same.
        let grown = written.inspect_err(|_| self.core.account.add(open.grown_by_litter()))?;
        self.core.account.add(grown);
        self.unsynced += open.end - start;
        Ok(start)
    }

    /// Keeps frames that were written from `start` on until they are durable.
    fn keep(&mut self, frames: &[Numbered], mut start: u64) {
        for frame in frames {
            let end = start.saturating_add(frame.header.frame_len());
            self.kept.push_back(Kept { frame: frame.clone(), start, end });
            start = end;
        }
    }

    /// What the policy asks for between the write and the acks.
    fn after_write(&mut self) -> Result<(), Error> {
        match self.core.options.durability {
            Durability::Sync => self.sync(),
            // The worker does it when it is due, unless callers that commit themselves leave it no turn.
            Durability::Interval if self.unsynced >= MAX_UNSYNCED || self.is_sync_due() => self.sync(),
            Durability::Interval => {
                let due = self.now().saturating_add(self.core.options.sync_interval);
                self.sync_due.get_or_insert(due);
                self.publish_totals();
                Ok(())
            }
            Durability::Os => {
                self.publish();
                Ok(())
            }
        }
    }

    fn is_sync_due(&self) -> bool {
        self.sync_due.is_some_and(|due| due <= self.now())
    }

    /// Syncs what is written; after a failure writes it to another file and syncs that.
    fn sync(&mut self) -> Result<(), Error> {
        self.sync_due = None;
        let Some(open) = &self.open else { return Ok(()) };
        if let Err(e) = open.sync() {
            return self.poison(&e);
        }
        self.committed();
        Ok(())
    }

    /// What was written is durable; when nothing more comes, a mark says so on disk.
    fn committed(&mut self) {
        self.sync_due = None;
        self.synced();
        self.mark_due = Some(self.now() + QUIET);
    }

    /// Everything written is durable.
    fn synced(&mut self) {
        self.synced_to = self.last_sequence;
        self.unsynced = 0;
        match &self.open {
            // With `os` a failed sync is counted, not mended.
            Some(_) if self.core.options.durability == Durability::Os => self.kept.clear(),
            Some(open) => {
                let block = open.end / BLOCK * BLOCK;
                self.kept.retain(|kept| kept.end > block);
            }
            None => {}
        }
        self.publish();
    }

    /// Shows readers what they may see now.
    fn publish(&self) {
        let Some(open) = &self.open else { return };
        let (segment, end) = (open.segment.id, open.end);
        self.core.view.update(|front| {
            front.visible.segment = segment;
            front.visible.end = end;
            front.visible.sequence = self.last_sequence;
            front.visible.totals = self.totals;
            front.totals = self.totals;
            if self.synced_to == self.last_sequence {
                (front.durable, front.durable_totals) = (self.synced_to, self.totals);
            }
        });
    }

    fn publish_totals(&self) {
        self.core.view.update(|front| front.totals = self.totals);
    }

    /// Answers a committed group, whose first sequence is `first`.
    fn settle(&mut self, first: u64, group: &mut Vec<Queued>) {
        let company = group.iter().rev().find_map(|queued| queued.caller.company());
        for (sequence, queued) in (first..).zip(group.drain(..)) {
            queued.caller.answer(Ok(Appended { sequence }));
        }
        // Those before had a whole commit's time to wake each other.
        self.wake_answered();
        self.answered = company;
    }

    fn wake_answered(&mut self) {
        if let Some(company) = self.answered.take() {
            company.wake();
        }
    }

    /// All is well again.
    fn sound(&mut self) {
        self.backoff = BACKOFF.0;
        let mut trouble = lock(&self.core.trouble);
        if trouble.take().is_some() {
            self.core.queue.admit();
        }
    }

    fn tick(&mut self) {
        self.wake_answered();
        if self.is_sync_due() {
            // A failure is poison, which is kept and told; nobody waits for this sync.
            drop(if self.poisoned { self.ensure_sound() } else { self.sync() });
        }
        if self.mark_due.is_some_and(|due| due <= self.now()) {
            self.mark_due = None;
            self.mark();
        }
        self.core.queue.set_deadline(self.deadline());
    }

    /// Adds a witness after the last frame.
    fn mark(&mut self) {
        let is_out_of_place =
            |open: &Open| open.count == 0 || open.litter > 0 || open.growth(BLOCK) > 0 && self.is_short_of_room();
        if self.open.as_ref().is_none_or(is_out_of_place) {
            return;
        }
        let header = FrameHeader {
            kind: kind::MARK,
            content: 0,
            length: 0,
            items: 0,
            sequence: self.last_sequence,
            time: self.core.env.clock.wall(),
            synced_to: self.synced_to,
            totals: self.totals,
        };
        match self.write(&[Numbered { header, payload: Bytes::new() }]) {
            Ok(_) => {
                drop(self.sync());
                // One mark is enough until more frames come.
                self.mark_due = None;
            }
            Err(e) if trouble(&e) == Trouble::Full => {}
            Err(e) => drop(self.poison(&e)),
        }
    }

    fn is_short_of_room(&self) -> bool {
        self.core.space.room(&self.core.account) < BLOCK
    }

    /// The open file failed. Writes what it may have lost to another one; if that fails too, keeps it and refuses.
    fn poison(&mut self, cause: &io::Error) -> Result<(), Error> {
        self.poisoned = true;
        self.sync_due = None;
        self.mark_due = None;
        let result = self.rewrite();
        result.map_err(|second| {
            let (log, cause) = (self.core.name.clone(), format!("{cause}; then {second}"));
            let retry_after = self.next_delay();
            // What was acked before is in memory only: tried again even if nobody appends.
            self.sync_due = Some(self.now() + retry_after);
            self.troubled(Kind::Poisoned { log, cause, retry_after }.into(), retry_after)
        })
    }

    /// After a failure that was not mended yet: tries again.
    fn ensure_sound(&mut self) -> Result<(), Error> {
        if !self.poisoned {
            return Ok(());
        }
        self.poison(&io::Error::other("still waiting to be rewritten"))
    }

    fn full(&mut self, cause: &io::Error) -> Error {
        let retry_after = self.next_delay();
        let (log, limit) = (self.core.name.clone(), cause.to_string());
        self.troubled(Kind::Full { log, limit, retry_after }.into(), retry_after)
    }

    fn next_delay(&mut self) -> Duration {
        let delay = self.backoff;
        self.backoff = (delay * 2).min(BACKOFF.1);
        delay
    }

    /// Remembers why appends fail and refuses them for a while.
    fn troubled(&mut self, error: Error, delay: Duration) -> Error {
        *lock(&self.core.trouble) = Some(error.clone());
        self.core.queue.refuse(error.clone(), self.now() + delay);
        error
    }

    fn close(&mut self) -> Result<(), Error> {
        self.ensure_sound()?;
        self.seal()?;
        // A sync that failed on the way left another file to seal.
        self.seal()
    }
}
