//! Whose an event is: from cgroup ids to paths, from paths to containers, pods and units.

pub(super) mod cgroup;
pub(super) mod container;
pub(super) mod process;

pub(super) use container::place;

use cgroup::CgroupMap;

/// What turns ids into names.
#[derive(Debug)]
pub(super) struct Attribution {
    pub cgroups: CgroupMap,
}
