//! No bytes make the format panic, and no flipped bit passes.

use std::hint::black_box;

use proptest::collection::vec;
use proptest::prelude::*;

use super::frame::{FrameHeader, kind};
use super::scan::{self, Step};
use super::segment::{DATA_AT, Footer, SegmentHeader};
use super::tests::segment_header;
use super::*;

/// The frames' part of a segment: three frames and a mark.
fn small_segment() -> (Vec<u8>, Seed) {
    let seed = segment_header().seed();
    let mut bytes = Vec::new();
    let mut totals = Totals::default();
    for sequence in 1..=4_u64 {
        let payload = vec![sequence as u8; sequence as usize * 9];
        let is_mark = sequence == 4;
        let header = FrameHeader {
            kind: if is_mark { kind::MARK } else { kind::DATA },
            content: 1,
            length: if is_mark { 0 } else { payload.len() as u32 },
            items: 1,
            sequence: sequence.min(3),
            time: 5,
            synced_to: sequence - 1,
            totals,
        };
        totals = header.totals_after();
        let encoded = header.encode(seed, DATA_AT + bytes.len() as u64);
        let payload = if is_mark { &[][..] } else { &payload };
        let (trailer, length) = frame::trailer(&encoded, payload);
        bytes.extend_from_slice(&encoded);
        bytes.extend_from_slice(payload);
        bytes.extend_from_slice(&trailer[..length]);
    }
    (bytes, seed)
}

/// The intact frames in these bytes, by their offset.
fn frames(bytes: &[u8], seed: Seed) -> Vec<(u64, FrameHeader)> {
    let (mut at, end, mut found) = (0_u64, DATA_AT + bytes.len() as u64, Vec::new());
    while (at as usize) < bytes.len() {
        let rest = &bytes[at as usize..];
        at += match scan::step(rest, seed, DATA_AT + at, end) {
            Step::Frame(header) => {
                found.push((at, header));
                header.frame_len()
            }
            Step::BadBody(header, _) => header.frame_len(),
            Step::More(_) => break,
            Step::Nothing(_) => match scan::resync(rest, seed, DATA_AT + at) {
                Some(ahead) => ahead,
                None => break,
            },
        };
    }
    found
}

#[test]
fn every_single_bit_flip_of_a_small_segment_is_detected() {
    let (bytes, seed) = small_segment();
    let whole = frames(&bytes, seed);
    assert_eq!(whole.len(), 4);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let found = frames(&flipped, seed);
        // Exactly the frame that holds the bit is gone, and the others are what they were.
        let hit = whole.iter().rposition(|(at, _)| *at as usize <= bit / 8).unwrap();
        let expected: Vec<_> = whole.iter().enumerate().filter(|(i, _)| *i != hit).map(|(_, f)| *f).collect();
        assert_eq!(found, expected, "bit {bit}");
    }
}

#[test]
fn every_single_bit_flip_of_a_header_copy_is_detected() {
    let header = segment_header();
    let bytes = header.encode();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(SegmentHeader::decode(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn every_single_bit_flip_of_a_slot_is_detected() {
    let slot = cursor::Slot { intervals: vec![cursor::Interval { first: 5, last: 9 }], ..cursor::Slot::default() };
    let bytes = slot.encode();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(cursor::Slot::decode(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn every_cut_of_a_small_segment_leaves_the_frames_before_it() {
    let (bytes, seed) = small_segment();
    let whole = frames(&bytes, seed);
    for length in 0..bytes.len() {
        let found = frames(&bytes[..length], seed);
        let expected: Vec<_> = whole.iter().filter(|(at, h)| at + h.frame_len() <= length as u64).copied().collect();
        assert_eq!(found, expected, "cut at {length}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in vec(any::<u8>(), 0..9000), offset in any::<u64>(), end in any::<u64>()) {
        let seed = segment_header().seed();
        black_box(SegmentHeader::decode_block(&bytes)).ok();
        black_box(Footer::decode(&bytes, seed, offset)).ok();
        black_box(FrameHeader::decode(&bytes, seed, offset)).ok();
        black_box(scan::step(&bytes, seed, offset, end));
        black_box(scan::resync(&bytes, seed, offset % (1 << 40)));
        black_box(cursor::Slot::decode(&bytes)).ok();
        black_box(dead_letter::Envelope::decode(&bytes)).ok();
        black_box(ident::decode(&bytes)).ok();
    }

    /// Random bytes rarely get past a checksum: here each structure has a right one and wrong contents.
    #[test]
    fn no_contents_under_a_right_checksum_make_a_decoder_panic(
        mut bytes in vec(any::<u8>(), 1024..1200), offset in 0..1_u64 << 40, end in any::<u64>()
    ) {
        let seed = segment_header().seed();
        let plain: [(&[u8; 8], usize, usize); 3] =
            [(b"TGATESEG", 128, 0), (b"TGATECUR", 1024, 0), (b"TGATESPL", 64, 0)];
        for (magic, length, _) in plain {
            bytes[..8].copy_from_slice(magic);
            bytes[8..10].copy_from_slice(&1_u16.to_le_bytes());
            bytes[16..24].fill(0);
            seal_plain(&mut bytes[..length]);
            if let Ok((header, _)) = SegmentHeader::decode_block(&bytes) {
                black_box(header.seed());
            }
            if let Ok(slot) = cursor::Slot::decode(&bytes) {
                black_box(slot.done_items());
            }
            black_box(ident::decode(&bytes)).ok();
        }
        bytes[..4].copy_from_slice(b"TGFR");
        let crc = crc32c::crc32c_append(seed.at(offset), &bytes[..68]);
        bytes[68..72].copy_from_slice(&crc.to_le_bytes());
        if let Step::Frame(header) | Step::BadBody(header, _) = scan::step(&bytes, seed, offset, end) {
            black_box(header.totals_after());
        }
    }

    #[test]
    fn frames_are_found_after_any_noise(noise in vec(any::<u8>(), 0..300)) {
        let (bytes, seed) = small_segment();
        // Frames verify only at their own offsets: the noise overwrites the beginning.
        let mut noisy = bytes.clone();
        let length = noise.len().min(noisy.len());
        noisy[..length].copy_from_slice(&noise[..length]);
        let expected: Vec<_> = frames(&bytes, seed).into_iter().filter(|(at, _)| *at as usize >= length).collect();
        let found: Vec<_> = frames(&noisy, seed).into_iter().filter(|(at, _)| *at as usize >= length).collect();
        prop_assert_eq!(found, expected);
    }
}
