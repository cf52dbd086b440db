//! Cursors: durable readers of one log.

mod handle;
pub(crate) mod state;
mod store;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub use handle::Cursor;
pub(crate) use store::{Store, Stored};

use self::state::State;
use super::clock::age;
use super::core::LogCore;
use super::env::lock;
use super::format::Totals;
use super::format::cursor::{Interval, Reason, Slot};
use super::{Error, Limit, Pending};

/// A cursor of an open log, whether or not somebody has it open.
#[derive(Debug)]
pub(crate) struct CursorCore {
    pub(crate) name: String,
    pub(crate) state: Mutex<State>,
    store: Mutex<Store>,
    /// The position that is on disk: what may be reclaimed hangs on it.
    durable_position: AtomicU64,
    dirty: AtomicBool,
    /// Somebody has it open.
    pub(crate) claimed: AtomicBool,
    /// Its exporter tried at least once in this run.
    pub(crate) tried: AtomicBool,
    /// How much it may have pending while somebody has it open.
    limit: Mutex<Option<Limit>>,
    /// Without an exporter for longer than `orphan_ttl`: it holds nothing any more.
    pub(crate) orphaned: AtomicBool,
}

impl CursorCore {
    /// A cursor as its file has it.
    pub(crate) fn stored(name: String, path: PathBuf, slot: Slot) -> Self {
        let position = slot.position;
        Self::with(name, path, slot, position, false)
    }

    /// A cursor that has no usable file yet: nothing of it is durable.
    pub(crate) fn fresh(name: String, path: PathBuf, slot: Slot) -> Self {
        Self::with(name, path, slot, 0, true)
    }

    fn with(name: String, path: PathBuf, slot: Slot, durable: u64, dirty: bool) -> Self {
        Self {
            name,
            state: Mutex::new(State::new(slot)),
            store: Mutex::new(Store::new(path)),
            durable_position: AtomicU64::new(durable),
            dirty: AtomicBool::new(dirty),
            claimed: AtomicBool::new(false),
            tried: AtomicBool::new(false),
            limit: Mutex::default(),
            orphaned: AtomicBool::new(false),
        }
    }

    pub(crate) fn durable_position(&self) -> u64 {
        self.durable_position.load(Ordering::Acquire)
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Acquire)
    }

    pub(crate) fn set_dirty(&self) {
        self.dirty.store(true, Ordering::Release);
    }

    pub(crate) fn limit(&self) -> Option<Limit> {
        *lock(&self.limit)
    }

    /// Limits what it may have pending, or lets it lag as far as the log reaches.
    pub(crate) fn set_limit(&self, log: &LogCore, limit: Option<Limit>) {
        *lock(&self.limit) = limit;
        match limit.filter(|_| log.refuses_for(self)) {
            Some(limit) => log.queue.limit(&self.name, limit, lock(&self.state).passed()),
            None => log.queue.unlimit(&self.name),
        }
        // Again: it may have been moved between the two.
        self.tell_passed(log);
    }

    /// Tells those who wait for room how far it is.
    fn tell_passed(&self, log: &LogCore) {
        if self.limit().is_some() {
            log.queue.passed(&self.name, lock(&self.state).passed());
        }
    }

    pub(crate) fn file(&self) -> PathBuf {
        lock(&self.store).path().to_owned()
    }

    /// Whether nobody has it open.
    pub(crate) fn is_alone(&self) -> bool {
        !self.claimed.load(Ordering::Relaxed)
    }

    /// Whether it keeps frames from being dropped.
    pub(crate) fn holds(&self) -> bool {
        !self.orphaned.load(Ordering::Relaxed) && lock(&self.state).slot.required
    }

    /// Durably writes position and counters, in one slot.
    pub(crate) fn flush(&self, log: &LogCore) -> Result<(), Error> {
        let mut store = lock(&self.store);
        // Cleared before the copy is made: an ack after it sets it again.
        self.dirty.store(false, Ordering::Release);
        let front = log.view.front();
        let slot = {
            let mut state = lock(&self.state);
            let now = log.env.clock.wall();
            let slot = &mut state.slot;
            slot.generation += 1;
            slot.epoch = log.env.epoch;
            (slot.synced_to, slot.synced_totals) = (front.durable, front.durable_totals);
            if !self.is_alone() {
                slot.last_seen = now;
            }
            state.on_disk(now)
        };
        store.write(&log.env, &slot).inspect_err(|_| self.set_dirty())?;
        self.durable_position.store(slot.position, Ordering::Release);
        Ok(())
    }

    /// Moves the cursor durably over everything before `first_kept`, counting in the same write what it drops; what is
    /// in flight goes with a crash, and so it is in that write too.
    pub(crate) fn drop_before(
        &self,
        log: &LogCore,
        first_kept: u64,
        totals: Totals,
        reason: Reason,
    ) -> Result<(), Error> {
        loop {
            let asked = lock(&self.state).counted_before(first_kept);
            let counted = self.less_beyond(log, first_kept, totals, asked.clone())?;
            let mut state = lock(&self.state);
            // A reader that went on meanwhile may have passed what was just added up.
            if state.counted_before(first_kept) == asked {
                state.drop_before(first_kept, totals, counted, reason, log.env.clock.wall());
                break;
            }
        }
        self.tell_passed(log);
        self.flush(log)
    }

    /// What earlier runs counted of the frames before `below`, where the log's totals are `totals`, that this run has
    /// not read. Intervals do not say how much is in them: that shows when what lies beyond is read.
    pub(crate) fn counted_before(&self, log: &LogCore, below: u64, totals: Totals) -> Result<Totals, Error> {
        let asked = lock(&self.state).counted_before(below);
        self.less_beyond(log, below, totals, asked)
    }

    fn less_beyond(
        &self,
        log: &LogCore,
        below: u64,
        totals: Totals,
        (most, beyond): (Totals, Vec<Interval>),
    ) -> Result<Totals, Error> {
        Ok(if beyond.is_empty() { most } else { most - log.amount_in(below, totals, &beyond)? })
    }

    /// What the log must have accepted, given that its frames end at `last` with `totals`, and that earlier runs may
    /// have acked beyond: with `os`, a power cut takes frames that were delivered.
    pub(crate) fn known_totals(&self, log: &LogCore, last: u64, totals: Totals) -> Result<Totals, Error> {
        let (slot, counted) = lock(&self.state).counted();
        if slot.intervals.last().is_none_or(|i| i.last <= last) {
            return Ok(totals);
        }
        if slot.position > last {
            return Ok(slot.position_totals + counted);
        }
        let mut there = slot.intervals;
        there.retain(|i| i.first <= last);
        let there = if there.is_empty() {
            Totals::default()
        } else {
            log.amount_in(slot.position, slot.position_totals, &there)?
        };
        Ok(totals + (counted - there))
    }

    /// What it still has to deliver. The age is that of the oldest frame in flight, else of the oldest unread.
    pub(crate) fn pending(&self, log: &LogCore) -> Pending {
        let totals = log.view.front().visible.totals;
        let state = lock(&self.state);
        let accepted = totals - state.slot.start_totals;
        let items = accepted.items.saturating_sub(state.slot.done_items());
        let bytes = accepted.bytes.saturating_sub(state.slot.done_bytes);
        let time = state.oldest_time();
        drop(state);
        let oldest = if items == 0 { None } else { time.or_else(|| self.oldest_unread(log)) };
        let oldest_age: Option<Duration> = oldest.map(|time| age(time, log.env.clock.wall()));
        Pending { items, bytes, oldest_age }
    }

    /// Append time of the frame at the position, read from the disk.
    fn oldest_unread(&self, log: &LogCore) -> Option<u64> {
        let (wanted, before, hint) = lock(&self.state).oldest_undone();
        let mut stream = super::stream::Stream::new(wanted, Some(before), Some(hint));
        stream.set_chunk(0);
        loop {
            // What cannot be read has no age; the reader itself tells why.
            if let super::stream::Event::Frame(met) = stream.next(log).ok()?? {
                return Some(met.frame.header.time);
            }
        }
    }
}
