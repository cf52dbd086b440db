//! When the wall clock may be believed enough to drop by age.

use std::time::Duration;

use super::clock::Clock;

/// Nothing is dropped by age before a log has been open so long: after a long outage exporters get their chance.
const GRACE: Duration = Duration::from_secs(600);
/// When wall clock and boot clock part by more than this, somebody set the wall clock.
const JUMP: Duration = Duration::from_secs(60);
/// How long nothing is dropped by age after that.
const PAUSE: Duration = Duration::from_secs(3600);

/// Watches the clocks.
#[derive(Debug)]
pub(crate) struct AgeGate {
    wall: u64,
    boot: Duration,
    paused_until: Duration,
}

impl AgeGate {
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        Self { wall: clock.wall(), boot: clock.boot(), paused_until: Duration::ZERO }
    }

    /// Compares how far each clock went since the last look.
    pub(crate) fn look(&mut self, clock: &dyn Clock) {
        let (wall, boot) = (clock.wall(), clock.boot());
        let expected = u128::from(self.wall) + boot.saturating_sub(self.boot).as_nanos();
        if u128::from(wall).abs_diff(expected) > JUMP.as_nanos() {
            self.paused_until = boot + PAUSE;
        }
        (self.wall, self.boot) = (wall, boot);
    }

    /// The wall clock at the last look. Ages are measured by it: a clock that was set since is not believed.
    pub(crate) fn wall(&self) -> u64 {
        self.wall
    }

    /// Whether something of a log opened at `opened`, on the boot clock, may be dropped by age now.
    pub(crate) fn allows(&self, clock: &dyn Clock, opened: Duration) -> bool {
        let boot = clock.boot();
        boot >= self.paused_until && boot.saturating_sub(opened) >= GRACE
    }

    /// Whether drops by age pause because the wall clock jumped.
    pub(crate) fn is_paused(&self, clock: &dyn Clock) -> bool {
        clock.boot() < self.paused_until
    }
}
