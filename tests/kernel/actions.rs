//! What the tests do in processes of their own: this same binary, started again with the name of an action.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::PATIENCE;

/// A command that runs an action of this binary.
pub(crate) fn act(action: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", "actions::perform", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env("TIDEGATE_ACTION", action).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Not a test: the processes that `act` starts end up here.
#[test]
#[ignore = "performed by other tests, in processes of their own"]
fn perform() {
    let Ok(action) = std::env::var("TIDEGATE_ACTION") else { return };
    match action.as_str() {
        "abort" => std::process::abort(),
        "eat" => eat(),
        "devour" => devour(),
        "append" => crate::blocker::append(),
        "overfill" => crate::drops::overfill(),
        "fall" => crate::stack::fall(),
        "connect" => crate::retransmit::connect(),
        "touch" => drop(std::fs::File::create(std::env::var("TIDEGATE_FILE").expect("TIDEGATE_FILE")).expect("a file")),
        other => panic!("unknown action {other}"),
    }
}

/// Runs a program and returns its standard output; panics with its words when it fails.
#[track_caller]
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {} {errors}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Moves to a cgroup, takes memory, says so, and waits to be killed.
fn eat() {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    std::fs::write(variable("TIDEGATE_CGROUP"), std::process::id().to_string()).expect("moving to the cgroup");
    std::fs::write("/proc/self/oom_score_adj", variable("TIDEGATE_SCORE")).expect("oom_score_adj");
    let bytes = variable("TIDEGATE_BYTES").parse().expect("a number");
    let memory = std::hint::black_box(vec![1_u8; bytes]);
    println!("eaten {}", memory.len());
    std::thread::park_timeout(Duration::from_secs(60));
}

/// Moves to a cgroup where one is named, and takes memory until it is killed, which it is the first for.
fn devour() {
    if let Ok(cgroup) = std::env::var("TIDEGATE_CGROUP") {
        std::fs::write(cgroup, std::process::id().to_string()).expect("moving to the cgroup");
    }
    std::fs::write("/proc/self/oom_score_adj", "1000").expect("oom_score_adj");
    let mut held = Vec::new();
    loop {
        held.push(std::hint::black_box(vec![1_u8; 4 << 20]));
    }
}

/// Waits for a condition.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
