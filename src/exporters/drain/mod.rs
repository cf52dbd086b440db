//! The drain: moves a cursor's frames through a sink, with retries, splitting and parking.

mod settings;

pub use settings::{RetrySettings, Settings};
