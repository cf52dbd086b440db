//! Green, red and why.

use std::net::SocketAddr;

use serde_json::Value;
use tonic::Code;

use crate::backend::{Backend, Mood};
use crate::client::send;
use crate::http::get;
use crate::stage::{PATIENCE, Stage, to};
use crate::support::wait_for;

pub(crate) fn health(address: SocketAddr) -> (u16, Value) {
    let answer = get(address, "/");
    assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

#[track_caller]
pub(crate) fn wait_until(address: SocketAddr, status: u16) -> Value {
    let reached = wait_for(PATIENCE, || Some(health(address)).filter(|(now, _)| *now == status));
    reached.unwrap_or_else(|| panic!("health is {:?}, not {status}", health(address))).1
}

#[test]
fn a_refusal_makes_it_red_with_the_reason_and_a_success_green_again() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Refuse(Code::Unauthenticated, "no such token"));
    let running = stage.start(&[("otlp/billing", to(backend.address))]);
    let green = wait_until(running.health, 200);
    assert_eq!((&green["status"], &green["reasons"]), (&"Server available".into(), &serde_json::json!([])));
    assert!(green["upSince"].as_str().unwrap().ends_with('Z'), "{green}");

    send(running.grpc, &["kept"]);
    let red = wait_until(running.health, 503);
    let reason = red["reasons"][0].as_str().unwrap();
    assert_eq!(red["status"], "Server not available");
    for part in ["exporter otlp/billing", "(logs)", "UNAUTHENTICATED", "no such token"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    let ledger = &stage.look(&["spool", "inspect", "--output", "json"]).json()["logs"][0]["ledger"];
    assert_eq!(
        (&ledger["parked"]["logs:otlp/billing"], &ledger["dropped"]),
        (&0.into(), &serde_json::json!({})),
        "{ledger}"
    );

    backend.set(Mood::Take);
    backend.wait_for(&["kept"]);
    wait_until(running.health, 200);
}

#[test]
fn a_refusal_is_told_once_with_the_exporters_name_and_so_is_its_end() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Refuse(Code::PermissionDenied, "not you"));
    let running = stage.start(&[("otlp/billing", to(backend.address))]);
    send(running.grpc, &["kept"]);
    wait_for(PATIENCE, || (backend.requests() > 3).then_some(())).unwrap();
    let told = running.agent.wait_said("not you", PATIENCE);
    assert!(told.contains("WARN") && told.contains("otlp/billing") && told.contains("logs"), "{told}");
    backend.set(Mood::Take);
    backend.wait_for(&["kept"]);
    let told = running.agent.wait_said("takes requests again", PATIENCE);
    assert!(told.contains("INFO") && told.contains("otlp/billing"), "{told}");
    let times = running.agent.stderr().lines().filter(|line| line.contains("not you")).count();
    assert_eq!(times, 1, "{}", running.agent.stderr());
}

#[test]
fn an_exporter_that_delivers_nothing_for_too_long_makes_it_red() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Refuse(Code::Unavailable, "at lunch"));
    stage.configure(&[("otlp/billing", to(backend.address))]);
    let config = std::fs::read_to_string(stage.config()).unwrap();
    stage.write("agent.yaml", config.replace("health_check: { ", "health_check: { stuck_after: 500ms, "));
    let running = stage.start_again();
    send(running.grpc, &["kept"]);
    let red = wait_until(running.health, 503);
    let reason = red["reasons"][0].as_str().unwrap();
    for part in ["exporter otlp/billing (logs): nothing was delivered for ", "UNAVAILABLE: at lunch"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    backend.set(Mood::Take);
    backend.wait_for(&["kept"]);
    wait_until(running.health, 200);
}

#[test]
fn other_paths_are_not_there() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Take);
    let running = stage.start(&[("otlp", to(backend.address))]);
    assert_eq!(get(running.health, "/other").status, 404);
    assert_eq!(get(running.metrics, "/").status, 404);
}
