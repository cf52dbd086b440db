//! A client that says exactly what it is told to.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::LazyLock;

use base64::Engine as _;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;
use tokio::runtime::Runtime;
use tonic::Code;

use crate::program::PATIENCE;

pub(crate) const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
pub(crate) const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
pub(crate) const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

pub(crate) const PROTOBUF: &str = "Content-Type: application/x-protobuf\r\n";
pub(crate) const JSON: &str = "Content-Type: application/json\r\n";

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());

/// An answer over HTTP/1.1.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    /// The content type without its parameters; empty without one.
    pub(crate) fn content_type(&self) -> &str {
        self.header("content-type").and_then(|value| value.split(';').next()).unwrap_or_default()
    }

    /// The `google.rpc.Status` in the body, in either encoding.
    pub(crate) fn rpc_status(&self) -> Option<tonic_types::Status> {
        match self.content_type() {
            "application/x-protobuf" => tonic_types::Status::decode(&*self.body).ok(),
            "application/json" => {
                let value: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
                let message = value.get("message")?.as_str()?.to_owned();
                let code = i32::try_from(value["code"].as_i64().unwrap_or_default()).ok()?;
                Some(tonic_types::Status { code, message, details: Vec::new() })
            }
            _ => None,
        }
    }
}

/// Whether a health page says so. Nobody may listen there yet.
pub(crate) fn is_healthy(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok() && get(address, "/").status == 200
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Reply {
    request(address, "GET", path, "", b"")
}

/// A request with these further header lines, each with its line end.
pub(crate) fn request(address: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = Vec::new();
    // A server that hangs up while it is written to may have answered: that is for the answer to show.
    let written = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    drop(written.and_then(|()| stream.read_to_end(&mut answer).map(drop)));
    drop(stream.read_to_end(&mut answer));
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("an HTTP answer");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = &answer[end + 4..];
    let body = if head.contains("transfer-encoding: chunked") { unchunked(body) } else { body.to_vec() };
    Reply { status, head, body }
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(end) = body.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&body[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        out.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[(end + 4 + size).min(body.len())..];
    }
    out
}

pub(crate) fn post(address: SocketAddr, path: &str, headers: &str, body: &[u8]) -> Reply {
    request(address, "POST", path, headers, body)
}

/// An answer over gRPC.
#[derive(Debug)]
pub(crate) struct GrpcReply {
    pub(crate) code: Code,
    /// The message, when there is one, without its frame.
    pub(crate) body: Option<Vec<u8>>,
    status: Option<tonic_types::Status>,
}

impl GrpcReply {
    /// The delay that the server asked for, in seconds.
    pub(crate) fn retry_delay(&self) -> Option<f64> {
        let status = self.status.as_ref()?;
        let info = status.details.iter().find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
        // Field 1 is the delay; its fields 1 and 2 are seconds and nanoseconds.
        let info = RetryInfo::decode(&*info.value).ok()?;
        info.delay.map(|delay| delay.seconds as f64 + f64::from(delay.nanos) / 1e9)
    }
}

/// As `google.rpc.RetryInfo` has it.
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    delay: Option<Delay>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// A unary call with this message.
pub(crate) fn grpc(address: SocketAddr, path: &str, message: &[u8]) -> GrpcReply {
    RUNTIME.block_on(call(address, path, frame(0, message), None))
}

/// The same, compressed.
pub(crate) fn grpc_gzip(address: SocketAddr, path: &str, message: &[u8]) -> GrpcReply {
    RUNTIME.block_on(call(address, path, frame(1, &gzip(message)), Some("gzip")))
}

fn frame(flags: u8, message: &[u8]) -> Vec<u8> {
    [&[flags][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

async fn call(address: SocketAddr, path: &str, body: Vec<u8>, encoding: Option<&str>) -> GrpcReply {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut request = Request::post(format!("http://{address}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(encoding) = encoding {
        request = request.header("grpc-encoding", encoding);
    }
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    let answer = tokio::time::timeout(PATIENCE, sender.send_request(request)).await.expect("an answer in time");
    let (head, body) = answer.unwrap().into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned().unwrap_or_default();
    driver.abort();
    reply(&head.headers, &trailers, &body.to_bytes())
}

fn reply(headers: &HeaderMap, trailers: &HeaderMap, body: &[u8]) -> GrpcReply {
    let said = |name| trailers.get(name).or_else(|| headers.get(name)).map(|value| value.to_str().unwrap());
    let code = said("grpc-status").expect("grpc-status").parse::<i32>().unwrap();
    let status = said("grpc-status-details-bin").map(|details| {
        let bytes = base64::engine::general_purpose::STANDARD_NO_PAD.decode(details.trim_end_matches('=')).unwrap();
        tonic_types::Status::decode(&*bytes).unwrap()
    });
    GrpcReply { code: Code::from_i32(code), body: body.get(5..).map(<[u8]>::to_vec), status }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Records with these bodies, as a request.
pub(crate) fn logs(bodies: &[&str]) -> Vec<u8> {
    let text = |body: &str| Some(AnyValue { value: Some(Value::StringValue(body.to_owned())) });
    let log_records = bodies.iter().map(|body| LogRecord { body: text(body), ..LogRecord::default() }).collect();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}
