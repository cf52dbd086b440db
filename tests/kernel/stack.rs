//! `code.stacktrace` and `kernel.signal.fault_address` of crashes: both are told only where they are asked for.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use tidegate::receivers::kernel::Settings;

use crate::actions::act;
use crate::harness::{Agent, agent, check_common, generous, now};

// Two functions that keep frame pointers, whatever the rest is compiled with; the inner one runs into the ground.
#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".globl tidegate_test_outer, tidegate_test_return, tidegate_test_crash",
    "tidegate_test_outer: push rbp",
    "mov rbp, rsp",
    "call 2f",
    "tidegate_test_return: pop rbp",
    "ret",
    "2: push rbp",
    "mov rbp, rsp",
    "tidegate_test_crash: mov dword ptr [rdi], 0",
    "ud2",
);
#[cfg(target_arch = "aarch64")]
std::arch::global_asm!(
    ".globl tidegate_test_outer, tidegate_test_return, tidegate_test_crash",
    "tidegate_test_outer: stp x29, x30, [sp, #-16]!",
    "mov x29, sp",
    "bl 2f",
    "tidegate_test_return: ldp x29, x30, [sp], #16",
    "ret",
    "2: stp x29, x30, [sp, #-16]!",
    "mov x29, sp",
    "tidegate_test_crash: str wzr, [x0]",
    "udf #0",
);

unsafe extern "C" {
    fn tidegate_test_outer(address: *mut u32);
    static tidegate_test_return: u8;
    static tidegate_test_crash: u8;
}

/// Where no page is ever mapped.
const NOWHERE: usize = 0x7e5;

/// The place in this binary of an address of its own, as a frame is written.
fn frame(address: *const u8) -> String {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("own mappings");
    let hex = |text: &str| usize::from_str_radix(text, 16).expect("hexadecimal");
    let mapping = maps.lines().find_map(|line| {
        let mut parts = line.split_ascii_whitespace();
        let (start, end) = parts.next()?.split_once('-')?;
        let offset = hex(parts.nth(1)?);
        let inside = (hex(start)..hex(end)).contains(&address.addr());
        inside.then(|| (address.addr() - hex(start) + offset, line.rsplit('/').next().expect("a name").to_owned()))
    });
    let (offset, name) = mapping.expect("the address is mapped");
    format!("{name}+{offset:#x}")
}

/// The action: says which two frames it will crash with, and crashes.
pub(crate) fn fall() {
    println!("\nframe {}\nframe {}", frame(&raw const tidegate_test_crash), frame(&raw const tidegate_test_return));
    // SAFETY: none is possible; the process is made to be ended by the write to an address that is never mapped.
    unsafe { tidegate_test_outer(std::ptr::without_provenance_mut(NOWHERE)) };
}

/// The process that crashed, and the frames that it said it would have.
fn crash() -> (i64, Vec<String>) {
    let child = act("fall").stdout(Stdio::piped()).spawn().expect("this binary");
    let pid = i64::from(child.id());
    let output = child.wait_with_output().expect("wait");
    assert_eq!(output.status.signal(), Some(11), "{output:?}");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    let frames: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("frame ")).map(str::to_owned).collect();
    assert_eq!(frames.len(), 2, "{said}");
    (pid, frames)
}

/// The process is gone before anyone reads the record: the frames must have been named in the kernel.
#[test]
fn the_stack_of_a_crash_begins_where_the_thread_stood() {
    let settings = Settings { fault_address: true, crash_stacks: true, event_name_attribute: true, ..generous() };
    let probes = tidegate::receivers::kernel::attach(&settings);
    let began = now();
    let (pid, frames) = crash();
    let ended = now();
    let agent = Agent::start_probes(probes);
    let record = agent.wait("kernel.process.crash", |record| record.maybe_int("process.pid") == Some(pid));
    println!("{}", record.show());
    check_common(&record, 17, "tp_btf/signal_deliver", began, ended);
    assert_eq!(record.text("event.name"), "kernel.process.crash");
    let stack: Vec<_> = record.text("code.stacktrace").lines().collect();
    assert_eq!(stack[..2], frames);
    for line in &stack {
        assert!(*line == "?" || line.contains("+0x"), "{line}");
    }
    assert_eq!(record.text("kernel.signal.code_name"), "SEGV_MAPERR");
    assert_eq!(record.text("kernel.signal.fault_address"), format!("{NOWHERE:#x}"));
    assert!(!record.has("kernel.signal.sender.pid"), "the kernel sent it: {}", record.show());
    agent.stop();
}

#[test]
fn neither_stack_nor_address_is_told_unasked() {
    let agent = agent();
    let (pid, _) = crash();
    let record = agent.wait("kernel.process.crash", |record| record.maybe_int("process.pid") == Some(pid));
    assert!(!record.has("event.name"));
    assert!(!record.has("code.stacktrace") && !record.has("kernel.signal.fault_address"), "{}", record.show());
}
