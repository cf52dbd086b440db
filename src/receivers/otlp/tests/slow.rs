//! Senders that announce much and send little, against those that send.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use super::lab::{Answer, Lab, PROTOBUF, logs, message};
use crate::otlp::Signal;
use crate::receivers::otlp::{Admission, Limits};
use crate::spool::Options;

const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// A call that begins with `begin` and does not go on until dropped.
struct OpenCall(#[expect(dead_code, reason = "it ends when dropped")] h2::SendStream<Bytes>);

/// So many of them on one connection.
async fn open_calls(address: SocketAddr, count: usize, begin: &'static [u8]) -> Vec<OpenCall> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut calls = Vec::new();
    for _ in 0..count {
        client = client.ready().await.unwrap();
        let request = http::Request::post(format!("http://{address}{LOGS}")).header("content-type", "application/grpc");
        let (_, mut body) = client.send_request(request.body(()).unwrap(), false).unwrap();
        body.send_data(Bytes::from_static(begin), false).unwrap();
        calls.push(OpenCall(body));
    }
    calls
}

/// A POST that announces `length` bytes and sends the first `sent` of them.
fn open_post(address: SocketAddr, length: usize, sent: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("POST /v1/logs HTTP/1.1\r\nHost: x\r\n{PROTOBUF}Content-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&vec![0; sent]).unwrap();
    stream
}

/// The answer on a connection that was kept open.
async fn answer(mut stream: TcpStream) -> Answer {
    let read = move || {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut bytes = vec![0; 4096];
        let length = stream.read(&mut bytes).unwrap();
        Answer::parse(&bytes[..length])
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(8), future).await.unwrap_or_else(|_| panic!("{what}: not within 8 s"))
}

/// Until all of `count` requests are in flight, as far as one can see from here.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(400)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_announced_holds_no_memory() {
    let lab = Lab::new();
    // 4 MiB each, all that messages may hold, and all of it once more.
    let calls = open_calls(lab.grpc, 4, &[0, 0, 0x40, 0, 0]).await;
    let post = open_post(lab.http, 16 << 20, 0);
    settle().await;
    for _ in 0..10 {
        soon("a healthy call", lab.logs_client().await.export(logs(1, "a"))).await.unwrap();
    }
    let large = logs(10, &"x".repeat(100 << 10)).encode_to_vec();
    assert_eq!(soon("a large request", lab.post_protobuf(&large)).await.status, 200);
    assert_eq!(lab.stored(Signal::Logs).len(), 11);
    drop((calls, post));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_memory_and_does_not_go_on_gives_way_to_who_waits_for_it() {
    let lab = Lab::new();
    // Together they hold all that messages may.
    let slow: Vec<TcpStream> = (0..4).map(|_| open_post(lab.http, 4 << 20, 100 << 10)).collect();
    settle().await;
    let large = logs(10, &"x".repeat(100 << 10)).encode_to_vec();
    assert_eq!(soon("a large request", lab.post_protobuf(&large)).await.status, 200);
    // One was enough: it is to come again, and the others go on.
    let statuses = slow.iter().map(|stream| {
        let mut stream = stream.try_clone().unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut bytes = vec![0; 4096];
        stream.read(&mut bytes).ok().map(|length| Answer::parse(&bytes[..length]))
    });
    let told: Vec<Answer> = statuses.flatten().collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].status, 503);
    assert!(told[0].head.contains("retry-after: 1"), "{}", told[0].head);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_whose_bodies_do_not_come_keep_no_request_out() {
    let lab = Lab::new();
    let mut calls = Vec::new();
    for _ in 0..3 {
        calls.extend(open_calls(lab.grpc, 100, &[0]).await);
    }
    settle().await;
    for _ in 0..10 {
        soon("a healthy call", lab.logs_client().await.export(logs(1, "a"))).await.unwrap();
        assert_eq!(soon("a healthy request", lab.post_protobuf(&logs(1, "a").encode_to_vec())).await.status, 200);
    }
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_to_be_sent_again() {
    let limits = Limits { body_timeout: Duration::from_millis(300), ..Limits::default() };
    let lab = Lab::under(limits, Admission::default());
    let answer = answer(open_post(lab.http, 100, 0)).await;
    assert_eq!(answer.status, 503, "clients send again after 429, 502, 503 and 504 alone");
    assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
    assert_eq!(answer.rpc_status().code, tonic::Code::Unavailable as i32);
    assert!(lab.stored(Signal::Logs).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_body_may_take_long_as_long_as_it_goes_on() {
    let limits = Limits { body_timeout: Duration::from_millis(500), ..Limits::default() };
    let lab = Lab::under(limits, Admission::default());
    let body = logs(10, &"x".repeat(60 << 10)).encode_to_vec();
    let mut stream = open_post(lab.http, body.len(), 0);
    let sending = tokio::task::spawn_blocking(move || {
        for part in body.chunks(70 << 10) {
            std::thread::park_timeout(Duration::from_millis(100));
            stream.write_all(part).unwrap();
        }
        stream
    });
    assert_eq!(answer(sending.await.unwrap()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_whose_requests_do_not_go_on_keep_nobody_out() {
    let lab = Lab::under(Limits { max_connections: 2, ..Limits::default() }, Admission::default());
    let stalled: Vec<TcpStream> = (0..2).map(|_| open_post(lab.http, 100, 10)).collect();
    assert_eq!(soon("another client", lab.post_protobuf(&[])).await.status, 200, "in the place of one of them");
    drop(stalled);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_whose_requests_are_refused_keep_nobody_out() {
    let lab = Lab::under(Limits { max_connections: 2, ..Limits::default() }, Admission::default());
    let address = lab.http;
    let refused: Vec<_> = (0..2)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            std::thread::spawn(move || {
                let request = b"POST /v1/no HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
                while stream.write_all(request).is_ok() && stream.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {
                    std::thread::park_timeout(Duration::from_millis(300));
                }
            })
        })
        .collect();
    settle().await;
    assert_eq!(soon("another client", lab.post_protobuf(&[])).await.status, 200, "in the place of one of them");
    drop(lab);
    drop(refused);
}

#[tokio::test]
async fn one_connection_more_waits_while_all_others_are_worked_on() {
    let admission = Admission::new(3 << 10);
    let all = admission.admit_message(2 << 10).await.unwrap();
    let limits = Limits { max_connections: 1, ..Limits::default() };
    let lab = Lab::with_settings(
        &[Signal::Logs],
        Options::default().log,
        admission,
        crate::receivers::otlp::Settings { limits, ..super::lab::any_port() },
    );
    let body = logs(1, "a").encode_to_vec();
    let mut first = open_post(lab.http, body.len(), 0);
    first.write_all(&body).unwrap();
    let mut waiting = std::pin::pin!(lab.post_protobuf(&[]));
    assert!(tokio::time::timeout(Duration::from_millis(1500), &mut waiting).await.is_err());
    drop(all);
    assert_eq!(answer(first).await.status, 200, "it waited for memory, not for its client");
    assert_eq!(waiting.await.status, 200);
}

#[tokio::test]
async fn an_idle_connection_is_kept_for_the_idle_timeout_not_that_of_heads() {
    let limits = Limits {
        header_timeout: Duration::from_millis(200),
        idle_timeout: Duration::from_secs(10),
        ..Limits::default()
    };
    let lab = Lab::under(limits, Admission::default());
    let mut stream = open_post(lab.http, 0, 0);
    assert_eq!(answer(stream.try_clone().unwrap()).await.status, 200);
    tokio::time::sleep(Duration::from_millis(800)).await;
    stream
        .write_all(
            b"POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n",
        )
        .unwrap();
    assert_eq!(answer(stream).await.status, 200, "as an SDK that exports now and then expects");
    // One that never asks anything is not.
    let silent = TcpStream::connect(lab.http).unwrap();
    let read = move || {
        silent.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        (&silent).read(&mut [0; 1]).unwrap()
    };
    assert_eq!(tokio::task::spawn_blocking(read).await.unwrap(), 0, "closed by the receiver");
}

#[tokio::test]
async fn a_message_in_many_small_pieces_is_taken() {
    let lab = Lab::new();
    let stream = tokio::net::TcpStream::connect(lab.grpc).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://{}{LOGS}", lab.grpc)).header("content-type", "application/grpc");
    let (answer, mut body) = client.ready().await.unwrap().send_request(request.body(()).unwrap(), false).unwrap();
    let bytes = message(&logs(30, "piece").encode_to_vec());
    for piece in bytes.chunks(3) {
        body.send_data(Bytes::copy_from_slice(piece), false).unwrap();
    }
    body.send_data(Bytes::new(), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
    assert_eq!(lab.stored(Signal::Logs)[0].items, 30);
}

#[tokio::test]
async fn who_is_refused_over_http_2_hears_it_before_all_was_sent() {
    let lab = Lab::new();
    let stream = tokio::net::TcpStream::connect(lab.http).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://{}/v1/logs", lab.http));
    let request = request.header("content-type", "application/x-protobuf").header("content-length", 100 << 20);
    let (answer, mut body) = client.ready().await.unwrap().send_request(request.body(()).unwrap(), false).unwrap();
    body.send_data(Bytes::from(vec![0; 1 << 20]), false).unwrap();
    assert_eq!(soon("the answer", answer).await.unwrap().status(), 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_calls_that_come_whole_is_taken() {
    let lab = Lab::new();
    let mut calls = Vec::new();
    for _ in 0..8 {
        let client = lab.logs_client().await;
        for _ in 0..60 {
            let mut client = client.clone();
            calls.push(tokio::spawn(async move { client.export(logs(1, &"x".repeat(1000))).await }));
        }
    }
    let mut refused = 0;
    for call in calls {
        refused += u32::from(call.await.unwrap().is_err());
    }
    assert_eq!(refused, 0);
}
