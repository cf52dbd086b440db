//! Append, read, ack, reopen.

use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use super::*;
use crate::spool::{Ack, Durability};

#[test]
fn what_is_acked_is_read_in_order_across_segments() {
    let bench = Bench::new();
    let log = bench.log();
    let sequences = append(&log, 0..300, 1000);
    assert!(sequences.windows(2).all(|w| w[1] == w[0] + 1));
    assert!(bench.segments().len() > 3, "300 kB in segments of 64 KiB");
    let mut cursor = cursor(&log, "c");
    let frames = drain(&mut cursor);
    assert_eq!(numbers(&frames), (0..300).collect::<Vec<_>>());
    assert_eq!(frames.iter().map(|f| f.sequence).collect::<Vec<_>>(), sequences);
    assert_eq!(cursor.pending().items, 300, "read is not acked");
    cursor.ack(sequences[0], sequences[299], 0).unwrap();
    assert_eq!((cursor.pending().items, cursor.pending().bytes), (0, 0));
}

#[test]
fn a_clean_stop_leaves_no_gap_and_a_crash_jumps() {
    let mut bench = Bench::new();
    let log = bench.log();
    let first = append(&log, 0..10, 100);
    let log = bench.reopen();
    assert!(log.opening().clean);
    let second = append(&log, 10..20, 100);
    assert_eq!(second[0], first[9] + 1);
    let log = bench.crash();
    assert!(!log.opening().clean);
    assert_eq!(log.opening().recovered_frames, 10);
    let third = append(&log, 20..30, 100);
    assert!(third[0] > second[9] + 1000, "{} then {}", second[9], third[0]);
    let mut cursor = cursor(&log, "c");
    assert_eq!(numbers(&drain(&mut cursor)), (0..30).collect::<Vec<_>>());
}

#[test]
fn a_new_log_begins_at_one_even_after_a_crash_that_gave_nothing() {
    let mut bench = Bench::new();
    bench.log();
    let log = bench.crash();
    assert_eq!(append(&log, 0..1, 100), [1]);
}

#[test]
fn a_cursor_goes_on_where_it_was_durably() {
    let mut bench = Bench::new();
    let log = bench.log();
    let sequences = append(&log, 0..100, 1000);
    let mut c = cursor(&log, "c");
    assert_eq!(drain(&mut c).len(), 100);
    c.ack(sequences[0], sequences[39], 0).unwrap();
    c.ack(sequences[50], sequences[59], 0).unwrap();
    c.flush().unwrap();
    drop(c);
    let log = bench.crash();
    let mut c = cursor(&log, "c");
    let left: Vec<u64> = (40..50).chain(60..100).collect();
    assert_eq!(c.pending().items, 50);
    assert_eq!(numbers(&drain(&mut c)), left);
    c.rewind();
    assert_eq!(numbers(&drain(&mut c)), left, "again after a rewind");
    c.ack(sequences[40], sequences[99], 3).unwrap();
    c.flush().unwrap();
    let seen = bench.spool.as_ref().unwrap().inspect().unwrap();
    let seen = &seen.logs[0].cursors[0];
    assert_eq!((seen.delivered_items, seen.parked_items, seen.pending.items), (97, 3, 0));
    assert!(bench.reader().verify(&mut |_, _| {}).unwrap().logs[0].ledger_closes);
}

#[test]
fn a_reader_beside_the_writer_sees_the_last_frame_soon() {
    let bench = Bench::new();
    let log = bench.log();
    append(&log, 0..5, 100);
    let reader = bench.reader();
    let mut follow = reader.read("log", From::Oldest).unwrap();
    let until = Instant::now() + Duration::from_secs(5);
    let mut seen = Vec::new();
    let mut next = 5;
    while next < 10 {
        assert!(Instant::now() < until, "saw {seen:?}");
        while let Some(frame) = follow.next().unwrap() {
            seen.push(number(&frame.payload));
        }
        if seen.len() as u64 == next {
            append(&log, next..next + 1, 100);
            next += 1;
        }
    }
    let inspection = reader.inspect().unwrap();
    assert!(inspection.owner.unwrap().alive);
    assert_eq!(inspection.logs[0].segments[0].state, "open");
}

#[test]
fn who_waits_for_ever_is_woken_by_the_first_frame() {
    let bench = Bench::with(|o| (o.log.durability, o.log.sync_interval) = (Durability::Interval, Duration::MAX));
    let log = bench.log();
    let mut c = cursor(&log, "c");
    let waiting = std::thread::spawn(move || (c.wait_readable(Duration::MAX), numbers(&drain(&mut c))));
    // Never synced by the timer, only by its size.
    append(&log, 0..1, 10 << 20);
    assert_eq!(waiting.join().unwrap(), (true, vec![0]));
}

#[test]
fn callers_who_block_and_callers_who_do_not_are_all_answered_also_when_the_log_closes() {
    let mut bench = Bench::new();
    let log = bench.log();
    let _keeps_all = cursor(&log, "c");
    let until_closed = |number: u64| {
        let mut sequences = Vec::new();
        loop {
            let answer = match number % 3 {
                0 => log.append(1, payload(number, 100), 1).and_then(Ack::wait),
                _ => log.append_wait(1, payload(number, 100), 1),
            };
            match answer {
                Ok(appended) => sequences.push(appended.sequence),
                Err(error) => {
                    assert!(error.is_closed(), "{error}");
                    return sequences;
                }
            }
        }
    };
    let mut acked: Vec<u64> = std::thread::scope(|scope| {
        let until_closed = &until_closed;
        let callers: Vec<_> = (0..16).map(|number| scope.spawn(move || until_closed(number))).collect();
        let until = Instant::now() + Duration::from_secs(60);
        while log.durable_sequence() < 2_000 {
            assert!(Instant::now() < until);
            std::thread::yield_now();
        }
        bench.spool.take().unwrap().close().unwrap();
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    acked.sort_unstable();
    assert_eq!(acked, (1..=acked.len() as u64).collect::<Vec<_>>());
    assert_eq!(read_all(&bench.reader(), From::Oldest).len(), acked.len());
}

#[test]
fn a_reader_starts_where_it_is_told() {
    let mut bench = Bench::new();
    let log = bench.log();
    let sequences = append(&log, 0..200, 1000);
    bench.spool.take().unwrap().close().unwrap();
    let reader = bench.reader();
    let first = |from| read_all(&reader, from).first().map(|f| number(&f.payload));
    assert_eq!(first(From::Oldest), Some(0));
    assert_eq!(first(From::Sequence(sequences[77])), Some(77));
    assert_eq!(first(From::LastItems(5)), Some(195));
    assert_eq!(first(From::LastItems(1_000)), Some(0));
    assert_eq!(first(From::End), None);
    let time = read_all(&reader, From::Sequence(sequences[120]))[0].time_unix_nanos;
    assert_eq!(first(From::TimeUnixNanos(time)), Some(120));
    assert_eq!(first(From::TimeUnixNanos(u64::MAX)), None);
}

#[test]
fn every_durability_delivers_and_recovers_after_a_kill() {
    for durability in [Durability::Sync, Durability::Interval, Durability::Os] {
        let mut bench = Bench::with(|o| o.log.durability = durability);
        let log = bench.log();
        append(&log, 0..50, 5000);
        let mut c = cursor(&log, "c");
        let until = Instant::now() + Duration::from_secs(5);
        let mut seen = Vec::new();
        while seen.len() < 50 && Instant::now() < until {
            assert!(c.wait_readable(Duration::from_secs(5)));
            seen.extend(numbers(&drain(&mut c)));
        }
        assert_eq!(seen, (0..50).collect::<Vec<_>>(), "{durability:?}");
        drop(c);
        let log = bench.crash();
        assert_eq!(numbers(&drain(&mut cursor(&log, "d"))), (0..50).collect::<Vec<_>>(), "{durability:?}");
    }
}

#[test]
fn an_append_can_be_awaited_and_waited_for() {
    let bench = Bench::new();
    let log = bench.log();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut c = cursor(&log, "c");
    runtime.block_on(async {
        let readable = c.readable();
        log.append(1, payload(1, 10), 1).unwrap().await.unwrap();
        readable.await;
    });
    assert_eq!(numbers(&drain(&mut c)), [1]);
    assert!(!c.wait_readable(Duration::ZERO));
}

#[test]
fn a_closed_log_refuses_appends_and_still_reads() {
    let bench = Bench::new();
    let log = bench.log();
    append(&log, 0..3, 10);
    let mut c = cursor(&log, "c");
    bench.spool.as_ref().unwrap().close().unwrap();
    assert!(log.append(1, payload(9, 10), 1).unwrap_err().is_closed());
    assert_eq!(drain(&mut c).len(), 3);
    assert!(bench.spool.as_ref().unwrap().log("other").unwrap_err().is_closed());
}

#[test]
fn frames_of_every_size_up_to_the_limit_come_back() {
    let bench = Bench::with(|o| o.log.max_frame = 1 << 20);
    let log = bench.log();
    let sizes = [0, 1, 7, 8, 9, 1024, 1025, 4096, 65_536, 200_000, 1 << 20];
    for size in sizes {
        let bytes = Bytes::from(vec![7; size]);
        log.append(9, bytes, size as u32).unwrap().wait().unwrap();
    }
    let too_large = log.append(9, Bytes::from(vec![7; (1 << 20) + 1]), 1).unwrap_err();
    assert!(too_large.is_too_large(), "{too_large}");
    let mut c = cursor(&log, "c");
    let frames = drain(&mut c);
    assert_eq!(frames.iter().map(|f| f.payload.len()).collect::<Vec<_>>(), sizes);
    assert!(frames.iter().all(|f| f.content == 9 && f.items as usize == f.payload.len()));
}

#[test]
fn a_batch_has_so_many_bytes_at_most_but_one_frame_at_least() {
    let bench = Bench::new();
    let log = bench.log();
    append(&log, 0..7, 100);
    let mut c = cursor(&log, "c");
    let mut lengths = Vec::new();
    for most in [1, 100, 199, 200, 1 << 20] {
        lengths.push(c.next_batch(most).unwrap().unwrap().frames.len());
    }
    assert_eq!((lengths, c.next_batch(100).unwrap().is_none()), (vec![1, 1, 1, 2, 2], true));
}

/// A slot has room for 4,000 intervals of what is acked: with so many, only what lies before the first may be read.
#[test]
fn a_reader_that_waits_for_room_among_the_acks_is_woken_by_one() {
    let bench = Bench::with(|o| o.log.durability = Durability::Os);
    let log = bench.log();
    let mut c = cursor(&log, "c");
    let acks: Vec<Ack> = (0..8_001).map(|n| log.append(1, payload(n, 16), 1).unwrap()).collect();
    for ack in acks {
        ack.wait().unwrap();
    }
    assert_eq!(drain(&mut c).len(), 8_001);
    (2..8_001).step_by(2).for_each(|sequence| c.ack(sequence, sequence, 0).unwrap());
    append(&log, 8_001..8_002, 16);
    let woken = Arc::new(Woken::default());
    let (mut readable, waker) = (pin!(c.readable()), Waker::from(woken.clone()));
    let mut cx = Context::from_waker(&waker);
    assert!(readable.as_mut().poll(&mut cx).is_pending());
    c.ack(1, 5, 0).unwrap();
    assert!(woken.0.load(Ordering::Relaxed));
    assert!(readable.as_mut().poll(&mut cx).is_ready());
    assert_eq!(numbers(&drain(&mut c)), [8_001]);
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}
