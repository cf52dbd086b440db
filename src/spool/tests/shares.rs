//! Rule 13: who may take how much of the directory, and who gives room first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::spool::OnFull;
use crate::spool::core::LogCore;
use crate::spool::env::Env;
use crate::spool::reclaim::Purpose;
use crate::spool::space::{Account, Space};
use crate::spool::worker::Runner;

#[test]
fn rule_13_a_log_within_its_part_can_grow_however_greedy_another_is() {
    let bench = Bench::with(|o| o.max_size = Some(4 << 20));
    let spool = bench.spool.as_ref().unwrap();
    let (greedy, modest) = (spool.log("greedy").unwrap(), spool.log("modest").unwrap());
    let (_a, _b) = (cursor(&greedy, "c"), cursor(&modest, "c"));
    let taken = fill(&greedy, 10_000);
    assert!(taken > 2000, "it may use what is not guaranteed to others: {taken}");
    assert!(fill(&modest, 10_000) > 600, "a quarter of the directory is its own");
    assert!(bytes_on_disk(bench.path()) <= 4 << 20);
}

#[test]
fn rule_13_half_of_the_directory_is_guaranteed_and_segments_are_a_sixteenth_of_a_part() {
    const MIB: u64 = 1 << 20;
    let dir = tempfile::tempdir().unwrap();
    let of = |max_size| {
        let options = Options { max_size: Some(max_size), ..Options::default() };
        Space::new(&Env::real(), dir.path(), &options).unwrap()
    };
    let size = |space: &Space, account: &Account, wanted| {
        space.segment_size(account, &LogOptions { segment_size: wanted, ..LogOptions::default() })
    };
    let space = of(160 * MIB);
    let (whole, small, fixed) =
        (space.account(None, None), space.account(Some(8 * MIB), None), space.account(None, Some(3 * MIB)));
    assert_eq!([&whole, &small, &fixed].map(|a| space.guaranteed(a) / MIB), [40, 8, 3], "two share the half");
    assert_eq!([&whole, &small, &fixed].map(|a| size(&space, a, None)), [40 * MIB / 16, MIB, MIB]);
    let asked = |wanted| size(&space, &whole, Some(wanted));
    assert_eq!([asked(1), asked(100_000), asked(4 * MIB)], [64 << 10, 102_400, 4 * MIB]);
    assert_eq!(asked(u64::MAX), 40 * MIB, "a quarter of its cap");
    let large = of(1 << 40);
    let account = large.account(None, None);
    assert_eq!(size(&large, &account, None), 16 * MIB);
    assert_eq!(size(&large, &account, Some(u64::MAX)), 1 << 30);
}

/// Options of a flooding and of a quiet log.
fn on_full(bench: &Bench, on_full: OnFull) -> LogOptions {
    LogOptions { on_full, retain_size: u64::MAX, ..bench.options.log.clone() }
}

/// Frames of 1 kB that surely fit a quarter of the directory, beside a cursor's file and what small segments waste.
const SURE: u64 = 700;

#[test]
fn rule_13_a_flood_that_drops_its_oldest_gives_a_quiet_log_its_part_even_if_that_comes_late() {
    for late in [false, true] {
        let bench = Bench::with(|o| o.max_size = Some(4 << 20));
        let spool = bench.spool.as_ref().unwrap();
        let flood = spool.log_with("flood", on_full(&bench, OnFull::DropOldest)).unwrap();
        let _a = cursor(&flood, "c");
        let early = (!late).then(|| bench.log());
        assert_eq!(fill(&flood, 5000), 5000);
        let quiet = early.unwrap_or_else(|| bench.log());
        let _b = cursor(&quiet, "c");
        for n in 0..SURE {
            let appended = quiet.append(1, payload(n, 1000), 1).and_then(|a| a.wait());
            assert!(appended.is_ok(), "late {late}, {n} of {SURE}: {appended:?}");
            append(&flood, n..n + 1, 1000);
        }
        assert!(bytes_on_disk(bench.path()) <= 4 << 20);
        assert!(quiet.losses().unwrap().is_empty(), "the quiet one lost nothing");
        assert_eq!(flood.losses().unwrap()[0].reason, "full");
    }
}

#[test]
fn rule_13_a_flood_that_rejects_takes_nothing_of_a_quiet_logs_part() {
    for late in [false, true] {
        let bench = Bench::with(|o| o.max_size = Some(4 << 20));
        let spool = bench.spool.as_ref().unwrap();
        let flood = spool.log_with("flood", on_full(&bench, OnFull::Reject)).unwrap();
        let mut a = cursor(&flood, "c");
        let early = (!late).then(|| bench.log());
        assert!(fill(&flood, 5000) < 5000);
        let quiet = early.unwrap_or_else(|| bench.log());
        let mut b = cursor(&quiet, "c");
        for n in 0..SURE {
            let appended = quiet.append(1, payload(n, 1000), 1).and_then(|a| a.wait());
            assert!(appended.is_ok(), "late {late}, {n} of {SURE}: {appended:?}");
        }
        assert!(late || bytes_on_disk(bench.path()) <= 4 << 20);
        assert!(flood.trouble().unwrap().is_full(), "above its part it takes nothing more");
        assert!(flood.losses().unwrap().is_empty() && quiet.losses().unwrap().is_empty());
        // Delivered, the flood gives what it took; nobody has to append for the log to be called well again.
        drain(&mut a);
        a.ack(0, u64::MAX, 0).unwrap();
        a.flush().unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while flood.trouble().is_some() {
            assert!(Instant::now() < until, "{:?}", flood.trouble());
            std::thread::park_timeout(Duration::from_millis(20));
        }
        fill(&quiet, 3000);
        assert!(bytes_on_disk(bench.path()) <= 4 << 20);
        assert_eq!(number(&drain(&mut b)[0].payload), 0);
    }
}

#[test]
fn rule_13_at_the_cap_the_log_furthest_above_its_part_drops() {
    let bench = Bench::with(|o| o.max_size = Some(6 << 20));
    let spool = bench.spool.as_ref().unwrap();
    let open = |name| spool.log_with(name, on_full(&bench, OnFull::DropOldest)).unwrap();
    let (far, near) = (open("far"), open("near"));
    let (_a, _b) = (cursor(&far, "c"), cursor(&near, "c"));
    fill(&near, 1600);
    assert_eq!(fill(&far, 5000), 5000);
    let lost = |log: &Log| log.losses().unwrap().first().map_or(0, |loss| loss.items);
    let before = lost(&far);
    assert!(before > 0 && lost(&near) == 0, "{before} {}", lost(&near));
    append(&near, 0..300, 1000);
    assert!(lost(&far) > before && lost(&near) == 0, "{before} {} {}", lost(&far), lost(&near));
}

/// A spool of 160 MiB by hand, with logs that take what a test says: nothing takes stock meanwhile.
struct Shares {
    bench: Bench,
    spool: Spool,
}

impl Shares {
    const MIB: u64 = 1 << 20;

    fn new() -> Self {
        let mut bench = Bench::with(|o| o.max_size = Some(160 * Self::MIB));
        let spool = bench.open_on(Env { runner: Runner::Hand, ..Env::real() });
        Self { bench, spool }
    }

    /// A log with a cap that has taken so much, in MiB.
    fn log(&self, name: &str, cap: Option<u64>, taken: u64) -> Log {
        let cap = cap.map(|cap| cap * Self::MIB);
        let log = self.spool.log_with(name, LogOptions { max_size: cap, ..self.bench.options.log.clone() }).unwrap();
        log.0.account.set(taken * Self::MIB);
        log
    }

    /// Who gives room to a log that needs so many MiB.
    fn donor(&self, log: &Log, need: u64) -> Option<String> {
        let donor = log.0.space.donor(&log.0.account, need * Self::MIB);
        donor.map(|core: Arc<LogCore>| core.name.clone())
    }
}

#[test]
fn rule_13_only_who_is_further_above_its_part_than_the_other_would_be_gives_room() {
    // Each has a part of 40 MiB.
    let shares = Shares::new();
    let (above, needy) = (shares.log("above", None, 50), shares.log("needy", None, 40));
    assert_eq!(shares.donor(&needy, 9).as_deref(), Some("above"));
    assert_eq!(shares.donor(&needy, 10), None, "both would be 10 MiB above");
    assert_eq!(shares.donor(&above, 1), None);
}

#[test]
fn rule_13_how_far_a_log_is_above_its_part_is_not_how_much_it_has() {
    let shares = Shares::new();
    // Parts of 8 and twice 26.7 MiB.
    let (_small, _large) = (shares.log("small", Some(8), 18), shares.log("large", None, 32));
    let needy = shares.log("needy", None, 0);
    assert_eq!(shares.donor(&needy, 1).as_deref(), Some("small"));
}

#[test]
fn rule_13_a_log_within_its_part_takes_it_and_asks_nobody() {
    let bench = Bench::with(|o| o.max_size = Some(4 << 20));
    let spool = bench.spool.as_ref().unwrap();
    let flood = spool.log_with("flood", on_full(&bench, OnFull::DropOldest)).unwrap();
    let _a = cursor(&flood, "c");
    assert_eq!(fill(&flood, 5000), 5000);
    let before = flood.losses().unwrap();
    let late = bench.log();
    append(&late, 0..1, 1000);
    assert_eq!(flood.losses().unwrap(), before);
}

#[test]
fn rule_11_a_log_that_has_no_spare_and_no_room_has_room_for_nothing() {
    let bench = Bench::with(small);
    let log = bench.log();
    let _c = cursor(&log, "c");
    assert!(fill(&log, 5000) < 5000);
    assert!(!log.0.make_room(1 << 20, Purpose::Segment).unwrap());
}

#[test]
fn rule_3_a_spare_is_filled_where_a_segment_more_would_still_have_room() {
    let shares = Shares::new();
    let log = shares.log("log", Some(8), 0);
    let size = 64 << 10;
    for (room, filled) in [(size, false), (2 * size - 1, false), (2 * size, true)] {
        log.0.account.set(8 * Shares::MIB - room);
        log.0.fill_spare(size, &|| true).unwrap();
        assert_eq!(!log.0.spares.is_empty(), filled, "{room}");
    }
    assert_eq!((log.0.spares.bytes(), log.0.account.bytes()), (size, 8 * Shares::MIB - size));
}

#[test]
fn rule_13_who_gives_room_gives_no_more_than_is_needed() {
    let bench = Bench::with(|o| o.max_size = Some(4 << 20));
    let spool = bench.spool.as_ref().unwrap();
    let flood = spool.log_with("flood", on_full(&bench, OnFull::DropOldest)).unwrap();
    let needy = spool.log_with("needy", on_full(&bench, OnFull::DropOldest)).unwrap();
    let (_a, _b) = (cursor(&flood, "c"), cursor(&needy, "c"));
    assert_eq!(fill(&flood, 5000), 5000);
    let lost = |log: &Log| log.losses().unwrap().iter().map(|loss| loss.items).sum::<u64>();
    let before = lost(&flood);
    let mut last = before;
    // Beyond its part of 1 MiB.
    for n in 0..1300 {
        append(&needy, n..n + 1, 1000);
        let now = lost(&flood);
        assert!(now - last <= 130, "{} frames of 1 kB for one, where two segments hold 128", now - last);
        last = now;
    }
    assert!(last > before && lost(&needy) == 0);
}

#[test]
fn rule_13_damaged_bytes_that_are_kept_take_room_from_everybody() {
    let shares = Shares::new();
    let (log, _other) = (shares.log("log", None, 0), shares.log("other", None, 0));
    let room = || log.0.space.room_in_cap(&log.0.account);
    let before = room();
    log.0.space.add_other(Shares::MIB);
    assert_eq!(room(), before - Shares::MIB);
}

#[test]
fn rule_13_a_log_at_its_own_cap_asks_nobody_for_room() {
    let shares = Shares::new();
    let (_above, capped) = (shares.log("above", None, 60), shares.log("capped", Some(8), 7));
    assert_eq!(shares.donor(&capped, 1).as_deref(), Some("above"), "within its cap");
    assert_eq!(shares.donor(&capped, 2), None, "one MiB beyond it");
    assert_eq!(shares.donor(&capped, 9), None);
}

#[test]
fn rule_13_without_a_limit_the_directory_takes_a_tenth_of_its_file_system_and_10_gib_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), Options::default()).unwrap();
    let volume = rustix::fs::statvfs(dir.path()).unwrap();
    assert_eq!(spool.max_size(), (volume.f_blocks * volume.f_frsize / 10).min(10 << 30));
}
