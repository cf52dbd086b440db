//! Rules 4, 5, 10, 20 to 22: torn and damaged files, misplaced and foreign ones, newer ones.

use std::collections::BTreeSet;
use std::fs::{OpenOptions, read, remove_file};
use std::os::unix::fs::FileExt;

use super::*;
use crate::spool::Durability;

/// Changes bytes of a file.
#[allow(clippy::disallowed_methods, reason = "the test is the damage")]
fn overwrite(path: &Path, offset: u64, bytes: &[u8]) {
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, offset).unwrap();
}

#[allow(clippy::disallowed_methods, reason = "the test is the damage")]
fn copy(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap();
}

#[allow(clippy::disallowed_methods, reason = "the test is the damage")]
fn cut(path: &Path, length: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

fn flip(path: &Path, bit: u64) {
    let byte = read(path).unwrap()[(bit / 8) as usize];
    overwrite(path, bit / 8, &[byte ^ (1 << (bit % 8))]);
}

/// Of the segment only its header can be read from now on.
fn lose_frames(segment: &Path) {
    let data = read(segment).unwrap().len() - 8192;
    overwrite(segment, 8192, &vec![0; data]);
}

/// Ends without closing; the files are then ours to change.
fn crash(bench: &mut Bench) {
    drop(bench.spool.take());
}

fn close(bench: &mut Bench) {
    bench.spool.take().unwrap().close().unwrap();
}

/// Waits until a mark says that this sequence is durable, on disk.
fn witnessed(bench: &Bench, count: usize) {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while read_all(&bench.reader(), From::Oldest).len() < count {
        assert!(std::time::Instant::now() < until);
        std::thread::park_timeout(std::time::Duration::from_millis(2));
    }
}

/// Where the frame with this number begins in the first segment; marks may lie before it.
fn frame_at(bench: &Bench, number: u64) -> u64 {
    let bytes = read(&bench.segments()[0]).unwrap();
    let text = payload(number, PAYLOAD);
    let at = bytes.windows(text.len()).position(|window| window == text).unwrap();
    at as u64 - 72
}

/// Frames of 216 bytes: 72 + 136 + 4 and padding.
const FRAME: u64 = 216;
const PAYLOAD: usize = 136;

#[test]
fn rule_21_a_torn_tail_is_cut_and_told() {
    let mut bench = Bench::new();
    append_together(&bench.log(), 0..10, PAYLOAD);
    crash(&mut bench);
    let segment = bench.segments()[0].clone();
    // The last frame, and with it the mark after it if there is one, half written.
    cut(&segment, 8192 + 9 * FRAME + 100);
    let log = bench.open();
    assert_eq!(log.opening().recovered_frames, 9);
    let cuts = &log.opening().cuts;
    assert_eq!(cuts.len(), 1);
    assert_eq!((cuts[0].offset, cuts[0].bytes), (8192 + 9 * FRAME, 100));
    assert_eq!(numbers(&drain(&mut cursor(&log, "c"))), (0..9).collect::<Vec<_>>());
}

#[test]
fn rule_21_a_torn_group_keeps_the_frames_behind_it_and_is_counted_as_torn() {
    let mut bench = Bench::new();
    let log = bench.log();
    // One group: nothing in it is witnessed by anything but what comes after.
    append_together(&log, 0..6, PAYLOAD);
    crash(&mut bench);
    let segment = bench.segments()[0].clone();
    cut(&segment, 8192 + 6 * FRAME);
    overwrite(&segment, 8192 + 4 * FRAME, &[0; FRAME as usize]);
    let log = bench.open();
    let mut c = cursor(&log, "c");
    assert_eq!(numbers(&drain(&mut c)), [0, 1, 2, 3, 5]);
    c.ack(0, u64::MAX, 0).unwrap();
    c.flush().unwrap();
    let seen = &bench.spool.as_ref().unwrap().inspect().unwrap().logs[0].cursors[0];
    // Of the group of five, the frame at 4 is torn only if the group was one; a frame that was witnessed is damage.
    let (reason, items) = &seen.dropped_items[0];
    assert!(*items == 1 && (reason == "torn" || reason == "damaged"), "{reason} {items}");
    assert_eq!((seen.accepted_items, seen.delivered_items, seen.pending.items), (6, 5, 0));
}

#[test]
fn rule_21_damage_below_a_witness_is_counted_as_damage_and_set_aside() {
    let mut bench = Bench::new();
    append_together(&bench.log(), 0..10, PAYLOAD);
    witnessed(&bench, 10);
    crash(&mut bench);
    let segment = bench.segments()[0].clone();
    overwrite(&segment, 8192 + 3 * FRAME, &[0; 2 * FRAME as usize]);
    let log = bench.open();
    let mut c = cursor(&log, "c");
    assert_eq!(numbers(&drain(&mut c)), [0, 1, 2, 5, 6, 7, 8, 9]);
    c.rewind();
    assert_eq!(drain(&mut c).len(), 8);
    c.ack(0, u64::MAX, 0).unwrap();
    c.flush().unwrap();
    let inspection = bench.spool.as_ref().unwrap().inspect().unwrap();
    let seen = &inspection.logs[0].cursors[0];
    assert_eq!(seen.dropped_items, [("damaged".to_owned(), 2)], "counted once");
    assert_eq!(inspection.logs[0].damaged_bytes, 2 * FRAME);
    let verification = bench.reader().verify(&mut |_, _| {}).unwrap();
    let damage = &verification.logs[0].damage;
    assert_eq!(damage.len(), 1, "{damage:?}");
    assert_eq!((damage[0].offset, damage[0].bytes, damage[0].frames_lost), (8192 + 3 * FRAME, 2 * FRAME, 2));
    assert!(verification.logs[0].ledger_closes);
}

#[test]
fn rule_21_recovering_twice_is_recovering_once() {
    let mut bench = Bench::new();
    append(&bench.log(), 0..50, 3000);
    crash(&mut bench);
    let segment = bench.segments().pop().unwrap();
    overwrite(&segment, 8192 + 5000, &[9; 700]);
    let first = format!("{:?}", bench.open().opening());
    let files = bench.segments();
    for _ in 0..3 {
        crash(&mut bench);
        assert_eq!(format!("{:?}", bench.open().opening()), first);
        assert_eq!(bench.segments(), files, "opening makes no segment");
    }
}

#[test]
fn rule_4_zeros_in_the_middle_are_no_end() {
    let mut bench = Bench::new();
    append_together(&bench.log(), 0..200, PAYLOAD);
    close(&mut bench);
    let segment = bench.segments()[0].clone();
    overwrite(&segment, 8192 + 4096, &[0; 4096]);
    let frames = numbers(&read_all(&bench.reader(), From::Oldest));
    let lost = 200 - frames.len();
    assert!(lost <= (4096 / FRAME as usize) + 2, "{lost} frames lost to one page of zeros");
    let damage = &bench.reader().verify(&mut |_, _| {}).unwrap().logs[0].damage;
    assert_eq!(damage.iter().map(|d| d.frames_lost).sum::<u64>(), lost as u64);
}

#[test]
fn rule_21_every_flipped_bit_of_a_sealed_segment_costs_at_most_its_frame_and_is_told() {
    let mut bench = Bench::new();
    append_together(&bench.log(), 0..6, 40);
    close(&mut bench);
    let segment = bench.segments()[0].clone();
    let size = read(&segment).unwrap().len() as u64;
    let used = (0..128).chain(4096..4096 + 128).chain(8192..size);
    for bit in used.flat_map(|byte| [byte * 8, byte * 8 + 5]) {
        flip(&segment, bit);
        let found = numbers(&read_all(&bench.reader(), From::Oldest));
        let verification = bench.reader().verify(&mut |_, _| {}).unwrap().logs.remove(0);
        let lost: u64 = verification.damage.iter().map(|d| d.frames_lost).sum();
        assert!(found.len() >= 5, "bit {bit}: {found:?}");
        assert_eq!(found.len() as u64 + lost, 6, "bit {bit}: {verification:?}");
        let is_footer = bit / 8 >= size - 128;
        let is_told = !verification.damage.is_empty() || is_footer || in_mark(bit / 8);
        assert!(is_told, "bit {bit}: no verdict");
        flip(&segment, bit);
    }
}

/// A mark holds nothing; a segment without its footer is scanned.
fn in_mark(byte: u64) -> bool {
    byte >= 8192 + 6 * 120
}

#[test]
fn rule_10_a_segment_whose_header_is_lost_is_still_data() {
    let mut bench = Bench::new();
    append(&bench.log(), 0..200, 1000);
    close(&mut bench);
    let segments = bench.segments();
    for index in [1, segments.len() - 1] {
        overwrite(&segments[index], 0, &[0; 8192]);
    }
    assert_eq!(numbers(&read_all(&bench.reader(), From::Oldest)), (0..200).collect::<Vec<_>>());
    let log = bench.open();
    assert_eq!(numbers(&drain(&mut cursor(&log, "c"))), (0..200).collect::<Vec<_>>());
    let next = append(&log, 200..201, 10)[0];
    let all = read_all(&bench.reader(), From::Oldest);
    assert!(all.iter().take(200).all(|f| f.sequence < next));
}

#[test]
fn rule_4_a_copied_or_misplaced_segment_never_passes() {
    let mut bench = Bench::new();
    append(&bench.log(), 0..200, 1000);
    append(&bench.spool.as_ref().unwrap().log("other").unwrap(), 500..510, 1000);
    close(&mut bench);
    let segments = bench.segments();
    // Under another id, in another log, from another spool.
    copy(&segments[0], &bench.log_dir().join("seg-00000000000000f0"));
    copy(&bench.path().join("logs/other/seg-0000000000000001"), &bench.log_dir().join("seg-00000000000000f1"));
    let mut foreign = Bench::new();
    append(&foreign.log(), 900..910, 1000);
    close(&mut foreign);
    copy(&foreign.segments()[0], &bench.log_dir().join("seg-00000000000000f2"));
    let log = bench.open();
    append(&log, 200..201, 1000);
    let found = numbers(&drain(&mut cursor(&log, "c")));
    assert_eq!(found, (0..201).collect::<Vec<_>>());
    close(&mut bench);
    assert!(bench.segments().iter().any(|p| p.ends_with("seg-00000000000000f2")), "left where they are");
    let damage = bench.reader().verify(&mut |_, _| {}).unwrap().logs.remove(0).damage;
    assert_eq!(damage.len(), 3, "{damage:?}");
}

#[test]
fn rule_5_a_newer_segment_is_refused_and_untouched() {
    for field in [8_u64, 16] {
        let mut bench = Bench::new();
        append(&bench.log(), 0..3, 100);
        close(&mut bench);
        let segment = bench.segments()[0].clone();
        let mut header = read(&segment).unwrap()[..128].to_vec();
        header[field as usize] = 2;
        let crc = crc32c::crc32c(&header[..124]);
        header[124..].copy_from_slice(&crc.to_le_bytes());
        overwrite(&segment, 0, &header);
        overwrite(&segment, 4096, &header);
        let before = read(&segment).unwrap();
        let spool = Spool::open(bench.path(), bench.options.clone()).unwrap();
        let error = spool.log("log").unwrap_err();
        assert!(error.is_newer(), "{error}");
        assert!(error.to_string().contains("seg-0000000000000001"), "{error}");
        assert!(bench.reader().read("log", From::Oldest).and_then(|mut r| r.next()).unwrap_err().is_newer());
        drop(spool);
        assert_eq!(read(&segment).unwrap(), before);
        assert_eq!(bench.segments().len(), 1);
    }
}

/// What sequences were given in it, nobody knows: the new ones begin far above.
#[test]
fn rule_6_a_segment_of_which_only_the_header_can_be_read_keeps_its_distance() {
    let mut bench = Bench::new();
    append(&bench.log(), 0..3, 100);
    crash(&mut bench);
    lose_frames(&bench.segments()[0]);
    let log = bench.open();
    assert!(!log.opening().clean && log.opening().next_sequence > 1 << 20, "{:?}", log.opening());
    assert!(append(&log, 3..4, 100)[0] > 3);
}

/// After a jump: what the frames before it say, and another jump, comes to the same sequences.
#[test]
fn rule_6_a_header_whose_frames_are_all_lost_says_which_sequences_were_given() {
    let mut bench = Bench::new();
    append(&bench.log(), 0..3, 100);
    let lost = append(&bench.crash(), 3..4, 100)[0];
    crash(&mut bench);
    lose_frames(bench.segments().last().unwrap());
    let next = append(&bench.open(), 4..5, 100)[0];
    assert!(next > lost, "{next} after {lost}");
}

#[test]
fn rule_6_a_lost_segment_is_counted_and_its_sequences_are_not_given_again() {
    let mut bench = Bench::new();
    let log = bench.log();
    let sequences = append(&log, 0..200, 1000);
    let mut c = cursor(&log, "c");
    drain(&mut c);
    c.ack(sequences[0], sequences[9], 0).unwrap();
    c.flush().unwrap();
    drop(c);
    close(&mut bench);
    let segments = bench.segments();
    #[allow(clippy::disallowed_methods, reason = "the test is the damage")]
    for lost in [&segments[1], segments.last().unwrap()] {
        remove_file(lost).unwrap();
    }
    let log = bench.open();
    assert_eq!(log.opening().lost_cursors, [""; 0]);
    let next = append(&log, 200..201, 1000)[0];
    assert!(next > sequences[199], "{next} after {}", sequences[199]);
    let mut c = cursor(&log, "c");
    let found = numbers(&drain(&mut c));
    c.ack(0, u64::MAX, 0).unwrap();
    let seen = &bench.spool.as_ref().unwrap().inspect().unwrap().logs[0].cursors[0];
    let dropped: u64 = seen.dropped_items.iter().map(|(_, n)| n).sum();
    assert_eq!(found.len() as u64 + 10 + dropped, 201, "{:?}", seen.dropped_items);
    assert_eq!(seen.accepted_items, 201);
    assert_eq!(seen.pending.items, 0);
}

#[test]
fn rule_15_a_torn_slot_costs_one_write_and_two_cost_the_position() {
    let mut bench = Bench::new();
    let log = bench.log();
    let sequences = append(&log, 0..10, 100);
    let mut c = cursor(&log, "c");
    drain(&mut c);
    c.ack(sequences[0], sequences[3], 0).unwrap();
    c.flush().unwrap();
    c.ack(sequences[4], sequences[6], 0).unwrap();
    c.flush().unwrap();
    drop(c);
    crash(&mut bench);
    let file = bench.log_dir().join("cursors/c");
    let bytes = read(&file).unwrap();
    let generation = |slot: usize| u64::from_le_bytes(bytes[slot * 65_536 + 56..][..8].try_into().unwrap());
    let newer = u64::from(generation(1) > generation(0)) * 65_536;
    overwrite(&file, newer + 64, &[0xFF; 8]);
    let log = bench.open();
    assert_eq!(numbers(&drain(&mut cursor(&log, "c"))), (4..10).collect::<Vec<_>>(), "the older slot");
    crash(&mut bench);
    overwrite(&file, 64, &[0xFF; 8]);
    overwrite(&file, 65_536 + 64, &[0xFF; 8]);
    let log = bench.open();
    assert_eq!(log.opening().lost_cursors, ["c"]);
    assert_eq!(numbers(&drain(&mut cursor(&log, "c"))), (0..10).collect::<Vec<_>>(), "the oldest frame");
}

#[test]
fn rule_15_a_cursor_of_another_name_or_spool_is_not_believed() {
    let mut bench = Bench::new();
    let log = bench.log();
    let sequences = append(&log, 0..10, 100);
    let mut c = cursor(&log, "c");
    drain(&mut c);
    c.ack(sequences[0], sequences[9], 0).unwrap();
    c.flush().unwrap();
    drop(c);
    crash(&mut bench);
    copy(&bench.log_dir().join("cursors/c"), &bench.log_dir().join("cursors/d"));
    let log = bench.open();
    assert_eq!(log.opening().lost_cursors, ["d"]);
    assert_eq!(drain(&mut cursor(&log, "d")).len(), 10);
}

#[test]
fn a_lost_spool_id_is_taken_from_the_segments() {
    let mut bench = Bench::new();
    append_together(&bench.log(), 0..10, 100);
    let id = bench.spool.as_ref().unwrap().id();
    close(&mut bench);
    overwrite(&bench.path().join("spool.id"), 20, &[1, 2, 3, 4, 5]);
    assert_eq!(read_all(&bench.reader(), From::Oldest).len(), 10);
    let log = bench.open();
    assert_eq!(bench.spool.as_ref().unwrap().id(), id);
    assert_eq!(drain(&mut cursor(&log, "c")).len(), 10);
}

#[test]
fn every_cut_of_the_newest_segment_leaves_a_prefix() {
    let mut bench = Bench::new();
    append_together(&bench.log(), 0..5, 40);
    crash(&mut bench);
    let segment = bench.segments()[0].clone();
    let whole = read(&segment).unwrap();
    let mut seen = BTreeSet::new();
    for length in (8192..=whole.len() as u64).rev() {
        cut(&segment, length);
        let found = numbers(&read_all(&bench.reader(), From::Oldest));
        assert_eq!(found, (0..found.len() as u64).collect::<Vec<_>>());
        seen.insert(found.len());
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
    for length in [0, 1, 127, 128, 4096, 8191] {
        cut(&segment, length);
        let spool = Spool::open(bench.path(), bench.options.clone()).unwrap();
        // A file that lost its header lost its frames: with a copy of it left it is an empty segment.
        match spool.log("log") {
            Ok(log) => assert_eq!(append(&log, 0..1, 10).len(), 1),
            Err(error) => assert!(error.is_corrupt(), "{error}"),
        }
    }
}

#[test]
fn rule_21_a_frame_that_is_damaged_while_it_is_in_flight_does_not_hold_its_cursor() {
    let mut bench = Bench::new();
    let log = bench.log();
    append(&log, 0..10, PAYLOAD);
    let mut c = cursor(&log, "c");
    assert_eq!(drain(&mut c).len(), 10);
    overwrite(&bench.segments()[0], frame_at(&bench, 4), &[0; FRAME as usize]);
    // Whoever had them lost them: they are read again, but for one.
    c.rewind();
    assert_eq!(numbers(&drain(&mut c)), [0, 1, 2, 3, 5, 6, 7, 8, 9]);
    c.ack(0, u64::MAX, 0).unwrap();
    assert_eq!(c.position(), 11);
    c.flush().unwrap();
    let inspection = bench.spool.as_ref().unwrap().inspect().unwrap();
    let seen = &inspection.logs[0].cursors[0];
    assert_eq!(seen.dropped_items, [("damaged".to_owned(), 1)]);
    assert_eq!((seen.accepted_items, seen.delivered_items, seen.pending.items), (10, 9, 0));
    drop(c);
    let log = bench.crash();
    assert_eq!(drain(&mut cursor(&log, "c")).len(), 0);
}

#[test]
fn rule_5_what_a_power_cut_took_out_of_an_unsynced_group_is_torn_and_no_damage() {
    let mut bench = Bench::with(|o| o.log.durability = Durability::Os);
    append(&bench.log(), 0..5, PAYLOAD);
    crash(&mut bench);
    let at = frame_at(&bench, 2);
    overwrite(&bench.segments()[0], at, &[0; FRAME as usize]);
    // Before an opening and after it.
    for _ in 0..2 {
        let found = bench.reader().verify(&mut |_, _| {}).unwrap().logs.remove(0);
        assert!(found.damage.is_empty() && found.ledger_closes, "{found:?}");
        assert_eq!((found.frames, found.torn.len()), (4, 1), "{found:?}");
        assert_eq!((found.torn[0].offset, found.torn[0].bytes, found.torn[0].frames_lost), (at, FRAME, 1));
        bench.open();
        crash(&mut bench);
    }
}
