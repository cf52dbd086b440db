//! The log that dm-log-writes keeps in the guest: every write, flush and mark, in an order in which a disk may have
//! made them durable. A second witness beside this program's own disk.

use std::ops::Range;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;
/// The four numbers before a mark's text.
const ENTRY_BYTES: usize = 32;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where on the disk, in bytes.
    at: usize,
    /// Where in the log the written bytes are.
    data: Range<usize>,
    /// A flush came with it, or it was forced.
    pub(crate) is_barrier: bool,
    /// The text of a mark.
    pub(crate) mark: Option<String>,
}

/// Reads the entries of a log that was closed.
///
/// # Errors
/// Says what is not as the format has it.
pub(crate) fn read(log: &[u8]) -> Result<Vec<Entry>, String> {
    let number = |at: usize| log.get(at..at + 8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
    let word = |at: usize| number(at).ok_or_else(|| format!("the log ends before byte {at}"));
    if (word(0)?, word(8)?) != (MAGIC, VERSION) {
        return Err(format!("no log of writes: {:#x}, version {}", word(0)?, word(8)?));
    }
    let (count, sector) = (word(16)?, usize::try_from(word(24)? & u64::from(u32::MAX)).unwrap());
    let mut entries = Vec::new();
    let mut at = sector;
    for _ in 0..count {
        let [first, sectors, flags, text] = [word(at)?, word(at + 8)?, word(at + 16)?, word(at + 24)?];
        let bytes = |sectors: u64| usize::try_from(sectors).unwrap().saturating_mul(sector);
        let data = if flags & DISCARD == 0 { bytes(sectors) } else { 0 };
        let text = &log[at + ENTRY_BYTES..at + ENTRY_BYTES + usize::try_from(text).unwrap().min(sector - ENTRY_BYTES)];
        let text = String::from_utf8_lossy(text).trim_end_matches('\0').to_owned();
        let written = at + sector..at + sector + data;
        at = written.end;
        entries.push(Entry {
            at: bytes(first),
            data: written,
            is_barrier: flags & (FLUSH | FUA) != 0,
            mark: (flags & MARK != 0).then_some(text),
        });
    }
    Ok(entries)
}

impl Entry {
    /// Does to the disk what the guest did.
    pub(crate) fn replay(&self, log: &[u8], disk: &mut [u8]) {
        disk[self.at..self.at + self.data.len()].copy_from_slice(&log[self.data.clone()]);
    }
}

#[test]
fn a_log_of_writes_is_read_as_the_kernel_writes_it() {
    let sector = 4096;
    let mut log = Vec::new();
    let mut block = |numbers: &[u64], text: &[u8]| {
        let start = log.len();
        log.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        log.extend(text);
        log.resize(start + sector, 0);
    };
    block(&[MAGIC, VERSION, 4, sector as u64], b"");
    block(&[2, 1, FUA, 0], b"");
    block(&[], &[7; 4096]);
    block(&[0, 9, DISCARD, 0], b"");
    block(&[0, 0, FLUSH, 0], b"");
    block(&[0, 0, MARK, 4], b"mark");
    let entries = read(&log).unwrap();
    let mut disk = vec![0; 3 * sector];
    entries.iter().for_each(|entry| entry.replay(&log, &mut disk));
    assert!(disk[..2 * sector].iter().all(|byte| *byte == 0) && disk[2 * sector..].iter().all(|byte| *byte == 7));
    assert_eq!(entries.iter().map(|entry| entry.is_barrier).collect::<Vec<_>>(), [true, false, true, false]);
    assert_eq!(entries[3].mark.as_deref(), Some("mark"));
    assert!(read(&log[sector..]).is_err() && read(&log[..2 * sector]).is_err());
}
