//! `sending_queue` when a backend does not take what comes: refused, waited for, or dropped.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use prost::Message as _;
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::backend::{Backend, Mood, nobody};
use crate::client::{Client, RUNTIME, bodies, request, send};
use crate::http::{self, connect};
use crate::stage::{PATIENCE, Running, Stage, config, to};
use crate::support::wait_for;

const PROTOBUF: &str = "Content-Type: application/x-protobuf\r\n";

/// An `otlp` exporter with this `sending_queue`.
pub(crate) fn queued(backend: SocketAddr, queue: &str) -> String {
    to(backend).replacen('{', &format!("{{ sending_queue: {{ {queue} }},"), 1)
}

/// Sends one record with a deadline of the client's own.
pub(crate) fn send_within(agent: SocketAddr, body: &str, limit: Duration) -> Result<(), Status> {
    RUNTIME.block_on(async {
        let endpoint = Endpoint::from_shared(format!("http://{agent}")).unwrap();
        let mut client = LogsServiceClient::new(endpoint.connect_lazy());
        let answer = tokio::time::timeout(limit, client.export(request(&[body]))).await;
        answer.map_err(|_| Status::deadline_exceeded("the client gave up"))?.map(|_| ())
    })
}

/// Sends one record from a thread of its own: its answer, and when it came.
fn send_aside(agent: SocketAddr, body: &'static str) -> std::thread::JoinHandle<(Result<(), Status>, Instant)> {
    std::thread::spawn(move || (Client::of(agent).send(&[body]), Instant::now()))
}

/// Of the log `logs`.
fn ledger(stage: &Stage) -> serde_json::Value {
    let found = stage.look(&["spool", "inspect", "--output", "json"]).json();
    let logs = found["logs"].as_array().unwrap();
    logs.iter().find(|log| log["name"] == "logs").unwrap()["ledger"].clone()
}

#[test]
fn at_queue_size_senders_are_refused_with_a_delay_and_nothing_acknowledged_is_lost() {
    let stage = Stage::new();
    let address = nobody();
    let running = stage.start(&[("otlp", queued(address, "sizer: items, queue_size: 10"))]);
    let kept = bodies("kept", 10);
    send(running.grpc, &kept);
    let status = Client::of(running.grpc).send(&["refused"]).unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.get_details_retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
    assert!(status.message().contains("logs:otlp has 10 items to deliver"), "{status}");
    let answer = http::request(running.http, "POST", "/v1/logs", PROTOBUF, &request(&["refused"]).encode_to_vec());
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.head.contains("retry-after: "), "{answer:?}");

    let backend = Backend::at(address, Mood::Take);
    backend.wait_for(&kept);
    let taken = || Client::of(running.grpc).send(&["after"]).ok();
    wait_for(PATIENCE, taken).expect("room again");
    backend.wait_for(&["after"]);
    assert!(!backend.bodies().iter().any(|body| body == "refused"));
    assert!(running.agent.stop(PATIENCE).0.success());
    assert_eq!(ledger(&stage)["delivered"]["logs:otlp"], 11);
}

/// An agent whose one place is taken, and whose senders wait.
fn blocked(stage: &Stage, backend: SocketAddr) -> Running {
    let running = stage.start(&[("otlp", queued(backend, "sizer: items, queue_size: 1, block_on_overflow: true"))]);
    send(running.grpc, &["first"]);
    // That it waits is seen by a sender who gives up.
    let status = send_within(running.grpc, "given up", Duration::from_millis(300)).unwrap_err();
    assert_eq!(status.message(), "the client gave up");
    running
}

#[test]
fn with_block_on_overflow_a_sender_waits_until_the_backend_is_back() {
    let stage = Stage::new();
    let address = nobody();
    let running = blocked(&stage, address);
    // One that hangs up while it waits is not stored either.
    let body = request(&["hung up"]).encode_to_vec();
    let head = format!("POST /v1/logs HTTP/1.1\r\nHost: a\r\n{PROTOBUF}Content-Length: {}\r\n\r\n", body.len());
    let mut stream = connect(running.http);
    stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(stream.read(&mut [0]).is_err(), "it was answered");
    drop(stream);

    let waiting = send_aside(running.grpc, "waited");
    let back = Instant::now();
    let backend = Backend::at(address, Mood::Take);
    let (answer, answered) = waiting.join().unwrap();
    answer.unwrap();
    assert!(answered > back);
    backend.wait_for(&["first", "waited"]);
    let (status, said) = running.agent.stop(PATIENCE);
    assert!(status.success() && said.ends_with("everything is delivered"), "{said}");
    assert_eq!(backend.bodies(), ["first", "waited"]);
}

#[test]
fn a_stop_refuses_those_who_wait_and_does_not_wait_for_them() {
    let stage = Stage::new();
    let running = blocked(&stage, nobody());
    let waiting: Vec<_> = ["a", "b", "c"].into_iter().map(|body| send_aside(running.grpc, body)).collect();
    // All four connections are open: the one of this test's own is answered after those that came before it.
    assert!(send_within(running.grpc, "given up", Duration::from_millis(300)).is_err());
    let begun = Instant::now();
    let (status, said) = running.agent.stop(PATIENCE);
    assert!(status.success(), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert!(said.contains("; 1 undelivered record stays in "), "{said}");
    for waiting in waiting {
        let (answer, _) = waiting.join().unwrap();
        let status = answer.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    }
}

/// How many records of an exporter the records about losses speak of.
fn lost(bodies: &[String]) -> usize {
    let told = bodies.iter().filter(|body| body.ends_with(" lost for logs:otlp: full"));
    told.map(|body| body.split_once(' ').unwrap().0.parse::<usize>().unwrap()).sum()
}

#[test]
fn with_drop_oldest_a_lagging_exporter_keeps_its_newest_and_the_loss_is_told() {
    let stage = Stage::new();
    let address = nobody();
    let copy = stage.path("copy.jsonl");
    // While it pauses after a failure, for seconds, an exporter takes no more in hand.
    let patient = queued(address, "sizer: items, queue_size: 10").replace("20ms", "4s").replace("100ms", "4s");
    let exporters = [("otlp", patient), ("file", format!("{{ path: {} }}", copy.display()))];
    let text = config(&exporters)
        .replace("extensions:\n", "extensions:\n  disk_buffer: { on_full: drop_oldest }\n")
        .replace("[health_check]", "[health_check, disk_buffer]");
    stage.write("agent.yaml", text);
    let running = stage.start_again();
    let sent = bodies("n", 30);
    send(running.grpc, &sent[..1]);
    running.agent.wait_said("not delivered", PATIENCE);
    send(running.grpc, &sent[1..]);
    wait_for(PATIENCE, || (ledger(&stage)["pending"]["logs:otlp"] == 10).then_some(())).expect("within the limit");
    let told = running.agent.wait_said("records lost", PATIENCE);
    assert!(told.contains("logs:otlp") && told.contains("full"), "{told}");

    let backend = Backend::at(address, Mood::Take);
    backend.wait_for(&sent[20..]);
    let records = || -> Vec<String> { backend.bodies().into_iter().filter(|body| body.starts_with("n ")).collect() };
    // What the exporter had in hand when it paused is sent; what is counted as lost is not. A loss that goes on while
    // it is told is told in two parts.
    let all = || (lost(&backend.bodies()) + records().len() == 30).then_some(());
    wait_for(PATIENCE, all).unwrap_or_else(|| panic!("{:?}", backend.bodies()));
    let records = records();
    let in_hand = records.len() - 10;
    assert_eq!(records, [&sent[..in_hand], &sent[20..]].concat());
    // A stop waits for no answer of a backend whose last one was none.
    wait_for(PATIENCE, || (ledger(&stage)["pending"]["logs:otlp"] == 0).then_some(())).expect("acknowledged");
    let (status, said) = running.agent.stop(PATIENCE);
    assert!(status.success() && said.ends_with("everything is delivered"), "{said}");
    let ledger = ledger(&stage);
    assert_eq!(
        (&ledger["delivered"]["logs:otlp"], &ledger["delivered"]["logs:file"]),
        (&records.len().into(), &30.into())
    );
    assert_eq!(ledger["dropped"]["full"], 20 - in_hand, "{ledger}");
    let verified = stage.look(&["spool", "verify", "--output", "json"]);
    assert_eq!((verified.code, &verified.json()["ok"]), (Some(0), &true.into()), "{verified:?}");
}
