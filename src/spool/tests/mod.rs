//! The log as a whole, on a real file system. One file per group of rules.

mod basics;
mod by_hand;
mod commands;
mod damage;
mod dead_letters;
mod failed_sync;
mod fault_disk;
mod faults;
mod faulty;
mod flips;
mod full_disk;
mod group;
mod kill;
mod ledger;
mod limit;
mod seek;
mod shares;
mod sim;
mod space;
mod spares;
mod story;
mod verify;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tempfile::TempDir;

use super::env::Env;
use super::{Cursor, Frame, From, Log, LogOptions, Need, Options, Reader, Spool, Start};

/// A directory, a spool in it, and a log of small segments.
pub(crate) struct Bench {
    pub(crate) dir: TempDir,
    pub(crate) options: Options,
    pub(crate) spool: Option<Spool>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options {
            log: LogOptions { segment_size: Some(64 << 10), ..LogOptions::default() },
            max_size: Some(64 << 20),
            min_free_percent: 0,
            ..Options::default()
        };
        change(&mut options);
        let dir = tempfile::tempdir().unwrap();
        let spool = Some(Spool::open(dir.path(), options.clone()).unwrap());
        Self { dir, options, spool }
    }

    pub(crate) fn log(&self) -> Log {
        self.spool.as_ref().unwrap().log("log").unwrap()
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn log_dir(&self) -> PathBuf {
        self.dir.path().join("logs/log")
    }

    /// Closes cleanly and opens again.
    pub(crate) fn reopen(&mut self) -> Log {
        self.spool.take().unwrap().close().unwrap();
        self.open()
    }

    /// Ends without closing, as a crash does, and opens again.
    pub(crate) fn crash(&mut self) -> Log {
        drop(self.spool.take());
        self.open()
    }

    pub(crate) fn open(&mut self) -> Log {
        self.spool = Some(Spool::open(self.dir.path(), self.options.clone()).unwrap());
        self.log()
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader::open(self.dir.path()).unwrap()
    }

    /// Ends without closing, if it is open, and opens on another machine.
    pub(crate) fn open_on(&mut self, env: Env) -> Spool {
        drop(self.spool.take());
        Spool::open_on(env, self.path(), self.options.clone()).unwrap()
    }

    /// Segment files, oldest first.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = self.log_dir().read_dir().unwrap().map(|e| e.unwrap().path()).collect();
        files.retain(|p| p.file_name().unwrap().to_string_lossy().starts_with("seg-"));
        files.sort();
        files
    }
}

/// Waits for what a worker does by itself.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Does parts of one work on all processors: what each of them came to. A part that panics ends the test.
pub(crate) fn on_all_processors<T: Send>(work: impl Fn(usize, usize) -> T + Sync) -> Vec<T> {
    let parts = std::thread::available_parallelism().map_or(1, usize::from);
    let work = &work;
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..parts).map(|part| scope.spawn(move || work(part, parts))).collect();
        let ended = |part: std::thread::ScopedJoinHandle<'_, T>| part.join();
        parts.into_iter().map(ended).map(|part| part.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

/// A payload that says which it is, of about this many bytes.
pub(crate) fn payload(number: u64, bytes: usize) -> Bytes {
    let fill = vec![(number as u8) | 1; bytes.saturating_sub(16)];
    [format!("{number:016}").into_bytes(), fill].concat().into()
}

/// The number in a payload, which must be whole.
pub(crate) fn number(found: &Bytes) -> u64 {
    let number = std::str::from_utf8(&found[..16]).unwrap().parse().unwrap();
    assert_eq!(found, &payload(number, found.len()), "payload {number} is not what was appended");
    number
}

/// Appends payloads and waits for each; answers their sequences.
pub(crate) fn append(log: &Log, numbers: impl IntoIterator<Item = u64>, bytes: usize) -> Vec<u64> {
    let one = |n| log.append(1, payload(n, bytes), 1).unwrap().wait().unwrap().sequence;
    numbers.into_iter().map(one).collect()
}

/// As `append`, in one go: no quiet moment lies between two of them, and so no mark.
pub(crate) fn append_together(log: &Log, numbers: impl IntoIterator<Item = u64>, bytes: usize) -> Vec<u64> {
    let acks: Vec<_> = numbers.into_iter().map(|n| log.append(1, payload(n, bytes), 1).unwrap()).collect();
    acks.into_iter().map(|ack| ack.wait().unwrap().sequence).collect()
}

pub(crate) fn cursor(log: &Log, name: &str) -> Cursor {
    log.cursor(name, Start::Oldest, Need::Required).unwrap()
}

/// All that a cursor can read now.
pub(crate) fn drain(cursor: &mut Cursor) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(batch) = cursor.next_batch(1 << 20).unwrap() {
        frames.extend(batch.frames);
    }
    frames
}

pub(crate) fn numbers(frames: &[Frame]) -> Vec<u64> {
    frames.iter().map(|f| number(&f.payload)).collect()
}

/// All that a reader of files sees.
pub(crate) fn read_all(reader: &Reader, from: From) -> Vec<Frame> {
    let mut log = reader.read("log", from).unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = log.next().unwrap() {
        frames.push(frame);
    }
    frames
}

/// Appends until the log is full or `most` went in; answers how many went in.
pub(crate) fn fill(log: &Log, most: u64) -> u64 {
    (0..most).find(|n| log.append(1, payload(*n, 1000), 1).and_then(|a| a.wait()).is_err()).unwrap_or(most)
}

pub(crate) fn bytes_on_disk(path: &Path) -> u64 {
    let entries = path.read_dir().unwrap().map(|e| e.unwrap());
    let size = |e: std::fs::DirEntry| {
        let found = e.metadata().unwrap();
        if found.is_dir() { bytes_on_disk(&e.path()) } else { found.len() }
    };
    entries.map(size).sum()
}

/// A log of 1 MiB.
pub(crate) fn small(o: &mut Options) {
    o.max_size = Some(4 << 20);
    o.log.max_size = Some(1 << 20);
}

/// A cursor that passed twenty frames, in several segments.
pub(crate) fn passed_20(log: &Log) -> Cursor {
    let mut c = cursor(log, "c");
    for n in 0..20 {
        log.append_wait(1, payload(n, 6000), 1).unwrap();
    }
    drain(&mut c);
    c.ack(0, u64::MAX, 0).unwrap();
    c.flush().unwrap();
    c
}
