//! Records whose every byte is a function of their number, so that a changed, mixed or misplaced one shows.

use bytes::Bytes;

/// In every line of every record, and nowhere else on the device: what the device can be told to refuse.
pub(crate) const NEEDLE: &str = "TGBLOCK!";

const LINE: usize = 32;
const SMALL_LINES: usize = 40;
const LARGE_LINES: usize = 700;

/// The record with this number: 1 to 40 lines of 32 bytes; one in twelve is up to 22 KiB.
pub(crate) fn payload(number: u64) -> Bytes {
    let mut dice = fastrand::Rng::with_seed(number);
    let most = if dice.u8(..12) == 0 { LARGE_LINES } else { SMALL_LINES };
    let mut text = format!("{NEEDLE} {number:016x} 00000\n").into_bytes().repeat(dice.usize(1..=most));
    for (count, line) in text.chunks_mut(LINE).enumerate() {
        line[26..31].copy_from_slice(format!("{count:05}").as_bytes());
    }
    text.into()
}

/// The number of a whole and unchanged record.
pub(crate) fn number(found: &Bytes) -> Option<u64> {
    let digits = std::str::from_utf8(found.get(NEEDLE.len() + 1..NEEDLE.len() + 17)?).ok()?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (payload(number) == found).then_some(number)
}
