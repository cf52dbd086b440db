//! A small ext4, and the program that takes what is free on it.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::filesystem::FileSystem;
use crate::room::{Loop, Mounted, Room, run};

const SIZE: u64 = 24 << 20;

pub(crate) struct Disk {
    file: PathBuf,
    mounted: Mounted,
    // After the mount, which holds it.
    device: Loop,
}

impl Disk {
    pub(crate) fn new(room: &Room) -> Self {
        let file = room.memory.join("full");
        File::create(&file).unwrap().set_len(SIZE).unwrap();
        // Nothing is reserved for root, who runs the agent.
        let later = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";
        run("mkfs.ext4", ["-q", "-F", "-b", "4096", "-m", "0", "-J", "size=4", "-E", later, file.to_str().unwrap()]);
        let device = Loop::attach(&file);
        let mounted = Mounted::new(device.path(), &room.mount_point("full"), FileSystem::EXT4).unwrap();
        Self { file, mounted, device }
    }

    pub(crate) fn path(&self) -> &Path {
        self.mounted.path()
    }

    pub(crate) fn available(&self) -> u64 {
        let found = rustix::fs::statvfs(self.path()).unwrap();
        found.f_bavail * found.f_frsize
    }

    /// Another program writes so many bytes, or as many as there is room for.
    pub(crate) fn take(&self, bytes: u64) {
        let mut file = File::options().append(true).create(true).open(self.ballast()).unwrap();
        let mut left = bytes;
        while left > 0 {
            let piece = left.min(64 << 10);
            if let Err(e) = file.write_all(&vec![7; piece as usize]) {
                assert_eq!(e.raw_os_error(), Some(rustix::io::Errno::NOSPC.raw_os_error()), "{e}");
                return;
            }
            left -= piece;
        }
    }

    /// It gives back what it took.
    pub(crate) fn give_back(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Ends it. The file system itself must be sound.
    pub(crate) fn check(self) {
        assert_eq!(self.mounted.errors(), 0, "ext4 has met errors");
        self.mounted.unmount().unwrap();
        drop(self.device);
        run("e2fsck", ["-fn", self.file.to_str().unwrap()]);
    }
}
