//! What is sent at once: frames of one signal, or a part of one frame.

use bytes::Bytes;
use tokio::time::Instant;

use super::slice::{Held, Slice};
use crate::exporters::Request;
use crate::otlp::{self, Signal};
use crate::spool::{DeadLetter, Frame};

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
    pub(super) fn new(signal: Signal, frames: Vec<Frame>, held: &Held) -> Self {
        Self {
            signal,
            slices: frames.into_iter().map(|frame| Slice::whole(frame, held)).collect(),
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
        let payloads: Vec<Bytes> = self.slices.iter().map(Slice::payload).collect();
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

    /// Holds no more of its frame than it is, if it is one record.
    pub(super) fn let_go(&mut self, held: &Held) {
        self.slices.iter_mut().for_each(|slice| slice.let_go(held));
    }

    /// Copies for the dead letters, one per slice.
    pub(super) fn letters(&self, reason: &str) -> Vec<DeadLetter> {
        self.slices.iter().map(|slice| slice.letter(self.signal, reason)).collect()
    }
}
