//! Rule 23: a release reads what the release before wrote. `tests/golden/` has a data directory of each version of the
//! format, as that version wrote it.
//!
//! A new version of the format adds a directory: `TIDEGATE_GOLDEN=DIRECTORY cargo test --test golden` makes it, without
//! its `lock`.

#![allow(clippy::unwrap_used, reason = "a test ends where its own preparation fails")]

use std::path::{Path, PathBuf};

use bytes::Bytes;
use tidegate::spool::{Cursor, DeadLetter, Frame, From, Log, LogOptions, Need, Options, Reader, Spool, Start};

const LOG: &str = "logs/gateway";
/// Frames of the run that stopped cleanly, and of the one that was killed.
const FRAMES: [u64; 2] = [40, 20];

fn options() -> Options {
    let log = LogOptions { segment_size: Some(64 << 10), ..LogOptions::default() };
    Options { max_size: Some(64 << 20), min_free_percent: 0, log, ..Options::default() }
}

/// A frame's content tag, items and payload, by its number.
fn frame(number: u64) -> (u8, u32, Bytes) {
    let length = (number * number * 37 % 5000) as usize;
    let text = format!("frame {number} ");
    let payload: Bytes = text.bytes().cycle().take(length.max(text.len())).collect();
    (1 + (number % 3) as u8, 1 + (number % 7) as u32, payload)
}

fn append(log: &Log, numbers: std::ops::Range<u64>) -> Vec<u64> {
    let one = |number| {
        let (content, items, payload) = frame(number);
        log.append(content, payload, items).unwrap().wait().unwrap().sequence
    };
    numbers.map(one).collect()
}

fn cursor(log: &Log, name: &str) -> Cursor {
    log.cursor(name, Start::Oldest, Need::Required).unwrap()
}

fn read(cursor: &mut Cursor) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(batch) = cursor.next_batch(1 << 20).unwrap() {
        frames.extend(batch.frames);
    }
    frames
}

/// Which frames these are; each must be whole.
fn numbers(frames: &[Frame]) -> Vec<u64> {
    let number = |found: &Frame| {
        let text = std::str::from_utf8(&found.payload).unwrap();
        let number = text.split(' ').nth(1).unwrap().parse().unwrap();
        assert_eq!((found.content, found.items, found.payload.clone()), frame(number));
        number
    };
    frames.iter().map(number).collect()
}

/// What the directory of each version tells.
fn story(dir: &Path) {
    let spool = Spool::open(dir, options()).unwrap();
    let log = spool.log(LOG).unwrap();
    let sequences = append(&log, 0..FRAMES[0]);
    let mut done = cursor(&log, "done");
    read(&mut done);
    done.ack(sequences[0], sequences[29], 0).unwrap();
    let mut holes = cursor(&log, "logs/holes");
    read(&mut holes);
    let letter = DeadLetter {
        sequence: sequences[3],
        first_item: 1,
        items: 2,
        content: 9,
        payload: Bytes::from_static(b"a refused record"),
        reason: "400 Bad Request: a field is no date".to_owned(),
    };
    holes.park(letter).unwrap();
    holes.ack(sequences[0], sequences[9], 2).unwrap();
    holes.ack(sequences[20], sequences[24], 0).unwrap();
    drop((done, holes));
    spool.close().unwrap();
    drop((spool, log));
    // The second run ends as a kill ends it.
    let spool = Spool::open(dir, options()).unwrap();
    append(&spool.log(LOG).unwrap(), FRAMES[0]..FRAMES[0] + FRAMES[1]);
}

#[test]
fn rule_23_each_version_is_read_and_gone_on_with() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut versions: Vec<PathBuf> = golden.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    versions.sort();
    assert!(versions.iter().any(|path| path.ends_with("v1")), "{versions:?}");
    for version in versions {
        is_read(&version);
        is_gone_on_with(&version);
    }
}

#[test]
fn rule_23_the_version_of_today_is_read_alike() {
    let dir = tempfile::tempdir().unwrap();
    story(dir.path());
    is_read(dir.path());
    is_gone_on_with(dir.path());
    if let Some(kept) = std::env::var_os("TIDEGATE_GOLDEN") {
        copy(dir.path(), Path::new(&kept));
    }
}

/// By a reader, which writes nothing.
fn is_read(dir: &Path) {
    let reader = Reader::open(dir).unwrap();
    assert_eq!(
        (reader.logs().unwrap(), reader.dead_letter_logs().unwrap()),
        (vec![LOG.to_owned()], vec![LOG.to_owned()])
    );
    let mut log = reader.read(LOG, From::Oldest).unwrap();
    let frames: Vec<Frame> = std::iter::from_fn(|| log.next().unwrap()).collect();
    assert_eq!(numbers(&frames), (0..FRAMES[0] + FRAMES[1]).collect::<Vec<_>>());
    assert_ne!(frames[39].epoch, frames[40].epoch);
    let inspection = reader.inspect().unwrap();
    let items = |numbers: std::ops::Range<u64>| numbers.map(|number| u64::from(frame(number).1)).sum::<u64>();
    let all = items(0..60);
    let log = &inspection.logs[0];
    assert_eq!((log.items, log.accepted_items), (all, all));
    let counted: Vec<_> =
        log.cursors.iter().map(|c| (&*c.name, c.delivered_items, c.parked_items, c.pending.items)).collect();
    let (first, second) = (items(0..30), items(0..10) + items(20..25));
    assert_eq!(counted, [("done", first, 0, all - first), ("logs/holes", second - 2, 2, all - second)]);
    let verification = reader.verify(&mut |_, _| {}).unwrap();
    assert!(verification.logs.iter().all(|log| log.damage.is_empty() && log.ledger_closes), "{verification:?}");
}

/// By an owner: cursors, dead letters, and more frames.
fn is_gone_on_with(golden: &Path) {
    let dir = tempfile::tempdir().unwrap();
    copy(golden, dir.path());
    let spool = Spool::open(dir.path(), options()).unwrap();
    let log = spool.log(LOG).unwrap();
    append(&log, 60..65);
    let mut done = cursor(&log, "done");
    assert_eq!(numbers(&read(&mut done)), (30..65).collect::<Vec<_>>());
    let mut holes = cursor(&log, "logs/holes");
    assert_eq!(numbers(&read(&mut holes)), (10..20).chain(25..65).collect::<Vec<_>>());
    let parked = cursor(&log.dead_letters().unwrap(), "parked").next_batch(1 << 20).unwrap().unwrap();
    let (_, letter) = DeadLetter::from_frame(&parked.frames[0]).unwrap();
    assert_eq!((letter.first_item, letter.items, letter.content), (1, 2, 9));
    assert_eq!(
        (&letter.payload[..], &*letter.reason),
        (&b"a refused record"[..], "400 Bad Request: a field is no date")
    );
    drop((done, holes));
    spool.close().unwrap();
}

#[allow(clippy::disallowed_methods, reason = "what is committed stays as it is")]
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in from.read_dir().unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
