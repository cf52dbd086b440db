//! What a check of a whole directory sees: dead letters and cursors too.

use super::*;
use crate::spool::format::seal_plain;
use crate::spool::{DeadLetter, Verification};

/// A log with a frame, a dead letter, and a cursor whose slots were both written.
fn bench() -> Bench {
    let mut bench = Bench::new();
    let log = bench.log();
    let sequences = append(&log, 0..4, 100);
    let mut c = cursor(&log, "c");
    drain(&mut c);
    for sequence in sequences {
        let payload = Bytes::from_static(b"refused");
        let letter = DeadLetter { sequence, first_item: 0, items: 1, content: 1, payload, reason: "no".to_owned() };
        c.park(letter).unwrap();
        c.ack(sequence, sequence, 0).unwrap();
        c.flush().unwrap();
    }
    drop((c, log));
    bench.spool.take().unwrap().close().unwrap();
    bench
}

fn verify(bench: &Bench) -> Verification {
    bench.reader().verify(&mut |_, _| {}).unwrap()
}

#[allow(clippy::disallowed_methods, reason = "the test is the damage")]
fn flip(bench: &Bench, file: &str, byte: usize) {
    let path = bench.path().join(file);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[byte] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn dead_letters_are_verified_too() {
    let bench = bench();
    let whole = verify(&bench);
    let (logs, dead) = (&whole.logs, &whole.dead_letters);
    assert!(logs.iter().chain(dead).all(|log| log.damage.is_empty() && log.torn.is_empty() && log.ledger_closes));
    assert_eq!((&*logs[0].name, logs[0].frames, &*dead[0].name, dead[0].frames), ("log", 4, "dead/log", 4));

    flip(&bench, "dead/log/seg-0000000000000001", 8192 + 80);
    let found = verify(&bench);
    assert!(found.logs[0].damage.is_empty());
    assert_eq!((found.dead_letters[0].frames, found.dead_letters[0].damage[0].frames_lost), (3, 1));
}

#[test]
fn one_bad_slot_of_a_cursor_is_told_and_two_are_damage() {
    let bench = bench();
    flip(&bench, "logs/log/cursors/c", 100);
    let found = verify(&bench).logs.remove(0);
    assert!(found.damage.is_empty() && found.ledger_closes, "{found:?}");
    assert_eq!((found.torn[0].offset, found.torn[0].frames_lost), (0, 0));
    assert!(found.torn[0].reason.starts_with("cursor c: one slot"), "{found:?}");

    flip(&bench, "logs/log/cursors/c", (64 << 10) + 100);
    let found = verify(&bench).logs.remove(0);
    assert!(found.damage[0].reason.starts_with("cursor c: neither slot"), "{found:?}");
}

/// A slot that a newer version wrote is no damage: it says what to do about it.
#[test]
#[allow(clippy::disallowed_methods, reason = "the test is the newer version")]
fn a_cursor_of_a_newer_version_is_told_as_such() {
    let bench = bench();
    let path = bench.path().join("logs/log/cursors/c");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8] = 2;
    seal_plain(&mut bytes[..1024]);
    std::fs::write(&path, bytes).unwrap();
    let error = bench.reader().verify(&mut |_, _| {}).unwrap_err();
    assert!(error.is_newer() && error.to_string().contains("cursors/c"), "{error}");
}

#[test]
fn rule_22_verify_says_that_a_writer_lives() {
    let mut bench = bench();
    assert!(verify(&bench).owner.is_none_or(|owner| !owner.alive));
    let _log = bench.open();
    assert!(verify(&bench).owner.is_some_and(|owner| owner.alive && owner.pid == std::process::id()));
}

/// Only the last segment of a run can have been cut while it was sealed.
#[test]
fn a_bad_footer_is_damage_but_for_the_last_of_a_run() {
    let mut bench = Bench::new();
    let log = bench.log();
    append(&log, 0..40, 4000);
    drop(log);
    bench.spool.take().unwrap().close().unwrap();
    let segments = bench.reader().inspect().unwrap().logs.remove(0).segments;
    assert!(segments.len() >= 2, "{segments:?}");
    let [first, last] = [&segments[0], &segments[segments.len() - 1]];
    let footer = |id: u64, bytes: u64| (format!("logs/log/seg-{id:016x}"), bytes as usize - 20);
    for (segment, is_damage) in [(first, true), (last, false)] {
        let (file, byte) = footer(segment.id, segment.bytes);
        flip(&bench, &file, byte);
        let found = verify(&bench).logs.remove(0);
        let list = if is_damage { &found.damage } else { &found.torn };
        assert!(list.iter().any(|d| d.segment == segment.id && d.reason.starts_with("the footer")), "{found:?}");
        assert_eq!((found.frames, found.ledger_closes), (40, true));
        flip(&bench, &file, byte);
    }
}
