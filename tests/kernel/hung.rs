//! `kernel.task.hung`: a task that writes to a frozen file system is uninterruptible until the thaw.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::actions::{act, run, until};
use crate::harness::{agent, check_common, now};

pub(crate) const NAME: &str = "kernel.task.hung";
const HOOK: &str = "tp_btf/sched_process_hang";
pub(crate) const TIMEOUT: &str = "/proc/sys/kernel/hung_task_timeout_secs";

/// The kernel has one time-out: who sets it is alone.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A setting of the kernel's that is put back.
pub(crate) struct Setting {
    path: &'static str,
    before: String,
}

impl Setting {
    pub(crate) fn set(path: &'static str, value: &str) -> Self {
        let before = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        std::fs::write(path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { path, before }
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        if let Err(error) = std::fs::write(self.path, self.before.trim()) {
            eprintln!("{} is not put back to {}: {error}", self.path, self.before);
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A mounted ext4 file system on a file in `directory`.
pub(crate) struct Mounted {
    point: PathBuf,
}

impl Mounted {
    pub(crate) fn new(directory: &Path, mebibytes: u64) -> Self {
        let (image, point) = (directory.join("image"), directory.join("mounted"));
        let file = std::fs::File::create(&image).expect("an image");
        file.set_len(mebibytes << 20).expect("room");
        run("mke2fs", &["-q", "-F", "-t", "ext4", text(&image)]);
        std::fs::create_dir(&point).expect("a mount point");
        run("mount", &["-t", "ext4", "-o", "loop", text(&image), text(&point)]);
        Self { point }
    }

    pub(crate) fn point(&self) -> &Path {
        &self.point
    }

    /// Until what it returns is dropped, writers wait.
    pub(crate) fn freeze(&self) -> Frozen<'_> {
        run("fsfreeze", &["--freeze", text(&self.point)]);
        Frozen(&self.point)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Those that waited may still be on their way out.
        until("the file system to be let go", || {
            Command::new("umount").arg(&self.point).output().expect("umount").status.success().then_some(())
        });
    }
}

/// A file system that is frozen.
pub(crate) struct Frozen<'a>(&'a Path);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        run("fsfreeze", &["--unfreeze", text(self.0)]);
    }
}

fn touch(disk: &Mounted, name: &str) -> Child {
    act("touch").env("TIDEGATE_FILE", disk.point().join(name)).spawn().expect("this binary")
}

#[test]
fn a_task_on_a_frozen_file_system_begins_goes_on_and_ends_an_episode() {
    let agent = agent();
    let _alone = alone();
    let _timeout = Setting::set(TIMEOUT, "2");
    let directory = tempfile::tempdir().expect("a directory");
    let disk = Mounted::new(directory.path(), 16);
    let frozen = disk.freeze();
    let began = now();
    let mut children = [touch(&disk, "one"), touch(&disk, "two")];
    // The thread that blocks is the one that the test harness runs the action in: its process is known.
    let pid = i64::from(children[0].id());
    let in_state = |state: &'static str| {
        move |record: &crate::harness::Record| {
            record.maybe_int("process.pid") == Some(pid) && record.text("kernel.episode.state") == state
        }
    };
    let begin = agent.wait(NAME, in_state("begin"));
    let still = agent.wait(NAME, in_state("still"));
    let thawed = now();
    drop(frozen);
    for child in &mut children {
        assert!(child.wait().expect("wait").success());
    }
    // Both are told in one turn of the kernel's: what the one says of others the other says too.
    let second = i64::from(children[1].id());
    let other = agent.wait(NAME, |record| record.maybe_int("process.pid") == Some(second));
    assert!(other.int("kernel.task.blocked_others") >= 1, "{}", other.show());
    let end = agent.wait(NAME, in_state("end"));
    let ended = now();
    println!("{}{}{}", begin.show(), still.show(), end.show());

    check_common(&begin, 17, HOOK, began, thawed);
    check_common(&still, 17, HOOK, began, thawed);
    assert_eq!(begin.text("kernel.episode.uid"), begin.text("log.record.uid"));
    for record in [&begin, &still] {
        let blocked = record.seconds("kernel.task.blocked_time");
        let since_began = (record.time - began) as f64 / 1e9;
        // khungtaskd counts from its first look, in jiffies.
        assert!(blocked >= 2.0 && blocked <= since_began + 0.1, "{blocked} of {since_began}");
        assert!((record.seconds("kernel.task.timeout") - 2.0).abs() < f64::EPSILON);
        assert_eq!(record.text("process.state"), "sleeping");
        let stack = record.text("code.stacktrace");
        assert!(stack.contains("mnt_want_write+0x") && stack.lines().count() > 4, "{stack}");
        assert_eq!(record.text("kernel.task.wchan"), "percpu_rwsem_wait");
        assert!(record.int("kernel.task.blocked_others") >= 1, "the other writer is blocked too");
    }
    assert!(still.time > begin.time);
    assert_eq!(still.text("kernel.episode.uid"), begin.text("log.record.uid"));
    assert_eq!(end.text("kernel.episode.uid"), begin.text("log.record.uid"));
    assert_eq!(end.severity, 9);
    assert!((thawed..=ended).contains(&end.time));
    assert!(end.seconds("kernel.task.blocked_time") >= still.seconds("kernel.task.blocked_time"));
}
