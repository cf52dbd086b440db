//! Where the items of a request stand, and requests cut between them.
//!
//! A request is a tree of containers (resource, scope, and for metrics the metric and its kind) with the items as
//! leaves. Cutting keeps whole items and repeats what surrounds them, so each part is a valid request of its own;
//! only lengths are written anew. Containers left without an item are left out.

use std::ops::Range;

use bytes::Bytes;

use super::Signal;
use super::wire::{Fault, Field, Malformed, Reader, Wire, put_delimited};

/// The field numbers that lead from a request down to its items, one bit each; the last level's are the items.
type Path = &'static [u32];

const fn path(signal: Signal) -> Path {
    match signal {
        Signal::Logs | Signal::Traces => &[1 << 1, 1 << 2, 1 << 2],
        Signal::Metrics => &[1 << 1, 1 << 2, 1 << 2, 1 << 5 | 1 << 7 | 1 << 9 | 1 << 10 | 1 << 11, 1 << 1],
    }
}

/// The longest [`path`].
const LEVELS: usize = 5;

/// Whether `field` leads on at this level of the path.
fn leads(level: u32, field: &Field) -> Result<bool, Malformed> {
    let on_path = field.number < 32 && level & 1 << field.number != 0;
    if on_path && field.wire != Wire::Length {
        return Err(Malformed { offset: field.whole.start, fault: Fault::WrongWireType });
    }
    Ok(on_path)
}

/// Walks over the items of a message that stands at the top of `path`; gives where each ends.
struct Items<'a> {
    path: Path,
    /// One reader per level that was entered; never more than [`LEVELS`].
    open: Vec<Reader<'a>>,
}

impl<'a> Items<'a> {
    fn new(path: Path, message: Reader<'a>) -> Self {
        let mut open = Vec::with_capacity(LEVELS);
        open.push(message);
        Self { path, open }
    }

    fn next_item(&mut self) -> Result<Option<Range<usize>>, Malformed> {
        while let Some(message) = self.open.last_mut() {
            let Some(field) = message.field()? else {
                self.open.pop();
                continue;
            };
            let inner = message.inside(&field.value);
            let depth = self.open.len();
            if !leads(self.path[depth - 1], &field)? {
                continue;
            }
            if depth == self.path.len() {
                return Ok(Some(field.value));
            }
            self.open.push(inner);
        }
        Ok(None)
    }
}

/// Counts the items below a message.
fn count_in(path: Path, message: Reader<'_>) -> Result<u32, Malformed> {
    let mut items = Items::new(path, message);
    let mut count = 0u32;
    while items.next_item()?.is_some() {
        count = count.saturating_add(1);
    }
    Ok(count)
}

/// The number of log records, spans or data points in a request. Looks only as deep as the items.
///
/// # Errors
/// [`Malformed`] where the structure down to the items is broken.
pub fn count(signal: Signal, payload: &[u8]) -> Result<u32, Malformed> {
    count_in(path(signal), Reader::new(payload))
}

/// One request that holds the items of all: protobuf messages of one type concatenate. A single request is not copied.
#[must_use]
pub fn concat<'a>(requests: impl IntoIterator<Item = &'a Bytes>) -> Bytes {
    let requests: Vec<&Bytes> = requests.into_iter().collect();
    match requests.as_slice() {
        [one] => (*one).clone(),
        many => {
            let mut all = Vec::with_capacity(many.iter().map(|request| request.len()).sum());
            many.iter().for_each(|request| all.extend_from_slice(request));
            all.into()
        }
    }
}

/// A request with only the items in `range`, counted from 0 in the order of the payload. Resource and scope of each
/// are kept, and so is every unknown field.
///
/// # Errors
/// [`Malformed`] where the structure down to the items is broken.
pub fn extract(signal: Signal, payload: &[u8], range: Range<u32>) -> Result<Bytes, Malformed> {
    let mut out = Vec::with_capacity(payload.len());
    Extract { range, passed: 0 }.message(path(signal), Reader::new(payload), &mut out)?;
    out.shrink_to_fit();
    Ok(out.into())
}

/// An extraction under way.
struct Extract {
    range: Range<u32>,
    /// Items passed so far, kept or not.
    passed: u32,
}

impl Extract {
    /// Writes the kept part of one message. Recurses once per level of the path, at most five times.
    fn message(&mut self, path: Path, mut message: Reader<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let Some((&level, below)) = path.split_first() else { return Ok(()) };
        while let Some(field) = message.field()? {
            if !leads(level, &field)? {
                out.extend_from_slice(message.slice(&field.whole));
                continue;
            }
            let inner = message.inside(&field.value);
            let items = if below.is_empty() { 1 } else { count_in(below, inner.clone())? };
            let (first, last) = (self.passed, self.passed.saturating_add(items));
            if items == 0 || last <= self.range.start || first >= self.range.end {
                self.passed = last;
            } else if first >= self.range.start && last <= self.range.end {
                self.passed = last;
                out.extend_from_slice(message.slice(&field.whole));
            } else {
                // It straddles an edge of the range, as at most two containers of a level do.
                let mut part = Vec::with_capacity(field.value.len());
                self.message(below, inner, &mut part)?;
                put_delimited(out, field.number, &part);
            }
        }
        Ok(())
    }
}

/// Where to cut `range` of a request's items in two, as near to the middle of their bytes as whole items allow: the
/// first item of the second part. `None` when there are fewer than two items in the range.
///
/// # Errors
/// [`Malformed`] where the structure down to the items is broken.
pub fn middle(signal: Signal, payload: &[u8], range: Range<u32>) -> Result<Option<u32>, Malformed> {
    let mut items = Items::new(path(signal), Reader::new(payload));
    let mut ends = Vec::new();
    let mut start = 0;
    for i in 0..range.end {
        let Some(item) = items.next_item()? else { break };
        if i == range.start {
            start = item.start;
        }
        if i >= range.start {
            ends.push(item.end);
        }
    }
    let Some(last) = ends.len().checked_sub(1).filter(|last| *last > 0) else { return Ok(None) };
    let half = start + (ends[last] - start) / 2;
    let left = ends.partition_point(|end| *end <= half).clamp(1, last);
    Ok(Some(range.start + left as u32))
}
