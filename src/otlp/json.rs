//! Export requests between protobuf and OTLP JSON.
//!
//! OTLP JSON is the JSON Protobuf Encoding of the OTLP specification: hexadecimal trace and span ids, enums as
//! integers, lowerCamelCase names, 64-bit integers as strings. One request is one line in files, as the OpenTelemetry
//! protocol file exporter writes it.

mod body;
mod encode;
mod enums;
mod read;
mod scalar;
mod schema;
#[cfg(test)]
mod tests;
pub(crate) mod text;
mod write;

pub use read::{Unreadable, read};
pub use write::write_line;
