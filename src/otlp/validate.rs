//! Checks an export request to its last byte, before anything of it is stored.

use super::Signal;
use super::schema::{self, Kind, Schema};
use super::wire::{Fault, MAX_DEPTH, Malformed, Reader, Wire};

/// Checks that `payload` is an export request of `signal` which any protobuf reader decodes, and counts its log
/// records, spans or data points.
///
/// Wire types, lengths, nesting and UTF-8 are checked in every message; unknown fields are let through, as protobuf
/// requires. Takes time linear in the payload and decodes nothing.
///
/// # Errors
/// [`Malformed`] with the offset of the first fault. Messages may nest 98 deep below the request; payloads end at
/// 4 GiB.
pub fn validate(signal: Signal, payload: &[u8]) -> Result<u32, Malformed> {
    if u32::try_from(payload.len()).is_err() {
        return Err(Malformed { offset: 0, fault: Fault::TooLong });
    }
    let mut items = 0;
    // A stack of our own: how deep a client nests must not decide how deep we recurse.
    let mut outer: Vec<(Reader<'_>, &'static Schema)> = Vec::with_capacity(16);
    let (mut message, mut schema) = (Reader::new(payload), schema::request(signal));
    loop {
        while message.is_at_end() {
            match outer.pop() {
                Some(parent) => (message, schema) = parent,
                None => return Ok(items),
            }
        }
        if let Some((inner, inner_schema)) = field(&mut message, schema, outer.len())? {
            if outer.len() == MAX_DEPTH {
                return Err(inner.fault(Fault::Depth));
            }
            items += u32::from(inner_schema.is_item);
            outer.push((message, schema));
            (message, schema) = (inner, inner_schema);
        }
    }
}

/// Checks one field; a message in it is given back to be checked next.
fn field<'a>(
    message: &mut Reader<'a>,
    schema: &Schema,
    depth: usize,
) -> Result<Option<(Reader<'a>, &'static Schema)>, Malformed> {
    let key_at = message.fault(Fault::WrongWireType);
    let (number, wire) = message.key()?;
    match (schema.kind(number), wire) {
        (Kind::Message(inner), Wire::Length) => {
            let value = message.delimited()?;
            return Ok(Some((message.inside(&value), inner)));
        }
        (Kind::Text, Wire::Length) => {
            let value = message.delimited()?;
            if let Err(error) = std::str::from_utf8(message.slice(&value)) {
                return Err(Malformed { offset: value.start + error.valid_up_to(), fault: Fault::Utf8 });
            }
        }
        (Kind::Varints, Wire::Length) => {
            let value = message.delimited()?;
            let mut packed = message.inside(&value);
            while !packed.is_at_end() {
                packed.varint()?;
            }
        }
        (Kind::Fixed64s, Wire::Length) => {
            let value = message.delimited()?;
            if value.len() % 8 != 0 {
                return Err(Malformed { offset: value.end, fault: Fault::Truncated });
            }
        }
        (Kind::Unknown, _)
        | (Kind::Varint | Kind::Varints, Wire::Varint)
        | (Kind::Fixed64 | Kind::Fixed64s, Wire::Fixed64)
        | (Kind::Fixed32, Wire::Fixed32)
        | (Kind::Bytes, Wire::Length) => {
            message.skip(number, wire, MAX_DEPTH - depth)?;
        }
        _ => return Err(key_at),
    }
    Ok(None)
}
