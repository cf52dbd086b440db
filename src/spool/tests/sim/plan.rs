//! What a seed decides before a story begins: logs, limits, cursors, how long, how much trouble.

use std::time::Duration;

use super::dice::Dice;
use super::recorder::NAMES;
use crate::spool::format::frame::frame_len;
use crate::spool::format::segment::{DATA_AT, FOOTER_LEN};
use crate::spool::{Durability, LogOptions, Need, OnFull, Options};

/// A story's circumstances.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) options: Options,
    pub(crate) logs: Vec<LogPlan>,
    pub(crate) steps: u64,
    /// The story makes calls fail.
    pub(crate) troubled: bool,
    /// Calls fail, by the story or by who tells it.
    pub(crate) disk_fails: bool,
    /// Frames are up to this index of [`SIZES`].
    pub(crate) sizes: u64,
    pub(crate) wall: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct LogPlan {
    pub(crate) name: &'static str,
    pub(crate) options: LogOptions,
    pub(crate) cursors: Vec<(&'static str, Need)>,
}

/// Payloads: tiny, about a sector, up to a block's border, beyond a segment.
pub(crate) const SIZES: [usize; 11] = [16, 40, 300, 436, 437, 1000, 3000, 4016, 20_000, 56_000, 70_000];

/// The smallest segment: most happens at the borders.
pub(crate) const SEGMENT: u64 = 64 << 10;

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice::of(&[seed, 1]);
        let logs = NAMES[..*dice.pick(&[1, 1, 2, 3]) as usize].iter().map(|name| LogPlan::new(name, &mut dice));
        let logs: Vec<LogPlan> = logs.collect();
        let mut plan = Self {
            seed,
            options: Options {
                max_size: Some(directory_cap(seed, logs.len(), *dice.pick(&[4 << 20, 8 << 20, 16 << 20]))),
                min_free_percent: *dice.pick(&[0, 0, 5]),
                ..Options::default()
            },
            logs,
            steps: 15 + dice.roll(45),
            troubled: dice.chance(35),
            disk_fails: false,
            sizes: *dice.pick(&[4, 8, 8, 9, 11]),
            wall: *dice.pick(&[1_700_000_000_000_000_000, 1_700_000_000_000_000_000, 0]),
        };
        plan.disk_fails = plan.troubled;
        plan
    }
}

impl Plan {
    /// A segment, or as much as the largest frame makes of one.
    pub(crate) fn largest_segment(&self) -> u64 {
        // As much as chance adds to a size.
        let frame = SIZES[self.sizes as usize - 1] as u64 + 64;
        SEGMENT.max(DATA_AT + frame_len(frame) + frame_len(0) + FOOTER_LEN)
    }
}

/// In some stories the directory is full before a log is: what is left beside the cursors' files and what stands ready
/// for dead letters is some segments for each log.
fn directory_cap(seed: u64, logs: usize, usual: u64) -> u64 {
    if seed % 7 == 3 { (logs as u64) << 20 } else { usual }
}

impl LogPlan {
    fn new(name: &'static str, dice: &mut Dice) -> Self {
        use Durability::{Interval, Os, Sync};
        let needs = [Need::Required, Need::Required, Need::Required, Need::Optional];
        let mut cursors = vec![("x", *dice.pick(&needs))];
        if dice.chance(40) {
            cursors.push(("y", *dice.pick(&needs)));
        }
        let options = LogOptions {
            durability: *dice.pick(&[Sync, Sync, Sync, Interval, Interval, Os]),
            segment_size: Some(SEGMENT),
            max_size: *dice.pick(&[None, Some(448 << 10), Some(512 << 10), Some(768 << 10)]),
            max_age: *dice.pick(&[Duration::ZERO, Duration::ZERO, Duration::from_secs(3600)]),
            on_full: *dice.pick(&[OnFull::Reject, OnFull::DropOldest]),
            retain_size: *dice.pick(&[0, 64 << 10, 128 << 10, 1 << 30]),
            retain_age: *dice.pick(&[Duration::from_secs(60), Duration::from_secs(72 * 3600)]),
            ..LogOptions::default()
        };
        Self { name, options, cursors }
    }
}
