//! The ways in. Each receiver is given an [`Intake`] and acknowledges only what the intake made durable.

pub mod kernel;
pub mod otlp;

mod intake;
mod refusals;

pub use intake::{Counts, Intake, Stored};
pub use refusals::{Protocol, Reason, Refusals};
