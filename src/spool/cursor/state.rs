//! What a cursor has read, what is done, and the ledger. Pure: no I/O.
//!
//! The ledger holds at every moment, in items as in bytes:
//!
//! ```text
//! done = delivered + parked + skipped + dropped
//! accepted since the start = done + pending
//! done = (totals before the position - totals before the start) + done beyond the position
//! ```
//!
//! Every frame is counted once: when it leaves the window, or when it is found missing.
//!
//! What a limit takes while it is in flight stays in the window: its reader has it in memory. It is pending until it
//! is acked, and dropped when its reader gives it up. Only what is written differs, because a crash takes that memory
//! with it: there it is dropped at once, and the position is beyond it. The ledger closes in both.

use std::collections::VecDeque;

use super::super::format::Totals;
use super::super::format::cursor::{Interval, MAX_INTERVALS, Reason, Slot};
use super::super::stream::{Lost, Met};

/// A cursor's position and counters in memory; [`State::on_disk`] is what is written to its file.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) slot: Slot,
    /// Read and not done, by sequence.
    window: VecDeque<InFlight>,
    /// Every frame below it was read in this run, or was done when it began.
    high: u64,
    /// What the log had accepted before `high`.
    high_totals: Totals,
    /// What a limit took lies before this sequence, where the log's totals are these: reading goes on from here.
    pub(crate) kept: (u64, Totals),
    /// What earlier runs counted beyond `high`: frames that they acked or found missing there.
    unread: Totals,
    /// Counts the times that the reading position was moved by others than the reader.
    pub(crate) moves: u64,
    /// Frames of this run that were handed out a second time.
    pub(crate) resent: u64,
}

/// A frame that was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InFlight {
    pub(crate) sequence: u64,
    pub(crate) items: u64,
    pub(crate) bytes: u64,
    before: Totals,
    pub(crate) time: u64,
    pub(crate) epoch: u64,
    segment: u64,
    offset: u64,
    /// Acked while no interval was free: counted when the position gets here. Holds how many items were parked.
    done: Option<u64>,
    /// A limit took its segment: it is nowhere but with its reader.
    taken: Option<Reason>,
}

impl State {
    pub(crate) fn new(slot: Slot) -> Self {
        let (high, high_totals) = (slot.position, slot.position_totals);
        let kept = (high, high_totals);
        let done = Totals { frames: 0, items: slot.done_items(), bytes: slot.done_bytes };
        let unread = done - (slot.position_totals - slot.start_totals);
        Self { slot, window: VecDeque::new(), high, high_totals, kept, unread, moves: 0, resent: 0 }
    }

    /// What to write: what is true if this run ends now.
    pub(crate) fn on_disk(&self, now: u64) -> Slot {
        // What was taken is the oldest of the window, and what is done does not stay in front.
        if self.window.front().is_none_or(|e| e.taken.is_none()) {
            return self.slot.clone();
        }
        let mut ended = self.clone();
        ended.give_up(now);
        ended.slot
    }

    /// What the log had accepted before its start, and what it is done with since: all but its pending.
    pub(crate) fn passed(&self) -> Totals {
        let start = self.slot.start_totals;
        let (items, bytes) = (self.slot.done_items(), self.slot.done_bytes);
        Totals { frames: 0, items: start.items.saturating_add(items), bytes: start.bytes.saturating_add(bytes) }
    }

    /// What a limit took and its reader still has.
    pub(crate) fn taken(&self) -> Totals {
        let taken = self.window.iter().take_while(|e| e.taken.is_some()).filter(|e| e.done.is_none());
        taken.fold(Totals::default(), |sum, e| sum + Totals { frames: 1, items: e.items, bytes: e.bytes })
    }

    /// Whether this frame is to be handed out: it is neither done nor behind.
    pub(crate) fn wants(&self, sequence: u64) -> bool {
        sequence >= self.slot.position && !self.is_done(sequence)
    }

    fn is_done(&self, sequence: u64) -> bool {
        let at = self.slot.intervals.partition_point(|i| i.last < sequence);
        self.slot.intervals.get(at).is_some_and(|i| i.first <= sequence)
    }

    /// Whether another frame may be handed out. With the interval set nearly full, only what lies before its first
    /// interval: that alone lets the position move.
    pub(crate) fn may_read(&self, sequence: u64) -> bool {
        self.slot.intervals.len() + 1 < MAX_INTERVALS || self.slot.intervals.first().is_none_or(|i| sequence < i.first)
    }

    /// A frame was read: it is in flight until it is acked, unless it was done before.
    pub(crate) fn read(&mut self, met: &Met) {
        let header = &met.frame.header;
        let new = header.sequence >= self.high;
        if self.wants(header.sequence) {
            let entry = InFlight {
                sequence: header.sequence,
                items: u64::from(header.items),
                bytes: u64::from(header.length),
                before: header.totals,
                time: header.time,
                epoch: met.epoch,
                segment: met.segment,
                offset: met.frame.offset,
                done: None,
                taken: None,
            };
            let at = self.window.partition_point(|e| e.sequence < header.sequence);
            match self.window.get(at) {
                Some(known) if known.sequence == header.sequence => {
                    self.resent += 1;
                    self.slot.resent_items += entry.items;
                }
                _ => self.window.insert(at, entry),
            }
        }
        if new {
            if self.is_done(header.sequence) {
                self.unread = self.unread - (header.totals_after() - header.totals);
            }
            self.raise(header.sequence + 1, header.totals_after());
        }
        self.advance();
    }

    /// Frames were found missing: they count as dropped, but for what earlier runs `counted` of them.
    pub(crate) fn lost(&mut self, lost: &Lost, counted: Totals, now: u64) {
        if lost.last_sequence < self.high {
            return;
        }
        let counted = counted.min(lost.amount);
        let range = Interval { first: lost.first_sequence, last: lost.last_sequence };
        self.count_dropped(lost.reason, lost.amount - counted, range, now);
        self.unread = self.unread - counted;
        self.raise(lost.last_sequence + 1, lost.totals);
        self.finish(lost.first_sequence, lost.last_sequence);
        self.advance();
    }

    /// The frames from `first` to `last` are done: all their items delivered but `parked`. Returns how many items
    /// that were.
    pub(crate) fn ack(&mut self, first: u64, last: u64, parked: u64) -> u64 {
        let last = last.min(self.high.saturating_sub(1));
        let from = self.window.partition_point(|e| e.sequence < first);
        let to = self.window.partition_point(|e| e.sequence <= last).max(from);
        let items = self.window.range(from..to).map(|e| e.items).sum();
        let mut parked = parked.min(items);
        if self.slot.intervals.len() >= MAX_INTERVALS && from > 0 {
            for entry in self.window.range_mut(from..to) {
                let share = parked.min(entry.items);
                entry.done = Some(share);
                parked -= share;
            }
            return items;
        }
        let bytes = self.window.drain(from..to).map(|e| e.bytes).sum();
        self.count_done(items, bytes, parked);
        self.finish(first.max(self.slot.position), last);
        self.advance();
        items
    }

    /// Everything before `first_kept`, where the log's totals are `totals`, goes. What was not read there is dropped,
    /// but for what earlier runs `counted` of it. What is in flight is left to its reader.
    pub(crate) fn drop_before(&mut self, first_kept: u64, totals: Totals, counted: Totals, reason: Reason, now: u64) {
        for entry in self.window.iter_mut().take_while(|e| e.sequence < first_kept) {
            entry.taken.get_or_insert(reason);
        }
        if self.high < first_kept {
            let unread = Interval { first: self.high, last: first_kept - 1 };
            let amount = totals - self.high_totals;
            let counted = counted.min(amount);
            self.count_dropped(reason, amount - counted, unread, now);
            self.unread = self.unread - counted;
            self.raise(first_kept, self.high_totals.max(totals));
            self.finish(unread.first, unread.last);
        }
        if first_kept > self.kept.0 {
            self.kept = (first_kept, totals);
            self.moves += 1;
        }
        self.advance();
    }

    /// The reader has nothing in memory any more: what a limit took of it is dropped. True when that was anything.
    pub(crate) fn give_up(&mut self, now: u64) -> bool {
        let is_gone = |e: &InFlight| e.taken.is_some() && e.done.is_none();
        let gone: Vec<InFlight> = self.window.iter().filter(|e| is_gone(e)).copied().collect();
        self.window.retain(|e| !is_gone(e));
        for entry in &gone {
            let amount = Totals { frames: 1, items: entry.items, bytes: entry.bytes };
            let range = Interval { first: entry.sequence, last: entry.sequence };
            self.count_dropped(entry.taken.unwrap_or(Reason::Other), amount, range, now);
        }
        self.advance();
        !gone.is_empty()
    }

    /// What earlier runs counted of the frames from `high` up to `below`: at most so much, less what is done in these
    /// intervals, which lie beyond. Nothing when none of their intervals reaches in there.
    pub(crate) fn counted_before(&self, below: u64) -> (Totals, Vec<Interval>) {
        let reaches_in = |i: &Interval| i.last >= self.high && i.first < below;
        if !self.slot.intervals.iter().any(reaches_in) {
            return (Totals::default(), Vec::new());
        }
        let beyond = self.slot.intervals.iter().filter(|i| i.last >= below);
        (self.unread, beyond.map(|i| Interval { first: i.first.max(below), last: i.last }).collect())
    }

    /// The slot, and what earlier runs counted of what this one has not read.
    pub(crate) fn counted(&self) -> (Slot, Totals) {
        (self.slot.clone(), self.unread)
    }

    /// Where reading goes on after a rewind: sequence, totals before it, and where the frame is.
    pub(crate) fn oldest_undone(&self) -> (u64, Totals, (u64, u64)) {
        match self.window.front() {
            Some(e) => (e.sequence, e.before, (e.segment, e.offset)),
            None => (self.slot.position, self.slot.position_totals, (self.slot.hint_segment, self.slot.hint_offset)),
        }
    }

    /// The frame in flight with this sequence.
    pub(crate) fn in_flight(&self, sequence: u64) -> Option<InFlight> {
        let at = self.window.partition_point(|e| e.sequence < sequence);
        self.window.get(at).filter(|e| e.sequence == sequence).copied()
    }

    /// Append time of the oldest frame in flight.
    pub(crate) fn oldest_time(&self) -> Option<u64> {
        self.window.front().map(|e| e.time)
    }

    fn count_done(&mut self, items: u64, bytes: u64, parked: u64) {
        self.slot.parked_items += parked;
        self.slot.delivered_items += items - parked;
        self.slot.done_bytes += bytes;
    }

    fn count_dropped(&mut self, reason: Reason, amount: Totals, range: Interval, now: u64) {
        // How many frames earlier runs counted is not known: what is left then has no items and no bytes.
        if (amount.items, amount.bytes) != (0, 0) {
            self.slot.dropped[reason as usize].add(amount.items, amount.bytes, range, now);
            self.slot.done_bytes += amount.bytes;
        }
    }

    fn raise(&mut self, high: u64, totals: Totals) {
        self.high = high;
        self.high_totals = totals;
    }

    /// Adds a done range to the intervals, joined with its neighbours.
    fn finish(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        let set = &mut self.slot.intervals;
        let from = set.partition_point(|i| i.last.saturating_add(1) < first);
        let to = set.partition_point(|i| i.first <= last.saturating_add(1)).max(from);
        let joined = set[from..to]
            .iter()
            .fold(Interval { first, last }, |a, b| Interval { first: a.first.min(b.first), last: a.last.max(b.last) });
        set.splice(from..to, [joined]);
    }

    /// Moves the position to the oldest frame that is not done.
    fn advance(&mut self) {
        while let Some((entry, parked)) = self.window.front().and_then(|e| Some((*e, e.done?))) {
            self.window.pop_front();
            self.count_done(entry.items, entry.bytes, parked);
        }
        let (position, totals) = match self.window.front() {
            Some(e) => {
                (self.slot.hint_segment, self.slot.hint_offset) = (e.segment, e.offset);
                (e.sequence, e.before)
            }
            None => (self.high, self.high_totals),
        };
        if position > self.slot.position {
            self.slot.position = position;
            self.slot.position_totals = totals;
        }
        self.slot.counted_to = self.slot.counted_to.max(self.high);
        let position = self.slot.position;
        self.slot.intervals.retain(|i| i.last >= position);
        if let Some(first) = self.slot.intervals.first_mut() {
            first.first = first.first.max(position);
        }
    }

    /// With nothing done beyond the position, what is done is what lies before it.
    #[cfg(test)]
    pub(crate) fn closes(&self) -> bool {
        let passed = (self.slot.position_totals - self.slot.start_totals).items;
        let marked = self.window.iter().any(|e| e.done.is_some());
        !self.slot.intervals.is_empty() || marked || self.slot.done_items() == passed
    }
}
