//! Exporters for the OpenTelemetry SDK of a Rust application.
//!
//! [`LogExporter`] writes each batch to a log on local disk and answers when it is durable. A background thread
//! delivers what the log holds to an OTLP/gRPC endpoint: now, when the endpoint is back, or after the next start.
//!
//! ```no_run
//! use opentelemetry_sdk::logs::SdkLoggerProvider;
//!
//! let exporter = tidegate::sdk::LogExporter::builder()
//!     .directory("/var/lib/my-app/telemetry")
//!     .endpoint("http://127.0.0.1:4317")
//!     .build()?;
//! let provider = SdkLoggerProvider::builder().with_batch_exporter(exporter).build();
//! # Ok::<(), tidegate::sdk::BuildError>(())
//! ```
//!
//! With the batch processor, records that it has not handed over yet are in memory alone; with the simple one every
//! record is on disk before `emit` returns, at the price of a sync each.

mod builder;
mod delivery;
mod environment;
mod exporter;
#[cfg(test)]
mod tests;

pub use builder::{BuildError, LogExporterBuilder};
pub use exporter::LogExporter;

pub use crate::exporters::drain::RetrySettings;
pub use crate::exporters::otlp::Compression;
pub use crate::exporters::{SetupError, Tls, TlsFileError, TlsVersions};
pub use crate::spool::Limit;
