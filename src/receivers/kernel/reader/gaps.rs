//! What the rings had no room for: how many, by the kernel's counters; which, by the steps in the sequences.

use std::os::fd::RawFd;

use aya::maps::{MapData, PerCpuArray};

use super::loss::{Cause, Losses};
use crate::receivers::kernel::decode::Head;
use crate::receivers::kernel::events::catalogue::Kind;
use crate::receivers::kernel::probes::hooks::{COUNTING, Hook};
use crate::receivers::kernel::probes::object::Loaded;

/// One hook's counters: `struct counters` of `ebpf/hook.h`. Exactly: seen = suppressed + lost + emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Events that the hook's own filter let through.
    pub seen: u64,
    /// Above `max_per_second`.
    pub suppressed: u64,
    /// The ring had no room.
    pub lost: u64,
    /// Written to the ring.
    pub emitted: u64,
    /// Turned away by the event's filter: benign drop reasons, second threads of a crash. Not seen.
    pub ignored: u64,
}

/// Reads a hook's counters, summed over the CPUs. None when the map cannot be read.
pub(crate) fn counters(map: &PerCpuArray<MapData, [u64; 5]>, hook: Hook) -> Option<Counters> {
    let values = map.get(&(hook as u32), 0).ok()?;
    let mut sum = [0_u64; 5];
    for cpu in values.iter() {
        sum.iter_mut().zip(cpu).for_each(|(sum, value)| *sum += value);
    }
    let [seen, suppressed, lost, emitted, ignored] = sum;
    Some(Counters { seen, suppressed, lost, emitted, ignored })
}

/// What is known so far of the losses of each hook of one loading.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    highest: [Option<(u64, u64)>; COUNTING],
    told: [u64; COUNTING],
    missed: [u64; COUNTING],
}

impl Gaps {
    /// Follows a hook's sequence: a step over numbers says which records are missing. Two CPUs may take their numbers
    /// and their room in different orders, so a step alone is no loss: `count` says how many are.
    pub(crate) fn saw(&mut self, head: &Head, unix_nanos: u64, losses: &mut Losses) {
        let highest = &mut self.highest[head.hook as usize];
        let (last, last_time) = highest.unwrap_or((0, unix_nanos));
        if head.sequence > last + 1 {
            losses.locate(cause(head.hook), (last + 1, head.sequence - 1), last_time);
        }
        if head.sequence > last {
            *highest = Some((head.sequence, unix_nanos));
        }
    }

    /// Counts what the kernel counted as lost since the last time.
    pub(crate) fn count(&mut self, loaded: &Loaded, losses: &mut Losses, unix_nanos: u64) {
        for hook in Hook::ALL.into_iter().filter(|hook| hook.counts()) {
            let Some(counters) = counters(&loaded.counters, hook) else { continue };
            let told = &mut self.told[hook as usize];
            losses.add(cause(hook), counters.lost.saturating_sub(*told), 0, unix_nanos);
            *told = counters.lost;
        }
        for (hook, fd) in loaded.programs().filter(|(hook, _)| hook.counts()) {
            let Some(missed) = recursion_misses(fd) else { continue };
            let told = &mut self.missed[hook as usize];
            let cause = Cause { reason: "program_busy", ..cause(hook) };
            losses.add(cause, missed.saturating_sub(*told), 0, unix_nanos);
            *told = missed;
        }
    }
}

/// Hits that the kernel did not give to a program since it ran already on that CPU. The program never saw them, so they
/// are in none of its counters.
fn recursion_misses(fd: RawFd) -> Option<u64> {
    parse_misses(&std::fs::read_to_string(format!("/proc/thread-self/fdinfo/{fd}")).ok()?)
}

fn parse_misses(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?.trim().parse().ok()
}

fn cause(hook: Hook) -> Cause {
    Cause { stage: "ring", reason: "ring_full", hook: Some(hook), kind: Kind::of_hook(hook) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(sequence: u64) -> Head {
        Head { hook: Hook::KfreeSkb, boot_nanos: 0, sequence, suppressed_before: 0, cpu: 0 }
    }

    #[test]
    fn misses_are_read_from_the_programs_fdinfo() {
        let fdinfo = "pos:\t0\nprog_type:\t26\nrun_cnt:\t0\nrecursion_misses:\t3\nverified_insns:\t9\n";
        assert_eq!(parse_misses(fdinfo), Some(3));
        assert_eq!(parse_misses("pos:\t0\n"), None);
    }

    #[test]
    fn a_step_in_the_sequence_says_where_the_lost_records_lie() {
        let (mut gaps, mut losses) = (Gaps::default(), Losses::default());
        for (sequence, time) in [(1, 10), (2, 20), (6, 30), (5, 40), (9, 50)] {
            gaps.saw(&head(sequence), time, &mut losses);
        }
        losses.add(cause(Hook::KfreeSkb), 4, 0, 60);
        assert_eq!(losses.sequences(cause(Hook::KfreeSkb)), Some((3, 8)));
    }
}
