//! A frame under way, or some of its items.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::otlp::{self, Mark, Signal};
use crate::spool::{DeadLetter, Frame};

/// A record that was copied may be as small as this although it was a smaller part of its frame: what surrounds it was
/// copied too.
const SMALL: usize = 4 << 10;

/// How many bytes of frames are in memory for a drain.
#[derive(Debug, Clone, Default)]
pub(super) struct Held(Arc<AtomicUsize>);

impl Held {
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn hold(&self, bytes: Bytes) -> Arc<Buffer> {
        self.0.fetch_add(bytes.len(), Ordering::Relaxed);
        Arc::new(Buffer { bytes, held: self.clone() })
    }
}

/// Bytes that count as held until the last slice of them is gone, however small that is.
#[derive(Debug)]
struct Buffer {
    bytes: Bytes,
    held: Held,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.held.0.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

/// A frame, or some of its items.
#[derive(Debug, Clone)]
pub(super) struct Slice {
    pub(super) sequence: u64,
    /// Which of the frame's items; a frame's own count where it is whole.
    items: Range<u32>,
    buffer: Arc<Buffer>,
    /// Where in the buffer; `None`: all of it.
    part: Option<Part>,
}

/// Where the items of a slice begin in the whole frame.
#[derive(Debug, Clone)]
struct Part {
    mark: Mark,
    frame_items: u32,
}

impl Slice {
    pub(super) fn whole(frame: Frame, held: &Held) -> Self {
        let Frame { sequence, items, payload, .. } = frame;
        Self { sequence, items: 0..items, buffer: held.hold(payload), part: None }
    }

    pub(super) fn count(&self) -> u32 {
        self.items.end - self.items.start
    }

    /// Its bytes, by estimate for a part.
    pub(super) fn bytes(&self) -> usize {
        let Some(part) = &self.part else { return self.buffer.bytes.len() };
        let share = self.buffer.bytes.len() as u64 * u64::from(self.count()) / u64::from(part.frame_items.max(1));
        usize::try_from(share).unwrap_or(usize::MAX)
    }

    pub(super) fn payload(&self) -> Bytes {
        let whole = &self.buffer.bytes;
        let Some(part) = &self.part else { return whole.clone() };
        // Cannot fail: the cut that made the part walked its items. The whole would be sent twice, not lost.
        part.mark.clone().take(whole, self.count()).unwrap_or_else(|_| whole.clone())
    }

    /// Two parts with at least one item each; `None` when it cannot be cut.
    pub(super) fn cut(&self, signal: Signal) -> Option<(Self, Self)> {
        let (items, part) = self.part(signal)?;
        let left = part.mark.middle(&self.buffer.bytes, items.end - items.start).ok()??;
        self.parts(items, part, left)
    }

    /// The first `items` and the rest; `None` when there is no rest, or no item can be found.
    pub(super) fn cut_after(&self, signal: Signal, items: u64) -> Option<(Self, Self)> {
        let left = u32::try_from(items).ok()?;
        let (items, part) = self.part(signal)?;
        if (1..items.end - items.start).contains(&left) { self.parts(items, part, left) } else { None }
    }

    /// It as a part, with its items as the bytes have them: who appended the frame may have said otherwise.
    fn part(&self, signal: Signal) -> Option<(Range<u32>, Part)> {
        if let Some(part) = &self.part {
            return Some((self.items.clone(), part.clone()));
        }
        let (bytes, first) = (&self.buffer.bytes, self.items.start);
        let frame_items = otlp::count(signal, bytes).ok()?;
        let mark = Mark::first(signal, bytes).ok()?;
        Some((first..first.checked_add(frame_items)?, Part { mark, frame_items }))
    }

    /// The second part begins where the first ended, so that a frame is not walked again for each of its parts.
    fn parts(&self, items: Range<u32>, part: Part, left: u32) -> Option<(Self, Self)> {
        let mut mark = part.mark.clone();
        mark.pass(&self.buffer.bytes, left, usize::MAX).ok()?;
        let at = items.start + left;
        let slice = |items, part| Self { items, part: Some(part), ..self.clone() };
        Some((slice(items.start..at, part.clone()), slice(at..items.end, Part { mark, ..part })))
    }

    /// A single record that may be here for long lets go of its frame and takes a copy of itself, unless that is much
    /// larger: what many records share would be copied with each.
    pub(super) fn let_go(&mut self, held: &Held) {
        if self.part.is_none() || self.count() != 1 {
            return;
        }
        let own = self.payload();
        if own.len() <= 2 * self.bytes().max(SMALL) {
            (self.buffer, self.part) = (held.hold(own), None);
        }
    }

    /// A copy for the dead letters.
    pub(super) fn letter(&self, signal: Signal, reason: &str) -> DeadLetter {
        DeadLetter {
            sequence: self.sequence,
            first_item: self.items.start,
            items: self.count(),
            content: signal.tag(),
            payload: self.payload(),
            reason: reason.to_owned(),
        }
    }
}
