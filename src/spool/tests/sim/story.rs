//! A spool on a simulated machine: it is started, stopped, killed, loses its power. What it does in between is in
//! [`super::steps`]; what it is told is held against the model at once; what a crash leaves is for [`super::check`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::dice::Dice;
use super::disk::{Observer, SimDisk};
use super::machine::{SimClock, SimRandom};
use super::model::{self, End, Model};
use super::plan::Plan;
use super::recorder::{Moment, Recorder};
use super::room::Held;
use super::tree::Tree;
use crate::spool::cursor::CursorCore;
use crate::spool::env::{Env, lock};
use crate::spool::worker::Runner;
use crate::spool::{Cursor, Error, Log, Spool, Start};

/// Where the spool is.
pub(crate) const DIR: &str = "/var/spool";

/// An opening that fails is tried again so often on the same disk.
const PATIENCE: u32 = 60;

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
    /// Openings that failed since the disk was mended.
    failures: u32,
    /// What each directory held when it was last looked at.
    pub(crate) room: BTreeMap<PathBuf, Held>,
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
        Self {
            plan,
            dice,
            clock,
            disk,
            recorder,
            up: None,
            in_trouble: false,
            failures: 0,
            room: BTreeMap::new(),
            seen: Seen::default(),
        }
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

    /// Starts the process, and its cursors. An opening that the disk fails is tried again; it was a run that was killed.
    pub(crate) fn start(&mut self, mut end: End) -> End {
        while let Err(error) = self.open() {
            assert!(self.may_fail(), "P5: what a crash leaves can be opened: {error}");
            self.recorder.ended(End::Killed);
            end = if end == End::Closed { End::Killed } else { end };
            self.despair();
        }
        end
    }

    fn has_all_cursors(&self) -> bool {
        let Some(up) = &self.up else { return false };
        up.logs.iter().zip(&self.plan.logs).all(|(log, plan)| log.readers.len() == plan.cursors.len())
    }

    /// After so many failures somebody mends the disk.
    fn despair(&mut self) {
        self.failures += 1;
        if self.failures > PATIENCE {
            self.disk.heal();
            self.failures = 0;
        }
    }

    /// Opens the cursors, however often it takes.
    pub(crate) fn start_cursors(&mut self) {
        self.open_cursors(false);
        while !self.has_all_cursors() {
            self.despair();
            self.open_cursors(false);
        }
        self.resume();
    }

    /// Who was paused when the run before ended goes on.
    fn resume(&self) {
        for UpLog { log, readers } in self.up.iter().flat_map(|up| &up.logs) {
            for reader in readers.iter().filter(|reader| reader.cursor.is_paused()) {
                let resumed = log.resume(reader.name);
                resumed.unwrap_or_else(|error| assert!(self.may_fail(), "resuming: {error}"));
            }
        }
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
                        assert!(
                            self.in_trouble || self.disk.troubles(|troubles| troubles.may_show()),
                            "cursor {name}: {error}"
                        );
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

    /// Whether an error is the disk's, and no fault of the log.
    pub(crate) fn may_fail(&self) -> bool {
        self.in_trouble || self.disk.troubles(|troubles| troubles.may_show())
    }

    pub(crate) fn heal(&mut self) {
        if self.may_fail() {
            self.disk.heal();
            self.in_trouble = false;
            // As long as a log backs off at most.
            self.clock.go(Duration::from_secs(6));
            self.turn();
            self.keep_house();
        }
    }

    /// Ends the run, and begins another on what it left.
    pub(crate) fn restart(&mut self, end: End) {
        let end = self.stop(end);
        if self.may_fail() && self.dice.chance(50) {
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
                    assert!(self.may_fail(), "closing: {error}");
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
