//! The two agents of `examples/agent-to-agent`, with certificates on both sides: the second is killed while the first sends.

use std::collections::BTreeSet;
use std::path::Path;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;

use crate::client::{Client, bodies, texts};
use crate::stage::{PATIENCE, Stage};
use crate::support::{Agent, free_port, wait_for};

/// In each request.
const BATCH: usize = 10;

/// Starts an agent with a file of the example, and waits until it is ready.
fn start(stage: &Stage, file: &str, environment: &[(&str, String)], set: &[&str]) -> Agent {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = stage.tidegate(["run", "--config"]);
    command.arg(root.join("examples/agent-to-agent").join(file));
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    for name in ["EDGE_TLS", "CENTRAL_TLS"] {
        command.env(name, root.join("tests/certificates"));
    }
    for name in ["EDGE_DATA_DIR", "CENTRAL_DATA_DIR"] {
        command.env(name, stage.data());
    }
    for name in ["EDGE_HEALTH", "CENTRAL_HEALTH"] {
        command.env(name, "127.0.0.1:0");
    }
    // They would be on a fixed port.
    command.args(["--set", "service.telemetry.metrics.level=none"]);
    command.args(set.iter().flat_map(|value| ["--set", value]));
    let mut agent = Agent::spawn(&mut command);
    agent.wait_ready(PATIENCE);
    agent
}

/// The bodies in the central agent's file, each once. A line that is still being written is not counted.
fn arrived(central: &Stage) -> BTreeSet<String> {
    let text = std::fs::read_to_string(central.path("data/arrived/otlp.jsonl")).unwrap_or_default();
    let requests = text.lines().filter_map(|line| serde_json::from_str::<ExportLogsServiceRequest>(line).ok());
    requests.flat_map(|request| texts(&request)).collect()
}

#[test]
fn an_edge_agent_keeps_what_it_has_while_the_central_one_is_away() {
    let (at_edge, at_central) = (Stage::new(), Stage::new());
    let [otlp, http, central] = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
    let start_central = || start(&at_central, "central.yaml", &[("CENTRAL_OTLP_GRPC", central.clone())], &[]);
    let running = start_central();
    let _edge = start(
        &at_edge,
        "edge.yaml",
        &[("EDGE_OTLP_GRPC", otlp.clone()), ("EDGE_OTLP_HTTP", http), ("EDGE_CENTRAL", central.clone())],
        &[
            "exporters.otlp/central.tls.server_name_override=server.test",
            "exporters.otlp/central.retry_on_failure.initial_interval=50ms",
            "exporters.otlp/central.retry_on_failure.max_interval=200ms",
        ],
    );

    let mut client = Client::of(otlp.parse().unwrap());
    let sent = bodies("from the edge", 600);
    let (before, rest) = sent.split_at(200);
    let (meanwhile, after) = rest.split_at(200);
    let mut send = |part: &[String]| part.chunks(BATCH).for_each(|batch| client.send(batch).unwrap());
    send(before);
    assert!(wait_for(PATIENCE, || (!arrived(&at_central).is_empty()).then_some(())).is_some(), "{}", running.stderr());
    running.kill();
    send(meanwhile);
    assert!(meanwhile.iter().all(|body| !arrived(&at_central).contains(body)));
    let running = start_central();
    send(after);
    let all = || (arrived(&at_central).len() == sent.len()).then_some(());
    assert!(
        wait_for(PATIENCE, all).is_some(),
        "{} of {} arrived; {}",
        arrived(&at_central).len(),
        sent.len(),
        running.stderr()
    );
}
