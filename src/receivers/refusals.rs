//! Requests that a receiver refused, counted by reason, and told now and then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often refusals for one reason are told, at most.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP over gRPC.
    Grpc,
    /// OTLP over HTTP.
    Http,
}

/// Why one was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Too much was in flight, or too many passwords were being checked.
    Busy,
    /// A log had no room.
    Full,
    /// A log is closed or poisoned, or the receiver failed.
    Unavailable,
    /// Its body did not go on, or more slowly than others could wait.
    Slow,
    /// Its body ended early.
    Broken,
    /// Body, headers or what it inflates to are larger than a limit.
    TooLarge,
    /// It is not what OTLP has.
    Malformed,
    /// Its client is not who may send.
    Unauthenticated,
    /// No pipeline takes its signal.
    NoPipeline,
    /// A path, method, content type or compression that is not taken.
    Unsupported,
    /// Its sender hung up while it waited for room in a log.
    Cancelled,
}

impl Protocol {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Grpc, Self::Http];

    /// As configuration and metrics have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }
}

impl Reason {
    /// All there are.
    pub const ALL: [Self; 11] = [
        Self::Busy,
        Self::Full,
        Self::Unavailable,
        Self::Slow,
        Self::Broken,
        Self::TooLarge,
        Self::Malformed,
        Self::Unauthenticated,
        Self::NoPipeline,
        Self::Unsupported,
        Self::Cancelled,
    ];

    /// As the metric has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Full => "full",
            Self::Unavailable => "unavailable",
            Self::Slow => "slow",
            Self::Broken => "broken",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Unauthenticated => "unauthenticated",
            Self::NoPipeline => "no_pipeline",
            Self::Unsupported => "unsupported",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The refused requests of one receiver.
#[derive(Debug, Default)]
pub struct Refusals {
    counts: [[AtomicU64; Reason::ALL.len()]; Protocol::ALL.len()],
    told: [Mutex<Told>; Reason::ALL.len()],
}

#[derive(Debug, Default)]
struct Told {
    last: Option<Instant>,
    /// How many were refused since.
    since: u64,
}

impl Refusals {
    /// How many were refused for this reason since the start.
    #[must_use]
    pub fn count(&self, protocol: Protocol, reason: Reason) -> u64 {
        self.counts[protocol as usize][reason as usize].load(Ordering::Relaxed)
    }

    /// Counts one.
    pub(super) fn add(&self, protocol: Protocol, reason: Reason) {
        self.counts[protocol as usize][reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Whether one for this reason is to be told, then with how many were not since the last that was.
    pub(super) fn tell(&self, reason: Reason, now: Instant) -> Option<u64> {
        let mut told = self.told[reason as usize].lock().unwrap_or_else(PoisonError::into_inner);
        if told.last.is_some_and(|last| now.saturating_duration_since(last) < TELL_EVERY) {
            told.since += 1;
            return None;
        }
        let untold = told.since;
        *told = Told { last: Some(now), since: 0 };
        Some(untold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_many_refusals_is_told_with_the_number_of_the_others() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let tell = |reason, seconds| refusals.tell(reason, start + Duration::from_secs(seconds));
        let told = [0, 1, 9, 10, 11, 25].map(|seconds| tell(Reason::Malformed, seconds));
        assert_eq!(told, [Some(0), None, None, Some(2), None, Some(1)]);
        assert_eq!(tell(Reason::NoPipeline, 25), Some(0), "one reason does not hide another");
    }

    #[test]
    fn every_reason_has_a_place_and_a_name_of_its_own() {
        for (at, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, at);
            assert_eq!(Reason::ALL.iter().filter(|other| other.name() == reason.name()).count(), 1, "{reason:?}");
        }
    }
}
