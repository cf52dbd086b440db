//! One worker per spool for what nobody waits for: cursors' slots, retention, age, orphans, spares, free space.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Error;
use super::age::AgeGate;
use super::bell::Bell;
use super::clock::age;
use super::core::LogCore;
use super::env::{Env, lock};
use super::space::Space;
use super::worker::{Runner, Work, Worker};

/// How often cursors that moved are written, and those that lag too far are moved.
const CURSOR_INTERVAL: Duration = super::limit::EVERY;
/// How often the rest is looked at.
const SLOW_INTERVAL: Duration = Duration::from_secs(1);
/// How long a log must be quiet before a spare is filled for it.
const QUIET: Duration = Duration::from_secs(2);
/// Between two pieces of a spare.
const PACE: Duration = Duration::from_millis(20);

/// The handle of the worker.
#[derive(Debug)]
pub(crate) struct Housekeeper {
    shared: Arc<Shared>,
    worker: Worker,
}

#[derive(Debug, Default)]
struct Shared {
    bell: Arc<Bell>,
    logs: Mutex<Vec<Arc<LogCore>>>,
    age_paused: AtomicBool,
}

impl Housekeeper {
    /// It wakes when the bell rings.
    pub(crate) fn start(
        env: Env,
        dir: PathBuf,
        space: Arc<Space>,
        orphan_ttl: Duration,
        bell: Arc<Bell>,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared { bell, ..Shared::default() });
        let keeper = Keeper {
            shared: shared.clone(),
            env: env.clone(),
            dir: dir.clone(),
            space,
            orphan_ttl,
            quiet: Vec::new(),
            gate: AgeGate::new(&*env.clock),
            fast: Cell::new(env.clock.monotonic()),
            slow: env.clock.monotonic(),
        };
        let worker = Worker::start(&env, "log housekeeper", keeper);
        Ok(Self { shared, worker: worker.map_err(|e| Error::io("start the housekeeper of", &dir, e))? })
    }

    /// Takes care of this log from now on.
    pub(crate) fn watch(&self, log: Arc<LogCore>) {
        lock(&self.shared.logs).push(log);
    }

    /// Whether drops by age pause because the wall clock jumped.
    pub(crate) fn age_is_paused(&self) -> bool {
        self.shared.age_paused.load(Ordering::Relaxed)
    }

    /// Does what is due now.
    #[cfg(test)]
    pub(crate) fn turn(&self) {
        self.worker.turn();
    }

    /// Ends the worker.
    pub(crate) fn stop(self) -> Result<(), Error> {
        self.shared.bell.stop();
        self.worker.join()
    }
}

/// What the worker itself has.
#[derive(Debug)]
struct Keeper {
    shared: Arc<Shared>,
    env: Env,
    dir: PathBuf,
    space: Arc<Space>,
    orphan_ttl: Duration,
    /// Last sequence of each log and since when it is that.
    quiet: Vec<(u64, Duration)>,
    gate: AgeGate,
    /// When the cursors were last looked at.
    fast: Cell<Duration>,
    /// When the rest was last looked at.
    slow: Duration,
}

impl Keeper {
    fn look(&mut self) {
        let logs = lock(&self.shared.logs).clone();
        self.look_at_cursors(&logs);
        let now = self.env.clock.monotonic();
        // At once, so that the next segment is a recycled one.
        logs.iter().for_each(|log| self.retain(log));
        if now.saturating_sub(self.slow) < SLOW_INTERVAL {
            return;
        }
        self.slow = now;
        self.gate.look(&*self.env.clock);
        self.shared.age_paused.store(self.gate.is_paused(&*self.env.clock), Ordering::Relaxed);
        self.space.look(&self.env, &self.dir);
        for (index, log) in logs.iter().enumerate() {
            self.keep(log, &logs);
            self.prepare(index, log, &logs);
        }
    }

    /// When it is time: those that lag too far are moved, those that moved are written.
    fn look_at_cursors(&self, logs: &[Arc<LogCore>]) {
        let now = self.env.clock.monotonic();
        if now.saturating_sub(self.fast.get()) < CURSOR_INTERVAL {
            return;
        }
        self.fast.set(now);
        for log in logs {
            // A failure leaves the cursor where it is: tried again at the next look.
            drop(log.trim());
            let moved = log.cursor_list().iter().any(|cursor| cursor.is_dirty());
            // A failure leaves the cursor to be written again: the position on disk is only older.
            drop(log.flush_cursors(true));
            if moved && log.queue.has_line() {
                // What a cursor passed durably may be the room that somebody waits for.
                log.queue.admit();
            }
        }
    }

    /// Waits between two pieces of a spare; the cursors do not wait for it to be whole. False when the spool closes.
    fn pace(&self, logs: &[Arc<LogCore>]) -> bool {
        self.look_at_cursors(logs);
        match self.env.runner {
            Runner::Threads => self.shared.bell.pause(&*self.env.clock, PACE),
            #[cfg(test)]
            Runner::Hand => true,
        }
    }

    fn keep(&self, log: &LogCore, logs: &[Arc<LogCore>]) {
        if !log.is_dead_letters() {
            // Tried again in a second; what cannot be parked for want of it stays in its cursor's window.
            drop(log.reserve_for_dead_letters(&|| self.pace(logs)));
        }
        self.mark_orphans(log);
    }

    /// Gives back what nobody needs any more.
    fn retain(&self, log: &LogCore) {
        let by_age = self.gate.allows(&*self.env.clock, log.opened) && tried(log);
        // What fails here, a full log tries itself when it needs room.
        if log.retain(by_age, self.gate.wall()).unwrap_or(false) {
            log.queue.admit();
        }
        drop(log.recheck_cap());
    }

    /// Cursors whose exporter is gone hold nothing after a while. That the others are open is written now and then
    /// even if they do not move: after a kill their time as orphans is counted from there.
    fn mark_orphans(&self, log: &LogCore) {
        let now = self.gate.wall();
        for cursor in log.cursor_list() {
            let unseen = age(lock(&cursor.state).slot.last_seen, now);
            if !cursor.is_alone() {
                if unseen > self.orphan_ttl / 24 {
                    cursor.set_dirty();
                }
            } else if unseen > self.orphan_ttl && self.gate.allows(&*self.env.clock, log.opened) {
                cursor.orphaned.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Fills a spare for a log that has been quiet for a while.
    fn prepare(&mut self, index: usize, log: &LogCore, logs: &[Arc<LogCore>]) {
        let now = self.env.clock.monotonic();
        let last = log.view.front().visible.sequence;
        self.quiet.resize(self.quiet.len().max(index + 1), (u64::MAX, now));
        let (seen, since) = &mut self.quiet[index];
        if *seen != last {
            (*seen, *since) = (last, now);
        } else if now.saturating_sub(*since) >= QUIET {
            // Without a spare the next segment is a file that grows.
            drop(log.fill_spare(log.segment_size, &|| self.pace(logs)));
        }
    }
}

impl Work for Keeper {
    fn run(mut self: Box<Self>) -> Result<(), Error> {
        while self.shared.bell.wait(&*self.env.clock, self.fast.get() + CURSOR_INTERVAL) {
            self.look();
        }
        Ok(())
    }

    #[cfg(test)]
    fn turn(&mut self) -> Option<Result<(), Error>> {
        if self.shared.bell.is_stopped() {
            return Some(Ok(()));
        }
        self.look();
        None
    }
}

/// Whether each exporter that holds data tried at least once in this run.
fn tried(log: &LogCore) -> bool {
    log.cursor_list().iter().all(|c| !c.holds() || c.tried.load(Ordering::Relaxed))
}
