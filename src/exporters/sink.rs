//! What the drain asks of a backend, and what a backend may answer.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use crate::otlp::Signal;

/// One OTLP export request on its way out: frames of one signal, concatenated.
#[derive(Debug, Clone)]
pub struct Request {
    /// What the payload is.
    pub signal: Signal,
    /// The protobuf bytes of the export request.
    pub payload: Bytes,
    /// Records, spans or data points in it.
    pub items: u64,
}

/// What a backend took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// Items that the backend refused for good while it took the rest (OTLP partial success).
    pub rejected_items: u64,
    /// What the backend said about it; may be a warning with nothing rejected.
    pub message: Option<String>,
}

/// Why a request was not delivered, by what is to be done about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Try again: the backend is away or asks for time.
    #[error("{reason}")]
    Retry {
        /// What the backend or the network said.
        reason: String,
        /// How long the backend asked to wait.
        after: Option<Duration>,
    },
    /// The backend refuses, perhaps because of its own state: the cursor stands, slowly retried.
    #[error("{reason}")]
    Refused {
        /// What the backend said.
        reason: String,
    },
    /// The data is bad: bisect and park what is to blame.
    #[error("{reason}")]
    BadData {
        /// What the backend said.
        reason: String,
    },
    /// The request is too large for the backend: split it.
    #[error("{reason}")]
    TooLarge {
        /// What the backend said.
        reason: String,
    },
}

impl SendError {
    /// What kind of failure it is, as a word: metrics have no room for reasons.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Retry { .. } => "retry",
            Self::Refused { .. } => "refused",
            Self::BadData { .. } => "bad_data",
            Self::TooLarge { .. } => "too_large",
        }
    }
}

/// A backend. `send` returns only when the backend has the request safely, or says why it has not.
pub trait Sink: Send + Sync + 'static {
    /// Delivers one request.
    fn send(&self, request: Request) -> impl Future<Output = Result<Sent, SendError>> + Send;
}
