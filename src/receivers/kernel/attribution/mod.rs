//! Whose an event is: from cgroup ids to paths, from paths to containers, pods and units.

pub(super) mod cgroup;
pub(super) mod container;
mod pods;
pub(super) mod process;

pub(super) use container::place;

use cgroup::{CgroupIds, CgroupMap, Change};
use pods::Pods;

use super::events::event::Attributes;

/// What turns ids into names.
#[derive(Debug, Default)]
pub(super) struct Attribution {
    pub cgroups: CgroupMap,
    pods: Pods,
}

impl Attribution {
    /// Reads the cgroups that are there, and what the runtimes say of the containers among them.
    pub(super) fn walk() -> Self {
        let cgroups = CgroupMap::walk();
        let mut pods = Pods::default();
        for id in cgroups.paths().filter_map(|path| place(path).container_id) {
            pods.born(&id);
        }
        Self { cgroups, pods }
    }

    /// Follows the birth or death of a cgroup.
    pub(super) fn apply(&mut self, change: Change) {
        if let Some(id) = change.birth().and_then(|path| place(path).container_id) {
            self.pods.born(&id);
        }
        self.cgroups.apply(change);
    }

    /// An event is about these cgroups: the last moment to learn of their containers.
    pub(super) fn seen(&mut self, ids: CgroupIds) {
        let path = self.cgroups.best(ids).and_then(|best| best.path);
        if let Some(id) = path.and_then(|path| place(path).container_id) {
            self.pods.seen(&id);
        }
    }

    /// Adds the container, pod and unit that a cgroup's path tells.
    pub(super) fn describe(&self, attributes: &mut Attributes, path: &str) {
        let place = place(path);
        let names = place.container_id.as_deref().and_then(|id| self.pods.names(id));
        place.add_to(attributes);
        if let Some(names) = names {
            names.add_to(attributes);
        }
    }
}
