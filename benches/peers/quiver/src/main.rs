//! Quiver of the OpenTelemetry Arrow project as a contestant: fed with opaque bytes as its durable buffer feeds it (one
//! row, one binary column), with its defaults but for the time between two syncs.
//!
//! `quiver-peer DIRECTORY PAYLOAD FLUSH_MS`, then on standard input a line a turn, answered by a line:
//! `append PRODUCERS SECONDS` → `COUNT SECONDS P50_US P99_US`; `fill BYTES` → `BYTES SECONDS`; `drain` → `BYTES SECONDS`;
//! `roll SECONDS` → the microseconds of each append of one producer, with a minus where it ended a segment.

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arrow_array::{BinaryArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use otel_arrow_dfe_quiver::record_bundle::{BundleDescriptor, PayloadRef, RecordBundle, SlotDescriptor, SlotId};
use otel_arrow_dfe_quiver::{DiskBudget, QuiverConfig, QuiverEngine, RetentionPolicy, SubscriberId, WalConfig};
use tokio::runtime::Runtime;

/// Where opaque OTLP bytes go in its durable buffer.
const SLOT: SlotId = SlotId(60);

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [dir, payload, flush] = args.as_slice() else { return Err("quiver-peer DIRECTORY PAYLOAD FLUSH_MS".into()) };
    let peer = Peer::open(Path::new(dir), payload.parse()?, Duration::from_millis(flush.parse()?))?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let answer = match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["append", producers, seconds] => peer.append(producers.parse()?, seconds.parse()?)?,
            ["roll", seconds] => peer.roll(seconds.parse()?)?,
            ["fill", bytes] => peer.fill(bytes.parse()?)?,
            ["drain"] => peer.drain()?,
            _ => return Err(format!("no such turn: {line}").into()),
        };
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

struct Peer {
    runtime: Runtime,
    engine: Arc<QuiverEngine>,
    subscriber: SubscriberId,
    bundle: Arc<Bundle>,
    payload: usize,
}

struct Bundle {
    descriptor: BundleDescriptor,
    batch: RecordBatch,
}

impl RecordBundle for Bundle {
    fn descriptor(&self) -> &BundleDescriptor {
        &self.descriptor
    }

    fn ingestion_time(&self) -> SystemTime {
        SystemTime::now()
    }

    fn payload(&self, slot: SlotId) -> Option<PayloadRef<'_>> {
        (slot == SLOT).then_some(PayloadRef { schema_fingerprint: [7; 32], batch: &self.batch })
    }
}

impl Peer {
    /// A flush interval of zero is a sync before each ack.
    fn open(dir: &Path, payload: usize, flush_interval: Duration) -> Result<Self, Box<dyn Error>> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let wal = WalConfig { flush_interval, ..WalConfig::default() };
        let config = QuiverConfig::builder().data_dir(dir).wal(wal).build()?;
        let budget = DiskBudget::for_config(24 << 30, &config, RetentionPolicy::DropOldest)?;
        let engine = runtime.block_on(QuiverEngine::open(config, Arc::new(budget)))?;
        let subscriber = SubscriberId::new("bench")?;
        engine.register_subscriber(subscriber.clone())?;
        engine.activate_subscriber(&subscriber)?;
        let schema = Arc::new(Schema::new(vec![Field::new("bytes", DataType::Binary, false)]));
        let bytes = pattern(payload);
        let batch = RecordBatch::try_new(schema, vec![Arc::new(BinaryArray::from(vec![bytes.as_slice()]))])?;
        let descriptor = BundleDescriptor::new(vec![SlotDescriptor::new(SLOT, "Otlp")]);
        Ok(Self { runtime, engine, subscriber, bundle: Arc::new(Bundle { descriptor, batch }), payload })
    }

    /// Tasks that ingest at once, each waiting for its own.
    fn append(&self, producers: usize, seconds: f64) -> Result<String, Box<dyn Error>> {
        let (begun, limit) = (Instant::now(), Duration::from_secs_f64(seconds));
        let latencies = self.runtime.block_on(async {
            let tasks: Vec<_> = (0..producers)
                .map(|_| {
                    let (engine, bundle) = (Arc::clone(&self.engine), Arc::clone(&self.bundle));
                    tokio::spawn(async move {
                        let mut latencies = Vec::new();
                        while begun.elapsed() < limit {
                            let start = Instant::now();
                            engine.ingest(&*bundle).await.map_err(|e| e.to_string())?;
                            latencies.push(start.elapsed());
                        }
                        Ok::<_, String>(latencies)
                    })
                })
                .collect();
            let mut all = Vec::new();
            for task in tasks {
                all.extend(task.await.map_err(|e| e.to_string())??);
            }
            Ok::<_, String>(all)
        })?;
        let took = begun.elapsed().as_secs_f64();
        let mut sorted = latencies;
        sorted.sort();
        let quantile = |share: f64| {
            let at = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1);
            sorted.get(at).map_or(f64::NAN, |d| d.as_secs_f64() * 1e6)
        };
        let (p50, p99) = (quantile(0.5), quantile(0.99));
        self.forget()?;
        Ok(format!("{} {took} {p50} {p99}", sorted.len()))
    }

    /// One task that ingests, and which of its appends wrote a segment.
    fn roll(&self, seconds: f64) -> Result<String, Box<dyn Error>> {
        let (begun, limit) = (Instant::now(), Duration::from_secs_f64(seconds));
        let (engine, bundle) = (Arc::clone(&self.engine), Arc::clone(&self.bundle));
        let task = self.runtime.spawn(async move {
            let mut seen = Vec::new();
            while begun.elapsed() < limit {
                let (before, start) = (engine.total_segments_written(), Instant::now());
                engine.ingest(&*bundle).await.map_err(|e| e.to_string())?;
                let micros = start.elapsed().as_secs_f64() * 1e6;
                let crossed = engine.total_segments_written() > before;
                seen.push(format!("{:.1}", if crossed { -micros } else { micros }));
            }
            Ok::<_, String>(seen)
        });
        let seen = self.runtime.block_on(task)??;
        self.forget()?;
        Ok(seen.join(" "))
    }

    /// Drops between turns what nobody reads, so that each begins alike.
    fn forget(&self) -> Result<(), Box<dyn Error>> {
        self.engine.force_drop_oldest_pending_segments();
        self.runtime.block_on(self.engine.maintain())?;
        Ok(())
    }

    fn fill(&self, bytes: u64) -> Result<String, Box<dyn Error>> {
        let start = Instant::now();
        let count = bytes / self.payload as u64;
        self.runtime.block_on(async {
            for _ in 0..count {
                self.engine.ingest(&*self.bundle).await?;
            }
            self.engine.flush().await
        })?;
        Ok(format!("{} {}", count * self.payload as u64, start.elapsed().as_secs_f64()))
    }

    /// Reads and acks all that it holds.
    fn drain(&self) -> Result<String, Box<dyn Error>> {
        self.runtime.block_on(async {
            let (start, mut bytes) = (Instant::now(), 0);
            let mut last = start;
            while let Some(handle) =
                self.engine.next_bundle(&self.subscriber, Some(Duration::from_millis(50)), None).await?
            {
                std::hint::black_box(handle.data());
                handle.ack();
                bytes += self.payload;
                last = Instant::now();
            }
            self.engine.maintain().await?;
            Ok(format!("{bytes} {}", (last - start).as_secs_f64()))
        })
    }
}

/// Bytes that no file system or disk finds easier than others.
fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}
