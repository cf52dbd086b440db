//! A home for one agent: its files, its configuration, its commands.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::Agent;

/// What a slow machine under load may take; a working agent takes a small part of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Moves every port of the built-in configuration to a free one.
pub(crate) const FREE_PORTS: [&str; 8] = [
    "--set",
    "receivers.otlp.protocols.grpc.endpoint=127.0.0.1:0",
    "--set",
    "receivers.otlp.protocols.http.endpoint=127.0.0.1:0",
    "--set",
    "extensions.health_check.endpoint=127.0.0.1:0",
    "--set",
    "service.telemetry.metrics.readers=[{pull: {exporter: {prometheus: {host: 127.0.0.1, port: 0}}}}]",
];

/// A directory of its own for every test.
pub(crate) struct Stage {
    home: tempfile::TempDir,
    program: PathBuf,
    /// Who runs it, when that is not who runs the tests.
    user: Option<u32>,
}

/// The user `nobody` of every distribution.
const NOBODY: u32 = 65534;

/// What a command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// An agent that is ready, and where it listens.
pub(crate) struct Running {
    pub(crate) agent: Agent,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) health: SocketAddr,
    pub(crate) metrics: SocketAddr,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self { home, program: env!("CARGO_BIN_EXE_tidegate").into(), user: None }
    }

    /// A stage whose commands run without any rights: as nobody when the tests run as root, else as who runs them.
    #[allow(clippy::disallowed_methods, reason = "nobody may not reach the program where it was built")]
    pub(crate) fn ordinary() -> Self {
        if !is_root() {
            return Self::new();
        }
        let home = tempfile::tempdir().unwrap();
        let program = home.path().join("tidegate");
        // By another process: a file that we have open for writing, even in a child that is just being started, cannot be
        // run.
        let copied = Command::new("cp").args([env!("CARGO_BIN_EXE_tidegate").as_ref(), program.as_os_str()]).status();
        assert!(copied.unwrap().success());
        std::os::unix::fs::chown(home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        Self { home, program, user: Some(NOBODY) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("agent.yaml")
    }

    #[allow(clippy::disallowed_methods, reason = "a file for the agent under test")]
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// `tidegate` at home here, with nothing in its environment that is the caller's.
    pub(crate) fn tidegate(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command.args(arguments).env_clear().env("HOME", self.home.path()).current_dir(self.home.path());
        command.stdin(Stdio::null());
        command
    }

    /// Runs `tidegate` to its end.
    pub(crate) fn run(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Done {
        done(&mut self.tidegate(arguments))
    }

    /// Runs a `tidegate` that reads this data directory.
    pub(crate) fn look(&self, arguments: &[&str]) -> Done {
        done(&mut self.look_command(arguments))
    }

    /// A `tidegate` that reads this data directory.
    pub(crate) fn look_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.tidegate(arguments);
        command.arg("--data-dir").arg(self.data());
        command
    }

    /// `tidegate run` with the configuration and the data directory of this stage.
    pub(crate) fn run_command(&self) -> Command {
        let mut command = self.tidegate(["run"]);
        command.arg("--config").arg(self.config()).arg("--data-dir").arg(self.data()).stdout(Stdio::null());
        command
    }

    /// Writes a configuration with these exporters, and starts the agent with it.
    #[track_caller]
    pub(crate) fn start(&self, exporters: &[(&str, String)]) -> Running {
        self.configure(exporters);
        self.start_again()
    }

    /// Starts the agent with the configuration that is there.
    #[track_caller]
    pub(crate) fn start_again(&self) -> Running {
        Running::ready(Agent::spawn(&mut self.run_command()))
    }

    pub(crate) fn configure(&self, exporters: &[(&str, String)]) {
        self.write("agent.yaml", config(exporters));
    }
}

/// Runs a command to its end.
pub(crate) fn done(command: &mut Command) -> Done {
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Starts an agent that must not come up: its exit code, and what it says on standard error.
#[track_caller]
pub(crate) fn refused(command: &mut Command) -> (Option<i32>, String) {
    let (status, said) = Agent::spawn(command.stdout(Stdio::null())).wait_end(PATIENCE);
    assert!(!said.contains("panicked") && !said.contains("ready in"), "{said}");
    (status.code(), said)
}

impl Done {
    /// Its standard output as one JSON value.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e} in {self:?}"))
    }
}

impl Running {
    /// Waits until the agent is ready, and reads from its lines where it listens.
    #[track_caller]
    pub(crate) fn ready(mut agent: Agent) -> Self {
        agent.wait_ready(PATIENCE);
        Self::listening(agent)
    }

    /// The ports of the lines that were printed last: a reload may have moved them.
    #[track_caller]
    pub(crate) fn listening(agent: Agent) -> Self {
        let said = agent.stderr();
        let port = |line: &str, before: &str| {
            let line =
                said.lines().rev().find(|said| said.starts_with(line)).unwrap_or_else(|| panic!("{line}: {said}"));
            let address = line.split(before).nth(1).unwrap().split([',', '/', ' ']).next().unwrap();
            address.parse().unwrap_or_else(|e| panic!("{e}: {line}"))
        };
        Self {
            grpc: port("receiver otlp: ", "grpc "),
            http: port("receiver otlp: ", "http "),
            health: port("health: ", "//"),
            metrics: port("metrics: ", "//"),
            agent,
        }
    }
}

/// A configuration that takes logs over OTLP on free ports, with these exporters on one pipeline.
pub(crate) fn config(exporters: &[(&str, String)]) -> String {
    let named: Vec<&str> = exporters.iter().map(|(id, _)| *id).collect();
    let section: String = exporters.iter().map(|(id, settings)| format!("  {id}: {settings}\n")).collect();
    format!(
        "receivers:
  otlp: {{ protocols: {{ grpc: {{ endpoint: 127.0.0.1:0 }}, http: {{ endpoint: 127.0.0.1:0 }} }} }}
exporters:
{section}
extensions:
  health_check: {{ endpoint: 127.0.0.1:0 }}
service:
  extensions: [health_check]
  telemetry:
    metrics: {{ readers: [{{ pull: {{ exporter: {{ prometheus: {{ host: 127.0.0.1, port: 0 }} }} }} }}] }}
  pipelines:
    logs: {{ receivers: [otlp], exporters: [{}] }}
",
        named.join(", ")
    )
}

/// An `otlp` exporter to this address that tries again soon.
pub(crate) fn to(backend: SocketAddr) -> String {
    format!(
        "{{ endpoint: 'http://{backend}', tls: {{ insecure: true }}, \
         retry_on_failure: {{ initial_interval: 20ms, max_interval: 100ms }} }}"
    )
}

/// Whether the tests run as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The permission bits of a file.
pub(crate) fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}
