//! Memory cgroups for the tests, on cgroup v1 and v2.

use std::path::{Path, PathBuf};

use crate::actions::until;

/// Where the memory controller is mounted.
pub(crate) struct Memory {
    pub(crate) root: PathBuf,
    pub(crate) unified: bool,
}

impl Memory {
    pub(crate) fn find() -> Self {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        let point = |line: &str| PathBuf::from(line.split(' ').nth(4).expect("a mount point"));
        let v1 = mounts.lines().find(|line| {
            let (_, right) = line.split_once(" - ").expect("a separator");
            right.starts_with("cgroup ") && right.rsplit(' ').next().expect("options").split(',').any(|o| o == "memory")
        });
        if let Some(line) = v1 {
            return Self { root: point(line), unified: false };
        }
        let v2 = mounts.lines().find(|line| line.contains(" - cgroup2 ")).expect("no memory controller is mounted");
        Self { root: point(v2), unified: true }
    }
}

/// A cgroup that is removed at the end.
pub(crate) struct Cgroup {
    directory: PathBuf,
    /// From the hierarchy's root.
    pub(crate) path: String,
}

impl Cgroup {
    /// Makes the cgroup and those above it, each with the memory controller.
    pub(crate) fn make(memory: &Memory, path: &str) -> Self {
        let directory = memory.root.join(path.trim_start_matches('/'));
        if memory.unified {
            let mut above = memory.root.clone();
            for part in Path::new(path.trim_start_matches('/')).components() {
                write(&above.join("cgroup.subtree_control"), "+memory");
                above.push(part);
                std::fs::create_dir_all(&above).expect("a cgroup");
            }
        } else {
            std::fs::create_dir_all(&directory).expect("a cgroup");
        }
        Self { directory, path: path.to_owned() }
    }

    /// A cgroup on v2, also where the memory controller is elsewhere: sockets belong to v2's.
    pub(crate) fn make_unified(path: &str) -> Self {
        let directory = Self::root_unified().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(&directory).expect("a cgroup");
        Self { directory, path: path.to_owned() }
    }

    /// Where cgroup v2 is mounted.
    pub(crate) fn root_unified() -> PathBuf {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        let v2 = mounts.lines().find(|line| line.contains(" - cgroup2 ")).expect("cgroup v2 is not mounted");
        PathBuf::from(v2.split(' ').nth(4).expect("a mount point"))
    }

    pub(crate) fn limit(&self, memory: &Memory, bytes: u64) {
        let file = if memory.unified { "memory.max" } else { "memory.limit_in_bytes" };
        write(&self.directory.join(file), &bytes.to_string());
    }

    /// The kernel's id of it.
    pub(crate) fn id(&self) -> i64 {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(&self.directory).expect("a cgroup").ino().cast_signed()
    }

    /// The file that a process writes its pid to, to move here.
    pub(crate) fn procs(&self) -> PathBuf {
        self.directory.join("cgroup.procs")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The last process may still be on its way out.
        until("the cgroup to be empty", || match std::fs::remove_dir(&self.directory) {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => None,
            Err(error) => panic!("{}: {error}", self.directory.display()),
            Ok(()) => Some(()),
        });
    }
}

/// 64 hexadecimal digits as a container runtime gives them, of this process and a word.
pub(crate) fn container_id(word: u32) -> String {
    format!("{:056x}{word:08x}", std::process::id())
}

pub(crate) fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|error| panic!("{} to {}: {error}", text, path.display()));
}
