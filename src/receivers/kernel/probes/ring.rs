//! Takes records out of the rings.

use aya::maps::{MapData, RingBuf};

/// Records taken from one ring in one turn, so that a storm in one cannot starve the others.
const TURN: usize = 512;

/// Hands the bytes of up to a turn's records to `take`; true when there may be more.
pub(crate) fn drain(ring: &mut RingBuf<MapData>, mut take: impl FnMut(&[u8])) -> bool {
    for _ in 0..TURN {
        match ring.next() {
            Some(item) => take(&item),
            None => return false,
        }
    }
    true
}
