//! Protobuf export requests as OTLP JSON, straight from the bytes.
//!
//! - What the bytes do not hold does not appear; unknown fields are left out.
//! - Fields are never collected: a sender may put ten million of them into a request. A message is looked through once
//!   for what it has, and once more for each array. So time is linear in the bytes, and memory beyond them and the text
//!   is some numbers per level.

use super::body::{Body, Value, value_of};
use super::schema::{self, Field, Kind, Label, Message};
use super::text;
use crate::otlp::Signal;
use crate::otlp::wire::{Fault, MAX_DEPTH, Malformed, Reader};

/// Appends an export request to `out` as one line of OTLP JSON, newline included.
///
/// Text that is not UTF-8 is written with replacement characters.
///
/// # Errors
/// The payload is not a protobuf message, or its messages nest deeper than [`crate::otlp::validate()`] lets through; `out`
/// is then as it was.
pub fn write_line(signal: Signal, payload: &[u8], out: &mut String) -> Result<(), Malformed> {
    let start = out.len();
    let written = write_message(schema::request(signal), &Body::Whole(Reader::new(payload)), out, 0);
    match written {
        Ok(()) => out.push('\n'),
        Err(_) => out.truncate(start),
    }
    written
}

/// What a message has of one of its fields.
#[derive(Debug)]
struct Found<'a> {
    /// In the message's table.
    row: usize,
    /// Fields of the message, known or not, before the first that counts.
    from: usize,
    last: Value<'a>,
    is_split: bool,
}

impl<'a> Found<'a> {
    /// The message that it is. One that stands several times is the concatenation of all.
    fn body<'b>(&self, field: &'static Field, outer: &'b Body<'b>) -> Option<Body<'b>>
    where
        'a: 'b,
    {
        match &self.last {
            _ if self.is_split => Some(Body::Split { outer, field, from: self.from }),
            Value::Length(reader) => Some(Body::Whole(reader.clone())),
            _ => None,
        }
    }
}

pub(super) fn write_message(
    message: &'static Message,
    body: &Body<'_>,
    out: &mut String,
    depth: usize,
) -> Result<(), Malformed> {
    if depth > MAX_DEPTH {
        return Err(body.fault(Fault::Depth));
    }
    out.push('{');
    for (n, found) in look_through(message, body)?.iter().enumerate() {
        let field = &message.fields[found.row];
        if n > 0 {
            out.push(',');
        }
        out.push('"');
        out.push_str(field.name);
        out.push_str("\":");
        match (field.label, field.kind, found.body(field, body)) {
            (Label::Many, ..) => write_array(field, body, out, depth)?,
            (_, Kind::Message(inner), Some(body)) => write_message(inner, &body, out, depth + 1)?,
            (_, kind, _) => write_scalar(kind, &found.last, out),
        }
    }
    out.push('}');
    Ok(())
}

/// What a message has, in the order of its table. Fields may stand in any order.
fn look_through<'a>(message: &'static Message, body: &Body<'a>) -> Result<Vec<Found<'a>>, Malformed> {
    let (mut all, mut passed, mut chosen) = (Vec::<Found<'a>>::new(), 0, None);
    body.each(&mut |reader, field| {
        let from = passed;
        passed += 1;
        let Ok(row) = message.fields.binary_search_by_key(&field.number, |f| f.number) else { return Ok(()) };
        let Some(last) = value_of(&message.fields[row], reader, field)? else { return Ok(()) };
        if message.fields[row].label == Label::Choice {
            // The last member of a choice on the wire is the one that is set.
            let other = chosen.replace(row).filter(|other| *other != row);
            other.into_iter().for_each(|other| all.retain(|found| found.row != other));
        }
        match all.binary_search_by_key(&row, |found| found.row) {
            Ok(at) => (all[at].last, all[at].is_split) = (last, true),
            Err(at) => {
                // At once, and only for what is not empty.
                all.reserve(message.fields.len() - all.len());
                all.insert(at, Found { row, from, last, is_split: false });
            }
        }
        Ok(())
    })?;
    Ok(all)
}

fn write_array(field: &'static Field, body: &Body<'_>, out: &mut String, depth: usize) -> Result<(), Malformed> {
    out.push('[');
    body.each(&mut |reader, found| {
        let Some(value) = value_of(field, reader, found)? else { return Ok(()) };
        match (field.kind, value) {
            (Kind::Message(inner), Value::Length(message)) => {
                write_message(inner, &Body::Whole(message), out, depth + 1)?;
            }
            (kind, Value::Length(packed)) if !kind.is_bytes() => return write_packed(kind, packed, out),
            (kind, value) => write_scalar(kind, &value, out),
        }
        out.push(',');
        Ok(())
    })?;
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
