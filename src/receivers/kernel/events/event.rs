//! One event on its way to a log record.

use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value::Value};

use super::catalogue::{Kind, Severity};

/// What becomes one log record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    /// Which event it is.
    pub kind: Kind,
    /// How bad it is.
    pub severity: Severity,
    /// When it happened, by the wall clock.
    pub unix_nanos: u64,
    /// One line for people.
    pub body: String,
    /// Its attributes.
    pub attributes: Attributes,
}

impl Event {
    /// The `log.record.uid`, which every event begins with.
    pub(crate) fn uid(&self) -> &str {
        match self.attributes.0.first().and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
            Some(Value::StringValue(uid)) => uid,
            _ => "",
        }
    }
}

/// Attributes in the order in which they were added. What is unknown is not added: no attribute is ever empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Attributes(Vec<KeyValue>);

impl Attributes {
    /// Adds a text, unless it is unknown or empty.
    pub(crate) fn text(&mut self, key: &str, value: impl Into<Option<String>>) {
        if let Some(value) = value.into().filter(|value| !value.is_empty()) {
            self.add(key, Value::StringValue(value));
        }
    }

    /// Adds a number.
    pub(crate) fn int<N: TryInto<i64>>(&mut self, key: &str, value: N) {
        self.some_int(key, Some(value));
    }

    /// Adds a number, unless it is unknown.
    pub(crate) fn some_int<N: TryInto<i64>>(&mut self, key: &str, value: Option<N>) {
        if let Some(value) = value.and_then(|value| value.try_into().ok()) {
            self.add(key, Value::IntValue(value));
        }
    }

    /// Adds a number, unless it is zero, where zero means unknown or none.
    pub(crate) fn nonzero<N: TryInto<i64>>(&mut self, key: &str, value: N) {
        self.some_int::<i64>(key, value.try_into().ok().filter(|value| *value != 0));
    }

    /// Adds a duration in seconds, unless it is unknown.
    pub(crate) fn seconds(&mut self, key: &str, value: impl Into<Option<f64>>) {
        if let Some(value) = value.into() {
            self.add(key, Value::DoubleValue(value));
        }
    }

    /// Adds a list, unless it is empty.
    pub(crate) fn list(&mut self, key: &str, values: Vec<String>) {
        if !values.is_empty() {
            let values = values.into_iter().map(|v| AnyValue { value: Some(Value::StringValue(v)) }).collect();
            self.add(key, Value::ArrayValue(ArrayValue { values }));
        }
    }

    /// The attributes as OTLP has them.
    pub(crate) fn into_inner(self) -> Vec<KeyValue> {
        self.0
    }

    fn add(&mut self, key: &str, value: Value) {
        self.0.push(KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        });
    }
}
