//! The ways out. An exporter is a named durable cursor over a log and a [`Sink`] that the drain feeds.

pub mod drain;
pub mod otlp;

mod connect;
mod response;

#[cfg(feature = "agent")]
pub mod debug;
#[cfg(feature = "agent")]
pub mod file;
#[cfg(feature = "agent")]
pub mod otlphttp;

mod sink;
mod status;

pub use crate::tls::{TlsFileError, TlsVersions};
pub use connect::{KeepAlive, SetupError, Tls};
pub use sink::{Request, SendError, Sent, Sink};
#[cfg(feature = "agent")]
pub(crate) use status::LOSS;
pub use status::{Snapshot, State, Status};
