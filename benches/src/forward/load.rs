//! The generator: the same request again and again, and how long each was waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;
use tonic::transport::Channel;

use crate::raw::RawCodec;

pub(super) const EXPORT: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
/// How long a body of the workload is.
const BODY: usize = 250;

/// What came of one load.
pub(super) struct Loaded {
    pub(super) took: Duration,
    /// Of every request, sorted.
    pub(super) latencies: Vec<Duration>,
}

/// Sends so many requests over one connection, `streams` at a time; each is sent until it is acknowledged.
pub(super) async fn load(
    channel: &Channel,
    request: &Bytes,
    requests: u64,
    streams: u64,
) -> Result<Loaded, tonic::Status> {
    let (start, left) = (Instant::now(), Arc::new(AtomicU64::new(requests)));
    let mut sending = tokio::task::JoinSet::new();
    for _ in 0..streams {
        sending.spawn(stream(channel.clone(), request.clone(), Arc::clone(&left)));
    }
    let mut latencies = Vec::new();
    while let Some(sent) = sending.join_next().await {
        latencies.extend(sent.map_err(|e| tonic::Status::internal(e.to_string()))??);
    }
    let took = start.elapsed();
    latencies.sort_unstable();
    Ok(Loaded { took, latencies })
}

async fn stream(channel: Channel, request: Bytes, left: Arc<AtomicU64>) -> Result<Vec<Duration>, tonic::Status> {
    let mut client = tonic::client::Grpc::new(channel);
    let mut latencies = Vec::new();
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
        let start = Instant::now();
        while !send(&mut client, &request).await? {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        latencies.push(start.elapsed());
    }
    Ok(latencies)
}

/// False when it is to be sent again.
async fn send(client: &mut tonic::client::Grpc<Channel>, request: &Bytes) -> Result<bool, tonic::Status> {
    client.ready().await.map_err(|e| tonic::Status::unavailable(e.to_string()))?;
    let path = http::uri::PathAndQuery::from_static(EXPORT);
    match client.unary(tonic::Request::new(request.clone()), path, RawCodec).await {
        Ok(_) => Ok(true),
        Err(status) if matches!(status.code(), tonic::Code::Unavailable | tonic::Code::ResourceExhausted) => Ok(false),
        Err(status) => Err(status),
    }
}

/// A request of `batch` records as an application writes them: a body of 250 bytes, six attributes, ids.
pub(super) fn request(batch: u64) -> Bytes {
    let text = |s: String| Some(AnyValue { value: Some(Value::StringValue(s)) });
    let attribute =
        |key: &str, value: String| KeyValue { key: key.to_owned(), value: text(value), ..Default::default() };
    let record = |i: u64| LogRecord {
        time_unix_nano: 1_780_000_000_000_000_000 + i,
        observed_time_unix_nano: 1_780_000_000_000_000_500 + i,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: text(body(i)),
        attributes: vec![
            attribute("http.request.method", "POST".to_owned()),
            attribute("url.path", format!("/api/v2/carts/{}", i % 100_000)),
            attribute("server.address", "checkout-7f9c6d5b8".to_owned()),
            attribute("session.id", format!("{:016x}", i.wrapping_mul(0x9e37_79b9_7f4a_7c15))),
            attribute("http.response.status_code", "200".to_owned()),
            attribute("test.sequence", i.to_string()),
        ],
        trace_id: i.to_be_bytes().repeat(2),
        span_id: i.to_be_bytes().to_vec(),
        ..Default::default()
    };
    let scope_logs = vec![ScopeLogs { log_records: (0..batch).map(record).collect(), ..Default::default() }];
    let request = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..Default::default() }] };
    Bytes::from(request.encode_to_vec())
}

fn body(i: u64) -> String {
    let mut body = format!("request {i} from checkout finished with status 200 after {} ms", i % 977);
    let mut word = i;
    while body.len() < BODY {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        body.push_str(&format!(" {:x}", word >> 40));
    }
    body.truncate(BODY);
    body
}
