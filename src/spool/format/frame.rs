//! Frames: a header, the payload, the payload's checksum, zeros up to the next multiple of eight.

use super::{Fault, Seed, Totals, align_up, get, layout, payload_crc, put};

/// What every frame begins with.
pub(crate) const MAGIC: [u8; 4] = *b"TGFR";
/// The largest payload, in bytes.
pub(crate) const MAX_PAYLOAD: u64 = 64 << 20;
/// Bytes of a frame's header.
pub(crate) const HEADER_LEN: u64 = header::LEN as u64;

const CRC_LEN: u64 = 4;

layout! {
    /// Fields of the frame header.
    header: 72 bytes {
        MAGIC: 0, 4;
        KIND: 4, 1;
        CONTENT: 5, 1;
        FLAGS: 6, 2;
        LENGTH: 8, 4;
        ITEMS: 12, 4;
        SEQUENCE: 16, 8;
        TIME: 24, 8;
        SYNCED_TO: 32, 8;
        FRAMES_BEFORE: 40, 8;
        ITEMS_BEFORE: 48, 8;
        BYTES_BEFORE: 56, 8;
        RESERVED: 64, 4;
        CRC: 68, 4;
    }
}

/// What a frame is. Others are skipped by readers that do not know them.
pub(crate) mod kind {
    /// A caller's payload.
    pub(crate) const DATA: u8 = 1;
    /// An empty witness: its `synced_to` covers the frames before it. Its sequence is the last one before it.
    pub(crate) const MARK: u8 = 2;
}

/// What a frame's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) kind: u8,
    pub(crate) content: u8,
    /// Payload bytes.
    pub(crate) length: u32,
    pub(crate) items: u32,
    pub(crate) sequence: u64,
    /// Append time, nanoseconds since 1970.
    pub(crate) time: u64,
    /// The highest sequence known durable when this was written.
    pub(crate) synced_to: u64,
    /// What the log accepted before this frame.
    pub(crate) totals: Totals,
}

impl FrameHeader {
    pub(crate) fn is_data(&self) -> bool {
        self.kind == kind::DATA
    }

    /// What the log accepted up to and with this frame.
    pub(crate) fn totals_after(&self) -> Totals {
        if self.is_data() { self.totals + Totals::frame(self.items, u64::from(self.length)) } else { self.totals }
    }

    /// Bytes of the whole frame in the file.
    pub(crate) fn frame_len(&self) -> u64 {
        frame_len(u64::from(self.length))
    }

    /// The header as it stands at `offset`; its last four bytes are its checksum, which also starts the payload's.
    pub(crate) fn encode(&self, seed: Seed, offset: u64) -> [u8; header::LEN] {
        let mut b = [0; header::LEN];
        b[header::MAGIC].copy_from_slice(&MAGIC);
        put(&mut b, header::KIND, u64::from(self.kind));
        put(&mut b, header::CONTENT, u64::from(self.content));
        put(&mut b, header::LENGTH, u64::from(self.length));
        put(&mut b, header::ITEMS, u64::from(self.items));
        put(&mut b, header::SEQUENCE, self.sequence);
        put(&mut b, header::TIME, self.time);
        put(&mut b, header::SYNCED_TO, self.synced_to);
        put(&mut b, header::FRAMES_BEFORE, self.totals.frames);
        put(&mut b, header::ITEMS_BEFORE, self.totals.items);
        put(&mut b, header::BYTES_BEFORE, self.totals.bytes);
        let crc = crc32c::crc32c_append(seed.at(offset), &b[..header::CRC.start]);
        put(&mut b, header::CRC, u64::from(crc));
        b
    }

    /// The sequence that a header claims, unchecked.
    pub(crate) fn claimed_sequence(bytes: &[u8]) -> u64 {
        get(bytes, header::SEQUENCE)
    }

    /// The header at `offset` of the segment with this seed.
    pub(crate) fn decode(bytes: &[u8], seed: Seed, offset: u64) -> Result<Self, Fault> {
        let b = bytes.get(..header::LEN).ok_or(Fault::Short)?;
        let seed = crc32c::crc32c_append(seed.at(offset), &MAGIC);
        let is_intact =
            get(b, header::CRC) == u64::from(crc32c::crc32c_append(seed, &b[header::KIND.start..header::CRC.start]));
        match (b.starts_with(&MAGIC), is_intact) {
            (true, true) => {}
            (false, false) => return Err(Fault::Magic),
            // A frame but for its magic number is damage, where else it would be the end of the data.
            (true, false) | (false, true) => return Err(Fault::HeaderChecksum),
        }
        let length = get(b, header::LENGTH);
        if length > MAX_PAYLOAD {
            return Err(Fault::Length);
        }
        Ok(Self {
            kind: get(b, header::KIND) as u8,
            content: get(b, header::CONTENT) as u8,
            length: length as u32,
            items: get(b, header::ITEMS) as u32,
            sequence: get(b, header::SEQUENCE),
            time: get(b, header::TIME),
            synced_to: get(b, header::SYNCED_TO),
            totals: Totals {
                frames: get(b, header::FRAMES_BEFORE),
                items: get(b, header::ITEMS_BEFORE),
                bytes: get(b, header::BYTES_BEFORE),
            },
        })
    }
}

/// Bytes in the file of a frame with a payload of this many bytes.
pub(crate) const fn frame_len(payload: u64) -> u64 {
    align_up(HEADER_LEN.saturating_add(payload).saturating_add(CRC_LEN))
}

/// What follows the payload: its checksum, which continues the header's, and the padding.
pub(crate) fn trailer(encoded_header: &[u8; header::LEN], payload: &[u8]) -> ([u8; 12], usize) {
    let crc = payload_crc(get(encoded_header, header::CRC) as u32, payload);
    let mut trailer = [0; 12];
    trailer[..4].copy_from_slice(&crc.to_le_bytes());
    let length = frame_len(payload.len() as u64) - HEADER_LEN - payload.len() as u64;
    (trailer, length as usize)
}

/// Checks payload and padding of the frame whose header was decoded from the start of `frame`.
pub(crate) fn check_body(frame: &[u8], header: &FrameHeader) -> Result<(), Fault> {
    let whole = frame.get(..header.frame_len() as usize).ok_or(Fault::Short)?;
    let payload_end = header::LEN + header.length as usize;
    let payload = whole.get(header::LEN..payload_end).ok_or(Fault::Short)?;
    let start = get(whole, header::CRC) as u32;
    if get(whole, payload_end..payload_end + 4) != u64::from(payload_crc(start, payload)) {
        return Err(Fault::PayloadChecksum);
    }
    let padding = whole.get(payload_end + 4..).unwrap_or_default();
    if padding.iter().any(|byte| *byte != 0) { Err(Fault::Padding) } else { Ok(()) }
}
