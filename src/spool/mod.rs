//! The durable segmented log.
//!
//! A log holds frames: opaque bytes with a content tag, an item count, a sequence and a time. This module knows
//! neither tokio, nor the network, nor OpenTelemetry.

mod api;

pub use api::*;
