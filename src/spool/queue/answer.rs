//! How the callers of appends get their answers.
//!
//! Who goes on meanwhile has a channel of its own. Those who block are answered in groups: they were queued between two
//! commits and share a futex. Whoever commits wakes one of them, who wakes the others. With a channel each it would wake
//! them all itself, at some 3 µs a caller, while the disk has nothing to do.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use rustix::thread::futex;

use super::super::env::lock;
use super::super::{Appended, Error};

type Result = std::result::Result<Appended, Error>;

/// Whom a queued frame is answered to. Nobody may be waiting any more; the frame's fate does not depend on it.
#[derive(Debug)]
pub(crate) enum Caller {
    Channel(oneshot::Sender<Result>),
    Member(Member),
}

impl Caller {
    pub(crate) fn answer(self, result: Result) {
        match self {
            Self::Channel(sender) => drop(sender.send(result)),
            Self::Member(member) => member.answer(result),
        }
    }

    /// Those who are woken with this one.
    pub(crate) fn company(&self) -> Option<Company> {
        match self {
            Self::Channel(_) => None,
            Self::Member(member) => Some(Company(member.group.clone())),
        }
    }

    /// Whether nobody waits for the answer.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::Channel(sender) => sender.is_closed(),
            Self::Member(_) => false,
        }
    }
}

/// Callers who block, and are woken together when the last of them is answered.
#[derive(Debug)]
struct Group {
    /// Answers that are still to come, and one more while callers may join. The futex.
    awaited: AtomicU32,
    answers: Mutex<Vec<Option<Result>>>,
    /// Set by the first of them who knows, before it wakes the others.
    is_told: AtomicBool,
}

impl Group {
    fn settle(&self) {
        // Releases the answer; whoever sees the zero sees them all.
        if self.awaited.fetch_sub(1, Ordering::AcqRel) == 1 {
            // One of them, who wakes the others while whoever commits goes on.
            self.wake(1);
        }
    }

    fn wake_all(&self) {
        // The first to know.
        if !self.is_told.swap(true, Ordering::Relaxed) {
            self.wake(i32::MAX as u32);
        }
    }

    fn wake(&self, most: u32) {
        // It fails for a bad address only, and this is not one.
        futex::wake(&self.awaited, futex::Flags::PRIVATE, most).unwrap_or_default();
    }
}

/// Callers who were answered, and of whom one was woken.
#[derive(Debug)]
pub(crate) struct Company(Arc<Group>);

impl Company {
    /// Wakes them all, if that one did not yet: it may be of the lowest priority on a busy machine.
    pub(crate) fn wake(self) {
        self.0.wake_all();
    }
}

/// A group that callers may join until this is dropped.
#[derive(Debug)]
pub(super) struct OpenGroup(Arc<Group>);

impl OpenGroup {
    pub(super) fn new() -> Self {
        Self(Arc::new(Group { awaited: AtomicU32::new(1), answers: Mutex::default(), is_told: AtomicBool::new(false) }))
    }

    pub(super) fn join(&self) -> (Member, Seat) {
        let mut answers = lock(&self.0.answers);
        let index = answers.len();
        answers.push(None);
        self.0.awaited.fetch_add(1, Ordering::Relaxed);
        (Member { group: self.0.clone(), index }, Seat { group: self.0.clone(), index })
    }
}

impl Drop for OpenGroup {
    fn drop(&mut self) {
        self.0.settle();
    }
}

/// The end of a blocked caller's place that is answered. Dropped unanswered, its caller learns that nobody is left to.
#[derive(Debug)]
pub(crate) struct Member {
    group: Arc<Group>,
    index: usize,
}

impl Member {
    fn answer(self, result: Result) {
        if let Some(answer) = lock(&self.group.answers).get_mut(self.index) {
            *answer = Some(result);
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.group.settle();
    }
}

/// A blocked caller's place in a group.
#[derive(Debug)]
pub(crate) struct Seat {
    group: Arc<Group>,
    index: usize,
}

impl Seat {
    /// Blocks until the whole group is answered. `None` when whoever was to answer is gone.
    pub(crate) fn wait(self) -> Option<Result> {
        let awaited = &self.group.awaited;
        loop {
            match awaited.load(Ordering::Acquire) {
                0 => break,
                // Refused when another answer came meanwhile, or interrupted: looked at again either way.
                left => futex::wait(awaited, futex::Flags::PRIVATE, left, None).unwrap_or_default(),
            }
        }
        self.group.wake_all();
        lock(&self.group.answers).get_mut(self.index).and_then(Option::take)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_wakes_when_it_is_closed_and_the_last_member_is_answered() {
        let group = OpenGroup::new();
        let (members, seats): (Vec<_>, Vec<_>) = (0..4).map(|_| group.join()).unzip();
        let waiting: Vec<_> = seats.into_iter().map(|seat| std::thread::spawn(|| seat.wait())).collect();
        for (sequence, member) in (1..).zip(members) {
            match sequence {
                // As when whoever commits panics.
                3 => drop(member),
                _ => member.answer(Ok(Appended { sequence })),
            }
        }
        assert!(waiting.iter().all(|thread| !thread.is_finished()), "others may still join");
        drop(group);
        let answers = waiting.into_iter().map(|thread| thread.join().unwrap());
        let sequences: Vec<_> = answers.map(|answer| answer.map(|result| result.unwrap().sequence)).collect();
        assert_eq!(sequences, [Some(1), Some(2), None, Some(4)]);
    }
}
