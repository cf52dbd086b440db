//! The generator: the same request again and again, and how long each was waited for.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::time::{Duration, Instant};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;

use super::http2::{Connection, Ended, framed};

pub(super) const EXPORT: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
/// `grpc-status`, of those that say: try again.
const UNAVAILABLE: u32 = 14;
const RESOURCE_EXHAUSTED: u32 = 8;
/// How long a body of the workload is.
const BODY: usize = 250;

/// What came of one load.
pub(super) struct Loaded {
    pub(super) took: Duration,
    /// Of every request, sorted.
    pub(super) latencies: Vec<Duration>,
}

/// How long a request waits that was refused for now.
const PAUSE: Duration = Duration::from_millis(5);
/// How long nothing may come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends so many requests over one connection, `streams` at a time; each is sent until it is acknowledged.
pub(super) fn load(
    connection: &mut Connection,
    request: &Bytes,
    requests: u64,
    streams: u64,
) -> Result<Loaded, Box<dyn Error>> {
    let message = framed(request);
    let (start, mut left) = (Instant::now(), requests);
    // When each request was sent first.
    let mut sent: BTreeMap<u32, Instant> = BTreeMap::new();
    let mut refused: VecDeque<(Instant, Instant)> = VecDeque::new();
    let (mut latencies, mut ended) = (Vec::new(), Vec::new());
    while (latencies.len() as u64) < requests {
        while left > 0 && ((sent.len() + refused.len()) as u64) < streams {
            left -= 1;
            sent.insert(connection.call(&message), Instant::now());
        }
        while let Some((first, _)) = refused.front().filter(|(_, due)| *due <= Instant::now()).copied() {
            refused.pop_front();
            sent.insert(connection.call(&message), first);
        }
        connection.go_on(if refused.is_empty() { PATIENCE } else { PAUSE }, &mut ended)?;
        for Ended { stream, status } in ended.drain(..) {
            let first = sent.remove(&stream).ok_or("an answer that nobody asked for")?;
            match status {
                0 => latencies.push(first.elapsed()),
                UNAVAILABLE | RESOURCE_EXHAUSTED => refused.push_back((first, Instant::now() + PAUSE)),
                other => return Err(format!("refused with status {other}").into()),
            }
        }
    }
    let took = start.elapsed();
    latencies.sort_unstable();
    Ok(Loaded { took, latencies })
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
