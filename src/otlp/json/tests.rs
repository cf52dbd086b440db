use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
    exponential_histogram_data_point::Buckets, metric, number_data_point, summary_data_point::ValueAtQuantile,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use proptest::prelude::*;
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label as ProtoLabel, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

use super::schema::{self, Field, Kind, Label, Message};
use super::{Reader, Signal, text, write_line};

fn line(signal: Signal, request: &impl prost::Message) -> String {
    let mut out = String::new();
    write_line(signal, &request.encode_to_vec(), &mut out).unwrap();
    out
}

fn some(value: Any) -> Option<AnyValue> {
    Some(AnyValue { value: Some(value) })
}

fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.into(), value: some(value), key_strindex: 0 }
}

fn logs(log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope = InstrumentationScope { name: "tidegate.kernel".into(), version: "1".into(), ..Default::default() };
    let scope_logs = ScopeLogs { scope: Some(scope), log_records, schema_url: "https://scope".into() };
    let resource =
        Resource { attributes: vec![attribute("host.name", Any::StringValue("h".into()))], ..Default::default() };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource),
            scope_logs: vec![scope_logs],
            schema_url: String::new(),
        }],
    }
}

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

fn number_point() -> NumberDataPoint {
    NumberDataPoint {
        attributes: vec![attribute("k", Any::BoolValue(true))],
        start_time_unix_nano: 1,
        time_unix_nano: 2,
        exemplars: vec![Exemplar {
            filtered_attributes: vec![attribute("k", Any::IntValue(0))],
            time_unix_nano: 3,
            span_id: vec![1; 8],
            trace_id: vec![2; 16],
            value: Some(exemplar::Value::AsInt(-5)),
        }],
        flags: 1,
        value: Some(number_data_point::Value::AsInt(i64::MIN)),
    }
}

/// One metric of each type, every field set.
fn metrics() -> ExportMetricsServiceRequest {
    let buckets = || Some(Buckets { offset: -3, bucket_counts: vec![0, 300, u64::MAX] });
    let histogram = HistogramDataPoint {
        attributes: vec![attribute("k", Any::IntValue(1))],
        start_time_unix_nano: 1,
        time_unix_nano: 2,
        count: 3,
        sum: Some(-0.5),
        bucket_counts: vec![1, 2, u64::MAX],
        explicit_bounds: vec![0.5, 1e9],
        exemplars: vec![Exemplar { value: Some(exemplar::Value::AsDouble(2.5)), ..Default::default() }],
        flags: 1,
        min: Some(0.0),
        max: Some(9.0),
    };
    let exponential = ExponentialHistogramDataPoint {
        time_unix_nano: 2,
        count: 3,
        sum: Some(1.0),
        scale: i32::MIN,
        zero_count: 4,
        positive: buckets(),
        negative: buckets(),
        zero_threshold: 0.25,
        min: Some(-1.0),
        max: Some(1.0),
        ..Default::default()
    };
    let summary = SummaryDataPoint {
        count: 1,
        sum: 2.0,
        quantile_values: vec![ValueAtQuantile { quantile: 0.99, value: 7.0 }],
        ..Default::default()
    };
    let metric = |name: &str, data| Metric {
        name: name.into(),
        description: "d".into(),
        unit: "By".into(),
        metadata: vec![attribute("m", Any::StringValue("x".into()))],
        data: Some(data),
    };
    let metrics = vec![
        metric("gauge", metric::Data::Gauge(Gauge { data_points: vec![number_point()] })),
        metric(
            "sum",
            metric::Data::Sum(Sum {
                data_points: vec![number_point()],
                aggregation_temporality: 2,
                is_monotonic: true,
            }),
        ),
        metric(
            "histogram",
            metric::Data::Histogram(Histogram { data_points: vec![histogram], aggregation_temporality: 1 }),
        ),
        metric(
            "exponential",
            metric::Data::ExponentialHistogram(ExponentialHistogram {
                data_points: vec![exponential],
                aggregation_temporality: 2,
            }),
        ),
        metric("summary", metric::Data::Summary(Summary { data_points: vec![summary] })),
    ];
    let scope_metrics = ScopeMetrics { metrics, ..Default::default() };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { scope_metrics: vec![scope_metrics], ..Default::default() }],
    }
}

fn spans() -> ExportTraceServiceRequest {
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        trace_state: "a=b".into(),
        parent_span_id: vec![3; 8],
        flags: 0x301,
        name: "GET /".into(),
        kind: 2,
        start_time_unix_nano: 5,
        end_time_unix_nano: 6,
        attributes: vec![attribute("k", Any::DoubleValue(1.5))],
        dropped_attributes_count: 1,
        events: vec![span::Event { time_unix_nano: 5, name: "e".into(), ..Default::default() }],
        dropped_events_count: 2,
        links: vec![span::Link { trace_id: vec![9; 16], span_id: vec![8; 8], flags: 1, ..Default::default() }],
        dropped_links_count: 3,
        status: Some(Status { message: "bad".into(), code: 2 }),
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..Default::default() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..Default::default() }] }
}

#[test]
fn metrics_and_spans_read_back_as_they_were() {
    let read: ExportMetricsServiceRequest = serde_json::from_str(&line(Signal::Metrics, &metrics())).unwrap();
    assert_eq!(read, metrics());
    let read: ExportTraceServiceRequest = serde_json::from_str(&line(Signal::Traces, &spans())).unwrap();
    assert_eq!(read, spans());
}

fn any_value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        ".*".prop_map(Any::StringValue),
        any::<bool>().prop_map(Any::BoolValue),
        any::<i64>().prop_map(Any::IntValue),
        (-1e300..1e300).prop_map(Any::DoubleValue),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Any::BytesValue),
    ]
    .prop_map(|value| AnyValue { value: Some(value) });
    leaf.prop_recursive(4, 20, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..5)
                .prop_map(|values| AnyValue { value: Some(Any::ArrayValue(ArrayValue { values })) }),
            prop::collection::vec((".+", inner), 1..5).prop_map(|values| {
                let values = values
                    .into_iter()
                    .map(|(key, value)| KeyValue { key, value: Some(value), key_strindex: 0 })
                    .collect();
                AnyValue { value: Some(Any::KvlistValue(KeyValueList { values })) }
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_log_record_reads_back_as_it_was(
        body in any_value(),
        attributes in prop::collection::vec((".+", any_value()), 0..4),
        (time, severity, event) in (any::<u64>(), 0..25, ".*"),
    ) {
        let attributes = attributes
            .into_iter()
            .map(|(key, value)| KeyValue { key, value: Some(value), key_strindex: 0 })
            .collect();
        let record = LogRecord {
            time_unix_nano: time,
            severity_number: severity,
            body: Some(body),
            attributes,
            event_name: event,
            ..Default::default()
        };
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
    super::write_message(any_value_table(), Reader::new(&any), &mut out, 0).unwrap();
    assert_eq!(out, r#"{"boolValue":true}"#);
}

fn any_value_table() -> &'static Message {
    let mut tables = BTreeMap::new();
    reach(&schema::LOGS_REQUEST, &mut tables);
    tables["AnyValue"]
}

fn reach(message: &'static Message, tables: &mut BTreeMap<&'static str, &'static Message>) {
    if tables.insert(message.name, message).is_none() {
        for field in message.fields {
            if let Kind::Message(inner) = field.kind {
                reach(inner, tables);
            }
        }
    }
}

/// Every message of the protocol, nested ones too, by its last name.
fn described() -> BTreeMap<String, DescriptorProto> {
    let files = FileDescriptorSet::decode(opentelemetry_proto::DESCRIPTORS).unwrap();
    let mut waiting: Vec<DescriptorProto> = files
        .file
        .into_iter()
        .filter(|file| !file.package().contains("profiles") && !file.package().contains("tracez"))
        .flat_map(|file| file.message_type)
        .collect();
    let mut messages = BTreeMap::new();
    while let Some(message) = waiting.pop() {
        waiting.extend(message.nested_type.iter().cloned());
        messages.insert(message.name().to_owned(), message);
    }
    messages
}

fn assert_row(field: &Field, described: &FieldDescriptorProto) {
    assert_eq!(field.name, described.json_name());
    let label = match (described.label(), described.oneof_index, described.proto3_optional()) {
        (ProtoLabel::Repeated, ..) => Label::Many,
        (_, Some(_), false) => Label::Choice,
        _ => Label::One,
    };
    assert_eq!(field.label, label, "{}", field.name);
    let same = match field.kind {
        Kind::Bool => described.r#type() == Type::Bool,
        Kind::Int32 => matches!(described.r#type(), Type::Int32 | Type::Enum),
        Kind::Uint32 => described.r#type() == Type::Uint32,
        Kind::Sint32 => described.r#type() == Type::Sint32,
        Kind::Fixed32 => described.r#type() == Type::Fixed32,
        Kind::Int64 => described.r#type() == Type::Int64,
        Kind::Uint64 => described.r#type() == Type::Uint64,
        Kind::Fixed64 => described.r#type() == Type::Fixed64,
        Kind::Sfixed64 => described.r#type() == Type::Sfixed64,
        Kind::Double => described.r#type() == Type::Double,
        Kind::String => described.r#type() == Type::String,
        Kind::Base64 => described.r#type() == Type::Bytes && !field.name.ends_with("Id"),
        Kind::Hex => described.r#type() == Type::Bytes && field.name.ends_with("Id"),
        Kind::Message(inner) => described.type_name().rsplit('.').next() == Some(inner.name),
    };
    assert!(same, "{}: {:?} in the table, {:?} in the protocol", field.name, field.kind, described.r#type());
}

#[test]
fn the_tables_are_the_protocol() {
    let described = described();
    let mut tables = BTreeMap::new();
    for request in [&schema::LOGS_REQUEST, &schema::TRACES_REQUEST, &schema::METRICS_REQUEST] {
        reach(request, &mut tables);
    }
    assert_eq!(tables.len(), 34);
    for (name, table) in tables {
        let message = &described[name];
        let mut fields = message.field.clone();
        fields.sort_by_key(FieldDescriptorProto::number);
        let numbers: Vec<_> = fields.iter().map(|field| u32::try_from(field.number()).unwrap()).collect();
        assert_eq!(table.fields.iter().map(|field| field.number).collect::<Vec<_>>(), numbers, "{name}");
        table.fields.iter().zip(&fields).for_each(|(field, described)| assert_row(field, described));
    }
}
