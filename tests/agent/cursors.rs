//! `tidegate spool cursor`, `replay` and `export`: through the running agent's socket, and without an agent.

use serde_json::Value;
use tonic::Code;

use crate::backend::{Backend, Mood, nobody};
use crate::client::{bodies, send};
use crate::stage::{Done, PATIENCE, Stage, mode, to};
use crate::support::wait_for;

const CURSOR: &str = "logs:otlp";

fn spool(stage: &Stage, arguments: &[&str]) -> Done {
    let all: Vec<&str> = ["spool"].iter().chain(arguments).copied().chain(["--output", "json"]).collect();
    stage.look(&all)
}

#[track_caller]
fn done(stage: &Stage, arguments: &[&str]) -> Value {
    let done = spool(stage, arguments);
    assert_eq!(done.code, Some(0), "{done:?}");
    done.json()
}

#[track_caller]
fn cursor(stage: &Stage) -> Value {
    let listed = done(stage, &["cursor", "list", "--log", "logs"]);
    listed.as_array().unwrap().iter().find(|c| c["name"] == CURSOR).cloned().unwrap_or_else(|| panic!("{listed}"))
}

/// Waits until the cursor's file says so: it is written every 100 ms.
#[track_caller]
fn wait_cursor(stage: &Stage, is: impl Fn(&Value) -> bool) -> Value {
    let found = wait_for(PATIENCE, || Some(cursor(stage)).filter(&is));
    found.unwrap_or_else(|| panic!("{}", cursor(stage)))
}

#[track_caller]
fn verified(stage: &Stage) {
    let verification = done(stage, &["verify"]);
    assert_eq!(verification["ok"], true, "{verification}");
}

fn times(backend: &Backend, body: &str) -> usize {
    backend.bodies().iter().filter(|taken| *taken == body).count()
}

#[test]
fn a_replay_beside_the_agent_sends_again_and_counts_once() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Take);
    let running = stage.start(&[("otlp", to(backend.address))]);
    let sent = bodies("again", 20);
    send(running.grpc, &sent);
    backend.wait_for(&sent);
    let before = wait_cursor(&stage, |c| c["delivered_records"] == 20);
    assert_eq!((&before["state"], &before["last_error"]), (&"ok".into(), &Value::Null));

    let listed = done(&stage, &["inspect"]);
    let log = listed["logs"].as_array().unwrap().iter().find(|log| log["name"] == "logs").unwrap().clone();
    let oldest = log["first_sequence"].as_u64().unwrap();
    let from = (oldest + 10).to_string();
    let planned = done(&stage, &["replay", CURSOR, "--from", &from, "--dry-run"]);
    assert_eq!((&planned["done"], &planned["oldest_sequence"]), (&false.into(), &oldest.into()), "{planned}");
    assert_eq!(backend.bodies().len(), 20, "a dry run sent something");
    let moved = done(&stage, &["replay", CURSOR, "--from", &from]);
    assert_eq!((&moved["replayed_records"], &moved["skipped_records"]), (&10.into(), &0.into()), "{moved}");
    assert!(moved["oldest_time"].as_str().unwrap().ends_with('Z'), "{moved}");
    wait_for(PATIENCE, || (backend.bodies().len() >= 30).then_some(())).expect("ten records again");
    let after = wait_cursor(&stage, |c| c["replaying_records"] == 0);
    assert_eq!((&after["delivered_records"], &after["replayed_records"]), (&20.into(), &10.into()));
    assert_eq!((times(&backend, "again 9"), times(&backend, "again 10"), backend.bodies().len()), (1, 2, 30));

    let nothing = spool(&stage, &["replay", CURSOR, "--from", "newest"]);
    assert_eq!(nothing.code, Some(1));
    assert!(nothing.stderr.contains("nothing to replay") && nothing.stderr.contains("oldest record"), "{nothing:?}");
    assert!(running.agent.stop(PATIENCE).0.success());
    verified(&stage);
}

#[test]
fn a_pause_outlives_a_restart_and_a_resume_ends_it() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Take);
    let running = stage.start(&[("otlp", to(backend.address))]);
    send(running.grpc, &["before"]);
    backend.wait_for(&["before"]);
    assert_eq!(done(&stage, &["cursor", "pause", CURSOR])["paused"], true);
    send(running.grpc, &bodies("kept", 5));
    wait_cursor(&stage, |c| c["state"] == "paused" && c["pending_records"] == 5);
    running.agent.kill();

    let running = stage.start_again();
    send(running.grpc, &["later"]);
    wait_cursor(&stage, |c| c["state"] == "paused" && c["pending_records"] == 6);
    assert_eq!(backend.bodies(), ["before"]);
    assert_eq!(done(&stage, &["cursor", "resume", CURSOR])["paused"], false);
    backend.wait_for(&["kept 0", "kept 4", "later"]);
    assert!(running.agent.stop(PATIENCE).0.success());

    // Without an agent it is the file that is changed.
    done(&stage, &["cursor", "pause", CURSOR]);
    assert_eq!((&cursor(&stage)["paused"], &cursor(&stage)["state"]), (&true.into(), &Value::Null));
    done(&stage, &["cursor", "resume", CURSOR]);
    assert_eq!(cursor(&stage)["paused"], false);
    verified(&stage);
}

#[test]
fn an_exporter_that_is_new_starts_where_its_configuration_says() {
    let stage = Stage::new();
    let (old, from_newest) = (Backend::start(Mood::Take), Backend::start(Mood::Take));
    let first = ("otlp", to(old.address));
    let running = stage.start(std::slice::from_ref(&first));
    send(running.grpc, &bodies("before", 3));
    old.wait_for(&bodies("before", 3));
    assert!(running.agent.stop(PATIENCE).0.success());

    let from_oldest = Backend::start(Mood::Take);
    let newest = to(from_newest.address).replacen('{', "{ start_at: newest,", 1);
    let running = stage.start(&[first, ("otlp/newest", newest), ("otlp/oldest", to(from_oldest.address))]);
    send(running.grpc, &["after"]);
    from_oldest.wait_for(&["before 0", "before 2", "after"]);
    from_newest.wait_for(&["after"]);
    assert_eq!(from_newest.bodies(), ["after"]);
    // Where it once stood counts, not where a new one would.
    running.agent.kill();
    let running = stage.start_again();
    send(running.grpc, &["last"]);
    from_newest.wait_for(&["last"]);
    assert_eq!(from_newest.bodies().iter().filter(|body| body.starts_with("before")).count(), 0);
    assert!(running.agent.stop(PATIENCE).0.success());
    verified(&stage);
}

#[test]
fn a_skip_asks_first_counts_and_frees_an_exporter_that_is_stuck() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Refuse(Code::Internal, "cannot take it"));
    let running = stage.start(&[("otlp", to(backend.address))]);
    send(running.grpc, &bodies("stuck", 5));
    backend.wait_for_request();
    wait_cursor(&stage, |c| c["last_error"].is_string() && c["pending_records"] == 5);
    let asked = spool(&stage, &["cursor", "move", CURSOR, "--to", "newest"]);
    assert_eq!(asked.code, Some(1), "{asked:?}");
    assert!(asked.stderr.contains("5 records would be skipped") && asked.stderr.contains("--yes"), "{asked:?}");
    assert_eq!(cursor(&stage)["skipped_records"], 0, "it moved without a yes");
    let moved = done(&stage, &["cursor", "move", CURSOR, "--to", "newest", "--yes"]);
    assert_eq!((&moved["done"], &moved["skipped_records"]), (&true.into(), &5.into()));
    backend.set(Mood::Take);
    send(running.grpc, &["next"]);
    backend.wait_for(&["next"]);
    let after = wait_cursor(&stage, |c| c["delivered_records"] == 1);
    assert_eq!((&after["skipped_records"], &after["pending_records"]), (&5.into(), &0.into()));
    assert_eq!(backend.bodies(), ["next"], "what was skipped was sent");
    assert!(running.agent.stop(PATIENCE).0.success());
    verified(&stage);
}

#[test]
fn the_socket_is_for_its_user_and_goes_with_the_agent() {
    let stage = Stage::new();
    let running = stage.start(&[("otlp", to(nobody()))]);
    let socket = stage.data().join("control.sock");
    assert_eq!(mode(&socket), 0o600);
    let in_use = spool(&stage, &["cursor", "remove", CURSOR, "--yes"]);
    assert!(in_use.code == Some(1) && in_use.stderr.contains("in use"), "{in_use:?}");
    let unknown = spool(&stage, &["cursor", "pause", "logs:otpl"]);
    assert!(unknown.code == Some(1) && unknown.stderr.contains(CURSOR), "{unknown:?}");
    // One that a kill left behind is no agent.
    running.agent.kill();
    assert!(socket.exists());
    done(&stage, &["cursor", "pause", CURSOR]);
    done(&stage, &["cursor", "resume", CURSOR]);
    let running = stage.start_again();
    assert_eq!(cursor(&stage)["paused"], false);
    assert!(running.agent.stop(PATIENCE).0.success());
    assert!(!socket.exists());
}

#[test]
fn a_cursor_without_an_exporter_is_moved_and_removed_beside_the_agent_and_without_one() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Take);
    let running = stage.start(&[("otlp", to(nobody())), ("otlp/kept", to(backend.address))]);
    send(running.grpc, &bodies("n", 6));
    backend.wait_for(&bodies("n", 6));
    assert!(running.agent.stop(PATIENCE).0.success());
    let moved = done(&stage, &["cursor", "move", CURSOR, "--to", "newest", "--yes"]);
    assert_eq!(moved["skipped_records"], 6);
    let moved = done(&stage, &["replay", CURSOR, "--from", "oldest"]);
    assert_eq!(moved["replayed_records"], 6);
    verified(&stage);

    stage.configure(&[("otlp/kept", to(backend.address))]);
    let running = stage.start_again();
    send(running.grpc, &["one more"]);
    wait_cursor(&stage, |c| c["pending_records"] == 1);
    let refused = spool(&stage, &["cursor", "remove", CURSOR]);
    assert!(refused.code == Some(1) && refused.stderr.contains("--yes"), "{refused:?}");
    assert_eq!(done(&stage, &["cursor", "remove", CURSOR, "--yes"])["pending_records"], 1);
    assert!(running.agent.stop(PATIENCE).0.success());
    done(&stage, &["cursor", "remove", "logs:otlp/kept", "--yes"]);
    assert_eq!(done(&stage, &["cursor", "list", "--log", "logs"]), serde_json::json!([]));
}

#[test]
fn dead_letters_are_sent_again_once_to_the_exporter_that_parked_them() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Refuse(Code::InvalidArgument, "bad data"));
    let other = Backend::start(Mood::Take);
    let running = stage.start(&[("otlp", to(backend.address)), ("otlp/other", to(other.address))]);
    let sent = bodies("bad", 4);
    send(running.grpc, &sent);
    wait_cursor(&stage, |c| c["parked_records"] == 4);
    let again = spool(&stage, &["replay", CURSOR, "--dead-letters"]);
    assert_eq!((again.code, &again.json()["refused_records"]), (Some(1), &4.into()), "{again:?}");
    assert_eq!(again.json()["last_error"].as_str().map(|e| e.contains("bad data")), Some(true));
    backend.set(Mood::Take);
    let found = done(&stage, &["replay", CURSOR, "--dead-letters"]);
    assert_eq!((&found["sent_records"], &found["refused_records"]), (&4.into(), &0.into()), "{found}");
    assert!(found["oldest_time"].as_str().unwrap().ends_with('Z'), "{found}");
    backend.wait_for(&sent);
    // After a kill too: what was sent again is not sent a third time.
    wait_cursor(&stage, |c| c["replayed_records"] == 4);
    running.agent.kill();
    let _running = stage.start_again();
    let found = done(&stage, &["replay", CURSOR, "--dead-letters"]);
    assert_eq!((&found["sent_records"], &found["left_records"]), (&0.into(), &0.into()), "{found}");
    assert_eq!((backend.bodies().len(), other.bodies().len()), (4, 4));
}

#[test]
fn dead_letters_need_an_agent_to_send_them() {
    let stage = Stage::new();
    let running = stage.start(&[("otlp", to(nobody()))]);
    send(running.grpc, &["kept"]);
    assert!(running.agent.stop(PATIENCE).0.success());
    let refused = spool(&stage, &["replay", CURSOR, "--dead-letters"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("no agent runs"), "{refused:?}");
}

#[track_caller]
fn exported(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines() {
        let request: Value = serde_json::from_str(line).unwrap();
        for record in request["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap() {
            found.push(record["body"]["stringValue"].as_str().unwrap().to_owned());
        }
    }
    found
}

#[test]
fn an_export_is_the_log_beside_an_agent_and_without_one() {
    let stage = Stage::new();
    let running = stage.start(&[("otlp", to(nobody()))]);
    let sent = bodies("out", 12);
    send(running.grpc, &sent);
    let read = || stage.look(&["spool", "export", "--log", "logs"]);
    // The last frame is shown when the agent has said on disk that it is durable.
    wait_for(PATIENCE, || (exported(&read().stdout).len() == 12).then_some(())).expect("twelve records");
    let beside = read();
    assert_eq!((exported(&beside.stdout), beside.code), (sent.clone(), Some(0)));
    assert!(beside.stderr.contains("12 records"), "{beside:?}");
    assert!(running.agent.stop(PATIENCE).0.success());
    assert_eq!(read().stdout, beside.stdout);

    let first = done(&stage, &["inspect"])["logs"].as_array().unwrap().iter().find(|l| l["name"] == "logs").unwrap()
        ["first_sequence"]
        .as_u64()
        .unwrap();
    let path = stage.path("part.jsonl");
    let (from, until) = ((first + 3).to_string(), (first + 5).to_string());
    let part = ["export", "--log", "logs", "--from", &from, "--to", &until, "--file", path.to_str().unwrap()];
    let report = done(&stage, &part);
    assert_eq!((&report["records"], &report["first_sequence"]), (&3.into(), &(first + 3).into()), "{report}");
    assert_eq!(exported(&std::fs::read_to_string(&path).unwrap()), sent[3..6]);
    assert_eq!(mode(&path), 0o600);
    let again = spool(&stage, &part);
    assert!(again.code == Some(1) && again.stderr.contains("not there yet"), "{again:?}");

    let proto = stage.path("all.binpb");
    done(&stage, &["export", "--log", "logs", "--format", "proto", "--file", proto.to_str().unwrap()]);
    let bytes = std::fs::read(&proto).unwrap();
    let length = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
    let request: opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest =
        prost::Message::decode(&bytes[4..4 + length]).unwrap();
    assert_eq!(crate::client::texts(&request), ["out 0"]);
}
