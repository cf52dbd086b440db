//! `kernel.net.packet_drop`, and the accounts of its hook: it is the one that comes in storms.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Stdio;
use std::time::Duration;

use tidegate::receivers::kernel::{self, EventSettings, Settings};

use crate::actions::act;
use crate::harness::{Agent, Record, agent, check_common, generous, kernel_since, now};
use crate::network::Namespace;

const NAME: &str = "kernel.net.packet_drop";
const HOOK: &str = "tp_btf/kfree_skb";

pub(crate) fn to_port(namespace: &Namespace, port: u16) -> impl Fn(&Record) -> bool {
    move |record| namespace.has(record) && record.maybe_int("destination.port") == Some(i64::from(port))
}

/// Sends `count` packets of `bytes` to a port of the loopback where nobody listens.
pub(crate) fn send_udp(namespace: &Namespace, count: usize, bytes: usize, to: &str) -> u16 {
    let to: SocketAddr = to.parse().expect("an address");
    namespace.run(move || {
        let any = if to.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        let socket = UdpSocket::bind(any).expect("a socket");
        for _ in 0..count {
            socket.send_to(&vec![1; bytes], to).expect("sending");
        }
        socket.local_addr().expect("bound").port()
    })
}

#[test]
fn packets_to_a_closed_udp_port_are_dropped_with_reason_and_place() {
    let agent = agent();
    let namespace = Namespace::new();
    let began = now();
    let port = send_udp(&namespace, 5, 100, "127.0.0.1:5501");
    let ended = now();
    let records = agent.wait_n(NAME, 5, to_port(&namespace, 5501));
    println!("{}", records[0].show());
    assert_eq!(records.len(), 5);
    for record in &records {
        check_common(record, 13, HOOK, began, ended);
        assert_eq!(record.text("kernel.net.drop.reason"), "NO_SOCKET");
        let symbol = record.text("kernel.net.drop.symbol");
        assert!(symbol.contains("udp") && symbol.contains("+0x"), "{symbol}");
        assert_eq!(record.text("network.transport"), "udp");
        assert_eq!(record.text("network.type"), "ipv4");
        assert_eq!(record.text("source.address"), "127.0.0.1");
        assert_eq!(record.int("source.port"), i64::from(port));
        assert_eq!(record.text("destination.address"), "127.0.0.1");
        assert_eq!(record.text("network.interface.name"), "lo");
        assert_eq!(record.int("kernel.net.interface.index"), 1);
        assert_eq!(record.int("kernel.net.packet.ethertype"), 0x0800);
        assert!((100..=128).contains(&record.int("kernel.net.packet.length")));
        assert!(!record.has("process.pid") && !record.has("kernel.net.tcp.flags"));
        assert!(!record.has("code.stacktrace"), "unasked: {}", record.show());
    }
}

#[test]
fn an_ipv6_packet_has_ipv6_addresses() {
    let agent = agent();
    let namespace = Namespace::new();
    send_udp(&namespace, 1, 64, "[::1]:5502");
    let record = agent.wait(NAME, to_port(&namespace, 5502));
    assert_eq!(record.text("network.type"), "ipv6");
    assert_eq!(record.text("destination.address"), "::1");
    assert_eq!(record.int("kernel.net.packet.ethertype"), 0x86dd);
}

#[test]
fn a_tcp_syn_to_a_closed_port_shows_its_flags() {
    let agent = agent();
    let namespace = Namespace::new();
    let result = namespace.run(|| TcpStream::connect("127.0.0.1:5503"));
    assert!(result.is_err());
    let record = agent.wait(NAME, to_port(&namespace, 5503));
    assert_eq!(record.text("kernel.net.drop.reason"), "NO_SOCKET");
    assert_eq!(record.text("network.transport"), "tcp");
    assert_eq!(record.text("kernel.net.tcp.flags"), "SYN");
}

#[test]
fn packets_to_a_full_socket_are_dropped_one_record_each() {
    let agent = agent();
    let namespace = Namespace::new();
    let full = namespace.run(|| {
        let receiver = UdpSocket::bind("127.0.0.1:5504").expect("a socket");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        rustix::net::sockopt::set_socket_recv_buffer_size(&receiver, 4096).expect("SO_RCVBUF");
        for _ in 0..100 {
            sender.send_to(&[1; 1000], "127.0.0.1:5504").expect("sending");
        }
        receiver
    });
    full.set_nonblocking(true).expect("nonblocking");
    let mut buffer = [0; 2000];
    let received = std::iter::from_fn(|| full.recv(&mut buffer).ok()).count();
    assert!(received < 50, "{received} fit");

    let is_ours = to_port(&namespace, 5504);
    let records = agent.wait_n(NAME, 100 - received, &is_ours);
    assert!(records.iter().all(|record| record.text("kernel.net.drop.reason") == "SOCKET_RCVBUFF"));
    // A later drop shows that nothing more is on its way.
    send_udp(&namespace, 1, 1, "127.0.0.1:5505");
    agent.wait(NAME, to_port(&namespace, 5505));
    assert_eq!(agent.all(NAME, &is_ours).len(), 100 - received);
}

/// What a full socket drops is the container's that reads too slowly, whoever sent it. Before 6.11 the kernel does not
/// tell whose socket it was.
#[test]
fn a_socket_that_drops_names_its_container_and_a_stack_where_it_is_asked_for() {
    let mut settings = only_drops(0);
    settings.packet_drop.stacks = true;
    let agent = Agent::start(&settings);
    let id = crate::cgroup::container_id(5);
    let cgroup = crate::cgroup::Cgroup::make_unified(&format!("/docker/{id}"));
    let mut command = act("overfill");
    let child = command.env("TIDEGATE_CGROUP", cgroup.procs()).stdout(Stdio::piped()).spawn().expect("this binary");
    let output = child.wait_with_output().expect("wait");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    let netns = said.lines().find_map(|line| line.strip_prefix("netns ")?.parse().ok()).expect("a namespace");
    let record = agent.wait(NAME, |record| {
        record.maybe_int("kernel.netns.inode") == Some(netns)
            && record.text("kernel.net.drop.reason") == "SOCKET_RCVBUFF"
    });
    println!("{}", record.show());
    if kernel_since(6, 11) {
        assert_eq!(record.text("container.id"), id);
        assert_eq!(record.text("kernel.cgroup.path"), cgroup.path);
        assert_eq!(record.text("container.runtime.name"), "docker");
    } else {
        assert!(!record.has("container.id") && !record.has("kernel.cgroup.path"), "{}", record.show());
    }
    let stack = record.text("code.stacktrace");
    assert!(stack.lines().count() > 4 && stack.lines().all(|line| line.contains("+0x")), "{stack}");
    assert!(stack.contains("udp") && !stack.contains("0xffff"), "{stack}");
    agent.stop();
}

/// The action behind it: moves to a cgroup and sends to a socket of its own until that is full.
pub(crate) fn overfill() {
    let cgroup = std::env::var("TIDEGATE_CGROUP").expect("TIDEGATE_CGROUP");
    std::fs::write(cgroup, std::process::id().to_string()).expect("moving to the cgroup");
    let (netns, _) = crate::network::enter();
    println!("\nnetns {netns}");
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    rustix::net::sockopt::set_socket_recv_buffer_size(&receiver, 4096).expect("SO_RCVBUF");
    let to = receiver.local_addr().expect("bound");
    let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for _ in 0..50 {
        sender.send_to(&[1; 1000], to).expect("sending");
    }
}

#[test]
fn an_ignored_reason_is_counted_and_not_recorded() {
    let mut settings = generous();
    settings.packet_drop.ignore_reasons = vec!["NO_SOCKET".to_owned()];
    let probes = kernel::attach(&settings);
    let namespace = Namespace::new();
    send_udp(&namespace, 20, 10, "127.0.0.1:5506");
    let counters = probes.counters(HOOK).expect("counters");
    assert!(counters.ignored >= 20, "{counters:?}");
    let agent = Agent::start_probes(probes);
    agent.stop_and_read();
    assert!(agent.all(NAME, to_port(&namespace, 5506)).is_empty());
}

/// Nobody reads the ring while 200 drops come: one page holds a few of them.
#[test]
fn what_a_full_ring_lost_is_told_exactly() {
    let mut settings = only_drops(0);
    settings.rings.bulk = 4096;
    let probes = kernel::attach(&settings);
    let namespace = Namespace::new();
    send_udp(&namespace, 200, 10, "127.0.0.1:5507");
    let counters = probes.counters(HOOK).expect("counters");
    assert_eq!(counters.seen, counters.suppressed + counters.lost + counters.emitted, "{counters:?}");
    assert!(counters.seen >= 200 && counters.emitted > 0 && counters.lost > 150, "{counters:?}");

    let agent = Agent::start_probes(probes);
    agent.stop_and_read();
    let records = agent.all(NAME, |_| true);
    let losses = agent.all("collector.loss", |record| record.text("kernel.hook.name") == HOOK);
    println!("{counters:?}\n{}", losses[0].show());
    let lost: i64 = losses.iter().map(|record| record.int("collector.loss.count")).sum();
    let told = i64::try_from(records.len()).expect("few") + lost;
    let highest = records.iter().map(|record| record.int("kernel.hook.sequence")).max().expect("records");
    // Sequences number what was emitted and what was lost; losses behind the last record are only counted.
    assert!(told >= highest, "{} records, {lost} lost, highest sequence {highest}", records.len());
    assert!(lost >= i64::try_from(counters.lost).expect("few"));
    let loss = &losses[0];
    assert_eq!((loss.severity, loss.scope.as_str()), (17, "tidegate.agent"));
    assert_eq!(loss.text("collector.loss.stage"), "ring");
    assert_eq!(loss.text("collector.loss.reason"), "ring_full");
    assert_eq!(loss.text("collector.loss.signal"), "logs");
    assert_eq!(loss.text("collector.loss.component"), "kernel");
    assert_eq!(loss.text("kernel.event.name"), NAME);
    let full = losses.iter().filter(|record| record.text("collector.loss.reason") == "ring_full");
    let (mut sum, mut total) = (0, 0);
    full.for_each(|record| {
        (sum, total) = (sum + record.int("collector.loss.count"), record.int("collector.loss.total"))
    });
    assert_eq!(sum, total, "the last total is of all that was told");
    assert!(loss.text("collector.loss.first_time") <= loss.text("collector.loss.last_time"));
}

#[test]
fn above_the_limit_drops_are_suppressed_and_the_next_record_says_how_many() {
    let probes = kernel::attach(&only_drops(5));
    let namespace = Namespace::new();
    send_udp(&namespace, 100, 10, "127.0.0.1:5508");
    std::thread::park_timeout(Duration::from_millis(1100));
    // The limit is for all packets of the machine: others may take the places of a second.
    send_udp(&namespace, 20, 10, "127.0.0.1:5508");
    let counters = probes.counters(HOOK).expect("counters");
    assert_eq!(counters.seen, counters.suppressed + counters.lost + counters.emitted, "{counters:?}");
    assert!(counters.suppressed >= 85 && counters.lost == 0, "{counters:?}");

    let agent = Agent::start_probes(probes);
    agent.stop_and_read();
    let records = agent.all(NAME, |_| true);
    let carried: i64 = records.iter().filter_map(|record| record.maybe_int("kernel.suppressed_before")).sum();
    assert!(carried >= 80, "{carried} of {counters:?}");
}

pub(crate) fn only_drops(max_per_second: u32) -> Settings {
    let off = EventSettings { enabled: false, max_per_second: 0 };
    let mut settings = Settings {
        oom_kill: off.clone(),
        process_crash: off.clone(),
        tcp_retransmit: off.clone(),
        ..Settings::default()
    };
    settings.task_hung.event = off;
    settings.packet_drop.event.max_per_second = max_per_second;
    settings
}
