//! The whole way with real parts: agent → OpenTelemetry Collector → OpenSearch. Needs root, for the kernel's events.
//!
//! `tests/run whole-way` builds the Collector and fetches OpenSearch; agent and gateway run
//! the configurations of `examples/gateway`.

#![allow(clippy::unwrap_used, reason = "a test ends where its own preparation fails")]

mod client;
mod documents;
mod http;
mod servers;
mod stage;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "each test program uses a part of it")]
mod support;
mod triggers;

use std::time::{Duration, Instant};

use client::Client;
use documents::Documents;
use servers::Gateway;
use stage::Stage;
use triggers::{Container, HungTask, Network};

const RECORDS: i64 = 10_000;
const RECORD_LIMIT: Duration = Duration::from_secs(30);
const DRAIN_LIMIT: Duration = Duration::from_secs(120);
const OUTAGE: Duration = Duration::from_secs(60);

/// What story 1 brings to OpenSearch, beside the records.
const EVENTS: [&str; 6] = [
    "kernel.oom.kill",
    "kernel.process.crash",
    "kernel.net.tcp_retransmit",
    "kernel.net.packet_drop",
    "kernel.task.hung",
    "collector.probe_state",
];

#[test]
fn the_gateways_configuration_is_valid() {
    Gateway::assert_valid();
}

/// The gateway is down, kernel events happen, an application sends 10,000 records, and the agent is killed in the middle.
/// When the gateway is there, everything acknowledged and every event is in OpenSearch.
#[test]
fn a_killed_agent_and_an_absent_gateway_lose_nothing() {
    let _alone = stage::alone();
    let mut stage = Stage::new();
    stage.start_agent();
    let before = Witnessed::trigger(&stage, 1);
    let client = Client::start(stage.otlp, 0, RECORDS);
    stage.wait("the first part of the load", DRAIN_LIMIT, || client.acked() >= RECORDS.unsigned_abs() / 4);
    let at_kill = client.acked();
    stage.kill_agent();
    stage.start_agent();
    let after = Witnessed::trigger(&stage, 2);
    let sent_again = client.finish(DRAIN_LIMIT);
    assert!(at_kill < RECORDS.unsigned_abs(), "the kill came too late to interrupt anything");
    assert_eq!(stage.documents().len(), 0, "nothing can be in OpenSearch before the gateway is there");

    let drained = Instant::now();
    stage.gateway.start();
    stage.wait_drained(DRAIN_LIMIT);
    let drained = drained.elapsed();
    let documents = stage.documents();
    let duplicates = documents.assert_sequences(0, RECORDS);
    before.assert_in(&documents);
    after.assert_in(&documents);
    println!("figure: story 1: {RECORDS} records acked, killed at {at_kill}, {sent_again} requests sent again");
    println!("figure: story 1: {RECORDS} in OpenSearch, lost 0, duplicates {duplicates}, drained in {drained:.1?}");
    println!("figure: story 1: {}", documents.events());
    documents.show_one_of_each(&EVENTS);
    stage.stop();
}

/// OpenSearch is down behind a living gateway, which answers 500 meanwhile: nothing is parked, all arrives.
#[test]
fn a_gateway_that_answers_500_for_a_minute_parks_nothing() {
    let _alone = stage::alone();
    let mut stage = Stage::new();
    stage.gateway.start();
    stage.start_agent();
    Client::start(stage.otlp, 0, 1_000).finish(DRAIN_LIMIT);
    stage.wait_drained(DRAIN_LIMIT);

    stage.opensearch.kill();
    let down = Instant::now();
    let client = Client::start(stage.otlp, 1_000, 4_000);
    let witnessed = Witnessed::trigger(&stage, 3);
    let sent_again = client.finish(DRAIN_LIMIT);
    assert_eq!(stage.gateway.answer(), 500, "the gateway's own answer while OpenSearch is down");
    stage.wait("the minute", OUTAGE * 2, || down.elapsed() >= OUTAGE);
    let waiting = stage.pending().expect("the agent has its cursors");
    assert!(waiting >= 4_000, "only {waiting} records wait while OpenSearch is down");

    stage.opensearch.start_again();
    let back = Instant::now();
    stage.wait_drained(DRAIN_LIMIT);
    let drained = back.elapsed();
    assert_eq!(stage.ledger("parked"), 0, "a gateway's 500 must not park anything");
    let documents = stage.documents();
    let duplicates = documents.assert_sequences(0, 5_000);
    witnessed.assert_in(&documents);
    println!("figure: story 2: OpenSearch away {:.0?}, {waiting} records waited, parked 0", back - down);
    println!("figure: story 2: 5000 in OpenSearch, lost 0, duplicates {duplicates}, drained in {drained:.1?}");
    assert_eq!(sent_again, 0, "the agent's clients must not notice the outage");
    stage.stop();
}

/// A limit that the operator set takes the oldest records while the gateway is away: what did not arrive is told, to the record.
#[test]
fn what_a_limit_took_is_told_in_opensearch() {
    const SENT: i64 = 3_000;
    let _alone = stage::alone();
    let mut stage = Stage::new();
    let log = "extensions.disk_buffer.logs.logs";
    let limits = ["segment_size=1MiB", "max_size=16MiB", "max_frame=4MiB", "retain_size=1MiB", "on_full=drop_oldest"];
    stage.start_agent_with(&limits.map(|limit| format!("{log}.{limit}")).each_ref().map(String::as_str));
    // Almost three times what the log may hold.
    Client::start_with(stage.otlp, 0, SENT, 16_384).finish(DRAIN_LIMIT);
    stage.gateway.start();
    stage.wait_drained(DRAIN_LIMIT);
    let dropped = stage.ledger("dropped");
    assert!(dropped > 0, "the limit took nothing");
    stage.wait("the loss told", DRAIN_LIMIT, || stage.documents().told_lost() == dropped);
    let documents = stage.documents();
    let arrived = documents.sequences().0.len() as u64;
    println!("figure: story 3: {SENT} acked, {arrived} in OpenSearch, {dropped} dropped by the limit, all told");
    let missing = SENT.unsigned_abs() - arrived;
    // What was on its way when the limit took it arrived, and counts as delivered.
    assert_eq!(missing, dropped, "what did not arrive, and what is told as dropped");
    stage.wait("the ledger closed", DRAIN_LIMIT, || stage.ledger_is_closed());
    documents.show_one_of_each(&["collector.loss"]);
    stage.stop();
}

/// Events that happened while the agent was alive to see them, by what tells them from everybody else's.
struct Witnessed {
    began_ns: i128,
    ended_ns: i128,
    crash: u32,
    oom: u32,
    container: String,
    port: u16,
    blocked: u32,
}

impl Witnessed {
    /// Makes one event of each kind and waits until the agent has each on disk.
    fn trigger(stage: &Stage, number: u16) -> Self {
        let began_ns = stage::now_ns();
        let crash = triggers::crash();
        let container = Container::new(u32::from(number));
        let oom = container.oom();
        let network = Network::new();
        let port = 40_000 + number;
        network.drop_datagram(port);
        network.retransmit(port);
        let recorded = |event, attribute: &str, value: u32| {
            stage.recorded(event, |record| record["attributes"][attribute] == value)
        };
        let blocked =
            HungTask::block(stage.home(), RECORD_LIMIT, |pid| recorded("kernel.task.hung", "process.pid", pid));
        for (event, attribute, value) in [
            ("kernel.process.crash", "process.pid", crash),
            ("kernel.oom.kill", "process.pid", oom),
            ("kernel.net.tcp_retransmit", "network.peer.port", port.into()),
            ("kernel.net.packet_drop", "destination.port", port.into()),
        ] {
            stage.wait(event, RECORD_LIMIT, || recorded(event, attribute, value).is_some());
        }
        let container = container.id.clone();
        Self { began_ns, ended_ns: stage::now_ns(), crash, oom, container, port, blocked }
    }

    /// Each of them is a document with the right fields.
    fn assert_in(&self, documents: &Documents) {
        let window = self.began_ns..=self.ended_ns;
        let one = |event, attribute, value: serde_json::Value| documents.one(event, attribute, &value, &window);

        let crash = one("kernel.process.crash", "process.pid", self.crash.into());
        crash.severity(17).is("kernel.signal.name", "SIGSEGV").is("kernel.signal.number", 11);
        crash.is("process.executable.name", "bash").is("kernel.signal.sender.pid", self.crash);

        let oom = one("kernel.oom.kill", "process.pid", self.oom.into());
        oom.severity(17).is("kernel.oom.constraint", "memcg").is("container.id", self.container.as_str());
        oom.is("process.executable.name", "tail").is("kernel.oom.cgroup.limit", 32 << 20).is_set("kernel.oom.rss.anon");

        let retransmit = one("kernel.net.tcp_retransmit", "network.peer.port", self.port.into());
        retransmit.severity(9).is("network.peer.address", Network::SILENT).is("kernel.net.tcp.kind", "syn");
        retransmit.is("network.transport", "tcp").is("network.type", "ipv4").is_set("kernel.netns.inode");

        let dropped = one("kernel.net.packet_drop", "destination.port", self.port.into());
        dropped.severity(13).is("kernel.net.drop.reason", "NO_SOCKET").is("network.transport", "udp");
        dropped.is("destination.address", "127.0.0.1").is_set("kernel.net.drop.symbol");

        let hung = one("kernel.task.hung", "process.pid", self.blocked.into());
        hung.severity(17).is("kernel.episode.state", "begin").is("process.executable.name", "touch");
        hung.is_set("kernel.task.blocked_time").is_set("code.stacktrace");
    }
}
