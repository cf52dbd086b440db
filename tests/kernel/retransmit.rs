//! `kernel.net.tcp_retransmit`, by neighbours that do not exist: no packet filter or emulated loss is needed.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::actions::{act, run};
use crate::harness::{Record, agent, check_common, kernel_since, now};
use crate::network::{Namespace, cable, enter, ip, lose};

const NAME: &str = "kernel.net.tcp_retransmit";
const SEGMENT: &str = "tp_btf/tcp_retransmit_skb";
/// The first SYN is sent again after a second, the next after two more.
const CONNECTING: Duration = Duration::from_millis(1500);

fn of(namespace: &Namespace, kind: &'static str) -> impl Fn(&Record) -> bool {
    move |record| namespace.has(record) && record.text("kernel.net.tcp.kind") == kind
}

fn connect_in_vain(namespace: &Namespace, to: &str) {
    let to: SocketAddr = to.parse().expect("an address");
    let result = namespace.run(move || TcpStream::connect_timeout(&to, CONNECTING));
    assert!(result.is_err(), "{to} answers");
}

#[test]
fn a_syn_that_is_sent_again_names_the_connection_and_no_process() {
    let agent = agent();
    let (client, _server) = cable();
    lose(&client, "10.0.0.2", "end0");
    let began = now();
    connect_in_vain(&client, "10.0.0.2:4444");
    let ended = now();

    let record = agent.wait(NAME, of(&client, "syn"));
    println!("{}", record.show());
    check_common(&record, 9, SEGMENT, began, ended);
    assert_eq!(record.text("network.transport"), "tcp");
    assert_eq!(record.text("network.type"), "ipv4");
    assert_eq!(record.text("network.local.address"), "10.0.0.1");
    assert!(record.int("network.local.port") > 1023);
    assert_eq!(record.text("network.peer.address"), "10.0.0.2");
    assert_eq!(record.int("network.peer.port"), 4444);
    assert_eq!(record.text("network.connection.state"), "syn_sent");
    assert_eq!(record.int("kernel.net.tcp.segment_length"), 0);
    assert!(record.int("kernel.net.tcp.sequence") > 0);
    assert!(record.int("kernel.net.tcp.retransmits") <= 1);
    assert!(!record.has("process.pid") && !record.has("kernel.net.tcp.error"), "{}", record.show());
}

#[test]
fn an_ipv6_syn_has_ipv6_addresses() {
    let agent = agent();
    let (client, _server) = cable();
    lose(&client, "fd00::2", "end0");
    connect_in_vain(&client, "[fd00::2]:4445");
    let record = agent.wait(NAME, of(&client, "syn"));
    assert_eq!(record.text("network.type"), "ipv6");
    assert_eq!(record.text("network.local.address"), "fd00::1");
    assert_eq!(record.text("network.peer.address"), "fd00::2");
    assert_eq!(record.int("network.peer.port"), 4445);
}

#[test]
fn data_that_is_sent_again_has_its_length_round_trip_and_congestion_state() {
    let agent = agent();
    let (client, server) = cable();
    let listener = server.run(|| TcpListener::bind("10.0.0.2:4446")).expect("a listener");
    let mut stream = client.run(|| TcpStream::connect("10.0.0.2:4446")).expect("a connection");
    let (_peer, from) = listener.accept().expect("a connection");
    lose(&client, "10.0.0.2", "end0");
    let began = now();
    stream.write_all(&[7; 100]).expect("writing");

    let records = agent.wait_n(NAME, 3, of(&client, "data"));
    let ended = now();
    println!("{}", records[2].show());
    for record in &records {
        check_common(record, 9, SEGMENT, began, ended);
        assert_eq!(record.int("network.local.port"), i64::from(from.port()));
        assert_eq!(record.int("network.peer.port"), 4446);
        assert_eq!(record.text("network.connection.state"), "established");
        assert_eq!(record.int("kernel.net.tcp.segment_length"), 100);
        assert_eq!(record.int("kernel.net.tcp.sequence"), records[0].int("kernel.net.tcp.sequence"));
        let srtt = record.seconds("kernel.net.tcp.srtt");
        assert!(srtt > 0.0 && srtt < 5.0, "{srtt}");
    }
    // The first may be a loss probe, in the state "open" or "disorder"; after the timer ran out it is "loss".
    assert_eq!(records[2].text("kernel.net.tcp.ca_state"), "loss");
    assert!(records[2].int("kernel.net.tcp.retransmits") >= 1);
}

/// A queue of the device that takes no packet. Older kernels tell only of segments that were sent.
#[test]
fn a_segment_that_cannot_be_sent_again_has_the_error() {
    let agent = agent();
    let (client, server) = cable();
    let listener = server.run(|| TcpListener::bind("10.0.0.2:4449")).expect("a listener");
    let mut stream = client.run(|| TcpStream::connect("10.0.0.2:4449")).expect("a connection");
    let (_peer, _) = listener.accept().expect("a connection");
    lose(&client, "10.0.0.2", "end0");
    stream.write_all(&[7; 100]).expect("writing");
    agent.wait(NAME, of(&client, "data"));
    client.run(|| {
        run("tc", &["qdisc", "add", "dev", "end0", "root", "tbf", "rate", "1kbit", "burst", "10", "limit", "10"])
    });
    if kernel_since(6, 18) {
        let record = agent.wait(NAME, |record| of(&client, "data")(record) && record.has("kernel.net.tcp.error"));
        println!("{}", record.show());
        // NET_XMIT_DROP
        assert_eq!(record.int("kernel.net.tcp.error"), 1);
        assert_eq!(record.int("kernel.net.tcp.segment_length"), 100);
    } else {
        // Once it can be sent again it is told again.
        client.run(|| run("tc", &["qdisc", "del", "dev", "end0", "root"]));
        let freed = now();
        agent.wait(NAME, |record| of(&client, "data")(record) && record.time > freed);
        assert!(agent.all(NAME, |record| client.has(record) && record.has("kernel.net.tcp.error")).is_empty());
    }
}

#[test]
fn a_synack_that_is_sent_again_is_the_servers() {
    let agent = agent();
    let (client, server) = cable();
    let listener = server.run(|| TcpListener::bind("10.0.0.2:4447")).expect("a listener");
    lose(&server, "10.0.0.1", "end1");
    let began = now();
    connect_in_vain(&client, "10.0.0.2:4447");
    let record = agent.wait(NAME, of(&server, "synack"));
    let ended = now();
    drop(listener);
    println!("{}", record.show());
    check_common(&record, 9, "tp_btf/tcp_retransmit_synack", began, ended);
    assert_eq!(record.text("network.local.address"), "10.0.0.2");
    assert_eq!(record.int("network.local.port"), 4447);
    assert_eq!(record.text("network.peer.address"), "10.0.0.1");
    assert_eq!(record.text("network.connection.state"), "syn_received");
    assert!(!record.has("kernel.net.tcp.sequence"));
}

/// The timer that sends again runs in any task: the container is the socket's.
#[test]
fn the_container_is_that_of_the_socket() {
    let agent = agent();
    let id = crate::cgroup::container_id(3);
    let cgroup = crate::cgroup::Cgroup::make_unified(&format!("/docker/{id}"));
    let mut child = act("connect").env("TIDEGATE_CGROUP", cgroup.procs()).spawn().expect("this binary");
    let record = agent.wait(NAME, |record| {
        record.maybe_int("network.peer.port") == Some(4448)
            && record.has("container.id")
            && record.text("container.id") == id
    });
    assert_eq!(record.text("kernel.cgroup.path"), format!("/docker/{id}"));
    assert!(child.wait().expect("wait").success());
}

/// The action behind it: moves to a cgroup and a namespace, and connects to nobody.
pub(crate) fn connect() {
    let cgroup = std::env::var("TIDEGATE_CGROUP").expect("TIDEGATE_CGROUP");
    std::fs::write(cgroup, std::process::id().to_string()).expect("moving to the cgroup");
    enter();
    ip("link add end0 type veth peer name end1");
    ip("addr add 10.0.0.1/24 dev end0");
    ip("link set end0 up");
    ip("link set end1 up");
    run("ip", &["neigh", "replace", "10.0.0.2", "lladdr", "02:00:00:00:00:99", "dev", "end0", "nud", "permanent"]);
    let to: SocketAddr = "10.0.0.2:4448".parse().expect("an address");
    assert!(TcpStream::connect_timeout(&to, CONNECTING).is_err());
}
