//! What the machine's memory looks like just after an out-of-memory kill.

use std::path::Path;

/// How many of the largest tasks are told.
const TOP_TASKS: usize = 10;

/// The machine's memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct HostMemory {
    pub(crate) total: Option<u64>,
    pub(crate) available: Option<u64>,
}

impl HostMemory {
    pub(crate) fn read() -> Self {
        Self::parse(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default())
    }

    fn parse(meminfo: &str) -> Self {
        let bytes = |key: &str| {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
        };
        Self { total: bytes("MemTotal"), available: bytes("MemAvailable") }
    }
}

/// The largest tasks, as `pid comm resident-bytes`, largest first: those below a cgroup's directory, or all of them.
pub(crate) fn top_tasks(cgroup: Option<&Path>, page: u64) -> Vec<String> {
    let pids = match cgroup {
        Some(directory) => pids_below(directory),
        None => pids_of_host(),
    };
    let mut tasks: Vec<_> = pids
        .into_iter()
        .filter_map(|pid| {
            let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
            let resident = statm.split(' ').nth(1)?.parse::<u64>().ok()? * page;
            let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            (resident > 0).then(|| (resident, pid, comm.trim_end().to_owned()))
        })
        .collect();
    tasks.sort_unstable_by_key(|task| std::cmp::Reverse(task.0));
    tasks.truncate(TOP_TASKS);
    tasks.into_iter().map(|(resident, pid, comm)| format!("{pid} {comm} {resident}")).collect()
}

fn pids_of_host() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn pids_below(directory: &Path) -> Vec<u32> {
    let mut pids = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        let list = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        pids.extend(list.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid > 0));
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        waiting.extend(entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()));
    }
    pids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_in_kib() {
        let memory = HostMemory::parse("MemTotal:       24669360 kB\nMemFree: 1 kB\nMemAvailable:   2048 kB\n");
        assert_eq!(memory, HostMemory { total: Some(24_669_360 * 1024), available: Some(2_097_152) });
        assert_eq!(HostMemory::parse(""), HostMemory::default());
    }

    #[test]
    fn the_largest_tasks_of_the_host_come_first() {
        let tasks = top_tasks(None, 4096);
        let sizes: Vec<u64> = tasks.iter().map(|task| task.rsplit(' ').next().unwrap().parse().unwrap()).collect();
        assert!(!sizes.is_empty() && sizes.len() <= TOP_TASKS && sizes.is_sorted_by(|a, b| a >= b), "{tasks:?}");
    }
}
