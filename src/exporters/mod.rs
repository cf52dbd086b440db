//! The ways out. An exporter is a named durable cursor over a log and a [`Sink`] that the drain feeds.

pub mod drain;
pub mod otlp;

#[cfg(feature = "agent")]
pub mod debug;
#[cfg(feature = "agent")]
pub mod file;

mod sink;
mod status;

pub use sink::{Request, SendError, Sent, Sink};
pub use status::{Snapshot, State, Status};
