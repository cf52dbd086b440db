//! Protobuf as it is written from JSON, in a buffer that grows only as far as it may.

use crate::otlp::wire::{Wire, put_varint};

/// How much more is asked for at once, in bytes.
const STEP: usize = 4 << 10;

/// Protobuf bytes that are being written.
pub(super) struct Encoder<'r> {
    bytes: Vec<u8>,
    /// Bytes that may be written without asking.
    granted: usize,
    /// Asked before the buffer is to hold this many bytes.
    may_hold: &'r mut dyn FnMut(usize) -> bool,
    is_refused: bool,
}

/// The buffer may not grow as far as it would have to.
#[derive(Debug, thiserror::Error)]
#[error("the request takes too much memory as protobuf")]
pub(super) struct NoRoom;

/// Where a length-delimited value begins whose length is not known yet.
#[must_use = "a value that was begun has to be ended"]
pub(super) struct Begun(usize);

impl<'r> Encoder<'r> {
    pub(super) fn new(may_hold: &'r mut dyn FnMut(usize) -> bool) -> Self {
        Self { bytes: Vec::new(), granted: 0, may_hold, is_refused: false }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Whether the buffer was not let grow.
    pub(super) fn is_refused(&self) -> bool {
        self.is_refused
    }

    pub(super) fn key(&mut self, number: u32, wire: Wire) -> Result<(), NoRoom> {
        self.varint(u64::from(number) << 3 | wire as u64)
    }

    pub(super) fn varint(&mut self, value: u64) -> Result<(), NoRoom> {
        self.reserve(10)?;
        put_varint(&mut self.bytes, value);
        Ok(())
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        self.reserve(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// A field of bytes that are known.
    pub(super) fn delimited(&mut self, number: u32, bytes: &[u8]) -> Result<(), NoRoom> {
        self.key(number, Wire::Length)?;
        self.varint(bytes.len() as u64)?;
        self.raw(bytes)
    }

    /// Begins a field whose length is written by [`Encoder::end`].
    pub(super) fn begin(&mut self, number: u32) -> Result<Begun, NoRoom> {
        self.key(number, Wire::Length)?;
        // Most messages are shorter than 128 bytes: their length takes one.
        self.raw(&[0])?;
        Ok(Begun(self.bytes.len()))
    }

    /// Ends a field. A longer length moves the value.
    pub(super) fn end(&mut self, Begun(start): Begun) -> Result<(), NoRoom> {
        let value = self.bytes.len() - start;
        if let Ok(length @ 0..0x80) = u8::try_from(value) {
            self.bytes[start - 1] = length;
            return Ok(());
        }
        let mut length = Vec::with_capacity(10);
        put_varint(&mut length, value as u64);
        let longer = length.len() - 1;
        self.reserve(longer)?;
        self.bytes.resize(self.bytes.len() + longer, 0);
        self.bytes.copy_within(start..start + value, start + longer);
        self.bytes[start - 1..start + longer].copy_from_slice(&length);
        Ok(())
    }

    fn reserve(&mut self, more: usize) -> Result<(), NoRoom> {
        let needed = self.bytes.len() + more;
        if needed <= self.granted {
            return Ok(());
        }
        let mut wanted = needed.max(self.granted + self.granted / 2).next_multiple_of(STEP);
        // Ahead of the need where that may be, else what is needed.
        if !(self.may_hold)(wanted) {
            wanted = needed;
            if !(self.may_hold)(needed) {
                self.is_refused = true;
                return Err(NoRoom);
            }
        }
        self.bytes.reserve_exact(wanted - self.bytes.len());
        self.granted = wanted;
        Ok(())
    }
}
