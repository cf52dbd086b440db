//! One turn of one contestant: how many, how fast, how late.

use std::time::{Duration, Instant};

/// When a turn ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Until {
    After(Duration),
    /// So many payload bytes.
    Bytes(u64),
}

/// What was measured; while it is being measured, too.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    bytes_each: u64,
    begun: Instant,
    pub(super) count: u64,
    pub(super) seconds: f64,
    /// Of each operation.
    pub(super) latencies: Vec<Duration>,
}

impl Turn {
    pub(super) fn begin(bytes_each: usize) -> Self {
        Self { bytes_each: bytes_each as u64, begun: Instant::now(), count: 0, seconds: 0.0, latencies: Vec::new() }
    }

    pub(super) fn goes_on(&self, until: Until) -> bool {
        match until {
            Until::After(time) => self.begun.elapsed() < time,
            Until::Bytes(bytes) => self.count * self.bytes_each < bytes,
        }
    }

    pub(super) fn count(&mut self, start: Instant) {
        self.count += 1;
        self.latencies.push(start.elapsed());
    }

    pub(super) fn end(mut self) -> Self {
        self.seconds = self.begun.elapsed().as_secs_f64();
        self
    }

    /// What several threads did at once.
    pub(super) fn join(turns: Vec<Self>) -> Option<Self> {
        turns.into_iter().reduce(|mut a, b| {
            a.count += b.count;
            a.seconds = a.seconds.max(b.seconds);
            a.latencies.extend(b.latencies);
            a
        })
    }

    pub(super) fn per_second(&self) -> f64 {
        self.count as f64 / self.seconds
    }

    /// The latency below which this share of the operations stays, in microseconds.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort();
        let at = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1);
        sorted.get(at).map_or(f64::NAN, |d| d.as_secs_f64() * 1e6)
    }
}
