//! One loading of the probes as its reader sees it: its rings, its sequences, and which of its records count.
//!
//! Where a hook's program is replaced, the new one is attached before the old one is detached, and for a while both write
//! each event. Of the old one the records before the cut count, of the new one those from the cut on. The kernel runs the
//! older program first, so an event's old record is never later than its new one: at least one of the two counts. Both do
//! only for an event whose two records lie around the cut: at most one on each CPU.

use std::time::{Duration, Instant};

use aya::maps::{MapData, RingBuf};

use super::gaps::Gaps;
use super::loss::{Cause, Losses};
use crate::receivers::kernel::decode::{Head, Record};
use crate::receivers::kernel::events::catalogue::Kind;
use crate::receivers::kernel::events::clock::{self, WallOffset};
use crate::receivers::kernel::probes::hooks::{COUNTING, Hook};
use crate::receivers::kernel::probes::object::{Loaded, Rings};
use crate::receivers::kernel::probes::ring;

/// A program that was detached may be in the middle of its last record on another CPU: far less than this.
const LINGER: Duration = Duration::from_millis(500);

/// One loading and what is known of it.
pub(crate) struct Source {
    pub(crate) loaded: Loaded,
    gaps: Gaps,
    spans: [Span; COUNTING],
    idle_since: Option<Instant>,
}

/// The times of the boot clock between which a hook's records count.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: u64,
    until: u64,
}

impl Source {
    pub(crate) fn new(loaded: Loaded) -> Self {
        let spans = [Span { from: 0, until: u64::MAX }; COUNTING];
        Self { loaded, gaps: Gaps::default(), spans, idle_since: None }
    }

    /// Detaches these hooks; what they wrote is still read.
    pub(crate) fn release(&mut self, hooks: &[Hook], losses: &mut Losses, wall: WallOffset) {
        // The descriptors that say what the programs missed go with them.
        self.count(losses, wall);
        for hook in hooks {
            self.loaded.detach(*hook);
        }
        if self.loaded.hooks().is_empty() {
            self.idle_since.get_or_insert_with(Instant::now);
        }
    }

    /// Takes the place of `old` for every hook that both have, from `cut` on.
    pub(crate) fn replace(&mut self, old: &mut Self, cut: u64, losses: &mut Losses, wall: WallOffset) {
        let both: Vec<Hook> = self.loaded.hooks().into_iter().filter(|hook| old.loaded.has(*hook)).collect();
        for hook in both.iter().filter(|hook| hook.counts()) {
            self.spans[*hook as usize].from = cut;
            old.spans[*hook as usize].until = cut;
        }
        old.release(&both, losses, wall);
    }

    /// Whether nothing more will come.
    pub(crate) fn is_over(&self) -> bool {
        self.idle_since.is_some_and(|since| since.elapsed() >= LINGER)
    }

    /// Counts what the kernel counted as lost since the last time.
    pub(crate) fn count(&mut self, losses: &mut Losses, wall: WallOffset) {
        self.gaps.count(&self.loaded, losses, wall.unix_nanos(clock::boot_nanos()));
    }

    /// Takes one turn's records out of a ring; true when there may be more.
    pub(crate) fn read(
        &mut self,
        ring: fn(&mut Rings) -> &mut RingBuf<MapData>,
        wall: WallOffset,
        losses: &mut Losses,
        records: &mut Vec<Record>,
    ) -> bool {
        let Self { loaded, gaps, spans, .. } = self;
        ring::drain(ring(&mut loaded.rings), |bytes| match Record::parse(bytes) {
            Some(record) => {
                gaps.saw(&record.head, wall.unix_nanos(record.head.boot_nanos), losses);
                let span = spans[record.head.hook as usize];
                if (span.from..span.until).contains(&record.head.boot_nanos) {
                    records.push(record);
                }
            }
            None => {
                let hook = Head::hook_of(bytes);
                let kind = hook.and_then(Kind::of_hook);
                let cause = Cause { stage: "decode", reason: "malformed", hook, kind };
                losses.add(cause, 1, bytes.len() as u64, wall.unix_nanos(clock::boot_nanos()));
            }
        })
    }
}
