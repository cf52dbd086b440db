//! How far a cursor may lag, and what goes when it lags further.
//!
//! A cursor's lag is its *pending*: what the log accepted since the cursor's start and it has neither delivered, parked,
//! dropped nor skipped. What happens at the limit is the log's `on_full`:
//!
//! - `reject`: the append that would exceed the limit is refused (see `queue`), unless nothing is pending.
//! - `drop_oldest`, or a cursor that holds no data: the append is taken. Within [`EVERY`] the cursor is durably moved
//!   over its oldest frames until it is within its limit again, the drop counted in the same write. So it lags by
//!   more than its limit by at most what is appended within that time. Only this cursor moves; its newest frame stays,
//!   however large.
//!
//! What is on its way to the backend at that moment is left to its reader: it counts as what becomes of it.

use std::sync::Arc;
use std::time::Duration;

use super::core::LogCore;
use super::cursor::CursorCore;
use super::cursor::state::Place;
use super::env::lock;
use super::format::Totals;
use super::format::cursor::Reason;
use super::stream::{Event, Stream};
use super::{Error, OnFull};

/// How often cursors that lag too far are moved.
pub(crate) const EVERY: Duration = Duration::from_millis(100);

/// How much a cursor may have pending.
///
/// ```
/// use tidegate::spool::{CursorOptions, Limit, Need, Start};
/// # use tidegate::spool::{Options, Spool};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// # let log = spool.log("events")?;
///
/// let options = |limit| CursorOptions {
///     max_pending: Some(limit),
///     ..CursorOptions::new(Start::Oldest, Need::Required)
/// };
/// let _slow = log.cursor_with("slow", options(Limit::Items(100)))?;
/// let _small = log.cursor_with("small", options(Limit::Bytes(10)))?;
/// log.append_wait(1, "8 bytes.".into(), 1)?;
/// // The items are within both limits, the bytes are not.
/// let error = log.append(1, "8 bytes.".into(), 1).expect_err("8 + 8 is above 10");
/// assert!(error.is_full() && error.to_string().contains("cursor small has 8 bytes"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// So many items.
    Items(u64),
    /// So many bytes of payload.
    Bytes(u64),
}

impl Limit {
    /// What of an amount it limits.
    pub(crate) fn of(self, amount: Totals) -> u64 {
        match self {
            Self::Items(_) => amount.items,
            Self::Bytes(_) => amount.bytes,
        }
    }

    pub(crate) fn most(self) -> u64 {
        match self {
            Self::Items(most) | Self::Bytes(most) => most,
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Items(_) => "items",
            Self::Bytes(_) => "bytes",
        }
    }
}

impl LogCore {
    /// Whether a cursor at its limit refuses appends; else its own oldest frames go.
    pub(crate) fn refuses_for(&self, cursor: &CursorCore) -> bool {
        self.options.on_full == OnFull::Reject && cursor.holds()
    }

    /// Moves every cursor that lags too far over its oldest frames.
    pub(crate) fn trim(&self) -> Result<(), Error> {
        for cursor in self.cursor_list() {
            if let Some(limit) = cursor.limit().filter(|_| !self.refuses_for(&cursor)) {
                self.trim_to(&cursor, limit)?;
            }
        }
        Ok(())
    }

    fn trim_to(&self, cursor: &Arc<CursorCore>, limit: Limit) -> Result<(), Error> {
        let visible = self.view.front().visible;
        let lag = |cursor: &CursorCore| {
            let state = lock(&cursor.state);
            limit.of(visible.totals - state.passed() - state.taken())
        };
        if lag(cursor) <= limit.most() {
            return Ok(());
        }
        // No segment goes while the place is looked for, and nobody else moves the cursor.
        let _reclaiming = lock(&self.reclaiming);
        let excess = lag(cursor).saturating_sub(limit.most());
        if let Some(cut) = self.cut(cursor, limit, excess, visible.sequence)? {
            cursor.drop_before(self, cut, Reason::Full)?;
            // A reader that waits where the dropped frames were goes on after them.
            self.view.update(|_| {});
        }
        Ok(())
    }

    /// Looks for the place after which the cursor lags by `excess` less: before its first frame that stays. Never
    /// beyond `newest`.
    fn cut(&self, cursor: &CursorCore, limit: Limit, excess: u64, newest: u64) -> Result<Option<Place>, Error> {
        let ((wanted, before, hint), kept) = {
            let state = lock(&cursor.state);
            (state.oldest_undone(), state.kept.sequence)
        };
        let mut stream = Stream::new(wanted, Some(before), Some(hint));
        let (mut gone, mut cut) = (0, None);
        while gone < excess {
            let (last, amount, totals) = match stream.next(self)? {
                None => break,
                Some(Event::Hole(..)) => continue,
                Some(Event::Lost(lost)) => (lost.last_sequence, lost.amount, lost.totals),
                Some(Event::Frame(met)) => {
                    let header = met.frame.header;
                    let after = header.totals_after();
                    (header.sequence, after - header.totals, after)
                }
            };
            if last >= newest {
                break;
            }
            if last < kept {
                continue;
            }
            // What is only replayed is no part of its lag.
            if lock(&cursor.state).owes(last) {
                gone += limit.of(amount);
            }
            cut = Some(Place { sequence: last + 1, totals });
        }
        Ok(cut)
    }
}
