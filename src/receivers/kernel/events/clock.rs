//! The kernel stamps events with the boot clock; records carry wall time.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

/// The distance from the boot clock to the wall clock, measured anew for each batch: the wall clock can be set at any
/// moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WallOffset {
    nanos: i128,
}

impl WallOffset {
    /// Reads both clocks.
    pub(crate) fn measure() -> Self {
        // The wall clock between two readings of the boot clock; of three tries the tightest.
        let tries = (0..3).map(|_| {
            let (before, wall, after) = (boot_nanos(), nanos(clock_gettime(ClockId::Realtime)), boot_nanos());
            (after - before, wall - i128::from(before) - i128::from(after - before) / 2)
        });
        Self { nanos: tries.min_by_key(|(width, _)| *width).map_or(0, |(_, offset)| offset) }
    }

    /// Nanoseconds since 1970 at a boot clock reading.
    pub(crate) fn unix_nanos(self, boot: u64) -> u64 {
        u64::try_from(i128::from(boot) + self.nanos).unwrap_or_default()
    }
}

/// Nanoseconds of the boot clock, which also runs while the machine sleeps.
pub(crate) fn boot_nanos() -> u64 {
    u64::try_from(nanos(clock_gettime(ClockId::Boottime))).unwrap_or_default()
}

/// How long one of the kernel's jiffies is: the coarse clocks advance once in each.
pub(crate) fn jiffy() -> Duration {
    Duration::from_nanos(u64::try_from(nanos(clock_getres(ClockId::MonotonicCoarse))).unwrap_or_default())
}

/// RFC 3339 in UTC with nanoseconds.
pub(crate) fn rfc3339(unix_nanos: u64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(unix_nanos)).map(|time| format!("{time:.9}")).unwrap_or_default()
}

fn nanos(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_by_the_boot_clock_is_now_by_the_wall_clock() {
        let now = WallOffset::measure().unix_nanos(boot_nanos());
        let wall = nanos(clock_gettime(ClockId::Realtime));
        assert!((wall - i128::from(now)).abs() < 1_000_000_000, "{now} against {wall}");
    }

    #[test]
    fn times_have_nine_digits_and_a_z() {
        assert_eq!(rfc3339(1_000_000_000), "1970-01-01T00:00:01.000000000Z");
    }
}
