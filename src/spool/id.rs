//! `spool.id`: which spool a directory is.

use std::path::Path;

use super::env::Env;
use super::error::Kind;
use super::format::segment::{DATA_AT, SegmentHeader};
use super::format::{Fault, ident};
use super::fs::Access;
use super::{Error, names, recovery, whole};

/// The id in `spool.id`; a new one for a new directory. If the file is lost, what the segments say is their id.
pub(crate) fn find_or_make(env: &Env, dir: &Path) -> Result<u128, Error> {
    let path = dir.join("spool.id");
    match read(env, &path)? {
        Some(Ok(id)) => return Ok(id),
        Some(Err(e @ (Fault::Version(_) | Fault::Features(_)))) => {
            return Err(Kind::Newer { path, what: e.to_string() }.into());
        }
        Some(Err(_)) | None => {}
    }
    let id = match in_segments(env, dir)? {
        Some(id) => id,
        None => u128::from_le_bytes(env.random()?),
    };
    sync_above(env, dir)?;
    whole::put(env, &path, |file, new| {
        file.write_bytes(&ident::encode(id, env.clock.wall()), 0).map_err(|e| Error::io("write", new, e))
    })?;
    env.sync_dir(dir)?;
    Ok(id)
}

/// Makes the directory's own name durable, and those above it, before it becomes a spool: a run that was killed may have
/// made them and not synced them, and who finds `spool.id` relies on them.
fn sync_above(env: &Env, dir: &Path) -> Result<(), Error> {
    for above in dir.ancestors().skip(1) {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        match env.sync_dir(above) {
            // What we may not read we did not make.
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::ACCESS.raw_os_error()) => {}
            other => other?,
        }
    }
    Ok(())
}

/// What `spool.id` says, if it is there.
pub(crate) fn read(env: &Env, path: &Path) -> Result<Option<Result<u128, Fault>>, Error> {
    let file = match env.open(path, Access::Read) {
        Err(e) if e.is_not_found() => return Ok(None),
        other => other?,
    };
    let mut bytes = Vec::new();
    file.read(&mut bytes, 0, ident::ident::LEN).map_err(|e| Error::io("read", path, e))?;
    Ok(Some(ident::decode(&bytes)))
}

/// The spool id that the newest readable segment of any log has: for a directory whose `spool.id` is lost.
pub(crate) fn in_segments(env: &Env, dir: &Path) -> Result<Option<u128>, Error> {
    let logs = dir.join("logs");
    for log in env.list(&logs)?.into_iter().filter(|l| l.is_dir) {
        let dir = logs.join(&log.name);
        for id in recovery::list(env, &dir)?.segments.into_keys().rev() {
            let file = env.open(&dir.join(names::segment_file(id)), Access::Read)?;
            let mut block = Vec::new();
            let length = DATA_AT as usize;
            file.read(&mut block, 0, length).map_err(|e| Error::io("read", &dir, e))?;
            if let Ok((header, _)) = SegmentHeader::decode_block(&block) {
                return Ok(Some(header.spool_id));
            }
        }
    }
    Ok(None)
}
