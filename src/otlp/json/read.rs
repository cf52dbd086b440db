//! OTLP JSON as protobuf export requests, straight from the text: no tree is built.
//!
//! Unknown members are ignored and `null` is an absent one. Beyond what the specification asks for, names as in the
//! `.proto` files (`trace_id`) and enum values by name are understood, as the Collector does.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::encode::Encoder;
use super::scalar::{self, Scalar};
use super::schema::{self, Field, Kind, Label, Message};
use crate::otlp::Signal;
use crate::otlp::wire::{MAX_DEPTH, Wire};

/// Why JSON does not become an export request.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is not JSON, or a member has a value that its field does not take.
    #[error("malformed JSON: {0}")]
    Malformed(serde_json::Error),
    /// It may not take as much memory as it does as protobuf.
    #[error("the request takes too much memory as protobuf")]
    NoRoom,
}

/// The protobuf bytes of an export request in OTLP JSON. `may_hold` is asked before the result is to hold so many bytes;
/// lists of small numbers take more of them than the text does.
///
/// # Errors
/// [`Unreadable`]. Messages may nest as deep as [`crate::otlp::validate()`] lets them.
pub fn read(signal: Signal, json: &[u8], may_hold: &mut dyn FnMut(usize) -> bool) -> Result<Vec<u8>, Unreadable> {
    let mut out = Encoder::new(may_hold);
    let mut json = serde_json::Deserializer::from_slice(json);
    // Messages have a limit of their own, and unknown members are skipped without recursion.
    json.disable_recursion_limit();
    let request = Nullable(MessageSeed { message: schema::request(signal), out: &mut out, depth: 0 });
    match request.deserialize(&mut json).and_then(|()| json.end()) {
        Ok(()) => Ok(out.into_bytes()),
        Err(_) if out.is_refused() => Err(Unreadable::NoRoom),
        Err(error) => Err(Unreadable::Malformed(error)),
    }
}

/// A value, or `null`, which stands for an absent one.
struct Nullable<S>(S);

impl<'de, S: DeserializeSeed<'de, Value = ()>> DeserializeSeed<'de> for Nullable<S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_option(self)
    }
}

impl<'de, S: DeserializeSeed<'de, Value = ()>> Visitor<'de> for Nullable<S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or null")
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        self.0.deserialize(json)
    }
}

/// The members of an object, written as the fields of a message.
struct MessageSeed<'s, 'r> {
    message: &'static Message,
    out: &'s mut Encoder<'r>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for MessageSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MessageSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object ({})", self.message.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        if self.depth > MAX_DEPTH {
            return Err(A::Error::custom("messages are nested too deep"));
        }
        while let Some(field) = members.next_key_seed(KeySeed(self.message))? {
            match field {
                Some(field) => {
                    members.next_value_seed(Nullable(FieldSeed { field, out: self.out, depth: self.depth }))?;
                }
                None => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// A member's name, as the field it stands for.
struct KeySeed(&'static Message);

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_identifier(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.fields.iter().find(|field| field.name == name || is_proto_name(field.name, name)))
    }
}

/// Whether `name` is how the `.proto` files write `camel`: `trace_id` for `traceId`.
fn is_proto_name(camel: &str, name: &str) -> bool {
    let mut name = name.bytes();
    let same = camel.bytes().all(|c| match c.is_ascii_uppercase() {
        true => name.next() == Some(b'_') && name.next() == Some(c.to_ascii_lowercase()),
        false => name.next() == Some(c),
    });
    same && name.next().is_none()
}

/// A member's value, written as a field.
struct FieldSeed<'s, 'r> {
    field: &'static Field,
    out: &'s mut Encoder<'r>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        match self.field.label {
            Label::Many => json.deserialize_seq(Elements(self)),
            Label::One | Label::Choice => self.value(json),
        }
    }
}

impl FieldSeed<'_, '_> {
    /// One value with its key.
    fn value<'de, D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        let Self { field, out, depth } = self;
        match field.kind {
            Kind::Message(message) => {
                let begun = out.begin(field.number).map_err(D::Error::custom)?;
                MessageSeed { message, out, depth: depth + 1 }.deserialize(json)?;
                out.end(begun).map_err(D::Error::custom)
            }
            kind if kind.is_bytes() => {
                let bytes = scalar::Bytes(field).deserialize(json)?;
                out.delimited(field.number, &bytes).map_err(D::Error::custom)
            }
            _ => {
                let number = scalar::Number(field).deserialize(json)?;
                out.key(field.number, number.wire()).and_then(|()| number.put(out)).map_err(D::Error::custom)
            }
        }
    }
}

/// The elements of an array. Numbers are packed into one field.
struct Elements<'s, 'r>(FieldSeed<'s, 'r>);

impl<'de> Visitor<'de> for Elements<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array ({})", self.0.field.name)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let FieldSeed { field, out, depth } = self.0;
        if field.kind.is_bytes() {
            while elements.next_element_seed(Element(FieldSeed { field, out, depth }))?.is_some() {}
            return Ok(());
        }
        let begun = out.begin(field.number).map_err(A::Error::custom)?;
        while let Some(number) = elements.next_element_seed(scalar::Number(field))? {
            number.put(out).map_err(A::Error::custom)?;
        }
        out.end(begun).map_err(A::Error::custom)
    }
}

/// One element of an array; never `null`.
struct Element<'s, 'r>(FieldSeed<'s, 'r>);

impl<'de> DeserializeSeed<'de> for Element<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        self.0.value(json)
    }
}

impl Scalar {
    fn wire(self) -> Wire {
        match self {
            Self::Varint(_) => Wire::Varint,
            Self::Fixed64(_) => Wire::Fixed64,
            Self::Fixed32(_) => Wire::Fixed32,
        }
    }

    fn put(self, out: &mut Encoder<'_>) -> Result<(), super::encode::NoRoom> {
        match self {
            Self::Varint(n) => out.varint(n),
            Self::Fixed64(n) => out.raw(&n.to_le_bytes()),
            Self::Fixed32(n) => out.raw(&n.to_le_bytes()),
        }
    }
}
