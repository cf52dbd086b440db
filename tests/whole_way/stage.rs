//! The agent and its surroundings.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::documents::Documents;
use crate::servers::{Gateway, OpenSearch};
use crate::support::{Agent, free_port, wait_for};

const READY_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// The index that `examples/gateway/collector.yaml` names.
const INDEX: &str = "kernel-events";

/// Everything of one story. Dropping it ends every process.
pub(crate) struct Stage {
    /// Where the agent takes OTLP over gRPC.
    pub(crate) otlp: SocketAddr,
    pub(crate) gateway: Gateway,
    pub(crate) opensearch: OpenSearch,
    agent: Option<Agent>,
    http: SocketAddr,
    health: SocketAddr,
    home: tempfile::TempDir,
}

/// The stories share the kernel and two cores: one at a time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static STORY: Mutex<()> = Mutex::new(());
    STORY.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn now_ns() -> i128 {
    jiff::Timestamp::now().as_nanosecond()
}

impl Stage {
    /// OpenSearch runs; gateway and agent do not yet.
    pub(crate) fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "kernel events need root: run as root");
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let opensearch = OpenSearch::start(home.path());
        let gateway = Gateway::new(home.path(), opensearch.address);
        let [otlp, http, health] = [(); 3].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
        Self { otlp, gateway, opensearch, agent: None, http, health, home }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// Starts the agent with `examples/gateway/agent.yaml` and waits until it is ready.
    pub(crate) fn start_agent(&mut self) {
        self.start_agent_with(&[]);
    }

    /// As `start_agent`, with `--set` of each of these.
    pub(crate) fn start_agent_with(&mut self, settings: &[&str]) {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/gateway/agent.yaml");
        let environment = [
            ("TIDEGATE_OTLP_GRPC", self.otlp.to_string()),
            ("TIDEGATE_OTLP_HTTP", self.http.to_string()),
            ("TIDEGATE_HEALTH", self.health.to_string()),
            ("TIDEGATE_GATEWAY", self.gateway.grpc.to_string()),
            ("TIDEGATE_DATA_DIR", self.data().display().to_string()),
        ];
        let mut arguments = vec![Path::new("--config"), &config];
        arguments.extend(settings.iter().flat_map(|setting| [Path::new("--set"), Path::new(setting)]));
        let mut agent = Agent::start(&environment, arguments);
        agent.wait_ready(READY_LIMIT);
        self.agent = Some(agent);
    }

    /// kill -9.
    pub(crate) fn kill_agent(&mut self) {
        self.agent.take().expect("the agent runs").kill();
    }

    /// SIGTERM at the end of a story.
    pub(crate) fn stop(mut self) {
        let (status, said) = self.agent.take().expect("the agent runs").stop(STOP_LIMIT);
        assert!(status.success(), "SIGTERM ended the agent with {status}\n{said}");
    }

    /// Waits for something to become true; the agent's words are shown when it does not.
    pub(crate) fn wait(&self, what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
        let met = wait_for(limit, || condition().then_some(()));
        let said = self.agent.as_ref().map(Agent::stderr).unwrap_or_default();
        assert!(met.is_some(), "{what}: not within {limit:?}; the agent said\n{said}");
    }

    /// Whether the agent has a record of this event on disk that fits.
    pub(crate) fn recorded(&self, event: &str, fits: impl Fn(&Value) -> bool) -> Option<()> {
        let lines = self.tidegate(&["tail", "--event", event, "--from", "oldest", "-n", "100000"]);
        let records = lines.lines().map(|line| serde_json::from_str(line).unwrap());
        records.into_iter().any(|record: Value| fits(&record)).then_some(())
    }

    /// Every document that is in OpenSearch now.
    pub(crate) fn documents(&self) -> Documents {
        Documents(self.opensearch.documents(INDEX))
    }

    /// Waits until no cursor has anything pending.
    pub(crate) fn wait_drained(&self, limit: Duration) {
        self.wait("everything delivered", limit, || self.pending() == Some(0));
    }

    /// Records that some cursor has still to deliver; None before every log that the gateway gets has its cursor.
    pub(crate) fn pending(&self) -> Option<u64> {
        let inspection: Value = serde_json::from_str(&self.tidegate(&["spool", "inspect"])).unwrap();
        let logs = inspection["logs"].as_array().expect("inspect lists the logs");
        let mut pending = 0;
        for name in ["kernel", "logs"] {
            let log = logs.iter().find(|log| log["name"] == name)?;
            let cursor = log["cursors"].as_array().expect("a log lists its cursors").first()?;
            pending += cursor["pending_records"].as_u64().unwrap();
        }
        Some(pending)
    }

    /// What the ledgers of the pipelines' logs say of one column: `delivered`, `parked` or `dropped`.
    pub(crate) fn ledger(&self, column: &str) -> u64 {
        let columns = self.ledgers().into_iter().map(|ledger| ledger[column].clone());
        let records = |column: Value| -> u64 {
            column.as_object().expect("the ledger has the column").values().map(|n| n.as_u64().unwrap()).sum()
        };
        columns.map(records).sum()
    }

    /// Whether every record that the pipelines' logs accepted is delivered, parked or dropped, all seen in one look:
    /// this machine's kernel events go on meanwhile, and a cursor is written a moment after its backend answered.
    pub(crate) fn ledger_is_closed(&self) -> bool {
        let items = |column: &Value| -> u64 {
            column.as_object().expect("a column of the ledger").values().map(|n| n.as_u64().unwrap()).sum()
        };
        let is_closed = |ledger: &Value| {
            let settled: u64 = ["delivered", "parked", "dropped"].iter().map(|name| items(&ledger[*name])).sum();
            settled == ledger["accepted"].as_u64().unwrap()
        };
        self.ledgers().iter().all(is_closed)
    }

    /// The ledgers of the logs that have one cursor each.
    fn ledgers(&self) -> Vec<Value> {
        let inspection: Value = serde_json::from_str(&self.tidegate(&["spool", "inspect"])).unwrap();
        let logs = inspection["logs"].as_array().unwrap();
        logs.iter().filter(|log| log["name"] != "self").map(|log| log["ledger"].clone()).collect()
    }

    fn tidegate(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(arguments).args(["--output", "json", "--data-dir"]).arg(self.data());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tidegate {arguments:?}: {}\n{said}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What a person needs to understand a failure, before the folder goes.
            for log in ["gateway.log", "opensearch/stdout.log"] {
                let text = fs::read_to_string(self.home().join(log)).unwrap_or_default();
                let tail: Vec<&str> = text.lines().rev().take(20).collect();
                eprintln!("--- {log}, its last lines\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
            }
            if let Some(agent) = &self.agent {
                eprintln!("--- agent\n{}", agent.stderr());
            }
        }
    }
}
