//! A small log on a disk in memory, and what is found in it after damage.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::memory::MemoryDisk;
use crate::spool::clock::now;
use crate::spool::cursor::{Store, Stored};
use crate::spool::env::Env;
use crate::spool::format::cursor::Slot;
use crate::spool::format::segment::{DATA_AT, FOOTER_LEN};
use crate::spool::format::{frame, name_crc};
use crate::spool::worker::Runner;
use crate::spool::{Error, Frame, From, LogOptions, LogVerification, Need, Options, Reader, Spool, Start, recovery};

const SPOOL: &str = "/spool";
/// Payloads of different sizes, so that frames end at every place of a block.
const SIZES: [usize; 7] = [0, 1, 40, 333, 1000, 2500, 5000];
/// The size of the segment under test.
pub(super) const SEGMENT: usize = 64 << 10;

/// What the segment under test is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// In the middle of a log, with a footer.
    Sealed,
    /// The newest after a crash.
    Unsealed,
    /// As sealed, in a file that held other frames before and has some of them still, behind its own.
    Recycled,
}

/// A log and what is in it.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) disk: MemoryDisk,
    pub(super) kind: Kind,
    /// The segment that is damaged.
    pub(super) segment: PathBuf,
    /// Frames of the whole log.
    pub(super) frames: Vec<Frame>,
    /// Offset and end of each frame of the segment, marks included; whether it is a mark.
    pub(super) places: Vec<(u64, u64, bool)>,
}

/// What is found in a damaged log.
#[derive(Debug)]
pub(super) struct Found {
    /// How many frames are missing.
    pub(super) lost: usize,
    pub(super) verification: LogVerification,
    /// What an owner would be told when it opens the log.
    pub(super) cuts: usize,
}

fn options() -> Options {
    Options {
        log: LogOptions { segment_size: Some(SEGMENT as u64), retain_size: 100 << 10, ..LogOptions::default() },
        max_size: Some(16 << 20),
        min_free_percent: 0,
        ..Options::default()
    }
}

pub(super) fn open(disk: &MemoryDisk) -> Result<Spool, Error> {
    Spool::open_on(on(disk), Path::new(SPOOL), options())
}

pub(super) fn reader(disk: &MemoryDisk) -> Result<Reader, Error> {
    Reader::open_on(on(disk), Path::new(SPOOL))
}

fn on(disk: &MemoryDisk) -> Env {
    // Nothing is recycled but when the test says so.
    Env { disk: Arc::new(disk.clone()), runner: Runner::Hand, ..Env::real() }
}

pub(super) fn log_path(name: &str) -> PathBuf {
    Path::new(SPOOL).join("logs/log").join(name)
}

pub(super) fn read(reader: &Reader) -> Result<Vec<Frame>, Error> {
    let (mut log, mut frames) = (reader.read("log", From::Oldest)?, Vec::new());
    while let Some(frame) = log.next()? {
        frames.push(frame);
    }
    Ok(frames)
}

fn append(spool: &Spool, count: usize) {
    let log = spool.log("log").unwrap();
    for n in 0..count {
        let payload = Bytes::from(vec![n as u8 | 1; SIZES[n % SIZES.len()]]);
        log.append_wait(1, payload, n as u32 % 3 + 1).unwrap();
    }
}

impl Subject {
    /// A log with a small segment before the one under test, and, where that is sealed, one after it.
    pub(super) fn new(kind: Kind) -> Self {
        let disk = MemoryDisk::default();
        let whole = 40;
        let mut spool = open(&disk).unwrap();
        if kind == Kind::Recycled {
            // A file of the whole size; without a spare it would grow as far as its frames reach.
            spool.log("log").unwrap().0.fill_spare(SEGMENT as u64, &|| true).unwrap();
            append(&spool, 300);
        } else {
            append(&spool, 2);
        }
        spool.close().unwrap();
        spool = open(&disk).unwrap();
        if kind == Kind::Recycled {
            // What the first run left is beyond `retain_size`: its files are spares then.
            let log = spool.log("log").unwrap();
            log.0.retain(false, now()).unwrap();
            assert!(!log.0.spares.is_empty(), "nothing was recycled");
        }
        append(&spool, whole);
        let mut cursor = spool.log("log").unwrap().cursor("c", Start::Oldest, Need::Required).unwrap();
        let batch = cursor.next_batch(5000).unwrap().unwrap().frames;
        cursor.ack(batch[0].sequence, batch[0].sequence, 0).unwrap();
        cursor.flush().unwrap();
        cursor.ack(batch[batch.len() - 1].sequence, batch[batch.len() - 1].sequence, 0).unwrap();
        cursor.flush().unwrap();
        drop(cursor);
        if kind == Kind::Unsealed {
            drop(spool);
        } else {
            spool.close().unwrap();
            spool = open(&disk).unwrap();
            append(&spool, 2);
            spool.close().unwrap();
        }
        Self::of(disk, kind)
    }

    fn of(disk: MemoryDisk, kind: Kind) -> Self {
        let frames = read(&reader(&disk).unwrap()).unwrap();
        let mut segments: Vec<PathBuf> =
            disk.files().into_iter().filter(|p| p.file_name().unwrap().to_str().unwrap().starts_with("seg-")).collect();
        segments.sort();
        let from_end = if kind == Kind::Unsealed { 1 } else { 2 };
        let segment = segments[segments.len() - from_end].clone();
        let mut subject = Self { disk, kind, segment, frames, places: Vec::new() };
        subject.places = subject.find_places();
        let bytes = subject.disk.get(&subject.segment);
        let data_end = subject.places.last().map_or(DATA_AT, |(_, end, _)| *end) as usize;
        let has_old = bytes[data_end..].windows(4).any(|window| window == frame::MAGIC);
        assert_eq!((has_old, bytes.len() == SEGMENT), (kind == Kind::Recycled, kind == Kind::Recycled));
        subject
    }

    fn find_places(&self) -> Vec<(u64, u64, bool)> {
        let reader = reader(&self.disk).unwrap();
        let files = crate::spool::files::Files::open(&reader, "log", false).unwrap();
        let id = u64::from_str_radix(&self.segment.file_name().unwrap().to_str().unwrap()[4..], 16).unwrap();
        let segment = files.table().get(reader.env(), id).unwrap().unwrap();
        let file = segment.open(reader.env()).unwrap();
        let mut walk = crate::spool::walk::Walk::new(file, &segment, DATA_AT, segment.size(), u64::MAX);
        let mut places = Vec::new();
        while let Some(found) = walk.next().unwrap() {
            let crate::spool::walk::Found::Frame(frame) = found else { panic!("{found:?}") };
            let end = frame.offset + frame.header.frame_len();
            places.push((frame.offset, end, !frame.header.is_data()));
        }
        places
    }

    /// Whether a byte of the segment belongs to nothing.
    pub(super) fn is_unused(&self, byte: u64) -> bool {
        let size = self.disk.get(&self.segment).len() as u64;
        let in_footer = self.kind != Kind::Unsealed && byte >= size - FOOTER_LEN;
        let data_end = self.places.last().map_or(DATA_AT, |(_, end, _)| *end);
        (128..4096).contains(&byte) || (4096 + 128..DATA_AT).contains(&byte) || (byte >= data_end && !in_footer)
    }

    pub(super) fn is_in_frames(&self, byte: u64) -> bool {
        self.places.iter().any(|(from, end, _)| (*from..*end).contains(&byte))
    }

    pub(super) fn is_in_mark(&self, byte: u64) -> bool {
        self.places.iter().any(|(from, end, is_mark)| *is_mark && (*from..*end).contains(&byte))
    }

    /// Reads everything; panics when something is there that was not, or is not as it was.
    pub(super) fn look(&self) -> Result<Found, Error> {
        let reader = reader(&self.disk)?;
        let found = read(&reader)?;
        let mut expected = self.frames.iter();
        for frame in &found {
            // In order, each at most once, every byte as it was appended.
            assert!(expected.any(|e| is_same(e, frame)), "false accept: {frame:?}");
        }
        let verification = reader.verify(&mut |_, _| {})?.logs.remove(0);
        let env = Env { epoch: 1, ..reader.env().clone() };
        let recovered = recovery::recover(&env, &log_path(""), name_crc("log"))?;
        let last = self.frames.last().map_or(0, |frame| frame.sequence);
        assert!(recovered.opening.next_sequence > last, "a sequence would be given twice");
        Ok(Found { lost: self.frames.len() - found.len(), verification, cuts: recovered.opening.cuts.len() })
    }

    /// The cursor's slot, as an owner would find it.
    pub(super) fn slot(&self) -> Option<Slot> {
        let reader = reader(&self.disk).unwrap();
        match Store::read(reader.env(), &log_path("cursors/c")).unwrap() {
            Stored::Slot(slot) => Some(*slot),
            Stored::Lost | Stored::Absent => None,
        }
    }
}

pub(super) fn is_same(a: &Frame, b: &Frame) -> bool {
    let plain = |f: &Frame| (f.sequence, f.epoch, f.time_unix_nanos, f.items, f.content);
    plain(a) == plain(b) && a.payload == b.payload
}
