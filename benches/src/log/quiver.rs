//! The peer: Quiver of the OpenTelemetry Arrow project, fed with opaque bytes as its durable buffer feeds it (one row,
//! one binary column).

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arrow_array::{BinaryArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use otel_arrow_dfe_quiver::config::{QuiverConfig, WalConfig};
use otel_arrow_dfe_quiver::record_bundle::{BundleDescriptor, PayloadRef, RecordBundle, SlotDescriptor, SlotId};
use otel_arrow_dfe_quiver::{DiskBudget, QuiverEngine, RetentionPolicy, SubscriberId};
use tokio::runtime::Runtime;

use super::bare::pattern;
use super::turn::{Turn, Until};

/// Where opaque OTLP bytes go in its durable buffer.
const SLOT: SlotId = SlotId(60);

pub(super) struct Quiver {
    runtime: Runtime,
    engine: Arc<QuiverEngine>,
    subscriber: SubscriberId,
    bundle: Arc<Bundle>,
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

impl Quiver {
    /// With its defaults, but for the time between two syncs: zero is a sync before each ack.
    pub(super) fn open(dir: &Path, payload: usize, flush_interval: Duration) -> Result<Self, Box<dyn Error>> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let wal = WalConfig { flush_interval, ..WalConfig::default() };
        let config = QuiverConfig::builder().data_dir(dir.join("quiver")).wal(wal).build()?;
        let budget = DiskBudget::for_config(48 << 30, &config, RetentionPolicy::DropOldest)?;
        let engine = runtime.block_on(QuiverEngine::open(config, Arc::new(budget)))?;
        let subscriber = SubscriberId::new("bench")?;
        engine.register_subscriber(subscriber.clone())?;
        engine.activate_subscriber(&subscriber)?;
        let schema = Arc::new(Schema::new(vec![Field::new("bytes", DataType::Binary, false)]));
        let bytes = pattern(payload);
        let batch = RecordBatch::try_new(schema, vec![Arc::new(BinaryArray::from(vec![bytes.as_slice()]))])?;
        let descriptor = BundleDescriptor::new(vec![SlotDescriptor::new(SLOT, "Otlp")]);
        Ok(Self { runtime, engine, subscriber, bundle: Arc::new(Bundle { descriptor, batch }) })
    }

    /// Tasks that ingest at once, each waiting for its own.
    pub(super) fn turn(&self, producers: usize, payload: usize, until: Until) -> Result<Turn, Box<dyn Error>> {
        let until = match until {
            Until::Bytes(bytes) => Until::Bytes(bytes / producers as u64),
            other => other,
        };
        let turns = self.runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..producers {
                let (engine, bundle) = (Arc::clone(&self.engine), Arc::clone(&self.bundle));
                tasks.spawn(async move {
                    let mut turn = Turn::begin(payload);
                    while turn.goes_on(until) {
                        let start = Instant::now();
                        engine.ingest(&*bundle).await.map_err(|e| e.to_string())?;
                        turn.count(start);
                    }
                    Ok::<_, String>(turn.end())
                });
            }
            tasks.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()
        })?;
        Turn::join(turns).ok_or_else(|| "no producer ended".into())
    }

    /// Reads and acks all that it holds; the payload bytes, and how long that took.
    pub(super) fn drain(&self, payload: usize) -> Result<(u64, Duration), Box<dyn Error>> {
        self.runtime.block_on(async {
            self.engine.flush().await?;
            let (start, mut bytes) = (Instant::now(), 0);
            let wait = Some(Duration::from_millis(50));
            let mut last = start;
            while let Some(handle) = self.engine.next_bundle(&self.subscriber, wait, None).await? {
                std::hint::black_box(handle.data());
                handle.ack();
                bytes += payload as u64;
                last = Instant::now();
            }
            self.engine.maintain().await?;
            Ok((bytes, last - start))
        })
    }
}
