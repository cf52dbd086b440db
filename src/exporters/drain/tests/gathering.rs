//! When frames make a batch: in virtual time, and once with a real log.

use std::time::Duration;

use tokio::time::Instant;

use super::super::Settings;
use super::super::gather::Gathered;
use super::numbered;
use super::with_a_log::{Backend, Lab, Running, quick, until};
use crate::otlp::Signal;
use crate::spool::{CursorOptions, Frame, Limit, LogOptions, Need, OnFull, Options, Start};

const BYTES: usize = 1 << 20;

fn frame(sequence: u64, items: u32, bytes: usize) -> Frame {
    let (epoch, time_unix_nanos) = (1, 0);
    Frame { sequence, epoch, time_unix_nanos, items, content: Signal::Logs.tag(), payload: vec![0; bytes].into() }
}

/// The sequences of the next batch.
fn take(gathered: &mut Gathered, now: Instant) -> Option<Vec<u64>> {
    gathered.take(now, BYTES).map(|(_, frames)| frames.iter().map(|frame| frame.sequence).collect())
}

#[test]
fn without_a_minimum_what_is_there_goes_at_once() {
    let (mut gathered, now) = (Gathered::new(Settings::default()), Instant::now());
    assert_eq!(take(&mut gathered, now), None);
    gathered.add(vec![frame(1, 1, 10), frame(2, 1, 10)], now);
    assert_eq!(take(&mut gathered, now), Some(vec![1, 2]));
    assert_eq!((take(&mut gathered, now), gathered.due()), (None, None));
}

#[test]
fn a_batch_waits_for_its_minimum_or_for_its_oldest_frames_time() {
    let in_items = Settings { min_batch_items: 10, ..Settings::default() };
    let in_bytes = Settings { min_batch_bytes: 1000, ..Settings::default() };
    for settings in [in_items, in_bytes] {
        let (mut gathered, start) = (Gathered::new(settings), Instant::now());
        let later = start + Duration::from_millis(100);
        gathered.add(vec![frame(1, 4, 400)], start);
        gathered.add(vec![frame(2, 4, 400)], later);
        assert_eq!(take(&mut gathered, later), None);
        gathered.add(vec![frame(3, 2, 200)], later);
        assert_eq!(take(&mut gathered, later), Some(vec![1, 2, 3]));

        gathered.add(vec![frame(4, 1, 100)], start);
        gathered.add(vec![frame(5, 1, 100)], later);
        let due = start + Duration::from_millis(200);
        assert_eq!(gathered.due(), Some(due));
        assert_eq!(take(&mut gathered, due - Duration::from_millis(1)), None);
        assert_eq!(take(&mut gathered, due), Some(vec![4, 5]));
    }
}

#[test]
fn a_batch_that_cannot_grow_does_not_wait() {
    let settings = Settings { min_batch_items: 8, max_batch_items: 9, ..Settings::default() };
    let (mut gathered, now) = (Gathered::new(settings), Instant::now());
    gathered.add(vec![frame(1, 5, 10), frame(2, 5, 10)], now);
    assert_eq!(take(&mut gathered, now), Some(vec![1]), "the second has no room beside it");
    assert_eq!(take(&mut gathered, now), None);
    let traces = Frame { content: Signal::Traces.tag(), ..frame(3, 1, 10) };
    gathered.add(vec![traces], now);
    assert_eq!(take(&mut gathered, now), Some(vec![2]), "the third is of another signal");
    assert_eq!(take(&mut gathered, now), None);
    gathered.add(vec![frame(4, 1, 2 * BYTES)], now);
    assert_eq!((take(&mut gathered, now), take(&mut gathered, now)), (Some(vec![3]), Some(vec![4])));
}

#[test]
fn room_is_what_a_batch_may_still_take_and_nothing_is_held_twice() {
    let settings = Settings { min_batch_items: 100, ..Settings::default() };
    let (mut gathered, now) = (Gathered::new(settings), Instant::now());
    gathered.add(vec![frame(1, 1, 300), frame(2, 1, 300)], now);
    assert_eq!(gathered.room(1000), 400);
    // As after a rewind.
    gathered.add(vec![frame(1, 1, 300), frame(2, 1, 300), frame(3, 1, 300)], now);
    assert_eq!((gathered.room(1000), gathered.room(100)), (100, 0));
    assert_eq!(gathered.take_now(BYTES).map(|(_, frames)| frames.len()), Some(3));
}

#[tokio::test]
async fn the_drain_waits_for_min_size_and_sends_one_request() {
    let lab = Lab::new();
    let backend = Backend::well();
    let hour = Duration::from_secs(3600);
    let settings = Settings { min_batch_items: 10, flush_timeout: hour, ..quick() };
    let drain = Running::start(&lab, &backend, settings);
    for i in 0..3 {
        lab.append(&numbered(&format!("f{i}"), 3));
    }
    lab.append(&numbered("last", 1));
    until("the batch", || !backend.records().is_empty()).await;
    let sizes: Vec<usize> = backend.taken.lock().unwrap().iter().map(Vec::len).collect();
    assert_eq!(sizes, [10]);
    drop(drain.stop().await);
}

#[tokio::test]
async fn after_flush_timeout_a_small_batch_goes_and_at_a_stop_too() {
    let lab = Lab::new();
    let backend = Backend::well();
    let timeout = Duration::from_millis(100);
    let settings = Settings { min_batch_items: 1000, flush_timeout: timeout, ..quick() };
    let drain = Running::start(&lab, &backend, settings.clone());
    let appended = Instant::now();
    lab.append(&numbered("a", 3));
    until("the batch", || backend.records().len() == 3).await;
    assert!(appended.elapsed() >= timeout, "{:?}", appended.elapsed());
    drop(drain.stop().await);

    // A drain reads once before it looks whether it is to stop.
    lab.append(&numbered("b", 2));
    let hour = Duration::from_secs(3600);
    let drain = Running::start(&lab, &backend, Settings { flush_timeout: hour, ..settings });
    let cursor = drain.stop().await;
    assert_eq!((backend.records().len(), cursor.pending().items), (5, 0));
}

#[tokio::test]
async fn a_frame_with_more_items_than_max_size_is_cut_by_records() {
    let lab = Lab::new();
    let backend = Backend::well();
    lab.append(&numbered("a", 2));
    lab.append(&numbered("b", 10));
    lab.append(&numbered("c", 2));
    let drain = Running::start(&lab, &backend, Settings { max_batch_items: 4, ..quick() });
    until("all", || backend.records().len() == 14).await;
    let sizes: Vec<usize> = backend.taken.lock().unwrap().iter().map(Vec::len).collect();
    assert_eq!(sizes, [2, 4, 4, 2, 2]);
    assert_eq!(backend.records(), [numbered("a", 2), numbered("b", 10), numbered("c", 2)].concat());
    let cursor = drain.stop().await;
    assert_eq!(cursor.pending().items, 0);
    assert_eq!(lab.account().delivered_items, 14);
}

#[tokio::test]
async fn what_a_limit_took_before_it_was_read_is_not_sent() {
    let lab = Lab::with(LogOptions { on_full: OnFull::DropOldest, ..Options::default().log });
    let options =
        CursorOptions { max_pending: Some(Limit::Items(10)), ..CursorOptions::new(Start::Oldest, Need::Required) };
    let cursor = lab.log.cursor_with("backend", options).unwrap();
    for i in 0..30 {
        lab.append(&numbered(&format!("f{i}"), 1));
    }
    until("within the limit", || lab.account().pending.items == 10).await;
    let backend = Backend::well();
    let drain = Running::with(cursor, &backend, quick());
    until("all that is left", || lab.account().pending.items == 0).await;
    drop(drain.stop().await);
    assert_eq!(lab.account().delivered_items, 10);
    assert_eq!(backend.records(), (20..30).flat_map(|i| numbered(&format!("f{i}"), 1)).collect::<Vec<_>>());
}
