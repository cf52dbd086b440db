//! What a person and a program see when a configuration is right, and when it is wrong.

#![cfg(feature = "agent")]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]
#![allow(clippy::disallowed_methods, reason = "writes configurations to a temporary folder")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

fn tidegate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(arguments).env_remove("TIDEGATE_DATA_DIR").env_remove("CLICOLOR_FORCE");
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

/// A folder with `agent.yaml` in it.
fn agent(yaml: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.yaml");
    std::fs::write(&file, yaml).unwrap();
    (folder, file)
}

const WRONG: &str = "\
receivers:
  otlp: { protocols: { grpc: } }
exporters:
  otlp:
    endpoint: collector:4317
    timout: 5s
service:
  pipelines:
    logs: { receivers: [otlp], exporters: [otlp, debug] }
";

#[test]
fn faults_are_shown_as_a_compiler_shows_them() {
    let (_folder, file) = agent(WRONG);
    let output = tidegate(&["validate", file.to_str().unwrap()]);
    assert_eq!(code(&output), Some(2));
    let file = file.display();
    let expected = format!(
        "\
error: unknown key `timout`
 --> {file}:6:5
  |
6 |     timout: 5s
  |     ^^^^^^
  = at exporters.otlp.timout
  = help: did you mean `timeout`?

error: the exporter `debug` is not defined under `exporters`
 --> {file}:9:50
  |
9 |     logs: {{ receivers: [otlp], exporters: [otlp, debug] }}
  |                                                  ^^^^^
  = at service.pipelines.logs.exporters
  = help: exporters defined: otlp

not valid: {file}: 2 faults
"
    );
    assert_eq!(text(&output.stdout), expected);
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn programs_get_the_same_as_json() {
    let (_folder, file) = agent(WRONG);
    let output = tidegate(&["validate", "--config", file.to_str().unwrap(), "--output", "json"]);
    assert_eq!(code(&output), Some(2));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["valid"], false);
    let first = json!({
        "file": file, "line": 6, "column": 5, "path": "exporters.otlp.timout", "message": "unknown key `timout`",
        "suggestion": "did you mean `timeout`?",
    });
    assert_eq!(result["errors"][0], first);
    assert_eq!(result["errors"].as_array().unwrap().len(), 2);
    assert_eq!(result["notes"], json!([]));
}

#[test]
fn a_valid_configuration_shows_its_pipelines_and_notes() {
    let output = tidegate(&["validate", "--data-dir", "/data", "--set", "processors.batch="]);
    assert_eq!(code(&output), Some(0));
    let said = text(&output.stdout);
    assert!(said.contains("note: processors.batch: not used: no pipeline names it"), "{said}");
    assert!(said.contains("\nvalid: built-in\n  data: /data\n"), "{said}");
    assert!(said.contains("  logs/kernel: kernel → log kernel → file, debug\n"), "{said}");
    assert!(said.contains("  traces: otlp → log traces → no exporter\n"), "{said}");
}

#[test]
fn the_gateways_file_has_one_fault_here_and_it_is_said_plainly() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("otel-config.yaml");
    let output = tidegate(&["validate", file.to_str().unwrap(), "--output", "json"]);
    assert_eq!(code(&output), Some(2));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let errors = result["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!(errors[0]["path"], "exporters.opensearch");
    assert_eq!(errors[0]["message"], "the exporter `opensearch` is not in this version");
}

#[test]
fn a_file_that_is_not_there_is_named_with_what_to_do() {
    let output = tidegate(&["validate", "nowhere.yaml"]);
    assert_eq!(code(&output), Some(2));
    let said = text(&output.stdout);
    assert!(said.starts_with("error: cannot read nowhere.yaml: No such file or directory"), "{said}");
    assert!(said.contains("help: check the path; `tidegate run --print-default-config` prints one"), "{said}");
}

#[test]
fn no_command_starts_with_faults_in_its_configuration() {
    let (folder, file) = agent(WRONG);
    let data = folder.path().join("data");
    for command in [&["run"][..], &["tail"], &["spool", "inspect"], &["spool", "verify"]] {
        let file = ["--config", file.to_str().unwrap()];
        // A directory that is named needs no configuration for those that only read.
        let named = if command == ["run"] { vec!["--data-dir", data.to_str().unwrap()] } else { Vec::new() };
        let output = tidegate(&[command, &file, &named[..]].concat());
        assert_eq!(code(&output), Some(2), "{command:?}");
        let said = text(&output.stderr);
        assert!(said.contains("error: unknown key `timout`"), "{command:?}: {said}");
        assert!(said.contains("error: the configuration has 2 faults"), "{command:?}: {said}");
        assert!(!data.exists(), "{command:?} made the data directory");
    }
}

#[test]
fn wrong_arguments_are_usage_errors() {
    for arguments in [&["rnu"][..], &["validate", "--cofnig", "x"], &["spool"], &["components", "--output", "xml"], &[]]
    {
        let output = tidegate(arguments);
        assert_eq!(code(&output), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn what_is_printed_as_the_default_is_what_runs() {
    let printed = tidegate(&["run", "--print-default-config"]);
    assert_eq!(code(&printed), Some(0));
    let (_folder, file) = agent(text(&printed.stdout));
    let output = tidegate(&["validate", "--data-dir", "/data", file.to_str().unwrap()]);
    let built_in = tidegate(&["validate", "--data-dir", "/data"]);
    let pipelines =
        |output: &Output| text(&output.stdout).split("valid: ").nth(1).unwrap().lines().skip(1).collect::<String>();
    assert_eq!(pipelines(&output), pipelines(&built_in));
}

#[test]
fn components_are_listed_for_programs() {
    let output = tidegate(&["components", "--output", "json"]);
    assert_eq!(code(&output), Some(0));
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    for component in list.as_array().unwrap() {
        for field in ["kind", "type", "aliases", "signals", "stability"] {
            assert!(!component[field].is_null(), "{field} of {component}");
        }
    }
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let mut command = Command::new("sh");
    let binary = env!("CARGO_BIN_EXE_tidegate");
    let output = command.args(["-c", &format!("'{binary}' components; echo $? >&2")]);
    // A pipe whose reader is closed before anything is written.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = output.stdout(writer).output().unwrap();
    assert_eq!(text(&output.stderr).trim(), "0");
}
