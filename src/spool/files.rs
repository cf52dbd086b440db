//! A log's directory as a source of segments, beside its owner or without one.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::env::{Env, lock};
use super::format::frame::{FrameHeader, HEADER_LEN};
use super::format::{Totals, name_crc};
use super::fs::DiskFile;
use super::lock::{Holder, holder, lock_within};
use super::reader::Reader;
use super::segment::Segment;
use super::stream::{Extent, Source, Visible, unless_gone};
use super::table::Table;
use super::walk::{Found, Walk};
use super::{Error, names, recovery};

/// How often, and how far apart, a segment's lock is tried.
const LOCK_TRIES: u32 = 1000;
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// One log as its files show it.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) name: String,
    env: Env,
    spool: PathBuf,
    pub(crate) dir: PathBuf,
    table: Mutex<Table>,
    live: Mutex<Live>,
}

/// What is known of the segment that another process is writing.
#[derive(Debug, Default)]
struct Live {
    holder: Option<Holder>,
    visible: Visible,
    /// Up to where it was walked, and what came after the visible end.
    walked: u64,
    unproven: Vec<(u64, u64, Totals)>,
    /// The last frame of the walk and its offset.
    last: Option<(u64, FrameHeader)>,
}

impl Live {
    /// Nothing of this segment was walked.
    fn begin(&mut self, segment: &Segment) {
        let end = segment.empty_end();
        self.visible =
            Visible { segment: segment.id, end: end.data_end, sequence: end.last_sequence, totals: end.totals };
        self.walked = end.data_end;
        self.unproven.clear();
        self.last = None;
    }

    /// Whether what was walked is there still. What a refused write left is overwritten, by frames that may end
    /// elsewhere: beyond its end the walk would meet none of theirs.
    fn stands(&self, file: &dyn DiskFile, segment: &Segment) -> Result<bool, Error> {
        let Some((offset, header)) = self.last else { return Ok(true) };
        let mut bytes = Vec::new();
        let read = file.read(&mut bytes, offset, HEADER_LEN as usize);
        read.map_err(|e| Error::io("read", &segment.path, e))?;
        Ok(FrameHeader::decode(&bytes, segment.seed(), offset) == Ok(header))
    }
}

impl Files {
    pub(crate) fn open(reader: &Reader, name: &str, dead: bool) -> Result<Self, Error> {
        let dir = reader.dir().join(if dead { "dead" } else { "logs" }).join(names::encode(name)?);
        let is_there = reader.names_in(if dead { "dead" } else { "logs" })?.iter().any(|n| n == name);
        if !is_there {
            return Err(Error::not_found(format!("log {name} in {}", reader.dir().display())));
        }
        let key = if dead { format!("dead/{name}") } else { name.to_owned() };
        let files = Self {
            env: reader.env().clone(),
            spool: reader.dir().to_owned(),
            table: Mutex::new(Table::new(dir.clone(), name_crc(&key), [])),
            dir,
            name: key,
            live: Mutex::default(),
        };
        files.refresh()?;
        Ok(files)
    }

    /// Looks again which segments there are and who writes them.
    pub(crate) fn refresh(&self) -> Result<(), Error> {
        lock(&self.live).holder = holder(&self.env, &self.spool)?;
        let files = recovery::list(&self.env, &self.dir)?;
        lock(&self.table).refresh(&files.segments);
        Ok(())
    }

    pub(crate) fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        lock(&self.table)
    }

    /// Whether the owner is writing this segment now.
    pub(crate) fn is_live(&self, segment: &Segment) -> Result<bool, Error> {
        let holder = lock(&self.live).holder;
        let owned = holder.is_some_and(|h| h.alive && h.epoch == segment.header.epoch);
        Ok(owned && lock(&self.table).newest_id() == Some(segment.id))
    }

    /// How much of a live segment is proven durable: up to the last frame that a later one witnesses.
    pub(crate) fn look(&self, segment: &Arc<Segment>) -> Result<Visible, Error> {
        let live = &mut *lock(&self.live);
        let file = self.open(segment)?;
        if live.visible.segment != segment.id || !live.stands(&*file, segment)? {
            live.begin(segment);
        }
        let size = self.env.size(&*file, &segment.path)?;
        let mut walk = Walk::new(file, segment, live.walked, size, u64::MAX);
        let os = segment.header.durability == 2;
        while let Some(Found::Frame(frame)) = walk.next()? {
            if frame.offset != live.walked {
                // Beyond bytes that are no frame yet: older contents of the file, or a write under way.
                break;
            }
            live.walked = frame.offset + frame.header.frame_len();
            live.last = Some((frame.offset, frame.header));
            let proven = if os { u64::MAX } else { frame.header.synced_to };
            let last = frame.header.sequence;
            live.unproven.push((last, live.walked, frame.header.totals_after()));
            let upto = live.unproven.partition_point(|(sequence, ..)| *sequence <= proven);
            if let Some((sequence, end, totals)) = live.unproven.drain(..upto).next_back() {
                live.visible = Visible { segment: segment.id, end, sequence, totals };
            }
        }
        Ok(live.visible)
    }

    /// The last sequence to be seen and the totals up to it.
    pub(crate) fn end(&self) -> Result<(u64, Totals), Error> {
        loop {
            let newest = lock(&self.table).newest(&self.env)?;
            let Some(newest) = newest else {
                let before = lock(&self.table).newest_id();
                self.refresh()?;
                // All that we knew may have been reclaimed while we looked: there are newer ones by now.
                if lock(&self.table).newest_id() == before {
                    return Ok((0, Totals::default()));
                }
                continue;
            };
            match unless_gone(self, &newest, self.extent(&newest))? {
                None => {}
                Some(Extent::Live(visible)) => return Ok((visible.sequence, visible.totals)),
                Some(Extent::AtRest(end)) => return Ok((end.last_sequence, end.totals)),
            }
        }
    }

    /// First sequence of the last segment that was begun before this time. Time orders nothing: a search through
    /// segments made while the clock was wrong finds an earlier one and passes over more.
    pub(crate) fn segment_before_time(&self, time: u64) -> Result<u64, Error> {
        let all = lock(&self.table).all(&self.env)?;
        let last = all.iter().take_while(|s| s.header.created <= time).last();
        Ok(last.map_or(0, |s| s.header.first_sequence))
    }

    /// First sequence of the last segment before which all but `items` items lie, and how many those are.
    pub(crate) fn segment_before_last(&self, items: u64) -> Result<(u64, u64), Error> {
        let (_, totals) = self.end()?;
        let skip = totals.items.saturating_sub(items);
        let all = lock(&self.table).all(&self.env)?;
        let last = all.iter().take_while(|s| s.header.totals.items <= skip).last();
        Ok((last.map_or(0, |s| s.header.first_sequence), skip))
    }
}

impl Source for Files {
    fn env(&self) -> &Env {
        &self.env
    }

    fn after(&self, id: u64) -> Result<Option<Arc<Segment>>, Error> {
        if let Some(next) = lock(&self.table).after(&self.env, id)? {
            return Ok(Some(next));
        }
        self.refresh()?;
        lock(&self.table).after(&self.env, id)
    }

    fn holding(&self, sequence: u64) -> Result<Option<Arc<Segment>>, Error> {
        self.refresh()?;
        lock(&self.table).holding(&self.env, sequence)
    }

    fn extent(&self, segment: &Arc<Segment>) -> Result<Extent, Error> {
        if segment.known_end().is_none() {
            self.refresh()?;
        }
        if self.is_live(segment)? {
            return Ok(Extent::Live(self.look(segment)?));
        }
        let next = lock(&self.table).after(&self.env, segment.id)?;
        let below = next.map_or(u64::MAX, |next| next.header.first_sequence);
        Ok(Extent::AtRest(segment.end(&self.env, below)?))
    }

    /// With a shared lock, which keeps the owner from recycling the file.
    fn open(&self, segment: &Arc<Segment>) -> Result<Arc<dyn DiskFile>, Error> {
        let file = segment.open(&self.env)?;
        // Its owner has it alone only while it makes a spare of it, and what is in it then can still be read.
        let locked = lock_within(&*file, false, LOCK_TRIES, LOCK_PAUSE);
        let locked = locked.map_err(|e| Error::io("lock", &segment.path, e))?;
        // Between our look at the header and the lock it may have been recycled.
        if !locked || !(segment.header_damaged || segment.is_mine(&*file)?) {
            return Err(Error::not_found(format!("segment {}: reclaimed; it", segment.path.display())));
        }
        Ok(file)
    }

    fn gone(&self, segment: &Arc<Segment>) -> Result<bool, Error> {
        self.refresh()?;
        Ok(lock(&self.table).get(&self.env, segment.id)?.is_none())
    }

    fn witnessed(&self, epoch: u64) -> u64 {
        let slots = recovery::slots(&self.env, &self.dir).unwrap_or_default();
        let of = |stored: &super::cursor::Stored| match stored {
            super::cursor::Stored::Slot(slot) if slot.epoch == epoch => slot.synced_to,
            _ => 0,
        };
        slots.iter().map(|(_, stored)| of(stored)).max().unwrap_or(0)
    }
}
