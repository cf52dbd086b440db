//! Where the items of a request stand.
//!
//! A request is a tree of containers (resource, scope, and for metrics the metric and its kind) with the items as
//! leaves.

use std::ops::Range;

use bytes::Bytes;

use super::Signal;
use super::wire::{Fault, Field, Malformed, Reader, Wire};

/// The field numbers that lead from a request down to its items, one bit each; the last level's are the items.
pub(super) type Path = &'static [u32];

pub(super) const fn path(signal: Signal) -> Path {
    match signal {
        Signal::Logs | Signal::Traces => &[1 << 1, 1 << 2, 1 << 2],
        Signal::Metrics => &[1 << 1, 1 << 2, 1 << 2, 1 << 5 | 1 << 7 | 1 << 9 | 1 << 10 | 1 << 11, 1 << 1],
    }
}

/// The longest [`path`].
const LEVELS: usize = 5;

/// Whether `field` leads on at this level of the path.
pub(super) fn leads(level: u32, field: &Field) -> Result<bool, Malformed> {
    let on_path = field.number < 32 && level & 1 << field.number != 0;
    if on_path && field.wire != Wire::Length {
        return Err(Malformed { offset: field.whole.start, fault: Fault::WrongWireType });
    }
    Ok(on_path)
}

/// Walks over items; gives where each stands.
pub(super) struct Items<'a> {
    pub(super) path: Path,
    /// One reader per level that was entered; never more than [`LEVELS`].
    pub(super) open: Vec<Reader<'a>>,
}

impl<'a> Items<'a> {
    pub(super) fn next_item(&mut self) -> Result<Option<Range<usize>>, Malformed> {
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

/// The number of log records, spans or data points in a request. Looks only as deep as the items.
///
/// # Errors
/// [`Malformed`] where the structure down to the items is broken.
pub fn count(signal: Signal, payload: &[u8]) -> Result<u32, Malformed> {
    let mut open = Vec::with_capacity(LEVELS);
    open.push(Reader::new(payload));
    let mut items = Items { path: path(signal), open };
    let mut count = 0u32;
    while items.next_item()?.is_some() {
        count = count.saturating_add(1);
    }
    Ok(count)
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
