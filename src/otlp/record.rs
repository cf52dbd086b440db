//! Decoded requests as flat records: each log record, span or data point by itself.

mod parts;
mod write;

pub use parts::{Part, Parts};
pub(crate) use write::type_name;

#[cfg(test)]
mod tests;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, SummaryDataPoint, metric,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::Signal;

/// A payload that is no OTLP export request.
#[derive(Debug, thiserror::Error)]
#[error("malformed OTLP {signal} request: {reason}")]
pub struct DecodeError {
    signal: Signal,
    reason: String,
}

/// A decoded export request, or a part of one.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    decoded: Decoded,
    /// The index of its first record.
    first: usize,
    /// With its first record.
    begins: Begins,
}

#[derive(Debug, Clone, PartialEq)]
enum Decoded {
    Logs(ExportLogsServiceRequest),
    Traces(ExportTraceServiceRequest),
    Metrics(ExportMetricsServiceRequest),
}

impl Request {
    /// Decodes the protobuf bytes of an export request. That may take a hundred times their memory; [`Parts`] does not.
    ///
    /// # Errors
    /// The payload is not such a request.
    pub fn decode(signal: Signal, payload: &[u8]) -> Result<Self, DecodeError> {
        let decoded = match signal {
            Signal::Logs => ExportLogsServiceRequest::decode(payload).map(Decoded::Logs),
            Signal::Traces => ExportTraceServiceRequest::decode(payload).map(Decoded::Traces),
            Signal::Metrics => ExportMetricsServiceRequest::decode(payload).map(Decoded::Metrics),
        };
        let request = decoded.map(|decoded| Self { decoded, first: 0, begins: Begins::Resource });
        request.map_err(|error| DecodeError { signal, reason: error.to_string() })
    }

    /// The records, in the order of the request.
    #[must_use]
    pub fn records(&self) -> Vec<Record<'_>> {
        let mut records = Records { first: self.first, begins: Begins::Resource, all: Vec::new() };
        match &self.decoded {
            Decoded::Logs(request) => records.add_logs(request),
            Decoded::Traces(request) => records.add_spans(request),
            Decoded::Metrics(request) => records.add_points(request),
        }
        if let Some(first) = records.all.first_mut() {
            first.begins = self.begins;
        }
        records.all
    }
}

/// One log record, span or data point, with what it shares with others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Record<'a> {
    index: usize,
    resource: Option<&'a Resource>,
    scope: Option<&'a InstrumentationScope>,
    begins: Begins,
    item: Item<'a>,
}

/// What a record shares with those after it, but not with those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begins {
    Nothing,
    /// Its scope.
    Scope,
    /// Its resource, and so its scope.
    Resource,
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Item<'a> {
    /// A log record.
    Log(&'a LogRecord),
    /// A span.
    Span(&'a Span),
    /// A data point of a metric.
    Point(&'a Metric, Point<'a>),
}

/// A data point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Point<'a> {
    Number(&'a NumberDataPoint),
    Histogram(&'a HistogramDataPoint),
    Exponential(&'a ExponentialHistogramDataPoint),
    Summary(&'a SummaryDataPoint),
}

impl<'a> Record<'a> {
    /// The place in its request, from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// The event's name: EventName, or the attribute `event.name` of older senders.
    #[must_use]
    pub fn event_name(&self) -> Option<&'a str> {
        let Item::Log(log) = self.item else { return None };
        if log.event_name.is_empty() { self.text_attribute("event.name") } else { Some(&log.event_name) }
    }

    /// When it happened (a span: began), in nanoseconds since 1970; None when the sender did not say.
    #[must_use]
    pub fn time(&self) -> Option<u64> {
        let nanos = match self.item {
            Item::Log(log) => log.time_unix_nano,
            Item::Span(span) => span.start_time_unix_nano,
            Item::Point(_, Point::Number(point)) => point.time_unix_nano,
            Item::Point(_, Point::Histogram(point)) => point.time_unix_nano,
            Item::Point(_, Point::Exponential(point)) => point.time_unix_nano,
            Item::Point(_, Point::Summary(point)) => point.time_unix_nano,
        };
        (nanos != 0).then_some(nanos)
    }

    /// When a log record was first seen by a collector, in nanoseconds since 1970.
    #[must_use]
    pub fn observed_time(&self) -> Option<u64> {
        let Item::Log(log) = self.item else { return None };
        (log.observed_time_unix_nano != 0).then_some(log.observed_time_unix_nano)
    }

    /// The severity number, 1 to 24.
    #[must_use]
    pub fn severity_number(&self) -> Option<i32> {
        let Item::Log(log) = self.item else { return None };
        (log.severity_number != 0).then_some(log.severity_number)
    }

    /// The attribute `log.record.uid`.
    #[must_use]
    pub fn uid(&self) -> Option<&'a str> {
        self.text_attribute("log.record.uid")
    }

    pub(crate) fn item(&self) -> Item<'a> {
        self.item
    }

    pub(crate) fn attributes(&self) -> &'a [KeyValue] {
        match self.item {
            Item::Log(log) => &log.attributes,
            Item::Span(span) => &span.attributes,
            Item::Point(_, Point::Number(point)) => &point.attributes,
            Item::Point(_, Point::Histogram(point)) => &point.attributes,
            Item::Point(_, Point::Exponential(point)) => &point.attributes,
            Item::Point(_, Point::Summary(point)) => &point.attributes,
        }
    }

    pub(crate) fn resource(&self) -> &'a [KeyValue] {
        self.resource.map_or(&[], |resource| &resource.attributes)
    }

    pub(crate) fn scope(&self) -> Option<&'a InstrumentationScope> {
        self.scope
    }

    pub(crate) fn begins(&self) -> Begins {
        self.begins
    }

    /// The number that an attribute has, if it has one.
    #[must_use]
    pub fn int_attribute(&self, key: &str) -> Option<i64> {
        match value_of(self.attributes().iter().find(|attribute| attribute.key == key)?)? {
            Value::IntValue(number) => Some(*number),
            _ => None,
        }
    }

    /// The text that an attribute has, if it has one.
    #[must_use]
    pub fn text_attribute(&self, key: &str) -> Option<&'a str> {
        match value_of(self.attributes().iter().find(|attribute| attribute.key == key)?)? {
            Value::StringValue(text) => Some(text),
            _ => None,
        }
    }
}

/// The value of an attribute; None when it is empty.
pub(crate) fn value_of(attribute: &KeyValue) -> Option<&Value> {
    attribute.value.as_ref().and_then(|AnyValue { value }| value.as_ref())
}

/// A time as RFC 3339 with nine digits after the second and Z.
pub(crate) fn rfc3339(nanos: u64) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.9}")
}

/// Collects records and numbers them.
struct Records<'a> {
    first: usize,
    /// With the next record.
    begins: Begins,
    all: Vec<Record<'a>>,
}

impl<'a> Records<'a> {
    fn push(&mut self, resource: Option<&'a Resource>, scope: Option<&'a InstrumentationScope>, item: Item<'a>) {
        let begins = std::mem::replace(&mut self.begins, Begins::Nothing);
        self.all.push(Record { index: self.first + self.all.len(), resource, scope, begins, item });
    }

    fn begin_scope(&mut self) {
        if self.begins == Begins::Nothing {
            self.begins = Begins::Scope;
        }
    }

    fn add_logs(&mut self, request: &'a ExportLogsServiceRequest) {
        for of_resource in &request.resource_logs {
            self.begins = Begins::Resource;
            for of_scope in &of_resource.scope_logs {
                self.begin_scope();
                for log in &of_scope.log_records {
                    self.push(of_resource.resource.as_ref(), of_scope.scope.as_ref(), Item::Log(log));
                }
            }
        }
    }

    fn add_spans(&mut self, request: &'a ExportTraceServiceRequest) {
        for of_resource in &request.resource_spans {
            self.begins = Begins::Resource;
            for of_scope in &of_resource.scope_spans {
                self.begin_scope();
                for span in &of_scope.spans {
                    self.push(of_resource.resource.as_ref(), of_scope.scope.as_ref(), Item::Span(span));
                }
            }
        }
    }

    fn add_points(&mut self, request: &'a ExportMetricsServiceRequest) {
        for of_resource in &request.resource_metrics {
            self.begins = Begins::Resource;
            for of_scope in &of_resource.scope_metrics {
                self.begin_scope();
                for metric in &of_scope.metrics {
                    for point in points(metric) {
                        let item = Item::Point(metric, point);
                        self.push(of_resource.resource.as_ref(), of_scope.scope.as_ref(), item);
                    }
                }
            }
        }
    }
}

fn points(metric: &Metric) -> Vec<Point<'_>> {
    match &metric.data {
        Some(metric::Data::Gauge(data)) => data.data_points.iter().map(Point::Number).collect(),
        Some(metric::Data::Sum(data)) => data.data_points.iter().map(Point::Number).collect(),
        Some(metric::Data::Histogram(data)) => data.data_points.iter().map(Point::Histogram).collect(),
        Some(metric::Data::ExponentialHistogram(data)) => data.data_points.iter().map(Point::Exponential).collect(),
        Some(metric::Data::Summary(data)) => data.data_points.iter().map(Point::Summary).collect(),
        None => Vec::new(),
    }
}
