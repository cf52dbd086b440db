//! How an exporter is doing, shared with health, metrics and the stop message.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The target of messages that tell of a loss, or of records that went to the dead letters: none of them is left out,
/// however many there are.
pub(crate) const LOSS: &str = "tidegate::loss";

/// Whether an exporter moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Delivering, or nothing to deliver.
    #[default]
    Ok,
    /// The last attempt failed in a way that a retry mends.
    Retrying,
    /// The backend refuses: the cursor stands and health is red.
    Refused,
    /// The log could not be read or the cursor not written.
    Failed,
    /// Paused by command: it sends nothing until it is resumed.
    Paused,
}

impl State {
    /// As commands show it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Retrying => "retrying",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Paused => "paused",
        }
    }
}

/// One moment of an exporter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Whether it moves.
    pub state: State,
    /// Requests sent, successful or not.
    pub attempts: u64,
    /// Requests that failed.
    pub failures: u64,
    /// Items that the backend took.
    pub sent_items: u64,
    /// Items parked as dead letters.
    pub parked_items: u64,
    /// Requests that wait for an answer.
    pub in_flight: u64,
    /// Since when there is something to deliver and nothing was delivered; `None` while there is nothing.
    pub waiting_since: Option<Instant>,
    /// What the backend last refused or the network last said; kept after recovery.
    pub last_error: Option<String>,
    /// What kind of failure that was: one of few words, [`SendError::kind`](super::SendError::kind) or `disk`.
    pub last_error_kind: Option<&'static str>,
    /// When that was.
    pub last_error_at: Option<jiff::Timestamp>,
}

impl Snapshot {
    /// Notes what went wrong, now.
    pub fn failed(&mut self, kind: &'static str, reason: String) {
        (self.last_error, self.last_error_kind) = (Some(reason), Some(kind));
        self.last_error_at = Some(jiff::Timestamp::now());
    }
}

/// The shared cell of a [`Snapshot`].
#[derive(Debug, Default)]
pub struct Status(Mutex<Snapshot>);

impl Status {
    /// The present values.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the values together.
    pub fn update(&self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
