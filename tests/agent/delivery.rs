//! From an application's ack to its backends.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tonic::Code;

use crate::backend::{Backend, Mood, nobody};
use crate::client::{bodies, send};
use crate::stage::{PATIENCE, Running, Stage, to};
use crate::support::Agent;

/// What no delay by another exporter would stay below: its retries begin at 20 ms and never end.
const PROMPT: Duration = Duration::from_secs(5);

#[test]
fn a_dead_a_silent_and_a_refusing_backend_do_not_delay_a_living_one() {
    let stage = Stage::new();
    let alive = Backend::start(Mood::Take);
    let silent = Backend::start(Mood::Silent);
    let refusing = Backend::start(Mood::Refuse(Code::Internal, "broken"));
    let running = stage.start(&[
        ("otlp/dead", to(nobody())),
        ("otlp/silent", to(silent.address)),
        ("otlp/refusing", to(refusing.address)),
        ("otlp/alive", to(alive.address)),
    ]);
    send(running.grpc, &["first"]);
    alive.wait_for(&["first"]);
    silent.wait_for_request();
    refusing.wait_for_request();
    let more = bodies("more", 20);
    let started = Instant::now();
    send(running.grpc, &more);
    alive.wait_for(&more);
    assert!(started.elapsed() < PROMPT, "{:?}", started.elapsed());
    assert_eq!(alive.bodies().len(), 21, "records came twice");
}

#[test]
fn an_outage_is_a_pause_and_the_records_come_in_order() {
    let stage = Stage::new();
    let address = nobody();
    let running = stage.start(&[("otlp", to(address))]);
    let sent = bodies("kept", 30);
    send(running.grpc, &sent);
    let backend = Backend::at(address, Mood::Take);
    backend.wait_for(&sent);
    assert_eq!(backend.bodies(), sent);
    let (status, said) = running.agent.stop(PATIENCE);
    assert!(status.success() && said.ends_with("everything is delivered"), "{said}");
}

#[test]
fn a_local_copy_and_a_backend_both_get_every_record() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Take);
    let path = stage.path("copy/logs.jsonl");
    let file = format!("{{ path: {}, create_directory: true }}", path.display());
    let running = stage.start(&[("file", file), ("otlp", to(backend.address))]);
    let sent = bodies("both", 10);
    send(running.grpc, &sent);
    backend.wait_for(&sent);
    let copied = || std::fs::read_to_string(&path).ok().filter(|text| text.contains("both 9"));
    let text = crate::support::wait_for(PATIENCE, copied).expect("the local copy");
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut found: Vec<&str> = Vec::new();
    for line in &lines {
        // Requests that waited together are one line.
        for request in line["resourceLogs"].as_array().unwrap() {
            for record in request["scopeLogs"][0]["logRecords"].as_array().unwrap() {
                found.push(record["body"]["stringValue"].as_str().unwrap());
            }
        }
    }
    found.dedup();
    assert_eq!(found, sent);
}

/// `ulimit -f`: the signal that comes with such a limit ended the agent, again after each start.
#[test]
fn an_agent_that_may_write_little_to_one_file_keeps_everything_and_says_what_it_cannot_write() {
    const LIMIT: u64 = 256 << 10;
    let stage = Stage::new();
    let address = nobody();
    let path = stage.path("copy.jsonl");
    stage.configure(&[("file", format!("{{ path: {} }}", path.display())), ("otlp", to(address))]);
    let mut limited = Command::new("prlimit");
    limited.arg(format!("--fsize={LIMIT}")).arg("--");
    let run = stage.run_command();
    limited.arg(run.get_program()).args(run.get_args()).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    let running = Running::ready(Agent::spawn(limited.env("PATH", "/usr/bin:/bin")));
    let sent = bodies(&"large ".repeat(4000), 40);
    send(running.grpc, &sent);
    running.agent.wait_said("File too large", PATIENCE);
    let logs = stage.data().join("logs/logs").read_dir().unwrap();
    let sizes: Vec<u64> = logs.map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
    assert!(sizes.len() > 4 && sizes.iter().all(|size| *size <= LIMIT), "{sizes:?}");
    let backend = Backend::at(address, Mood::Take);
    backend.wait_for(&sent);
    assert_eq!(backend.bodies(), sent);
    drop(running.agent.kill());
}

/// As fast as it can, the agent would be done at once.
#[test]
fn a_backlog_is_sent_no_faster_than_max_rate() {
    let stage = Stage::new();
    let address = nobody();
    let running = stage.start(&[("otlp", to(address).replacen('{', "{ max_rate: 256KiB,", 1))]);
    // 1 MiB in requests of 32 KiB; two seconds' worth may go at once.
    let sent = bodies(&"x".repeat(32 << 10), 32);
    send(running.grpc, &sent);
    let backend = Backend::at(address, Mood::Take);
    let begun = Instant::now();
    backend.wait_for(&sent);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1500) && took < Duration::from_secs(20), "{took:?}");
    assert_eq!(backend.bodies(), sent);
    let (status, said) = running.agent.stop(PATIENCE);
    assert!(status.success() && said.ends_with("everything is delivered"), "{said}");
}
