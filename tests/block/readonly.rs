//! A file system that becomes read-only under the log.
//!
//! The kernel refuses `mount -o remount,ro` as long as the log has a file open for writing. What does happen: the
//! directory is covered by a read-only mount, or the file system goes read-only by itself after a failed journal write.

use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use tidegate::spool::{Durability, Error};

use crate::check::examine;
use crate::environment;
use crate::filesystem::FileSystem;
use crate::rig::Rig;
use crate::workload::open;

const LIMIT: Duration = Duration::from_secs(20);
/// What each block of ext4's journal begins with.
const JOURNAL: &str = "0xc03b3998";

/// A read-only mount of a directory over itself.
struct Covered<'a>(&'a Path);

impl<'a> Covered<'a> {
    fn new(directory: &'a Path) -> Self {
        rustix::mount::mount_bind(directory, directory).unwrap();
        let covered = Self(directory);
        rustix::mount::mount_remount(directory, MountFlags::BIND | MountFlags::RDONLY, "").unwrap();
        covered
    }
}

impl Drop for Covered<'_> {
    fn drop(&mut self) {
        // Files that were opened through it stay open.
        rustix::mount::unmount(self.0, UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn a_log_whose_directory_is_read_only_for_a_while_refuses_and_then_takes_frames_by_itself() {
    let flips = environment("TIDEGATE_BLOCK_FLIPS").unwrap_or(3);
    for file_system in [FileSystem::EXT4, FileSystem::Xfs] {
        let rig = Rig::new(file_system);
        let data = rig.data();
        let (spool, mut client) = rig.open();
        for _ in 0..flips {
            client.append().unwrap();
            {
                let _covered = Covered::new(&data);
                let refused = client.append_until_refused();
                assert!(refused.is_full() && refused.retry_after().is_some(), "{refused}");
                assert!(spool.inspect().is_ok() && client.log.trouble().is_some());
            }
            client.append_when_taken(LIMIT);
            // Else the log is full one day, and rightly refuses.
            client.deliver();
        }
        println!("figure: T5 {}: read-only and back {flips} times", file_system.name());
        rig.keeps_its_promises();
    }
}

#[test]
fn remounting_read_only_is_refused_while_the_log_is_open_and_told_when_it_opens() {
    let rig = Rig::new(FileSystem::EXT4);
    let (spool, mut client) = rig.open();
    client.append().unwrap();
    let read_only = || rustix::mount::mount_remount(rig.mounted(), MountFlags::RDONLY, "");
    assert_eq!(read_only(), Err(Errno::BUSY));
    client.append().unwrap();
    spool.close().unwrap();
    drop((spool, client));
    for _ in 0..3 {
        read_only().unwrap();
        let told = open(&rig.data(), Durability::Sync).map(drop).unwrap_err();
        assert_eq!(told.raw_os_error(), Some(Errno::ROFS.raw_os_error()), "{told}");
        rustix::mount::mount_remount(rig.mounted(), MountFlags::empty(), "").unwrap();
        let (_spool, mut client) = rig.open();
        client.append().unwrap();
    }
    rig.keeps_its_promises();
}

/// After such an error ext4 stays read-only until it is mounted anew, whatever the device does by then.
#[test]
fn when_ext4_gives_up_its_journal_the_log_refuses_and_lives_on_and_has_all_after_the_next_mount() {
    let mut rig = Rig::new(FileSystem::EXT4);
    {
        let (spool, mut client) = rig.open();
        for _ in 0..20 {
            client.append().unwrap();
        }
        rig.device.command(&format!("fail write - EIO {JOURNAL}"));
        let refused = client.append_until_refused();
        assert!(refused.is_full() || refused.is_poisoned(), "{refused}");
        assert!(rig.device.trace().refused() > 0, "no journal write failed");
        rig.device.command("heal");
        // Still alive, still refusing, still readable.
        let again: Error = client.append_until_refused();
        assert!(again.is_full() || again.is_poisoned(), "{again}");
        let inspection = spool.inspect().unwrap();
        assert!(inspection.logs[0].last_sequence >= 20, "{inspection:?}");
    }
    rig.remount();
    examine(&rig.data(), &rig.model()).unwrap();
}
