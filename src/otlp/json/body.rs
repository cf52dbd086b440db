//! The fields of a message where they stand, with the values that its table lets them have.

use super::schema::{Field, Kind, Label};
use crate::otlp::wire::{self, Fault, Malformed, Reader, Wire};

/// A value as it stands on the wire.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    /// A message, a string, bytes, or numbers packed together.
    Length(Reader<'a>),
}

/// What is done with a field: the reader is the one that has its value.
pub(super) type Visit<'v, 'a> = &'v mut dyn FnMut(&Reader<'a>, &wire::Field) -> Result<(), Malformed>;

/// The bytes of a message, wherever they stand.
#[derive(Debug)]
pub(super) enum Body<'a> {
    Whole(Reader<'a>),
    /// In several fields of another message, which protobuf merges: those of its fields after `from` that are `field`.
    /// Only values that are no arrays are merged, and OTLP has at most three such messages in one another.
    Split {
        outer: &'a Self,
        field: &'static Field,
        from: usize,
    },
}

impl<'a> Body<'a> {
    /// Visits the fields in their order.
    pub(super) fn each(&self, visit: Visit<'_, 'a>) -> Result<(), Malformed> {
        match self {
            Self::Whole(reader) => {
                let mut reader = reader.clone();
                while let Some(field) = reader.field()? {
                    visit(&reader, &field)?;
                }
                Ok(())
            }
            Self::Split { outer, field, from } => {
                let mut passed = 0;
                outer.each(&mut |reader, found| {
                    passed += 1;
                    match value_of(field, reader, found)? {
                        Some(Value::Length(part)) if passed > *from => Self::Whole(part).each(visit),
                        _ => Ok(()),
                    }
                })
            }
        }
    }

    pub(super) fn fault(&self, fault: Fault) -> Malformed {
        match self {
            Self::Whole(reader) => reader.fault(fault),
            Self::Split { outer, .. } => outer.fault(fault),
        }
    }
}

/// The value of a field as it was found, if it is `field`. Another wire type makes it an unknown one.
pub(super) fn value_of<'a>(
    field: &Field,
    reader: &Reader<'a>,
    found: &wire::Field,
) -> Result<Option<Value<'a>>, Malformed> {
    if found.number != field.number {
        return Ok(None);
    }
    let mut value = reader.inside(&found.value);
    let value = match found.wire {
        Wire::Varint => Value::Varint(value.varint()?),
        Wire::Fixed64 => Value::Fixed64(u64::from_le_bytes(value.array()?)),
        Wire::Fixed32 => Value::Fixed32(u32::from_le_bytes(value.array()?)),
        Wire::Length => Value::Length(value),
        // Groups: OTLP never had any.
        Wire::GroupStart | Wire::GroupEnd => return Ok(None),
    };
    Ok(Some(value).filter(|value| fits(field, value)))
}

/// Whether the wire type is the field's.
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
