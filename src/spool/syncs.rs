//! How long syncs take: counted by the writer, read by whoever asks.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::clock::Clock;

/// Upper bounds of the buckets, in microseconds: from a cache that says yes at once to a disk that hangs.
const BOUNDS: [u64; 14] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000];

/// The syncs of one log since it was opened.
#[derive(Debug)]
pub(crate) struct Syncs {
    clock: Arc<dyn Clock>,
    /// One more than there are bounds: what took longer.
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

impl Syncs {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, counts: Default::default(), nanos: AtomicU64::new(0) }
    }

    /// Does a sync, and notes how long it took, whatever came of it.
    pub(crate) fn time(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let began = self.clock.monotonic();
        let synced = sync();
        self.note(self.clock.monotonic().saturating_sub(began));
        synced
    }

    fn note(&self, took: Duration) {
        let bucket = BOUNDS.partition_point(|bound| Duration::from_micros(*bound) < took);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
    }

    pub(crate) fn latency(&self) -> SyncLatency {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(BOUNDS.len());
        for (bound, counted) in BOUNDS.iter().zip(&self.counts) {
            count += counted.load(Ordering::Relaxed);
            buckets.push((Duration::from_micros(*bound), count));
        }
        count += self.counts[BOUNDS.len()].load(Ordering::Relaxed);
        SyncLatency { buckets, count, sum: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)) }
    }
}

/// How long the syncs of a log's open segment took since the log was opened, failed ones too.
///
/// ```
/// # use tidegate::spool::{Options, Spool};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// # let log = spool.log("events")?;
/// log.append_wait(1, "one frame".into(), 1)?;
/// let latency = log.sync_latency();
/// assert!(latency.count > 0 && !latency.sum.is_zero());
/// let (longest, within) = latency.buckets.last().expect("there are always buckets");
/// assert_eq!(longest.as_secs(), 1);
/// assert!(*within <= latency.count);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncLatency {
    /// How many syncs took at most so long, for each of a rising row of bounds up to a second.
    pub buckets: Vec<(Duration, u64)>,
    /// All syncs.
    pub count: u64,
    /// What they took together.
    pub sum: Duration,
}

#[cfg(test)]
mod tests {
    use super::super::clock::RealClock;
    use super::*;

    #[test]
    fn a_sync_counts_in_every_bucket_from_its_own_on() {
        let syncs = Syncs::new(Arc::new(RealClock));
        for micros in [50, 51, 1_000_001] {
            syncs.note(Duration::from_micros(micros));
        }
        let SyncLatency { buckets, count, sum } = syncs.latency();
        assert_eq!((buckets[0], buckets[1]), ((Duration::from_micros(50), 1), (Duration::from_micros(100), 2)));
        assert_eq!((buckets[13], count), ((Duration::from_secs(1), 2), 3));
        assert_eq!(sum, Duration::from_micros(1_000_102));
    }

    #[test]
    fn a_sync_that_fails_is_timed_and_its_error_kept() {
        let syncs = Syncs::new(Arc::new(RealClock));
        let failed = syncs.time(|| Err(io::ErrorKind::StorageFull.into()));
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(syncs.latency().count, 1);
    }
}
