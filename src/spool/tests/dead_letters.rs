//! Rule 17: dead letters.

use std::time::{Duration, Instant};

use super::*;
use crate::spool::DeadLetter;
use crate::spool::env::Env;
use crate::spool::worker::Runner;

#[test]
fn rule_17_a_dead_letter_is_durable_and_comes_back_whole() {
    let mut bench = Bench::new();
    let log = bench.log();
    let sequences = append(&log, 0..3, 100);
    let mut c = cursor(&log, "c");
    let frames = drain(&mut c);
    let letter = DeadLetter {
        sequence: sequences[1],
        first_item: 4,
        items: 2,
        content: 3,
        payload: Bytes::from_static(b"refused"),
        reason: "400 bad date".to_owned(),
    };
    c.park(letter.clone()).unwrap();
    c.ack(sequences[0], sequences[2], 1).unwrap();
    c.flush().unwrap();
    drop(c);
    bench.crash();
    let reader = bench.reader();
    assert_eq!(reader.dead_letter_logs().unwrap(), ["log"]);
    assert_eq!(reader.logs().unwrap(), ["log"], "dead letters are no log of a pipeline");
    let frame = reader.read_dead_letters("log").unwrap().next().unwrap().unwrap();
    let (epoch, back) = DeadLetter::from_frame(&frame).unwrap();
    assert_eq!(epoch, frames[1].epoch);
    assert_eq!((back.sequence, back.first_item, back.items, back.content), (sequences[1], 4, 2, 3));
    assert_eq!((&back.payload[..], back.reason.as_str()), (&b"refused"[..], "400 bad date"));
}

#[test]
fn rule_17_a_dead_letter_finds_room_in_a_full_directory() {
    let bench = Bench::with(|o| {
        o.max_size = Some(16 << 20);
        o.log.segment_size = Some(1 << 20);
    });
    let log = bench.log();
    let mut c = cursor(&log, "c");
    let until = Instant::now() + Duration::from_secs(20);
    while !bench.path().join("dead/log/spare-0").exists() {
        assert!(Instant::now() < until, "the spare is there from the start");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let big = Bytes::from(vec![1; 900_000]);
    while log.append(1, big.clone(), 1).and_then(|a| a.wait()).is_ok() {}
    let batch = c.next_batch(1).unwrap().unwrap();
    let letter = |n: u32| DeadLetter {
        sequence: batch.frames[0].sequence,
        first_item: n,
        items: 1,
        content: 1,
        payload: Bytes::from(vec![2; 50_000]),
        reason: "no".to_owned(),
    };
    for n in 0..200 {
        c.park(letter(n)).unwrap();
    }
    let mut letters = bench.reader().read_dead_letters("log").unwrap();
    let mut last = 0;
    while last < 199 {
        assert!(Instant::now() < until, "the newest are kept, and seen soon: {last}");
        while let Some(frame) = letters.next().unwrap() {
            last = DeadLetter::from_frame(&frame).unwrap().1.first_item;
        }
    }
}

#[test]
fn rule_17_letters_that_their_full_log_drops_are_counted_and_told() {
    let mut bench = Bench::with(|o| o.log.dead_letter_max_size = Some(256 << 10));
    let log = bench.log();
    let sequence = append(&log, 0..1, 100)[0];
    let mut c = cursor(&log, "c");
    drain(&mut c);
    // As of somebody who sends letters again: what it counts is no other loss.
    let replays = cursor(&log.dead_letters().unwrap(), "c");
    const PARKED: u32 = 100;
    for first_item in 0..PARKED {
        let payload = Bytes::from(vec![2; 10_000]);
        c.park(DeadLetter { sequence, first_item, items: 1, content: 1, payload, reason: "no".to_owned() }).unwrap();
    }
    drop((c, replays, log));
    // Nobody was told, and nobody parks anything after the crash.
    let log = bench.crash();
    let told = log.losses().unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&*told[0].log, told[0].cursor.as_deref(), told[0].reason), ("log", Some("dead_letters"), "full"));
    let mut letters = bench.reader().read_dead_letters("log").unwrap();
    let mut left = Vec::new();
    while let Some(frame) = letters.next().unwrap() {
        left.push(DeadLetter::from_frame(&frame).unwrap().1.first_item);
    }
    let dropped = PARKED - left.len() as u32;
    assert!(dropped > 0 && left == (dropped..PARKED).collect::<Vec<_>>(), "the oldest are dropped: {left:?}");
    assert_eq!((told[0].items, told[0].total_items), (dropped.into(), dropped.into()));
    log.told(&told[0]).unwrap();
    assert_eq!(log.losses().unwrap(), []);
    drop(log);
    bench.spool.take().unwrap().close().unwrap();
    assert_eq!(bench.open().losses().unwrap(), [], "that it was told is durable");
    let verification = bench.reader().verify(&mut |_, _| {}).unwrap();
    assert!(verification.logs.iter().all(|log| log.ledger_closes), "{verification:?}");
}

#[test]
fn rule_17_letters_of_an_earlier_run_take_room_before_anybody_opens_them() {
    let mut bench = Bench::with(|o| o.max_size = Some(4 << 20));
    let log = bench.log();
    // More than what is guaranteed to them.
    append(&log.dead_letters().unwrap(), 0..30, 10_000);
    drop(log);
    bench.spool.take().unwrap().close().unwrap();
    let spool = bench.open_on(Env { runner: Runner::Hand, ..Env::real() });
    let log = spool.log("log").unwrap();
    log.0.reserve_for_dead_letters(&|| true).unwrap();
    let room = log.0.space.room(&log.0.account);
    log.dead_letters().unwrap();
    assert_eq!(log.0.space.room(&log.0.account), room, "opening them changes nothing");
}

#[test]
fn rule_17_dead_letters_may_be_opened_while_their_spare_is_filled() {
    for pieces_before in [1, 2, 3] {
        let mut bench = Bench::new();
        bench.options.max_size = Some(1 << 30);
        let log = bench.reopen();
        // The housekeeper fills it too, but not before a second has passed.
        let pieces = std::cell::Cell::new(0);
        let open_meanwhile = || {
            pieces.set(pieces.get() + 1);
            if pieces.get() == pieces_before {
                append(&log.dead_letters().unwrap(), 0..3, 30_000);
            }
            true
        };
        log.0.reserve_for_dead_letters(&open_meanwhile).unwrap();
        assert!(pieces.get() >= pieces_before, "{pieces:?}");
        let dead = log.dead_letters().unwrap();
        assert_eq!(numbers(&drain(&mut cursor(&dead, "c"))), [0, 1, 2]);
        append(&dead, 3..40, 30_000);
        assert_eq!(numbers(&drain(&mut cursor(&dead, "d"))), (0..40).collect::<Vec<_>>());
        let files = bench.path().join("dead/log").read_dir().unwrap().map(|entry| entry.unwrap().metadata().unwrap());
        let there: u64 = files.filter(std::fs::Metadata::is_file).map(|file| file.len()).sum();
        // The log's own, and the two above.
        let cursors = 3 * crate::spool::format::cursor::FILE_LEN;
        assert_eq!(dead.0.account.bytes(), there + cursors, "{pieces_before}");
        drop((dead, log));
        bench.spool.take().unwrap().close().unwrap();
        let log = bench.open();
        assert_eq!(numbers(&drain(&mut cursor(&log.dead_letters().unwrap(), "e"))), (0..40).collect::<Vec<_>>());
    }
}
