//! The checker: opens what a run left and holds it against what was promised.
//!
//! - **P1** Every frame that was promised is there, or each cursor that wants it acked it or counts it as dropped by
//!   a limit; only the oldest are dropped.
//! - **P2** A sequence is never given twice; what is missing between two frames is declared, and never called damage
//!   on a disk that damages nothing.
//! - **P3** Nothing is invented: each payload is the one that was appended under its number.
//! - **P4** Opening twice is opening once: the same answer, the same bytes.
//! - **P5** The log goes on: takes a frame, gives it, ends with nothing pending, closes and opens cleanly, with so many
//!   calls of the disk at most.
//! - **P6** The directory stays within its cap and one segment.
//! - **P7** A cursor passes only what was acked, and gives nothing again that it had durably acked.
//! - **P8** The ledger closes exactly, in items.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::dice::Dice;
use super::disk::SimDisk;
use super::model::{End, LogModel, items_of};
use super::story::{DIR, Story};
use crate::spool::dead_letter::KEEPER;
use crate::spool::env::lock;
use crate::spool::format::cursor::{Reason, Slot};
use crate::spool::stream::{Event, Lost, Source, Stream};
use crate::spool::{Cursor, Damage, DeadLetter, Durability, Log, Loss, Need, OnFull, Reader};

/// What an opening of everything, and a drain of it, may ask of the disk: ten times what any story needed.
const MOST_CALLS: u64 = 100_000;

/// What a walk over a whole log met.
#[derive(Debug, Default)]
struct Walked {
    /// Sequence and number, in order.
    frames: Vec<(u64, u64)>,
    lost: Vec<Lost>,
}

impl Story {
    /// Starts on what a run left, and checks it.
    pub(crate) fn recover(&mut self, end: End) {
        self.disk.allow(MOST_CALLS);
        let end = self.start(end);
        self.disk.troubles(|troubles| troubles.watch(true));
        let required: Vec<BTreeSet<u64>> = self.recorder.model().logs.iter().map(|log| log.acked.clone()).collect();
        let mut walked = Vec::new();
        for (at, required) in required.iter().enumerate() {
            let found = self.walk(at);
            self.check_log(at, end, required, &found);
            walked.push(found);
        }
        self.disk.troubles(|troubles| troubles.watch(false));
        self.start_cursors();
        self.disk.troubles(|troubles| troubles.watch(true));
        for (at, required) in required.iter().enumerate() {
            let readers = self.up.as_ref().map_or(0, |up| up.logs[at].readers.len());
            for which in 0..readers {
                self.check_cursor(at, which, required, &walked[at], end);
            }
        }
        self.check_letters();
        self.recorder.change(|model| {
            for (log, walked) in model.logs.iter_mut().zip(&walked) {
                log.found(end, &walked.frames);
            }
        });
        self.disk.troubles(|troubles| troubles.watch(false));
        self.check_room();
        self.disk.allow(u64::MAX);
    }

    fn walk(&self, at: usize) -> Walked {
        let log = &self.up.as_ref().expect("it was opened").logs[at].log;
        let model = self.recorder.model();
        let mut walked = Walked::default();
        let oldest = log.0.holding(0).expect("P5: headers can be read");
        let mut stream = Stream::new(oldest.map_or(0, |s| s.header.first_sequence), None, None);
        let mut ids = BTreeSet::new();
        while let Some(event) = stream.next(&*log.0).expect("P5: what is there can be read") {
            match event {
                Event::Frame(met) => {
                    let header = met.frame.header;
                    let id = model.logs[at].met(header.sequence, &met.frame.payload, header.items);
                    assert!(ids.insert(id), "P3: {id} is there twice");
                    let before = walked.frames.last().map_or(0, |(s, _)| *s);
                    assert!(header.sequence > before, "P2: {} comes after {before}", header.sequence);
                    walked.frames.push((header.sequence, id));
                }
                Event::Lost(lost) => walked.lost.push(lost),
                Event::Hole(..) => {}
            }
        }
        walked
    }

    fn check_log(&mut self, at: usize, end: End, required: &BTreeSet<u64>, walked: &Walked) {
        let model = self.recorder.model();
        let known = &model.logs[at];
        let log = &self.up.as_ref().expect("it was opened").logs[at].log;
        let opening = log.opening();
        assert!(opening.lost_cursors.is_empty(), "P7: lost cursors {:?}", opening.lost_cursors);

        let first = walked.frames.first().map_or(u64::MAX, |(s, _)| *s);
        let there: BTreeSet<u64> = walked.frames.iter().map(|(_, id)| *id).collect();
        let missing: Vec<(u64, u64)> = known.hoped.difference(&there).map(|id| (*id, known.sequence_of[id])).collect();
        for (id, sequence) in &missing {
            if required.contains(id) {
                assert!(
                    *sequence < first,
                    "P1: {id} ({sequence}) is gone, after {end:?}; {first} is there: {opening:?}"
                );
            }
        }
        self.check_gaps(at, walked, &missing, required);
        let known = &model.logs[at];
        self.seen.recovered += there.difference(&known.hoped).count() as u64;
        self.seen.lost_unsynced += missing.iter().filter(|(id, _)| !required.contains(id)).count() as u64;
        self.seen.torn += opening.cuts.len() as u64;
    }

    /// What lies between frames and is not there is declared.
    fn check_gaps(&self, at: usize, walked: &Walked, missing: &[(u64, u64)], required: &BTreeSet<u64>) {
        for lost in &walked.lost {
            assert_ne!(lost.reason, Reason::Damaged, "P2: damage on a sound disk, log {at}: {lost:?}");
            let promised = missing
                .iter()
                .find(|(id, s)| required.contains(id) && (lost.first_sequence..=lost.last_sequence).contains(s));
            assert!(promised.is_none(), "P1: {promised:?} is declared lost: {lost:?}");
        }
        let (Some((first, _)), Some((last, _))) = (walked.frames.first(), walked.frames.last()) else { return };
        for (id, sequence) in missing.iter().filter(|(_, s)| (*first..*last).contains(s)) {
            let is_declared = walked.lost.iter().any(|l| (l.first_sequence..=l.last_sequence).contains(sequence));
            assert!(is_declared, "P2: {id} ({sequence}) was acked, is gone, and nothing says so");
        }
    }

    fn check_cursor(&mut self, at: usize, which: usize, required: &BTreeSet<u64>, walked: &Walked, end: End) {
        let given = self.drain(at, which);
        let may_lack = self.may_lack(at, walked);
        let Some(up) = &mut self.up else { return };
        let reader = &mut up.logs[at].readers[which];
        let name = reader.name;
        let pending = reader.cursor.pending().items;
        let wanted = items_of(&given);
        assert!(
            pending == wanted || may_lack && pending > wanted,
            "P8: {name} (log {at}) has {pending} pending, gives {wanted}, {end:?}: {given:?} {walked:?} {:?}",
            lock(&reader.core.state).slot
        );
        reader.cursor.rewind();
        let slot = lock(&reader.core.state).slot.clone();
        let model = self.recorder.model();
        let known = &model.logs[at].cursors[name];
        let again: Vec<&u64> = given.intersection(&known.durable).collect();
        assert!(again.is_empty(), "P7: {name} gives {again:?} again, durably acked before");
        let sequences: BTreeMap<u64, u64> = walked.frames.iter().map(|(s, id)| (*id, *s)).collect();
        // A drop is durable before its segment goes: the frames may still be there.
        let first = given.iter().map(|id| sequences[id]).min().unwrap_or(u64::MAX);
        let sequence = |id: &u64| model.logs[at].sequence_of[id];
        let is_owed = |id: &&u64| sequence(id) >= known.start && model.logs[at].is_owed(**id);
        let owed = required.iter().filter(is_owed);
        let dropped: Vec<u64> = owed.filter(|id| !given.contains(id) && !known.acked.contains(id)).copied().collect();
        for id in &dropped {
            let sequence = sequence(id);
            assert!(sequence < first, "P7: {name} passed {id} ({sequence}), which nobody acked: {slot:?}");
        }
        let limits = [Reason::Full, Reason::MaxAge, Reason::Orphaned];
        let charged: u64 = limits.iter().map(|r| slot.dropped[*r as usize].items).sum();
        assert!(
            items_of(&dropped) <= charged,
            "P8: {name} lacks {dropped:?} and counts {charged} as dropped: {walked:?}, {slot:?}"
        );
        assert_eq!(slot.dropped[Reason::Damaged as usize].items, 0, "P2: {name}: damage on a sound disk");
        self.check_counters(at, name, &given, walked, &slot);
        self.seen.dropped += dropped.len() as u64;
        self.seen.repeated += known.acked.intersection(&given).count() as u64;
    }

    /// Whether frames may have lain behind the last one. With `os`, the power takes frames of which a cursor's file tells:
    /// until the next segment says that they are lost they are pending, and what a cursor acked of them stands in for
    /// losses before them. Of other frames no file tells before they are durable.
    fn may_lack(&self, at: usize, walked: &Walked) -> bool {
        let known = &self.recorder.model().logs[at];
        let there: BTreeSet<u64> = walked.frames.iter().map(|(_, id)| *id).collect();
        let last = walked.frames.last().map_or(0, |(sequence, _)| *sequence);
        let was_behind = |id: &u64| known.sequence_of.get(id).is_none_or(|sequence| *sequence > last);
        let is_os = self.plan.logs[at].options.durability == Durability::Os;
        is_os && known.issued.keys().any(|id| !there.contains(id) && was_behind(id))
    }

    fn check_counters(&self, at: usize, name: &'static str, given: &BTreeSet<u64>, walked: &Walked, slot: &Slot) {
        let there: BTreeMap<u64, u64> = walked.frames.iter().map(|(sequence, id)| (*id, *sequence)).collect();
        // What was dropped is still there when its segment was not removed.
        let is_dropped = |id: &u64| {
            let ranges = slot.dropped.iter().filter(|d| d.items > 0).map(|d| d.first_sequence..=d.last_sequence);
            there.get(id).is_none_or(|sequence| ranges.into_iter().any(|range| range.contains(sequence)))
        };
        self.recorder.change(|model| {
            let cursor = model.logs[at].cursors.get_mut(name).expect("it was opened");
            let counted = slot.delivered_items + slot.parked_items;
            // Acked in memory only, and gone with the power, or dropped before: whether it was counted as done shows in
            // the counter alone.
            let in_memory = cursor.acked.difference(&cursor.durable);
            let unclear = items_of(in_memory.filter(|id| !given.contains(id) && is_dropped(id)));
            let most = cursor.counted - items_of(cursor.acked.intersection(given));
            assert!(
                (most - unclear.min(most)..=most).contains(&counted),
                "P8: {name} counts {counted} as done, of {most} (unclear: {unclear}): {cursor:?}, {given:?}, {slot:?}"
            );
            cursor.acked.retain(|id| !given.contains(id));
            cursor.counted = counted;
            cursor.flushed();
        });
    }

    /// Reads all that a cursor gives.
    fn drain(&mut self, at: usize, which: usize) -> BTreeSet<u64> {
        let most = 1 + self.dice.roll(100_000) as usize;
        let Some(up) = &mut self.up else { return BTreeSet::new() };
        let reader = &mut up.logs[at].readers[which];
        let model = self.recorder.model();
        drain(&mut reader.cursor, most, &model.logs[at])
    }

    /// Each letter that was answered as durable is there.
    fn check_letters(&mut self) {
        let model = self.recorder.model();
        for (at, known) in model.logs.iter().enumerate().filter(|(_, log)| !log.letters.is_empty()) {
            let reader = self.reader_of_files();
            let mut letters = reader.read_dead_letters(self.plan.logs[at].name).expect("P1: dead letters are there");
            let mut found = BTreeSet::new();
            while let Some(frame) = letters.next().expect("P5: dead letters can be read") {
                let (_, letter) = DeadLetter::from_frame(&frame).expect("P3: a dead letter");
                let id = super::super::number(&letter.payload);
                assert!(known.issued.contains_key(&id), "P3: a letter of {id}");
                found.insert(id);
            }
            let gone: Vec<&u64> = known.letters.iter().filter(|id| !found.contains(id)).collect();
            if gone.is_empty() {
                continue;
            }
            // Their log drops its oldest when it or the disk is full, and counts them first.
            let losses =
                self.up.as_ref().expect("it was opened").logs[at].log.losses().expect("P8: losses can be read");
            let is_theirs = |loss: &&Loss| loss.cursor.as_deref() == Some(KEEPER);
            let told: u64 = losses.iter().filter(is_theirs).map(|loss| loss.total_items).sum();
            assert!(items_of(gone.iter().copied()) <= told, "P1: letters {gone:?} are gone, told are {losses:?}");
        }
    }

    fn reader_of_files(&self) -> Reader {
        let spool = &self.up.as_ref().expect("it was opened").spool;
        let env = spool.env();
        Reader::with(env, Path::new(DIR))
    }

    /// The log goes on, and its ledger closes.
    pub(crate) fn finish(&mut self) {
        self.heal();
        self.open_cursors(true);
        for at in 0..self.plan.logs.len() {
            self.append_until_taken(at);
        }
        for at in 0..self.plan.logs.len() {
            let readers = self.up.as_ref().map_or(0, |up| up.logs[at].readers.len());
            for which in 0..readers {
                self.finish_cursor(at, which);
            }
        }
        let end = self.stop(End::Closed);
        assert_eq!(end, End::Closed, "P5: closes");
        self.recover(End::Closed);
        for log in &self.up.as_ref().expect("it runs").logs {
            let opening = log.log.opening();
            assert!(opening.clean && opening.cuts.is_empty(), "P5: closed, and opened with {opening:?}");
        }
        let verification = self.reader_of_files().verify(&mut |_, _| {}).expect("P5: verify reads it");
        for log in verification.logs.iter().chain(&verification.dead_letters) {
            assert!(log.ledger_closes, "P8: verify: {log:?}");
            // On a disk that fails, a seal may be cut at any segment.
            let is_cut_seal = |damage: &Damage| self.plan.disk_fails && damage.reason.starts_with("the footer");
            assert!(log.damage.iter().all(is_cut_seal), "P2: verify: {log:?}");
        }
    }

    /// Liveness: at once, or when what is delivered or dropped made room.
    fn append_until_taken(&mut self, at: usize) {
        for _ in 0..20 {
            let before = self.recorder.model().logs[at].acked.len();
            self.append_one(at);
            self.turn();
            if self.recorder.model().logs[at].acked.len() > before {
                return;
            }
            // Full: the readers deliver, the housekeeper tidies up, the log backs off for 5 s at most.
            let readers = self.up.as_ref().map_or(0, |up| up.logs[at].readers.len());
            for which in 0..readers {
                self.ack_all(at, which);
            }
            self.clock.go(std::time::Duration::from_secs(6));
            self.up.as_ref().expect("it runs").spool.turn_housekeeper();
        }
        panic!("P5: log {at} takes nothing: {:?}", self.up.as_ref().map(|up| up.logs[at].log.trouble()));
    }

    fn ack_all(&mut self, at: usize, which: usize) {
        let Some(up) = &mut self.up else { return };
        let reader = &mut up.logs[at].readers[which];
        reader.hand.clear();
        reader.cursor.rewind();
        let mut given = Vec::new();
        while let Some(batch) = reader.cursor.next_batch(1 << 20).expect("P5: what is there can be read") {
            given.extend(batch.frames.iter().map(|f| (super::super::number(&f.payload), f.sequence)));
        }
        for (id, sequence) in given {
            self.ack_one(at, which, id, sequence, 0);
        }
    }

    fn finish_cursor(&mut self, at: usize, which: usize) {
        // With `interval` the last frames show after their sync.
        self.clock.go(self.plan.logs[at].options.sync_interval);
        self.turn();
        self.ack_all(at, which);
        let plan = self.plan.logs[at].clone();
        let up = self.up.as_mut().expect("it runs");
        let front = up.logs[at].log.0.view.front();
        let reader = &mut up.logs[at].readers[which];
        reader.cursor.flush().expect("P5: a cursor can be written");
        assert_eq!(reader.cursor.pending().items, 0, "P5: {} ends with nothing pending", reader.name);
        let slot = lock(&reader.core.state).slot.clone();
        let accepted = (front.totals - slot.start_totals).items;
        assert_eq!(accepted, slot.done_items(), "P8: {}: accepted = done: {slot:?}", reader.name);
        let model = self.recorder.model();
        let counted = model.logs[at].cursors[reader.name].counted;
        assert_eq!(slot.delivered_items + slot.parked_items, counted, "P8: {}: what was acked", reader.name);
        let holds = plan.cursors.iter().any(|(n, need)| *n == reader.name && *need == Need::Required);
        if holds && plan.options.on_full == OnFull::Reject && plan.options.max_age.is_zero() {
            let full = slot.dropped[Reason::Full as usize].items + slot.dropped[Reason::MaxAge as usize].items;
            assert_eq!(full, 0, "P1: {} lost to a limit that is not set", reader.name);
        }
    }
}

fn drain(cursor: &mut Cursor, most: usize, known: &LogModel) -> BTreeSet<u64> {
    let mut given = BTreeSet::new();
    let mut last = 0;
    while let Some(batch) = cursor.next_batch(most).expect("P5: what is there can be read") {
        for frame in &batch.frames {
            let id = known.met(frame.sequence, &frame.payload, frame.items);
            assert!(frame.sequence > last, "P2: {} comes after {last}", frame.sequence);
            last = frame.sequence;
            given.insert(id);
        }
    }
    given
}

/// Opening, without using what was opened, twice: P4.
pub(crate) fn check_twice(story: &mut Story) {
    let mut answers: Vec<(String, SimDisk)> = Vec::new();
    for _ in 0..2 {
        story.open().expect("P5: what a crash leaves can be opened");
        let logs: Vec<Log> = story.up.as_ref().map_or(Vec::new(), |up| up.logs.iter().map(|l| l.log.clone()).collect());
        let answer = logs.iter().map(|log| format!("{:?}", log.opening())).collect();
        drop(logs);
        story.up = None;
        story.disk = story.disk.after_exit();
        answers.push((answer, story.disk.clone()));
    }
    assert_eq!(answers[0].0, answers[1].0, "P4: opening twice gives two answers");
    let (once, twice) = (answers[0].1.tree(), answers[1].1.tree());
    let dir = |disk: &SimDisk| disk.dir(Path::new(DIR)).expect("it was opened");
    let difference = once.difference(dir(&answers[0].1), &twice, dir(&answers[1].1), "lock");
    assert_eq!(difference, None, "P4: opening twice leaves other bytes");
}

/// A crash at one moment: what it left, by `seed`, is opened and checked; with `keeps_moments` the moments of that
/// are answered, to be crashed in turn.
pub(crate) fn check_image(
    moment: &super::recorder::Moment,
    plan: &Arc<super::plan::Plan>,
    seed: u64,
    keeps_moments: bool,
) -> Story {
    let mut dice = Dice::new(seed);
    let end = if dice.chance(20) { End::Killed } else { End::PowerCut };
    let tree = match end {
        End::PowerCut => moment.tree.after_power_cut(&mut dice),
        _ => moment.tree.clone(),
    };
    let clock = Arc::new(super::machine::SimClock::new(plan.wall + 3_600_000_000_000));
    let mut story = Story::on(plan.clone(), tree, moment.model.clone(), clock, dice, keeps_moments);
    story.recorder.ended(end);
    if story.dice.chance(25) {
        check_twice(&mut story);
    }
    story.recover(end);
    for _ in 0..story.dice.roll(6) {
        story.step();
    }
    if story.dice.chance(40) {
        story.finish();
    }
    story.seen.images = 1;
    story
}
