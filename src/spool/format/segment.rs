//! Segment header and footer.

use super::{ALIGN, Fault, Seed, Totals, check_plain, get, get_id, layout, put, put_id, seal_plain};

/// Where the second copy of the header stands.
pub(crate) const COPY_AT: u64 = 4096;
/// Where frames begin.
pub(crate) const DATA_AT: u64 = 8192;

const HEADER_MAGIC: &[u8; 8] = b"TGATESEG";
const FOOTER_MAGIC: &[u8; 8] = b"TGATEEND";

layout! {
    /// Fields of the segment header.
    header: 128 bytes {
        MAGIC: 0, 8;
        VERSION: 8, 2;
        DURABILITY: 10, 1;
        FLAGS: 11, 1;
        LOG: 12, 4;
        FEATURES: 16, 8;
        SPOOL_ID: 24, 16;
        SEGMENT_ID: 40, 8;
        EPOCH: 48, 8;
        FIRST_SEQUENCE: 56, 8;
        AFTER_SEQUENCE: 64, 8;
        SYNCED_TO: 72, 8;
        FRAMES_BEFORE: 80, 8;
        ITEMS_BEFORE: 88, 8;
        BYTES_BEFORE: 96, 8;
        CREATED: 104, 8;
        RESERVED: 112, 12;
        CRC: 124, 4;
    }
}

layout! {
    /// Fields of the segment footer.
    footer: 128 bytes {
        MAGIC: 0, 8;
        SEGMENT_ID: 8, 8;
        EPOCH: 16, 8;
        DATA_END: 24, 8;
        LAST_SEQUENCE: 32, 8;
        SYNCED_TO: 40, 8;
        COUNT: 48, 8;
        FRAMES_AFTER: 56, 8;
        ITEMS_AFTER: 64, 8;
        BYTES_AFTER: 72, 8;
        FIRST_TIME: 80, 8;
        LAST_TIME: 88, 8;
        RESERVED: 96, 28;
        CRC: 124, 4;
    }
}

/// Bytes of a footer; it is the last thing in a sealed segment's file.
pub(crate) const FOOTER_LEN: u64 = footer::LEN as u64;

/// Why a segment was begun, as flag bits of its header.
pub(crate) mod flags {
    /// The run before did not stop cleanly; sequences were jumped over.
    pub(crate) const UNCLEAN: u8 = 1;
    /// A sync of the segment before failed; its last frames were written again into this one.
    pub(crate) const REWRITTEN: u8 = 2;
}

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// 0 sync, 1 interval, 2 os: what readers beside the writer may show.
    pub(crate) durability: u8,
    pub(crate) flags: u8,
    /// CRC32C of the log's name.
    pub(crate) log: u32,
    pub(crate) spool_id: u128,
    pub(crate) segment_id: u64,
    pub(crate) epoch: u64,
    /// Final: frames at or above it in older files are not data.
    pub(crate) first_sequence: u64,
    /// The last sequence of the log before this segment. What lies between it and `first_sequence` is a declared
    /// gap: never given, or never acknowledged.
    pub(crate) after_sequence: u64,
    /// The highest sequence before this segment that is known to have been durable.
    pub(crate) synced_to: u64,
    pub(crate) totals: Totals,
    /// Nanoseconds since 1970.
    pub(crate) created: u64,
}

impl SegmentHeader {
    /// The seed of this segment's checksums.
    pub(crate) fn seed(&self) -> Seed {
        Seed::new(self.spool_id, self.log, self.epoch, self.segment_id)
    }

    pub(crate) fn encode(&self) -> [u8; header::LEN] {
        let mut b = [0; header::LEN];
        b[header::MAGIC].copy_from_slice(HEADER_MAGIC);
        put(&mut b, header::VERSION, u64::from(super::VERSION));
        put(&mut b, header::DURABILITY, u64::from(self.durability));
        put(&mut b, header::FLAGS, u64::from(self.flags));
        put(&mut b, header::LOG, u64::from(self.log));
        put_id(&mut b, header::SPOOL_ID, self.spool_id);
        put(&mut b, header::SEGMENT_ID, self.segment_id);
        put(&mut b, header::EPOCH, self.epoch);
        put(&mut b, header::FIRST_SEQUENCE, self.first_sequence);
        put(&mut b, header::AFTER_SEQUENCE, self.after_sequence);
        put(&mut b, header::SYNCED_TO, self.synced_to);
        put(&mut b, header::FRAMES_BEFORE, self.totals.frames);
        put(&mut b, header::ITEMS_BEFORE, self.totals.items);
        put(&mut b, header::BYTES_BEFORE, self.totals.bytes);
        put(&mut b, header::CREATED, self.created);
        seal_plain(&mut b);
        b
    }

    /// The first [`DATA_AT`] bytes of a segment: both copies, zeros around them.
    pub(crate) fn encode_block(&self) -> Vec<u8> {
        let mut block = vec![0; DATA_AT as usize];
        let header = self.encode();
        block[..header::LEN].copy_from_slice(&header);
        block[COPY_AT as usize..COPY_AT as usize + header::LEN].copy_from_slice(&header);
        block
    }

    /// One copy.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let b = bytes.get(..header::LEN).ok_or(Fault::Short)?;
        let version = get(b, header::VERSION) as u16;
        check_plain(b, HEADER_MAGIC, version, get(b, header::FEATURES))?;
        Ok(Self {
            durability: get(b, header::DURABILITY) as u8,
            flags: get(b, header::FLAGS) as u8,
            log: get(b, header::LOG) as u32,
            spool_id: get_id(b, header::SPOOL_ID),
            segment_id: get(b, header::SEGMENT_ID),
            epoch: get(b, header::EPOCH),
            first_sequence: get(b, header::FIRST_SEQUENCE),
            after_sequence: get(b, header::AFTER_SEQUENCE),
            synced_to: get(b, header::SYNCED_TO),
            totals: Totals {
                frames: get(b, header::FRAMES_BEFORE),
                items: get(b, header::ITEMS_BEFORE),
                bytes: get(b, header::BYTES_BEFORE),
            },
            created: get(b, header::CREATED),
        })
    }

    /// From the first [`DATA_AT`] bytes of a file: the copy that is intact, and whether the other one is damaged.
    /// A newer version or feature in either copy is an answer of its own: such a file is left alone.
    pub(crate) fn decode_block(block: &[u8]) -> Result<(Self, bool), Fault> {
        let first = Self::decode(block);
        let second = Self::decode(block.get(COPY_AT as usize..).unwrap_or_default());
        match (first, second) {
            (Ok(a), Ok(b)) => Ok((a, a != b)),
            (Err(e @ (Fault::Version(_) | Fault::Features(_))), _)
            | (_, Err(e @ (Fault::Version(_) | Fault::Features(_)))) => Err(e),
            (Ok(header), Err(_)) | (Err(_), Ok(header)) => Ok((header, true)),
            (Err(e), Err(_)) => Err(e),
        }
    }
}

/// What the footer of a sealed segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) segment_id: u64,
    pub(crate) epoch: u64,
    /// The first byte after the last frame.
    pub(crate) data_end: u64,
    /// The last sequence in the log up to this segment's end, whether this segment holds it or an older one.
    pub(crate) last_sequence: u64,
    pub(crate) synced_to: u64,
    /// Data frames in this segment.
    pub(crate) count: u64,
    /// Totals after the last frame.
    pub(crate) totals: Totals,
    pub(crate) first_time: u64,
    pub(crate) last_time: u64,
}

impl Footer {
    pub(crate) fn encode(&self, seed: Seed, offset: u64) -> [u8; footer::LEN] {
        let mut b = [0; footer::LEN];
        b[footer::MAGIC].copy_from_slice(FOOTER_MAGIC);
        put(&mut b, footer::SEGMENT_ID, self.segment_id);
        put(&mut b, footer::EPOCH, self.epoch);
        put(&mut b, footer::DATA_END, self.data_end);
        put(&mut b, footer::LAST_SEQUENCE, self.last_sequence);
        put(&mut b, footer::SYNCED_TO, self.synced_to);
        put(&mut b, footer::COUNT, self.count);
        put(&mut b, footer::FRAMES_AFTER, self.totals.frames);
        put(&mut b, footer::ITEMS_AFTER, self.totals.items);
        put(&mut b, footer::BYTES_AFTER, self.totals.bytes);
        put(&mut b, footer::FIRST_TIME, self.first_time);
        put(&mut b, footer::LAST_TIME, self.last_time);
        let crc = crc32c::crc32c_append(seed.at(offset), &b[..footer::CRC.start]);
        put(&mut b, footer::CRC, u64::from(crc));
        b
    }

    /// The footer that stands at `offset`.
    pub(crate) fn decode(bytes: &[u8], seed: Seed, offset: u64) -> Result<Self, Fault> {
        let b = bytes.get(..footer::LEN).ok_or(Fault::Short)?;
        if !b.starts_with(FOOTER_MAGIC) {
            return Err(Fault::Magic);
        }
        if get(b, footer::CRC) != u64::from(crc32c::crc32c_append(seed.at(offset), &b[..footer::CRC.start])) {
            return Err(Fault::HeaderChecksum);
        }
        let data_end = get(b, footer::DATA_END);
        if data_end < DATA_AT || data_end > offset || !data_end.is_multiple_of(ALIGN) {
            return Err(Fault::Length);
        }
        Ok(Self {
            segment_id: get(b, footer::SEGMENT_ID),
            epoch: get(b, footer::EPOCH),
            data_end,
            last_sequence: get(b, footer::LAST_SEQUENCE),
            synced_to: get(b, footer::SYNCED_TO),
            count: get(b, footer::COUNT),
            totals: Totals {
                frames: get(b, footer::FRAMES_AFTER),
                items: get(b, footer::ITEMS_AFTER),
                bytes: get(b, footer::BYTES_AFTER),
            },
            first_time: get(b, footer::FIRST_TIME),
            last_time: get(b, footer::LAST_TIME),
        })
    }

    /// Whether bytes that are no footer were one of this segment.
    pub(crate) fn is_damaged(bytes: &[u8], segment_id: u64, epoch: u64) -> bool {
        let Some(b) = bytes.get(..footer::LEN) else { return false };
        let is_mine =
            [b.starts_with(FOOTER_MAGIC), get(b, footer::SEGMENT_ID) == segment_id, get(b, footer::EPOCH) == epoch];
        is_mine.into_iter().filter(|is| *is).count() >= 2
    }

    /// The segment id and epoch that a footer claims, unchecked.
    pub(crate) fn claimed(bytes: &[u8]) -> Option<(u64, u64)> {
        let b = bytes.get(..footer::LEN)?;
        b.starts_with(FOOTER_MAGIC).then(|| (get(b, footer::SEGMENT_ID), get(b, footer::EPOCH)))
    }
}
