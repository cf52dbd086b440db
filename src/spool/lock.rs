//! One owner per directory.
//!
//! The lock is the kernel's (`flock` on the file `lock`) and goes with its process, however that ends. What is
//! written in the file only tells who has it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Error;
use super::env::Env;
use super::error::Kind;
use super::fs::{Access, DiskFile};

/// Bytes of the lock file: the pid and the epoch, a line each, then spaces.
pub(crate) const FILE_LEN: usize = 64;
/// A reader that looks who the owner is has the lock for a moment: so often an owner-to-be tries again, after
/// [`PAUSE`].
const TRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(5);

/// The lock of a directory, held until this is dropped.
#[derive(Debug)]
pub(crate) struct DirectoryLock(#[allow(dead_code, reason = "held, never used")] Arc<dyn DiskFile>);

/// What a lock file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) pid: u32,
    /// The epoch of the owner's segments.
    pub(crate) epoch: u64,
    /// Whether the lock is held now.
    pub(crate) alive: bool,
}

impl DirectoryLock {
    /// Takes the lock of a directory for this process.
    pub(crate) fn take(env: &Env, dir: &Path) -> Result<Self, Error> {
        let path = dir.join("lock");
        let file = match env.open(&path, Access::Write) {
            Err(e) if e.is_not_found() => match env.open(&path, Access::Create) {
                // Another process was quicker; whose lock it is shows below.
                Err(e) if e.raw_os_error() == Some(rustix::io::Errno::EXIST.raw_os_error()) => {
                    env.open(&path, Access::Write)?
                }
                other => other?,
            },
            other => other?,
        };
        if !lock_within(&*file, true, TRIES, PAUSE).map_err(|e| Error::io("lock", &path, e))? {
            let pid = parse(&*file).map(|(pid, _)| pid);
            return Err(Kind::Owned { dir: dir.to_owned(), pid }.into());
        }
        let text = format!("{}\n{:016x}\n", std::process::id(), env.epoch);
        let text = format!("{text:<FILE_LEN$}");
        file.write_bytes(text.as_bytes(), 0).map_err(|e| Error::io("write", &path, e))?;
        Ok(Self(file))
    }
}

/// Takes a file's lock, alone or shared. When somebody else's is in the way, tries so often again, with a pause before
/// each; false when it still is.
pub(crate) fn lock_within(file: &dyn DiskFile, alone: bool, tries: u32, pause: Duration) -> io::Result<bool> {
    for _ in 0..tries {
        if file.try_lock(alone)? {
            return Ok(true);
        }
        #[allow(clippy::disallowed_methods, reason = "paces a bounded retry: flock has no wait with a time-out")]
        std::thread::sleep(pause);
    }
    file.try_lock(alone)
}

/// Who holds or last held the lock of a directory.
pub(crate) fn holder(env: &Env, dir: &Path) -> Result<Option<Holder>, Error> {
    let path = dir.join("lock");
    let file = match env.open(&path, Access::Read) {
        Err(e) if e.is_not_found() => return Ok(None),
        other => other?,
    };
    let alive = !file.try_lock(false).map_err(|e| Error::io("lock", &path, e))?;
    Ok(parse(&*file).map(|(pid, epoch)| Holder { pid, epoch, alive }))
}

fn parse(file: &dyn DiskFile) -> Option<(u32, u64)> {
    let mut bytes = Vec::new();
    file.read(&mut bytes, 0, FILE_LEN).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let mut lines = text.lines();
    let pid = lines.next()?.trim().parse().ok()?;
    let epoch = u64::from_str_radix(lines.next()?.trim(), 16).ok()?;
    Some((pid, epoch))
}
