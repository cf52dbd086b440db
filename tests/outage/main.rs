//! A long outage behind a real Collector, in stages: the Collector is gone, its backend throttles, the network swallows what is
//! sent, its certificate expired. What was acknowledged arrives, in order, and the ledger closes. And tidegate as
//! the queue of a Collector, while either is killed. Needs the Collector that `tests/run peer` builds.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

#[path = "../support/backend.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod backend;
mod load;
mod network;
mod parts;
mod programs;
mod queue;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "each test program uses a part of it")]
mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use backend::{Backend, Say};
use load::Load;
use network::Network;
use parts::{Certificate, Gateway};
use programs::{Books, local};
use support::wait_for;

/// What a slow machine under load may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Of each stage: a hundred a second for ten minutes, sent as fast as they are taken.
const RECORDS: u64 = 60_000;

#[test]
fn an_outage_loses_nothing_and_keeps_the_order() {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let backend = Backend::start();
    let mut collector = Gateway::new(home.path(), backend.address);
    let network = Network::to(collector.address());
    let agent = local();
    let tidegate = parts::forward(home.path(), agent, network.address);
    let mut load = Load::to(agent);

    // Each stage: what is wrong, its end, and what health or the log says meanwhile.
    collector.start(Certificate::Valid);
    stage("all is well", &mut load, &backend, |_| {});

    collector.kill();
    stage("the collector is gone", &mut load, &backend, |_| collector.start(Certificate::Valid));

    backend.set(Some(Say::Http(503, vec![("retry-after", "1".to_owned())])));
    stage("its backend throttles", &mut load, &backend, |backend| backend.set(None));

    network.swallow();
    stage("the network swallows everything", &mut load, &backend, |_| network.mend());

    collector.kill();
    collector.start(Certificate::Expired);
    stage("its certificate expired", &mut load, &backend, |_| {
        assert!(tidegate.said().contains("certificate"), "{}", tidegate.said());
        collector.kill();
        collector.start(Certificate::Valid);
    });

    let (sent, all) = (load.sent(), arrived(&backend));
    let distinct: BTreeSet<u64> = all.iter().copied().collect();
    assert_eq!(distinct.len() as u64, sent, "what was acknowledged, and nothing else");
    assert_eq!(firsts(&all), (0..sent).collect::<Vec<u64>>(), "in order");
    let repeated = all.len() as u64 - sent;
    println!("figure: {sent} records acknowledged over four outages, all arrived in order, {repeated} twice");
    // Batches of 2 MiB at most are in flight when something breaks, one at a time.
    assert_eq!(tidegate.end("otlp"), Books { accepted: sent, delivered: sent });
}

/// Sends the load of ten minutes while something is wrong, then lets it be mended and waits until all is delivered.
fn stage(name: &str, load: &mut Load, backend: &Backend, mend: impl FnOnce(&Backend)) {
    let began = Instant::now();
    let before = arrived(backend).len();
    load.send(RECORDS);
    let (taken, during) = (began.elapsed(), arrived(backend).len() - before);
    mend(backend);
    let sent = load.sent();
    let all = || arrived(backend).into_iter().collect::<BTreeSet<u64>>().len() as u64;
    let delivered = wait_for(PATIENCE, || (all() == sent).then_some(()));
    assert!(delivered.is_some(), "{name}: {} of {sent} arrived", all());
    println!(
        "{name}: {RECORDS} acknowledged in {:.1} s, {during} arrived meanwhile, all {:.1} s after the mending",
        taken.as_secs_f64(),
        (began.elapsed() - taken).as_secs_f64()
    );
}

/// The numbers of the records that the backend took, as they came.
fn arrived(backend: &Backend) -> Vec<u64> {
    backend.taken().iter().map(|body| body.parse().unwrap()).collect()
}

/// Each number once, where it first came.
fn firsts(all: &[u64]) -> Vec<u64> {
    let mut seen = BTreeSet::new();
    all.iter().copied().filter(|number| seen.insert(*number)).collect()
}
