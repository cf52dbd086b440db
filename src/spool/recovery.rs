//! Opening a log: what its files say about where it stands.
//!
//! Reads the directory, the two newest headers, the newest segment if it was not sealed, and each cursor's slots.
//! Writes nothing: a crash in the middle changes nothing, and doing it twice is doing it once. What is found here
//! becomes durable in the header of the next segment, at the first append.

use std::collections::BTreeMap;
use std::path::Path;

use super::Error;
use super::core::{Cut, Opening};
use super::cursor::{CursorCore, Store, Stored};
use super::env::Env;
use super::format::cursor::{Dropped, Interval, Reason, Slot};
use super::format::{Totals, name_crc};
use super::names;
use super::segment::{End, FoundHole, Segment};
use super::stream::Visible;
use super::table::Table;
use super::view::Front;

/// After a stop that was not clean, sequences go on so far above everything known: more than the frames that one
/// segment and a full queue can hold, since only those can have been given without leaving a trace.
pub(crate) const JUMP: u64 = 1 << 24;

/// Where a log stands when it is opened.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) table: Table,
    pub(crate) opening: Opening,
    pub(crate) front: Front,
    pub(crate) cursors: Vec<CursorCore>,
    /// Number and size.
    pub(crate) spares: Vec<(u64, u64)>,
    /// In the newest segment.
    pub(crate) holes: Vec<FoundHole>,
}

/// The files of a log's directory.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Id and size.
    pub(crate) segments: BTreeMap<u64, u64>,
    /// Number and size.
    pub(crate) spares: Vec<(u64, u64)>,
}

/// Lists a log's directory; other files in it are not ours and stay.
pub(crate) fn list(env: &Env, dir: &Path) -> Result<Files, Error> {
    let mut files = Files::default();
    for listed in env.list(dir)?.into_iter().filter(|l| !l.is_dir) {
        if let Some(id) = names::segment_id(&listed.name) {
            files.segments.insert(id, listed.size);
        } else if let Some(number) = names::spare_number(&listed.name) {
            files.spares.push((number, listed.size));
        }
    }
    Ok(files)
}

/// The names of a log's cursors and what their files hold.
pub(crate) fn slots(env: &Env, dir: &Path) -> Result<Vec<(String, Stored)>, Error> {
    let dir = dir.join("cursors");
    let mut slots = Vec::new();
    for listed in env.list(&dir)? {
        if let Some(name) = names::decode(&listed.name) {
            slots.push((name, Store::read(env, &dir.join(&listed.name))?));
        }
    }
    slots.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(slots)
}

/// Reads where a log stands.
pub(crate) fn recover(env: &Env, dir: &Path, crc: u32) -> Result<Recovered, Error> {
    let files = list(env, dir)?;
    let mut table = Table::new(dir.to_owned(), crc, files.segments.iter().map(|(id, size)| (*id, *size)));
    let newest = table.newest(env)?;
    if let Some(newest) = &newest {
        // The second newest header: the newest may be the only other copy of what it says.
        table.before(env, newest.id)?;
    } else if let Some(strange) = table.strange().into_iter().find(|s| s.error.is_foreign()) {
        // Every file is another log's: renamed directories, most likely. Going on would begin the log anew.
        return Err(strange.error);
    }
    let mut opening = Opening { next_id: table.newest_id().map_or(1, |id| id + 1), ..Opening::default() };
    // Files that are no segments any more stay where they are, told.
    opening.cuts.extend(table.strange().into_iter().map(|s| Cut {
        segment: s.id,
        offset: 0,
        bytes: s.size,
        reason: s.error.to_string(),
    }));
    let (end, holes) = match &newest {
        Some(segment) => read_newest(env, segment, &mut opening)?,
        None => (None, Vec::new()),
    };
    let cursors = read_cursors(env, dir, crc, &mut table, &mut opening)?;
    let last = end.map_or(0, |end| end.last_sequence);
    let known = known_sequence(newest.as_deref(), last, &cursors);
    // A cursor that knows more than the segments: something is gone, and with it how far sequences had come.
    opening.clean &= known <= last;
    // The newest file is none any more: how far sequences had come in it, nobody knows.
    opening.clean &= table.newest_id() == newest.as_ref().map(|segment| segment.id);
    // A segment outlives every sequence given in it, since the newest is never reclaimed: without any, none was given.
    opening.clean |= known == 0 && table.newest_id().is_none() && opening.lost_cursors.is_empty();
    opening.ahead_cursors = ahead(&cursors, last);
    opening.next_sequence = if opening.clean { known + 1 } else { known + 1 + JUMP };
    opening.after_sequence = last;
    let recovered = end.map_or(Totals::default(), |end| end.totals);
    opening.totals = known_totals(recovered, &cursors);
    opening.synced_to = known_synced(newest.as_deref(), end, &opening);
    let front = Front {
        visible: Visible { segment: 0, end: 0, sequence: last, totals: recovered },
        durable: last,
        durable_totals: recovered,
        totals: opening.totals,
        closed: false,
    };
    Ok(Recovered { table, opening, front, cursors, spares: files.spares, holes })
}

fn read_newest(env: &Env, segment: &Segment, opening: &mut Opening) -> Result<(Option<End>, Vec<FoundHole>), Error> {
    let file = segment.open(env)?;
    if let Some(end) = segment.footer(&*file)? {
        opening.clean = true;
        segment.set_end(end);
        return Ok((Some(end), Vec::new()));
    }
    let (end, holes) = segment.recover(env)?;
    opening.recovered_frames = end.count;
    let cut = |FoundHole { hole, .. }: &FoundHole| Cut {
        segment: segment.id,
        offset: hole.offset,
        bytes: hole.bytes,
        reason: hole.fault.to_string(),
    };
    opening.cuts.extend(holes.iter().map(cut));
    Ok((Some(end), holes))
}

fn read_cursors(
    env: &Env,
    dir: &Path,
    crc: u32,
    table: &mut Table,
    opening: &mut Opening,
) -> Result<Vec<CursorCore>, Error> {
    let mut cursors = Vec::new();
    for (name, stored) in slots(env, dir)? {
        let path = dir.join("cursors").join(names::encode(&name)?);
        let mine = |s: &Slot| s.spool_id == env.spool_id && s.log == crc && s.name == name_crc(&name);
        match stored {
            Stored::Slot(slot) if mine(&slot) => {
                let witness = opening.witnesses.entry(slot.epoch).or_default();
                *witness = slot.synced_to.max(*witness);
                cursors.push(CursorCore::stored(name, path, *slot));
            }
            Stored::Absent => {}
            // Both slots bad, or another cursor's: begins at the oldest frame, told.
            Stored::Slot(_) | Stored::Lost => {
                let oldest = table.oldest(env)?;
                let (position, totals) =
                    oldest.map_or((1, Totals::default()), |s| (s.header.first_sequence, s.header.totals));
                let now = env.clock.wall();
                let mut dropped = [Dropped::default(); 8];
                // Untold from the first write of the new file on.
                dropped[Reason::CursorLost as usize].add(0, 0, Interval { first: 0, last: 0 }, now);
                let slot = Slot {
                    required: true,
                    spool_id: env.spool_id,
                    log: crc,
                    name: name_crc(&name),
                    position,
                    position_totals: totals,
                    start: position,
                    start_totals: totals,
                    last_seen: now,
                    dropped,
                    ..Slot::default()
                };
                opening.lost_cursors.push(name.clone());
                cursors.push(CursorCore::fresh(name, path, slot));
            }
        }
    }
    Ok(cursors)
}

/// Above every sequence that any file names.
fn known_sequence(newest: Option<&Segment>, last: u64, cursors: &[CursorCore]) -> u64 {
    let header = newest.map_or(0, |s| s.header.first_sequence.saturating_sub(1));
    let of_cursor = |cursor: &CursorCore| {
        let slot = &super::env::lock(&cursor.state).slot;
        let acked = slot.intervals.last().map_or(0, |i| i.last);
        acked.max(slot.synced_to).max(slot.counted().0.saturating_sub(1))
    };
    cursors.iter().map(of_cursor).fold(last.max(header), u64::max)
}

/// Cursors that passed frames which are not there: told, and harmless, since new sequences begin above them.
fn ahead(cursors: &[CursorCore], last: u64) -> Vec<String> {
    let is_ahead = |c: &&CursorCore| super::env::lock(&c.state).slot.position > last + 1;
    cursors.iter().filter(is_ahead).map(|c| c.name.clone()).collect()
}

fn known_totals(recovered: Totals, cursors: &[CursorCore]) -> Totals {
    cursors.iter().fold(recovered, |known, cursor| {
        let slot = &super::env::lock(&cursor.state).slot;
        known.max(slot.synced_totals).max(slot.counted().1)
    })
}

/// The highest sequence that the run before is known to have made durable.
fn known_synced(newest: Option<&Segment>, end: Option<End>, opening: &Opening) -> u64 {
    let (Some(newest), Some(end)) = (newest, end) else { return 0 };
    let told = opening.witnesses.get(&newest.header.epoch).copied().unwrap_or(0);
    let sealed = if end.sealed { end.last_sequence } else { 0 };
    end.synced_to.max(newest.header.synced_to).max(told).max(sealed)
}
