//! Checking every checksum of a spool.

use super::cursor::Stored;
use super::format::Totals;
use super::format::cursor::Slot;
use super::reader::{Files, Reader};
use super::stream::{Event, Source, Stream};
use super::{Damage, Error, LogVerification, Verification, recovery};

/// What a walk over a whole log adds up.
#[derive(Debug, Default)]
struct Sum {
    frames: u64,
    read: Totals,
    lost: Totals,
    before: Totals,
    damage: Vec<Damage>,
}

impl Reader {
    /// Checks every checksum, and whether the running totals and the cursors' counters add up. Repairs nothing.
    /// `progress(done, total)` is called in bytes, `total` being those of all logs.
    ///
    /// # Errors
    /// Newer; I/O. Damage is no error: it is in the answer.
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Verification, Error> {
        let mut open = Vec::new();
        for name in self.logs()? {
            open.push(Files::open(self, &name, false)?);
        }
        let total = open.iter().map(|files| files.table().bytes()).sum();
        let mut done = 0;
        let mut logs = Vec::with_capacity(open.len());
        for files in &open {
            let bytes = files.table().bytes();
            logs.push(verify_log(files, &mut |part| progress(done + part.min(bytes), total))?);
            done += bytes;
            progress(done, total);
        }
        Ok(Verification { logs })
    }
}

fn verify_log(files: &Files, progress: &mut dyn FnMut(u64)) -> Result<LogVerification, Error> {
    let env = files.env();
    let mut sum = Sum::default();
    let all = files.table().all(env)?;
    sum.before = all.first().map_or(Totals::default(), |s| s.header.totals);
    for segment in &all {
        if segment.header_damaged {
            sum.damage.push(Damage {
                segment: segment.id,
                offset: 0,
                bytes: super::format::segment::DATA_AT,
                reason: "one copy of the segment header, at least, is damaged".to_owned(),
                frames_lost: 0,
            });
        }
    }
    for strange in files.table().strange() {
        let reason = strange.error.to_string();
        sum.damage.push(Damage { segment: strange.id, offset: 0, bytes: strange.size, reason, frames_lost: 0 });
    }
    let first = all.first().map_or(0, |s| s.header.first_sequence);
    walk(files, Stream::new(first, Some(sum.before), None), &mut sum, progress)?;
    let (_, end) = files.end()?;
    let closes = end.max(sum.before) == sum.before + sum.read + sum.lost && cursors_close(files, end)?;
    let (frames, bytes) = (sum.frames, files.table().bytes());
    let name = files.name.clone();
    Ok(LogVerification { name, frames, bytes, damage: sum.damage, ledger_closes: closes })
}

fn walk(files: &Files, mut stream: Stream, sum: &mut Sum, progress: &mut dyn FnMut(u64)) -> Result<(), Error> {
    let mut done = 0;
    while let Some(event) = stream.next(files)? {
        match event {
            Event::Frame(met) => {
                sum.frames += 1;
                let header = met.frame.header;
                sum.read = sum.read + (header.totals_after() - header.totals);
                done += header.frame_len();
                if sum.frames.is_multiple_of(64) {
                    progress(done);
                }
            }
            Event::Hole(segment, hole) => sum.damage.push(Damage {
                segment,
                offset: hole.offset,
                bytes: hole.bytes,
                reason: hole.fault.to_string(),
                frames_lost: 0,
            }),
            Event::Lost(lost) => {
                sum.lost = sum.lost + lost.amount;
                // The bytes of a loss are the hole just before it; a whole segment missing has none.
                match sum.damage.last_mut().filter(|d| d.frames_lost == 0 && d.bytes > 0) {
                    Some(hole) => hole.frames_lost = lost.amount.frames,
                    None => sum.damage.push(Damage {
                        segment: 0,
                        offset: 0,
                        bytes: 0,
                        reason: format!(
                            "sequences {} to {} are missing ({})",
                            lost.first_sequence,
                            lost.last_sequence,
                            lost.reason.name()
                        ),
                        frames_lost: lost.amount.frames,
                    }),
                }
            }
        }
    }
    Ok(())
}

/// Whether each cursor's counters agree with its position and with what lies beyond it.
fn cursors_close(files: &Files, end: Totals) -> Result<bool, Error> {
    for (_, stored) in recovery::slots(files.env(), &files.dir)? {
        let Stored::Slot(slot) = stored else { continue };
        if !closes(files, &slot, end)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// done = (totals before the position - totals before the start) + done beyond the position.
fn closes(files: &Files, slot: &Slot, end: Totals) -> Result<bool, Error> {
    let passed = (slot.position_totals - slot.start_totals).items;
    let acked = slot.intervals.last().map_or(0, |i| i.last);
    if acked > files.end()?.0 {
        // Delivered, and gone with the power (`os`): the next segment's totals will say how much.
        return Ok(slot.done_items() >= passed);
    }
    if slot.intervals.is_empty() {
        return Ok(slot.done_items() == passed);
    }
    let mut ahead = 0;
    let mut stream = Stream::new(slot.position, Some(slot.position_totals), None);
    while let Some(event) = stream.next(files)? {
        let (first, last, items) = match event {
            Event::Frame(met) => {
                (met.frame.header.sequence, met.frame.header.sequence, u64::from(met.frame.header.items))
            }
            Event::Lost(lost) => (lost.first_sequence, lost.last_sequence, lost.amount.items),
            Event::Hole(..) => continue,
        };
        if slot.intervals.iter().any(|i| i.first <= first && last <= i.last) {
            ahead += items;
        }
    }
    Ok(slot.done_items() == passed + ahead && end.items >= slot.start_totals.items)
}
