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
//! Every frame is counted once: when it leaves the window, or when it is found missing. A replay moves the position
//! back; frames below the highest position that there ever was were counted, and are not counted again. So in a replay
//! "the position" of the ledger is that one: `slot.counted_to`.
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
    pub(crate) kept: Place,
    /// What was counted of frames from [`State::fresh`] on before this reading of them: acked or found missing there by
    /// an earlier run, or before a replay.
    unread: Totals,
    /// Counts the times that the reading position was moved by others than the reader.
    pub(crate) moves: u64,
    /// Those of them that were commands: what was handed out before is forgotten.
    pub(crate) seeks: u64,
    /// Counts the commands that moved, paused or resumed it.
    pub(crate) commands: u64,
    /// Frames of this run that were handed out a second time.
    pub(crate) resent: u64,
}

/// A place between two frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Of the first frame after it, if there is one.
    pub(crate) sequence: u64,
    /// What the log had accepted before it.
    pub(crate) totals: Totals,
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

impl InFlight {
    fn amount(&self) -> Totals {
        Totals { frames: 1, items: self.items, bytes: self.bytes }
    }

    fn range(&self) -> Interval {
        Interval { first: self.sequence, last: self.sequence }
    }
}

impl State {
    pub(crate) fn new(mut slot: Slot) -> Self {
        let (high, high_totals) = (slot.position, slot.position_totals);
        let kept = Place { sequence: high, totals: high_totals };
        (slot.counted_to, slot.counted_totals) = slot.counted();
        let unread = done_beyond(&slot);
        let window = VecDeque::new();
        Self { slot, window, high, high_totals, kept, unread, moves: 0, seeks: 0, commands: 0, resent: 0 }
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

    /// What a limit took and its reader still has, but for what was counted before.
    pub(crate) fn taken(&self) -> Totals {
        let taken = self.window.iter().take_while(|e| e.taken.is_some());
        let taken = taken.filter(|e| e.done.is_none() && self.is_new(e.sequence));
        taken.fold(Totals::default(), |sum, e| sum + e.amount())
    }

    /// Whether this frame is to be handed out: it is neither done nor behind.
    pub(crate) fn wants(&self, sequence: u64) -> bool {
        sequence >= self.slot.position && !self.is_done(sequence)
    }

    /// Whether this frame is pending: wanted, and not only to be replayed.
    pub(crate) fn owes(&self, sequence: u64) -> bool {
        self.is_new(sequence) && self.wants(sequence)
    }

    /// Whether no replay repeats this frame: it counts when it is done.
    fn is_new(&self, sequence: u64) -> bool {
        sequence >= self.slot.counted_to
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
                _ => {
                    if !self.is_new(entry.sequence) {
                        self.slot.replayed_items += entry.items;
                    }
                    self.window.insert(at, entry);
                }
            }
        }
        if new {
            if self.is_new(header.sequence) && self.is_done(header.sequence) {
                self.unread = self.unread - (header.totals_after() - header.totals);
            }
            self.raise(header.sequence + 1, header.totals_after());
        }
        self.advance();
    }

    /// Frames were found missing: they count as dropped, but for what was `counted` of them before.
    pub(crate) fn lost(&mut self, lost: &Lost, counted: Totals, now: u64) {
        self.lost_in_flight(lost, now);
        if lost.last_sequence < self.high {
            self.advance();
            return;
        }
        let amount = lost.amount.min(self.unread_before(lost.end()));
        let range = Interval { first: lost.first_sequence.max(self.fresh().sequence), last: lost.last_sequence };
        let new = self.less_counted(amount, counted);
        self.count_dropped(lost.reason, new, range, now);
        self.raise(lost.last_sequence + 1, lost.totals);
        self.finish(lost.first_sequence, lost.last_sequence);
        self.advance();
    }

    /// Frames that were handed out once cannot be read again: nobody has them to ack any more.
    fn lost_in_flight(&mut self, lost: &Lost, now: u64) {
        let from = self.window.partition_point(|e| e.sequence < lost.first_sequence);
        let to = self.window.partition_point(|e| e.sequence <= lost.last_sequence).max(from);
        let gone: Vec<InFlight> = self.window.drain(from..to).collect();
        let counted_to = self.slot.counted_to;
        for entry in gone {
            match entry.done {
                _ if entry.sequence < counted_to => {}
                Some(parked) => self.count_done(entry.items, entry.bytes, parked),
                None => self.count_dropped(lost.reason, entry.amount(), entry.range(), now),
            }
            self.finish(entry.sequence, entry.sequence);
        }
    }

    /// The frames from `first` to `last` are done: all their items delivered but `parked`. Returns how many items
    /// that were.
    pub(crate) fn ack(&mut self, first: u64, last: u64, parked: u64) -> u64 {
        let last = last.min(self.high.saturating_sub(1));
        let from = self.window.partition_point(|e| e.sequence < first);
        let to = self.window.partition_point(|e| e.sequence <= last).max(from);
        let counted_to = self.slot.counted_to;
        let is_new = |e: &&InFlight| e.sequence >= counted_to;
        let items = self.window.range(from..to).filter(is_new).map(|e| e.items).sum();
        let mut parked = parked.min(items);
        if self.slot.intervals.len() >= MAX_INTERVALS && from > 0 {
            for entry in self.window.range_mut(from..to) {
                let share = if entry.sequence < counted_to { 0 } else { parked.min(entry.items) };
                entry.done = Some(share);
                parked -= share;
            }
            return items;
        }
        let bytes = self.window.range(from..to).filter(is_new).map(|e| e.bytes).sum();
        self.window.drain(from..to);
        self.count_done(items, bytes, parked);
        self.finish(first.max(self.slot.position), last);
        self.advance();
        items
    }

    /// Everything before `kept` goes. What was not read there is dropped, but for what was `counted` of it before. What
    /// is in flight is left to its reader.
    pub(crate) fn drop_before(&mut self, kept: Place, counted: Totals, reason: Reason, now: u64) {
        for entry in self.window.iter_mut().take_while(|e| e.sequence < kept.sequence) {
            entry.taken.get_or_insert(reason);
        }
        if self.high < kept.sequence {
            let unread = Interval { first: self.fresh().sequence, last: kept.sequence - 1 };
            let new = self.less_counted(self.unread_before(kept), counted);
            self.count_dropped(reason, new, unread, now);
            self.pass_unread(kept);
        }
        if kept.sequence > self.kept.sequence {
            self.kept = kept;
            self.moves += 1;
        }
        self.advance();
    }

    /// Moves to this place by command; `counted` is for a place ahead, as in [`State::drop_before`]. Forward, what was
    /// not done counts as skipped: that is answered. Back, what lies between is read again and not counted again.
    ///
    /// What was handed out and is not acked is forgotten: its acks count no more. So what a limit took of it is
    /// dropped.
    pub(crate) fn seek(&mut self, to: Place, counted: Totals, now: u64) -> Totals {
        self.commands += 1;
        if to.sequence == self.slot.position {
            return Totals::default();
        }
        self.moves += 1;
        self.seeks += 1;
        self.give_up(now);
        let skipped = if to.sequence >= self.slot.position { self.skip(to, counted) } else { self.replay(to) };
        self.kept = to;
        skipped
    }

    fn skip(&mut self, to: Place, counted: Totals) -> Totals {
        let end = self.window.partition_point(|e| e.sequence < to.sequence);
        let gone: Vec<InFlight> = self.window.drain(..end).collect();
        let counted_to = self.slot.counted_to;
        let mut skipped = Totals::default();
        for entry in gone.iter().filter(|e| e.sequence >= counted_to) {
            match entry.done {
                Some(parked) => self.count_done(entry.items, entry.bytes, parked),
                None => skipped = skipped + entry.amount(),
            }
        }
        if self.high < to.sequence {
            skipped = skipped + self.less_counted(self.unread_before(to), counted);
            self.pass_unread(to);
        }
        self.slot.skipped_items += skipped.items;
        self.slot.done_bytes += skipped.bytes;
        self.finish(self.slot.position, to.sequence.saturating_sub(1));
        self.advance();
        skipped
    }

    fn replay(&mut self, to: Place) -> Totals {
        self.window.clear();
        let counted_to = self.slot.counted_to;
        self.slot.intervals.retain(|i| i.last >= counted_to);
        if let Some(first) = self.slot.intervals.first_mut() {
            first.first = first.first.max(counted_to);
        }
        (self.slot.position, self.slot.position_totals) = (to.sequence, to.totals);
        (self.slot.hint_segment, self.slot.hint_offset) = (0, 0);
        self.raise(to.sequence, to.totals);
        // All that is counted beyond is to be read again.
        self.unread = done_beyond(&self.slot);
        Totals::default()
    }

    /// Where frames begin that were neither read nor, before a replay, counted.
    pub(crate) fn fresh(&self) -> Place {
        match self.high < self.slot.counted_to {
            true => Place { sequence: self.slot.counted_to, totals: self.slot.counted_totals },
            false => Place { sequence: self.high, totals: self.high_totals },
        }
    }

    /// How much lies before this place that was neither read nor, before a replay, counted.
    fn unread_before(&self, end: Place) -> Totals {
        let fresh = self.fresh();
        if end.sequence > fresh.sequence { end.totals - fresh.totals } else { Totals::default() }
    }

    /// What of an unread amount counts now that it is passed: all but what was `counted` of it before.
    fn less_counted(&mut self, amount: Totals, counted: Totals) -> Totals {
        let counted = counted.min(amount);
        self.unread = self.unread - counted;
        amount - counted
    }

    fn pass_unread(&mut self, to: Place) {
        let first = self.high;
        self.raise(to.sequence, self.high_totals.max(to.totals));
        self.finish(first, to.sequence - 1);
    }

    /// The reader has nothing in memory any more: what a limit took of it is dropped. True when that was anything.
    pub(crate) fn give_up(&mut self, now: u64) -> bool {
        let is_gone = |e: &InFlight| e.taken.is_some() && e.done.is_none();
        let gone: Vec<InFlight> = self.window.iter().filter(|e| is_gone(e)).copied().collect();
        self.window.retain(|e| !is_gone(e));
        let counted_to = self.slot.counted_to;
        for entry in gone.iter().filter(|e| e.sequence >= counted_to) {
            self.count_dropped(entry.taken.unwrap_or(Reason::Other), entry.amount(), entry.range(), now);
        }
        self.advance();
        !gone.is_empty()
    }

    /// What was counted before of the frames that were not read, up to `below`: at most so much, less what is done in
    /// these intervals, which lie beyond. Nothing when no interval of what was not read reaches in there.
    pub(crate) fn counted_before(&self, below: u64) -> (Totals, Vec<Interval>) {
        let fresh = self.fresh().sequence;
        let reaches_in = |i: &Interval| i.last >= fresh && i.first < below;
        if below <= fresh || !self.slot.intervals.iter().any(reaches_in) {
            return (Totals::default(), Vec::new());
        }
        let beyond = self.slot.intervals.iter().filter(|i| i.last >= below);
        (self.unread, beyond.map(|i| Interval { first: i.first.max(below), last: i.last }).collect())
    }

    /// The slot, and what was counted before of what was not read.
    pub(crate) fn counted(&self) -> (Slot, Totals) {
        (self.slot.clone(), self.unread)
    }

    /// Whether every frame up to this sequence was done at some time, replayed or not.
    pub(crate) fn has_counted(&self, last: u64) -> bool {
        let counted_to = self.slot.counted_to;
        counted_to > last || self.slot.intervals.iter().any(|i| i.first <= counted_to && i.last >= last)
    }

    /// What a replay still has to hand out, what it has in flight included.
    pub(crate) fn replaying(&self) -> Totals {
        self.slot.counted_totals - self.slot.position_totals
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

    /// Append time of the oldest frame in flight that is not only replayed.
    pub(crate) fn oldest_time(&self) -> Option<u64> {
        self.window.iter().find(|e| self.is_new(e.sequence)).map(|e| e.time)
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
            if self.is_new(entry.sequence) {
                self.count_done(entry.items, entry.bytes, parked);
            }
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
        if self.slot.position >= self.slot.counted_to {
            (self.slot.counted_to, self.slot.counted_totals) = (self.slot.position, self.slot.position_totals);
        }
        let position = self.slot.position;
        self.slot.intervals.retain(|i| i.last >= position);
        if let Some(first) = self.slot.intervals.first_mut() {
            first.first = first.first.max(position);
        }
    }

    /// With nothing done beyond the position, what is done is what lies before it.
    #[cfg(test)]
    pub(crate) fn closes(&self) -> bool {
        let passed = (self.slot.counted_totals - self.slot.start_totals).items;
        let marked = self.window.iter().any(|e| e.done.is_some());
        !self.slot.intervals.is_empty() || marked || self.slot.done_items() == passed
    }
}

/// What is done beyond the highest position that there ever was.
fn done_beyond(slot: &Slot) -> Totals {
    let done = Totals { frames: 0, items: slot.done_items(), bytes: slot.done_bytes };
    done - (slot.counted().1 - slot.start_totals)
}
