//! The log on a simulated machine: crashes at every operation, held against the promises.
//!
//! A *story* is what a seed makes happen. After each operation of its disk stands a *moment*; from each moment and a
//! seed comes an *image*: what a killed process or a power cut leaves. Each image is opened and checked, goes on for a
//! few steps, and is crashed in turn.
//!
//! The same seed gives the same story, operation for operation. `CRASH_IMAGE=story:moment:image[:moment:image]`
//! repeats one image.

mod check;
mod content;
mod dice;
mod disk;
mod each_call;
mod full;
mod machine;
mod model;
mod plan;
mod recorder;
mod room;
mod script;
mod steps;
mod story;
mod tree;
mod trouble;
mod worst;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) use self::machine::SimClock;
pub(super) use self::recorder::poll;

use self::check::check_image;
use self::dice::Dice;
use self::model::End;
use self::plan::Plan;
use self::recorder::Moment;
use self::story::{Seen, Story};
use super::on_all_processors;

/// How many images are made.
#[derive(Debug, Clone, Copy)]
struct Effort {
    /// Of each moment of a story.
    images: u64,
    /// One image of so many is crashed in turn.
    nested_one_of: u64,
}

/// Tells one story to its end; answers its moments.
fn tell(plan: &Arc<Plan>) -> (Vec<Moment>, Story) {
    let mut story = Story::new(plan.clone(), true);
    play(&mut story);
    if story.dice.chance(50) {
        story.finish();
    }
    (story.take_moments(), story)
}

fn play(story: &mut Story) {
    story.recover(End::Closed);
    for _ in 0..story.plan.steps {
        story.step();
    }
}

fn variable(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

fn image_seed(story: u64, moment: usize, image: u64) -> u64 {
    Dice::of(&[story, moment as u64, image]).next()
}

/// One story, crashed after each of its operations.
fn crash_story(seed: u64, effort: Effort) -> Seen {
    let plan = Arc::new(Plan::new(seed));
    let mut teller = Teller::new(seed);
    let (moments, mut seen) = {
        let (moments, story) = tell(&plan);
        (moments, Seen { operations: story.recorder.operations(), ..story.seen })
    };
    for (at, moment) in moments.iter().enumerate() {
        for image in 0..effort.images {
            let which = image_seed(seed, at, image);
            let nested = which.is_multiple_of(effort.nested_one_of);
            teller.path = vec![at as u64, image];
            let story = check_image(moment, &plan, which, nested);
            seen.add(story.seen);
            seen.operations += story.recorder.operations();
            for (at, moment) in story.take_moments().iter().enumerate() {
                teller.path.extend([at as u64, 0]);
                seen.add(check_image(moment, &plan, image_seed(which, at, 0), false).seen);
                teller.path.truncate(2);
            }
        }
    }
    seen
}

/// Says which image it was that failed.
struct Teller {
    story: u64,
    path: Vec<u64>,
}

impl Teller {
    fn new(story: u64) -> Self {
        Self { story, path: Vec::new() }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let path: String = self.path.iter().map(|n| format!(":{n}")).collect();
            eprintln!("to repeat it: CRASH_IMAGE={}{path} cargo test crash_image_again", self.story);
        }
    }
}

/// Repeats one image, with the trace of its calls.
fn repeat(path: &[u64]) {
    let plan = Arc::new(Plan::new(path[0]));
    eprintln!("{plan:#?}");
    let (mut moments, _) = tell(&plan);
    let mut seed = path[0];
    for step in path[1..].chunks(2) {
        let (at, image) = (step[0] as usize, step[1]);
        seed = image_seed(seed, at, image);
        for (at, moment) in moments.iter().enumerate().take(at + 1).skip(at.saturating_sub(40)) {
            eprintln!("{at:6} {:?}", moment.after);
        }
        eprintln!("--- moment {at}, image {image}: {:#?}", moments[at].model);
        moments = check_image(&moments[at], &plan, seed, true).take_moments();
    }
}

#[test]
fn crash_image_again() {
    if let Ok(path) = std::env::var("CRASH_IMAGE") {
        let path: Vec<u64> = path.split(':').map(|n| n.parse().unwrap()).collect();
        repeat(&path);
    }
}

/// The record was dropped while its reader had it, its segment could not be removed, and the ack went with the power.
#[test]
fn what_is_acked_after_it_was_dropped_may_count_as_either() {
    repeat(&[2755, 149, 0]);
}

/// With `os`, a write was refused, another frame took its place, and the power cut took that one alone.
#[test]
fn what_was_refused_does_not_come_back_in_the_place_of_what_was_accepted() {
    repeat(&[5494, 181, 0]);
    // The moments of a story move with its calls: all of it. One with `os`, one with `interval`.
    for story in [5494, 10164] {
        crash_story(story, Effort { images: 2, nested_one_of: 24 });
    }
}

#[test]
fn two_runs_of_one_seed_are_the_same_operation_for_operation() {
    for seed in 0..5 {
        let plan = Arc::new(Plan::new(seed));
        let digests = [(); 2].map(|()| {
            let (moments, story) = tell(&plan);
            let mut runs = vec![(moments.len() as u64, story.disk.calls(), story.disk.digest())];
            // What follows a crash, too.
            for (at, moment) in moments.iter().enumerate().step_by(17) {
                let which = image_seed(seed, at, 0);
                let story = check_image(moment, &plan, which, false);
                runs.push((which, story.disk.calls(), story.disk.digest()));
            }
            assert!(runs.len() > 1, "{seed}: a story without moments");
            runs
        });
        assert_eq!(digests[0], digests[1], "seed {seed}");
    }
}

#[test]
fn crashes_at_every_operation_keep_every_promise() {
    let (from, count) = (variable("CRASH_FROM", 0), variable("CRASH_STORIES", 2));
    let next = AtomicU64::new(from);
    let parts = on_all_processors(|_, _| {
        let mut seen = Seen::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + count {
                return seen;
            }
            seen.add(crash_story(seed, Effort { images: 2, nested_one_of: 24 }));
        }
    });
    let mut seen = Seen::default();
    parts.into_iter().for_each(|part| seen.add(part));
    // Every promise that an image breaks ends the test; what is counted shows that they were put to the test.
    eprintln!("figure: T0, stories {from} to {}: {seen:?}", from + count - 1);
}
