//! The exporter of log records.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use opentelemetry::Context;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::logs::tonic::group_logs_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::logs::LogBatch;
use prost::Message as _;

use super::builder::Queue;
use super::delivery::Delivery;
use super::{BuildError, LogExporterBuilder};
use crate::exporters::otlp::Otlp;
use crate::exporters::{State, Status, drain};
use crate::otlp::Signal;
use crate::spool::{Ack, CursorOptions, Error, Log, Need, Options, Spool, Start};

/// The log that records are written to.
const LOG: &str = "logs";
/// Its cursor: the same whatever the endpoint, so that a new one is sent what the old one did not get.
const CURSOR: &str = "otlp";
/// How long a shutdown lets a working endpoint take what is left. One that is away delays nothing.
const LAST_CALL: Duration = Duration::from_secs(1);
/// The longest that dropping an exporter takes which was not shut down.
const DROP_LIMIT: Duration = Duration::from_secs(2);

/// Writes log records to local disk, and delivers them from there to an OTLP/gRPC endpoint.
///
/// `export` answers `Ok` when the batch is durable. What an endpoint that is away did not take stays in the directory
/// and is delivered when it is back, also after a crash or a restart of this process; at least once.
///
/// Works with the simple and the batch processor, inside and outside of a tokio runtime. It logs with `tracing` like
/// any library, but its own delivery is never recorded by the OpenTelemetry SDK.
#[derive(Debug)]
pub struct LogExporter {
    resource: ResourceAttributesWithSchema,
    /// None after shutdown.
    running: Mutex<Option<Running>>,
    /// How long a batch waits for room.
    wait: Duration,
    status: Arc<Status>,
    /// Items handed to the log, and those that it held at the start.
    accepted: AtomicU64,
    /// Items refused since the last that were not.
    refused: AtomicU64,
}

#[derive(Debug)]
struct Running {
    spool: Spool,
    log: Log,
    delivery: Delivery,
}

impl LogExporter {
    /// How an exporter is made.
    pub fn builder() -> LogExporterBuilder {
        LogExporterBuilder::default()
    }

    pub(super) fn open(
        directory: &Path,
        options: Options,
        queue: Queue,
        client: Otlp,
        drain: drain::Settings,
    ) -> Result<Self, BuildError> {
        let spool = Spool::open(directory, options)?;
        let log = spool.log(LOG)?;
        let Queue { max_pending, wait } = queue;
        let cursor =
            log.cursor_with(CURSOR, CursorOptions { start: Start::Oldest, need: Need::Required, max_pending })?;
        let accepted = AtomicU64::new(cursor.pending().items);
        let delivery = Delivery::start(cursor, client, drain).map_err(BuildError::Thread)?;
        let status = Arc::clone(delivery.status());
        let running = Mutex::new(Some(Running { spool, log, delivery }));
        let (resource, refused) = (ResourceAttributesWithSchema::default(), AtomicU64::new(0));
        Ok(Self { resource, running, wait, status, accepted, refused })
    }

    /// How delivery goes: what was sent and parked, and the endpoint's last error.
    #[must_use]
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    fn append(&self, payload: Bytes, items: u32) -> Result<Ack, OTelSdkError> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let log = &running.as_ref().ok_or(OTelSdkError::AlreadyShutdown)?.log;
        let until = Instant::now() + self.wait;
        let ack = log.append_when_room(Signal::Logs.tag(), payload, items, until).map_err(failure)?;
        self.accepted.fetch_add(items.into(), Ordering::Relaxed);
        Ok(ack)
    }

    /// Tells when records begin to be refused and when that ends: the SDK's simple processor hides the error, and the
    /// batch processor drops the batch.
    fn tell(&self, items: u32, answer: &OTelSdkResult) {
        // A subscriber that makes records of this would come back here.
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        match answer {
            Ok(()) => match self.refused.swap(0, Ordering::Relaxed) {
                0 => {}
                refused => tracing::info!(refused, "log records are stored again"),
            },
            Err(error) => {
                if self.refused.fetch_add(items.into(), Ordering::Relaxed) == 0 {
                    tracing::warn!(%error, "log records are refused and lost until this mends");
                }
            }
        }
    }

    fn close(&self, limit: Duration) -> OTelSdkResult {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Running { spool, log, delivery } = running.ok_or(OTelSdkError::AlreadyShutdown)?;
        let began = Instant::now();
        self.last_call(limit.min(LAST_CALL));
        let stopped = delivery.stop(limit.saturating_sub(began.elapsed()));
        // All that was acknowledged is durable already; this writes the cursor and lets the directory go.
        drop(log);
        spool.close().map_err(failure)?;
        if stopped { Ok(()) } else { Err(OTelSdkError::Timeout(limit)) }
    }

    /// Waits while a working endpoint takes what is left.
    #[allow(clippy::disallowed_methods, reason = "the pace of looking at a condition")]
    fn last_call(&self, limit: Duration) {
        let until = Instant::now() + limit;
        loop {
            let status = self.status.snapshot();
            let done = status.sent_items + status.parked_items >= self.accepted.load(Ordering::Relaxed);
            if done || status.state != State::Ok || Instant::now() >= until {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl opentelemetry_sdk::logs::LogExporter for LogExporter {
    /// Encodes the batch, appends it to the log, and returns when it is durable. Waits for room first if it was built
    /// with [`LogExporterBuilder::block_on_overflow`].
    ///
    /// # Errors
    /// `AlreadyShutdown`, or `InternalFailure` with the log's message: full, the disk fails, a batch above the limit
    /// of one frame. The batch is then not stored.
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let items = u32::try_from(batch.iter().count()).unwrap_or(u32::MAX);
        if items == 0 {
            return Ok(());
        }
        let resource_logs = group_logs_by_resource_and_scope(&batch, &self.resource);
        let payload = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
        let answer = match self.append(payload.into(), items) {
            Ok(ack) => ack.await.map(drop).map_err(|error| {
                self.accepted.fetch_sub(items.into(), Ordering::Relaxed);
                failure(error)
            }),
            Err(error) => Err(error),
        };
        self.tell(items, &answer);
        answer
    }

    /// Lets a working endpoint take what is left, for a second at most, then closes the log. What an endpoint that is
    /// away did not take is delivered after the next start.
    ///
    /// # Errors
    /// `AlreadyShutdown`; `Timeout` when the delivering thread did not end in time; `InternalFailure` when the log
    /// cannot be closed. Nothing that was acknowledged is lost by any of them.
    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.close(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}

impl Drop for LogExporter {
    fn drop(&mut self) {
        match self.close(DROP_LIMIT) {
            Ok(()) | Err(OTelSdkError::AlreadyShutdown) => {}
            Err(error) => tracing::warn!(%error, "log exporter dropped without a clean end"),
        }
    }
}

fn failure(error: Error) -> OTelSdkError {
    if error.is_closed() { OTelSdkError::AlreadyShutdown } else { OTelSdkError::InternalFailure(error.to_string()) }
}
