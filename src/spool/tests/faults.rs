//! Rules 7 and 8: failed syncs, full disks, failing disks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::fault_disk::{Fault, FaultDisk, Op};
use super::sim::SimClock;
use super::*;
use crate::spool::clock::{Clock, RealClock};
use crate::spool::env::Env;
use crate::spool::worker::Runner;
use crate::spool::{DeadLetter, Durability, Error, OnFull};

struct Faulty {
    disk: FaultDisk,
    clock: Arc<dyn Clock>,
    bench: Bench,
}

impl Faulty {
    fn new(change: impl FnOnce(&mut Options)) -> Self {
        Self::under(Arc::new(RealClock), change)
    }

    /// Time stands still: no quiet moment passes, and no mark is written that meets a fault in a frame's place.
    fn at_rest(change: impl FnOnce(&mut Options)) -> Self {
        Self::under(Arc::new(SimClock::new(0)), change)
    }

    fn under(clock: Arc<dyn Clock>, change: impl FnOnce(&mut Options)) -> Self {
        let mut bench = Bench::with(change);
        drop(bench.spool.take());
        let mut faulty = Self { disk: FaultDisk::default(), clock, bench };
        faulty.open();
        faulty
    }

    fn open(&mut self) -> Log {
        let disk = Arc::new(self.disk.clone());
        let clock = self.clock.clone();
        self.bench.spool = Some(self.bench.open_on(Env { disk, clock, ..Env::real() }));
        self.bench.log()
    }

    /// Ends as a crash does, opens again on a sound disk, answers all numbers found.
    fn recovered(&mut self) -> Vec<u64> {
        drop(self.bench.spool.take());
        self.disk.heal();
        let log = self.open();
        numbers(&drain(&mut cursor(&log, "after")))
    }

    fn fail(&self, op: Op, file: &'static str, times: usize, errno: Errno) {
        self.disk.add(Fault { op, file, skip: 0, times, errno });
    }
}

fn try_append(log: &Log, number: u64) -> Result<u64, Error> {
    log.append(1, payload(number, 100), 1)?.wait().map(|a| a.sequence)
}

/// Appends until it succeeds: the log is to resume by itself.
fn append_until_taken(log: &Log, number: u64) {
    let until = Instant::now() + Duration::from_secs(20);
    while let Err(error) = try_append(log, number) {
        assert!(Instant::now() < until, "{error}");
        assert!(error.is_full() || error.is_poisoned(), "{error}");
        let delay = error.retry_after().expect("full and poisoned say when to try again");
        std::thread::park_timeout(delay);
    }
}

/// Appends each number once, waiting after a refusal as it says; answers the acked ones.
fn append_what_is_taken(log: &Log, count: u64, bytes: usize) -> Vec<u64> {
    let taken = |number: &u64| match log.append(1, payload(*number, bytes), 1).and_then(|ack| ack.wait()) {
        Ok(_) => true,
        Err(error) => {
            std::thread::park_timeout(error.retry_after().expect("a refusal says when to try again"));
            false
        }
    };
    (0..count).filter(taken).collect()
}

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
fn rule_8_a_full_disk_refuses_and_the_log_resumes_by_itself() {
    for errno in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
        let mut faulty = Faulty::new(|_| {});
        let log = faulty.bench.log();
        append(&log, 0..5, 100);
        faulty.fail(Op::Write, "seg-", 2, errno);
        let error = try_append(&log, 5).unwrap_err();
        assert!(error.is_full() && error.retry_after().is_some(), "{error}");
        append_until_taken(&log, 6);
        append_until_taken(&log, 7);
        assert!(log.trouble().is_none());
        let mut c = cursor(&log, "c");
        assert_eq!(numbers(&drain(&mut c)), [0, 1, 2, 3, 4, 6, 7]);
        drop(c);
        assert_eq!(faulty.recovered(), [0, 1, 2, 3, 4, 6, 7], "{errno:?}");
        assert!(faulty.bench.reader().verify(&mut |_, _| {}).unwrap().logs[0].ledger_closes);
    }
}

#[test]
fn rule_8_a_disk_that_refuses_new_files_answers_full_until_it_takes_them() {
    for errno in [Errno::NOSPC, Errno::ROFS, Errno::IO] {
        let mut faulty = Faulty::new(|_| {});
        let log = faulty.bench.log();
        faulty.fail(Op::Create, "spare-", 2, errno);
        let error = try_append(&log, 0).unwrap_err();
        assert!(error.is_full(), "{error}");
        append_until_taken(&log, 1);
        assert_eq!(faulty.recovered(), [1], "{errno:?}");
    }
}

#[test]
fn rule_8_every_call_that_fails_in_turn_loses_no_acked_frame_and_ends_nothing() {
    let ops = [Op::Create, Op::Open, Op::Write, Op::Rename];
    for (op, errno) in ops.into_iter().flat_map(|op| [(op, Errno::NOSPC), (op, Errno::IO)]) {
        for skip in 0..5 {
            let mut faulty = Faulty::new(|_| {});
            let log = faulty.bench.log();
            // What nobody wants is given up on a full disk.
            drop(cursor(&log, "holds"));
            faulty.disk.add(Fault { op, file: "", skip, times: 1, errno });
            let mut acked = append_what_is_taken(&log, 40, 4000);
            append_until_taken(&log, 40);
            acked.push(40);
            let found = faulty.recovered();
            assert!(acked.iter().all(|n| found.contains(n)), "{op:?} {errno:?} skip {skip}");
        }
    }
}

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

/// Bytes on disk of everything in the log's directory but its cursors, as the log itself counts them and as they are.
fn bytes(bench: &Bench, log: &Log) -> (u64, u64) {
    let mut files: Vec<_> = bench.log_dir().read_dir().unwrap().map(Result::unwrap).collect();
    // What the disk itself keeps of removed ones has a name of its own.
    files.retain(|file| file.file_type().unwrap().is_file() && !file.file_name().to_string_lossy().starts_with('.'));
    (log.0.account.bytes(), files.iter().map(|file| file.metadata().unwrap().len()).sum())
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

#[test]
fn rule_11_on_a_full_disk_the_oldest_goes_as_at_the_cap() {
    for errno in [Errno::NOSPC, Errno::DQUOT] {
        // Of a log that drops its oldest: what nobody delivered. Of one that rejects: what is kept of the delivered.
        for on_full in [OnFull::DropOldest, OnFull::Reject] {
            for op in [Op::Write, Op::Create] {
                let faulty = Faulty::at_rest(|o| o.log.on_full = on_full);
                let log = faulty.bench.log();
                let mut c = cursor(&log, "c");
                append(&log, 0..100, 4000);
                if on_full == OnFull::Reject {
                    drain(&mut c);
                    c.ack(0, u64::MAX, 0).unwrap();
                    c.flush().unwrap();
                }
                let oldest = faulty.bench.segments()[0].clone();
                faulty.fail(op, "", 1, errno);
                append(&log, 100..140, 4000);
                assert!(!oldest.exists(), "{errno:?} {on_full:?} {op:?}");
                assert!(log.trouble().is_none());
                let found = numbers(&drain(&mut c));
                let first = if on_full == OnFull::Reject { 100 } else { found[0] };
                assert_eq!(found, (first..140).collect::<Vec<_>>());
                assert!(first > 0 && first <= 100, "{first}");
            }
        }
    }
}

/// Its header has room and its frames do not: what a policy gives up is for the frames.
#[test]
fn rule_11_what_follows_a_failed_sync_takes_the_room_that_the_oldest_had() {
    let mut faulty = Faulty::at_rest(|o| o.log.on_full = OnFull::DropOldest);
    let log = faulty.bench.log();
    drop(cursor(&log, "holds"));
    append(&log, 0..100, 4000);
    let oldest = faulty.bench.segments()[0].clone();
    faulty.fail(Op::Sync, "seg-", 1, Errno::IO);
    faulty.disk.add(Fault { op: Op::Write, file: "spare-", skip: 1, times: 1, errno: Errno::NOSPC });
    append(&log, 100..101, 100);
    assert!(!oldest.exists());
    assert!(log.trouble().is_none());
    let found = faulty.recovered();
    let first = found[0];
    assert!(first > 0 && first <= 100, "{first}");
    assert_eq!(found, (first..101).collect::<Vec<_>>());
}

#[test]
fn rule_11_on_a_full_disk_a_log_that_rejects_gives_up_nothing_that_is_wanted() {
    let faulty = Faulty::new(|_| {});
    let log = faulty.bench.log();
    let mut c = cursor(&log, "c");
    append(&log, 0..100, 4000);
    let files = faulty.bench.segments();
    faulty.fail(Op::Write, "seg-", 1, Errno::NOSPC);
    assert!(try_append(&log, 100).unwrap_err().is_full());
    assert_eq!(faulty.bench.segments(), files);
    append_until_taken(&log, 101);
    assert_eq!(numbers(&drain(&mut c)), (0..100).chain([101]).collect::<Vec<_>>());
}

#[test]
fn rule_17_a_letter_that_no_file_can_be_had_for_is_not_parked() {
    let faulty = Faulty::new(|_| {});
    let log = faulty.bench.log();
    let sequence = append(&log, 0..1, 100)[0];
    let mut c = cursor(&log, "c");
    drain(&mut c);
    for op in [Op::Create, Op::Open] {
        faulty.fail(op, "spare-", usize::MAX, Errno::IO);
    }
    let payload = payload(0, 100);
    let letter = DeadLetter { sequence, first_item: 0, items: 1, content: 1, payload, reason: "no".to_owned() };
    assert!(c.park(letter.clone()).unwrap_err().is_full());
    faulty.disk.heal();
    let until = Instant::now() + Duration::from_secs(20);
    while let Err(error) = c.park(letter.clone()) {
        assert!(Instant::now() < until, "{error}");
        std::thread::park_timeout(error.retry_after().expect("full says when to try again"));
    }
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
fn rule_15_a_cursor_is_opened_and_moves_on_a_disk_that_is_full() {
    let mut faulty = Faulty::new(|_| {});
    let log = faulty.bench.log();
    append(&log, 0..10, 100);
    let mut c = cursor(&log, "c");
    drain(&mut c);
    c.ack(0, 4, 0).unwrap();
    c.flush().unwrap();
    drop((c, log));
    for (from, to) in [(4, 6), (6, 9)] {
        drop(faulty.bench.spool.take());
        faulty.fail(Op::Create, "", usize::MAX, Errno::NOSPC);
        let log = faulty.open();
        let mut c = cursor(&log, "c");
        assert_eq!(numbers(&drain(&mut c)), (from..10).collect::<Vec<_>>());
        c.ack(0, to, 0).unwrap();
        c.flush().unwrap();
        let error = log.cursor("another", Start::Oldest, Need::Required).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::NOSPC.raw_os_error()), "a new one takes room: {error}");
    }
    drop(faulty.bench.spool.take());
    faulty.disk.heal();
    let log = faulty.open();
    assert_eq!(numbers(&drain(&mut cursor(&log, "c"))), [9]);
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
        let disk = FaultDisk::default();
        let spool = bench.open_on(Env { disk: Arc::new(disk.clone()), runner: Runner::Hand, ..Env::real() });
        let log = spool.log("log").unwrap();
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
