//! From the first line to the last.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use crate::backend::{Backend, Mood};
use crate::client::send;
use crate::http::get;
use crate::stage::{FREE_PORTS, PATIENCE, Running, Stage, to};
use crate::support::{Agent, wait_for};

/// The lines of a start, ports replaced, hooks and the last line's time too.
fn plain(lines: &str) -> Vec<String> {
    let is_hook = |line: &&str| !line.starts_with(' ');
    let plain = |line: &str| {
        let mut line = line.replace("127.0.0.1:", "127.0.0.1#");
        while let Some(at) = line.find('#') {
            let digits = line[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
            line.replace_range(at..=at + digits, ":PORT");
        }
        if line.starts_with("ready in ") { "ready in N ms".to_owned() } else { line }
    };
    lines.lines().filter(is_hook).map(plain).collect()
}

#[test]
fn the_built_in_configuration_says_each_fact_on_a_line_and_ends_with_ready() {
    let stage = Stage::new();
    let data = stage.data();
    let mut command = stage.tidegate(["run", "--data-dir"]);
    let running = Running::ready(Agent::spawn(command.arg(&data).args(FREE_PORTS).stdout(Stdio::null())));
    let said = running.agent.stderr();
    let data = data.display();
    let lines = plain(&said);
    let expected = [
        &format!("tidegate {}", env!("CARGO_PKG_VERSION")),
        &format!("data: {data} (durability sync, "),
        "receiver otlp: grpc 127.0.0.1:PORT, http 127.0.0.1:PORT",
        "receiver kernel: ",
        &format!("exporter file: {data}/events/kernel.jsonl (logs/kernel)"),
        "exporter debug: standard output (logs/kernel)",
        "health: http://127.0.0.1:PORT/",
        "metrics: http://127.0.0.1:PORT/metrics",
        "next: tidegate tail, tidegate doctor",
        "ready in N ms",
    ];
    assert_eq!(lines.len(), expected.len(), "{said}");
    for (line, expected) in lines.iter().zip(expected) {
        let whole = !expected.ends_with(' ');
        assert!(if whole { line == expected } else { line.starts_with(expected) }, "{line}, not {expected}\n{said}");
    }
    assert!(lines[1].ends_with("iB)") && !lines[1].contains(".00"), "{}", lines[1]);
    // Either every hook is attached, or each that is not has a line that says why.
    let hooks: Vec<&str> = said.lines().filter(|line| line.starts_with("  ")).collect();
    let (attached, wanted) = lines[3]["receiver kernel: ".len()..].split_once(" of ").unwrap();
    assert_eq!(wanted, "5 hooks attached");
    assert_eq!(attached.parse::<usize>().unwrap() + hooks.len(), 5, "{said}");
    assert!(hooks.iter().all(|hook| hook.starts_with("  kernel.")), "{said}");
    assert_eq!(get(running.health, "/").status, 200);
}

#[test]
fn an_ordinary_user_is_told_what_each_hook_needs_and_the_agent_goes_on() {
    let stage = Stage::ordinary();
    let mut command = stage.tidegate(["run"]);
    let running = Running::ready(Agent::spawn(command.args(FREE_PORTS).stdout(Stdio::null())));
    let said = running.agent.stderr();
    assert!(said.contains("receiver kernel: 0 of 5 hooks attached"), "{said}");
    for event in ["oom.kill", "process.crash", "net.tcp_retransmit", "net.packet_drop", "task.hung"] {
        let hook = said.lines().find(|line| line.starts_with(&format!("  kernel.{event}: "))).expect(event);
        assert!(hook.contains("denied (EPERM): needs CAP_BPF and CAP_PERFMON"), "{hook}");
    }
    let data = stage.path(".local/state/tidegate");
    assert!(said.contains(&format!("data: {} ", data.display())), "{said}");
    send(running.grpc, &["still here"]);
    let (status, said) = running.agent.stop(PATIENCE);
    assert_eq!(status.code(), Some(0), "{said}");
}

#[test]
fn the_printed_default_configuration_runs_the_same() {
    let stage = Stage::ordinary();
    let printed = stage.run(["run", "--print-default-config"]);
    assert_eq!((printed.code, &*printed.stderr), (Some(0), ""));
    stage.write("agent.yaml", &printed.stdout);
    assert_eq!(stage.run(["validate", "agent.yaml"]).code, Some(0));
    let lines = |arguments: &[&str]| {
        let mut command = stage.tidegate(["run"]);
        let agent = Agent::spawn(command.args(arguments).args(FREE_PORTS).stdout(Stdio::null()));
        let (status, said) = Running::ready(agent).agent.stop(PATIENCE);
        assert_eq!(status.code(), Some(0), "{said}");
        // What a file has is commented on; then comes the stop.
        let lines = plain(&said).into_iter().take_while(|line| !line.starts_with("stopped"));
        lines.filter(|line| !line.starts_with("note: ")).collect::<Vec<_>>()
    };
    assert_eq!(lines(&[]), lines(&["--config", "agent.yaml"]));
}

#[test]
fn only_what_a_file_names_runs_and_metrics() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Take);
    let running = stage.start(&[("otlp", to(backend.address))]);
    let lines = plain(&running.agent.stderr());
    let expected = [
        "receiver otlp: grpc 127.0.0.1:PORT, http 127.0.0.1:PORT",
        "exporter otlp: http://127.0.0.1:PORT (logs)",
        "health: http://127.0.0.1:PORT/",
        "metrics: http://127.0.0.1:PORT/metrics",
        "next: tidegate tail, tidegate doctor",
        "ready in N ms",
    ];
    assert_eq!(lines[2..], expected, "{}", running.agent.stderr());
}

#[test]
fn the_start_says_how_much_is_waiting_for_an_exporter() {
    let stage = Stage::new();
    let running = stage.start(&[("otlp", to(crate::backend::nobody()))]);
    send(running.grpc, &["one", "two", "three"]);
    assert!(running.agent.stop(PATIENCE).0.success());
    let said = stage.start_again().agent.stderr();
    assert!(
        said.lines().any(|line| line.starts_with("exporter otlp: ") && line.ends_with(" (logs), 3 records pending"))
    );
}

/// A log collector that dies must not take the agent with it.
#[test]
fn an_agent_whose_standard_error_nobody_reads_any_more_goes_on() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Refuse(tonic::Code::Unauthenticated, "who are you"));
    stage.configure(&[("otlp", to(backend.address))]);
    let mut command = stage.run_command();
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut grpc = None;
    let mut line = String::new();
    while !line.starts_with("ready in ") {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it ended before it was ready");
        if let Some(address) = line.split("grpc ").nth(1) {
            grpc = address.split(',').next().map(|address| address.parse().unwrap());
        }
    }
    drop(stderr);
    // What the backend refuses is told on a standard error that is no more.
    send(grpc.unwrap(), &["a", "b"]);
    backend.wait_for_request();
    send(grpc.unwrap(), &["c"]);
    backend.set(Mood::Take);
    backend.wait_for(&["a", "b", "c"]);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = wait_for(PATIENCE, || child.try_wait().unwrap()).unwrap();
    assert_eq!(status.code(), Some(0));
}
