//! Rules 8 and 11 on a disk that refuses more bytes, and what needs room there.

use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::fault_disk::{Fault, Op};
use super::faulty::*;
use super::*;
use crate::spool::{DeadLetter, OnFull};

#[test]
fn rule_8_a_full_disk_refuses_and_the_log_resumes_by_itself() {
    for errno in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
        let mut faulty = Faulty::new(|_| {});
        let log = faulty.bench.log();
        append(&log, 0..5, 100);
        faulty.fail(Op::Write, "seg-", 2, errno);
        let error = try_append(&log, 5).unwrap_err();
        assert!(error.is_full() && error.retry_after().is_some(), "{error}");
        append_until_taken(&log, 6);
        append_until_taken(&log, 7);
        assert!(log.trouble().is_none());
        let mut c = cursor(&log, "c");
        assert_eq!(numbers(&drain(&mut c)), [0, 1, 2, 3, 4, 6, 7]);
        drop(c);
        assert_eq!(faulty.recovered(), [0, 1, 2, 3, 4, 6, 7], "{errno:?}");
        assert!(faulty.bench.reader().verify(&mut |_, _| {}).unwrap().logs[0].ledger_closes);
    }
}

#[test]
fn rule_8_a_disk_that_refuses_new_files_answers_full_until_it_takes_them() {
    for errno in [Errno::NOSPC, Errno::ROFS, Errno::IO] {
        let mut faulty = Faulty::new(|_| {});
        let log = faulty.bench.log();
        faulty.fail(Op::Create, "spare-", 2, errno);
        let error = try_append(&log, 0).unwrap_err();
        assert!(error.is_full(), "{error}");
        append_until_taken(&log, 1);
        assert_eq!(faulty.recovered(), [1], "{errno:?}");
    }
}

#[test]
fn rule_8_every_call_that_fails_in_turn_loses_no_acked_frame_and_ends_nothing() {
    let ops = [Op::Create, Op::Open, Op::Write, Op::Rename];
    for (op, errno) in ops.into_iter().flat_map(|op| [(op, Errno::NOSPC), (op, Errno::IO)]) {
        for skip in 0..5 {
            let mut faulty = Faulty::new(|_| {});
            let log = faulty.bench.log();
            // What nobody wants is given up on a full disk.
            drop(cursor(&log, "holds"));
            faulty.disk.add(Fault { op, file: "", skip, times: 1, errno });
            let mut acked = append_what_is_taken(&log, 40, 4000);
            append_until_taken(&log, 40);
            acked.push(40);
            let found = faulty.recovered();
            assert!(acked.iter().all(|n| found.contains(n)), "{op:?} {errno:?} skip {skip}");
        }
    }
}

#[test]
fn rule_11_on_a_full_disk_the_oldest_goes_as_at_the_cap() {
    for errno in [Errno::NOSPC, Errno::DQUOT] {
        // Of a log that drops its oldest: what nobody delivered. Of one that rejects: what is kept of the delivered.
        for on_full in [OnFull::DropOldest, OnFull::Reject] {
            for op in [Op::Write, Op::Create] {
                let faulty = Faulty::at_rest(|o| o.log.on_full = on_full);
                let log = faulty.bench.log();
                let mut c = cursor(&log, "c");
                append(&log, 0..100, 4000);
                if on_full == OnFull::Reject {
                    drain(&mut c);
                    c.ack(0, u64::MAX, 0).unwrap();
                    c.flush().unwrap();
                }
                let oldest = faulty.bench.segments()[0].clone();
                faulty.fail(op, "", 1, errno);
                append(&log, 100..140, 4000);
                assert!(!oldest.exists(), "{errno:?} {on_full:?} {op:?}");
                assert!(log.trouble().is_none());
                let found = numbers(&drain(&mut c));
                let first = if on_full == OnFull::Reject { 100 } else { found[0] };
                assert_eq!(found, (first..140).collect::<Vec<_>>());
                assert!(first > 0 && first <= 100, "{first}");
            }
        }
    }
}

/// Its header has room and its frames do not: what a policy gives up is for the frames.
#[test]
fn rule_11_what_follows_a_failed_sync_takes_the_room_that_the_oldest_had() {
    let mut faulty = Faulty::at_rest(|o| o.log.on_full = OnFull::DropOldest);
    let log = faulty.bench.log();
    drop(cursor(&log, "holds"));
    append(&log, 0..100, 4000);
    let oldest = faulty.bench.segments()[0].clone();
    faulty.fail(Op::Sync, "seg-", 1, Errno::IO);
    faulty.disk.add(Fault { op: Op::Write, file: "spare-", skip: 1, times: 1, errno: Errno::NOSPC });
    append(&log, 100..101, 100);
    assert!(!oldest.exists());
    assert!(log.trouble().is_none());
    let found = faulty.recovered();
    let first = found[0];
    assert!(first > 0 && first <= 100, "{first}");
    assert_eq!(found, (first..101).collect::<Vec<_>>());
}

#[test]
fn rule_11_on_a_full_disk_a_log_that_rejects_gives_up_nothing_that_is_wanted() {
    let faulty = Faulty::new(|_| {});
    let log = faulty.bench.log();
    let mut c = cursor(&log, "c");
    append(&log, 0..100, 4000);
    let files = faulty.bench.segments();
    faulty.fail(Op::Write, "seg-", 1, Errno::NOSPC);
    assert!(try_append(&log, 100).unwrap_err().is_full());
    assert_eq!(faulty.bench.segments(), files);
    append_until_taken(&log, 101);
    assert_eq!(numbers(&drain(&mut c)), (0..100).chain([101]).collect::<Vec<_>>());
}

#[test]
fn rule_17_a_letter_that_no_file_can_be_had_for_is_not_parked() {
    let faulty = Faulty::new(|_| {});
    let log = faulty.bench.log();
    let sequence = append(&log, 0..1, 100)[0];
    let mut c = cursor(&log, "c");
    drain(&mut c);
    for op in [Op::Create, Op::Open] {
        faulty.fail(op, "spare-", usize::MAX, Errno::IO);
    }
    let payload = payload(0, 100);
    let letter = DeadLetter { sequence, first_item: 0, items: 1, content: 1, payload, reason: "no".to_owned() };
    assert!(c.park(letter.clone()).unwrap_err().is_full());
    faulty.disk.heal();
    let until = Instant::now() + Duration::from_secs(20);
    while let Err(error) = c.park(letter.clone()) {
        assert!(Instant::now() < until, "{error}");
        std::thread::park_timeout(error.retry_after().expect("full says when to try again"));
    }
}

#[test]
fn rule_15_a_cursor_is_opened_and_moves_on_a_disk_that_is_full() {
    let mut faulty = Faulty::new(|_| {});
    let log = faulty.bench.log();
    append(&log, 0..10, 100);
    let mut c = cursor(&log, "c");
    drain(&mut c);
    c.ack(0, 4, 0).unwrap();
    c.flush().unwrap();
    drop((c, log));
    for (from, to) in [(4, 6), (6, 9)] {
        drop(faulty.bench.spool.take());
        faulty.fail(Op::Create, "", usize::MAX, Errno::NOSPC);
        let log = faulty.open();
        let mut c = cursor(&log, "c");
        assert_eq!(numbers(&drain(&mut c)), (from..10).collect::<Vec<_>>());
        c.ack(0, to, 0).unwrap();
        c.flush().unwrap();
        let error = log.cursor("another", Start::Oldest, Need::Required).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::NOSPC.raw_os_error()), "a new one takes room: {error}");
    }
    drop(faulty.bench.spool.take());
    faulty.disk.heal();
    let log = faulty.open();
    assert_eq!(numbers(&drain(&mut cursor(&log, "c"))), [9]);
}
