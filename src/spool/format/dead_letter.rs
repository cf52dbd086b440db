//! The payload of a dead-letter frame: where the refused bytes came from, why, and the bytes.

use super::{Fault, get, layout, put};

const MAGIC: &[u8; 4] = b"TGDL";
/// The longest reason, in bytes; a longer one is cut.
pub(crate) const MAX_REASON: usize = 4096;

layout! {
    /// Fields before the reason and the refused bytes.
    letter: 40 bytes {
        MAGIC: 0, 4;
        VERSION: 4, 2;
        REASON_LENGTH: 6, 2;
        EPOCH: 8, 8;
        SEQUENCE: 16, 8;
        FIRST_ITEM: 24, 4;
        ITEMS: 28, 4;
        CURSOR: 32, 4;
        RESERVED: 36, 4;
    }
}

/// A dead letter's envelope. The frame's own checksums protect it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    /// Epoch and sequence of the frame it came in: with `first_item` they name the records for ever.
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
    pub(crate) first_item: u32,
    pub(crate) items: u32,
    /// CRC32C of the name of the cursor that parked it.
    pub(crate) cursor: u32,
    pub(crate) reason: String,
}

impl Envelope {
    /// What stands before the refused bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let reason = cut(&self.reason);
        let mut b = vec![0; letter::LEN];
        b[letter::MAGIC].copy_from_slice(MAGIC);
        put(&mut b, letter::VERSION, u64::from(super::VERSION));
        put(&mut b, letter::REASON_LENGTH, reason.len() as u64);
        put(&mut b, letter::EPOCH, self.epoch);
        put(&mut b, letter::SEQUENCE, self.sequence);
        put(&mut b, letter::FIRST_ITEM, u64::from(self.first_item));
        put(&mut b, letter::ITEMS, u64::from(self.items));
        put(&mut b, letter::CURSOR, u64::from(self.cursor));
        b.extend_from_slice(reason.as_bytes());
        b
    }

    /// The envelope, and where the refused bytes begin.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, usize), Fault> {
        let b = bytes.get(..letter::LEN).ok_or(Fault::Short)?;
        if !b.starts_with(MAGIC) {
            return Err(Fault::Magic);
        }
        let version = get(b, letter::VERSION) as u16;
        if version == 0 || version > super::VERSION {
            return Err(Fault::Version(version));
        }
        let end = letter::LEN + get(b, letter::REASON_LENGTH) as usize;
        let reason = bytes.get(letter::LEN..end).ok_or(Fault::Short)?;
        let envelope = Self {
            epoch: get(b, letter::EPOCH),
            sequence: get(b, letter::SEQUENCE),
            first_item: get(b, letter::FIRST_ITEM) as u32,
            items: get(b, letter::ITEMS) as u32,
            cursor: get(b, letter::CURSOR) as u32,
            reason: String::from_utf8_lossy(reason).into_owned(),
        };
        Ok((envelope, end))
    }
}

/// At most [`MAX_REASON`] bytes, cut between characters.
fn cut(reason: &str) -> &str {
    let mut end = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.get(..end).unwrap_or_default()
}
