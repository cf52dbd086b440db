//! `kernel.task.hung`: a task that writes to a frozen file system is uninterruptible until the thaw.

use std::path::Path;
use std::process::Child;

use tempfile::TempDir;

use crate::actions::{act, run};
use crate::harness::{agent, check_common, now};

const NAME: &str = "kernel.task.hung";
const HOOK: &str = "tp_btf/sched_process_hang";
const TIMEOUT: &str = "/proc/sys/kernel/hung_task_timeout_secs";

/// A setting of the kernel's that is put back.
struct Setting {
    path: &'static str,
    before: String,
}

impl Setting {
    fn set(path: &'static str, value: &str) -> Self {
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

/// A frozen ext4 file system on a file.
struct Frozen {
    directory: TempDir,
    frozen: bool,
}

impl Frozen {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let image = directory.path().join("image");
        let file = std::fs::File::create(&image).expect("an image");
        file.set_len(16 << 20).expect("16 MiB");
        run("mke2fs", &["-q", "-F", "-t", "ext4", text(&image)]);
        let point = directory.path().join("mounted");
        std::fs::create_dir(&point).expect("a mount point");
        run("mount", &["-t", "ext4", "-o", "loop", text(&image), text(&point)]);
        run("fsfreeze", &["--freeze", text(&point)]);
        Self { directory, frozen: true }
    }

    fn point(&self) -> std::path::PathBuf {
        self.directory.path().join("mounted")
    }

    fn thaw(&mut self) {
        if std::mem::take(&mut self.frozen) {
            run("fsfreeze", &["--unfreeze", text(&self.point())]);
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.thaw();
        run("umount", &[text(&self.point())]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn touch(frozen: &Frozen, name: &str) -> Child {
    act("touch").env("TIDEGATE_FILE", frozen.point().join(name)).spawn().expect("this binary")
}

#[test]
fn a_task_on_a_frozen_file_system_begins_goes_on_and_ends_an_episode() {
    let agent = agent();
    let _timeout = Setting::set(TIMEOUT, "2");
    let mut frozen = Frozen::new();
    let began = now();
    let mut children = [touch(&frozen, "one"), touch(&frozen, "two")];
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
    frozen.thaw();
    for child in &mut children {
        assert!(child.wait().expect("wait").success());
    }
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
