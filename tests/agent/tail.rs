//! `tidegate tail` beside a running agent.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::backend::nobody;
use crate::client::{bodies, send};
use crate::stage::{PATIENCE, Stage, done, to};

/// "At once", for a person; a loaded machine gets some more.
const AT_ONCE: Duration = Duration::from_secs(3);

#[test]
fn a_follower_sees_a_record_soon_after_it_was_acknowledged() {
    let stage = Stage::new();
    let running = stage.start(&[("otlp", to(nobody()))]);
    send(running.grpc, &["first"]);
    let mut command = stage.tidegate(["tail", "-f", "--output", "json", "--data-dir"]);
    let mut child = command.arg(stage.data()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = move || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["body"], "first");
    for body in bodies("live", 3) {
        send(running.grpc, &[&body]);
        let acked = Instant::now();
        let record = next();
        assert!(acked.elapsed() < AT_ONCE, "{:?}", acked.elapsed());
        assert_eq!(record["body"], *body);
        let keys: Vec<&String> = record.as_object().unwrap().keys().collect();
        for key in [
            "log",
            "sequence",
            "index",
            "signal",
            "event_name",
            "time",
            "observed_time",
            "severity_number",
            "uid",
            "body",
            "attributes",
            "resource",
            "scope",
        ] {
            assert!(keys.iter().any(|k| *k == key), "{key} in {keys:?}");
        }
        assert_eq!((&record["log"], &record["signal"]), (&"logs".into(), &"logs".into()));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_last_records_come_last_and_only_as_many_as_wanted() {
    let stage = Stage::new();
    let running = stage.start(&[("otlp", to(nobody()))]);
    send(running.grpc, &bodies("n", 15));
    let tail = |flags: &[&str]| {
        let done = stage.look(&[&["tail", "--output", "json"], flags].concat());
        assert_eq!(done.code, Some(0), "{done:?}");
        let body = |line: &str| serde_json::from_str::<Value>(line).unwrap()["body"].as_str().unwrap().to_owned();
        done.stdout.lines().map(body).collect::<Vec<_>>()
    };
    assert_eq!(tail(&[]), bodies("n", 15)[5..]);
    assert_eq!(tail(&["-n", "2"]), ["n 13", "n 14"]);
    assert_eq!(tail(&["-n", "0"]), Vec::<String>::new());
    assert_eq!(tail(&["--from", "oldest"]), bodies("n", 15));
    assert_eq!(tail(&["--event", "none.such"]), Vec::<String>::new());
}

#[test]
fn a_log_that_is_not_there_is_named_with_those_that_are() {
    let stage = Stage::new();
    let _running = stage.start(&[("otlp", to(nobody()))]);
    let done = stage.look(&["tail", "--log", "none"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stderr.contains("none") && done.stderr.contains("logs"), "{done:?}");
}

#[test]
fn colours_are_for_those_who_want_them() {
    let stage = Stage::new();
    let running = stage.start(&[("otlp", to(nobody()))]);
    send(running.grpc, &["plain"]);
    for command in
        [&["tail"][..], &["spool", "inspect"], &["spool", "verify"], &["validate"], &["components"], &["--help"]]
    {
        let look = |environment: &[(&str, &str)]| {
            let done =
                done(stage.tidegate(command).env("TIDEGATE_DATA_DIR", stage.data()).envs(environment.iter().copied()));
            assert_eq!(done.code, Some(0), "{done:?}");
            done.stdout + &done.stderr
        };
        assert!(!look(&[]).contains('\u{1b}'), "{command:?} colours a pipe");
        assert!(look(&[("CLICOLOR_FORCE", "1")]).contains('\u{1b}'), "{command:?} has no colours");
        let both = look(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]);
        assert!(!both.contains('\u{1b}'), "{command:?} ignores NO_COLOR");
    }
}

#[test]
fn what_a_record_says_cannot_steer_the_terminal() {
    let stage = Stage::new();
    let running = stage.start(&[("otlp", to(nobody()))]);
    send(running.grpc, &["\u{1b}]0;owned\u{7}\u{1b}[2J\r\nfake line"]);
    let done = stage.look(&["tail"]);
    assert_eq!(done.stdout.lines().count(), 1, "{done:?}");
    assert!(!done.stdout.trim_end().chars().any(char::is_control), "{done:?}");
    let follower = stage.look(&["tail", "--output", "json"]);
    assert!(!follower.stdout.trim_end().chars().any(char::is_control), "{follower:?}");
}

#[test]
fn a_reader_that_takes_one_line_ends_it_well() {
    let stage = Stage::new();
    let running = stage.start(&[("otlp", to(nobody()))]);
    // More than a pipe holds.
    send(running.grpc, &vec!["x".repeat(20_000); 10]);
    let mut command = stage.tidegate(["tail", "--data-dir"]);
    command.arg(stage.data()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr)), (Some(0), "".into()));
    assert!(running.agent.stop(PATIENCE).0.success());
}
