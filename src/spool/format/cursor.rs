//! The two slots of a cursor's file.

use super::{Fault, Totals, check_plain, get, get_id, layout, put, put_id};

/// Bytes of one slot; a cursor's file has two.
pub(crate) const SLOT_LEN: u64 = 64 << 10;
/// Bytes of a cursor's file.
pub(crate) const FILE_LEN: u64 = 2 * SLOT_LEN;
/// The most acked intervals that a slot holds.
pub(crate) const MAX_INTERVALS: usize = 4000;

const MAGIC: &[u8; 8] = b"TGATECUR";
const INTERVAL_LEN: usize = 16;
const REASON_LEN: usize = dropped::LEN;

layout! {
    /// Fields of a slot before its intervals.
    slot: 1024 bytes {
        MAGIC: 0, 8;
        VERSION: 8, 2;
        FLAGS: 10, 2;
        INTERVALS: 12, 4;
        FEATURES: 16, 8;
        SPOOL_ID: 24, 16;
        EPOCH: 40, 8;
        LOG: 48, 4;
        NAME: 52, 4;
        GENERATION: 56, 8;
        POSITION: 64, 8;
        POSITION_FRAMES: 72, 8;
        POSITION_ITEMS: 80, 8;
        POSITION_BYTES: 88, 8;
        START: 96, 8;
        START_FRAMES: 104, 8;
        START_ITEMS: 112, 8;
        START_BYTES: 120, 8;
        HINT_SEGMENT: 128, 8;
        HINT_OFFSET: 136, 8;
        SYNCED_TO: 144, 8;
        SYNCED_FRAMES: 152, 8;
        SYNCED_ITEMS: 160, 8;
        SYNCED_BYTES: 168, 8;
        LAST_SEEN: 176, 8;
        COUNTED_TO: 184, 8;
        DELIVERED_ITEMS: 192, 8;
        PARKED_ITEMS: 200, 8;
        SKIPPED_ITEMS: 208, 8;
        DONE_BYTES: 216, 8;
        RESENT_ITEMS: 224, 8;
        REPLAYED_ITEMS: 232, 8;
        DROPPED: 240, 512;
        INTERVALS_CRC: 752, 4;
        RESERVED: 756, 4;
        COUNTED_FRAMES: 760, 8;
        COUNTED_ITEMS: 768, 8;
        COUNTED_BYTES: 776, 8;
        RESERVED_2: 784, 236;
        CRC: 1020, 4;
    }
}

layout! {
    /// What was dropped for one reason.
    dropped: 64 bytes {
        ITEMS: 0, 8;
        BYTES: 8, 8;
        TOLD_ITEMS: 16, 8;
        TOLD_BYTES: 24, 8;
        FIRST_TIME: 32, 8;
        LAST_TIME: 40, 8;
        FIRST_SEQUENCE: 48, 8;
        LAST_SEQUENCE: 56, 8;
    }
}

/// Flag bits of a slot.
pub(crate) mod flags {
    /// The cursor holds data.
    pub(crate) const REQUIRED: u16 = 1;
    /// Nothing is handed out until it is resumed.
    pub(crate) const PAUSED: u16 = 2;
}

/// Why items were dropped before a cursor delivered them. The numbers are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// The log was full and its policy is `drop_oldest`, or the cursor does not hold data.
    Full = 0,
    /// Older than `max_age`.
    MaxAge = 1,
    /// Known durable once, and no longer readable.
    Damaged = 2,
    /// Missing after a crash, and perhaps never acknowledged.
    Torn = 3,
    /// Covered by a failed sync of a log with durability `os`.
    SyncFailed = 4,
    /// The cursor had no exporter for longer than `orphan_ttl`.
    Orphaned = 5,
    /// Passed before the cursor's own file was damaged, or not: unknown.
    CursorLost = 6,
    /// Not given yet.
    Other = 7,
}

impl Reason {
    pub(crate) const ALL: [Self; 8] = [
        Self::Full,
        Self::MaxAge,
        Self::Damaged,
        Self::Torn,
        Self::SyncFailed,
        Self::Orphaned,
        Self::CursorLost,
        Self::Other,
    ];

    /// As it is told: in `inspect`, in metrics and in loss records.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::MaxAge => "max_age",
            Self::Damaged => "damaged",
            Self::Torn => "torn",
            Self::SyncFailed => "sync_failed",
            Self::Orphaned => "orphaned",
            Self::CursorLost => "cursor_lost",
            Self::Other => "other",
        }
    }
}

/// What was dropped for one reason, and how much of it is told already.
///
/// Something is untold as long as `first_time` is set: also a loss of which nobody knows how many items it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Dropped {
    pub(crate) items: u64,
    pub(crate) bytes: u64,
    /// Of the items and bytes: how many have been told in a loss record.
    pub(crate) told_items: u64,
    pub(crate) told_bytes: u64,
    /// When the first and the last of what is untold were dropped, nanoseconds since 1970.
    pub(crate) first_time: u64,
    pub(crate) last_time: u64,
    /// Between which sequences, both included, what is untold lies; zero when nobody knows.
    pub(crate) first_sequence: u64,
    pub(crate) last_sequence: u64,
}

impl Dropped {
    /// Something was lost `now`.
    pub(crate) fn add(&mut self, items: u64, bytes: u64, sequences: Interval, now: u64) {
        self.items += items;
        self.bytes += bytes;
        if !self.is_untold() {
            (self.first_time, self.first_sequence) = (now.max(1), sequences.first);
        }
        self.last_time = self.last_time.max(now.max(1));
        self.first_sequence = self.first_sequence.min(sequences.first);
        self.last_sequence = self.last_sequence.max(sequences.last);
    }

    pub(crate) fn is_untold(&self) -> bool {
        self.first_time > 0
    }

    fn encode(&self, b: &mut [u8]) {
        put(b, dropped::ITEMS, self.items);
        put(b, dropped::BYTES, self.bytes);
        put(b, dropped::TOLD_ITEMS, self.told_items);
        put(b, dropped::TOLD_BYTES, self.told_bytes);
        put(b, dropped::FIRST_TIME, self.first_time);
        put(b, dropped::LAST_TIME, self.last_time);
        put(b, dropped::FIRST_SEQUENCE, self.first_sequence);
        put(b, dropped::LAST_SEQUENCE, self.last_sequence);
    }

    fn decode(b: &[u8]) -> Self {
        Self {
            items: get(b, dropped::ITEMS),
            bytes: get(b, dropped::BYTES),
            told_items: get(b, dropped::TOLD_ITEMS),
            told_bytes: get(b, dropped::TOLD_BYTES),
            first_time: get(b, dropped::FIRST_TIME),
            last_time: get(b, dropped::LAST_TIME),
            first_sequence: get(b, dropped::FIRST_SEQUENCE),
            last_sequence: get(b, dropped::LAST_SEQUENCE),
        }
    }

    /// What this counter said when it was `then` is told. Telling it twice is telling it once.
    pub(crate) fn told(&mut self, then: &Self) {
        self.told_items = self.told_items.max(then.items).min(self.items);
        self.told_bytes = self.told_bytes.max(then.bytes).min(self.bytes);
        if (self.items, self.last_time) == (then.items, then.last_time) {
            (self.first_time, self.last_time, self.first_sequence, self.last_sequence) = (0, 0, 0, 0);
        } else if self.is_untold() {
            // More was dropped meanwhile: what remains came after what was told.
            self.first_time = self.first_time.max(then.last_time);
            if self.first_sequence == then.first_sequence {
                self.first_sequence = then.last_sequence.saturating_add(1).min(self.last_sequence);
            }
        }
    }
}

/// An acked range of sequences, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Interval {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// Everything a cursor knows durably.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Slot {
    pub(crate) required: bool,
    /// By command; it outlives restarts.
    pub(crate) paused: bool,
    pub(crate) spool_id: u128,
    /// The run that wrote it.
    pub(crate) epoch: u64,
    pub(crate) log: u32,
    pub(crate) name: u32,
    /// The higher of two intact slots is the present one.
    pub(crate) generation: u64,
    /// Every frame below it is done.
    pub(crate) position: u64,
    /// What the log had accepted before the position.
    pub(crate) position_totals: Totals,
    pub(crate) start: u64,
    pub(crate) start_totals: Totals,
    /// Where the frame at the position is, checked before use.
    pub(crate) hint_segment: u64,
    pub(crate) hint_offset: u64,
    /// The highest sequence known durable when the slot was written, and the log's totals up to it.
    pub(crate) synced_to: u64,
    pub(crate) synced_totals: Totals,
    /// When an exporter last had it open, nanoseconds since 1970.
    pub(crate) last_seen: u64,
    /// The highest position that it ever had. Frames below it were counted once already; a replay does not count
    /// them again.
    pub(crate) counted_to: u64,
    /// What the log had accepted before that.
    pub(crate) counted_totals: Totals,
    pub(crate) delivered_items: u64,
    pub(crate) parked_items: u64,
    pub(crate) skipped_items: u64,
    /// Payload bytes of all that is done.
    pub(crate) done_bytes: u64,
    pub(crate) resent_items: u64,
    pub(crate) replayed_items: u64,
    pub(crate) dropped: [Dropped; 8],
    /// Done beyond the position: sorted, apart, at most [`MAX_INTERVALS`].
    pub(crate) intervals: Vec<Interval>,
}

impl Slot {
    /// Items done since the start: delivered, parked, skipped or dropped.
    pub(crate) fn done_items(&self) -> u64 {
        let dropped = self.dropped.iter().map(|d| d.items);
        [self.delivered_items, self.parked_items, self.skipped_items]
            .into_iter()
            .chain(dropped)
            .fold(0, u64::saturating_add)
    }

    /// The first frame that no replay repeats, and what the log had accepted before it.
    pub(crate) fn counted(&self) -> (u64, Totals) {
        // No frame lies between the two: the same place, and as files without these fields have it.
        match self.counted_totals.frames > self.position_totals.frames {
            true => (self.counted_to, self.counted_totals),
            false => (self.position, self.position_totals),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let count = self.intervals.len().min(MAX_INTERVALS);
        let mut b = vec![0; slot::LEN + count * INTERVAL_LEN];
        b[slot::MAGIC].copy_from_slice(MAGIC);
        put(&mut b, slot::VERSION, u64::from(super::VERSION));
        let flag = |set: bool, flag: u16| if set { flag } else { 0 };
        let flags = flag(self.required, flags::REQUIRED) | flag(self.paused, flags::PAUSED);
        put(&mut b, slot::FLAGS, u64::from(flags));
        put(&mut b, slot::INTERVALS, count as u64);
        put_id(&mut b, slot::SPOOL_ID, self.spool_id);
        put(&mut b, slot::EPOCH, self.epoch);
        put(&mut b, slot::LOG, u64::from(self.log));
        put(&mut b, slot::NAME, u64::from(self.name));
        put(&mut b, slot::GENERATION, self.generation);
        put(&mut b, slot::POSITION, self.position);
        put_totals(&mut b, slot::POSITION_FRAMES.start, self.position_totals);
        put(&mut b, slot::START, self.start);
        put_totals(&mut b, slot::START_FRAMES.start, self.start_totals);
        put(&mut b, slot::HINT_SEGMENT, self.hint_segment);
        put(&mut b, slot::HINT_OFFSET, self.hint_offset);
        put(&mut b, slot::SYNCED_TO, self.synced_to);
        put_totals(&mut b, slot::SYNCED_FRAMES.start, self.synced_totals);
        put(&mut b, slot::LAST_SEEN, self.last_seen);
        put(&mut b, slot::COUNTED_TO, self.counted_to);
        put_totals(&mut b, slot::COUNTED_FRAMES.start, self.counted_totals);
        put(&mut b, slot::DELIVERED_ITEMS, self.delivered_items);
        put(&mut b, slot::PARKED_ITEMS, self.parked_items);
        put(&mut b, slot::SKIPPED_ITEMS, self.skipped_items);
        put(&mut b, slot::DONE_BYTES, self.done_bytes);
        put(&mut b, slot::RESENT_ITEMS, self.resent_items);
        put(&mut b, slot::REPLAYED_ITEMS, self.replayed_items);
        for (at, dropped) in (slot::DROPPED.start..).step_by(REASON_LEN).zip(&self.dropped) {
            dropped.encode(&mut b[at..at + REASON_LEN]);
        }
        for (at, interval) in (slot::LEN..).step_by(INTERVAL_LEN).zip(&self.intervals[..count]) {
            put(&mut b, at..at + 8, interval.first);
            put(&mut b, at + 8..at + 16, interval.last);
        }
        let crc = crc32c::crc32c(&b[slot::LEN..]);
        put(&mut b, slot::INTERVALS_CRC, u64::from(crc));
        let crc = crc32c::crc32c(&b[..slot::CRC.start]);
        put(&mut b, slot::CRC, u64::from(crc));
        b
    }

    /// From the bytes of one slot.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let b = bytes.get(..slot::LEN).ok_or(Fault::Short)?;
        check_plain(b, MAGIC, get(b, slot::VERSION) as u16, get(b, slot::FEATURES))?;
        let count = get(b, slot::INTERVALS) as usize;
        if count > MAX_INTERVALS {
            return Err(Fault::Length);
        }
        let intervals = bytes.get(slot::LEN..slot::LEN + count * INTERVAL_LEN).ok_or(Fault::Short)?;
        if get(b, slot::INTERVALS_CRC) != u64::from(crc32c::crc32c(intervals)) {
            return Err(Fault::PayloadChecksum);
        }
        let mut dropped = [Dropped::default(); 8];
        for (at, dropped) in (slot::DROPPED.start..).step_by(REASON_LEN).zip(&mut dropped) {
            *dropped = Dropped::decode(&b[at..at + REASON_LEN]);
        }
        Ok(Self {
            required: get(b, slot::FLAGS) & u64::from(flags::REQUIRED) != 0,
            paused: get(b, slot::FLAGS) & u64::from(flags::PAUSED) != 0,
            spool_id: get_id(b, slot::SPOOL_ID),
            epoch: get(b, slot::EPOCH),
            log: get(b, slot::LOG) as u32,
            name: get(b, slot::NAME) as u32,
            generation: get(b, slot::GENERATION),
            position: get(b, slot::POSITION),
            position_totals: get_totals(b, slot::POSITION_FRAMES.start),
            start: get(b, slot::START),
            start_totals: get_totals(b, slot::START_FRAMES.start),
            hint_segment: get(b, slot::HINT_SEGMENT),
            hint_offset: get(b, slot::HINT_OFFSET),
            synced_to: get(b, slot::SYNCED_TO),
            synced_totals: get_totals(b, slot::SYNCED_FRAMES.start),
            last_seen: get(b, slot::LAST_SEEN),
            counted_to: get(b, slot::COUNTED_TO),
            counted_totals: get_totals(b, slot::COUNTED_FRAMES.start),
            delivered_items: get(b, slot::DELIVERED_ITEMS),
            parked_items: get(b, slot::PARKED_ITEMS),
            skipped_items: get(b, slot::SKIPPED_ITEMS),
            done_bytes: get(b, slot::DONE_BYTES),
            resent_items: get(b, slot::RESENT_ITEMS),
            replayed_items: get(b, slot::REPLAYED_ITEMS),
            dropped,
            intervals: intervals
                .chunks_exact(INTERVAL_LEN)
                .map(|i| Interval { first: get(i, 0..8), last: get(i, 8..16) })
                .collect(),
        })
    }
}

/// Frames, items and bytes stand together, in this order.
fn put_totals(b: &mut [u8], at: usize, totals: Totals) {
    put(b, at..at + 8, totals.frames);
    put(b, at + 8..at + 16, totals.items);
    put(b, at + 16..at + 24, totals.bytes);
}

fn get_totals(b: &[u8], at: usize) -> Totals {
    Totals { frames: get(b, at..at + 8), items: get(b, at + 8..at + 16), bytes: get(b, at + 16..at + 24) }
}
