//! The records of a request, some at a time.
//!
//! Decoded, a record may take a hundred times its bytes: an attribute without name and value is two of them. So no more
//! is decoded at once than can do no harm, whatever the sender meant by it.

use super::{Begins, DecodeError, Request};
use crate::otlp::{Malformed, Mark, Signal};

/// How much is decoded at once, in bytes, with what surrounds the records: some 30 MiB at the worst.
const MAX_BYTES: usize = 256 << 10;
/// How many records are decoded at once. Fewer would decode what surrounds them more often.
const MAX_ITEMS: u32 = 4096;

/// Some of a request's records.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Decoded; their indexes are those of the whole request.
    Records(Request),
    /// One record that would take too much memory, for itself or for what surrounds it.
    TooLarge {
        /// Its bytes with what surrounds it.
        bytes: usize,
    },
}

/// All of a request's records, in its order.
#[derive(Debug)]
pub struct Parts<'a> {
    signal: Signal,
    payload: &'a [u8],
    /// Where the next part begins; `None` before the first.
    mark: Option<Mark>,
    /// Behind the last record that was decoded.
    decoded: Option<Mark>,
    passed: usize,
    is_broken: bool,
}

impl<'a> Parts<'a> {
    /// The parts of the protobuf bytes of an export request.
    #[must_use]
    pub fn new(signal: Signal, payload: &'a [u8]) -> Self {
        Self { signal, payload, mark: None, decoded: None, passed: 0, is_broken: false }
    }

    fn part(&mut self) -> Result<Option<Part>, DecodeError> {
        let signal = self.signal;
        let malformed = |error: Malformed| DecodeError { signal, reason: error.to_string() };
        let mut from = match self.mark.take() {
            Some(mark) => mark,
            None => Mark::first(signal, self.payload).map_err(malformed)?,
        };
        let mut to = from.clone();
        let passed = to.pass(self.payload, MAX_ITEMS, MAX_BYTES).map_err(malformed)?;
        self.mark = Some(to);
        let first = self.passed;
        self.passed += passed.items as usize;
        if passed.items == 0 {
            return Ok(None);
        }
        if passed.bytes > MAX_BYTES {
            return Ok(Some(Part::TooLarge { bytes: passed.bytes }));
        }
        let begins = self.begins(from.clone()).map_err(malformed)?;
        let part = from.take(self.payload, passed.items).map_err(malformed)?;
        self.decoded = Some(from);
        let decoded = Request::decode(signal, &part)?;
        Ok(Some(Part::Records(Request { first, begins, ..decoded })))
    }

    /// What begins with the next record behind `mark`.
    fn begins(&self, mut mark: Mark) -> Result<Begins, Malformed> {
        mark.pass(self.payload, 1, usize::MAX)?;
        let is_shared = |depth| self.decoded.as_ref().is_some_and(|before| mark.shares(depth, before));
        Ok(match [1, 2].map(is_shared) {
            [_, true] => Begins::Nothing,
            [true, false] => Begins::Scope,
            [false, false] => Begins::Resource,
        })
    }
}

impl Iterator for Parts<'_> {
    type Item = Result<Part, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_broken {
            return None;
        }
        let part = self.part();
        self.is_broken = part.is_err();
        part.transpose()
    }
}
