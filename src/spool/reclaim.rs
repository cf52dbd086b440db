//! Giving space back, in the order that costs users least.
//!
//! 1. Segments that every cursor passed, beyond `retain_size` or `retain_age`: always.
//! 2. Passed segments within them: when space is short.
//! 3. Segments that only cursors want that hold nothing: when space is short.
//! 4. The oldest segment, even if a required cursor wants it: past `max_age`, or with `drop_oldest` when space is
//!    short.
//!
//! At the directory's cap the log furthest above its part goes first, and only then the one that needs room. On a disk
//! that is full a log first uses a passed file of its own again.
//!
//! Only ever the oldest segment goes, and never the newest, which holds what is known about sequences, nor the open
//! one, whatever stands behind it. A cursor that is
//! still behind is first durably moved over it, the drop counted in that same write. A crash after that leaves a
//! segment that every cursor passed, which is case 1 or 2.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::clock::age;
use super::core::LogCore;
use super::cursor::CursorCore;
use super::cursor::state::Place;
use super::env::lock;
use super::format::Totals;
use super::format::cursor::Reason;
use super::segment::Segment;
use super::spare::Spare;
use super::{Error, OnFull};

/// A log that may grow by so much is not full.
const ENOUGH: u64 = 64 << 10;
/// Passed segments kept at most, whatever their size: each start after a crash leaves a small one.
const MAX_PASSED: usize = 4096;

/// The oldest segment and what follows it.
struct Oldest {
    segment: Arc<Segment>,
    next: Arc<Segment>,
    behind: Vec<Arc<CursorCore>>,
}

/// What room is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The open segment grows: other files are of use to it only when they are gone.
    Growth,
    /// The next segment, which a spare may become.
    Segment,
}

/// The sizes of a file that is worth to be a spare.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    least: u64,
    most: u64,
}

impl LogCore {
    /// Frees space until the log's files may grow by `need` bytes, or for a segment a spare of so many is there: first
    /// that of the log furthest above its part, then its own. False when no policy gives up anything more.
    pub(crate) fn make_room(&self, need: u64, purpose: Purpose) -> Result<bool, Error> {
        let wanted = (purpose == Purpose::Segment).then(|| self.wanted(need));
        let has_spare = || wanted.is_some() && self.spares.has(need);
        // Nobody is waited for while there is room.
        if self.space.room(&self.account) >= need || has_spare() {
            return Ok(true);
        }
        if let Some(wanted) = wanted.filter(|_| self.space.is_tight())
            && self.reuse_passed(wanted)?
        {
            return Ok(true);
        }
        // What others have goes without our own lock held: two logs must not wait for each other.
        while self.space.room_in_cap(&self.account) < need && !has_spare() {
            let Some(donor) = self.space.donor(&self.account, need) else { break };
            // A failure there is told there; here it is as if nothing was given.
            if !donor.give_room().unwrap_or(false) {
                break;
            }
        }
        let _reclaiming = lock(&self.reclaiming);
        loop {
            if self.space.room(&self.account) >= need || has_spare() {
                return Ok(true);
            }
            if !self.give(wanted)? {
                return Ok(false);
            }
        }
    }

    /// On a full disk, what others give back somebody else may take: a file of our own that nobody wants comes first.
    fn reuse_passed(&self, wanted: Wanted) -> Result<bool, Error> {
        let _reclaiming = lock(&self.reclaiming);
        if let Some(oldest) = self.oldest()?.filter(|oldest| oldest.behind.is_empty() && wanted.fits(&oldest.segment)) {
            self.reclaim(&oldest, Reason::Full, Some(wanted))?;
        }
        Ok(self.spares.has(wanted.least))
    }

    /// What serves for a segment whose first frames need so much: on a full disk any file with room for them.
    fn wanted(&self, need: u64) -> Wanted {
        if self.space.is_tight() {
            return Wanted { least: need, most: u64::MAX };
        }
        let Wanted { least, most } = self.usual();
        Wanted { least: least.max(need), most: most.max(need / 4 * 5) }
    }

    /// What serves for any segment, and makes none of them much smaller or larger than others.
    fn usual(&self) -> Wanted {
        Wanted { least: self.segment_size / 4 * 3, most: self.segment_size / 4 * 5 }
    }

    /// Gives room to another log. False when the policy gives up nothing more.
    fn give_room(&self) -> Result<bool, Error> {
        let _reclaiming = lock(&self.reclaiming);
        self.give(None)
    }

    /// Gives up what costs least of all that is left. False when the policy gives up nothing more.
    fn give(&self, wanted: Option<Wanted>) -> Result<bool, Error> {
        // Of no use for what is needed: too small, or the open segment grows and takes no other file. Kept, such
        // spares could fill the cap while nothing is left to reclaim.
        if let Some(unused) = self.spares.take(0) {
            self.env.remove(&unused.path).inspect_err(|_| self.spares.put(unused.clone()))?;
            self.account.sub(unused.size);
            return Ok(true);
        }
        let Some(oldest) = self.oldest()? else { return Ok(false) };
        let held = oldest.behind.iter().any(|c| c.holds_up_to(oldest.next.header.after_sequence));
        if held && self.options.on_full == OnFull::Reject {
            return Ok(false);
        }
        self.reclaim(&oldest, Reason::Full, wanted)?;
        Ok(true)
    }

    /// Takes appends again when the cap that was in their way is not any more, although nobody appends.
    pub(crate) fn recheck_cap(&self) -> Result<(), Error> {
        let Some(missed) = lock(&self.trouble).as_ref().and_then(Error::capped_need) else { return Ok(()) };
        let (need, purpose) = match self.space.is_tight() {
            // What a file of the log's own is enough for.
            true => (missed, Purpose::Segment),
            // Less would only be refused again.
            false => (missed.max(self.segment_size.min(ENOUGH)), Purpose::Growth),
        };
        if self.make_room(need, purpose)? {
            lock(&self.trouble).take_if(|error| error.capped_need().is_some());
            self.queue.admit();
        }
        Ok(())
    }

    /// Keeps the log within `retain_size`, `retain_age` and `max_age`, when it is `now` by a clock that may be believed.
    /// True when something went.
    pub(crate) fn retain(&self, may_drop_by_age: bool, now: u64) -> Result<bool, Error> {
        let _reclaiming = lock(&self.reclaiming);
        let mut passed = self.passed()?;
        let mut any = false;
        while let Some(oldest) = self.oldest()? {
            let aged = |limit: Duration| -> Result<bool, Error> {
                let end = oldest.segment.end(&self.env, oldest.next.header.first_sequence)?;
                Ok(age(end.last_time, now) > limit)
            };
            let reason = if oldest.behind.is_empty() {
                let over = passed.bytes > self.options.retain_size || passed.frames as usize > MAX_PASSED;
                if !over && !aged(self.options.retain_age)? {
                    return Ok(any);
                }
                Reason::Full
            } else if may_drop_by_age && !self.options.max_age.is_zero() && aged(self.options.max_age)? {
                Reason::MaxAge
            } else {
                return Ok(any);
            };
            passed.bytes = passed.bytes.saturating_sub(oldest.segment.size());
            passed.frames = passed.frames.saturating_sub(1);
            let wanted = (!self.spares.is_full()).then(|| self.usual());
            self.reclaim(&oldest, reason, wanted)?;
            any = true;
        }
        Ok(any)
    }

    /// How many segments every cursor passed, and their bytes.
    fn passed(&self) -> Result<Totals, Error> {
        let position = self.cursor_list().iter().map(|c| c.durable_position()).min().unwrap_or(u64::MAX);
        let mut passed = Totals::default();
        let mut segment = lock(&self.table).oldest(&self.env)?;
        while let Some(this) = segment {
            let Some(next) = lock(&self.table).after(&self.env, this.id)? else { break };
            if position <= next.header.after_sequence {
                break;
            }
            passed = passed + Totals { frames: 1, items: 0, bytes: this.size() };
            segment = Some(next);
        }
        Ok(passed)
    }

    fn oldest(&self) -> Result<Option<Oldest>, Error> {
        let mut table = lock(&self.table);
        let Some(segment) = table.oldest(&self.env)? else { return Ok(None) };
        let Some(next) = table.after(&self.env, segment.id)? else { return Ok(None) };
        drop(table);
        // What failed and could not be removed may have a higher id than the segment that is still written.
        if segment.id == self.view.front().visible.segment {
            return Ok(None);
        }
        let is_behind = |c: &Arc<CursorCore>| c.durable_position() <= next.header.after_sequence;
        let behind = self.cursor_list().into_iter().filter(is_behind).collect();
        Ok(Some(Oldest { segment, next, behind }))
    }

    fn reclaim(&self, oldest: &Oldest, reason: Reason, wanted: Option<Wanted>) -> Result<(), Error> {
        let next = &oldest.next.header;
        for cursor in &oldest.behind {
            let reason = if cursor.orphaned.load(Ordering::Relaxed) { Reason::Orphaned } else { reason };
            let kept = Place { sequence: next.first_sequence, totals: next.totals };
            cursor.drop_before(self, kept, reason)?;
        }
        if !oldest.behind.is_empty() {
            // A reader that waits where the dropped frames were goes on after them.
            self.view.update(|_| {});
        }
        self.give_up(&oldest.segment, wanted)
    }

    /// Makes a spare of a segment's file, or removes it. If that fails the segment stays, and is the oldest still.
    fn give_up(&self, segment: &Arc<Segment>, wanted: Option<Wanted>) -> Result<(), Error> {
        // First of all, so that nobody begins to read it.
        lock(&self.table).remove(segment.id);
        let size = segment.size();
        // Ours and the caller's: more means that a reader of this process holds it.
        let free = Arc::strong_count(segment) <= 1 && !segment.is_poisoned();
        let fits = wanted.is_some_and(|wanted| wanted.fits(segment));
        let renamed = if free && fits { self.rename_to_spare(segment) } else { Ok(None) };
        let given_up = renamed.and_then(|path| match path {
            None => self.env.remove_if_there(&segment.path).map(|()| None),
            path => Ok(path),
        });
        let path = given_up.inspect_err(|_| lock(&self.table).insert(segment.clone()))?;
        // So that the name does not come back after a crash: with blocks that others have by then, or on bytes that
        // are overwritten.
        let synced = self.env.sync_dir(&self.dir);
        match (path, &synced) {
            (Some(path), Ok(())) => self.spares.put(Spare { path, size }),
            (Some(path), Err(_)) if self.env.remove(&path).is_err() => {}
            _ => self.account.sub(size),
        }
        synced
    }

    /// Renames a segment's file; `None` when a reader in another process holds it, or an operator took it away.
    fn rename_to_spare(&self, segment: &Segment) -> Result<Option<PathBuf>, Error> {
        let file = match self.env.open(&segment.path, super::fs::Access::Write) {
            Err(e) if e.is_not_found() => return Ok(None),
            opened => opened?,
        };
        if !file.try_lock(true).map_err(|e| Error::io("lock", &segment.path, e))? {
            return Ok(None);
        }
        let path = self.spares.new_path(&self.dir);
        self.env.rename(&segment.path, &path)?;
        Ok(Some(path))
    }
}

impl Wanted {
    fn fits(self, segment: &Segment) -> bool {
        (self.least..=self.most).contains(&segment.size())
    }
}
