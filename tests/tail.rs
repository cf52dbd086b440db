//! `tidegate tail` as a shell uses it.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;
use tidegate::otlp::Signal;
use tidegate::spool::{From, Options, Reader, Spool};

fn append(spool: &Spool, event: &str) {
    let record = LogRecord { event_name: event.into(), severity_number: 17, ..Default::default() };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..Default::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..Default::default() }];
    let payload = Bytes::from(ExportLogsServiceRequest { resource_logs }.encode_to_vec());
    let ack = spool.log("kernel").unwrap().append(Signal::Logs.tag(), payload, 1).unwrap();
    let sequence = ack.wait().unwrap().sequence;
    // Readers beside the owner see it a little after its ack.
    let reader = Reader::open(spool.directory()).unwrap();
    while reader.read("kernel", From::Sequence(sequence)).unwrap().next().unwrap().is_none() {
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

fn tail(dir: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("tail").arg("--data-dir").arg(dir).args(flags).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn stderr_of(child: &mut Child) -> String {
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    text
}

#[test]
fn beside_a_running_owner_text_is_plain_on_a_pipe_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), Options::default()).unwrap();
    append(&spool, "kernel.oom.kill\u{1b}[31m");
    let output = tail(dir.path(), &[]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "- ERROR kernel.oom.kill\\u{1b}[31m\n");
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly_even_when_nothing_comes() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), Options::default()).unwrap();
    append(&spool, "one");
    let mut child = tail(dir.path(), &["-f"]).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "- ERROR one\n");
    append(&spool, "two");
    line.clear();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "- ERROR two\n");
    drop(stdout);
    assert!(child.wait().unwrap().success());
    assert_eq!(stderr_of(&mut child), "");
}

#[test]
fn a_closed_pipe_in_the_middle_of_much_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), Options::default()).unwrap();
    // More than a pipe holds.
    let event = "x".repeat(50_000);
    (0..10).for_each(|_| append(&spool, &event));
    let mut child = tail(dir.path(), &["--from", "oldest", "--output", "json"]).spawn().unwrap();
    let mut some = [0; 1000];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut some).unwrap();
    drop(stdout);
    assert!(child.wait().unwrap().success());
    assert_eq!(stderr_of(&mut child), "");
}

#[test]
fn a_missing_directory_exits_1_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let output = tail(&dir.path().join("none"), &[]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("--data-dir") && stderr.contains("tidegate run"), "{stderr}");
}
