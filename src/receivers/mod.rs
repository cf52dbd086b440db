//! The ways in. Each receiver is given an [`Intake`] and acknowledges only what the intake made durable.

pub mod kernel;
pub mod otlp;

mod intake;

pub use intake::{Counts, Intake, Stored};
