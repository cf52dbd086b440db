//! Rules 3, 11 and 12: full logs, retention, recycling; handles and files.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::fault_disk::{Fault, FaultDisk, Op, volume};
use super::*;
use crate::spool::OnFull;
use crate::spool::env::Env;
use crate::spool::files::Files;
use crate::spool::fs::Volume;

#[test]
fn rule_11_a_full_log_rejects_and_takes_again_what_a_cursor_freed() {
    let bench = Bench::with(small);
    let log = bench.log();
    let mut c = cursor(&log, "c");
    let taken = fill(&log, 5000);
    assert!((500..1100).contains(&taken), "{taken} frames of 1 kB in 1 MiB");
    let error = log.append(1, payload(0, 1000), 1).and_then(|a| a.wait()).unwrap_err();
    assert!(error.is_full() && error.retry_after().is_some(), "{error}");
    assert!(bytes_on_disk(&bench.log_dir()) <= 1 << 20);
    let frames = drain(&mut c);
    assert_eq!(frames.len() as u64, taken, "nothing that was acked was dropped");
    c.ack(frames[0].sequence, frames[frames.len() - 1].sequence, 0).unwrap();
    c.flush().unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while let Err(error) = log.append(1, payload(0, 1000), 1).and_then(|a| a.wait()) {
        assert!(error.is_full() && Instant::now() < until, "{error}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert!(fill(&log, 300) == 300, "in the space of what was delivered");
    assert!(bytes_on_disk(&bench.log_dir()) <= 1 << 20);
}

#[test]
fn rule_11_with_drop_oldest_nothing_is_refused_and_the_drop_is_counted() {
    let mut bench = Bench::with(|o| {
        small(o);
        o.log.on_full = OnFull::DropOldest;
    });
    let log = bench.log();
    let mut c = cursor(&log, "c");
    let mut seen = vec![];
    // Some in flight, some acked ahead: each frame ends in exactly one counter. What is in flight when it is taken is
    // delivered when it is acked all the same.
    append(&log, 0..20, 1000);
    let frames = drain(&mut c);
    c.ack(frames[3].sequence, frames[5].sequence, 1).unwrap();
    seen.extend([3, 4, 5]);
    assert_eq!(fill(&log, 3000), 3000);
    assert!(bytes_on_disk(&bench.log_dir()) <= 1 << 20);
    let frames = drain(&mut c);
    assert!(!frames.is_empty());
    c.ack(0, u64::MAX, 0).unwrap();
    c.flush().unwrap();
    let seen_cursor = bench.spool.as_ref().unwrap().inspect().unwrap().logs.remove(0).cursors.remove(0);
    assert_eq!(seen_cursor.accepted_items, 3020);
    assert_eq!(seen_cursor.delivered_items, 19 + frames.len() as u64);
    assert_eq!(seen_cursor.parked_items, 1);
    assert_eq!(seen_cursor.dropped_items, [("full".to_owned(), 3020 - 20 - frames.len() as u64)]);
    assert_eq!(seen_cursor.pending.items, 0);
    drop(c);
    let log = bench.crash();
    assert_eq!(cursor(&log, "c").pending().items, 0, "the drop is durable");
    assert!(bench.reader().verify(&mut |_, _| {}).unwrap().logs[0].ledger_closes);
}

#[test]
fn rule_11_acks_of_an_earlier_run_beyond_the_position_are_not_counted_as_dropped() {
    let mut bench = Bench::with(|o| {
        small(o);
        o.log.on_full = OnFull::DropOldest;
    });
    let log = bench.log();
    let mut c = cursor(&log, "c");
    let sequences = append(&log, 0..40, 1000);
    drain(&mut c);
    c.ack(sequences[10], sequences[19], 0).unwrap();
    c.flush().unwrap();
    drop(c);
    let log = bench.crash();
    assert_eq!(fill(&log, 2000), 2000);
    let seen = bench.spool.as_ref().unwrap().inspect().unwrap().logs.remove(0).cursors.remove(0);
    assert_eq!(seen.delivered_items, 10);
    let dropped = seen.dropped_items[0].1;
    assert_eq!(seen.pending.items, 2040 - 10 - dropped);
    let left = drain(&mut cursor(&log, "c")).len() as u64;
    assert_eq!(left, seen.pending.items, "what is pending can be read");
}

#[test]
fn rule_11_an_optional_cursor_holds_nothing_and_is_charged() {
    let bench = Bench::with(small);
    let log = bench.log();
    let mut c = log.cursor("c", Start::Oldest, Need::Optional).unwrap();
    assert_eq!(fill(&log, 3000), 3000, "a full log goes on when nobody's hold is in the way");
    let frames = drain(&mut c);
    c.ack(0, u64::MAX, 0).unwrap();
    let seen = bench.spool.as_ref().unwrap().inspect().unwrap().logs.remove(0).cursors.remove(0);
    assert_eq!(seen.dropped_items, [("full".to_owned(), 3000 - frames.len() as u64)]);
}

#[test]
fn rule_11_delivered_segments_stay_within_retain_size_and_are_recycled() {
    let bench = Bench::with(|o| o.log.retain_size = 256 << 10);
    let log = bench.log();
    let mut c = cursor(&log, "c");
    let until = Instant::now() + Duration::from_secs(20);
    let spare = |bench: &Bench| {
        bench.log_dir().read_dir().unwrap().any(|e| e.unwrap().file_name().to_string_lossy().starts_with("spare-"))
    };
    let mut next = 0;
    while !(spare(&bench) && bench.segments().len() <= 6) {
        assert!(Instant::now() < until, "{:?}", bench.segments());
        append(&log, next..next + 60, 1000);
        next += 60;
        drain(&mut c);
        c.ack(0, u64::MAX, 0).unwrap();
        c.flush().unwrap();
        std::thread::park_timeout(Duration::from_millis(300));
    }
    // Through recycled files: old frames in them never pass.
    append(&log, next..next + 300, 1000);
    assert_eq!(numbers(&drain(&mut c)), (next..next + 300).collect::<Vec<_>>());
    let past = numbers(&read_all(&bench.reader(), From::Oldest));
    assert!(past.len() > 100, "a past for find and tail");
    assert!(past.windows(2).all(|w| w[1] == w[0] + 1));
}

#[test]
fn rule_1_bytes_waiting_are_bounded_and_busy_says_when_to_come_again() {
    let bench = Bench::with(|o| o.log.segment_size = Some(16 << 20));
    let log = bench.log();
    let mut acks = Vec::new();
    let big = Bytes::from(vec![1; 8 << 20]);
    let error = loop {
        match log.append(1, big.clone(), 1) {
            Ok(ack) => acks.push(ack),
            Err(error) => break error,
        }
        assert!(acks.len() < 1000);
    };
    assert!(error.is_busy() && error.retry_after().is_some(), "{error}");
    for ack in acks {
        ack.wait().unwrap();
    }
    log.append(1, big, 1).unwrap().wait().unwrap();
}

#[test]
fn a_reader_beside_an_owner_that_reclaims_what_it_looks_at_goes_on_with_what_there_is() {
    let bench = Bench::with(|o| (o.log.retain_size, o.log.retain_age) = (0, Duration::ZERO));
    let log = bench.log();
    append(&log, 0..2, 1000);
    let mut c = cursor(&log, "c");
    let reader = bench.reader();
    let files = Files::open(&reader, "log", false).unwrap();
    let mut frames = reader.read("log", From::Oldest).unwrap();
    assert_eq!(number(&frames.next().unwrap().unwrap().payload), 0);
    // Several segments further, and the first are gone.
    let mut next = 2;
    let until = Instant::now() + Duration::from_secs(20);
    while bench.segments().iter().any(|segment| segment.ends_with("seg-0000000000000001")) {
        assert!(Instant::now() < until);
        append(&log, next..next + 50, 1000);
        next += 50;
        drain(&mut c);
        c.ack(0, u64::MAX, 0).unwrap();
        c.flush().unwrap();
    }
    let (_, totals) = files.end().unwrap();
    assert!(totals.frames > 2, "{totals:?}");
    let mut seen = Vec::new();
    while let Some(frame) = frames.next().unwrap() {
        seen.push(number(&frame.payload));
    }
    assert!(seen.is_sorted() && seen.last().is_some_and(|last| *last >= next - 50), "{seen:?}");
}

#[test]
fn rule_3_a_spare_is_filled_while_the_log_is_quiet_and_used() {
    let bench = Bench::with(|o| o.log.segment_size = Some(512 << 10));
    let log = bench.log();
    let sequences = append(&log, 0..1, 1000);
    let until = Instant::now() + Duration::from_secs(20);
    let spare = || {
        let mut entries = bench.log_dir().read_dir().unwrap().map(|e| e.unwrap());
        entries
            .any(|e| e.file_name().to_string_lossy().starts_with("spare-") && e.metadata().unwrap().len() == 512 << 10)
    };
    while !spare() {
        assert!(Instant::now() < until);
        std::thread::park_timeout(Duration::from_millis(50));
    }
    append(&log, 1..1000, 1000);
    let mut c = cursor(&log, "c");
    assert_eq!(numbers(&drain(&mut c)), (0..1000).collect::<Vec<_>>());
    c.ack(sequences[0], u64::MAX, 0).unwrap();
}

#[test]
fn rule_22_one_owner_and_private_files() {
    use std::os::unix::fs::MetadataExt;
    let mut bench = Bench::new();
    append(&bench.log(), 0..1, 10);
    cursor(&bench.log(), "c");
    let error = Spool::open(bench.path(), bench.options.clone()).unwrap_err();
    assert!(error.is_owned() && error.to_string().contains(&std::process::id().to_string()), "{error}");
    let mut open = vec![bench.path().to_owned()];
    while let Some(path) = open.pop() {
        let found = path.metadata().unwrap();
        let mode = found.mode() & 0o777;
        assert_eq!(mode, if found.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
        if found.is_dir() {
            open.extend(path.read_dir().unwrap().map(|e| e.unwrap().path()));
        }
    }
    let link = bench.path().with_extension("link");
    std::os::unix::fs::symlink(bench.path(), &link).unwrap();
    bench.spool.take().unwrap().close().unwrap();
    let refused = Spool::open(&link, bench.options.clone()).map(|_| ());
    #[allow(clippy::disallowed_methods, reason = "made by this test")]
    std::fs::remove_file(&link).unwrap();
    assert!(refused.is_err(), "a link is not a data directory");
    bench.open();
}

#[test]
fn rule_22_a_network_file_system_is_refused_unless_it_is_allowed() {
    let mut bench = Bench::new();
    drop(bench.spool.take());
    let disk = FaultDisk::default();
    disk.is_on(Volume { network: Some("nfs"), ..volume() });
    let open = |allow_network_fs| {
        let env = Env { disk: Arc::new(disk.clone()), ..Env::real() };
        Spool::open_on(env, bench.path(), Options { allow_network_fs, ..bench.options.clone() })
    };
    let error = open(false).unwrap_err().to_string();
    assert!(error.contains("nfs") && error.contains("allow_network_fs"), "{error}");
    append(&open(true).unwrap().log("log").unwrap(), 0..1, 10);
}

/// Each append failed for ever once the open segment had grown to the limit.
#[test]
fn rule_8_a_log_whose_process_may_write_little_to_one_file_makes_smaller_segments() {
    const LIMIT: u64 = 300_000;
    let mut bench = Bench::with(|o| o.log.segment_size = Some(1 << 20));
    let disk = FaultDisk::default();
    disk.is_on(Volume { largest_file: LIMIT, ..volume() });
    let spool = bench.open_on(Env { disk: Arc::new(disk), ..Env::real() });
    let log = spool.log("log").unwrap();
    append(&log, 0..20, 50_000);
    let largest = (0..LIMIT).rev().find(|size| log.append(1, payload(20, *size as usize), 1).is_ok()).unwrap();
    assert!(largest > LIMIT - 9000, "{largest}");
    assert!(log.append(1, payload(21, largest as usize + 1), 1).is_err_and(|error| error.is_too_large()));
    spool.close().unwrap();
    let sizes: Vec<u64> = bench.segments().iter().map(|path| path.metadata().unwrap().len()).collect();
    assert!(sizes.len() > 4 && sizes.iter().all(|size| *size <= LIMIT), "{sizes:?}");
}

#[test]
#[allow(clippy::disallowed_methods, reason = "left by a crash")]
fn rule_11_a_log_that_could_not_be_opened_counts_once_when_it_is() {
    let mut bench = Bench::new();
    let disk = FaultDisk::default();
    let spool = bench.open_on(Env { disk: Arc::new(disk.clone()), ..Env::real() });
    append(&spool.log("log").unwrap(), 0..20, 1000);
    spool.close().unwrap();
    drop(spool);
    let spool = bench.open_on(Env { disk: Arc::new(disk.clone()), ..Env::real() });
    disk.add(Fault { op: Op::Remove, file: "spare-", skip: 0, times: 3, errno: Errno::IO });
    std::fs::write(bench.log_dir().join("spare-7"), [0; 10]).unwrap();
    for _ in 0..3 {
        spool.log("log").unwrap_err();
    }
    let log = spool.log("log").unwrap();
    let alone = spool.max_size() / 2;
    assert_eq!(log.0.space.guaranteed(&log.0.account), alone);
    spool.close().unwrap();
}

#[test]
fn a_cursor_name_is_one_handle_at_a_time() {
    let bench = Bench::new();
    let log = bench.log();
    let first = cursor(&log, "c");
    assert!(log.cursor("c", Start::Oldest, Need::Required).is_err());
    drop(first);
    cursor(&log, "c");
}

#[test]
fn a_new_cursor_starts_at_the_oldest_or_after_the_newest() {
    let bench = Bench::new();
    let log = bench.log();
    append(&log, 0..5, 10);
    let mut newest = log.cursor("newest", Start::Newest, Need::Required).unwrap();
    assert!(drain(&mut newest).is_empty());
    append(&log, 5..7, 10);
    assert_eq!(numbers(&drain(&mut newest)), [5, 6]);
    assert_eq!(newest.pending().items, 2);
    assert_eq!(numbers(&drain(&mut cursor(&log, "oldest"))), (0..7).collect::<Vec<_>>());
}

#[test]
fn rule_11_with_drop_oldest_a_log_of_frames_larger_than_a_segment_goes_on() {
    let bench = Bench::with(|o| {
        o.max_size = Some(10 << 30);
        o.log.max_size = Some(16 << 20);
        o.log.segment_size = Some(1 << 20);
        o.log.max_frame = 4 << 20;
        o.log.retain_size = 1 << 20;
        o.log.on_full = OnFull::DropOldest;
    });
    let log = bench.log();
    let mut c = cursor(&log, "c");
    let frame = |size: usize| bytes::Bytes::from(vec![7; size]);
    for round in 0..40 {
        for size in [16_500, 890_000, 3_290_000, 3_290_000, 500_000, 2_600_000] {
            let appended = log.append(1, frame(size), 1).and_then(|ack| ack.wait());
            assert!(appended.is_ok(), "round {round}, {size} bytes: {appended:?}");
        }
        if round % 3 == 0 {
            c.next_batch(2 << 20).unwrap();
            std::thread::park_timeout(std::time::Duration::from_millis(120));
        }
    }
}

/// `inspect` beside a busy log answered "no such file" now and then.
#[test]
fn a_list_of_segments_passes_over_one_that_was_reclaimed_after_the_look_at_the_directory() {
    use crate::spool::files::Files;
    use crate::spool::fs::{Disk, RealDisk};

    let bench = Bench::new();
    append(&bench.log(), 0..3, 60_000);
    let reader = bench.reader();
    let files = Files::open(&reader, "log", false).unwrap();
    RealDisk.remove(&bench.segments()[0]).unwrap();
    let left = files.table().all(reader.env()).unwrap();
    assert_eq!(left.iter().map(|segment| segment.id).collect::<Vec<_>>(), [2, 3]);
}
