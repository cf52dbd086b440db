//! kill -9 of the real agent, in the load and while it starts: nothing acknowledged is lost, nothing is invented.
//!
//! `TIDEGATE_KILL_CYCLES` (100) cycles, half of each kind; `TIDEGATE_KILL_SEED` repeats a run's choices.

#![allow(clippy::unwrap_used, reason = "a test ends where its own preparation fails")]

mod load;
mod oracle;
mod sink;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "each test program uses a part of it")]
mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use load::Load;
use oracle::Oracle;
use sink::Backend;
use support::{Agent, free_port, wait_for};

const READY_LIMIT: Duration = Duration::from_secs(20);
const LOAD_MAX: Duration = Duration::from_millis(600);
const FRESH_LIMIT: Duration = Duration::from_secs(10);
const STALL_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// The agent's surroundings, which outlive it.
struct Stage {
    runtime: Runtime,
    home: tempfile::TempDir,
    agent: SocketAddr,
    oracle: Arc<Oracle>,
    backend: Backend,
    random: fastrand::Rng,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    killed_ready: u32,
    killed_starting: u32,
    ready_ms: Vec<u128>,
}

#[test]
fn a_hundred_kills_lose_nothing_that_was_acknowledged() {
    let cycles: u32 = environment("TIDEGATE_KILL_CYCLES").unwrap_or(100);
    let seed: u64 = environment("TIDEGATE_KILL_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("figure: kill -9: {cycles} cycles, seed {seed}");
    let began = Instant::now();
    let mut stage = Stage::new(seed);
    let load = stage.runtime.block_on(async { Load::start(stage.agent, &stage.oracle, seed) });
    for _ in 0..cycles / 2 {
        stage.kill_in_the_load();
    }
    for _ in 0..cycles - cycles / 2 {
        stage.kill_during_start();
    }
    load.stop();
    stage.survive();
    stage.report(cycles, began.elapsed());
}

fn environment<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")))
}

impl Stage {
    fn new(seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let oracle = Arc::new(Oracle::default());
        let backend = runtime.block_on(Backend::start(Arc::clone(&oracle)));
        let agent = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let stage = Self {
            runtime,
            home,
            agent,
            oracle,
            backend,
            random: fastrand::Rng::with_seed(seed),
            counts: Counts::default(),
        };
        stage.write_config();
        stage
    }

    fn config(&self) -> PathBuf {
        self.home.path().join("agent.yaml")
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// Small segments, so that many are sealed, recycled and left behind by a kill.
    #[allow(clippy::disallowed_methods, reason = "a configuration for the agent under test")]
    fn write_config(&self) {
        let text = format!(
            "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '{agent}' }} }} }} }}
exporters:
  otlp:
    endpoint: 'http://{backend}'
    tls: {{ insecure: true }}
    compression: none
    retry_on_failure: {{ initial_interval: 20ms, max_interval: 100ms }}
extensions: {{ disk_buffer: {{ directory: '{data}', segment_size: 1MiB, retain_size: 2MiB }} }}
service:
  extensions: [disk_buffer]
  telemetry: {{ metrics: {{ level: none }} }}
  pipelines: {{ logs: {{ receivers: [otlp], exporters: [otlp] }} }}
",
            agent = self.agent,
            backend = self.backend.address,
            data = self.data().display(),
        );
        std::fs::write(self.config(), text).unwrap();
    }

    fn start(&self) -> Agent {
        Agent::start(&[], [Path::new("--config"), &self.config()])
    }

    /// Starts, lets the load run for a random while with the backend up or away, kills.
    fn kill_in_the_load(&mut self) {
        self.backend.set_up(self.random.bool());
        let mut agent = self.start();
        self.counts.ready_ms.push(agent.wait_ready(READY_LIMIT).as_millis());
        let acked = self.oracle.figures().acked;
        // Every life acknowledges something, so that every kill has something to lose.
        let moved = wait_for(FRESH_LIMIT, || (self.oracle.figures().acked > acked).then_some(()));
        assert!(moved.is_some(), "nothing was acknowledged within {FRESH_LIMIT:?}\n{}", agent.stderr());
        self.pause_at_most(LOAD_MAX);
        agent.kill();
        self.counts.killed_ready += 1;
    }

    /// Starts on a backlog and kills before, at or shortly after readiness.
    fn kill_during_start(&mut self) {
        self.backend.set_up(self.random.u8(..4) == 0);
        let usual = self.usual_ready();
        let agent = self.start();
        self.pause_at_most(usual * 3 / 2);
        let was_ready = agent.ready_after().is_some();
        agent.kill();
        if was_ready {
            self.counts.killed_ready += 1;
        } else {
            self.counts.killed_starting += 1;
        }
    }

    #[allow(clippy::disallowed_methods, reason = "a kill comes at a random moment, not on a condition")]
    fn pause_at_most(&mut self, longest: Duration) {
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        std::thread::sleep(Duration::from_micros(self.random.u64(0..=micros)));
    }

    /// The median time to readiness, with a floor for the first.
    fn usual_ready(&self) -> Duration {
        let mut sorted = self.counts.ready_ms.clone();
        sorted.sort_unstable();
        let median = sorted.get(sorted.len() / 2).copied().unwrap_or(0);
        Duration::from_millis(u64::try_from(median.max(20)).unwrap_or(20))
    }

    /// The faults are over: everything acknowledged arrives, and the agent takes and delivers new records.
    fn survive(&mut self) {
        self.backend.set_up(true);
        let mut agent = self.start();
        agent.wait_ready(READY_LIMIT);
        let fresh = self.runtime.block_on(async {
            let mut client = load::connect(self.agent).await;
            load::send(&mut client, &self.oracle, 1).await.unwrap()
        });
        let mut lost = self.oracle.figures().lost;
        while lost > 0 {
            let less = wait_for(STALL_LIMIT, || Some(self.oracle.figures().lost).filter(|now| *now < lost));
            lost = less.unwrap_or_else(|| {
                let missing = self.oracle.missing();
                panic!("{lost} acknowledged records do not arrive, first {missing:?}\n{}", agent.stderr())
            });
        }
        assert!(self.oracle.all_delivered(&fresh), "the last record of all did not arrive");
        let (status, said) = agent.stop(STOP_LIMIT);
        assert!(status.success(), "SIGTERM ended it with {status}\n{said}");
        self.nothing_is_left();
    }

    fn nothing_is_left(&self) {
        let inspection = self.tidegate(&["spool", "inspect"]);
        for log in inspection["logs"].as_array().unwrap() {
            for cursor in log["cursors"].as_array().unwrap() {
                assert_eq!(cursor["pending_records"], 0, "{cursor:#}");
            }
        }
        let verification = self.tidegate(&["spool", "verify"]);
        assert_eq!(verification["ok"], true, "{verification:#}");
    }

    fn tidegate(&self, arguments: &[&str]) -> serde_json::Value {
        let data = self.data();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        let output = command.args(arguments).arg("--data-dir").arg(data).args(["--output", "json"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{arguments:?}: {e}\n{said}"))
    }

    fn report(&self, cycles: u32, took: Duration) {
        let figures = self.oracle.figures();
        let Counts { killed_ready, killed_starting, .. } = self.counts;
        println!("figure: killed when ready {killed_ready}, while starting {killed_starting}, in {} s", took.as_secs());
        println!("figure: ready after {} ms (median)", self.usual_ready().as_millis());
        println!("figure: requests turned away by the backend {}", self.backend.refused());
        println!("figure: {figures}");
        assert_eq!(figures.invented, 0, "{:#?}", self.oracle.inventions());
        assert_eq!(figures.lost, 0);
        // A run that shows nothing is a fault of the test.
        assert_eq!(killed_ready + killed_starting, cycles);
        assert!(cycles < 20 || killed_starting > 0, "no kill hit a start");
        assert!(figures.acked > 100, "hardly anything was acknowledged");
        assert!(cycles < 20 || self.backend.refused() > 0, "the backend was never away");
    }
}
