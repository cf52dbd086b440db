//! FORMAT.md against the code.

use super::*;

const DOCUMENT: &str = include_str!("../../../FORMAT.md");

/// The rows of the tables under a heading, as cells.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let start = DOCUMENT.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    let text = &DOCUMENT[start + heading.len() + 2..];
    let end = text.find("\n#").unwrap_or(text.len());
    let rows = text[..end].lines().filter(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

fn fields(heading: &str) -> Vec<(&'static str, usize, usize)> {
    let rows = rows(heading).into_iter().filter(|row| row.len() == 4);
    rows.filter_map(|row| Some((row[2], row[0].parse().ok()?, row[1].parse().ok()?))).collect()
}

#[test]
fn the_tables_of_format_md_are_the_codes() {
    type Field = (&'static str, usize, usize);
    let structures: [(&str, &[Field], usize); 7] = [
        ("## spool.id", ident::ident::FIELDS, ident::ident::LEN),
        ("### Segment header", segment::header::FIELDS, segment::header::LEN),
        ("### Frame", frame::header::FIELDS, frame::header::LEN),
        ("### Footer", segment::footer::FIELDS, segment::footer::LEN),
        ("### Cursor slot", cursor::slot::FIELDS, cursor::slot::LEN),
        ("### Loss counter", cursor::dropped::FIELDS, cursor::dropped::LEN),
        ("## Dead letter", dead_letter::letter::FIELDS, dead_letter::letter::LEN),
    ];
    for (heading, code, length) in structures {
        assert_eq!(fields(heading), code, "{heading}");
        // Field follows field, from the first byte to the last.
        let end = code.iter().fold(0, |at, (name, offset, size)| {
            assert_eq!(*offset, at, "{heading}: {name}");
            at + size
        });
        assert_eq!(end, length, "{heading}");
    }
}

#[test]
fn the_constants_of_format_md_are_the_codes() {
    let code = [
        ("## Segment", "COPY_AT", segment::COPY_AT),
        ("## Segment", "DATA_AT", segment::DATA_AT),
        ("## Segment", "ALIGN", ALIGN),
        ("## Segment", "MAX_PAYLOAD", frame::MAX_PAYLOAD),
        ("## Cursor", "SLOT_LEN", cursor::SLOT_LEN),
        ("## Cursor", "MAX_INTERVALS", cursor::MAX_INTERVALS as u64),
    ];
    for (heading, name, value) in code {
        let documented = rows(heading).into_iter().find(|row| row[0] == name).map(|row| row[1].to_owned());
        assert_eq!(documented, Some(value.to_string()), "{name}");
    }
}

#[test]
fn the_magic_numbers_and_reasons_of_format_md_are_the_codes() {
    let header = segment_header().encode();
    let data = frame_header().encode(segment_header().seed(), 0);
    let slot = cursor::Slot::default().encode();
    let envelope = envelope().encode();
    let footer = footer().encode(segment_header().seed(), 9000);
    let id = ident::encode(1, 2);
    let begin: [(&str, &[u8]); 6] = [
        ("### Segment header", &header[..8]),
        ("### Frame", &data[..4]),
        ("### Footer", &footer[..8]),
        ("### Cursor slot", &slot[..8]),
        ("## Dead letter", &envelope[..4]),
        ("## spool.id", &id[..8]),
    ];
    for (heading, magic) in begin {
        let row = rows(heading).into_iter().find(|row| row.len() == 4 && row[2] == "MAGIC").unwrap();
        assert_eq!(row[3].trim_matches('`').as_bytes(), magic, "{heading}");
    }
    let reasons: Vec<String> = cursor::Reason::ALL.iter().map(|r| format!("`{}`", r.name())).collect();
    assert!(DOCUMENT.contains(&format!("The reasons, in order: {}.", reasons.join(", "))));
    for (index, reason) in cursor::Reason::ALL.iter().enumerate() {
        assert_eq!(*reason as usize, index);
    }
}

/// A version 1 spool is read by every later version: these bytes never change.
#[test]
fn structures_of_version_1_stay_as_they_are() {
    let seed = segment_header().seed();
    // Up to its own checksum: over it, every whole structure has the same sum.
    let crc = |bytes: &[u8]| crc32c::crc32c(&bytes[..bytes.len() - 4]);
    let slot = slot().encode();
    let found = [
        crc(&segment_header().encode()),
        crc(&frame_header().encode(seed, 8192)),
        crc(&footer().encode(seed, 9000)),
        crc(&slot[..cursor::slot::LEN]),
        crc(&slot[cursor::slot::LEN..]),
        crc(&envelope().encode()),
        crc(&ident::encode(7, 8)),
    ];
    assert_eq!(found, GOLDEN);
}

const GOLDEN: [u32; 7] =
    [2_189_519_887, 4_087_807_569, 3_837_604_560, 2_432_403_129, 1_642_501_046, 677_867_100, 1_770_199_315];

#[test]
fn every_structure_comes_back_from_its_bytes() {
    let header = segment_header();
    assert_eq!(segment::SegmentHeader::decode_block(&header.encode_block()), Ok((header, false)));
    let seed = header.seed();
    assert_eq!(frame::FrameHeader::decode(&frame_header().encode(seed, 8192), seed, 8192), Ok(frame_header()));
    assert_eq!(segment::Footer::decode(&footer().encode(seed, 9000), seed, 9000), Ok(footer()));
    assert_eq!(cursor::Slot::decode(&slot().encode()), Ok(slot()));
    let bytes = envelope().encode();
    assert_eq!(dead_letter::Envelope::decode(&bytes), Ok((envelope(), bytes.len())));
    assert_eq!(ident::decode(&ident::encode(7, 8)), Ok(7));
}

#[test]
fn a_frame_passes_only_at_its_own_place() {
    let header = segment_header();
    let bytes = frame_header().encode(header.seed(), 8192);
    let strangers = [
        segment::SegmentHeader { spool_id: 1, ..header },
        segment::SegmentHeader { epoch: 1, ..header },
        segment::SegmentHeader { segment_id: 1, ..header },
        segment::SegmentHeader { log: 1, ..header },
    ];
    for stranger in strangers {
        assert_eq!(frame::FrameHeader::decode(&bytes, stranger.seed(), 8192), Err(Fault::HeaderChecksum));
    }
    assert_eq!(frame::FrameHeader::decode(&bytes, header.seed(), 8200), Err(Fault::HeaderChecksum));
}

#[test]
fn a_frame_of_the_largest_payload_passes_and_a_larger_one_does_not() {
    let seed = segment_header().seed();
    let largest = frame::FrameHeader { length: frame::MAX_PAYLOAD as u32, ..frame_header() };
    assert_eq!(frame::FrameHeader::decode(&largest.encode(seed, 0), seed, 0), Ok(largest));
    let larger = frame::FrameHeader { length: frame::MAX_PAYLOAD as u32 + 1, ..frame_header() };
    assert_eq!(frame::FrameHeader::decode(&larger.encode(seed, 0), seed, 0), Err(Fault::Length));
    assert_eq!(frame::FrameHeader::claimed_sequence(&largest.encode(seed, 0)), frame_header().sequence);
}

#[test]
fn a_payload_passes_only_under_its_own_header() {
    let seed = segment_header().seed();
    let header = frame_header();
    let other = frame::FrameHeader { sequence: header.sequence + 1, ..header };
    let [mine, others] = [header, other].map(|header| header.encode(seed, 8192));
    let with_trailer_of = |of: &[u8; frame::header::LEN]| {
        let payload = &b"the payload"[..];
        let (trailer, length) = frame::trailer(of, payload);
        [&mine[..], payload, &trailer[..length]].concat()
    };
    assert_eq!(frame::check_body(&with_trailer_of(&mine), &header), Ok(()));
    assert_eq!(frame::check_body(&with_trailer_of(&others), &header), Err(Fault::PayloadChecksum));
}

#[test]
fn newer_versions_and_features_are_told_apart_from_damage() {
    for (at, expected) in [(8, Fault::Version(2)), (16, Fault::Features(4))] {
        let mut bytes = segment_header().encode();
        bytes[at] = if at == 8 { 2 } else { 4 };
        assert_eq!(segment::SegmentHeader::decode(&bytes), Err(Fault::HeaderChecksum), "without its checksum");
        seal_plain(&mut bytes);
        assert_eq!(segment::SegmentHeader::decode(&bytes), Err(expected));
        // Even if only one copy says so: an interrupted upgrade is not ours to judge.
        let mut block = segment_header().encode_block();
        block[4096..4096 + bytes.len()].copy_from_slice(&bytes);
        assert_eq!(segment::SegmentHeader::decode_block(&block), Err(expected));
    }
}

#[test]
fn one_intact_header_copy_is_enough() {
    let header = segment_header();
    for copy in [0, 4096] {
        let mut block = header.encode_block();
        block[copy + 50] ^= 1;
        assert_eq!(segment::SegmentHeader::decode_block(&block), Ok((header, true)));
    }
}

#[test]
fn a_reason_is_cut_between_characters() {
    let long = dead_letter::Envelope { reason: "ä".repeat(3000), ..envelope() };
    let (back, _) = dead_letter::Envelope::decode(&long.encode()).unwrap();
    assert_eq!(back.reason, "ä".repeat(2048));
    // The last character that would fit begins one byte before the end.
    let odd = dead_letter::Envelope { reason: format!("a{}", "ä".repeat(3000)), ..envelope() };
    let (back, _) = dead_letter::Envelope::decode(&odd.encode()).unwrap();
    assert_eq!(back.reason, format!("a{}", "ä".repeat(2047)));
}

/// As files have it that were written before there was a replay.
#[test]
fn a_slot_that_does_not_say_what_was_counted_means_its_position() {
    let slot = cursor::Slot { position: 5, ..cursor::Slot::default() };
    assert_eq!(slot.counted(), (5, Totals::default()));
}

#[test]
fn before_the_end_of_a_segment_a_frame_that_was_cut_is_told_from_what_is_none() {
    let step = |bytes: &[u8]| scan::step(bytes, segment_header().seed(), 8192, 8192 + bytes.len() as u64);
    for length in 1..=frame::MAGIC.len() {
        assert_eq!(step(&frame::MAGIC[..length]), scan::Step::Nothing(Fault::Short));
    }
    assert_eq!(step(b"zeros"), scan::Step::Nothing(Fault::Magic));
}

#[test]
fn a_search_that_found_nothing_is_done_with_all_bytes_but_those_where_a_header_may_begin() {
    let settled = [0, 7, 8, 8_000].map(|more| scan::settled(frame::HEADER_LEN - 1 + more));
    assert_eq!(settled, [0, 0, 8, 8_000]);
    assert_eq!(scan::settled(0), 0);
}

#[test]
fn a_footer_whose_data_ends_where_none_can_is_refused() {
    let (seed, at) = (segment_header().seed(), 16_384);
    let decoded = |data_end: u64| {
        let footer = segment::Footer { data_end, ..footer() };
        segment::Footer::decode(&footer.encode(seed, at), seed, at).map(|footer| footer.data_end)
    };
    for good in [segment::DATA_AT, 12_000, at] {
        assert_eq!(decoded(good), Ok(good));
    }
    for bad in [0, segment::DATA_AT - 8, segment::DATA_AT + 1, at + 8] {
        assert_eq!(decoded(bad), Err(Fault::Length), "{bad}");
    }
}

/// One damaged field of the three does not hide the footer, and one that fits by chance makes none.
#[test]
fn bytes_were_a_footer_when_two_of_its_three_marks_are_there() {
    let header = segment_header();
    let footer = segment::Footer { segment_id: 77, epoch: 88, ..footer() }.encode(header.seed(), 9000);
    for [magic, id, epoch] in [0, 1, 2, 3, 4, 5, 6, 7].map(|n| [1, 2, 4].map(|bit| n & bit > 0)) {
        let mut bytes = footer;
        bytes[0] ^= u8::from(!magic);
        let is_footer = segment::Footer::is_damaged(&bytes, 77 + u64::from(!id), 88 + u64::from(!epoch));
        assert_eq!(is_footer, [magic, id, epoch].into_iter().filter(|is| *is).count() >= 2, "{magic} {id} {epoch}");
    }
}

#[test]
fn an_envelope_of_another_version_is_refused() {
    for version in [0, 2, u16::MAX] {
        let mut bytes = envelope().encode();
        bytes[4..6].copy_from_slice(&version.to_le_bytes());
        assert_eq!(dead_letter::Envelope::decode(&bytes), Err(Fault::Version(version)));
    }
}

pub(super) fn segment_header() -> segment::SegmentHeader {
    segment::SegmentHeader {
        durability: 1,
        flags: 2,
        log: 0x1234_5678,
        spool_id: 0x0102_0304_0506_0708_090A_0B0C_0D0E_0F10,
        segment_id: 17,
        epoch: 0xDEAD_BEEF_0BAD_CAFE,
        first_sequence: 1000,
        after_sequence: 900,
        synced_to: 899,
        totals: Totals { frames: 900, items: 9000, bytes: 90_000 },
        created: 1_700_000_000_000_000_000,
    }
}

pub(super) fn frame_header() -> frame::FrameHeader {
    frame::FrameHeader {
        kind: frame::kind::DATA,
        content: 3,
        length: 11,
        items: 4,
        sequence: 1000,
        time: 1_700_000_000_000_000_001,
        synced_to: 999,
        totals: Totals { frames: 900, items: 9000, bytes: 90_000 },
    }
}

fn footer() -> segment::Footer {
    segment::Footer {
        segment_id: 17,
        epoch: 0xDEAD_BEEF_0BAD_CAFE,
        data_end: 8800,
        last_sequence: 1005,
        synced_to: 1005,
        count: 6,
        totals: Totals { frames: 906, items: 9060, bytes: 90_600 },
        first_time: 5,
        last_time: 6,
    }
}

fn slot() -> cursor::Slot {
    let mut dropped = [cursor::Dropped::default(); 8];
    dropped[2] = cursor::Dropped {
        items: 5,
        bytes: 6,
        told_items: 4,
        told_bytes: 3,
        first_time: 21,
        last_time: 22,
        first_sequence: 23,
        last_sequence: 24,
    };
    cursor::Slot {
        required: true,
        spool_id: 7,
        epoch: 8,
        log: 9,
        name: 10,
        generation: 11,
        position: 12,
        position_totals: Totals { frames: 13, items: 14, bytes: 15 },
        start: 16,
        start_totals: Totals { frames: 17, items: 18, bytes: 19 },
        hint_segment: 20,
        hint_offset: 21,
        synced_to: 22,
        synced_totals: Totals { frames: 23, items: 24, bytes: 25 },
        last_seen: 26,
        paused: true,
        counted_to: 27,
        counted_totals: Totals { frames: 36, items: 37, bytes: 38 },
        delivered_items: 28,
        parked_items: 29,
        skipped_items: 30,
        done_bytes: 31,
        resent_items: 32,
        replayed_items: 33,
        dropped,
        intervals: vec![cursor::Interval { first: 40, last: 41 }, cursor::Interval { first: 50, last: 59 }],
    }
}

fn envelope() -> dead_letter::Envelope {
    dead_letter::Envelope {
        epoch: 1,
        sequence: 2,
        first_item: 3,
        items: 4,
        cursor: 5,
        reason: "400: field is not a date".to_owned(),
    }
}

#[test]
fn a_payload_has_the_crc32c_of_the_processors_instruction_whatever_its_length_and_place() {
    let bytes: Vec<u8> = (0_u32..70_000).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let lengths = (0..2_000).chain([4_095, 4_096, 4_097, 65_535, 65_536, 69_900]);
    for (place, length) in lengths.enumerate() {
        let payload = &bytes[place % 67..][..length];
        let before = (length as u32).wrapping_mul(0x9E37_79B9);
        assert_eq!(super::payload_crc(before, payload), crc32c::crc32c_append(before, payload), "{length}");
    }
}

#[test]
fn a_frame_is_padded_to_the_next_8_bytes_and_no_further() {
    assert_eq!([0, 1, 7, 8, 9, 16].map(align_up), [0, 8, 8, 8, 16, 16]);
}
