//! The protobuf wire format, read in place: varints, keys, lengths. Knows no message.
//!
//! Nothing here allocates or recurses, and no bytes make it panic. Limits are those of the
//! [encoding guide](https://protobuf.dev/programming-guides/encoding/): a varint has at most ten bytes, a field
//! number is 1 to 2^29 - 1.

use std::ops::Range;

/// Why bytes are not the protobuf message they should be, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed protobuf at byte {offset}: {fault}")]
pub struct Malformed {
    /// Where in the payload, in bytes from its start.
    pub offset: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with a protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A varint longer than ten bytes, or above 2^64 - 1.
    #[error("a number is too long")]
    Varint,
    /// The message ends inside a field.
    #[error("a field ends beyond its message")]
    Truncated,
    /// A field number of 0 or above 2^29 - 1.
    #[error("a field number is out of range")]
    FieldNumber,
    /// Wire types 6 and 7 do not exist.
    #[error("an unknown wire type")]
    UnknownWireType,
    /// A known field in another wire type than its own.
    #[error("a field has the wrong wire type")]
    WrongWireType,
    /// A group that ends without a start, or as another group.
    #[error("a group ends that was not begun")]
    Group,
    /// A string that is not UTF-8.
    #[error("a string is not UTF-8")]
    Utf8,
    /// Messages nested too deep.
    #[error("messages are nested too deep")]
    Depth,
    /// A payload beyond 4 GiB.
    #[error("more than 4 GiB")]
    TooLong,
}

/// How a field's value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Varint = 0,
    Fixed64 = 1,
    Length = 2,
    GroupStart = 3,
    GroupEnd = 4,
    Fixed32 = 5,
}

/// One field of a message: its number, its value's bytes, and where key and value stand together.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) wire: Wire,
    /// The value without key and length.
    pub(super) value: Range<usize>,
    /// Key, length and value.
    pub(super) whole: Range<usize>,
}

/// Reads one message of a payload, field by field. Offsets are those of the payload.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    /// Reads all of `bytes` as one message.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, end: bytes.len() }
    }

    /// Reads the message in the value of a field that this reader gave.
    pub(super) fn inside(&self, value: &Range<usize>) -> Self {
        Self { bytes: self.bytes, at: value.start, end: value.end }
    }

    /// Where what is not read yet stands.
    pub(super) fn span(&self) -> Range<usize> {
        self.at..self.end
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.end
    }

    pub(super) fn fault(&self, fault: Fault) -> Malformed {
        Malformed { offset: self.at, fault }
    }

    /// Goes into a message whose length was read; gives what [`Reader::leave`] needs to come back.
    pub(super) fn enter(&mut self, length: u64) -> Result<usize, Malformed> {
        let outer = self.end;
        self.end = self.at + self.fits(length)?;
        Ok(outer)
    }

    /// Comes back from a message that was read to its end.
    pub(super) fn leave(&mut self, outer: usize) {
        self.end = outer;
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, Malformed> {
        // Most keys and lengths are one byte.
        match self.bytes[..self.end].get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let rest = &self.bytes[self.at..self.end];
        let mut value = 0u64;
        for (i, &byte) in rest.iter().take(10).enumerate() {
            // The tenth byte has room for one bit of the 64.
            if i == 9 && byte > 1 {
                return Err(self.fault(Fault::Varint));
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.at += i + 1;
                return Ok(value);
            }
        }
        Err(self.fault(if rest.len() < 10 { Fault::Truncated } else { Fault::Varint }))
    }

    /// The next field's number and wire type.
    #[inline]
    pub(super) fn key(&mut self) -> Result<(u32, Wire), Malformed> {
        let start = self.fault(Fault::FieldNumber);
        let key = u32::try_from(self.varint()?).map_err(|_| start)?;
        let wire = match key & 7 {
            0 => Wire::Varint,
            1 => Wire::Fixed64,
            2 => Wire::Length,
            3 => Wire::GroupStart,
            4 => Wire::GroupEnd,
            5 => Wire::Fixed32,
            _ => return Err(Malformed { fault: Fault::UnknownWireType, ..start }),
        };
        match key >> 3 {
            0 => Err(start),
            number => Ok((number, wire)),
        }
    }

    /// A length, if so many bytes are left in the message.
    #[inline]
    fn fits(&self, length: u64) -> Result<usize, Malformed> {
        let room = self.end - self.at;
        if length > room as u64 { Err(self.fault(Fault::Truncated)) } else { Ok(length as usize) }
    }

    /// Passes `length` bytes and says where they were.
    #[inline]
    pub(super) fn take(&mut self, length: u64) -> Result<Range<usize>, Malformed> {
        let start = self.at;
        self.at += self.fits(length)?;
        Ok(start..self.at)
    }

    /// Passes a value's length and the value, and says where the value was.
    #[inline]
    pub(super) fn delimited(&mut self) -> Result<Range<usize>, Malformed> {
        let length = self.varint()?;
        self.take(length)
    }

    /// Passes the value of a field whose key was read. A group counts as a message against `depth`.
    pub(super) fn skip(&mut self, number: u32, wire: Wire, depth: usize) -> Result<Range<usize>, Malformed> {
        match wire {
            Wire::Varint => {
                let start = self.at;
                self.varint()?;
                Ok(start..self.at)
            }
            Wire::Fixed64 => self.take(8),
            Wire::Fixed32 => self.take(4),
            Wire::Length => self.delimited(),
            Wire::GroupStart => self.skip_group(number, depth),
            Wire::GroupEnd => Err(self.fault(Fault::Group)),
        }
    }

    /// Passes a group (deprecated, but legal in an unknown field) with all groups inside it.
    fn skip_group(&mut self, number: u32, depth: usize) -> Result<Range<usize>, Malformed> {
        let start = self.at;
        let mut open = vec![number];
        while let Some(&innermost) = open.last() {
            if open.len() > depth {
                return Err(self.fault(Fault::Depth));
            }
            let (number, wire) = self.key()?;
            match wire {
                Wire::GroupStart => open.push(number),
                Wire::GroupEnd if number == innermost => {
                    open.pop();
                }
                _ => {
                    self.skip(number, wire, 0)?;
                }
            }
        }
        Ok(start..self.at)
    }

    /// The next whole field; `None` at the end of the message.
    pub(super) fn field(&mut self) -> Result<Option<Field>, Malformed> {
        if self.is_at_end() {
            return Ok(None);
        }
        let start = self.at;
        let (number, wire) = self.key()?;
        let value = self.skip(number, wire, MAX_DEPTH)?;
        Ok(Some(Field { number, wire, value, whole: start..self.at }))
    }

    /// Passes `N` bytes and gives them.
    #[cfg(feature = "agent")]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let Some((first, _)) = self.rest().split_first_chunk() else { return Err(self.fault(Fault::Truncated)) };
        self.at += N;
        Ok(*first)
    }

    /// What is not read yet.
    #[cfg(feature = "agent")]
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..self.end]
    }

    pub(super) fn slice(&self, range: &Range<usize>) -> &'a [u8] {
        &self.bytes[range.clone()]
    }
}

/// How deep messages may nest below the request. Readers that use prost stop at 100, and one level is theirs to spend
/// on an unknown field in the deepest message.
pub(super) const MAX_DEPTH: usize = 98;

/// Appends `value` as a varint.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a length-delimited field.
pub(super) fn put_delimited(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}
