//! A hung task is told at each of khungtaskd's rounds; people want to know when it began and when it ended.

use std::collections::HashMap;

use crate::receivers::kernel::attribution::process::{TaskState, task_state};
use crate::receivers::kernel::decode::Process;
use crate::receivers::kernel::events::clock;

/// Tasks that are followed at once.
const LIMIT: usize = 1024;

/// One report of the kernel's that a task is hung.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sighting<'a> {
    pub(crate) process: &'a Process,
    pub(crate) boot_nanos: u64,
    pub(crate) blocked_seconds: Option<f64>,
    pub(crate) uid: &'a str,
}

/// Where in its episode a sighting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Begin,
    Still,
}

impl Seen {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Still => "still",
        }
    }
}

/// An episode that is over.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) process: Process,
    /// The uid of the record that began it.
    pub(crate) uid: String,
    /// When the end was seen.
    pub(crate) boot_nanos: u64,
    pub(crate) blocked_seconds: Option<f64>,
    /// Whether the task is gone, rather than running again.
    pub(crate) gone: bool,
    /// Counts the ends.
    pub(crate) number: u64,
}

#[derive(Debug)]
struct Episode {
    process: Process,
    uid: String,
    began: u64,
    last: u64,
    blocked_seconds: Option<f64>,
    switches: Option<u64>,
}

/// The tasks that are hung now.
#[derive(Debug, Default)]
pub(crate) struct Episodes {
    open: HashMap<(u32, u64), Episode>,
    finished: u64,
}

impl Episodes {
    /// Begins an episode or goes on with it; returns the uid that names it.
    pub(crate) fn sighted(&mut self, sighting: &Sighting<'_>) -> (Seen, String) {
        let process = sighting.process;
        let key = (process.tid, process.start);
        if let Some(episode) = self.open.get_mut(&key).filter(|episode| episode.is_same(sighting)) {
            episode.last = sighting.boot_nanos;
            episode.blocked_seconds = sighting.blocked_seconds;
            return (Seen::Still, episode.uid.clone());
        }
        let uid = sighting.uid.to_owned();
        if self.open.len() < LIMIT {
            let episode = Episode {
                process: process.clone(),
                uid: uid.clone(),
                began: sighting.boot_nanos,
                last: sighting.boot_nanos,
                blocked_seconds: sighting.blocked_seconds,
                switches: task_state(process.pid, process.tid).switches(),
            };
            self.open.insert(key, episode);
        }
        (Seen::Begin, uid)
    }

    /// Whether any task is followed.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The episodes that ended since the last call.
    pub(crate) fn poll(&mut self) -> Vec<Finished> {
        let now = clock::boot_nanos();
        let states = self.open.iter().filter_map(|(key, episode)| {
            let gone = match task_state(episode.process.pid, episode.process.tid) {
                TaskState::Gone => true,
                TaskState::There { blocked, switches } if !blocked || episode.switches != Some(switches) => false,
                _ => return None,
            };
            Some((*key, gone))
        });
        let over: Vec<_> = states.collect();
        let mut finished = Vec::new();
        for (key, gone) in over {
            let Some(episode) = self.open.remove(&key) else { continue };
            self.finished += 1;
            let since = now.saturating_sub(episode.last) as f64 / 1e9;
            finished.push(Finished {
                process: episode.process,
                uid: episode.uid,
                boot_nanos: now,
                blocked_seconds: episode.blocked_seconds.map(|seconds| seconds + since),
                gone,
                number: self.finished,
            });
        }
        finished
    }
}

impl Episode {
    /// Whether the task has not run since this episode began: it was blocked then already.
    fn is_same(&self, sighting: &Sighting<'_>) -> bool {
        let Some(blocked) = sighting.blocked_seconds else { return true };
        let since = sighting.boot_nanos as f64 - blocked * 1e9;
        since <= self.began as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn process() -> Process {
        // No such task: pids end far below.
        Process { pid: u32::MAX - 1, tid: u32::MAX - 1, start: 5, ..Process::default() }
    }

    fn sighting<'a>(process: &'a Process, seconds: u64, blocked: f64, uid: &'a str) -> Sighting<'a> {
        Sighting { process, boot_nanos: seconds * SECOND, blocked_seconds: Some(blocked), uid }
    }

    #[test]
    fn one_episode_has_one_beginning() {
        let (mut episodes, process) = (Episodes::default(), process());
        assert_eq!(episodes.sighted(&sighting(&process, 100, 10.0, "A")), (Seen::Begin, "A".to_owned()));
        assert_eq!(episodes.sighted(&sighting(&process, 110, 20.0, "B")), (Seen::Still, "A".to_owned()));
        assert_eq!(episodes.sighted(&sighting(&process, 120, 30.0, "C")), (Seen::Still, "A".to_owned()));
    }

    #[test]
    fn a_task_that_ran_in_between_begins_anew() {
        let (mut episodes, process) = (Episodes::default(), process());
        episodes.sighted(&sighting(&process, 100, 10.0, "A"));
        assert_eq!(episodes.sighted(&sighting(&process, 200, 10.0, "B")), (Seen::Begin, "B".to_owned()));
    }

    #[test]
    fn a_task_that_is_gone_ends_its_episode_once() {
        let (mut episodes, process) = (Episodes::default(), process());
        episodes.sighted(&sighting(&process, 1, 0.5, "A"));
        let finished = episodes.poll();
        assert_eq!((finished.len(), finished[0].uid.as_str(), finished[0].gone), (1, "A", true));
        assert!(episodes.is_empty() && episodes.poll().is_empty());
    }
}
