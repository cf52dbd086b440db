//! How long to wait after a failure.

use std::time::Duration;

use super::RetrySettings;

/// A wait is never shorter than this, whatever is configured: no loop without a pause.
const SHORTEST: Duration = Duration::from_millis(10);
/// A backend's own delay is obeyed up to this: one that names years would otherwise stop delivery for good.
const LONGEST_THROTTLE: Duration = Duration::from_secs(300);

/// Exponential backoff with jitter.
#[derive(Debug)]
pub(super) struct Backoff {
    settings: RetrySettings,
    /// The next wait before jitter.
    next: Duration,
}

impl Backoff {
    pub(super) fn new(settings: RetrySettings) -> Self {
        Self { next: settings.initial_interval, settings }
    }

    /// Back to the first wait, after a success.
    pub(super) fn reset(&mut self) {
        self.next = self.settings.initial_interval;
    }

    /// The wait after a failure; each is longer than the one before, up to `max_interval`.
    pub(super) fn after_failure(&mut self) -> Duration {
        let wait = self.next.min(self.settings.max_interval);
        let longer = wait.as_secs_f64() * self.settings.multiplier.max(1.0);
        self.next = Duration::try_from_secs_f64(longer).unwrap_or(Duration::MAX).min(self.settings.max_interval);
        self.spread(wait)
    }

    /// The wait after a refusal: `max_interval`.
    pub(super) fn after_refusal(&self) -> Duration {
        self.spread(self.settings.max_interval)
    }

    /// The wait that a backend asked for.
    pub(super) fn throttled(&mut self, asked: Duration) -> Duration {
        if asked.is_zero() { self.after_failure() } else { asked.clamp(SHORTEST, LONGEST_THROTTLE) }
    }

    /// Spreads a wait, so that the senders that one outage stopped do not all come back at once.
    fn spread(&self, wait: Duration) -> Duration {
        let share = self.settings.randomization_factor.clamp(0.0, 1.0);
        let factor = 1.0 + share * (2.0 * fastrand::f64() - 1.0);
        Duration::try_from_secs_f64(wait.as_secs_f64() * factor).unwrap_or(wait).max(SHORTEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(initial: u64, max: u64, factor: f64) -> RetrySettings {
        RetrySettings {
            initial_interval: Duration::from_secs(initial),
            max_interval: Duration::from_secs(max),
            randomization_factor: factor,
            ..RetrySettings::default()
        }
    }

    #[test]
    fn waits_grow_to_the_longest_and_start_over_after_success() {
        let mut backoff = Backoff::new(settings(4, 10, 0.0));
        let waits: Vec<f64> = (0..4).map(|_| backoff.after_failure().as_secs_f64()).collect();
        assert_eq!(waits, [4.0, 6.0, 9.0, 10.0]);
        backoff.reset();
        assert_eq!(backoff.after_failure(), Duration::from_secs(4));
    }

    #[test]
    fn waits_are_spread_by_the_factor_and_no_more() {
        let backoff = Backoff::new(settings(5, 30, 0.5));
        let waits: Vec<Duration> = (0..200).map(|_| backoff.after_refusal()).collect();
        assert!(waits.iter().all(|w| (Duration::from_secs(15)..=Duration::from_secs(45)).contains(w)));
        assert!(waits.iter().max() > waits.iter().min());
    }

    #[test]
    fn a_backends_delay_is_obeyed_within_reason() {
        let mut backoff = Backoff::new(settings(5, 30, 0.0));
        assert_eq!(backoff.throttled(Duration::from_secs(60)), Duration::from_secs(60));
        assert_eq!(backoff.throttled(Duration::from_secs(86_400 * 365)), LONGEST_THROTTLE);
        assert_eq!(backoff.throttled(Duration::ZERO), Duration::from_secs(5));
    }

    #[test]
    fn odd_settings_neither_panic_nor_spin() {
        let odd = RetrySettings {
            initial_interval: Duration::ZERO,
            max_interval: Duration::MAX,
            multiplier: f64::INFINITY,
            randomization_factor: f64::NAN,
            ..RetrySettings::default()
        };
        let mut backoff = Backoff::new(odd);
        assert!((0..5).all(|_| backoff.after_failure() >= SHORTEST));
        assert!(backoff.after_refusal() >= SHORTEST);
    }
}
