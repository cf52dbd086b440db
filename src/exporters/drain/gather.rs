//! Frames that were read, until they make a batch.
//!
//! - A batch holds frames of one signal, in the log's order, within `max_size` in bytes and in items; a first frame is
//!   taken however large it is.
//! - It is ripe when it has `min_size`, when the frame after it does not belong to it, or when its oldest frame was read
//!   `flush_timeout` ago. Without `min_size` it is ripe at once.
//! - Decides only: knows no log and no clock. What it holds is in the log, and stays there until it is acked.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::Settings;
use crate::spool::Frame;

/// Frames on their way from the log to a batch.
#[derive(Debug)]
pub(super) struct Gathered {
    settings: Settings,
    /// Each with when it was read.
    frames: VecDeque<(Instant, Frame)>,
}

/// The frames at the front that go together.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    frames: usize,
    items: u64,
    bytes: usize,
}

impl Gathered {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, frames: VecDeque::new() }
    }

    /// How many bytes to read next, for batches of at most `max_bytes`.
    pub(super) fn room(&self, max_bytes: usize) -> usize {
        let held: usize = self.frames.iter().map(|(_, frame)| frame.payload.len()).sum();
        max_bytes.saturating_sub(held)
    }

    /// Takes frames that were read. A cursor that was moved, because the log dropped what it stood at, reads again what
    /// is here already: that is left out.
    pub(super) fn add(&mut self, frames: Vec<Frame>, now: Instant) {
        let last = self.frames.back().map_or(0, |(_, frame)| frame.sequence);
        self.frames.extend(frames.into_iter().filter(|frame| frame.sequence > last).map(|frame| (now, frame)));
    }

    /// The next batch, if it is ripe: the frames' content tag and the frames.
    pub(super) fn take(&mut self, now: Instant, max_bytes: usize) -> Option<(u8, Vec<Frame>)> {
        if self.is_ripe(now, max_bytes) { self.take_now(max_bytes) } else { None }
    }

    /// The next batch, ripe or not.
    pub(super) fn take_now(&mut self, max_bytes: usize) -> Option<(u8, Vec<Frame>)> {
        let tag = self.frames.front()?.1.content;
        let run = self.run(max_bytes);
        Some((tag, self.frames.drain(..run.frames).map(|(_, frame)| frame).collect()))
    }

    pub(super) fn is_ripe(&self, now: Instant, max_bytes: usize) -> bool {
        let run = self.run(max_bytes);
        let Settings { min_batch_items, min_batch_bytes, max_batch_items, .. } = self.settings;
        let is_full = run.bytes >= max_bytes || run.items >= max_batch_items || run.frames < self.frames.len();
        let is_enough = run.items >= min_batch_items && run.bytes >= min_batch_bytes;
        run.frames > 0 && (is_full || is_enough || self.due().is_some_and(|due| due <= now))
    }

    /// When what is here is ripe whatever comes.
    pub(super) fn due(&self) -> Option<Instant> {
        self.frames.front().map(|(read, _)| *read + self.settings.flush_timeout)
    }

    fn run(&self, max_bytes: usize) -> Run {
        let mut run = Run::default();
        let tag = self.frames.front().map(|(_, frame)| frame.content);
        for (_, frame) in &self.frames {
            let items = run.items + u64::from(frame.items);
            let bytes = run.bytes + frame.payload.len();
            let fits = items <= self.settings.max_batch_items && bytes <= max_bytes;
            if Some(frame.content) != tag || (run.frames > 0 && !fits) {
                break;
            }
            run = Run { frames: run.frames + 1, items, bytes };
        }
        run
    }
}
