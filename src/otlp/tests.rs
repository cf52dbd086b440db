//! The scanner against the generated model: what one says about bytes, the other must confirm.
#![cfg(feature = "client")]

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest as LogsRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest as MetricsRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest as TracesRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint,
    exponential_histogram_data_point::Buckets, metric::Data, summary_data_point::ValueAtQuantile,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span, Status,
    span::{Event, Link},
};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use super::wire::{MAX_DEPTH, put_delimited};
use super::*;

fn value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        Just(None),
        ".{0,8}".prop_map(|s| Some(Value::StringValue(s))),
        any::<bool>().prop_map(|b| Some(Value::BoolValue(b))),
        any::<i64>().prop_map(|i| Some(Value::IntValue(i))),
        any::<i32>().prop_map(|d| Some(Value::DoubleValue(f64::from(d)))),
        vec(any::<u8>(), 0..8).prop_map(|b| Some(Value::BytesValue(b))),
        any::<i32>().prop_map(|i| Some(Value::StringValueStrindex(i))),
    ]
    .prop_map(|value| AnyValue { value });
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(|values| Value::ArrayValue(ArrayValue { values })),
            vec(pair(inner), 0..3).prop_map(|values| Value::KvlistValue(KeyValueList { values })),
        ]
        .prop_map(|value| AnyValue { value: Some(value) })
    })
}

fn pair(value: impl Strategy<Value = AnyValue>) -> impl Strategy<Value = KeyValue> {
    (".{0,6}", prop::option::of(value)).prop_map(|(key, value)| KeyValue { key, value, key_strindex: 0 })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    vec(pair(value()), 0..3)
}

fn resource() -> impl Strategy<Value = Option<Resource>> {
    prop::option::of((attributes(), any::<u32>()).prop_map(|(attributes, dropped_attributes_count)| Resource {
        attributes,
        dropped_attributes_count,
        ..Resource::default()
    }))
}

fn scope() -> impl Strategy<Value = Option<InstrumentationScope>> {
    prop::option::of((".{0,6}", ".{0,4}", attributes()).prop_map(|(name, version, attributes)| InstrumentationScope {
        name,
        version,
        attributes,
        dropped_attributes_count: 0,
    }))
}

fn log_record() -> impl Strategy<Value = LogRecord> {
    (any::<u64>(), 0..25i32, ".{0,8}", prop::option::of(value()), attributes(), any::<u32>(), vec(any::<u8>(), 0..17))
        .prop_map(|(time_unix_nano, severity_number, text, body, attributes, flags, trace_id)| LogRecord {
            time_unix_nano,
            observed_time_unix_nano: !time_unix_nano,
            severity_number,
            severity_text: text.clone(),
            body,
            attributes,
            flags,
            trace_id,
            event_name: text,
            ..LogRecord::default()
        })
}

fn span() -> impl Strategy<Value = Span> {
    (".{0,8}", vec(any::<u8>(), 16), attributes(), any::<u64>(), any::<u32>()).prop_map(
        |(name, trace_id, attributes, time, flags)| Span {
            trace_id: trace_id.clone(),
            name: name.clone(),
            kind: -1,
            start_time_unix_nano: time,
            attributes: attributes.clone(),
            events: vec![Event { time_unix_nano: time, name: name.clone(), attributes, dropped_attributes_count: 0 }],
            links: vec![Link { trace_id, flags, ..Link::default() }],
            status: Some(Status { message: name, code: 2 }),
            flags,
            ..Span::default()
        },
    )
}

fn exemplar(attributes: Vec<KeyValue>) -> Exemplar {
    Exemplar { filtered_attributes: attributes, time_unix_nano: 7, span_id: vec![1; 8], ..Exemplar::default() }
}

fn metric() -> impl Strategy<Value = Metric> {
    (0..6u8, 0..4usize, attributes(), vec(any::<u64>(), 0..5), ".{0,6}", any::<i32>()).prop_map(
        |(kind, points, attributes, counts, name, scale)| {
            let number = NumberDataPoint {
                attributes: attributes.clone(),
                exemplars: vec![exemplar(attributes.clone())],
                time_unix_nano: 1,
                flags: 1,
                ..NumberDataPoint::default()
            };
            let histogram = HistogramDataPoint {
                attributes: attributes.clone(),
                bucket_counts: counts.clone(),
                explicit_bounds: counts.iter().map(|c| *c as f64).collect(),
                sum: Some(0.5),
                ..HistogramDataPoint::default()
            };
            let exponential = ExponentialHistogramDataPoint {
                attributes: attributes.clone(),
                scale,
                positive: Some(Buckets { offset: scale, bucket_counts: counts }),
                zero_threshold: 0.5,
                ..ExponentialHistogramDataPoint::default()
            };
            let summary = SummaryDataPoint {
                attributes: attributes.clone(),
                quantile_values: vec![ValueAtQuantile { quantile: 0.5, value: 1.0 }],
                ..SummaryDataPoint::default()
            };
            let data = match kind {
                0 => Some(Data::Gauge(Gauge { data_points: vec![number; points] })),
                1 => Some(Data::Sum(Sum {
                    data_points: vec![number; points],
                    aggregation_temporality: 2,
                    is_monotonic: true,
                })),
                2 => Some(Data::Histogram(Histogram {
                    data_points: vec![histogram; points],
                    aggregation_temporality: 1,
                })),
                3 => Some(Data::ExponentialHistogram(ExponentialHistogram {
                    data_points: vec![exponential; points],
                    aggregation_temporality: 1,
                })),
                4 => Some(Data::Summary(Summary { data_points: vec![summary; points] })),
                _ => None,
            };
            Metric { name, metadata: attributes, data, ..Metric::default() }
        },
    )
}

fn logs() -> impl Strategy<Value = LogsRequest> {
    let scopes = (scope(), vec(log_record(), 0..5), ".{0,4}").prop_map(|(scope, log_records, schema_url)| ScopeLogs {
        scope,
        log_records,
        schema_url,
    });
    let resources = (resource(), vec(scopes, 0..3), ".{0,4}")
        .prop_map(|(resource, scope_logs, schema_url)| ResourceLogs { resource, scope_logs, schema_url });
    vec(resources, 0..3).prop_map(|resource_logs| LogsRequest { resource_logs })
}

fn traces() -> impl Strategy<Value = TracesRequest> {
    let scopes = (scope(), vec(span(), 0..4), ".{0,4}").prop_map(|(scope, spans, schema_url)| ScopeSpans {
        scope,
        spans,
        schema_url,
    });
    let resources = (resource(), vec(scopes, 0..3), ".{0,4}")
        .prop_map(|(resource, scope_spans, schema_url)| ResourceSpans { resource, scope_spans, schema_url });
    vec(resources, 0..3).prop_map(|resource_spans| TracesRequest { resource_spans })
}

fn metrics() -> impl Strategy<Value = MetricsRequest> {
    let scopes = (scope(), vec(metric(), 0..4), ".{0,4}").prop_map(|(scope, metrics, schema_url)| ScopeMetrics {
        scope,
        metrics,
        schema_url,
    });
    let resources = (resource(), vec(scopes, 0..3), ".{0,4}")
        .prop_map(|(resource, scope_metrics, schema_url)| ResourceMetrics { resource, scope_metrics, schema_url });
    vec(resources, 0..3).prop_map(|resource_metrics| MetricsRequest { resource_metrics })
}

fn any_request() -> impl Strategy<Value = (Signal, Vec<u8>)> {
    prop_oneof![
        logs().prop_map(|r| (Signal::Logs, r.encode_to_vec())),
        traces().prop_map(|r| (Signal::Traces, r.encode_to_vec())),
        metrics().prop_map(|r| (Signal::Metrics, r.encode_to_vec())),
    ]
}

/// Each item with all that surrounds it, as text: what a cut must keep.
fn items_of(signal: Signal, payload: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    match signal {
        Signal::Logs => {
            for r in LogsRequest::decode(payload).unwrap().resource_logs {
                for s in r.scope_logs {
                    let around = format!("{:?} {} {:?} {}", r.resource, r.schema_url, s.scope, s.schema_url);
                    all.extend(s.log_records.iter().map(|item| format!("{around} {item:?}")));
                }
            }
        }
        Signal::Traces => {
            for r in TracesRequest::decode(payload).unwrap().resource_spans {
                for s in r.scope_spans {
                    let around = format!("{:?} {} {:?} {}", r.resource, r.schema_url, s.scope, s.schema_url);
                    all.extend(s.spans.iter().map(|item| format!("{around} {item:?}")));
                }
            }
        }
        Signal::Metrics => {
            for r in MetricsRequest::decode(payload).unwrap().resource_metrics {
                for s in r.scope_metrics {
                    let around = format!("{:?} {} {:?} {}", r.resource, r.schema_url, s.scope, s.schema_url);
                    s.metrics.iter().for_each(|metric| points_of(metric, &around, &mut all));
                }
            }
        }
    }
    all
}

fn points_of(metric: &Metric, around: &str, all: &mut Vec<String>) {
    let around = format!("{around} {} {} {:?}", metric.name, metric.unit, metric.metadata);
    match &metric.data {
        Some(Data::Gauge(d)) => all.extend(d.data_points.iter().map(|p| format!("{around} {p:?}"))),
        Some(Data::Sum(d)) => {
            let around = format!("{around} {} {}", d.is_monotonic, d.aggregation_temporality);
            all.extend(d.data_points.iter().map(|p| format!("{around} {p:?}")));
        }
        Some(Data::Histogram(d)) => all.extend(d.data_points.iter().map(|p| format!("{around} {p:?}"))),
        Some(Data::ExponentialHistogram(d)) => all.extend(d.data_points.iter().map(|p| format!("{around} {p:?}"))),
        Some(Data::Summary(d)) => all.extend(d.data_points.iter().map(|p| format!("{around} {p:?}"))),
        None => {}
    }
}

fn decodes(signal: Signal, payload: &[u8]) -> bool {
    match signal {
        Signal::Logs => LogsRequest::decode(payload).is_ok(),
        Signal::Traces => TracesRequest::decode(payload).is_ok(),
        Signal::Metrics => MetricsRequest::decode(payload).is_ok(),
    }
}

/// Calls everything with bytes that nobody vouches for; only the absence of a panic counts.
fn poke(signal: Signal, payload: &[u8]) {
    if let Ok(items) = count(signal, payload) {
        let part = extract(signal, payload, items / 3..items / 2 + 1).unwrap();
        assert!(part.len() <= payload.len());
        assert!(middle(signal, payload, 0..items).unwrap().is_none_or(|cut| cut > 0 && cut < items));
    } else {
        assert!(validate(signal, payload).is_err(), "validated, but not countable");
        assert!(middle(signal, payload, 0..u32::MAX).is_err());
    }
}

proptest! {
    #[test]
    fn a_request_is_valid_and_its_items_are_counted((signal, payload) in any_request()) {
        let items = items_of(signal, &payload).len() as u32;
        prop_assert_eq!(validate(signal, &payload), Ok(items));
        prop_assert_eq!(count(signal, &payload), Ok(items));
    }

    #[test]
    fn concatenated_requests_hold_all_items_in_order((signal, a) in any_request(), cut in 0..8u32) {
        let (a, b) = (Bytes::from(a.clone()), extract(signal, &a, cut..u32::MAX).unwrap());
        let both = concat([&a, &b]);
        let mut items = items_of(signal, &a);
        items.extend(items_of(signal, &b));
        prop_assert_eq!(validate(signal, &both), Ok(items.len() as u32));
        prop_assert_eq!(items_of(signal, &both), items);
    }

    #[test]
    fn an_extract_holds_its_range_and_all_that_surrounds_it((signal, payload) in any_request(), a in 0..20u32, b in 0..20u32) {
        let items = items_of(signal, &payload);
        let (first, last) = (a.min(b), a.max(b));
        let part = extract(signal, &payload, first..last).unwrap();
        let wanted: Vec<_> = items.iter().skip(first as usize).take((last - first) as usize).cloned().collect();
        prop_assert_eq!(validate(signal, &part), Ok(wanted.len() as u32));
        prop_assert_eq!(items_of(signal, &part), wanted);
    }

    #[test]
    fn cut_in_the_middle_the_parts_are_together_the_whole((signal, payload) in any_request(), skip in 0..4u32) {
        let items = items_of(signal, &payload);
        let total = items.len() as u32;
        match middle(signal, &payload, skip..total).unwrap() {
            None => prop_assert!(total < skip + 2),
            Some(cut) => {
                prop_assert!(cut > skip && cut < total);
                let left = extract(signal, &payload, skip..cut).unwrap();
                let right = extract(signal, &payload, cut..total).unwrap();
                let mut together = items_of(signal, &left);
                together.extend(items_of(signal, &right));
                prop_assert_eq!(&together[..], &items[skip as usize..]);
            }
        }
    }

    #[test]
    fn what_validates_decodes(
        (signal, payload) in any_request(),
        edits in vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..4),
    ) {
        let mut bytes = payload;
        for (at, byte, how) in edits {
            if bytes.is_empty() { break; }
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => bytes.truncate(at),
            }
        }
        if let Ok(items) = validate(signal, &bytes) {
            prop_assert!(decodes(signal, &bytes));
            prop_assert_eq!(count(signal, &bytes), Ok(items));
        }
        poke(signal, &bytes);
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..64)) {
        for signal in Signal::ALL {
            if validate(signal, &bytes).is_ok() {
                prop_assert!(decodes(signal, &bytes));
            }
            poke(signal, &bytes);
        }
    }
}

/// A log record whose body nests arrays; `levels` messages below the request in all.
fn deep_log(levels: usize) -> Vec<u8> {
    let mut body = Vec::new();
    // AnyValue (field 5: array) > ArrayValue (field 1: value) > AnyValue …
    for level in (5..=levels).rev() {
        let inner = std::mem::take(&mut body);
        put_delimited(&mut body, if level % 2 == 1 { 5 } else { 1 }, &inner);
    }
    let (mut record, mut scope, mut resource, mut request) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    put_delimited(&mut record, 5, &body);
    put_delimited(&mut scope, 2, &record);
    put_delimited(&mut resource, 2, &scope);
    put_delimited(&mut request, 1, &resource);
    request
}

#[test]
fn nesting_ends_before_prost_gives_up() {
    let deepest = deep_log(MAX_DEPTH);
    assert_eq!(validate(Signal::Logs, &deepest), Ok(1));
    assert!(decodes(Signal::Logs, &deepest));
    let fault = validate(Signal::Logs, &deep_log(MAX_DEPTH + 1)).unwrap_err().fault;
    assert_eq!(fault, Fault::Depth);
}

#[test]
fn a_million_levels_are_refused_without_recursion() {
    // Each level is a group that opens inside the last one, in a field that nobody knows.
    let groups = vec![0x7b; 1_000_000];
    assert_eq!(validate(Signal::Logs, &groups).unwrap_err().fault, Fault::Depth);
    assert!(count(Signal::Logs, &groups).is_err());
    assert_eq!(validate(Signal::Logs, &deep_log(5_000)).unwrap_err().fault, Fault::Depth);
}

#[test]
fn unknown_fields_and_groups_pass_and_are_kept() {
    let mut request = LogsRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs { log_records: vec![LogRecord::default(); 2], ..ScopeLogs::default() }],
            ..ResourceLogs::default()
        }],
    }
    .encode_to_vec();
    // Field 15: a group with a varint in it; field 1000: bytes.
    let unknown = [&[0x7b, 0x08, 0x01, 0x7c][..], &[0xc2, 0x3e, 0x02, 0xff, 0xfe][..]].concat();
    request.extend_from_slice(&unknown);
    assert_eq!(validate(Signal::Logs, &request), Ok(2));
    assert!(decodes(Signal::Logs, &request));
    assert!(extract(Signal::Logs, &request, 1..2).unwrap().ends_with(&unknown));
}

#[test]
fn faults_name_their_place() {
    let cases: [(&[u8], usize, Fault); 8] = [
        (&[0x0a, 0x05, 0x00], 2, Fault::Truncated),
        (&[0x0a], 1, Fault::Truncated),
        (&[0x08, 0x01], 0, Fault::WrongWireType),
        (&[0x02, 0x00], 0, Fault::FieldNumber),
        (&[0x0f], 0, Fault::UnknownWireType),
        (&[0x0c], 0, Fault::WrongWireType),
        (&[0x0a, 0x03, 0x1a, 0x01, 0xff], 4, Fault::Utf8),
        (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], 1, Fault::Varint),
    ];
    for (bytes, offset, fault) in cases {
        assert_eq!(validate(Signal::Logs, bytes), Err(Malformed { offset, fault }), "{bytes:02x?}");
        assert!(!decodes(Signal::Logs, bytes), "{bytes:02x?}");
    }
}

#[test]
fn the_middle_is_that_of_the_bytes() {
    let record = |size| LogRecord { severity_text: "x".repeat(size), ..LogRecord::default() };
    let log_records = [10, 10, 10, 1000].map(record).to_vec();
    let request = LogsRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs { log_records, ..ScopeLogs::default() }],
            ..ResourceLogs::default()
        }],
    }
    .encode_to_vec();
    assert_eq!(middle(Signal::Logs, &request, 0..4), Ok(Some(3)));
    assert_eq!(middle(Signal::Logs, &request, 0..3), Ok(Some(1)));
    assert_eq!(middle(Signal::Logs, &request, 3..4), Ok(None));
}

#[test]
fn an_empty_request_is_valid_and_holds_nothing() {
    for signal in Signal::ALL {
        assert_eq!(validate(signal, b""), Ok(0));
        assert_eq!(middle(signal, b"", 0..u32::MAX), Ok(None));
    }
}

/// A request of log records without anything in them, two bytes each.
pub(crate) fn empty_records(count: usize) -> Vec<u8> {
    let (mut scope_logs, mut resource_logs, mut request) = ([0x12, 0].repeat(count), Vec::new(), Vec::new());
    std::mem::swap(&mut scope_logs, &mut request);
    put_delimited(&mut resource_logs, 2, &request);
    request.clear();
    put_delimited(&mut request, 1, &resource_logs);
    request
}

#[test]
fn two_million_items_are_cut_into_parts_in_the_time_of_a_walk() {
    let payload = empty_records(2_000_000);
    let started = std::time::Instant::now();
    let mut mark = Mark::first(Signal::Logs, &payload).unwrap();
    for _ in 0..2_000 {
        let part = mark.take(&payload, 1_000).unwrap();
        assert_eq!(count(Signal::Logs, &part), Ok(1_000));
    }
    assert_eq!(mark.take(&payload, 1_000).unwrap(), "");
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
}

#[test]
fn a_mark_stops_before_the_item_that_would_be_too_much() {
    let record = |n: usize| LogRecord { severity_text: "x".repeat(n), ..LogRecord::default() };
    let scope = Some(InstrumentationScope { name: "s".repeat(50), ..InstrumentationScope::default() });
    let scopes = [[10, 10], [10, 200]].map(|sizes| ScopeLogs {
        scope: scope.clone(),
        log_records: sizes.map(record).into(),
        schema_url: String::new(),
    });
    let resource_logs = vec![ResourceLogs { scope_logs: scopes.into(), ..ResourceLogs::default() }];
    let payload = LogsRequest { resource_logs }.encode_to_vec();
    let mut mark = Mark::first(Signal::Logs, &payload).unwrap();
    let mut next = |max_items| {
        let mut from = mark.clone();
        let passed = mark.pass(&payload, max_items, 100).unwrap();
        let part = from.take(&payload, passed.items).unwrap();
        assert_eq!(count(Signal::Logs, &part), Ok(passed.items));
        (passed.items, passed.bytes)
    };
    // A scope takes 54 bytes, a record 14; the long one 206.
    let all = [next(9), next(1), next(9), next(9)];
    assert_eq!(all, [(2, 82), (1, 68), (1, 260), (0, 0)]);
}
