//! Rules 14, 16, 18, 19: what is dropped is counted once, told once, and pauses when the clock cannot be believed.

use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::io::Errno;

use super::fault_disk::{Fault, FaultDisk, Op};
use super::*;
use crate::spool::clock::{Clock, RealClock};
use crate::spool::cursor::Stored;
use crate::spool::env::Env;
use crate::spool::{CursorInspection, Loss, OnFull, Orphan, recovery};

fn drop_oldest(o: &mut Options) {
    o.max_size = Some(8 << 20);
    o.log.max_size = Some(512 << 10);
    o.log.retain_size = 0;
    o.log.on_full = OnFull::DropOldest;
}

/// The cursor `c`'s account, which must close.
fn account(bench: &Bench) -> CursorInspection {
    let mut log = bench.spool.as_ref().unwrap().inspect().unwrap().logs.remove(0);
    let seen = log.cursors.remove(0);
    let done = seen.delivered_items + seen.parked_items + seen.skipped_items + dropped(&seen);
    assert_eq!(seen.accepted_items, done + seen.pending.items, "{seen:?}");
    seen
}

fn dropped(seen: &CursorInspection) -> u64 {
    seen.dropped_items.iter().map(|(_, items)| items).sum()
}

/// Appends as many frames of 1 kB, far more than fit.
fn flood(log: &Log, from: u64) -> u64 {
    append(log, from..from + 2000, 1000);
    from + 2000
}

#[test]
fn rule_18_what_a_limit_takes_in_flight_is_delivered_when_it_is_acked() {
    let bench = Bench::with(drop_oldest);
    let log = bench.log();
    append(&log, 0..20, 1000);
    let mut c = cursor(&log, "c");
    let in_flight = drain(&mut c);
    let last = flood(&log, 20);
    let seen = account(&bench);
    assert!(dropped(&seen) > 1000, "{seen:?}");
    let taken = dropped(&seen);
    c.ack(in_flight[0].sequence, in_flight[19].sequence, 3).unwrap();
    let seen = account(&bench);
    assert_eq!((seen.delivered_items, seen.parked_items, dropped(&seen)), (17, 3, taken));
    let rest = drain(&mut c);
    assert_eq!(number(&rest[rest.len() - 1].payload), last - 1);
    assert_eq!(rest.len() as u64, seen.pending.items, "what is pending can be read");
    c.ack(0, u64::MAX, 0).unwrap();
    assert_eq!(account(&bench).pending.items, 0);
}

#[test]
fn rule_18_what_a_limit_takes_in_flight_is_dropped_when_its_reader_ends() {
    for rewinds in [true, false] {
        let bench = Bench::with(drop_oldest);
        let log = bench.log();
        append(&log, 0..20, 1000);
        let mut c = cursor(&log, "c");
        let in_flight = drain(&mut c);
        c.ack(in_flight[3].sequence, in_flight[4].sequence, 0).unwrap();
        flood(&log, 20);
        let before = dropped(&account(&bench));
        if rewinds {
            c.rewind();
        } else {
            drop(c);
            c = cursor(&log, "c");
        }
        let seen = account(&bench);
        assert_eq!((seen.delivered_items, dropped(&seen)), (2, before + 18));
        c.ack(0, u64::MAX, 0).unwrap();
        assert_eq!(account(&bench).delivered_items, 2, "an ack that comes too late counts nothing twice");
        assert_eq!(drain(&mut c).len() as u64, seen.pending.items);
    }
}

#[test]
fn rule_18_a_crash_drops_what_a_limit_took_in_flight_under_the_limits_name() {
    for acked in [false, true] {
        let mut bench = Bench::with(drop_oldest);
        let log = bench.log();
        append(&log, 0..20, 1000);
        let mut c = cursor(&log, "c");
        let in_flight = drain(&mut c);
        flood(&log, 20);
        let before = account(&bench);
        if acked {
            c.ack(in_flight[0].sequence, in_flight[19].sequence, 0).unwrap();
            c.flush().unwrap();
        }
        // The handle lives on, as in a killed process: nothing is given up in an orderly way.
        std::mem::forget(c);
        let log = bench.crash();
        let seen = account(&bench);
        let lost = if acked { 0 } else { 20 };
        assert_eq!(seen.dropped_items, [("full".to_owned(), dropped(&before) + lost)], "acked: {acked}");
        assert_eq!(seen.delivered_items, 20 - lost);
        assert_eq!(drain(&mut cursor(&log, "c")).len() as u64, seen.pending.items);
        assert!(bench.reader().verify(&mut |_, _| {}).unwrap().logs[0].ledger_closes);
    }
}

#[test]
fn rule_18_frames_in_flight_beyond_the_limit_are_not_handed_out_again() {
    let bench = Bench::with(drop_oldest);
    let log = bench.log();
    let mut c = cursor(&log, "c");
    let (mut next, mut given) = (0, std::collections::BTreeSet::new());
    for _ in 0..40 {
        append(&log, next..next + 100, 1000);
        next += 100;
        for frame in c.next_batch(20_000).unwrap().unwrap().frames {
            assert!(given.insert(frame.sequence), "{} came twice", frame.sequence);
        }
    }
    assert!(dropped(&account(&bench)) > 1000);
    c.ack(0, u64::MAX, 0).unwrap();
    let seen = account(&bench);
    assert_eq!(seen.delivered_items, given.len() as u64, "{seen:?}");
}

fn only(log: &Log) -> Loss {
    let mut losses = log.losses().unwrap();
    assert_eq!(losses.len(), 1, "{losses:?}");
    losses.remove(0)
}

#[test]
fn rule_19_a_loss_is_told_until_it_was_told_and_then_never_again() {
    let mut bench = Bench::with(drop_oldest);
    let log = bench.log();
    drop(cursor(&log, "c"));
    let next = flood(&log, 0);
    let first = only(&log);
    assert_eq!((first.reason, first.items), ("full", dropped(&account(&bench))));
    assert_eq!((first.total_items, first.bytes), (first.items, first.items * 1000));
    assert_eq!(first.sequences, Some((1, first.items)), "sequences begin at one and have no gap here");
    let (began, ended) = first.times_unix_nanos.unwrap();
    assert!(0 < began && began <= ended, "{first:?}");
    assert_eq!(only(&log), first, "nobody said that it was told");

    // A crash before that: the same loss again.
    let log = bench.crash();
    assert_eq!(only(&log), first);
    log.told(&first).unwrap();
    assert_eq!(log.losses().unwrap(), []);
    log.told(&first).unwrap();
    // More, after it was answered and before it is told: merged into the next.
    let next = flood(&log, next);
    let second = only(&log);
    flood(&log, next);
    log.told(&second).unwrap();
    let third = only(&log);
    assert_eq!(first.items + second.items + third.items, dropped(&account(&bench)));
    assert_eq!(third.total_items, dropped(&account(&bench)));
    assert_eq!(third.sequences.unwrap().0, second.sequences.unwrap().1 + 1);
    assert!(third.times_unix_nanos.unwrap().0 >= second.times_unix_nanos.unwrap().1);
    log.told(&third).unwrap();
    bench.spool.as_ref().unwrap().close().unwrap();
    let log = bench.crash();
    assert_eq!(log.losses().unwrap(), [], "that it was told is durable");
}

#[test]
fn rule_19_a_loss_in_flight_is_told_only_when_it_is_one() {
    let bench = Bench::with(drop_oldest);
    let log = bench.log();
    append(&log, 0..20, 1000);
    let mut c = cursor(&log, "c");
    drain(&mut c);
    flood(&log, 20);
    let first = only(&log);
    log.told(&first).unwrap();
    assert_eq!(log.losses().unwrap(), []);
    c.rewind();
    let second = only(&log);
    assert_eq!((second.items, second.sequences), (20, Some((1, 20))));
    assert_eq!(second.total_items, first.items + 20);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the test is the damage")]
fn rule_19_a_lost_cursor_is_told_once_though_nobody_knows_how_much_it_was() {
    let mut bench = Bench::new();
    let log = bench.log();
    append(&log, 0..10, 100);
    drop(cursor(&log, "c"));
    drop(bench.spool.take());
    std::fs::write(bench.log_dir().join("cursors/c"), vec![7; 128 << 10]).unwrap();
    let log = bench.open();
    assert_eq!(log.opening().lost_cursors, ["c"]);
    let loss = only(&log);
    assert_eq!((loss.reason, loss.items, loss.total_items, loss.sequences), ("cursor_lost", 0, 0, None));
    // Its file is whole again; a crash now leaves it to be told.
    let log = bench.crash();
    assert_eq!(log.opening().lost_cursors, [""; 0]);
    assert_eq!(only(&log), loss);
    log.told(&loss).unwrap();
    assert_eq!(log.losses().unwrap(), []);
    assert_eq!(account(&bench).pending.items, 10);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the test is the damage")]
fn rule_19_bytes_that_an_opening_cut_are_told_once_whatever_crashed() {
    let mut bench = Bench::new();
    append_together(&bench.log(), 0..10, 136);
    drop(bench.spool.take());
    let segment = std::fs::OpenOptions::new().write(true).open(&bench.segments()[0]).unwrap();
    // The last of ten frames of 216 bytes, half written.
    segment.set_len(8192 + 9 * 216 + 100).unwrap();
    let log = bench.open();
    let loss = only(&log);
    assert_eq!((&loss.cursor, loss.reason, loss.items, loss.bytes), (&None, "torn", 0, 100));
    // The log goes on, so that the next opening finds nothing: it is to be told all the same.
    append(&log, 10..12, 136);
    let log = bench.crash();
    assert_eq!(log.opening().cuts, []);
    assert_eq!(only(&log), loss);
    log.told(&loss).unwrap();
    assert_eq!(log.losses().unwrap(), []);
    assert_eq!(bench.crash().losses().unwrap(), []);
    let seen = bench.spool.as_ref().unwrap().inspect().unwrap().logs.remove(0);
    assert_eq!(seen.damaged_bytes, 100, "the copy is kept");
}

/// They were not, where `damaged/` held as much as it may, or nothing could be written there.
#[test]
#[allow(clippy::disallowed_methods, reason = "the test is the damage")]
fn rule_19_bytes_that_an_opening_cut_are_told_though_no_copy_of_them_can_be_kept() {
    let is_full = |bench: &Bench, _: &FaultDisk| {
        std::fs::create_dir(bench.path().join("damaged")).unwrap();
        std::fs::File::create(bench.path().join("damaged/other-0000000000000001-2000"))
            .unwrap()
            .set_len(64 << 20)
            .unwrap();
    };
    let fails = |op, times| {
        move |_: &Bench, disk: &FaultDisk| disk.add(Fault { op, file: "log-", skip: 0, times, errno: Errno::NOSPC })
    };
    type Trouble = Box<dyn Fn(&Bench, &FaultDisk)>;
    // A copy cannot be made; its bytes cannot be written; not even a note can be made.
    let troubles: [(Trouble, bool); 4] = [
        (Box::new(is_full), true),
        (Box::new(fails(Op::Create, 1)), true),
        (Box::new(fails(Op::Write, 1)), true),
        (Box::new(fails(Op::Create, 2)), false),
    ];
    for (number, (trouble, is_noted)) in troubles.into_iter().enumerate() {
        let mut bench = Bench::new();
        append_together(&bench.log(), 0..10, 136);
        drop(bench.spool.take());
        let segment = std::fs::OpenOptions::new().write(true).open(&bench.segments()[0]).unwrap();
        segment.set_len(8192 + 9 * 216 + 100).unwrap();
        let disk = FaultDisk::default();
        trouble(&bench, &disk);
        bench.spool = Some(bench.open_on(Env { disk: Arc::new(disk.clone()), ..Env::real() }));
        let log = bench.log();
        let loss = only(&log);
        assert_eq!((&loss.cursor, loss.reason, loss.bytes), (&None, "torn", 100), "{number}");
        if is_noted {
            append(&log, 10..12, 136);
            let log = bench.crash();
            assert_eq!(only(&log), loss, "{number}");
            log.told(&loss).unwrap();
            assert_eq!(bench.crash().losses().unwrap(), [], "{number}");
        } else {
            // Nobody appended: the next opening meets it again.
            let log = bench.crash();
            assert_eq!(only(&log).bytes, 100);
            log.told(&only(&log)).unwrap();
            assert_eq!(log.losses().unwrap(), []);
        }
    }
}

#[test]
fn rule_21_what_an_older_segment_left_in_a_recycled_file_is_no_torn_write() {
    let mut bench = Bench::with(drop_oldest);
    // Frames of one size: each older frame begins where one of ours ends.
    let log = bench.log();
    for round in 0..20 {
        append(&log, round * 200..round * 200 + 200 - round, 1000);
    }
    let log = bench.crash();
    assert_eq!(log.opening().cuts, []);
    assert_eq!(log.losses().unwrap(), []);
}

/// A clock that goes when it is told to.
#[derive(Debug, Default)]
struct SetClock {
    /// Wall and boot clock, nanoseconds.
    now: Mutex<(u64, u64)>,
}

thread_local! {
    /// What this thread last saw: whoever reads one clock after the other sees one moment.
    static SEEN: Cell<u64> = const { Cell::new(0) };
}

impl SetClock {
    fn pass(&self, time: Duration) {
        let mut now = self.now.lock().unwrap();
        *now = (now.0 + time.as_nanos() as u64, now.1 + time.as_nanos() as u64);
    }

    fn set_wall_ahead(&self, time: Duration) {
        self.now.lock().unwrap().0 += time.as_nanos() as u64;
    }
}

impl Clock for SetClock {
    fn wall(&self) -> u64 {
        let now = self.now.lock().unwrap();
        SEEN.set(now.1);
        now.0
    }

    fn boot(&self) -> Duration {
        Duration::from_nanos(SEEN.get())
    }

    /// Threads sleep in real time.
    fn monotonic(&self) -> Duration {
        RealClock.monotonic()
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Opens the spool of this bench under this clock.
fn under(bench: &mut Bench, clock: &Arc<SetClock>) -> Log {
    bench.spool = Some(bench.open_on(Env { clock: clock.clone(), ..Env::real() }));
    bench.log()
}

#[test]
fn rule_14_drops_by_age_pause_for_an_hour_when_the_wall_clock_is_set_and_this_is_told() {
    let clock = Arc::new(SetClock::default());
    clock.pass(HOUR);
    let mut bench = Bench::with(|o| o.log.max_age = HOUR);
    let log = under(&mut bench, &clock);
    let spool = bench.spool.clone().unwrap();
    let mut c = cursor(&log, "c");
    append(&log, 0..200, 1000);
    c.next_batch(1).unwrap();
    clock.pass(11 * MINUTE);
    clock.set_wall_ahead(2 * HOUR);
    until("the pause", || spool.age_is_paused());
    clock.pass(50 * MINUTE);
    assert_eq!((log.losses().unwrap(), spool.age_is_paused()), (vec![], true), "too old by a clock that was set");
    clock.pass(15 * MINUTE);
    until("the end of the pause", || !spool.age_is_paused());
    until("the drop", || !log.losses().unwrap().is_empty());
    assert_eq!(only(&log).reason, "max_age");
}

#[test]
fn rule_16_a_cursor_without_an_exporter_is_told_and_holds_until_its_time_is_over() {
    let clock = Arc::new(SetClock::default());
    clock.pass(HOUR);
    let mut bench = Bench::new();
    let log = under(&mut bench, &clock);
    let c = cursor(&log, "gone");
    append(&log, 0..10, 100);
    assert_eq!(log.orphans(), [], "its exporter is there");
    drop(c);
    let file = bench.log_dir().join("cursors/gone");
    let orphan = |holds| [Orphan { name: "gone".to_owned(), holds, pending_items: 10, file: file.clone() }];
    assert_eq!(log.orphans(), orphan(true));
    let log = under(&mut bench, &clock);
    assert_eq!(log.orphans(), orphan(true), "at every start");
    clock.pass(23 * HOUR);
    assert_eq!(log.orphans(), orphan(true));
    clock.pass(2 * HOUR);
    until("its time is over", || log.orphans() == orphan(false));
    drop(cursor(&log, "gone"));
    assert_eq!(log.orphans(), orphan(true), "it was back: its time begins anew");
}

#[test]
fn rule_16_a_cursor_that_did_not_move_for_days_has_its_whole_time_as_an_orphan() {
    let clock = Arc::new(SetClock::default());
    clock.pass(HOUR);
    let mut bench = Bench::new();
    let log = under(&mut bench, &clock);
    append(&log, 0..10, 100);
    let c = cursor(&log, "idle");
    clock.pass(72 * HOUR);
    let seen = || match recovery::slots(&log.0.env, &bench.log_dir()).unwrap().remove(0) {
        (_, Stored::Slot(slot)) => slot.last_seen,
        (name, other) => panic!("{name}: {other:?}"),
    };
    until("that it is open is written", || seen() > 72 * 3_600_000_000_000);
    // A kill: nobody says that it is not open any more.
    std::mem::forget(c);
    let log = under(&mut bench, &clock);
    clock.pass(20 * MINUTE);
    until("a round of the housekeeper", || {
        clock.pass(MINUTE);
        log.0.env.clock.wall() > 74 * 3_600_000_000_000
    });
    assert!(log.orphans()[0].holds);
}
