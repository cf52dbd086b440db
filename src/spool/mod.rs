//! The durable segmented log.
//!
//! A log holds frames: opaque bytes with a content tag, an item count, a sequence and a time. This module knows
//! neither tokio, nor the network, nor OpenTelemetry.
//!
//! # What is promised
//!
//! What a log acknowledged stays until every [required](Need::Required) cursor passed it, or a limit took it; then that
//! is counted and told ([`Log::losses`]). What an acknowledged frame survives is the log's [`Durability`]:
//!
//! | | [`Sync`](Durability::Sync) (default) | [`Interval`](Durability::Interval) | [`Os`](Durability::Os) |
//! |---|---|---|---|
//! | acknowledged after | its `fdatasync` | its write | its write |
//! | cursors see it after | the `fdatasync` | the next sync | the write |
//! | the process is killed | survives | survives | survives |
//! | a power cut, a kernel crash | survives | the last 100 ms or 8 MiB may be lost | what was not on disk is lost |
//! | the disk is full or read-only | survives | survives | survives |
//! | a sync fails | survives: rewritten before the ack | survives: rewritten from memory | may be lost, counted |
//!
//! With `Sync`, frames that arrive together share one `fdatasync`. `Interval` syncs every
//! [`sync_interval`](LogOptions::sync_interval) (100 ms unless set), idle or not, and at 8 MiB unsynced. With `Os` the
//! kernel decides when a frame reaches the disk. On a full or read-only disk new appends are refused, or take the place
//! of what a policy gives up.
//!
//! An append that is answered with an error is not acknowledged. It may be stored all the same: after
//! [poisoned](Error::is_poisoned), after a time-out of the caller's own, and after [full](Error::is_full) where the disk
//! broke off the write and a crash follows. Delivery is at least once. DURABILITY.md has the whole, and what is not
//! promised; FORMAT.md fixes the bytes.
//!
//! # Where to look
//!
//! | question | modules |
//! |---|---|
//! | what stands on disk | `format` (pure bytes), `names` |
//! | who touches the disk | `fs`, and nobody else |
//! | which spool it is, and whose | `id`, `lock` |
//! | how a frame gets there | `queue` → `writer` → `view`, answered through `ack` |
//! | how it is read | `walk` (one segment) → `stream` (a log, with what is missing) → `cursor`, `reader` |
//! | what a start finds | `recovery`, `segment`, `table` |
//! | what goes, and when | `reclaim`, `limit` (what a lagging cursor drops), `space`, `spare`, `age`, `housekeeper` |
//! | who runs the writers and the housekeeper | `worker`, woken by `queue` and `bell` |
//! | what is told | `loss`, `inspect`, `verify`, `damage`, `dead_letter`, `syncs` |

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
mod files;
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
mod syncs;
mod table;
#[cfg(test)]
mod tests;
mod types;
mod verify;
mod view;
mod walk;
mod whole;
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
pub use syncs::SyncLatency;
pub use types::{Appended, Batch, CursorOptions, DeadLetter, Frame, From, Move, Need, Pending, Start};
