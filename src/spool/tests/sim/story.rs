//! A run of a spool on a simulated machine, step by step, by chance: append, read, ack, park, flush, wait, stop, be
//! killed, lose power. What it is told is held against the model at once; what a crash leaves is for [`super::check`].

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::io::Errno;

use super::dice::Dice;
use super::disk::{Call, Fault, Observer, SimDisk, Trouble};
use super::machine::{SimClock, SimRandom};
use super::model::{self, End, Model};
use super::plan::{Plan, SIZES};
use super::recorder::{Moment, Recorder, assert_is_refusal, poll};
use super::tree::Tree;
use crate::spool::cursor::CursorCore;
use crate::spool::env::{Env, lock};
use crate::spool::worker::Runner;
use crate::spool::{Cursor, DeadLetter, Error, Log, Spool, Start};

/// Where the spool is.
pub(crate) const DIR: &str = "/var/spool";

/// A machine, its disk, what was promised on it, and the process, if it runs.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) plan: Arc<Plan>,
    pub(crate) dice: Dice,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) disk: SimDisk,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) up: Option<Up>,
    /// Calls may fail now.
    pub(crate) in_trouble: bool,
    /// Of the machine: how often something of interest happened.
    pub(crate) seen: Seen,
}

/// A running process.
#[derive(Debug)]
pub(crate) struct Up {
    pub(crate) spool: Spool,
    pub(crate) logs: Vec<UpLog>,
}

#[derive(Debug)]
pub(crate) struct UpLog {
    pub(crate) log: Log,
    pub(crate) readers: Vec<UpReader>,
}

/// A cursor, and frames that it gave and that are not acked.
#[derive(Debug)]
pub(crate) struct UpReader {
    pub(crate) name: &'static str,
    pub(crate) cursor: Cursor,
    pub(crate) core: Arc<CursorCore>,
    pub(crate) hand: Vec<(u64, u64)>,
}

/// So that a run of nothing does not pass for a proof.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) images: u64,
    pub(crate) operations: u64,
    pub(crate) recovered: u64,
    pub(crate) torn: u64,
    pub(crate) dropped: u64,
    pub(crate) repeated: u64,
    pub(crate) letters: u64,
    pub(crate) lost_unsynced: u64,
}

impl Seen {
    pub(crate) fn add(&mut self, other: Self) {
        self.images += other.images;
        self.operations += other.operations;
        self.recovered += other.recovered;
        self.torn += other.torn;
        self.dropped += other.dropped;
        self.repeated += other.repeated;
        self.letters += other.letters;
        self.lost_unsynced += other.lost_unsynced;
    }
}

impl Story {
    /// On an empty disk.
    pub(crate) fn new(plan: Arc<Plan>, keeps_moments: bool) -> Self {
        let log = |log: &super::plan::LogPlan| model::LogModel {
            durability: log.options.durability,
            ..model::LogModel::default()
        };
        let model = Model { logs: plan.logs.iter().map(log).collect() };
        let dice = Dice::of(&[plan.seed, 2]);
        let clock = Arc::new(SimClock::new(plan.wall));
        Self::on(plan, Tree::new(), Arc::new(model), clock, dice, keeps_moments)
    }

    /// On a disk with something on it.
    pub(crate) fn on(
        plan: Arc<Plan>,
        tree: Tree,
        model: Arc<Model>,
        clock: Arc<SimClock>,
        mut dice: Dice,
        keeps_moments: bool,
    ) -> Self {
        let recorder = Arc::new(Recorder::new(model, keeps_moments));
        let disk = SimDisk::new(tree, Dice::new(dice.next()), Some(recorder.clone() as Arc<dyn Observer>));
        Self { plan, dice, clock, disk, recorder, up: None, in_trouble: false, seen: Seen::default() }
    }

    pub(crate) fn env(&mut self) -> Env {
        Env {
            disk: Arc::new(self.disk.clone()),
            clock: self.clock.clone(),
            random: Arc::new(SimRandom(Mutex::new(Dice::new(self.dice.next())))),
            runner: Runner::Hand,
            ..Env::real()
        }
    }

    /// Starts the process: the spool and its logs, no cursor.
    pub(crate) fn open(&mut self) -> Result<(), Error> {
        let env = self.env();
        let spool = Spool::open_on(env, Path::new(DIR), self.plan.options.clone())?;
        let mut logs = Vec::new();
        for plan in &self.plan.logs {
            let log = spool.log_with(plan.name, plan.options.clone())?;
            logs.push(UpLog { log, readers: Vec::new() });
        }
        self.up = Some(Up { spool, logs });
        Ok(())
    }

    /// Opens the cursors that are not open. One that was open in this run has its slot written by that.
    pub(crate) fn open_cursors(&mut self, in_this_run: bool) {
        let Some(up) = &mut self.up else { return };
        for (at, (log, plan)) in up.logs.iter_mut().zip(&self.plan.logs).enumerate() {
            for (name, need) in &plan.cursors {
                if log.readers.iter().any(|r| r.name == *name) {
                    continue;
                }
                let opened = log.log.cursor(name, Start::Oldest, *need);
                let cursor = match opened {
                    Ok(cursor) => cursor,
                    Err(error) => {
                        assert!(self.in_trouble, "cursor {name}: {error}");
                        continue;
                    }
                };
                let core = lock(&log.log.0.cursors).get(*name).expect("it was opened").clone();
                let start = lock(&core.state).slot.start;
                self.recorder.change(|model| {
                    let known = model.logs[at].cursors.entry(name).or_default();
                    known.start = start;
                    if in_this_run {
                        known.flushed();
                    }
                });
                log.readers.push(UpReader { name, cursor, core, hand: Vec::new() });
            }
        }
    }

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

    fn keep_house(&mut self) {
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
        let Some(up) = &mut self.up else { return };
        let reader = &mut up.logs[at].readers[which];
        let batch = match reader.cursor.next_batch(most) {
            Ok(Some(batch)) => batch,
            Ok(None) => return,
            Err(error) => return assert!(self.in_trouble, "reading: {error}"),
        };
        let model = self.recorder.model();
        let known = &model.logs[at].cursors[reader.name];
        for frame in &batch.frames {
            let id = model.logs[at].met(frame.sequence, &frame.payload, frame.items);
            assert!(!known.acked.contains(&id), "P7: {} was given {id} again, which it had acked", reader.name);
            reader.hand.push((id, frame.sequence));
        }
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
        let done: Vec<(u64, u64)> = reader.hand.drain(from..to).collect();
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
        let Some(up) = &mut self.up else { return };
        let reader = &mut up.logs[at].readers[which];
        if reader.hand.is_empty() {
            return;
        }
        let (id, sequence) = reader.hand.remove(self.dice.roll(reader.hand.len() as u64) as usize);
        let letter = DeadLetter {
            sequence,
            first_item: 0,
            items: model::items(id) as u32,
            content: 2,
            payload: model::bytes(id, 60 + self.dice.roll(3000) as usize),
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
            Err(error) => assert!(self.in_trouble || error.is_full() || error.is_poisoned(), "parking: {error}"),
        }
        self.note_flushed();
    }

    fn flush(&mut self) {
        let Some((at, which)) = self.reader() else { return };
        let Some(up) = &mut self.up else { return };
        if let Err(error) = up.logs[at].readers[which].cursor.flush() {
            assert!(self.in_trouble, "flushing: {error}");
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

    pub(crate) fn heal(&mut self) {
        if self.in_trouble {
            self.disk.heal();
            self.in_trouble = false;
            // As long as a log backs off at most.
            self.clock.go(Duration::from_secs(6));
            self.turn();
            self.keep_house();
        }
    }

    /// Ends the run, and begins another on what it left.
    fn restart(&mut self, end: End) {
        let end = self.stop(end);
        if self.in_trouble && self.dice.chance(50) {
            // An opening that meets trouble, and is killed.
            drop(self.open());
            self.up = None;
            self.recorder.ended(End::Killed);
            return self.revive(if end == End::Closed { End::Killed } else { end });
        }
        self.revive(end);
    }

    fn revive(&mut self, end: End) {
        self.disk.heal();
        self.in_trouble = false;
        self.recover(end);
    }

    /// Ends the run. A close that fails ends as a kill does.
    pub(crate) fn stop(&mut self, end: End) -> End {
        let Some(up) = self.up.take() else { return End::Killed };
        let mut end = end;
        if end == End::Closed {
            match up.spool.close() {
                Ok(()) => self.note_closed(&up),
                Err(error) => {
                    assert!(self.in_trouble, "closing: {error}");
                    end = End::Killed;
                }
            }
        }
        drop(up);
        self.recorder.ended(end);
        if end == End::PowerCut {
            self.cut_power();
        } else {
            self.disk = self.disk.after_exit();
        }
        end
    }

    fn note_closed(&self, up: &Up) {
        self.recorder.change(|model| {
            for (log, known) in up.logs.iter().zip(&mut model.logs) {
                for reader in &log.readers {
                    known.cursors.get_mut(reader.name).expect("it is open").flushed();
                }
            }
        });
    }

    fn cut_power(&mut self) {
        let tree = self.disk.tree().after_power_cut(&mut self.dice);
        self.disk = self.disk.with(tree);
        self.clock.reboot(Duration::from_secs(*self.dice.pick(&[1, 30, 4000, 200_000])));
    }

    pub(crate) fn take_moments(&self) -> Vec<Moment> {
        self.recorder.take_moments()
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the last calls:\n{}", self.disk.trace());
        }
    }
}
