//! The segment that is being written.

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Bytes;

use super::super::format::Seed;
use super::super::format::frame::{self, FrameHeader};
use super::super::format::segment::{DATA_AT, FOOTER_LEN, Footer};
use super::super::fs::DiskFile;
use super::super::segment::Segment;
use super::super::syncs::Syncs;
use super::begin::Made;

/// Payloads up to this size are copied beside their headers: one buffer fewer costs more than the copy saves above.
const COPY_UP_TO: usize = 1024;
/// What the cache holds in one piece. Writing a part of one that is not in the cache reads it from the disk first.
const PAGE: u64 = 4096;
/// How much of what refused writes left is overwritten in one piece.
const CLEAR_AT_ONCE: u64 = 64 << 10;
/// What must fit after the last frame: a mark and the footer.
pub(crate) const RESERVE: u64 = frame::frame_len(0) + FOOTER_LEN;

/// The segment that is being written.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) segment: Arc<Segment>,
    file: Arc<dyn DiskFile>,
    seed: Seed,
    syncs: Arc<Syncs>,
    /// Where the next frame goes.
    pub(crate) end: u64,
    pub(crate) count: u64,
    pub(crate) first_time: u64,
    pub(crate) last_time: u64,
    /// So many bytes of frames that were refused may stand beyond the end. A mark in front of them would make data of
    /// those that it does not cover; frames have higher sequences than they.
    pub(super) litter: u64,
    /// Whether they are of a group before the one that is written.
    is_litter_old: bool,
    /// The file that it is while it has no name of its own.
    pub(super) made: Option<Made>,
}

/// A frame with its place in the log.
#[derive(Debug, Clone)]
pub(crate) struct Numbered {
    pub(crate) header: FrameHeader,
    pub(crate) payload: Bytes,
}

/// Headers, small payloads and trailers of one write, reused from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    bytes: Vec<u8>,
    /// Up to where `bytes` go before each payload that is written from its own buffer.
    cuts: Vec<usize>,
}

impl Open {
    pub(crate) fn new(segment: Arc<Segment>, file: Arc<dyn DiskFile>, syncs: Arc<Syncs>) -> Self {
        let seed = segment.seed();
        Self {
            segment,
            file,
            seed,
            syncs,
            end: DATA_AT,
            count: 0,
            first_time: 0,
            last_time: 0,
            litter: 0,
            is_litter_old: false,
            made: None,
        }
    }

    /// Bytes of frames that still fit, in a segment of this size.
    pub(crate) fn room(&self, segment_size: u64) -> u64 {
        self.segment.size().max(segment_size).saturating_sub(self.end + RESERVE)
    }

    /// Of them, those that fit now, when the file may grow by so much.
    pub(crate) fn room_now(&self, segment_size: u64, growth: u64) -> u64 {
        self.room(segment_size).min(self.segment.size().saturating_add(growth).saturating_sub(self.end + RESERVE))
    }

    /// By how much the file must be allowed to grow for so many bytes of frames, and to be sealed after them.
    pub(crate) fn growth(&self, frames: u64) -> u64 {
        (self.end + frames + RESERVE).saturating_sub(self.segment.size())
    }

    /// Writes frames at the end. Returns by how much the file grew; after an error nothing of it counts as written.
    pub(crate) fn write(&mut self, frames: &[Numbered], arena: &mut Arena) -> io::Result<u64> {
        let length: u64 = frames.iter().map(|f| f.header.frame_len()).sum();
        arena.fill(frames, self.seed, self.end);
        arena.pad(self.padding(self.end + length));
        if let Err(e) = self.file.write(&mut arena.slices(frames), self.end) {
            self.litter = self.litter.max(length);
            return Err(e);
        }
        let grown = (self.end + length).saturating_sub(self.segment.size());
        self.end += length;
        // A part of a group that was refused whole: what is left of the others stands behind it.
        self.litter = self.litter.saturating_sub(length);
        self.segment.set_size(self.segment.size().max(self.end));
        let data = || frames.iter().filter(|f| f.header.is_data()).map(|f| f.header);
        if let (0, Some(first)) = (self.count, data().next()) {
            self.first_time = first.time;
        }
        self.count += data().count() as u64;
        self.last_time = data().next_back().map_or(self.last_time, |last| last.time);
        Ok(grown)
    }

    /// Nothing in it is durable yet.
    pub(super) fn is_unnamed(&self) -> bool {
        self.made.is_some()
    }

    /// What a refused write left here is of another group than what is written next.
    pub(super) fn begin_group(&mut self) {
        self.is_litter_old = self.litter > 0;
    }

    /// Whether what was refused may come back in the place of what is written next. Not before the first sync, which
    /// covers all that a segment begins with.
    pub(super) fn is_littered(&self) -> bool {
        self.is_litter_old && self.litter > 0 && !self.is_unnamed()
    }

    /// After a refused write. Returns by how much what is left of it makes the file longer.
    pub(super) fn grown_by_litter(&self) -> u64 {
        let known = self.segment.size();
        let size = self.file.size().unwrap_or(known).max(known);
        self.segment.set_size(size);
        size - known
    }

    /// Puts zeros in the place of what refused writes left, from its end on: an opening would find what stands behind
    /// zeros, and take them for a loss. Until that is synced, it may come back with a power cut.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        let zeros = vec![0; CLEAR_AT_ONCE as usize];
        let litter_end = self.file.size()?.min(self.end + self.litter);
        self.litter = litter_end.saturating_sub(self.end);
        while self.litter > 0 {
            let length = self.litter.min(CLEAR_AT_ONCE);
            self.file.write_bytes(&zeros[..length as usize], self.end + self.litter - length)?;
            self.litter -= length;
        }
        self.is_litter_old = false;
        Ok(())
    }

    /// As [`Open::clear`]; but nothing syncs it, so that it has to be cleared again.
    pub(super) fn take_back(&mut self) -> io::Result<()> {
        let litter = self.litter;
        self.clear()?;
        self.litter = litter;
        Ok(())
    }

    /// Zeros that complete the page in which a write ends, where an older segment's bytes stand: they mean nothing, and
    /// the page need not be read to keep them.
    fn padding(&self, end: u64) -> usize {
        (end.next_multiple_of(PAGE).min(self.segment.size())).saturating_sub(end) as usize
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.syncs.time(|| self.file.sync_data())
    }

    /// As [`Open::sync`], of all that is known of a new file.
    pub(super) fn sync_all(&self) -> io::Result<()> {
        self.syncs.time(|| self.file.sync_all())
    }

    /// Writes the footer at the end of the file, not yet durable. Returns by how much the file grew.
    pub(crate) fn write_footer(&mut self, footer: Footer) -> io::Result<u64> {
        let (known, size) = (self.segment.size(), self.file.size()?);
        // At the very end of the file, where an opening finds it: that of an older and longer segment in a recycled
        // one, or where a write that failed left it.
        let at = if size >= self.end + FOOTER_LEN { size - FOOTER_LEN } else { self.end };
        self.file.write_bytes(&footer.encode(self.seed, at), at)?;
        let size = size.max(at + FOOTER_LEN);
        self.segment.set_size(size);
        Ok(size.saturating_sub(known))
    }

    /// After a failed sync the cache may hold what the disk lacks: readers shall see the disk.
    pub(crate) fn forget_cache(&self) -> io::Result<()> {
        self.file.forget_cache()
    }
}

impl Arena {
    fn fill(&mut self, frames: &[Numbered], seed: Seed, mut offset: u64) {
        self.bytes.clear();
        self.cuts.clear();
        for frame in frames {
            let header = frame.header.encode(seed, offset);
            let (trailer, length) = frame::trailer(&header, &frame.payload);
            self.bytes.extend_from_slice(&header);
            if frame.payload.len() <= COPY_UP_TO {
                self.bytes.extend_from_slice(&frame.payload);
            } else {
                self.cuts.push(self.bytes.len());
            }
            self.bytes.extend_from_slice(&trailer[..length]);
            offset += frame.header.frame_len();
        }
    }

    /// Ends the write with so many zeros.
    fn pad(&mut self, zeros: usize) {
        self.bytes.resize(self.bytes.len() + zeros, 0);
    }

    fn slices<'a>(&'a self, frames: &'a [Numbered]) -> Vec<IoSlice<'a>> {
        let mut slices = Vec::with_capacity(2 * self.cuts.len() + 1);
        let mut from = 0;
        let large = frames.iter().filter(|f| f.payload.len() > COPY_UP_TO);
        for (cut, frame) in self.cuts.iter().zip(large) {
            slices.push(IoSlice::new(&self.bytes[from..*cut]));
            slices.push(IoSlice::new(&frame.payload));
            from = *cut;
        }
        slices.push(IoSlice::new(&self.bytes[from..]));
        slices
    }
}
