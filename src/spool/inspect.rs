//! What a spool looks like, from its files; and what only its owner knows on top of that.

use std::time::Duration;

use super::clock::age;
use super::core::LogCore;
use super::cursor::Stored;
use super::damage;
use super::env::lock;
use super::files::Files;
use super::format::Totals;
use super::format::cursor::{FILE_LEN, Reason, Slot};
use super::reader::Reader;
use super::stream::{Event, Extent, Source, Stream};
use super::{CursorInspection, Durability, Error, Inspection, LogInspection, Pending, SegmentInspection, recovery};

impl Reader {
    /// A snapshot of every log.
    ///
    /// ```
    /// use tidegate::spool::Reader;
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # log.cursor("backend", Start::Oldest, Need::Required)?;
    /// # log.append_wait(1, "one frame".into(), 1)?;
    /// # spool.close()?;
    ///
    /// let inspection = Reader::open(dir.path())?.inspect()?;
    /// let log = &inspection.logs[0];
    /// assert_eq!((&*log.name, log.items), ("events", 1));
    /// assert_eq!((&*log.cursors[0].name, log.cursors[0].pending.items), ("backend", 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Newer; I/O.
    pub fn inspect(&self) -> Result<Inspection, Error> {
        let owner = self.owner()?;
        let is_owned = owner.as_ref().is_some_and(|owner| owner.alive);
        let mut logs = Vec::new();
        for name in self.logs()? {
            logs.push(self.inspect_log(&name, is_owned)?);
        }
        Ok(Inspection { directory: self.dir().to_owned(), spool_id: self.env().spool_id, owner, logs })
    }

    fn inspect_log(&self, name: &str, is_owned: bool) -> Result<LogInspection, Error> {
        let env = self.env();
        let files = Files::open(self, name, false)?;
        let segments = inspect_segments(&files)?;
        let oldest = files.table().oldest(env)?;
        let newest = files.table().newest(env)?;
        let (last_sequence, totals) = files.end()?;
        let before = oldest.as_ref().map_or(totals, |s| s.header.totals);
        let listed = recovery::list(env, &files.dir)?;
        let slots = recovery::slots(env, &files.dir)?;
        let bytes = listed.segments.values().sum::<u64>()
            + listed.spares.iter().map(|(_, size)| size).sum::<u64>()
            + FILE_LEN * slots.len() as u64;
        let has_frames = totals.frames > before.frames;
        let mut cursors = Vec::new();
        for (name, stored) in slots {
            if let Stored::Slot(slot) = stored {
                cursors.push(inspect_cursor(name, &slot, totals, oldest_time(&files, &slot)));
            }
        }
        Ok(LogInspection {
            name: name.to_owned(),
            content: content(&files, last_sequence)?,
            first_sequence: if has_frames { first_sequence(&files)? } else { 0 },
            last_sequence: if has_frames { last_sequence } else { 0 },
            items: totals.items - before.items.min(totals.items),
            bytes,
            max_size: None,
            durability: match newest.map_or(0, |s| s.header.durability) {
                1 => Durability::Interval,
                2 => Durability::Os,
                _ => Durability::Sync,
            },
            // An opening heals it.
            poisoned: (!is_owned).then_some(false),
            damaged_bytes: damage::bytes_of(env, self.dir(), name)?,
            segments,
            cursors,
            accepted_items: totals.items,
        })
    }
}

fn inspect_segments(files: &Files) -> Result<Vec<SegmentInspection>, Error> {
    let all = files.table().all(files.env())?;
    let mut segments = Vec::with_capacity(all.len());
    for (index, segment) in all.iter().enumerate() {
        let rewritten =
            all.get(index + 1).is_some_and(|next| next.header.flags & super::format::segment::flags::REWRITTEN != 0);
        let (state, last) = match files.extent(segment) {
            Ok(Extent::Live(visible)) => ("open", visible.sequence),
            Ok(Extent::AtRest(end)) if end.sealed => ("sealed", end.last_sequence),
            Ok(Extent::AtRest(end)) => (if rewritten { "poisoned" } else { "unsealed" }, end.last_sequence),
            // Reclaimed while we looked.
            Err(e) if e.is_not_found() => continue,
            Err(e) => return Err(e),
        };
        let has_frames = last >= segment.header.first_sequence;
        segments.push(SegmentInspection {
            id: segment.id,
            state,
            first_sequence: if has_frames { segment.header.first_sequence } else { 0 },
            last_sequence: if has_frames { last } else { 0 },
            bytes: segment.size(),
        });
    }
    let strange = files.table().strange().into_iter();
    let strange = strange.map(|s| SegmentInspection {
        id: s.id,
        state: "strange",
        first_sequence: 0,
        last_sequence: 0,
        bytes: s.size,
    });
    segments.extend(strange);
    segments.sort_by_key(|s| s.id);
    Ok(segments)
}

fn inspect_cursor(name: String, slot: &Slot, totals: Totals, oldest: Option<u64>) -> CursorInspection {
    let accepted = totals - slot.start_totals;
    let pending = Pending {
        items: accepted.items.saturating_sub(slot.done_items()),
        bytes: accepted.bytes.saturating_sub(slot.done_bytes),
        oldest_age: None,
    };
    let oldest_age: Option<Duration> = oldest.filter(|_| pending.items > 0).map(|t| age(t, super::clock::now()));
    CursorInspection {
        name,
        required: slot.required,
        paused: slot.paused,
        sequence: slot.position,
        pending: Pending { oldest_age, ..pending },
        delivered_items: slot.delivered_items,
        parked_items: slot.parked_items,
        dropped_items: dropped(slot),
        skipped_items: slot.skipped_items,
        replayed_items: slot.replayed_items,
        replaying_items: (slot.counted().1 - slot.position_totals).items,
        accepted_items: accepted.items,
    }
}

/// Reason and items, of those that there were.
fn dropped(slot: &Slot) -> Vec<(String, u64)> {
    let dropped = Reason::ALL.into_iter().map(|r| (r.name().to_owned(), slot.dropped[r as usize].items));
    dropped.filter(|(_, items)| *items > 0).collect()
}

fn first_sequence(files: &Files) -> Result<u64, Error> {
    let mut stream = Stream::new(0, None, None);
    stream.set_chunk(0);
    while let Some(event) = stream.next(files)? {
        if let Event::Frame(met) = event {
            return Ok(met.frame.header.sequence);
        }
    }
    Ok(0)
}

fn content(files: &Files, last: u64) -> Result<Option<u8>, Error> {
    let mut stream = Stream::new(last, None, None);
    while let Some(event) = stream.next(files)? {
        if let Event::Frame(met) = event {
            return Ok(Some(met.frame.header.content));
        }
    }
    Ok(None)
}

/// Append time of the frame at a cursor's position; unknown when it cannot be read.
fn oldest_time(files: &Files, slot: &Slot) -> Option<u64> {
    let hint = (slot.hint_segment, slot.hint_offset);
    let mut stream = Stream::new(slot.position, Some(slot.position_totals), Some(hint));
    stream.set_chunk(0);
    loop {
        if let Event::Frame(met) = stream.next(files).ok()?? {
            return Some(met.frame.header.time);
        }
    }
}

/// Puts what the owner knows over what the files say.
pub(crate) fn overlay(inspection: &mut Inspection, log: &LogCore) -> Result<(), Error> {
    let Some(seen) = inspection.logs.iter_mut().find(|l| l.name == log.name) else { return Ok(()) };
    let front = log.view.front();
    seen.max_size = Some(log.account.cap());
    seen.bytes = log.account.bytes();
    seen.durability = log.options.durability;
    seen.accepted_items = front.totals.items;
    seen.last_sequence = front.visible.sequence;
    seen.poisoned = Some(lock(&log.trouble).as_ref().is_some_and(Error::is_poisoned));
    seen.cursors = log
        .cursor_list()
        .iter()
        .map(|core| {
            let slot = lock(&core.state).slot.clone();
            let mut cursor = inspect_cursor(core.name.clone(), &slot, front.visible.totals, None);
            cursor.pending = core.pending(log);
            cursor
        })
        .collect();
    Ok(())
}
