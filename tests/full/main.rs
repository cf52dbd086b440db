//! A disk that fills: nothing acknowledged is lost but what a policy gives up, which is counted; and the agent resumes
//! by itself.
//!
//! The agent has a small ext4 of its own, in a loop device, and a cap that is far larger: what stops it is the disk.
//! In each cycle the backend is away until the policy shows, then another program takes the rest of the disk. Half of
//! the time the agent is killed there, and starts on the full disk. Then the backend takes everything.
//!
//! `TIDEGATE_FULL_CYCLES` (20) cycles; `TIDEGATE_FULL_SEED` repeats a run's choices, and goes on with a run that was
//! ended. Needs root, for the mounts.

#![allow(clippy::unwrap_used, reason = "a test ends where its own preparation fails")]
#![allow(clippy::disallowed_methods, reason = "the test fills a disk")]

mod disk;
#[path = "../block/filesystem.rs"]
#[allow(dead_code, reason = "shared with the test of block devices")]
mod filesystem;
#[path = "../kill/load.rs"]
mod load;
#[path = "../kill/long_run.rs"]
mod long_run;
#[path = "../kill/oracle.rs"]
#[allow(dead_code, reason = "shared with the test of kills")]
mod oracle;
#[path = "../block/room.rs"]
#[allow(dead_code, reason = "shared with the test of block devices")]
mod room;
#[path = "../kill/sink.rs"]
#[allow(dead_code, reason = "shared with the test of kills")]
mod sink;
mod stage;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "each test program uses a part of it")]
mod support;

use disk::Disk;
use long_run::{Episode, LongRun, Tally};
use room::Room;
use stage::{Setting, Stage};

/// Cycles in one setting, on one file system.
const EPISODE: u64 = 2;

#[test]
fn a_disk_that_fills_loses_nothing_but_what_a_policy_gives_up() {
    let room = Room::enter();
    let tally = LongRun::new("FULL", "disk full", 20).play(EPISODE, |episode| play(&room, episode));
    // A run that shows nothing is a fault of the test.
    assert!(tally.get("acked") > 1000 && tally.get("requests_refused_as_full") > 0, "{tally}");
    assert!(tally.get("dropped_by_policy") > 0 && tally.get("told_lost") > 0, "{tally}");
    assert!(tally.get("killed_while_full") > 0, "{tally}");
}

fn play(room: &Room, episode: Episode) -> Tally {
    let disk = Disk::new(room);
    let mut stage = Stage::new(&disk, Setting::of(episode.seed / EPISODE), episode.seed);
    for _ in 0..episode.cycles {
        stage.cycle(&disk);
    }
    let tally = stage.finish();
    disk.check();
    tally
}
