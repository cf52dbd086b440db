//! What a request looks like.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message as _;
use serde_json::{Value, json};

use super::{GRPC, HTTP};
use crate::backend::{Backend, Say, Seen};
use crate::call::{self, JSON};
use crate::program::{PATIENCE, Program, Setup};
use crate::support::wait_for;
use crate::table::Level::{Must, Should};
use crate::table::{Answer, Duty, Side, answer};

const GRPC_REQUEST: &str = "OTLP/gRPC Request";
const HTTP_REQUEST: &str = "OTLP/HTTP Request";
const BINARY: &str = "Binary Protobuf Encoding";
const ENCODING: &str = "JSON Protobuf Encoding";
const EMPTY: &str = "Empty Telemetry Envelopes";

pub(super) fn duties() -> Vec<Duty> {
    let duty = |section, level, text, ask| Duty::new(Side::Client, section, level, text, ask);
    vec![
        duty(GRPC_REQUEST, Should, "limit the size of a message before compression (4 MiB recommended)", grpc_size)
            .because("what is larger is cut in two until it fits"),
        duty(HTTP_REQUEST, Should, "limit the size of a body before compression (20 MiB recommended)", http_size),
        duty(BINARY, Must, "send `Content-Type: application/x-protobuf`", binary_type),
        duty(ENCODING, Must, "send `Content-Type: application/json`", json_type),
        duty(ENCODING, Must, "write ids as hex, enums as integers, keys in lowerCamelCase", json_form)
            .because("64-bit integers are decimal strings in both"),
        duty(HTTP_REQUEST, Must, "say `Content-Encoding: gzip` of a body that is", gzip),
        duty(EMPTY, Should, "create no envelopes without telemetry", empty)
            .because("a request without records is acknowledged and not stored"),
    ]
}

/// One request with 100 records that together are larger than the recommended limit.
fn sizes(program: Program, exporter: &str, megabytes: usize) -> Vec<Seen> {
    let backend = Backend::start();
    let running = program.start(&Setup::new(exporter, backend.address, "compression: none"));
    let filler = "x".repeat(megabytes * 10_000);
    let records: Vec<String> = (0..100).map(|n| format!("{n} {filler}")).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let body = call::gzip(&call::logs(&records));
    let headers = format!("{}Content-Encoding: gzip\r\n", call::PROTOBUF);
    let reply = call::post(running.http, "/v1/logs", &headers, &body);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let came = || backend.seen().iter().map(|seen| seen.bodies.len()).sum::<usize>();
    wait_for(PATIENCE, || (came() >= 100).then_some(())).expect("all records");
    backend.seen()
}

fn limit(seen: &[Seen], limit: usize) -> bool {
    seen.iter().all(|seen| seen.message.len() <= limit)
}

fn grpc_size(program: Program) -> Answer {
    let seen = sizes(program, GRPC, 10);
    let is_met = limit(&seen, 4 << 20);
    answer(
        is_met,
        format!(
            "10 MB of records in one request: {} 4 MiB",
            if is_met { "sent in parts below" } else { "sent whole, above" }
        ),
    )
}

fn http_size(program: Program) -> Answer {
    let seen = sizes(program, HTTP, 18);
    let is_met = limit(&seen, 20 << 20);
    answer(is_met, "what the receiver takes is below it")
}

fn one(program: Program, settings: &str) -> Seen {
    let backend = Backend::start();
    let running = program.start(&Setup::new(HTTP, backend.address, settings));
    running.log("record");
    backend.wait_for("record", 1).remove(0)
}

fn header(seen: &Seen, name: &str) -> String {
    seen.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

fn binary_type(program: Program) -> Answer {
    let sent = header(&one(program, ""), "content-type");
    answer(sent == "application/x-protobuf", sent)
}

fn json_type(program: Program) -> Answer {
    let sent = header(&one(program, "encoding: json"), "content-type");
    answer(sent == "application/json", sent)
}

fn json_form(program: Program) -> Answer {
    let backend = Backend::start();
    let running = program.start(&Setup::new(HTTP, backend.address, "encoding: json"));
    let id = "5b8efff798038103d269b633813fc60c";
    let record = json!({"body": {"stringValue": "form"}, "traceId": id, "spanId": "eee19b7ec3c1b174",
        "severityNumber": 17, "timeUnixNano": "1790000000123456789"});
    let body = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}).to_string();
    assert_eq!(call::post(running.http, "/v1/logs", JSON, body.as_bytes()).status, 200);
    let came = backend.wait_for("form", 1).remove(0);
    let sent: Value = serde_json::from_slice(&came.message).unwrap();
    let sent = &sent["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
    let is_right = sent["traceId"].as_str().is_some_and(|sent| sent.eq_ignore_ascii_case(id))
        && sent["severityNumber"] == 17
        && sent["timeUnixNano"] == "1790000000123456789";
    answer(is_right, if is_right { "all of it" } else { "not all of it" })
}

fn gzip(program: Program) -> Answer {
    let sent = header(&one(program, "compression: gzip"), "content-encoding");
    answer(sent == "gzip", sent)
}

fn empty(program: Program) -> Answer {
    let backend = Backend::start();
    backend.say("never", [Say::Take]);
    let running = program.start(&Setup::new(GRPC, backend.address, ""));
    let hollow = ExportLogsServiceRequest { resource_logs: vec![Default::default()] }.encode_to_vec();
    for envelope in [&hollow[..], &[]] {
        assert_eq!(call::grpc(running.grpc, call::LOGS, envelope).code, tonic::Code::Ok);
    }
    running.log("full");
    backend.wait_for("full", 1);
    let hollow = backend.seen().iter().filter(|seen| seen.bodies.is_empty()).count();
    answer(hollow == 0, if hollow == 0 { "none were sent" } else { "they are sent on" })
}
