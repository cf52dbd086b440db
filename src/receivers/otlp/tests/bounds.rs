//! Limits of size, memory and time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use prost::Message;
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tonic_types::StatusExt;

use super::lab::{Answer, Lab, PROTOBUF, grpc, gzip, logs, message};
use crate::otlp::Signal;
use crate::receivers::Protocol;
use crate::receivers::otlp::{Admission, Limits};
use crate::spool::{LogOptions, Need, Options, Start};

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
    let counts = |protocol| {
        let intake = lab.intake.via(protocol);
        (intake.counts(Signal::Logs).accepted(), intake.counts(Signal::Logs).refused())
    };
    assert_eq!((counts(Protocol::Grpc), counts(Protocol::Http)), ((answers * 100, 100), (0, 100)));
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
    let limits = Limits {
        admission_timeout: Duration::from_millis(50),
        body_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    Lab::under(limits, admission)
}

#[tokio::test]
async fn who_waits_too_long_for_memory_is_sent_away() {
    let admission = Admission::new(3 << 10);
    let holder = admission.admit_message(2 << 10).await.unwrap();
    let lab = impatient(admission);
    let status = lab.logs_client().await.export(logs(1, "a")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.get_details_retry_info().is_some());
    drop(holder);
    lab.logs_client().await.export(logs(1, "a")).await.expect("its memory comes back");
}

#[tokio::test]
async fn a_connection_without_requests_is_closed_and_one_with_a_request_is_not() {
    let lab =
        Lab::under(Limits { idle_timeout: Duration::from_millis(200), ..Limits::default() }, Admission::default());
    let mut silent = TcpStream::connect(lab.http).unwrap();
    let mut busy = TcpStream::connect(lab.http).unwrap();
    let body = logs(1, "a").encode_to_vec();
    let head = format!("POST /v1/logs HTTP/1.1\r\nHost: x\r\n{PROTOBUF}Content-Length: {}\r\n\r\n", body.len());
    busy.write_all(head.as_bytes()).unwrap();
    let closed = tokio::task::spawn_blocking(move || {
        silent.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        silent.read(&mut [0; 1]).unwrap()
    });
    assert_eq!(closed.await.unwrap(), 0, "closed by the receiver");
    busy.write_all(&body).unwrap();
    let answer = tokio::task::spawn_blocking(move || {
        busy.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut answer = Vec::new();
        busy.read_to_end(&mut answer).unwrap();
        Answer::parse(&answer)
    });
    assert_eq!(answer.await.unwrap().status, 200, "and closed after its answer");
}

#[tokio::test]
async fn silent_clients_keep_nobody_out() {
    let lab = Lab::under(Limits { max_connections: 2, ..Limits::default() }, Admission::default());
    let silent: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(lab.http).unwrap()).collect();
    assert_eq!(lab.post_protobuf(&[]).await.status, 200, "in the place of one of them");
    drop(silent);
}

#[tokio::test]
async fn headers_above_the_limit_are_refused_and_the_smallest_limit_works() {
    let lab = Lab::under(Limits { max_header_bytes: 1 << 10, ..Limits::default() }, Admission::default());
    assert_eq!(lab.post_protobuf(&[]).await.status, 200);
    let headers = format!("{PROTOBUF}X-Large: {}\r\n", "x".repeat(2 << 10));
    let answer = lab.post("/v1/logs", &headers, &[]).await;
    assert!(answer.status == 431 && answer.rpc_status().message.contains("max_header_size"), "{answer:?}");
}

#[tokio::test]
async fn a_client_that_reads_no_answers_does_not_keep_its_place() {
    let limits = Limits {
        max_connections: 1,
        idle_timeout: Duration::from_millis(100),
        body_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let lab = Lab::under(limits, Admission::default());
    let mut deaf = TcpStream::connect(lab.http).unwrap();
    let deaf = tokio::task::spawn_blocking(move || {
        deaf.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        let requests = b"POST /v1/no HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".repeat(1000);
        // Until nothing more goes in: the receiver waits for its answers to be read.
        while deaf.write_all(&requests).is_ok() {}
        deaf
    });
    let deaf = deaf.await.unwrap();
    let taken = tokio::time::timeout(Duration::from_secs(20), lab.post_protobuf(&[])).await;
    assert_eq!(taken.expect("its place is taken for good").status, 200);
    drop(deaf);
}

/// Lists in lists, in the body of a record.
fn nested(lists: usize) -> Vec<u8> {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, any_value::Value};
    let list = |inner| Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(inner) }] });
    let body = (0..lists).fold(Value::StringValue("x".into()), |inner, _| list(inner));
    let mut request = logs(1, "x");
    request.resource_logs[0].scope_logs[0].log_records[0].body = Some(AnyValue { value: Some(body) });
    request.encode_to_vec()
}

#[tokio::test]
async fn messages_nest_no_deeper_than_they_may() {
    for (most, fits) in [(8, 2), (98, 47)] {
        let lab = Lab::under(Limits { max_nesting_depth: most, ..Limits::default() }, Admission::default());
        assert_eq!(lab.post_protobuf(&nested(fits)).await.status, 200, "{most}");
        let answer = lab.post_protobuf(&nested(fits + 1)).await;
        assert!(answer.status == 400 && answer.rpc_status().message.contains("too deep"), "{most}: {answer:?}");
    }
}
