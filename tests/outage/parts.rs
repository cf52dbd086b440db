//! What the two programs of the outage run: tidegate sends over TLS to a Collector.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::programs::{Collector, Setup, Tidegate, local};

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
pub(crate) struct Gateway {
    collector: Collector,
    backend: SocketAddr,
    config: PathBuf,
}

impl Gateway {
    /// One that is not yet started.
    pub(crate) fn new(home: &Path, backend: SocketAddr) -> Self {
        let config = home.join("collector.yaml");
        let setup = Setup { config: config.clone(), ..Setup::default() };
        Self { collector: Collector::new(home, local(), setup), backend, config }
    }

    /// OTLP over gRPC with TLS.
    pub(crate) fn address(&self) -> SocketAddr {
        self.collector.address
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.collector.kill();
    }

    /// Starts it on the same port; returns when it listens.
    #[allow(clippy::disallowed_methods, reason = "the configuration of the program")]
    pub(crate) fn start(&mut self, shown: Certificate) {
        let file = certificate(if shown == Certificate::Valid { "server.pem" } else { "expired.pem" });
        let text = format!(
            "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '{}', max_recv_msg_size_mib: 16, tls: {{ cert_file: '{}', \
             key_file: '{}' }} }} }} }} }}
exporters: {{ otlphttp: {{ endpoint: 'http://{}', sending_queue: {{ enabled: false }}, retry_on_failure: {{ enabled: false }} }} }}
service: {{ telemetry: {{ metrics: {{ level: none }} }}, pipelines: {{ logs: {{ receivers: [otlp], exporters: [otlphttp] }} }} }}
",
            self.address(),
            file.display(),
            certificate("server.key").display(),
            self.backend,
        );
        std::fs::write(&self.config, text).unwrap();
        self.collector.start();
    }
}

/// A tidegate that takes logs over gRPC at the one address and forwards them over TLS to the other.
#[allow(clippy::disallowed_methods, reason = "the configuration of the agent under test")]
pub(crate) fn forward(home: &Path, at: SocketAddr, to: SocketAddr) -> Tidegate {
    let config = home.join("tidegate.yaml");
    let text = format!(
        "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '{at}' }} }} }} }}
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
    Tidegate::start(&home.join("data"), &Setup { config, ..Setup::default() })
}
