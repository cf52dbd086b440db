//! The OTLP messages as tables: number, JSON name and kind of each field, in the order of their numbers.
//!
//! A test compares every row with the protocol's own descriptors.

use std::fmt;

use crate::otlp::Signal;

/// A protobuf message.
pub(super) struct Message {
    /// The name in the protocol.
    pub(super) name: &'static str,
    pub(super) fields: &'static [Field],
}

/// The name alone: values hold values.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A field of a message.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    /// lowerCamelCase, as OTLP JSON spells it.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) label: Label,
}

/// How often a field occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    /// At most once; the last on the wire counts, messages are merged.
    One,
    /// One of several that exclude each other; every message here has at most one such group.
    Choice,
    /// Any number of times: a JSON array.
    Many,
}

/// How a value stands on the wire and in JSON.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// `true` or `false`.
    Bool,
    /// `int32` or an enum: a number.
    Int32,
    /// A number.
    Uint32,
    /// Zigzag: a number.
    Sint32,
    /// A number.
    Fixed32,
    /// A decimal string.
    Int64,
    /// A decimal string.
    Uint64,
    /// A decimal string.
    Fixed64,
    /// A decimal string.
    Sfixed64,
    /// A number, or `"NaN"`, `"Infinity"`, `"-Infinity"`.
    Double,
    String,
    /// Bytes as base64, as protobuf's JSON has them.
    Base64,
    /// A trace or span id: hexadecimal, where OTLP JSON departs from protobuf's.
    Hex,
    Message(&'static Message),
}

impl Kind {
    /// Whether a value is a run of bytes on the wire; the others may be packed into one when repeated.
    pub(super) const fn is_bytes(self) -> bool {
        matches!(self, Self::String | Self::Base64 | Self::Hex | Self::Message(_))
    }
}

use Kind::{
    Base64, Bool, Double, Fixed32, Fixed64, Hex, Int32, Int64, Message as Msg, Sfixed64, Sint32, Uint32, Uint64,
};

/// The message of an export request.
pub(super) const fn request(signal: Signal) -> &'static Message {
    match signal {
        Signal::Logs => &LOGS_REQUEST,
        Signal::Traces => &TRACES_REQUEST,
        Signal::Metrics => &METRICS_REQUEST,
    }
}

const fn one(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { number, name, kind, label: Label::One }
}

const fn choice(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { number, name, kind, label: Label::Choice }
}

const fn many(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { number, name, kind, label: Label::Many }
}

/// `ExportLogsServiceRequest`.
pub(super) static LOGS_REQUEST: Message =
    Message { name: "ExportLogsServiceRequest", fields: &[many(1, "resourceLogs", Msg(&RESOURCE_LOGS))] };

/// `ExportTraceServiceRequest`.
pub(super) static TRACES_REQUEST: Message =
    Message { name: "ExportTraceServiceRequest", fields: &[many(1, "resourceSpans", Msg(&RESOURCE_SPANS))] };

/// `ExportMetricsServiceRequest`.
pub(super) static METRICS_REQUEST: Message =
    Message { name: "ExportMetricsServiceRequest", fields: &[many(1, "resourceMetrics", Msg(&RESOURCE_METRICS))] };

static RESOURCE_LOGS: Message = Message {
    name: "ResourceLogs",
    fields: &[
        one(1, "resource", Msg(&RESOURCE)),
        many(2, "scopeLogs", Msg(&SCOPE_LOGS)),
        one(3, "schemaUrl", Kind::String),
    ],
};

static SCOPE_LOGS: Message = Message {
    name: "ScopeLogs",
    fields: &[one(1, "scope", Msg(&SCOPE)), many(2, "logRecords", Msg(&LOG_RECORD)), one(3, "schemaUrl", Kind::String)],
};

static LOG_RECORD: Message = Message {
    name: "LogRecord",
    fields: &[
        one(1, "timeUnixNano", Fixed64),
        one(2, "severityNumber", Int32),
        one(3, "severityText", Kind::String),
        one(5, "body", Msg(&ANY_VALUE)),
        many(6, "attributes", Msg(&KEY_VALUE)),
        one(7, "droppedAttributesCount", Uint32),
        one(8, "flags", Fixed32),
        one(9, "traceId", Hex),
        one(10, "spanId", Hex),
        one(11, "observedTimeUnixNano", Fixed64),
        one(12, "eventName", Kind::String),
    ],
};

static RESOURCE_SPANS: Message = Message {
    name: "ResourceSpans",
    fields: &[
        one(1, "resource", Msg(&RESOURCE)),
        many(2, "scopeSpans", Msg(&SCOPE_SPANS)),
        one(3, "schemaUrl", Kind::String),
    ],
};

static SCOPE_SPANS: Message = Message {
    name: "ScopeSpans",
    fields: &[one(1, "scope", Msg(&SCOPE)), many(2, "spans", Msg(&SPAN)), one(3, "schemaUrl", Kind::String)],
};

static SPAN: Message = Message {
    name: "Span",
    fields: &[
        one(1, "traceId", Hex),
        one(2, "spanId", Hex),
        one(3, "traceState", Kind::String),
        one(4, "parentSpanId", Hex),
        one(5, "name", Kind::String),
        one(6, "kind", Int32),
        one(7, "startTimeUnixNano", Fixed64),
        one(8, "endTimeUnixNano", Fixed64),
        many(9, "attributes", Msg(&KEY_VALUE)),
        one(10, "droppedAttributesCount", Uint32),
        many(11, "events", Msg(&SPAN_EVENT)),
        one(12, "droppedEventsCount", Uint32),
        many(13, "links", Msg(&SPAN_LINK)),
        one(14, "droppedLinksCount", Uint32),
        one(15, "status", Msg(&STATUS)),
        one(16, "flags", Fixed32),
    ],
};

static SPAN_EVENT: Message = Message {
    name: "Event",
    fields: &[
        one(1, "timeUnixNano", Fixed64),
        one(2, "name", Kind::String),
        many(3, "attributes", Msg(&KEY_VALUE)),
        one(4, "droppedAttributesCount", Uint32),
    ],
};

static SPAN_LINK: Message = Message {
    name: "Link",
    fields: &[
        one(1, "traceId", Hex),
        one(2, "spanId", Hex),
        one(3, "traceState", Kind::String),
        many(4, "attributes", Msg(&KEY_VALUE)),
        one(5, "droppedAttributesCount", Uint32),
        one(6, "flags", Fixed32),
    ],
};

static STATUS: Message = Message { name: "Status", fields: &[one(2, "message", Kind::String), one(3, "code", Int32)] };

static RESOURCE_METRICS: Message = Message {
    name: "ResourceMetrics",
    fields: &[
        one(1, "resource", Msg(&RESOURCE)),
        many(2, "scopeMetrics", Msg(&SCOPE_METRICS)),
        one(3, "schemaUrl", Kind::String),
    ],
};

static SCOPE_METRICS: Message = Message {
    name: "ScopeMetrics",
    fields: &[one(1, "scope", Msg(&SCOPE)), many(2, "metrics", Msg(&METRIC)), one(3, "schemaUrl", Kind::String)],
};

static METRIC: Message = Message {
    name: "Metric",
    fields: &[
        one(1, "name", Kind::String),
        one(2, "description", Kind::String),
        one(3, "unit", Kind::String),
        choice(5, "gauge", Msg(&GAUGE)),
        choice(7, "sum", Msg(&SUM)),
        choice(9, "histogram", Msg(&HISTOGRAM)),
        choice(10, "exponentialHistogram", Msg(&EXPONENTIAL_HISTOGRAM)),
        choice(11, "summary", Msg(&SUMMARY)),
        many(12, "metadata", Msg(&KEY_VALUE)),
    ],
};

static GAUGE: Message = Message { name: "Gauge", fields: &[many(1, "dataPoints", Msg(&NUMBER_DATA_POINT))] };

static SUM: Message = Message {
    name: "Sum",
    fields: &[
        many(1, "dataPoints", Msg(&NUMBER_DATA_POINT)),
        one(2, "aggregationTemporality", Int32),
        one(3, "isMonotonic", Bool),
    ],
};

static HISTOGRAM: Message = Message {
    name: "Histogram",
    fields: &[many(1, "dataPoints", Msg(&HISTOGRAM_DATA_POINT)), one(2, "aggregationTemporality", Int32)],
};

static EXPONENTIAL_HISTOGRAM: Message = Message {
    name: "ExponentialHistogram",
    fields: &[many(1, "dataPoints", Msg(&EXPONENTIAL_HISTOGRAM_DATA_POINT)), one(2, "aggregationTemporality", Int32)],
};

static SUMMARY: Message = Message { name: "Summary", fields: &[many(1, "dataPoints", Msg(&SUMMARY_DATA_POINT))] };

static NUMBER_DATA_POINT: Message = Message {
    name: "NumberDataPoint",
    fields: &[
        one(2, "startTimeUnixNano", Fixed64),
        one(3, "timeUnixNano", Fixed64),
        choice(4, "asDouble", Double),
        many(5, "exemplars", Msg(&EXEMPLAR)),
        choice(6, "asInt", Sfixed64),
        many(7, "attributes", Msg(&KEY_VALUE)),
        one(8, "flags", Uint32),
    ],
};

static HISTOGRAM_DATA_POINT: Message = Message {
    name: "HistogramDataPoint",
    fields: &[
        one(2, "startTimeUnixNano", Fixed64),
        one(3, "timeUnixNano", Fixed64),
        one(4, "count", Fixed64),
        one(5, "sum", Double),
        many(6, "bucketCounts", Fixed64),
        many(7, "explicitBounds", Double),
        many(8, "exemplars", Msg(&EXEMPLAR)),
        many(9, "attributes", Msg(&KEY_VALUE)),
        one(10, "flags", Uint32),
        one(11, "min", Double),
        one(12, "max", Double),
    ],
};

static EXPONENTIAL_HISTOGRAM_DATA_POINT: Message = Message {
    name: "ExponentialHistogramDataPoint",
    fields: &[
        many(1, "attributes", Msg(&KEY_VALUE)),
        one(2, "startTimeUnixNano", Fixed64),
        one(3, "timeUnixNano", Fixed64),
        one(4, "count", Fixed64),
        one(5, "sum", Double),
        one(6, "scale", Sint32),
        one(7, "zeroCount", Fixed64),
        one(8, "positive", Msg(&BUCKETS)),
        one(9, "negative", Msg(&BUCKETS)),
        one(10, "flags", Uint32),
        many(11, "exemplars", Msg(&EXEMPLAR)),
        one(12, "min", Double),
        one(13, "max", Double),
        one(14, "zeroThreshold", Double),
    ],
};

static BUCKETS: Message =
    Message { name: "Buckets", fields: &[one(1, "offset", Sint32), many(2, "bucketCounts", Uint64)] };

static SUMMARY_DATA_POINT: Message = Message {
    name: "SummaryDataPoint",
    fields: &[
        one(2, "startTimeUnixNano", Fixed64),
        one(3, "timeUnixNano", Fixed64),
        one(4, "count", Fixed64),
        one(5, "sum", Double),
        many(6, "quantileValues", Msg(&VALUE_AT_QUANTILE)),
        many(7, "attributes", Msg(&KEY_VALUE)),
        one(8, "flags", Uint32),
    ],
};

static VALUE_AT_QUANTILE: Message =
    Message { name: "ValueAtQuantile", fields: &[one(1, "quantile", Double), one(2, "value", Double)] };

static EXEMPLAR: Message = Message {
    name: "Exemplar",
    fields: &[
        one(2, "timeUnixNano", Fixed64),
        choice(3, "asDouble", Double),
        one(4, "spanId", Hex),
        one(5, "traceId", Hex),
        choice(6, "asInt", Sfixed64),
        many(7, "filteredAttributes", Msg(&KEY_VALUE)),
    ],
};

static RESOURCE: Message = Message {
    name: "Resource",
    fields: &[
        many(1, "attributes", Msg(&KEY_VALUE)),
        one(2, "droppedAttributesCount", Uint32),
        many(3, "entityRefs", Msg(&ENTITY_REF)),
    ],
};

static ENTITY_REF: Message = Message {
    name: "EntityRef",
    fields: &[
        one(1, "schemaUrl", Kind::String),
        one(2, "type", Kind::String),
        many(3, "idKeys", Kind::String),
        many(4, "descriptionKeys", Kind::String),
    ],
};

static SCOPE: Message = Message {
    name: "InstrumentationScope",
    fields: &[
        one(1, "name", Kind::String),
        one(2, "version", Kind::String),
        many(3, "attributes", Msg(&KEY_VALUE)),
        one(4, "droppedAttributesCount", Uint32),
    ],
};

static KEY_VALUE: Message = Message {
    name: "KeyValue",
    fields: &[one(1, "key", Kind::String), one(2, "value", Msg(&ANY_VALUE)), one(3, "keyStrindex", Int32)],
};

static ANY_VALUE: Message = Message {
    name: "AnyValue",
    fields: &[
        choice(1, "stringValue", Kind::String),
        choice(2, "boolValue", Bool),
        choice(3, "intValue", Int64),
        choice(4, "doubleValue", Double),
        choice(5, "arrayValue", Msg(&ARRAY_VALUE)),
        choice(6, "kvlistValue", Msg(&KEY_VALUE_LIST)),
        choice(7, "bytesValue", Base64),
        choice(8, "stringValueStrindex", Int32),
    ],
};

static ARRAY_VALUE: Message = Message { name: "ArrayValue", fields: &[many(1, "values", Msg(&ANY_VALUE))] };

static KEY_VALUE_LIST: Message = Message { name: "KeyValueList", fields: &[many(1, "values", Msg(&KEY_VALUE))] };
