//! Whom the next commit waits for.
//!
//! Most callers come back at once when they are answered. A commit that waits for them shares its sync among all of
//! them; one that does not leaves the latest to the next. Of few callers all are waited for. Of many, half: the others
//! come back while it syncs, and are the next. It waits at most for twice as long as the last commit took, and not again
//! for a while when somebody did not come.

use std::time::Duration;

/// The longest that a commit waits for others.
const LONGEST: Duration = Duration::from_millis(1);
/// Up to so many callers are waited for all together. To wake one and hear from it takes some 3 µs, a sync of nothing
/// 60 µs and more: of more callers it is quicker to let half of them sync while the others come back.
const FEW: usize = 24;
/// Commits that do not wait after one that waited in vain.
const HURRIED: u32 = 16;

/// Whom the next commit of a log waits for.
#[derive(Debug, Default)]
pub(super) struct Gather {
    /// Where nobody but the caller acts, a commit that waits would wait for ever.
    never: bool,
    next: Option<Next>,
    /// Commits that wait for nobody, because the last ones who were waited for did not come.
    hurried: u32,
}

#[derive(Debug, Clone, Copy)]
struct Next {
    /// As soon as so many frames wait, the commit begins.
    frames: usize,
    /// On the monotonic clock.
    until: Duration,
}

impl Gather {
    #[cfg(test)]
    pub(super) fn never() -> Self {
        Self { never: true, ..Self::default() }
    }

    /// A commit that took so long is about to answer so many, while so many wait already.
    pub(super) fn expect(&mut self, answered: usize, waiting: usize, took: Duration, now: Duration) {
        self.hurried = self.hurried.saturating_sub(1);
        let callers = answered + waiting;
        let frames = if callers > FEW { callers / 2 } else { callers };
        let waits = frames > 1 && self.hurried == 0 && !self.never;
        self.next = waits.then(|| Next { frames, until: now + (2 * took).min(LONGEST) });
    }

    /// Whether the next commit still waits, with so many frames there. Asked when nothing hurries it.
    pub(super) fn waits(&mut self, frames: usize, now: Duration) -> bool {
        let Some(next) = self.next else { return false };
        let all_came = frames >= next.frames;
        if !all_came && now < next.until {
            return true;
        }
        self.next = None;
        if !all_came {
            self.hurried = HURRIED;
        }
        false
    }

    /// Whether so many frames may be left to a worker that sleeps until then.
    pub(super) fn holds(&self, frames: usize, until: Option<Duration>) -> bool {
        let sleeps_on = |next: Next| frames < next.frames && until.is_some_and(|until| until <= next.until);
        self.next.is_some_and(sleeps_on)
    }

    /// The next commit begins with what is there.
    pub(super) fn end(&mut self) {
        self.next = None;
    }

    /// Until when it waits at most.
    pub(super) fn until(&self) -> Option<Duration> {
        self.next.map(|next| next.until)
    }
}
