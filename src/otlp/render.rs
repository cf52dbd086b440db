//! Records as text for people: one line each, safe to show on a terminal.
//!
//! Names and values come from outside. Whatever a terminal would obey instead of show (escape sequences, line
//! breaks, characters that reverse the direction of text) is written as an escape.

#[cfg(test)]
mod tests;

use std::fmt::Display;

use anstyle::{AnsiColor, Style};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::number_data_point;
use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode};

use super::record::{Begins, Item, Point, Record, type_name, value_of};

/// How much of a record is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// One line with the first attributes that tell something.
    Brief,
    /// One line with every attribute, those that tell something first.
    Line,
    /// One line, then every attribute on a line of its own. Resource and scope stand once before the records that share
    /// them.
    Full,
}

/// Attributes that say how a record came to be, not what happened.
const PLUMBING: [&str; 5] =
    ["log.record.uid", "event.name", "kernel.hook.name", "kernel.hook.sequence", "kernel.suppressed_before"];

/// Attributes on a brief line, at most.
const BRIEF_ATTRIBUTES: usize = 8;
/// Characters of one name or value on a brief line, at most.
const BRIEF_VALUE: usize = 120;

/// Writes records as text.
#[derive(Debug, Clone, Copy)]
pub struct Renderer {
    detail: Detail,
    styled: bool,
}

impl Renderer {
    /// A renderer; `styled` writes colours as ANSI escape sequences.
    #[must_use]
    pub fn new(detail: Detail, styled: bool) -> Self {
        Self { detail, styled }
    }

    /// Appends one record: a line that ends with a newline, and more for [`Detail::Full`].
    pub fn write(&self, record: &Record<'_>, out: &mut String) {
        if self.detail == Detail::Full {
            self.surroundings(out, record);
        }
        let time = record.time().or(record.observed_time());
        self.styled(out, Style::new().dimmed(), time.map_or_else(|| "-".into(), short_time));
        out.push(' ');
        match record.item() {
            Item::Log(log) => {
                self.severity(out, log.severity_number, &log.severity_text);
                self.name(out, record.event_name().unwrap_or_default());
                if let Some(body) = log.body.as_ref().and_then(|body| body.value.as_ref()) {
                    out.push(' ');
                    self.value(out, body);
                }
            }
            Item::Span(span) => self.span(out, span),
            Item::Point(metric, point) => {
                out.push_str(type_name(metric));
                self.name(out, &metric.name);
                push_point(out, point);
                if !metric.unit.is_empty() {
                    out.push(' ');
                    self.cut(out, &metric.unit, push_clean);
                }
            }
        }
        match self.detail {
            Detail::Brief => self.brief_attributes(out, record.attributes()),
            Detail::Line => self.line_attributes(out, record.attributes()),
            Detail::Full => self.list(out, record.attributes()),
        }
        out.push('\n');
    }

    fn span(&self, out: &mut String, span: &Span) {
        let failed = span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error);
        let style = if failed { AnsiColor::Red.on_default() } else { Style::new() };
        self.styled(out, style, if failed { "span ERROR" } else { "span" });
        self.name(out, &span.name);
        if span.start_time_unix_nano != 0
            && let Some(nanos) = span.end_time_unix_nano.checked_sub(span.start_time_unix_nano)
        {
            out.push_str(&format!(" {:?}", std::time::Duration::from_nanos(nanos)));
        }
    }

    fn severity(&self, out: &mut String, number: i32, text: &str) {
        let (name, style) = match number {
            1..=4 => ("TRACE", Style::new().dimmed()),
            5..=8 => ("DEBUG", Style::new().dimmed()),
            9..=12 => ("INFO ", AnsiColor::Green.on_default()),
            13..=16 => ("WARN ", AnsiColor::Yellow.on_default()),
            17..=20 => ("ERROR", AnsiColor::Red.on_default()),
            21..=24 => ("FATAL", AnsiColor::Red.on_default().bold()),
            _ => ("-    ", Style::new()),
        };
        if name.starts_with('-') && !text.is_empty() {
            push_clean(out, text);
        } else {
            self.styled(out, style, name);
        }
    }

    fn name(&self, out: &mut String, name: &str) {
        if !name.is_empty() {
            let mut clean = String::new();
            self.cut(&mut clean, name, push_clean);
            out.push(' ');
            self.styled(out, Style::new().bold(), clean);
        }
    }

    /// Appends as much of a text as the detail allows. A metric's name and unit stand on the line of each of its points:
    /// a long one would be written millions of times.
    fn cut(&self, out: &mut String, text: &str, push: impl Fn(&mut String, &str)) {
        match text.char_indices().nth(BRIEF_VALUE) {
            Some((cut, _)) if self.detail == Detail::Brief => {
                push(out, &text[..cut]);
                out.push('…');
            }
            _ => push(out, text),
        }
    }

    fn line_attributes(&self, out: &mut String, attributes: &[KeyValue]) {
        let (plumbing, telling): (Vec<_>, Vec<_>) = attributes.iter().partition(|attribute| is_plumbing(attribute));
        telling.into_iter().chain(plumbing).for_each(|attribute| self.attribute(out, " ", attribute));
    }

    fn brief_attributes(&self, out: &mut String, attributes: &[KeyValue]) {
        let telling = || attributes.iter().filter(|attribute| !is_plumbing(attribute));
        telling().take(BRIEF_ATTRIBUTES).for_each(|attribute| self.attribute(out, " ", attribute));
        let left = telling().count().saturating_sub(BRIEF_ATTRIBUTES);
        if left > 0 {
            self.styled(out, Style::new().dimmed(), format!(" +{left}"));
        }
    }

    /// What begins with a record and is shared by those after it.
    fn surroundings(&self, out: &mut String, record: &Record<'_>) {
        let begins = record.begins();
        if begins == Begins::Resource {
            self.styled(out, Style::new().dimmed(), "resource");
            self.list(out, record.resource());
            out.push('\n');
        }
        if begins != Begins::Nothing {
            self.styled(out, Style::new().dimmed(), "scope");
            if let Some(scope) = record.scope() {
                for text in [&scope.name, &scope.version].into_iter().filter(|text| !text.is_empty()) {
                    out.push(' ');
                    push_clean(out, text);
                }
                self.list(out, &scope.attributes);
            }
            out.push('\n');
        }
    }

    fn list(&self, out: &mut String, attributes: &[KeyValue]) {
        attributes.iter().for_each(|attribute| self.attribute(out, "\n    ", attribute));
    }

    fn attribute(&self, out: &mut String, before: &str, attribute: &KeyValue) {
        let Some(value) = value_of(attribute) else { return };
        out.push_str(before);
        let mut key = String::new();
        push_clean(&mut key, &attribute.key);
        key.push('=');
        self.styled(out, Style::new().dimmed(), key);
        let quoted = matches!(value, Value::StringValue(text) if text.is_empty() || text.contains([' ', '"', '=']));
        if quoted {
            out.push('"');
        }
        self.value(out, value);
        if quoted {
            out.push('"');
        }
    }

    fn value(&self, out: &mut String, value: &Value) {
        let mut whole = String::new();
        push_value(&mut whole, value);
        self.cut(out, &whole, String::push_str);
    }

    fn styled(&self, out: &mut String, style: Style, text: impl Display) {
        let style = if self.styled { style } else { Style::new() };
        out.push_str(&format!("{style}{text}{style:#}"));
    }
}

fn is_plumbing(attribute: &KeyValue) -> bool {
    PLUMBING.contains(&attribute.key.as_str())
}

/// UTC to the millisecond: what fits a line; JSON has it all.
fn short_time(nanos: u64) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.3}")
}

fn push_point(out: &mut String, point: Point<'_>) {
    out.push(' ');
    match point {
        Point::Number(point) => match point.value {
            Some(number_data_point::Value::AsInt(value)) => out.push_str(&value.to_string()),
            Some(number_data_point::Value::AsDouble(value)) => out.push_str(&value.to_string()),
            None => out.push('-'),
        },
        Point::Histogram(point) => push_count(out, point.count, point.sum),
        Point::Exponential(point) => push_count(out, point.count, point.sum),
        Point::Summary(point) => push_count(out, point.count, Some(point.sum)),
    }
}

fn push_count(out: &mut String, count: u64, sum: Option<f64>) {
    out.push_str(&format!("count={count}"));
    if let Some(sum) = sum {
        out.push_str(&format!(" sum={sum}"));
    }
}

fn push_value(out: &mut String, value: &Value) {
    match value {
        Value::StringValue(text) => push_clean(out, text),
        Value::BoolValue(value) => out.push_str(&value.to_string()),
        Value::IntValue(value) => out.push_str(&value.to_string()),
        Value::DoubleValue(value) => out.push_str(&value.to_string()),
        Value::BytesValue(bytes) => out.push_str(&format!("({} bytes)", bytes.len())),
        Value::ArrayValue(list) => {
            out.push('[');
            push_list(out, &list.values, |out, value| push_any(out, Some(value)));
            out.push(']');
        }
        Value::KvlistValue(list) => {
            out.push('{');
            push_list(out, &list.values, |out, attribute| {
                push_clean(out, &attribute.key);
                out.push('=');
                push_any(out, attribute.value.as_ref());
            });
            out.push('}');
        }
        Value::StringValueStrindex(_) => out.push('-'),
    }
}

fn push_any(out: &mut String, value: Option<&AnyValue>) {
    match value.and_then(|any| any.value.as_ref()) {
        Some(value) => push_value(out, value),
        None => out.push('-'),
    }
}

fn push_list<T>(out: &mut String, items: &[T], push: impl Fn(&mut String, &T)) {
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            out.push_str(", ");
        }
        push(out, item);
    }
}

/// Appends text with everything escaped that a terminal would obey instead of show.
fn push_clean(out: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() || is_invisible(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
}

/// Marks that change direction or order of the text around them, or hide in it.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{e0000}'..='\u{e007f}')
}
