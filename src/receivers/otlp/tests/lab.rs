//! A receiver before a real log, and clients good and bad.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::auth::ServerSettings;
use crate::listen::Ports;
use crate::listen::tls::ServerTls;
use crate::otlp::Signal;
use crate::receivers::Intake;
use crate::receivers::otlp::{Admission, Endpoint, GrpcSettings, HttpSettings, Limits, Settings, bind};
use crate::spool::{Frame, LogOptions, Need, Options, Spool, Start};

/// Both protocols, on ports that the kernel chooses.
pub(super) fn any_port() -> Settings {
    let any = || Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
    Settings {
        grpc: Some(GrpcSettings { endpoint: any(), ..GrpcSettings::default() }),
        http: Some(HttpSettings { endpoint: any(), ..HttpSettings::default() }),
        limits: Limits::default(),
    }
}

/// A receiver with logs of its own.
pub(super) struct Lab {
    pub(super) grpc: SocketAddr,
    pub(super) http: SocketAddr,
    pub(super) spool: Spool,
    pub(super) intake: Intake,
    pub(super) stop: oneshot::Sender<()>,
    pub(super) serving: JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl Lab {
    pub(super) fn new() -> Self {
        Self::with(&[Signal::Logs, Signal::Traces, Signal::Metrics], Options::default().log, Admission::default())
    }

    pub(super) fn with(signals: &[Signal], options: LogOptions, admission: Admission) -> Self {
        Self::with_settings(signals, options, admission, any_port())
    }

    /// As [`Lab::with`], under these limits.
    pub(super) fn under(limits: Limits, admission: Admission) -> Self {
        Self::with_settings(&[Signal::Logs], Options::default().log, admission, Settings { limits, ..any_port() })
    }

    /// For logs, with this on both ports.
    pub(super) fn of_known_clients(tls: Option<&ServerTls>, auth: Option<&ServerSettings>) -> Self {
        let Settings { grpc, http, limits } = any_port();
        let settings = Settings {
            grpc: grpc.map(|grpc| GrpcSettings { tls: tls.cloned(), auth: auth.cloned(), ..grpc }),
            http: http.map(|http| HttpSettings { tls: tls.cloned(), auth: auth.cloned(), ..http }),
            limits,
        };
        Self::with_settings(&[Signal::Logs], Options::default().log, Admission::default(), settings)
    }

    pub(super) fn with_settings(
        signals: &[Signal],
        options: LogOptions,
        admission: Admission,
        settings: Settings,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(directory.path(), Options::default()).unwrap();
        let log = |signal: &Signal| (*signal, spool.log_with(signal.name(), options.clone()).unwrap());
        let intake = Intake::new(signals.iter().map(log).collect());
        let bound = bind("otlp", &settings, &mut Ports::default()).unwrap().sharing(admission);
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let (grpc, http) = (bound.grpc_addr().unwrap_or(nowhere), bound.http_addr().unwrap_or(nowhere));
        let (stop, stopped) = oneshot::channel::<()>();
        let served = bound.serve(intake.clone(), async move { drop(stopped.await) });
        let serving = tokio::spawn(async move { served.await.unwrap() });
        Self { grpc, http, spool, intake, stop, serving, _directory: directory }
    }

    /// What the log of a signal holds.
    pub(super) fn stored(&self, signal: Signal) -> Vec<Frame> {
        let log = self.spool.log(signal.name()).unwrap();
        let mut cursor = log.cursor("test", Start::Oldest, Need::Optional).unwrap();
        cursor.next_batch(usize::MAX).unwrap().map(|batch| batch.frames).unwrap_or_default()
    }

    pub(super) async fn logs_client(&self) -> LogsServiceClient<tonic::transport::Channel> {
        LogsServiceClient::connect(format!("http://{}", self.grpc)).await.unwrap()
    }

    /// Sends a raw HTTP/1.1 request on a thread of its own and reads the answer to its end.
    pub(super) async fn raw(&self, request: Vec<u8>) -> Answer {
        raw(self.http, request).await
    }

    pub(super) async fn post(&self, path: &str, headers: &str, body: &[u8]) -> Answer {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.raw([head.as_bytes(), body].concat()).await
    }

    pub(super) async fn post_protobuf(&self, body: &[u8]) -> Answer {
        self.post("/v1/logs", PROTOBUF, body).await
    }
}

pub(super) const PROTOBUF: &str = "Content-Type: application/x-protobuf\r\n";

pub(super) async fn raw(address: SocketAddr, request: Vec<u8>) -> Answer {
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
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("an HTTP head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head, body: bytes[end + 4..].to_vec() }
    }

    /// The value of a header, both in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| *found == name).map(|(_, value)| value).next()
    }

    /// The `google.rpc.Status` in a protobuf answer.
    pub(super) fn rpc_status(&self) -> tonic_types::Status {
        assert!(self.head.contains("content-type: application/x-protobuf"), "{}", self.head);
        tonic_types::Status::decode(&self.body[..]).unwrap()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

pub(super) fn logs(count: usize, text: &str) -> ExportLogsServiceRequest {
    let log_records = vec![LogRecord { severity_text: text.to_owned(), ..LogRecord::default() }; count];
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}

pub(super) fn traces(count: usize) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { spans: vec![Span::default(); count], ..ScopeSpans::default() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] }
}

pub(super) fn metrics(points: usize) -> ExportMetricsServiceRequest {
    let data = Some(Data::Gauge(Gauge { data_points: vec![NumberDataPoint::default(); points] }));
    let metrics = vec![Metric { data, ..Metric::default() }];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }],
    }
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A message as gRPC frames it, not compressed.
pub(super) fn message(bytes: &[u8]) -> Vec<u8> {
    let mut framed = vec![0];
    framed.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    framed.extend_from_slice(bytes);
    framed
}

/// Calls a method with a body of any shape; gzip is announced.
pub(super) async fn grpc(address: SocketAddr, path: &str, body: Vec<u8>) -> tonic::Status {
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
        .body(crate::receivers::otlp::reply::Reply::new(Bytes::from(body)))
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
