//! Whether the counters of a cursor add up with the frames.

use std::ops::RangeInclusive;

use super::super::Error;
use super::super::cursor::state::Place;
use super::super::files::Files;
use super::super::format::Totals;
use super::super::format::cursor::{Interval, Slot};
use super::super::stream::{Event, Stream};

/// done = (totals before the position - totals before the start) + done beyond the position. In a replay the position
/// is the one before it.
pub(super) fn closes(files: &Files, slot: &Slot, end: Totals) -> Result<bool, Error> {
    let (sequence, totals) = slot.counted();
    let passed = (totals - slot.start_totals).items;
    let ahead = ahead(files, Place { sequence, totals }, &slot.intervals)?;
    let done = slot.done_items().checked_sub(passed);
    Ok(done.is_some_and(|done| ahead.contains(&done)) && end.items >= slot.start_totals.items)
}

/// How many items are done beyond this place: at least and at most. Of a loss that was done in part, nobody knows.
fn ahead(files: &Files, from: Place, intervals: &[Interval]) -> Result<RangeInclusive<u64>, Error> {
    let (mut least, mut most) = (0, 0);
    let Some(acked) = intervals.last().map(|i| i.last) else { return Ok(0..=0) };
    let mut stream = Stream::new(from.sequence, Some(from.totals), None);
    while let Some(event) = stream.next(files)? {
        let (first, last, items) = match event {
            Event::Frame(met) => {
                (met.frame.header.sequence, met.frame.header.sequence, u64::from(met.frame.header.items))
            }
            Event::Lost(lost) => (lost.first_sequence, lost.last_sequence, lost.amount.items),
            Event::Hole(..) => continue,
        };
        if first > acked {
            break;
        }
        if intervals.iter().any(|i| i.first <= first && last <= i.last) {
            least += items;
            most += items;
        } else if intervals.iter().any(|i| i.first <= last && first <= i.last) {
            most += items;
        }
    }
    // What was delivered and is gone with the power (`os`): the next segment's totals will say how much.
    Ok(least..=if acked > files.end()?.0 { u64::MAX } else { most })
}
