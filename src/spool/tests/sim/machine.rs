//! Clocks and random numbers of a simulated machine.

use std::sync::Mutex;
use std::time::Duration;

use super::dice::Dice;
use crate::spool::Error;
use crate::spool::clock::Clock;
use crate::spool::env::{Random, lock};

/// Clocks that go on when they are told to.
#[derive(Debug)]
pub(crate) struct SimClock(Mutex<Times>);

#[derive(Debug, Clone, Copy)]
struct Times {
    boot: Duration,
    wall: u64,
}

impl SimClock {
    pub(crate) fn new(wall: u64) -> Self {
        Self(Mutex::new(Times { boot: Duration::ZERO, wall }))
    }

    pub(crate) fn go(&self, time: Duration) {
        let mut times = lock(&self.0);
        times.boot += time;
        times.wall = times.wall.saturating_add(time.as_nanos() as u64);
    }

    /// The machine is off for a while, and starts.
    pub(crate) fn reboot(&self, off: Duration) {
        self.go(off);
        lock(&self.0).boot = Duration::ZERO;
    }

    /// Somebody sets the wall clock: by so many nanoseconds, back or forth.
    pub(crate) fn set(&self, by: i64) {
        let mut times = lock(&self.0);
        times.wall = times.wall.saturating_add_signed(by);
    }
}

impl Clock for SimClock {
    fn wall(&self) -> u64 {
        lock(&self.0).wall
    }
    fn boot(&self) -> Duration {
        lock(&self.0).boot
    }
    fn monotonic(&self) -> Duration {
        lock(&self.0).boot
    }
}

/// Random numbers from a seed.
#[derive(Debug)]
pub(crate) struct SimRandom(pub(crate) Mutex<Dice>);

impl Random for SimRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
        let mut dice = lock(&self.0);
        bytes.fill_with(|| dice.next() as u8);
        Ok(())
    }
}
