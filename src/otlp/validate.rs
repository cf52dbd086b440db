//! Checks an export request to its last byte, before anything of it is stored.

use super::Signal;
use super::schema::{self, Schema, Step};
use super::wire::{Fault, MAX_DEPTH, Malformed, Reader};

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
    validate_within(signal, payload, MAX_DEPTH)
}

/// As [`validate`], where messages may nest so deep at most.
///
/// # Errors
/// As [`validate`].
pub fn validate_within(signal: Signal, payload: &[u8], most: usize) -> Result<u32, Malformed> {
    let most = most.min(MAX_DEPTH);
    if u32::try_from(payload.len()).is_err() {
        return Err(Malformed { offset: 0, fault: Fault::TooLong });
    }
    let mut items = 0;
    let mut reader = Reader::new(payload);
    let mut schema = schema::request(signal);
    // A stack of our own: how deep a client nests must not decide how deep we recurse.
    let mut outer: Vec<(usize, &'static Schema)> = Vec::with_capacity(16);
    loop {
        while reader.is_at_end() {
            let Some((end, parent)) = outer.pop() else { return Ok(items) };
            reader.leave(end);
            schema = parent;
        }
        let Some(inner) = field(&mut reader, schema, most.saturating_sub(outer.len()))? else { continue };
        let length = reader.varint()?;
        let end = reader.enter(length)?;
        if outer.len() >= most {
            return Err(reader.fault(Fault::Depth));
        }
        items += u32::from(inner.is_item);
        outer.push((end, schema));
        schema = inner;
    }
}

/// Checks one field. Of a message only the key is read and its type given: its fields are to be checked next. Groups may
/// nest `left` deep.
#[inline]
fn field(reader: &mut Reader<'_>, schema: &Schema, left: usize) -> Result<Option<&'static Schema>, Malformed> {
    let start = reader.fault(Fault::WrongWireType);
    let (number, wire) = reader.key()?;
    match schema.step(number, wire) {
        Step::Message => return Ok(schema.message(number)),
        Step::Text => {
            let value = reader.delimited()?;
            let text = reader.slice(&value);
            // Most strings are short and ASCII, which is told in half the time.
            if !text.is_ascii()
                && let Err(error) = std::str::from_utf8(text)
            {
                return Err(Malformed { offset: value.start + error.valid_up_to(), fault: Fault::Utf8 });
            }
        }
        Step::Bytes => {
            reader.delimited()?;
        }
        Step::Varint => {
            reader.varint()?;
        }
        Step::Fixed64 => {
            reader.take(8)?;
        }
        Step::Fixed32 => {
            reader.take(4)?;
        }
        Step::PackedVarints => {
            let value = reader.delimited()?;
            let mut packed = reader.inside(&value);
            while !packed.is_at_end() {
                packed.varint()?;
            }
        }
        Step::PackedFixed64s => {
            let value = reader.delimited()?;
            if value.len() % 8 != 0 {
                return Err(Malformed { offset: value.end, fault: Fault::Truncated });
            }
        }
        Step::Unknown => {
            reader.skip(number, wire, left)?;
        }
        Step::Wrong => return Err(start),
    }
    Ok(None)
}
