//! One segment: its header, where its data ends, and its file.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::Error;
use super::env::{Env, lock};
use super::error::Kind;
use super::format::frame::{FrameHeader, HEADER_LEN};
use super::format::segment::{DATA_AT, FOOTER_LEN, Footer, SegmentHeader};
use super::format::{Fault, Seed, Totals};
use super::fs::{Access, DiskFile};
use super::walk::{Found, Hole, Walk};

/// A segment of a log. Whoever reads it holds the `Arc`, and while somebody holds it its file is not recycled.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) id: u64,
    pub(crate) path: PathBuf,
    pub(crate) header: SegmentHeader,
    /// One of the header's two copies is damaged.
    pub(crate) header_damaged: bool,
    /// A sync of it failed: read with care, never written or recycled again.
    pub(crate) poisoned: AtomicBool,
    size: AtomicU64,
    end: Mutex<Option<End>>,
}

/// Where the data of a segment at rest ends, and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// It has a valid footer.
    pub(crate) sealed: bool,
    /// The first byte after the last frame.
    pub(crate) data_end: u64,
    /// The last sequence in the log up to its end: in an older segment when this one has no frame.
    pub(crate) last_sequence: u64,
    /// Totals after its last frame.
    pub(crate) totals: Totals,
    /// The highest `synced_to` in it.
    pub(crate) synced_to: u64,
    /// Data frames in it.
    pub(crate) count: u64,
    /// Append time of its last frame; its creation when it has none.
    pub(crate) last_time: u64,
    /// Content tag of its last frame, when it was scanned.
    pub(crate) content: Option<u8>,
}

/// A hole and the last sequence before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FoundHole {
    pub(crate) hole: Hole,
    pub(crate) after_sequence: u64,
}

impl Segment {
    /// A segment that was just made.
    pub(crate) fn new(path: PathBuf, header: SegmentHeader, size: u64) -> Self {
        Self {
            id: header.segment_id,
            path,
            header,
            header_damaged: false,
            poisoned: AtomicBool::new(false),
            size: AtomicU64::new(size),
            end: Mutex::new(None),
        }
    }

    /// Reads the header of a segment file. `epochs` are those of its neighbours, tried when both header copies are
    /// lost: a file whose frames verify for the id in its name is data, whatever its header says.
    pub(crate) fn load(env: &Env, path: &Path, id: u64, log: u32, epochs: &[u64]) -> Result<Self, Error> {
        let file = env.open(path, Access::Read)?;
        let size = env.size(&*file, path)?;
        let mut block = Vec::new();
        file.read(&mut block, 0, DATA_AT as usize).map_err(|e| Error::io("read", path, e))?;
        let found = match SegmentHeader::decode_block(&block) {
            Err(e @ (Fault::Version(_) | Fault::Features(_))) => {
                return Err(Kind::Newer { path: path.to_owned(), what: e.to_string() }.into());
            }
            found => found,
        };
        let expected = |h: &SegmentHeader| h.segment_id == id && h.log == log && h.spool_id == env.spool_id;
        let (header, header_damaged) = match found {
            Ok((header, damaged)) if expected(&header) => (header, damaged),
            other => {
                let claimed = claimed_epoch(&*file, size);
                let epochs = epochs.iter().copied().chain(claimed).chain(other.iter().map(|(h, _)| h.epoch));
                let rebuilt = rebuild(env, &file, path, size, id, log, epochs)?;
                let path = || path.to_owned();
                let strange = || match other {
                    Ok(_) => Kind::Foreign { path: path() },
                    Err(fault) => {
                        let what = format!("both copies of the segment header: {fault}");
                        Kind::Corrupt { path: path(), offset: 0, what }
                    }
                };
                (rebuilt.ok_or_else(strange)?, true)
            }
        };
        Ok(Self { header_damaged, ..Self::new(path.to_owned(), header, size) })
    }

    pub(crate) fn seed(&self) -> Seed {
        self.header.seed()
    }

    /// Bytes of its file.
    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    pub(crate) fn set_size(&self, size: u64) {
        self.size.store(size, Ordering::Relaxed);
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Relaxed)
    }

    /// Opens its file for reading and checks that it is still this segment's: a recycled one is "reclaimed", told as
    /// not found, and no damage.
    pub(crate) fn open(&self, env: &Env) -> Result<Arc<dyn DiskFile>, Error> {
        let file = env.open(&self.path, Access::Read)?;
        if !self.header_damaged && !self.is_mine(&*file)? {
            return Err(Error::not_found(format!("segment {}: reclaimed; it", self.path.display())));
        }
        Ok(file)
    }

    /// Whether the file still has this segment's header.
    pub(crate) fn is_mine(&self, file: &dyn DiskFile) -> Result<bool, Error> {
        let mut block = Vec::new();
        file.read(&mut block, 0, DATA_AT as usize).map_err(|e| Error::io("read", &self.path, e))?;
        Ok(SegmentHeader::decode_block(&block).is_ok_and(|(header, _)| header == self.header))
    }

    /// What the writer knows when it leaves a segment.
    pub(crate) fn set_end(&self, end: End) {
        *lock(&self.end) = Some(end);
    }

    /// Where the data of this segment, at rest, ends: by its footer, else by a scan of the whole file that is done
    /// once. Frames at or above `below`, the next segment's first sequence, are not data.
    pub(crate) fn end(&self, env: &Env, below: u64) -> Result<End, Error> {
        let mut end = lock(&self.end);
        if let Some(end) = *end {
            return Ok(end);
        }
        let file = self.open(env)?;
        // The file may have grown since it was listed: its writer is another process.
        self.set_size(env.size(&*file, &self.path)?);
        let found = match self.footer(&*file)? {
            Some(found) if found.last_sequence < below => found,
            _ => self.scan(file, below, &mut Vec::new())?,
        };
        *end = Some(found);
        Ok(found)
    }

    /// As `end`, if it is known without reading.
    pub(crate) fn known_end(&self) -> Option<End> {
        *lock(&self.end)
    }

    /// Whether it was sealed, and its footer is damaged since.
    pub(crate) fn has_damaged_footer(&self, file: &dyn DiskFile) -> Result<bool, Error> {
        let Some((at, bytes)) = self.last_bytes(file)? else { return Ok(false) };
        // Of this segment, or in a recycled file of the one that had it before.
        let is_whole = Footer::claimed(&bytes).is_some_and(|(segment_id, epoch)| {
            let header = SegmentHeader { segment_id, epoch, ..self.header };
            Footer::decode(&bytes, header.seed(), at).is_ok()
        });
        Ok(!is_whole && Footer::is_damaged(&bytes, self.id, self.header.epoch))
    }

    /// What stands where a footer would, and where that is.
    fn last_bytes(&self, file: &dyn DiskFile) -> Result<Option<(u64, Vec<u8>)>, Error> {
        let Some(at) = self.size().checked_sub(FOOTER_LEN).filter(|at| *at >= DATA_AT) else { return Ok(None) };
        let mut bytes = Vec::new();
        file.read(&mut bytes, at, FOOTER_LEN as usize).map_err(|e| Error::io("read", &self.path, e))?;
        Ok(Some((at, bytes)))
    }

    /// The footer, if the segment was sealed.
    pub(crate) fn footer(&self, file: &dyn DiskFile) -> Result<Option<End>, Error> {
        let Some((at, bytes)) = self.last_bytes(file)? else { return Ok(None) };
        let footer = Footer::decode(&bytes, self.seed(), at).ok();
        Ok(footer.filter(|f| f.segment_id == self.id && f.epoch == self.header.epoch).map(|f| End {
            sealed: true,
            data_end: f.data_end,
            last_sequence: f.last_sequence,
            totals: f.totals,
            synced_to: f.synced_to,
            count: f.count,
            last_time: f.last_time.max(self.header.created),
            content: None,
        }))
    }

    fn scan(&self, file: Arc<dyn DiskFile>, below: u64, holes: &mut Vec<FoundHole>) -> Result<End, Error> {
        let mut walk = Walk::new(file.clone(), self, DATA_AT, self.size(), below);
        let mut end = self.empty_end();
        while let Some(found) = walk.next()? {
            let frame = match found {
                Found::Frame(frame) => frame,
                Found::Hole(hole) => {
                    holes.push(FoundHole { hole, after_sequence: end.last_sequence });
                    continue;
                }
            };
            end.data_end = frame.offset + frame.header.frame_len();
            end.synced_to = end.synced_to.max(frame.header.synced_to);
            end.totals = end.totals.max(frame.header.totals_after());
            if frame.header.is_data() {
                end.last_sequence = frame.header.sequence;
                end.last_time = end.last_time.max(frame.header.time);
                end.count += 1;
                end.content = Some(frame.header.content);
            }
        }
        // What follows the last frame is a torn write, an older file's bytes or zeros: only the first is told.
        if let Some(hole) = walk.take_rest().filter(|rest| rest.fault != Fault::Magic)
            && !self.is_older(&*file, hole)?
        {
            holes.push(FoundHole { hole, after_sequence: end.last_sequence });
        }
        Ok(end)
    }

    /// Whether a frame of the segment that had this file before begins where ours end.
    fn is_older(&self, file: &dyn DiskFile, rest: Hole) -> Result<bool, Error> {
        if rest.fault != Fault::HeaderChecksum {
            return Ok(false);
        }
        let mut bytes = Vec::new();
        file.read(&mut bytes, rest.offset, HEADER_LEN as usize).map_err(|e| Error::io("read", &self.path, e))?;
        Ok(FrameHeader::claimed_sequence(&bytes) < self.header.first_sequence)
    }

    /// As `end` of a segment that its run did not seal, read from the disk and not from a cache that may be ahead
    /// of it. Answers also what did not verify.
    pub(crate) fn recover(&self, env: &Env) -> Result<(End, Vec<FoundHole>), Error> {
        let file = self.open(env)?;
        // After a kill the last writes are in the cache only. A sync makes what we are about to rely on durable; if
        // it fails, what the disk has is what counts.
        let synced = file.sync_data();
        file.forget_cache().map_err(|e| Error::io("drop the cache of", &self.path, e))?;
        if synced.is_err() {
            self.poisoned.store(true, Ordering::Relaxed);
        }
        let mut holes = Vec::new();
        let end = self.scan(file, u64::MAX, &mut holes)?;
        self.set_end(end);
        Ok((end, holes))
    }

    /// The end of a segment in which nothing was written yet.
    pub(crate) fn empty_end(&self) -> End {
        End {
            sealed: false,
            data_end: DATA_AT,
            last_sequence: self.header.after_sequence,
            totals: self.header.totals,
            synced_to: 0,
            count: 0,
            last_time: self.header.created,
            content: None,
        }
    }
}

fn claimed_epoch(file: &dyn DiskFile, size: u64) -> Option<u64> {
    let mut bytes = Vec::new();
    file.read(&mut bytes, size.checked_sub(FOOTER_LEN)?, FOOTER_LEN as usize).ok()?;
    // A hint for a file whose header is lost.
    Footer::claimed(&bytes).map(|(_, epoch)| epoch)
}

/// The header that a file without one must have had, from its first frame: if a frame verifies with one of the
/// epochs.
fn rebuild(
    env: &Env,
    file: &Arc<dyn DiskFile>,
    path: &Path,
    size: u64,
    id: u64,
    log: u32,
    epochs: impl Iterator<Item = u64>,
) -> Result<Option<SegmentHeader>, Error> {
    let mut tried = Vec::new();
    for epoch in epochs {
        if tried.contains(&epoch) {
            continue;
        }
        tried.push(epoch);
        let mut header = SegmentHeader {
            durability: 0,
            flags: 0,
            log,
            spool_id: env.spool_id,
            segment_id: id,
            epoch,
            first_sequence: 1,
            after_sequence: 0,
            synced_to: 0,
            totals: Totals::default(),
            created: 0,
        };
        let probe = Segment::new(path.to_owned(), header, size);
        let mut walk = Walk::new(file.clone(), &probe, DATA_AT, size, u64::MAX);
        while let Some(found) = walk.next()? {
            if let Found::Frame(frame) = found {
                header.first_sequence = frame.header.sequence + u64::from(!frame.header.is_data());
                header.after_sequence = header.first_sequence.saturating_sub(1);
                header.totals = frame.header.totals;
                header.created = frame.header.time;
                return Ok(Some(header));
            }
        }
    }
    Ok(None)
}
