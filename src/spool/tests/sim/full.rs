//! **T0** with ENOSPC at every operation: a story is told again for each of its operations, and from that one on the
//! disk is full, until the story mends it. What came after is crashed, as ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

use super::check::check_image;
use super::dice::Dice;
use super::disk::CHANGES;
use super::plan::Plan;
use super::recorder::Moment;
use super::story::{Seen, Story};
use super::trouble::{Strike, Trouble};
use super::{image_seed, play, variable};
use crate::spool::tests::on_all_processors;

/// Images of each telling, besides that of the very moment when the disk was full.
const IMAGES: u64 = 1;

/// Tells a story with the disk full from one operation on; answers the moments since, none if there was no such
/// operation.
fn tell(plan: &Arc<Plan>, first: u64) -> (Vec<Moment>, Story) {
    let mut story = Story::new(plan.clone(), true);
    let trouble = Trouble::Fails(Errno::NOSPC);
    let strike = Strike { calls: CHANGES, first, times: 1, trouble, fills: true };
    story.disk.troubles(|troubles| troubles.strike(strike));
    play(&mut story);
    let mut moments = story.take_moments();
    if story.disk.troubles(|troubles| troubles.struck()) == 0 {
        return (Vec::new(), story);
    }
    if story.dice.chance(50) {
        story.finish();
    }
    (moments.split_off(first as usize - 1), story)
}

/// False when the story has no such operation.
fn crash(plan: &Arc<Plan>, first: u64, seen: &mut Seen) -> bool {
    let teller = Teller(plan.seed, first);
    let (moments, story) = tell(plan, first);
    seen.add(Seen { operations: story.recorder.operations(), ..story.seen });
    let mut dice = Dice::of(&[plan.seed, first, 3]);
    let others = (0..IMAGES).map(|_| dice.roll(moments.len() as u64) as usize);
    for at in others.chain([0]).filter(|at| *at < moments.len()) {
        seen.add(check_image(&moments[at], plan, image_seed(teller.0, at, first), false).seen);
    }
    !moments.is_empty()
}

/// Says which telling it was that failed.
struct Teller(u64, u64);

impl Drop for Teller {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to repeat it: CRASH_FROM={} CRASH_FULL_AT={} cargo test full_from_every", self.0, self.1);
        }
    }
}

#[test]
fn a_disk_that_is_full_from_every_operation_on_keeps_every_promise() {
    let (from, count) = (variable("CRASH_FROM", 0), variable("CRASH_FULL_STORIES", 2));
    for story in from..from + count {
        // No other trouble: it would be mended with it.
        let plan = Arc::new(Plan { troubled: false, disk_fails: true, ..Plan::new(story) });
        let next = AtomicU64::new(variable("CRASH_FULL_AT", 1));
        let parts = on_all_processors(|_, _| {
            let mut seen = Seen::default();
            while crash(&plan, next.fetch_add(1, Ordering::Relaxed), &mut seen) {}
            seen
        });
        let mut seen = Seen::default();
        parts.into_iter().for_each(|part| seen.add(part));
        eprintln!("figure: T0, story {story}, the disk full from each of its operations on: {seen:?}");
    }
}
