//! What the agent tells about itself, and how much of it.

use serde_json::Value;
use tonic::Code;

use crate::backend::{Backend, Mood};
use crate::client::{Client, bodies, send};
use crate::stage::{PATIENCE, Running, Stage, to};
use crate::support::{Agent, wait_for};

/// Starts an agent whose messages are configured so.
fn telling(stage: &Stage, backend: &Backend, logs: &str) -> Agent {
    stage.configure(&[("otlp/billing", to(backend.address))]);
    let config = std::fs::read_to_string(stage.config()).unwrap();
    stage.write("agent.yaml", config.replacen("  telemetry:\n", &format!("  telemetry:\n    logs: {{ {logs} }}\n"), 1));
    Agent::spawn(&mut stage.run_command())
}

#[test]
fn with_the_encoding_json_every_line_is_an_object() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Refuse(Code::PermissionDenied, "not \"you\""));
    let agent = telling(&stage, &backend, "encoding: json");
    let message = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
        (line["message"].as_str().unwrap_or_else(|| panic!("no message: {line}")).to_owned(), line)
    };
    let ready = agent.wait_said("ready in ", PATIENCE);
    assert!(message(&ready).0.starts_with("ready in "), "{ready}");
    let receiver = message(&agent.wait_said("receiver otlp: ", PATIENCE)).0;
    let grpc = receiver.split("grpc ").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    send(grpc, &["kept"]);
    let (refused, line) = message(&agent.wait_said("not delivered", PATIENCE));
    assert!(refused.contains("PERMISSION_DENIED: not \"you\""), "{refused}");
    assert_eq!((&line["level"], &line["items"]), (&"WARN".into(), &1.into()), "{line}");
    assert_eq!(line["spans"][0]["id"], "otlp/billing", "{line}");
    let (_, said) = agent.stop(PATIENCE);
    said.lines().for_each(|line| drop(message(line)));
}

/// Sends requests of which the backend complains until it has complained so often.
fn complaints(running: &Running, backend: &Backend, count: u64) {
    let mut client = Client::of(running.grpc);
    for body in bodies("taken", count as usize) {
        client.send(&[&body]).unwrap();
        wait_for(PATIENCE, || backend.bodies().contains(&body).then_some(())).expect("taken");
    }
}

#[test]
fn of_many_messages_of_one_kind_most_are_left_out_and_counted() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Complain("so much"));
    let running = Running::ready(telling(&stage, &backend, "sampling: { tick: 1h, initial: 3, thereafter: 20 }"));
    complaints(&running, &backend, 45);
    let twice = || Some(running.agent.stderr()).filter(|said| said.matches("left_out=19").count() == 2);
    let said = wait_for(PATIENCE, twice).unwrap_or_else(|| panic!("{}", running.agent.stderr()));
    assert_eq!(said.matches("so much").count(), 3 + 2, "{said}");
}

#[test]
fn without_sampling_each_is_told() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Complain("so much"));
    let running = Running::ready(telling(&stage, &backend, "sampling: { enabled: false }"));
    complaints(&running, &backend, 30);
    let all = || (running.agent.stderr().matches("so much").count() == 30).then_some(());
    assert!(wait_for(PATIENCE, all).is_some(), "{}", running.agent.stderr());
}
