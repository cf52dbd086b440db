//! OTLP bytes: validate, count, concatenate, cut — without decoding.
//!
//! A log holds export requests as they came. What has to be known about them is read off the protobuf wire format in
//! place: [`validate()`] before anything is stored, [`count`] for the ledger, [`concat()`] to make batches, [`middle`] and
//! [`extract`] to find the one record that a backend refuses. Nothing here panics on any bytes, and nothing recurses
//! as deep as a client nests.

#[cfg(feature = "agent")]
pub mod json;
#[cfg(feature = "agent")]
pub mod record;
#[cfg(feature = "agent")]
pub mod render;

mod cut;
mod items;
mod schema;
mod signal;
mod validate;
mod wire;

#[cfg(feature = "client")]
pub(crate) use cut::Mark;
pub use cut::{extract, middle};
pub use items::{concat, count};
pub use signal::Signal;
pub use validate::{validate, validate_within};
pub use wire::{Fault, Malformed};

#[cfg(test)]
pub(crate) mod tests;
