//! A reload: what did not change goes on without a gap, and what changed says so.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tidegate::receivers::kernel::Settings;

use crate::actions::until;
use crate::drops::{only_drops, send_udp};
use crate::harness::{Agent, Record, generous};
use crate::network::Namespace;

const DROP: &str = "kernel.net.packet_drop";
const STATE: &str = "collector.probe_state";
const RELOADS: u16 = 4;
const PORTS: std::ops::Range<u16> = 20_000..60_000;
/// Packets before each reload and after the last one.
const PACKETS: usize = 150;
/// Packets around each reload that are sent at full speed, for about two seconds. In an emulator a reload can take a
/// minute, and every receiver that runs keeps every packet.
const AT_SPEED: usize = 2_000;

/// Drops only, with room for all of them.
fn drops() -> Settings {
    let mut settings = only_drops(0);
    settings.rings.bulk = 8 << 20;
    settings
}

/// Sends packets to closed ports, no two of them alike, for as long as `reload` is called again and again; how many.
fn drop_packets(namespace: &Namespace, mut reload: impl FnMut(u16)) -> usize {
    let progress = Arc::new(Progress::default());
    let Progress { sent, slow_from, stop } = &*progress;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let progress = Arc::clone(&progress);
            namespace.run(move || send_until_stopped(&progress));
        });
        let send_more = || {
            slow_from.store(sent.load(Ordering::Relaxed) + AT_SPEED, Ordering::Relaxed);
            let goal = sent.load(Ordering::Relaxed) + PACKETS;
            until("packets", || (sent.load(Ordering::Relaxed) >= goal).then_some(()));
        };
        for number in 1..=RELOADS {
            send_more();
            reload(number);
        }
        send_more();
        stop.store(true, Ordering::Relaxed);
    });
    sent.load(Ordering::Relaxed)
}

#[derive(Default)]
struct Progress {
    sent: AtomicUsize,
    /// How many are sent before the sender slows down.
    slow_from: AtomicUsize,
    stop: AtomicBool,
}

fn send_until_stopped(Progress { sent, slow_from, stop }: &Progress) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    // A packet is known by its port and its length.
    for (port, length) in (1..=1000).flat_map(|length| PORTS.map(move |port| (port, length))) {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        socket.send_to(&vec![1; length], ("127.0.0.1", port)).expect("sending");
        let before = sent.fetch_add(1, Ordering::Relaxed);
        // Hundreds a second are enough, and leave time for the reloads.
        let pause = if before < slow_from.load(Ordering::Relaxed) { 1 } else { 20 };
        std::thread::park_timeout(Duration::from_millis(pause));
    }
    panic!("the reloads took too long");
}

/// How often each packet was recorded.
fn recorded(agent: &Agent, namespace: &Namespace) -> BTreeMap<(i64, i64), usize> {
    let mut recorded = BTreeMap::new();
    for record in agent.all(DROP, |record| namespace.has(record)) {
        let packet = (record.int("destination.port"), record.int("kernel.net.packet.length"));
        *recorded.entry(packet).or_default() += 1;
    }
    recorded
}

/// The hook, the state before and the state of each `collector.probe_state`.
pub(crate) fn states(agent: &Agent) -> Vec<(String, Option<String>, String)> {
    let text = |record: &Record, key: &str| record.has(key).then(|| record.text(key).to_owned());
    let state = |record: Record| {
        let hook = record.text("kernel.hook.name").to_owned();
        (hook, text(&record, "collector.probe.previous_state"), record.text("collector.probe.state").to_owned())
    };
    agent.all(STATE, |_| true).into_iter().map(state).collect()
}

#[test]
fn a_hook_that_stays_misses_nothing_and_tells_nothing_twice() {
    let settings = drops();
    let agent = Agent::start(&settings);
    let namespace = Namespace::new();
    let sent = drop_packets(&namespace, |number| {
        let mut settings = settings.clone();
        settings.event_name_attribute = number % 2 == 1;
        settings.task_hung.max_stacks = u32::from(number);
        agent.reload(&settings);
    });
    agent.stop_and_read();
    let recorded = recorded(&agent, &namespace);
    assert_eq!((recorded.len(), recorded.values().sum::<usize>()), (sent, sent));
    // The sequence goes on: of all drops of this machine since the start, each number came once.
    let mut sequences: Vec<i64> = agent.all(DROP, |_| true).iter().map(|r| r.int("kernel.hook.sequence")).collect();
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=sequences.len() as i64).collect::<Vec<_>>());
    assert!(agent.all("collector.loss", |_| true).is_empty());
    let later: Vec<_> = states(&agent).into_iter().filter(|(_, previous, _)| previous.is_some()).collect();
    assert!(later.is_empty(), "no state changed: {later:?}");
    let named = agent.all(DROP, |record| namespace.has(record) && record.has("event.name")).len();
    assert!(named > 0 && named < sent, "{named} of {sent} records have the attribute of the odd reloads");
}

/// The limit is a constant of the program: each of these reloads replaces it under load.
#[test]
fn a_hook_that_is_loaded_anew_misses_nothing() {
    let settings = drops();
    let agent = Agent::start(&settings);
    let namespace = Namespace::new();
    let sent = drop_packets(&namespace, |number| {
        let mut settings = settings.clone();
        settings.packet_drop.event.max_per_second = 1_000_000 - u32::from(number);
        agent.reload(&settings);
    });
    agent.stop_and_read();
    let recorded = recorded(&agent, &namespace);
    let twice = recorded.values().sum::<usize>() - recorded.len();
    let processors = std::thread::available_parallelism().expect("a number").get();
    println!("{sent} sent, {} came, {twice} of them twice in {RELOADS} reloads", recorded.len());
    assert_eq!(recorded.len(), sent);
    assert!(twice <= processors * usize::from(RELOADS), "{twice} came twice");
    assert!(agent.all("collector.loss", |_| true).is_empty());
    let later: Vec<_> = states(&agent).into_iter().filter(|(_, previous, _)| previous.is_some()).collect();
    assert!(later.is_empty(), "no state changed: {later:?}");
    // A program that is loaded anew begins to number its records anew.
    let mut records = agent.all(DROP, |_| true);
    records.sort_by_key(|record| record.time);
    let sequences: Vec<i64> = records.iter().map(|record| record.int("kernel.hook.sequence")).collect();
    let steps_back = sequences.windows(2).filter(|pair| pair[1] + 100 < pair[0]).count();
    assert_eq!(steps_back, usize::from(RELOADS), "each reload replaced the program");
}

#[test]
fn new_settings_of_a_program_are_in_force_when_the_reload_is_done() {
    let mut settings = drops();
    let agent = Agent::start(&settings);
    let namespace = Namespace::new();
    settings.packet_drop.ignore_reasons = vec!["NO_SOCKET".to_owned()];
    agent.reload(&settings);
    send_udp(&namespace, 10, 10, "127.0.0.1:5601");
    settings.packet_drop.ignore_reasons.clear();
    agent.reload(&settings);
    send_udp(&namespace, 10, 10, "127.0.0.1:5602");
    agent.stop_and_read();
    let ports = |port| agent.all(DROP, |r| namespace.has(r) && r.maybe_int("destination.port") == Some(port)).len();
    assert_eq!((ports(5601), ports(5602)), (0, 10));
}

#[test]
fn an_event_that_is_turned_off_and_on_says_so_once_each_time() {
    let mut settings = generous();
    let agent = Agent::start(&settings);
    let namespace = Namespace::new();
    let begin = states(&agent).len();
    send_udp(&namespace, 3, 10, "127.0.0.1:5611");
    settings.packet_drop.event.enabled = false;
    agent.reload(&settings);
    agent.reload(&settings);
    send_udp(&namespace, 3, 10, "127.0.0.1:5612");
    settings.packet_drop.event.enabled = true;
    agent.reload(&settings);
    agent.reload(&settings);
    send_udp(&namespace, 3, 10, "127.0.0.1:5613");
    // The other hooks stayed: their sequence did not begin again.
    let crash = || {
        let mut child = Command::new("sh").args(["-c", "kill -SEGV $$"]).spawn().expect("sh");
        let pid = i64::from(child.id());
        child.wait().expect("wait");
        agent.wait("kernel.process.crash", |r| r.maybe_int("process.pid") == Some(pid)).int("kernel.hook.sequence")
    };
    let before = crash();
    settings.packet_drop.event.enabled = false;
    agent.reload(&settings);
    assert!(crash() > before);
    agent.stop_and_read();
    let ports = |port| agent.all(DROP, |r| namespace.has(r) && r.maybe_int("destination.port") == Some(port)).len();
    let lost: Vec<_> = agent.all("collector.loss", |_| true).iter().map(Record::show).collect();
    assert_eq!((ports(5611), ports(5612), ports(5613)), (3, 0, 3), "{lost:?}");
    let all = states(&agent);
    let (first, later) = all.split_at(all.iter().position(|(_, previous, _)| previous.is_some()).expect("a change"));
    assert!(first.len() >= begin && first.iter().all(|(_, _, state)| state == "attached"), "{first:?}");
    let hook =
        |previous: &str, state: &str| ("tp_btf/kfree_skb".to_owned(), Some(previous.to_owned()), state.to_owned());
    assert_eq!(later, [hook("attached", "disabled"), hook("disabled", "attached"), hook("attached", "disabled")]);
}

#[test]
fn helping_hooks_change_with_their_event() {
    let mut settings = generous();
    settings.tcp_retransmit.enabled = false;
    let agent = Agent::start(&settings);
    settings.tcp_retransmit.enabled = true;
    agent.reload(&settings);
    agent.stop_and_read();
    let of_event: Vec<_> = states(&agent).into_iter().filter(|(hook, ..)| hook.contains("tcp_")).collect();
    let state = |hook: &str, previous: Option<&str>, state: &str| {
        (format!("tp_btf/{hook}"), previous.map(str::to_owned), state.to_owned())
    };
    assert_eq!(
        of_event,
        [
            state("tcp_retransmit_skb", None, "disabled"),
            state("tcp_retransmit_synack", None, "disabled"),
            state("tcp_retransmit_skb", Some("disabled"), "attached"),
            state("tcp_retransmit_synack", Some("disabled"), "attached"),
        ]
    );
}

/// Everything can be turned off and on again.
#[test]
fn with_no_event_left_nothing_is_attached_and_a_reload_brings_all_back() {
    let agent = Agent::start(&generous());
    let mut nothing = only_drops(0);
    nothing.packet_drop.event.enabled = false;
    agent.reload(&nothing);
    agent.reload(&generous());
    let namespace = Namespace::new();
    send_udp(&namespace, 1, 10, "127.0.0.1:5621");
    agent.wait(DROP, |r| namespace.has(r) && r.maybe_int("destination.port") == Some(5621));
    agent.stop_and_read();
    let all = states(&agent);
    let count = |previous: Option<&str>, state: &str| {
        all.iter().filter(|(_, before, now)| before.as_deref() == previous && now == state).count()
    };
    let hooks = count(None, "attached");
    assert_eq!((count(Some("attached"), "disabled"), count(Some("disabled"), "attached")), (hooks, hooks), "{all:?}");
    assert_eq!(all.len(), 3 * hooks);
}
