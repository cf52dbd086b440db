//! Protobuf export requests as OTLP JSON, straight from the bytes.
//!
//! What the bytes do not hold does not appear; unknown fields are left out.

use std::borrow::Cow;

use super::schema::{self, Field, Kind, Label, Message};
use super::text;
use crate::otlp::Signal;
use crate::otlp::wire::{self, Fault, MAX_DEPTH, Malformed, Reader, Wire};

/// Appends an export request to `out` as one line of OTLP JSON, newline included.
///
/// Text that is not UTF-8 is written with replacement characters.
///
/// # Errors
/// The payload is not a protobuf message, or its messages nest deeper than [`crate::otlp::validate()`] lets through; `out`
/// is then as it was.
pub fn write_line(signal: Signal, payload: &[u8], out: &mut String) -> Result<(), Malformed> {
    let start = out.len();
    let written = write_message(schema::request(signal), Reader::new(payload), out, 0);
    match written {
        Ok(()) => out.push('\n'),
        Err(_) => out.truncate(start),
    }
    written
}

/// A value as it stands on the wire.
#[derive(Debug, Clone)]
enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    /// A message, a string, bytes, or numbers packed together.
    Length(Reader<'a>),
}

/// A known field as it was found: its row in the message's table, its value.
type Found<'a> = (usize, Value<'a>);

pub(super) fn write_message(
    message: &Message,
    reader: Reader<'_>,
    out: &mut String,
    depth: usize,
) -> Result<(), Malformed> {
    if depth > MAX_DEPTH {
        return Err(reader.fault(Fault::Depth));
    }
    let found = collect(message, reader)?;
    out.push('{');
    for (n, group) in found.chunk_by(|a, b| a.0 == b.0).enumerate() {
        if n > 0 {
            out.push(',');
        }
        let field = &message.fields[group[0].0];
        out.push('"');
        out.push_str(field.name);
        out.push_str("\":");
        match (field.label, field.kind) {
            (Label::Many, _) => write_array(field, group, out, depth)?,
            (_, Kind::Message(inner)) => write_message(inner, Reader::new(&merged(group)), out, depth + 1)?,
            (_, kind) => write_scalar(kind, &group[group.len() - 1].1, out),
        }
    }
    out.push('}');
    Ok(())
}

/// The known fields of a message, grouped by field. Fields may stand in any order; equal ones keep theirs.
fn collect<'a>(message: &Message, mut reader: Reader<'a>) -> Result<Vec<Found<'a>>, Malformed> {
    let mut found: Vec<Found<'a>> = Vec::with_capacity(message.fields.len());
    while let Some(field) = reader.field()? {
        let Ok(row) = message.fields.binary_search_by_key(&field.number, |f| f.number) else { continue };
        let Some(value) = value(&reader, &field)? else { continue };
        let row_field = &message.fields[row];
        if !fits(row_field, &value) {
            continue;
        }
        if row_field.label == Label::Choice {
            // The last member of a choice on the wire is the one that is set.
            found.retain(|(other, _)| *other == row || message.fields[*other].label != Label::Choice);
        }
        found.push((row, value));
    }
    found.sort_by_key(|(row, _)| *row);
    Ok(found)
}

fn value<'a>(reader: &Reader<'a>, field: &wire::Field) -> Result<Option<Value<'a>>, Malformed> {
    let mut value = reader.inside(&field.value);
    Ok(Some(match field.wire {
        Wire::Varint => Value::Varint(value.varint()?),
        Wire::Fixed64 => Value::Fixed64(u64::from_le_bytes(value.array()?)),
        Wire::Fixed32 => Value::Fixed32(u32::from_le_bytes(value.array()?)),
        Wire::Length => Value::Length(value),
        // Groups: OTLP never had any.
        Wire::GroupStart | Wire::GroupEnd => return Ok(None),
    }))
}

/// Whether the wire type is the field's; another one makes it an unknown field.
fn fits(field: &Field, value: &Value<'_>) -> bool {
    match (field.kind, value) {
        (kind, value) if kind.is_bytes() => matches!(value, Value::Length(_)),
        // Repeated numbers are packed into one run of bytes.
        (_, Value::Length(_)) => field.label == Label::Many,
        (Kind::Fixed64 | Kind::Sfixed64 | Kind::Double, value) => matches!(value, Value::Fixed64(_)),
        (Kind::Fixed32, value) => matches!(value, Value::Fixed32(_)),
        (_, value) => matches!(value, Value::Varint(_)),
    }
}

/// A message that stands several times is the concatenation of all.
fn merged<'a>(group: &[Found<'a>]) -> Cow<'a, [u8]> {
    let bytes = |(_, value): &Found<'a>| if let Value::Length(part) = value { part.rest() } else { &[] };
    if let [only] = group { Cow::Borrowed(bytes(only)) } else { group.iter().flat_map(bytes).copied().collect() }
}

fn write_array(field: &Field, group: &[Found<'_>], out: &mut String, depth: usize) -> Result<(), Malformed> {
    out.push('[');
    for (_, value) in group {
        match (field.kind, value) {
            (Kind::Message(inner), Value::Length(message)) => write_message(inner, message.clone(), out, depth + 1)?,
            (kind, Value::Length(packed)) if !kind.is_bytes() => {
                write_packed(kind, packed.clone(), out)?;
                continue;
            }
            (kind, value) => write_scalar(kind, value, out),
        }
        out.push(',');
    }
    if out.ends_with(',') {
        out.pop();
    }
    out.push(']');
    Ok(())
}

fn write_packed(kind: Kind, mut packed: Reader<'_>, out: &mut String) -> Result<(), Malformed> {
    while !packed.is_at_end() {
        let value = match kind {
            Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => Value::Fixed64(u64::from_le_bytes(packed.array()?)),
            Kind::Fixed32 => Value::Fixed32(u32::from_le_bytes(packed.array()?)),
            _ => Value::Varint(packed.varint()?),
        };
        write_scalar(kind, &value, out);
        out.push(',');
    }
    Ok(())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "protobuf's own reading of integers")]
fn write_scalar(kind: Kind, value: &Value<'_>, out: &mut String) {
    match *value {
        Value::Length(ref bytes) => match kind {
            Kind::Hex => text::hex(out, bytes.rest()),
            Kind::Base64 => text::base64(out, bytes.rest()),
            _ => text::string(out, &String::from_utf8_lossy(bytes.rest())),
        },
        Value::Fixed32(n) => text::number(out, n),
        Value::Fixed64(n) => match kind {
            Kind::Double => text::double(out, f64::from_bits(n)),
            Kind::Sfixed64 => write_quoted(out, n as i64),
            _ => write_quoted(out, n),
        },
        Value::Varint(n) => match kind {
            Kind::Bool => out.push_str(if n == 0 { "false" } else { "true" }),
            Kind::Int32 => text::number(out, n as i32),
            Kind::Sint32 => text::number(out, ((n as u32) >> 1) as i32 ^ -((n & 1) as i32)),
            Kind::Int64 => write_quoted(out, n as i64),
            Kind::Uint64 => write_quoted(out, n),
            _ => text::number(out, n as u32),
        },
    }
}

/// A 64-bit integer, as a string: JSON readers keep 53 bits of a number.
fn write_quoted(out: &mut String, value: impl ToString) {
    out.push('"');
    text::number(out, value);
    out.push('"');
}
