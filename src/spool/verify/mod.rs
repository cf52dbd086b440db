//! Checking every checksum of a spool.

mod cursors;
mod ledger;

use std::sync::Arc;

use super::files::Files;
use super::format::Totals;
use super::format::cursor::{Reason, Slot};
use super::format::segment::{DATA_AT, FOOTER_LEN};
use super::fs::Access;
use super::reader::Reader;
use super::segment::Segment;
use super::stream::{Event, Lost, Source, Stream};
use super::{Damage, Error, LogVerification, Verification, names, recovery};

/// What a walk over a whole log adds up.
#[derive(Debug, Default)]
struct Sum {
    frames: u64,
    read: Totals,
    lost: Totals,
    before: Totals,
    damage: Vec<Damage>,
    torn: Vec<Damage>,
}

impl Reader {
    /// Checks every checksum, and whether the running totals and the cursors' counters add up. Repairs nothing.
    /// `progress(done, total)` is called in bytes, `total` being those of all logs.
    ///
    /// ```
    /// use tidegate::spool::Reader;
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    ///
    /// log.append_wait(1, "one frame".into(), 1)?;
    /// spool.close()?;
    ///
    /// let mut last = (0, 0);
    /// let verification = Reader::open(dir.path())?.verify(&mut |done, total| last = (done, total))?;
    /// assert_eq!(last, (verification.logs[0].bytes, verification.logs[0].bytes));
    /// assert!(verification.logs[0].damage.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Newer; I/O. Damage is no error: it is in the answer.
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Verification, Error> {
        let owner = self.owner()?;
        let open = |name: &String, dead| Files::open(self, name, dead);
        let logs: Vec<Files> = self.logs()?.iter().map(|name| open(name, false)).collect::<Result<_, _>>()?;
        let dead: Vec<Files> =
            self.dead_letter_logs()?.iter().map(|name| open(name, true)).collect::<Result<_, _>>()?;
        let total = logs.iter().chain(&dead).map(|files| files.table().bytes()).sum();
        let mut done = 0;
        let mut verify_all = |open: &[Files]| -> Result<Vec<LogVerification>, Error> {
            let mut verified = Vec::with_capacity(open.len());
            for files in open {
                let bytes = files.table().bytes();
                verified.push(verify_log(files, &mut |part| progress(done + part.min(bytes), total))?);
                done += bytes;
                progress(done, total);
            }
            Ok(verified)
        };
        Ok(Verification { owner, logs: verify_all(&logs)?, dead_letters: verify_all(&dead)? })
    }
}

fn verify_log(files: &Files, progress: &mut dyn FnMut(u64)) -> Result<LogVerification, Error> {
    let env = files.env();
    let mut sum = Sum::default();
    prefetch_ends(files)?;
    let all = files.table().all(env)?;
    sum.before = all.first().map_or(Totals::default(), |s| s.header.totals);
    let first = all.first().map_or(0, |s| s.header.first_sequence);
    walk(files, Stream::new(first, Some(sum.before), None), &mut sum, progress)?;
    for (at, segment) in all.iter().enumerate() {
        sum.check_ends(files, segment, all.get(at + 1))?;
    }
    for strange in files.table().strange() {
        sum.note(strange.id, 0, strange.size, strange.error.to_string());
    }
    let cursors = cursors::read(files)?;
    sum.damage.extend(cursors.damage);
    sum.torn.extend(cursors.torn);
    let end = sum.check_newest(files, all.last(), &cursors.slots)?;
    let mut closes = end == sum.before + sum.read + sum.lost;
    for slot in &cursors.slots {
        closes &= ledger::closes(files, slot, end)?;
    }
    let (frames, bytes) = (sum.frames, files.table().bytes());
    Ok(LogVerification {
        name: files.name.clone(),
        frames,
        bytes,
        damage: sum.damage,
        torn: sum.torn,
        ledger_closes: closes,
    })
}

/// Asks the disk for every header and footer at once: one after the other, each would be waited for.
fn prefetch_ends(files: &Files) -> Result<(), Error> {
    for (id, size) in recovery::list(files.env(), &files.dir)?.segments {
        match files.env().open(&files.dir.join(names::segment_file(id)), Access::Read) {
            Ok(file) => {
                file.prefetch(0, DATA_AT);
                file.prefetch(size.saturating_sub(FOOTER_LEN), FOOTER_LEN);
            }
            // Reclaimed while we looked.
            Err(e) if e.is_not_found() => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

impl Sum {
    fn note(&mut self, segment: u64, offset: u64, bytes: u64, reason: String) {
        self.damage.push(Damage { segment, offset, bytes, reason, frames_lost: 0 });
    }

    fn lost(&mut self, lost: &Lost) {
        self.lost = self.lost + lost.amount;
        // The bytes of a loss are the hole just before it; a whole segment missing has none.
        let hole = self.damage.pop_if(|hole| hole.frames_lost == 0 && hole.bytes > 0);
        let mut damage = hole.unwrap_or_else(|| {
            let (first, last, reason) = (lost.first_sequence, lost.last_sequence, lost.reason.name());
            let reason = format!("sequences {first} to {last} are missing ({reason})");
            Damage { segment: 0, offset: 0, bytes: 0, reason, frames_lost: 0 }
        });
        damage.frames_lost = lost.amount.frames;
        let list = if lost.reason == Reason::Damaged { &mut self.damage } else { &mut self.torn };
        list.push(damage);
    }

    /// What stands before the frames and after them.
    fn check_ends(&mut self, files: &Files, segment: &Arc<Segment>, next: Option<&Arc<Segment>>) -> Result<(), Error> {
        if segment.header_damaged {
            let reason = "one copy of the segment header, at least, is damaged".to_owned();
            self.note(segment.id, 0, DATA_AT, reason);
        }
        let file = match files.open(segment) {
            // Reclaimed while we looked.
            Err(e) if e.is_not_found() => return Ok(()),
            other => other?,
        };
        if !files.is_live(segment)? && segment.has_damaged_footer(&*file)? {
            let reason = "the footer does not verify; what it says is worked out from the frames".to_owned();
            let (offset, bytes) = (segment.size() - FOOTER_LEN, FOOTER_LEN);
            // The last segment of a run may have been cut while it was sealed; before the others' successors there was
            // a whole one.
            let is_last_of_run = next.is_none_or(|next| next.header.epoch != segment.header.epoch);
            let list = if is_last_of_run { &mut self.torn } else { &mut self.damage };
            list.push(Damage { segment: segment.id, offset, bytes, reason, frames_lost: 0 });
        }
        Ok(())
    }

    /// The log's totals. Cursors may know of frames after the last that is there; beside a writer that is no sign of
    /// damage: it knows more than its readers.
    fn check_newest(&mut self, files: &Files, newest: Option<&Arc<Segment>>, slots: &[Slot]) -> Result<Totals, Error> {
        let (_, end) = files.end()?;
        let end = end.max(self.before);
        let known = slots.iter().fold(end, |known, slot| known.max(slot.synced_totals));
        let Some(newest) = newest.filter(|_| known.frames > end.frames) else { return Ok(end) };
        if files.is_live(newest)? {
            return Ok(end);
        }
        let lost = known - end;
        self.lost = self.lost + lost;
        self.note(newest.id, 0, 0, "the newest frames are missing: a cursor knows that they were durable".to_owned());
        if let Some(damage) = self.damage.last_mut() {
            damage.frames_lost = lost.frames;
        }
        Ok(known)
    }
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
            Event::Lost(lost) => sum.lost(&lost),
        }
    }
    Ok(())
}
