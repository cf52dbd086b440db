//! Whole stories on a disk that loses what was not synced: append, read, ack, stop, be killed, lose power, in any
//! order. The same story for the same seed, but for how threads interleave.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fault_disk::FaultDisk;
use super::*;
use crate::spool::env::Env;
use crate::spool::{Durability, OnFull};

/// A small generator: seeds make stories repeatable.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

struct Story {
    dice: Dice,
    disk: FaultDisk,
    dir: TempDir,
    options: Options,
    spool: Option<Spool>,
    log: Option<Log>,
    cursor: Option<Cursor>,
    next: u64,
    /// Acked appends, by number, with their sequence.
    acked: BTreeMap<u64, u64>,
    /// By number: how often the cursor gave it.
    given: BTreeMap<u64, u32>,
    /// Durably passed by the cursor: never to be given again.
    passed: Vec<u64>,
    /// Read and not acked.
    in_hand: Vec<Frame>,
}

impl Story {
    fn new(seed: u64, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options {
            log: LogOptions { segment_size: Some(64 << 10), retain_size: 128 << 10, ..LogOptions::default() },
            max_size: Some(32 << 20),
            min_free_percent: 0,
            ..Options::default()
        };
        change(&mut options);
        let mut story = Self {
            dice: Dice(seed),
            disk: FaultDisk::default(),
            dir: tempfile::tempdir().unwrap(),
            options,
            spool: None,
            log: None,
            cursor: None,
            next: 0,
            acked: BTreeMap::new(),
            given: BTreeMap::new(),
            passed: Vec::new(),
            in_hand: Vec::new(),
        };
        story.open();
        story
    }

    fn open(&mut self) {
        let disk = Arc::new(self.disk.clone());
        let spool = Spool::open_on(Env { disk, ..Env::real() }, self.dir.path(), self.options.clone()).unwrap();
        let log = spool.log("log").unwrap();
        self.cursor = Some(cursor(&log, "c"));
        (self.spool, self.log) = (Some(spool), Some(log));
    }

    fn step(&mut self) {
        match self.dice.roll(20) {
            0..8 => self.append(),
            8..12 => self.read(),
            12..16 => self.ack(),
            16 => self.cursor.as_mut().unwrap().flush().unwrap(),
            17 => self.restart(false, false),
            18 => self.restart(true, false),
            _ => self.restart(true, true),
        }
        assert!(self.cursor.as_ref().unwrap().closes());
    }

    fn append(&mut self) {
        let count = 1 + self.dice.roll(12);
        let log = self.log.clone().unwrap();
        let mut acks = Vec::new();
        for _ in 0..count {
            let size = [20, 300, 3000, 20_000][self.dice.roll(4) as usize];
            acks.push((self.next, log.append(1, payload(self.next, size), 1).unwrap()));
            self.next += 1;
        }
        for (number, ack) in acks {
            let sequence = ack.wait().unwrap().sequence;
            let highest = self.acked.values().max().copied().unwrap_or(0);
            assert!(sequence > highest, "a sequence is given once: {sequence} after {highest}");
            self.acked.insert(number, sequence);
        }
    }

    fn read(&mut self) {
        let most = 1 + self.dice.roll(60_000) as usize;
        let Some(batch) = self.cursor.as_mut().unwrap().next_batch(most).unwrap() else { return };
        for frame in &batch.frames {
            let number = number(&frame.payload);
            assert!(!self.passed.contains(&number), "{number} was durably done and came again");
            *self.given.entry(number).or_default() += 1;
        }
        self.in_hand.extend(batch.frames);
    }

    /// Acks one frame of those in hand, or a range from it on.
    fn ack(&mut self) {
        if self.in_hand.is_empty() {
            return;
        }
        let from = self.dice.roll(self.in_hand.len() as u64) as usize;
        let to = (from + 1 + self.dice.roll(5) as usize).min(self.in_hand.len());
        let done: Vec<Frame> = self.in_hand.drain(from..to).collect();
        for frame in &done {
            self.cursor.as_mut().unwrap().ack(frame.sequence, frame.sequence, 0).unwrap();
        }
        if self.dice.roll(2) == 0 {
            self.cursor.as_mut().unwrap().flush().unwrap();
            self.passed.extend(done.iter().map(|f| number(&f.payload)));
        }
    }

    fn restart(&mut self, crash: bool, power: bool) {
        self.in_hand.clear();
        self.cursor = None;
        let spool = self.spool.take().unwrap();
        if !crash {
            spool.close().unwrap();
        }
        drop((spool, self.log.take()));
        if power {
            let dice = &mut self.dice;
            self.disk.cut_power(&mut || dice.roll(2) == 0).unwrap();
        }
        self.open();
    }

    /// Every acked frame was given, or is given now; and the ledger closes.
    fn end(mut self, may_lose: bool) {
        // With `interval`, what was appended last can be read when its sync was due.
        let view = &self.log.as_ref().unwrap().0.view;
        until("all can be read", || view.front().visible.totals == view.front().totals);
        self.cursor.as_mut().unwrap().rewind();
        for frame in drain(self.cursor.as_mut().unwrap()) {
            let number = number(&frame.payload);
            assert!(!self.passed.contains(&number), "{number} was durably done and came again");
            *self.given.entry(number).or_default() += 1;
        }
        let missing: Vec<&u64> = self.acked.keys().filter(|n| !self.given.contains_key(n)).collect();
        assert!(may_lose || missing.is_empty(), "acked and never given: {missing:?}");
        self.cursor.as_mut().unwrap().ack(0, u64::MAX, 0).unwrap();
        assert_eq!(self.cursor.as_ref().unwrap().pending().items, 0);
        self.cursor = None;
        self.spool.take().unwrap().close().unwrap();
        let verification = Reader::open(self.dir.path()).unwrap().verify(&mut |_, _| {}).unwrap();
        let log = &verification.logs[0];
        assert!(log.ledger_closes, "{log:?}");
        let lost: u64 = log.damage.iter().map(|d| d.frames_lost).sum();
        assert!(may_lose || lost == 0 || log.damage.iter().all(|d| !d.reason.contains("damaged")), "{log:?}");
    }
}

fn stories(count: u64, steps: u64, change: impl Fn(&mut Options), may_lose: bool) {
    for seed in 0..count {
        let seed = std::env::var("STORY_SEED").map_or(seed, |s| s.parse().unwrap());
        let _teller = Teller(seed);
        let mut story = Story::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), &change);
        for _ in 0..steps {
            story.step();
        }
        story.end(may_lose);
    }
}

/// Says which story it was that failed.
struct Teller(u64);

impl Drop for Teller {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("STORY_SEED={}", self.0);
        }
    }
}

fn count(usual: u64) -> u64 {
    std::env::var("STORIES").map_or(usual, |n| n.parse().unwrap())
}

#[test]
fn with_sync_no_acked_frame_is_lost_to_kills_and_power_cuts() {
    stories(count(12), 120, |_| {}, false);
}

#[test]
fn with_interval_kills_lose_nothing_and_power_cuts_leave_a_ledger_that_closes() {
    stories(count(4), 120, |o| o.log.durability = Durability::Interval, true);
}

#[test]
fn with_os_power_cuts_leave_a_ledger_that_closes() {
    stories(count(4), 120, |o| o.log.durability = Durability::Os, true);
}

#[test]
fn with_drop_oldest_the_ledger_closes_through_kills_and_power_cuts() {
    let small = |o: &mut Options| {
        o.max_size = Some(8 << 20);
        o.log.max_size = Some(512 << 10);
        o.log.on_full = OnFull::DropOldest;
    };
    stories(count(6), 150, small, true);
}
