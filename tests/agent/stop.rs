//! Every way to end.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::backend::{Backend, Mood, nobody};
use crate::client::{bodies, send};
use crate::http::connect;
use crate::stage::{PATIENCE, Running, Stage, config, to};
use crate::support::{Agent, wait_for};

/// The default of `--shutdown-timeout`, and what a loaded machine may add.
const STOP_LIMIT: Duration = Duration::from_secs(8);

fn stopped(running: Running, signal: Signal) -> String {
    running.agent.signal(signal);
    let (status, said) = running.agent.wait_end(STOP_LIMIT);
    assert_eq!(status.code(), Some(0), "{said}");
    said.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn with_everything_delivered_it_says_so() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Take);
    let running = stage.start(&[("otlp", to(backend.address))]);
    send(running.grpc, &["one"]);
    backend.wait_for(&["one"]);
    let last = stopped(running, Signal::TERM);
    assert!(last.starts_with("stopped in ") && last.ends_with(" ms; everything is delivered"), "{last}");
}

#[test]
fn a_dead_backend_delays_nothing_and_what_it_lacks_is_counted() {
    let stage = Stage::new();
    let running = stage.start(&[("otlp", to(nobody()))]);
    send(running.grpc, &bodies("kept", 7));
    let started = Instant::now();
    let last = stopped(running, Signal::TERM);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert!(last.contains("; 7 undelivered records stay in ") && last.contains("after the next start"), "{last}");
    let ledger = &stage.look(&["spool", "inspect", "--output", "json"]).json()["logs"][0]["ledger"];
    assert_eq!(ledger["pending"]["logs:otlp"], 7, "{ledger}");
}

#[test]
fn one_undelivered_record_is_counted_in_the_singular() {
    let stage = Stage::new();
    let running = stage.start(&[("otlp", to(nobody()))]);
    send(running.grpc, &["alone"]);
    let last = stopped(running, Signal::TERM);
    assert!(last.contains("; 1 undelivered record stays in "), "{last}");
}

#[test]
fn a_backend_that_never_answers_delays_nothing() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Silent);
    let running = stage.start(&[("otlp", to(backend.address))]);
    send(running.grpc, &["unanswered"]);
    backend.wait_for_request();
    let started = Instant::now();
    let last = stopped(running, Signal::TERM);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert!(last.contains("; 1 undelivered record stays in "), "{last}");
    backend.set(Mood::Take);
    let _running = stage.start_again();
    backend.wait_for(&["unanswered"]);
}

#[test]
fn an_interrupt_stops_like_a_termination() {
    let stage = Stage::new();
    let running = stage.start(&[("otlp", to(nobody()))]);
    send(running.grpc, &["kept"]);
    let last = stopped(running, Signal::INT);
    assert!(last.starts_with("stopped in "), "{last}");
}

/// An HTTP request that has begun and does not go on.
fn slow_request(http: SocketAddr) -> TcpStream {
    let mut stream = connect(http);
    let head = "POST /v1/logs HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\nContent-Length: 100\r\n";
    stream.write_all(format!("{head}Expect: 100-continue\r\n\r\n").as_bytes()).unwrap();
    // It is in the agent's hands when it asks for the body.
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100");
    stream
}

fn wait_until_closed(port: SocketAddr) {
    wait_for(PATIENCE, || TcpStream::connect(port).is_err().then_some(())).expect("the port is still open");
}

#[test]
fn a_request_in_flight_is_finished_and_acknowledged() {
    let stage = Stage::new();
    let running = stage.start(&[("otlp", to(nobody()))]);
    let body = prost::Message::encode_to_vec(&crate::client::request(&["x".repeat(100)]));
    let mut stream = connect(running.http);
    let head = format!(
        "POST /v1/logs HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\nContent-Length: {}\r\n\
         Expect: 100-continue\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.read_exact(&mut [0; 25]).unwrap();
    running.agent.signal(Signal::TERM);
    wait_until_closed(running.grpc);
    stream.write_all(&body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let (status, said) = running.agent.wait_end(STOP_LIMIT);
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("; 1 undelivered record stays in "), "{said}");
}

#[test]
fn a_request_that_does_not_end_is_cut_off_at_the_timeout() {
    let stage = Stage::new();
    stage.write("agent.yaml", config(&[("otlp", to(nobody()))]));
    let agent = Agent::spawn(stage.run_command().args(["--shutdown-timeout", "300ms"]));
    let running = Running::ready(agent);
    let _slow = slow_request(running.http);
    let started = Instant::now();
    stopped(running, Signal::TERM);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let stage = Stage::new();
    stage.write("agent.yaml", config(&[("otlp", to(nobody()))]));
    let agent = Agent::spawn(stage.run_command().args(["--shutdown-timeout", "1h"]));
    let running = Running::ready(agent);
    send(running.grpc, &["kept"]);
    let _slow = slow_request(running.http);
    running.agent.signal(Signal::TERM);
    wait_until_closed(running.grpc);
    running.agent.signal(Signal::INT);
    let (status, said) = running.agent.wait_end(PATIENCE);
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("stopped at once"), "{said}");
    let tail = stage.look(&["tail"]);
    assert!(tail.stdout.contains("kept"), "{tail:?}");
}

#[test]
fn a_termination_during_a_reload_is_not_forgotten() {
    let stage = Stage::new();
    let running = stage.start(&[("otlp", to(nobody()))]);
    running.agent.signal(Signal::HUP);
    running.agent.signal(Signal::TERM);
    let (status, said) = running.agent.wait_end(PATIENCE);
    assert_eq!(status.code(), Some(0), "{said}");
}

/// An agent whose reload waits for a backend that does not answer.
fn stuck_in_a_reload(stage: &Stage, timeout: &str) -> (Running, Backend) {
    let backend = Backend::start(Mood::Silent);
    stage.write("agent.yaml", config(&[("otlp", to(backend.address))]));
    let agent = Agent::spawn(stage.run_command().args(["--shutdown-timeout", timeout]));
    let running = Running::ready(agent);
    send(running.grpc, &["kept"]);
    backend.wait_for_request();
    running.agent.signal(Signal::HUP);
    running.agent.wait_said("reloading", PATIENCE);
    (running, backend)
}

#[test]
fn a_termination_during_a_reload_stops_instead_of_starting_again() {
    let stage = Stage::new();
    let (running, _slow) = stuck_in_a_reload(&stage, "1s");
    running.agent.signal(Signal::TERM);
    let (status, said) = running.agent.wait_end(STOP_LIMIT);
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(!said.contains("reloaded in "), "{said}");
    assert!(said.contains("; 1 undelivered record stays in "), "{said}");
}

#[test]
fn a_second_signal_during_a_reload_ends_it_at_once() {
    let stage = Stage::new();
    let (running, _slow) = stuck_in_a_reload(&stage, "1h");
    running.agent.signal(Signal::TERM);
    running.agent.signal(Signal::INT);
    let (status, said) = running.agent.wait_end(PATIENCE);
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("stopped at once"), "{said}");
    let tail = stage.look(&["tail"]);
    assert!(tail.stdout.contains("kept"), "{tail:?}");
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Silent);
    let running = stage.start(&[("otlp", to(backend.address))]);
    let kept = bodies("kept", 50);
    send(running.grpc, &kept);
    running.agent.kill();
    backend.set(Mood::Take);
    let running = stage.start_again();
    backend.wait_for(&kept);
    // Acknowledged now: another start sends nothing again.
    assert!(stopped(running, Signal::TERM).ends_with("everything is delivered"));
    let before = backend.bodies().len();
    let running = stage.start_again();
    send(running.grpc, &["after"]);
    backend.wait_for(&["after"]);
    assert_eq!(backend.bodies().len(), before + 1, "records that were delivered came again");
}
