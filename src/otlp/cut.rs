//! Requests cut between their items, each part at the price of its own bytes.
//!
//! A part holds whole items and repeats what surrounds them, so it is a valid request of its own; only lengths are
//! written anew. Containers left without an item are left out. A [`Mark`] remembers where a part ended and what
//! surrounds that place, so that the next part begins there and not at the beginning: ten million items become ten
//! thousand parts in the time of one walk.

use std::ops::Range;

use bytes::Bytes;

use super::Signal;
use super::items::{Items, Path, leads, path};
use super::wire::{Malformed, Reader, put_delimited};

/// A place between two items of a request. It belongs to that request's bytes, which are given with every call.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    path: Path,
    /// The containers around it, from the request inwards. Empty at the end of the request.
    open: Vec<Container>,
}

/// A container that a mark is in.
#[derive(Debug, Clone)]
struct Container {
    /// Its field number in the one around it.
    number: u32,
    /// What of it is behind the mark.
    rest: Range<usize>,
    /// All of its fields that lead to no item; they may stand behind the items too.
    around: Bytes,
}

/// Items that a mark passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) items: u32,
    /// The length of a request with them, but for what lengths take.
    pub(crate) bytes: usize,
}

enum Step {
    /// An item: its key, length and value.
    Item(Range<usize>),
    Entered,
    Left(Container),
    End,
}

impl Mark {
    /// Before the first item.
    pub(crate) fn first(signal: Signal, payload: &[u8]) -> Result<Self, Malformed> {
        let path = path(signal);
        let mut mark = Self { path, open: Vec::with_capacity(path.len()) };
        mark.enter(0, &Reader::new(payload))?;
        Ok(mark)
    }

    /// Goes on by at most so many items, of at most so many bytes with what surrounds them; by one at least, if there
    /// is one.
    pub(crate) fn pass(&mut self, payload: &[u8], max_items: u32, max_bytes: usize) -> Result<Passed, Malformed> {
        let mut passed = Passed::default();
        let mut bytes: usize = self.open.iter().map(|container| container.around.len()).sum();
        while passed.items < max_items {
            match self.step(payload)? {
                Step::Item(whole) if passed.items > 0 && bytes + whole.len() > max_bytes => {
                    self.open.last_mut().into_iter().for_each(|container| container.rest.start = whole.start);
                    break;
                }
                Step::Item(whole) => {
                    bytes += whole.len();
                    passed = Passed { items: passed.items + 1, bytes };
                }
                Step::Entered => bytes += self.open.last().map_or(0, |container| container.around.len()),
                Step::Left(_) => {}
                Step::End => break,
            }
        }
        Ok(passed)
    }

    /// Goes on by at most so many items and gives a request with them. Resource and scope of each are kept, and so is
    /// every unknown field.
    pub(crate) fn take(&mut self, payload: &[u8], items: u32) -> Result<Bytes, Malformed> {
        // One for each open container, empty as long as it has no item.
        let mut parts = vec![Vec::new(); self.open.len()];
        let mut left = items;
        while left > 0 {
            match self.step(payload)? {
                Step::Item(whole) => {
                    left -= 1;
                    parts.last_mut().into_iter().for_each(|part| part.extend_from_slice(&payload[whole.clone()]));
                }
                Step::Entered => parts.push(Vec::new()),
                Step::Left(container) => container.close(&mut parts),
                Step::End => break,
            }
        }
        self.open.iter().rev().for_each(|container| container.close(&mut parts));
        let mut request = parts.pop().unwrap_or_default();
        request.shrink_to_fit();
        Ok(request.into())
    }

    /// How many of the next `items` are the first half of their bytes, as near as whole items allow; `None` when there
    /// are fewer than two. Walks twice, so that it need not remember where each item ends.
    pub(crate) fn middle(&self, payload: &[u8], items: u32) -> Result<Option<u32>, Malformed> {
        let mut all = self.items(payload);
        let Some(first) = all.next_item()? else { return Ok(None) };
        let (mut count, mut end) = (1, first.end);
        while count < items
            && let Some(item) = all.next_item()?
        {
            (count, end) = (count + 1, item.end);
        }
        if count < 2 {
            return Ok(None);
        }
        let half = first.start + (end - first.start) / 2;
        let (mut again, mut left) = (self.items(payload), 0);
        while left < count - 1 && again.next_item()?.is_some_and(|item| item.end <= half) {
            left += 1;
        }
        Ok(Some(left.max(1)))
    }

    /// Whether both are in the same container at this depth: 1 is of a resource, 2 of a scope.
    #[cfg(feature = "agent")]
    pub(crate) fn shares(&self, depth: usize, other: &Self) -> bool {
        // Of two containers at one depth one ends first.
        let end = |mark: &Self| mark.open.get(depth).map(|container| container.rest.end);
        end(self).is_some_and(|it| end(other) == Some(it))
    }

    /// What is behind the mark.
    fn items<'a>(&self, payload: &'a [u8]) -> Items<'a> {
        let whole = Reader::new(payload);
        Items { path: self.path, open: self.open.iter().map(|container| whole.inside(&container.rest)).collect() }
    }

    fn step(&mut self, payload: &[u8]) -> Result<Step, Malformed> {
        let depth = self.open.len();
        let Some(container) = self.open.last_mut() else { return Ok(Step::End) };
        let mut reader = Reader::new(payload).inside(&container.rest);
        while let Some(field) = reader.field()? {
            if !leads(self.path[depth - 1], &field)? {
                continue;
            }
            container.rest.start = field.whole.end;
            if depth == self.path.len() {
                return Ok(Step::Item(field.whole));
            }
            self.enter(field.number, &reader.inside(&field.value))?;
            return Ok(Step::Entered);
        }
        Ok(self.open.pop().map_or(Step::End, Step::Left))
    }

    fn enter(&mut self, number: u32, container: &Reader<'_>) -> Result<(), Malformed> {
        let (mut fields, mut around) = (container.clone(), Vec::new());
        while let Some(field) = fields.field()? {
            if !leads(self.path[self.open.len()], &field)? {
                around.extend_from_slice(container.slice(&field.whole));
            }
        }
        self.open.push(Container { number, rest: container.span(), around: around.into() });
        Ok(())
    }
}

impl Container {
    /// Ends its part, the innermost: puts what surrounded the items around them, and the whole into the part around it.
    fn close(&self, parts: &mut Vec<Vec<u8>>) {
        let Some(mut part) = parts.pop().filter(|part| !part.is_empty()) else { return };
        part.extend_from_slice(&self.around);
        match parts.last_mut() {
            Some(outer) => put_delimited(outer, self.number, &part),
            None => parts.push(part),
        }
    }
}

/// A request with only the items in `range`, counted from 0 in the order of the payload. Resource and scope of each
/// are kept, and so is every unknown field.
///
/// # Errors
/// [`Malformed`] where the structure down to the items is broken.
pub fn extract(signal: Signal, payload: &[u8], range: Range<u32>) -> Result<Bytes, Malformed> {
    let mut mark = Mark::first(signal, payload)?;
    mark.pass(payload, range.start, usize::MAX)?;
    mark.take(payload, range.end.saturating_sub(range.start))
}

/// Where to cut `range` of a request's items in two, as near to the middle of their bytes as whole items allow: the
/// first item of the second part. `None` when there are fewer than two items in the range.
///
/// # Errors
/// [`Malformed`] where the structure down to the items is broken.
pub fn middle(signal: Signal, payload: &[u8], range: Range<u32>) -> Result<Option<u32>, Malformed> {
    let mut mark = Mark::first(signal, payload)?;
    mark.pass(payload, range.start, usize::MAX)?;
    let left = mark.middle(payload, range.end.saturating_sub(range.start))?;
    Ok(left.map(|left| range.start + left))
}
