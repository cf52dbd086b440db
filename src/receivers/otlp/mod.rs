//! The receiver `otlp`: OTLP over gRPC and HTTP, acknowledged only when durable.

mod settings;

pub use settings::{GrpcSettings, HttpSettings, Settings};
