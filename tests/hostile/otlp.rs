//! Valid telemetry, to be spoiled.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

fn text(text: &str) -> Option<AnyValue> {
    Some(AnyValue { value: Some(Value::StringValue(text.to_owned())) })
}

fn attributes() -> Vec<KeyValue> {
    ["service.name", "host.name"]
        .map(|key| KeyValue { key: key.to_owned(), value: text("a value"), ..KeyValue::default() })
        .into()
}

fn requests() -> (ExportLogsServiceRequest, ExportTraceServiceRequest, ExportMetricsServiceRequest) {
    let resource = || Some(Resource { attributes: attributes(), ..Resource::default() });
    let scope = || Some(InstrumentationScope { name: "scope".into(), ..InstrumentationScope::default() });
    let record = LogRecord {
        time_unix_nano: 1_790_000_000_000_000_000,
        severity_number: 9,
        body: text("a body that is long enough to be spoiled in many places"),
        attributes: attributes(),
        trace_id: vec![7; 16],
        span_id: vec![7; 8],
        ..LogRecord::default()
    };
    let span = Span {
        trace_id: vec![7; 16],
        span_id: vec![7; 8],
        name: "span".into(),
        attributes: attributes(),
        ..Span::default()
    };
    let value = Some(number_data_point::Value::AsDouble(1.5));
    let point = NumberDataPoint { attributes: attributes(), value, ..NumberDataPoint::default() };
    let metric = Metric {
        name: "metric".into(),
        data: Some(Data::Gauge(Gauge { data_points: vec![point; 3] })),
        ..Metric::default()
    };
    let logs = ScopeLogs { scope: scope(), log_records: vec![record; 3], ..ScopeLogs::default() };
    let spans = ScopeSpans { scope: scope(), spans: vec![span; 3], ..ScopeSpans::default() };
    let metrics = ScopeMetrics { scope: scope(), metrics: vec![metric; 3], ..ScopeMetrics::default() };
    (
        ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs { resource: resource(), scope_logs: vec![logs], ..Default::default() }],
        },
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: resource(),
                scope_spans: vec![spans],
                ..Default::default()
            }],
        },
        ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: resource(),
                scope_metrics: vec![metrics],
                ..Default::default()
            }],
        },
    )
}

/// Logs, traces, metrics in protobuf.
pub(crate) fn samples() -> [Vec<u8>; 3] {
    let (logs, traces, metrics) = requests();
    [logs.encode_to_vec(), traces.encode_to_vec(), metrics.encode_to_vec()]
}

/// The same in JSON.
pub(crate) fn json_samples() -> [String; 3] {
    let (logs, traces, metrics) = requests();
    [
        serde_json::to_string(&logs).unwrap(),
        serde_json::to_string(&traces).unwrap(),
        serde_json::to_string(&metrics).unwrap(),
    ]
}

/// One record whose body is so many lists, or maps, in each other.
pub(crate) fn deep_json(depth: usize, list: bool) -> String {
    let (open, close) = if list {
        ("{\"arrayValue\":{\"values\":[", "]}}")
    } else {
        ("{\"kvlistValue\":{\"values\":[{\"key\":\"k\",\"value\":", "}]}}")
    };
    let inner = if list { "" } else { "{}" };
    let body = format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
    format!("{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{{\"body\":{body}}}]}}]}}]}}")
}

/// The same in protobuf.
pub(crate) fn deep_protobuf(depth: usize, list: bool) -> Vec<u8> {
    let field = |number: u8, inside: &[u8]| {
        let mut out = vec![number << 3 | 2];
        prost::encoding::encode_varint(inside.len() as u64, &mut out);
        out.extend_from_slice(inside);
        out
    };
    let mut value = Vec::new();
    for _ in 0..depth {
        // AnyValue: array_value is 5, kvlist_value 6; of KeyValue the value is 2.
        value = if list { field(5, &field(1, &value)) } else { field(6, &field(1, &field(2, &value))) };
    }
    field(1, &field(2, &field(2, &field(5, &value))))
}
