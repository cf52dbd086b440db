//! What serves the agent itself: health and its own metrics, one small HTTP server each.

pub mod health_check;
pub mod metrics;

mod http;
mod shared;
