//! The bytes on disk, as FORMAT.md describes them. Pure: no I/O, and no panic on any bytes.
//!
//! Every structure is little-endian, has its fields in a `layout!` table that a test compares with FORMAT.md, and
//! ends in a CRC32C that is checked before any other field is believed.

pub(crate) mod cursor;
pub(crate) mod dead_letter;
pub(crate) mod frame;
pub(crate) mod ident;
pub(crate) mod scan;
pub(crate) mod segment;

#[cfg(test)]
mod proptests;
#[cfg(test)]
mod tests;

use std::ops::{Add, Sub};

/// The version of the format that this code writes, and the newest that it reads.
pub(crate) const VERSION: u16 = 1;
/// Required-feature bits that this code understands. A file with any other bit is refused, untouched.
pub(crate) const KNOWN_FEATURES: u64 = 0;
/// Frames and footers start at multiples of this.
pub(crate) const ALIGN: u64 = 8;

/// Declares where the fields of a structure are: byte ranges for the code, and a table for the test of FORMAT.md.
macro_rules! layout {
    ($(#[$meta:meta])* $module:ident: $len:literal bytes { $($field:ident: $offset:literal, $size:literal;)* }) => {
        $(#[$meta])*
        pub(crate) mod $module {
            use std::ops::Range;
            /// Bytes of the structure.
            pub(crate) const LEN: usize = $len;
            $(
                #[allow(dead_code, reason = "the table names every byte; FORMAT.md describes each")]
                pub(crate) const $field: Range<usize> = $offset..$offset + $size;
            )*
            /// Name, offset and size of each field, in order.
            #[cfg(test)]
            pub(crate) const FIELDS: &[(&str, usize, usize)] = &[$((stringify!($field), $offset, $size)),*];
        }
    };
}
pub(crate) use layout;

/// Rounds up to the next multiple of [`ALIGN`].
pub(crate) const fn align_up(n: u64) -> u64 {
    n.saturating_add(ALIGN - 1) / ALIGN * ALIGN
}

/// Reads a little-endian number of up to 8 bytes; missing bytes read as zero, so that no length panics.
pub(crate) fn get(bytes: &[u8], at: std::ops::Range<usize>) -> u64 {
    let field = bytes.get(at).unwrap_or_default();
    field.iter().take(8).rev().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

/// Writes the low bytes of `value` as a little-endian number.
pub(crate) fn put(bytes: &mut [u8], at: std::ops::Range<usize>, value: u64) {
    if let Some(field) = bytes.get_mut(at) {
        for (byte, value) in field.iter_mut().zip(value.to_le_bytes()) {
            *byte = value;
        }
    }
}

/// Reads a 16-byte id.
pub(crate) fn get_id(bytes: &[u8], at: std::ops::Range<usize>) -> u128 {
    let low = get(bytes, at.start..at.start + 8);
    let high = get(bytes, at.start + 8..at.end);
    u128::from(high) << 64 | u128::from(low)
}

/// Writes a 16-byte id.
pub(crate) fn put_id(bytes: &mut [u8], at: std::ops::Range<usize>, id: u128) {
    if let Some(field) = bytes.get_mut(at) {
        for (byte, value) in field.iter_mut().zip(id.to_le_bytes()) {
            *byte = value;
        }
    }
}

/// Why a structure was not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// Fewer bytes than the structure has.
    #[error("cut short")]
    Short,
    /// It does not begin as it must.
    #[error("no magic number")]
    Magic,
    /// Its own checksum does not match.
    #[error("header checksum does not match")]
    HeaderChecksum,
    /// The payload's checksum does not match.
    #[error("payload checksum does not match")]
    PayloadChecksum,
    /// A length or count is beyond its limit.
    #[error("length beyond its limit")]
    Length,
    /// Bytes that must be zero are not.
    #[error("padding is not zero")]
    Padding,
    /// Written by a newer program.
    #[error("format version {0}; this program reads up to {VERSION}")]
    Version(u16),
    /// Written with features that this program lacks.
    #[error("required features {0:#x}; this program knows {KNOWN_FEATURES:#x}")]
    Features(u64),
}

/// Running totals of a log: what it ever accepted before some point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    pub(crate) frames: u64,
    pub(crate) items: u64,
    /// Payload bytes.
    pub(crate) bytes: u64,
}

impl Totals {
    /// One frame.
    pub(crate) const fn frame(items: u32, bytes: u64) -> Self {
        Self { frames: 1, items: items as u64, bytes }
    }

    /// The larger of each: totals only rise.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            frames: self.frames.max(other.frames),
            items: self.items.max(other.items),
            bytes: self.bytes.max(other.bytes),
        }
    }

    /// The smaller of each.
    pub(crate) fn min(self, other: Self) -> Self {
        Self {
            frames: self.frames.min(other.frames),
            items: self.items.min(other.items),
            bytes: self.bytes.min(other.bytes),
        }
    }

    pub(crate) fn is_zero(self) -> bool {
        self == Self::default()
    }
}

impl Add for Totals {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            frames: self.frames.wrapping_add(other.frames),
            items: self.items.wrapping_add(other.items),
            bytes: self.bytes.wrapping_add(other.bytes),
        }
    }
}

/// Saturating: a difference is how much is missing, and nothing is not less than nothing.
impl Sub for Totals {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self {
            frames: self.frames.saturating_sub(other.frames),
            items: self.items.saturating_sub(other.items),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

/// Where every checksum of a segment starts from, so that an old, copied or misplaced frame never passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seed(u32);

impl Seed {
    /// The seed of one segment.
    pub(crate) fn new(spool_id: u128, log: u32, epoch: u64, segment: u64) -> Self {
        let mut crc = crc32c::crc32c(&spool_id.to_le_bytes());
        crc = crc32c::crc32c_append(crc, &log.to_le_bytes());
        crc = crc32c::crc32c_append(crc, &epoch.to_le_bytes());
        Self(crc32c::crc32c_append(crc, &segment.to_le_bytes()))
    }

    /// The seed of what stands at this offset of the segment's file.
    pub(crate) fn at(self, offset: u64) -> u32 {
        crc32c::crc32c_append(self.0, &offset.to_le_bytes())
    }
}

/// From how many bytes on folding is quicker than the processor's own instruction.
const FOLDED: usize = 512;

/// The CRC32C of a payload, going on from what came before it.
pub(crate) fn payload_crc(before: u32, payload: &[u8]) -> u32 {
    if payload.len() < FOLDED {
        return crc32c::crc32c_append(before, payload);
    }
    // The register itself, before it is inverted for whoever asks.
    let mut digest = crc_fast::Digest::new_with_init_state(crc_fast::CrcAlgorithm::Crc32Iscsi, u64::from(!before));
    digest.update(payload);
    digest.finalize() as u32
}

/// How a log or cursor is named inside structures: the CRC32C of its name.
pub(crate) fn name_crc(name: &str) -> u32 {
    crc32c::crc32c(name.as_bytes())
}

/// Checks the magic number, the checksum in the last four bytes, then version and features: in this order, so that
/// only an intact structure is called "newer".
pub(crate) fn check_plain(bytes: &[u8], magic: &[u8; 8], version: u16, features: u64) -> Result<(), Fault> {
    if !bytes.starts_with(magic) {
        return Err(Fault::Magic);
    }
    let body = bytes.len().saturating_sub(4);
    if get(bytes, body..bytes.len()) != u64::from(crc32c::crc32c(bytes.get(..body).unwrap_or_default())) {
        return Err(Fault::HeaderChecksum);
    }
    if version == 0 || version > VERSION {
        return Err(Fault::Version(version));
    }
    if features & !KNOWN_FEATURES != 0 {
        return Err(Fault::Features(features));
    }
    Ok(())
}

/// Writes the CRC32C of everything before the last four bytes into them.
pub(crate) fn seal_plain(bytes: &mut [u8]) {
    let body = bytes.len().saturating_sub(4);
    let crc = crc32c::crc32c(bytes.get(..body).unwrap_or_default());
    put(bytes, body..body + 4, u64::from(crc));
}
