//! kill -9 of the real agent, in the load and while it starts: nothing acknowledged is lost, nothing is invented.
//!
//! An episode begins with an empty directory. First the agent is killed while clients are answered. Then the backend
//! stays away until a backlog stands on the disk, and the agent is killed again and again while it starts on it, often
//! several times in a row before it gets ready once. At last everything acknowledged must arrive.
//!
//! `TIDEGATE_KILL_CYCLES` (100) kills; `TIDEGATE_KILL_SEED` repeats a run's choices, and goes on with a run that was
//! ended.

#![allow(clippy::unwrap_used, reason = "a test ends where its own preparation fails")]

mod load;
mod long_run;
#[allow(dead_code, reason = "shared with the test of power cuts")]
mod oracle;
mod sink;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "each test program uses a part of it")]
mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use load::Load;
use long_run::{Episode, LongRun, Tally};
use oracle::Oracle;
use sink::Backend;
use support::{Agent, free_port, wait_for};

/// Kills in one directory.
const EPISODE: u64 = 50;
const READY_LIMIT: Duration = Duration::from_secs(60);
const LOAD_MAX: Duration = Duration::from_millis(600);
const FRESH_LIMIT: Duration = Duration::from_secs(30);
const STALL_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// What stands on the disk at every start of the second part.
const BACKLOG_BYTES: u64 = 32 << 20;
const BACKLOG_LIMIT: Duration = Duration::from_secs(300);
/// Kills without a moment of readiness between them.
const ROW_MAX: u64 = 6;

/// The agent's surroundings, which outlive it.
struct Stage {
    runtime: Runtime,
    home: tempfile::TempDir,
    agent: SocketAddr,
    oracle: Arc<Oracle>,
    backend: Backend,
    random: fastrand::Rng,
    ready_ms: Vec<u64>,
    tally: Tally,
}

#[test]
fn kills_lose_nothing_that_was_acknowledged() {
    let tally = LongRun::new("KILL", "kill -9", 100).play(EPISODE, play);
    // A run that shows nothing is a fault of the test.
    assert!(tally.get("acked") > 100, "hardly anything was acknowledged");
    assert!(tally.get("killed_starting") > tally.get("starts_killed_when_ready"), "most kills missed the start");
    assert!(tally.get("requests_refused") > 0, "the backend was never away");
    assert!(tally.get("duplicated") > 0, "no kill came between a delivery and the cursor");
}

fn play(episode: Episode) -> Tally {
    let mut stage = Stage::new(episode.seed);
    let load = stage.runtime.block_on(async { Load::start(stage.agent, &stage.oracle, episode.seed) });
    let in_load = episode.cycles * 2 / 5;
    for _ in 0..in_load {
        stage.kill_in_the_load();
    }
    stage.build_backlog();
    let mut left = episode.cycles - in_load;
    while left > 0 {
        let row = stage.random.u64(1..=ROW_MAX).min(left);
        for _ in 0..row {
            stage.kill_during_start();
        }
        stage.tally.count("kills_in_a_row_max", row);
        left -= row;
        stage.build_backlog();
    }
    stage.runtime.block_on(load.stop());
    stage.survive();
    stage.figures(episode)
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
            ready_ms: Vec::new(),
            tally: Tally::default(),
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
        let ready = agent.wait_ready(READY_LIMIT);
        self.ready_ms.push(u64::try_from(ready.as_millis()).unwrap());
        let acked = self.oracle.figures().acked;
        // Every life acknowledges something, so that every kill has something to lose.
        let moved = wait_for(FRESH_LIMIT, || (self.oracle.figures().acked > acked).then_some(()));
        assert!(moved.is_some(), "nothing was acknowledged within {FRESH_LIMIT:?}\n{}", agent.stderr());
        self.pause_at_most(LOAD_MAX);
        agent.kill();
        self.tally.count("killed_in_load", 1);
    }

    /// Starts once with the backend away, until the backlog stands on the disk; kills.
    fn build_backlog(&mut self) {
        self.backend.set_up(false);
        let before = self.oracle.owed_bytes();
        let mut agent = self.start();
        let ready = agent.wait_ready(READY_LIMIT);
        let ready_ms = u64::try_from(ready.as_millis()).unwrap();
        self.ready_ms.push(ready_ms);
        if before >= BACKLOG_BYTES / 2 {
            self.tally.count("starts_on_a_backlog", 1);
            self.tally.count("start_on_a_backlog_ms_sum", ready_ms);
            self.tally.count("start_on_a_backlog_ms_max", ready_ms);
        }
        let enough = wait_for(BACKLOG_LIMIT, || (self.oracle.owed_bytes() >= BACKLOG_BYTES).then_some(()));
        assert!(enough.is_some(), "no backlog within {BACKLOG_LIMIT:?}\n{}", agent.stderr());
        agent.kill();
        let (_, bytes) = self.pending();
        assert!(bytes >= BACKLOG_BYTES, "the backlog on the disk is {bytes} bytes");
        self.tally.count("backlog_mib_max", bytes >> 20);
    }

    /// Starts on the backlog and kills, nearly always before readiness.
    fn kill_during_start(&mut self) {
        self.backend.set_up(self.random.u8(..4) == 0);
        let usual = self.usual_ready();
        let agent = self.start();
        self.pause_at_most(usual);
        let ready = agent.ready_after();
        agent.kill();
        // A machine that has become faster is not waited for as long the next time.
        self.ready_ms.extend(ready.map(|ready| u64::try_from(ready.as_millis()).unwrap()));
        self.tally.count(if ready.is_some() { "starts_killed_when_ready" } else { "killed_starting" }, 1);
    }

    #[allow(clippy::disallowed_methods, reason = "a kill comes at a random moment, not on a condition")]
    fn pause_at_most(&mut self, longest: Duration) {
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        std::thread::sleep(Duration::from_micros(self.random.u64(0..=micros)));
    }

    /// The median time to readiness of the last starts, with a floor.
    fn usual_ready(&self) -> Duration {
        let mut last: Vec<u64> = self.ready_ms.iter().rev().take(9).copied().collect();
        last.sort_unstable();
        Duration::from_millis(last.get(last.len() / 2).copied().unwrap_or(0).max(2))
    }

    /// The faults are over: everything acknowledged arrives, and the agent takes and delivers new records.
    fn survive(&mut self) {
        self.backend.set_up(true);
        let mut agent = self.start();
        agent.wait_ready(READY_LIMIT);
        // The log is delivered in order. When the second arrives, the first is acknowledged to the log, and what came
        // before it.
        for _ in 0..2 {
            let fresh = self.runtime.block_on(async {
                let mut client = load::connect(self.agent).await;
                load::send(&mut client, &self.oracle, 1).await.unwrap()
            });
            self.wait_for_delivery(&agent);
            assert!(self.oracle.all_delivered(&fresh), "the last record of all did not arrive");
        }
        let (status, said) = agent.stop(STOP_LIMIT);
        assert!(status.success(), "SIGTERM ended it with {status}\n{said}");
        let (records, _) = self.pending();
        assert!(records <= 1, "{records} records are pending although all have arrived");
        let verification = self.tidegate(&["spool", "verify"]);
        assert_eq!(verification["ok"], true, "{verification:#}");
    }

    fn wait_for_delivery(&self, agent: &Agent) {
        let mut lost = self.oracle.figures().lost;
        while lost > 0 {
            let less = wait_for(STALL_LIMIT, || Some(self.oracle.figures().lost).filter(|now| *now < lost));
            lost = less.unwrap_or_else(|| {
                let missing = self.oracle.missing();
                panic!("{lost} acknowledged records do not arrive, first {missing:?}\n{}", agent.stderr())
            });
        }
    }

    /// The records and bytes that the log's exporter still has to deliver.
    fn pending(&self) -> (u64, u64) {
        let inspection = self.tidegate(&["spool", "inspect"]);
        let logs = inspection["logs"].as_array().unwrap();
        let cursors = logs.iter().flat_map(|log| log["cursors"].as_array().unwrap());
        cursors.fold((0, 0), |(records, bytes), cursor| {
            let more = |name: &str| cursor[name].as_u64().unwrap();
            (records + more("pending_records"), bytes + more("pending_bytes"))
        })
    }

    fn tidegate(&self, arguments: &[&str]) -> serde_json::Value {
        let data = self.data();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        let output = command.args(arguments).arg("--data-dir").arg(data).args(["--output", "json"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{arguments:?}: {e}\n{said}"))
    }

    fn figures(mut self, episode: Episode) -> Tally {
        let figures = self.oracle.figures();
        assert_eq!(figures.invented, 0, "seed {}: {:#?}", episode.seed, self.oracle.inventions());
        assert_eq!(self.backend.empty(), 0, "seed {}: an export without records", episode.seed);
        assert_eq!((figures.lost, figures.told_lost), (0, 0), "seed {}", episode.seed);
        figures.count(&mut self.tally);
        self.tally.count("requests_refused", self.backend.refused());
        self.tally
    }
}
