//! The agent itself: a crash becomes a line on its output and a record of `tidegate tail`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::actions::until;

const CONFIG: &str = "
receivers:
  kernel:
exporters:
  debug:
service:
  telemetry:
    metrics:
      level: none
  pipelines:
    logs/kernel:
      receivers: [kernel]
      exporters: [debug]
";

/// The agent, ended at the latest with the test.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        // Fails only where it has ended already.
        let _ended = self.0.kill();
    }
}

/// In the emulator the agent is somewhere else than where it was built.
fn tidegate() -> Command {
    Command::new(std::env::var("TIDEGATE_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_tidegate").to_owned()))
}

#[test]
fn a_crash_is_shown_and_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("agent.yaml");
    std::fs::write(&config, CONFIG).expect("a configuration");
    let data = directory.path().join("data");
    let mut command = tidegate();
    command.args(["run", "--config"]).arg(&config).arg("--data-dir").arg(&data);
    let mut agent = Agent(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the agent"));
    let mut told = BufReader::new(agent.0.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    let start: Vec<_> = told.by_ref().take_while(|line| !line.starts_with("ready in ")).collect();
    assert!(start.iter().any(|line| line == "receiver kernel: 5 of 5 hooks attached"), "{start:#?}");

    let mut child = Command::new("sh").args(["-c", "kill -SEGV $$"]).spawn().expect("sh");
    let pid = child.id();
    child.wait().expect("wait");
    let ours = |record: &Value| record["attributes"]["process.pid"] == pid;
    let record = until("the crash in tail", || {
        let arguments = ["tail", "-n", "100", "--event", "kernel.process.crash", "--output", "json", "--data-dir"];
        let output = tidegate().args(arguments).arg(&data).output().expect("tail");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).expect("UTF-8");
        lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("a JSON line")).find(ours)
    });
    assert_eq!(record["severity_number"], 17);
    assert_eq!(record["attributes"]["kernel.signal.name"], "SIGSEGV");
    assert_eq!(record["resource"]["service.name"], "tidegate");

    let mut shown = BufReader::new(agent.0.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let line = shown.find(|line| line.contains(&format!("(pid {pid}) crashed")));
    assert!(line.is_some_and(|line| line.contains("kernel.process.crash")));
    kill_process(Pid::from_child(&agent.0), Signal::TERM).expect("SIGTERM");
    assert!(agent.0.wait().expect("wait").success());
}
