//! Everything that must not be stored, must not stop the agent, and must be answered in words.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;
use tonic::Code;

use crate::backend::{Backend, Mood};
use crate::client::{Client, RUNTIME, request, send};
use crate::http::{Answer, get, post};
use crate::stage::{PATIENCE, Running, Stage, to};

const PROTOBUF: &str = "Content-Type: application/x-protobuf\r\n";
const GZIP: &str = "Content-Type: application/x-protobuf\r\nContent-Encoding: gzip\r\n";

fn stage() -> (Stage, Backend, Running) {
    let (stage, backend) = (Stage::new(), Backend::start(Mood::Take));
    let running = stage.start(&[("otlp", to(backend.address))]);
    (stage, backend, running)
}

/// After all that it got, the agent takes good records, has these and no others, and is well.
#[track_caller]
fn survives(stage: &Stage, backend: &Backend, running: Running, acked: &[&str]) {
    send(running.grpc, &["after all"]);
    let answer = post(running.http, &request(&["by http"]).encode_to_vec());
    assert_eq!(answer.status, 200, "{answer:?}");
    let all: Vec<&str> = acked.iter().copied().chain(["after all", "by http"]).collect();
    backend.wait_for(&all);
    let tail = stage.look(&["tail", "--from", "oldest", "--output", "json"]);
    let bodies: Vec<serde_json::Value> = tail
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["body"].clone())
        .collect();
    assert_eq!(bodies, all, "{tail:?}");
    assert_eq!(get(running.health, "/").status, 200);
    let (status, said) = running.agent.stop(PATIENCE);
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(!said.contains("panicked") && !said.contains("ERROR"), "{said}");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Small on the wire, large in memory: a valid request with a body of zeros.
fn bomb(megabytes: usize) -> Vec<u8> {
    gzip(&request(&["0".repeat(megabytes << 20)]).encode_to_vec())
}

#[test]
fn over_http_each_fault_has_its_status_and_says_what_to_do() {
    let (stage, backend, running) = stage();
    let http = |method: &str, path: &str, headers: &str, body: &[u8]| {
        crate::http::request(running.http, method, path, headers, body)
    };
    let good = request(&["good"]).encode_to_vec();
    let cut = &good[..good.len() - 3];
    let large = vec![0; (20 << 20) + 1];
    let cases: [(&str, u16, &str, Answer); 14] = [
        ("random bytes", 400, "", http("POST", "/v1/logs", PROTOBUF, b"\xff\xfe\xfd")),
        ("a cut message", 400, "", http("POST", "/v1/logs", PROTOBUF, cut)),
        ("no gzip", 400, "gzip", http("POST", "/v1/logs", GZIP, b"not gzip")),
        ("half a gzip", 400, "gzip", http("POST", "/v1/logs", GZIP, &gzip(&good)[..20])),
        ("half of JSON", 400, "line 1", http("POST", "/v1/logs", "Content-Type: application/json\r\n", b"{")),
        ("a form", 415, "application/x-protobuf", http("POST", "/v1/logs", "Content-Type: a/b\r\n", &good)),
        ("no type", 415, "application/x-protobuf", http("POST", "/v1/logs", "", &good)),
        ("no zstd", 400, "zstd", http("POST", "/v1/logs", &GZIP.replace("gzip", "zstd"), &good)),
        ("brotli", 415, "gzip", http("POST", "/v1/logs", &GZIP.replace("gzip", "br"), &good)),
        ("a wrong path", 404, "/v1/logs", http("POST", "/v1/log", PROTOBUF, &good)),
        ("a signal without pipeline", 404, "service.pipelines", http("POST", "/v1/traces", PROTOBUF, &[])),
        ("a wrong method", 405, "POST", http("GET", "/v1/logs", PROTOBUF, &[])),
        ("too large", 413, "max_request_body_size", http("POST", "/v1/logs", PROTOBUF, &large)),
        ("a bomb", 413, "max_request_body_size", http("POST", "/v1/logs", GZIP, &bomb(64))),
    ];
    for (what, status, says, answer) in cases {
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert!(!answer.body.is_empty() && answer.text().contains(says), "{what}: {answer:?}");
    }
    survives(&stage, &backend, running, &[]);
}

#[test]
fn over_grpc_each_fault_has_its_code_and_says_what_to_do() {
    let (stage, backend, running) = stage();
    let good = request(&["good"]).encode_to_vec();
    let logs = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    let traces = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let call = |path: &str, message: &[u8]| grpc(running.grpc, path, false, message);
    let zeros = request(&["0".repeat(4 << 20)]).encode_to_vec();
    let cases = [
        ("random bytes", Code::InvalidArgument, "", call(logs, b"\xff\xfe\xfd")),
        ("a cut message", Code::InvalidArgument, "", call(logs, &good[..good.len() - 3])),
        ("too large", Code::ResourceExhausted, "max_recv_msg_size_mib", call(logs, &zeros)),
        ("a bomb", Code::ResourceExhausted, "max_recv_msg_size_mib", grpc(running.grpc, logs, true, &bomb(64))),
        ("no gzip", Code::InvalidArgument, "gzip", grpc(running.grpc, logs, true, b"not gzip")),
        ("a wrong method", Code::Unimplemented, "Import", call(&logs.replace("Export", "Import"), &good)),
        ("a signal without pipeline", Code::Unimplemented, "service.pipelines", call(traces, &[])),
    ];
    for (what, code, says, status) in cases {
        let status = status.expect_err(what);
        assert_eq!(status.code(), code, "{what}: {status:?}");
        assert!(!status.message().is_empty() && status.message().contains(says), "{what}: {status:?}");
    }
    survives(&stage, &backend, running, &[]);
}

/// One call with this message as it is.
fn grpc(address: SocketAddr, path: &str, is_gzip: bool, message: &[u8]) -> Result<(), tonic::Status> {
    let answer = RUNTIME.block_on(async {
        let mut frame = vec![u8::from(is_gzip)];
        frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        frame.extend(message);
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut request = ::http::Request::post(format!("http://{address}{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if is_gzip {
            request = request.header("grpc-encoding", "gzip");
        }
        let (answer, mut body) = client.send_request(request.body(()).unwrap(), false).unwrap();
        body.send_data(frame.into(), true).unwrap_or_default();
        let answer = answer.await.unwrap();
        connection.abort();
        answer
    });
    match tonic::Status::from_header_map(answer.headers()) {
        Some(status) if status.code() != Code::Ok => Err(status),
        _ => Ok(()),
    }
}

#[test]
fn garbage_on_every_port_is_survived() {
    let (stage, backend, running) = stage();
    send(running.grpc, &["before"]);
    let garbage: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00\x01\x02\x03\r\n\r\n\xff\xff",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"POST /v1/logs HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\nx",
        b"POST /v1/logs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
    ];
    for port in [running.grpc, running.http, running.health, running.metrics] {
        for bytes in garbage {
            hang_up_after(port, bytes);
        }
        hang_up_after(port, &vec![b'A'; 1 << 20]);
    }
    survives(&stage, &backend, running, &["before"]);
}

/// Sends bytes, then hangs up and reads what the peer still says.
fn hang_up_after(port: SocketAddr, bytes: &[u8]) {
    let mut stream = crate::http::connect(port);
    // A peer that has heard enough may hang up first.
    stream.write_all(bytes).unwrap_or_default();
    stream.shutdown(std::net::Shutdown::Write).unwrap_or_default();
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut answer).unwrap_or_default();
}

#[test]
fn clients_that_stop_in_the_middle_hold_nobody_up() {
    let (stage, backend, running) = stage();
    let head =
        "POST /v1/logs HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\nContent-Length: 1000000\r\n\r\n";
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let stuck: Vec<TcpStream> = (0..60)
        .map(|n| {
            let (port, bytes): (SocketAddr, &[u8]) = match n % 6 {
                0 => (running.http, b""),
                1 => (running.http, b"POST /v1/l"),
                2 => (running.http, head.as_bytes()),
                3 => (running.grpc, b""),
                4 => (running.grpc, preface),
                _ => (running.health, b"GET / HT"),
            };
            let mut stream = crate::http::connect(port);
            stream.write_all(bytes).unwrap();
            stream
        })
        .collect();
    survives(&stage, &backend, running, &[]);
    drop(stuck);
}

#[test]
fn a_client_that_is_killed_in_the_middle_leaves_nothing_behind() {
    let (stage, backend, running) = stage();
    let good = request(&["half"]).encode_to_vec();
    for cut in [0, 1, good.len() / 2, good.len() - 1] {
        let mut stream = crate::http::connect(running.http);
        let length = good.len();
        let head = format!("POST /v1/logs HTTP/1.1\r\nHost: a\r\n{PROTOBUF}Content-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&good[..cut]).unwrap();
    }
    survives(&stage, &backend, running, &[]);
}

#[test]
fn a_request_without_records_is_taken_and_stores_nothing() {
    let (stage, backend, running) = stage();
    let nothing: [&str; 0] = [];
    Client::of(running.grpc).send(&nothing).unwrap();
    assert_eq!(post(running.http, b"").status, 200);
    survives(&stage, &backend, running, &[]);
}
