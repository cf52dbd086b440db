//! What the OpenTelemetry Collector's persistent queue was seen to lose, here: killed while it starts, on a full log, with a
//! flipped byte, with damaged pages.

use std::collections::BTreeSet;

use crate::backend::{Backend, Mood, nobody};
use crate::client::{Client, bodies, send};
use crate::stage::{PATIENCE, Stage, to};
use crate::support::{Agent, wait_for};

#[test]
fn killed_again_and_again_while_it_starts_it_loses_nothing() {
    const KILLS: u32 = 20;
    let stage = Stage::new();
    let address = nobody();
    let running = stage.start(&[("otlp", to(address))]);
    let kept = bodies("kept", 300);
    for part in kept.chunks(10) {
        Client::of(running.grpc).send(part).unwrap();
    }
    let usual = running.agent.ready_after().unwrap();
    running.agent.kill();
    for n in 0..KILLS {
        let agent = Agent::spawn(&mut stage.run_command());
        // From the first moment of a start to its last.
        std::thread::park_timeout(usual * n / (KILLS - 1));
        agent.kill();
    }
    let backend = Backend::at(address, Mood::Take);
    let running = stage.start_again();
    backend.wait_for(&kept);
    assert!(running.agent.stop(PATIENCE).0.success());
}

#[test]
fn what_a_full_log_refused_never_reaches_the_backend_empty() {
    let stage = Stage::new();
    let address = nobody();
    let exporter = to(address).replacen('{', "{ sending_queue: { sizer: items, queue_size: 5 },", 1);
    let running = stage.start(&[("otlp", exporter)]);
    let kept = bodies("kept", 5);
    send(running.grpc, &kept);
    for body in bodies("refused", 20) {
        Client::of(running.grpc).send(&[body]).unwrap_err();
    }
    let backend = Backend::at(address, Mood::Take);
    backend.wait_for(&kept);
    wait_for(PATIENCE, || Client::of(running.grpc).send(&["after"]).ok()).expect("room again");
    backend.wait_for(&["after"]);
    assert_eq!(backend.empty_requests(), 0);
    assert!(!backend.bodies().iter().any(|body| body.starts_with("refused")), "{:?}", backend.bodies());
}

#[test]
fn a_flipped_byte_is_not_delivered() {
    let stage = Stage::new();
    let address = nobody();
    let running = stage.start(&[("otlp", to(address))]);
    send(running.grpc, &bodies("kept", 10));
    assert!(running.agent.stop(PATIENCE).0.success());
    spoil(&stage, |bytes| {
        let at = bytes.windows(6).position(|window| window == b"kept 5").unwrap();
        bytes[at] ^= 0x20;
    });
    let backend = Backend::at(address, Mood::Take);
    let running = stage.start_again();
    let rest: Vec<String> = bodies("kept", 10).into_iter().filter(|body| body != "kept 5").collect();
    backend.wait_for(&rest);
    running.agent.wait_said("records lost", PATIENCE);
    let delivered: BTreeSet<String> = backend.bodies().into_iter().collect();
    assert!(!delivered.contains("kept 5") && !delivered.contains("Kept 5"), "{delivered:?}");
}

#[test]
fn damaged_pages_keep_it_neither_from_starting_nor_from_delivering_the_rest() {
    const PAGE: usize = 4096;
    let stage = Stage::new();
    let address = nobody();
    let running = stage.start(&[("otlp", to(address))]);
    let filler = "x".repeat(1000);
    let kept: Vec<String> = (0..200).map(|n| format!("kept {n} {filler}")).collect();
    send(running.grpc, &kept);
    assert!(running.agent.stop(PATIENCE).0.success());
    spoil(&stage, |bytes| {
        // Among the records, and where the file tells what it is.
        for page in [0, 6, 7, 20, 33] {
            bytes[page * PAGE..(page + 1) * PAGE].fill(0xa5);
        }
    });
    let backend = Backend::at(address, Mood::Take);
    let running = stage.start_again();
    let after = bodies("after", 5);
    send(running.grpc, &after);
    backend.wait_for(&after);
    let told = wait_for(PATIENCE, || Some(running.agent.stderr()).filter(|said| said.contains("lost")));
    assert!(told.is_some(), "{}", running.agent.stderr());
    let delivered: BTreeSet<String> = backend.bodies().into_iter().filter(|body| body.starts_with("kept")).collect();
    assert!(delivered.iter().all(|body| kept.contains(body)), "nothing that was not sent");
    // A page has parts of five of them.
    assert!(delivered.len() >= 200 - 4 * 5, "{} of 200", delivered.len());
}

/// Spoils the one segment of the log `logs`.
#[allow(clippy::disallowed_methods, reason = "damages what the agent wrote")]
fn spoil(stage: &Stage, damage: impl FnOnce(&mut [u8])) {
    let segment = stage.data().join("logs/logs/seg-0000000000000001");
    let mut bytes = std::fs::read(&segment).unwrap();
    damage(&mut bytes);
    std::fs::write(&segment, bytes).unwrap();
}
