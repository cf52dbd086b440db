//! `tidegate spool inspect` and `verify`: what programs read.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::backend::{Backend, Mood, nobody};
use crate::client::{bodies, send};
use crate::stage::{PATIENCE, Stage, refused, to};
use crate::support::wait_for;

#[track_caller]
fn has_keys(value: &Value, keys: &str) {
    let found: BTreeSet<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    let wanted: BTreeSet<&str> = keys.split_whitespace().collect();
    assert_eq!(found, wanted);
}

#[test]
fn inspect_has_the_documented_shape_and_the_ledger_adds_up() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Take);
    let running = stage.start(&[("otlp/good", to(backend.address)), ("otlp/dead", to(nobody()))]);
    send(running.grpc, &bodies("n", 8));
    backend.wait_for(&bodies("n", 8));
    let pid = running.agent.pid();
    let live = stage.look(&["spool", "inspect", "--output", "json"]).json();
    assert_eq!(live["owner"], serde_json::json!({ "pid": pid, "alive": true }));
    let of_logs = |found: &serde_json::Value| {
        let logs = found["logs"].as_array().unwrap();
        let log = logs.iter().find(|log| log["name"] == "logs").unwrap();
        (log["max_size"].clone(), log["poisoned"].clone())
    };
    // The agent alone knows them.
    let (cap, poisoned) = of_logs(&live);
    assert!(cap.as_u64() > Some(1 << 20) && poisoned == false, "{cap}, {poisoned}");
    assert!(running.agent.stop(PATIENCE).0.success());

    let found = stage.look(&["spool", "inspect", "--output", "json"]).json();
    has_keys(&found, "directory spool_id owner logs");
    assert_eq!(of_logs(&found), (serde_json::Value::Null, false.into()));
    assert_eq!(found["directory"], stage.data().to_str().unwrap());
    assert_ne!(found["owner"]["alive"], true);
    let log = found["logs"].as_array().unwrap().iter().find(|log| log["name"] == "logs").unwrap();
    has_keys(
        log,
        "name signal first_sequence last_sequence records bytes max_size durability poisoned damaged_bytes segments \
         cursors ledger",
    );
    assert_eq!((&log["signal"], &log["durability"]), (&"logs".into(), &"sync".into()));
    assert_eq!((&log["poisoned"], &log["damaged_bytes"], &log["records"]), (&false.into(), &0.into(), &8.into()));
    has_keys(&log["segments"][0], "id state first_sequence last_sequence bytes");
    let cursors = log["cursors"].as_array().unwrap();
    let (good, dead) = ("logs:otlp/good", "logs:otlp/dead");
    let names: BTreeSet<&str> = cursors.iter().filter_map(|cursor| cursor["name"].as_str()).collect();
    assert_eq!(names, BTreeSet::from([good, dead]));
    for cursor in cursors {
        has_keys(cursor, "name required paused sequence pending_records pending_bytes oldest_age_s last_error");
        assert_eq!(cursor["required"], true);
        assert_eq!(cursor["oldest_age_s"].is_number(), cursor["name"] == dead, "{cursor}");
    }
    let ledger = &log["ledger"];
    has_keys(ledger, "accepted delivered parked dropped skipped pending");
    assert_eq!(ledger["accepted"], 8);
    assert_eq!((&ledger["delivered"][good], &ledger["pending"][good]), (&8.into(), &0.into()));
    assert_eq!((&ledger["delivered"][dead], &ledger["pending"][dead]), (&0.into(), &8.into()));
}

#[test]
fn verify_has_the_documented_shape_beside_an_agent_and_after_it() {
    let stage = Stage::new();
    let running = stage.start(&[("otlp", to(nobody()))]);
    send(running.grpc, &bodies("n", 4));
    let check = |is_live: bool| {
        let done = stage.look(&["spool", "verify", "--output", "json"]);
        assert_eq!(done.code, Some(0), "{done:?}");
        let found = done.json();
        has_keys(&found, "ok live logs dead_letters");
        assert_eq!((&found["ok"], &found["live"]), (&true.into(), &is_live.into()));
        let log = found["logs"].as_array().unwrap().iter().find(|log| log["name"] == "logs").unwrap();
        has_keys(log, "name frames bytes damage torn ledger_closes");
        assert_eq!((&log["damage"], &log["ledger_closes"]), (&serde_json::json!([]), &true.into()));
        log["frames"].as_u64().unwrap()
    };
    // The last frame is shown when the agent has said on disk that it is durable.
    wait_for(PATIENCE, || (check(true) >= 4).then_some(())).expect("four frames");
    send(running.grpc, &["the last before the kill"]);
    running.agent.kill();
    assert!(check(false) >= 5);
}

/// Turns over one byte of the record with this body, in whichever segment of the log it is: the segment's name.
const MOVED: &str =
    "log cursor done from_sequence to_sequence skipped_records replayed_records oldest_sequence oldest_time";

/// As `docs/cli.md` has them.
#[test]
fn every_command_about_a_cursor_answers_in_its_documented_shape() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Take);
    let running = stage.start(&[("otlp", to(backend.address))]);
    let sent = bodies("n", 6);
    send(running.grpc, &sent);
    backend.wait_for(&sent);
    let answer = |arguments: &[&str]| {
        let done = stage.look(&[&["spool"], arguments, &["--output", "json"]].concat());
        assert_eq!(done.code, Some(0), "{done:?}");
        done.json()
    };
    let listed = || answer(&["cursor", "list", "--log", "logs"])[0].take();
    wait_for(PATIENCE, || (listed()["delivered_records"] == 6).then_some(())).expect("six are delivered");
    has_keys(
        &listed(),
        "log name required paused sequence accepted_records delivered_records parked_records dropped_records \
         skipped_records pending_records pending_bytes oldest_age_s replayed_records replaying_records state last_error",
    );
    let cursor = "logs:otlp";
    has_keys(&answer(&["cursor", "move", cursor, "--to", "newest", "--dry-run"]), MOVED);
    for command in ["pause", "resume"] {
        let done = answer(&["cursor", command, cursor]);
        has_keys(&done, "log cursor paused pending_records");
        assert_eq!((&done["cursor"], &done["paused"]), (&cursor.into(), &(command == "pause").into()));
    }
    // All of the last quarter of an hour, and nothing of what is older than it is.
    let replayed = answer(&["replay", cursor, "--from", "15m"]);
    has_keys(&replayed, MOVED);
    assert_eq!(replayed["replayed_records"], 6, "{replayed}");
    let file = stage.path("out.jsonl");
    let written = answer(&["export", "--log", "logs", "--from", "15m", "--file", file.to_str().unwrap()]);
    has_keys(&written, "log file requests records left_out first_sequence last_sequence");

    backend.set(Mood::Refuse(tonic::Code::InvalidArgument, "bad data"));
    send(running.grpc, &["bad"]);
    wait_for(PATIENCE, || (listed()["parked_records"] == 1).then_some(())).expect("it is parked");
    backend.set(Mood::Take);
    has_keys(
        &answer(&["replay", cursor, "--dead-letters"]),
        "log cursor sent_records refused_records duplicate_records left_records last_error oldest_time",
    );
    assert!(running.agent.stop(PATIENCE).0.success());
    let done = answer(&["cursor", "remove", cursor, "--yes"]);
    has_keys(&done, "log cursor removed pending_records");
    assert_eq!(done["removed"], true);
}

/// To the second: what was appended in it or later.
#[test]
fn a_replay_from_a_time_sends_what_was_appended_since_and_says_the_oldest_that_there_is() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Take);
    let running = stage.start(&[("otlp", to(backend.address))]);
    send(running.grpc, &bodies("early", 3));
    backend.wait_for(&bodies("early", 3));
    // Times on a command line are whole seconds.
    let now = || jiff::Timestamp::now().as_second();
    let between = now() + 1;
    wait_for(PATIENCE, || (now() > between).then_some(())).expect("the next second but one");
    send(running.grpc, &bodies("late", 2));
    backend.wait_for(&bodies("late", 2));
    assert!(running.agent.stop(PATIENCE).0.success());
    let from = jiff::Timestamp::from_second(between).unwrap().to_string();
    let done = stage.look(&["spool", "replay", "logs:otlp", "--from", &from]);
    assert!(done.code == Some(0) && done.stdout.contains("2 records are sent again"), "{done:?}");
    assert!(done.stdout.starts_with("the oldest record of log logs is at sequence 1, of "), "{done:?}");
    let running = stage.start_again();
    wait_for(PATIENCE, || (backend.bodies().len() >= 7).then_some(())).expect("two records again");
    assert_eq!(backend.bodies()[5..], bodies("late", 2));
    assert!(running.agent.stop(PATIENCE).0.success());
}

#[allow(clippy::disallowed_methods, reason = "damages what the agent wrote")]
fn damage(stage: &Stage, body: &str) -> String {
    for entry in std::fs::read_dir(stage.data().join("logs/logs")).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_file() {
            continue;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(body.len()).position(|window| window == body.as_bytes()) {
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            return path.file_name().unwrap().to_str().unwrap().to_owned();
        }
    }
    panic!("no segment has {body}")
}

#[test]
fn a_damaged_byte_is_found_told_and_set_aside_and_the_rest_is_delivered() {
    let stage = Stage::new();
    let address = nobody();
    let running = stage.start(&[("otlp", to(address))]);
    send(running.grpc, &bodies("kept", 12));
    assert!(running.agent.stop(PATIENCE).0.success());
    let segment = damage(&stage, "kept 5");

    let text = stage.look(&["spool", "verify"]);
    assert_eq!(text.code, Some(1), "{text:?}");
    let number = segment.strip_prefix("seg-").unwrap();
    assert!(text.stdout.contains("damaged") && text.stdout.contains(&format!("segment {number} at byte ")), "{text:?}");
    let done = stage.look(&["spool", "verify", "--output", "json"]);
    assert_eq!((done.code, &done.json()["ok"]), (Some(1), &false.into()));
    let found = &done.json()["logs"][0]["damage"][0];
    has_keys(found, "segment offset bytes reason frames_lost");
    assert_eq!(found["segment"].as_u64(), u64::from_str_radix(number, 16).ok(), "{found}");
    assert!(found["offset"].as_u64().unwrap() > 0 && found["bytes"].as_u64().unwrap() > 0, "{found}");
    assert_eq!((&found["frames_lost"], found["reason"].is_string()), (&1.into(), true), "{found}");

    let backend = Backend::at(address, Mood::Take);
    let running = stage.start_again();
    let rest: Vec<String> = bodies("kept", 12).into_iter().filter(|body| body != "kept 5").collect();
    backend.wait_for(&rest);
    let told = running.agent.wait_said("records lost", PATIENCE);
    let aside = stage.data().join("damaged");
    assert!(told.contains("tidegate spool verify") && told.contains(aside.to_str().unwrap()), "{told}");
    let copies: Vec<_> = std::fs::read_dir(aside).unwrap().map(|copy| copy.unwrap().file_name()).collect();
    assert_eq!(copies.len(), 1);
    assert!(copies[0].to_str().unwrap().starts_with(&format!("logs-{number}-")), "{copies:?}");
    let (status, said) = running.agent.stop(PATIENCE);
    assert!(status.success() && said.ends_with("everything is delivered"), "{said}");
    // The stop has written the cursor; before, it is written now and then.
    let inspected = stage.look(&["spool", "inspect", "--output", "json"]).json();
    let log = inspected["logs"].as_array().unwrap().iter().find(|log| log["name"] == "logs").unwrap();
    assert!(log["damaged_bytes"].as_u64().unwrap() > 0, "{log}");
    assert_eq!(
        (&log["ledger"]["accepted"], &log["ledger"]["delivered"]["logs:otlp"]),
        (&12.into(), &11.into()),
        "{log}"
    );
    let dropped: u64 = log["ledger"]["dropped"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(dropped, 1, "{log}");
}

#[test]
fn a_directory_of_a_newer_format_is_left_alone() {
    let stage = Stage::new();
    let running = stage.start(&[("otlp", to(nobody()))]);
    send(running.grpc, &["kept"]);
    assert!(running.agent.stop(PATIENCE).0.success());
    let id = stage.data().join("spool.id");
    let before = std::fs::read(&id).unwrap();
    // The version is the two bytes after the magic number, the checksum the last four.
    let mut newer = before.clone();
    newer[8] = 99;
    let body = newer.len() - 4;
    let checksum = crc32c::crc32c(&newer[..body]);
    newer[body..].copy_from_slice(&checksum.to_le_bytes());
    stage.write("data/spool.id", &newer);
    let (code, said) = refused(&mut stage.run_command());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("spool.id") && said.contains("version 99"), "{said}");
    assert_eq!(std::fs::read(&id).unwrap(), newer, "the file was touched");
    stage.write("data/spool.id", before);
    let _running = stage.start_again();
    assert!(stage.look(&["tail"]).stdout.contains("kept"));
}
