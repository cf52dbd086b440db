//! `kernel.task.hung`: `struct hung_record` of `ebpf/hung.bpf.c`.

use super::{Context, Fields, Head, Process};
use crate::receivers::kernel::attribution::process;
use crate::receivers::kernel::events::catalogue::{Kind, Severity};
use crate::receivers::kernel::events::clock;
use crate::receivers::kernel::events::event::Event;
use crate::receivers::kernel::events::host::read_line;
use crate::receivers::kernel::reader::episodes::{Finished, Seen, Sighting};

const FRAMES: usize = 48;
const LISTED_FRAMES: usize = 24;

/// A task that does not run for longer than the kernel's time-out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hung {
    pub(crate) process: Process,
    blocked_jiffies: u64,
    blocker_pid: u32,
    stack: Vec<u64>,
}

/// Another task that is blocked at the same time: `struct listed_task` of `ebpf/hung.bpf.c`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Blocked {
    pid: u32,
    tid: u32,
    comm: String,
    stack: Vec<u64>,
}

/// The tasks that are blocked at the time of a turn, for all its records: khungtaskd tells all its tasks at once.
#[derive(Debug)]
pub(crate) struct Listing {
    tasks: Vec<Blocked>,
    is_shown: bool,
}

impl Listing {
    pub(crate) fn new(tasks: Vec<Blocked>) -> Self {
        Self { tasks, is_shown: false }
    }

    /// True once: the stacks in one record would only be repeated in the next.
    fn show(&mut self) -> bool {
        !std::mem::replace(&mut self.is_shown, true)
    }

    fn others(&self, tid: u32) -> Vec<&Blocked> {
        self.tasks.iter().filter(|task| task.tid != tid).collect()
    }
}

impl Blocked {
    /// The tasks that a run of the task iterator wrote.
    pub(crate) fn parse_all(bytes: &[u8]) -> Vec<Self> {
        let mut fields = Fields::new(bytes);
        std::iter::from_fn(|| Self::parse(&mut fields)).collect()
    }

    fn parse(fields: &mut Fields<'_>) -> Option<Self> {
        let (pid, tid, comm, frames) = (fields.u32()?, fields.u32()?, fields.text(16)?, fields.u32()?);
        fields.u32()?;
        let mut stack = fields.words(LISTED_FRAMES)?;
        stack.truncate(frames as usize);
        Some(Self { pid, tid, comm, stack })
    }
}

impl Hung {
    pub(crate) fn parse(fields: &mut Fields<'_>) -> Option<Self> {
        let process = Process::parse(fields)?;
        let (blocked_jiffies, blocker_pid, frames) = (fields.u64()?, fields.u32()?, fields.u32()?);
        let mut stack = fields.words(FRAMES)?;
        stack.truncate(frames as usize);
        Some(Self { process, blocked_jiffies, blocker_pid, stack })
    }

    /// How long the task has not run, in seconds; None where the kernel does not tell.
    fn blocked_seconds(&self) -> Option<f64> {
        let seconds = clock::jiffy().as_secs_f64() * self.blocked_jiffies as f64;
        // A century would be a field that means something else on this kernel.
        (self.blocked_jiffies > 0 && seconds < 3e9).then_some(seconds)
    }

    pub(crate) fn event(&self, head: &Head, context: &mut Context<'_>) -> Event {
        let mut event = context.begin(Kind::TaskHung, head);
        let command_line = context.settings.command_line.then(|| process::command_line(&self.process)).flatten();
        context.process(&mut event, &self.process, command_line);
        let blocked = self.blocked_seconds();
        let sighting = Sighting {
            process: &self.process,
            boot_nanos: head.boot_nanos,
            blocked_seconds: blocked,
            uid: event.uid(),
        };
        let (state, episode) = context.episodes.sighted(&sighting);
        let mut listing = context.listing.take();
        let shows_others = state == Seen::Begin && listing.as_mut().is_some_and(|listing| listing.show());
        let others = listing.map(|listing| listing.others(self.process.tid));
        let stack = context.symbols.stack(&self.stack);
        let attributes = &mut event.attributes;
        attributes.text("kernel.episode.uid", episode);
        attributes.text("kernel.episode.state", state.name().to_owned());
        attributes.seconds("kernel.task.blocked_time", blocked);
        attributes.seconds("kernel.task.timeout", timeout());
        attributes.text("process.state", "sleeping".to_owned());
        attributes.text("kernel.task.wchan", wait_channel(&stack));
        attributes.some_int("kernel.task.blocked_others", others.as_ref().map(Vec::len));
        attributes.nonzero("kernel.task.blocker.pid", self.blocker_pid);
        let shown = if shows_others { context.settings.task_hung.max_stacks as usize } else { 0 };
        attributes.text("code.stacktrace", stacks(&stack, others.into_iter().flatten().take(shown), context));
        let verb = if state == Seen::Begin { "is blocked" } else { "is still blocked" };
        event.body = body(&self.process, verb, blocked);
        event
    }
}

/// The end of an episode: the task was seen to run again, or to be gone.
pub(crate) fn ended(finished: &Finished, context: &Context<'_>) -> Event {
    let mut event = context.begin_polled(Kind::TaskHung, "poll/proc_task_stat", finished.boot_nanos, finished.number);
    event.severity = Severity::Info;
    context.process(&mut event, &finished.process, None);
    let attributes = &mut event.attributes;
    attributes.text("kernel.episode.uid", finished.uid.clone());
    attributes.text("kernel.episode.state", "end".to_owned());
    attributes.seconds("kernel.task.blocked_time", finished.blocked_seconds);
    attributes.seconds("kernel.task.timeout", timeout());
    event.body =
        body(&finished.process, if finished.gone { "is gone" } else { "runs again" }, finished.blocked_seconds);
    event
}

fn body(process: &Process, verb: &str, blocked: Option<f64>) -> String {
    let mut body = format!("task {} ({}) {verb}", process.comm, process.tid);
    if let Some(seconds) = blocked {
        body += &format!(" after {seconds:.1} s");
    }
    body
}

fn timeout() -> Option<f64> {
    read_line("/proc/sys/kernel/hung_task_timeout_secs")?.parse().ok()
}

/// The innermost function that is not the scheduler's: what the task waits in.
fn wait_channel(stack: &[String]) -> Option<String> {
    let functions = stack.iter().map(|frame| frame.split('+').next().unwrap_or(frame));
    functions.into_iter().find(|function| !is_scheduler(function)).map(str::to_owned)
}

fn is_scheduler(function: &str) -> bool {
    let plain = function.trim_start_matches('_');
    ["schedule", "io_schedule", "switch_to", "context_switch"].iter().any(|start| plain.starts_with(start))
}

fn stacks<'t>(own: &[String], others: impl Iterator<Item = &'t Blocked>, context: &mut Context<'_>) -> String {
    let mut text = own.join("\n");
    for task in others {
        let frames = context.symbols.stack(&task.stack);
        text += &format!("\n\n{} (pid {}, thread {}):\n{}", task.comm, task.pid, task.tid, frames.join("\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_waits_in_the_first_function_outside_the_scheduler() {
        let stack = ["__schedule+0x3", "schedule+0x27", "percpu_rwsem_wait+0x11a", "mnt_want_write+0x3"];
        let stack: Vec<_> = stack.iter().map(|frame| (*frame).to_owned()).collect();
        assert_eq!(wait_channel(&stack).as_deref(), Some("percpu_rwsem_wait"));
        assert_eq!(wait_channel(&[]), None);
    }

    #[test]
    fn one_listing_counts_for_every_record_and_is_shown_in_one() {
        let task = |tid| Blocked { pid: 1, tid, comm: String::new(), stack: Vec::new() };
        let mut listing = Listing::new(vec![task(1), task(2), task(3)]);
        assert_eq!([1, 2, 7].map(|tid| listing.others(tid).len()), [2, 2, 3]);
        assert_eq!([listing.show(), listing.show()], [true, false]);
    }

    #[test]
    fn a_cut_list_of_tasks_is_read_up_to_the_cut() {
        let size = 4 + 4 + 16 + 4 + 4 + 8 * LISTED_FRAMES;
        assert_eq!(Blocked::parse_all(&vec![0; 2 * size + 5]).len(), 2);
    }
}
