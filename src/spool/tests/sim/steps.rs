//! What happens in a story, by chance: append, read, ack, park, flush, wait; and how each of these is done.

use std::ops::Range;
use std::time::Duration;

use rustix::io::Errno;

use super::disk::Call;
use super::model::{self, End};
use super::plan::SIZES;
use super::recorder::{assert_is_refusal, poll};
use super::story::Story;
use super::trouble::{Fault, Trouble};
use crate::spool::DeadLetter;
use crate::spool::env::lock;

impl Story {
    pub(crate) fn step(&mut self) {
        let pause = [0, 0, 1, 16, 120, 120, 1100, 2500];
        let pause = *self.dice.pick(&pause);
        self.clock.go(Duration::from_millis(pause));
        match self.dice.roll(100) {
            0..32 => self.append(),
            32..40 => self.turn(),
            40..54 => self.read(),
            54..68 => self.ack(),
            68..71 => self.park(),
            71..75 => self.flush(),
            75..87 => self.keep_house(),
            87..89 => self.time_flies(),
            89..91 => self.rewind(),
            91..93 => self.open_cursors(true),
            93..97 => self.trouble(),
            97 => self.restart(End::Closed),
            98 => self.restart(End::Killed),
            _ => self.restart(End::PowerCut),
        }
        self.check_room();
    }

    /// Several frames for one log, or for each.
    fn append(&mut self) {
        let all = self.dice.chance(10);
        let logs = self.plan.logs.len();
        let one = self.dice.roll(logs as u64) as usize;
        for at in if all { 0..logs } else { one..one + 1 } {
            let most = *self.dice.pick(&[2, 6, 12]);
            let count = 1 + self.dice.roll(most);
            for _ in 0..count {
                self.append_one(at);
            }
        }
        if self.dice.chance(85) {
            self.turn();
        }
    }

    pub(crate) fn append_one(&mut self, at: usize) {
        let length = SIZES[self.dice.roll(self.plan.sizes) as usize];
        let length = if self.dice.chance(30) { length + self.dice.roll(64) as usize } else { length };
        self.append_one_of(at, length);
    }

    pub(crate) fn append_one_of(&mut self, at: usize, length: usize) {
        let Some(up) = &self.up else { return };
        let id = self.recorder.change(|model| {
            let issued = &mut model.logs[at].issued;
            let id = at as u64 * 1_000_000 + issued.len() as u64;
            issued.insert(id, length);
            id
        });
        match up.logs[at].log.append(1, model::bytes(id, length), model::items(id) as u32) {
            Ok(ack) => self.recorder.wait_for(at, id, ack),
            Err(error) => assert_is_refusal(&error),
        }
    }

    pub(crate) fn turn(&mut self) {
        let Some(up) = &self.up else { return };
        up.spool.turn_writers();
        self.note_flushed();
    }

    pub(crate) fn keep_house(&mut self) {
        let Some(up) = &self.up else { return };
        up.spool.turn_housekeeper();
        self.note_flushed();
    }

    /// A cursor that is not dirty has written what it was told.
    fn note_flushed(&self) {
        let Some(up) = &self.up else { return };
        self.recorder.change(|model| {
            for (log, known) in up.logs.iter().zip(&mut model.logs) {
                for reader in log.readers.iter().filter(|r| !r.core.is_dirty()) {
                    if let Some(cursor) = known.cursors.get_mut(reader.name) {
                        cursor.flushed();
                    }
                }
            }
        });
    }

    /// One of the cursors that are open.
    fn reader(&mut self) -> Option<(usize, usize)> {
        let up = self.up.as_ref()?;
        let open = up.logs.iter().enumerate().flat_map(|(at, log)| (0..log.readers.len()).map(move |r| (at, r)));
        let open: Vec<(usize, usize)> = open.collect();
        (!open.is_empty()).then(|| *self.dice.pick(&open))
    }

    fn read(&mut self) {
        let Some((at, which)) = self.reader() else { return };
        let most = *self.dice.pick(&[200, 5000, 100_000]);
        let most = 1 + self.dice.roll(most) as usize;
        self.read_batch(at, which, most);
    }

    /// False when there was nothing, or it could not be read.
    pub(crate) fn read_batch(&mut self, at: usize, which: usize, most: usize) -> bool {
        let Some(up) = &mut self.up else { return false };
        let reader = &mut up.logs[at].readers[which];
        let batch = match reader.cursor.next_batch(most) {
            Ok(Some(batch)) => batch,
            Ok(None) => return false,
            Err(error) => {
                assert!(self.may_fail(), "reading: {error}");
                return false;
            }
        };
        let model = self.recorder.model();
        let known = &model.logs[at].cursors[reader.name];
        for frame in &batch.frames {
            let id = model.logs[at].met(frame.sequence, &frame.payload, frame.items);
            assert!(!known.acked.contains(&id), "P7: {} was given {id} again, which it had acked", reader.name);
            reader.hand.push((id, frame.sequence));
        }
        true
    }

    /// How many frames a reader has that are not acked.
    pub(crate) fn in_hand(&self, at: usize, which: usize) -> usize {
        self.up.as_ref().map_or(0, |up| up.logs[at].readers[which].hand.len())
    }

    /// Acks a range of what is in hand.
    fn ack(&mut self) {
        let Some((at, which)) = self.reader() else { return };
        let Some(up) = &mut self.up else { return };
        let reader = &mut up.logs[at].readers[which];
        if reader.hand.is_empty() {
            return;
        }
        let all = self.dice.chance(30);
        let from = if all { 0 } else { self.dice.roll(reader.hand.len() as u64) as usize };
        let to = if all { reader.hand.len() } else { (from + 1 + self.dice.roll(6) as usize).min(reader.hand.len()) };
        self.ack_in_hand(at, which, from..to);
    }

    pub(crate) fn ack_in_hand(&mut self, at: usize, which: usize, range: Range<usize>) {
        let Some(up) = &mut self.up else { return };
        let done: Vec<(u64, u64)> = up.logs[at].readers[which].hand.drain(range).collect();
        for (id, sequence) in done {
            self.ack_one(at, which, id, sequence, 0);
        }
    }

    pub(crate) fn ack_one(&mut self, at: usize, which: usize, id: u64, sequence: u64, parked: u64) {
        let Some(up) = &mut self.up else { return };
        let reader = &mut up.logs[at].readers[which];
        // What was dropped under its reader's hands is no more to be acked.
        let is_counted = lock(&reader.core.state).in_flight(sequence).is_some();
        self.recorder.change(|model| {
            if is_counted {
                model.logs[at].cursors.get_mut(reader.name).expect("it is open").ack(id);
            }
        });
        reader.cursor.ack(sequence, sequence, parked).expect("one frame is a range");
    }

    /// The backend refuses a frame: it becomes a dead letter, then is acked.
    fn park(&mut self) {
        let Some((at, which)) = self.reader() else { return };
        let in_hand = self.in_hand(at, which);
        if in_hand > 0 {
            let index = self.dice.roll(in_hand as u64) as usize;
            let length = 60 + self.dice.roll(3000) as usize;
            self.park_one(at, which, index, length);
        }
    }

    pub(crate) fn park_one(&mut self, at: usize, which: usize, index: usize, length: usize) {
        let Some(up) = &mut self.up else { return };
        let reader = &mut up.logs[at].readers[which];
        let (id, sequence) = reader.hand.remove(index);
        let letter = DeadLetter {
            sequence,
            first_item: 0,
            items: model::items(id) as u32,
            content: 2,
            payload: model::bytes(id, length),
            reason: "no".to_owned(),
        };
        let answer = match reader.cursor.append_letter(letter) {
            Ok(mut ack) => {
                up.spool.turn_writers();
                poll(&mut ack).expect("the writer took its turn")
            }
            Err(error) => Err(error),
        };
        match answer {
            Ok(_) => {
                self.seen.letters += 1;
                self.recorder.change(|model| model.logs[at].letters.push(id));
                self.ack_one(at, which, id, sequence, model::items(id));
            }
            Err(error) => {
                assert!(self.may_fail() || error.is_full() || error.is_poisoned(), "parking: {error}");
            }
        }
        self.note_flushed();
    }

    fn flush(&mut self) {
        if let Some((at, which)) = self.reader() {
            self.flush_one(at, which);
        }
    }

    pub(crate) fn flush_one(&mut self, at: usize, which: usize) {
        let Some(up) = &mut self.up else { return };
        if let Err(error) = up.logs[at].readers[which].cursor.flush() {
            assert!(self.may_fail(), "flushing: {error}");
        }
        self.note_flushed();
    }

    fn rewind(&mut self) {
        let Some((at, which)) = self.reader() else { return };
        let Some(up) = &mut self.up else { return };
        let reader = &mut up.logs[at].readers[which];
        reader.cursor.rewind();
        reader.hand.clear();
        if self.dice.chance(30) {
            up.logs[at].readers.remove(which);
        }
    }

    /// Hours pass, or somebody sets the clock.
    fn time_flies(&mut self) {
        match self.dice.roll(4) {
            0 => {
                let years = self.dice.roll(21) as i64 - 10;
                self.clock.set(years * 365 * 86_400 * 1_000_000_000);
            }
            1 => self.clock.go(Duration::from_secs(3700)),
            _ => self.clock.go(Duration::from_secs(620)),
        }
    }

    /// Calls fail for a while, or do no more.
    fn trouble(&mut self) {
        if !self.plan.troubled || self.in_trouble && self.dice.chance(60) {
            return self.heal();
        }
        self.in_trouble = true;
        if self.dice.chance(25) {
            return self.disk.leave(self.dice.roll(100_000));
        }
        let errno = *self.dice.pick(&[Errno::IO, Errno::IO, Errno::NOSPC, Errno::ROFS, Errno::DQUOT, Errno::INTR]);
        let changes = [Call::Write, Call::Sync, Call::SyncDir, Call::Create, Call::Rename, Call::Remove, Call::MakeDir];
        let calls = match self.dice.roll(3) {
            0 => changes.to_vec(),
            1 => vec![*self.dice.pick(&changes)],
            _ if errno == Errno::INTR => vec![Call::Write, Call::Read],
            _ => Vec::new(),
        };
        let trouble = if self.dice.chance(10) { Trouble::Short } else { Trouble::Fails(errno) };
        let from = self.disk.calls() + 1 + self.dice.roll(20);
        let to = from + if errno == Errno::INTR { 1 } else { 1 + self.dice.roll(30) };
        self.disk.add(Fault { from, to, calls, trouble });
    }
}
