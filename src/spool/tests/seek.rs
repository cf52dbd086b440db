//! Moving cursors, back and forth: what is handed out again, what is skipped, and how it counts.

use super::*;
use crate::spool::format::frame::HEADER_LEN;
use crate::spool::{CursorInspection, CursorOptions, Durability, Limit, LogOptions, OnFull};

pub(super) fn seen(bench: &Bench) -> CursorInspection {
    let inspection = bench.reader().inspect().unwrap();
    inspection.logs[0].cursors.iter().find(|c| c.name == "c").unwrap().clone()
}

#[track_caller]
pub(super) fn closes(bench: &Bench) {
    let verification = bench.reader().verify(&mut |_, _| {}).unwrap();
    assert!(verification.logs[0].ledger_closes, "{:?}", seen(bench));
    let cursor = seen(bench);
    let done = cursor.delivered_items + cursor.parked_items + cursor.skipped_items;
    let dropped: u64 = cursor.dropped_items.iter().map(|(_, n)| n).sum();
    assert_eq!(cursor.accepted_items, done + dropped + cursor.pending.items, "{cursor:?}");
}

pub(super) fn deliver(c: &mut Cursor) -> Vec<u64> {
    let frames = drain(c);
    if let (Some(first), Some(last)) = (frames.first(), frames.last()) {
        c.ack(first.sequence, last.sequence, 0).unwrap();
    }
    numbers(&frames)
}

#[test]
fn a_replay_hands_out_again_what_was_delivered_and_counts_it_once() {
    let mut bench = Bench::new();
    let log = bench.log();
    let sequences = append(&log, 0..300, 1000);
    let mut c = cursor(&log, "c");
    assert_eq!(deliver(&mut c).len(), 300);
    let moved = c.seek(From::Sequence(sequences[100])).unwrap();
    assert_eq!((moved.from_sequence, moved.to_sequence), (sequences[299] + 1, sequences[100]));
    assert_eq!((moved.skipped_items, moved.replayed_items, moved.oldest_sequence), (0, 200, Some(sequences[0])));
    // Half of it, then a crash.
    let half = c.next_batch(100_000).unwrap().unwrap().frames;
    assert_eq!(numbers(&half), (100..200).collect::<Vec<_>>());
    c.ack(half[0].sequence, half[99].sequence, 0).unwrap();
    c.flush().unwrap();
    drop(c);
    let log = bench.crash();
    append(&log, 300..310, 1000);
    let mut c = cursor(&log, "c");
    assert_eq!(c.pending().items, 10, "what is replayed is not pending");
    assert_eq!(deliver(&mut c), (200..310).collect::<Vec<_>>());
    c.flush().unwrap();
    drop(c);
    bench.reopen();
    let cursor = seen(&bench);
    assert_eq!((cursor.delivered_items, cursor.replayed_items, cursor.replaying_items), (310, 200, 0));
    closes(&bench);
}

#[test]
fn a_move_forward_counts_what_it_skips() {
    let mut bench = Bench::new();
    let log = bench.log();
    let sequences = append(&log, 0..100, 1000);
    let mut c = cursor(&log, "c");
    let first = c.next_batch(10_000).unwrap().unwrap().frames;
    c.ack(first[0].sequence, first[4].sequence, 0).unwrap();
    let planned = log.try_seek("c", From::Sequence(sequences[50])).unwrap();
    let moved = log.seek("c", From::Sequence(sequences[50])).unwrap();
    assert_eq!(planned, moved);
    assert_eq!(moved.skipped_items, 45);
    assert_eq!(c.take_commanded(), Some(super::super::Commanded { paused: false, moved: true }));
    c.ack(first[5].sequence, first[9].sequence, 0).unwrap();
    assert_eq!(deliver(&mut c), (50..100).collect::<Vec<_>>());
    c.flush().unwrap();
    drop(c);
    bench.reopen();
    assert_eq!((seen(&bench).delivered_items, seen(&bench).skipped_items), (55, 45));
    closes(&bench);
}

#[test]
fn a_replay_over_a_frame_that_was_lost_meanwhile_does_not_count_it_again() {
    let mut bench = Bench::new();
    let log = bench.log();
    append(&log, 0..100, 1000);
    let mut c = cursor(&log, "c");
    deliver(&mut c);
    drop(c);
    bench.reopen();
    drop(bench.spool.take());
    #[allow(clippy::disallowed_methods, reason = "the test is the damage")]
    std::fs::remove_file(&bench.segments()[0]).unwrap();
    let log = bench.open();
    let mut c = cursor(&log, "c");
    let moved = c.seek(From::Oldest).unwrap();
    let replayed = deliver(&mut c);
    assert_eq!(moved.replayed_items, replayed.len() as u64);
    assert!(replayed.len() < 100 && replayed.ends_with(&[99]));
    drop(c);
    bench.reopen();
    assert_eq!((seen(&bench).delivered_items, seen(&bench).dropped_items.len()), (100, 0));
    closes(&bench);
}

#[test]
fn a_replay_does_not_keep_new_frames_out_of_a_full_log() {
    let mut bench = Bench::with(|o| o.log.max_size = Some(512 << 10));
    let log = bench.log();
    append(&log, 0..250, 1000);
    let mut c = cursor(&log, "c");
    deliver(&mut c);
    c.seek(From::Oldest).unwrap();
    // Far more than fits: nothing of it is refused.
    let mut next = 250;
    while next < 1500 {
        append(&log, next..next + 50, 1000);
        next += 50;
        let delivered: Vec<Frame> = drain(&mut c).into_iter().filter(|f| number(&f.payload) >= 250).collect();
        if let Some(last) = delivered.last() {
            c.ack(delivered[0].sequence, last.sequence, 0).unwrap();
            c.flush().unwrap();
        }
    }
    drop(c);
    bench.reopen();
    closes(&bench);
    assert!(seen(&bench).dropped_items.is_empty());
}

#[test]
fn what_is_acked_ahead_of_others_is_passed_and_they_are_not() {
    let bench = Bench::new();
    let sequences = append(&bench.log(), 0..3, 100);
    let mut c = cursor(&bench.log(), "c");
    drain(&mut c);
    c.ack(sequences[1], sequences[1], 0).unwrap();
    assert_eq!([0, 1, 2].map(|n| c.has_passed(sequences[n])), [false, true, false]);
    c.ack(sequences[0], sequences[0], 0).unwrap();
    assert_eq!([0, 1, 2].map(|n| c.has_passed(sequences[n])), [true, true, false]);
}

/// With `os` a power cut takes frames that were delivered: what was delivered of them had been accepted.
#[test]
#[allow(clippy::disallowed_methods, reason = "the power cut")]
fn rule_18_what_was_delivered_and_then_lost_counts_once() {
    // What is acked, what of it lies beyond the five frames that are left, and what is pending of those.
    let cases: [(&[u64], u64, u64); 7] = [
        (&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 5, 0),
        (&[8, 9, 10], 3, 5),
        (&[4, 5, 6, 7, 8, 9, 10], 5, 3),
        (&[6], 1, 5),
        (&[1, 2, 3, 4, 5], 0, 0),
        (&[1, 2, 3, 4, 5, 6, 8, 9, 10], 4, 0),
        (&[1, 2, 3, 4, 8, 9], 2, 1),
    ];
    for (acked, beyond, pending) in cases {
        let mut bench = Bench::with(|o| o.log.durability = Durability::Os);
        assert_eq!(append(&bench.log(), 0..10, 100), (1..=10).collect::<Vec<_>>());
        let mut c = cursor(&bench.log(), "c");
        drain(&mut c);
        acked.iter().for_each(|sequence| c.ack(*sequence, *sequence, 0).unwrap());
        c.flush().unwrap();
        drop(c);
        drop(bench.spool.take());
        let segment = &bench.segments()[0];
        let mut bytes = std::fs::read(segment).unwrap();
        let sixth = payload(5, 100);
        let at = bytes.windows(100).position(|found| found == sixth).unwrap();
        bytes[at - HEADER_LEN as usize..].fill(0);
        std::fs::write(segment, bytes).unwrap();
        // The first segment of the new run says how much was accepted before it.
        append(&bench.open(), 10..13, 100);
        closes(&bench);
        let found = seen(&bench);
        assert_eq!(
            (found.delivered_items, found.pending.items, found.accepted_items),
            (acked.len() as u64, pending + 3, 5 + beyond + 3),
            "{acked:?}"
        );
    }
}

#[test]
fn a_move_to_a_time_finds_the_first_frame_of_then() {
    let bench = Bench::with(|o| o.log = LogOptions { segment_size: Some(64 << 10), ..LogOptions::default() });
    let log = bench.log();
    append(&log, 0..300, 1000);
    let mut c = cursor(&log, "c");
    let frames = drain(&mut c);
    let time = frames[150].time_unix_nanos;
    c.ack(frames[0].sequence, frames[299].sequence, 0).unwrap();
    let first = frames.iter().find(|f| f.time_unix_nanos >= time).unwrap();
    assert_eq!(c.seek(From::TimeUnixNanos(time)).unwrap().to_sequence, first.sequence);
    assert_eq!(c.seek(From::TimeUnixNanos(u64::MAX)).unwrap().to_sequence, frames[299].sequence + 1);
    assert_eq!(c.seek(From::TimeUnixNanos(0)).unwrap().to_sequence, frames[0].sequence);
    // From the last segment, from the middle, and from the very first, as many as there are or more.
    for (items, first) in [(20, 280), (150, 150), (300, 0), (1000, 0)] {
        assert_eq!(c.seek(From::LastItems(items)).unwrap().to_sequence, frames[first].sequence, "{items}");
    }
    assert_eq!(c.seek(From::End).unwrap().to_sequence, frames[299].sequence + 1);
    assert_eq!(c.pending().items, 0);
}

fn dropping(bench: &mut Bench) -> Cursor {
    let limited =
        CursorOptions { max_pending: Some(Limit::Items(10)), ..CursorOptions::new(Start::Oldest, Need::Required) };
    bench.log().cursor_with("c", limited).unwrap()
}

#[test]
fn a_limit_in_a_replay_drops_what_is_pending_and_not_what_was_delivered_once() {
    let mut bench = Bench::with(|o| o.log.on_full = OnFull::DropOldest);
    let log = bench.log();
    let sequences = append(&log, 0..20, 1000);
    let mut c = dropping(&mut bench);
    drain(&mut c);
    c.ack(sequences[0], sequences[19], 0).unwrap();
    c.seek(From::Sequence(sequences[10])).unwrap();
    let again = c.next_batch(3000).unwrap().unwrap().frames;
    assert_eq!(numbers(&again), [10, 11, 12]);
    // Ten are left each time; what was to be replayed before them is passed over, and counts nowhere.
    for more in [20..35, 35..40] {
        append(&log, more, 1000);
        log.0.trim().unwrap();
        assert_eq!(c.pending().items, 10);
    }
    // Handed out when the limit came: no loss, and delivered once already.
    c.ack(again[0].sequence, again[2].sequence, 0).unwrap();
    assert_eq!(deliver(&mut c), (30..40).collect::<Vec<_>>());
    c.flush().unwrap();
    drop((c, log));
    bench.crash();
    let seen = seen(&bench);
    assert_eq!((seen.delivered_items, seen.replayed_items), (30, 3));
    assert_eq!(seen.dropped_items, [("full".to_owned(), 10)]);
    closes(&bench);
}

#[test]
fn a_move_gives_up_what_a_limit_took_and_a_late_ack_of_it_counts_nothing() {
    let mut bench = Bench::with(|o| o.log.on_full = OnFull::DropOldest);
    let log = bench.log();
    let mut c = dropping(&mut bench);
    let sequences = append(&log, 0..10, 1000);
    let handed_out = drain(&mut c);
    append(&log, 10..20, 1000);
    log.0.trim().unwrap();
    let moved = log.seek("c", From::Sequence(sequences[5])).unwrap();
    assert_eq!((moved.skipped_items, moved.replayed_items), (0, 5));
    c.ack(handed_out[0].sequence, handed_out[9].sequence, 0).unwrap();
    assert_eq!(c.pending().items, 10);
    assert_eq!(deliver(&mut c), (5..20).collect::<Vec<_>>());
    c.flush().unwrap();
    drop((c, log));
    bench.crash();
    let seen = seen(&bench);
    assert_eq!((seen.delivered_items, seen.replayed_items, seen.pending.items), (10, 5, 0));
    assert_eq!(seen.dropped_items, [("full".to_owned(), 10)]);
    closes(&bench);
}

#[test]
fn who_read_on_after_a_move_is_told_of_it_and_reads_the_same_again() {
    let mut bench = Bench::new();
    let log = bench.log();
    let sequences = append(&log, 0..20, 1000);
    let mut c = cursor(&log, "c");
    deliver(&mut c);
    log.seek("c", From::Sequence(sequences[5])).unwrap();
    assert_eq!(numbers(&drain(&mut c)), (5..20).collect::<Vec<_>>());
    // Its holder forgets all that it has, and that is with what was read after the move.
    assert!(c.take_commanded().unwrap().moved);
    assert_eq!(deliver(&mut c), (5..20).collect::<Vec<_>>());
    assert_eq!(c.take_commanded(), None);
    c.flush().unwrap();
    drop((c, log));
    bench.crash();
    assert_eq!((seen(&bench).delivered_items, seen(&bench).replayed_items), (20, 15));
    closes(&bench);
}

#[test]
fn a_move_to_the_end_does_not_skip_what_was_delivered_and_went_with_the_power() {
    let mut bench = Bench::with(|o| o.log.durability = Durability::Os);
    let log = bench.log();
    append(&log, 0..10, 1000);
    let segment = bench.segments()[0].clone();
    let durable = std::fs::read(&segment).unwrap();
    let lost = append(&log, 10..12, 1000);
    let mut c = cursor(&log, "c");
    drain(&mut c);
    c.ack(lost[0], lost[1], 0).unwrap();
    c.flush().unwrap();
    drop((c, log));
    drop(bench.spool.take());
    #[allow(clippy::disallowed_methods, reason = "the test is the power cut")]
    std::fs::write(&segment, durable).unwrap();
    let log = bench.open();
    let mut c = cursor(&log, "c");
    let moved = log.seek("c", From::End).unwrap();
    assert_eq!((moved.skipped_items, moved.to_sequence), (10, lost[1] + 1), "behind all that was ever acked");
    assert_eq!(c.pending().items, 0);
    append(&log, 12..15, 1000);
    assert_eq!(deliver(&mut c), [12, 13, 14]);
    drop((c, log));
    bench.reopen();
    let seen = seen(&bench);
    assert_eq!((seen.delivered_items, seen.skipped_items, seen.pending.items), (5, 10, 0));
    assert!(seen.dropped_items.is_empty(), "{seen:?}");
    closes(&bench);
}

#[test]
fn a_move_says_which_is_the_oldest_record_that_could_be_reached() {
    let bench = Bench::with(|o| {
        small(o);
        o.log.on_full = OnFull::DropOldest;
    });
    let log = bench.log();
    let mut c = cursor(&log, "c");
    fill(&log, 3000);
    let oldest = c.next_batch(1).unwrap().unwrap().frames.remove(0);
    assert!(oldest.sequence > 1);
    let moved = c.seek(From::Sequence(oldest.sequence)).unwrap();
    let told = (moved.oldest_sequence, moved.oldest_time_unix_nanos);
    assert_eq!(told, (Some(oldest.sequence), Some(oldest.time_unix_nanos)));
}
