//! The durable segmented log.
//!
//! A log holds frames: opaque bytes with a content tag, an item count, a sequence and a time. This module knows
//! neither tokio, nor the network, nor OpenTelemetry.
//!
//! FORMAT.md fixes the bytes, DURABILITY.md what is promised; [`Durability`] has the short table. Where to look:
//!
//! | question | modules |
//! |---|---|
//! | what stands on disk | `format` (pure bytes), `names` |
//! | who touches the disk | `fs`, and nobody else |
//! | how a frame gets there | `queue` → `writer` → `view`, answered through `ack` |
//! | how it is read | `walk` (one segment) → `stream` (a log, with what is missing) → `cursor`, `reader` |
//! | what a start finds | `recovery`, `segment`, `table` |
//! | what goes, and when | `reclaim`, `limit` (what a lagging cursor drops), `space`, `spare`, `age`, `housekeeper` |
//! | who runs the writers and the housekeeper | `worker`, woken by `queue` and `bell` |
//! | what is told | `loss`, `inspect`, `verify`, `damage`, `dead_letter` |

mod ack;
mod age;
mod bell;
mod clock;
mod core;
mod cursor;
mod damage;
mod dead_letter;
mod env;
mod error;
mod format;
mod fs;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
mod housekeeper;
mod id;
mod inspect;
mod limit;
mod lock;
mod log;
mod loss;
mod names;
mod options;
mod queue;
mod reader;
mod reclaim;
mod recovery;
mod report;
mod segment;
mod space;
mod spare;
#[allow(clippy::module_inception, reason = "the room of the type Spool")]
mod spool;
mod stream;
mod table;
#[cfg(test)]
mod tests;
mod types;
mod verify;
mod view;
mod walk;
mod worker;
mod writer;

pub use self::core::{Cut, Opening};
pub use ack::Ack;
pub use cursor::editor::Editor;
pub use cursor::{Commanded, Cursor};
pub use error::Error;
pub use limit::Limit;
pub use log::Log;
pub use loss::{Loss, Orphan};
pub use options::{Durability, LogOptions, OnFull, Options};
pub use reader::{LogReader, Reader};
pub use report::{
    CursorInspection, Damage, Inspection, LogInspection, LogVerification, Owner, SegmentInspection, Verification,
};
pub use spool::Spool;
pub use types::{Appended, Batch, CursorOptions, DeadLetter, Frame, From, Move, Need, Pending, Start};
