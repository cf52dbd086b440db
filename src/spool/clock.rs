//! The clocks. Time never orders anything; it stamps, measures age, and says when something is due.

use std::fmt;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// Where the log gets its time from.
pub(crate) trait Clock: fmt::Debug + Send + Sync {
    /// Nanoseconds since 1970.
    fn wall(&self) -> u64;
    /// Since the machine started, suspended time included. Only differences mean anything.
    fn boot(&self) -> Duration;
    /// Since some moment, suspended time left out: for what is due. Only differences mean anything.
    fn monotonic(&self) -> Duration;
}

/// The operating system's clocks.
#[derive(Debug)]
pub(crate) struct RealClock;

impl Clock for RealClock {
    #[allow(clippy::disallowed_methods, reason = "the clock")]
    fn wall(&self) -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
    }

    fn boot(&self) -> Duration {
        read(ClockId::Boottime)
    }

    fn monotonic(&self) -> Duration {
        read(ClockId::Monotonic)
    }
}

fn read(clock: ClockId) -> Duration {
    let now = clock_gettime(clock);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

/// The age of something stamped `then`, when it is `now`; nothing is younger than zero.
pub(crate) fn age(then: u64, now: u64) -> Duration {
    Duration::from_nanos(now.saturating_sub(then))
}

/// Nanoseconds since 1970, by the operating system.
pub(crate) fn now() -> u64 {
    RealClock.wall()
}
