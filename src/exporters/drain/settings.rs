//! The checked configuration of a drain.

use std::time::Duration;

use super::rate::MaxRate;

/// `retry_on_failure`.
#[derive(Debug, Clone, PartialEq)]
pub struct RetrySettings {
    /// `false`: a failed request is parked after one attempt.
    pub enabled: bool,
    /// The first wait. Default 5 s.
    pub initial_interval: Duration,
    /// The longest wait. Default 30 s.
    pub max_interval: Duration,
    /// Each wait is this many times the one before. Default 1.5.
    pub multiplier: f64,
    /// Each wait is spread by this share of itself, up or down. Default 0.5.
    pub randomization_factor: f64,
    /// After this time a request's records go to the dead letters; zero: never. Default zero.
    pub max_elapsed_time: Duration,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            enabled: true,
            initial_interval: Duration::from_secs(5),
            max_interval: Duration::from_secs(30),
            multiplier: 1.5,
            randomization_factor: 0.5,
            max_elapsed_time: Duration::ZERO,
        }
    }
}

/// How a cursor is drained.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `retry_on_failure`.
    pub retry: RetrySettings,
    /// `sending_queue.num_consumers`: requests in flight. Default 1.
    pub requests_in_flight: usize,
    /// `sending_queue.batch.max_size` in bytes: frames are concatenated up to this; a larger one goes alone. Default
    /// 2 MiB.
    pub max_batch_bytes: usize,
    /// `sending_queue.batch.max_size` in items: frames are concatenated up to this; one with more is cut. Default: no
    /// limit.
    pub max_batch_items: u64,
    /// The largest request in bytes: a single frame that is larger is cut until its parts fit, as far as it has records
    /// to cut between. Default 4 MiB, which the specification recommends for gRPC.
    pub max_request_bytes: usize,
    /// `max_rate`: bytes a second at most, on average over a few requests, by all drains that have clones of these
    /// settings. Default: no limit.
    pub max_rate: Option<MaxRate>,
    /// `sending_queue.batch.min_size` in bytes: fewer wait for more, `flush_timeout` at most. Default 0.
    pub min_batch_bytes: usize,
    /// `sending_queue.batch.min_size` in items; as above. Default 0.
    pub min_batch_items: u64,
    /// `sending_queue.batch.flush_timeout`: how long what was read waits for more. Default 200 ms.
    pub flush_timeout: Duration,
    /// `permanent_errors: park`: the specification's letter; refusals are parked at once.
    pub park_permanent_errors: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retry: RetrySettings::default(),
            requests_in_flight: 1,
            max_batch_bytes: 2 << 20,
            max_batch_items: u64::MAX,
            max_request_bytes: 4 << 20,
            max_rate: None,
            min_batch_bytes: 0,
            min_batch_items: 0,
            flush_timeout: Duration::from_millis(200),
            park_permanent_errors: false,
        }
    }
}
