//! Files that are whole whenever they are there: written and synced under a name that is nobody's, then renamed.

use std::path::Path;
use std::sync::Arc;

use super::Error;
use super::env::Env;
use super::fs::{Access, DiskFile};
use super::names::UNFINISHED;

/// Puts a new file, which `fill` writes, in the place of what has this name. The name is durable once its directory is
/// synced. After an error what had the name has it still.
pub(crate) fn put(
    env: &Env,
    path: &Path,
    fill: impl FnOnce(&dyn DiskFile, &Path) -> Result<(), Error>,
) -> Result<Arc<dyn DiskFile>, Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!("{UNFINISHED}{name}"));
    env.remove_if_there(&new)?;
    // What of it is there on a full disk is only in the way.
    make(env, &new, path, fill).inspect_err(|_| drop(env.remove(&new)))
}

fn make(
    env: &Env,
    new: &Path,
    path: &Path,
    fill: impl FnOnce(&dyn DiskFile, &Path) -> Result<(), Error>,
) -> Result<Arc<dyn DiskFile>, Error> {
    let file = env.open(new, Access::Create)?;
    fill(&*file, new)?;
    // Before the rename: else a crash could leave the name on a file without its bytes.
    file.sync_all().map_err(|e| Error::io("sync", new, e))?;
    env.rename(new, path)?;
    Ok(file)
}

/// Removes from a directory what was to become such files, of names that are ours, when a run ended. Answers the bytes
/// of what stays, which keeps nothing from opening.
pub(crate) fn sweep(env: &Env, dir: &Path, is_ours: impl Fn(&str) -> bool) -> u64 {
    let listed = env.list(dir).unwrap_or_default();
    let unfinished =
        listed.iter().filter(|listed| !listed.is_dir && listed.name.strip_prefix(UNFINISHED).is_some_and(&is_ours));
    unfinished.filter(|listed| env.remove(&dir.join(&listed.name)).is_err()).map(|listed| listed.size).sum()
}
