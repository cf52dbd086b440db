//! Requests good and bad, over real connections to a receiver before a real log.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tonic_types::StatusExt;

use super::receive::Patience;
use super::{Admission, GrpcSettings, HttpSettings, Settings, bind};
use crate::otlp::Signal;
use crate::receivers::Intake;
use crate::spool::{Frame, LogOptions, Need, Options, Spool, Start};

/// A receiver with logs of its own.
struct Lab {
    grpc: SocketAddr,
    http: SocketAddr,
    spool: Spool,
    intake: Intake,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        Self::with(&[Signal::Logs, Signal::Traces, Signal::Metrics], Options::default().log, Admission::default())
    }

    fn with(signals: &[Signal], options: LogOptions, admission: Admission) -> Self {
        Self::with_patience(signals, options, admission, Patience::default())
    }

    fn with_patience(signals: &[Signal], options: LogOptions, admission: Admission, patience: Patience) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(directory.path(), Options::default()).unwrap();
        let log = |signal: &Signal| (*signal, spool.log_with(signal.name(), options.clone()).unwrap());
        let intake = Intake::new(signals.iter().map(log).collect());
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let settings = Settings {
            grpc: Some(GrpcSettings { endpoint: any, ..GrpcSettings::default() }),
            http: Some(HttpSettings { endpoint: any, ..HttpSettings::default() }),
        };
        let mut bound = bind("otlp", &settings).unwrap().sharing(admission);
        bound.patience = patience;
        let (grpc, http) = (bound.grpc_addr().unwrap(), bound.http_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let served = bound.serve(intake.clone(), async move { drop(stopped.await) });
        let serving = tokio::spawn(async move { served.await.unwrap() });
        Self { grpc, http, spool, intake, stop, serving, _directory: directory }
    }

    /// What the log of a signal holds.
    fn stored(&self, signal: Signal) -> Vec<Frame> {
        let log = self.spool.log(signal.name()).unwrap();
        let mut cursor = log.cursor("test", Start::Oldest, Need::Optional).unwrap();
        cursor.next_batch(usize::MAX).unwrap().map(|batch| batch.frames).unwrap_or_default()
    }

    async fn logs_client(&self) -> LogsServiceClient<tonic::transport::Channel> {
        LogsServiceClient::connect(format!("http://{}", self.grpc)).await.unwrap()
    }

    /// Sends a raw HTTP/1.1 request on a thread of its own and reads the answer to its end.
    async fn raw(&self, request: Vec<u8>) -> Answer {
        raw(self.http, request).await
    }

    async fn post(&self, path: &str, headers: &str, body: &[u8]) -> Answer {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.raw([head.as_bytes(), body].concat()).await
    }

    async fn post_protobuf(&self, body: &[u8]) -> Answer {
        self.post("/v1/logs", PROTOBUF, body).await
    }
}

const PROTOBUF: &str = "Content-Type: application/x-protobuf\r\n";

async fn raw(address: SocketAddr, request: Vec<u8>) -> Answer {
    let exchange = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(&request).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        Answer::parse(&answer)
    };
    tokio::task::spawn_blocking(exchange).await.unwrap()
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("an HTTP head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head, body: bytes[end + 4..].to_vec() }
    }

    /// The `google.rpc.Status` in a protobuf answer.
    fn rpc_status(&self) -> tonic_types::Status {
        assert!(self.head.contains("content-type: application/x-protobuf"), "{}", self.head);
        tonic_types::Status::decode(&self.body[..]).unwrap()
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

fn logs(count: usize, text: &str) -> ExportLogsServiceRequest {
    let log_records = vec![LogRecord { severity_text: text.to_owned(), ..LogRecord::default() }; count];
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}

fn traces(count: usize) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { spans: vec![Span::default(); count], ..ScopeSpans::default() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] }
}

fn metrics(points: usize) -> ExportMetricsServiceRequest {
    let data = Some(Data::Gauge(Gauge { data_points: vec![NumberDataPoint::default(); points] }));
    let metrics = vec![Metric { data, ..Metric::default() }];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }],
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn the_three_signals_are_stored_as_they_came_over_grpc() {
    let lab = Lab::new();
    let to = || format!("http://{}", lab.grpc);
    let gzip = CompressionEncoding::Gzip;
    let answer = lab.logs_client().await.send_compressed(gzip).export(logs(3, "a")).await.unwrap();
    assert_eq!(answer.into_inner(), ExportLogsServiceResponse { partial_success: None });
    TraceServiceClient::connect(to()).await.unwrap().export(traces(2)).await.unwrap();
    MetricsServiceClient::connect(to()).await.unwrap().export(metrics(4)).await.unwrap();

    let stored = |signal, bytes: Vec<u8>, items| {
        let frames = lab.stored(signal);
        assert_eq!(frames.len(), 1);
        assert_eq!((&frames[0].payload[..], frames[0].items, frames[0].content), (&bytes[..], items, signal.tag()));
    };
    stored(Signal::Logs, logs(3, "a").encode_to_vec(), 3);
    stored(Signal::Traces, traces(2).encode_to_vec(), 2);
    stored(Signal::Metrics, metrics(4).encode_to_vec(), 4);
    assert_eq!(lab.intake.counts(Signal::Logs).accepted(), 3);
}

#[tokio::test]
async fn the_three_signals_are_stored_as_they_came_over_http() {
    let lab = Lab::new();
    let body = logs(3, "a").encode_to_vec();
    let answer = lab.post_protobuf(&body).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b""[..]));
    assert!(answer.head.contains("content-type: application/x-protobuf"), "{}", answer.head);
    let with_gzip = format!("{PROTOBUF}Content-Encoding: gzip\r\n");
    assert_eq!(lab.post("/v1/logs", &with_gzip, &gzip(&body)).await.status, 200);
    let with_charset = "content-type: application/x-protobuf; charset=utf-8\r\ncontent-encoding: identity\r\n";
    assert_eq!(lab.post("/v1/traces", with_charset, &traces(2).encode_to_vec()).await.status, 200);
    assert_eq!(lab.post("/v1/metrics", PROTOBUF, &metrics(1).encode_to_vec()).await.status, 200);
    assert!(lab.stored(Signal::Logs).iter().all(|frame| frame.payload == body && frame.items == 3));
    assert_eq!(lab.stored(Signal::Logs).len(), 2);
    assert_eq!(lab.stored(Signal::Traces)[0].items, 2);
    assert_eq!(lab.stored(Signal::Metrics)[0].items, 1);
}

#[tokio::test]
async fn a_chunked_body_is_taken() {
    let lab = Lab::new();
    let body = logs(500, "chunked").encode_to_vec();
    let mut request = format!("POST /v1/logs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{PROTOBUF}").into_bytes();
    request.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
    for chunk in body.chunks(700) {
        request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    assert_eq!(lab.raw(request).await.status, 200);
    assert_eq!(lab.stored(Signal::Logs)[0].payload, body);
}

#[tokio::test]
async fn an_empty_request_succeeds_and_stores_nothing() {
    let lab = Lab::new();
    lab.logs_client().await.export(ExportLogsServiceRequest::default()).await.unwrap();
    lab.logs_client().await.export(logs(0, "")).await.unwrap();
    assert_eq!(lab.post_protobuf(b"").await.status, 200);
    assert!(lab.stored(Signal::Logs).is_empty());
}

#[tokio::test]
async fn malformed_protobuf_is_a_client_error_with_its_place() {
    let lab = Lab::new();
    let answer = lab.post_protobuf(&[0x0a, 0x05, 0x00]).await;
    assert_eq!(answer.status, 400);
    let status = answer.rpc_status();
    assert_eq!(status.code, Code::InvalidArgument as i32);
    assert_eq!(status.message, "malformed protobuf at byte 2: a field ends beyond its message");

    let status = grpc(lab.grpc, "/opentelemetry.proto.collector.logs.v1.LogsService/Export", message(&[0xff])).await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("malformed protobuf at byte 0"), "{}", status.message());
    assert!(lab.stored(Signal::Logs).is_empty());
}

#[tokio::test]
async fn broken_gzip_is_a_client_error() {
    let lab = Lab::new();
    let with_gzip = format!("{PROTOBUF}Content-Encoding: gzip\r\n");
    for body in [b"no gzip at all".to_vec(), gzip(&logs(3, "a").encode_to_vec())[..20].to_vec()] {
        let answer = lab.post("/v1/logs", &with_gzip, &body).await;
        assert_eq!(answer.status, 400);
        assert!(answer.rpc_status().message.contains("not valid gzip"), "{:?}", answer.rpc_status());
    }
}

#[tokio::test]
async fn wrong_requests_are_told_what_is_right() {
    let lab = Lab::with(&[Signal::Logs], Options::default().log, Admission::default());
    let body = logs(1, "a").encode_to_vec();
    let answer = lab.post("/v1/log", PROTOBUF, &body).await;
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("/v1/logs"), "{}", answer.text());

    let get = b"GET /v1/logs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec();
    let answer = lab.raw(get).await;
    assert_eq!(answer.status, 405);
    assert!(answer.head.contains("allow: post"), "{}", answer.head);

    for content_type in ["", "Content-Type: text/plain\r\n"] {
        let answer = lab.post("/v1/logs", content_type, &body).await;
        assert_eq!(answer.status, 415);
        assert!(answer.text().contains("application/x-protobuf"), "{}", answer.text());
    }
    let answer = lab.post("/v1/logs", "Content-Type: application/json\r\n", b"{}").await;
    assert_eq!(answer.status, 415);
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert!(json["message"].as_str().unwrap().contains("send application/x-protobuf"));

    let answer = lab.post("/v1/logs", &format!("{PROTOBUF}Content-Encoding: br\r\n"), &body).await;
    assert_eq!(answer.status, 415);
    assert!(answer.head.contains("accept-encoding: gzip, identity"), "{}", answer.head);

    let answer = lab.post("/v1/traces", PROTOBUF, &traces(1).encode_to_vec()).await;
    assert_eq!(answer.status, 404);
    assert!(answer.rpc_status().message.contains("no pipeline takes traces"));
    let to = format!("http://{}", lab.grpc);
    let status = TraceServiceClient::connect(to).await.unwrap().export(traces(1)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(lab.stored(Signal::Logs).is_empty());
}

#[tokio::test]
async fn a_client_at_the_wrong_port_is_told() {
    let lab = Lab::new();
    let body = logs(1, "a").encode_to_vec();
    let head = format!("POST /v1/logs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{PROTOBUF}Content-Length: ");
    let request = format!("{head}{}\r\n\r\n", body.len()).into_bytes();
    let answer = raw(lab.grpc, [request, body].concat()).await;
    assert_eq!(answer.status, 415);
    assert!(answer.text().contains("4318"), "{}", answer.text());
    let mut client = LogsServiceClient::connect(format!("http://{}", lab.http)).await.unwrap();
    let status = client.export(logs(1, "a")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("4317"), "{}", status.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdks_own_exporter_is_understood() {
    use opentelemetry::logs::{LogRecord as _, Logger as _, LoggerProvider as _};
    use opentelemetry_otlp::{WithExportConfig, WithTonicConfig};
    let lab = Lab::new();
    let exporter = opentelemetry_otlp::LogExporter::builder()
        .with_tonic()
        .with_endpoint(format!("http://{}", lab.grpc))
        .with_timeout(Duration::from_secs(5))
        .with_metadata(tonic::metadata::MetadataMap::new())
        .build()
        .unwrap();
    let provider = opentelemetry_sdk::logs::SdkLoggerProvider::builder().with_batch_exporter(exporter).build();
    let logger = provider.logger("app");
    for _ in 0..1_000 {
        let mut record = logger.create_log_record();
        record.set_body("said".into());
        logger.emit(record);
    }
    tokio::task::spawn_blocking(move || provider.shutdown()).await.unwrap().unwrap();
    let items: u32 = lab.stored(Signal::Logs).iter().map(|frame| frame.items).sum();
    assert_eq!(items, 1_000);
}

#[tokio::test]
async fn an_oversized_request_is_refused_for_good() {
    let lab = Lab::new();
    let mut client = lab.logs_client().await;
    let status = client.export(logs(1, &"x".repeat(5 << 20))).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.get_details_retry_info().is_none(), "a retry would be refused again");
    assert!(status.message().contains("larger than 4194304 bytes"), "{}", status.message());
    assert!(status.message().contains("max_recv_msg_size_mib"), "{}", status.message());

    let answer = lab.post_protobuf(&vec![0; (20 << 20) + 1]).await;
    assert_eq!(answer.status, 413);
    assert!(answer.rpc_status().message.contains("max_request_body_size"), "{:?}", answer.rpc_status());
    assert!(lab.stored(Signal::Logs).is_empty());
}

#[tokio::test]
async fn a_gzip_bomb_is_refused_after_the_limit() {
    let lab = Lab::new();
    let bomb = gzip(&vec![0; 200 << 20]);
    assert!(bomb.len() < 4 << 20, "{}", bomb.len());
    let answer = lab.post("/v1/logs", &format!("{PROTOBUF}Content-Encoding: gzip\r\n"), &bomb).await;
    assert_eq!(answer.status, 413);
    let mut body = message(&bomb);
    body[0] = 1;
    let status = grpc(lab.grpc, "/opentelemetry.proto.collector.logs.v1.LogsService/Export", body).await;
    assert_eq!(status.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn rule_12_a_full_log_asks_for_time() {
    let options = LogOptions { max_size: Some(1 << 20), ..Options::default().log };
    let lab = Lab::with(&[Signal::Logs], options, Admission::default());
    let log = lab.spool.log("logs").unwrap();
    // Holds everything that is appended.
    let _cursor = log.cursor("backend", Start::Oldest, Need::Required).unwrap();
    let mut client = lab.logs_client().await;
    let request = logs(100, &"x".repeat(1000));
    let mut answers = 0;
    let status = loop {
        match client.export(request.clone()).await {
            Ok(_) => answers += 1,
            Err(status) => break status,
        }
        assert!(answers < 1000, "the log never got full");
    };
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.get_details_retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
    let answer = lab.post_protobuf(&request.encode_to_vec()).await;
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after: "), "{}", answer.head);
    assert_eq!(answer.rpc_status().code, Code::Unavailable as i32);
    assert_eq!(lab.intake.counts(Signal::Logs).accepted(), answers * 100);
    assert_eq!(lab.intake.counts(Signal::Logs).refused(), 200);
}

#[tokio::test]
async fn a_closed_log_is_unavailable() {
    let lab = Lab::new();
    lab.spool.close().unwrap();
    let status = lab.logs_client().await.export(logs(1, "a")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.get_details_retry_info().is_some());
    assert_eq!(lab.post_protobuf(&logs(1, "a").encode_to_vec()).await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_together_hold_no_more_than_is_admitted() {
    let lab = Lab::with(&[Signal::Logs], Options::default().log, Admission::new(1 << 20));
    let client = lab.logs_client().await;
    let request = logs(10, &"x".repeat(60_000));
    let clients: Vec<_> = (0..40)
        .map(|i| {
            let (mut client, request) = (client.clone(), request.clone());
            if i % 2 == 0 {
                client = client.send_compressed(CompressionEncoding::Gzip);
            }
            tokio::spawn(async move { client.export(request).await })
        })
        .collect();
    for client in clients {
        client.await.unwrap().unwrap();
    }
    assert_eq!(lab.stored(Signal::Logs).len(), 40);
}

/// Gives up quickly.
fn impatient(admission: Admission) -> Lab {
    let patience =
        Patience { admit: Duration::from_millis(50), body: Duration::from_millis(300), ..Patience::default() };
    Lab::with_patience(&[Signal::Logs], Options::default().log, admission, patience)
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up() {
    let lab = impatient(Admission::default());
    let head =
        format!("POST /v1/logs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{PROTOBUF}Content-Length: 100\r\n\r\n");
    let answer = lab.raw(head.into_bytes()).await;
    assert_eq!(answer.status, 408);
    assert_eq!(answer.rpc_status().code, Code::DeadlineExceeded as i32);
    assert!(lab.stored(Signal::Logs).is_empty());
}

#[tokio::test]
async fn who_waits_too_long_for_memory_is_sent_away() {
    let lab = impatient(Admission::new(3 << 10));
    let head = format!("POST /v1/logs HTTP/1.1\r\nHost: x\r\n{PROTOBUF}Content-Length: 2048\r\n\r\n");
    let mut holder = TcpStream::connect(lab.http).unwrap();
    holder.write_all(head.as_bytes()).unwrap();
    let refused = async {
        loop {
            let status = lab.logs_client().await.export(logs(1, "a")).await.err();
            if let Some(status) = status {
                break status;
            }
        }
    };
    let status = tokio::time::timeout(Duration::from_secs(10), refused).await.expect("never refused");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.get_details_retry_info().is_some());
    drop(holder);
    // Its memory comes back.
    let taken = async { while lab.logs_client().await.export(logs(1, "a")).await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(10), taken).await.expect("never taken again");
}

#[tokio::test]
async fn broken_framing_is_refused_and_the_connection_lives_on() {
    let lab = Lab::new();
    let path = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    let good = message(&logs(1, "a").encode_to_vec());
    let cases = [
        (good[..3].to_vec(), Code::InvalidArgument),
        (good[..good.len() - 1].to_vec(), Code::InvalidArgument),
        ([good.clone(), good.clone()].concat(), Code::InvalidArgument),
        ([&[7][..], &good[1..]].concat(), Code::InvalidArgument),
        (vec![], Code::InvalidArgument),
        (vec![0, 0xff, 0xff, 0xff, 0xff], Code::ResourceExhausted),
    ];
    for (body, code) in cases {
        assert_eq!(grpc(lab.grpc, path, body.clone()).await.code(), code, "{body:02x?}");
    }
    assert_eq!(
        grpc(lab.grpc, "/opentelemetry.proto.collector.logs.v1.LogsService/Import", good.clone()).await.code(),
        Code::Unimplemented
    );
    assert_eq!(grpc(lab.grpc, path, good).await.code(), Code::Ok);
    assert_eq!(lab.stored(Signal::Logs).len(), 1);
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_flight_and_takes_nothing_new() {
    let lab = Lab::new();
    let body = logs(1, "a").encode_to_vec();
    let head = format!("POST /v1/logs HTTP/1.1\r\nHost: x\r\n{PROTOBUF}Content-Length: {}\r\n\r\n", body.len());
    let mut stream = TcpStream::connect(lab.http).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body[..5]).unwrap();
    // Once a later request was answered, this one is in flight.
    assert_eq!(lab.post_protobuf(&body).await.status, 200);
    drop(lab.stop);
    let http = lab.http;
    let refused = async {
        while TcpStream::connect(http).is_ok() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), refused).await.expect("the port stays open after the stop");
    assert!(!lab.serving.is_finished());
    stream.write_all(&body[5..]).unwrap();
    let answer = tokio::task::spawn_blocking(move || {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        Answer::parse(&answer)
    });
    assert_eq!(answer.await.unwrap().status, 200);
    tokio::time::timeout(Duration::from_secs(10), lab.serving).await.expect("the receiver did not end").unwrap();
}

#[tokio::test]
async fn a_port_in_use_names_its_holder_and_the_way_out() {
    let lab = Lab::new();
    let settings = Settings { grpc: Some(GrpcSettings { endpoint: lab.grpc, ..GrpcSettings::default() }), http: None };
    let error = bind("otlp/second", &settings).unwrap_err();
    let error = format!("{error}; {}", error.help());
    assert!(error.contains(&format!("port {}", lab.grpc.port())), "{error}");
    assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
    assert!(error.contains("--set receivers.otlp/second.protocols.grpc.endpoint="), "{error}");
}

/// A message as gRPC frames it, not compressed.
fn message(bytes: &[u8]) -> Vec<u8> {
    let mut framed = vec![0];
    framed.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    framed.extend_from_slice(bytes);
    framed
}

/// Calls a method with a body of any shape; gzip is announced.
async fn grpc(address: SocketAddr, path: &str, body: Vec<u8>) -> tonic::Status {
    use hyper::body::Body;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::post(format!("http://{address}{path}"))
        .header("content-type", "application/grpc")
        .header("grpc-encoding", "gzip")
        .header("te", "trailers")
        .body(super::reply::Reply::new(Bytes::from(body)))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = tonic::Status::from_header_map(response.headers());
    let status = match status {
        Some(status) => status,
        None => {
            let mut body = std::pin::pin!(response.into_body());
            loop {
                let frame = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await.unwrap().unwrap();
                if let Ok(trailers) = frame.into_trailers() {
                    break tonic::Status::from_header_map(&trailers).unwrap();
                }
            }
        }
    };
    connection.abort();
    status
}
