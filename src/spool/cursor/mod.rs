//! Cursors: durable readers of one log.

mod commands;
pub(crate) mod editor;
mod handle;
pub(crate) mod seek;
pub(crate) mod state;
mod store;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub use commands::Commanded;
pub use handle::Cursor;
pub(crate) use store::{Half, Store, Stored};

use self::seek::amount_in;
use self::state::{Place, State};
use super::clock::age;
use super::core::LogCore;
use super::env::lock;
use super::format::Totals;
use super::format::cursor::{Interval, Reason, Slot};
use super::stream::Source;
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

    /// Whether it keeps frames up to this sequence from being dropped. What is only being replayed was delivered
    /// once: it must not keep new frames out.
    pub(crate) fn holds_up_to(&self, last: u64) -> bool {
        self.holds() && !lock(&self.state).has_counted(last)
    }

    /// Removes its file for ever.
    pub(crate) fn remove(&self, log: &LogCore) -> Result<(), Error> {
        lock(&self.store).remove(&log.env)
    }

    /// Durably writes position and counters, in one slot.
    pub(crate) fn flush(&self, log: &LogCore) -> Result<(), Error> {
        let mut store = lock(&self.store);
        if store.is_removed() {
            return Ok(());
        }
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

    /// Moves the cursor durably over everything before `kept`, counting in the same write what it drops; what is in
    /// flight goes with a crash, and so it is in that write too.
    pub(crate) fn drop_before(&self, log: &LogCore, kept: Place, reason: Reason) -> Result<(), Error> {
        let now = log.env.clock.wall();
        self.with_counted(log, kept, |state, counted| state.drop_before(kept, counted, reason, now))?;
        self.tell_passed(log);
        self.flush(log)
    }

    /// Changes the state, given what was counted before of the frames before `end` that were not read.
    pub(crate) fn with_counted<R>(
        &self,
        log: &LogCore,
        end: Place,
        change: impl FnOnce(&mut State, Totals) -> R,
    ) -> Result<R, Error> {
        loop {
            let asked = lock(&self.state).counted_before(end.sequence);
            let counted = less_beyond(log, end, &asked)?;
            let mut state = lock(&self.state);
            // A reader that went on meanwhile may have passed what was just added up.
            if state.counted_before(end.sequence) == asked {
                return Ok(change(&mut state, counted));
            }
        }
    }

    /// What the log must have accepted, given that its frames end at `last` with `totals`, and that earlier runs may
    /// have acked beyond: with `os`, a power cut takes frames that were delivered.
    pub(crate) fn known_totals(&self, log: &LogCore, last: u64, totals: Totals) -> Result<Totals, Error> {
        let (slot, counted) = lock(&self.state).counted();
        if slot.intervals.last().is_none_or(|i| i.last <= last) {
            return Ok(totals);
        }
        if slot.counted_to > last {
            return Ok(slot.counted_totals + counted);
        }
        let from = Place { sequence: slot.counted_to, totals: slot.counted_totals };
        let there: Vec<Interval> = slot.intervals.into_iter().filter(|i| i.first <= last).collect();
        Ok(totals + (counted - amount_in(log, from, &there)?))
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
        let mut stream = {
            let state = lock(&self.state);
            let counted_to = Place { sequence: state.slot.counted_to, totals: state.slot.counted_totals };
            match state.oldest_undone() {
                // What is only replayed is not pending.
                (wanted, ..) if wanted < counted_to.sequence => {
                    super::stream::Stream::new(counted_to.sequence, Some(counted_to.totals), None)
                }
                (wanted, before, hint) => super::stream::Stream::new(wanted, Some(before), Some(hint)),
            }
        };
        stream.set_chunk(0);
        loop {
            // What cannot be read has no age; the reader itself tells why.
            if let super::stream::Event::Frame(met) = stream.next(log).ok()?? {
                return Some(met.frame.header.time);
            }
        }
    }
}

/// What was counted before of the frames before `end`, given what was counted at most and the intervals beyond. They do
/// not say how much is in them: that shows when what lies beyond is read.
pub(crate) fn less_beyond(
    source: &dyn Source,
    end: Place,
    (most, beyond): &(Totals, Vec<Interval>),
) -> Result<Totals, Error> {
    Ok(*most - amount_in(source, end, beyond)?)
}
