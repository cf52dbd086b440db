//! What an operator hears of losses and of logs in trouble.

use serde_json::Value;

use crate::backend::{Backend, Mood, nobody};
use crate::client::{Client, bodies, send};
use crate::health::{health, wait_until};
use crate::http::get;
use crate::stage::{PATIENCE, Running, Stage, to};
use crate::support::wait_for;

/// A stage whose one log is small and does this when it is full.
fn small(on_full: &str, exporter: String) -> Stage {
    let stage = Stage::new();
    stage.configure(&[("otlp", exporter)]);
    let limits = format!(
        "extensions:\n  disk_buffer: {{ logs: {{ logs: {{ max_size: 16MiB, segment_size: 1MiB, max_frame: 4MiB, retain_size: 1MiB, \
         on_full: {on_full} }} }} }}\n"
    );
    let text = std::fs::read_to_string(stage.config()).unwrap();
    let text = text
        .replace("extensions:\n", &limits)
        .replace("extensions: [health_check]", "extensions: [health_check, disk_buffer]");
    stage.write("agent.yaml", text);
    stage
}

/// Sends records of 100 kB, thirty megabytes in all or until one is refused: how many were taken.
fn flood(running: &Running) -> usize {
    let mut client = Client::of(running.grpc);
    let taken = |n: &usize| client.send(&[format!("{n:04} {}", "-".repeat(100_000))]).is_ok();
    (0..300).take_while(taken).count()
}

fn in_self(stage: &Stage) -> Vec<Value> {
    let done = stage.look(&["tail", "--log", "self", "--from", "oldest", "--no-follow", "--output", "json"]);
    done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ledger(stage: &Stage) -> Value {
    let found = stage.look(&["spool", "inspect", "--output", "json"]).json();
    found["logs"].as_array().unwrap().iter().find(|log| log["name"] == "logs").unwrap()["ledger"].clone()
}

#[test]
fn rule_19_what_a_limit_took_is_told_to_the_backend_that_misses_it() {
    let address = nobody();
    let stage = small("drop_oldest", to(address));
    let running = stage.start_again();
    assert_eq!(flood(&running), 300, "nothing is refused");
    running.agent.wait_said("records lost", PATIENCE);
    let backend = Backend::at(address, Mood::Take);
    let told =
        || backend.bodies().into_iter().find(|body| body.contains("records of log logs lost for logs:otlp: full"));
    wait_for(PATIENCE, told).expect("the loss reaches the backend");
    wait_for(PATIENCE, || backend.bodies().iter().any(|body| body.starts_with("0299 ")).then_some(()))
        .expect("the newest");
    let metrics = get(running.metrics, "/metrics").text();
    assert!(
        metrics.contains("tidegate_cursor_dropped_items_total{log=\"logs\",cursor=\"logs:otlp\",reason=\"full\"}"),
        "{metrics}"
    );
    let (status, said) = running.agent.stop(PATIENCE);
    assert!(status.success() && said.ends_with("everything is delivered"), "{said}");

    // What was in flight when it was taken was delivered, and is not lost: every record is counted one way.
    let arrived =
        backend.bodies().into_iter().filter(|body| body.contains("----")).collect::<std::collections::BTreeSet<_>>();
    let ledger = ledger(&stage);
    let dropped = ledger["dropped"]["full"].as_u64().unwrap();
    assert_eq!(
        (&ledger["accepted"], &ledger["delivered"]["logs:otlp"]),
        (&300.into(), &arrived.len().into()),
        "{ledger}"
    );
    assert_eq!(dropped + arrived.len() as u64, 300, "{ledger}");
    // What was lost after the last time that losses were told is told by the next start.
    let _running = stage.start_again();
    let count = |record: &Value| record["attributes"]["collector.loss.count"].as_u64().unwrap();
    let told = || Some(in_self(&stage)).filter(|records| records.iter().map(count).sum::<u64>() == dropped);
    let records = wait_for(PATIENCE, told).unwrap_or_else(|| panic!("{dropped} were dropped: {:#?}", in_self(&stage)));
    let attributes = &records[0]["attributes"];
    for (name, value) in
        [("stage", "spool"), ("reason", "full"), ("signal", "logs"), ("component", "logs:otlp"), ("log", "logs")]
    {
        assert_eq!(attributes[format!("collector.loss.{name}")], value, "{attributes}");
    }
    assert!(attributes["collector.loss.bytes"].as_u64().unwrap() > 100_000, "{attributes}");
    let number = |name: &str| attributes[name].as_u64().unwrap();
    assert!(number("collector.loss.first_sequence") <= number("collector.loss.last_sequence"), "{attributes}");
    assert!(attributes["collector.loss.first_time"].as_str() <= attributes["collector.loss.last_time"].as_str());
    assert!(attributes["collector.loss.last_time"].as_str().unwrap().ends_with('Z'), "{attributes}");
}

#[test]
fn a_full_log_is_told_and_makes_health_red_until_its_backend_takes_what_it_holds() {
    let address = nobody();
    let stage = small("reject", to(address));
    let running = stage.start_again();
    assert!(flood(&running) < 300, "it refuses");
    let red = wait_until(running.health, 503);
    let reason = red["reasons"][0].as_str().unwrap();
    assert!(reason.contains("log logs is full") && reason.contains("exporters still want them"), "{reason}");
    assert!(get(running.metrics, "/metrics").text().contains("tidegate_log_refusing{log=\"logs\"} 1"));
    let told = running.agent.wait_said("appends are refused", PATIENCE);
    assert!(told.ends_with(reason), "{told}");
    let _backend = Backend::at(address, Mood::Take);
    // Nobody sends anything meanwhile.
    wait_until(running.health, 200);
    running.agent.wait_said("appends are taken again", PATIENCE);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "as an operator who gives up an exporter's records")]
fn rule_16_a_cursor_whose_exporter_is_gone_is_told_at_every_start_and_red_until_it_is_removed() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Take);
    let running = stage.start(&[("otlp/good", to(backend.address)), ("otlp/gone", to(nobody()))]);
    send(running.grpc, &bodies("kept", 7));
    backend.wait_for(&bodies("kept", 7));
    assert!(running.agent.stop(PATIENCE).0.success());
    stage.configure(&[("otlp/good", to(backend.address))]);
    let file = stage.data().join("logs/logs/cursors/logs%3aotlp%2fgone");
    for _ in 0..2 {
        let running = stage.start_again();
        let said = running.agent.stderr();
        let line = said.lines().find(|line| line.contains("logs:otlp/gone")).unwrap_or_else(|| panic!("{said}"));
        assert!(line.contains("has no exporter and holds 7 undelivered records"), "{line}");
        assert!(line.contains(file.to_str().unwrap()), "{line}");
        let red = wait_until(running.health, 503);
        assert_eq!(red["reasons"], serde_json::json!([line]));
        assert!(running.agent.stop(PATIENCE).0.success());
    }
    // What the line says to do.
    std::fs::remove_file(file).unwrap();
    let running = stage.start_again();
    wait_until(running.health, 200);
    assert!(!running.agent.stderr().contains("otlp/gone"));
}

#[test]
fn rule_16_the_cursors_of_a_log_that_no_pipeline_names_any_more_are_orphans_too() {
    let stage = Stage::new();
    let running = stage.start(&[("otlp", to(nobody()))]);
    send(running.grpc, &bodies("kept", 3));
    assert!(running.agent.stop(PATIENCE).0.success());
    let text = std::fs::read_to_string(stage.config()).unwrap();
    stage.write("agent.yaml", text.replace("    logs: { receivers", "    logs/other: { receivers"));
    let running = stage.start_again();
    let red = wait_until(running.health, 503);
    let reason = red["reasons"][0].as_str().unwrap();
    assert!(reason.contains("log logs: cursor logs:otlp has no exporter and holds 3 undelivered records"), "{reason}");
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the test is the damage")]
fn rule_19_a_torn_end_and_a_lost_cursor_are_told_once_and_noted() {
    let stage = Stage::new();
    let address = nobody();
    let running = stage.start(&[("otlp", to(address))]);
    send(running.grpc, &bodies("kept", 5));
    running.agent.kill();
    let directory = stage.data().join("logs/logs");
    let newest = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let newest = newest.filter(|path| path.to_str().unwrap().contains("/seg-")).max().unwrap();
    let bytes = std::fs::read(&newest).unwrap();
    // A header of a next frame that never got its payload: the tail of a write that the power cut.
    let end = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
    let mut torn = bytes[..end.next_multiple_of(8)].to_vec();
    torn.extend_from_slice(b"TGFR");
    torn.resize(torn.len() + 96, 0xEE);
    std::fs::write(&newest, torn).unwrap();
    std::fs::write(directory.join("cursors/logs%3aotlp"), vec![7; 128 << 10]).unwrap();

    let running = stage.start_again();
    let said = running.agent.stderr();
    assert!(said.contains("do not verify") && said.contains("the file of cursor logs:otlp was damaged"), "{said}");
    let reasons = || {
        let reasons: Vec<String> = in_self(&stage)
            .iter()
            .map(|record| record["attributes"]["collector.loss.reason"].as_str().unwrap().to_owned())
            .collect();
        Some(reasons).filter(|reasons| reasons.len() == 2)
    };
    let mut found = wait_for(PATIENCE, reasons).expect("both are told");
    found.sort();
    assert_eq!(found, ["cursor_lost", "torn"]);
    let (code, body) = health(running.health);
    assert_eq!(code, 200, "what is over is no reason to restart anything: {body}");
    assert!(body["notes"][0].as_str().unwrap().contains("bytes that do not verify are kept in"), "{body}");
    assert!(running.agent.stop(PATIENCE).0.success());

    let backend = Backend::at(address, Mood::Take);
    let running = stage.start_again();
    backend.wait_for(&bodies("kept", 5));
    wait_for(PATIENCE, || backend.bodies().iter().any(|body| body.contains("bytes of log logs")).then_some(()))
        .expect("told");
    assert!(running.agent.stop(PATIENCE).0.success());
    assert_eq!(in_self(&stage).len(), 2, "once");
}
