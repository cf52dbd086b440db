//! Rules 3 and 11: which files are kept to become segments again, how many, and whose goes first on a full disk.

use std::sync::Arc;

use rustix::io::Errno;

use super::fault_disk::{Fault, FaultDisk, Op, volume};
use super::*;
use crate::spool::OnFull;
use crate::spool::env::Env;
use crate::spool::fs::Volume;
use crate::spool::reclaim::Purpose;
use crate::spool::worker::Runner;

/// A time past every age.
const LATER: u64 = u64::MAX;

/// A spool that nobody works for but the test, and its log: everything in it is delivered, nothing reclaimed yet.
fn delivered(fill: impl FnOnce(&mut Bench), retain_size: u64) -> (Bench, Spool, Log) {
    delivered_on(Env::real(), fill, retain_size)
}

/// As [`delivered`]; what comes after the filling is on this machine.
fn delivered_on(env: Env, fill: impl FnOnce(&mut Bench), retain_size: u64) -> (Bench, Spool, Log) {
    let mut bench = Bench::with(|o| o.log.retain_size = u64::MAX);
    fill(&mut bench);
    let log = bench.log();
    let mut c = cursor(&log, "c");
    drain(&mut c);
    c.ack(0, u64::MAX, 0).unwrap();
    c.flush().unwrap();
    drop((c, log));
    bench.spool.take().unwrap().close().unwrap();
    bench.options.log.retain_size = retain_size;
    let spool = bench.open_on(Env { runner: Runner::Hand, ..env });
    let log = spool.log("log").unwrap();
    (bench, spool, log)
}

/// The sizes of the spare files.
fn spares(bench: &Bench) -> Vec<u64> {
    let entries = bench.log_dir().read_dir().unwrap().map(|e| e.unwrap());
    let spares = entries.filter(|e| e.file_name().to_string_lossy().starts_with("spare-"));
    spares.map(|e| e.metadata().unwrap().len()).collect()
}

#[test]
fn rule_3_no_more_than_four_spares_are_kept() {
    let (bench, _spool, log) = delivered(|bench| drop(append(&bench.log(), 0..600, 1000)), 0);
    assert!(bench.segments().len() > 6);
    assert!(log.0.retain(true, LATER).unwrap());
    assert_eq!(bench.segments().len(), 1, "the newest stays");
    assert_eq!(spares(&bench).len(), 4);
}

#[test]
fn rule_3_only_files_of_about_a_segments_size_become_spares() {
    // A third of a segment, as a restart leaves it; four segments' worth, as a large frame makes it; whole ones.
    let fill = |bench: &mut Bench| {
        append(&bench.log(), 0..20, 1000);
        append(&bench.crash(), 20..21, 256 << 10);
        append(&bench.log(), 21..150, 1000);
    };
    let (bench, _spool, log) = delivered(fill, 0);
    log.0.retain(true, LATER).unwrap();
    let kept = spares(&bench);
    assert!(!kept.is_empty() && kept.iter().all(|size| (48 << 10..=80 << 10).contains(size)), "{kept:?}");
}

#[test]
fn rule_3_a_segment_for_a_large_frame_is_made_of_a_file_of_about_its_size() {
    const LARGE: u64 = 256 << 10;
    // (what the oldest file holds, what is needed, whether it serves)
    for (holds, need, serves) in [(LARGE, LARGE, true), (LARGE, LARGE / 3, false), (LARGE, LARGE / 4 * 3, false)] {
        let fill = |bench: &mut Bench| {
            append(&bench.log(), 0..1, holds as usize);
            append(&bench.log(), 1..100, 1000);
        };
        let (bench, _spool, log) = delivered(fill, u64::MAX);
        log.0.account.add(log.0.space.room(&log.0.account));
        assert!(log.0.make_room(need, Purpose::Segment).unwrap(), "{need}");
        assert_eq!(log.0.spares.has(need), serves, "{need} of {holds}: {:?}", spares(&bench));
    }
}

#[test]
fn rule_11_a_segment_whose_file_cannot_be_removed_stays_and_is_tried_again() {
    let disk = FaultDisk::default();
    let env = Env { disk: Arc::new(disk.clone()), ..Env::real() };
    let fill = |bench: &mut Bench| drop(append(&bench.log(), 0..600, 1000));
    let (bench, _spool, log) = delivered_on(env, fill, u64::MAX);
    log.0.account.add(log.0.space.room(&log.0.account));
    let (segments, bytes) = (bench.segments(), log.0.account.bytes());
    disk.add(Fault { op: Op::Remove, file: "seg-", skip: 0, times: 1, errno: Errno::IO });
    let error = log.0.make_room(1, Purpose::Growth).unwrap_err();
    assert!(error.to_string().contains("remove"), "{error}");
    assert_eq!((bench.segments(), log.0.account.bytes()), (segments, bytes));
    assert!(log.0.make_room(1, Purpose::Growth).unwrap());
    assert!(log.0.account.bytes() < bytes);
    assert!(bench.reader().verify(&mut |_, _| {}).unwrap().logs[0].damage.is_empty());
}

#[test]
fn rule_11_on_a_full_disk_a_log_uses_its_own_passed_file_before_another_gives() {
    let bench = Bench::with(|o| o.log.retain_size = u64::MAX);
    let spool = bench.spool.as_ref().unwrap();
    let options = LogOptions { on_full: OnFull::DropOldest, ..bench.options.log.clone() };
    let other = spool.log_with("other", options).unwrap();
    let _held = cursor(&other, "c");
    append(&other, 0..600, 1000);
    let log = bench.log();
    let mut c = cursor(&log, "c");
    append(&log, 0..100, 1000);
    drain(&mut c);
    c.ack(0, u64::MAX, 0).unwrap();
    c.flush().unwrap();
    log.0.space.is_used_up();
    assert!(log.0.make_room(32 << 10, Purpose::Segment).unwrap());
    assert!(log.0.spares.has(32 << 10), "{:?}", spares(&bench));
    assert!(other.losses().unwrap().is_empty(), "another log had to give although there was no need");
}

#[test]
fn rule_11_a_full_log_takes_again_only_when_it_may_grow_by_a_segment() {
    let bench = Bench::with(|o| o.log.max_size = Some(1 << 20));
    let log = bench.log();
    let _held = cursor(&log, "c");
    fill(&log, 5000);
    assert!(log.append(1, payload(0, 1000), 1).and_then(|a| a.wait()).unwrap_err().is_full());
    let cap = log.0.account.cap();
    for (room, takes) in [(32 << 10, false), (64 << 10, true)] {
        log.0.account.set(cap - room);
        log.0.recheck_cap().unwrap();
        assert_eq!(log.append(1, payload(0, 1000), 1).is_ok(), takes, "{room}");
    }
}

#[test]
fn rule_3_filling_a_spare_ends_with_a_whole_file_or_none() {
    let bench = Bench::new();
    let log = bench.log();
    let size = 700 << 10_u64;
    // The spool closes before the first piece, and before the second.
    for pieces in 0..2_u32 {
        let left = std::cell::Cell::new(pieces);
        let goes_on = || left.replace(left.get().saturating_sub(1)) > 0;
        log.0.fill_spare(size, &goes_on).unwrap();
        assert_eq!((spares(&bench), log.0.spares.bytes()), (vec![], 0));
    }
    log.0.fill_spare(size, &|| true).unwrap();
    assert_eq!((spares(&bench), log.0.spares.bytes()), (vec![size], size));
    log.0.fill_spare(size, &|| true).unwrap();
    assert_eq!(spares(&bench), [size], "one is enough");
}

#[test]
fn rule_3_no_spare_is_filled_where_a_write_takes_new_blocks() {
    for copy_on_write in [false, true] {
        let disk = FaultDisk::default();
        disk.is_on(Volume { copy_on_write, ..volume() });
        let mut bench = Bench::new();
        let spool = bench.open_on(Env { disk: Arc::new(disk), runner: Runner::Hand, ..Env::real() });
        let log = spool.log("log").unwrap();
        log.0.fill_spare(64 << 10, &|| true).unwrap();
        let filled = if copy_on_write { vec![] } else { vec![64 << 10] };
        assert_eq!(spares(&bench), filled, "copy on write: {copy_on_write}");
    }
}
