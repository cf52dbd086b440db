//! Walks the frames of one segment's file, over damage.
//!
//! Frames are copied into a buffer of our own before they are checked: the file may be recycled or written beside
//! us. A bad stretch is a hole only if an intact frame follows it; zeros, too, are no end.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::Error;
use super::format::frame::{FrameHeader, HEADER_LEN};
use super::format::scan::{self, Step};
use super::format::{ALIGN, Fault, Seed};
use super::fs::DiskFile;
use super::segment::Segment;

/// How much is read at once, unless a frame needs more.
pub(crate) const CHUNK: usize = 1 << 20;

/// How far the disk is asked to read ahead, and in steps of how much.
pub(crate) const READ_AHEAD: u64 = 8 << 20;
const READ_AHEAD_STEP: u64 = 2 << 20;

/// What the walk meets.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    /// An intact frame, a mark included.
    Frame(FoundFrame),
    /// Bytes between intact frames that are none.
    Hole(Hole),
}

/// An intact frame and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct FoundFrame {
    pub(crate) header: FrameHeader,
    pub(crate) offset: u64,
    pub(crate) payload: Bytes,
}

/// Bytes that are no frames and should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hole {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) fault: Fault,
}

/// A walk over a segment, from one frame's offset up to `end`.
#[derive(Debug)]
pub(crate) struct Walk {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    seed: Seed,
    at: u64,
    end: u64,
    /// Frames at or above it are not data.
    below: u64,
    /// A frame must come after it: what an overwritten, longer write left behind does not.
    after: u64,
    bad: Option<(u64, Fault)>,
    buffer: Bytes,
    buffer_at: u64,
    chunk: usize,
    /// Up to where the disk was asked to read ahead.
    asked: u64,
}

impl Walk {
    pub(crate) fn new(file: Arc<dyn DiskFile>, segment: &Segment, at: u64, end: u64, below: u64) -> Self {
        Self {
            file,
            path: segment.path.clone(),
            seed: segment.seed(),
            at,
            end,
            below,
            after: segment.header.first_sequence.saturating_sub(1),
            bad: None,
            buffer: Bytes::new(),
            buffer_at: at,
            chunk: CHUNK,
            asked: at,
        }
    }

    pub(crate) fn file(&self) -> &dyn DiskFile {
        &*self.file
    }

    /// Where the next frame is looked for.
    pub(crate) fn offset(&self) -> u64 {
        self.at
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Lets the walk go on to a new end; nothing beyond the old one was read yet.
    pub(crate) fn set_end(&mut self, end: u64) {
        self.end = end;
    }

    /// How much to read at once.
    pub(crate) fn set_chunk(&mut self, bytes: usize) {
        self.chunk = bytes.clamp(64 << 10, 8 << 20);
    }

    /// Where bytes begin that no intact frame followed up to the end, if there are any.
    pub(crate) fn take_rest(&mut self) -> Option<Hole> {
        let (offset, fault) = self.bad.take()?;
        Some(Hole { offset, bytes: self.end.saturating_sub(offset), fault })
    }

    /// The next frame or hole; `None` at the end, and then [`Walk::take_rest`] says what was left.
    pub(crate) fn next(&mut self) -> Result<Option<Found>, Error> {
        while self.at < self.end {
            match scan::step(self.have(), self.seed, self.at, self.end) {
                Step::More(n) => {
                    if !self.fill(n)? {
                        // The file is shorter than its end: what is missing is bad.
                        self.skip(Fault::Short, self.end - self.at);
                    }
                }
                Step::Frame(header) if self.is_data(&header) => {
                    if let Some((offset, fault)) = self.bad.take() {
                        return Ok(Some(Found::Hole(Hole { offset, bytes: self.at - offset, fault })));
                    }
                    return Ok(Some(Found::Frame(self.take(header))));
                }
                // Of an older, longer write at this place, or rewritten elsewhere after a failed sync.
                Step::Frame(header) => self.skip(Fault::Magic, header.frame_len()),
                Step::BadBody(header, fault) => {
                    let whole = header.frame_len().min(self.end - self.at);
                    self.skip(fault, if self.is_data(&header) { whole } else { ALIGN });
                }
                Step::Nothing(fault) => {
                    self.skip(fault, ALIGN);
                    self.resync()?;
                }
            }
        }
        Ok(None)
    }

    fn is_data(&self, header: &FrameHeader) -> bool {
        // A mark repeats the sequence before it.
        let rises = header.sequence > self.after || (!header.is_data() && header.sequence == self.after);
        rises && header.sequence < self.below
    }

    fn take(&mut self, header: FrameHeader) -> FoundFrame {
        let start = (self.at - self.buffer_at) as usize + HEADER_LEN as usize;
        let payload = self.buffer.slice(start..start + header.length as usize);
        let frame = FoundFrame { header, offset: self.at, payload };
        self.after = header.sequence;
        self.at += header.frame_len();
        frame
    }

    fn skip(&mut self, fault: Fault, bytes: u64) {
        self.bad.get_or_insert((self.at, fault));
        self.at = self.at.saturating_add(bytes).min(self.end);
    }

    /// Moves to the next place where a header stands, or to the end.
    fn resync(&mut self) -> Result<(), Error> {
        while self.at < self.end {
            if self.have().len() < HEADER_LEN as usize && !self.fill(HEADER_LEN)? {
                self.at = self.end;
                return Ok(());
            }
            // The search looks after its start; the start itself counts too.
            if FrameHeader::decode(self.have(), self.seed, self.at).is_ok() {
                return Ok(());
            }
            if let Some(ahead) = scan::resync(self.have(), self.seed, self.at) {
                self.at += ahead;
                return Ok(());
            }
            self.at = (self.at + scan::settled(self.have().len() as u64).max(ALIGN)).min(self.end);
        }
        Ok(())
    }

    /// The disk works on what comes next while we check what is there.
    fn read_ahead(&mut self, next: u64) {
        let until = (next + READ_AHEAD).min(self.end);
        let from = self.asked.max(next);
        // What was asked for already is only looked for in vain.
        if until >= from + READ_AHEAD_STEP || until == self.end && until > from {
            self.file.prefetch(from, until - from);
            self.asked = until;
        }
    }

    /// The buffered bytes from here on.
    fn have(&self) -> &[u8] {
        let start = self.at.saturating_sub(self.buffer_at) as usize;
        self.buffer.get(start..).unwrap_or_default()
    }

    /// Reads on from here so that `need` bytes are buffered; false when the file does not have them.
    fn fill(&mut self, need: u64) -> Result<bool, Error> {
        let want = (need.max(self.chunk as u64)).min(self.end - self.at) as usize;
        // The frames of the last piece are mostly gone: then its memory is used again, and no page is faulted in.
        let last = std::mem::take(&mut self.buffer);
        let mut bytes = if last.is_unique() { Vec::from(last) } else { Vec::new() };
        if bytes.capacity() > 2 * want {
            // One large frame must not make all that follow hold as much.
            bytes = Vec::new();
        }
        bytes.clear();
        self.file.read(&mut bytes, self.at, want).map_err(|e| Error::io("read", &self.path, e))?;
        if self.chunk >= CHUNK {
            self.read_ahead(self.at + want as u64);
        }
        self.buffer = bytes.into();
        self.buffer_at = self.at;
        Ok(self.buffer.len() as u64 >= need)
    }
}
