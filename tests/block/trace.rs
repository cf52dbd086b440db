//! What the device saw, in the order in which it saw it: the tape of one recording.
//!
//! The server writes it, event by event, to a file in memory; the test reads it when the recording is over. An event is
//! a tag, an offset (8 bytes), a length (4 bytes) and so many bytes.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// One thing that happened at the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// Bytes came, to be durable at the next flush.
    Write { offset: u64, bytes: &'a [u8] },
    /// Everything before is durable.
    Flush,
    /// The workload says what it was promised so far. Lines of text.
    Mark(&'a str),
    /// A write or a flush was answered with an error and had no effect.
    Refused,
}

/// The writing end.
#[derive(Debug)]
pub(crate) struct Tape(File);

/// The reading end.
#[derive(Debug)]
pub(crate) struct Trace {
    bytes: Vec<u8>,
    /// Where each event begins.
    at: Vec<usize>,
}

const HEADER: usize = 13;

impl Tape {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self(File::create(path)?))
    }

    pub(crate) fn add(&mut self, event: Event<'_>) -> io::Result<()> {
        let (tag, offset, bytes) = match event {
            Event::Write { offset, bytes } => (b'W', offset, bytes),
            Event::Flush => (b'F', 0, &[][..]),
            Event::Mark(text) => (b'M', 0, text.as_bytes()),
            Event::Refused => (b'R', 0, &[][..]),
        };
        let mut record = Vec::with_capacity(HEADER + bytes.len());
        record.push(tag);
        record.extend_from_slice(&offset.to_le_bytes());
        record.extend_from_slice(&u32::try_from(bytes.len()).map_err(io::Error::other)?.to_le_bytes());
        record.extend_from_slice(bytes);
        self.0.write_all(&record)
    }
}

impl Trace {
    pub(crate) fn empty() -> Self {
        Self { bytes: Vec::new(), at: Vec::new() }
    }

    pub(crate) fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let (mut at, mut next) = (Vec::new(), 0);
        while next < bytes.len() {
            at.push(next);
            next += HEADER + length(&bytes[next..]);
        }
        assert_eq!(next, bytes.len(), "the tape ends in the middle of an event");
        Self { bytes, at }
    }

    pub(crate) fn len(&self) -> usize {
        self.at.len()
    }

    pub(crate) fn event(&self, index: usize) -> Event<'_> {
        let record = &self.bytes[self.at[index]..];
        let bytes = &record[HEADER..HEADER + length(record)];
        match record[0] {
            b'W' => Event::Write { offset: u64::from_le_bytes(record[1..9].try_into().unwrap()), bytes },
            b'F' => Event::Flush,
            b'M' => Event::Mark(std::str::from_utf8(bytes).unwrap()),
            b'R' => Event::Refused,
            tag => panic!("no event has the tag {tag}"),
        }
    }

    pub(crate) fn events(&self) -> impl DoubleEndedIterator<Item = Event<'_>> {
        (0..self.len()).map(|index| self.event(index))
    }

    /// Where the workload said this, and nothing else.
    pub(crate) fn find(&self, mark: &str) -> usize {
        let found = self.events().position(|event| event == Event::Mark(mark));
        found.unwrap_or_else(|| panic!("the recording has no mark {mark}"))
    }

    /// How many writes and flushes were answered with an error.
    pub(crate) fn refused(&self) -> usize {
        self.events().filter(|event| *event == Event::Refused).count()
    }
}

fn length(record: &[u8]) -> usize {
    u32::from_le_bytes(record[9..HEADER].try_into().unwrap()) as usize
}
