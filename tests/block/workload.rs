//! An application of the log on the device: producers, two exporters, restarts. It tells the device what it was promised.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidegate::spool::{Cursor, DeadLetter, Durability, Error, Frame, Log, LogOptions, Need, Options, Spool, Start};

use crate::device::Marker;
use crate::model::{CURSORS, Said};
use crate::record;
use crate::wait::wait_for;

/// Its log, in the data directory `data`.
pub(crate) const LOG: &str = "log";
pub(crate) const DATA: &str = "data";

const SEGMENT: u64 = 64 << 10;
/// The files of two cursors, and five segments.
const CAP: u64 = 2 * (128 << 10) + 5 * SEGMENT;
const PRODUCERS: u64 = 3;
const APPENDS: u64 = 40;
const GROUP_MAX: u64 = 8;
const BATCH_MAX: usize = 40_000;
/// A refused record is one of so many.
const PARKED_OF: u8 = 10;
/// Longer than the writer waits before it adds a mark frame.
const PAUSE_MS_MAX: u64 = 25;
/// More than fit a segment.
const REFUSED_WITHIN: usize = 2_000;
const LOOK: Duration = Duration::from_millis(20);

/// What the workload and whoever checks its images open the log with: small segments and little retention, so that
/// files are sealed, recycled and removed all the time.
pub(crate) fn options(durability: Durability) -> Options {
    Options {
        log: LogOptions {
            durability,
            segment_size: Some(SEGMENT),
            max_size: Some(CAP),
            retain_size: 128 << 10,
            dead_letter_max_size: Some(512 << 10),
            ..LogOptions::default()
        },
        max_size: Some(6 << 20),
        min_free_percent: 0,
        ..Options::default()
    }
}

/// The log and its cursors, opened.
pub(crate) fn open(data: &Path, durability: Durability) -> Result<(Spool, Log, Vec<Cursor>), Error> {
    let spool = Spool::open(data, options(durability))?;
    let log = spool.log(LOG)?;
    let cursor = |name: &&str| log.cursor(name, Start::Oldest, Need::Required);
    let cursors = CURSORS.iter().map(cursor).collect::<Result<_, _>>()?;
    Ok((spool, log, cursors))
}

/// The workload's surroundings, shared by its threads.
#[derive(Debug)]
pub(crate) struct Workload<'a> {
    pub(crate) data: &'a Path,
    pub(crate) marker: &'a Marker,
    pub(crate) durability: Durability,
    /// Numbers of records begin with it.
    pub(crate) life: u64,
    pub(crate) seed: u64,
    /// The device fails now and then: errors are answers, not faults of the log.
    pub(crate) faults: bool,
}

impl Workload<'_> {
    /// Two or three runs of the application, each ended by a clean stop or as by a kill. Gives the id of the oldest
    /// segment that is left: those before it were recycled or removed.
    pub(crate) fn live(&self) -> u64 {
        let mut dice = fastrand::Rng::with_seed(self.seed);
        let mut oldest = 0;
        for run in 0..dice.u64(2..=3) {
            let spool = self.run(run, &mut dice);
            oldest = spool.inspect().unwrap().logs[0].segments.first().map_or(0, |segment| segment.id);
            if dice.bool() && self.expect(spool.close()).is_some() {
                self.marker.tell((0..CURSORS.len()).map(|cursor| Said::Flushed { cursor }));
            }
        }
        oldest
    }

    /// An answer; None for an error that the device has caused.
    fn expect<T>(&self, result: Result<T, Error>) -> Option<T> {
        assert!(self.faults || result.is_ok(), "{:?}", result.err());
        result.ok()
    }

    fn run(&self, run: u64, dice: &mut fastrand::Rng) -> Spool {
        let (spool, log, cursors) = open(self.data, self.durability).unwrap();
        self.marker.tell([Said::Opened]);
        let producing = AtomicBool::new(true);
        let pause_ms = if dice.bool() { 0 } else { PAUSE_MS_MAX };
        let mut fork = || fastrand::Rng::with_seed(dice.u64(..));
        std::thread::scope(|scope| {
            for (index, cursor) in cursors.into_iter().enumerate() {
                let exporter = Exporter { workload: self, index, cursor, dice: fork(), in_hand: VecDeque::new() };
                scope.spawn(|| exporter.drain(&producing));
            }
            let producers: Vec<_> = (0..PRODUCERS)
                .map(|producer| {
                    let first = (self.life << 32) + (run << 24) + (producer << 16);
                    let (log, dice) = (log.clone(), fork());
                    scope.spawn(move || self.produce(&log, first, dice, pause_ms))
                })
                .collect();
            for producer in producers {
                producer.join().unwrap();
            }
            producing.store(false, Ordering::Relaxed);
        });
        spool
    }

    /// Appends records in groups, each waited for as a whole.
    fn produce(&self, log: &Log, first: u64, mut dice: fastrand::Rng, pause_ms: u64) {
        let last = first + APPENDS;
        let mut next = first;
        while next < last {
            let group = next..(next + dice.u64(1..=GROUP_MAX)).min(last);
            next = group.end;
            let acks: Vec<_> = group.map(|n| (n, log.append(1, record::payload(n), 1))).collect();
            for (record, ack) in acks {
                // A full log refuses: the exporters are slower for a while.
                match ack.and_then(|ack| ack.wait()) {
                    Ok(appended) => self.marker.tell([Said::Acked { record, sequence: appended.sequence }]),
                    Err(e) => pause(e.retry_after().unwrap_or_else(|| panic!("record {record}: {e}"))),
                }
            }
            if pause_ms > 0 && dice.bool() {
                pause(Duration::from_millis(dice.u64(0..pause_ms)));
            }
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "the pace of the load")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// An exporter: takes batches, parks what its backend refuses, acks in any order, writes its cursor now and then.
struct Exporter<'a> {
    workload: &'a Workload<'a>,
    index: usize,
    cursor: Cursor,
    dice: fastrand::Rng,
    in_hand: VecDeque<Frame>,
}

impl Exporter<'_> {
    fn drain(mut self, producing: &AtomicBool) {
        while producing.load(Ordering::Relaxed) || self.dice.u8(..4) > 0 {
            if self.cursor.wait_readable(LOOK) {
                self.take();
            }
            // Some stay in hand for a while, and are acked out of order.
            let keep = self.dice.usize(0..=4);
            while self.in_hand.len() > keep {
                self.finish();
            }
            if self.dice.u8(..4) == 0 {
                self.flush();
            }
        }
    }

    fn flush(&mut self) {
        if self.workload.expect(self.cursor.flush()).is_some() {
            self.workload.marker.tell([Said::Flushed { cursor: self.index }]);
        }
    }

    fn take(&mut self) {
        let most = self.dice.usize(1..BATCH_MAX);
        let Some(Some(batch)) = self.workload.expect(self.cursor.next_batch(most)) else { return };
        let seen = |frame: &Frame| Said::Seen { record: number(frame), sequence: frame.sequence };
        self.workload.marker.tell(batch.frames.iter().map(seen));
        self.in_hand.extend(batch.frames);
    }

    fn finish(&mut self) {
        let at = self.dice.usize(..self.in_hand.len());
        let Some(frame) = self.in_hand.swap_remove_back(at) else { return };
        let record = number(&frame);
        let is_refused = self.dice.u8(..PARKED_OF) == 0;
        if is_refused {
            let letter = DeadLetter {
                sequence: frame.sequence,
                first_item: 0,
                items: 1,
                content: frame.content,
                payload: frame.payload.clone(),
                reason: "refused".to_owned(),
            };
            if self.workload.expect(self.cursor.park(letter)).is_none() {
                // Not parked, not passed.
                self.in_hand.push_front(frame);
                return;
            }
            self.workload.marker.tell([Said::Parked { record }]);
        }
        // Before the ack: from here on the cursor may pass it.
        self.workload.marker.tell([Said::Acking { cursor: self.index, record }]);
        self.cursor.ack(frame.sequence, frame.sequence, u64::from(is_refused)).unwrap();
    }
}

fn number(frame: &Frame) -> u64 {
    record::number(&frame.payload).expect("the cursor gave a record that nobody appended")
}

/// Appends record after record, and tells the device of each that was acknowledged.
pub(crate) struct Client<'a> {
    pub(crate) log: Log,
    pub(crate) marker: &'a Marker,
    pub(crate) next: u64,
}

impl Client<'_> {
    pub(crate) fn append(&mut self) -> Result<(), Error> {
        let record = self.next;
        self.next += 1;
        let appended = self.log.append(1, record::payload(record), 1)?.wait()?;
        self.marker.tell([Said::Acked { record, sequence: appended.sequence }]);
        Ok(())
    }

    /// Appends until the log refuses, and gives its answer.
    pub(crate) fn append_until_refused(&mut self) -> Error {
        (0..REFUSED_WITHIN).find_map(|_| self.append().err()).expect("the log refuses nothing")
    }

    /// Tries until the log takes a record, as a client that was refused does.
    pub(crate) fn append_when_taken(&mut self, limit: Duration) {
        assert!(
            wait_for(limit, || self.append().ok()).is_some(),
            "the log does not take frames again: {:?}",
            self.log.trouble()
        );
    }

    /// Every exporter takes and acks all that there is.
    pub(crate) fn deliver(&self) {
        for (cursor, name) in CURSORS.iter().enumerate() {
            let mut reader = self.log.cursor(name, Start::Oldest, Need::Required).unwrap();
            while let Some(batch) = reader.next_batch(BATCH_MAX).unwrap() {
                for frame in batch.frames {
                    self.marker.tell([Said::Acking { cursor, record: number(&frame) }]);
                    reader.ack(frame.sequence, frame.sequence, 0).unwrap();
                }
            }
            reader.flush().unwrap();
            self.marker.tell([Said::Flushed { cursor }]);
        }
    }
}
