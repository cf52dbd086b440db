//! A record as one flat JSON object, for programs.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric, number_data_point};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};

use super::{Item, Point, Record, rfc3339};
use crate::otlp::Signal;
use crate::otlp::json::text::{self, Object};

impl Record<'_> {
    /// Appends the record as one JSON object, without a newline.
    ///
    /// `log` and `sequence` say where its request stands. The members up to `scope` are always there, null
    /// when unknown; those after it only where the record has them.
    pub fn write_json(&self, log: &str, sequence: u64, out: &mut String) {
        let mut object = Object::open(out);
        text::string(object.key("log"), log);
        text::number(object.key("sequence"), sequence);
        text::number(object.key("index"), self.index);
        text::string(object.key("signal"), self.signal().name());
        optional(object.key("event_name"), self.event_name(), text::string);
        optional(object.key("time"), self.time(), time);
        optional(object.key("observed_time"), self.observed_time(), time);
        optional(object.key("severity_number"), self.severity_number(), text::number);
        optional(object.key("uid"), self.uid(), text::string);
        optional(object.key("body"), self.body(), any_value);
        attributes(object.key("attributes"), self.attributes());
        attributes(object.key("resource"), self.resource());
        optional(object.key("scope"), self.scope(), scope);
        match self.item {
            Item::Log(log) => log_members(&mut object, log),
            Item::Span(span) => span_members(&mut object, span),
            Item::Point(metric, point) => point_members(&mut object, metric, point),
        }
        object.close();
    }

    fn signal(&self) -> Signal {
        match self.item {
            Item::Log(_) => Signal::Logs,
            Item::Span(_) => Signal::Traces,
            Item::Point(..) => Signal::Metrics,
        }
    }

    fn body(&self) -> Option<&AnyValue> {
        let Item::Log(log) = self.item else { return None };
        log.body.as_ref()
    }
}

fn log_members(object: &mut Object<'_>, log: &LogRecord) {
    text_member(object, "severity_text", &log.severity_text);
    id_member(object, "trace_id", &log.trace_id);
    id_member(object, "span_id", &log.span_id);
}

fn span_members(object: &mut Object<'_>, span: &Span) {
    text_member(object, "name", &span.name);
    id_member(object, "trace_id", &span.trace_id);
    id_member(object, "span_id", &span.span_id);
    id_member(object, "parent_span_id", &span.parent_span_id);
    if span.kind() != SpanKind::Unspecified {
        text::string(object.key("kind"), kind_name(span.kind()));
    }
    if span.end_time_unix_nano != 0 {
        time(object.key("end_time"), span.end_time_unix_nano);
    }
    if let Some(status) = &span.status {
        text::string(object.key("status"), status_name(status.code()));
        text_member(object, "status_message", &status.message);
    }
}

fn kind_name(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Unspecified => "unspecified",
        SpanKind::Internal => "internal",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
    }
}

fn status_name(code: StatusCode) -> &'static str {
    match code {
        StatusCode::Unset => "unset",
        StatusCode::Ok => "ok",
        StatusCode::Error => "error",
    }
}

fn point_members(object: &mut Object<'_>, metric: &Metric, point: Point<'_>) {
    text_member(object, "name", &metric.name);
    text_member(object, "unit", &metric.unit);
    text::string(object.key("type"), type_name(metric));
    match point {
        Point::Number(point) => match point.value {
            Some(number_data_point::Value::AsInt(value)) => text::number(object.key("value"), value),
            Some(number_data_point::Value::AsDouble(value)) => text::double(object.key("value"), value),
            None => {}
        },
        Point::Histogram(point) => {
            count_and_sum(object, point.count, point.sum);
            double_member(object, "min", point.min);
            double_member(object, "max", point.max);
        }
        Point::Exponential(point) => {
            count_and_sum(object, point.count, point.sum);
            double_member(object, "min", point.min);
            double_member(object, "max", point.max);
        }
        Point::Summary(point) => count_and_sum(object, point.count, Some(point.sum)),
    }
}

pub(crate) fn type_name(metric: &Metric) -> &'static str {
    match metric.data {
        Some(metric::Data::Gauge(_)) => "gauge",
        Some(metric::Data::Sum(_)) => "sum",
        Some(metric::Data::Histogram(_)) => "histogram",
        Some(metric::Data::ExponentialHistogram(_)) => "exponential_histogram",
        Some(metric::Data::Summary(_)) => "summary",
        None => "empty",
    }
}

fn count_and_sum(object: &mut Object<'_>, count: u64, sum: Option<f64>) {
    text::number(object.key("count"), count);
    double_member(object, "sum", sum);
}

fn double_member(object: &mut Object<'_>, key: &str, value: Option<f64>) {
    if let Some(value) = value {
        text::double(object.key(key), value);
    }
}

fn text_member(object: &mut Object<'_>, key: &str, value: &str) {
    if !value.is_empty() {
        text::string(object.key(key), value);
    }
}

fn id_member(object: &mut Object<'_>, key: &str, id: &[u8]) {
    if !id.is_empty() {
        text::hex(object.key(key), id);
    }
}

fn optional<T>(out: &mut String, value: Option<T>, write: impl FnOnce(&mut String, T)) {
    match value {
        Some(value) => write(out, value),
        None => out.push_str("null"),
    }
}

fn time(out: &mut String, nanos: u64) {
    text::string(out, &rfc3339(nanos));
}

fn scope(out: &mut String, scope: &InstrumentationScope) {
    let mut object = Object::open(out);
    text::string(object.key("name"), &scope.name);
    text_member(&mut object, "version", &scope.version);
    if !scope.attributes.is_empty() {
        attributes(object.key("attributes"), &scope.attributes);
    }
    object.close();
}

/// Attributes as one object; of equal keys, which OTLP forbids, the last counts as in most JSON readers.
fn attributes(out: &mut String, attributes: &[KeyValue]) {
    let mut object = Object::open(out);
    for attribute in attributes {
        optional(object.key(&attribute.key), attribute.value.as_ref(), any_value);
    }
    object.close();
}

/// A value with its own JSON type; bytes as base64.
fn any_value(out: &mut String, value: &AnyValue) {
    match &value.value {
        Some(Value::StringValue(value)) => text::string(out, value),
        Some(Value::BoolValue(value)) => text::number(out, value),
        Some(Value::IntValue(value)) => text::number(out, value),
        Some(Value::DoubleValue(value)) => text::double(out, *value),
        Some(Value::BytesValue(value)) => text::base64(out, value),
        Some(Value::KvlistValue(list)) => attributes(out, &list.values),
        Some(Value::ArrayValue(list)) => {
            out.push('[');
            for (n, value) in list.values.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                any_value(out, value);
            }
            out.push(']');
        }
        // A reference into a string table that only profiles carry.
        Some(Value::StringValueStrindex(_)) | None => out.push_str("null"),
    }
}
