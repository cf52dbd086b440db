//! The drain: moves a cursor's frames through a sink, with retries, splitting and parking.
//!
//! Frames of one signal are concatenated into a request (`gather` says when and how many), sent, and acked when the backend has them. What a failure
//! means is decided in `flow`: wait and try again, cut and try the parts, or write the records to the dead letters and
//! go on. A record is acked only when it was delivered or its dead letter is durable.
//!
//! Delivery is in the log's order with one request in flight, but for records that a backend refuses: others pass
//! them.

mod backoff;
mod flow;
mod gather;
mod ledger;
mod piece;
mod rate;
mod run;
mod settings;
mod slice;

pub use rate::MaxRate;
pub use run::run;
pub use settings::{RetrySettings, Settings};

#[cfg(test)]
mod tests;
