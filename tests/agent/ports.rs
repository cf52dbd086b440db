//! Ports that somebody else has.

use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use prost::Message as _;

use crate::backend::nobody;
use crate::client::{request, send};
use crate::http::post;
use crate::stage::{PATIENCE, Running, Stage, config, refused, to};
use crate::support::Agent;

/// Starts an agent that wants a port that this test has: it must say so, and its advice must work.
fn taken(wanted: &str, moved: impl Fn(SocketAddr) -> String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stage = Stage::new();
    let text = config(&[("otlp", to(nobody()))]);
    let changed = text.replacen(wanted, &moved(address), 1);
    assert_ne!(text, changed);
    stage.write("agent.yaml", changed);

    let (code, said) = refused(&mut stage.run_command());
    assert_eq!(code, Some(1), "{said}");
    let says = |part: &str| assert!(said.contains(part), "{part}: {said}");
    says(&format!("error: port {} is in use by ", address.port()));
    says(&format!("(pid {})", std::process::id()));
    says(&address.to_string());

    // The advice, as a shell would read it.
    let advice = said.split("--set ").nth(1).expect("an advice").trim();
    let set = advice.trim_matches('\'');
    assert!(set == advice || advice.starts_with('\''), "{advice}");
    let shell_reads_more = |c: char| "[]{}*?$ ".contains(c);
    assert!(!advice.contains(shell_reads_more) || advice.starts_with('\''), "a shell reads {advice} in its own way");
    let agent = Agent::spawn(stage.run_command().args(["--set", set]));
    assert!(Running::ready(agent).agent.stop(PATIENCE).0.success());
}

#[test]
fn a_grpc_port_in_use_names_its_holder_and_the_way_out() {
    taken("grpc: { endpoint: 127.0.0.1:0", |address| format!("grpc: {{ endpoint: {address}"));
}

#[test]
fn an_http_port_in_use_names_its_holder_and_the_way_out() {
    taken("http: { endpoint: 127.0.0.1:0", |address| format!("http: {{ endpoint: {address}"));
}

#[test]
fn a_health_port_in_use_names_its_holder_and_the_way_out() {
    taken("health_check: { endpoint: 127.0.0.1:0", |address| format!("health_check: {{ endpoint: {address}"));
}

#[test]
fn a_metrics_port_in_use_names_its_holder_and_the_way_out() {
    taken("port: 0", |address| format!("port: {}", address.port()));
}

#[test]
fn tcp6_takes_ipv6_alone_and_tcp4_takes_ipv4() {
    let stage = Stage::new();
    let text = config(&[("otlp", to(nobody()))])
        .replacen("grpc: { endpoint: 127.0.0.1:0", "grpc: { transport: tcp6, endpoint: ':0'", 1)
        .replacen("http: { endpoint: 127.0.0.1:0", "http: { transport: tcp4, endpoint: ':0'", 1);
    stage.write("agent.yaml", text);
    let running = stage.start_again();
    let v4 = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let v6 = |port: u16| SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    let (grpc, http) = (running.grpc.port(), running.http.port());
    send(v6(grpc), &["over IPv6"]);
    assert_eq!(post(v4(http), &request(&["over IPv4"]).encode_to_vec()).status, 200);
    for other in [v4(grpc), v6(http)] {
        assert_eq!(TcpStream::connect(other).unwrap_err().kind(), ErrorKind::ConnectionRefused, "{other}");
    }
}

#[test]
fn an_address_that_is_not_this_machines_is_refused() {
    let stage = Stage::new();
    // Of TEST-NET-1: no machine has it.
    stage.write("agent.yaml", config(&[("otlp", to(nobody()))]).replacen("127.0.0.1:0", "192.0.2.1:4317", 1));
    let (code, said) = refused(&mut stage.run_command());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("192.0.2.1:4317") && said.contains("protocols.grpc.endpoint"), "{said}");
}

#[test]
fn an_agent_that_cannot_have_a_port_leaves_the_directory_to_the_next() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stage = Stage::new();
    let text = config(&[("otlp", to(nobody()))]);
    let address = listener.local_addr().unwrap();
    stage.write("agent.yaml", text.replacen("127.0.0.1:0", &address.to_string(), 1));
    assert_eq!(refused(&mut stage.run_command()).0, Some(1));
    drop(listener);
    stage.start_again();
}

/// They took each other's places, and half of all requests met a connection that was closed.
#[test]
fn four_hundred_clients_that_send_now_and_then_keep_their_connections() {
    use std::io::{Read as _, Write as _};
    let stage = Stage::new();
    // As a shell starts it.
    stage.configure(&[("otlp", to(nobody()))]);
    let mut limited = std::process::Command::new("prlimit");
    let run = stage.run_command();
    limited.args(["--nofile=512:4096", "--"]).arg(run.get_program()).args(run.get_args()).env_clear();
    limited.env("PATH", "/usr/bin:/bin").stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    let running = Running::ready(Agent::spawn(&mut limited));
    let mut clients: Vec<_> = (0..400).map(|_| crate::http::connect(running.http)).collect();
    for round in 0..3 {
        for client in &mut clients {
            client.write_all(b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            let mut answer = [0; 12];
            client.read_exact(&mut answer).unwrap_or_else(|error| panic!("round {round}: {error}"));
            assert_eq!(&answer, b"HTTP/1.1 404");
            // The rest of it.
            let mut rest = [0; 4096];
            assert!(client.read(&mut rest).unwrap() > 0);
        }
        // Longer than who is at work is safe.
        std::thread::park_timeout(std::time::Duration::from_millis(1100));
    }
    let said = running.agent.stderr();
    assert!(!said.contains("every place"), "{said}");
}
