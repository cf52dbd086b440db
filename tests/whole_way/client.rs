//! An application with the OpenTelemetry SDK that sends its log records to the agent, and knows which were acknowledged.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry_otlp::{LogExporter as OtlpExporter, WithExportConfig as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{BatchConfigBuilder, BatchLogProcessor, LogBatch, LogExporter, SdkLoggerProvider};

use crate::support::wait_for;

/// Records in one request.
pub(crate) const BATCH: usize = 200;
/// Between two records, so that the load lasts long enough to be interrupted.
const PACE: Duration = Duration::from_micros(500);
/// Between two tries of a request that failed.
const RETRY: Duration = Duration::from_millis(100);

/// The application, sending on a thread of its own.
pub(crate) struct Client {
    acked: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    count: u64,
}

/// The exporter of the SDK; a request that fails is sent again until it is acknowledged, as the SDK does not.
#[derive(Debug)]
struct UntilAcked {
    exporter: OtlpExporter,
    acked: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
}

impl LogExporter for UntilAcked {
    #[allow(clippy::disallowed_methods, reason = "the SDK's export thread has no timer of a runtime")]
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let records: Vec<_> = batch.iter().collect();
        while let Err(error) = self.exporter.export(LogBatch::new(&records)).await {
            // Shown when the test fails.
            if self.failed.fetch_add(1, Ordering::SeqCst).is_multiple_of(100) {
                println!("the agent did not take {} records: {error}", records.len());
            }
            std::thread::sleep(RETRY);
        }
        self.acked.fetch_add(records.len() as u64, Ordering::SeqCst);
        Ok(())
    }
}

impl Client {
    /// Sends records with `test.sequence` from `first` on, `count` of them, to the agent's gRPC port.
    pub(crate) fn start(agent: SocketAddr, first: i64, count: i64) -> Self {
        Self::start_with(agent, first, count, 0)
    }

    /// As `start`, each record longer by `padding` bytes.
    pub(crate) fn start_with(agent: SocketAddr, first: i64, count: i64, padding: usize) -> Self {
        let acked = Arc::new(AtomicU64::new(0));
        let failed = Arc::new(AtomicU64::new(0));
        let client = Self { acked: Arc::clone(&acked), failed: Arc::clone(&failed), count: count.unsigned_abs() };
        std::thread::spawn(move || send(agent, first..first + count, padding, acked, failed));
        client
    }

    /// How many records the agent has acknowledged.
    pub(crate) fn acked(&self) -> u64 {
        self.acked.load(Ordering::SeqCst)
    }

    /// Waits until the agent has acknowledged every record; how many requests failed on the way and were sent again.
    pub(crate) fn finish(self, limit: Duration) -> u64 {
        let done = wait_for(limit, || (self.acked() == self.count).then_some(()));
        assert!(done.is_some(), "{} of {} records were acknowledged within {limit:?}", self.acked(), self.count);
        self.failed.load(Ordering::SeqCst)
    }
}

#[allow(clippy::disallowed_methods, reason = "the pace of an application")]
fn send(
    agent: SocketAddr,
    sequences: std::ops::Range<i64>,
    padding: usize,
    acked: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _inside = runtime.enter();
    let exporter = OtlpExporter::builder().with_tonic().with_endpoint(format!("http://{agent}")).build().unwrap();
    let count = sequences.end.abs_diff(sequences.start);
    let exporter = UntilAcked { exporter, acked: Arc::clone(&acked), failed };
    let batches = BatchConfigBuilder::default().with_max_queue_size(20_000).with_max_export_batch_size(BATCH).build();
    let processor = BatchLogProcessor::builder(exporter).with_batch_config(batches).build();
    let provider = SdkLoggerProvider::builder().with_log_processor(processor).build();
    let logger = provider.logger("whole-way");
    for sequence in sequences {
        let mut record = logger.create_log_record();
        record.set_severity_number(Severity::Info);
        record.set_body(AnyValue::from(format!("record {sequence} of the whole way{}", " ".repeat(padding))));
        record.add_attribute("test.sequence", sequence);
        logger.emit(record);
        std::thread::sleep(PACE);
    }
    // The provider lives until its queue is through; the test waits for the same count with a limit of its own.
    while acked.load(Ordering::SeqCst) < count {
        std::thread::sleep(RETRY);
    }
}
