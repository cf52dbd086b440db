//! The power goes at the worst moment: of what was not synced nothing is left, or only names. No chance is in it, so
//! that each sync has a test which fails without it.
//!
//! Workers have no threads: they take their turns when they are told to.

mod files;
mod kept;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::io::Errno;

use super::super::{cursor, drain, numbers, payload};
use super::dice::Dice;
use super::disk::{CHANGES, Call, Observer, SimDisk};
use super::machine::{SimClock, SimRandom};
use super::plan::SEGMENT;
use super::recorder::{Moment, Recorder, poll};
use super::story::DIR;
use super::tree::{Left, Tree};
use super::trouble::{Fault, Trouble};
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
    Cursor, DeadLetter, Durability, From, Log, LogOptions, Need, OnFull, Options, Reader, Spool, Start, names, recovery,
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

/// As long as a log backs off at most, and more.
const BACKOFF: Duration = Duration::from_secs(6);
