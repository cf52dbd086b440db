//! The ways in. Each receiver is given an [`Intake`] and acknowledges only what the intake made durable.

pub mod kernel;
pub mod otlp;

mod intake;
mod refusals;
mod stored;

pub use intake::Intake;
pub use refusals::{Protocol, Reason, Refusals};
pub use stored::{Counts, Stored};
