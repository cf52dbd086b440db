//! The two programs, each started on a configuration as often as a story wants: tidegate, and the Collector.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::PATIENCE;
use crate::support::{Agent, free_port, parts, wait_for};

pub(crate) fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// What a program is started with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup {
    pub(crate) config: PathBuf,
    pub(crate) environment: Vec<(&'static str, String)>,
    /// Values above those of the file, as `--set` takes them.
    pub(crate) set: Vec<&'static str>,
}

impl Setup {
    fn arguments(&self, command: &mut Command) {
        command.arg("--config").arg(&self.config).env_clear().envs(self.environment.iter().cloned());
        for value in &self.set {
            command.arg("--set").arg(value);
        }
        command.stdin(Stdio::null());
    }
}

/// The Collector that `tests/run peer` builds. Gone when it is dropped.
pub(crate) struct Collector {
    /// OTLP over gRPC.
    pub(crate) address: SocketAddr,
    setup: Setup,
    log: PathBuf,
    child: Option<Child>,
}

impl Collector {
    /// One that is not yet started, and listens at this address when it is.
    pub(crate) fn new(home: &Path, address: SocketAddr, setup: Setup) -> Self {
        Self { address, setup, log: home.join("collector.log"), child: None }
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Returns when it listens.
    #[allow(clippy::disallowed_methods, reason = "the log of the program")]
    pub(crate) fn start(&mut self) {
        let said = File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = program();
        self.setup.arguments(&mut command);
        command.stdout(said.try_clone().unwrap()).stderr(said);
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}; build it with tests/run peer"));
        let up = wait_for(PATIENCE, || {
            assert!(child.try_wait().unwrap().is_none(), "{}", self.said());
            TcpStream::connect(self.address).ok()
        });
        self.child = Some(child);
        assert!(up.is_some(), "the collector does not listen: {}", self.said());
    }

    /// All that it ever wrote.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Whether it finds nothing wrong with a configuration, without running it.
    #[track_caller]
    pub(crate) fn assert_valid(setup: &Setup) {
        let mut command = program();
        command.arg("validate");
        setup.arguments(&mut command);
        let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}; build it with tests/run peer"));
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.kill();
    }
}

fn program() -> Command {
    Command::new(parts().join("peer/otelcol"))
}

/// A tidegate that is ready.
pub(crate) struct Tidegate {
    data: PathBuf,
    agent: Agent,
}

/// What stands in the books of its log of logs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Books {
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
}

impl Tidegate {
    pub(crate) fn start(data: &Path, setup: &Setup) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.arg("run").arg("--data-dir").arg(data).stdout(Stdio::null());
        setup.arguments(&mut command);
        let mut agent = Agent::spawn(&mut command);
        agent.wait_ready(PATIENCE);
        Self { data: data.to_owned(), agent }
    }

    pub(crate) fn said(&self) -> String {
        self.agent.stderr()
    }

    /// kill -9.
    pub(crate) fn kill(self) {
        self.agent.kill();
    }

    /// Ends it, and reads from the files what this exporter was sent.
    pub(crate) fn end(self, exporter: &str) -> Books {
        let (status, said) = self.agent.stop(PATIENCE);
        assert!(status.success(), "{said}");
        let ask = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
            command.args(arguments).args(["--output", "json", "--data-dir"]).arg(&self.data);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
            serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
        };
        assert_eq!(ask(&["spool", "verify"])["ok"], true);
        let inspection = ask(&["spool", "inspect"]);
        let log = inspection["logs"].as_array().unwrap().iter().find(|log| log["name"] == "logs").unwrap();
        let ledger = &log["ledger"];
        let count = |value: &serde_json::Value| value.as_u64().unwrap_or_else(|| panic!("{ledger}"));
        Books {
            accepted: count(&ledger["accepted"]),
            delivered: count(&ledger["delivered"][format!("logs:{exporter}")]),
        }
    }
}
