//! What the fuzzer calls: any bytes make an answer, in bounded time, and what decodes comes back as it was. Only there
//! with `--cfg fuzzing`; no part of the API.

use super::format::cursor::{FILE_LEN, MAX_INTERVALS, SLOT_LEN, Slot};
use super::format::dead_letter::{Envelope, MAX_REASON};
use super::format::frame::{self, FrameHeader};
use super::format::scan::{self, Step};
use super::format::segment::{DATA_AT, Footer, SegmentHeader};
use super::format::{ALIGN, Seed, ident, put, seal_plain};

fn seed() -> Seed {
    Seed::new(1, 2, 3, 4)
}

/// A copy that begins with this magic number and whose bytes in `at` are the checksum of those before: so that what
/// comes after these is tried too.
fn checked(bytes: &[u8], magic: &[u8], at: std::ops::Range<usize>, start: u32) -> Option<Vec<u8>> {
    let mut copy = bytes.to_vec();
    copy.get_mut(..magic.len())?.copy_from_slice(magic);
    let crc = crc32c::crc32c_append(start, copy.get(..at.start)?);
    copy.get(at.clone())?;
    put(&mut copy, at, u64::from(crc));
    Some(copy)
}

/// The frames' part of a segment.
pub fn frames(bytes: &[u8]) {
    walk(bytes);
    let mut copy = bytes.to_vec();
    // Headers that are believed, at the places where frames may stand.
    for at in (0..copy.len()).step_by(128) {
        let Some(header) = copy.get_mut(at..at + frame::HEADER_LEN as usize) else { break };
        header[..4].copy_from_slice(&frame::MAGIC);
        let offset = DATA_AT + at as u64;
        let crc = crc32c::crc32c_append(seed().at(offset), &header[..68]);
        put(header, 68..72, u64::from(crc));
    }
    walk(&copy);
}

fn walk(bytes: &[u8]) {
    let end = DATA_AT + bytes.len() as u64;
    let mut at = 0;
    while at < bytes.len() as u64 {
        let rest = &bytes[at as usize..];
        let offset = DATA_AT + at;
        let ahead = match scan::step(rest, seed(), offset, end) {
            Step::Frame(header) => {
                assert!(header.frame_len() <= rest.len() as u64, "a frame beyond the bytes");
                round_trip(header, offset);
                header.frame_len()
            }
            Step::BadBody(header, _) => {
                round_trip(header, offset);
                header.frame_len()
            }
            Step::More(bytes) => {
                assert!(bytes > rest.len() as u64, "it asks for what it has");
                return;
            }
            Step::Nothing(_) => match scan::resync(rest, seed(), offset) {
                Some(ahead) => ahead,
                None => scan::settled(rest.len() as u64).max(ALIGN),
            },
        };
        assert!(ahead >= ALIGN, "no way forward");
        at += ahead;
    }
}

fn round_trip(header: FrameHeader, offset: u64) {
    assert_eq!(FrameHeader::decode(&header.encode(seed(), offset), seed(), offset), Ok(header));
}

/// The first bytes of a segment, and `spool.id`.
pub fn segment_header(bytes: &[u8]) {
    let round_trip = |header: SegmentHeader| {
        let block = header.encode_block();
        assert_eq!(SegmentHeader::decode_block(&block), Ok((header, false)));
    };
    for bytes in [Some(bytes.to_vec()), believed(bytes, b"TGATESEG", 128)].into_iter().flatten() {
        if let Ok(header) = SegmentHeader::decode(&bytes) {
            round_trip(header);
        }
        if let Ok((header, _)) = SegmentHeader::decode_block(&bytes) {
            round_trip(header);
        }
    }
    for bytes in [Some(bytes.to_vec()), believed(bytes, b"TGATESPL", 64)].into_iter().flatten() {
        if let Ok(id) = ident::decode(&bytes) {
            assert_eq!(ident::decode(&ident::encode(id, 5)), Ok(id));
        }
    }
}

/// A copy of the first bytes with this magic number and a checksum that matches.
fn believed(bytes: &[u8], magic: &[u8; 8], length: usize) -> Option<Vec<u8>> {
    let mut copy = bytes.get(..length)?.to_vec();
    copy[..8].copy_from_slice(magic);
    seal_plain(&mut copy);
    Some(copy)
}

/// The last bytes of a sealed segment.
pub fn footer(bytes: &[u8]) {
    let offset = DATA_AT + 4096;
    for bytes in [Some(bytes.to_vec()), checked(bytes, b"TGATEEND", 124..128, seed().at(offset))].into_iter().flatten()
    {
        if let Ok(footer) = Footer::decode(&bytes, seed(), offset) {
            assert!((DATA_AT..=offset).contains(&footer.data_end), "data that ends where none can");
            assert_eq!(Footer::decode(&footer.encode(seed(), offset), seed(), offset), Ok(footer));
        }
        Footer::claimed(&bytes);
        Footer::is_damaged(&bytes, 4, 3);
    }
}

/// One slot of a cursor's file.
pub fn cursor(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(FILE_LEN as usize)];
    let intervals = bytes.get(512..).unwrap_or_default();
    let count = u32::from_le_bytes([
        bytes.get(12).copied().unwrap_or_default(),
        bytes.get(13).copied().unwrap_or_default(),
        0,
        0,
    ]) as usize;
    let mut copy = bytes.to_vec();
    if let Some(intervals) = intervals.get(..count * 16) {
        put(&mut copy, 432..436, u64::from(crc32c::crc32c(intervals)));
    }
    for bytes in [Some(bytes.to_vec()), checked(&copy, b"TGATECUR", 508..512, 0)].into_iter().flatten() {
        if let Ok(slot) = Slot::decode(&bytes) {
            assert!(slot.intervals.len() <= MAX_INTERVALS);
            let encoded = slot.encode();
            assert!(encoded.len() as u64 <= SLOT_LEN, "a slot that does not fit its place");
            assert_eq!(Slot::decode(&encoded), Ok(slot));
        }
    }
}

/// The payload of a dead letter.
pub fn dead_letter(bytes: &[u8]) {
    let mut copy = bytes.to_vec();
    if let Some(magic) = copy.get_mut(..4) {
        magic.copy_from_slice(b"TGDL");
    }
    envelope(bytes);
    envelope(&copy);
}

fn envelope(bytes: &[u8]) {
    let Ok((envelope, at)) = Envelope::decode(bytes) else { return };
    assert!(at <= bytes.len(), "refused bytes beyond the payload");
    let encoded = envelope.encode();
    let (again, _) = Envelope::decode(&encoded).expect("what was encoded decodes");
    if envelope.reason.len() <= MAX_REASON {
        assert_eq!(again, envelope);
    }
}
