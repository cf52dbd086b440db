//! An application that sends numbered records and goes on when they are acknowledged.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use tokio::runtime::Runtime;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::PATIENCE;
use crate::support::wait_for;

/// Records in a request.
const BATCH: u64 = 100;

pub(crate) struct Load {
    runtime: Runtime,
    channel: Channel,
    sent: Arc<AtomicU64>,
}

impl Load {
    pub(crate) fn to(agent: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let channel = runtime.block_on(Endpoint::from_shared(format!("http://{agent}")).unwrap().connect()).unwrap();
        Self { runtime, channel, sent: Arc::default() }
    }

    /// All that was acknowledged.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// The same, to look at while it goes on.
    pub(crate) fn progress(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.sent)
    }

    /// Sends so many more; each request must be acknowledged.
    #[track_caller]
    pub(crate) fn send(&mut self, count: u64) {
        for _ in 0..count / BATCH {
            self.send_batch().expect("an outage is no business of the application's");
        }
    }

    /// Sends so many more, each request until it is acknowledged; how often one was not.
    #[track_caller]
    pub(crate) fn send_with_patience(&mut self, count: u64) -> u64 {
        let mut failed = 0;
        for _ in 0..count / BATCH {
            let sent = wait_for(PATIENCE, || self.send_batch().map_err(|_| failed += 1).ok());
            assert!(sent.is_some(), "the records from {} on are never acknowledged", self.sent());
        }
        failed
    }

    fn send_batch(&mut self) -> Result<(), Status> {
        let first = self.sent();
        let mut client = LogsServiceClient::new(self.channel.clone());
        self.runtime.block_on(client.export(request(first..first + BATCH)))?;
        self.sent.fetch_add(BATCH, Ordering::SeqCst);
        Ok(())
    }

    /// Sends a span and a data point, beside the records.
    #[track_caller]
    pub(crate) fn send_a_span_and_a_point(&mut self) {
        let mut traces = TraceServiceClient::new(self.channel.clone());
        self.runtime.block_on(traces.export(span())).unwrap();
        let mut metrics = MetricsServiceClient::new(self.channel.clone());
        self.runtime.block_on(metrics.export(point())).unwrap();
    }
}

fn request(numbers: std::ops::Range<u64>) -> ExportLogsServiceRequest {
    let body = |number: u64| Some(AnyValue { value: Some(Value::StringValue(number.to_string())) });
    let log_records = numbers.map(|number| LogRecord { body: body(number), ..LogRecord::default() }).collect();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}

fn span() -> ExportTraceServiceRequest {
    let span = Span { trace_id: vec![1; 16], span_id: vec![1; 8], name: "work".to_owned(), ..Span::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] }
}

fn point() -> ExportMetricsServiceRequest {
    let point = NumberDataPoint { value: Some(number_data_point::Value::AsInt(1)), ..NumberDataPoint::default() };
    let data = Some(Data::Gauge(Gauge { data_points: vec![point] }));
    let metrics = vec![Metric { name: "size".to_owned(), data, ..Metric::default() }];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }],
    }
}
