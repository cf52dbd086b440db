//! The agent as a process of the system.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Agent, free_port, wait_for};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Process {
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    health: SocketAddr,
    metrics: SocketAddr,
    agent: Agent,
    idle_memory: u64,
    home: tempfile::TempDir,
}

impl Process {
    /// The agent with these exporters, each an id and its settings in YAML.
    #[allow(clippy::disallowed_methods, reason = "the configuration of the agent under test")]
    pub(crate) fn start(exporters: &[(&str, String)]) -> Self {
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let [grpc, http, health, metrics] = [(); 4].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
        let ids: Vec<&str> = exporters.iter().map(|(id, _)| *id).collect();
        let exporters: String = exporters.iter().map(|(id, settings)| format!("  {id}: {settings}\n")).collect();
        let pipeline = format!("{{ receivers: [otlp], exporters: [{}] }}", ids.join(", "));
        let config = home.path().join("agent.yaml");
        let text = format!(
            "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '{grpc}' }}, http: {{ endpoint: '{http}' }} }} }} }}
exporters:
{exporters}
extensions: {{ health_check: {{ endpoint: '{health}' }} }}
service:
  extensions: [health_check]
  telemetry: {{ metrics: {{ readers: [{{ pull: {{ exporter: {{ prometheus: {{ host: {}, port: {} }} }} }} }}] }} }}
  pipelines: {{ logs: {pipeline}, traces: {pipeline}, metrics: {pipeline} }}
",
            metrics.ip(),
            metrics.port()
        );
        std::fs::write(&config, text).unwrap();
        let agent = run(home.path());
        let idle_memory = most_memory(&agent);
        Self { grpc, http, health, metrics, agent, idle_memory, home }
    }

    /// Kills it, and starts it on what it left.
    pub(crate) fn again(self) -> Self {
        self.agent.kill();
        let agent = run(self.home.path());
        let idle_memory = most_memory(&agent);
        Self { agent, idle_memory, ..self }
    }

    /// Sends one record with this body, and wants it acknowledged.
    #[track_caller]
    pub(crate) fn log(&self, body: &str) {
        let body = format!(
            "{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{{\"body\":{{\"stringValue\":\"{body}\"}}}}]}}]}}]}}"
        );
        let head = format!(
            "POST /v1/logs HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}",
            body.len()
        );
        let answer = exchange(self.http, &format!("{head}\r\n\r\n{body}")).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Waits until so many requests of its exporters failed.
    pub(crate) fn wait_for_failures(&self, count: u64) -> Result<(), String> {
        let failed =
            wait_for(PATIENCE, || (self.sum("tidegate_exporter_failed_requests_total") >= count).then_some(()));
        failed.ok_or_else(|| format!("it did not try again: {}", self.said()))
    }

    /// Waits until its exporters have nothing left.
    pub(crate) fn wait_for_nothing_pending(&self) -> Result<(), String> {
        let done =
            || self.sum("tidegate_exporter_requests_total") > 0 && self.sum("tidegate_cursor_pending_items") == 0;
        let done = wait_for(PATIENCE, || done().then_some(()));
        done.ok_or_else(|| format!("it does not take it as delivered: {}", self.said()))
    }

    /// A metric over all its labels.
    fn sum(&self, name: &str) -> u64 {
        let metrics = exchange(self.metrics, "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let samples = metrics.lines().filter(|line| line.starts_with(name));
        samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
    }

    pub(crate) fn said(&self) -> String {
        self.agent.stderr()
    }

    /// The most memory that it held above what it held when it was ready, in KiB.
    pub(crate) fn memory_grown(&self) -> u64 {
        most_memory(&self.agent) - self.idle_memory
    }

    pub(crate) fn is_healthy(&self) -> bool {
        let ask = || exchange(self.health, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        wait_for(PATIENCE, || ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")).then_some(())).is_some()
    }
}

/// The most memory that it ever held, in KiB.
fn most_memory(agent: &Agent) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn run(home: &Path) -> Agent {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("run").arg("--config").arg(home.join("agent.yaml")).arg("--data-dir").arg(home.join("data"));
    command.env_clear().stdout(Stdio::null());
    let mut agent = Agent::spawn(&mut command);
    agent.wait_ready(PATIENCE);
    agent
}

fn exchange(address: SocketAddr, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
