//! Clients and servers that mean harm, against the real agent: no panic, no memory beyond the cap, nobody else held up, nothing lost.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod announcers;
#[path = "../support/backend.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod backend;
mod case;
mod healthy;
mod http2;
mod otlp;
mod process;
mod requests;
mod servers;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "each test program uses a part of it")]
mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use backend::Backend;
use healthy::Healthy;
use process::{PATIENCE, Process};
use servers::{Harm, Server};
use support::wait_for;

/// Hostile clients at once, and the pause of each between two requests: together they make some hundred a second.
const CLIENTS: usize = 8;
const PAUSE: Duration = Duration::from_millis(20);
/// What an agent may hold beyond what it does when it is idle, whatever comes, in KiB: 24 MiB of requests in flight, of
/// which one message may be 20 MiB and its window 8, and what the allocator keeps.
const MOST_MEMORY: u64 = 48 << 10;
/// What a machine that others use too may add to a healthy client's p99.
const SLACK: Duration = Duration::from_millis(50);
/// How long a healthy client is measured alone.
const ALONE: Duration = Duration::from_secs(5);

fn seed() -> u64 {
    std::env::var("TIDEGATE_HOSTILE_SEED").map_or(1, |seed| seed.parse().unwrap())
}

/// The one family of requests, or the one server, that is played alone.
fn only() -> Option<String> {
    std::env::var("TIDEGATE_HOSTILE_ONLY").ok()
}

#[test]
fn hostile_requests_harm_nobody() {
    let agent = Process::start(&[]);
    let mut cases = requests::cases(seed());
    cases.retain(|case| only().is_none_or(|only| only == case.family));
    let healthy = Healthy::start(agent.grpc);
    let alone = healthy.measure(|| std::thread::park_timeout(ALONE));

    let faults = Mutex::new(Vec::new());
    let count = Mutex::new(BTreeMap::<&str, usize>::new());
    let started = Instant::now();
    let beside = healthy.measure(|| {
        let next = Mutex::new(cases.iter());
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    // An attacker on another machine would take none of the processors: these take what is left of them.
                    rustix::process::setpriority_process(None, 19).unwrap();
                    loop {
                        let Some(case) = next.lock().unwrap().next() else { break };
                        std::thread::park_timeout(PAUSE);
                        *count.lock().unwrap().entry(case.family).or_default() += 1;
                        if let Err(fault) = case.play(agent.grpc, agent.http) {
                            let head = String::from_utf8_lossy(&case.bytes[..case.bytes.len().min(300)]).into_owned();
                            faults.lock().unwrap().push(format!("{}: {fault}\n  {head:?}", case.family));
                        }
                    }
                });
            }
        });
    });
    let took = started.elapsed();
    let faults = faults.into_inner().unwrap();
    let (most, said) = (agent.memory_grown(), agent.said());
    for (family, count) in count.into_inner().unwrap() {
        println!("{count:5} {family}");
    }
    println!(
        "figure: {} hostile requests from seed {} in {:.0} s, {} MiB above what it held idle",
        cases.len(),
        seed(),
        took.as_secs_f64(),
        most >> 10
    );
    println!(
        "figure: a healthy client's p99 {:.1} ms alone, {:.1} ms beside them ({} and {} calls)",
        ms(alone.p99),
        ms(beside.p99),
        alone.calls,
        beside.calls
    );
    assert!(faults.is_empty(), "{} faults: {:#?}", faults.len(), &faults[..faults.len().min(20)]);
    assert!(only().is_some() || cases.len() >= 2_000, "{}", cases.len());
    assert!(!said.contains("panicked"), "{said}");
    assert!(agent.is_healthy(), "{said}");
    assert!(most <= MOST_MEMORY, "{} MiB", most >> 10);
    assert!(beside.p99 <= 2 * alone.p99 + SLACK, "{:.1} ms", ms(beside.p99));
    healthy.end();
}

/// What requests may hold together, on their way to that, and while they wait to be, in KiB, and what the allocator
/// keeps: see `SECURITY.md`.
const MOST_BOUNDED: u64 = (24 + 36 + 20 + 64) << 10;

#[test]
fn announced_requests_that_do_not_come_harm_nobody() {
    let agent = Process::start(&[]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let took = runtime.block_on(async {
        let calls = announcers::begin(agent.grpc).await;
        // Those who came first have their places until they are late.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let started = Instant::now();
        announcers::healthy_calls(agent.grpc, 200).await;
        drop(calls);
        started.elapsed()
    });
    let (most, calls) = (agent.memory_grown(), announcers::CONNECTIONS * announcers::CALLS);
    println!(
        "figure: {calls} calls that sent {} KiB of 4 MiB: {} MiB above what it held idle; 200 healthy calls beside them in {:.0} ms",
        announcers::SENT >> 10,
        most >> 10,
        ms(took)
    );
    assert!(agent.is_healthy(), "{}", agent.said());
    assert!(most <= MOST_BOUNDED, "{} MiB", most >> 10);
}

/// Waits that are short.
const QUICK: &str = "timeout: 1s, retry_on_failure: { initial_interval: 50ms, max_interval: 200ms }";

fn exporter(kind: &str, to: std::net::SocketAddr) -> [(&str, String); 1] {
    [(kind, format!("{{ endpoint: 'http://{to}', tls: {{ insecure: true }}, {QUICK} }}"))]
}

/// An agent exports to a server that harms it. It must stay well, and deliver when a good one is there instead.
fn survives(kind: &str, name: &str, harm: &Harm) -> Result<u64, String> {
    let server = Server::start(harm);
    let agent = Process::start(&exporter(kind, server.address));
    agent.log("kept");
    let harmed = wait_for(PATIENCE, || (server.connections() > 0).then_some(()));
    harmed.ok_or("it never connected")?;
    // Once more: what was said must not have stopped it.
    let is_throttled = name == "throttles for years";
    if !is_throttled {
        agent.wait_for_failures(2)?;
    }
    let address = server.end();
    let listener = wait_for(PATIENCE, || std::net::TcpListener::bind(address).ok()).ok_or("the port stays taken")?;
    let good = Backend::on(listener);
    let agent = if is_throttled { agent.again() } else { agent };
    good.comes_within("kept", 1, PATIENCE).ok_or_else(|| format!("the record never came: {}", agent.said()))?;
    let (most, said) = (agent.memory_grown(), agent.said());
    if said.contains("panicked") || said.chars().any(|c| c.is_control() && c != '\n') {
        return Err(said);
    }
    if most > MOST_MEMORY { Err(format!("{} MiB", most >> 10)) } else { Ok(most) }
}

#[test]
fn hostile_servers_lose_nothing_and_stop_nothing() {
    let over = |kind: &'static str, harms: Vec<(&'static str, Harm)>| {
        harms.into_iter().map(move |(name, harm)| (kind, name, harm))
    };
    let mut harms: Vec<_> = over("otlphttp", servers::over_http()).chain(over("otlp", servers::over_grpc())).collect();
    harms.retain(|(_, name, _)| only().is_none_or(|only| only == *name));
    let outcomes = each(&harms, |(kind, name, harm)| {
        survives(kind, name, harm).map_err(|fault| format!("{kind}, a server that {name}: {fault}"))
    });
    report("hostile servers", &outcomes);
}

/// A server that acknowledges with lies: the record counts as delivered once, and the next one goes on.
fn believes(name: &str, lie: &Harm) -> Result<u64, String> {
    let server = Server::start(lie);
    let agent = Process::start(&exporter("otlphttp", server.address));
    agent.log("taken");
    agent.wait_for_nothing_pending().map_err(|fault| format!("{name}: {fault}"))?;
    let (most, said) = (agent.memory_grown(), agent.said());
    if said.contains("panicked") || said.chars().any(|c| c.is_control() && c != '\n') {
        return Err(format!("{name}: {said}"));
    }
    if most > MOST_MEMORY { Err(format!("{name}: {} MiB", most >> 10)) } else { Ok(most) }
}

#[test]
fn acknowledgements_that_lie_are_acknowledgements() {
    let outcomes = each(&servers::lies(), |(name, lie)| believes(name, lie));
    report("acknowledgements that lie", &outcomes);
}

/// A request of 2 MB. What prints and what writes JSON takes its records one after the other.
#[test]
fn a_million_empty_records_fit_the_memory_of_every_exporter() {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let copy = format!("{{ path: '{}' }}", home.path().join("copy.jsonl").display());
    let exporters =
        [("debug", "{}".to_owned()), ("debug/detailed", "{ verbosity: detailed }".to_owned()), ("file", copy)];
    let agent = Process::start(&exporters);
    requests::empty_records(1_000_000).play(agent.grpc, agent.http).unwrap();
    agent.wait_for_nothing_pending().unwrap();
    let (most, said) = (agent.memory_grown(), agent.said());
    println!("figure: a million empty records, {} MiB above what it held idle", most >> 10);
    assert!(!said.contains("panicked"), "{said}");
    assert!(most <= MOST_MEMORY, "{} MiB", most >> 10);
}

/// Some at once: most of each is waiting.
fn each<T: Sync>(cases: &[T], play: impl Fn(&T) -> Result<u64, String> + Sync) -> Vec<Result<u64, String>> {
    let (next, outcomes) = (Mutex::new(cases.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some(case) = next.lock().unwrap().next() else { break };
                    let outcome = play(case);
                    outcomes.lock().unwrap().push(outcome);
                }
            });
        }
    });
    outcomes.into_inner().unwrap()
}

#[track_caller]
fn report(what: &str, outcomes: &[Result<u64, String>]) {
    let faults: Vec<&String> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert!(faults.is_empty(), "{} of {}: {faults:#?}", faults.len(), outcomes.len());
    let most = outcomes.iter().flatten().max().unwrap();
    println!("figure: {} {what}, at most {} MiB above what it held idle", outcomes.len(), most >> 10);
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
