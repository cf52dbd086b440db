//! What the tests do in processes of their own: this same binary, started again with the name of an action.

use std::process::{Command, Stdio};

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
