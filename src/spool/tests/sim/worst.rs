//! The power goes at the worst moment: of what was not synced nothing is left, or only names. No chance is in it, so
//! that each sync has a test which fails without it.
//!
//! Workers have no threads: they take their turns when they are told to.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::io::Errno;

use super::super::{cursor, drain, numbers, payload};
use super::dice::Dice;
use super::disk::{Call, Fault, Observer, SimDisk, Trouble};
use super::machine::{SimClock, SimRandom};
use super::plan::SEGMENT;
use super::recorder::{Moment, Recorder, poll};
use super::story::DIR;
use super::tree::{Left, Tree};
use crate::spool::env::{Env, lock};
use crate::spool::files::Files;
use crate::spool::format::Totals;
use crate::spool::format::frame::{self, FrameHeader, kind};
use crate::spool::format::segment::{DATA_AT, SegmentHeader};
use crate::spool::fs::{Access, Disk as _};
use crate::spool::segment::Segment;
use crate::spool::stream::Source as _;
use crate::spool::worker::Runner;
use crate::spool::{
    Cursor, DeadLetter, Durability, From, Log, LogOptions, OnFull, Options, Reader, Spool, names, recovery,
};

/// A machine, and the process on it, if it runs.
struct Machine {
    disk: SimDisk,
    recorder: Arc<Recorder>,
    clock: Arc<SimClock>,
    options: Options,
    spool: Option<Spool>,
    /// How often the process was started: each time is another by its random numbers.
    starts: u64,
}

impl Machine {
    fn new(change: impl FnOnce(&mut Options)) -> Self {
        Self::of(0, change)
    }

    /// What a failed sync leaves differs by the seed.
    fn of(seed: u64, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options {
            log: LogOptions { segment_size: Some(SEGMENT), ..LogOptions::default() },
            max_size: Some(8 << 20),
            min_free_percent: 0,
            ..Options::default()
        };
        change(&mut options);
        Self::on(Tree::new(), options, seed)
    }

    fn on(tree: Tree, options: Options, starts: u64) -> Self {
        let recorder = Arc::new(Recorder::new(Arc::default(), true));
        let disk = SimDisk::new(tree, Dice::new(starts), Some(recorder.clone() as Arc<dyn Observer>));
        let clock = Arc::new(SimClock::new(1_700_000_000_000_000_000));
        Self { disk, recorder, clock, options, spool: None, starts }
    }

    /// A machine on which a process was killed when the disk was so.
    fn killed(&self, tree: &Tree) -> Self {
        Self::on(tree.clone(), self.options.clone(), self.starts)
    }

    /// A machine that lost its power when the disk was so.
    fn cut(&self, tree: &Tree, left: Left) -> Self {
        Self::on(tree.after_worst_cut(left), self.options.clone(), self.starts)
    }

    /// Starts the process and opens the log.
    fn start(&mut self) -> Log {
        self.starts += 1;
        let env = Env {
            disk: Arc::new(self.disk.clone()),
            clock: self.clock.clone(),
            random: Arc::new(SimRandom(Mutex::new(Dice::of(&[self.starts])))),
            runner: Runner::Hand,
            ..Env::real()
        };
        let spool = Spool::open_on(env, Path::new(DIR), self.options.clone()).unwrap();
        let log = spool.log("log").unwrap();
        self.spool = Some(spool);
        log
    }

    fn spool(&self) -> &Spool {
        self.spool.as_ref().unwrap()
    }

    fn reader(&self) -> Reader {
        Reader::with(self.spool().env(), Path::new(DIR))
    }

    /// Time passes, and each writer takes its turn.
    fn pass(&self, time: Duration) {
        self.clock.go(time);
        self.spool().turn_writers();
    }

    /// The process is killed; the kernel lives.
    fn kill(&mut self) {
        self.spool = None;
        self.disk = self.disk.after_exit();
    }

    fn lose_power(&mut self, left: Left) {
        self.spool = None;
        self.disk = self.disk.with(self.disk.tree().after_worst_cut(left));
    }

    /// Such calls fail, among the next `count` calls.
    fn fail(&self, calls: &[Call], count: u64, errno: Errno) {
        let from = self.disk.calls() + 1;
        self.disk.add(Fault { from, to: from + count, calls: calls.to_vec(), trouble: Trouble::Fails(errno) });
    }

    /// The moments so far after calls of these kinds that worked.
    fn moments(&self, calls: &[Call]) -> Vec<Moment> {
        let is_one = |moment: &Moment| calls.contains(&moment.after.0) && moment.after.2;
        self.recorder.take_moments().into_iter().filter(is_one).collect()
    }
}

/// Appends without a worker.
fn append_by_hand(log: &Log, numbers: std::ops::Range<u64>, bytes: usize) -> Vec<u64> {
    numbers.map(|number| log.append_wait(1, payload(number, bytes), 1).unwrap().sequence).collect()
}

fn segments(log: &Log) -> Vec<Arc<Segment>> {
    lock(&log.0.table).all(&log.0.env).unwrap()
}

/// All that is in the log.
fn read(log: &Log) -> Vec<u64> {
    numbers(&drain(&mut cursor(log, "reader")))
}

/// Durably acks all that a cursor can read.
fn deliver(cursor: &mut Cursor) {
    drain(cursor);
    cursor.ack(0, u64::MAX, 0).unwrap();
    cursor.flush().unwrap();
}

/// What changes the disk.
const CHANGES: [Call; 8] =
    [Call::MakeDir, Call::Create, Call::Rename, Call::Remove, Call::SyncDir, Call::Write, Call::Sync, Call::Forget];

/// As long as a log backs off at most, and more.
const BACKOFF: Duration = Duration::from_secs(6);

#[test]
fn rule_2_what_is_called_durable_outlives_the_power() {
    for durability in [Durability::Sync, Durability::Interval, Durability::Os] {
        let mut machine = Machine::new(|o| o.log.durability = durability);
        let log = machine.start();
        append_by_hand(&log, 0..3, 1000);
        machine.pass(machine.options.log.sync_interval);
        let durable = log.durable_sequence();
        assert_eq!(durable, if durability == Durability::Os { 0 } else { 3 }, "{durability:?}");
        machine.lose_power(Left::Nothing);
        let log = machine.start();
        assert_eq!(read(&log), (0..durable).collect::<Vec<_>>(), "{durability:?}");
        append_by_hand(&log, 3..6, 1000);
        machine.spool().close().unwrap();
        machine.lose_power(Left::Nothing);
        let log = machine.start();
        assert!(log.opening().clean, "{durability:?}: {:?}", log.opening());
        assert_eq!(read(&log), (0..durable).chain(3..6).collect::<Vec<_>>(), "{durability:?}");
    }
}

#[test]
fn rule_4_a_quiet_moment_leaves_a_durable_witness() {
    let mut machine = Machine::new(|_| {});
    let log = machine.start();
    let sequences = append_by_hand(&log, 0..1, 100);
    machine.pass(Duration::from_millis(20));
    machine.lose_power(Left::Nothing);
    assert_eq!(machine.start().opening().synced_to, sequences[0]);
}

#[test]
fn rule_5_a_footer_is_durable_before_the_first_ack_in_the_next_segment() {
    let mut machine = Machine::new(|_| {});
    let log = machine.start();
    let mut next = 0;
    while segments(&log).len() < 3 {
        append_by_hand(&log, next..next + 1, 6000);
        next += 1;
    }
    machine.lose_power(Left::Nothing);
    let log = machine.start();
    for sealed in &segments(&log)[..2] {
        let file = sealed.open(&log.0.env).unwrap();
        assert!(sealed.footer(&*file).unwrap().is_some(), "{}", sealed.path.display());
    }
}

#[test]
fn rule_5_a_footer_is_on_the_disk_only_after_the_frames_it_speaks_of() {
    for durability in [Durability::Interval, Durability::Os] {
        let mut machine = Machine::new(|o| o.log.durability = durability);
        append_by_hand(&machine.start(), 0..3, 6000);
        machine.spool().close().unwrap();
        for moment in machine.moments(&[Call::Write, Call::Sync]) {
            let mut image = machine.cut(&moment.tree, Left::LastWrites);
            let log = image.start();
            drain(&mut cursor(&log, "c"));
            let losses = log.losses().unwrap();
            assert!(losses.iter().all(|loss| loss.reason != "damaged"), "{:?}: {losses:?}", moment.after);
        }
    }
}

#[test]
fn rule_6_a_sequence_that_went_with_the_power_is_not_given_again() {
    let mut machine = Machine::new(|o| o.log.durability = Durability::Os);
    let mut given = Vec::new();
    for number in 0..4 {
        given.extend(append_by_hand(&machine.start(), number..number + 1, 100));
        machine.lose_power(Left::Nothing);
    }
    assert!(given.windows(2).all(|pair| pair[0] < pair[1]), "{given:?}");
}

#[test]
fn rule_6_a_sequence_that_only_a_cursor_knows_is_not_given_again() {
    let mut machine = Machine::new(|o| o.log.durability = Durability::Os);
    let log = machine.start();
    let mut c = cursor(&log, "c");
    // Of three frames in the cache the last two were acked. Then the power takes all three.
    let given = append_by_hand(&log, 0..3, 100);
    drain(&mut c);
    c.ack(given[1], given[2], 0).unwrap();
    c.flush().unwrap();
    machine.lose_power(Left::Nothing);
    // Above what was given, and not only by the distance that an unclean stop asks for.
    assert!(append_by_hand(&machine.start(), 3..4, 100)[0] > given[2] + recovery::JUMP);
}

#[test]
fn rule_6_a_group_that_could_not_be_written_burns_its_sequences() {
    let mut machine = Machine::new(|_| {});
    let log = machine.start();
    append_by_hand(&log, 0..1, 1000);
    let mut acks: Vec<_> = (1..9).map(|number| log.append(1, payload(number, 1000), 1).unwrap()).collect();
    // A part of it is in the file.
    machine.fail(&[Call::Write], 1, Errno::NOSPC);
    machine.spool().turn_writers();
    assert!(acks.iter_mut().all(|ack| poll(ack).unwrap().unwrap_err().is_full()));
    machine.clock.go(BACKOFF);
    machine.spool().turn_housekeeper();
    assert!(append_by_hand(&log, 9..10, 100)[0] > 9);
    machine.kill();
    let log = machine.start();
    assert_eq!(read(&log), [0, 9]);
    assert!(machine.reader().verify(&mut |_, _| {}).unwrap().logs[0].ledger_closes);
}

#[test]
fn rule_6_each_opening_has_an_epoch_of_its_own() {
    let mut machine = Machine::new(|_| {});
    let mut epochs = Vec::new();
    for number in 0..3 {
        append_by_hand(&machine.start(), number..number + 1, 100);
        epochs.push(machine.spool().epoch());
        machine.kill();
    }
    let frames = drain(&mut cursor(&machine.start(), "c"));
    assert_eq!(frames.iter().map(|frame| frame.epoch).collect::<Vec<_>>(), epochs);
    assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2] && epochs[0] != epochs[2], "{epochs:?}");
}

#[test]
fn rule_7_what_a_failed_sync_left_in_doubt_is_durable_in_another_file_before_the_ack() {
    for seed in 0..16 {
        let mut machine = Machine::of(seed, |_| {});
        let log = machine.start();
        append_by_hand(&log, 0..3, 100);
        // A write and its sync.
        machine.fail(&[Call::Sync], 2, Errno::IO);
        append_by_hand(&log, 3..4, 100);
        assert_eq!(segments(&log).len(), 2);
        machine.lose_power(Left::Nothing);
        assert_eq!(read(&machine.start()), [0, 1, 2, 3], "seed {seed}");
    }
}

#[test]
fn rule_7_what_shares_a_block_with_what_a_failed_sync_lost_is_rewritten_too() {
    let mut machine = Machine::new(|_| {});
    let log = machine.start();
    append_by_hand(&log, 0..3, 100);
    machine.fail(&[Call::Sync], 2, Errno::IO);
    append_by_hand(&log, 3..4, 100);
    let poisoned = segments(&log)[0].path.clone();
    machine.kill();
    // The drive lost the whole block.
    machine.disk.open(&poisoned, Access::Write).unwrap().write_bytes(&[0; 4096], DATA_AT).unwrap();
    assert_eq!(read(&machine.start()), [0, 1, 2, 3]);
}

#[test]
fn rule_7_what_the_power_took_of_the_next_segment_is_torn_not_a_failed_sync() {
    let mut machine = Machine::new(|_| {});
    let log = machine.start();
    append_by_hand(&log, 0..1, 100);
    // A write and its sync.
    machine.fail(&[Call::Sync], 2, Errno::IO);
    append_by_hand(&log, 1..2, 100);
    let second = segments(&log)[1].path.clone();
    drop(cursor(&log, "c"));
    // One group, of which the power left the last frame.
    let acks: Vec<_> = (2..4).map(|number| log.append(1, payload(number, 100), 1).unwrap()).collect();
    machine.spool().turn_writers();
    drop(acks);
    machine.kill();
    let lost = DATA_AT + 2 * frame::frame_len(100);
    let file = machine.disk.open(&second, Access::Write).unwrap();
    file.write_bytes(&[0; frame::frame_len(100) as usize], lost).unwrap();
    drop(file);
    let log = machine.start();
    drain(&mut cursor(&log, "c"));
    let reasons: Vec<_> = log.losses().unwrap().iter().map(|loss| (loss.reason, loss.items)).collect();
    assert!(reasons.contains(&("torn", 1)) && reasons.iter().all(|(reason, _)| *reason == "torn"), "{reasons:?}");
}

#[test]
fn rule_7_frames_from_the_first_sequence_of_the_next_segment_on_are_not_data() {
    let mut machine = Machine::new(|_| {});
    let log = machine.start();
    append_by_hand(&log, 0..4, 100);
    let old = segments(&log)[0].header;
    machine.kill();
    // Of these four, another segment has the last two otherwise.
    let totals = Totals { frames: 2, items: 2, bytes: 200 };
    let header = SegmentHeader { segment_id: 2, epoch: 1, first_sequence: 3, after_sequence: 2, totals, ..old };
    let payload = payload(7, 100);
    let frame =
        FrameHeader { kind: kind::DATA, content: 1, length: 100, items: 1, sequence: 3, time: 0, synced_to: 2, totals };
    let frame = frame.encode(header.seed(), DATA_AT);
    let (trailer, length) = frame::trailer(&frame, &payload);
    let bytes = [&header.encode_block()[..], &frame, &payload, &trailer[..length]].concat();
    let file = machine.disk.open(&log.0.dir.join(names::segment_file(2)), Access::Create).unwrap();
    file.write_bytes(&bytes, 0).unwrap();
    assert_eq!(read(&machine.start()), [0, 1, 7]);
}

/// Frames of a write that was refused are in the file, and its footer, which would say where the data ends, is not.
#[test]
fn rule_8_what_a_full_disk_cut_off_is_no_data_of_a_segment_that_has_a_next() {
    let mut left_behind = 0;
    for failing in 0..12 {
        let mut machine = Machine::new(|_| {});
        let log = machine.start();
        // Nothing may go for want of room.
        let wants = cursor(&log, "reader");
        append_by_hand(&log, 0..2, 100);
        let refused: Vec<_> = (2..5).map(|n| log.append(1, payload(n, 100), 1).unwrap()).collect();
        let fault = |from, trouble| Fault { from, to: from + 1, calls: vec![Call::Write], trouble };
        let next = machine.disk.calls() + 1;
        machine.disk.add(fault(next, Trouble::Short));
        machine.disk.add(fault(next + 1, Trouble::Fails(Errno::NOSPC)));
        machine.spool().turn_writers();
        assert!(refused.into_iter().all(|ack| ack.wait().is_err_and(|e| e.is_full())));
        // The disk is looked at again, and has room.
        machine.clock.go(BACKOFF);
        machine.spool().turn_housekeeper();
        machine.disk.add(fault(machine.disk.calls() + 1 + failing, Trouble::Fails(Errno::NOSPC)));
        let acked = log.append_wait(1, payload(5, 60_000), 1).is_ok();
        let unsealed = segments(&log).len() == 2 && !segments(&log)[0].end(&log.0.env, u64::MAX).unwrap().sealed;
        left_behind += u32::from(unsealed);
        drop(wants);
        machine.kill();
        machine.disk.heal();
        let log = machine.start();
        let mut c = cursor(&log, "reader");
        let given = numbers(&drain(&mut c));
        assert_eq!(c.pending().items, given.len() as u64, "{failing}: {given:?}");
        assert!(given.starts_with(&[0, 1]) && given.contains(&5) == acked, "{failing}: {given:?}");
        assert!(!acked || given == [0, 1, 5], "{failing}: {given:?}");
    }
    assert!(left_behind > 0, "the footer was to fail once");
}

#[test]
fn rule_7_a_poisoned_file_is_not_recycled() {
    let mut machine = Machine::new(|o| o.log.retain_size = 0);
    let log = machine.start();
    let mut c = cursor(&log, "c");
    append_by_hand(&log, 0..8, 6000);
    machine.fail(&[Call::Sync], 2, Errno::IO);
    append_by_hand(&log, 8..10, 6000);
    let poisoned = segments(&log)[0].path.clone();
    deliver(&mut c);
    machine.moments(&[]);
    machine.spool().turn_housekeeper();
    let gone: Vec<_> =
        machine.moments(&[Call::Rename, Call::Remove]).into_iter().map(|m| (m.after.0, m.after.1)).collect();
    assert_eq!(gone, [(Call::Remove, poisoned)]);
}

#[test]
fn rule_7_a_cursor_file_whose_sync_failed_is_not_written_again() {
    let mut machine = Machine::new(|_| {});
    let log = machine.start();
    let mut c = cursor(&log, "c");
    let file = log.0.dir.join("cursors/c");
    machine.fail(&[Call::Sync], 2, Errno::IO);
    c.flush().unwrap_err();
    machine.moments(&[]);
    for _ in 0..2 {
        c.flush().unwrap();
    }
    let calls: Vec<_> = machine.moments(&CHANGES).into_iter().map(|m| (m.after.0, m.after.1)).collect();
    let named = calls.iter().position(|call| *call == (Call::Rename, file.clone())).expect("another takes its name");
    assert!(calls[..named].iter().all(|(_, path)| *path != file), "{calls:?}");
}

#[test]
fn rule_7_an_opening_whose_sync_fails_shows_what_the_disk_has() {
    for seed in 0..16 {
        let mut machine = Machine::of(seed, |o| o.log.durability = Durability::Os);
        append_by_hand(&machine.start(), 0..3, 6000);
        machine.kill();
        machine.fail(&[Call::Sync], 1000, Errno::IO);
        let shown = machine.start().durable_sequence();
        machine.disk.heal();
        machine.lose_power(Left::Nothing);
        assert_eq!(machine.start().durable_sequence(), shown, "seed {seed}");
    }
}

#[test]
fn rule_9_no_reader_sees_a_frame_whose_sync_failed_until_another_works() {
    let mut machine = Machine::new(|_| {});
    let log = machine.start();
    let mut c = cursor(&log, "c");
    append_by_hand(&log, 0..1, 100);
    assert_eq!(numbers(&drain(&mut c)), [0]);
    machine.fail(&[Call::Sync, Call::Create], 1000, Errno::IO);
    assert!(log.append_wait(1, payload(1, 100), 1).unwrap_err().is_poisoned());
    assert_eq!(numbers(&drain(&mut c)), [0; 0]);
    machine.disk.heal();
    machine.pass(BACKOFF);
    assert_eq!(numbers(&drain(&mut c)), [1]);
}

#[test]
fn rule_9_a_reader_beside_the_writer_sees_what_a_later_frame_calls_durable() {
    let mut machine = Machine::new(|o| o.log.durability = Durability::Interval);
    let log = machine.start();
    append_by_hand(&log, 0..2, 100);
    let mut beside = machine.reader().read("log", From::Oldest).unwrap();
    assert!(beside.next().unwrap().is_none(), "nothing is synced");
    machine.pass(machine.options.log.sync_interval);
    assert!(beside.next().unwrap().is_none(), "nothing on the disk says that it is");
    machine.pass(Duration::from_millis(20));
    assert!(beside.next().unwrap().is_some() && beside.next().unwrap().is_some());
}

#[test]
fn rule_10_a_file_gets_its_name_when_its_bytes_are_durable() {
    let mut machine = Machine::new(|o| {
        o.log.durability = Durability::Os;
        o.log.retain_size = 0;
    });
    let log = machine.start();
    let mut c = cursor(&log, "c");
    append_by_hand(&log, 0..40, 6000);
    deliver(&mut c);
    machine.spool().turn_housekeeper();
    append_by_hand(&log, 40..80, 6000);
    // Of the last segment only the last write is left: the bytes before it are set aside.
    machine.lose_power(Left::LastWrites);
    machine.start();
    let moments = machine.moments(&[Call::Create, Call::Rename]);
    let (made, named): (Vec<_>, Vec<_>) = moments.into_iter().partition(|moment| moment.after.0 == Call::Create);
    for Moment { after: (_, path, _), tree, .. } in &named {
        assert!(tree.is_synced(path), "{}", path.display());
    }
    let count = |of: &[Moment], part: &str| of.iter().filter(|m| m.after.1.to_str().unwrap().contains(part)).count();
    for kind in ["/spool.id", "/cursors/c", "/seg-", "/spare-", "/damaged/"] {
        assert!(count(&named, kind) > 0, "none of {kind}");
    }
    assert!(count(&named, "/seg-") > count(&made, "/spare-"), "some are recycled");
}

#[test]
fn rule_10_a_file_is_written_again_only_when_its_old_name_is_durably_gone() {
    let mut machine = Machine::new(|o| o.log.retain_size = 0);
    let log = machine.start();
    let mut c = cursor(&log, "c");
    append_by_hand(&log, 0..30, 6000);
    deliver(&mut c);
    machine.spool().turn_housekeeper();
    machine.moments(&[]);
    append_by_hand(&log, 30..50, 6000);
    for moment in machine.moments(&CHANGES) {
        let mut image = machine.cut(&moment.tree, Left::Nothing);
        image.start();
        let damage = image.reader().verify(&mut |_, _| {}).unwrap().logs.remove(0).damage;
        assert!(damage.is_empty(), "{:?}: {damage:?}", moment.after);
    }
}

#[test]
fn rule_10_a_file_that_a_reader_elsewhere_holds_is_not_recycled() {
    let mut machine = Machine::new(|o| o.log.retain_size = 0);
    let log = machine.start();
    let mut c = cursor(&log, "c");
    append_by_hand(&log, 0..30, 6000);
    let files = Files::open(&machine.reader(), "log", false).unwrap();
    let held = files.table().all(files.env()).unwrap();
    // One that has its lock, and one that comes for it when the file has another name already.
    let first = files.open(&held[0]).unwrap();
    let second = held[1].open(files.env()).unwrap();
    deliver(&mut c);
    machine.spool().turn_housekeeper();
    assert!(second.try_lock(false).unwrap());
    append_by_hand(&log, 30..60, 6000);
    for (segment, file) in held.iter().zip([first, second]) {
        assert!(segment.is_mine(&*file).unwrap(), "{}", segment.path.display());
    }
}

#[test]
fn rule_11_a_cursor_is_durably_moved_before_what_it_wants_goes() {
    let mut machine = Machine::new(|o| {
        o.log.on_full = OnFull::DropOldest;
        o.log.max_size = Some(448 << 10);
    });
    let log = machine.start();
    let (_slow, mut fast) = (cursor(&log, "slow"), cursor(&log, "fast"));
    for number in 0..120 {
        append_by_hand(&log, number..number + 1, 6000);
        // Done, but not durably: it is behind all the same.
        drain(&mut fast);
        fast.ack(0, u64::MAX, 0).unwrap();
    }
    for moment in machine.moments(&[Call::Rename, Call::Remove, Call::SyncDir]) {
        let mut image = machine.cut(&moment.tree, Left::Nothing);
        let log = image.start();
        for name in ["slow", "fast"] {
            drain(&mut cursor(&log, name));
        }
        for loss in log.losses().unwrap() {
            assert_eq!((loss.cursor.as_deref(), loss.reason), (Some("slow"), "full"), "{:?}", moment.after);
        }
    }
    assert!(log.losses().unwrap().iter().any(|loss| loss.items > 0));
}

#[test]
fn rule_15_a_cursors_write_is_durable_when_it_returns() {
    let mut machine = Machine::new(|_| {});
    let log = machine.start();
    let sequences = append_by_hand(&log, 0..3, 100);
    let mut c = cursor(&log, "c");
    for left in [Left::Nothing, Left::Names] {
        let mut image = machine.cut(&machine.disk.tree(), left);
        let log = image.start();
        assert_eq!((log.orphans().len(), log.opening().lost_cursors.len()), (1, 0), "{left:?}: its file is there");
    }
    drain(&mut c);
    for sequence in &sequences[..2] {
        c.ack(*sequence, *sequence, 0).unwrap();
        c.flush().unwrap();
    }
    machine.lose_power(Left::Nothing);
    assert_eq!(numbers(&drain(&mut cursor(&machine.start(), "c"))), [2]);
}

#[test]
fn rule_16_a_removed_cursor_does_not_come_back() {
    let mut machine = Machine::new(|_| {});
    let log = machine.start();
    append_by_hand(&log, 0..1, 100);
    drop(cursor(&log, "c"));
    log.remove_cursor("c").unwrap();
    machine.lose_power(Left::Nothing);
    assert_eq!(machine.start().orphans(), []);
}

/// A letter about a frame.
fn letter(sequence: u64) -> DeadLetter {
    let payload = payload(0, 1000);
    DeadLetter { sequence, first_item: 0, items: 1, content: 1, payload, reason: "no".to_owned() }
}

#[test]
fn rule_17_a_dead_letter_is_durable_before_its_frame_is_passed() {
    let mut machine = Machine::new(|_| {});
    let log = machine.start();
    let sequences = append_by_hand(&log, 0..1, 100);
    let mut c = cursor(&log, "c");
    drain(&mut c);
    let mut parked = c.append_letter(letter(sequences[0])).unwrap();
    assert!(poll(&mut parked).is_none(), "nobody wrote it");
    machine.spool().turn_writers();
    poll(&mut parked).unwrap().unwrap();
    machine.lose_power(Left::Nothing);
    machine.start();
    let frame = machine.reader().read_dead_letters("log").unwrap().next().unwrap().unwrap();
    let (_, found) = DeadLetter::from_frame(&frame).unwrap();
    assert_eq!((found.sequence, found.payload), (sequences[0], letter(sequences[0]).payload));
}

#[test]
fn rule_17_the_spare_of_the_dead_letters_outlives_the_power() {
    let mut machine = Machine::new(|_| {});
    machine.start();
    machine.clock.go(Duration::from_secs(2));
    machine.spool().turn_housekeeper();
    machine.lose_power(Left::Nothing);
    let log = machine.start();
    let sequences = append_by_hand(&log, 0..1, 100);
    let mut c = cursor(&log, "c");
    drain(&mut c);
    machine.disk.leave(0);
    let mut parked = c.append_letter(letter(sequences[0])).unwrap();
    machine.spool().turn_writers();
    poll(&mut parked).unwrap().expect("there is room for a letter on a full disk");
}

#[test]
fn rule_19_bytes_that_an_opening_set_aside_are_told_once_whatever_the_power_took() {
    let mut machine = Machine::new(|o| o.log.durability = Durability::Os);
    append_by_hand(&machine.start(), 0..3, 6000);
    machine.lose_power(Left::LastWrites);
    // The log goes on in another segment: only the copy knows.
    let log = machine.start();
    append_by_hand(&log, 3..4, 100);
    let found = log.losses().unwrap();
    assert_eq!(found.iter().map(|loss| loss.reason).collect::<Vec<_>>(), ["torn"]);
    machine.lose_power(Left::Nothing);
    let log = machine.start();
    assert_eq!(log.losses().unwrap(), found);
    log.told(&found[0]).unwrap();
    machine.lose_power(Left::Nothing);
    assert_eq!(machine.start().losses().unwrap(), []);
}

#[test]
fn rule_19_a_loss_is_on_the_disk_before_it_is_told() {
    let mut machine = Machine::new(|o| o.log.durability = Durability::Os);
    let log = machine.start();
    drop(cursor(&log, "c"));
    append_by_hand(&log, 0..3, 6000);
    machine.lose_power(Left::LastWrites);
    let log = machine.start();
    drain(&mut cursor(&log, "c"));
    let of_cursor =
        |log: &Log| log.losses().unwrap().into_iter().filter(|loss| loss.cursor.is_some()).collect::<Vec<_>>();
    let told = of_cursor(&log);
    assert_eq!(told.len(), 1);
    machine.lose_power(Left::Nothing);
    assert_eq!(of_cursor(&machine.start()), told, "nobody read anything");
}

#[test]
fn rule_20_what_a_killed_opening_left_undone_the_next_one_does() {
    let mut first = Machine::new(|_| {});
    let log = first.start();
    drop(cursor(&log, "c"));
    append_by_hand(&log, 0..1, 100);
    first.kill();
    for moment in first.moments(&CHANGES) {
        let mut next = first.killed(&moment.tree);
        drop(cursor(&next.start(), "c"));
        next.lose_power(Left::Nothing);
        assert_eq!(next.start().orphans().len(), 1, "{:?}: the cursor", moment.after);

        let mut next = first.killed(&moment.tree);
        append_by_hand(&next.start(), 1..2, 100);
        next.lose_power(Left::Nothing);
        assert!(read(&next.start()).contains(&1), "{:?}: the frame", moment.after);
    }
}

#[test]
fn rule_21_what_an_opening_found_outlives_the_power() {
    let mut machine = Machine::new(|o| o.log.durability = Durability::Os);
    append_by_hand(&machine.start(), 0..2, 100);
    machine.kill();
    assert_eq!(read(&machine.start()), [0, 1], "the kernel had it");
    machine.lose_power(Left::Nothing);
    assert_eq!(read(&machine.start()), [0, 1]);
}
