//! Single calls that fail, around the segments and in them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::fault_disk::{Fault, FaultDisk, Op};
use super::faulty::*;
use super::*;
use crate::spool::env::Env;
use crate::spool::worker::Runner;
use crate::spool::{Durability, Log};

#[test]
fn rule_7_a_cursor_file_whose_sync_failed_is_replaced() {
    let mut faulty = Faulty::new(|_| {});
    let log = faulty.bench.log();
    let sequences = append(&log, 0..10, 100);
    let mut c = cursor(&log, "mine");
    assert_eq!(drain(&mut c).len(), 10);
    faulty.fail(Op::Sync, "mine", 1, Errno::IO);
    c.ack(sequences[0], sequences[4], 0).unwrap();
    // Either this write or the housekeeper's meets the failure.
    if c.flush().is_err() {
        c.flush().unwrap();
    }
    c.ack(sequences[5], sequences[6], 0).unwrap();
    c.flush().unwrap();
    drop(c);
    drop(faulty.bench.spool.take());
    let log = faulty.open();
    assert_eq!(numbers(&drain(&mut cursor(&log, "mine"))), [7, 8, 9]);
}

#[test]
fn a_spare_that_cannot_be_opened_stays_a_spare_and_the_log_goes_on_without() {
    let mut faulty = Faulty::new(|o| o.log.retain_size = 0);
    let log = faulty.bench.log();
    // A segment that is delivered becomes a spare.
    let mut c = cursor(&log, "c");
    append(&log, 0..40, 4000);
    drain(&mut c);
    c.ack(0, u64::MAX, 0).unwrap();
    c.flush().unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while log.0.spares.is_empty() {
        assert!(Instant::now() < until, "no spare");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let before = log.0.spares.bytes();
    faulty.fail(Op::Open, "spare-", usize::MAX, Errno::IO);
    append(&log, 40..80, 4000);
    assert!(log.0.spares.bytes() >= before, "{} {before}", log.0.spares.bytes());
    let (counted, there) = bytes(&faulty.bench, &log);
    assert!(counted >= there, "{counted} {there}");
    drop(c);
    assert_eq!(faulty.recovered().last(), Some(&79));
}

#[test]
fn rule_20_an_opening_reads_two_headers_the_newest_segment_and_where_cursors_stand() {
    let mut faulty = Faulty::new(|_| {});
    let log = faulty.bench.log();
    let mut c = cursor(&log, "c");
    append(&log, 0..400, 4000);
    // It stands in the middle.
    let frames = c.next_batch(800_000).unwrap().unwrap().frames;
    c.ack(frames[0].sequence, frames[frames.len() - 1].sequence, 0).unwrap();
    c.flush().unwrap();
    drop(c);
    let segments = faulty.bench.segments();
    assert!(segments.len() > 20);
    drop(faulty.bench.spool.take());
    faulty.disk.take_calls();
    let log = faulty.open();
    let opened = faulty.disk.take_calls().into_iter().filter(|(op, path)| *op == Op::Open && segments.contains(path));
    let opened: std::collections::BTreeSet<PathBuf> = opened.map(|(_, path)| path).collect();
    assert!(opened.len() <= 3, "{opened:?}");
    assert!(opened.contains(&segments[segments.len() - 1]) && opened.contains(&segments[segments.len() - 2]));
    let left = numbers(&drain(&mut cursor(&log, "c")));
    assert_eq!(left, (frames.len() as u64..400).collect::<Vec<_>>());
}

#[test]
fn a_cursors_file_that_cannot_be_replaced_or_removed_is_an_error() {
    let mut faulty = Faulty::new(|_| {});
    let log = faulty.bench.log();
    faulty.fail(Op::Remove, "~c", 1, Errno::IO);
    let made = log.cursor("c", Start::Oldest, Need::Required);
    assert!(made.is_err());
    drop(cursor(&log, "c"));
    faulty.fail(Op::Remove, "c", 1, Errno::IO);
    assert!(log.remove_cursor("c").is_err());
    // Its name is gone, and nobody knows for how long: whoever uses it again has a file again.
    faulty.fail(Op::SyncDir, "cursors", 1, Errno::IO);
    assert!(log.remove_cursor("c").is_err());
    let c = cursor(&log, "c");
    log.pause("c").unwrap();
    assert!(faulty.bench.path().join("logs/log/cursors/c").exists());
    drop((c, log));
    drop(faulty.bench.spool.take());
    // What another run wrote may be in the cache alone: it is never written in place of a new file, but on a full disk.
    let log = faulty.open();
    faulty.fail(Op::Remove, "~c", 1, Errno::IO);
    assert!(log.pause("c").is_err());
    log.pause("c").unwrap();
    log.resume("c").unwrap();
    log.remove_cursor("c").unwrap();
}

#[test]
#[allow(clippy::disallowed_methods, reason = "what a killed process leaves")]
fn rule_13_what_was_to_become_a_cursors_file_takes_no_room_after_a_crash() {
    let mut bench = Bench::new();
    let log = bench.log();
    drop((cursor(&log, "c"), cursor(&log.dead_letters().unwrap(), "c"), log));
    bench.spool.take().unwrap().close().unwrap();
    let left = ["logs/log/cursors/~c", "dead/log/cursors/~c"].map(|name| bench.path().join(name));
    let others = ["logs/log/cursors/~", "logs/log/cursors/~%", "logs/log/~c"].map(|name| bench.path().join(name));
    left.iter().chain(&others).for_each(|path| std::fs::write(path, vec![7; 128 << 10]).unwrap());
    let log = bench.open();
    assert!(!left.iter().any(|path| path.exists()), "also where nobody opens the dead letters");
    assert!(others.iter().all(|path| path.exists()), "what is not ours stays");
    drop(cursor(&log, "c"));
}

#[test]
#[allow(clippy::disallowed_methods, reason = "what a killed process leaves")]
fn rule_13_what_cannot_be_removed_of_a_cursors_new_file_counts_and_keeps_no_log_from_opening() {
    let mut faulty = Faulty::at_rest(|_| {});
    drop(faulty.bench.spool.take());
    let log = faulty.open();
    drop((cursor(&log, "c"), log));
    let left = faulty.bench.path().join("logs/log/cursors/~c");
    std::fs::write(&left, vec![7; 128 << 10]).unwrap();
    faulty.fail(Op::Remove, "~c", 1, Errno::IO);
    let bytes = [(); 2].map(|()| {
        drop(faulty.bench.spool.take());
        faulty.open().0.account.bytes()
    });
    assert_eq!((bytes[0] - bytes[1], left.exists()), (128 << 10, false));
}

#[test]
fn rule_10_a_file_whose_old_name_may_come_back_is_no_spare() {
    for is_removed in [true, false] {
        let mut bench = Bench::with(|o| o.log.retain_size = 0);
        let (disk, log) = by_hand(&mut bench);
        let _c = passed_20(&log);
        let left_out = log.0.account.bytes() - bytes(&bench, &log).1;
        disk.add(Fault { op: Op::SyncDir, file: "log", skip: 0, times: 1, errno: Errno::IO });
        if !is_removed {
            disk.add(Fault { op: Op::Remove, file: "spare-", skip: 0, times: 1, errno: Errno::IO });
        }
        log.0.retain(false, 0).unwrap_err();
        assert!(log.0.spares.is_empty());
        let names = bench.log_dir().read_dir().unwrap().map(|entry| entry.unwrap().file_name());
        let there = names.filter(|name| name.to_string_lossy().starts_with("spare-")).count();
        assert_eq!(there, usize::from(!is_removed));
        let (counted, found) = bytes(&bench, &log);
        assert_eq!(counted - left_out, found, "what cannot be removed counts");
    }
}

/// A log by hand on a disk that fails when it is told to.
fn by_hand(bench: &mut Bench) -> (FaultDisk, Log) {
    let disk = FaultDisk::default();
    let spool = bench.open_on(Env { disk: Arc::new(disk.clone()), runner: Runner::Hand, ..Env::real() });
    let log = spool.log("log").unwrap();
    bench.spool = Some(spool);
    (disk, log)
}

/// Appends without a thread, after what was refused before made the log wait.
fn append_here(log: &Log, numbers: std::ops::Range<u64>, bytes: usize) {
    let until = Instant::now() + Duration::from_secs(20);
    for number in numbers {
        while let Err(error) = log.append_wait(1, payload(number, bytes), 1) {
            assert!(Instant::now() < until, "{error}");
            std::thread::park_timeout(error.retry_after().expect("it goes on by itself"));
        }
    }
}

/// It was, for a file whose name may never have become durable: a sync of its directory had failed, and a later one
/// that succeeds says nothing about it.
#[test]
fn rule_10_the_open_segment_is_not_given_up_for_one_that_failed_behind_it() {
    let mut bench = Bench::with(|o| o.log.retain_size = 0);
    let (disk, log) = by_hand(&mut bench);
    append_here(&log, 0..2, 100);
    let mut c = cursor(&log, "c");
    drain(&mut c);
    c.ack(1, 1, 0).unwrap();
    c.flush().unwrap();
    let fail = |op, file| disk.add(Fault { op, file, skip: 0, times: 1, errno: Errno::IO });
    fail(Op::Write, "seg-");
    fail(Op::SyncDir, "log");
    fail(Op::Remove, "");
    assert!(log.append_wait(1, payload(2, 100), 1).unwrap_err().is_poisoned());
    let segments = bench.segments();
    assert_eq!(segments.len(), 2, "what failed has a segment's name and could not be removed");
    log.0.retain(false, 0).unwrap();
    assert_eq!(bench.segments(), segments);
    append_here(&log, 3..5, 100);
    assert!(log.0.retain(false, 0).unwrap(), "both went once another one was there");
    assert_eq!(bench.segments().len(), 1);
    c.ack(2, 2, 0).unwrap();
    assert_eq!(numbers(&drain(&mut c)), [2, 3, 4]);
}

/// It met nothing more until the next segment: it looked on where the refused frame had ended.
#[test]
fn rule_9_a_reader_in_another_process_goes_on_after_frames_that_were_refused() {
    for durability in [Durability::Sync, Durability::Interval, Durability::Os] {
        let mut bench = Bench::with(|o| o.log.durability = durability);
        let (disk, log) = by_hand(&mut bench);
        append_here(&log, 0..2, 100);
        let mut beside = bench.reader().read("log", From::Oldest).unwrap();
        let mut seen = || -> Vec<u64> {
            std::iter::from_fn(|| beside.next().unwrap()).map(|frame| number(&frame.payload)).collect()
        };
        let mut all = seen();
        disk.add(Fault { op: Op::Write, file: "seg-", skip: 0, times: 1, errno: Errno::FBIG });
        let refused = (2..5).map(|number| log.append(1, payload(number, 100), 1).unwrap());
        let refused: Vec<_> = refused.collect();
        bench.spool.as_ref().unwrap().turn_writers();
        assert!(refused.into_iter().all(|ack| ack.wait().is_err_and(|error| error.is_full())));
        all.extend(seen());
        append_here(&log, 5..9, 1000);
        all.extend(seen());
        assert_eq!(all.contains(&7), durability != Durability::Interval, "{durability:?}: {all:?}");
        drop(log);
        bench.spool.take().unwrap().close().unwrap();
        all.extend(seen());
        assert_eq!(all, [0, 1, 5, 6, 7, 8], "{durability:?}");
    }
}

/// As callers meet them.
#[test]
fn each_refusal_is_told_apart_from_every_other() {
    let mut bench = Bench::with(|o| {
        (o.log.max_size, o.log.max_frame) = (Some(1 << 20), 10 << 20);
        o.max_size = Some(64 << 20);
    });
    let (disk, log) = by_hand(&mut bench);
    let owned = Spool::open(bench.path(), bench.options.clone()).unwrap_err();
    let too_large = log.append(1, payload(0, (10 << 20) + 1), 1).unwrap_err();
    let waiting = log.append(1, payload(0, 9 << 20), 1).unwrap();
    let busy = log.append(1, payload(1, 9 << 20), 1).unwrap_err();
    bench.spool.as_ref().unwrap().turn_writers();
    let full = waiting.wait().unwrap_err();
    append_here(&log, 2..4, 100);
    for (op, file) in [(Op::Write, "seg-"), (Op::Create, "")] {
        disk.add(Fault { op, file, skip: 0, times: 1, errno: Errno::IO });
    }
    let poisoned = log.append_wait(1, payload(4, 100), 1).unwrap_err();
    append_here(&log, 5..6, 100);
    bench.spool.take().unwrap().close().unwrap();
    let closed = log.append(1, payload(6, 100), 1).unwrap_err();

    for (which, error) in [full, busy, poisoned, owned, too_large, closed].iter().enumerate() {
        let is = [
            error.is_full(),
            error.is_busy(),
            error.is_poisoned(),
            error.is_owned(),
            error.is_too_large(),
            error.is_closed(),
        ];
        assert_eq!(is, [0, 1, 2, 3, 4, 5].map(|at| at == which), "{error}");
        assert_eq!(error.retry_after().is_some(), which < 3, "{error}: whether another try makes sense");
        assert!(!error.is_not_found() && !error.is_corrupt() && !error.is_newer(), "{error}");
    }
}
