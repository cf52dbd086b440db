//! Where the tests run: a mount namespace of their own, a directory of mount points, and files in memory.
//!
//! Mounts end with the namespace, and so with the processes in it, even when those are killed. Loop devices and the
//! files in memory do not: whoever enters next sweeps them away. One run at a time; a second one waits.

use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use rustix::fs::FlockOperation;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::UnshareFlags;

use crate::filesystem::FileSystem;

pub(crate) struct Room {
    /// Where things are mounted.
    pub(crate) mounts: PathBuf,
    /// Where images and tapes are: in memory.
    pub(crate) memory: PathBuf,
    _alone: File,
}

impl Room {
    pub(crate) fn enter() -> Self {
        assert!(rustix::process::geteuid().is_root(), "mounting needs root");
        let mounts = Path::new(env!("CARGO_TARGET_TMPDIR")).join("block");
        std::fs::create_dir_all(&mounts).unwrap();
        let alone = File::create(mounts.join("lock")).unwrap();
        rustix::fs::flock(&alone, FlockOperation::LockExclusive).unwrap();
        // SAFETY: file tables stay shared; only this thread, and those it starts, leave the common mounts.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }.unwrap();
        // Else what is mounted here would appear outside.
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private).unwrap();
        let mut hash = DefaultHasher::new();
        mounts.hash(&mut hash);
        let memory = PathBuf::from(format!("/dev/shm/tidegate-block-{:016x}", hash.finish()));
        let room = Self { mounts, memory, _alone: alone };
        room.sweep();
        std::fs::create_dir_all(&room.memory).unwrap();
        room
    }

    /// A new mount point.
    pub(crate) fn mount_point(&self, name: &str) -> PathBuf {
        let point = self.mounts.join(name);
        std::fs::create_dir_all(&point).unwrap();
        point
    }

    /// Ends what a run that was killed has left.
    fn sweep(&self) {
        let ours = self.memory.file_name().unwrap().to_str().unwrap();
        for device in Path::new("/sys/block").read_dir().unwrap().map(Result::unwrap) {
            let backing = std::fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
            if backing.contains(ours) {
                run("losetup", ["-d".as_ref(), Path::new("/dev").join(device.file_name()).as_os_str()]);
            }
        }
        if self.memory.exists() {
            std::fs::remove_dir_all(&self.memory).unwrap();
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.sweep();
        }
    }
}

/// Runs a program to its end.
///
/// # Panics
/// When it fails, with what it said.
pub(crate) fn run(program: &str, arguments: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> String {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(program).args(arguments).env("PATH", path).output();
    let output = output.unwrap_or_else(|e| panic!("{program}: {e}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {}: {said}", output.status);
    said
}

/// A loop device over a file.
pub(crate) struct Loop(PathBuf);

impl Loop {
    pub(crate) fn attach(file: &Path) -> Self {
        let name = run("losetup", ["-f".as_ref(), "--show".as_ref(), file.as_os_str()]);
        Self(PathBuf::from(name.trim()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // While it is mounted, it goes with the mount.
        let detached = Command::new("losetup").arg("-d").arg(&self.0).status();
        if !detached.as_ref().is_ok_and(ExitStatus::success) {
            eprintln!("{} is not detached: {detached:?}", self.0.display());
        }
    }
}

/// A mounted file system.
pub(crate) struct Mounted {
    point: PathBuf,
    device: PathBuf,
    file_system: FileSystem,
    mounted: bool,
}

impl Mounted {
    pub(crate) fn new(device: &Path, point: &Path, file_system: FileSystem) -> std::io::Result<Self> {
        let options = std::ffi::CString::new(file_system.mount_options()).unwrap();
        rustix::mount::mount(device, point, file_system.name(), MountFlags::NOATIME, options.as_c_str())?;
        Ok(Self { point: point.to_owned(), device: device.to_owned(), file_system, mounted: true })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.point
    }

    /// How many errors the file system has met.
    pub(crate) fn errors(&self) -> u64 {
        let device = self.device.file_name().unwrap().to_str().unwrap();
        match self.file_system {
            FileSystem::Ext4 { .. } => {
                let count = std::fs::read_to_string(format!("/sys/fs/ext4/{device}/errors_count")).unwrap();
                count.trim().parse().unwrap()
            }
            FileSystem::Xfs => 0,
        }
    }

    pub(crate) fn unmount(mut self) -> std::io::Result<()> {
        self.mounted = false;
        rustix::mount::unmount(&self.point, UnmountFlags::empty()).inspect_err(|_| self.mounted = true)?;
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.mounted {
            // After a failure somebody may still have files open: it goes when they do.
            rustix::mount::unmount(&self.point, UnmountFlags::DETACH).unwrap();
        }
    }
}
