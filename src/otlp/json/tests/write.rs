use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use proptest::prelude::*;
use prost::Message as _;

use super::line;
use super::samples::{any_log_record, attribute, logs, metrics, some, spans};
use super::tables::any_value_table;
use crate::otlp::Signal;
use crate::otlp::json::body::Body;
use crate::otlp::json::write::write_message;
use crate::otlp::json::{text, write_line};
use crate::otlp::wire::{Reader, put_delimited};

#[test]
fn a_log_record_is_written_as_the_specification_says() {
    let record = LogRecord {
        time_unix_nano: 1_544_712_660_300_000_001,
        observed_time_unix_nano: u64::MAX,
        severity_number: 17,
        severity_text: "ERROR".into(),
        body: some(Any::StringValue("a \"quoted\"\nline \u{1b}[31m ü".into())),
        attributes: vec![
            attribute("int", Any::IntValue(i64::MIN)),
            attribute("list", Any::ArrayValue(ArrayValue { values: vec![some(Any::BoolValue(false)).unwrap()] })),
            attribute(
                "map",
                Any::KvlistValue(KeyValueList { values: vec![attribute("a.b", Any::BytesValue(vec![0, 255, 1]))] }),
            ),
            KeyValue { key: "empty".into(), value: Some(AnyValue { value: None }), key_strindex: 0 },
        ],
        flags: 1,
        trace_id: (0..16).collect(),
        span_id: vec![0xab; 8],
        event_name: "kernel.oom.kill".into(),
        ..Default::default()
    };
    assert_eq!(
        line(Signal::Logs, &logs(vec![record])),
        concat!(
            r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"host.name","value":{"stringValue":"h"}}]},"#,
            r#""scopeLogs":[{"scope":{"name":"tidegate.kernel","version":"1"},"#,
            r#""logRecords":[{"timeUnixNano":"1544712660300000001","severityNumber":17,"severityText":"ERROR","#,
            r#""body":{"stringValue":"a \"quoted\"\nline \u001b[31m ü"},"#,
            r#""attributes":[{"key":"int","value":{"intValue":"-9223372036854775808"}},"#,
            r#"{"key":"list","value":{"arrayValue":{"values":[{"boolValue":false}]}}},"#,
            r#"{"key":"map","value":{"kvlistValue":{"values":[{"key":"a.b","value":{"bytesValue":"AP8B"}}]}}},"#,
            r#"{"key":"empty","value":{}}],"#,
            r#""flags":1,"traceId":"000102030405060708090a0b0c0d0e0f","spanId":"abababababababab","#,
            r#""observedTimeUnixNano":"18446744073709551615","eventName":"kernel.oom.kill"}],"#,
            r#""schemaUrl":"https://scope"}]}]}"#,
            "\n"
        )
    );
}

#[test]
fn doubles_that_json_has_no_number_for_are_strings() {
    let mut out = String::new();
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.1, -0.0, 1e300, 5e-324, 3.0] {
        text::double(&mut out, value);
        out.push(' ');
    }
    assert_eq!(out, r#""NaN" "Infinity" "-Infinity" 0.1 -0.0 1e300 5e-324 3.0 "#);
    let record = LogRecord { body: some(Any::DoubleValue(f64::NAN)), ..Default::default() };
    assert!(line(Signal::Logs, &logs(vec![record])).contains(r#""body":{"doubleValue":"NaN"}"#));
}

#[test]
fn metrics_and_spans_read_back_as_they_were() {
    let read: ExportMetricsServiceRequest = serde_json::from_str(&line(Signal::Metrics, &metrics())).unwrap();
    assert_eq!(read, metrics());
    let read: ExportTraceServiceRequest = serde_json::from_str(&line(Signal::Traces, &spans())).unwrap();
    assert_eq!(read, spans());
}

proptest! {
    #[test]
    fn any_log_record_reads_back_as_it_was(
        record in any_log_record(),
    ) {
        let request = logs(vec![record.clone(), record]);
        let line = line(Signal::Logs, &request);
        prop_assert_eq!(line.matches('\n').count(), 1);
        let read: ExportLogsServiceRequest = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(read, request);
    }

    #[test]
    fn no_bytes_make_it_panic_or_write_broken_json(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for signal in Signal::ALL {
            let mut out = String::from("before");
            match write_line(signal, &bytes, &mut out) {
                Ok(()) => { serde_json::from_str::<serde_json::Value>(&out["before".len()..]).unwrap(); }
                Err(_) => prop_assert_eq!(&out, "before"),
            }
        }
    }
}

#[test]
fn a_cut_request_is_an_error() {
    let bytes = logs(vec![LogRecord { event_name: "e".into(), ..Default::default() }]).encode_to_vec();
    // The lengths around the record now promise one byte more than there is.
    let mut out = String::new();
    let error = write_line(Signal::Logs, &bytes[..bytes.len() - 1], &mut out).unwrap_err();
    assert_eq!(error.to_string(), "malformed protobuf at byte 2: a field ends beyond its message");
    assert_eq!(out, "");
}

#[test]
fn values_nested_too_deep_are_an_error() {
    let mut value = AnyValue { value: Some(Any::BoolValue(true)) };
    for _ in 0..50 {
        value = AnyValue { value: Some(Any::ArrayValue(ArrayValue { values: vec![value] })) };
    }
    let request = logs(vec![LogRecord { body: Some(value), ..Default::default() }]);
    let error = write_line(Signal::Logs, &request.encode_to_vec(), &mut String::new()).unwrap_err();
    assert!(error.to_string().contains("nested too deep"), "{error}");
}

#[test]
fn split_messages_are_merged_and_of_a_choice_the_last_counts() {
    // A resource in two pieces, as protobuf allows: field 1 twice.
    let piece = |key: &str| Resource { attributes: vec![attribute(key, Any::BoolValue(true))], ..Default::default() };
    let [a, b] =
        ["a", "b"].map(|key| ResourceLogs { resource: Some(piece(key)), ..Default::default() }.encode_to_vec());
    let mut resource_logs = vec![0x0a, u8::try_from(a.len() + b.len()).unwrap()];
    resource_logs.extend(a.into_iter().chain(b));
    let mut out = String::new();
    write_line(Signal::Logs, &resource_logs, &mut out).unwrap();
    let read: ExportLogsServiceRequest = serde_json::from_str(&out).unwrap();
    assert_eq!(read, ExportLogsServiceRequest::decode(resource_logs.as_slice()).unwrap());
    assert_eq!(read.resource_logs[0].resource.as_ref().unwrap().attributes.len(), 2);

    // An AnyValue that says "string" and then "bool".
    let any = [0x0a, 1, b'x', 0x10, 1];
    let mut out = String::new();
    write_message(any_value_table(), &Body::Whole(Reader::new(&any)), &mut out, 0).unwrap();
    assert_eq!(out, r#"{"boolValue":true}"#);
}

#[test]
fn two_million_members_of_a_choice_take_time_in_proportion() {
    // An AnyValue that says "bool" again and again; walking what was found for each would take days.
    let any = [0x10, 0].repeat(2_000_000);
    let started = std::time::Instant::now();
    let mut out = String::new();
    write_message(any_value_table(), &Body::Whole(Reader::new(&any)), &mut out, 0).unwrap();
    assert_eq!(out, r#"{"boolValue":false}"#);
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
}

proptest! {
    /// As protobuf allows: a message in pieces, its body and the lists in that too.
    #[test]
    fn a_record_in_pieces_reads_back_merged(pieces in prop::collection::vec(any_log_record(), 2..5)) {
        let record: Vec<u8> = pieces.iter().flat_map(|piece| piece.encode_to_vec()).collect();
        let mut scope_logs = Vec::new();
        put_delimited(&mut scope_logs, 2, &record);
        let (mut resource_logs, mut request) = (Vec::new(), Vec::new());
        put_delimited(&mut resource_logs, 2, &scope_logs);
        put_delimited(&mut request, 1, &resource_logs);
        let mut out = String::new();
        write_line(Signal::Logs, &request, &mut out).unwrap();
        let read: ExportLogsServiceRequest = serde_json::from_str(&out).unwrap();
        prop_assert_eq!(read, ExportLogsServiceRequest::decode(request.as_slice()).unwrap());
    }
}
