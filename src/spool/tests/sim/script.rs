//! One run with every kind of thing that a log does to a disk: three logs of three durabilities, segments that are
//! crossed, given back and used again, dead letters, commands, a close and an opening.

use std::sync::Arc;
use std::time::Duration;

use super::model::End;
use super::plan::{LogPlan, Plan, SEGMENT};
use super::recorder::NAMES;
use super::story::Story;
use crate::spool::{Durability, Error, Log, LogOptions, Need, OnFull, Options};

/// Four fill a segment far enough that its file is used again; a group crosses into the next.
const LARGE: usize = 12_000;

pub(crate) fn plan() -> Arc<Plan> {
    let log = |name, durability, on_full| LogPlan {
        name,
        cursors: vec![("x", Need::Required)],
        options: LogOptions {
            durability,
            on_full,
            segment_size: Some(SEGMENT),
            max_size: Some(448 << 10),
            retain_size: 0,
            ..LogOptions::default()
        },
    };
    Arc::new(Plan {
        seed: 0,
        options: Options { max_size: Some(8 << 20), min_free_percent: 5, ..Options::default() },
        logs: vec![
            log(NAMES[0], Durability::Sync, OnFull::Reject),
            log(NAMES[1], Durability::Interval, OnFull::DropOldest),
            log(NAMES[2], Durability::Os, OnFull::Reject),
        ],
        steps: 0,
        troubled: false,
        disk_fails: true,
        sizes: 9,
        wall: 1_700_000_000_000_000_000,
    })
}

/// The run, to its end; the process is up then.
pub(crate) fn play(story: &mut Story) {
    story.recover(End::Closed);
    // Segments are crossed, passed, and used again.
    for _ in 0..2 {
        append_to_all(story);
        deliver(story);
        pass(story, Duration::from_millis(120));
    }
    park(story);
    command(story);
    // The one that drops its oldest comes to its cap.
    for _ in 0..3 {
        append(story, 1);
    }
    // What is due each second.
    pass(story, Duration::from_millis(1100));
    let end = story.stop(End::Closed);
    story.recover(end);
    append_to_all(story);
    deliver(story);
    pass(story, Duration::from_millis(120));
}

fn append(story: &mut Story, at: usize) {
    for length in [LARGE, LARGE, LARGE, LARGE, 300] {
        story.append_one_of(at, length);
    }
    story.turn();
}

fn append_to_all(story: &mut Story) {
    (0..NAMES.len()).for_each(|at| append(story, at));
}

/// Time passes, and everybody does what is due.
fn pass(story: &mut Story, time: Duration) {
    story.clock.go(time);
    story.turn();
    story.keep_house();
}

/// Each cursor reads what there is, and is told in two parts.
fn deliver(story: &mut Story) {
    // With `interval`, after the sync.
    pass(story, Duration::from_millis(100));
    for at in 0..NAMES.len() {
        while story.read_batch(at, 0, 2 * LARGE) {}
        let in_hand = story.in_hand(at, 0);
        story.ack_in_hand(at, 0, in_hand / 2..in_hand);
        story.flush_one(at, 0);
        story.ack_in_hand(at, 0, 0..in_hand / 2);
        story.flush_one(at, 0);
    }
}

/// The first log's cursor parks one frame of two.
fn park(story: &mut Story) {
    append(story, 0);
    while story.read_batch(0, 0, 2 * LARGE) {}
    for _ in 0..story.in_hand(0, 0).min(2) {
        story.park_one(0, 0, 0, 1000);
    }
}

/// A cursor that stops and goes on.
fn command(story: &mut Story) {
    for command in [|log: &Log| log.pause("x"), |log: &Log| log.resume("x")] {
        let Some(up) = &story.up else { return };
        let answer: Result<(), Error> = command(&up.logs[0].log);
        answer.unwrap_or_else(|error| assert!(story.may_fail(), "a command: {error}"));
    }
}
