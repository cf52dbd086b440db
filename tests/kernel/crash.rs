//! `kernel.process.crash`.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use tidegate::receivers::kernel;

use crate::actions::act;
use crate::harness::{Agent, agent, check_common, generous, now};

const HOOK: &str = "tp_btf/signal_deliver";

#[test]
fn a_shell_killed_by_segv_is_a_crash_with_its_executable_and_sender() {
    let agent = agent();
    let began = now();
    let mut child = Command::new("sh").args(["-c", "kill -SEGV $$"]).spawn().expect("sh");
    let pid = i64::from(child.id());
    assert_eq!(child.wait().expect("wait").signal(), Some(11));
    let ended = now();

    let record = agent.wait("kernel.process.crash", |record| record.maybe_int("process.pid") == Some(pid));
    println!("{}", record.show());
    check_common(&record, 17, HOOK, began, ended);
    assert_eq!(record.int("kernel.signal.number"), 11);
    assert_eq!(record.text("kernel.signal.name"), "SIGSEGV");
    assert_eq!(record.int("kernel.signal.code"), 0);
    assert_eq!(record.text("kernel.signal.code_name"), "SI_USER");
    assert_eq!(record.int("kernel.signal.sender.pid"), pid);
    assert_eq!(record.int("process.vpid"), pid);
    assert_eq!(record.int("process.parent_pid"), i64::from(std::process::id()));
    assert_eq!(record.int("process.user.id"), 0);
    assert_eq!(record.int("kernel.thread.id"), pid);
    assert_eq!(record.text("kernel.thread.comm"), "sh");
    let sh = std::fs::canonicalize(which("sh")).expect("the shell's path");
    assert_eq!(record.text("process.executable.path"), sh.to_str().expect("UTF-8"));
    assert_eq!(record.text("process.executable.name"), sh.file_name().expect("a name").to_str().expect("UTF-8"));
    assert!(record.text("process.command_line").ends_with("-c kill -SEGV $$"), "{}", record.show());
    assert!(record.int("kernel.netns.inode") > 0);
    assert!(record.text("process.creation.time").ends_with('Z'));
    let path = record.text("kernel.cgroup.path");
    let ours = std::fs::read_to_string("/proc/self/cgroup").expect("own cgroups");
    assert!(ours.lines().any(|line| line.ends_with(&format!(":{path}"))), "{path} is none of {ours}");
}

#[test]
fn each_signal_of_a_crash_is_named() {
    let agent = agent();
    for (name, number) in [("SEGV", 11), ("BUS", 7), ("ABRT", 6), ("ILL", 4), ("FPE", 8), ("TRAP", 5), ("SYS", 31)] {
        let mut child = Command::new("sh").args(["-c", &format!("kill -{name} $$")]).spawn().expect("sh");
        let pid = i64::from(child.id());
        child.wait().expect("wait");
        let record = agent.wait("kernel.process.crash", |record| record.maybe_int("process.pid") == Some(pid));
        assert_eq!(record.text("kernel.signal.name"), format!("SIG{name}"));
        assert_eq!(record.int("kernel.signal.number"), number);
    }
}

/// In a pid namespace the sender's pid is the namespace's: it would name another process of the host's.
#[test]
fn a_crash_in_a_pid_namespace_has_both_pids_and_no_sender() {
    let agent = agent();
    let mark = format!("nested{}", std::process::id());
    let script = format!("sh -c 'kill -ABRT $$; : {mark}'; exit 7");
    // The namespace's first process is not ended by what it sends itself: its child is.
    let status = Command::new("unshare").args(["-p", "-f", "sh", "-c", &script]).status().expect("unshare");
    assert_eq!(status.code(), Some(7));
    let record = agent.wait("kernel.process.crash", |record| {
        record.has("process.command_line") && record.text("process.command_line").contains(&mark)
    });
    assert!(record.int("process.vpid") < 10 && record.int("process.pid") > 10, "{}", record.show());
    assert!(!record.has("kernel.signal.sender.pid"), "{}", record.show());
}

#[test]
fn an_abort_is_a_crash_once_a_process() {
    let agent = agent();
    let began = now();
    let mut child = act("abort").spawn().expect("this binary");
    let pid = i64::from(child.id());
    assert_eq!(child.wait().expect("wait").signal(), Some(6));
    let ended = now();

    let is_ours = |record: &crate::harness::Record| record.maybe_int("process.pid") == Some(pid);
    let record = agent.wait("kernel.process.crash", is_ours);
    check_common(&record, 17, HOOK, began, ended);
    assert_eq!(record.text("kernel.signal.name"), "SIGABRT");
    assert_eq!(record.text("kernel.signal.code_name"), "SI_TKILL");
    // A later crash shows that nothing more of the first is on its way.
    let mut later = act("abort").spawn().expect("this binary");
    let later_pid = i64::from(later.id());
    later.wait().expect("wait");
    agent.wait("kernel.process.crash", |record| record.maybe_int("process.pid") == Some(later_pid));
    assert_eq!(agent.all("kernel.process.crash", is_ours).len(), 1);
}

#[test]
fn a_handled_signal_is_no_crash() {
    let agent = agent();
    let mut child = Command::new("sh").args(["-c", "trap : ABRT; kill -ABRT $$; exit 7"]).spawn().expect("sh");
    let pid = i64::from(child.id());
    assert_eq!(child.wait().expect("wait").code(), Some(7));
    let mut later = act("abort").spawn().expect("this binary");
    let later_pid = i64::from(later.id());
    later.wait().expect("wait");
    agent.wait("kernel.process.crash", |record| record.maybe_int("process.pid") == Some(later_pid));
    assert!(agent.all("kernel.process.crash", |record| record.maybe_int("process.pid") == Some(pid)).is_empty());
}

/// A crash loop must not fill the log: of one executable ten a second are recorded, the rest are counted.
#[test]
fn a_crash_loop_of_one_executable_is_limited_and_counted() {
    let directory = tempfile::tempdir().expect("a directory");
    let shell = directory.path().join("sh");
    std::fs::copy(which("sh"), &shell).expect("a copy of the shell");
    let probes = kernel::attach(&generous());
    let before = probes.counters(HOOK).expect("counters");
    let began = now();
    let script = "i=0; while [ $i -lt 60 ]; do \"$0\" -c 'kill -SEGV $$'; i=$((i+1)); done";
    let output = Command::new("sh").args(["-c", script]).arg(&shell).output().expect("sh");
    assert!(output.status.code().is_some(), "{output:?}");
    let seconds = (now() - began) / 1_000_000_000;
    let after = probes.counters(HOOK).expect("counters");
    assert_eq!(after.seen, after.suppressed + after.lost + after.emitted, "{after:?}");

    let agent = Agent::start_probes(probes);
    agent.stop_and_read();
    let path = shell.to_str().expect("UTF-8");
    let records = agent.all("kernel.process.crash", |record| {
        record.has("process.executable.path") && record.text("process.executable.path") == path
    });
    let suppressed = after.suppressed - before.suppressed;
    assert_eq!(records.len() as u64 + suppressed, 60, "{} records, {suppressed} suppressed", records.len());
    assert!(records.len() as u64 <= 10 * (seconds + 2), "{} records in {seconds} s", records.len());
    assert!(suppressed > 0, "60 crashes in {seconds} s");
}

pub(crate) fn which(program: &str) -> std::path::PathBuf {
    let path = std::env::var("PATH").expect("PATH");
    let found =
        path.split(':').map(|directory| std::path::Path::new(directory).join(program)).find(|file| file.exists());
    found.unwrap_or_else(|| panic!("{program} is not in {path}"))
}
