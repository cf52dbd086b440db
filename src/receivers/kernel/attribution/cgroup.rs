//! From cgroup ids to paths, also of cgroups that are gone.
//!
//! The kernel tells ids, which are unique within a hierarchy: cgroup v2 is hierarchy 0, each v1 mount is another. The
//! map begins with a walk of the mounted hierarchies and follows births and deaths by two tracepoints.

use std::collections::{HashMap, VecDeque};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::container::place;
use crate::receivers::kernel::decode::Fields;

/// Dead cgroups that are still named; the oldest are forgotten first.
const TOMBSTONES: usize = 4096;
/// Cgroups that are named at all: a limit against a walk without end.
const LIMIT: usize = 65_536;

/// The cgroups of a task or socket, as a record has them. An id of 0 is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CgroupIds {
    /// In cgroup v2.
    pub unified: u64,
    /// In the hierarchy of the memory controller, where that is a v1 one.
    pub memory: u64,
    /// That hierarchy; 0 where memory is on cgroup v2.
    pub memory_hierarchy: u32,
}

impl CgroupIds {
    /// `struct cgroup_ids` of `ebpf/process.h`.
    pub(crate) fn parse(fields: &mut Fields<'_>) -> Option<Self> {
        let ids = Self { unified: fields.u64()?, memory: fields.u64()?, memory_hierarchy: fields.u32()? };
        fields.u32()?;
        Some(ids)
    }

    /// The known ones.
    pub(crate) fn keys(self) -> impl Iterator<Item = Key> {
        let memory = Key { hierarchy: self.memory_hierarchy, id: self.memory };
        [Key { hierarchy: 0, id: self.unified }, memory].into_iter().filter(|key| key.id != 0)
    }
}

/// A cgroup on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub hierarchy: u32,
    pub id: u64,
}

/// A cgroup that was born or died: `struct cgroup_record` of `ebpf/cgroup.bpf.c`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    key: Key,
    path: String,
    born: bool,
}

impl Change {
    pub(crate) fn parse(fields: &mut Fields<'_>, born: bool) -> Option<Self> {
        let (id, hierarchy, bytes) = (fields.u64()?, fields.u32()?, fields.u32()?);
        let path = fields.bytes(usize::try_from(bytes).ok()?)?;
        let path = path.strip_suffix(&[0]).unwrap_or(path);
        Some(Self { key: Key { hierarchy, id }, path: String::from_utf8_lossy(path).into_owned(), born })
    }

    /// The path of a cgroup that was born.
    pub(crate) fn birth(&self) -> Option<&str> {
        self.born.then_some(&self.path)
    }
}

/// The cgroup that says most about where something runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Best<'a> {
    pub id: u64,
    pub path: Option<&'a str>,
}

/// Ids to paths.
#[derive(Debug, Default)]
pub(crate) struct CgroupMap {
    paths: HashMap<Key, String>,
    dead: VecDeque<Key>,
    mounts: Vec<Mount>,
}

impl CgroupMap {
    /// Reads the mounted hierarchies. Called after the hooks are attached, so that no birth falls between.
    pub(crate) fn walk() -> Self {
        let mut map = Self { mounts: mounts(), ..Self::default() };
        map.walk_again();
        map
    }

    /// Reads the mounted hierarchies again, for what the hooks could not tell.
    pub(crate) fn walk_again(&mut self) {
        for mount in std::mem::take(&mut self.mounts) {
            self.walk_one(&mount);
            self.mounts.push(mount);
        }
    }

    fn walk_one(&mut self, mount: &Mount) {
        let mut waiting = vec![(mount.point.clone(), mount.root.clone())];
        while let Some((directory, path)) = waiting.pop() {
            let Ok(metadata) = std::fs::metadata(&directory) else { continue };
            if self.paths.len() >= LIMIT {
                return;
            }
            self.paths.insert(Key { hierarchy: mount.hierarchy, id: metadata.ino() }, path.clone());
            let Ok(entries) = std::fs::read_dir(&directory) else { continue };
            for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                let name = entry.file_name();
                let above = path.trim_end_matches('/');
                waiting.push((entry.path(), format!("{above}/{}", name.to_string_lossy())));
            }
        }
    }

    /// Follows a birth or a death.
    pub(crate) fn apply(&mut self, change: Change) {
        if change.born {
            self.paths.insert(change.key, change.path);
            return;
        }
        self.paths.entry(change.key).or_insert(change.path);
        self.dead.push_back(change.key);
        if self.dead.len() > TOMBSTONES
            && let Some(oldest) = self.dead.pop_front()
        {
            self.paths.remove(&oldest);
        }
    }

    /// Every path that is known.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.values().map(String::as_str)
    }

    /// Whether every known id has a path.
    pub(crate) fn knows(&self, ids: CgroupIds) -> bool {
        ids.keys().all(|key| self.paths.contains_key(&key))
    }

    /// The path of a cgroup, from its hierarchy's root.
    pub(crate) fn path(&self, key: Key) -> Option<&str> {
        self.paths.get(&key).map(String::as_str)
    }

    /// The cgroup that says most: one that names a container, then one that is not a root, then cgroup v2's.
    pub(crate) fn best(&self, ids: CgroupIds) -> Option<Best<'_>> {
        let worth = |best: &Best<'_>| match best.path {
            Some(path) if place(path).container_id.is_some() => 3,
            Some(path) if path != "/" => 2,
            Some(_) => 1,
            None => 0,
        };
        // Of equals max_by_key takes the last, and cgroup v2 comes first.
        let candidates: Vec<_> = ids.keys().map(|key| Best { id: key.id, path: self.path(key) }).collect();
        candidates.into_iter().rev().max_by_key(worth)
    }

    /// Where the directory of a cgroup is mounted.
    pub(crate) fn directory(&self, key: Key) -> Option<PathBuf> {
        let path = self.path(key)?;
        let mount = self.mounts.iter().find(|mount| mount.hierarchy == key.hierarchy)?;
        let below = Path::new(path).strip_prefix(&mount.root).ok()?;
        Some(mount.point.join(below))
    }
}

/// A mounted hierarchy.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    hierarchy: u32,
    point: PathBuf,
    /// The cgroup that is visible as the mount's root.
    root: String,
}

fn mounts() -> Vec<Mount> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    parse_mounts(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"))
}

/// The mounts of cgroup v2 and of the v1 memory controller: the only ones whose ids the records carry.
fn parse_mounts(mountinfo: &str, cgroups: &str) -> Vec<Mount> {
    let memory = cgroups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let hierarchy = parts.next()?.parse().ok()?;
        parts.next()?.split(',').any(|controller| controller == "memory").then_some(hierarchy)
    });
    let mut mounts: Vec<Mount> = Vec::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let mut left = left.split(' ').skip(3);
        let (Some(root), Some(point)) = (left.next(), left.next()) else { continue };
        let mut right = right.split(' ');
        let (kind, options) = (right.next(), right.nth(1).unwrap_or(""));
        let hierarchy = match kind {
            Some("cgroup2") => Some(0),
            Some("cgroup") if options.split(',').any(|option| option == "memory") => memory,
            _ => None,
        };
        let Some(hierarchy) = hierarchy else { continue };
        if !mounts.iter().any(|mount| mount.hierarchy == hierarchy) {
            mounts.push(Mount { hierarchy, point: PathBuf::from(unescape(point)), root: unescape(root) });
        }
    }
    mounts
}

/// Mount points have spaces and the like written as octal.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 24 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
34 30 0:30 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
35 30 0:31 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
39 30 0:35 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const HYBRID_SELF: &str = "9:name=systemd:/\n4:memory:/a\n1:cpu:/\n0::/\n";

    fn change(id: u64, path: &str, born: bool) -> Change {
        Change { key: Key { hierarchy: 0, id }, path: path.to_owned(), born }
    }

    #[test]
    fn a_hybrid_machine_has_two_hierarchies() {
        let mounts = parse_mounts(HYBRID, HYBRID_SELF);
        let seen: Vec<_> = mounts.iter().map(|mount| (mount.hierarchy, mount.point.to_str().unwrap())).collect();
        assert_eq!(seen, [(4, "/sys/fs/cgroup/memory"), (0, "/sys/fs/cgroup/unified")]);
    }

    #[test]
    fn a_unified_machine_has_one() {
        let mounts = parse_mounts("25 20 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw", "0::/init.scope");
        assert_eq!(mounts, [Mount { hierarchy: 0, point: "/sys/fs/cgroup".into(), root: "/".into() }]);
    }

    #[test]
    fn a_dead_cgroup_keeps_its_name() {
        let mut map = CgroupMap::default();
        map.apply(change(7, "/docker/x", true));
        map.apply(change(7, "/docker/x", false));
        assert_eq!(map.path(Key { hierarchy: 0, id: 7 }), Some("/docker/x"));
    }

    #[test]
    fn tombstones_are_limited() {
        let mut map = CgroupMap::default();
        for id in 1..=TOMBSTONES as u64 + 1 {
            map.apply(change(id, "/x", false));
        }
        assert_eq!(map.path(Key { hierarchy: 0, id: 1 }), None);
        assert!(map.path(Key { hierarchy: 0, id: 2 }).is_some());
    }

    #[test]
    fn on_a_hybrid_machine_the_hierarchy_that_is_used_says_most() {
        let mut map = CgroupMap::default();
        map.apply(change(1, "/", true));
        map.apply(Change { key: Key { hierarchy: 4, id: 9 }, path: "/docker/x".to_owned(), born: true });
        let ids = CgroupIds { unified: 1, memory: 9, memory_hierarchy: 4 };
        assert_eq!(map.best(ids), Some(Best { id: 9, path: Some("/docker/x") }));
        map.apply(change(2, "/system.slice/a.service", true));
        let ids = CgroupIds { unified: 2, ..ids };
        assert_eq!(map.best(ids), Some(Best { id: 2, path: Some("/system.slice/a.service") }));
        let container = format!("/docker/{}", "a".repeat(64));
        map.apply(Change { key: Key { hierarchy: 4, id: 10 }, path: container.clone(), born: true });
        let ids = CgroupIds { memory: 10, ..ids };
        assert_eq!(map.best(ids), Some(Best { id: 10, path: Some(&container) }));
    }

    #[test]
    fn ids_of_two_hierarchies_do_not_mix() {
        let mut map = CgroupMap::default();
        map.apply(change(9, "/v2", true));
        assert_eq!(map.path(Key { hierarchy: 4, id: 9 }), None);
    }
}
