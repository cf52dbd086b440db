//! What is sent at once: frames of one signal, or a part of one frame.

use std::ops::Range;

use bytes::Bytes;
use tokio::time::Instant;

use crate::exporters::Request;
use crate::otlp::{self, Signal};
use crate::spool::{DeadLetter, Frame};

/// A frame, or some of its items.
#[derive(Debug, Clone)]
pub(super) struct Slice {
    pub(super) sequence: u64,
    /// The whole frame's bytes, shared by all its slices.
    frame: Bytes,
    frame_items: u32,
    /// Which of its items; a frame's own count where it is whole.
    pub(super) items: Range<u32>,
    /// Whether it is less than its frame.
    is_part: bool,
}

impl Slice {
    fn whole(frame: Frame) -> Self {
        Self {
            sequence: frame.sequence,
            frame: frame.payload,
            frame_items: frame.items,
            items: 0..frame.items,
            is_part: false,
        }
    }

    fn count(&self) -> u32 {
        self.items.end - self.items.start
    }

    /// Its bytes, by estimate for a part.
    fn bytes(&self) -> usize {
        if !self.is_part {
            return self.frame.len();
        }
        let share = self.frame.len() as u64 * u64::from(self.count()) / u64::from(self.frame_items.max(1));
        usize::try_from(share).unwrap_or(usize::MAX)
    }

    fn payload(&self, signal: Signal) -> Bytes {
        if !self.is_part {
            return self.frame.clone();
        }
        // Cannot fail: the cut that made the part walked the whole frame. The whole would be sent twice, not lost.
        otlp::extract(signal, &self.frame, self.items.clone()).unwrap_or_else(|_| self.frame.clone())
    }

    /// Its items and its frame's count, as the bytes have them: who appended the frame may have said otherwise.
    fn counted(&self, signal: Signal) -> Option<(Range<u32>, u32)> {
        if self.is_part {
            return Some((self.items.clone(), self.frame_items));
        }
        let items = otlp::count(signal, &self.frame).ok()?;
        Some((0..items, items))
    }

    /// Two parts with at least one item each; `None` when it cannot be cut.
    fn cut(&self, signal: Signal) -> Option<(Self, Self)> {
        let (range, frame_items) = self.counted(signal)?;
        let middle = otlp::middle(signal, &self.frame, range.clone()).ok()??;
        Some(self.parts(range, frame_items, middle))
    }

    /// The first `items` and the rest; `None` when there is no rest, or no item can be found.
    fn cut_after(&self, signal: Signal, items: u64) -> Option<(Self, Self)> {
        let (range, frame_items) = self.counted(signal)?;
        let at = range.start.checked_add(u32::try_from(items).ok()?)?;
        (range.start < at && at < range.end).then(|| self.parts(range, frame_items, at))
    }

    fn parts(&self, range: Range<u32>, frame_items: u32, at: u32) -> (Self, Self) {
        let part = |items| Self { items, frame_items, is_part: true, ..self.clone() };
        (part(range.start..at), part(at..range.end))
    }
}

/// One request to be, with what is known about it.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) signal: Signal,
    /// Never empty; more than one only where all are whole frames.
    pub(super) slices: Vec<Slice>,
    /// When its first attempt failed, alone or as part of a larger piece.
    pub(super) failed_first: Option<Instant>,
    /// How many requests the backend had accepted when it first refused this, alone or as part of a larger piece.
    pub(super) suspected_at: Option<u64>,
    /// It was refused as it is, when the backend had accepted that many requests.
    pub(super) refused_at: Option<u64>,
    /// It is one record that the backend refused while it accepted others; one more refusal parks it.
    pub(super) condemned: bool,
    /// Not to be sent before; `None`: at once.
    pub(super) not_before: Option<Instant>,
}

impl Piece {
    pub(super) fn new(signal: Signal, frames: Vec<Frame>) -> Self {
        Self {
            signal,
            slices: frames.into_iter().map(Slice::whole).collect(),
            failed_first: None,
            suspected_at: None,
            refused_at: None,
            condemned: false,
            not_before: None,
        }
    }

    pub(super) fn items(&self) -> u64 {
        self.slices.iter().map(|slice| u64::from(slice.count())).sum()
    }

    pub(super) fn bytes(&self) -> usize {
        self.slices.iter().map(Slice::bytes).sum()
    }

    pub(super) fn request(&self) -> Request {
        let payloads: Vec<Bytes> = self.slices.iter().map(|slice| slice.payload(self.signal)).collect();
        Request { signal: self.signal, payload: otlp::concat(&payloads), items: self.items() }
    }

    /// Two pieces that hold the same items and inherit the suspicion, in order; `None` for what cannot be cut: a
    /// single record, or bytes in which no records are found.
    pub(super) fn cut(&self) -> Option<(Self, Self)> {
        let (left, right) = match self.slices.as_slice() {
            [one] => {
                let (left, right) = one.cut(self.signal)?;
                (vec![left], vec![right])
            }
            many => {
                let (left, right) = many.split_at(self.middle_slice());
                (left.to_vec(), right.to_vec())
            }
        };
        Some((self.part(left), self.part(right)))
    }

    /// Of one frame with more items than these: these, and the rest.
    pub(super) fn cut_after(&self, items: u64) -> Option<(Self, Self)> {
        let [one] = self.slices.as_slice() else { return None };
        let (left, right) = one.cut_after(self.signal, items)?;
        Some((self.part(vec![left]), self.part(vec![right])))
    }

    fn part(&self, slices: Vec<Slice>) -> Self {
        Self { slices, refused_at: None, not_before: None, ..self.clone() }
    }

    /// Of several slices the one at which their bytes are best cut in two; never the first.
    fn middle_slice(&self) -> usize {
        let half = self.bytes() / 2;
        let mut before = 0;
        let fits = self.slices.iter().take_while(|slice| {
            before += slice.bytes();
            before <= half
        });
        fits.count().clamp(1, self.slices.len().saturating_sub(1).max(1))
    }

    /// Copies for the dead letters, one per slice.
    pub(super) fn letters(&self, reason: &str) -> Vec<DeadLetter> {
        let letter = |slice: &Slice| DeadLetter {
            sequence: slice.sequence,
            first_item: slice.items.start,
            items: slice.count(),
            content: self.signal.tag(),
            payload: slice.payload(self.signal),
            reason: reason.to_owned(),
        };
        self.slices.iter().map(letter).collect()
    }
}
