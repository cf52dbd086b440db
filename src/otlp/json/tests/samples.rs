//! Requests with every field set, and any log record.

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

pub(super) fn some(value: Any) -> Option<AnyValue> {
    Some(AnyValue { value: Some(value) })
}

pub(super) fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.into(), value: some(value), key_strindex: 0 }
}

pub(super) fn logs(log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
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

pub(super) fn number_point() -> NumberDataPoint {
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
pub(super) fn metrics() -> ExportMetricsServiceRequest {
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

pub(super) fn spans() -> ExportTraceServiceRequest {
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

pub(super) fn any_log_record() -> impl Strategy<Value = LogRecord> {
    let attributes = prop::collection::vec((".+", any_value()), 0..4);
    (any_value(), attributes, any::<u64>(), 0..25, ".*").prop_map(|(body, attributes, time, severity, event)| {
        LogRecord {
            time_unix_nano: time,
            severity_number: severity,
            body: Some(body),
            attributes: attributes
                .into_iter()
                .map(|(key, value)| KeyValue { key, value: Some(value), key_strindex: 0 })
                .collect(),
            event_name: event,
            ..Default::default()
        }
    })
}
