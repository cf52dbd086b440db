//! The receiver `otlp`: OTLP over gRPC and HTTP, acknowledged only when durable.
//!
//! A request goes one way, whichever the transport: its size is checked, its first part is read, memory is admitted for
//! all of it, it is read to its end and inflated under a limit, its bytes are validated to the last one, the logs of its signal append it, and only when
//! they have it on disk is success answered. Protobuf is stored as it came, JSON as the protobuf that it stands for;
//! nothing is decoded.
//!
//! Transports follow the [OTLP specification](https://opentelemetry.io/docs/specs/otlp/) 1.10: gRPC under "OTLP/gRPC",
//! HTTP under "OTLP/HTTP".

mod admission;
mod arrivals;
mod bind;
mod body;
mod gather;
mod grpc;
mod http;
mod idle;
mod inflate;
mod listener;
mod places;
mod receive;
mod refusal;
mod reply;
mod server;
mod settings;

pub use crate::auth::RememberedPasswords;
pub use admission::Admission;
pub use bind::{Bound, ListenError, bind};
pub use settings::{Cors, Endpoint, GrpcSettings, HttpSettings, Limits, Settings};

#[cfg(test)]
mod tests;
