//! tidegate keeps telemetry on local disk until it is delivered.
//!
//! The promise: what it acknowledged is on disk, and stays there until every exporter that wants it has
//! delivered it, or a limit that the operator set took it; then it is counted and told.
//!
//! | module | what lives there | feature |
//! |---|---|---|
//! | [`spool`] | the durable log: append, cursors, recovery | always |
//! | [`otlp`] | OTLP bytes: scan, count, validate, concatenate, split | always |
//! | [`exporters`] | the ways out: one durable cursor each | `client` |
//! | [`auth`] | as whom exporters send, and who may send to receivers | `client` |
//! | `sdk` | exporters for the OpenTelemetry SDK of a Rust application | `sdk` |
//! | `receivers` | the ways in: OTLP, kernel events | `agent` |
//! | `pipeline`, `config`, `cli`, `extensions` | the agent around them | `agent` |

pub mod otlp;
pub mod spool;

#[cfg(feature = "client")]
pub mod auth;
#[cfg(feature = "client")]
pub mod exporters;
#[cfg(feature = "sdk")]
pub mod sdk;
#[cfg(feature = "client")]
mod stamp;
#[cfg(feature = "client")]
mod tls;
#[cfg(feature = "agent")]
mod turns;
#[cfg(feature = "agent")]
mod url;

#[cfg(feature = "agent")]
pub mod cli;
#[cfg(feature = "agent")]
pub mod config;
#[cfg(feature = "agent")]
pub mod extensions;
#[cfg(feature = "agent")]
pub mod listen;
#[cfg(feature = "agent")]
pub mod pipeline;
#[cfg(feature = "agent")]
pub mod receivers;
