//! The agent itself: a crash becomes a line on its output and a record of `tidegate tail`, also over reloads.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::actions::until;
use crate::crash::which;
use crate::harness::PATIENCE;
use crate::support::Agent;

/// A configuration with these settings of the receiver, and these of its events.
fn config(kernel: &str, events: &str) -> String {
    format!(
        "
receivers:
  kernel:
    event_name_attribute: false
    {kernel}
    events:
      kernel.process.crash: {{ max_per_second: 0 }}
      {events}
exporters:
  debug:
service:
  telemetry:
    metrics: {{ readers: [{{ pull: {{ exporter: {{ prometheus: {{ host: 127.0.0.1, port: 0 }} }} }} }}] }}
  pipelines:
    logs/kernel:
      receivers: [kernel]
      exporters: [debug]
"
    )
}

/// In the emulator the agent is somewhere else than where it was built.
fn tidegate() -> Command {
    Command::new(std::env::var("TIDEGATE_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_tidegate").to_owned()))
}

fn start(home: &Path, stdout: Stdio) -> Agent {
    start_changed(home, stdout, |_| {})
}

/// Starts the agent as a process that was changed.
pub(crate) fn start_changed(home: &Path, stdout: Stdio, change: impl FnOnce(&mut Command)) -> Agent {
    std::fs::write(home.join("agent.yaml"), config("", "")).expect("a configuration");
    let mut command = tidegate();
    change(&mut command);
    command.args(["run", "--config"]).arg(home.join("agent.yaml")).arg("--data-dir").arg(home.join("data"));
    let mut agent = Agent::spawn(command.stdout(stdout));
    agent.wait_ready(PATIENCE);
    agent
}

pub(crate) fn tail(home: &Path, event: &str) -> Vec<Value> {
    let mut command = tidegate();
    command.args(["tail", "-n", "10000", "--output", "json", "--event", event, "--data-dir"]).arg(home.join("data"));
    let output = command.output().expect("tail");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    lines.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

/// The last line that begins like this.
fn last_said(agent: &Agent, begin: &str) -> String {
    let said = agent.stderr();
    said.lines().rev().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("{begin}: {said}")).to_owned()
}

fn crash(shell: &Path) -> u32 {
    let mut child = Command::new(shell).args(["-c", "kill -SEGV $$"]).spawn().expect("sh");
    let pid = child.id();
    child.wait().expect("wait");
    pid
}

#[test]
fn a_crash_is_shown_and_kept() {
    let home = tempfile::tempdir().expect("a directory");
    let mut agent = start(home.path(), Stdio::piped());
    agent.wait_said("receiver kernel: 5 of 5 hooks attached", PATIENCE);
    let pid = crash(&which("sh"));
    let record = until("the crash in tail", || {
        tail(home.path(), "kernel.process.crash").into_iter().find(|record| record["attributes"]["process.pid"] == pid)
    });
    assert_eq!(record["severity_number"], 17);
    assert_eq!(record["attributes"]["kernel.signal.name"], "SIGSEGV");
    assert_eq!(record["resource"]["service.name"], "tidegate");

    let mut shown = BufReader::new(agent.stdout()).lines().map_while(Result::ok);
    let line = shown.find(|line| line.contains(&format!("(pid {pid}) crashed")));
    assert!(line.is_some_and(|line| line.contains("kernel.process.crash")));
    // Somebody has to read, or the agent could not write.
    let reader = std::thread::spawn(move || shown.count());
    let (status, said) = agent.stop(PATIENCE);
    assert!(status.success(), "{said}");
    reader.join().expect("the reader");
}

/// Crashes one shell after the other until `stop`, some tens in a second; their pids.
fn crash_until(stop: &AtomicBool, count: &AtomicUsize) -> Vec<u32> {
    let home = tempfile::tempdir().expect("a directory");
    // Of one executable ten a second are recorded: so many of them that none comes near that.
    let shells: Vec<_> = (0..20)
        .map(|number| {
            let directory = home.path().join(number.to_string());
            std::fs::create_dir(&directory).expect("a directory");
            std::fs::copy(which("sh"), directory.join("sh")).expect("a copy of the shell");
            directory.join("sh")
        })
        .collect();
    let mut pids = Vec::new();
    for shell in shells.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        pids.push(crash(shell));
        count.fetch_add(1, Ordering::Relaxed);
        std::thread::park_timeout(Duration::from_millis(10));
    }
    pids
}

#[test]
fn crashes_during_reloads_are_all_kept_and_only_changes_of_state_are_told() {
    let home = tempfile::tempdir().expect("a directory");
    let agent = start(home.path(), Stdio::null());
    let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    let reload = |text: String, answer: &str| {
        let goal = count.load(Ordering::Relaxed) + 10;
        until("crashes", || (count.load(Ordering::Relaxed) >= goal).then_some(()));
        std::fs::write(home.path().join("agent.yaml"), text).expect("a configuration");
        let answers = || agent.stderr().lines().filter(|line| line.starts_with(answer)).count();
        let before = answers();
        agent.signal(Signal::HUP);
        until(answer, || (answers() > before).then_some(()));
        last_said(&agent, "receiver kernel: ")
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = format!("port: {}", listener.local_addr().expect("bound").port());
    let pids: Vec<u32> = std::thread::scope(|scope| {
        let crashes = scope.spawn(|| crash_until(&stop, &count));
        let five = "receiver kernel: 5 of 5 hooks attached";
        assert_eq!(reload(config("command_line: true", ""), "reloaded in "), five);
        let without_drops = config("", "kernel.net.packet_drop: { enabled: false }");
        assert_eq!(reload(without_drops, "reloaded in "), "receiver kernel: 4 of 4 hooks attached");
        reload(config("", "").replace("port: 0", &taken), "the old configuration runs again");
        assert_eq!(reload(config("", ""), "reloaded in "), five);
        let goal = count.load(Ordering::Relaxed) + 10;
        until("crashes", || (count.load(Ordering::Relaxed) >= goal).then_some(()));
        stop.store(true, Ordering::Relaxed);
        crashes.join().expect("the crashes")
    });
    let came = || {
        let records = tail(home.path(), "kernel.process.crash");
        let of = |pid: &u32| records.iter().filter(|record| record["attributes"]["process.pid"] == *pid).count();
        pids.iter().map(of).collect::<Vec<_>>()
    };
    until("the last crash", || came().last().filter(|times| **times > 0).map(|_| ()));
    println!("{} crashes", pids.len());
    let came = came();
    let not_once: Vec<usize> = (0..came.len()).filter(|crash| came[*crash] != 1).collect();
    if !not_once.is_empty() {
        // Taking a program out can stop an emulated machine's reader for so long that the ring is full.
        let in_emulator = std::env::var_os("TIDEGATE_GUEST").is_some() && came.iter().all(|times| *times <= 1);
        let told = || told_lost(home.path());
        let is_told = || in_emulator && until("what the ring lost", || (told() >= not_once.len()).then_some(true));
        assert!(is_told(), "{}", story(home.path(), &pids, &not_once));
    }

    let states = tail(home.path(), "collector.probe_state");
    let text = |record: &Value, key: &str| record["attributes"][key].as_str().map(str::to_owned);
    let changes: Vec<_> = states
        .iter()
        .filter_map(|record| Some((text(record, "collector.probe.previous_state")?, record)))
        .map(|(before, record)| (text(record, "kernel.hook.name"), before, text(record, "collector.probe.state")))
        .collect();
    let change =
        |before: &str, now: &str| (Some("tp_btf/kfree_skb".to_owned()), before.to_owned(), Some(now.to_owned()));
    assert_eq!(changes, [change("attached", "disabled"), change("disabled", "attached")]);
    // The receiver's count went on as well.
    until("the count", || (accepted(&agent) >= pids.len() - not_once.len() + states.len()).then_some(()));
    let (status, said) = agent.stop(PATIENCE);
    assert!(status.success(), "{said}");
}

/// Crashes of which a `collector.loss` tells.
fn told_lost(home: &Path) -> usize {
    let losses = tail(home, "collector.loss").into_iter().map(|record| record["attributes"].clone());
    let crashes = losses.filter(|loss| loss["kernel.event.name"] == "kernel.process.crash");
    crashes.filter_map(|loss| loss["collector.loss.count"].as_u64()?.try_into().ok()).fold(0, usize::saturating_add)
}

/// What is known of crashes that did not come once: the numbers of those around them, and what the agent told.
fn story(home: &Path, pids: &[u32], crashes: &[usize]) -> String {
    let records = tail(home, "kernel.process.crash");
    let of = |crash: usize| {
        let known =
            |record: &&Value| Some(&record["attributes"]["process.pid"]) == pids.get(crash).map(|p| json!(p)).as_ref();
        let found = records.iter().filter(known).map(|r| (&r["attributes"]["kernel.hook.sequence"], &r["time"]));
        format!("{crash}: {:?}", found.collect::<Vec<_>>())
    };
    let (first, last) = (crashes[0], crashes[crashes.len() - 1]);
    let around = (first.saturating_sub(3)..first + 1).chain(last..last + 4).map(of);
    let losses: Vec<String> = tail(home, "collector.loss").iter().map(Value::to_string).collect();
    let around = around.collect::<Vec<_>>().join("\n");
    format!("{} of {}: {first} to {last}\n{around}\n{}", crashes.len(), pids.len(), losses.join("\n"))
}

/// What the kernel receiver counted as stored since the agent started.
fn accepted(agent: &Agent) -> usize {
    let line = last_said(agent, "metrics: ");
    let address = line.trim_start_matches("metrics: http://").trim_end_matches("/metrics");
    let mut stream = TcpStream::connect(address).expect("the metrics port");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let name = "otelcol_receiver_accepted_log_records{receiver=\"kernel\"} ";
    let count = answer.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    count.unwrap_or_else(|| panic!("no {name} in {answer}"))
}
