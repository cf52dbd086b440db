use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use proptest::prelude::*;
use prost::Message as _;
use serde_json::{Map, Value, json};

use super::line;
use super::samples::{any_log_record, logs, metrics, spans};
use crate::otlp::json::schema::{self, Field, Kind, Label, Message};
use crate::otlp::json::{Unreadable, read, write_line};
use crate::otlp::{Signal, validate};

fn read_all(signal: Signal, json: &str) -> Result<Vec<u8>, Unreadable> {
    read(signal, json.as_bytes(), &mut |_| true)
}

/// The one log record of a request that is all defaults but for these members.
fn record(members: &str) -> LogRecord {
    let json = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{{members}}}]}}]}}]}}"#);
    let bytes = read_all(Signal::Logs, &json).unwrap();
    assert_eq!(validate(Signal::Logs, &bytes), Ok(1));
    let request = ExportLogsServiceRequest::decode(bytes.as_slice()).unwrap();
    request.resource_logs[0].scope_logs[0].log_records[0].clone()
}

fn refused(members: &str) -> String {
    let json = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{{members}}}]}}]}}]}}"#);
    read_all(Signal::Logs, &json).unwrap_err().to_string()
}

#[test]
fn metrics_and_spans_are_read_as_they_were_written() {
    let bytes = read_all(Signal::Metrics, &line(Signal::Metrics, &metrics())).unwrap();
    assert_eq!(ExportMetricsServiceRequest::decode(bytes.as_slice()).unwrap(), metrics());
    let bytes = read_all(Signal::Traces, &line(Signal::Traces, &spans())).unwrap();
    assert_eq!(ExportTraceServiceRequest::decode(bytes.as_slice()).unwrap(), spans());
}

/// A random message as OTLP JSON writes it: fields in their order, at most one of a choice.
fn random(message: &Message, rng: &mut fastrand::Rng, depth: usize) -> Value {
    let choices: Vec<u32> = message.fields.iter().filter(|f| f.label == Label::Choice).map(|f| f.number).collect();
    let chosen = rng.choice(&choices).copied();
    let mut members = Map::new();
    for field in message.fields {
        let is_wanted = match field.label {
            Label::Choice => chosen == Some(field.number),
            Label::One | Label::Many => rng.u8(..) < 200,
        };
        // Values hold values: they end somewhere.
        let is_too_deep = depth > 8 && matches!(field.kind, Kind::Message(_));
        if is_wanted && !is_too_deep {
            let value = match field.label {
                Label::Many => Value::Array((0..rng.usize(1..3)).map(|_| random_value(field, rng, depth)).collect()),
                Label::One | Label::Choice => random_value(field, rng, depth),
            };
            members.insert(field.name.to_owned(), value);
        }
    }
    Value::Object(members)
}

fn random_value(field: &Field, rng: &mut fastrand::Rng, depth: usize) -> Value {
    let text = |rng: &mut fastrand::Rng| (0..rng.usize(0..200)).map(|_| rng.char(..)).collect::<String>();
    match field.kind {
        Kind::Bool => json!(rng.bool()),
        Kind::Int32 | Kind::Sint32 => json!(rng.i32(..)),
        Kind::Uint32 | Kind::Fixed32 => json!(rng.u32(..)),
        Kind::Int64 | Kind::Sfixed64 => json!(rng.i64(..).to_string()),
        Kind::Uint64 | Kind::Fixed64 => json!(rng.u64(..).to_string()),
        Kind::Double => match f64::from_bits(rng.u64(..)) {
            double if double.is_finite() => json!(double),
            _ => json!("-Infinity"),
        },
        Kind::String => json!(text(rng)),
        Kind::Base64 => json!(["", "AP8B", "AA==", "/+8="][rng.usize(..4)]),
        Kind::Hex => json!((0..16).map(|_| format!("{:02x}", rng.u8(..))).collect::<String>()),
        Kind::Message(inner) => random(inner, rng, depth + 1),
    }
}

proptest! {
    #[test]
    fn every_field_of_json_comes_back_from_the_bytes(seed in any::<u64>()) {
        let mut rng = fastrand::Rng::with_seed(seed);
        for signal in Signal::ALL {
            let json = random(schema::request(signal), &mut rng, 0);
            let bytes = read_all(signal, &json.to_string()).unwrap();
            prop_assert!(validate(signal, &bytes).is_ok());
            let mut written = String::new();
            write_line(signal, &bytes, &mut written).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), json);
        }
    }

    #[test]
    fn any_log_record_is_read_as_the_protocols_own_types_read_it(
        record in any_log_record(),
    ) {
        let line = line(Signal::Logs, &logs(vec![record]));
        let theirs: ExportLogsServiceRequest = serde_json::from_str(&line).unwrap();
        let ours = read_all(Signal::Logs, &line).unwrap();
        prop_assert_eq!(ExportLogsServiceRequest::decode(ours.as_slice()).unwrap(), theirs);
    }

    #[test]
    fn no_text_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}\",:a-zA-Z0-9.\\\\-]{0,200}") {
        for signal in Signal::ALL {
            for json in [&bytes, text.as_bytes()] {
                if let Ok(bytes) = read(signal, json, &mut |_| true) {
                    prop_assert!(validate(signal, &bytes).is_ok());
                }
            }
        }
    }
}

#[test]
fn integers_are_numbers_or_strings() {
    for time in ["1544712660300000001", "\"1544712660300000001\""] {
        assert_eq!(record(&format!(r#""timeUnixNano":{time}"#)).time_unix_nano, 1_544_712_660_300_000_001);
    }
    assert_eq!(record(r#""timeUnixNano":1e9"#).time_unix_nano, 1_000_000_000);
    assert_eq!(record(r#""timeUnixNano":"1.5e3""#).time_unix_nano, 1_500);
    assert_eq!(record(r#""timeUnixNano":"18446744073709551615""#).time_unix_nano, u64::MAX);
    assert_eq!(record(r#""severityNumber":"17""#).severity_number, 17);
    let value = |json: &str| record(&format!(r#""body":{{"intValue":{json}}}"#)).body.unwrap().value;
    assert_eq!(value("\"-9223372036854775808\""), Some(Any::IntValue(i64::MIN)));
    assert_eq!(value("-1"), Some(Any::IntValue(-1)));
}

#[test]
fn what_a_field_does_not_take_is_refused_and_named() {
    for (members, said) in [
        (r#""timeUnixNano":-1"#, "timeUnixNano"),
        (r#""timeUnixNano":1.5"#, "timeUnixNano"),
        (r#""timeUnixNano":18446744073709551616"#, "timeUnixNano"),
        (r#""timeUnixNano":"inf""#, "timeUnixNano"),
        (r#""timeUnixNano":{}"#, "timeUnixNano"),
        (r#""severityNumber":3000000000"#, "severityNumber"),
        (r#""severityNumber":"SPAN_KIND_SERVER""#, "severityNumber"),
        (r#""severityNumber":true"#, "severityNumber"),
        (r#""severityText":5"#, "severityText"),
        (r#""body":"text""#, "AnyValue"),
        (r#""body":{"boolValue":1}"#, "boolValue"),
        (r#""body":{"doubleValue":"nan"}"#, "doubleValue"),
        (r#""body":{"bytesValue":"A*"}"#, "bytesValue"),
        (r#""traceId":"0g""#, "traceId"),
        (r#""traceId":"012""#, "traceId"),
        (r#""attributes":{}"#, "attributes"),
        (r#""attributes":[null]"#, "KeyValue"),
    ] {
        let error = refused(members);
        assert!(error.contains(said) && error.contains("line 1 column"), "{members}: {error}");
    }
}

#[test]
fn what_is_no_json_is_refused() {
    for json in ["", " ", "{", "[]", "\"\"", "{} x", r#"{"resourceLogs":[}"#] {
        assert!(read_all(Signal::Logs, json).is_err(), "{json}");
    }
    // Text that is not UTF-8, in a string.
    assert!(read(Signal::Logs, b"{\"resourceLogs\":[{\"schemaUrl\":\"\xff\"}]}", &mut |_| true).is_err());
}

#[test]
fn nothing_and_null_are_absent_and_unknown_members_are_ignored() {
    assert_eq!(read_all(Signal::Logs, "null").unwrap(), b"");
    assert_eq!(read_all(Signal::Logs, " {} \n").unwrap(), b"");
    assert_eq!(read_all(Signal::Traces, r#"{"resourceSpans":null,"resourceLogs":7}"#).unwrap(), b"");
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    assert_eq!(
        record(&format!(r#""later":{deep},"body":null,"flags":1"#)),
        LogRecord { flags: 1, ..Default::default() }
    );
}

#[test]
fn ids_are_hexadecimal_in_either_case() {
    let trace_id: Vec<u8> = (0xf0..=0xff).collect();
    assert_eq!(record(r#""traceId":"F0F1F2F3F4F5F6F7f8f9fafbfcfdfeff""#).trace_id, trace_id);
    assert_eq!(
        record(r#""traceId":"","spanId":"EEE19B7EC3C1B174""#).span_id,
        [0xee, 0xe1, 0x9b, 0x7e, 0xc3, 0xc1, 0xb1, 0x74]
    );
}

#[test]
fn bytes_are_base64_of_either_alphabet() {
    for text in ["+/8=", "+/8", "-_8=", "-_8"] {
        let body = record(&format!(r#""body":{{"bytesValue":"{text}"}}"#)).body.unwrap();
        assert_eq!(body.value, Some(Any::BytesValue(vec![0xfb, 0xff])), "{text}");
    }
}

#[test]
fn names_of_the_proto_files_and_of_enum_values_are_understood() {
    let read = record(r#""time_unix_nano":"5","severity_number":"SEVERITY_NUMBER_WARN2","dropped_attributes_count":3"#);
    assert_eq!((read.time_unix_nano, read.severity_number, read.dropped_attributes_count), (5, 14, 3));
}

#[test]
fn a_lone_surrogate_becomes_the_replacement_character() {
    let body = record(r#""body":{"stringValue":"a\ud800b\ud83d\ude00"}"#).body.unwrap();
    assert_eq!(body.value, Some(Any::StringValue("a\u{fffd}b\u{1f600}".into())));
}

#[test]
fn values_nested_too_deep_are_refused() {
    let nested = |levels: usize| r#"{"arrayValue":{"values":["#.repeat(levels) + "{}" + &"]}}".repeat(levels);
    let body = |levels: usize| format!(r#""body":{}"#, nested(levels));
    record(&body(40));
    assert!(refused(&body(50)).contains("nested too deep"));
    assert!(refused(&body(100_000)).contains("nested too deep"));
}

#[test]
fn a_request_that_grows_too_much_as_protobuf_is_refused() {
    let zeros = vec!["0"; 100_000].join(",");
    let point = format!(r#"{{"bucketCounts":[{zeros}]}}"#);
    let json = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"histogram":{{"dataPoints":[{point}]}}}}]}}]}}]}}"#
    );
    let mut most = 0;
    let mut limit = |bytes: usize| {
        most = most.max(bytes);
        bytes <= 400_000
    };
    assert!(matches!(read(Signal::Metrics, json.as_bytes(), &mut limit), Err(Unreadable::NoRoom)));
    let bytes = read_all(Signal::Metrics, &json).unwrap();
    assert!(most > 400_000 && bytes.len() > 800_000);
    // Not a byte more is needed than there is, or less.
    let exactly = |limit: usize| read(Signal::Metrics, json.as_bytes(), &mut |length| length <= limit);
    assert_eq!(exactly(bytes.len() + 16).unwrap(), bytes);
    assert!(exactly(bytes.len() - 1).is_err());
    assert_eq!(validate(Signal::Metrics, &bytes), Ok(1));
}
