//! `kernel.process.crash`: `struct crash_record` of `ebpf/crash.bpf.c`.

use super::signals;
use super::{Context, Fields, Head, Process};
use crate::receivers::kernel::attribution::process::redact;
use crate::receivers::kernel::events::catalogue::Kind;
use crate::receivers::kernel::events::event::Event;

const COMMAND_LINE_FIELD: usize = 512;

/// A signal that ends its process.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Crash {
    pub process: Process,
    fault_address: u64,
    signal: i32,
    code: i32,
    sender_pid: i32,
    command_line: Vec<u8>,
}

impl Crash {
    pub(crate) fn parse(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            process: Process::parse(fields)?,
            fault_address: fields.u64()?,
            signal: fields.i32()?,
            code: fields.i32()?,
            sender_pid: fields.i32()?,
            command_line: {
                let bytes = fields.u32()? as usize;
                fields.bytes(COMMAND_LINE_FIELD)?.get(..bytes)?.to_vec()
            },
        })
    }

    pub(crate) fn event(&self, head: &Head, context: &Context<'_>) -> Event {
        let mut event = context.begin(Kind::ProcessCrash, head);
        let name = signals::name(self.signal);
        let code_name = signals::code_name(self.signal, self.code);
        context.process(&mut event, &self.process, redact(&self.command_line));
        let attributes = &mut event.attributes;
        attributes.int("kernel.signal.number", self.signal);
        attributes.text("kernel.signal.name", name.map(str::to_owned));
        attributes.int("kernel.signal.code", self.code);
        attributes.text("kernel.signal.code_name", code_name.map(str::to_owned));
        attributes.some_int("kernel.signal.sender.pid", self.sender());
        if context.settings.fault_address && signals::has_fault_address(self.signal, self.code) {
            attributes.text("kernel.signal.fault_address", format!("{:#x}", self.fault_address));
        }
        let what = self.process.exe_path.as_deref().unwrap_or(&self.process.comm);
        event.body = format!("{what} (pid {}) crashed: {}", self.process.pid, name.unwrap_or("signal"));
        if let Some(code) = code_name {
            event.body += &format!(" ({code})");
        }
        event
    }

    /// The sender's pid, where a process sent the signal and its pid means something on the host: the kernel tells it
    /// in the receiver's pid namespace, and 0 for a sender outside of that.
    fn sender(&self) -> Option<i32> {
        let on_host = self.process.vpid == self.process.pid;
        (signals::sent_by_process(self.code) && on_host && self.sender_pid > 0).then_some(self.sender_pid)
    }
}
