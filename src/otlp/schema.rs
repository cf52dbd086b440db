//! The messages of OTLP as tables: what each field number is. From opentelemetry-proto 1.10.

use super::Signal;
use super::schema::Kind::{Bytes, Fixed32, Fixed64, Fixed64s, Message, Text, Varint, Varints};
use super::wire::Wire;

/// What the wire may hold for a field.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Varint,
    Fixed32,
    Fixed64,
    /// A string, which proto3 requires to be UTF-8.
    Text,
    Bytes,
    /// Repeated varints, packed or one by one.
    Varints,
    /// Repeated 8-byte numbers, packed or one by one.
    Fixed64s,
    Message(&'static Schema),
}

/// What to do with a field, by its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Not in the table: skipped by its wire type, and kept.
    Unknown,
    /// A known field in another wire type than its own.
    Wrong,
    Varint,
    Fixed32,
    Fixed64,
    Bytes,
    Text,
    PackedVarints,
    PackedFixed64s,
    Message,
}

/// One message type.
#[derive(Debug)]
pub(super) struct Schema {
    /// By key, of which the upper bits are the number and the lower three the wire type.
    steps: [Step; FIELDS * 8],
    /// By number.
    messages: [Option<&'static Schema>; FIELDS],
    /// Whether it is what a signal counts: a log record, a span, a data point.
    pub(super) is_item: bool,
}

/// One more than the highest field number of OTLP (`Span.flags`).
const FIELDS: usize = 17;

impl Schema {
    /// What to do with a field.
    #[inline]
    pub(super) fn step(&self, number: u32, wire: Wire) -> Step {
        let key = (number << 3 | wire as u32) as usize;
        self.steps.get(key).copied().unwrap_or(Step::Unknown)
    }

    /// The type of a message field.
    #[inline]
    pub(super) fn message(&self, number: u32) -> Option<&'static Self> {
        self.messages.get(number as usize).copied().flatten()
    }

    const fn new(list: &[(usize, Kind)]) -> Self {
        let mut schema = Self { steps: [Step::Unknown; FIELDS * 8], messages: [None; FIELDS], is_item: false };
        let mut i = 0;
        while i < list.len() {
            let (number, kind) = list[i];
            let mut wire = 0;
            while wire < 8 {
                schema.steps[number * 8 + wire] = Step::Wrong;
                wire += 1;
            }
            let (wire, step) = kind.step();
            schema.steps[number * 8 + wire as usize] = step;
            if let Some(packed) = kind.packed() {
                schema.steps[number * 8 + Wire::Length as usize] = packed;
            }
            if let Message(inner) = kind {
                schema.messages[number] = Some(inner);
            }
            i += 1;
        }
        schema
    }

    const fn item(list: &[(usize, Kind)]) -> Self {
        Self { is_item: true, ..Self::new(list) }
    }
}

impl Kind {
    const fn step(self) -> (Wire, Step) {
        match self {
            Varint | Varints => (Wire::Varint, Step::Varint),
            Fixed32 => (Wire::Fixed32, Step::Fixed32),
            Fixed64 | Fixed64s => (Wire::Fixed64, Step::Fixed64),
            Text => (Wire::Length, Step::Text),
            Bytes => (Wire::Length, Step::Bytes),
            Message(_) => (Wire::Length, Step::Message),
        }
    }

    const fn packed(self) -> Option<Step> {
        match self {
            Varints => Some(Step::PackedVarints),
            Fixed64s => Some(Step::PackedFixed64s),
            _ => None,
        }
    }
}

/// The export request of a signal.
pub(super) fn request(signal: Signal) -> &'static Schema {
    match signal {
        Signal::Logs => &LOGS_REQUEST,
        Signal::Traces => &TRACES_REQUEST,
        Signal::Metrics => &METRICS_REQUEST,
    }
}

static LOGS_REQUEST: Schema = Schema::new(&[(1, Message(&RESOURCE_LOGS))]);
static RESOURCE_LOGS: Schema = Schema::new(&[(1, Message(&RESOURCE)), (2, Message(&SCOPE_LOGS)), (3, Text)]);
static SCOPE_LOGS: Schema = Schema::new(&[(1, Message(&SCOPE)), (2, Message(&LOG_RECORD)), (3, Text)]);
static LOG_RECORD: Schema = Schema::item(&[
    (1, Fixed64),
    (2, Varint),
    (3, Text),
    (5, Message(&ANY_VALUE)),
    (6, Message(&KEY_VALUE)),
    (7, Varint),
    (8, Fixed32),
    (9, Bytes),
    (10, Bytes),
    (11, Fixed64),
    (12, Text),
]);

static TRACES_REQUEST: Schema = Schema::new(&[(1, Message(&RESOURCE_SPANS))]);
static RESOURCE_SPANS: Schema = Schema::new(&[(1, Message(&RESOURCE)), (2, Message(&SCOPE_SPANS)), (3, Text)]);
static SCOPE_SPANS: Schema = Schema::new(&[(1, Message(&SCOPE)), (2, Message(&SPAN)), (3, Text)]);
static SPAN: Schema = Schema::item(&[
    (1, Bytes),
    (2, Bytes),
    (3, Text),
    (4, Bytes),
    (5, Text),
    (6, Varint),
    (7, Fixed64),
    (8, Fixed64),
    (9, Message(&KEY_VALUE)),
    (10, Varint),
    (11, Message(&SPAN_EVENT)),
    (12, Varint),
    (13, Message(&SPAN_LINK)),
    (14, Varint),
    (15, Message(&SPAN_STATUS)),
    (16, Fixed32),
]);
static SPAN_EVENT: Schema = Schema::new(&[(1, Fixed64), (2, Text), (3, Message(&KEY_VALUE)), (4, Varint)]);
static SPAN_LINK: Schema =
    Schema::new(&[(1, Bytes), (2, Bytes), (3, Text), (4, Message(&KEY_VALUE)), (5, Varint), (6, Fixed32)]);
static SPAN_STATUS: Schema = Schema::new(&[(2, Text), (3, Varint)]);

static METRICS_REQUEST: Schema = Schema::new(&[(1, Message(&RESOURCE_METRICS))]);
static RESOURCE_METRICS: Schema = Schema::new(&[(1, Message(&RESOURCE)), (2, Message(&SCOPE_METRICS)), (3, Text)]);
static SCOPE_METRICS: Schema = Schema::new(&[(1, Message(&SCOPE)), (2, Message(&METRIC)), (3, Text)]);
static METRIC: Schema = Schema::new(&[
    (1, Text),
    (2, Text),
    (3, Text),
    (5, Message(&GAUGE)),
    (7, Message(&SUM)),
    (9, Message(&HISTOGRAM)),
    (10, Message(&EXPONENTIAL_HISTOGRAM)),
    (11, Message(&SUMMARY)),
    (12, Message(&KEY_VALUE)),
]);
static GAUGE: Schema = Schema::new(&[(1, Message(&NUMBER_POINT))]);
static SUM: Schema = Schema::new(&[(1, Message(&NUMBER_POINT)), (2, Varint), (3, Varint)]);
static HISTOGRAM: Schema = Schema::new(&[(1, Message(&HISTOGRAM_POINT)), (2, Varint)]);
static EXPONENTIAL_HISTOGRAM: Schema = Schema::new(&[(1, Message(&EXPONENTIAL_HISTOGRAM_POINT)), (2, Varint)]);
static SUMMARY: Schema = Schema::new(&[(1, Message(&SUMMARY_POINT))]);
static NUMBER_POINT: Schema = Schema::item(&[
    (2, Fixed64),
    (3, Fixed64),
    (4, Fixed64),
    (5, Message(&EXEMPLAR)),
    (6, Fixed64),
    (7, Message(&KEY_VALUE)),
    (8, Varint),
]);
static HISTOGRAM_POINT: Schema = Schema::item(&[
    (2, Fixed64),
    (3, Fixed64),
    (4, Fixed64),
    (5, Fixed64),
    (6, Fixed64s),
    (7, Fixed64s),
    (8, Message(&EXEMPLAR)),
    (9, Message(&KEY_VALUE)),
    (10, Varint),
    (11, Fixed64),
    (12, Fixed64),
]);
static EXPONENTIAL_HISTOGRAM_POINT: Schema = Schema::item(&[
    (1, Message(&KEY_VALUE)),
    (2, Fixed64),
    (3, Fixed64),
    (4, Fixed64),
    (5, Fixed64),
    (6, Varint),
    (7, Fixed64),
    (8, Message(&BUCKETS)),
    (9, Message(&BUCKETS)),
    (10, Varint),
    (11, Message(&EXEMPLAR)),
    (12, Fixed64),
    (13, Fixed64),
    (14, Fixed64),
]);
static BUCKETS: Schema = Schema::new(&[(1, Varint), (2, Varints)]);
static SUMMARY_POINT: Schema = Schema::item(&[
    (2, Fixed64),
    (3, Fixed64),
    (4, Fixed64),
    (5, Fixed64),
    (6, Message(&QUANTILE)),
    (7, Message(&KEY_VALUE)),
    (8, Varint),
]);
static QUANTILE: Schema = Schema::new(&[(1, Fixed64), (2, Fixed64)]);
static EXEMPLAR: Schema =
    Schema::new(&[(2, Fixed64), (3, Fixed64), (4, Bytes), (5, Bytes), (6, Fixed64), (7, Message(&KEY_VALUE))]);

static RESOURCE: Schema = Schema::new(&[(1, Message(&KEY_VALUE)), (2, Varint), (3, Message(&ENTITY_REF))]);
static ENTITY_REF: Schema = Schema::new(&[(1, Text), (2, Text), (3, Text), (4, Text)]);
static SCOPE: Schema = Schema::new(&[(1, Text), (2, Text), (3, Message(&KEY_VALUE)), (4, Varint)]);
static KEY_VALUE: Schema = Schema::new(&[(1, Text), (2, Message(&ANY_VALUE)), (3, Varint)]);
static ANY_VALUE: Schema = Schema::new(&[
    (1, Text),
    (2, Varint),
    (3, Varint),
    (4, Fixed64),
    (5, Message(&ARRAY)),
    (6, Message(&KEY_VALUE_LIST)),
    (7, Bytes),
    (8, Varint),
]);
static ARRAY: Schema = Schema::new(&[(1, Message(&ANY_VALUE))]);
static KEY_VALUE_LIST: Schema = Schema::new(&[(1, Message(&KEY_VALUE))]);
