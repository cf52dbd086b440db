//! The check of one image: mount it, let the file system repair itself, open the log, compare with the promises.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use tidegate::spool::{Cursor, Cut, DeadLetter, Durability, Error, Opening, Reader};

use crate::filesystem::FileSystem;
use crate::model::{CURSORS, Model};
use crate::record;
use crate::room::{Loop, Mounted, Room};
use crate::shell::Shell;
use crate::wait::wait_for;
use crate::workload::{DATA, LOG, open};

/// What an image showed. Only the first is a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every promise was kept.
    Survived,
    /// A promise of the log was broken.
    Lost(String),
    /// Nothing had been promised yet, and nothing else was wrong.
    NotMeasured,
    /// The file system below, or the test itself, failed.
    Broken(String),
}

/// The record that is appended after recovery.
const FRESH: u64 = u64::MAX;
const CHUNK: usize = 1 << 20;
/// How long a log may take to open, give what it has and take a record.
const LIMIT: Duration = Duration::from_secs(60);

/// A place where images are laid out and mounted, one after the other.
pub(crate) struct Checker {
    file: File,
    path: PathBuf,
    device: Loop,
    point: PathBuf,
    pub(crate) file_system: FileSystem,
    shell: Shell,
    buffer: Vec<u8>,
}

impl Checker {
    pub(crate) fn new(room: &Room, name: &str, file_system: FileSystem) -> Self {
        let path = room.memory.join(name);
        file_system.make(&path);
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let device = Loop::attach(&path);
        Self {
            file,
            path,
            device,
            point: room.mount_point(name),
            file_system,
            shell: Shell::start(),
            buffer: vec![0; CHUNK],
        }
    }

    /// Whether a device that holds these bytes keeps these promises.
    pub(crate) fn check(&mut self, image: &[u8], model: &Model) -> Verdict {
        self.lay_out(image);
        let mounted = match Mounted::new(self.device.path(), &self.point, self.file_system) {
            Ok(mounted) => mounted,
            Err(e) => return Verdict::Broken(format!("mount: {e}")),
        };
        let found = examine_in_time(mounted.path().join(DATA), model.clone());
        let errors = mounted.errors();
        if let Err(e) = mounted.unmount() {
            return Verdict::Broken(format!("unmount: {e}; {found:?}"));
        }
        // A file system that lost its own shape proves nothing about the log.
        if errors > 0 {
            return Verdict::Broken(format!("{errors} errors of the file system; {found:?}"));
        }
        let command = format!("{} {}", self.file_system.checker(), self.path.display());
        if let Err(said) = self.shell.run(&command) {
            return Verdict::Broken(format!("{said}; {found:?}"));
        }
        match found {
            Err(what) => Verdict::Lost(what),
            Ok(()) if model.durable.is_empty() => Verdict::NotMeasured,
            Ok(()) => Verdict::Survived,
        }
    }

    /// Writes what differs.
    fn lay_out(&mut self, image: &[u8]) {
        for (at, wanted) in (0_u64..).step_by(CHUNK).zip(image.chunks(CHUNK)) {
            let found = &mut self.buffer[..wanted.len()];
            self.file.read_exact_at(found, at).unwrap();
            if found == wanted {
                continue;
            }
            for (offset, (new, old)) in (at..).step_by(4096).zip(wanted.chunks(4096).zip(found.chunks(4096))) {
                if new != old {
                    self.file.write_all_at(new, offset).unwrap();
                }
            }
        }
    }
}

/// Examines on a thread of its own: what hangs or panics is an answer too.
fn examine_in_time(data: PathBuf, model: Model) -> Result<(), String> {
    let (answer, answered) = sync_channel(1);
    std::thread::spawn(move || answer.send(examine(&data, &model)));
    match answered.recv_timeout(LIMIT) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => Err(format!("no answer within {LIMIT:?}")),
        Err(RecvTimeoutError::Disconnected) => Err("the log panicked".to_owned()),
    }
}

/// What one opening showed.
#[derive(Debug, PartialEq)]
struct Shown {
    /// Whether the run before stopped cleanly, frames recovered, stretches cut.
    opening: (bool, u64, Vec<Cut>),
    /// By cursor: sequence and record, in the order in which they were given.
    given: Vec<Vec<(u64, u64)>>,
}

/// Whether the log in this directory keeps these promises.
pub(crate) fn examine(data: &Path, model: &Model) -> Result<(), String> {
    if let Some(contradiction) = model.contradictions.first() {
        return Err(contradiction.clone());
    }
    let error = |what: &'static str| move |e: Error| format!("{what}: {e}");
    let first = {
        let (_spool, log, mut cursors) = open(data, Durability::Sync).map_err(error("first opening"))?;
        show(log.opening(), &mut cursors)?
    };
    let (spool, log, mut cursors) = open(data, Durability::Sync).map_err(error("second opening"))?;
    let second = show(log.opening(), &mut cursors)?;
    if first != second {
        return Err(format!("the second opening shows something else: {first:?} and {second:?}"));
    }
    for (index, given) in second.given.iter().enumerate() {
        compare(index, given, model)?;
    }
    // A log that its exporters left full takes a record as soon as they deliver.
    for cursor in &mut cursors {
        deliver(cursor)?;
    }
    let append = || log.append(1, record::payload(FRESH), 1).and_then(|ack| ack.wait()).ok();
    let fresh = wait_for(LIMIT / 2, append).ok_or_else(|| format!("no fresh append: {:?}", log.trouble()))?;
    if fresh.sequence <= model.last_sequence() {
        return Err(format!("sequence {} was given before", fresh.sequence));
    }
    for cursor in &mut cursors {
        if !cursor.wait_readable(LIMIT / 2) || drain(cursor)? != [(fresh.sequence, FRESH)] {
            return Err(format!("cursor {}: does not give the fresh record, or not alone", cursor.name()));
        }
        deliver(cursor)?;
    }
    let dropped_letters = log.losses().map_err(error("losses"))?;
    let dropped_letters = dropped_letters.iter().filter(|loss| loss.cursor.as_deref() == Some("dead_letters"));
    let dropped_letters: u64 = dropped_letters.map(|loss| loss.items).sum();
    drop(cursors);
    spool.close().map_err(error("close"))?;
    drop((spool, log));
    at_rest(data, model, dropped_letters)
}

/// Reads everything through every cursor, acking nothing.
fn show(opening: &Opening, cursors: &mut [Cursor]) -> Result<Shown, String> {
    if !opening.lost_cursors.is_empty() || !opening.ahead_cursors.is_empty() {
        return Err(format!("cursors are lost or ahead: {opening:?}"));
    }
    let given = cursors.iter_mut().map(drain).collect::<Result<_, _>>()?;
    Ok(Shown { opening: (opening.clean, opening.recovered_frames, opening.cuts.clone()), given })
}

/// What a cursor gives now: sequence and record.
fn drain(cursor: &mut Cursor) -> Result<Vec<(u64, u64)>, String> {
    let mut given = Vec::new();
    while let Some(batch) = cursor.next_batch(1 << 20).map_err(|e| format!("cursor {}: {e}", cursor.name()))? {
        for frame in batch.frames {
            let record = record::number(&frame.payload);
            let record = record.ok_or_else(|| format!("sequence {} holds what nobody appended", frame.sequence))?;
            given.push((frame.sequence, record));
        }
    }
    Ok(given)
}

/// Nothing promised is missing, nothing done comes again, all is in order.
fn compare(index: usize, given: &[(u64, u64)], model: &Model) -> Result<(), String> {
    let (name, cursor) = (CURSORS[index], &model.cursors[index]);
    if let Some(pair) = given.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
        return Err(format!("cursor {name}: sequences do not rise: {pair:?}"));
    }
    // The numbers of one producer rise; its name is in the bits above.
    let mut last = BTreeMap::new();
    for (sequence, record) in given {
        if last.insert(record >> 16, record).is_some_and(|before| before >= record) {
            return Err(format!("cursor {name}: record {record} at {sequence} is out of order"));
        }
    }
    let by_record: BTreeMap<u64, u64> = given.iter().map(|(sequence, record)| (*record, *sequence)).collect();
    for (record, sequence) in &model.durable {
        match by_record.get(record) {
            Some(found) if found != sequence => {
                return Err(format!("cursor {name}: record {record} was promised as {sequence} and is {found}"));
            }
            None if !cursor.acking.contains(record) => {
                let missing =
                    |(record, _): &(&u64, &u64)| !by_record.contains_key(record) && !cursor.acking.contains(record);
                let count = model.durable.iter().filter(missing).count();
                return Err(format!(
                    "cursor {name}: {count} acknowledged records are lost, first {record} ({sequence})"
                ));
            }
            _ => {}
        }
    }
    match cursor.done.iter().find(|record| by_record.contains_key(record)) {
        Some(record) => Err(format!("cursor {name}: record {record} was durably done and comes again")),
        None => Ok(()),
    }
}

/// Acks all that the cursor gave: then nothing is pending.
fn deliver(cursor: &mut Cursor) -> Result<(), String> {
    let name = cursor.name().to_owned();
    cursor.ack(0, u64::MAX, 0).and_then(|()| cursor.flush()).map_err(|e| format!("cursor {name}: {e}"))?;
    match cursor.pending().items {
        0 => Ok(()),
        items => Err(format!("cursor {name}: {items} items are pending after all was acked")),
    }
}

/// The closed log as its readers see it: checksums, ledger, dead letters.
fn at_rest(data: &Path, model: &Model, dropped_letters: u64) -> Result<(), String> {
    let error = |e: Error| format!("reading the closed log: {e}");
    let reader = Reader::open(data).map_err(error)?;
    for log in reader.verify(&mut |_, _| {}).map_err(error)?.logs {
        if !log.ledger_closes || log.damage.iter().any(|damage| damage.reason.contains("damaged")) {
            return Err(format!("verify: {log:?}"));
        }
    }
    for log in reader.inspect().map_err(error)?.logs {
        for cursor in log.cursors {
            let dropped: u64 = cursor.dropped_items.iter().map(|(_, items)| items).sum();
            let done = cursor.delivered_items + cursor.parked_items + dropped + cursor.skipped_items;
            // What a power cut may take was never acknowledged: it is counted as torn.
            let only_torn = cursor.dropped_items.iter().all(|(reason, items)| reason == "torn" || *items == 0);
            if done + cursor.pending.items != cursor.accepted_items || cursor.pending.items > 0 || !only_torn {
                return Err(format!("the ledger: {cursor:?}"));
            }
        }
    }
    let parked = dead_letters(&reader)?;
    // A disk that says that it is full takes the oldest, which is told.
    let missing: Vec<u64> = model.parked.difference(&parked).copied().collect();
    match missing.len() as u64 > dropped_letters {
        true => Err(format!("the dead letters of records {missing:?} are lost, and {dropped_letters} are told")),
        false => Ok(()),
    }
}

fn dead_letters(reader: &Reader) -> Result<BTreeSet<u64>, String> {
    let mut parked = BTreeSet::new();
    let error = |e: Error| format!("reading dead letters: {e}");
    for log in reader.dead_letter_logs().map_err(error)? {
        assert_eq!(log, LOG);
        let mut letters = reader.read_dead_letters(&log).map_err(error)?;
        while let Some(frame) = letters.next().map_err(error)? {
            let (_, letter) = DeadLetter::from_frame(&frame).map_err(error)?;
            parked.insert(record::number(&letter.payload).ok_or("a dead letter that nobody wrote")?);
        }
    }
    Ok(parked)
}
