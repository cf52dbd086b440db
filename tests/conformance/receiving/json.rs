//! The JSON encoding. What was understood is read where it arrives, in protobuf.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message as _;
use serde_json::{Value, json};

use super::Server;
use crate::call::{self, JSON, Reply};
use crate::program::{PATIENCE, Program};
use crate::support::wait_for;
use crate::table::Level::Must;
use crate::table::{Answer, Duty, Side, answer};

const ENCODING: &str = "JSON Protobuf Encoding";

pub(super) fn duties() -> Vec<Duty> {
    let duty = |text, ask| Duty::new(Side::Server, ENCODING, Must, text, ask);
    vec![
        duty("read `traceId` and `spanId` as hex, in either case", ids),
        duty("read enums as integers (a client must not send names)", enums),
        duty("ignore fields with unknown names", unknown),
        duty("read keys in lowerCamelCase (a client must not send others)", keys),
        duty("read 64-bit integers as numbers and as strings", long_integers),
        duty("answer with `Content-Type: application/json`", content_type),
        Duty::new(
            Side::Server,
            "OTLP/HTTP Request",
            Must,
            "take logs, traces and metrics at their default paths",
            paths,
        ),
    ]
}

fn record(record: &Value) -> Vec<u8> {
    json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}).to_string().into_bytes()
}

fn send(server: &Server, fields: &Value) -> Reply {
    call::post(server.program.http, "/v1/logs", JSON, &record(fields))
}

/// The record with this body, as it was forwarded.
fn forwarded(server: &Server, body: &str) -> LogRecord {
    let came = server.backend.wait_for(body, 1).remove(0);
    let request = ExportLogsServiceRequest::decode(&*came.message).unwrap();
    let mut records = request.resource_logs.into_iter().flat_map(|r| r.scope_logs).flat_map(|s| s.log_records);
    let is_it = |record: &LogRecord| matches!(record.body.as_ref().and_then(|body| body.value.as_ref()), Some(AnyValue::StringValue(text)) if text == body);
    records.find(is_it).unwrap()
}

fn ids(program: Program) -> Answer {
    let server = Server::of(program);
    let id = "5b8efff798038103d269b633813fc60c";
    for (body, id, span) in
        [("lower", id.to_owned(), "eee19b7ec3c1b174"), ("upper", id.to_uppercase(), "EEE19B7EC3C1B174")]
    {
        send(&server, &json!({"body": {"stringValue": body}, "traceId": id, "spanId": span}));
    }
    let read = |body| {
        let record = forwarded(&server, body);
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        hex(&record.trace_id) == id && hex(&record.span_id) == "eee19b7ec3c1b174"
    };
    let both = read("lower") && read("upper");
    answer(both, if both { "both" } else { "not both" })
}

fn enums(program: Program) -> Answer {
    let server = Server::of(program);
    send(&server, &json!({"body": {"stringValue": "number"}, "severityNumber": 17}));
    let number = forwarded(&server, "number").severity_number;
    let name = send(&server, &json!({"body": {"stringValue": "name"}, "severityNumber": "SEVERITY_NUMBER_ERROR"}));
    let name = match name.status {
        200 => format!("is read as {}", forwarded(&server, "name").severity_number),
        status => format!("is answered {status}"),
    };
    answer(number == 17, format!("17 is read as {number}; its name {name}"))
}

fn unknown(program: Program) -> Answer {
    let server = Server::of(program);
    let body = json!({"stringValue": "known"});
    let reply = send(&server, &json!({"body": body, "severityText": "x", "later": {"deep": [1, {"a": null}]}}));
    let kept = forwarded(&server, "known").severity_text == "x";
    answer(reply.status == 200 && kept, format!("{}, the others kept", reply.status))
}

fn keys(program: Program) -> Answer {
    let server = Server::of(program);
    let reply = send(&server, &json!({"body": {"stringValue": "keys"}, "severity_text": "snake", "severityNumber": 9}));
    let record = forwarded(&server, "keys");
    let other = if record.severity_text.is_empty() { "ignored" } else { "read too" };
    answer(
        reply.status == 200 && record.severity_number == 9,
        format!("`severityNumber` is read; `severity_text` is {other}"),
    )
}

fn long_integers(program: Program) -> Answer {
    let server = Server::of(program);
    send(&server, &json!({"body": {"stringValue": "string"}, "timeUnixNano": "1790000000123456789"}));
    send(&server, &json!({"body": {"stringValue": "number"}, "timeUnixNano": 1_790_000_000_123_456_789_u64}));
    let read = |body| forwarded(&server, body).time_unix_nano == 1_790_000_000_123_456_789;
    let both = read("string") && read("number");
    answer(both, if both { "both, to the nanosecond" } else { "not both" })
}

fn content_type(program: Program) -> Answer {
    let server = Server::of(program);
    let good = send(&server, &json!({"body": {"stringValue": "good"}}));
    let bad = call::post(server.program.http, "/v1/logs", JSON, b"garbage");
    let both = [&good, &bad].iter().all(|reply| reply.content_type() == "application/json");
    answer(both, format!("{} on success, {} on failure", good.content_type(), bad.content_type()))
}

fn paths(program: Program) -> Answer {
    let server = Server::of(program);
    let span = json!({"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": "span"});
    let point = json!({"name": "metric", "gauge": {"dataPoints": [{"asDouble": 1.5}]}});
    let post = |path, body: Value| call::post(server.program.http, path, JSON, body.to_string().as_bytes()).status;
    let codes = [
        post(
            "/v1/logs",
            json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "log"}}]}]}]}),
        ),
        post("/v1/traces", json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})),
        post("/v1/metrics", json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [point]}]}]})),
    ];
    server.backend.wait_for("log", 1);
    let came = |path: &str, has: fn(&[u8]) -> bool| {
        wait_for(PATIENCE, || {
            server.backend.seen().iter().any(|seen| seen.path == path && has(&seen.message)).then_some(())
        })
        .is_some()
    };
    let all = came(call::TRACES, |m| ExportTraceServiceRequest::decode(m).is_ok_and(|r| r.resource_spans.len() == 1))
        && came(call::METRICS, |m| ExportMetricsServiceRequest::decode(m).is_ok_and(|r| r.resource_metrics.len() == 1));
    answer(codes == [200; 3] && all, "all three forwarded")
}
