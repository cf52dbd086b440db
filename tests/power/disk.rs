//! A disk with a volatile cache, and its power cut.
//!
//! A write is acknowledged into the cache. A flush, or a write with FUA, makes durable. At the cut each block of 4 KiB
//! that was written since the last flush is kept or lost by chance, each version of it for itself: what remains is
//! what a drive may leave behind, and never what a host's page cache happens to hold.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// The disk's sectors have this size, so this is what is written whole or not at all.
pub(crate) const BLOCK: usize = 4096;

/// A disk in memory.
pub(crate) struct Disk {
    state: Mutex<State>,
    power_lost: Condvar,
}

struct State {
    /// What survives a cut whatever chance says.
    durable: Vec<u8>,
    /// What a read answers: `durable`, and over it everything unflushed.
    seen: Vec<u8>,
    /// In the order of arrival.
    unflushed: Vec<Write>,
    power: bool,
    last_request: Option<Last>,
    flushes: Flushes,
    flushed: u64,
}

/// What spends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Write,
    Flush,
}

/// The request with which the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// Counted down.
    Nth(u32),
    /// The next write.
    Write,
}

struct Write {
    offset: usize,
    bytes: Vec<u8>,
    /// Was to be durable before its answer.
    forced: bool,
}

/// Whether a flush is what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flushes {
    Honest,
    /// Answered, and nothing made durable: what the oracle must catch.
    Lies,
}

/// What chance does to the blocks that were written since the last flush.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    AllLost,
    AllKept,
    /// The first so many blocks are kept, in the order of arrival.
    KeptUpTo(usize),
    /// Each block is kept with this probability.
    Kept(f64),
}

/// What a cut met.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cut {
    pub(crate) kept: u64,
    pub(crate) lost: u64,
}

/// The power is off.
#[derive(Debug)]
pub(crate) struct NoPower;

impl Fate {
    /// Each kind as likely as the others.
    pub(crate) fn drawn(random: &mut fastrand::Rng, blocks: usize) -> Self {
        match random.u8(..4) {
            0 => Self::AllLost,
            1 => Self::AllKept,
            2 => Self::KeptUpTo(random.usize(0..=blocks)),
            _ => Self::Kept(random.f64()),
        }
    }

    fn keeps(self, at: usize, random: &mut fastrand::Rng) -> bool {
        match self {
            Self::AllLost => false,
            Self::AllKept => true,
            Self::KeptUpTo(first) => at < first,
            Self::Kept(probability) => random.f64() < probability,
        }
    }
}

impl State {
    /// Whether the request under way is the one with which the power goes.
    fn is_last(&self) -> bool {
        matches!(self.last_request, Some(Last::Nth(1) | Last::Write))
    }
}

impl Disk {
    /// A disk with these contents, without power.
    pub(crate) fn new(contents: Vec<u8>) -> Self {
        assert_eq!(contents.len() % BLOCK, 0, "a disk has whole blocks");
        let seen = contents.clone();
        let state = State {
            durable: contents,
            seen,
            unflushed: Vec::new(),
            power: false,
            last_request: None,
            flushes: Flushes::Honest,
            flushed: 0,
        };
        Self { state: Mutex::new(state), power_lost: Condvar::new() }
    }

    pub(crate) fn size(&self) -> usize {
        self.lock().durable.len()
    }

    /// Gives it power.
    pub(crate) fn power_on(&self, flushes: Flushes) {
        let mut state = self.lock();
        (state.power, state.flushes, state.last_request) = (true, flushes, None);
    }

    /// What was made durable by a flush since the beginning.
    pub(crate) fn flushed(&self) -> u64 {
        self.lock().flushed
    }

    pub(crate) fn read(&self, offset: usize, length: usize) -> Result<Vec<u8>, NoPower> {
        let state = self.powered()?;
        Ok(state.seen[offset..offset + length].to_vec())
    }

    pub(crate) fn write(&self, offset: usize, bytes: Vec<u8>, forced: bool) -> Result<(), NoPower> {
        let mut state = self.powered()?;
        state.seen[offset..offset + bytes.len()].copy_from_slice(&bytes);
        let forced = forced && state.flushes == Flushes::Honest && !state.is_last();
        state.unflushed.push(Write { offset, bytes, forced });
        self.spend(&mut state, Request::Write)
    }

    /// Makes durable what was written before.
    pub(crate) fn flush(&self) -> Result<(), NoPower> {
        let state = &mut *self.powered()?;
        self.spend(state, Request::Flush)?;
        state.flushed += 1;
        if state.flushes == Flushes::Honest {
            for write in state.unflushed.drain(..) {
                state.durable[write.offset..write.offset + write.bytes.len()].copy_from_slice(&write.bytes);
            }
        }
        Ok(())
    }

    /// Lets the power go with a request to come, before its answer: a write stands in the cache then, and a flush has
    /// done nothing. Waits for that, at most `limit`.
    pub(crate) fn lose_power_at_request(&self, number: u32, limit: Duration) {
        self.lose_power_with(Last::Nth(number), limit);
    }

    /// Lets the power go with the next write, before its answer. Waits for that, at most `limit`.
    pub(crate) fn lose_power_at_write(&self, limit: Duration) {
        self.lose_power_with(Last::Write, limit);
    }

    fn lose_power_with(&self, last: Last, limit: Duration) {
        let mut state = self.lock();
        state.last_request = Some(last);
        drop(self.power_lost.wait_timeout_while(state, limit, |state| state.power).unwrap());
    }

    /// Takes the power away: nothing is answered any more, and chance decides about what was not flushed.
    pub(crate) fn cut(&self, random: &mut fastrand::Rng) -> Cut {
        let mut state = self.lock();
        state.power = false;
        let blocks = state.unflushed.iter().map(|write| write.bytes.len().div_ceil(BLOCK)).sum();
        drop(state);
        self.cut_as(Fate::drawn(random, blocks), random)
    }

    /// As [`Disk::cut`], with the fate of what was not flushed decided.
    pub(crate) fn cut_as(&self, fate: Fate, random: &mut fastrand::Rng) -> Cut {
        let state = &mut *self.lock();
        state.power = false;
        let fate = match state.flushes {
            Flushes::Honest => fate,
            Flushes::Lies => Fate::AllLost,
        };
        let mut cut = Cut::default();
        let mut at = 0;
        for write in &state.unflushed {
            for (block, bytes) in write.bytes.chunks(BLOCK).enumerate() {
                if write.forced || fate.keeps(at, random) {
                    let offset = write.offset + block * BLOCK;
                    state.durable[offset..offset + bytes.len()].copy_from_slice(bytes);
                    cut.kept += 1;
                } else {
                    cut.lost += 1;
                }
                at += 1;
            }
        }
        for write in state.unflushed.drain(..) {
            let range = write.offset..write.offset + write.bytes.len();
            state.seen[range.clone()].copy_from_slice(&state.durable[range]);
        }
        cut
    }

    /// Looks at what would survive now.
    pub(crate) fn with_durable<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        look(&self.lock().durable)
    }

    /// Counts a request; the last one gets no answer.
    fn spend(&self, state: &mut State, request: Request) -> Result<(), NoPower> {
        match &mut state.last_request {
            None => return Ok(()),
            Some(Last::Nth(left)) => {
                *left = left.saturating_sub(1);
                if *left > 0 {
                    return Ok(());
                }
            }
            Some(Last::Write) if request != Request::Write => return Ok(()),
            Some(Last::Write) => {}
        }
        state.power = false;
        self.power_lost.notify_all();
        Err(NoPower)
    }

    fn powered(&self) -> Result<MutexGuard<'_, State>, NoPower> {
        let state = self.lock();
        if state.power { Ok(state) } else { Err(NoPower) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

#[test]
fn a_flush_saves_what_was_written_before_it_and_nothing_else() {
    let mut random = fastrand::Rng::with_seed(1);
    let mut seen = [false; 3];
    for _ in 0..1_000 {
        let disk = Disk::new(vec![0; 4 * BLOCK]);
        disk.power_on(Flushes::Honest);
        disk.write(0, vec![1; BLOCK], false).unwrap();
        disk.flush().unwrap();
        disk.write(0, vec![2; BLOCK], false).unwrap();
        disk.write(BLOCK, vec![3; 2 * BLOCK], false).unwrap();
        disk.write(3 * BLOCK, vec![4; BLOCK], true).unwrap();
        assert_eq!(disk.read(0, 1).unwrap(), [2]);
        disk.cut(&mut random);
        assert!(disk.write(0, vec![5; BLOCK], true).is_err() && disk.flush().is_err());
        disk.power_on(Flushes::Honest);
        let block = |at: usize| disk.read(at * BLOCK, BLOCK).unwrap();
        let uniform = |at: usize| block(at).iter().all(|byte| *byte == block(at)[0]);
        assert!((0..4).all(uniform), "a block is written whole or not at all");
        assert!(matches!(block(0)[0], 1 | 2) && matches!(block(1)[0], 0 | 3) && block(3)[0] == 4);
        seen[0] |= block(0)[0] == 2 && block(1)[0] == 0;
        seen[1] |= block(1)[0] == 3 && block(0)[0] == 1;
        seen[2] |= block(1)[0] != block(2)[0];
    }
    assert_eq!(seen, [true; 3], "chance reorders and tears");
}

#[test]
fn a_disk_that_lies_loses_what_it_flushed() {
    let disk = Disk::new(vec![0; BLOCK]);
    disk.power_on(Flushes::Lies);
    disk.write(0, vec![1; BLOCK], true).unwrap();
    disk.flush().unwrap();
    disk.cut(&mut fastrand::Rng::with_seed(1));
    assert_eq!(disk.with_durable(|bytes| bytes[0]), 0);
}
