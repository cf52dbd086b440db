//! **P6**: the directory stays within its cap and one segment, each log within its own, and so do dead letters.
//!
//! The segment: what a failed sync left in doubt goes to another file before it is acked, whatever the cap; and a name
//! whose removal was not durable yet is back after a power cut. Other files are made whatever there is, and count from
//! then on: a cursor's, what stands ready for dead letters, what an opening sets aside. Beyond the cap no file of frames
//! grows. `lock` and `spool.id` do not count.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::plan::{LogPlan, Plan, SEGMENT};
use super::story::{DIR, Story};
use crate::spool::dead_letter::MIN_CAP;
use crate::spool::format::cursor::FILE_LEN;

/// Bytes below a directory.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Held {
    all: u64,
    /// In segments and spares.
    frames: u64,
}

impl Story {
    /// After a step, or an opening of what a crash left.
    pub(crate) fn check_room(&mut self) {
        for (dir, cap) in caps(&self.plan) {
            let held = self.held(&dir);
            let before = self.room.insert(dir.clone(), held).unwrap_or_default();
            assert!(
                held.all <= cap + self.plan.largest_segment() || held.frames <= before.frames,
                "P6: {} holds {held:?} of {cap} bytes, before {before:?}",
                dir.display()
            );
        }
    }

    fn held(&self, dir: &Path) -> Held {
        let Some(at) = self.disk.dir(dir) else { return Held::default() };
        let tree = self.disk.tree();
        let mut held = Held::default();
        tree.walk(at, dir, &mut |path, file| {
            let size = tree.files[file].cached.size;
            let is_below = path.parent() != Some(Path::new(DIR));
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            held.all += if is_below { size } else { 0 };
            held.frames += if name.starts_with("seg-") || name.starts_with("spare-") { size } else { 0 };
        });
        held
    }
}

/// Each directory that has a cap.
fn caps(plan: &Plan) -> BTreeMap<PathBuf, u64> {
    let whole = plan.options.max_size.unwrap_or(u64::MAX);
    let of_log = |log: &LogPlan| {
        let cap = log.options.max_size.unwrap_or(whole).min(whole);
        [("logs", cap), ("dead", (cap / 10).max(MIN_CAP))]
            .map(|(kind, cap)| (Path::new(DIR).join(kind).join(log.name), cap))
    };
    // In a directory so small, what stands ready for dead letters is more than their part.
    let ready = (SEGMENT + FILE_LEN).saturating_sub(whole / 16) * plan.logs.len() as u64;
    plan.logs.iter().flat_map(of_log).chain([(PathBuf::from(DIR), whole + ready)]).collect()
}
