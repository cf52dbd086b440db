//! The exporters `file` and `debug`, and `tidegate tail`, with the real agent.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

#[path = "support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "each test program uses a part of it")]
mod support;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use serde_json::Value;
use support::wait_for;

const LIMIT: Duration = Duration::from_secs(60);

/// An agent that takes OTLP logs and traces, and writes both to one file and to standard output.
struct Agent {
    child: Child,
    endpoint: String,
    dir: PathBuf,
}

impl Agent {
    fn start(dir: &Path) -> Self {
        let port = support::free_port();
        let config = format!(
            "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '127.0.0.1:{port}' }} }} }} }}\n\
             exporters:\n  debug: {{}}\n  file: {{ path: '{}', create_directory: true }}\n\
             service:\n  telemetry: {{ metrics: {{ level: none }} }}\n  pipelines:\n    \
             logs: {{ receivers: [otlp], exporters: [file, debug] }}\n    \
             traces: {{ receivers: [otlp], exporters: [file, debug] }}\n",
            dir.join("out/copy.jsonl").display()
        );
        let path = dir.join("agent.yaml");
        write(&path, config.as_bytes());
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["run", "--config"])
            .arg(&path)
            .arg("--data-dir")
            .arg(dir.join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut lines = stderr.lines().map_while(Result::ok);
        let said: Vec<_> = lines.by_ref().take_while(|line| !line.starts_with("ready in ")).collect();
        // Its standard error must not fill up either.
        std::thread::spawn(move || lines.for_each(drop));
        assert_eq!(child.try_wait().unwrap(), None, "{said:?}");
        Self { child, endpoint: format!("http://127.0.0.1:{port}"), dir: dir.to_owned() }
    }

    /// Returns when the agent has acknowledged it.
    async fn log(&self, event: &str) {
        let record = LogRecord { event_name: event.into(), severity_number: 9, ..Default::default() };
        let scope_logs = vec![ScopeLogs { log_records: vec![record], ..Default::default() }];
        let resource_logs = vec![ResourceLogs { scope_logs, ..Default::default() }];
        let mut client = LogsServiceClient::connect(self.endpoint.clone()).await.unwrap();
        client.export(ExportLogsServiceRequest { resource_logs }).await.unwrap();
    }

    async fn span(&self, name: &str) {
        let span = Span { name: name.into(), ..Default::default() };
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..Default::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
        let mut client = TraceServiceClient::connect(self.endpoint.clone()).await.unwrap();
        client.export(ExportTraceServiceRequest { resource_spans }).await.unwrap();
    }

    fn stdout(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.child.stdout.take().unwrap())
    }

    /// The names in the file's whole lines; panics when one is not JSON.
    fn copied(&self) -> BTreeSet<String> {
        let text = std::fs::read_to_string(self.dir.join("out/copy.jsonl")).unwrap();
        let mut names = BTreeSet::new();
        // The last one may be on its way.
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        for line in whole.lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            let strings = |list: &Value| list.as_array().cloned().unwrap_or_default();
            for resource in strings(&line["resourceLogs"]) {
                for record in strings(&resource["scopeLogs"][0]["logRecords"]) {
                    names.insert(record["eventName"].as_str().unwrap().to_owned());
                }
            }
            for resource in strings(&line["resourceSpans"]) {
                for span in strings(&resource["scopeSpans"][0]["spans"]) {
                    names.insert(span["name"].as_str().unwrap().to_owned());
                }
            }
        }
        names
    }

    fn wait_copied(&self, names: &[&str]) {
        let names: BTreeSet<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let copied = wait_for(LIMIT, || self.copied().is_superset(&names).then_some(()));
        assert!(copied.is_some(), "{:?} is not all of {names:?}", self.copied());
    }

    fn tail(&self) -> Vec<Value> {
        let mut tail = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        tail.args(["tail", "--output", "json", "--data-dir"]).arg(self.dir.join("data"));
        let output = tail.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Only when a test failed before it ended the agent itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[allow(clippy::disallowed_methods, reason = "a test's own file")]
fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn one_file_and_standard_output_take_both_signals_and_tail_shows_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut agent = Agent::start(dir.path());
    agent.log("shop.order.placed").await;
    let mut lines = agent.stdout().lines().map_while(Result::ok);
    let shown = lines.next().unwrap();
    assert!(shown.ends_with("INFO  shop.order.placed"), "{shown:?}");
    agent.span("GET /order").await;
    let shown = lines.next().unwrap();
    assert!(shown.ends_with("span GET /order"), "{shown:?}");
    agent.wait_copied(&["shop.order.placed", "GET /order"]);

    let tail = wait_for(LIMIT, || Some(agent.tail()).filter(|tail| tail.len() == 2)).unwrap();
    let of = |log: &str| tail.iter().find(|record| record["log"] == log).unwrap();
    assert_eq!(of("logs")["event_name"], "shop.order.placed");
    assert_eq!(of("traces")["name"], "GET /order");
}

#[tokio::test]
async fn a_killed_agent_leaves_no_torn_line_and_loses_none() {
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::start(dir.path());
    agent.log("one").await;
    agent.wait_copied(&["one"]);
    agent.log("two").await;
    agent.kill();
    // What a kill in the middle of a write leaves.
    #[allow(clippy::disallowed_methods, reason = "breaks a file")]
    let mut file = std::fs::File::options().append(true).open(dir.path().join("out/copy.jsonl")).unwrap();
    file.write_all(b"{\"resourceLogs\":[{\"scopeLo").unwrap();
    drop(file);

    let agent = Agent::start(dir.path());
    agent.log("three").await;
    agent.wait_copied(&["one", "two", "three"]);
}

#[tokio::test]
async fn a_stopped_reader_of_standard_output_holds_up_neither_the_file_nor_the_end() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody reads its standard output, and these are more than a pipe holds.
    let mut agent = Agent::start(dir.path());
    let names: Vec<_> = (0..4).map(|n| format!("{n}{}", "x".repeat(50_000))).collect();
    for name in &names {
        agent.log(name).await;
    }
    agent.wait_copied(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let pid = rustix::process::Pid::from_child(&agent.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = wait_for(Duration::from_secs(10), || agent.child.try_wait().unwrap());
    assert_eq!(status.expect("it ends within the shutdown time-out").code(), Some(0));
}
