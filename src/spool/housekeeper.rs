//! One thread per spool for what nobody waits for: cursors' slots, retention, age, orphans, spares, free space.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Error;
use super::age::AgeGate;
use super::clock::age;
use super::core::LogCore;
use super::env::{Env, lock};
use super::space::Space;

/// How often cursors that moved are written.
const CURSOR_INTERVAL: Duration = Duration::from_millis(100);
/// How often the rest is looked at.
const SLOW_INTERVAL: Duration = Duration::from_secs(1);
/// How long a log must be quiet before a spare is filled for it.
const QUIET: Duration = Duration::from_secs(2);
/// Between two pieces of a spare.
const PACE: Duration = Duration::from_millis(20);

/// The handle of the thread.
#[derive(Debug)]
pub(crate) struct Housekeeper {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    stop: Condvar,
    age_paused: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    stopped: bool,
    logs: Vec<Arc<LogCore>>,
}

impl Housekeeper {
    pub(crate) fn start(env: Env, dir: PathBuf, space: Arc<Space>, orphan_ttl: Duration) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        let keeper = Keeper { shared: shared.clone(), env, dir: dir.clone(), space, orphan_ttl, quiet: Vec::new() };
        let thread = std::thread::Builder::new().name("log housekeeper".to_owned()).spawn(move || keeper.run());
        Ok(Self { shared, thread: thread.map_err(|e| Error::io("start the housekeeper of", &dir, e))? })
    }

    /// Takes care of this log from now on.
    pub(crate) fn watch(&self, log: Arc<LogCore>) {
        lock(&self.shared.state).logs.push(log);
    }

    /// Whether drops by age pause because the wall clock jumped.
    pub(crate) fn age_is_paused(&self) -> bool {
        self.shared.age_paused.load(Ordering::Relaxed)
    }

    /// Ends the thread.
    pub(crate) fn stop(self) -> Result<(), Error> {
        lock(&self.shared.state).stopped = true;
        self.shared.stop.notify_all();
        self.thread.join().map_err(|_| Error::closed("(its housekeeper ended)"))
    }
}

impl Shared {
    /// Waits; false when the spool closes.
    fn pause(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut state = lock(&self.state);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if state.stopped || left.is_zero() {
                return !state.stopped;
            }
            state = self.stop.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// What the thread itself has.
struct Keeper {
    shared: Arc<Shared>,
    env: Env,
    dir: PathBuf,
    space: Arc<Space>,
    orphan_ttl: Duration,
    /// Last sequence of each log and since when it is that.
    quiet: Vec<(u64, Instant)>,
}

impl Keeper {
    fn run(mut self) {
        let mut gate = AgeGate::new(&*self.env.clock);
        let mut slow = Instant::now();
        while self.shared.pause(CURSOR_INTERVAL) {
            let logs = lock(&self.shared.state).logs.clone();
            for log in &logs {
                // A failure leaves the cursor to be written again: the position on disk is only older.
                drop(log.flush_cursors(true));
            }
            if slow.elapsed() < SLOW_INTERVAL {
                continue;
            }
            slow = Instant::now();
            gate.look(&*self.env.clock);
            self.shared.age_paused.store(gate.is_paused(&*self.env.clock), Ordering::Relaxed);
            self.space.look(&self.env, &self.dir);
            for (index, log) in logs.iter().enumerate() {
                self.keep(log, &gate);
                self.prepare(index, log);
            }
        }
    }

    fn keep(&self, log: &LogCore, gate: &AgeGate) {
        if !log.is_dead_letters() {
            // Tried again in a second; what cannot be parked for want of it stays in its cursor's window.
            drop(log.reserve_for_dead_letters(&|| self.shared.pause(PACE)));
        }
        self.mark_orphans(log, gate);
        let by_age = gate.allows(&*self.env.clock, log.opened) && tried(log);
        // What fails here, a full log tries itself when it needs room.
        if log.retain(by_age).unwrap_or(false) {
            log.queue.admit();
        }
    }

    /// Cursors whose exporter is gone hold nothing after a while.
    fn mark_orphans(&self, log: &LogCore, gate: &AgeGate) {
        if !gate.allows(&*self.env.clock, log.opened) {
            return;
        }
        let now = self.env.clock.wall();
        for cursor in log.cursor_list() {
            let alone = !cursor.seen.load(Ordering::Relaxed);
            let last_seen = lock(&cursor.state).slot.last_seen;
            if alone && age(last_seen, now) > self.orphan_ttl {
                cursor.orphaned.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Fills a spare for a log that has been quiet for a while.
    fn prepare(&mut self, index: usize, log: &LogCore) {
        let now = Instant::now();
        let last = log.view.front().visible.sequence;
        self.quiet.resize(self.quiet.len().max(index + 1), (u64::MAX, now));
        let (seen, since) = &mut self.quiet[index];
        if *seen != last {
            (*seen, *since) = (last, now);
        } else if since.elapsed() >= QUIET {
            // Without a spare the next segment is a file that grows.
            drop(log.fill_spare(log.segment_size, &|| self.shared.pause(PACE)));
        }
    }
}

/// Whether each exporter that holds data tried at least once in this run.
fn tried(log: &LogCore) -> bool {
    log.cursor_list().iter().all(|c| !c.holds() || c.tried.load(Ordering::Relaxed))
}
