//! The log itself, as a library user has it.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use tidegate::spool::{Durability, Log, LogOptions, Options, Spool};

use super::bare::pattern;
use super::turn::{Turn, Until};

/// Delivered bytes that a recycling log keeps: beyond it, segments are reused.
const RETAINED_BYTES: u64 = 64 << 20;

/// A log and what is appended to it.
pub(super) struct Ours {
    pub(super) spool: Spool,
    pub(super) log: Log,
    payload: Bytes,
}

impl Ours {
    /// A log that nothing wants and that keeps little: it has gone once around, so that every segment is a recycled
    /// one.
    pub(super) fn recycling(dir: &Path, payload: usize, durability: Durability) -> Result<Self, Box<dyn Error>> {
        let ours = Self::open(dir, payload, durability, RETAINED_BYTES)?;
        ours.fill(4 * RETAINED_BYTES)?;
        Ok(ours)
    }

    /// A log that keeps all: every segment is a file that grows.
    pub(super) fn growing(dir: &Path, payload: usize, durability: Durability) -> Result<Self, Box<dyn Error>> {
        Self::open(dir, payload, durability, u64::MAX)
    }

    fn open(dir: &Path, payload: usize, durability: Durability, retain_size: u64) -> Result<Self, Box<dyn Error>> {
        let log = LogOptions { retain_size, durability, ..LogOptions::default() };
        let options = Options { max_size: Some(64 << 30), log, ..Options::default() };
        let spool = Spool::open(&dir.join("spool"), options)?;
        let log = spool.log("bench")?;
        Ok(Self { spool, log, payload: Bytes::from(pattern(payload)) })
    }

    /// Appends so many payload bytes in large groups.
    pub(super) fn fill(&self, bytes: u64) -> Result<(), Box<dyn Error>> {
        let group = ((4 << 20) / self.payload.len()).max(1);
        let mut left = bytes / self.payload.len() as u64;
        while left > 0 {
            let count = left.min(group as u64);
            let acks: Result<Vec<_>, _> = (0..count).map(|_| self.log.append(1, self.payload.clone(), 1)).collect();
            for ack in acks? {
                ack.wait()?;
            }
            left -= count;
        }
        Ok(())
    }

    /// Producers that append at once, each waiting for its own ack.
    pub(super) fn turn(&self, producers: usize, until: Until) -> Result<Turn, Box<dyn Error>> {
        let until = match until {
            Until::Bytes(bytes) => Until::Bytes(bytes / producers as u64),
            other => other,
        };
        let turns: Result<Vec<Turn>, tidegate::spool::Error> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..producers).map(|_| scope.spawn(|| self.producer(until))).collect();
            threads.into_iter().filter_map(|t| t.join().ok()).collect()
        });
        Turn::join(turns?).ok_or_else(|| "no producer ended".into())
    }

    fn producer(&self, until: Until) -> Result<Turn, tidegate::spool::Error> {
        let mut turn = Turn::begin(self.payload.len());
        while turn.goes_on(until) {
            let start = Instant::now();
            match self.log.append_wait(1, self.payload.clone(), 1) {
                Ok(_) => turn.count(start),
                Err(error) => match error.retry_after() {
                    Some(delay) => std::thread::sleep(delay),
                    None => return Err(error),
                },
            }
        }
        Ok(turn.end())
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        if let Err(error) = self.spool.close() {
            eprintln!("closing the measured spool: {error}");
        }
    }
}
