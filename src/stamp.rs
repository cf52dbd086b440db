//! How a file looks, so that a change of it shows without reading it.

use std::path::Path;
use std::time::SystemTime;

/// When a file was last changed, and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(SystemTime, u64);

impl Stamp {
    /// The stamp of a file; none of one that cannot be seen.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        Some(Self(found.modified().ok()?, found.len()))
    }
}
