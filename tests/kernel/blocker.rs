//! `kernel.task.blocker.pid`: who holds the lock that a hung task waits for.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use crate::actions::{act, until};
use crate::harness::{Record, agent, kernel_since};
use crate::hung::{Mounted, NAME, Setting, TIMEOUT, alone};

/// O_DIRECT
const DIRECT: u32 = rustix::fs::OFlags::DIRECT.bits();

/// The action that holds the lock: a write that makes a file longer waits for the disk with the file's lock held.
pub(crate) fn append() {
    let path = std::env::var("TIDEGATE_FILE").expect("TIDEGATE_FILE");
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).custom_flags(DIRECT.cast_signed()).open(path);
    #[repr(align(4096))]
    struct Aligned([u8; 4096]);
    let block = Box::new(Aligned([7; 4096]));
    let fd = file.expect("a file");
    assert_eq!(rustix::io::pwrite(&fd, &block.0, 0).expect("writing"), 4096);
}

/// Whether a thread of the process waits in the write, uninterruptible.
fn is_writing(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.map(|thread| thread.path()).any(|thread| {
        let read = |file: &str| std::fs::read_to_string(thread.join(file)).unwrap_or_default();
        read("stat").rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('D'))
            && read("wchan").contains("iomap_dio")
    })
}

/// A file system on a file of another one that is frozen: its disk does not answer.
#[test]
fn a_task_that_waits_for_a_lock_names_who_holds_it() {
    let agent = agent();
    let _alone = alone();
    let _timeout = Setting::set(TIMEOUT, "2");
    let directory = tempfile::tempdir().expect("a directory");
    let disk = Mounted::new(directory.path(), 48);
    let above = Mounted::new(disk.point(), 16);
    let file = above.point().join("file");
    std::fs::write(&file, "").expect("a file");
    let frozen = disk.freeze();
    let mut holder = act("append").env("TIDEGATE_FILE", &file).spawn().expect("this binary");
    let pid = i64::from(holder.id());
    // It is not hung itself: the kernel wakes those that wait for a disk now and then.
    until("the writer to wait with the lock held", || is_writing(holder.id()).then_some(()));
    let waiter = std::thread::spawn({
        let file = file.clone();
        move || OpenOptions::new().write(true).open(file).and_then(|mut file| file.write_all(b"late"))
    });
    let own = i64::from(std::process::id());
    let record = agent.wait(NAME, |record: &Record| record.maybe_int("process.pid") == Some(own));
    println!("{}", record.show());
    assert!(record.int("kernel.task.blocked_others") >= 1, "the holder waits too, whichever is told first");
    drop(frozen);
    assert!(holder.wait().expect("wait").success());
    waiter.join().expect("no panic").expect("it is written in the end");
    if kernel_since(6, 18) {
        assert_eq!(record.int("kernel.task.blocker.pid"), pid);
    } else {
        assert!(!record.has("kernel.task.blocker.pid"), "this kernel does not keep it: {}", record.show());
    }
}
