//! A spool whose workers have no threads: nothing happens by itself, and time goes on when it is told to.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use super::fault_disk::{FaultDisk, volume};
use super::*;
use crate::spool::clock::Clock;
use crate::spool::env::Env;
use crate::spool::fs::Volume;
use crate::spool::queue::{Frame as Waiting, Stop, Turn};
use crate::spool::worker::Runner;
use crate::spool::{Ack, Durability, OnFull};

#[derive(Debug, Default)]
struct HandClock {
    boot: AtomicU64,
    wall: AtomicU64,
}

impl HandClock {
    fn go(&self, time: Duration) {
        self.boot.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
        self.set_ahead(time);
    }

    fn set_ahead(&self, time: Duration) {
        self.wall.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    fn set_back(&self, time: Duration) {
        self.wall.fetch_sub(time.as_nanos() as u64, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn wall(&self) -> u64 {
        self.wall.load(Ordering::Relaxed)
    }
    fn boot(&self) -> Duration {
        Duration::from_nanos(self.boot.load(Ordering::Relaxed))
    }
    fn monotonic(&self) -> Duration {
        self.boot()
    }
}

fn is_answered(ack: &mut Ack) -> bool {
    pin!(ack).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// A spool by hand, and its clock.
fn by_hand(bench: &mut Bench, durability: Durability) -> (Spool, Arc<HandClock>) {
    bench.options.log.durability = durability;
    let clock = Arc::new(HandClock::default());
    (under(bench, &clock), clock)
}

/// Ends without closing, if it is open, and opens by hand under this clock.
fn under(bench: &mut Bench, clock: &Arc<HandClock>) -> Spool {
    bench.open_on(Env { clock: clock.clone(), runner: Runner::Hand, ..Env::real() })
}

#[test]
fn workers_without_threads_act_in_their_turns_and_deadlines_are_the_clocks() {
    let mut bench = Bench::new();
    let (spool, clock) = by_hand(&mut bench, Durability::Interval);
    let log = spool.log("log").unwrap();
    let mut ack = log.append(1, payload(0, 100), 1).unwrap();
    assert!(!is_answered(&mut ack), "no thread writes it");
    spool.turn_writers();
    assert!(is_answered(&mut ack));
    assert_eq!(log.durable_sequence(), 0, "its sync is not due");
    clock.go(bench.options.log.sync_interval);
    spool.turn_writers();
    assert_eq!(log.durable_sequence(), 1);
    let mut c = cursor(&log, "c");
    assert_eq!(drain(&mut c).len(), 1);
    c.ack(1, 1, 0).unwrap();
    let position = |reader: &Reader| reader.inspect().unwrap().logs[0].cursors[0].sequence;
    assert_eq!(position(&bench.reader()), 1);
    spool.turn_housekeeper();
    assert_eq!(position(&bench.reader()), 2);
    drop(c);
    spool.close().unwrap();
}

#[test]
fn rule_1_callers_that_commit_themselves_do_not_put_off_a_due_sync() {
    let mut bench = Bench::new();
    let (spool, clock) = by_hand(&mut bench, Durability::Interval);
    let log = spool.log("log").unwrap();
    log.append_wait(1, payload(0, 100), 1).unwrap();
    assert_eq!(log.durable_sequence(), 0);
    clock.go(bench.options.log.sync_interval);
    log.append_wait(1, payload(1, 100), 1).unwrap();
    assert_eq!(log.durable_sequence(), 2, "no worker had a turn");
    spool.close().unwrap();
}

#[test]
fn callers_that_commit_themselves_let_in_who_waits_for_room() {
    let mut bench = Bench::with(|o| (o.log.segment_size, o.max_size) = (Some(64 << 20), Some(1 << 30)));
    let (spool, _) = by_hand(&mut bench, Durability::Sync);
    let log = spool.log("log").unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    let mut first = log.append(1, payload(0, 10 << 20), 1).unwrap();
    // 16 MiB may wait: this one stands in the line.
    let mut second = log.append_when_room(1, payload(1, 10 << 20), 1, until).unwrap();
    log.append_wait(1, payload(2, 100), 1).unwrap();
    assert!(is_answered(&mut first) && !is_answered(&mut second));
    log.append_wait(1, payload(3, 100), 1).unwrap();
    assert!(is_answered(&mut second), "no worker had a turn");
    spool.close().unwrap();
}

/// Appends failed: the file that was to be a spare was not there, and no other was tried.
#[test]
#[allow(clippy::disallowed_methods, reason = "an operator does it")]
fn rule_11_a_file_that_an_operator_took_away_does_not_keep_others_from_being_reclaimed() {
    let mut bench = Bench::with(|o| o.log.max_size = Some(1 << 20));
    let (spool, _) = by_hand(&mut bench, Durability::Sync);
    let log = spool.log("log").unwrap();
    let mut c = cursor(&log, "c");
    let append = |numbers: std::ops::Range<u64>| {
        numbers.for_each(|n| assert_eq!(log.append_wait(1, payload(n, 50_000), 1).unwrap().sequence, n + 1));
    };
    append(0..10);
    let frames = drain(&mut c);
    c.ack(frames[0].sequence, frames[frames.len() - 1].sequence, 0).unwrap();
    c.flush().unwrap();
    std::fs::remove_file(&bench.segments()[0]).unwrap();
    append(10..22);
    spool.close().unwrap();
}

#[test]
#[allow(clippy::disallowed_methods, reason = "an operator does it")]
fn rule_10_a_file_that_an_operator_took_away_is_reclaimed_as_one_that_was_removed() {
    let mut bench = Bench::with(|o| o.log.retain_size = 0);
    let (spool, _) = by_hand(&mut bench, Durability::Sync);
    let log = spool.log("log").unwrap();
    let _c = passed_20(&log);
    let (oldest, bytes) = (bench.segments()[0].clone(), log.0.account.bytes());
    let size = std::fs::metadata(&oldest).unwrap().len();
    std::fs::remove_file(oldest).unwrap();
    assert!(log.0.retain(false, 0).unwrap());
    assert_eq!(log.0.account.bytes(), bytes - size, "only what was taken away is no longer there");
    spool.close().unwrap();
}

/// Its directory may be another process's by then.
#[test]
fn a_caller_whose_turn_comes_after_the_spool_is_gone_writes_nothing() {
    let mut bench = Bench::new();
    let (spool, _) = by_hand(&mut bench, Durability::Sync);
    let log = spool.log("log").unwrap();
    let frame = Waiting { content: 1, items: 1, time: 0, payload: payload(0, 100) };
    let (seat, turn) = log.0.queue.join(frame).unwrap();
    assert_eq!(turn, Turn::Callers);
    log.0.queue.stop(Stop::Abandon);
    log.commit_unless_busy();
    assert_eq!(bench.segments(), Vec::<std::path::PathBuf>::new());
    drop(spool);
    assert!(seat.wait().unwrap().unwrap_err().is_closed());
}

#[test]
fn rule_2_sync_is_durable_at_the_ack_interval_when_due_or_at_8_mib_and_os_when_sealed() {
    for durability in [Durability::Sync, Durability::Interval, Durability::Os] {
        let mut bench = Bench::with(|o| o.log.segment_size = Some(32 << 20));
        let (spool, clock) = by_hand(&mut bench, durability);
        let log = spool.log("log").unwrap();
        log.append_wait(1, payload(0, 100), 1).unwrap();
        assert_eq!(log.durable_sequence(), u64::from(durability == Durability::Sync), "{durability:?}");
        clock.go(bench.options.log.sync_interval);
        spool.turn_writers();
        assert_eq!(log.durable_sequence(), u64::from(durability != Durability::Os), "{durability:?}");
        // 7 MiB, and then two more.
        let sequence = log.append_wait(1, payload(1, 7 << 20), 1).unwrap().sequence;
        assert_eq!(log.durable_sequence() >= sequence, durability == Durability::Sync, "{durability:?}");
        let sequence = log.append_wait(1, payload(2, 2 << 20), 1).unwrap().sequence;
        assert_eq!(log.durable_sequence() >= sequence, durability != Durability::Os, "{durability:?}");
        spool.close().unwrap();
    }
}

#[test]
fn rule_9_readers_see_what_is_durable_and_with_os_what_is_written_in_the_open_segment_too() {
    for durability in [Durability::Sync, Durability::Interval, Durability::Os] {
        let mut bench = Bench::new();
        let (spool, clock) = by_hand(&mut bench, durability);
        let log = spool.log("log").unwrap();
        let mut c = cursor(&log, "c");
        log.append_wait(1, payload(0, 100), 1).unwrap();
        let seen_at_once = drain(&mut c).len();
        assert_eq!(seen_at_once, usize::from(durability != Durability::Interval), "{durability:?}");
        clock.go(bench.options.log.sync_interval);
        spool.turn_writers();
        assert_eq!(seen_at_once + drain(&mut c).len(), 1, "{durability:?}: no age is asked for");
        drop(c);
        spool.close().unwrap();
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

fn append_by_hand(log: &Log, numbers: std::ops::Range<u64>) {
    for number in numbers {
        log.append_wait(1, payload(number, 1000), 1).unwrap();
    }
}

/// Time passes, and the housekeeper looks after each minute of it.
fn pass(spool: &Spool, clock: &HandClock, minutes: u32) {
    for _ in 0..minutes {
        clock.go(MINUTE);
        spool.turn_housekeeper();
    }
}

#[test]
fn rule_14_a_machine_that_was_off_longer_than_max_age_drops_nothing_before_its_exporters_tried() {
    let mut bench = Bench::with(|o| o.log.max_age = HOUR);
    let (spool, _) = by_hand(&mut bench, Durability::Sync);
    let log = spool.log("log").unwrap();
    append_by_hand(&log, 0..200);
    drop(cursor(&log, "c"));
    spool.close().unwrap();
    drop((spool, log));
    // Off for a week; the boot clock begins anew.
    let off = Arc::new(HandClock::default());
    off.set_ahead(7 * 24 * HOUR);
    let spool = under(&mut bench, &off);
    let log = spool.log("log").unwrap();
    let mut c = cursor(&log, "c");
    pass(&spool, &off, 5);
    c.next_batch(1).unwrap().unwrap();
    c.rewind();
    pass(&spool, &off, 4);
    assert_eq!(log.losses().unwrap(), [], "open for 9 minutes");
    drop((c, spool, log));

    let spool = under(&mut bench, &off);
    let log = spool.log("log").unwrap();
    let mut c = cursor(&log, "c");
    pass(&spool, &off, 60);
    assert_eq!(log.losses().unwrap(), [], "no exporter tried");
    assert_eq!(numbers(&drain(&mut c)), (0..200).collect::<Vec<_>>());
    pass(&spool, &off, 1);
    // What it had in hand is lost when it gives that up.
    c.rewind();
    let losses = log.losses().unwrap();
    assert_eq!(losses.iter().map(|loss| loss.reason).collect::<Vec<_>>(), ["max_age"]);
}

#[test]
fn rule_14_clock_jumps_of_ten_years_drop_nothing_and_change_no_order() {
    let mut bench = Bench::with(|o| (o.log.max_age, o.log.retain_age) = (HOUR, HOUR));
    let clock = Arc::new(HandClock::default());
    clock.set_ahead(3 * TEN_YEARS);
    let mut spool = under(&mut bench, &clock);
    let mut log = spool.log("log").unwrap();
    let mut c = cursor(&log, "c");
    let mut delivered = Vec::new();
    for (round, back) in [true, false, false, true, true, false].into_iter().enumerate() {
        let round = round as u64 * 100;
        pass(&spool, &clock, 11);
        append_by_hand(&log, round..round + 50);
        if back {
            clock.set_back(TEN_YEARS)
        } else {
            clock.set_ahead(TEN_YEARS)
        }
        append_by_hand(&log, round + 50..round + 100);
        pass(&spool, &clock, 59);
        assert!(spool.age_is_paused() && log.losses().unwrap().is_empty());
        let frames = drain(&mut c);
        delivered.extend(numbers(&frames));
        c.ack(0, u64::MAX, 0).unwrap();
        c.flush().unwrap();
        if round % 200 == 100 {
            drop((c, log));
            drop(spool);
            spool = under(&mut bench, &clock);
            log = spool.log("log").unwrap();
            c = cursor(&log, "c");
        }
    }
    assert_eq!(delivered, (0..600).collect::<Vec<_>>());
    assert_eq!(log.losses().unwrap(), []);
    assert!(bench.reader().verify(&mut |_, _| {}).unwrap().logs[0].ledger_closes);
}

#[test]
fn rule_8_a_log_stays_full_while_what_it_refused_would_be_refused_again() {
    let mut bench = Bench::with(|o| (o.log.segment_size, o.max_size) = (Some(1 << 20), Some(16 << 20)));
    let (spool, clock) = by_hand(&mut bench, Durability::Sync);
    let log = spool.log("log").unwrap();
    let mut c = cursor(&log, "c");
    let large = payload(1, 900_000);
    while log.append_wait(1, large.clone(), 1).is_ok() {}
    assert!(log.0.space.room(&log.0.account) >= 64 << 10, "room for a small frame");
    for _ in 0..3 {
        clock.go(Duration::from_secs(1));
        spool.turn_housekeeper();
        assert!(log.trouble().is_some_and(|trouble| trouble.is_full()), "{:?}", log.trouble());
    }
    drain(&mut c);
    c.ack(0, u64::MAX, 0).unwrap();
    c.flush().unwrap();
    clock.go(Duration::from_secs(1));
    spool.turn_housekeeper();
    assert!(log.trouble().is_none(), "{:?}", log.trouble());
    drop(c);
    spool.close().unwrap();
}

#[test]
fn rule_8_a_log_with_room_for_a_few_small_frames_is_full_still() {
    let mut bench = Bench::with(|o| (o.log.segment_size, o.max_size) = (Some(1 << 20), Some(16 << 20)));
    let (spool, clock) = by_hand(&mut bench, Durability::Sync);
    let log = spool.log("log").unwrap();
    let _c = cursor(&log, "c");
    while log.append_wait(1, payload(1, 1000), 1).is_ok() {}
    let is_full_after = |freed: u64| {
        log.0.account.sub(freed);
        clock.go(Duration::from_secs(1));
        spool.turn_housekeeper();
        log.trouble().is_some()
    };
    assert!(is_full_after(30 << 10), "else it would be full again at once");
    assert!(!is_full_after(40 << 10));
}

#[test]
fn what_is_pending_is_as_old_as_its_oldest_frame() {
    let mut bench = Bench::new();
    let (spool, clock) = by_hand(&mut bench, Durability::Sync);
    let log = spool.log("log").unwrap();
    let mut c = cursor(&log, "c");
    let age = |c: &Cursor| c.pending().oldest_age.map(|age| age.as_secs());
    assert_eq!(age(&c), None);
    append_by_hand(&log, 0..1);
    clock.go(Duration::from_secs(10));
    append_by_hand(&log, 1..2);
    clock.go(Duration::from_secs(5));
    assert_eq!(age(&c), Some(15), "not read");
    let frames = drain(&mut c);
    assert_eq!(age(&c), Some(15), "in flight");
    c.ack(frames[0].sequence, frames[0].sequence, 0).unwrap();
    assert_eq!(age(&c), Some(5));
    c.ack(0, u64::MAX, 0).unwrap();
    assert_eq!(age(&c), None);
    c.seek(From::Sequence(frames[0].sequence)).unwrap();
    assert_eq!(age(&c), None, "what is only replayed is not pending");
    append_by_hand(&log, 2..3);
    clock.go(Duration::from_secs(2));
    assert_eq!(age(&c), Some(2));
}

#[test]
fn rule_11_what_every_cursor_passed_is_kept_for_retain_age_and_no_longer() {
    let mut bench = Bench::with(|o| o.log.retain_age = HOUR);
    let (spool, clock) = by_hand(&mut bench, Durability::Sync);
    let log = spool.log("log").unwrap();
    let mut c = cursor(&log, "c");
    append_by_hand(&log, 0..100);
    drain(&mut c);
    c.ack(0, u64::MAX, 0).unwrap();
    c.flush().unwrap();
    let oldest = bench.segments()[0].clone();
    // What a turn saw of the clock is believed in the next.
    let pass = |time| {
        clock.go(time);
        (0..2).for_each(|_| spool.turn_housekeeper());
    };
    pass(HOUR);
    assert_eq!(bench.segments()[0], oldest);
    pass(Duration::from_secs(1));
    assert!(!bench.segments().contains(&oldest), "{:?}", bench.segments());
}

/// While the disk has less left than `min_free` a log is as large as it was when that began: nothing goes but for what
/// comes, and one that rejects takes nothing.
#[test]
fn rule_11_min_free_never_shrinks_a_log() {
    for (on_full, reopens) in [(OnFull::DropOldest, false), (OnFull::DropOldest, true), (OnFull::Reject, true)] {
        let mut bench = Bench::with(|o| (o.log.on_full, o.min_free_percent) = (on_full, 5));
        let disk = FaultDisk::default();
        disk.is_on(volume());
        let clock = Arc::new(HandClock::default());
        let env = || Env { disk: Arc::new(disk.clone()), clock: clock.clone(), runner: Runner::Hand, ..Env::real() };
        let mut spool = bench.open_on(env());
        let mut log = spool.log("log").unwrap();
        drop(cursor(&log, "c"));
        let append = |log: &Log, numbers: std::ops::Range<u64>| {
            numbers.filter(|number| log.append_wait(1, payload(*number, 4000), 1).is_ok()).count()
        };
        assert_eq!(append(&log, 0..200), 200);
        let size = log.0.account.bytes();
        disk.is_on(Volume { available: 1 << 30, ..volume() });
        if reopens {
            spool.close().unwrap();
            drop((log, spool));
            spool = bench.open_on(env());
            log = spool.log("log").unwrap();
        }
        clock.go(Duration::from_secs(2));
        spool.turn_housekeeper();
        // But for a footer.
        let size_then = log.0.account.bytes();
        assert!(size_then - size <= 128, "{on_full:?}, reopened: {reopens}: {size} {size_then}");
        let taken = append(&log, 200..260);
        let now = log.0.account.bytes();
        if on_full == OnFull::Reject {
            assert_eq!((taken, now), (0, size_then));
        } else {
            assert!(taken == 60 && now.abs_diff(size) <= 256 << 10, "reopened: {reopens}: {size} {now}");
        }
        disk.is_on(volume());
        spool.close().unwrap();
    }
}
