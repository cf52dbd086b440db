//! The two programs: tidegate, and the Collector behind it.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::PATIENCE;
use crate::support::{Agent, free_port, parts, wait_for};

fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

fn certificate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
}

/// What the Collector shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Certificate {
    Valid,
    Expired,
}

/// A Collector without a queue: it answers when its own backend did, so that its death loses nothing.
pub(crate) struct Collector {
    /// OTLP over gRPC with TLS.
    pub(crate) address: SocketAddr,
    backend: SocketAddr,
    home: PathBuf,
    child: Option<Child>,
}

impl Collector {
    /// One that is not yet started.
    pub(crate) fn new(home: &Path, backend: SocketAddr) -> Self {
        Self { address: local(), backend, home: home.to_owned(), child: None }
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it on the same port; returns when it listens.
    #[allow(clippy::disallowed_methods, reason = "the files of the program")]
    pub(crate) fn start(&mut self, shown: Certificate) {
        let file = certificate(if shown == Certificate::Valid { "server.pem" } else { "expired.pem" });
        let (config, log) = (self.home.join("collector.yaml"), self.home.join("collector.log"));
        let text = format!(
            "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '{}', max_recv_msg_size_mib: 16, tls: {{ cert_file: '{}', \
             key_file: '{}' }} }} }} }} }}
exporters: {{ otlphttp: {{ endpoint: 'http://{}', sending_queue: {{ enabled: false }}, retry_on_failure: {{ enabled: false }} }} }}
service: {{ telemetry: {{ metrics: {{ level: none }} }}, pipelines: {{ logs: {{ receivers: [otlp], exporters: [otlphttp] }} }} }}
",
            self.address,
            file.display(),
            certificate("server.key").display(),
            self.backend,
        );
        std::fs::write(&config, text).unwrap();
        let said = File::options().create(true).append(true).open(&log).unwrap();
        let mut command = Command::new(parts().join("peer/otelcol"));
        command.arg("--config").arg(&config).stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}; build it with tests/run peer"));
        let up = wait_for(PATIENCE, || {
            assert!(child.try_wait().unwrap().is_none(), "{}", std::fs::read_to_string(&log).unwrap());
            TcpStream::connect(self.address).ok()
        });
        self.child = Some(child);
        assert!(up.is_some(), "the collector does not listen: {}", std::fs::read_to_string(&log).unwrap());
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) struct Tidegate {
    /// OTLP over gRPC.
    pub(crate) address: SocketAddr,
    data: PathBuf,
    agent: Agent,
}

impl Tidegate {
    /// Forwards over TLS to this address.
    #[allow(clippy::disallowed_methods, reason = "the configuration of the agent under test")]
    pub(crate) fn start(home: &Path, to: SocketAddr) -> Self {
        let (address, config, data) = (local(), home.join("tidegate.yaml"), home.join("data"));
        let text = format!(
            "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '{address}' }} }} }} }}
exporters:
  otlp:
    endpoint: 'https://{to}'
    timeout: 2s
    tls: {{ ca_file: '{}', server_name_override: server.test }}
    retry_on_failure: {{ initial_interval: 100ms, max_interval: 500ms }}
service: {{ telemetry: {{ metrics: {{ level: none }} }}, pipelines: {{ logs: {{ receivers: [otlp], exporters: [otlp] }} }} }}
",
            certificate("ca.pem").display(),
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.arg("run").arg("--config").arg(&config).arg("--data-dir").arg(&data).env_clear().stdout(Stdio::null());
        let mut agent = Agent::spawn(&mut command);
        agent.wait_ready(PATIENCE);
        Self { address, data, agent }
    }

    pub(crate) fn said(&self) -> String {
        self.agent.stderr()
    }

    /// Ends it, and reads its books from the files.
    pub(crate) fn assert_the_ledger_closes(self, accepted: u64) {
        let (status, said) = self.agent.stop(PATIENCE);
        assert!(status.success(), "{said}");
        let ask = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
            command.args(arguments).args(["--output", "json", "--data-dir"]).arg(&self.data);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
            serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
        };
        let inspection = ask(&["spool", "inspect"]);
        let log = inspection["logs"].as_array().unwrap().iter().find(|log| log["name"] == "logs").unwrap();
        let ledger = &log["ledger"];
        assert_eq!(ledger["accepted"], accepted, "{ledger}");
        assert_eq!(ledger["delivered"]["logs:otlp"], accepted, "{ledger}");
        assert_eq!(ask(&["spool", "verify"])["ok"], true);
    }
}
