//! What a cursor may have pending: refused, waited for, or dropped.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::fault_disk::{Fault, FaultDisk, Op};
use super::*;
use crate::spool::env::Env;
use crate::spool::{Ack, CursorInspection, CursorOptions, Durability, Limit, OnFull};

fn limited(log: &Log, name: &str, need: Need, limit: Limit) -> Cursor {
    log.cursor_with(name, CursorOptions { max_pending: Some(limit), ..CursorOptions::new(Start::Oldest, need) })
        .unwrap()
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// A frame of this many items, which waits for room.
fn waits(log: &Log, number: u64, items: u32) -> Ack {
    log.append_when_room(1, payload(number, 100), items, later()).unwrap()
}

/// Reads one frame and acks it.
fn deliver(cursor: &mut Cursor) {
    let frame = cursor.next_batch(1).unwrap().unwrap().frames.remove(0);
    cursor.ack(frame.sequence, frame.sequence, 0).unwrap();
}

/// The account of a cursor, which must close.
fn account(bench: &Bench, name: &str) -> CursorInspection {
    let log = bench.spool.as_ref().unwrap().inspect().unwrap().logs.remove(0);
    let found = log.cursors.into_iter().find(|c| c.name == name).unwrap();
    let dropped: u64 = found.dropped_items.iter().map(|(_, items)| items).sum();
    let settled = found.delivered_items + found.parked_items + found.skipped_items + dropped;
    assert_eq!(found.accepted_items, settled + found.pending.items, "{found:?}");
    found
}

#[test]
fn at_the_limit_an_append_is_refused_until_something_is_delivered() {
    for limit in [Limit::Items(10), Limit::Bytes(1000)] {
        let bench = Bench::new();
        let log = bench.log();
        let mut c = limited(&log, "c", Need::Required, limit);
        append(&log, 0..10, 100);
        let error = log.append(1, payload(10, 100), 1).unwrap_err();
        assert!(error.is_full() && error.retry_after().is_some(), "{error}");
        assert!(error.to_string().contains("cursor c has 10"), "{error}");
        deliver(&mut c);
        append(&log, 10..11, 100);
        assert!(log.append(1, payload(11, 100), 1).unwrap_err().is_full());
        assert_eq!(c.pending().items, 10);
    }
}

#[test]
fn a_frame_larger_than_the_limit_goes_in_when_nothing_is_pending() {
    let bench = Bench::new();
    let log = bench.log();
    let mut c = limited(&log, "c", Need::Required, Limit::Items(10));
    append(&log, 0..1, 100);
    assert!(log.append(1, payload(1, 100), 50).unwrap_err().is_full());
    deliver(&mut c);
    log.append(1, payload(1, 100), 50).unwrap().wait().unwrap();
    assert!(log.append(1, payload(2, 100), 1).unwrap_err().is_full());
    assert_eq!(c.pending().items, 50);
}

#[test]
fn the_limit_holds_over_a_restart_and_ends_with_the_handle() {
    let mut bench = Bench::new();
    let log = bench.log();
    let c = limited(&log, "c", Need::Required, Limit::Items(3));
    append(&log, 0..3, 100);
    drop(c);
    append(&log, 3..4, 100);
    let log = bench.crash();
    append(&log, 4..5, 100);
    let mut c = limited(&log, "c", Need::Required, Limit::Items(6));
    append(&log, 5..6, 100);
    assert!(log.append(1, payload(6, 100), 1).unwrap_err().is_full());
    deliver(&mut c);
    append(&log, 6..7, 100);
}

#[test]
fn callers_at_once_never_exceed_the_limit_together() {
    let bench = Bench::new();
    let log = bench.log();
    let mut c = limited(&log, "c", Need::Required, Limit::Items(20));
    let done = AtomicBool::new(false);
    let taken = std::thread::scope(|scope| {
        let caller = |first: u64| {
            let (log, done) = (&log, &done);
            scope.spawn(move || {
                let mut taken = 0;
                while !done.load(Ordering::Relaxed) {
                    taken += u64::from(log.append(1, payload(first, 100), 3).is_ok_and(|ack| ack.wait().is_ok()));
                }
                taken
            })
        };
        let callers: Vec<_> = (0..4).map(caller).collect();
        for _ in 0..200 {
            assert!(c.wait_readable(Duration::from_secs(10)));
            assert!(c.pending().items <= 20, "{:?}", c.pending());
            deliver(&mut c);
        }
        done.store(true, Ordering::Relaxed);
        callers.into_iter().map(|caller| caller.join().unwrap()).sum::<u64>()
    });
    assert_eq!(c.pending().items, (taken - 200) * 3);
}

#[test]
fn what_the_disk_refused_takes_no_part_of_the_limit() {
    let bench = Bench::new();
    let disk = FaultDisk::default();
    let env = Env { disk: Arc::new(disk.clone()), ..Env::real() };
    let spool = Spool::open_on(env, &bench.path().join("own"), bench.options.clone()).unwrap();
    let log = spool.log("log").unwrap();
    let _c = limited(&log, "c", Need::Required, Limit::Items(3));
    append(&log, 0..1, 100);
    disk.add(Fault { op: Op::Write, file: "seg-", skip: 0, times: 1, errno: Errno::NOSPC });
    let error = log.append(1, payload(1, 100), 2).unwrap().wait().unwrap_err();
    assert!(error.is_full(), "{error}");
    // The log tries again by itself; a wrong count would refuse for ever.
    waits(&log, 2, 2).wait().unwrap();
}

#[test]
fn who_waits_is_let_in_in_order() {
    let bench = Bench::new();
    let log = bench.log();
    let mut c = limited(&log, "c", Need::Required, Limit::Items(4));
    append(&log, 0..4, 100);
    // The second is larger than what becomes free first; the third would fit and stays behind it.
    let acks: Vec<Ack> =
        [(4, 1), (5, 4), (6, 1)].into_iter().map(|(number, items)| waits(&log, number, items)).collect();
    for _ in 0..3 {
        deliver(&mut c);
    }
    until("the first is in", || log.durable_sequence() == 5);
    assert_eq!(c.pending().items, 2);
    let mut seen = Vec::new();
    until_all(acks, &mut c, &mut seen);
    assert_eq!(seen, [3, 4, 5, 6]);
}

/// Delivers until every ack is answered; in `seen` what was delivered.
fn until_all(acks: Vec<Ack>, cursor: &mut Cursor, seen: &mut Vec<u64>) {
    let waiting = std::thread::spawn(move || acks.into_iter().for_each(|ack| assert!(ack.wait().is_ok())));
    while !waiting.is_finished() || cursor.pending().items > 0 {
        if !cursor.wait_readable(Duration::from_millis(10)) {
            continue;
        }
        for frame in cursor.next_batch(1).unwrap().into_iter().flat_map(|batch| batch.frames) {
            seen.push(number(&frame.payload));
            cursor.ack(frame.sequence, frame.sequence, 0).unwrap();
        }
    }
    waiting.join().unwrap();
}

#[test]
fn who_gives_up_is_not_stored_and_lets_others_pass() {
    let bench = Bench::new();
    let log = bench.log();
    let mut c = limited(&log, "c", Need::Required, Limit::Items(2));
    append(&log, 0..1, 100);
    let large = waits(&log, 1, 2);
    let small = waits(&log, 2, 1);
    drop(large);
    small.wait().unwrap();
    assert_eq!(numbers(&drain(&mut c)), [0, 2]);
}

#[test]
fn who_waits_too_long_is_refused() {
    let bench = Bench::new();
    let log = bench.log();
    let mut c = limited(&log, "c", Need::Required, Limit::Items(1));
    append(&log, 0..1, 100);
    let soon = Instant::now() + Duration::from_millis(30);
    let error = log.append_when_room(1, payload(1, 100), 1, soon).unwrap().wait().unwrap_err();
    assert!(error.is_full() && Instant::now() >= soon, "{error}");
    assert!(log.append_when_room(1, payload(1, 100), 1, Instant::now()).unwrap_err().is_full());
    deliver(&mut c);
    append(&log, 2..3, 100);
    assert_eq!(numbers(&drain(&mut c)), [2]);
}

#[test]
fn a_stop_waits_for_nobody_in_line() {
    let bench = Bench::new();
    let log = bench.log();
    let _c = limited(&log, "c", Need::Required, Limit::Items(1));
    append(&log, 0..1, 100);
    let ack = waits(&log, 1, 1);
    log.refuse_waiting();
    assert!(ack.wait().unwrap_err().is_full());
    let ack = waits(&log, 2, 1);
    bench.spool.as_ref().unwrap().close().unwrap();
    assert!(ack.wait().unwrap_err().is_closed());
}

#[test]
fn who_waits_for_a_full_log_is_let_in_when_a_cursor_frees_it() {
    let bench = Bench::with(|o| {
        o.max_size = Some(1 << 20);
        o.log.retain_size = 0;
    });
    let log = bench.log();
    let mut c = cursor(&log, "c");
    let mut next = 0;
    while log.append(1, payload(next, 1000), 1).and_then(Ack::wait).is_ok() {
        next += 1;
    }
    let acks: Vec<Ack> =
        (next..next + 50).map(|n| log.append_when_room(1, payload(n, 1000), 1, later()).unwrap()).collect();
    let mut seen = Vec::new();
    until_all(acks, &mut c, &mut seen);
    assert_eq!(seen, (0..next + 50).collect::<Vec<_>>());
}

#[test]
fn with_drop_oldest_only_the_cursor_that_lags_drops_and_its_ledger_closes() {
    let mut bench = Bench::with(|o| o.log.on_full = OnFull::DropOldest);
    let log = bench.log();
    let mut slow = limited(&log, "slow", Need::Required, Limit::Items(10));
    let mut other = cursor(&log, "other");
    append(&log, 0..5, 100);
    assert_eq!(numbers(&drain(&mut slow)), [0, 1, 2, 3, 4]);
    append(&log, 5..100, 100);
    // The five that were handed out are left to their reader.
    until("it is within its limit", || slow.pending().items <= 10 + 5);
    let kept = numbers(&drain(&mut slow));
    assert_eq!(kept, (90..100).collect::<Vec<_>>(), "the newest are kept, and no more than they");
    let dropped =
        |bench: &Bench| account(bench, "slow").dropped_items.into_iter().filter(|(_, n)| *n > 0).collect::<Vec<_>>();
    assert_eq!(dropped(&bench), [("full".to_owned(), 85)]);
    assert_eq!(numbers(&drain(&mut other)), (0..100).collect::<Vec<_>>());
    assert_eq!(account(&bench, "other").pending.items, 100);
    drop((slow, other));
    bench.crash();
    assert_eq!(account(&bench, "slow").pending.items, 10, "the drop was durable");
    assert_eq!(dropped(&bench), [("full".to_owned(), 90)], "a crash takes what was handed out");
}

/// A log that drops its oldest, with 20 frames of which an earlier run acked these at the cursor "c".
fn acked_by_an_earlier_run(acked: &[RangeInclusive<usize>]) -> (Bench, Log) {
    let mut bench = Bench::with(|o| o.log.on_full = OnFull::DropOldest);
    let log = bench.log();
    let mut c = cursor(&log, "c");
    let sequences = append(&log, 0..20, 100);
    drain(&mut c);
    for range in acked {
        c.ack(sequences[*range.start()], sequences[*range.end()], 0).unwrap();
    }
    c.flush().unwrap();
    drop(c);
    let log = bench.crash();
    (bench, log)
}

#[test]
fn what_was_acked_beyond_the_oldest_is_not_dropped_too() {
    let (bench, log) = acked_by_an_earlier_run(&[3..=7]);
    let mut c = limited(&log, "c", Need::Required, Limit::Items(10));
    until("it is within its limit", || c.pending().items <= 10);
    assert_eq!(numbers(&drain(&mut c)), (10..20).collect::<Vec<_>>());
    let found = account(&bench, "c");
    assert_eq!((found.delivered_items, found.pending.items), (5, 10));
}

#[test]
fn what_was_acked_beyond_what_a_limit_takes_is_counted_once_too() {
    let (bench, log) = acked_by_an_earlier_run(&[3..=7, 15..=16]);
    // 0, 1, 2 and 8 go.
    let mut c = limited(&log, "c", Need::Required, Limit::Items(9));
    until("it is within its limit", || c.pending().items <= 9);
    assert_eq!(numbers(&drain(&mut c)), (9..15).chain(17..20).collect::<Vec<_>>());
    let found = account(&bench, "c");
    assert_eq!(found.dropped_items, [("full".to_owned(), 4)]);
    assert_eq!((found.delivered_items, found.pending.items), (7, 9));
}

#[test]
fn what_a_limit_took_in_flight_lets_others_stay() {
    let bench = Bench::with(|o| o.log.on_full = OnFull::DropOldest);
    let log = bench.log();
    let mut c = limited(&log, "c", Need::Required, Limit::Items(3));
    append(&log, 0..3, 100);
    let in_hand = c.next_batch(1 << 20).unwrap().unwrap().frames;
    for numbers in [3..5, 5..6] {
        append(&log, numbers, 100);
        // The second time there is nothing to do.
        log.0.trim().unwrap();
        log.0.trim().unwrap();
    }
    // All three in hand were taken, and are delivered all the same.
    c.ack(in_hand[0].sequence, in_hand[2].sequence, 0).unwrap();
    assert_eq!(numbers(&drain(&mut c)), [3, 4, 5]);
    assert_eq!(account(&bench, "c").delivered_items, 3);
}

#[test]
fn a_newest_frame_larger_than_the_limit_stays() {
    let bench = Bench::with(|o| o.log.on_full = OnFull::DropOldest);
    let log = bench.log();
    let mut c = limited(&log, "c", Need::Required, Limit::Bytes(500));
    append(&log, 0..3, 100);
    append(&log, 3..4, 5000);
    until("the older ones are gone", || c.pending().items == 1);
    assert_eq!(numbers(&drain(&mut c)), [3]);
}

#[test]
fn a_cursor_that_holds_no_data_refuses_nothing() {
    let bench = Bench::new();
    let log = bench.log();
    let c = limited(&log, "c", Need::Optional, Limit::Items(5));
    append(&log, 0..50, 100);
    until("it is within its limit", || c.pending().items == 5);
    assert_eq!(account(&bench, "c").pending.items, 5);
}

#[test]
fn the_limit_counts_acks_that_a_power_cut_took_from_the_log() {
    let mut bench = Bench::with(|o| o.log.durability = Durability::Os);
    let log = bench.log();
    let mut c = limited(&log, "c", Need::Required, Limit::Items(2));
    for number in 0..5 {
        append(&log, [number], 100);
        deliver(&mut c);
    }
    c.flush().unwrap();
    drop(c);
    drop(bench.spool.take());
    // The cursor's file reached the disk, the frames did not.
    for segment in bench.segments() {
        #[allow(clippy::disallowed_methods, reason = "the test is the power cut")]
        std::fs::OpenOptions::new().write(true).open(segment).unwrap().set_len(8192).unwrap();
    }
    let log = bench.open();
    let _c = limited(&log, "c", Need::Required, Limit::Items(2));
    append(&log, 5..7, 100);
    assert!(log.append(1, payload(7, 100), 1).unwrap_err().is_full(), "{:?}", account(&bench, "c"));
}
