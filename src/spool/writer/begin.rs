//! The next segment: from a file under a temporary name to one that is whole under its own.
//!
//! The header and the first frames become durable with one sync. Only then does the file get its name, so that what
//! stands under a segment's name is a whole segment, whatever crashes; and only after the name is durable is any of
//! the frames acknowledged or shown to readers. A file that fails on the way is no segment, and is given up.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::env::{Env, lock};
use super::super::format::Totals;
use super::super::format::segment::{DATA_AT, SegmentHeader};
use super::super::fs::{Access, DiskFile, is_no_space};
use super::super::names;
use super::super::reclaim::Purpose;
use super::super::segment::Segment;
use super::super::spare::Spare;
use super::super::{Durability, Error};
use super::Writer;
use super::open::{Arena, Numbered, Open};

/// What begins a segment besides its id.
pub(super) struct Beginning {
    pub(super) flags: u8,
    pub(super) first_sequence: u64,
    pub(super) after_sequence: u64,
    pub(super) totals: Totals,
}

/// A segment file that is not in place yet.
#[derive(Debug)]
pub(super) struct Made {
    /// The temporary name, and the segment's own while that may not be durable.
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    /// It was accounted for already, as a spare: what there is to know about it is durable, but for its bytes.
    is_spare: bool,
}

impl Writer {
    /// Opens the next segment, which takes so many bytes at first. It gets its name with its first frames.
    pub(super) fn begin(&mut self, need: u64) -> Result<(), Error> {
        let beginning = Beginning {
            flags: self.flags,
            first_sequence: self.first_to_come(),
            after_sequence: self.last_sequence,
            totals: self.totals,
        };
        // Even if this fails: its file may be there after a crash, under its name even. What it holds was refused then,
        // so that the next one must not begin beyond it.
        self.begun = Some(beginning.first_sequence);
        let open = self.prepare(need, &beginning).map_err(|e| self.refused(e))?;
        self.open = Some(open);
        Ok(())
    }

    /// Where the next segment begins. What a refused write left in the one before is no data of it; only what an earlier
    /// run left may be. Never before the one before: that begins beyond all that earlier runs may have given.
    pub(super) fn first_to_come(&self) -> u64 {
        self.begun.map_or(self.next_sequence, |first| first.max(self.last_sequence + 1))
    }

    /// Makes what was written into a new segment durable, and gives it its name. False when it has one already.
    pub(super) fn name(&mut self) -> Result<bool, Error> {
        let Some(open) = self.open.as_mut().filter(|open| open.is_unnamed()) else { return Ok(false) };
        if let Err(error) = put_in_place(&self.core.env, &self.core.dir, open) {
            // Its sync failed, or its name is in doubt: it is never used again.
            self.give_up();
            return Err(error);
        }
        open.made = None;
        self.flags = 0;
        self.adopt();
        Ok(true)
    }

    /// The open segment is the last that readers know.
    pub(super) fn adopt(&mut self) {
        let Some(open) = &self.open else { return };
        lock(&self.core.table).insert(open.segment.clone());
        let (segment, end) = (open.segment.id, DATA_AT);
        self.begun = Some(open.segment.header.first_sequence);
        self.core.view.update(|front| (front.visible.segment, front.visible.end) = (segment, end));
    }

    /// Makes a segment of these frames, whole and under its name.
    pub(super) fn make(&mut self, need: u64, beginning: &Beginning, frames: &[Numbered]) -> Result<Open, Error> {
        self.with_room(need, |writer| {
            let mut open = writer.try_to_prepare(need, beginning)?;
            match writer.complete(&mut open, frames) {
                Ok(()) => Ok(open),
                Err(error) => {
                    writer.remove(open);
                    Err(error)
                }
            }
        })
    }

    fn complete(&self, open: &mut Open, frames: &[Numbered]) -> Result<(), Error> {
        if !frames.is_empty() {
            let written = open.write(frames, &mut Arena::default());
            self.core.account.add(written.map_err(|e| Error::io("write", &open.segment.path, e))?);
        }
        put_in_place(&self.core.env, &self.core.dir, open)?;
        open.made = None;
        Ok(())
    }

    /// A file with a segment's header, under its temporary name.
    fn prepare(&mut self, need: u64, beginning: &Beginning) -> Result<Open, Error> {
        self.with_room(need, |writer| writer.try_to_prepare(need, beginning))
    }

    /// Does it again on a full disk, when a policy gives something up: a file that becomes a spare keeps its blocks, and
    /// nobody else can take them.
    fn with_room(&mut self, need: u64, make: impl Fn(&mut Self) -> Result<Open, Error>) -> Result<Open, Error> {
        match make(self) {
            Err(e) if e.io_error().is_some_and(is_no_space) => {
                self.core.space.is_used_up();
                match self.core.make_room(need, Purpose::Segment) {
                    Ok(true) => make(self),
                    _ => Err(e),
                }
            }
            made => made,
        }
    }

    fn try_to_prepare(&mut self, need: u64, beginning: &Beginning) -> Result<Open, Error> {
        let header = self.header(self.next_id, beginning);
        // Even if this fails: its file may be there after a crash.
        self.next_id += 1;
        let (made, size) = self.temporary(need)?;
        let path = self.core.dir.join(names::segment_file(header.segment_id));
        let segment = Segment::new(path, header, size);
        let mut open = Open::new(Arc::new(segment), made.file.clone(), self.core.syncs.clone());
        let written = made.file.write_bytes(&header.encode_block(), 0);
        let failed = written.map_err(|e| Error::io("write", &made.path, e));
        open.made = Some(made);
        match failed {
            Ok(()) => Ok(open),
            Err(error) => {
                self.remove(open);
                Err(error)
            }
        }
    }

    fn header(&self, id: u64, beginning: &Beginning) -> SegmentHeader {
        SegmentHeader {
            durability: match self.core.options.durability {
                Durability::Sync => 0,
                Durability::Interval => 1,
                Durability::Os => 2,
            },
            flags: beginning.flags,
            log: self.core.crc,
            spool_id: self.core.env.spool_id,
            segment_id: id,
            epoch: self.core.env.epoch,
            first_sequence: beginning.first_sequence,
            after_sequence: beginning.after_sequence,
            synced_to: self.synced_to,
            totals: beginning.totals,
            created: self.core.env.clock.wall(),
        }
    }

    /// A recycled or prepared file, else an empty one that grows; accounted for, with its size.
    fn temporary(&self, need: u64) -> Result<(Made, u64), Error> {
        let env = &self.core.env;
        if let Some(spare) = self.core.spares.take(need) {
            match claim(env, &spare) {
                Ok(Some(file)) => return Ok((Made { path: spare.path, file, is_spare: true }, spare.size)),
                Ok(None) => self.core.account.sub(spare.size),
                // Still there and still counted; whether the disk fails as a whole, a new file shows.
                Err(_) => self.core.spares.put(spare),
            }
        }
        let path = self.core.spares.new_path(&self.core.dir);
        let file = env.open(&path, Access::Create)?;
        self.core.account.add(DATA_AT);
        Ok((Made { path, file, is_spare: false }, DATA_AT))
    }

    /// Lets go of a segment that has no name yet and was not used.
    pub(super) fn let_go(&mut self) {
        let Some(open) = self.open.take_if(|open| open.is_unnamed()) else { return };
        match &open.made {
            // Its blocks are the log's: on a full disk others could take them.
            Some(made) if made.is_spare => {
                let spare = Spare { path: made.path.clone(), size: open.segment.size() };
                self.core.spares.put(spare);
            }
            _ => self.remove(open),
        }
    }

    /// Lets go of a segment that has no name yet and failed.
    pub(super) fn give_up(&mut self) {
        if let Some(open) = self.open.take_if(|open| open.is_unnamed()) {
            self.remove(open);
        }
    }

    /// Removes what could not be made. What cannot be removed now goes on counting. If it has a segment's name it is
    /// one, without frames, and goes when it is the oldest: found by a later opening it would make what was given back
    /// meanwhile look like damage.
    fn remove(&self, open: Open) {
        let Open { segment, made: Some(made), .. } = open else { return };
        if self.core.env.remove(&made.path).is_ok() {
            self.core.account.sub(segment.size());
        } else if made.path == segment.path {
            segment.poisoned.store(true, Ordering::Relaxed);
            segment.set_end(segment.empty_end());
            lock(&self.core.table).insert(segment);
        }
    }
}

fn put_in_place(env: &Env, dir: &Path, open: &mut Open) -> Result<(), Error> {
    let Some(made) = &open.made else { return Ok(()) };
    let fail = |op, e: io::Error| Error::io(op, &open.segment.path, e);
    // Header and frames before the name: a crash must not leave a segment's name on anything less.
    let synced = if made.is_spare { open.sync() } else { open.sync_all() };
    synced.map_err(|e| fail("sync", e))?;
    let Some(made) = &mut open.made else { return Ok(()) };
    env.rename(&made.path, &open.segment.path)?;
    made.path.clone_from(&open.segment.path);
    // The name before any ack: else a crash could lose the whole file.
    env.sync_dir(dir)?;
    // From alone to shared: readers in other processes may have it open beside us.
    made.file.try_lock(false).map_err(|e| Error::io("lock", &made.path, e))?;
    Ok(())
}

/// Opens a spare for ourselves alone. A reader in another process may have opened it under its old name: then it keeps
/// it, without a name, and the answer is `None`.
fn claim(env: &Env, spare: &Spare) -> Result<Option<Arc<dyn DiskFile>>, Error> {
    let file = env.open(&spare.path, Access::Write)?;
    if file.try_lock(true).map_err(|e| Error::io("lock", &spare.path, e))? {
        return Ok(Some(file));
    }
    env.remove(&spare.path)?;
    Ok(None)
}
