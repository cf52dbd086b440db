//! `kernel.process.crash`: `struct crash_record` of `ebpf/crash.bpf.c`.

use super::signals;
use super::{Context, Fields, Head, Process};
use crate::receivers::kernel::attribution::process::redact;
use crate::receivers::kernel::events::catalogue::Kind;
use crate::receivers::kernel::events::event::Event;

const COMMAND_LINE_FIELD: usize = 512;
const FRAMES: usize = 32;
const MODULE_FIELD: usize = 64;

/// A signal that ends its process.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Crash {
    pub process: Process,
    fault_address: u64,
    signal: i32,
    code: i32,
    sender_pid: i32,
    command_line: Vec<u8>,
    /// Innermost first.
    stack: Vec<Frame>,
}

/// An address on the stack of the crashing thread, and what is mapped there: `struct mapping` of `ebpf/mapping.h`.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    address: u64,
    /// Where the mapping starts.
    start: u64,
    /// The page of the file that is mapped at the start.
    page: u64,
    /// The file's name; empty where no executable file is mapped.
    module: String,
}

impl Frame {
    fn parse_all(fields: &mut Fields<'_>) -> Option<Vec<Self>> {
        let frames = usize::try_from(fields.u64()?).ok()?;
        let addresses = fields.words(FRAMES)?;
        let mut frame = |address| {
            let (start, page) = (fields.u64()?, fields.u64()?);
            Some(Self { address, start, page, module: fields.text(MODULE_FIELD)? })
        };
        addresses.into_iter().take(frames).map(&mut frame).collect()
    }

    /// `libc.so.6+0x9a1e2`: the file and the place in it. The address itself is told nowhere: it differs in each process,
    /// and gives away where its memory lies.
    fn name(&self, page_bytes: u64) -> String {
        let offset = || self.address.checked_sub(self.start)?.checked_add(self.page.checked_mul(page_bytes)?);
        match offset() {
            Some(offset) if !self.module.is_empty() => {
                // Whoever names a file must not be able to write a line of the stack.
                format!("{}+{offset:#x}", self.module.replace(char::is_control, "?"))
            }
            _ => "?".to_owned(),
        }
    }
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
            stack: if fields.is_at_end() { Vec::new() } else { Frame::parse_all(fields)? },
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
        let stack: Vec<_> = self.stack.iter().map(|frame| frame.name(context.page)).collect();
        attributes.text("code.stacktrace", stack.join("\n"));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(address: u64, module: &str) -> Frame {
        Frame { address, start: 0x7f00_0000_0000, page: 2, module: module.to_owned() }
    }

    #[test]
    fn a_frame_is_named_by_its_place_in_the_file() {
        assert_eq!(frame(0x7f00_0000_0123, "libc.so.6").name(4096), "libc.so.6+0x2123");
    }

    #[test]
    fn a_frame_that_cannot_be_named_shows_no_address() {
        assert_eq!(frame(0x7f00_0000_0123, "").name(4096), "?");
        assert_eq!(frame(0x1, "libc.so.6").name(4096), "?");
        assert_eq!(Frame { page: u64::MAX, ..frame(0x7f00_0000_0123, "a") }.name(4096), "?");
    }

    #[test]
    fn a_files_name_cannot_write_a_frame() {
        assert_eq!(frame(0x7f00_0000_0000, "a+0x1\nlibc.so.6").name(4096), "a+0x1?libc.so.6+0x2000");
    }
}
