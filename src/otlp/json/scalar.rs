//! Single values of JSON as they stand in protobuf: numbers, text, bytes.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{DeserializeSeed, Deserializer, Error, Unexpected, Visitor};

use super::enums;
use super::schema::{Field, Kind};

/// A number as it is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scalar {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
}

/// A number, a truth value or an enum's value. 64-bit integers may be strings, and so may all other numbers.
pub(super) struct Number(pub(super) &'static Field);

impl<'de> DeserializeSeed<'de> for Number {
    type Value = Scalar;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Scalar, D::Error> {
        json.deserialize_any(self)
    }
}

impl Visitor<'_> for Number {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0.kind {
            Kind::Bool => "true or false",
            Kind::Int32 | Kind::Sint32 => "a 32-bit integer",
            Kind::Uint32 | Kind::Fixed32 => "a 32-bit integer that is not negative",
            Kind::Int64 | Kind::Sfixed64 => "a 64-bit integer, as a number or a string",
            Kind::Uint64 | Kind::Fixed64 => "a 64-bit integer that is not negative, as a number or a string",
            _ => "a number",
        };
        write!(f, "{kind} ({})", self.0.name)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Scalar, E> {
        match self.0.kind {
            Kind::Bool => Ok(Scalar::Varint(u64::from(value))),
            _ => Err(E::invalid_type(Unexpected::Bool(value), &self)),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Scalar, E> {
        self.integer(i128::from(value)).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(value), &self))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Scalar, E> {
        self.integer(i128::from(value)).ok_or_else(|| E::invalid_value(Unexpected::Signed(value), &self))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Scalar, E> {
        self.double(value).ok_or_else(|| E::invalid_value(Unexpected::Float(value), &self))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Scalar, E> {
        self.text(value).ok_or_else(|| E::invalid_value(Unexpected::Str(value), &self))
    }
}

impl Number {
    /// An integer, if the field takes it.
    fn integer(&self, value: i128) -> Option<Scalar> {
        Some(match self.0.kind {
            // Sign-extended, as protobuf writes a negative varint.
            Kind::Int32 => Scalar::Varint(i64::from(i32::try_from(value).ok()?) as u64),
            Kind::Sint32 => {
                let value = i32::try_from(value).ok()?;
                Scalar::Varint(u64::from((value << 1 ^ value >> 31) as u32))
            }
            Kind::Uint32 => Scalar::Varint(u64::from(u32::try_from(value).ok()?)),
            Kind::Fixed32 => Scalar::Fixed32(u32::try_from(value).ok()?),
            Kind::Int64 => Scalar::Varint(i64::try_from(value).ok()? as u64),
            Kind::Uint64 => Scalar::Varint(u64::try_from(value).ok()?),
            Kind::Fixed64 => Scalar::Fixed64(u64::try_from(value).ok()?),
            Kind::Sfixed64 => Scalar::Fixed64(i64::try_from(value).ok()? as u64),
            Kind::Double => Scalar::Fixed64((value as f64).to_bits()),
            Kind::Bool | Kind::String | Kind::Base64 | Kind::Hex | Kind::Message(_) => return None,
        })
    }

    /// A number with a fraction or an exponent; a field of integers takes it when it is one.
    fn double(&self, value: f64) -> Option<Scalar> {
        if let Kind::Double = self.0.kind {
            return Some(Scalar::Fixed64(value.to_bits()));
        }
        // Beyond this a double says no longer which integer was meant.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        (value.fract() == 0.0 && value.abs() <= EXACT).then(|| self.integer(value as i128))?
    }

    fn text(&self, text: &str) -> Option<Scalar> {
        if let Kind::Double = self.0.kind {
            match text {
                "NaN" => return self.double(f64::NAN),
                "Infinity" => return self.double(f64::INFINITY),
                "-Infinity" => return self.double(f64::NEG_INFINITY),
                _ => {}
            }
        } else if let Ok(integer) = text.parse() {
            return self.integer(integer);
        }
        // Rust also reads `inf` and `nan`, which JSON does not know.
        let is_number = text.bytes().all(|c| c.is_ascii_digit() || b"+-.eE".contains(&c));
        match text.parse().ok().filter(|_| is_number) {
            Some(number) => self.double(number),
            None => enums::number(self.0.name, text).and_then(|value| self.integer(i128::from(value))),
        }
    }
}

/// Text, or bytes that are written as text.
pub(super) struct Bytes(pub(super) &'static Field);

impl<'de> DeserializeSeed<'de> for Bytes {
    type Value = Cow<'de, [u8]>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        // As bytes: a lone surrogate, which JavaScript lets into its strings, would not be a string.
        json.deserialize_bytes(self)
    }
}

impl<'de> Visitor<'de> for Bytes {
    type Value = Cow<'de, [u8]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0.kind {
            Kind::Hex => "a string of hexadecimal digits",
            Kind::Base64 => "a string in base64",
            _ => "a string",
        };
        write!(f, "{kind} ({})", self.0.name)
    }

    fn visit_borrowed_bytes<E: Error>(self, text: &'de [u8]) -> Result<Self::Value, E> {
        match self.0.kind {
            Kind::String if std::str::from_utf8(text).is_ok() => Ok(Cow::Borrowed(text)),
            _ => self.visit_bytes(text),
        }
    }

    fn visit_bytes<E: Error>(self, text: &[u8]) -> Result<Self::Value, E> {
        let bytes = match self.0.kind {
            Kind::Hex => hex(text),
            Kind::Base64 => base64(text),
            _ => without_surrogates(text),
        };
        bytes.map(Cow::Owned).ok_or_else(|| E::invalid_value(Unexpected::Str(&String::from_utf8_lossy(text)), &self))
    }
}

/// Digits of either case.
fn hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = text.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// Either alphabet, with or without padding, as protobuf's JSON is to be read.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

/// Text with the replacement character in place of each lone surrogate; nothing when it is not UTF-8 otherwise.
fn without_surrogates(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        match std::str::from_utf8(rest) {
            Ok(good) => {
                out.extend_from_slice(good.as_bytes());
                return Some(out);
            }
            Err(error) => {
                let (good, bad) = rest.split_at(error.valid_up_to());
                let [0xed, 0xa0..=0xbf, 0x80..=0xbf, after @ ..] = bad else { return None };
                out.extend_from_slice(good);
                out.extend_from_slice("\u{fffd}".as_bytes());
                rest = after;
            }
        }
    }
}
