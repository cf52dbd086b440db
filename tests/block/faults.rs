//! A device that fails: what is acknowledged all the same is on it.
//!
//! After a failed sync the page cache shows the new bytes, and a second sync says Ok, while the disk has the old ones.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use tidegate::spool::{Durability, Spool};

use crate::campaign::Campaign;
use crate::check::examine;
use crate::environment;
use crate::filesystem::FileSystem;
use crate::record::{NEEDLE, payload};
use crate::rig::Rig;
use crate::trace::Event;
use crate::wait::wait_for;

const LIMIT: Duration = Duration::from_secs(20);
const FILE_SYSTEMS: [FileSystem; 2] = [FileSystem::EXT4, FileSystem::Xfs];

#[test]
fn what_a_failed_sync_left_in_doubt_is_written_elsewhere_before_the_ack() {
    for (file_system, errno) in FILE_SYSTEMS.into_iter().flat_map(|fs| [(fs, "EIO"), (fs, "ENOSPC")]) {
        let rig = Rig::new(file_system);
        let (spool, mut client) = rig.open();
        for _ in 0..20 {
            client.append().unwrap();
        }
        rig.device.command(&format!("fail write 1 {errno} {NEEDLE}"));
        client.append().unwrap();
        assert_eq!(rig.device.trace().refused(), 1, "the device was to fail one write");
        assert!(states(&spool).contains(&"poisoned"), "{:?}", states(&spool));
        assert!(client.log.trouble().is_none());
        for _ in 0..20 {
            client.append().unwrap();
        }
        rig.keeps_its_promises();
    }
}

fn states(spool: &Spool) -> Vec<&'static str> {
    spool.inspect().unwrap().logs[0].segments.iter().map(|segment| segment.state).collect()
}

#[test]
fn while_no_data_can_be_written_the_log_refuses_and_then_takes_frames_by_itself() {
    for (file_system, errno) in FILE_SYSTEMS.into_iter().flat_map(|fs| [(fs, "EIO"), (fs, "ENOSPC")]) {
        let rig = Rig::new(file_system);
        let (_spool, mut client) = rig.open();
        for _ in 0..20 {
            client.append().unwrap();
        }
        rig.device.command(&format!("fail write - {errno} {NEEDLE}"));
        for _ in 0..20 {
            let refused = client.append().unwrap_err();
            assert!(refused.is_poisoned() || refused.is_full(), "{refused}");
        }
        rig.keeps_its_promises();
        rig.device.command("heal");
        client.append_when_taken(LIMIT);
        for _ in 0..20 {
            client.append().unwrap();
        }
        rig.keeps_its_promises();
    }
}

/// When the flush was the journal's, the file system gives up until it is mounted anew.
#[test]
fn a_failed_flush_is_never_followed_by_an_ack_of_what_is_not_on_the_device() {
    for file_system in FILE_SYSTEMS {
        let mut rig = Rig::new(file_system);
        {
            let (_spool, mut client) = rig.open();
            for _ in 0..20 {
                client.append().unwrap();
            }
            rig.device.command("fail flush 1 EIO -");
            let answers: Vec<_> = (0..20).map(|_| client.append()).collect();
            assert_eq!(rig.device.trace().refused(), 1, "the device was to fail one flush");
            let refused: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
            assert!(refused.iter().all(|e| e.is_poisoned() || e.is_full()), "{refused:?}");
            println!("{}: after one failed flush, {} of 20 appends refused", file_system.name(), refused.len());
        }
        rig.remount();
        examine(&rig.data(), &rig.model()).unwrap();
    }
}

/// In a file that has its blocks already, a sync is one flush and no journal.
#[test]
fn a_failed_flush_of_data_alone_is_mended_in_another_file_before_the_ack() {
    for file_system in FILE_SYSTEMS {
        let rig = Rig::new(file_system);
        let (spool, mut client) = rig.open();
        client.append().unwrap();
        let spare =
            wait_for(LIMIT, || file_names(&rig.data().join("logs/log")).into_iter().find(|n| n.starts_with("spare")));
        assert!(spare.is_some(), "a quiet log prepares a spare");
        let segment = || spool.inspect().unwrap().logs[0].segments.last().unwrap().id;
        let first = segment();
        while segment() == first {
            client.append().unwrap();
        }
        rig.device.command("fail flush 1 EIO -");
        client.append().unwrap();
        assert_eq!(rig.device.trace().refused(), 1, "the device was to fail one flush");
        assert!(states(&spool).contains(&"poisoned"), "{:?}", states(&spool));
        rig.keeps_its_promises();
    }
}

fn file_names(directory: &Path) -> Vec<String> {
    directory.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn power_cuts_while_writes_fail_now_and_then_lose_nothing_that_was_acknowledged() {
    let mut campaign = Campaign::new(FileSystem::EXT4, 60, 2);
    campaign.faults = true;
    let first = environment("TIDEGATE_BLOCK_SEED").unwrap_or(1);
    let count = environment("TIDEGATE_BLOCK_FAULTS").unwrap_or(1);
    campaign.stories("T4 ext4", first, |_, told| told >= count);
    assert!(campaign.tally.failures.is_empty(), "{:#?}", campaign.tally.failures);
    assert!(campaign.tally.refused > 0, "no write failed");
}

/// Why the log does what it does, and that this test would see it if it did not.
#[test]
fn a_writer_that_syncs_again_after_a_failed_sync_loses_what_it_then_acknowledges() {
    let rig = Rig::new(FileSystem::EXT4);
    let path = rig.mounted().join("file");
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(path).unwrap();
    let (old, new) = (payload(1).repeat(200), payload(2).repeat(200));
    file.write_all(&old[..4096]).unwrap();
    file.sync_all().unwrap();
    rig.device.command(&format!("fail write 1 EIO {NEEDLE}"));
    file.write_all_at(&new[..4096], 0).unwrap();
    file.sync_data().unwrap_err();
    file.sync_data().expect("the second sync says that all is well");
    let trace = rig.device.trace();
    let wrote =
        |bytes: &[u8]| trace.events().any(|e| matches!(e, Event::Write { bytes: b, .. } if b.starts_with(bytes)));
    assert!(wrote(&old[..4096]) && !wrote(&new[..4096]), "the device was to have the old bytes only");
}

#[test]
fn with_os_nothing_is_promised_of_a_failed_sync_but_the_log_goes_on() {
    let rig = Rig::new(FileSystem::EXT4);
    let (spool, mut client) = rig.open_with(Durability::Os);
    client.append().unwrap();
    rig.device.command(&format!("fail write - EIO {NEEDLE}"));
    // Sealing syncs. No more than is needed: nobody reads, and the log has a cap.
    let failed = |spool: &Spool| states(spool).iter().filter(|state| **state == "poisoned").count();
    let two_failed = (0..200).any(|_| {
        drop(client.append());
        failed(&spool) == 2
    });
    assert!(two_failed, "{:?}", states(&spool));
    rig.device.command("heal");
    client.append_when_taken(LIMIT);
}
