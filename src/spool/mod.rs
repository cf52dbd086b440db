//! The durable segmented log.
//!
//! A log holds frames: opaque bytes with a content tag, an item count, a sequence and a time. This module knows
//! neither tokio, nor the network, nor OpenTelemetry.

mod error;
mod interim;
mod options;
mod types;

pub use error::Error;
pub use interim::{Ack, Cursor, Log, LogReader, Reader, Spool};
pub use options::{Durability, LogOptions, OnFull, Options};
pub use types::{
    Appended, Batch, CursorInspection, Damage, DeadLetter, Frame, From, Inspection, LogInspection, LogVerification,
    Need, Owner, Pending, SegmentInspection, Start, Verification,
};
