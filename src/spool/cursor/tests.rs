//! The pure state of a cursor against a simple model: a list of frames and what became of each.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::format::Totals;
use super::super::format::cursor::{Interval, MAX_INTERVALS, Reason, Slot};
use super::super::format::frame::{FrameHeader, kind};
use super::super::stream::{Lost, Met};
use super::super::walk::FoundFrame;
use super::state::{Place, State};

const NOW: u64 = 1;

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Unread,
    InFlight,
    /// In flight when a limit took it.
    Taken,
    Done,
    Skipped,
    Dropped,
    Missing,
}

/// What became of a frame that is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    Waiting,
    InFlight,
    /// In flight when a limit took it.
    Taken,
}

/// A log of frames with one to four items each; every seventh sequence is a declared gap, some frames are missing.
struct Model {
    state: State,
    fates: Vec<(u64, Fate)>,
    next: usize,
    /// Counted once, and to be handed out again.
    again: BTreeMap<u64, Again>,
    replayed: u64,
}

fn items(sequence: u64) -> u32 {
    (sequence % 4) as u32 + 1
}

fn before(sequence: u64) -> Totals {
    let frames = (1..sequence).filter(|s| s % 7 != 0);
    frames.fold(Totals::default(), |t, s| t + Totals::frame(items(s), s))
}

fn place(sequence: u64) -> Place {
    Place { sequence, totals: before(sequence) }
}

fn met(sequence: u64) -> Met {
    let header = FrameHeader {
        kind: kind::DATA,
        content: 0,
        length: sequence as u32,
        items: items(sequence),
        sequence,
        time: 0,
        synced_to: 0,
        totals: before(sequence),
    };
    Met { frame: FoundFrame { header, offset: sequence * 100, payload: Bytes::new() }, segment: 1, epoch: 1 }
}

impl Model {
    fn new(missing: &[u64]) -> Self {
        let fate = |s: u64| if missing.contains(&s) { Fate::Missing } else { Fate::Unread };
        let fates = (1..60).filter(|s| s % 7 != 0).map(|s| (s, fate(s))).collect();
        let state = State::new(Slot { position: 1, start: 1, ..Slot::default() });
        Self { state, fates, next: 0, again: BTreeMap::new(), replayed: 0 }
    }

    /// Reads on, as a stream does: missing frames show when the next one comes.
    fn read(&mut self) {
        let from = self.next;
        let Some(at) = (from..self.fates.len()).find(|i| self.fates[*i].1 != Fate::Missing) else { return };
        let sequence = self.fates[at].0;
        if at > from {
            let first_sequence = self.fates[from].0;
            let totals = before(sequence);
            let amount = totals - before(first_sequence);
            let last_sequence = sequence - 1;
            let counted = self.counted_before(sequence);
            let lost = Lost { first_sequence, last_sequence, amount, totals, reason: Reason::Damaged };
            self.state.lost(&lost, counted, NOW);
        }
        if self.fates[at].1 == Fate::Unread {
            self.fates[at].1 = Fate::InFlight;
        }
        let wanted = self.state.wants(sequence);
        let expected = self.fates[at].1 == Fate::InFlight || self.again.contains_key(&sequence);
        assert_eq!(wanted, expected, "{sequence}: {:?}", self.fates[at].1);
        if let Some(again @ Again::Waiting) = self.again.get_mut(&sequence) {
            *again = Again::InFlight;
            self.replayed += u64::from(items(sequence));
        }
        self.state.read(&met(sequence));
        self.next = at + 1;
    }

    fn ack(&mut self, first: u64, last: u64) {
        let range = |s: u64| (first..=last).contains(&s);
        let is_open = |f: Fate| matches!(f, Fate::InFlight | Fate::Taken);
        for (_, fate) in self.fates.iter_mut().filter(|(s, f)| range(*s) && is_open(*f)) {
            *fate = Fate::Done;
        }
        self.again.retain(|s, again| !range(*s) || *again == Again::Waiting);
        self.state.ack(first, last, 0);
    }

    fn rewind(&mut self) {
        self.state.give_up(NOW);
        self.lose_taken();
        let (wanted, ..) = self.state.oldest_undone();
        self.next = self.fates.iter().position(|(s, _)| *s >= wanted).unwrap_or(self.fates.len());
    }

    fn lose_taken(&mut self) {
        for (_, fate) in self.fates.iter_mut().filter(|(_, f)| *f == Fate::Taken) {
            *fate = Fate::Dropped;
        }
        self.again.retain(|_, again| *again != Again::Taken);
    }

    /// What was counted before of what is not read yet: what is missing beyond was counted with its interval.
    fn counted_before(&self, below: u64) -> Totals {
        let (most, beyond) = self.state.counted_before(below);
        let beyond = self.fates.iter().filter(|(s, _)| beyond.iter().any(|i| i.first <= *s && *s <= i.last));
        most - beyond.fold(Totals::default(), |t, (s, _)| t + Totals::frame(items(*s), *s))
    }

    fn drop_before(&mut self, first_kept: u64) {
        let counted = self.counted_before(first_kept);
        self.state.drop_before(place(first_kept), counted, Reason::Full, NOW);
        for (_, fate) in self.fates.iter_mut().filter(|(s, _)| *s < first_kept) {
            *fate = match *fate {
                Fate::Unread => Fate::Dropped,
                Fate::InFlight => Fate::Taken,
                other => other,
            };
        }
        self.again.retain(|s, again| *s >= first_kept || *again != Again::Waiting);
        for (_, again) in self.again.range_mut(..first_kept) {
            *again = Again::Taken;
        }
        // Reading goes on where it was, or after what is gone.
        let kept = self.fates.iter().position(|(s, _)| *s >= first_kept).unwrap_or(self.fates.len());
        self.next = self.next.max(kept);
    }

    fn seek(&mut self, to: u64) {
        let counted = self.counted_before(to);
        let stays = to == self.state.slot.position;
        // What is moved is what its reader holds nothing of any more.
        let Slot { position, counted_to, .. } = self.state.on_disk(NOW);
        self.state.seek(place(to), counted, NOW);
        if stays {
            return;
        }
        self.lose_taken();
        if to < position {
            self.replay(to, counted_to);
        } else {
            for (_, fate) in self.fates.iter_mut().filter(|(s, _)| *s < to) {
                if matches!(fate, Fate::Unread | Fate::InFlight) {
                    *fate = Fate::Skipped;
                }
            }
            self.again.retain(|s, _| *s >= to);
        }
        self.rewind();
    }

    fn replay(&mut self, to: u64, counted_to: u64) {
        for (sequence, fate) in &mut self.fates {
            match fate {
                Fate::InFlight => *fate = Fate::Unread,
                Fate::Unread | Fate::Missing => {}
                _ if (to..counted_to).contains(sequence) => {
                    self.again.insert(*sequence, Again::Waiting);
                }
                _ => {}
            }
        }
    }

    /// A new run from what is on disk.
    fn restart(&mut self) {
        let bytes = self.state.on_disk(NOW).encode();
        self.state = State::new(Slot::decode(&bytes).unwrap());
        for (_, fate) in self.fates.iter_mut().filter(|(_, f)| *f == Fate::InFlight) {
            *fate = Fate::Unread;
        }
        self.lose_taken();
        self.again.values_mut().for_each(|again| *again = Again::Waiting);
        self.rewind();
    }

    fn check(&self) {
        self.check_slot(&self.state.slot, false);
        self.check_slot(&self.state.on_disk(NOW), true);
        assert!(self.state.closes());
    }

    /// What is done is what lies before the highest position, and what the intervals beyond it hold.
    fn check_ledger(&self, slot: &Slot) {
        let (counted_to, counted_totals) = slot.counted();
        let beyond = |s: u64| s >= counted_to && slot.intervals.iter().any(|i| i.first <= s && s <= i.last);
        let beyond = self.fates.iter().filter(|(s, _)| beyond(*s));
        let done = beyond.fold(counted_totals, |t, (s, _)| t + Totals::frame(items(*s), *s));
        assert_eq!((slot.done_items(), slot.done_bytes), (done.items, done.bytes), "{slot:?}");
    }

    /// In memory what a limit took in flight is pending; on disk it is dropped.
    fn check_slot(&self, slot: &Slot, is_on_disk: bool) {
        let sum = |wanted: Fate| {
            self.fates.iter().filter(|(_, f)| *f == wanted).map(|(s, _)| u64::from(items(*s))).sum::<u64>()
        };
        assert_eq!(slot.delivered_items, sum(Fate::Done), "{slot:?}");
        let dropped: u64 = slot.dropped.iter().map(|d| d.items).sum();
        let wanted = sum(Fate::Dropped) + if is_on_disk { sum(Fate::Taken) } else { 0 };
        assert!(dropped >= wanted && slot.skipped_items >= sum(Fate::Skipped), "{slot:?}");
        assert!(dropped + slot.skipped_items <= wanted + sum(Fate::Skipped) + sum(Fate::Missing), "{slot:?}");
        assert_eq!(slot.replayed_items, self.replayed, "{slot:?}");
        self.check_ledger(slot);
        let open = |f: Fate| matches!(f, Fate::Unread | Fate::InFlight) || (f == Fate::Taken && !is_on_disk);
        if let Some((first, _)) = self.fates.iter().find(|(_, f)| open(*f)) {
            assert!(slot.position.max(slot.counted_to) <= *first, "{} was passed: {slot:?}", first);
        }
        let waits = |again: &Again| *again != Again::Taken || !is_on_disk;
        if let Some((first, _)) = self.again.iter().find(|(_, again)| waits(again)) {
            assert!(slot.position <= *first, "{} is not replayed: {slot:?}", first);
        }
        assert_eq!(slot.counted_totals, before(slot.counted_to), "{slot:?}");
        assert_eq!(slot.position_totals, before(slot.position), "{slot:?}");
        assert!(slot.intervals.windows(2).all(|w| w[0].last + 1 < w[1].first), "{slot:?}");
    }
}

#[derive(Debug, Clone)]
enum Do {
    Read,
    Ack(u64, u64),
    Rewind,
    Drop(u64),
    Seek(u64),
    Restart,
}

fn doing() -> impl Strategy<Value = Do> {
    prop_oneof![
        8 => Just(Do::Read),
        5 => (1..60_u64, 0..6_u64).prop_map(|(first, more)| Do::Ack(first, first + more)),
        1 => Just(Do::Rewind),
        1 => (1..60_u64).prop_map(Do::Drop),
        2 => (1..60_u64).prop_map(Do::Seek),
        2 => Just(Do::Restart),
    ]
}

proptest! {
    #[test]
    fn every_frame_is_counted_once(
        missing in proptest::collection::vec((1..60_u64).prop_filter("a frame", |s| s % 7 != 0), 0..4),
        story in proptest::collection::vec(doing(), 0..80),
    ) {
        let mut model = Model::new(&missing);
        for step in story {
            match step {
                Do::Read => model.read(),
                Do::Ack(first, last) => model.ack(first, last),
                Do::Rewind => model.rewind(),
                Do::Drop(first_kept) if first_kept > model.state.slot.position => model.drop_before(first_kept),
                Do::Drop(_) => {}
                Do::Seek(to) => model.seek(to),
                Do::Restart => model.restart(),
            }
            model.check();
        }
    }
}

#[test]
fn what_was_acked_in_a_replay_is_no_part_of_what_was_counted_beyond_it() {
    let mut model = Model::new(&[]);
    for _ in 0..12 {
        model.read();
    }
    model.ack(1, 6);
    model.ack(10, 11);
    model.seek(1);
    for _ in 0..5 {
        model.read();
    }
    model.ack(3, 4);
    model.restart();
    model.check();
    for _ in 0..5 {
        model.read();
    }
    // Over frames that wait, and over those of them that were acked before the replay.
    model.drop_before(15);
    model.check();
}

#[test]
fn a_full_interval_set_lets_only_the_oldest_be_read_and_loses_no_ack() {
    let mut state = State::new(Slot { position: 1, start: 1, ..Slot::default() });
    let last = 2 * MAX_INTERVALS as u64 + 100;
    let frame = |sequence: u64| {
        let mut met = met(1);
        met.frame.header.sequence = sequence;
        met.frame.header.items = 1;
        met.frame.header.totals = Totals { frames: sequence - 1, items: sequence - 1, bytes: sequence - 1 };
        met
    };
    for sequence in 1..=last {
        state.read(&frame(sequence));
    }
    for sequence in (2..=last).step_by(2) {
        state.ack(sequence, sequence, 0);
    }
    assert_eq!(state.slot.intervals.len(), MAX_INTERVALS);
    assert!(!state.may_read(last + 1), "no room for another interval");
    assert!(state.may_read(1));
    let slot = Slot::decode(&state.slot.encode()).unwrap();
    assert_eq!(slot, state.slot, "all that is counted is written");
    assert_eq!(slot.delivered_items, MAX_INTERVALS as u64, "what has no interval is not counted yet");
    state.ack(1, 1, 0);
    assert!(!state.may_read(last + 1), "the next one's interval, and no more, would have room");
    for sequence in (3..=last).step_by(2) {
        state.ack(sequence, sequence, u64::from(sequence == last - 1));
    }
    assert_eq!((state.slot.position, state.slot.delivered_items), (last + 1, last - 1));
    assert_eq!(state.slot.parked_items, 1, "of a frame that had no interval when it was acked");
    assert!(state.slot.intervals.is_empty());
}

/// Its frames from 10 on are new, before them a replay hands them out again.
#[test]
fn without_room_for_an_interval_what_is_parked_is_of_new_frames() {
    let intervals = (0..MAX_INTERVALS as u64).map(|n| Interval { first: 100 + 2 * n, last: 100 + 2 * n }).collect();
    let counted_totals = before(10);
    let slot = Slot { position: 1, start: 1, counted_to: 10, counted_totals, intervals, ..Slot::default() };
    let mut state = State::new(slot);
    (1..=13).filter(|s| s % 7 != 0).for_each(|sequence| state.read(&met(sequence)));
    let parked = u64::from(items(10) + items(11));
    state.ack(2, 12, parked);
    assert_eq!((state.slot.position, state.slot.parked_items), (1, 0), "not counted yet");
    state.ack(1, 1, 0);
    let new = u64::from(items(10) + items(11) + items(12));
    let slot = &state.slot;
    assert_eq!((slot.position, slot.parked_items, slot.delivered_items), (13, parked, new - parked));
}

#[test]
fn a_frame_that_is_read_twice_is_sent_again() {
    let mut state = State::new(Slot { position: 1, start: 1, ..Slot::default() });
    [1, 2, 1, 2, 2].into_iter().for_each(|sequence| state.read(&met(sequence)));
    assert_eq!((state.resent, state.slot.resent_items), (3, u64::from(items(1) + 2 * items(2))));
}

#[test]
fn what_an_earlier_run_did_beyond_the_position_is_less_by_what_is_passed() {
    let done = [2, 4].map(|sequence| Totals::frame(items(sequence), sequence));
    let intervals = [2, 4].map(|sequence| Interval { first: sequence, last: sequence }).into();
    let (delivered_items, done_bytes) = (done[0].items + done[1].items, done[0].bytes + done[1].bytes);
    let slot = Slot { position: 1, start: 1, delivered_items, done_bytes, intervals, ..Slot::default() };
    let mut state = State::new(slot);
    let unread = |state: &State| (state.counted().1.items, state.counted().1.bytes);
    assert_eq!(unread(&state), (delivered_items, done_bytes));
    (1..=3).for_each(|sequence| state.read(&met(sequence)));
    assert_eq!(unread(&state), (done[1].items, done[1].bytes));
    state.read(&met(4));
    assert_eq!(unread(&state), (0, 0));
}

#[test]
fn a_rewind_goes_to_the_oldest_frame_that_is_not_done_and_says_where_it_is() {
    let mut state = State::new(Slot { position: 1, start: 1, ..Slot::default() });
    (1..=5).for_each(|sequence| state.read(&met(sequence)));
    state.ack(1, 3, 0);
    assert_eq!(state.oldest_undone(), (4, before(4), (1, 400)));
    state.ack(4, 5, 0);
    let (sequence, totals, (segment, _)) = state.oldest_undone();
    assert_eq!((sequence, totals, segment), (6, before(6), 1));
}

#[test]
fn what_was_done_beyond_the_position_of_a_cursor_that_began_late_is_told_from_what_was_before_it() {
    let (start_totals, interval) = (before(4), Interval { first: 5, last: 5 });
    let (delivered_items, done_bytes) = (u64::from(items(5)), 5);
    let slot = Slot {
        position: 4,
        position_totals: start_totals,
        start: 4,
        start_totals,
        delivered_items,
        done_bytes,
        intervals: vec![interval],
        ..Slot::default()
    };
    let unread = State::new(slot).counted().1;
    assert_eq!((unread.items, unread.bytes), (delivered_items, done_bytes));
}

#[test]
fn the_age_of_what_is_pending_is_that_of_the_oldest_frame_in_flight_that_is_no_replay() {
    let mut state = State::new(Slot { position: 1, start: 1, ..Slot::default() });
    assert_eq!(state.oldest_time(), None);
    let read = |state: &mut State, sequence| {
        let mut met = met(sequence);
        met.frame.header.time = 100 + sequence;
        state.read(&met);
    };
    (1..=3).for_each(|sequence| read(&mut state, sequence));
    state.ack(1, 1, 0);
    assert_eq!(state.oldest_time(), Some(102));
    state.seek(place(1), Totals::default(), NOW);
    (1..=3).for_each(|sequence| read(&mut state, sequence));
    assert_eq!(state.oldest_time(), Some(102));
}

/// Its reader's end is written only when it gave something up.
#[test]
fn only_what_was_taken_is_given_up() {
    let mut state = State::new(Slot { position: 1, start: 1, ..Slot::default() });
    (1..=3).for_each(|sequence| state.read(&met(sequence)));
    assert!(!state.give_up(NOW));
    state.drop_before(place(3), Totals::default(), Reason::Full, NOW);
    assert!(state.give_up(NOW) && !state.give_up(NOW));
    assert_eq!((state.slot.position, state.slot.dropped[Reason::Full as usize].items), (3, before(3).items));
}

#[test]
fn a_frame_was_counted_if_all_up_to_it_were() {
    let interval = Interval { first: 10, last: 15 };
    let state = |counted_to| {
        State::new(Slot {
            position: 1,
            start: 1,
            counted_to,
            counted_totals: before(counted_to),
            intervals: vec![interval],
            ..Slot::default()
        })
    };
    assert!(state(5).has_counted(4) && !state(5).has_counted(5));
    assert!(!state(5).has_counted(12), "from 5 to 9 none was");
    assert!(state(10).has_counted(15) && !state(10).has_counted(16));
}

/// Its reader looks where it stands only when that changed.
#[test]
fn what_is_taken_moves_a_cursor_once() {
    let mut state = State::new(Slot { position: 1, start: 1, ..Slot::default() });
    for (below, moves) in [(10, 1), (10, 1), (5, 1), (12, 2)] {
        state.drop_before(place(below), Totals::default(), Reason::Full, NOW);
        assert_eq!((state.moves, state.slot.position >= below), (moves, true));
    }
}

#[test]
fn nothing_was_counted_before_where_what_is_done_begins_after_it() {
    let acked_from = |first| {
        let interval = Interval { first, last: first + 5 };
        State::new(Slot { position: 1, start: 1, counted_to: 1, intervals: vec![interval], ..Slot::default() })
    };
    assert_eq!(acked_from(10).counted_before(10).1, [], "it does not reach in");
    let (_, beyond) = acked_from(10).counted_before(11);
    assert_eq!(beyond, [Interval { first: 11, last: 15 }]);
    assert_eq!(acked_from(10).counted_before(16).1, []);
}

fn lost(first: u64, last: u64) -> Lost {
    let (amount, totals) = (before(last + 1) - before(first), before(last + 1));
    Lost { first_sequence: first, last_sequence: last, amount, totals, reason: Reason::Damaged }
}

#[test]
fn after_a_loss_at_the_end_reading_goes_on_behind_it() {
    let mut state = State::new(Slot { position: 1, start: 1, ..Slot::default() });
    state.lost(&lost(1, 3), Totals::default(), NOW);
    assert_eq!((state.slot.position, state.fresh()), (4, place(4)));
}

#[test]
fn what_is_lost_in_flight_in_a_replay_was_counted_once() {
    let mut state = State::new(Slot { position: 1, start: 1, ..Slot::default() });
    (1..=5).for_each(|sequence| state.read(&met(sequence)));
    state.ack(1, 4, 0);
    state.seek(place(2), Totals::default(), NOW);
    (2..=5).for_each(|sequence| state.read(&met(sequence)));
    let dropped = |state: &State| state.slot.dropped[Reason::Damaged as usize].items;
    state.lost(&lost(2, 3), Totals::default(), NOW);
    assert_eq!(dropped(&state), 0, "delivered before");
    state.lost(&lost(4, 5), Totals::default(), NOW);
    assert_eq!(dropped(&state), u64::from(items(5)), "only the last was not");
}
