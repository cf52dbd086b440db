//! The physical limit: a loop that writes and syncs, and nothing else.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use super::turn::{Turn, Until};

/// An overwritten file has this size: the loop goes around in it, as a log goes around in its segments.
const RECYCLED_BYTES: u64 = 64 << 20;

/// A file that is written with one sync a write.
pub(super) struct BareLoop {
    file: File,
    block: Vec<u8>,
    offset: u64,
    /// Where the loop goes back to the start; `None`: the file grows.
    around: Option<u64>,
}

impl BareLoop {
    /// Overwrites a file whose blocks are there, as recycled segments are.
    pub(super) fn recycled(dir: &Path, write: usize) -> Result<Self, Box<dyn Error>> {
        let file = create(dir)?;
        let zeros = vec![0u8; 1 << 20];
        for offset in (0..RECYCLED_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, offset)?;
        }
        file.sync_all()?;
        Ok(Self { file, block: pattern(write), offset: 0, around: Some(RECYCLED_BYTES) })
    }

    /// Appends to a file that grows.
    pub(super) fn growing(dir: &Path, write: usize) -> Result<Self, Box<dyn Error>> {
        Ok(Self { file: create(dir)?, block: pattern(write), offset: 0, around: None })
    }

    pub(super) fn turn(&mut self, until: Until) -> Result<Turn, Box<dyn Error>> {
        let mut turn = Turn::begin(self.block.len());
        while turn.goes_on(until) {
            let start = Instant::now();
            self.file.write_all_at(&self.block, self.offset)?;
            rustix::fs::fdatasync(&self.file)?;
            turn.count(start);
            self.offset += self.block.len() as u64;
            if self.around.is_some_and(|end| self.offset + self.block.len() as u64 > end) {
                self.offset = 0;
            }
        }
        Ok(turn.end())
    }
}

fn create(dir: &Path) -> Result<File, Box<dyn Error>> {
    Ok(OpenOptions::new().read(true).write(true).create(true).truncate(true).open(dir.join("bare"))?)
}

/// Bytes that no file system or disk finds easier than others.
pub(super) fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}
