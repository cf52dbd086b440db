//! The two programs, started on the same configuration file.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::call;
use crate::support::{free_port, parts, wait_for};

/// What a slow machine under load may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Tidegate,
    /// tidegate with `permanent_errors: park` on its exporters.
    TidegateByTheLetter,
    Collector,
}

/// The configuration, in the words that both programs know.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// Exporters by id, each with its settings as YAML in flow style, without the braces.
    exporters: Vec<(String, String)>,
}

/// Waits that are short, and without chance.
pub(crate) const QUICK: &str =
    "retry_on_failure: { initial_interval: 50ms, max_interval: 100ms, randomization_factor: 0 }";
const QUEUE: &str = "sending_queue: { storage: file_storage, num_consumers: 1 }";

impl Setup {
    /// One exporter of this type to this backend, with further settings.
    pub(crate) fn new(exporter: &str, backend: SocketAddr, settings: &str) -> Self {
        Self { exporters: Vec::new() }.and(exporter, backend, settings)
    }

    pub(crate) fn and(mut self, exporter: &str, backend: SocketAddr, settings: &str) -> Self {
        let endpoint = format!("endpoint: 'http://{backend}', tls: {{ insecure: true }}");
        let retry = if settings.contains("retry_on_failure") { "" } else { QUICK };
        let queue = if settings.contains("sending_queue") { "" } else { QUEUE };
        let parts = [endpoint.as_str(), retry, queue, settings];
        let settings = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
        self.exporters.push((exporter.to_owned(), settings));
        self
    }

    fn yaml(&self, program: Program, ports: &Ports, storage: &Path) -> String {
        let Ports { grpc, http, health, metrics } = ports;
        let letter = if program == Program::TidegateByTheLetter { ", permanent_errors: park" } else { "" };
        let exporters: String =
            self.exporters.iter().map(|(id, settings)| format!("  {id}: {{ {settings}{letter} }}\n")).collect();
        let ids = self.exporters.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>().join(", ");
        let pipeline = format!("{{ receivers: [otlp], exporters: [{ids}] }}");
        format!(
            "receivers:
  otlp: {{ protocols: {{ grpc: {{ endpoint: '{grpc}' }}, http: {{ endpoint: '{http}' }} }} }}
exporters:
{exporters}extensions:
  health_check: {{ endpoint: '{health}' }}
  file_storage: {{ directory: '{}', create_directory: true }}
service:
  extensions: [health_check, file_storage]
  telemetry:
    metrics: {{ readers: [{{ pull: {{ exporter: {{ prometheus: {{ host: {}, port: {} }} }} }} }}] }}
  pipelines:
    logs: {pipeline}
    traces: {pipeline}
    metrics: {pipeline}
",
            storage.display(),
            metrics.ip(),
            metrics.port()
        )
    }
}

struct Ports {
    grpc: SocketAddr,
    http: SocketAddr,
    health: SocketAddr,
    metrics: SocketAddr,
}

/// A program that is ready. Ends when it is dropped.
pub(crate) struct Running {
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) metrics: SocketAddr,
    /// Where it keeps what it has not delivered.
    pub(crate) storage: PathBuf,
    log: PathBuf,
    child: Child,
    _home: tempfile::TempDir,
}

/// The Collector that `tests/run peer` builds.
pub(crate) fn collector() -> PathBuf {
    parts().join("peer/otelcol")
}

/// Its version, as it says it.
pub(crate) fn collector_version() -> String {
    let output = Command::new(collector()).arg("--version").output();
    let output = output.unwrap_or_else(|e| panic!("{}: {e}; build it with tests/run peer", collector().display()));
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().last().unwrap().to_owned()
}

impl Program {
    /// Starts it, and waits until it is healthy.
    #[track_caller]
    pub(crate) fn start(self, setup: &Setup) -> Running {
        self.start_with(setup, &[])
    }

    /// The same, with further arguments.
    #[track_caller]
    #[allow(clippy::disallowed_methods, reason = "the files of the program under test")]
    pub(crate) fn start_with(self, setup: &Setup, arguments: &[&str]) -> Running {
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let [grpc, http, health, metrics] = [(); 4].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
        let ports = Ports { grpc, http, health, metrics };
        let (config, log) = (home.path().join("config.yaml"), home.path().join("log"));
        let storage = home.path().join("storage");
        std::fs::write(&config, setup.yaml(self, &ports, &storage)).unwrap();
        let mut command = match self {
            Self::Collector => Command::new(collector()),
            Self::Tidegate | Self::TidegateByTheLetter => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
                command.arg("run");
                command
            }
        };
        command.arg("--config").arg(&config).args(arguments).env_clear().current_dir(home.path());
        let said = File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let up = wait_for(PATIENCE, || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{self:?} ended: {}", std::fs::read_to_string(&log).unwrap());
            call::is_healthy(health).then_some(())
        });
        let running = Running { grpc, http, metrics, storage, log, child, _home: home };
        assert!(up.is_some(), "{self:?} is not healthy: {}", running.said());
        running
    }
}

impl Running {
    /// What it wrote on standard output and standard error.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Sends one record with this body, and wants it acknowledged.
    #[track_caller]
    pub(crate) fn log(&self, body: &str) {
        let reply = call::grpc(self.grpc, call::LOGS, &call::logs(&[body]));
        assert_eq!(reply.code, tonic::Code::Ok, "{body}: {reply:?}");
    }

    /// Tells it to end, and whether it does within a time.
    pub(crate) fn ends_within(mut self, limit: Duration) -> bool {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        wait_for(limit, || self.child.try_wait().unwrap()).is_some()
    }

    /// Its own metrics, as Prometheus reads them.
    pub(crate) fn metrics(&self) -> String {
        call::get(self.metrics, "/metrics").text()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that ended already cannot be killed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
