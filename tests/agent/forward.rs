//! From agent to agent: a node forwards to a gateway over HTTPS, with certificates on both sides.

use std::path::PathBuf;

use crate::backend::{Backend, Mood};
use crate::client::{bodies, send};
use crate::stage::{PATIENCE, Running, Stage, config, to};
use crate::support::{Agent, wait_for};

/// A file of the tests' authority; see `tests/certificates`.
fn pem(name: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name).display().to_string()
}

/// A gateway that only takes clients with a certificate of the authority's.
fn gateway(stage: &Stage, backend: &Backend) -> Running {
    gateway_with(stage, backend, 0, "server", "ca.pem")
}

/// A gateway on this port that shows this certificate, and takes clients with one of this authority's.
fn gateway_with(stage: &Stage, backend: &Backend, port: u16, shows: &str, authority: &str) -> Running {
    let tls = format!(
        "tls: {{ cert_file: {}, key_file: {}, client_ca_file: {} }}",
        pem(&format!("{shows}.pem")),
        pem(&format!("{shows}.key")),
        pem(authority)
    );
    let text = config(&[("otlp", to(backend.address))])
        .replace("http: { endpoint: 127.0.0.1:0 }", &format!("http: {{ endpoint: 127.0.0.1:{port}, {tls} }}"));
    assert!(text.contains(&tls));
    stage.write("agent.yaml", text);
    stage.start_again()
}

fn https(gateway: &Running, more: &str) -> String {
    format!(
        "{{ endpoint: 'https://{}', tls: {{ ca_file: {}, cert_file: {}, key_file: {}, server_name_override: server.test }}, \
         retry_on_failure: {{ initial_interval: 20ms, max_interval: 100ms }}, {more} }}",
        gateway.http,
        pem("ca.pem"),
        pem("client.pem"),
        pem("client.key"),
    )
}

/// What `spool inspect` says about the only exporter.
fn cursor(stage: &Stage) -> serde_json::Value {
    let found = stage.look(&["spool", "inspect", "--output", "json"]).json();
    let logs = found["logs"].as_array().unwrap();
    logs.iter().find(|log| log["name"] == "logs").unwrap()["cursors"][0].clone()
}

#[track_caller]
fn last_error(stage: &Stage) -> String {
    let error = wait_for(PATIENCE, || cursor(stage)["last_error"].as_str().map(str::to_owned));
    error.expect("an error of the exporter")
}

#[test]
fn records_go_over_https_in_both_encodings_and_every_compression() {
    let (at_gateway, at_node) = (Stage::new(), Stage::new());
    let backend = Backend::start(Mood::Take);
    let gateway = gateway(&at_gateway, &backend);
    let node = at_node.start(&[
        ("otlphttp", https(&gateway, "compression: zstd, encoding: json")),
        ("otlp_http/plain", https(&gateway, "compression: none")),
        ("otlphttp/gzip", https(&gateway, "")),
    ]);
    let sent = bodies("forwarded", 20);
    send(node.grpc, &sent);
    // Each of the three delivers all.
    wait_for(PATIENCE, || (backend.bodies().len() >= 60).then_some(())).expect("every copy at the backend");
    let mut seen = backend.bodies();
    seen.sort();
    assert_eq!(seen.len(), 60);
    assert!(sent.iter().all(|body| seen.iter().filter(|other| *other == body).count() == 3), "{seen:?}");
}

#[test]
fn a_node_without_a_certificate_keeps_what_it_has_and_says_why() {
    let (at_gateway, at_node) = (Stage::new(), Stage::new());
    let backend = Backend::start(Mood::Take);
    let gateway = gateway(&at_gateway, &backend);
    let anonymous = format!(
        "{{ endpoint: 'https://{}', tls: {{ ca_file: {}, server_name_override: server.test }}, \
         retry_on_failure: {{ initial_interval: 20ms, max_interval: 100ms }} }}",
        gateway.http,
        pem("ca.pem"),
    );
    let node = at_node.start(&[("otlphttp", anonymous)]);
    send(node.grpc, &bodies("kept", 5));
    let error = last_error(&at_node);
    assert!(error.contains("asks for a client certificate"), "{error}");
    // The last one shows in the files when the agent has said there that it is durable.
    let pending = || Some(cursor(&at_node)["pending_records"].clone()).filter(|pending| *pending == 5);
    assert!(wait_for(PATIENCE, pending).is_some(), "{}", cursor(&at_node));
    assert!(backend.bodies().is_empty());
}

#[test]
fn certificates_that_are_rotated_are_used_without_a_restart() {
    let (at_gateway, at_node) = (Stage::new(), Stage::new());
    let (backend, port) = (Backend::start(Mood::Take), crate::support::free_port());
    // Whole, under their names, as tools rotate them.
    #[allow(clippy::disallowed_methods, reason = "an operator's files")]
    let rotate = |to: &[(&str, &str)]| {
        for (from, name) in to {
            let new = at_node.write("new", std::fs::read(pem(from)).unwrap());
            std::fs::rename(new, at_node.path(name)).unwrap();
        }
    };
    rotate(&[("ca.pem", "ca"), ("client.pem", "cert"), ("client.key", "key")]);
    let old = gateway_with(&at_gateway, &backend, port, "server", "ca.pem");
    let at = |name: &str| at_node.path(name).display().to_string();
    let exporter = format!(
        "{{ endpoint: 'https://{}', \
         tls: {{ ca_file: {}, cert_file: {}, key_file: {}, server_name_override: server.test, min_version: '1.3' }}, \
         retry_on_failure: {{ initial_interval: 20ms, max_interval: 100ms }} }}",
        old.http,
        at("ca"),
        at("cert"),
        at("key"),
    );
    let node = at_node.start(&[("otlphttp", exporter)]);
    send(node.grpc, &["before"]);
    backend.wait_for(&["before"]);

    drop(old);
    let _new = gateway_with(&at_gateway, &backend, port, "next-server", "next-ca.pem");
    send(node.grpc, &["after"]);
    let refused =
        || cursor(&at_node)["last_error"].as_str().filter(|error| error.contains("invalid peer certificate")).map(drop);
    assert!(wait_for(PATIENCE, refused).is_some(), "{}", cursor(&at_node));
    rotate(&[("next-ca.pem", "ca"), ("next-client.pem", "cert"), ("next-client.key", "key")]);
    backend.wait_for(&["before", "after"]);
    let said = node.agent.stderr();
    assert!(said.contains("certificates were read again"), "{said}");
}

#[test]
fn a_proxy_of_the_environment_that_is_away_is_named_without_its_password() {
    let stage = Stage::new();
    stage.configure(&[("otlphttp", "{ endpoint: 'http://collector.invalid:4318' }".to_owned())]);
    let proxy = format!("http://someone:hush@127.0.0.1:{}", crate::support::free_port());
    let node = Running::ready(Agent::spawn(stage.run_command().env("HTTP_PROXY", &proxy)));
    send(node.grpc, &bodies("kept", 1));
    let error = last_error(&stage);
    assert!(error.contains("the proxy 127.0.0.1:") && !error.contains("hush"), "{error}");
}
