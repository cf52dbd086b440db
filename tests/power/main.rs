//! Power cuts of the real binary, on ext4 and on xfs: nothing acknowledged is lost, nothing is invented.
//!
//! The agent runs in an emulated machine with a kernel and a file system of its own. Its disk is a server in this
//! program, with a volatile cache: at a random moment the disk stops answering, the emulator gets SIGKILL, and of what
//! the guest had not flushed chance keeps some blocks and loses the others. An emulator's own image file would not do:
//! a write that it has handed to this machine's page cache survives its end, flushed or not, so that a missing sync
//! would never show.
//!
//! The clients, the oracle and the backend are outside, on this machine: an acknowledgement counts when it has arrived
//! here. After each cut a copy of the disk is mounted here, checked by `spool verify`, `spool inspect` and the
//! library's cursor, and compared with the oracle. Then the machine starts on the same disk again; a third of the cuts
//! comes while it does.
//!
//! `TIDEGATE_POWER_CYCLES` (5) cuts on each file system; `TIDEGATE_POWER_SEED` repeats a run's choices, and goes on
//! with a run that was ended. Needs root, for the mounts.

#![allow(clippy::unwrap_used, reason = "a test ends where its own preparation fails")]

mod disk;
mod guest;
mod image;
#[path = "../kill/load.rs"]
mod load;
mod log_writes;
#[path = "../kill/long_run.rs"]
mod long_run;
mod machine;
mod nbd;
#[path = "../kill/oracle.rs"]
#[allow(dead_code, reason = "shared with the test of kills")]
mod oracle;
#[path = "../kill/sink.rs"]
#[allow(dead_code, reason = "shared with the test of kills")]
mod sink;
mod stage;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "each test program uses a part of it")]
mod support;
mod witness;

use disk::Flushes;
use guest::FileSystem;
use long_run::{Episode, LongRun, Tally};
use machine::Machine;
use stage::{Chance, Cycle, Moment, Stage};

/// Cuts of one file system before a new one is made.
const EPISODE: u64 = 25;

#[test]
fn power_cuts_on_ext4_lose_nothing_that_was_acknowledged() {
    power_cuts(FileSystem::Ext4);
}

#[test]
fn power_cuts_on_xfs_lose_nothing_that_was_acknowledged() {
    power_cuts(FileSystem::Xfs);
}

fn power_cuts(file_system: FileSystem) {
    let mut machine = Machine::build();
    let run = LongRun::new("POWER", &format!("power cuts on {file_system}"), 5);
    let tally = run.play(EPISODE, |episode| play(&mut machine, file_system, episode));
    // A run that shows nothing is a fault of the test.
    assert!(tally.get("acked_records_found") > 0 && tally.get("blocks_lost") > 0);
}

fn play(machine: &mut Machine, file_system: FileSystem, episode: Episode) -> Tally {
    let mut stage = Stage::new(machine, file_system, episode.seed);
    for number in 0..episode.cycles {
        let moment = if number % 3 == 2 { Moment::Start } else { Moment::Load };
        // The first shows that a cut takes what was not flushed; chance may spare it in all the others of a short run.
        let chance = if number == 0 { Chance::AtAWrite } else { Chance::Any };
        if let Err(error) = stage.cut(Cycle { chance, ..Cycle::honest(moment) }) {
            let (seed, kept) = (episode.seed, stage.keep_image());
            panic!("{file_system}, seed {seed}, cut {number} ({moment:?}), image {}: {error}", kept.display());
        }
        println!("{file_system}, seed {}: cut {} of {}", episode.seed, number + 1, episode.cycles);
    }
    stage.survive()
}

#[test]
fn what_dm_log_writes_saw_loses_nothing_either() {
    let seed = long_run::seed("POWER");
    // The test program has begun a line with the test's name.
    println!();
    let images: usize = [FileSystem::Ext4, FileSystem::Xfs].map(|fs| witness::cross_check(fs, seed)).iter().sum();
    assert!(images >= 40, "only {images} images");
}

#[test]
fn a_disk_that_lies_about_flushes_is_caught() {
    let life = Cycle { flushes: Flushes::Lies, ..Cycle::honest(Moment::Load) };
    assert!(lost_with(life).contains("acknowledged records are lost"));
}

#[test]
fn an_agent_that_acknowledges_before_it_syncs_is_caught() {
    let life = Cycle { durability: "os", ..Cycle::honest(Moment::Load) };
    assert!(lost_with(life).contains("acknowledged records are lost"));
}

/// What the check says after a life in which something is not as promised, with the backend away.
fn lost_with(life: Cycle) -> String {
    let mut machine = Machine::build();
    let mut stage = Stage::new(&mut machine, FileSystem::Ext4, 1);
    stage.cut(Cycle::honest(Moment::Load)).unwrap();
    stage.cut(Cycle { backend_may_be_up: false, chance: Chance::AtOnce, ..life }).unwrap_err()
}
