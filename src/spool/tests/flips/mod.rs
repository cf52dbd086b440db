//! Every bit flipped and every length cut, on a log in memory: what is lost is at most what was hit, it is told, and
//! nothing is made up.
//!
//! `cargo test` takes a sample. With `TIDEGATE_DAMAGE=all` every bit and every length of a segment is taken, one that
//! stands in a recycled file, and every bit of a cursor's file and of `spool.id`; with `TIDEGATE_LONG` a segment in a
//! new file and one that a crash left, too.
//! A flip is looked at through all that reads a log: [`Reader`], `verify`, and what opening it finds.

mod files;
mod memory;
mod subject;

use std::collections::BTreeMap;

use subject::{Kind, SEGMENT, Subject};

use super::*;
use crate::spool::Damage;
use crate::spool::format::cursor::slot;

/// What damage came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// Nothing is lost: there is a second copy, or it can be worked out.
    Healed,
    /// A frame is lost, and that is told with its place and number; or a mark, which holds nothing.
    DamageTold,
    /// The last frames of the log are lost, and that is told.
    TailTold,
    /// Bytes that belong to nothing.
    Unused,
}

#[derive(Debug, Default)]
struct Verdicts(BTreeMap<Verdict, u64>);

impl Verdicts {
    fn add(&mut self, verdict: Verdict) {
        *self.0.entry(verdict).or_default() += 1;
    }

    fn sum(parts: Vec<Self>) -> Self {
        let mut sum = Self::default();
        for (verdict, count) in parts.into_iter().flat_map(|part| part.0) {
            *sum.0.entry(verdict).or_default() += count;
        }
        sum
    }

    fn tell(&self, what: &str) {
        let count = |verdict| self.0.get(&verdict).copied().unwrap_or(0);
        let total: u64 = self.0.values().sum();
        println!(
            // The harness has begun a line of its own.
            "\nfigure: {what}: {total}: {} healed, {} damage told, {} tail cut told, {} in unused space; 0 false accepts",
            count(Verdict::Healed),
            count(Verdict::DamageTold),
            count(Verdict::TailTold),
            count(Verdict::Unused)
        );
    }
}

/// One in so many of the flips that are tried is tried on the log's owner, too.
const OWNED: u64 = 64;

/// One in so many bits and lengths; 1: all.
fn step() -> usize {
    if is_set("TIDEGATE_DAMAGE") { 1 } else { 509 }
}

fn kinds() -> Vec<Kind> {
    match is_set("TIDEGATE_LONG") {
        true => vec![Kind::Sealed, Kind::Unsealed, Kind::Recycled],
        false => vec![Kind::Recycled],
    }
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// The verdict on a flip in the segment; panics when it is none of the allowed.
fn judge_flip(subject: &Subject, bit: u64) -> Verdict {
    let byte = bit / 8;
    let found = subject.look().unwrap_or_else(|error| panic!("bit {bit}: {error}"));
    let told: u64 = found.verification.damage.iter().map(|d| d.frames_lost).sum();
    let is_told = !found.verification.damage.is_empty();
    let place = || format!("bit {bit} (byte {byte}): {found:?}");
    assert!(found.verification.ledger_closes, "{}", place());
    if subject.is_unused(byte) {
        assert!(found.lost == 0 && !is_told && found.cuts == 0, "{}", place());
        return Verdict::Unused;
    }
    if !subject.is_in_frames(byte) {
        // A header, or a footer: that of a run's last segment looks as if a crash had cut it.
        assert!(found.lost == 0 && (is_told || !found.verification.torn.is_empty()), "{}", place());
        return Verdict::Healed;
    }
    assert!(found.lost <= 1, "{}", place());
    assert!(found.lost == 1 || subject.is_in_mark(byte), "{}", place());
    if told == found.lost as u64 && is_told {
        return Verdict::DamageTold;
    }
    // Beyond all that a witness on disk says was durable: whoever opens the log is told.
    assert!(subject.kind == Kind::Unsealed && found.cuts > 0, "{}", place());
    Verdict::TailTold
}

#[test]
fn every_flipped_bit_costs_at_most_its_frame_and_is_told() {
    for kind in kinds() {
        let verdicts = Verdicts::sum(on_all_processors(|part, parts| {
            let subject = Subject::new(kind);
            let size = subject.disk.get(&subject.segment).len();
            let mut verdicts = Verdicts::default();
            for bit in (0..size as u64 * 8).step_by(step()).skip(part).step_by(parts) {
                subject.disk.flip(&subject.segment, bit);
                verdicts.add(judge_flip(&subject, bit));
                if (bit / step() as u64).is_multiple_of(OWNED) {
                    owned(&subject, &format!("bit {bit}"), 1);
                }
                subject.disk.flip(&subject.segment, bit);
            }
            verdicts
        }));
        assert!(verdicts.0.len() >= 3, "{verdicts:?}");
        verdicts.tell(&format!("single-bit flips of a {} segment of {} KiB", name(kind), SEGMENT >> 10));
    }
}

/// Its owner, too, opens it, gives what is left of it and goes on.
fn owned(subject: &Subject, what: &str, most_lost: usize) {
    let found = files::use_it(subject, what).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(found.len() + most_lost >= subject.frames.len(), "{what}: {}", found.len());
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Sealed => "sealed",
        Kind::Unsealed => "crashed",
        Kind::Recycled => "recycled",
    }
}

#[test]
fn every_cut_costs_what_lay_beyond_it_and_is_told() {
    for kind in kinds() {
        let subject = Subject::new(kind);
        let whole = subject.disk.get(&subject.segment);
        let mut verdicts = Verdicts::default();
        for length in (0..=whole.len()).step_by(step().div_ceil(8)) {
            subject.disk.put(&subject.segment, whole[..length].to_vec());
            verdicts.add(judge_cut(&subject, length as u64, whole.len() as u64));
        }
        subject.disk.put(&subject.segment, whole);
        verdicts.tell(&format!("truncations of a {} segment of {} KiB", name(kind), SEGMENT >> 10));
    }
}

/// A cursor's file, and what says whose everything is: what is left of one is the other slot, or nothing.
#[test]
fn every_cut_of_a_cursor_or_of_the_id_costs_no_frame() {
    let subject = Subject::new(Kind::Sealed);
    for path in [subject::log_path("cursors/c"), PathBuf::from("/spool/spool.id")] {
        let whole = subject.disk.get(&path);
        let newest = subject.slot().unwrap();
        let used = slot::LEN + newest.intervals.len() * 16;
        let mut verdicts = Verdicts::default();
        // Where a slot is cut, each length; of the zeros behind it a sample.
        let lengths = (0..=whole.len()).filter(|length| length % (64 << 10) <= used || length % 1021 == 0);
        for length in lengths {
            let what = format!("{} cut at {length}", path.display());
            subject.disk.put(&path, whole[..length].to_vec());
            if let Some(found) = subject.slot() {
                assert!(found == newest || found.generation == newest.generation - 1, "{what}: {found:?}");
            } else {
                assert!(length < used, "{what}: a whole slot was left");
            }
            owned(&subject, &what, 0);
            verdicts.add(Verdict::Healed);
        }
        subject.disk.put(&path, whole);
        verdicts.tell(&format!("truncations of {}", path.display()));
    }
}

fn judge_cut(subject: &Subject, length: u64, whole: u64) -> Verdict {
    let found = subject.look().unwrap_or_else(|error| panic!("cut at {length}: {error}"));
    let beyond = subject.places.iter().filter(|(_, end, is_mark)| !is_mark && *end > length).count();
    let told: u64 = found.verification.damage.iter().map(|d| d.frames_lost).sum();
    let place = || format!("cut at {length}: {beyond} frames beyond it: {found:?}");
    assert_eq!(found.lost, beyond, "{}", place());
    // The next segment knows how many there were, or, where there is none, the cursor does.
    assert!(found.verification.ledger_closes && told == beyond as u64, "{}", place());
    if length == whole {
        return Verdict::Unused;
    }
    match subject.kind {
        _ if beyond > 0 => Verdict::TailTold,
        Kind::Unsealed => Verdict::Unused,
        Kind::Sealed | Kind::Recycled => Verdict::Healed,
    }
}

#[test]
fn every_flipped_bit_of_a_cursor_costs_at_most_its_last_write() {
    let subject = Subject::new(Kind::Sealed);
    let path = subject::log_path("cursors/c");
    let newest = subject.slot().unwrap();
    let used = slot::LEN as u64 + newest.intervals.len() as u64 * 16;
    let mut verdicts = Verdicts::default();
    let size = subject.disk.get(&path).len() as u64;
    for bit in (0..size * 8).step_by(step()) {
        subject.disk.flip(&path, bit);
        let found = subject.slot().unwrap_or_else(|| panic!("bit {bit}: both slots lost"));
        assert!(found == newest || found.generation == newest.generation - 1, "bit {bit}: {found:?}");
        let is_unused = bit / 8 % (64 << 10) >= used;
        assert!(!is_unused || found == newest, "bit {bit}");
        verdicts.add(if is_unused { Verdict::Unused } else { Verdict::Healed });
        if !is_unused && bit % 64 == 0 {
            let look = subject.look().unwrap();
            assert!(look.lost == 0 && look.verification.ledger_closes, "bit {bit}: {look:?}");
            let of_a_cursor = |damage: &&Damage| damage.reason.starts_with("cursor c: one slot");
            let told = look.verification.torn.iter().find(of_a_cursor).map(|damage| damage.offset);
            assert_eq!(told, Some(bit / 8 / (64 << 10) * (64 << 10)), "bit {bit}: {look:?}");
        }
        subject.disk.flip(&path, bit);
    }
    verdicts.tell("single-bit flips of a cursor's file");
}

#[test]
fn every_flipped_bit_of_the_id_costs_nothing() {
    let subject = Subject::new(Kind::Sealed);
    let path = Path::new("/spool/spool.id");
    let mut verdicts = Verdicts::default();
    for bit in 0..subject.disk.get(path).len() as u64 * 8 {
        subject.disk.flip(path, bit);
        let found = subject.look().unwrap_or_else(|error| panic!("bit {bit}: {error}"));
        assert!(found.lost == 0 && found.verification.ledger_closes, "bit {bit}: {found:?}");
        verdicts.add(Verdict::Healed);
        subject.disk.flip(path, bit);
    }
    verdicts.tell("single-bit flips of spool.id");
}
