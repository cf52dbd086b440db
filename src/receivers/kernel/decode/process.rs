//! The process block of a record: `struct process` of `ebpf/process.h`.

use super::bytes::Fields;
use crate::receivers::kernel::attribution::cgroup::CgroupIds;

const EXE_FIELD: usize = 1024 + 256;

/// Who an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Process {
    /// When the process began, by the boot clock.
    pub start: u64,
    pub cgroups: CgroupIds,
    pub pid: u32,
    pub tid: u32,
    /// Its pid in its own pid namespace.
    pub vpid: u32,
    pub parent_pid: u32,
    pub user_id: Option<u32>,
    /// Inode of its network namespace; 0 when it has none any more.
    pub netns: u32,
    pub comm: String,
    pub exe_name: Option<String>,
    /// None where the path was too long or did not reach the root.
    pub exe_path: Option<String>,
}

impl Process {
    pub(crate) fn parse(fields: &mut Fields<'_>) -> Option<Self> {
        let start = fields.u64()?;
        let cgroups = CgroupIds::parse(fields)?;
        let [pid, tid, vpid, parent_pid] = [fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?];
        let (user_id, netns) = (fields.u32()?, fields.u32()?);
        let (has_user_id, exe_complete, exe_bytes) = (fields.u8()? != 0, fields.u8()? != 0, fields.u16()?);
        fields.u32()?;
        let comm = fields.text(16)?;
        let exe = fields.bytes(EXE_FIELD)?.get(..usize::from(exe_bytes))?;
        let (exe_name, exe_path) = executable(exe, exe_complete);
        Some(Self {
            start,
            cgroups,
            pid,
            tid,
            vpid,
            parent_pid,
            user_id: has_user_id.then_some(user_id),
            netns,
            comm,
            exe_name,
            exe_path,
        })
    }
}

/// The name and the path from the parts of the path, last part first, each ended by a zero.
fn executable(parts: &[u8], complete: bool) -> (Option<String>, Option<String>) {
    let mut parts: Vec<_> = parts.split(|b| *b == 0).filter(|part| !part.is_empty()).collect();
    let Some(name) = parts.first().map(|name| String::from_utf8_lossy(name).into_owned()) else {
        return (None, None);
    };
    parts.reverse();
    let path = format!("/{}", String::from_utf8_lossy(&parts.join(&b'/')));
    (Some(name), complete.then_some(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_put_together_from_its_end() {
        let parts = b"bash\0bin\0usr\0";
        assert_eq!(executable(parts, true), (Some("bash".into()), Some("/usr/bin/bash".into())));
    }

    #[test]
    fn a_path_that_did_not_reach_the_root_gives_the_name_only() {
        assert_eq!(executable(b"bash\0bin\0", false), (Some("bash".into()), None));
        assert_eq!(executable(b"", false), (None, None));
    }
}
