//! Rule 7: failed syncs.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::fault_disk::{Fault, Op};
use super::faulty::*;
use super::*;
use crate::spool::Durability;

#[test]
fn rule_7_a_failed_sync_moves_the_frames_to_a_new_file_before_the_ack() {
    let mut faulty = Faulty::new(|_| {});
    let log = faulty.bench.log();
    append(&log, 0..5, 100);
    let poisoned = faulty.bench.segments()[0].clone();
    faulty.fail(Op::Sync, "seg-", 1, Errno::IO);
    append(&log, 5..6, 100);
    faulty.disk.take_calls();
    append(&log, 6..10, 100);
    assert_eq!(faulty.bench.segments().len(), 2);
    let touched = faulty
        .disk
        .take_calls()
        .into_iter()
        .any(|(op, path)| path == poisoned && matches!(op, Op::Write | Op::Sync | Op::Rename));
    assert!(!touched, "the poisoned file is never written or synced again");
    let mut c = cursor(&log, "c");
    assert_eq!(numbers(&drain(&mut c)), (0..10).collect::<Vec<_>>(), "each once, in order");
    drop(c);
    assert_eq!(faulty.recovered(), (0..10).collect::<Vec<_>>());
    let verification = faulty.bench.reader().verify(&mut |_, _| {}).unwrap();
    assert!(verification.logs[0].ledger_closes, "{verification:?}");
}

#[test]
fn rule_7_a_reader_that_is_in_the_middle_of_the_poisoned_file_misses_nothing() {
    let faulty = Faulty::new(|_| {});
    let log = faulty.bench.log();
    let mut c = cursor(&log, "c");
    append(&log, 0..3, 2000);
    let mut seen = numbers(&drain(&mut c));
    faulty.fail(Op::Sync, "seg-", 1, Errno::IO);
    append(&log, 3..6, 2000);
    seen.extend(numbers(&drain(&mut c)));
    assert_eq!(seen, (0..6).collect::<Vec<_>>());
}

#[test]
fn rule_7_when_no_other_file_can_be_had_appends_are_refused_and_acked_frames_are_kept() {
    for durability in [Durability::Sync, Durability::Interval] {
        let mut faulty = Faulty::new(|o| {
            o.log.durability = durability;
            o.log.sync_interval = Duration::from_millis(5);
        });
        let log = faulty.bench.log();
        append(&log, 0..5, 100);
        faulty.fail(Op::Create, "spare-", 4, Errno::NOSPC);
        faulty.fail(Op::Sync, "seg-", 1, Errno::IO);
        let mut taken: Vec<u64> = (0..5).collect();
        // With `sync` this one is refused; with `interval` it may be acked before the sync fails.
        if try_append(&log, 5).is_ok() {
            assert_eq!(durability, Durability::Interval);
            taken.push(5);
        }
        let until = Instant::now() + Duration::from_secs(10);
        while !log.trouble().is_some_and(|trouble| trouble.is_poisoned()) {
            assert!(Instant::now() < until, "what health is red for");
            std::thread::park_timeout(Duration::from_millis(1));
        }
        append_until_taken(&log, 6);
        taken.push(6);
        let until = Instant::now() + Duration::from_secs(10);
        while log.durable_sequence() < 7 {
            assert!(Instant::now() < until);
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let found = faulty.recovered();
        assert!(taken.iter().all(|n| found.contains(n)), "{durability:?}: {taken:?} in {found:?}");
    }
}

#[test]
fn rule_7_every_sync_that_fails_in_turn_loses_no_acked_frame() {
    for skip in 0..12 {
        let mut faulty = Faulty::new(|_| {});
        faulty.disk.add(Fault { op: Op::Sync, file: "", skip, times: 2, errno: Errno::IO });
        let log = faulty.bench.log();
        let acked = append_what_is_taken(&log, 50, 3000);
        assert!(acked.len() > 20, "skip {skip}: {} acked", acked.len());
        let found = faulty.recovered();
        assert!(acked.iter().all(|n| found.contains(n)), "skip {skip}");
        let mut once = found.clone();
        once.dedup();
        assert_eq!(found, once, "skip {skip}: none twice");
    }
}

#[test]
fn rule_7_every_directory_sync_that_fails_in_turn_loses_no_acked_frame() {
    for skip in 0..6 {
        let mut faulty = Faulty::new(|_| {});
        faulty.disk.add(Fault { op: Op::SyncDir, file: "log", skip, times: 1, errno: Errno::IO });
        let log = faulty.bench.log();
        let acked = append_what_is_taken(&log, 50, 3000);
        let found = faulty.recovered();
        assert!(acked.iter().all(|n| found.contains(n)), "skip {skip}");
    }
}

#[test]
fn rule_7_with_os_what_a_failed_sync_covered_is_counted() {
    let mut faulty = Faulty::new(|o| o.log.durability = Durability::Os);
    let log = faulty.bench.log();
    // The first sync of a segment's data under `os` is that of its footer.
    faulty.fail(Op::Sync, "seg-", 1, Errno::IO);
    append(&log, 0..100, 1000);
    let mut c = cursor(&log, "c");
    let found = numbers(&drain(&mut c));
    c.ack(0, u64::MAX, 0).unwrap();
    c.flush().unwrap();
    drop(c);
    let seen = faulty.bench.reader().inspect().unwrap();
    let seen = &seen.logs[0].cursors[0];
    let dropped: u64 = seen.dropped_items.iter().map(|(_, items)| items).sum();
    assert_eq!(seen.delivered_items, found.len() as u64);
    assert_eq!(found.len() as u64 + dropped, 100, "{:?}", seen.dropped_items);
    assert!(dropped > 0 && seen.dropped_items[0].0 == "sync_failed", "{:?}", seen.dropped_items);
    assert_eq!(faulty.recovered(), found);
}

#[test]
fn rule_7_a_segment_whose_name_could_not_be_made_durable_leaves_no_file_behind() {
    let faulty = Faulty::new(|_| {});
    let log = faulty.bench.log();
    faulty.fail(Op::SyncDir, "log", 1, Errno::IO);
    assert!(try_append(&log, 0).unwrap_err().is_full());
    assert_eq!(faulty.bench.segments(), Vec::<PathBuf>::new());
    assert_eq!(bytes(&faulty.bench, &log), (0, 0));
    append_until_taken(&log, 1);
    // It cannot be removed either: then it goes on counting.
    faulty.fail(Op::Write, "seg-", 1, Errno::IO);
    faulty.fail(Op::SyncDir, "log", 1, Errno::IO);
    faulty.fail(Op::Remove, "", 2, Errno::IO);
    assert!(try_append(&log, 2).is_err());
    append_until_taken(&log, 3);
    let (counted, there) = bytes(&faulty.bench, &log);
    // But for what the failed write left behind the frames.
    assert!(faulty.bench.segments().len() >= 3 && counted + 4096 >= there, "{counted} {there}");
}

#[test]
fn a_close_whose_sync_fails_is_clean_all_the_same() {
    let mut faulty = Faulty::new(|o| {
        o.log.durability = Durability::Interval;
        o.log.sync_interval = Duration::from_secs(3600);
    });
    let log = faulty.bench.log();
    append(&log, 0..5, 100);
    faulty.fail(Op::Sync, "seg-", 1, Errno::IO);
    faulty.bench.spool.take().unwrap().close().unwrap();
    let log = faulty.open();
    assert!(log.opening().clean, "{:?}", log.opening());
    assert_eq!(numbers(&drain(&mut cursor(&log, "c"))), [0, 1, 2, 3, 4]);
}
