//! Power loss below a real file system: every moment between two block writes may be the last.
//!
//! The log works on a real ext4 or xfs, on a loop device, on a file of a FUSE server that keeps a tape of all writes
//! and flushes and of what the log had promised by then. From the tape come images: what the device may hold after a
//! power cut at some moment. Each is mounted and opened, and must keep every promise made before the cut.
//!
//! Below that the same device fails on purpose (`faults`), and its file system becomes read-only (`readonly`).
//!
//! `TIDEGATE_BLOCK_EXT4` (1,200) and `TIDEGATE_BLOCK_XFS` (60) images, `TIDEGATE_BLOCK_FLIPS` (3), and
//! `TIDEGATE_BLOCK_FAULTS` (1) stories in which writes fail; a story is about 300 to 750 images. `TIDEGATE_BLOCK_SEED` is
//! the first story: a long run that was ended goes on with the one after the last that it told. A seed repeats a story's
//! choices, though not how its threads interleave; so an image that fails is kept, with what had been promised.
//! `TIDEGATE_BLOCK_THREADS` (2) check images.

#![allow(clippy::unwrap_used, reason = "a test ends where its own preparation fails")]
#![allow(clippy::disallowed_methods, reason = "the harness makes devices and images, and nothing that must last")]

mod campaign;
mod check;
mod device;
mod faults;
mod filesystem;
mod images;
mod model;
mod readonly;
mod record;
mod rig;
mod room;
mod server;
mod shell;
mod trace;
#[path = "../support/wait.rs"]
mod wait;
mod workload;

use tidegate::spool::Durability;

use campaign::Campaign;
use filesystem::FileSystem;
use images::Drive;

/// Its value makes a process the server of a device.
const SERVER: &str = "TIDEGATE_BLOCK_SERVER";

const IMAGES_PER_LIFE: u64 = 100;

#[test]
#[ignore = "performed by other tests: it is the device"]
fn server_process() {
    device::serve();
}

#[test]
fn a_power_cut_below_ext4_loses_nothing_that_was_acknowledged() {
    let images = environment("TIDEGATE_BLOCK_EXT4").unwrap_or(1_200);
    let campaign = campaign(FileSystem::EXT4, images, (images / 12).clamp(IMAGES_PER_LIFE, 250));
    all_survive(&campaign);
}

#[test]
fn a_power_cut_below_xfs_loses_nothing_that_was_acknowledged() {
    let images = environment("TIDEGATE_BLOCK_XFS").unwrap_or(60);
    let campaign = campaign(FileSystem::Xfs, images, 20);
    all_survive(&campaign);
}

/// Tells stories until there are so many images.
fn campaign(file_system: FileSystem, images: u64, images_per_life: u64) -> Campaign {
    let first: u64 = environment("TIDEGATE_BLOCK_SEED").unwrap_or_else(|| fastrand::u64(..1 << 48));
    let name = file_system.name();
    let threads = environment("TIDEGATE_BLOCK_THREADS").unwrap_or(2);
    let mut campaign = Campaign::new(file_system, images_per_life as usize, threads as usize);
    campaign.stories(&format!("T1 {name}"), first, |tally, _| tally.images() >= images);
    campaign
}

fn all_survive(campaign: &Campaign) {
    let tally = &campaign.tally;
    assert!(tally.failures.is_empty(), "{:#?}", tally.failures);
    assert!(tally.survived > tally.not_measured, "hardly anything was promised: {tally}");
}

/// With `os` the log acks after the write, which is `sync` without the sync.
#[test]
fn the_same_without_the_sync_before_the_ack_is_caught() {
    let mut campaign = Campaign::new(FileSystem::EXT4, IMAGES_PER_LIFE as usize, 2);
    campaign.durability = Durability::Os;
    campaign.story(1);
    println!("figure: T1 ext4 control, no sync before the ack: {}", campaign.tally);
    assert!(campaign.tally.lost * 4 > campaign.tally.images(), "{}", campaign.tally);
}

#[test]
fn a_drive_that_lies_about_one_flush_is_caught() {
    let mut campaign = Campaign::new(FileSystem::EXT4, IMAGES_PER_LIFE as usize, 2);
    campaign.drive = Drive::Lies;
    campaign.story(1);
    println!("figure: T1 ext4 control, the last flush not done: {}", campaign.tally);
    assert!(campaign.tally.lost * 20 > campaign.tally.images(), "{}", campaign.tally);
}

fn environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")))
}
