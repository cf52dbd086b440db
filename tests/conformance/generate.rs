//! JSON requests by chance: every field, in every form that the encoding allows.

use serde_json::{Map, Value, json};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Logs,
    Traces,
    Metrics,
}

impl Signal {
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Logs => "/v1/logs",
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
        }
    }
}

pub(crate) struct Generate {
    rng: fastrand::Rng,
}

type Fields = Map<String, Value>;

impl Generate {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed) }
    }

    pub(crate) fn request(&mut self) -> (Signal, String) {
        let signal = [Signal::Logs, Signal::Traces, Signal::Metrics][self.rng.usize(0..3)];
        let (resources, scopes, items) = match signal {
            Signal::Logs => ("resourceLogs", "scopeLogs", "logRecords"),
            Signal::Traces => ("resourceSpans", "scopeSpans", "spans"),
            Signal::Metrics => ("resourceMetrics", "scopeMetrics", "metrics"),
        };
        let item = |g: &mut Self| match signal {
            Signal::Logs => g.log_record(),
            Signal::Traces => g.span(),
            Signal::Metrics => g.metric(),
        };
        let scope = |g: &mut Self| {
            let mut scope = Fields::new();
            scope.insert(items.into(), g.list(1, 3, item));
            let named = |g: &mut Self| json!({"name": g.text(), "version": g.text(), "attributes": g.attributes()});
            g.sometimes(&mut scope, "scope", named);
            g.sometimes(&mut scope, "schemaUrl", Self::text);
            Value::Object(scope)
        };
        let resource = |g: &mut Self| {
            let mut resource = Fields::new();
            g.sometimes(
                &mut resource,
                "resource",
                |g| json!({"attributes": g.attributes(), "droppedAttributesCount": g.rng.u32(..)}),
            );
            resource.insert(scopes.into(), g.list(1, 2, scope));
            g.sometimes(&mut resource, "schemaUrl", Self::text);
            Value::Object(resource)
        };
        let resources_list = self.list(1, 2, resource);
        (signal, json!({ resources: resources_list }).to_string())
    }

    fn log_record(&mut self) -> Value {
        let mut fields = Fields::new();
        self.sometimes(&mut fields, "timeUnixNano", Self::unsigned);
        self.sometimes(&mut fields, "observedTimeUnixNano", Self::unsigned);
        self.sometimes(&mut fields, "severityNumber", |g| json!(g.rng.u8(0..25)));
        self.sometimes(&mut fields, "severityText", Self::text);
        self.sometimes(&mut fields, "body", |g| g.any_value(0));
        self.sometimes(&mut fields, "attributes", Self::attributes);
        self.sometimes(&mut fields, "droppedAttributesCount", |g| json!(g.rng.u32(..)));
        self.sometimes(&mut fields, "flags", |g| json!(g.rng.u32(..)));
        self.sometimes(&mut fields, "traceId", |g| g.hex(16));
        self.sometimes(&mut fields, "spanId", |g| g.hex(8));
        self.sometimes(&mut fields, "eventName", Self::text);
        self.with_unknown(fields)
    }

    fn span(&mut self) -> Value {
        let mut fields = Fields::new();
        fields.insert("traceId".into(), self.hex(16));
        fields.insert("spanId".into(), self.hex(8));
        self.sometimes(&mut fields, "parentSpanId", |g| g.hex(8));
        self.sometimes(&mut fields, "traceState", Self::text);
        self.sometimes(&mut fields, "name", Self::text);
        self.sometimes(&mut fields, "kind", |g| json!(g.rng.u8(0..6)));
        self.sometimes(&mut fields, "flags", |g| json!(g.rng.u32(..)));
        self.sometimes(&mut fields, "startTimeUnixNano", Self::unsigned);
        self.sometimes(&mut fields, "endTimeUnixNano", Self::unsigned);
        self.sometimes(&mut fields, "attributes", Self::attributes);
        self.sometimes(&mut fields, "droppedAttributesCount", |g| json!(g.rng.u32(..)));
        self.sometimes(&mut fields, "events", |g| {
            g.list(0, 2, |g| json!({"timeUnixNano": g.unsigned(), "name": g.text(), "attributes": g.attributes()}))
        });
        self.sometimes(&mut fields, "links", |g| {
            g.list(0, 2, |g| json!({"traceId": g.hex(16), "spanId": g.hex(8), "attributes": g.attributes()}))
        });
        self.sometimes(&mut fields, "status", |g| json!({"message": g.text(), "code": g.rng.u8(0..3)}));
        self.with_unknown(fields)
    }

    fn metric(&mut self) -> Value {
        let mut fields = Fields::new();
        fields.insert("name".into(), self.text());
        self.sometimes(&mut fields, "description", Self::text);
        self.sometimes(&mut fields, "unit", Self::text);
        let temporality = json!(self.rng.u8(0..3));
        let (kind, data) = match self.rng.u8(0..5) {
            0 => ("gauge", json!({"dataPoints": self.list(1, 3, Self::number_point)})),
            1 => {
                let points = self.list(1, 3, Self::number_point);
                (
                    "sum",
                    json!({"dataPoints": points, "aggregationTemporality": temporality, "isMonotonic": self.rng.bool()}),
                )
            }
            2 => {
                let points = self.list(1, 3, Self::histogram_point);
                ("histogram", json!({"dataPoints": points, "aggregationTemporality": temporality}))
            }
            3 => {
                let points = self.list(1, 3, Self::exponential_point);
                ("exponentialHistogram", json!({"dataPoints": points, "aggregationTemporality": temporality}))
            }
            _ => ("summary", json!({"dataPoints": self.list(1, 3, Self::summary_point)})),
        };
        fields.insert(kind.into(), data);
        self.with_unknown(fields)
    }

    fn point(&mut self) -> Fields {
        let mut fields = Fields::new();
        self.sometimes(&mut fields, "attributes", Self::attributes);
        self.sometimes(&mut fields, "startTimeUnixNano", Self::unsigned);
        self.sometimes(&mut fields, "timeUnixNano", Self::unsigned);
        self.sometimes(&mut fields, "flags", |g| json!(g.rng.u32(0..2)));
        fields
    }

    fn number_point(&mut self) -> Value {
        let mut fields = self.point();
        let (name, value) = if self.rng.bool() { ("asInt", self.signed()) } else { ("asDouble", self.double()) };
        fields.insert(name.into(), value);
        self.sometimes(&mut fields, "exemplars", |g| {
            g.list(0, 2, |g| json!({"timeUnixNano": g.unsigned(), "asInt": g.signed(), "spanId": g.hex(8), "traceId": g.hex(16)}))
        });
        Value::Object(fields)
    }

    fn histogram_point(&mut self) -> Value {
        let mut fields = self.point();
        fields.insert("count".into(), self.unsigned());
        self.sometimes(&mut fields, "sum", Self::double);
        self.sometimes(&mut fields, "min", Self::double);
        self.sometimes(&mut fields, "max", Self::double);
        fields.insert("bucketCounts".into(), self.list(0, 4, Self::unsigned));
        fields.insert("explicitBounds".into(), self.list(0, 3, Self::double));
        Value::Object(fields)
    }

    fn exponential_point(&mut self) -> Value {
        let mut fields = self.point();
        fields.insert("count".into(), self.unsigned());
        fields.insert("scale".into(), json!(self.rng.i32(-10..20)));
        fields.insert("zeroCount".into(), self.unsigned());
        self.sometimes(&mut fields, "sum", Self::double);
        self.sometimes(&mut fields, "zeroThreshold", Self::double);
        for side in ["positive", "negative"] {
            self.sometimes(
                &mut fields,
                side,
                |g| json!({"offset": g.rng.i32(..), "bucketCounts": g.list(0, 4, Self::unsigned)}),
            );
        }
        Value::Object(fields)
    }

    fn summary_point(&mut self) -> Value {
        let mut fields = self.point();
        fields.insert("count".into(), self.unsigned());
        fields.insert("sum".into(), self.double());
        fields
            .insert("quantileValues".into(), self.list(0, 3, |g| json!({"quantile": g.double(), "value": g.double()})));
        Value::Object(fields)
    }

    fn attributes(&mut self) -> Value {
        self.list(0, 3, |g| json!({"key": g.text(), "value": g.any_value(0)}))
    }

    fn any_value(&mut self, depth: usize) -> Value {
        match self.rng.u8(0..if depth < 3 { 7 } else { 5 }) {
            0 => json!({"stringValue": self.text()}),
            1 => json!({"boolValue": self.rng.bool()}),
            2 => json!({"intValue": self.signed()}),
            3 => json!({"doubleValue": self.double()}),
            4 => {
                let bytes = ["", "AA==", "AQID", "/+7d"][self.rng.usize(0..4)];
                json!({ "bytesValue": bytes })
            }
            5 => json!({"arrayValue": {"values": self.list(0, 3, |g| g.any_value(depth + 1))}}),
            _ => {
                json!({"kvlistValue": {"values": self.list(0, 3, |g| json!({"key": g.text(), "value": g.any_value(depth + 1)}))}})
            }
        }
    }

    fn sometimes(&mut self, fields: &mut Fields, name: &str, value: impl FnOnce(&mut Self) -> Value) {
        if self.rng.u8(0..3) > 0 {
            let value = value(self);
            fields.insert(name.into(), value);
        }
    }

    fn with_unknown(&mut self, mut fields: Fields) -> Value {
        self.sometimes(&mut fields, "fieldOfALaterVersion", |g| json!([{"a": g.text()}, 1.5, null, true]));
        Value::Object(fields)
    }

    fn list(&mut self, least: usize, most: usize, item: impl Fn(&mut Self) -> Value) -> Value {
        (0..self.rng.usize(least..=most)).map(|_| item(self)).collect()
    }

    fn text(&mut self) -> Value {
        let texts = [
            "",
            "a",
            "service.name",
            "ein \u{fc}ber langer Text",
            "\u{1f600}",
            "line\nbreak\t\"quoted\" \\",
            "\u{0}\u{7f}",
        ];
        json!(texts[self.rng.usize(0..texts.len())])
    }

    fn hex(&mut self, bytes: usize) -> Value {
        let hex: String = (0..bytes).map(|_| format!("{:02x}", self.rng.u8(..))).collect();
        json!(if self.rng.bool() { hex.to_uppercase() } else { hex })
    }

    fn unsigned(&mut self) -> Value {
        let value = [0, 1, 1_790_000_000_123_456_789, u64::MAX, self.rng.u64(..)][self.rng.usize(0..5)];
        if self.rng.bool() { json!(value.to_string()) } else { json!(value) }
    }

    fn signed(&mut self) -> Value {
        let value = [0, -1, i64::MIN, i64::MAX, self.rng.i64(..)][self.rng.usize(0..5)];
        if self.rng.bool() { json!(value.to_string()) } else { json!(value) }
    }

    fn double(&mut self) -> Value {
        // Not -0: the Collector loses its sign.
        let values =
            [json!(0), json!(1.5e300), json!(0.1), json!("NaN"), json!("Infinity"), json!("-Infinity"), json!("2.5")];
        values[self.rng.usize(0..values.len())].clone()
    }
}
