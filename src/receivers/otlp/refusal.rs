//! Why a request is not stored, before it is said in gRPC's or HTTP's terms.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::otlp::{Malformed, Signal};
use crate::receivers::Reason;
use crate::spool;

/// Why a request is not stored. The sender keeps it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the headers are larger than limits.max_header_size")]
    Head,
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("{0}")]
    Json(serde_json::Error),
    #[error("the body is not valid {name}: {error}")]
    Encoding { name: &'static str, error: std::io::Error },
    /// The framing of the transport is broken.
    #[error("{0}")]
    Framing(&'static str),
    #[error("the request is larger than {limit} bytes; send smaller batches, or raise the receiver's {key}")]
    TooLarge { limit: usize, key: &'static str },
    #[error("the body inflates to more than {limit} times its size; send it with less compression or none")]
    Ratio { limit: usize },
    #[error("no pipeline takes {0}: add this receiver to one of {0} under service.pipelines")]
    NoPipeline(Signal),
    /// The memory for requests in flight is taken, or the places for those on their way.
    #[error("too much is in flight; send again later")]
    Busy,
    #[error("too many passwords are being checked; send again later")]
    BusyWithPasswords,
    #[error("the body did not go on: neither its rest nor 64 KiB of it came within {} s; send it again", .0.as_secs())]
    Slow(Duration),
    #[error("the body came more slowly than 64 KiB a second while others waited for its memory; send it again")]
    GaveWay,
    #[error("the body ended early: {0}")]
    Broken(hyper::Error),
    #[error("{0}")]
    Log(#[from] spool::Error),
    #[error("the receiver failed on this request; it is not stored")]
    Panicked,
}

/// What a sender should make of a refusal, whatever the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// The request can never be taken.
    BadData,
    /// It can never be taken at this size.
    TooLarge,
    /// Nor with so many headers.
    HeadTooLarge,
    /// Nobody takes this signal.
    NoPipeline,
    /// More comes than can be worked on: send it again, not before this time.
    Busy(Duration),
    /// As `Busy`: a log has no room.
    Full(Duration),
    /// As `Busy`, for a passing state of the receiver or of the way to it.
    Unavailable(Duration),
}

/// The delay asked for where the log names none.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Refusal {
    pub(super) fn class(&self) -> Class {
        match self {
            Self::Malformed(_) | Self::Json(_) | Self::Encoding { .. } | Self::Framing(_) => Class::BadData,
            Self::Head => Class::HeadTooLarge,
            Self::TooLarge { .. } | Self::Ratio { .. } => Class::TooLarge,
            Self::NoPipeline(_) => Class::NoPipeline,
            Self::Busy | Self::BusyWithPasswords => Class::Busy(RETRY_AFTER),
            // No 408 over HTTP: the specification has clients send again after 429, 502, 503 and 504 alone.
            Self::Slow(_) | Self::GaveWay | Self::Broken(_) | Self::Panicked => Class::Unavailable(RETRY_AFTER),
            Self::Log(error) if error.is_too_large() => Class::TooLarge,
            Self::Log(error) => {
                let after = error.retry_after().unwrap_or(RETRY_AFTER);
                if error.is_full() { Class::Full(after) } else { Class::Unavailable(after) }
            }
        }
    }

    /// As what it is counted.
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::Slow(_) | Self::GaveWay => Reason::Slow,
            Self::Broken(_) => Reason::Broken,
            other => match other.class() {
                Class::BadData => Reason::Malformed,
                Class::TooLarge | Class::HeadTooLarge => Reason::TooLarge,
                Class::NoPipeline => Reason::NoPipeline,
                Class::Busy(_) => Reason::Busy,
                Class::Full(_) => Reason::Full,
                Class::Unavailable(_) => Reason::Unavailable,
            },
        }
    }
}

/// INVALID_ARGUMENT with a BadRequest that says what is bad ("Failures", "Bad Data").
pub(super) fn bad_request(message: &str) -> Status {
    let details = ErrorDetails::with_bad_request_violation("", message);
    Status::with_error_details(Code::InvalidArgument, message, details)
}
