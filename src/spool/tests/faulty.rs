//! A log on a disk that fails on purpose, and what appends to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::fault_disk::{Fault, FaultDisk, Op};
use super::sim::SimClock;
use super::*;
use crate::spool::Error;
use crate::spool::clock::{Clock, RealClock};
use crate::spool::env::Env;

pub(super) struct Faulty {
    pub(super) disk: FaultDisk,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) bench: Bench,
}

impl Faulty {
    pub(super) fn new(change: impl FnOnce(&mut Options)) -> Self {
        Self::under(Arc::new(RealClock), change)
    }

    /// Time stands still: no quiet moment passes, and no mark is written that meets a fault in a frame's place.
    pub(super) fn at_rest(change: impl FnOnce(&mut Options)) -> Self {
        Self::under(Arc::new(SimClock::new(0)), change)
    }

    pub(super) fn under(clock: Arc<dyn Clock>, change: impl FnOnce(&mut Options)) -> Self {
        let mut bench = Bench::with(change);
        drop(bench.spool.take());
        let mut faulty = Self { disk: FaultDisk::default(), clock, bench };
        faulty.open();
        faulty
    }

    pub(super) fn open(&mut self) -> Log {
        let disk = Arc::new(self.disk.clone());
        let clock = self.clock.clone();
        self.bench.spool = Some(self.bench.open_on(Env { disk, clock, ..Env::real() }));
        self.bench.log()
    }

    /// Ends as a crash does, opens again on a sound disk, answers all numbers found.
    pub(super) fn recovered(&mut self) -> Vec<u64> {
        drop(self.bench.spool.take());
        self.disk.heal();
        let log = self.open();
        numbers(&drain(&mut cursor(&log, "after")))
    }

    pub(super) fn fail(&self, op: Op, file: &'static str, times: usize, errno: Errno) {
        self.disk.add(Fault { op, file, skip: 0, times, errno });
    }
}

pub(super) fn try_append(log: &Log, number: u64) -> Result<u64, Error> {
    log.append(1, payload(number, 100), 1)?.wait().map(|a| a.sequence)
}

/// Appends until it succeeds: the log is to resume by itself.
pub(super) fn append_until_taken(log: &Log, number: u64) {
    let until = Instant::now() + Duration::from_secs(20);
    while let Err(error) = try_append(log, number) {
        assert!(Instant::now() < until, "{error}");
        assert!(error.is_full() || error.is_poisoned(), "{error}");
        let delay = error.retry_after().expect("full and poisoned say when to try again");
        std::thread::park_timeout(delay);
    }
}

/// Appends each number once, waiting after a refusal as it says; answers the acked ones.
pub(super) fn append_what_is_taken(log: &Log, count: u64, bytes: usize) -> Vec<u64> {
    let taken = |number: &u64| match log.append(1, payload(*number, bytes), 1).and_then(|ack| ack.wait()) {
        Ok(_) => true,
        Err(error) => {
            std::thread::park_timeout(error.retry_after().expect("a refusal says when to try again"));
            false
        }
    };
    (0..count).filter(taken).collect()
}

/// Bytes on disk of everything in the log's directory but its cursors, as the log itself counts them and as they are.
pub(super) fn bytes(bench: &Bench, log: &Log) -> (u64, u64) {
    let mut files: Vec<_> = bench.log_dir().read_dir().unwrap().map(Result::unwrap).collect();
    // What the disk itself keeps of removed ones has a name of its own.
    files.retain(|file| file.file_type().unwrap().is_file() && !file.file_name().to_string_lossy().starts_with('.'));
    (log.0.account.bytes(), files.iter().map(|file| file.metadata().unwrap().len()).sum())
}
