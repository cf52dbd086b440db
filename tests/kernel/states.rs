//! What is told where this kernel does not have a hook, or refuses it. The thread that attaches sees another kernel
//! than there is: types without a tracepoint, or an answer that the kernel did not give.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;

use rustix::io::Errno;
use rustix::mount::MountPropagationFlags;
use rustix::thread::UnshareFlags;
use tidegate::receivers::kernel::{self, Probes};

use crate::actions::until;
use crate::binary::{start_changed, tail};
use crate::harness::{Agent, PATIENCE, Record, generous};

const TYPES: &str = "/sys/kernel/btf/vmlinux";

/// Attaches on a thread of its own, which `change` has shown another kernel.
fn attach_after(change: impl FnOnce() + Send + 'static) -> Probes {
    let job = std::thread::spawn(move || {
        change();
        kernel::attach(&generous())
    });
    job.join().expect("the job failed, see above")
}

/// Puts this file in the place of the kernel's types, for this thread alone.
fn show_types(file: &Path) {
    // SAFETY: file tables stay shared; only this thread leaves the common mounts.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }.expect("mounts of its own");
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).expect("private mounts");
    rustix::mount::mount_bind(file, TYPES).expect("other types");
}

/// The kernel's types, but that this tracepoint has another name.
fn without(types: &mut [u8], tracepoint: &str) {
    let name = format!("\0btf_trace_{tracepoint}\0");
    let at = types.windows(name.len()).position(|window| window == name.as_bytes()).expect("the tracepoint");
    types[at + name.len() - 2] = b'_';
}

/// Lets `bpf(2)` answer with this error on this thread, and on those that it starts.
fn refuse_bpf(errno: Errno) -> std::io::Result<()> {
    const LOAD_NUMBER: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const ANSWER: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
    let mut filter = [
        step(LOAD_NUMBER, 0, 0, 0),
        step(IF_EQUAL, libc::SYS_bpf as u32, 0, 1),
        step(ANSWER, libc::SECCOMP_RET_ERRNO | errno.raw_os_error() as u32, 0, 0),
        step(ANSWER, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the kernel copies the program, which lives until the call is over.
    let answer = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    if answer == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// What was told of this hook.
fn told(agent: &Agent, hook: &'static str) -> Record {
    agent.wait("collector.probe_state", move |record| {
        record.has("kernel.hook.name") && record.text("kernel.hook.name") == hook
    })
}

#[test]
fn what_a_kernel_does_not_have_is_told_and_what_an_event_lacks_by_it() {
    let probes = attach_after(|| {
        let mut types = std::fs::read(TYPES).expect("the kernel's types");
        without(&mut types, "console");
        without(&mut types, "sched_process_hang");
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(&file, types).expect("the types");
        show_types(file.path());
    });
    assert_eq!((probes.attached(), probes.wanted()), (4, 5), "{:?}", probes.reports());
    let agent = Agent::start_probes(probes);

    let oom = told(&agent, "tp_btf/mark_victim");
    assert_eq!((oom.severity, oom.text("collector.probe.state")), (13, "fallback"));
    let lacks = "without the constraint and the cgroup whose limit was hit: tp_btf/console is missing";
    assert_eq!(oom.text("collector.probe.fallback"), lacks);

    let hung = told(&agent, "tp_btf/sched_process_hang");
    assert_eq!((hung.severity, hung.text("collector.probe.state")), (13, "missing"));
    assert_eq!((hung.text("kernel.event.name"), hung.text("error.type")), ("kernel.task.hung", "no_tracepoint"));
    assert_eq!(hung.text("collector.probe.fix"), "this kernel is built without the tracepoint");
    assert_eq!(told(&agent, "tp_btf/kfree_skb").text("collector.probe.state"), "attached");
    agent.stop();
}

#[test]
fn a_kernel_without_types_has_no_hook_and_is_told_what_it_needs() {
    let probes = attach_after(|| {
        let file = tempfile::NamedTempFile::new().expect("a file");
        show_types(file.path());
    });
    assert_eq!(probes.attached(), 0);
    let agent = Agent::start_probes(probes);
    let crash = told(&agent, "tp_btf/signal_deliver");
    assert_eq!((crash.text("collector.probe.state"), crash.text("error.type")), ("missing", "no_btf"));
    assert!(crash.text("collector.probe.fix").contains("CONFIG_DEBUG_INFO_BTF=y"), "{}", crash.show());
    agent.stop();
}

/// In a process of its own: what a kernel can do is asked once.
#[test]
fn what_the_kernel_refuses_for_another_reason_than_rights_has_failed() {
    let home = tempfile::tempdir().expect("a directory");
    let agent = start_changed(home.path(), Stdio::null(), |command| {
        // SAFETY: between fork and exec it calls the kernel, and takes neither locks nor memory.
        unsafe { command.pre_exec(|| refuse_bpf(Errno::NOMEM)) };
    });
    agent.wait_said("receiver kernel: 0 of 5 hooks attached", PATIENCE);
    agent.wait_said("kernel.process.crash: failed (ENOMEM)", PATIENCE);
    let crash = until("the state in tail", || {
        let mut states = tail(home.path(), "collector.probe_state").into_iter();
        states.find(|state| state["attributes"]["kernel.hook.name"] == "tp_btf/signal_deliver")
    });
    let attributes = &crash["attributes"];
    assert_eq!((&crash["severity_number"], &attributes["collector.probe.state"]), (&13.into(), &"failed".into()));
    assert_eq!((&attributes["error.type"], &attributes["collector.probe.errno"]), (&"ENOMEM".into(), &12.into()));
    let (status, said) = agent.stop(PATIENCE);
    assert!(status.success(), "{said}");
}
