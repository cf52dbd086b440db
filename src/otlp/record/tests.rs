use opentelemetry_proto::tonic::common::v1::ArrayValue;
use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{Gauge, ResourceMetrics, ScopeMetrics, number_data_point};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Status};
use serde_json::{Value as Json, json};

use super::*;

pub(crate) fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

pub(crate) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn logs(log_records: Vec<LogRecord>) -> Vec<u8> {
    let scope = InstrumentationScope { name: "tidegate.kernel".into(), version: "2".into(), ..Default::default() };
    let resource = Resource { attributes: vec![text("host.name", "h")], ..Default::default() };
    let scope_logs = vec![ScopeLogs { scope: Some(scope), log_records, schema_url: String::new() }];
    let resource_logs = vec![ResourceLogs { resource: Some(resource), scope_logs, schema_url: String::new() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}

fn as_json(signal: Signal, payload: &[u8]) -> Vec<Json> {
    let request = Request::decode(signal, payload).unwrap();
    let write = |record: &Record<'_>| {
        let mut out = String::new();
        record.write_json("kernel", 7, &mut out);
        serde_json::from_str(&out).unwrap()
    };
    request.records().iter().map(write).collect()
}

#[test]
fn a_log_record_has_every_member_and_flat_attributes_of_their_own_types() {
    let list = ArrayValue { values: vec![AnyValue { value: Some(Value::IntValue(1)) }, AnyValue { value: None }] };
    let record = LogRecord {
        time_unix_nano: 1_544_712_660_300_000_001,
        observed_time_unix_nano: 1_544_712_661_000_000_000,
        severity_number: 17,
        body: Some(AnyValue { value: Some(Value::StringValue("bash crashed".into())) }),
        attributes: vec![
            text("log.record.uid", "01J0"),
            attribute("process.pid", Value::IntValue(42)),
            attribute("ratio", Value::DoubleValue(0.5)),
            attribute("nan", Value::DoubleValue(f64::NAN)),
            attribute("on", Value::BoolValue(true)),
            attribute("list", Value::ArrayValue(list)),
        ],
        trace_id: vec![0xab; 16],
        event_name: "kernel.process.crash".into(),
        ..Default::default()
    };
    let payload = logs(vec![LogRecord::default(), record]);
    assert_eq!(
        as_json(Signal::Logs, &payload)[1],
        json!({
            "log": "kernel", "sequence": 7, "index": 1, "signal": "logs",
            "event_name": "kernel.process.crash",
            "time": "2018-12-13T14:51:00.300000001Z",
            "observed_time": "2018-12-13T14:51:01.000000000Z",
            "severity_number": 17,
            "uid": "01J0",
            "body": "bash crashed",
            "attributes": {
                "log.record.uid": "01J0", "process.pid": 42, "ratio": 0.5, "nan": "NaN", "on": true, "list": [1, null]
            },
            "resource": {"host.name": "h"},
            "scope": {"name": "tidegate.kernel", "version": "2"},
            "trace_id": "abababababababababababababababab",
        })
    );
}

#[test]
fn what_a_log_record_does_not_say_is_null() {
    let record = &as_json(Signal::Logs, &logs(vec![LogRecord::default()]))[0];
    for member in ["event_name", "time", "observed_time", "severity_number", "uid", "body"] {
        assert_eq!(record[member], Json::Null, "{member}");
        assert!(record.as_object().unwrap().contains_key(member), "{member}");
    }
    assert_eq!(record["attributes"], json!({}));
}

#[test]
fn the_event_name_of_older_senders_is_found_in_the_attribute() {
    let record = LogRecord { attributes: vec![text("event.name", "device.app.lifecycle")], ..Default::default() };
    assert_eq!(as_json(Signal::Logs, &logs(vec![record]))[0]["event_name"], "device.app.lifecycle");
}

#[test]
fn a_span_shows_its_name_times_and_status() {
    let span = Span {
        name: "GET /".into(),
        kind: 2,
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        start_time_unix_nano: 1_000_000_000,
        end_time_unix_nano: 2_000_000_000,
        status: Some(Status { code: 2, message: "bad".into() }),
        ..Default::default()
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..Default::default() }];
    let payload =
        ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..Default::default() }] };
    let record = &as_json(Signal::Traces, &payload.encode_to_vec())[0];
    assert_eq!(record["signal"], "traces");
    assert_eq!(record["name"], "GET /");
    assert_eq!(record["kind"], "server");
    assert_eq!(record["time"], "1970-01-01T00:00:01.000000000Z");
    assert_eq!(record["end_time"], "1970-01-01T00:00:02.000000000Z");
    assert_eq!((&record["status"], &record["status_message"]), (&json!("error"), &json!("bad")));
    assert_eq!(record["span_id"], "0202020202020202");
}

#[test]
fn each_data_point_of_a_metric_is_a_record() {
    let point = |value| NumberDataPoint {
        time_unix_nano: 1,
        attributes: vec![attribute("cpu", Value::IntValue(value))],
        value: Some(number_data_point::Value::AsInt(value)),
        ..Default::default()
    };
    let metric = Metric {
        name: "cpu.time".into(),
        unit: "s".into(),
        data: Some(metric::Data::Gauge(Gauge { data_points: vec![point(4), point(5)] })),
        ..Default::default()
    };
    let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..Default::default() }];
    let payload =
        ExportMetricsServiceRequest { resource_metrics: vec![ResourceMetrics { scope_metrics, ..Default::default() }] };
    let records = as_json(Signal::Metrics, &payload.encode_to_vec());
    assert_eq!(records.len(), 2);
    assert_eq!(records[1]["index"], 1);
    assert_eq!(records[1]["name"], "cpu.time");
    assert_eq!(
        (&records[1]["value"], &records[1]["type"], &records[1]["unit"]),
        (&json!(5), &json!("gauge"), &json!("s"))
    );
    assert_eq!(records[1]["attributes"], json!({"cpu": 5}));
}

#[test]
fn a_payload_that_is_no_request_is_an_error_that_names_the_signal() {
    let error = Request::decode(Signal::Traces, b"\x0a\xff").unwrap_err();
    assert!(error.to_string().starts_with("malformed OTLP traces request: "), "{error}");
}

#[test]
fn the_latest_possible_time_is_written_not_refused() {
    assert_eq!(rfc3339(u64::MAX), "2554-07-21T23:34:33.709551615Z");
}

#[test]
fn in_parts_a_request_has_the_same_records() {
    let record = |n: usize| LogRecord { event_name: "x".repeat(n % 500), ..Default::default() };
    // More than is decoded at once, in records and in bytes.
    for count in [0, 1, 10_000] {
        let payload = logs((0..count).map(record).collect());
        let whole = Request::decode(Signal::Logs, &payload).unwrap();
        let line = |record: &Record<'_>| {
            let mut out = String::new();
            record.write_json("kernel", 7, &mut out);
            out
        };
        let expected: Vec<String> = whole.records().iter().map(line).collect();
        let mut found = Vec::new();
        for part in Parts::new(Signal::Logs, &payload) {
            let Part::Records(part) = part.unwrap() else { panic!("none is too large") };
            found.extend(part.records().iter().map(line));
        }
        assert_eq!(found, expected);
    }
}

#[test]
fn parts_of_what_is_no_request_end_with_the_fault() {
    let parts: Vec<_> = Parts::new(Signal::Logs, b"\x0a\xff").collect();
    assert_eq!(parts.len(), 1);
    let error = parts[0].as_ref().unwrap_err().to_string();
    assert!(error.starts_with("malformed OTLP logs request: "), "{error}");
}
