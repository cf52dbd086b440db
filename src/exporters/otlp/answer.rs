//! What a backend's answer means for the records that were sent.

use std::error::Error as _;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::exporters::connect::causes;
use crate::exporters::response::cut;
use crate::exporters::sink::SendError;

/// Sorts a failed call by what is to be done ("OTLP/gRPC Response" of the specification, and what stock backends mean
/// by the codes that it does not let a client retry). `is_said`: the server said the status, it is not tonic's own.
pub(super) fn error(status: &Status, is_said: bool) -> SendError {
    let after = status.get_details_retry_info().and_then(|info| info.retry_delay);
    let reason = reason(status);
    // No answer came: the connection, not the backend, says this. tonic gives such errors all kinds of codes.
    if status.source().is_some() {
        return SendError::Retry { reason, after };
    }
    match status.code() {
        Code::ResourceExhausted | Code::OutOfRange if after.is_none() && is_about_size(status.message()) => {
            // In the same words tonic refuses an answer that inflates too far; what became of the records is unknown.
            if is_said { SendError::TooLarge { reason } } else { SendError::Retry { reason, after } }
        }
        // Ok is no error; who answers it as one will not mean to refuse.
        Code::Ok
        | Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => SendError::Retry { reason, after },
        Code::ResourceExhausted if after.is_some() => SendError::Retry { reason, after },
        Code::InvalidArgument => SendError::BadData { reason },
        Code::ResourceExhausted
        | Code::Unknown
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Unimplemented
        | Code::Internal
        | Code::Unauthenticated => SendError::Refused { reason },
    }
}

/// Whether a refusal speaks of the message's size. There is no code for that: the texts are those of the gRPC
/// libraries that backends use (Go, C, Java, .NET, Rust) and of their proxies.
fn is_about_size(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    let about_message = ["message", "request", "body", "payload"].iter().any(|word| message.contains(word));
    let too_large = [
        "larger than",
        "too large",
        "too big",
        "exceeds maximum size",
        "exceeds the configured maximum",
        "exceeds the maximum",
        "size limit",
    ];
    about_message && too_large.iter().any(|words| message.contains(words))
}

/// The code's name as the specification writes it, and what was said.
fn reason(status: &Status) -> String {
    let said = match status.source() {
        Some(source) => causes(source),
        None => status.message().to_owned(),
    };
    cut(format!("{}: {said}", name(status.code())))
}

const fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
