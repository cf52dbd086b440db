//! The device below a directory, as the kernel counts what is written to it.

use std::error::Error;
use std::os::linux::fs::MetadataExt;
use std::path::Path;

/// Everything that waits in the cache is on the device.
pub(crate) fn settle(dir: &Path) -> Result<(), Box<dyn Error>> {
    Ok(rustix::fs::syncfs(std::fs::File::open(dir)?)?)
}

/// Of the device that the file system of `dir` is on (Documentation/admin-guide/iostats.rst, field 7).
pub(crate) fn sectors_written(dir: &Path) -> Result<u64, Box<dyn Error>> {
    let device = std::fs::metadata(dir)?.st_dev();
    let (major, minor) = (rustix::fs::major(device).to_string(), rustix::fs::minor(device).to_string());
    let stats = std::fs::read_to_string("/proc/diskstats")?;
    for line in stats.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        if fields.get(..2) == Some(&[&*major, &*minor]) {
            return Ok(fields.get(9).ok_or("a short line in /proc/diskstats")?.parse()?);
        }
    }
    Err(format!("{} is on no block device of its own", dir.display()).into())
}
