//! The agent on the small disk, its clients and its backend.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::runtime::Runtime;

use crate::disk::Disk;
use crate::load::{self, Load};
use crate::long_run::Tally;
use crate::oracle::{Figures, Oracle};
use crate::sink::Backend;
use crate::support::{Agent, free_port, wait_for};

const READY_LIMIT: Duration = Duration::from_secs(60);
/// How long anything may take that must happen by itself.
const LIMIT: Duration = Duration::from_secs(60);
/// Acks that stand still for so long, while all clients send, wait for room.
const STILL: Duration = Duration::from_millis(700);
/// A disk on which there is less than so much, in bytes, is full: above all that `min_free` keeps.
const FULL: u64 = 2 << 20;
/// Refused requests that show the policy.
const REFUSALS: u64 = 20;

/// What the agent does when its disk is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Reject,
    DropOldest,
    /// The sender waits.
    Block,
}

/// How the agent of an episode is set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    policy: Policy,
    durability: &'static str,
    /// With `0%` the disk's own answer comes first; with `5%`, most of the time, our look at it.
    min_free: &'static str,
}

impl Setting {
    /// Each in turn.
    pub(crate) fn of(number: u64) -> Self {
        let pick = |every: u64, of: u64| (number / every % of) as usize;
        Self {
            policy: [Policy::Reject, Policy::DropOldest, Policy::Block][pick(1, 3)],
            durability: ["sync", "interval", "os"][pick(3, 3)],
            min_free: ["0%", "5%"][(pick(1, 2) + pick(9, 2)) % 2],
        }
    }
}

/// The agent's surroundings, which outlive it.
pub(crate) struct Stage {
    runtime: Runtime,
    home: tempfile::TempDir,
    data: PathBuf,
    setting: Setting,
    address: SocketAddr,
    health: SocketAddr,
    agent: Option<Agent>,
    oracle: Arc<Oracle>,
    backend: Backend,
    random: fastrand::Rng,
    killed: bool,
    tally: Tally,
}

impl Stage {
    pub(crate) fn new(disk: &Disk, setting: Setting, seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let oracle = Arc::new(Oracle::default());
        let backend = runtime.block_on(Backend::start(Arc::clone(&oracle)));
        let mut stage = Self {
            runtime,
            home: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
            data: disk.path().join("data"),
            setting,
            address: SocketAddr::from(([127, 0, 0, 1], free_port())),
            health: SocketAddr::from(([127, 0, 0, 1], free_port())),
            agent: None,
            oracle,
            backend,
            random: fastrand::Rng::with_seed(seed),
            killed: false,
            tally: Tally::default(),
        };
        stage.write_config();
        stage.start();
        stage
    }

    fn config(&self) -> PathBuf {
        self.home.path().join("agent.yaml")
    }

    fn write_config(&self) {
        let Setting { policy, durability, min_free } = self.setting;
        let text = format!(
            "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '{agent}' }} }} }} }}
exporters:
  otlp:
    endpoint: 'http://{backend}'
    tls: {{ insecure: true }}
    compression: none
    retry_on_failure: {{ initial_interval: 20ms, max_interval: 100ms }}
    sending_queue: {{ block_on_overflow: {block} }}
extensions:
  health_check: {{ endpoint: '{health}' }}
  disk_buffer:
    directory: '{data}'
    segment_size: 1MiB
    max_size: 1GiB
    min_free: {min_free}
    retain_size: 4MiB
    durability: {durability}
    on_full: {on_full}
service:
  extensions: [disk_buffer, health_check]
  telemetry: {{ metrics: {{ level: none }} }}
  pipelines: {{ logs: {{ receivers: [otlp], exporters: [otlp] }} }}
",
            agent = self.address,
            health = self.health,
            backend = self.backend.address,
            block = policy == Policy::Block,
            on_full = if policy == Policy::DropOldest { "drop_oldest" } else { "reject" },
            data = self.data.display(),
        );
        std::fs::write(self.config(), text).unwrap();
    }

    fn start(&mut self) {
        let mut agent = Agent::start(&[], [Path::new("--config"), &self.config()]);
        agent.wait_ready(READY_LIMIT);
        self.agent = Some(agent);
    }

    /// Fills, perhaps kills, drains.
    pub(crate) fn cycle(&mut self, disk: &Disk) {
        self.backend.set_up(false);
        disk.take(self.random.u64(0..=disk.available() / 2));
        let load = self.runtime.block_on(async { Load::start(self.address, &self.oracle, self.random.u64(..)) });
        self.wait_for_the_wall(disk);
        disk.take(u64::MAX);
        self.tally.count("free_bytes_left_max", disk.available());
        if self.random.bool() {
            self.agent.take().unwrap().kill();
            self.start();
            self.tally.count("killed_while_full", 1);
            self.killed = true;
        }
        if self.random.bool() {
            disk.give_back();
            disk.take(0);
        }
        self.backend.set_up(true);
        self.resumes();
        self.runtime.block_on(load.stop());
        disk.give_back();
        self.drains();
        self.tally.count(&format!("cycles_{:?}", self.setting.policy).to_lowercase(), 1);
    }

    /// Waits until the policy shows.
    fn wait_for_the_wall(&self, disk: &Disk) {
        let refused = self.oracle.refused_as_full();
        let dropped = self.dropped();
        let mut last = (self.oracle.figures().acked, Instant::now());
        let shows = || match self.setting.policy {
            Policy::Reject => self.oracle.refused_as_full() >= refused + REFUSALS,
            Policy::DropOldest => self.dropped() > dropped,
            Policy::Block => {
                let acked = self.oracle.figures().acked;
                if acked != last.0 {
                    last = (acked, Instant::now());
                }
                // A machine that is busy with other things stands still too.
                last.1.elapsed() > STILL && disk.available() < FULL
            }
        };
        let mut shows = shows;
        let seen = wait_for(LIMIT, || shows().then_some(()));
        assert!(seen.is_some(), "{:?}: the policy does not show\n{}", self.setting, self.said());
        if self.setting.policy == Policy::Reject {
            self.wait_for_health(503, "is full");
        }
    }

    /// Waits until health has this status, with these words in its body.
    fn wait_for_health(&self, status: u16, words: &str) {
        let ask = || {
            let mut stream = std::net::TcpStream::connect(self.health).ok()?;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            Some(answer)
        };
        let is_it = |answer: &String| answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(words);
        let seen = wait_for(LIMIT, || ask().filter(is_it));
        assert!(seen.is_some(), "{:?}: health is not {status}: {:?}\n{}", self.setting, ask(), self.said());
    }

    /// Appends are taken again, by themselves.
    fn resumes(&self) {
        let acked = self.oracle.figures().acked;
        let moved = wait_for(LIMIT, || (self.oracle.figures().acked > acked).then_some(()));
        assert!(moved.is_some(), "{:?}: nothing is taken again\n{}\n{}", self.setting, self.said(), self.found());
        self.wait_for_health(200, "");
    }

    /// Everything arrives that no policy took.
    fn drains(&mut self) {
        // Not before records that are acknowledged now: an ack of theirs says that what came before is done.
        let fresh = self.runtime.block_on(async {
            let mut client = load::connect(self.address).await;
            loop {
                match load::send(&mut client, &self.oracle, 1).await {
                    Ok(ids) => return ids,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        });
        let arrived = wait_for(LIMIT, || (self.oracle.all_delivered(&fresh) && self.pending() == 0).then_some(()));
        assert!(arrived.is_some(), "{:?}: {} pending\n{}", self.setting, self.pending(), self.said());
        let (Figures { issued, acked, delivered, lost, .. }, dropped) = (self.oracle.figures(), self.dropped());
        assert!(lost as u64 <= dropped, "{:?}: {lost} lost, {dropped} dropped", self.setting);
        if self.setting.policy != Policy::DropOldest {
            assert_eq!((lost, dropped), (0, 0), "{:?}: {:?}", self.setting, self.oracle.missing());
        } else if !self.killed {
            // Nothing is counted as dropped that arrived. After a kill, what was on its way counts as dropped.
            assert!(dropped <= (issued - delivered) as u64, "{dropped} dropped of {issued}, {acked}, {delivered}");
        }
    }

    pub(crate) fn finish(mut self) -> Tally {
        let dropped = self.dropped();
        let all_told = wait_for(LIMIT, || (self.oracle.figures().told_lost >= dropped).then_some(()));
        let told = self.oracle.figures().told_lost;
        assert!(all_told.is_some(), "{:?}: {told} of {dropped} dropped were told\n{}", self.setting, self.said());
        let (status, said) = self.agent.take().unwrap().stop(LIMIT);
        assert!(status.success(), "SIGTERM ended it with {status}\n{said}");
        let verification = self.tidegate(&["spool", "verify"]);
        assert_eq!(verification["ok"], true, "{:?}: {verification:#}", self.setting);
        let mut figures = self.oracle.figures();
        assert!(figures.told_lost <= dropped, "{:?}: told {}, dropped {dropped}", self.setting, figures.told_lost);
        assert_eq!(self.backend.empty(), 0, "{:?}: an export without records", self.setting);
        assert_eq!(figures.invented, 0, "{:?}: {:#?}", self.setting, self.oracle.inventions());
        if self.setting.policy == Policy::DropOldest {
            // Not more than was counted as dropped, as each cycle has shown.
            self.tally.count("acked_and_dropped_by_policy", std::mem::take(&mut figures.lost) as u64);
        }
        figures.count(&mut self.tally);
        self.tally.count("dropped_by_policy", dropped);
        self.tally.count("requests_refused_as_full", self.oracle.refused_as_full());
        self.tally
    }

    fn said(&self) -> String {
        self.agent.as_ref().map_or_else(String::new, Agent::stderr)
    }

    /// What is there when something did not happen: the logs, the files, the space, and where each thread stands.
    fn found(&self) -> String {
        let pid = self.agent.as_ref().map_or(0, Agent::pid);
        let threads = format!("cd /proc/{pid}/task; for t in *; do echo $t $(cat $t/comm $t/wchan $t/syscall); done");
        let shell = |script: &str| {
            let output = Command::new("sh").args(["-c", script]).output().unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let files = shell(&format!("df -B1 {0}; find {0} -type f -printf '%s %b %p\\n'", self.data.display()));
        format!("{:#}\n{files}\n{}", self.tidegate(&["spool", "inspect"]), shell(&threads))
    }

    fn pending(&self) -> u64 {
        self.ledgers().iter().map(|ledger| sum(&ledger["pending"])).sum()
    }

    /// Records that a limit took.
    fn dropped(&self) -> u64 {
        let of = |ledger: &Value| -> u64 {
            let by_reason = ledger["dropped"].as_object().unwrap();
            assert!(by_reason.keys().all(|reason| reason == "full"), "{by_reason:?}");
            sum(&ledger["dropped"])
        };
        self.ledgers().iter().map(of).sum()
    }

    /// The ledgers of the logs of what clients sent.
    fn ledgers(&self) -> Vec<Value> {
        let inspection = self.tidegate(&["spool", "inspect"]);
        let logs = inspection["logs"].as_array().unwrap();
        logs.iter().filter(|log| log["name"] != "self").map(|log| log["ledger"].clone()).collect()
    }

    fn tidegate(&self, arguments: &[&str]) -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(arguments).arg("--data-dir").arg(&self.data).args(["--output", "json"]);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{arguments:?}: {e}\n{said}"))
    }
}

/// Of the numbers in an object.
fn sum(numbers: &Value) -> u64 {
    numbers.as_object().unwrap().values().map(|number| number.as_u64().unwrap()).sum()
}
