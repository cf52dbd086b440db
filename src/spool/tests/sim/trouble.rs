//! What goes wrong on a simulated disk: calls by their number, or by how many such calls came before.

use rustix::io::Errno;

use super::disk::Call;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    Fails(Errno),
    /// A read or write does a part.
    Short,
}

impl Trouble {
    /// Whether whoever makes the call goes on as if nothing had been.
    fn is_hidden(self) -> bool {
        matches!(self, Self::Short | Self::Fails(Errno::INTR))
    }
}

/// Calls that fail.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// The first number of a call that fails, and the one that does not any more.
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Only such calls; none: all.
    pub(crate) calls: Vec<Call>,
    pub(crate) trouble: Trouble,
}

/// What strikes such calls, counted from one, wherever in a run they come.
#[derive(Debug, Clone)]
pub(crate) struct Strike {
    /// Only such calls count; none: all.
    pub(crate) calls: &'static [Call],
    /// The first that is struck, and how many are.
    pub(crate) first: u64,
    pub(crate) times: u64,
    pub(crate) trouble: Trouble,
    /// From the first on there is no room for more either, until the disk is healed.
    pub(crate) fills: bool,
}

/// All that goes wrong on one disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Troubles {
    faults: Vec<Fault>,
    strike: Option<Strike>,
    /// Such calls as the strike is about, so far.
    counted: u64,
    /// Of them, those that were struck.
    struck: u64,
    /// Nothing is counted or struck: the calls are the checker's.
    are_watched: bool,
}

impl Troubles {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// From now on calls are counted, and some of them struck.
    pub(crate) fn strike(&mut self, strike: Strike) {
        *self = Self { strike: Some(strike), ..Self::default() };
    }

    /// From now on calls are not counted and not struck, or are again.
    pub(crate) fn watch(&mut self, are_watched: bool) {
        self.are_watched = are_watched;
    }

    /// A strike that did not begin is called off.
    pub(crate) fn call_off(&mut self) {
        self.strike.take_if(|_| self.struck == 0);
    }

    /// How many calls were struck.
    pub(crate) fn struck(&self) -> u64 {
        self.struck
    }

    /// Whether a call was struck, and not healed since, in a way that its caller may notice.
    pub(crate) fn may_show(&self) -> bool {
        self.struck > 0 && self.strike.as_ref().is_some_and(|strike| !strike.trouble.is_hidden())
    }

    /// Nothing goes wrong any more, but for a strike that did not begin.
    pub(crate) fn heal(&mut self) {
        self.faults.clear();
        self.strike.take_if(|_| self.struck > 0);
    }

    /// What becomes of the call of this number, and whether the disk is full with it.
    pub(crate) fn meet(&mut self, number: u64, call: Call) -> (Option<Trouble>, bool) {
        let hits = |f: &&Fault| (f.from..f.to).contains(&number) && (f.calls.is_empty() || f.calls.contains(&call));
        let fault = self.faults.iter().find(hits).map(|f| f.trouble);
        let is_meant = |strike: &&Strike| strike.calls.is_empty() || strike.calls.contains(&call);
        let Some(strike) = self.strike.as_ref().filter(|_| !self.are_watched).filter(is_meant) else {
            return (fault, false);
        };
        self.counted += 1;
        if !(strike.first..strike.first + strike.times).contains(&self.counted) {
            return (fault, false);
        }
        self.struck += 1;
        (Some(strike.trouble), strike.fills && self.struck == 1)
    }
}
