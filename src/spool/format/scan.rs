//! Finding frames in bytes: one after the other, and again after damage.

use super::frame::{self, FrameHeader};
use super::{ALIGN, Fault, Seed};

/// What stands at one place of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A frame, intact.
    Frame(FrameHeader),
    /// A frame whose header is intact and whose payload is not: exactly this frame is lost.
    BadBody(FrameHeader, Fault),
    /// The bytes end within the frame; it needs this many.
    More(u64),
    /// No frame begins here.
    Nothing(Fault),
}

/// Looks at the start of `bytes`, which stand at `offset` of the segment with this seed. No frame may end after
/// `end`.
pub(crate) fn step(bytes: &[u8], seed: Seed, offset: u64, end: u64) -> Step {
    let room = end.saturating_sub(offset);
    if room < frame::frame_len(0) {
        // The end of a file that was used again, unless a frame was cut there.
        return match bytes.get(..frame::MAGIC.len().min(room as usize)) {
            None => Step::More(room),
            Some(start) if frame::MAGIC.starts_with(start) => Step::Nothing(Fault::Short),
            Some(_) => Step::Nothing(Fault::Magic),
        };
    }
    let header = match FrameHeader::decode(bytes, seed, offset) {
        Ok(header) => header,
        Err(Fault::Short) => return Step::More(frame::HEADER_LEN),
        Err(fault) => return Step::Nothing(fault),
    };
    if header.frame_len() > room {
        return Step::BadBody(header, Fault::Short);
    }
    if (bytes.len() as u64) < header.frame_len() {
        return Step::More(header.frame_len());
    }
    match frame::check_body(bytes, &header) {
        Ok(()) => Step::Frame(header),
        Err(fault) => Step::BadBody(header, fault),
    }
}

/// The first place after the start of `bytes` where an intact header stands, in bytes from their start. What may
/// begin in the last bytes, too short for a header, is for the next call: see [`settled`].
pub(crate) fn resync(bytes: &[u8], seed: Seed, offset: u64) -> Option<u64> {
    memchr::memmem::find_iter(bytes, &frame::MAGIC).map(|at| at as u64).find(|at| {
        *at > 0
            && (offset + at).is_multiple_of(ALIGN)
            && FrameHeader::decode(bytes.get(*at as usize..).unwrap_or_default(), seed, offset + at).is_ok()
    })
}

/// How many of `length` bytes a fruitless [`resync`] has settled: no header begins in them.
pub(crate) fn settled(length: u64) -> u64 {
    length.saturating_sub(frame::HEADER_LEN - 1) / ALIGN * ALIGN
}
